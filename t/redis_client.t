#!/usr/bin/perl

# The Redis client as the gateway uses it: what is written in mcp_redis {}, how
# it says who it is, over TCP and a unix socket, how many commands it takes, and
# that nothing of it is left when nginx leaves.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Proxy;
use MCP::Redis;
use MCP::Token;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $up = MCP::Upstream->start($t, port => 8081);
my $store = MCP::Token->new($t);
my $redis = MCP::Redis->start($t);
my $d = $t->dir;
my $secret = 'TOP-SECRET-VALUE';

$t->write_file('password', "$secret\n");
$t->write_file('empty', '');
$ENV{MCP_TEST_PASSWORD} = $secret;
delete $ENV{MCP_TEST_UNSET};

sub conf {
    my ($lines, %o) = @_;
    my $workers = $o{workers} || 1;
    my $http = $o{http} // '';
    my $main = $o{main} // '';

    return <<"END";
%%GLOBALS%%
worker_processes $workers;
$main
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_token_key pepper-a pepper-b;
    mcp_token_failures 0;
    $http

    mcp_redis { $lines }

    %%ISSUER_okta%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        tokens on;
        role dev { allow tool *; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location /mcp { mcp_auth mcp;
                        proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
}
END
}


# ---- nginx -t

sub valid {
    my ($what, $lines) = @_;
    my ($ok, $said) = $t->check(conf($lines));
    ok($ok, "valid: $what") or diag($said);
    return $said;
}

sub refused {
    my ($what, $lines, $re) = @_;
    my ($ok, $said) = $t->check(conf($lines));

    ok(!$ok, "refused: $what");
    like($said, qr/\[emerg\].*$re.* in \S*check\.conf:\d+/,
         "$what: the message, and where");
    unlike($said, qr/$secret/, "$what: no secret");
}

my $s = 'server 127.0.0.1:6379;';

valid('a host', 'server 127.0.0.1;');
valid('IPv6', 'server [::1]:6379;');
valid('a name', 'server localhost:6379;');
valid('a socket', "server unix:$d/redis/socket;");
my $said = valid('all of it', "$s user gw; password file:password; database 3;"
    . ' tls on; ssl_trusted_certificate /etc/ssl/certs/ca-certificates.crt;'
    . ' ssl_name redis.example.com; prefix gw1:; timeout 500ms;'
    . ' connect_timeout 2s; revocation_stale 10s; max_reply 2m;')
    if -f '/etc/ssl/certs/ca-certificates.crt';
valid('a password of a file', "$s password '\${file:$d/password}';");
valid('of the environment', "$s password '\${env:MCP_TEST_PASSWORD}';");
valid('ssl_name may be an address', "$s tls on; ssl_name 10.1.2.3;");
$t->write_file('redis.conf', "timeout 2s;\n");
valid('include', "$s include %%TESTDIR%%/redis.conf;");

unlike(valid('a password on loopback', "$s password file:password;"),
       qr/without "tls on"/, 'is not worth a warning');
like(valid('one over the network', 'server 192.0.2.1; password file:password;'),
     qr/\[warn\].*sends its password to "192\.0\.2\.1" without "tls on" in /,
     'is');
unlike(valid('nor with TLS', 'server 192.0.2.1; tls on;'
             . ' password file:password;'), qr/\[warn\]/, 'is that');

refused('no server', 'prefix a:;', 'mcp_redis has no "server"');
refused('two servers', "$s $s", '"server" directive is duplicate');
refused('an empty host', 'server :6379;', 'invalid host');
refused('a bad port', 'server a:0;', 'invalid port');
refused('a bad address', 'server 127.0.0.300;', 'invalid IPv4 address');
refused('a user in it', 'server u@a;', 'a user name is not allowed here');
refused('a relative socket', 'server unix:x;', 'absolute path');
refused('a socket without a path', 'server unix:;', 'absolute path');
refused('a socket that is too long', 'server unix:/' . 'x' x 200 . ';',
        'too long');
refused('a user and no password', "$s user a;", 'a "user" and no "password"');
refused('TLS and a socket', 'server unix:/a; tls on;', '"tls on" and a unix');
refused('ssl_name without TLS', "$s ssl_name a;", '"ssl_name" without');
refused('a certificate without TLS', "$s ssl_trusted_certificate a;",
        '"ssl_trusted_certificate" without');
refused('no such certificate', "$s tls on; ssl_trusted_certificate none;",
        'cannot use trusted certificates');
refused('ssl_name with a port', "$s tls on; ssl_name a:1;", 'it has no port');
refused('tls maybe', "$s tls maybe;", '"tls" is "on" or "off"');
refused('a password as it is', "$s password $secret;", '"password" is file:');
refused('one behind a reference', "$s password '\${env:HOME}$secret';",
        '"password" is file:');
refused('one that is not set', "$s password '\${env:MCP_TEST_UNSET}';",
        'MCP_TEST_UNSET');
refused('an empty one', "$s password file:empty;", 'empty');
refused('no such file', "$s password file:none;", 'cannot read');
refused('a prefix with a space', "$s prefix 'a b';", 'invalid "prefix"');
refused('a long prefix', "$s prefix " . 'x' x 65 . ';', 'invalid "prefix"');
refused('an unknown line', "$s sentinel a;", 'unknown directive "sentinel"');
refused('a line of something else', "$s listen 80;", 'not allowed here');
refused($_, "$s $_;", 'invalid "' . (split)[0] . '"')
    for 'database -1', 'database x', 'database 65536', 'timeout 0',
        'timeout 2m', 'connect_timeout x', 'revocation_stale 1s',
        'revocation_stale 2h', 'max_reply 1k', 'max_reply 1g';
refused("$_ twice", "$s $_; $_;", 'is duplicate')
    for 'timeout 1s', 'connect_timeout 1s', 'revocation_stale 5s',
        'max_reply 1m', 'database 1', 'tls on', 'prefix a', 'tls off',
        'password file:password';

my ($ok, $out) = $t->check(conf($s, http => "mcp_redis { $s }"));
ok(!$ok, 'refused: two mcp_redis');
like($out, qr/"mcp_redis" directive is duplicate/, 'and says so');


# ---- over TCP, with a database and a prefix of its own

my $pat = $store->pat(issuer => $okta->{issuer}, user => 'alice');
my $server = $redis->server;

sub got {
    my ($token) = @_;
    my $r = call_tool('/mcp', 'echo', {}, token => $token);
    my $a = $t->audit_next(1, settle => 0);

    return $r->{status} == 200 ? "200 $a->{user}"
                               : "$r->{status} $a->{reason}";
}

$redis->command('SELECT', 5);
$redis->{prefix} = 'gw1:';
$redis->write_tokens($store);

$t->write_conf(conf("server $server; database 5; prefix gw1:;"));
$t->start;

is(got($pat->{token}), '200 alice', 'database and prefix');
is(got(MCP::Token::unknown()), '401 token_unknown', 'an unknown token');

my $clients = $redis->command('CLIENT', 'LIST');
my @named = sort $clients =~ / name=(mcp-auth\S*) /g;
is("@named", 'mcp-auth mcp-auth-events', 'two connections, which have names');
like($clients, qr/ name=mcp-auth-events .* sub=1 /, 'one is subscribed');

# a second pepper: both hashes are asked for, in one write

my $gets = $redis->calls('get');
my $b = $store->pat(issuer => $okta->{issuer}, user => 'bob',
                    pepper => 'pepper-b');
$redis->write_tokens($store, $b);
is(got($b->{token}), '200 bob', 'a token of the second pepper');
is($redis->calls('get') - $gets, 2, 'one GET for each');

# warm: none at all

$gets = $redis->calls('get');
my $hscan = $redis->calls('hscan');
my $commands = () = $redis->command('INFO', 'commandstats') =~ /^cmdstat/mg;

is(join(' ', map { got($pat->{token}) } 1 .. 20), join(' ', ('200 alice') x 20),
   'twenty calls');
is($redis->calls('get') - $gets, 0, 'without a round trip');
is(scalar(() = $redis->command('INFO', 'commandstats') =~ /^cmdstat/mg),
   $commands, 'nor any other command');


# ---- others that ask at the same time share the question

my $proxy = MCP::Proxy->start($t, port => 6380, to => $redis->socket);
my $to = $proxy->server;

ok($t->reload(conf("server $to; database 5; prefix gw1:; timeout 2s;")),
   'reload: through a proxy');
is(got($b->{token}), '200 bob', 'which passes everything');

my $many = $store->pat(issuer => $okta->{issuer}, user => 'many');
$redis->write_tokens($store, $many);
$gets = $redis->calls('get');
$proxy->mode(delay => 0.5, only => 'GET');

my $message = rpc('tools/call', { name => 'echo' });
my @c = map { mcp_start('/mcp', $message, token => $many->{token}) } 1 .. 20;
$c[$_]->close for 3, 7, 19;
$c[11]->reset;
my @got = map { $_->read_response } @c[0 .. 2, 4 .. 6, 8 .. 10, 12 .. 18];

is(scalar(grep { $_ && $_->{status} == 200 } @got), 16, 'sixteen of twenty');
is($redis->calls('get') - $gets, 2, 'and one question for all of them');

my @records = $t->audit_next(20);
is(scalar @records, 20, 'a record each');
is(scalar(grep { $_->{result}{status} == 499 } @records), 4,
   'four of them went');
$proxy->mode;

# all who wait go: what Redis says is nobody's, and the next one asks again

$proxy->mode(delay => 0.5, only => 'GET');
my $gone = $store->pat(issuer => $okta->{issuer}, user => 'gone');
$redis->write_tokens($store, $gone);
$_->close for map { mcp_start('/mcp', $message, token => $gone->{token}) } 1, 2;
is(scalar(my @none = $t->audit_next(2)), 2, 'both who waited go');
is(got($many->{token}), '200 many', 'meanwhile others pass');

my $next = $store->pat(issuer => $okta->{issuer}, user => 'next');
$redis->write_tokens($store, $next);
is(got($next->{token}), '200 next',
   'N12: the next question gets its own reply, not theirs');
is(got($gone->{token}), '200 gone', 'the reply was nobody\'s');
$proxy->mode;


# ---- when it was last used: once in a while

my %used = @{$redis->command('HGETALL', 'gw1:used')};
cmp_ok(abs($used{$pat->{id}} - time), '<', 120, 'last used is written');
is(scalar(keys %used), 5, 'of those that were used');
my $hset = $redis->calls('hset');
ok($t->reload(conf("server $to; database 5; prefix gw1:;")), 'reload');
is(got($many->{token}), '200 many', 'from the cache of the zone');
is($redis->calls('hset') - $hset, 0, 'not for each use');


# ---- a unix socket

$redis->command('SELECT', 0);
$redis->{prefix} = 'mcp:';
$redis->write_tokens($store);
my $socket = $redis->socket;
ok($t->reload(conf("server unix:$socket;")), 'reload: a unix socket');
my $u = $store->pat(issuer => $okta->{issuer}, user => 'eve');
$redis->write_tokens($store, $u);
is(got($u->{token}), '200 eve', 'works as well');


# ---- a password, a user, an ACL with what it needs and nothing else

my $locked = MCP::Redis->start($t, name => 'locked', port => 6381,
    admin => ['boss', 'x'],
    users => ['default off', 'boss on >x ~* &* +@all',
              "gw on >$secret resetkeys resetchannels ~mcp:* &mcp:events -\@all"
              . ' +get +hset +hscan +hget +eval +publish +time +subscribe'
              . ' +ping']);

$locked->write_tokens($store);
my $lserver = $locked->server;
ok($t->reload(conf("server $lserver; user gw; password file:password;")),
   'reload: an ACL user');

my $v = $store->vat(service => 'ci');
$locked->write_tokens($store, $v);
my $r = call_tool('/mcp', 'echo', {}, token => $v->{token});
is($r->{status}, 200, 'with the rights that the documentation names');
my $a = $t->audit_next(1);
is("$a->{client} $a->{kind} $a->{auth}", 'ci service vat', 'who it was');
ok(MCP::Test::wait_until(5, sub {
    $locked->command('HGET', 'mcp:used', $v->{id}) }), 'and it may note that');

my $plain = MCP::Redis->start($t, name => 'plain', port => 6382,
                              password => $secret);
$plain->write_tokens($store);
my $pserver = $plain->server;
ok($t->reload(conf("server $pserver; password '\${env:MCP_TEST_PASSWORD}';")),
   'reload: a password');
my $w = $store->pat(issuer => $okta->{issuer}, user => 'walt');
$plain->write_tokens($store, $w);
is(got($w->{token}), '200 walt', 'works');


# ---- nothing is left

ok($t->reload(conf("server $server;", workers => 2)), 'reload: two workers');
is(got($u->{token}), '200 eve', 'they work');

my $still = MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    $plain->command('CLIENT', 'LIST') !~ /name=mcp-auth/
    && $locked->command('CLIENT', 'LIST') !~ /name=mcp-auth/ });
ok($still, 'old workers have left, with their connections');

# a stream holds the old worker, until worker_shutdown_timeout ends everything,
# the connections to Redis too

ok($t->reload(conf("server $to; timeout 200ms;",
                   main => 'worker_shutdown_timeout 2s;')),
   'reload: with worker_shutdown_timeout');
MCP::Test::wait_until($MCP::Test::TIMEOUT, sub { 1 == $t->workers });

$up->answer({ sse => [ map { ('data: {}' . "\n\n", 0.5) } 1 .. 60 ] });
my ($holds) = $t->workers;
my $open = mcp_start('/mcp', $message, token => $u->{token});
ok($open->sse_next, 'a stream is open');
ok($t->reload, 'reload');
ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub { !kill 0 => $holds }),
   'the old worker leaves when it has to');
$proxy->mode(hole => 1);
my $late = mcp_start('/mcp', $message, token => MCP::Token::unknown());
ok($t->reload, 'another, while a question is open');
is($late->read_response->{status}, 503, 'which is answered');
$proxy->mode;


# ---- beside a module that exports another hiredis, loaded before ours

SKIP: {
    my $nchan = '/usr/lib/nginx/modules/ngx_nchan_module.so';

    skip 'static build', 2 if $MCP::Test::SAN;
    skip 'no nchan', 2 unless -f $nchan;

    my $beside = "load_module $nchan;\n" . conf("server $server;");
    ($ok, $out) = $t->check($beside);
    skip 'nchan does not load', 2 unless $ok;

    $t->stop;
    $t->write_conf($beside)->start;

    my $n = $store->pat(issuer => $okta->{issuer}, user => 'nchan');
    $redis->write_tokens($store, $n);
    is(got($n->{token}), '200 nchan', 'beside nchan: replies are read right');
    is(got(MCP::Token::unknown()), '401 token_unknown', 'all kinds of them');
}


unlike($t->read_log, qr/$secret/, 'the password is in no log');
unlike($t->read_log, qr/\[error\]/, 'nothing to complain of');

done_testing;

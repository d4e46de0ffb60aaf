#!/usr/bin/perl

# The access phase and records in Redis: the file is asked first, a request
# waits for the answer and not longer than it takes, an answer that is not the
# answer lets nobody in, and what is known is known to all workers, for a while.

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
my $redis = MCP::Redis->start($t);
my $proxy = MCP::Proxy->start($t, port => 6380, to => $redis->socket);
my $file = MCP::Token->new($t);
my $store = MCP::Token->new($t, file => 'unused');

$store->{pepper} = $file->{pepper};
$t->write_file($_, $file->{pepper}{$_}{secret}) for qw/ pepper-a pepper-b /;

sub pat {
    my ($in, %o) = @_;
    return $in->pat(issuer => $okta->{issuer}, user => 'alice', %o);
}

# a token that is in Redis

sub kept {
    my $k = pat($store, @_);

    $redis->write_tokens($store, $k);
    return $k;
}

sub conf {
    my (%o) = @_;
    my $server = $proxy->server;
    my $issuer = $okta->issuer_conf;

    $issuer =~ s/\}\s*\z/$o{issuer} }/ if $o{issuer};

    return <<"END";
%%GLOBALS%%
worker_processes @{[ $o{workers} || 1 ]};
events { }
http {
    %%GLOBALS_HTTP%%
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Real-IP;
    mcp_audit %%TESTDIR%%/audit.log;
    @{[ $o{file} // 'mcp_token_file tokens;' ]}
    mcp_token_key pepper-a pepper-b;
    mcp_token_failures @{[ $o{failures} // 0 ]};

    mcp_redis {
        server $server;
        timeout 1s;
        revocation_stale 60s;
        @{[ $o{redis} // '' ]}
    }

    $issuer
    @{[ $o{http} // '' ]}

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        tokens on;
        role dev { allow tool echo; }
        @{[ $o{roles} // '' ]}
    }

    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport;
        location / {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END
}

my $filed = pat($file, user => 'filed');

$file->write;
$t->write_conf(conf());
$t->start;

sub try {
    my ($token, %o) = @_;
    my $r = call_tool('/mcp', 'echo', {},
                      token => ref $token ? $token->{token} : $token, %o);
    my $a = $t->audit_next(1, settle => 0);

    return ($r->{status} == 200 ? $r->{json}{result} ? 'ok' : 'denied'
                                : "$r->{status} $a->{reason}", $a, $r);
}

sub got { (try(@_))[0] }
sub gets { $proxy->commands('GET') }

# A reload; with reuseport what waits at a socket of an old worker is lost, and
# that is not what is tested here.

sub reload {
    my ($conf, $what) = @_;
    my $jwt = $okta->token(groups => ['dev']);
    my $good = 0;

    ok($t->reload($conf), $what);

    MCP::Test::wait_until(30, sub {
        my $r = call_tool('/mcp', 'echo', {}, token => $jwt, timeout => 5);
        $good = ($r->{status} // 0) == 200 ? $good + 1 : 0;
        return $good == 10;
    }) or diag("$what: nobody answers");

    $t->audit_next(0, settle => 0.2);
}

# Redis answers again

sub healthy {
    my $k = kept();

    $proxy->mode;
    MCP::Test::wait_until(30, sub { got($k) eq 'ok' }) or die 'Redis is gone';
}


# ---- the file, then Redis

# who is revoked has to be known first

MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    got($okta->token(groups => ['dev'])) eq 'ok' });

my $n = gets();

is(got($filed), 'ok', 'a token of the file');
is(gets() - $n, 0, 'nobody asked Redis');

my $k = kept(user => 'bob', roles => [qw/ dev ops /], label => 'a laptop');
my ($got, $a) = try($k);

is($got, 'ok', 'a token in Redis');
is_deeply([ @$a{qw/ user client kind auth issuer token_id /} ],
          [ 'bob', undef, 'user', 'pat', $okta->{issuer}, $k->{id} ],
          'its record');
is(gets() - $n, 2, 'asked for, under both keys');
is(got($k), 'ok', 'again');
is(gets() - $n, 2, 'from the cache');

my $v = $store->vat(service => 'ci', pepper => 'pepper-b');

$redis->write_tokens($store, $v);
($got, $a) = try($v);
is("$got $a->{client} $a->{auth}", 'ok ci vat', 'a VAT, under the second key');

# what both have, the file says

my $both = pat($file, user => 'filed', servers => ['other']);

$redis->command('SET', 'mcp:tok:' . $file->hash($both),
                $file->line({ %$both, servers => ['*'] }));
$file->write;
ok(MCP::Test::wait_until(10, sub {
    my $new = pat($file); $file->write; sleep 0.4; got($new) eq 'ok' }),
   'the file changed');
is(got($both), '401 token_server', 'the file\'s word counts');
is(got(MCP::Token::unknown()), '401 token_unknown', 'nobody has it');

$n = gets();
is(got('mcpp_' . 'a' x 49), '401 token_malformed', 'no token');
is(gets(), $n, 'is nothing to ask for');

for (['revoked', '401 token_revoked', revoked => time],
     ['expired', '401 expired', expires => time - 5])
{
    my ($what, $want, %o) = @$_;
    my $k = kept(user => 'eve', %o);

    for (1, 2) {
        ($got, $a) = try($k);
        is("$got $a->{user} $a->{token_id}", "$want eve $k->{id}",
           "$what: with a name");
    }
}

cmp_ok($redis->command('HGET', 'mcp:used', $k->{id}) // 0, '>', time - 120,
       'when it was used is noted');
ok(!defined $redis->command('HGET', 'mcp:used', $filed->{id}),
   'not that of a file\'s');


# ---- what is no answer lets nobody in

my $mine = pat($store);
my $key = 'mcp:tok:' . $store->hash($mine);
my $line = $store->line($mine);
my $other = $store->line($k);
my $slip = $line =~ s/^pat pat-/vat vat-/r =~ s/issuer=\S+ user=\S+/service=x/r;
my $secret = 'do-not-print-this';

for (['of another token', $other, '503 token_store'],
     ['of another key', $line =~ s/:[0-9a-f]{64}/':' . '0' x 64/er,
      '503 token_store'],
     ['empty', '', '503 token_store'],
     ['of a newer mcpctl', "$line cidr=$secret", '503 token_store'],
     ['without a part', $line =~ s/ expires=\S+//r, '503 token_store'],
     ['of the other kind', $slip, '401 token_unknown'],
     ['binary', "\0\xff\r\n" x 10, '503 token_store'],
     ['long', "$line label=" . 'x' x 5000, '503 token_store'])
{
    my ($what, $value, $want) = @$_;

    $redis->command('SET', $key, $value);

    my $token = $mine->{token};
    ($got, $a, my $r) = try($token);
    is($got, $want, "a record $what");
    ok(!exists $a->{user} && !exists $a->{client}, "$what: of nobody");
    like($r->{headers}{'retry-after'}, qr/^[1-9]\d*$/, "$what: Retry-After")
        if $want =~ /503/;
    sleep 5.2 if $want =~ /401/;        # a refusal is remembered so long
}

$redis->command('DEL', $key);
$redis->command('RPUSH', $key, $line);
is(got($mine), '503 token_store', 'a list in its place');
$redis->command('DEL', $key);
$redis->command('SET', $key, $line);
is(got($mine), 'ok', 'none of that was remembered');
is(scalar(() = $t->read_log =~ /record of a token cannot be used/g), 1,
   'said once');
unlike($t->read_log, qr/\Q$secret\E/, 'without what stands there');

for (['an error', "-LOADING Redis is loading\r\n"],
     ['a number', ":1\r\n"], ['no protocol', "HTTP/1.1 200 OK\r\n\r\n"],
     ['nothing for ever', undef])
{
    my ($what, $reply) = @$_;

    $proxy->mode(only => 'GET', defined $reply ? (reply => $reply)
                                               : (swallow => 1));

    my $k = kept();
    my $began = time;

    is(got($k), '503 token_store', "$what: nobody knows");
    cmp_ok(time - $began, '<', 8, "$what: and not for long")
        unless $MCP::Test::SAN;
    is(got($filed), 'ok', "$what: who is in the file goes on");
    healthy();
    is(got($k), 'ok', "$what: it is over");
}


# ---- the wait

$proxy->mode(delay => 0.6);

my $slow = kept();

$n = gets();

my @c = map { mcp_start('/mcp', rpc('tools/call', { name => 'echo',
                        arguments => {} }), token => $slow->{token}) } 1 .. 5;

is(got($filed), 'ok', 'others do not wait');
is($_->read_response->{status}, 200, 'who waits is served') for @c;
is(gets() - $n, 2, 'one question for all');
$t->audit_next(5);

my $gone = kept();
my $c = mcp_start('/mcp', rpc('tools/call', { name => 'echo',
                  arguments => {} }), token => $gone->{token});

MCP::Test::wait_until(10, sub { gets() - $n == 4 });
$c->reset;
$a = $t->audit_next(1);
is("$a->{decision} $a->{reason}", 'error aborted_waiting_for_token',
   'one that goes meanwhile leaves a record');
$up->requests_next(0);
sleep 1;
is(scalar(() = $up->requests_next(0)), 0, 'and nothing else');

# two wait for the same, one goes

$gone = kept();
@c = map { mcp_start('/mcp', rpc('tools/call', { name => 'echo',
                     arguments => {} }), token => $gone->{token}) } 1 .. 2;
MCP::Test::wait_until(10, sub { gets() - $n >= 6 });
$c[0]->reset;
is($c[1]->read_response->{status}, 200, 'the other one does not mind');
$t->audit_next(2);
healthy();


# ---- Redis is away: who is known goes on, for 30 s; nobody new comes in

my $known = kept();
my $new = kept();

is(got($known), 'ok', 'known');
$proxy->mode(refuse => 1, close => 1);

my $began = time;

is(got($new), '503 token_store', 'away: one that is new');
is(got($known), 'ok', 'away: one that is known') if time - $began < 20;
is(got($filed), 'ok', 'away: one of the file');
is(got(MCP::Token::unknown()), '503 token_store',
   'away: nobody can say that there is none');
is(got($okta->token(groups => ['dev'])), 'ok', 'away: a JWT');

ok(MCP::Test::wait_until(60, sub { got($known) ne 'ok' }), 'away: it ends');
is(got($known), '503 token_store', 'away: for who was known');
cmp_ok(time - $began, '<', 35 + ($MCP::Test::SAN ? 30 : 0),
       'away: after 30 s');
healthy();
is(got($known), 'ok', 'back: known again');

# Redis comes back empty: nobody is known, nothing is guessed

$redis->command('FLUSHALL');
is(got($new), '401 token_unknown', 'emptied: nobody has it');


# ---- all workers know, and a new configuration does not

reload(conf(workers => 3), 'three workers');

my $shared = kept();

got($shared);
$began = time;
$n = gets();
is(got($shared), 'ok', 'known to all') for 1 .. 30;
cmp_ok(gets() - $n, '<=', 2, 'who did not ask finds it in the zone')
    if time - $began < 25;

reload(conf(workers => 3), 'reload');
$n = gets();
is(got($shared), 'ok', 'known after a reload');
is(gets() - $n, 0, 'from the zone') if time - $began < 25;

for (['another prefix', '401 token_unknown', redis => 'prefix gw:;'],
     ['another database', '401 token_unknown', redis => 'database 1;'],
     ['the same store again', 'ok'])
{
    my ($what, $want, %o) = @$_;

    reload(conf(%o), "reload: $what");
    is(got($shared), $want, "$what: what was known is not");
}

$shared->{roles} = ['ops'];
$redis->write_tokens($store, $shared);
reload(conf(roles => 'role ops { allow tool x; }'), 'another role');
is(got($shared), 'denied', 'is looked up again');

# a role that has the name which a claim had

my %dev = (issuer => 'role dev dev;');

$shared->{roles} = [qw/ dev ops /];
$redis->write_tokens($store, $shared);
reload(conf(%dev, http => 'map $mcp_auth_claim_ops $ops { default ""; }'),
       'a claim');
is(got($shared), 'ok', 'a role that nobody knows');
reload(conf(%dev, roles => 'role ops { deny tool echo; }'), 'a role for it');
is(got($shared), 'denied', 'counts at once when it is known');


# ---- guessing: counted when Redis said so, and Redis is not asked any more

reload(conf(failures => 3), 'a limit');

my @from = (headers => { 'X-Real-IP' => '192.0.2.7' });

$proxy->mode(reply => "-LOADING x\r\n", only => 'GET');
is(got(MCP::Token::unknown(), @from), '503 token_store', 'nobody knows')
    for 1 .. 5;
healthy();
is(got(MCP::Token::unknown(), @from), '401 token_unknown', 'nobody has it')
    for 1 .. 3;
$n = gets();
is(got(MCP::Token::unknown(), @from), '429 token_failures', 'enough');
is(got(kept(), @from), '429 token_failures', 'for anybody from there');
is(gets(), $n, 'and Redis hears nothing of it');
is(got(kept()), 'ok', 'elsewhere they go on');

# who was asked for before it was enough is not turned away with the answer

my $asked = kept();
my $echo = rpc('tools/call', { name => 'echo', arguments => {} });

@from = (headers => { 'X-Real-IP' => '192.0.2.8' });
$proxy->mode(delay => 0.5, only => 'GET');
@c = map { mcp_start('/mcp', $echo, token => MCP::Token::unknown(), @from) }
     1 .. 5;
MCP::Test::wait_until(10, sub { gets() - $n >= 10 });
$c = mcp_start('/mcp', $echo, token => $asked->{token}, @from);

is(join(' ', map { $_->read_response->{status} } @c), '401 401 401 401 401',
   'five guesses at once');
is($c->read_response->{status}, 200, 'and a token that was asked for');
$t->audit_next(6);
is(got(MCP::Token::unknown(), @from), '429 token_failures', 'enough');
healthy();


# ---- without a file

$proxy->mode;
reload(conf(file => ''), 'no file');
is(got(kept()), 'ok', 'Redis alone');
is(got($filed), '401 token_unknown', 'and not the file');

my $logs = join '', map { $t->read_file($_) } qw/ audit.log error.log /;

ok(index($logs, substr $_->{token}, 5, 43) < 0
   && index($logs, substr $store->hash($_), 0, 16) < 0,
   "$_->{id} is in no log") for @{$store->{tokens}};

done_testing;

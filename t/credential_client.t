#!/usr/bin/perl

# Client credentials: one token for everybody who uses the credential, got once
# for all workers; how the gateway shows who it is; what reaches the upstream,
# and what is refused when there is no token.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Provider;
use MCP::Redis;
use MCP::Upstream;
use MCP::Vault;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $vault = MCP::Vault->new($t);
my $d = $t->dir;

system("openssl genrsa -out $d/rsa.key 2048 2>/dev/null") == 0
    && system("openssl ecparam -name prime256v1 -genkey -noout"
              . " -out $d/ec.key 2>/dev/null") == 0
    or die 'openssl';
chmod 0600, "$d/rsa.key", "$d/ec.key";

my $idp = MCP::Provider->start($t, port => 8090, clients => {
    'basic id' => { secret => 'sec:ret/%+ of basic', auth => 'basic' },
    post => { secret => 'secret-of-post', auth => 'post' },
    rsa => { auth => 'jwt', key => "$d/rsa.key" },
    ec => { auth => 'jwt', key => "$d/ec.key" },
});
my $up = MCP::Upstream->start($t, port => 8081);

my %blocks = (
    basic => 'client_id "basic id"; client_secret "sec:ret/%+ of basic";
              scope a b; audience api://basic;
              resource https://mcp.acme.com/basic;',
    post => 'client_id post; client_secret secret-of-post;
             auth_method client_secret_post;',
    rsa => "client_id rsa; auth_method private_key_jwt; key $d/rsa.key;
            key_id k1;",
    ec => "client_id ec; auth_method private_key_jwt; key $d/ec.key;",
    many => 'client_id post; client_secret secret-of-post; scope many;
             auth_method client_secret_post;
             header X-Token "${token}"; header X-Tenant acme;
             header X-Both "Token token=${token};v=1";',
    bad => 'client_id post; client_secret wrong;
            auth_method client_secret_post;',
);

# one for each way of failing

my @failures = (
    ['5xx', 'credential_provider', 1, 'status', status => 503],
    ['429', 'credential_provider', 7, 'status', status => 429,
     retry_after => 7],
    ['busy', 'credential_provider', 1, 'error',
     error => 'temporarily_unavailable', status => 503],
    ['504', 'credential_unknown', 1, 'status', status => 504],
    ['html', 'credential_unknown', 1, 'html'],
    ['empty', 'credential_unknown', 1, 'empty', effect => 1],
    ['truncated', 'credential_unknown', 1, 'truncated', bytes => 20],
    ['huge', 'credential_unknown', 1, 'huge'],
    ['headers', 'credential_unknown', 1, 'headers'],
    ['close', 'credential_unknown', 1, 'close'],
    ['silent', 'credential_unknown', 1, 'silent', seconds => 5],
    ['mac', 'credential_unknown', 1, 'mac'],
    ['client', 'credential_client', 30, 'error', error => 'invalid_client',
     status => 401],
    ['in200', 'credential_client', 30, 'error', status => 200,
     error => 'incorrect_client_credentials'],
    ['scope', undef, 1, 'error', error => 'invalid_scope'],
    ['redirect', undef, 1, 'redirect'],
);

$blocks{"f$_->[0]"} = "client_id post; client_secret secret-of-post; scope"
    . " $_->[0]; auth_method client_secret_post;" for @failures;

$blocks{$_} = "client_id post; client_secret secret-of-post; scope $_;"
    . " auth_method client_secret_post;" for qw/ hold short down /;

sub conf {
    my (%o) = @_;
    my ($credentials, $servers, $locations) = ('', '', '');

    for my $n (sort keys %blocks) {
        $credentials .= "mcp_credential $n { type client_credentials;"
            . " token_endpoint " . $idp->endpoint . ($o{query} // '') . ";"
            . ' timeout ' . ($n eq 'fsilent' ? '1s' : '10s')
            . "; $blocks{$n} }\n";
        $servers .= "mcp_server $n { resource https://mcp.example.com/$n;"
            . " issuer okta; credential $n; role * { allow tool *; } }\n";
        $locations .= "location /$n { mcp_auth $n;"
            . " proxy_pass http://127.0.0.1:%%PORT_8081%%; }\n";
    }

    my $store = $o{redis} ? 'mcp_redis { server ' . $o{redis}->server
                            . '; }' : '';
    my $port = $o{port} // 8080;
    my $issuer = $okta->issuer_conf;

    return <<"END";
%%GLOBALS%%
worker_processes 4;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_vault_keys @{[ $vault->file ]};
    $store

    $issuer

    $credentials
    $servers

    server {
        listen 127.0.0.1:%%PORT_$port%% reuseport;
        location = /status { mcp_status; }
        $locations
    }
}
END
}

my $token = $okta->token(sub => 'alice', -expires => 3000);

# the newest audit record that the test wants, when it comes

sub on_record {
    my ($wanted) = @_;
    return MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
        my ($r) = grep { $wanted->() } reverse $t->audit(1);
        return $r;
    }) || {};
}

sub call {
    my ($server, %o) = @_;
    return call_tool("/$server", 'echo', {}, token => $token, %o);
}

# Each way of showing who the gateway is.  Every connection goes to some worker.

sub works {
    my ($server, $what, %want) = @_;
    my $n = $idp->count(result => 'ok');
    my @status = map { call($server)->{status} } 1 .. 12;
    my @requests = $up->requests_next(12);

    is("@status", join(' ', (200) x 12), "$what: all pass");
    is($idp->count(result => 'ok'), $n + 1, "$what: one token for all");

    my ($entry) = reverse $idp->log;
    is($entry->{kind}, 'client_credentials', "$what: the grant");
    is($entry->{params}{$_}, $want{$_}, "$what: $_") for sort keys %want;

    my %shown;
    $shown{$_->{headers}{authorization} // 'none'}++ for @requests;
    is(scalar keys %shown, 1, "$what: the same for all");

    my ($shown) = keys %shown;
    my $who = $idp->who($shown =~ /\ABearer (\S+)\z/ ? $1 : '');
    ok($who && !$who->{bad}, "$what: the token of the provider");
    unlike($_->{head}, qr/\Q$token\E/, "$what: not the caller's") for @requests;

    return $shown;
}

$t->write_conf(conf())->start;

works('basic', 'basic', scope => 'a b', audience => 'api://basic',
      resource => 'https://mcp.acme.com/basic', client_id => undef);
works('post', 'post', client_id => 'post');
works('rsa', 'RS256', client_id => 'rsa');
works('ec', 'ES256');

# ---- several headers

is(call('many', headers => { 'X-Tenant' => 'evil', 'X-Token' => 'evil',
                             'X_Both' => 'evil' })->{status}, 200, 'headers');
my ($req) = $up->requests_next;
my $h = $req->{headers};
my $who = $idp->who($h->{'x-token'});
ok($who && !$who->{bad}, 'the token alone');
is($h->{'x-tenant'}, 'acme', 'a fixed one');
is($h->{'x-both'}, "Token token=$h->{'x-token'};v=1", 'in the middle of text');
ok(!exists $h->{authorization}, 'no Authorization then');


# ---- on record, and counted

my @records = $t->audit(1);
my ($got) = grep { $_->{ev} eq 'credential' && $_->{credential} eq 'basic' }
            @records;
is($got->{method}, 'credential/get', 'an event of its own');
is($got->{decision}, 'allow', 'decision');
is($got->{reason}, 'credential', 'reason');
is($got->{credential_version}, 1, 'version');
ok($got->{ms}{credential} > 0, 'how long it took');
ok(!exists $got->{user}, 'nobody in particular');

my @calls = grep { $_->{ev} eq 'call' && $_->{server} eq 'basic' } @records;
is(scalar @calls, 12, 'calls');
is(scalar(grep { $_->{credential_version} == 1 && $_->{credential} eq 'basic' }
          @calls), 12, 'version on record');
my ($refreshed) = grep { $_->{refreshed} } @calls;
ok($refreshed && $refreshed->{ms}{credential} > 0, 'who waited for it');
ok((grep { !exists $_->{ms}{credential} && !$_->{refreshed} } @calls) > 0,
   'who had not to wait');

is(metric('credential_refreshes_total{credential="basic",result="ok"}'), 1,
   'counted');
is(metric('credentials{credential="basic",state="active"}'), 1, 'active');
my $left = metric('credential_expiry_seconds{credential="basic"}');
ok($left > 250 && $left <= 300, 'seconds to its end');

# ---- many wait for one

$up->requests_next(0);
$idp->misbehave('hold', times => 1);
my $before = $idp->count(client => 'post');

my @waiting = map { mcp_start('/hold', rpc('tools/call', { name => 'echo' }),
                              token => $okta->token(sub => "u$_",
                                                    -expires => 3000)) }
              1 .. 40;
ok($idp->wait_held(1), 'the provider was asked');
sleep 0.2;
is(scalar(() = $up->requests_next(0)), 0, 'nobody was forwarded');
$waiting[0]->close;         # who goes does not end it for others
$idp->behave;
is(join(' ', map { $_->read_response->{status} } @waiting[1 .. 39]),
   join(' ', (200) x 39), 'all are woken');
is($idp->count(client => 'post'), $before + 1, 'one token');
my %tokens = map { ($_->{headers}{authorization} // 'none') => 1 }
             $up->requests_next(39);
is(scalar keys %tokens, 1, 'the same for all');
my $gone = on_record(sub { $_->{reason} eq 'aborted_waiting_for_credential' });
ok($gone && $gone->{decision} eq 'error', 'who went is on record');

# ---- it ends, and nobody notices

$idp->set(lifetime => 2);

my $end = time + 5;
my $n = 0;

while (time < $end) {
    my $r = call('short');
    is($r->{status}, 200, 'passes') if $r->{status} != 200;
    $n++;
    sleep 0.02;
}

my @seen = map { $_->{headers}{authorization} } $up->requests_next($n);
my %seen = map { $_ => 1 } @seen;
ok(keys %seen >= 3, 'several tokens in five seconds');
ok(keys %seen <= 7, 'but not too many');

$idp->set(lifetime => 300);

# ---- refused

for (@failures) {
    my ($name, $reason, $retry, @how) = @$_;
    my $count = $idp->count;

    $idp->misbehave(@how);
    $up->requests_next(0);
    $t->audit_next(0);

    my $r = call("f$name");
    is($r->{status}, 503, "$name: 503");
    ok(($r->{headers}{'retry-after'} // 0) >= $retry, "$name: Retry-After")
        or diag($r->{headers}{'retry-after'});
    is($r->{json}{error}{code}, 503, "$name: in JSON");
    unlike($r->{body}, qr/secret|Gateway trouble/, "$name: says nothing");

    # others find out without asking

    is(call("f$name")->{status}, 503, "$name: again") for 1 .. 3;
    is($idp->count, $count + 1, "$name: no storm");
    is(scalar(() = $up->requests_next(0)), 0, "$name: nobody was forwarded");

    my @a = $t->audit_next(5);
    my @r = grep { $_->{ev} eq 'call' } @a;

    # (two workers write: who asked need not be the first one in the file)

    is(join(' ', map { $_->{decision} } @r), 'error error error error',
       "$name: on record");
    ok((grep { $_->{reason} eq $reason } @r), "$name: why")
        or diag(join ' ', map { $_->{reason} } @r) if $reason;
    is(scalar(grep { exists $_->{credential} } @r), 0,
       "$name: no credential was shown");
    my ($e) = grep { $_->{ev} eq 'credential' } @a;
    is($e->{decision}, 'error', "$name: an event");

    $idp->behave;
}

my $ok = MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    call('f5xx')->{status} == 200;
});
ok($ok, 'a moment later it is had');

is(call('bad')->{status}, 503, 'a wrong secret');
like($t->read_log, qr/mcp_credential "bad": token endpoint: client_bad/,
     'the log says which');

# ---- the endpoint is down

$idp->stop;
is(call('down')->{status}, 503, 'nobody listens');
$idp->restart;

# ---- two gateways with one Redis

my $redis = MCP::Redis->start($t);
my $second = MCP::Test->new;

$t->reload(conf(redis => $redis));
$second->write_conf(conf(redis => $redis, port => 8180))->start;
$before = $idp->count;
my $name = $vault->name({ credential => 'basic', audience => 'api://basic',
                          scope => 'a b' });
my %two;

$up->requests_next(0);

for my $port (8080, 8180) {
    is(call('basic', port => $port)->{status}, 200, "at $port") for 1 .. 8;
}

$two{$_->{headers}{authorization}}++ for $up->requests_next(16);
is(scalar keys %two, 1, 'one token for both');
is($idp->count, $before + 1, 'the provider was asked once');

my ($token_text) = map { /Bearer (\S+)/ } keys %two;
my $raw = $redis->command('HGETALL', "mcp:cred:$name");
unlike(join('|', map { $_ // '' } @$raw), qr/\Q$token_text\E/, 'it is sealed');
is($vault->read($redis, { credential => 'basic', audience => 'api://basic',
                          scope => 'a b' })->{tokens}{access_token},
   $token_text, 'and can be opened');

# what another endpoint gave under this name is not shown to whoever is behind
# it now

$t->reload(conf(redis => $redis, query => '?new'));
$before = $idp->count;
is(call('basic')->{status}, 200, 'the credential is at another endpoint');
is($idp->count, $before + 1, 'which was asked');
isnt(($up->requests_next(1))[-1]{headers}{authorization}, "Bearer $token_text",
     'what the one before gave is not shown');
$t->reload(conf(redis => $redis));

# a record that is put in the place of another does not open

my $other = $vault->name({ credential => 'post' });
call('post');
$up->requests_next(1);
$redis->command('HSET', "mcp:cred:$other", 'tok', { @$raw }->{tok});
$redis->command('PUBLISH', 'mcp:events', "cred $other");
$before = $idp->count;
is(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    call('post')->{status} == 200 && $idp->count > $before }), 1,
   'another is had');
my @late = $up->requests_next(1);
isnt($late[-1]{headers}{authorization}, "Bearer $token_text",
     'the moved one is not shown');

# Redis goes: nobody is forwarded without

$redis->kill;
MCP::Test::wait_until($MCP::Test::TIMEOUT,
                      sub { call('rsa', port => 8180)->{status} == 503 });
is(call('rsa', port => 8180)->{status}, 503, 'Redis is down');
is(scalar(grep { ($_->{headers}{authorization} // '') !~ /^Bearer at-/ }
          $up->requests_next(0)), 0, 'nobody without a credential');

# ---- no secret anywhere

my $all = join '', map { $_->read_log, map { $_ // '' } $_->read_file('audit.log'),
                         $_->read_file('access.log') } $t, $second;

ok(index($all, $_) < 0, 'no secret in logs') for $idp->secrets, $token,
                                                  $vault->secrets;

done_testing;

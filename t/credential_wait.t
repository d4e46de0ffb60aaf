#!/usr/bin/perl

# What changes while a credential is asked for: the caller is revoked, its token
# ends, the grant is taken away.  And answers that nobody can use, which must
# not be asked for again at once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Provider;
use MCP::Proxy;
use MCP::Redis;
use MCP::Vault;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1, conf => 'leeway 2s;');
my $vault = MCP::Vault->new($t);
my $redis = MCP::Redis->start($t);
my $proxy = MCP::Proxy->start($t, port => 6380, to => $redis->socket);
my $idp = MCP::Provider->start($t, port => 8090, issuer => $okta);
my $up = $idp->resource(port => 8081);

sub conf {
    my ($server, $endpoint, $keys)
        = ($proxy->server, $idp->endpoint, $vault->file);
    my $client = "token_endpoint $endpoint; timeout 20s;"
                 . " client_id gw; client_secret gw-secret;";

    return <<"END";
%%GLOBALS%%
worker_processes 1;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_vault_keys $keys;
    mcp_redis { server $server; timeout 1s; revocation_stale 60s; }
    %%ISSUER_okta%%

    mcp_credential jira { type user; $client }
    mcp_credential obo { type token_exchange; $client audience api://billing; }
    mcp_credential bot { type client_credentials; $client }

    mcp_server jira { resource https://mcp.example.com/jira; issuer okta;
                      credential jira; role * { allow tool *; } }
    mcp_server obo { resource https://mcp.example.com/obo; issuer okta;
                     credential obo; role * { allow tool *; } }
    mcp_server bot { resource https://mcp.example.com/bot; issuer okta;
                     credential bot; role * { allow tool *; } }
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location /jira { mcp_auth jira; proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /obo { mcp_auth obo; proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /bot { mcp_auth bot; proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
}
END
}

$t->write_conf(conf())->start;

sub owner { { credential => 'jira', issuer => $okta->{issuer},
              user => $_[0] } }
sub key { 'mcp:cred:' . $vault->name(owner(@_)) }
sub record { $vault->read($redis, owner(@_)) || {} }
sub wait_for { MCP::Test::wait_until($_[1] // $MCP::Test::TIMEOUT, $_[0]) }
sub token { $okta->token(sub => $_[0], -expires => 3000, @_[1 .. $#_]) }
sub user { (MCP::Provider->told($_[0]) // {})->{user} // "-$_[0]{status}" }

sub start_call {
    my ($uri, $token) = @_;
    return mcp_start($uri, rpc('tools/call', { name => 'echo' }),
                     token => $token);
}

sub call { start_call(@_)->read_response(timeout => 25) }

# a grant whose access token has ended

sub grant {
    my ($user) = @_;
    my $g = $idp->grant($user, lifetime => 300);

    $vault->write($redis, owner($user), { %$g, expires => int(time) - 1 },
                  issued => int(time) - 301);
    return $g;
}

# a request whose provider answers when it is told to

sub begin {
    my ($uri, $token) = @_;

    $idp->misbehave('hold', times => 1);
    my $c = start_call($uri, $token);
    ok($idp->wait_held(1), "$uri: the provider was asked");
    return $c;
}

sub on_record {
    my ($user, $reason) = @_;
    return wait_for(sub { grep { ($_->{user} // '') eq $user
                                 && $_->{reason} eq $reason } $t->audit(1) });
}


ok(wait_for(sub { call('/jira', token('nobody'))->{status} != 503 }),
   'Redis is there');


# ---- the caller is revoked while it waits

grant('ann');

for (['/jira', 'ann'], ['/obo', 'ben']) {
    my ($uri, $user) = @$_;
    my $token = token($user, iat => int(time) - 100);
    my $c = begin($uri, $token);

    $redis->revoke(issuer => $okta->{issuer}, user => $user,
                   at => int(time) - 50);
    ok(wait_for(sub { mcp_post($uri, rpc('ping'), token => $token)->{status}
                      == 401 }), "$user is revoked");
    $idp->release;
    is($c->read_response->{status}, 401, "$uri: who waited is refused");
    is(scalar(() = $up->requests_next(0)), 0, "$uri: nothing was forwarded");
}


# ---- the grant is taken away

my $ina = grant('ina');
my $c = begin('/jira', token('ina'));

grant('jon');
is(user(call('/jira', token('jon'))), 'jon', 'somebody else');
$redis->command('DEL', key('ina'));
$redis->command('PUBLISH', 'mcp:events', 'cred ' . $vault->name(owner('ina')));

# what was published later has come, so this has, too

$redis->command('DEL', key('jon'));
$redis->command('PUBLISH', 'mcp:events', 'cred ' . $vault->name(owner('jon')));
ok(wait_for(sub { call('/jira', token('jon'))->{status} == 403 }),
   'the gateway knows');
$up->requests_next(0);
$idp->release;
is($c->read_response->{status}, 403, 'who waited has to connect an account');
is(scalar(() = $up->requests_next(0)), 0, 'nothing was forwarded');
is_deeply(record('ina'), {}, 'nothing was written');


# ---- its token ends

for my $uri ('/obo', '/bot') {
    my $exp = int(time) + 2;
    my $c = begin($uri, $okta->token(sub => 'cid', exp => $exp));

    sleep 0.1 while time < $exp + 2;
    $idp->release;
    is($c->read_response->{status}, 401, "$uri: its token has ended");
    is(scalar(() = $up->requests_next(0)), 0, "$uri: nothing was forwarded");
}

ok(on_record('cid', 'expired'), 'on record');



# ---- what is over when it comes is not asked for again and again

for (['a token of a second', '/obo'], ['of a person', '/jira']) {
    my ($what, $uri) = @$_;
    my $n = $idp->count;
    my $user = "dot$n";

    grant($user);
    $idp->misbehave('change', with => { expires_in => 1 });

    my $r = call($uri, token($user));
    ok($idp->count - $n <= 2, "$what: not asked at once again");
    is($r->{status}, 503, "$what: is good for nobody");
    ok(($r->{headers}{'retry-after'} // 0) >= 1, "$what: Retry-After");

    $idp->behave;
    ok(wait_for(sub { call($uri, token($user))->{status} == 200 }),
       "$what: later");
}

my $late = $okta->token(sub => 'eli', exp => int(time) - 1);
my $n = $idp->count;
my $l = call('/obo', $late);
isnt($l->{status}, 200, 'a token within its leeway');
is($idp->count, $n, 'nobody is asked');


# ---- what was published while nobody listened

$vault->write($redis, owner('pia'), $idp->grant('pia', lifetime => 300));
is(user(call('/jira', token('pia'))), 'pia', 'warm');

$proxy->mode(refuse => 1, close => 1);
$redis->command('DEL', key('pia'));
$proxy->mode;

# long before it would be looked at again

ok(wait_for(sub { call('/jira', token('pia'))->{status} == 403 }, 20),
   'a new subscription drops what is warm');

done_testing;

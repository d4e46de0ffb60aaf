#!/usr/bin/perl

# Token exchange: the caller's token becomes one for the server behind, kept no
# longer than the caller's own, and for nobody else.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Provider;
use MCP::Redis;
use MCP::Token;
use MCP::Vault;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $store = MCP::Token->new($t);
my $vault = MCP::Vault->new($t);
my $redis = MCP::Redis->start($t);
my $idp = MCP::Provider->start($t, port => 8090, issuer => $okta);
my $up = $idp->resource(port => 8081);
my $d = $t->dir;
my $pat = $store->pat(issuer => $okta->{issuer}, user => 'alice');
my $vat = $store->vat(service => 'ci');
$store->write;

sub conf {
    my ($with_redis) = @_;
    my ($endpoint, $keys) = ($idp->endpoint, $vault->file);
    my $server = $with_redis ? 'mcp_redis { server ' . $redis->server . '; }'
                             : '';
    my $client = "type token_exchange; token_endpoint $endpoint; timeout 1s;"
                 . " client_id gw; client_secret gw-secret;"
                 . " audience api://billing; scope billing.read;";

    return <<"END";
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_vault_keys $keys;
    mcp_token_file $d/tokens;
    mcp_token_key $d/pepper-a;
    $server
    %%ISSUER_okta%%

    mcp_credential obo { $client }
    mcp_credential bot { type static; value "Bearer bot"; }
    mcp_credential mixed { $client fallback bot; }

    mcp_server obo { resource https://mcp.example.com/obo; issuer okta;
                     tokens on; credential obo; role * { allow tool *; } }
    mcp_server mixed { resource https://mcp.example.com/mixed; issuer okta;
                       tokens on; credential mixed; role * { allow tool *; } }
    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport;
        location = /status { mcp_status; }
        location /obo { mcp_auth obo; proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /mixed { mcp_auth mixed; proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
}
END
}

# the newest audit record that the test wants, when it comes

sub on_record {
    my ($wanted) = @_;
    return MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
        my ($r) = grep { $wanted->() } reverse $t->audit(1);
        return $r;
    }) || {};
}

sub call {
    my ($token, %o) = @_;
    return call_tool($o{uri} // '/obo', 'echo', {}, token => $token, %o);
}

sub who { MCP::Provider->told($_[0]) // {} }
sub wait_for { MCP::Test::wait_until($MCP::Test::TIMEOUT, $_[0]) }

# with the zone as the store, then with Redis

$t->write_conf(conf(0))->start;

for my $with (0, 1) {
    my $in = $with ? 'Redis' : 'the zone';

    if ($with) {
        ok($t->reload(conf(1)), 'now with Redis');
    }

    my $u = $with ? 'bea' : 'ann';
    my $token = $okta->token(sub => $u, cid => '0oa1', -expires => 3000);
    my $n = $idp->count(kind => 'exchange', result => 'ok');
    my @w = map { who(call($token)) } 1 .. 8;

    is(scalar(grep { ($_->{user} // '') eq $u } @w), 8, "$in: hers");
    is($w[0]{audience}, 'api://billing', "$in: its audience");
    is($w[0]{scope}, 'billing.read', "$in: its scope");
    is($idp->count(kind => 'exchange', result => 'ok'), $n + 1,
       "$in: once for all workers");

    my %seen = map { $_->{headers}{authorization} => 1 } $up->requests_next(8);
    ok(!$seen{"Bearer $token"}, "$in: never her own token");
    is(scalar keys %seen, 1, "$in: one token");

    # somebody else, another token of hers, another client

    my $other = $okta->token(sub => "$u-2", cid => '0oa1', -expires => 3000);
    is(who(call($other))->{user}, "$u-2", "$in: somebody else's is his");
    is(who(call($okta->token(sub => $u, cid => '0oa1', -expires => 3000)))
       ->{user}, $u, "$in: another token of hers");
    is(who(call($okta->token(sub => $u, cid => '0oa2', -expires => 3000)))
       ->{user}, $u, "$in: another client");
    is($idp->count(kind => 'exchange', result => 'ok'), $n + 4,
       "$in: each is exchanged");
    $up->requests_next(3);
}

# ---- no longer than the caller's own

my $brief = $okta->token(sub => 'cid', jti => 'brief-1', cid => '0oa1',
                         -expires => 8);
is(who(call($brief))->{user}, 'cid', 'a token that ends soon');
my %of = (credential => 'obo', issuer => $okta->{issuer}, user => 'cid',
          client => '0oa1', audience => 'api://billing',
          scope => 'billing.read', subject => 'brief-1');
my $r;
ok(wait_for(sub { $r = $vault->read($redis, \%of) }), 'is in Redis');
ok($r->{expires} <= time + 8, 'until the end of the caller\'s');
ok($redis->command('TTL', 'mcp:cred:' . $vault->name(\%of)) <= 70,
   'and goes soon after');
ok(!length($r->{tokens}{refresh_token} // ''), 'no refresh token');

# ---- a watermark

my $eve = $okta->token(sub => 'eve', -expires => 3000, iat => int(time) - 100);
is(who(call($eve))->{user}, 'eve', 'before she is revoked');
my $before = $idp->count(kind => 'exchange', user => 'eve');
$redis->revoke(issuer => $okta->{issuer}, user => 'eve', at => int(time) - 50);
ok(wait_for(sub { call($eve)->{status} == 401 }), 'revoked');
is($idp->count(kind => 'exchange', user => 'eve'), $before,
   'nothing is exchanged for her');
my $again = $okta->token(sub => 'eve', -expires => 3000);
my $e = call($again);
is(who($e)->{user}, 'eve', 'who logs in again');
is($idp->count(kind => 'exchange', user => 'eve'), $before + 1,
   'is exchanged again');

# ---- who is no person, or has nothing to exchange

$up->requests_next(0);

for (['a service', $okta->token(sub => '0oa1', cid => '0oa1')],
     ['a PAT', $pat->{token}], ['a VAT', $vat->{token}])
{
    my ($what, $token) = @$_;
    my $n = $idp->count;

    is(call($token)->{status}, 403, "$what is refused");

    # the upstream does not know the bot, which is no fault of the caller

    is(call($token, uri => '/mixed')->{status}, 502, "$what: the fallback");
    my @r = $up->requests_next(1);
    is(scalar @r, 1, "$what: one was forwarded");
    is($r[0]{headers}{authorization}, 'Bearer bot', "$what: as the bot");
    is($idp->count, $n, "$what: nothing was asked");
}

my $no = on_record(sub { $_->{reason} eq 'no_person' });
is($no->{decision}, 'deny', 'on record');

# ---- the provider refuses

my $fred = $okta->token(sub => 'fred', -expires => 3000);
$idp->misbehave('error', error => 'invalid_grant', times => 1);
my $f = call($fred);
is($f->{status}, 503, 'an exchange that is refused');
ok($f->{headers}{'retry-after'} >= 1, 'Retry-After');
my $why = on_record(sub { ($_->{user} // '') eq 'fred' && $_->{ev} eq 'call' });
is($why->{reason}, 'credential_refused', 'on record');
is(scalar(() = $up->requests_next(0)), 0, 'nothing was forwarded');
ok(wait_for(sub { (who(call($fred))->{user} // '') eq 'fred' }), 'later');

my $all = join '', $t->read_log, map { $t->read_file($_) // '' }
                                 qw/ audit.log access.log /;
fail('a secret in a log') for grep { index($all, $_) >= 0 } $idp->secrets;

done_testing;

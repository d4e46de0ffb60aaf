#!/usr/bin/perl

# One refresh at a time.  Two gateways with four workers each, which share
# Redis; a provider that rotates refresh tokens and ends a grant when one comes
# twice.  At the moment when an access token ends, 200 requests come at once:
# one refresh, and nobody notices.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Conn;
use MCP::Test;
use MCP::Issuer;
use MCP::Provider;
use MCP::Redis;
use MCP::Vault;

my $rounds = $ENV{MCP_TEST_ROUNDS} || ($MCP::Test::SAN ? 10 : 50);
my $many = 200;

my $t = MCP::Test->new;
my $second = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $vault = MCP::Vault->new($t);
my $redis = MCP::Redis->start($t);
my $idp = MCP::Provider->start($t, port => 8095);

# The upstream says which credential it saw; nginx itself, for it is fast.

sub conf {
    my ($port) = @_;
    my ($server, $issuer, $endpoint, $keys)
        = ($redis->server, $okta->issuer_conf, $idp->endpoint, $vault->file);
    my $upstream = $port == 8080 ? <<'END' : '';
    server {
        listen 127.0.0.1:%%PORT_8081%%;
        default_type application/json;
        location / { return 200 '{"jsonrpc":"2.0","id":1,"result":{"content":[
            {"type":"text","text":"$http_authorization"}],"isError":false}}'; }
    }
END

    return <<"END";
%%GLOBALS%%
worker_processes 4;
events { worker_connections 1024; }
http {
    %%GLOBALS_HTTP%%
    access_log off;
    keepalive_requests 100000;
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_vault_keys $keys;
    mcp_redis { server $server; }
    $issuer

    mcp_credential jira {
        type user;
        token_endpoint $endpoint;
        client_id gw;  client_secret gw-secret;
        timeout 5s;
    }

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        credential jira;
        role * { allow tool *; }
    }

    $upstream
    server {
        listen 127.0.0.1:%%PORT_$port%% reuseport;
        location /mcp { mcp_auth mcp;
                        proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
}
END
}

my @gateways = ([$t, 8080], [$second, 8090]);

$_->[0]->write_conf(conf($_->[1]))->start for @gateways;

my @conns = map { MCP::Conn->new(port => port($gateways[$_ % 2][1])) }
            1 .. $many;

sub owner { { credential => 'jira', issuer => $okta->{issuer},
              user => $_[0] } }

# All of them at once: (statuses, tokens that the upstream saw)

sub volley {
    my ($user) = @_;
    my $token = $okta->token(sub => $user, -expires => 3000);
    my (%status, %seen);
    my $bytes = MCP::Test::mcp_request('/mcp',
        rpc('tools/call', { name => 'echo', arguments => {} }, id => 1),
        token => $token);

    $_->send($bytes) for @conns;

    for (@conns) {
        my $r = $_->read_response;
        $status{$r->{status} // 0}++;
        $seen{$1}++ if ($r->{body} // '') =~ /Bearer ([\w-]+)"/;
    }

    return (\%status, \%seen);
}

# all workers have their connections to Redis

ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    my ($status) = volley('nobody');
    return !$status->{503};
}), 'Redis is there');

my ($refreshes, $failed, $wrong, $dead, $slowest) = (0, 0, 0, 0, 0);

for my $round (1 .. $rounds) {
    my $user = "user-$round";

    # every other round has it warm in all workers until it ends

    my $warm = $round % 2;
    my $grant = $idp->grant($user, lifetime => $warm ? 2 : 1);

    $vault->write($redis, owner($user), { %$grant, $warm ? ()
                                         : (expires => int(time) - 1) });

    if ($warm) {
        my ($status) = volley($user);
        $failed += $many - ($status->{200} // 0);
        diag("round $round, before: ", join ' ', %$status)
            if ($status->{200} // 0) != $many;
        MCP::Test::wait_until(5, sub { time >= $grant->{expires} - 1 });
    }

    my $began = time;
    my ($status, $seen) = volley($user);
    my $took = time - $began;

    $slowest = $took if $took > $slowest;
    $failed += $many - ($status->{200} // 0);
    diag("round $round: ", join ' ', %$status) if ($status->{200} // 0) != $many;

    # the old one may be shown while it is good; whose it is never differs

    $wrong += grep { (($idp->who($_) || {})->{user} // '') ne $user }
              keys %$seen;

    my $n = $idp->wait_count(1, kind => 'refresh_token', user => $user);
    $refreshes++ if $n != 1;
    $dead++ unless $idp->alive($grant);
    diag("round $round: $n refreshes") if $n != 1;
}

is($failed, 0, "no request of $rounds x $many failed");
is($refreshes, 0, 'one refresh in every round');
is($idp->count(kind => 'refresh_token'), $rounds, 'and none later');
is($wrong, 0, 'nobody saw the token of somebody else');
is($dead, 0, 'no grant died');
is($idp->count(reuse => 1), 0, 'no refresh token came twice');
diag(sprintf 'the slowest volley took %.0f ms', 1000 * $slowest);

done_testing;

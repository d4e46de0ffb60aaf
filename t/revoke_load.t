#!/usr/bin/perl

# The table of revocations is lost while it is being loaded from Redis: what was
# merged before is gone, so the rest is not the whole, and nobody passes until
# all of it was asked for anew.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Issuer;
use MCP::Proxy;
use MCP::Redis;
use MCP::Revocations;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $redis = MCP::Redis->start($t);
my $proxy = MCP::Proxy->start($t, port => 6380, to => $redis->socket);
my $up = MCP::Upstream->start($t, port => 8081);
my $server = $proxy->server;

# a dozen pages of HSCAN, and in each some who try

my @who = map { "user-$_" } 1 .. 40;

$redis->revoke(issuer => $okta->{issuer}, user => $_)
    for @who, map { "other-$_" } 1 .. 1500;

$t->write_conf(<<"END");
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_redis { server $server; timeout 20s; revocation_stale 60s; }

    %%ISSUERS%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        role * { allow tool *; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location / { mcp_auth mcp;
                     proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location = /status { mcp_status; }
    }
}
END

my %token = map {
    $_ => $okta->token(sub => $_, iat => int(time) - 60, -expires => 3000)
} @who, 'bob';

sub status {
    my ($who) = @_;
    return call_tool('/mcp', 'echo', {}, token => $token{$who},
                     timeout => 60)->{status};
}

my $page = $ENV{MCP_TEST_SAN} ? 0.6 : 0.2;

$proxy->mode(delay => $page, only => 'HSCAN');
$t->start;

my $some = MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    (metric('revocations{store="redis"}') || 0) > 100;
});

ok($some, 'the first page is there');
is(metric('revocations_ready'), 0, 'and not all');
ok(MCP::Revocations::torn($t), 'a worker died while it changed the table');
cmp_ok(metric('revocations{store="redis"}') || 0, '<', 1540, 'which is empty');

# whatever the time, and from then on

my %seen;

MCP::Test::wait_until(6 * $MCP::Test::TIMEOUT, sub {
    $seen{"$_ " . status($_)}++ for @who;
    return metric('revocations_ready');
});

is(join(' ', grep { /200/ } sort keys %seen), '', 'nobody passes meanwhile');
is(metric('revocations_ready'), 1, 'it was loaded anew');
is(metric('revocations{store="redis"}'), 1540, 'all of it');
is(join(' ', grep { status($_) != 401 } @who), '', 'all are revoked');
is(status('bob'), 200, 'who is not passes');

done_testing;

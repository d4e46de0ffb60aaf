#!/usr/bin/perl

# A page of another origin may not use its visitor's way to the gateway (DNS
# rebinding): an Origin that is there must be the server's own or a listed one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $up = MCP::Upstream->start($t, port => 8081);

$t->write_conf(<<'END');
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;

    %%ISSUER_okta%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        origin https://app.example.com http://localhost:6274;
        role * { allow tool echo; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        location / {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END
$t->start;

my $token = $okta->token;

sub ask {
    my ($origin, %o) = @_;
    my $r = call_tool('/mcp', 'echo', {}, token => $token, %o,
                      headers => { Origin => $origin });
    my $a = $t->audit_next(1, settle => 0.02);
    my @seen = $up->requests_next(0, settle => 0);

    return ($r, $a, scalar @seen);
}

for my $origin (undef, 'https://mcp.example.com', 'https://app.example.com',
                'http://localhost:6274', 'HTTPS://APP.example.COM')
{
    my ($r, $a, $seen) = ask($origin);
    my $what = $origin // 'none';

    is($r->{status}, 200, "$what: 200");
    is($a->{decision}, 'allow', "$what: allowed");
    is($seen, 1, "$what: goes upstream");
}

for my $origin ('null', '', 'https://evil.example.com',
                'http://mcp.example.com', 'https://mcp.example.com:8443',
                'https://mcp.example.com/', 'https://mcp.example.com.evil.com',
                'https://evil.com/https://mcp.example.com',
                'https://xmcp.example.com', 'https://app.example.com:443',
                'http://localhost', 'http://localhost:62745', '*',
                'https://app.example.com https://evil.example.com',
                'https://app.example.com, https://evil.example.com')
{
    for my $o ([], [ token => undef ], [ method => 'GET' ]) {
        my ($r, $a, $seen) = ask($origin, @$o);
        my $what = "'$origin' @{[map { $_ // '-' } @$o]}";

        is($r->{status}, 403, "$what: 403");
        is($r->{headers}{'www-authenticate'}, undef, "$what: no challenge");
        is($a->{decision}, 'deny', "$what: denied");
        is($a->{reason}, 'origin', "$what: origin");
        is($seen, 0, "$what: goes nowhere");
    }
}

# the Host of the request says nothing: rebinding makes it match the Origin

my $r = call_tool('/mcp', 'echo', {}, token => $token,
                  host => 'evil.example.com',
                  headers => { Origin => 'https://evil.example.com' });
is($r->{status}, 403, 'same as Host: 403');

$r = call_tool('/mcp', 'echo', {}, token => $token,
               headers => { Origin => ['https://app.example.com',
                                       'https://evil.example.com'] });
is($r->{status}, 400, 'twice: 400');
is(scalar(my @seen = $up->requests_next(0)), 0, 'go nowhere');

done_testing;

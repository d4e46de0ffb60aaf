#!/usr/bin/perl

# One way for a token to come: one Authorization header of a bounded size.  Not
# the query, where logs and upstreams would see it, nor two headers, of which
# somebody might read the other one.

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

# the same issuer, read in another way

my $strict = $okta->issuer_conf;
$strict =~ s/mcp_issuer okta/mcp_issuer strict/;
$strict =~ s/\}\s*\z/ token_type at+jwt; user_claim email; }/;

$t->write_conf(<<"END");
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    large_client_header_buffers 4 32k;
    mcp_audit %%TESTDIR%%/audit.log;

    %%ISSUER_okta%%
    $strict

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        role * { allow tool *; }
    }

    mcp_server strict {
        resource https://mcp.example.com/strict;
        issuer strict;
        role * { allow tool *; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        location /mcp {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /strict {
            mcp_auth strict;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END
$t->start;

my $token = $okta->token;
my $r;


# the query

for ("access_token=$token", "a=b&access_token=$token", "Access_Token=x",
     "%61ccess_token=$token", "access%5Ftoken=$token", "a=b&&access_token=",
     "access_token%3D=x&access_token=x")
{
    for my $header (undef, $token) {
        $r = call_tool("/mcp?$_", 'echo', {}, token => $header);
        is($r->{status}, 400, substr "query $_", 0, 40);
        ok(!$r->{headers}{'www-authenticate'}, 'no challenge');
        is($t->audit_next(1, settle => 0)->{reason}, 'query_token', 'audit');
    }
}

is(scalar $up->requests(0), 0, 'none reached the upstream');

for ('no_access_token=1', 'access_tokens=1', 'q=access_token=1', 'access_token')
{
    $r = call_tool("/mcp?$_", 'echo', {}, token => $token);
    is($r->{status}, 200, "query $_");
    is($up->requests_next->{uri}, "/mcp?$_", 'is left as it is');
    $t->audit_next(1, settle => 0);
}


# two headers: nginx's own 400 or ours, in any order, good or bad

for ([$token, $token], [$token, 'x'], ['x', $token])
{
    $r = call_tool('/mcp', 'echo', {}, headers => {
        Authorization => [ map { "Bearer $_" } @$_ ] });
    is($r->{status}, 400, 'two Authorization headers');
}

$r = call_tool('/mcp', 'echo', {}, headers => {
    Authorization => [ "Bearer $token", 'Basic dXNlcjpwYXNz' ] });
is($r->{status}, 400, 'two schemes');

for (qw/ Origin Content-Type Mcp-Session-Id /) {
    $t->audit_next(0, settle => 0.05);
    $r = call_tool('/mcp', 'echo', {}, token => $token,
                   headers => { $_ => [ 'a', 'a' ] });
    is($r->{status}, 400, "two $_ headers");
}

is(scalar $up->requests(0), 4, 'none reached the upstream');


# its size

sub sized {
    my ($size) = @_;
    my $n = 16 * 1024;

    # claims grow until the text has this length; one of the first lengths fits

    my ($short, $pad) = (length $okta->token(pad => ''), 0);
    $pad = int(($size - $short) * 3 / 4);

    for ($pad - 8 .. $pad + 8) {
        my $long = $okta->token(pad => 'x' x $_, jti => 'AT.1');
        return $long if length $long == $size;
    }

    return undef;
}

my ($fits) = grep { defined } map { sized(16384 - $_) } 0, 1;
my $over = $fits && length $fits == 16384 ? $fits . 'A' : sized(16385);

ok(length $fits >= 16383, 'a token of ' . length $fits);
$t->audit_next(0, settle => 0.05);

$r = call_tool('/mcp', 'echo', {}, token => $fits);
is($r->{status}, 200, 'is accepted');
is($t->audit_next->{decision}, 'allow', 'audit');
is($up->requests_next->{headers}{authorization}, undef, 'and goes no further');

$r = call_tool('/mcp', 'echo', {}, token => $over);
is($r->{status}, 401, 'one of ' . length($over) . ' is not');
is($t->audit_next->{reason}, 'token_too_long', 'audit');

$r = call_tool('/mcp', 'echo', {}, token => 'x' x 40000);
is($r->{status}, 400, 'what nginx has no buffer for');


# two mcp_issuer of one name do not answer for each other, whoever was asked
# first: neither what they accept nor what they refuse

for my $order (['/mcp', '/strict'], ['/strict', '/mcp']) {
    my %how = (email => 'a@example.com');
    my $at = $okta->token(%how, -typ => 'at+jwt');
    my $any = $okta->token(%how);
    my %want = ('/mcp' => [200, 200], '/strict' => [200, 401]);

    $t->audit_next(0);

    for my $uri (@$order, @$order) {
        for (0, 1) {
            $r = call_tool($uri, 'echo', {}, token => ($at, $any)[$_]);
            is($r->{status}, $want{$uri}[$_], "$uri, after $order->[0]");
            is($t->audit_next(1, settle => 0)->{user},
               $uri eq '/mcp' ? 'alice' : 'a@example.com', 'its user')
                if $r->{status} == 200;
            $t->audit_next(1, settle => 0) if $r->{status} != 200;
        }
    }
}

done_testing;

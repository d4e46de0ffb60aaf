#!/usr/bin/perl

# mcp_auth is inherited: into nested locations, `if` and limit_except, which
# each have a configuration of their own, and from server {}; off and another
# server replace it.  Settings of the body reader change what nginx's buffers
# look like, not what is decided; nor does the next request in one of them.
# Whoever is refused gets no credential by way of an error page.
# Trap N6 of docs/internals/traps.md.

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

    mcp_credential bot { type static; value "Bearer bot-secret"; }

    mcp_server a { resource https://mcp.example.com/mcp; issuer okta;
                   credential bot; role * { allow tool echo; } }
    mcp_server b { resource https://mcp.example.com/mcp; issuer okta;
                   role * { allow tool other; } }

    upstream stub { server 127.0.0.1:%%PORT_8081%%; }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        mcp_auth a;

        location /a {
            proxy_pass http://stub;

            location /a/off { mcp_auth off; proxy_pass http://stub; }
            location /a/b { mcp_auth b; proxy_pass http://stub; }

            if ($arg_x) { proxy_pass http://stub; }
            limit_except POST { proxy_pass http://stub; }
        }

        location /stream { proxy_request_buffering off;
                           client_body_buffer_size 1k; proxy_pass http://stub; }
        location /single { client_body_in_single_buffer on;
                           proxy_pass http://stub; }
        location /file { client_body_in_file_only clean;
                         proxy_pass http://stub; }

        location /refused { error_page 400 401 403 = @open;
                            proxy_pass http://stub; }
        location @open { mcp_auth off; proxy_pass http://stub; }

        location /deny { deny all; error_page 403 /page; }
        location /page { mcp_auth off; return 200 page; }
    }

    server {
        listen 127.0.0.1:%%PORT_8083%%;
        location / { mcp_auth b; proxy_pass http://stub; }
    }
}
END
$t->start;

my $token = $okta->token(sub => 'alice');
my $big = { a => 'x' x 20000 };


# status, what the upstream saw, and the one record

sub try {
    my ($name, $r, $reason, $sent) = @_;
    my @a = $t->audit_next($reason ? 1 : 0);
    my @u = $up->requests_next($sent ? 1 : 0);

    is(join(' ', map { "$_->{server}:$_->{reason}" } @a), $reason // '',
       "$name: recorded once");
    is(scalar @u, $sent ? 1 : 0, "$name: upstream");
    unlike($_->{head}, qr/\Q$token\E/, "$name: no token") for @u;

    return ($r, @u);
}

for my $uri ('/a', '/a/nested', '/a?x=1', '/stream', '/single', '/file') {
    my ($r, $u) = try($uri, call_tool($uri, 'echo', $big, token => $token),
                      'a:allow', 1);
    is($r->{status}, 200, "$uri: allowed");
    like($u->{body}, qr/"x{20000}"/, "$uri: whole");

    try("$uri, other tool",
        call_tool($uri, 'rm', $big, token => $token), 'a:no_rule', 0);
    ($r) = try("$uri, no token", call_tool($uri, 'echo', $big),
               'a:no_token', 0);
    is($r->{status}, 401, "$uri: 401");
}

my ($r, @u) = try('limit_except', http("GET /a HTTP/1.0\r\n\r\n"),
                  'a:no_token', 0);
is($r->{status}, 401, 'limit_except');

for (['/a/b', {}], ['/', { port => 8083 }]) {
    my ($uri, $o) = @$_;

    try("b: $uri", call_tool($uri, 'echo', {}, token => $token, %$o),
        'b:no_rule', 0);
    (undef, @u) = try("b: $uri", call_tool($uri, 'other', {},
                                           token => $token, %$o),
                      'b:allow', 1);
    ok(!exists $u[0]{headers}{authorization}, "b: $uri: no credential of a");
}

call_tool('/a/off', 'rm', {}, token => 'mine');
($r) = $up->requests_next(1);
is($r->{headers}{authorization}, 'Bearer mine', 'off: as if we were not there');
is(scalar(my @none = $t->audit_next(0)), 0, 'nor recorded');


# refused before and while the body is read, and on to an error page

for (['', 'a:no_token'], ["Authorization: Bearer $token\r\n",
                          'a:incomplete_body'])
{
    my ($header, $reason) = @$_;

    my $c = http_start("POST /refused HTTP/1.1\r\nHost: a\r\n$header"
        . "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
        . "\r\nno chunk\r\n");
    $c->read_response;
    $c->close;

    (undef, @u) = try('a bad chunk', undef, $reason, 1);
    is($u[0]{headers}{authorization}, undef, 'and an error page: no credential');
}

($r) = try('deny', call_tool('/deny', 'echo', {}, token => $token),
           'a:nginx', 0);
is($r->{body}, 'page', 'an error page elsewhere does not hide the request');


# several requests in one buffer

my @want = ([ echo => $token, qr/"called echo/ ],
            [ rm => $token, qr/Unknown tool: rm/ ],
            [ echo => undef, qr/Unauthorized/ ],
            [ echo => $token, qr/"called echo/ ],
            [ other => $token, qr/Unknown tool: other/ ],
            [ echo => $token, qr/"called echo/ ]);

my $c = http_start(join '', map {
    MCP::Test::mcp_request('/a', rpc('tools/call', { name => $_->[0] }),
                           token => $_->[1])
} @want);

like($c->read_response->{body}, $_->[2], 'pipelined') for @want;
is(scalar(@u = $up->requests_next(3)), 3, 'pipelined: upstream');
is(join(' ', map { $_->{reason} } $t->audit_next(6)),
   'allow no_rule no_token allow no_rule allow', 'pipelined: records');

done_testing;

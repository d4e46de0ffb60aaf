#!/usr/bin/perl

# What an upstream, or nginx in its place, says besides a body: statuses that
# become ours, headers that are not for the caller, responses that break off,
# redirects inside nginx, and the operator's own error pages.
# Trap N11 of docs/internals/traps.md.

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
my $other = MCP::Upstream->start($t, port => 8082);

$t->write_file('own.html', 'the operator says');
$t->write_file('list.json', 'tools of the operator');
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
        role * { allow tool echo; }
    }

    mcp_server other {
        resource https://mcp.example.com/other;
        issuer okta;
        role * { allow tool echo; }
    }

    proxy_http_version 1.1;
    proxy_set_header Connection "";

    upstream u {
        server 127.0.0.1:%%PORT_8081%%;
        keepalive 1;
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        location /mcp { mcp_auth mcp; proxy_pass http://u; }

        location /up {
            mcp_auth mcp;
            proxy_set_header Upgrade $http_upgrade;
            proxy_pass http://u;
        }

        location /own {
            mcp_auth mcp;
            proxy_intercept_errors on;
            error_page 401 403 500 502 504 413 /own.html;
            client_max_body_size 4k;
            proxy_pass http://u;
        }

        location /small {
            mcp_auth mcp;
            client_max_body_size 100;
            proxy_pass http://u;
        }

        location /slow {
            mcp_auth mcp;
            proxy_read_timeout 200ms;
            proxy_pass http://u;
        }

        location /late {
            mcp_auth mcp;
            client_body_timeout 200ms;
            proxy_pass http://u;
        }

        location /none {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8089%%;
        }

        location /mirrored {
            mcp_auth mcp;
            mirror /mirror;
            proxy_pass http://u;
        }

        location = /mirror {
            internal;
            proxy_pass http://127.0.0.1:%%PORT_8082%%;
        }

        location /led { mcp_auth mcp; try_files /none @led; }
        location @led { proxy_pass http://u; }

        location = /own.html { }
        location = /list.json { internal; }
        location /another { internal; proxy_pass http://127.0.0.1:%%PORT_8082%%; }
        location /other { mcp_auth other; proxy_pass http://127.0.0.1:%%PORT_8082%%; }
    }
}
END
$t->start;

my $token = $okta->token(sub => 'alice');
my $rm = '{"jsonrpc":"2.0","id":42,"result":{"tools":'
         . '[{"name":"rm"},{"name":"echo"}]}}';
my $ok = '{"jsonrpc":"2.0","id":42,"result":{"tools":[{"name":"echo"}]}}';

my @secret = map { [ $_, 'x-secret' ] } qw/
    WWW-Authenticate Proxy-Authenticate Set-Cookie Set-Cookie Refresh
    Clear-Site-Data Alt-Svc Link DPoP-Nonce Authentication-Info /;

sub ask {
    my ($answer, %o) = @_;

    $up->answer($answer);
    return list_tools(delete $o{uri} || '/mcp', token => $token, id => 42, %o);
}

sub is_error {
    my ($r, $status, $what, $reason, $id, $code) = @_;

    is($r->{status}, $status, $what);
    is_deeply([ @{$r->{json} || {}}{qw/ jsonrpc id /},
                $r->{json}{error}{code} ], [ '2.0', $id, $code || -32603 ],
              'JSON-RPC, with the id');
    is($r->{headers}{'content-type'}, 'application/json', 'its type');
    unlike($r->{head} . $r->{body}, qr/secret|"rm"/, 'nothing of it');

    my $a = $t->audit_next(1, settle => 0.02);
    is("$a->{decision} $a->{reason}", "error $reason", 'recorded');
}


# headers

my $r = ask({ body => $rm, headers => [ @secret, [ 'X-Other', 1 ] ] });
is($r->{body}, $ok, 'a list');
unlike($r->{head}, qr/secret/, 'headers that are not for the caller');
is($r->{headers}{'x-other'}, 1, 'others are');

$r = ask({ sse => [ { data => $rm } ], headers => \@secret });
unlike($r->{head}, qr/secret/, 'nor with a stream');

$r = ask({ status => 202, headers => \@secret });
is("$r->{status} $r->{body}", '202 ', 'without a body');
unlike($r->{head}, qr/secret/, 'nor without a body');

$r = ask({ status => 204 });
is("$r->{status} $r->{body}", '204 ', 'no content');

$r = ask({ chunked => 1, status => 202 });
is("$r->{status} $r->{body} $r->{complete}", '202  1', 'empty, chunked');

$r = ask({ length => 0, status => 202 });
is("$r->{status} $r->{body}", '202 ', 'empty, until the end');

$r = ask({ status => 400, body => $rm, headers => \@secret });
is("$r->{status} $r->{body}", "400 $ok", 'an error that is JSON stays');
unlike($r->{head}, qr/secret/, 'without its headers');


# statuses

$t->audit_next(0);

for (401, 403) {
    is_error(ask({ status => $_, body => "secret $rm", headers => \@secret }),
             502, "status $_", 'upstream_credential', 42);
    is_error(ask({ status => $_, body => 'secret' x 50000,
                   headers => \@secret }),
             502, "$_, and much to say", 'upstream_credential', 42);
    is_error(ask({ status => $_, headers => \@secret }, uri => '/own'),
             502, "$_, intercepted", 'upstream_credential', 42);
}

for (206, 301, 302, 304, 307, 308) {
    is_error(ask({ status => $_, body => $_ == 304 ? '' : $rm,
                   headers => [ @secret, [ 'Location', 'http://secret/' ],
                                [ 'Content-Range', 'bytes 1-2/3' ] ] }),
             502, "status $_", 'upstream_status', 42);
}

for ('101 Switching', '103 Early Hints') {
    is_error(ask({ raw => "HTTP/1.1 $_\r\nUpgrade: x\r\n"
                          . "Connection: upgrade\r\nLink: secret\r\n\r\n"
                          . "secret" },
                 uri => '/up', headers => { Upgrade => 'x',
                                            Connection => 'upgrade' }),
             502, "status $_", 'upstream_status', 42);
}


# no response, or none that is whole

is_error(list_tools('/none', token => $token, id => 42), 502,
         'no upstream', 'upstream_failed', 42);
is_error(ask({ raw => "\r\n" }), 502, 'no HTTP', 'upstream_status', 42);
is_error(ask({ close => 1, hang => 0.01 }), 502, 'closed at once',
         'upstream_failed', 42);
is_error(ask({ hang => 1 }, uri => '/slow'), 504, 'too slow',
         'upstream_failed', 42);
is_error(ask({ parts => [ substr($rm, 0, 30), 1, substr($rm, 30) ] },
             uri => '/slow'),
         502, 'too slow in the middle', 'upstream_closed', 42);
is_error(ask({ raw => "HTTP/1.1 200 OK\r\nX: secret\r\n"
                      . "Content-Length: 100\r\n\r\n" }),
         502, 'a header and no more', 'upstream_closed', 42);

for ({ cut => 90 }, { cut => 90, reset => 1 }) {
    $up->answer({ sse => [ { data => $rm }, { data => $rm } ], %$_ });
    $r = list_tools('/mcp', token => $token, id => 42);
    is($r->{body}, "data: $ok\n\n", 'a stream that breaks off: what was whole');
    ok(!$r->{complete}, 'and the break is seen');
    my $a = $t->audit_next;
    is("$a->{decision} $a->{reason}", 'error upstream_closed', 'recorded');
}


# nginx itself refuses

is_error(list_tools('/small', token => $token, id => 42), 413,
         'a body too large', 'body_too_large', undef, -32600);

my $c = mcp_start('/late', '{"jsonrpc":', token => $token,
                  headers => { 'Content-Length' => 100 });
$r = $c->read_response;
ok(!$r || $r->{status} == 408, 'a body that does not come');
$t->audit_next;


# the operator's error pages

for ({ status => 500, body => 'secret', headers => \@secret },
     { hang => 0.01 })
{
    $r = ask($_, uri => '/own');
    is("$r->{body}", 'the operator says', "error_page: $r->{status}");
    unlike($r->{head}, qr/secret/, 'no header of the upstream');
    my $a = $t->audit_next;
    is("$a->{decision} $a->{reason}", 'error upstream_failed', 'recorded');
}


# X-Accel-Redirect, of an upstream in a location of the operator's: to a page,
# to another upstream, and never to another server

$r = ask({ headers => [ @secret, [ 'X-Accel-Redirect', '/list.json' ] ] },
         uri => '/led');
is("$r->{status} $r->{body}", '200 tools of the operator',
   'X-Accel-Redirect to a file');
unlike($r->{head}, qr/secret/, 'no header of the upstream');

$other->answer({ body => $rm, headers => \@secret });
$r = ask({ headers => { 'X-Accel-Redirect' => '/another' } }, uri => '/led');
is($r->{body}, $ok, 'to another upstream: the list is cut');
unlike($r->{head}, qr/secret/, 'no header of it');
is($other->requests_next->{headers}{authorization}, undef, 'nor the token');

$r = ask({ headers => { 'X-Accel-Redirect' => '/other' } }, uri => '/led');
is($r->{status}, 403, 'not to another MCP server');
is(scalar(my @none = $other->requests_next(0)), 0, 'which is not asked');


# a mirror's response is nobody's

$t->audit_next(0);
$other->answer({ status => 401, body => $rm });
$r = ask({ body => $rm }, uri => '/mirrored');
is($r->{body}, $ok, 'a mirror that refuses');
is($t->audit_next->{decision}, 'allow', 'recorded: allowed');


# methods

$r = http("HEAD /mcp HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
          . "Authorization: Bearer $token\r\n\r\n");
is("$r->{status} $r->{body}", '405 ', 'HEAD');

# the upstream's connection lives on: its only ones closed were broken

my %by;
$by{$_->{connection}}++ for $up->requests;
ok((grep { $_ > 2 } values %by), 'keepalive to the upstream');

done_testing;

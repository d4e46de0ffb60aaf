#!/usr/bin/perl

# Exactly one record for each request of a protected location, however it ends.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Time::HiRes qw/ sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $slow = MCP::Issuer->new($t, name => 'slow', stub => 1);
my $up = MCP::Upstream->start($t, port => 8081);

$t->write_conf(<<'END');
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    client_body_timeout 300ms;

    %%ISSUERS%%

    mcp_server mcp { resource https://mcp.example.com/mcp; issuer okta slow;
                     role * { allow tool echo; } }

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        location /mcp { mcp_auth mcp; mcp_max_body 4k;
                        proxy_pass http://127.0.0.1:%%PORT_8081%%;
                        proxy_read_timeout 400ms; }
        location /dead { mcp_auth mcp; proxy_pass http://127.0.0.1:%%PORT_8082%%;
        }
        location /return { mcp_auth mcp; return 403; }
        location /static { mcp_auth mcp; }
        location /free { return 200; }
    }
}
END

$slow->{stub}->answer({ hang => 2 });       # the first fetch of its keys
$t->start;

my $token = $okta->token;
my $call = rpc('tools/call', { name => 'echo', arguments => {} }, id => 1);

# the one record since: "decision reason status"

sub one {
    my ($name, $want, %o) = @_;

    my @a = $t->audit_next(1, settle => 0.05, %o);
    is(scalar @a, 1, "$name: one record");
    my $a = $a[0] || {};
    like(join(' ', map { $_ // '-' } @$a{qw/ decision reason /},
              $a->{result}{status}), qr/^$want$/, "$name: $want");
    return $a;
}

sub post { mcp_post('/mcp', @_) }


my $c = mcp_start('/mcp', $call, token => $slow->token);
sleep 0.2;
$c->reset;
one('gone while keys are fetched', 'error aborted_waiting_for_keys 499');


# ---- answered

post($call, token => $token);
one('allowed', 'allow allow 200');
call_tool('/mcp', 'rm', {}, token => $token);
one('denied', 'deny no_rule 200');
post(rpc('notifications/none', {}, id => undef), token => $token);
one('a notification', 'deny \w+ 202');
post('{"jsonrpc":', token => $token);
one('unparsable', 'error \w+ 400');
post('', token => $token);
one('empty', 'error \w+ 400');
post($call);
one('no token', 'deny no_token 401');
post($call, token => 'a.b.c');
one('a bad token', 'deny \w+ 401');
post($call, token => $token, headers => { 'Content-Type' => 'text/plain' });
one('text/plain', 'error content_type 415');
post($call, token => $token, headers => { 'Content-Length' => 5000 });
one('413 by length', 'error \w+ 413');
post(' ' x 9000, token => $token, chunked => 1);
one('413 in chunks', 'error \w+ 413');
post($call, token => $token, method => 'PUT');
one('PUT', 'error http_method 405');
http("GET /static HTTP/1.0\r\n\r\n");
one('static', 'deny no_token 401');
http("GET /return HTTP/1.0\r\n\r\n");
one('return', 'error nginx 403');
http("GET /.well-known/oauth-protected-resource/mcp HTTP/1.0\r\n\r\n");
is(one('metadata', 'allow metadata 200')->{ev}, 'metadata', 'its kind');
http("BREW /mcp HTTP/1.1\r\nHost: a\r\nA\x01b: c\r\n\r\n");
http("GET /free HTTP/1.0\r\n\r\n");
is(scalar(my @none = $t->audit_next(0)), 0, 'elsewhere: none');

$up->answer({ sse => [ { data => { jsonrpc => '2.0', id => 1, result => {} } }
                     ] });
post($call, token => $token);
one('a stream', 'allow allow 200');


# ---- the upstream

call_tool('/dead', 'echo', {}, token => $token);
is(one('dead', 'error upstream_failed 502')->{upstream}{status}, 502, 'status');
$up->answer({ hang => 3 });
post($call, token => $token);
one('timeout', 'error upstream_failed 504');
$up->answer({ status => 401, headers => { 'WWW-Authenticate' => 'Bearer' } });
post($call, token => $token);
is(one('401', 'error upstream_credential 502')->{upstream}{status}, 401,
   'what it was');
$up->answer({ body => '<html>', headers => { 'Content-Type' => 'text/html' } });
post($call, token => $token);
one('no JSON', 'error upstream_invalid 502');
$up->answer({ result => { a => 'x' x 100 }, cut => 20 });
post($call, token => $token);
one('cut', 'error upstream_\w+ \d+');
$up->answer({ sse => [ { data => '{}' }, 0.1, { data => '{}' } ], cut => 12,
              reset => 1 });
post($call, token => $token);
one('a stream cut', 'error upstream_closed 200');


# ---- the client goes

my $bytes = MCP::Test::mcp_request('/mcp', $call, token => $token);
my ($head) = $bytes =~ /\A(.*?\r\n\r\n)/s;

$c = http_start($head);
$c->reset;
one('gone before the body', 'error incomplete_body \d+');
$c = http_start($head . '{"json');
$c->close;
one('gone in the body', 'error incomplete_body \d+');
$c = http_start($head . '{"json');
one('408', 'error incomplete_body 408');
$c->close;

$up->answer({ hang => 3 });
$c = http_start($bytes);
$up->requests_next(1);
$c->reset;
one('gone while the upstream works', 'allow client_gone 499');

$up->answer({ sse => [ { data => '{}' }, map { (0.05, { data => '{}' }) }
                                         1 .. 40 ] });
$c = http_start($bytes);
ok($c->sse_next, 'an event');
$c->reset;
one('gone in a stream', 'allow client_gone 200');


# ---- pipelined, kept alive

$c = http_start($bytes x 3);
is($c->read_response->{status}, 200, 'pipelined') for 1 .. 3;
my @a = $t->audit_next(3);
is(scalar @a, 3, 'three records for three requests');
$c->close;

my @all = $t->audit;
is_deeply([ map { $_->{seq} } @all ], [ 1 .. @all ], 'seq: no gap, in order');

done_testing;

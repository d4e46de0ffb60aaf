#!/usr/bin/perl

# Pages in a browser: the preflight is answered without a token, and what is
# answered may be read by pages of an allowed origin, errors too; by no other.
# The upstream has no word in it.

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

$t->write_file('own.html', 'the operator says');
$t->write_conf(<<'CONF');
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;

    %%ISSUER_okta%%

    limit_req_zone $http_x_limit zone=one:64k rate=1r/m;
    limit_req_status 429;

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        origin https://app.example.com;
        role * { allow tool echo echo_big; }
        step_up scope=big tool echo_big;
    }

    mcp_server stripped {
        resource https://mcp.example.com/stripped;
        issuer okta;
        origin https://app.example.com;
        strip Origin;
        role * { allow tool echo; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        location /mcp {
            mcp_auth mcp;
            limit_req zone=one;
            client_max_body_size 8k;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /own {
            mcp_auth mcp;
            proxy_intercept_errors on;
            error_page 500 /own.html;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /stripped {
            mcp_auth stripped;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /none {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8089%%;
        }

        location = /own.html { }
    }
}
CONF
$t->start;

my $token = $okta->token;
my $app = 'https://app.example.com';
my $expose = 'WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version';
my $fixed = 'Authorization, Content-Type, Accept, MCP-Protocol-Version, '
            . 'Mcp-Method, Mcp-Name, Mcp-Session-Id, Last-Event-ID';

# every line of the CORS headers, as it was sent

sub cors {
    my ($r) = @_;
    return [ sort grep { /^(?:access-control-|vary:)/i }
                  split /\r?\n/, $r->{head} ];
}

sub opened {
    my ($r, $what, $origin) = @_;

    is_deeply(cors($r), [ "Access-Control-Allow-Origin: " . ($origin || $app),
                          "Access-Control-Expose-Headers: $expose",
                          'Vary: Origin' ], "$what: may be read");
}

sub preflight {
    my (@headers) = @_;

    return http(join("\r\n", 'OPTIONS /mcp HTTP/1.1', 'Host: localhost',
                     @headers, '', ''));
}

my @ask = ("Origin: $app", 'Access-Control-Request-Method: POST');

# the preflight

for my $origin ($app, 'https://mcp.example.com', 'HTTPS://APP.example.COM') {
    my $r = preflight("Origin: $origin", $ask[1],
                      'Access-Control-Request-Headers: content-type,x-evil');

    is($r->{status}, 204, "$origin: 204");
    is($r->{body}, '', 'no body');
    is_deeply(cors($r), [ "Access-Control-Allow-Headers: $fixed",
                          'Access-Control-Allow-Methods: POST, GET, DELETE',
                          "Access-Control-Allow-Origin: $origin",
                          "Access-Control-Expose-Headers: $expose",
                          'Access-Control-Max-Age: 600', 'Vary: Origin' ],
              'what it may');

    my @a = $t->audit_next;
    is(scalar @a, 1, 'one record');
    is("@{$a[0]}{qw/ ev decision reason method /}",
       'session allow preflight OPTIONS', 'says so');
}

# parameters in headers: those names, and only as tokens

sub granted {
    my @lines = map { "Access-Control-Request-Headers: $_" } @_;
    my $r = preflight(@ask, @lines);
    $t->audit_next;
    my $v = $r->{headers}{'access-control-allow-headers'} // '';

    return $v =~ /\A\Q$fixed\E(?:, (.*))?\z/ ? $1 // '' : "not: $v";
}

my $long = 'mcp-param-' . 'x' x 118;

for (
    [ 'mcp-param-a,Mcp-Param-B', 'mcp-param-a, Mcp-Param-B' ],
    [ " mcp-param-a \t, ,,x-y,\tmcp-param-b", 'mcp-param-a, mcp-param-b' ],
    [ "mcp-param-!#\$%&'*+.^_`|~9", "mcp-param-!#\$%&'*+.^_`|~9" ],
    [ 'xmcp-param-a,mcp-para,mcp_param-a,*', '' ],
    [ (map { "mcp-param-a${_}b" } ' ', ':', '"', "\x80", '/', '(', '@'), '' ],
    [ "${long}x,$long,mcp-param-z", "$long, mcp-param-z" ],
    [ 'mcp-param-a', 'mcp-param-b', 'mcp-param-a, mcp-param-b' ],
    [ ',', '', '' ],
) {
    my $want = pop @$_;
    is(granted(@$_), $want, "asked for '@$_'");
}

is(granted(join(',', map { "mcp-param-$_" } 1 .. 20),
           join(',', map { "mcp-param-$_" } 21 .. 40)),
   join(', ', map { "mcp-param-$_" } 1 .. 32), 'at most 32');
is(granted(join ',', ($long) x 33), join(', ', ($long) x 32), 'of full length');

# what is no preflight, or not from an allowed page

for ([ 403, 'origin', 0, 'Origin: https://evil.com', $ask[1] ],
     [ 403, 'origin', 0, 'Origin: null', $ask[1] ],
     [ 403, 'origin', 0, 'Origin:', $ask[1] ],
     [ 400, 'duplicate_header', 0, @ask, 'Origin: https://evil.com' ],
     [ 400, 'duplicate_header', 0, @ask, $ask[0] ],
     [ 401, 'no_token', 0, $ask[1] ],
     [ 401, 'no_token', 1, $ask[0] ],
     [ 401, 'no_token', 1, $ask[0], 'Access-Control-Request-Method:' ],
     [ 405, 'http_method', 1, $ask[0], "Authorization: Bearer $token" ],
     [ 405, 'http_method', 0, "Authorization: Bearer $token" ])
{
    my ($status, $reason, $open, @h) = @$_;
    my $r = preflight(@h);
    my $what = "$status for '@{[map { substr $_, 0, 40 } @h]}'";

    is($r->{status}, $status, $what);
    $open ? opened($r, $what) : is_deeply(cors($r), [], "$what: no CORS");
    is($t->audit_next->{reason}, $reason, "$what: $reason");
}

my $r = mcp_post('/mcp', '', method => 'POST',
                 headers => { Origin => $app, $ask[1] =~ /^(.*): (.*)/ });
is($r->{status}, 401, 'a POST is no preflight');
$t->audit_next;

is(scalar(my @none = $up->requests_next(0)), 0, 'nothing went upstream');

# answers.  Each with an allowed Origin, another of ours, and none

my @theirs = ([ 'Access-Control-Allow-Origin', '*' ],
              [ 'access-control-allow-credentials', 'true' ],
              [ 'Access-Control-Expose-Headers', 'X-Secret' ],
              [ 'Access-Control-Allow-Private-Network', 'true' ]);

sub both {
    my ($what, $status, $uri, $name, %o) = @_;
    my $answer = delete $o{answer};
    my %h = %{delete $o{headers} || {}};

    for my $origin ($app, 'https://mcp.example.com', undef) {
        $up->answer($answer) if $answer;

        my $r = call_tool($uri, $name, $o{big} || {},
                          token => $token, %o,
                          headers => { %h, Origin => $origin });
        my $w = "$what, " . ($origin || 'no Origin');

        is($r->{status}, $status, "$w: $status");
        $origin ? opened($r, $w, $origin)
                : is_deeply(cors($r), [], "$w: no CORS");
    }

    $up->clear;
}

both('JSON', 200, '/mcp', 'echo',
     answer => { result => {}, headers => \@theirs });
both('large JSON', 200, '/mcp', 'echo',
     answer => { result => { x => 'x' x 100000 }, headers => \@theirs });
both('SSE', 200, '/mcp', 'echo',
     answer => { result => {}, as_sse => 1, headers => \@theirs });
both('no body', 202, '/mcp', 'echo',
     answer => { status => 202, headers => \@theirs });
both('no JSON', 502, '/mcp', 'echo',
     answer => { body => 'x', headers => \@theirs });
both('credential', 502, '/mcp', 'echo',
     answer => { status => 401, headers => \@theirs });
both('encoded', 502, '/mcp', 'echo',
     answer => { body => '{}', headers => [ @theirs,
                                            [ 'Content-Encoding', 'br' ] ] });
both('error', 500, '/mcp', 'echo',
     answer => { status => 500, json => {}, headers => \@theirs });
both('error page', 500, '/own', 'echo',
     answer => { status => 500, headers => \@theirs });
both('origin is stripped', 200, '/stripped', 'echo',
     answer => { result => {}, headers => \@theirs });
both('no upstream', 502, '/none', 'echo');
both('denied', 200, '/mcp', 'rm');
both('scope', 403, '/mcp', 'echo_big');
both('no token', 401, '/mcp', 'echo', token => undef);
both('bad token', 401, '/mcp', 'echo', token => 'x.y.z');
both('type', 415, '/mcp', 'echo', headers => { 'Content-Type' => 'text/x' });
both('too large', 413, '/mcp', 'echo', big => { x => 'x' x 10000 });
both('duplicate', 400, '/mcp', 'echo',
     headers => { 'Mcp-Name' => [ 'echo', 'echo' ] });

$r = call_tool('/mcp', 'echo', {}, token => $token,
               headers => { Origin => undef, 'X-Limit' => 1 });
$r = call_tool('/mcp', 'echo', {}, token => $token,
               headers => { Origin => $app, 'X-Limit' => 1 });
is($r->{status}, 429, 'refused before us');
opened($r, 'refused before us');

# others' Vary stays; ours is there once

$up->answer({ result => {}, headers => [ [ 'Vary', 'Accept' ],
                                         [ 'vary', 'origin' ] ] });
$r = call_tool('/mcp', 'echo', {}, token => $token,
               headers => { Origin => $app });
is_deeply([ grep { /^vary/i } @{cors($r)} ],
          [ 'Vary: Accept', 'Vary: Origin' ], 'Vary');

# a foreign page learns nothing

$r = call_tool('/mcp', 'echo', {}, token => $token,
               headers => { Origin => 'https://evil.com' });
is($r->{status}, 403, 'foreign: 403');
is_deeply(cors($r), [], 'foreign: no CORS');

# metadata is for all pages

$r = http("GET /.well-known/oauth-protected-resource/mcp HTTP/1.1\r\n"
          . "Host: localhost\r\nOrigin: $app\r\n\r\n");
is($r->{status}, 200, 'metadata');
is_deeply([ grep { /-origin|expose|vary/i } @{cors($r)} ],
          [ 'Access-Control-Allow-Origin: *' ], 'for any page');

done_testing;

#!/usr/bin/perl

# What a hostile or an odd client puts into headers: nothing reaches an upstream
# that was not compared with a message or a session; nothing that only observes
# makes a request fail; and pages say their origin without a default port.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Trap http => <<'HTTP', conf => <<'CONF', server => <<'SERVER';
    mcp_server ports {
        resource https://ports.example.com:443/ports;
        issuer okta;
        role * { allow tool echo; }
    }
    mcp_server six {
        resource http://[::1]:8080/six;
        issuer okta;
        role * { allow tool echo; }
    }
HTTP
        location /ports {
            mcp_auth ports;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /six {
            mcp_auth six;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
CONF
        origin http://[::1]:6274 vscode-webview://a1-b2 https://app.example.com:8443;
SERVER

sub plain {
    my ($method, @headers) = @_;

    return http("$method /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: "
                . 'Bearer ' . token . "\r\n"
                . join('', map { "$_\r\n" } @headers) . "\r\n");
}


# Last-Event-ID on a POST: no session was asked for, so it goes no further

for my $era (qw/ legacy modern /) {
    my $r = mcp_post('/mcp', rpc('tools/call', { name => 'echo',
                     arguments => {} }, era => $era), token => token,
                     era => $era, headers => { 'Last-Event-ID' => 7 });

    ok(!exists passes($r, $era)->{headers}{'last-event-id'},
       "$era: no replay by POST");
}


# mirrors of a message that is not there

for my $method (qw/ GET DELETE /) {
    refused(plain($method, 'Mcp-Method: tools/call'), 400, -32020,
            'method_mismatch', "$method with Mcp-Method");
    refused(plain($method, 'Mcp-Name: rm'), 400, -32020, 'name_mismatch',
            "$method with Mcp-Name");
}

ok(!exists passes(plain('GET', 'MCP-Protocol-Version: 2025-11-25'), 'GET')
   ->{headers}{'mcp-method'}, 'GET without them passes');


# a trace that is there twice is none

my $trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

is(post(call('echo'), headers => { traceparent => $trace })->{status}, 200,
   'once');
is(record()->{trace_id}, substr($trace, 3, 32), 'on record');
arrived(1);

for my $n (2, 3) {
    is(post(call('echo'), headers => { traceparent => [ ($trace) x $n ] })
       ->{status}, 200, "$n times");
    is(record()->{trace_id}, undef, 'not on record');
    arrived(1);
}


# origins and their ports

my %aud = (aud => [ 'https://ports.example.com:443/ports',
                    'http://[::1]:8080/six', 'https://mcp.example.com/mcp' ]);
my $token = issuer->token(%aud);

for (['/ports', 'https://ports.example.com', 200],
     ['/ports', 'https://ports.example.com:443', 403],
     ['/ports', 'http://ports.example.com', 403],
     ['/six', 'http://[::1]:8080', 200],
     ['/six', 'http://[::1]', 403],
     ['/mcp', 'http://[::1]:6274', 200],
     ['/mcp', 'vscode-webview://a1-b2', 200],
     ['/mcp', 'https://app.example.com:8443', 200],
     ['/mcp', 'https://app.example.com', 403])
{
    my ($uri, $origin, $status) = @$_;
    my $r = mcp_post($uri, call('echo'), token => $token, era => 'none',
                     headers => { Origin => $origin });

    is($r->{status}, $status, "$origin at $uri");
    is($r->{headers}{'access-control-allow-origin'},
       $status == 200 ? $origin : undef, 'and may be read, or not');
}

my $conf = gateway->read_file('nginx.conf');

for ('https://app.example.com:443', 'HTTP://a.example:80', 'https://a:',
     'https://a:0', 'https://a:70000', 'https://a:8x', 'https://a:08',
     'https://[::1', 'https://[::1]x', 'https://:80', 'https://a]', 'a:b',
     'https://u@a', '://a')
{
    my ($ok, $said) = gateway->check($conf =~ s/origin http:\S+/origin "$_"/r);

    is($ok, 0, "nginx -t refuses origin $_");
    like($said, qr/origin "\Q$_\E" (?:can never match|is not scheme)/,
         'and says why');
}

done_testing;

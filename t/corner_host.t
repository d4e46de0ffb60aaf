#!/usr/bin/perl

# DNS rebinding: a page whose name was pointed at the gateway has an Origin and
# a Host that agree with each other.  Only the server's own resource and its
# `origin`s count; a Host, wherever it comes from, proves nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Trap server => 'origin https://app.example.com:8443;';

sub ask {
    my ($origin, $host, %headers) = @_;

    return post(call('echo'), host => $host, headers => {
        defined $origin ? (Origin => $origin) : (), %headers });
}

my $port = port(8080);

for (["http://evil.example:$port", "evil.example:$port"],
     ["http://127.0.0.1:$port", "127.0.0.1:$port"],
     ["http://localhost:$port", "localhost:$port"],
     ["http://[::1]:$port", "[::1]:$port"],
     ['https://evil.example', 'mcp.example.com'],
     ['null', 'mcp.example.com'],
     ['', 'mcp.example.com'],
     ['http://mcp.example.com', 'mcp.example.com'],
     ['https://mcp.example.com.', 'mcp.example.com.'],
     ['https://mcp.example.com:444', 'mcp.example.com:444'],
     ['https://mcp.example.com.evil.example', 'mcp.example.com'],
     ['https://app.example.com', 'app.example.com'],
     ['https://mcp.example.com/', 'mcp.example.com'],
     ['https://mcp.example.com https://evil.example', 'mcp.example.com'])
{
    my ($origin, $host) = @$_;

    refused(ask($origin, $host), 403, 403, 'origin', "'$origin' at $host");
}

# what a proxy in front may have said changes nothing

refused(ask('http://evil.example', 'mcp.example.com',
            'X-Forwarded-Host' => 'evil.example', Forwarded => 'host='
            . 'evil.example'), 403, 403, 'origin', 'X-Forwarded-Host');

# the server's own, a listed one, and who is no browser's page; whatever Host

for my $host ('mcp.example.com', "127.0.0.1:$port", 'anything.example',
              'MCP.example.com.', "[::1]:$port")
{
    passes(ask($_, $host), ($_ // 'no Origin') . " at $host")
        for 'https://mcp.example.com', 'HTTPS://MCP.example.com',
            'https://app.example.com:8443', undef;
}

# a target in absolute form, with a Host of its own

for my $uri ('http://evil.example/mcp', 'http://mcp.example.com/mcp') {
    refused(post(call('echo'), uri => $uri, host => 'mcp.example.com',
                 headers => { Origin => 'http://evil.example' }),
            403, 403, 'origin', "absolute: $uri");
    refused(mcp_post($uri, call('echo'), era => 'none'), 401, undef,
            'no_token', "absolute: $uri without a token");
}

# the challenge and the metadata name the resource, not the Host

my $r = http("POST /mcp HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0"
             . "\r\n\r\n");

like($r->{headers}{'www-authenticate'},
     qr!resource_metadata="https://mcp\.example\.com/!, 'the challenge');
unlike($r->{head} . $r->{body}, qr/evil/, 'no word of the Host');

done_testing;

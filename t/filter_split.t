#!/usr/bin/perl

# Where the pieces of a response end changes nothing of what the caller gets:
# each response in two pieces, split at every byte, and byte by byte; buffered
# by nginx and not.
# Trap N23 of docs/internals/traps.md.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);

my $list = '{"id":42,"result":{"cacheScope":"public","tools":[{"name":"rm"} ,'
           . ' {"name":"e\u0063ho","d":"\u00e9"},null,{"name":"x"} ]}}';
my $cut = '{"id":42,"result":{"cacheScope":"private","tools":['
          . '{"name":"e\u0063ho","d":"\u00e9"} ]}}';
my ($head, $tail) = $list =~ /^(.*? ,)(.*)$/;

my $sse = "\xef\xbb\xbf: hi\r\n\r\nid: 1\rdata:\r\revent: message\ndata: $list"
          . "\n\ndata: $head\r\ndata: $tail\r\nid: 2\r\n\r\ndata: no\n\n";
my $sse_cut = "\xef\xbb\xbf: hi\r\n\r\nid: 1\rdata:\r\revent: message\n"
              . "data: $cut\n\ndata: $cut\nid: 2\r\n\r\n";

# an answer for each request: which, and where it is split, is in its path

my $up = MCP::Upstream->start($t, port => 8081, handler => sub {
    my ($req) = @_;
    my ($what, $at) = $req->{uri} =~ m!/(json|sse)/(\w+)$!;
    my $text = $what eq 'json' ? $list : $sse;

    return {
        chunked => $at eq 'bytes' ? 0 : $at & 1,
        headers => { 'Content-Type' => $what eq 'sse' ? 'text/event-stream'
                                                      : 'application/json' },
        $at eq 'bytes'
        ? (body => $text, split => 1, delay => 0.0005)
        : (parts => [ grep { length } substr($text, 0, $at), '0.002',
                      substr($text, $at) ]),
    };
});

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

    proxy_http_version 1.1;
    proxy_set_header Connection "";
    keepalive_requests 10000;

    upstream u {
        server 127.0.0.1:%%PORT_8081%%;
        keepalive 4;
        keepalive_requests 10000;
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        mcp_auth mcp;

        location /on { proxy_pass http://u; }
        location /off { proxy_pass http://u; proxy_buffering off; }

        location /tiny {
            proxy_pass http://u;
            proxy_buffers 4 1k;
            proxy_buffer_size 1k;
            proxy_busy_buffers_size 2k;
            postpone_output 0;
        }
    }
}
END
$t->start;

my $token = $okta->token(sub => 'alice');
my %want = (json => $cut, sse => $sse_cut);
my $c;

for my $uri (qw( /on /off /tiny )) {
    for my $what (qw/ json sse /) {
        my $n = length($what eq 'json' ? $list : $sse);
        my @differ;

        # odd places here, even ones there: together each place twice

        my $from = $uri eq '/off' ? 1 : 0;

        for my $at (grep { $_ % 2 == $from } 0 .. $n) {
            $c = mcp_start("$uri/$what/$at", rpc('tools/list', {}, id => 42),
                           token => $token, conn => $c);

            my $r = $c->read_response;
            push @differ, "$at: " . ($r ? $r->{body} : 'nothing')
                unless $r && $r->{body} eq $want{$what} && $r->{complete};
        }

        is(join("\n", @differ), '', "$uri: $what split at every place");

        mcp_start("$uri/$what/bytes", rpc('tools/list', {}, id => 42),
                  token => $token, conn => $c);
        is($c->read_response->{body}, $want{$what}, "$uri: $what by bytes");
    }
}

done_testing;

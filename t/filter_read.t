#!/usr/bin/perl

# Without proxy_buffering a document of known length is read at once, in a
# buffer of its own: whole, in pieces, longer than what is held back, and with
# bytes behind its end, which must not answer somebody else.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;

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
        role * { allow tool *; }
    }

    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_buffering off;
    proxy_buffer_size 4k;

    upstream u {
        server 127.0.0.1:%%PORT_8081%%;
        keepalive 1;
    }

    upstream more {
        server 127.0.0.1:%%PORT_8082%%;
        keepalive 1;
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        location /mcp { mcp_auth mcp; proxy_pass http://u; }
        location /more { mcp_auth mcp; proxy_pass http://more; }
    }
}
END
$t->start;

my $token = $okta->token;


# a result of so many bytes of text

sub document {
    my ($n) = @_;

    return '{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text",'
           . '"text":"' . substr('0123456789' x ($n / 10 + 1), 0, $n)
           . '"}]}}';
}


for my $n (100, 3000, 4096, 4200, 20000, 32600, 32768, 33000, 70000, 200000) {
    my $doc = document($n);

    for my $o ({}, { split => 1500 }, { split => 4096, delay => 0.001 },
               { chunked => 1 }, { chunked => 1, split => 5000 })
    {
        $up->answer({ body => $doc, %$o });

        my $r = call_tool('/mcp', 'echo', {}, token => $token);
        my $how = join ' ', map { "$_ $o->{$_}" } sort keys %$o;

        is($r->{body}, $doc, "$n bytes of text, $how");

        my $record = $t->audit_next(1, settle => 0);
        is($record->{result}{bytes}, length $doc, 'on record');
    }
}


# A server that sends another answer behind its own, at once, and then goes on
# as if nothing had been.

my $port = port(8082);

$t->run_daemon(sub {
    my $listen = IO::Socket::INET->new(LocalAddr => "127.0.0.1:$port",
        Proto => 'tcp', Listen => 5, ReuseAddr => 1) or die "listen: $!";
    my $n = 0;

    while (my $c = $listen->accept) {
        my $pid = fork // die "fork: $!";
        $n++;

        if ($pid) {
            close $c;
            next;
        }

        my $buf = '';

        while (sysread $c, $buf, 65536, length $buf) {
            next unless $buf =~ /\r\n\r\n.*\}\s*\z/s;

            my @docs = $n == 2 ? (document(20000), document(11))
                               : document(10);
            $buf = '';

            syswrite $c, join '', map {
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                . 'Content-Length: ' . length($_) . "\r\n\r\n$_" } @docs;
        }

        exit 0;
    }
});

my $up_now = MCP::Test::wait_until(10, sub {
    IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port", Proto => 'tcp') });

ok($up_now, 'a server that says too much');
close $up_now;

# that was its first connection; the gateway's first one says too much

my $r = call_tool('/more', 'echo', {}, token => $token);
is($r->{body}, document(20000), 'what it announced');

$r = call_tool('/more', 'echo', {}, token => $token);
is($r->{body}, document(10), 'what came behind it answers nobody');

done_testing;

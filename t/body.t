#!/usr/bin/perl

# The body of a POST, however it arrives: what is authorised is what reaches
# the upstream, byte for byte; what does not arrive whole, or is too large, or
# is not what its headers say, reaches nobody, and there is one record for it.

use strict;
use warnings;

use Digest::MD5 qw/ md5_hex /;
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
        role * { allow tool echo; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        mcp_auth mcp;
        proxy_set_header Expect "";

        location /mcp    { proxy_pass http://127.0.0.1:%%PORT_8081%%; }

        location /spilt  {
            client_body_buffer_size 1k;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /file   {
            client_body_in_file_only clean;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /single {
            client_body_in_single_buffer on;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /small  {
            mcp_max_body 300;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /large  { proxy_pass http://127.0.0.1:%%PORT_8082%%; }

        location /slow   {
            client_body_timeout 300ms;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END
$t->start;

my $token = $okta->token(-expires => 3000);


# a call of which the body has exactly so many bytes

sub sized {
    my ($size, $name) = @_;
    my $body = '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{'
               . '"arguments":{"a":"%%"},"name":"' . ($name || 'echo') . '"}}';
    my $fill = join '', map { chr(97 + $_ % 26) } 1 .. 997;
    my $n = $size - length($body) + 2;

    $fill = substr $fill x (1 + $n / 997), 0, $n;
    $body =~ s/%%/$fill/;
    return $body;
}


sub post {
    my ($uri, $body, %o) = @_;
    return mcp_post($uri, $body, token => $token, era => 'legacy', %o);
}


sub passes {
    my ($what, $uri, $body, %o) = @_;
    my $r = post($uri, $body, %o);

    is($r && $r->{status}, 200, "$what: 200");

    my @seen = $up->requests_next(1, settle => 0);
    is(scalar @seen, 1, "$what: one request upstream");
    ok(@seen && $seen[0]{body} eq $body, "$what: byte for byte");

    my @audit = $t->audit_next(1, settle => 0.02);
    is(scalar @audit, 1, "$what: one record");
    is($audit[0]{decision}, 'allow', "$what: allowed");

    return $r;
}


sub refused {
    my ($what, $r, $status, $code, $reason) = @_;

    is($r && $r->{status}, $status, "$what: " . ($status // 'no answer'));
    is($r && $r->{json} && $r->{json}{error}{code}, $code, "$what: $code")
        if defined $code;

    my @audit = $t->audit_next(1, settle => 0.02);
    is(scalar @audit, 1, "$what: one record");
    isnt($audit[0]{decision}, 'allow', "$what: not allowed");
    is($audit[0]{reason}, $reason, "$what: $reason") if defined $reason;

    my @seen = $up->requests_next(0, settle => 0);
    is(scalar @seen, 0, "$what: nothing upstream");
}


for my $uri (qw/ mcp spilt file single /) {
    passes("$uri, small", "/$uri", sized(150));
    passes("$uri, large", "/$uri", sized(20_000));
    passes("$uri, chunked", "/$uri", sized(5000), chunked => 1);

    refused("$uri, forbidden at the end", post("/$uri", sized(20_000, 'rm')),
            200, -32602, 'no_rule');
}

my $body = sized(150);

passes('in pieces', '/mcp', $body, split => 1);
passes('chunked in pieces', '/mcp', $body, split => 1, chunked => 1);

my $request = MCP::Test::mcp_request('/mcp', $body, token => $token,
                                     era => 'legacy');
my ($head) = $request =~ /\A(.*?\r\n\r\n)/s;

# many chunks of one byte, with extensions and a trailer

(my $chunked = $head) =~ s/Content-Length: \d+/Transfer-Encoding: chunked/;
my $pieces = join '', map { "1;a=b\r\n$_\r\n" } split //, $body;
my $r = http("$chunked${pieces}0\r\nX-Trailer: a\r\n\r\n");
is($r->{status}, 200, 'a chunk for each byte');
is($up->requests_next->{body}, $body, 'a chunk for each byte: the same');
$t->audit_next;

$r = http('', chunks => [
    $head, substr($body, 0, 1), substr($body, 1, 50), substr($body, 51) ]);
is($r->{status}, 200, 'slowly');
is($up->requests_next->{body}, $body, 'slowly: the same');
$t->audit_next;

# as large as it may be: a stub that keeps no more than the digest

my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1:' . port(8082),
                                   Listen => 4, ReuseAddr => 1);
$t->run_daemon(sub {
    while (my ($s) = $listen->accept) {
        local $/ = "\r\n\r\n";
        my ($n) = (<$s> // '') =~ /Content-Length: (\d+)/i or next;
        read $s, my ($got), $n;
        my $answer = '{"jsonrpc":"2.0","id":7,"result":{"md5":"'
                     . md5_hex($got) . '"}}';
        print $s "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                 . 'Content-Length: ' . length($answer) . "\r\n"
                 . "Connection: close\r\n\r\n$answer";
    }
});
close $listen;

for my $size (4 * 1024 * 1024, 4 * 1024 * 1024 + 1) {
    my $large = sized($size);

    for my $chunked (0, 1) {
        my $h = $head =~ s!/mcp!/large!r;

        $h =~ s/Content-Length: \d+/$chunked ? 'Transfer-Encoding: chunked'
                                             : "Content-Length: $size"/e;

        my $r = http($h . ($chunked
                           ? sprintf("%x\r\n%s\r\n0\r\n\r\n", $size, $large)
                           : $large));

        if ($size % 2) {
            refused('4 MB and a byte', $r, 413, -32600, 'body_too_large');
            next;
        }

        is($r->{json}{result}{md5}, md5_hex($large), '4 MB: byte for byte');
        $t->audit_next;
    }
}

# at the limit

for my $chunked (0, 1) {
    my $how = $chunked ? 'chunked' : 'Content-Length';

    passes("$how, at the limit", '/small', sized(300), chunked => $chunked);
    refused("$how, over the limit",
            post('/small', sized(301), chunked => $chunked),
            413, -32600, 'body_too_large');
    refused("$how, far over the limit",
            post('/small', sized(9000), chunked => $chunked),
            413, -32600, 'body_too_large');
}

# nothing, and nonsense

refused('empty', post('/mcp', ''), 400, -32700, 'parse_error');
refused('empty, chunked', post('/mcp', '', chunked => 1), 400, -32700,
        'parse_error');
refused('no length at all', post('/mcp', '', content_length => 0), 400,
        -32700, 'parse_error');
refused('cut', post('/mcp', substr($body, 0, -1)), 400, -32700,
        'parse_error');

refused('bad chunk', http($chunked . "5\r\n{\"jso\r\nxyz\r\n"), 400);
refused('endless chunk', http($chunked . "ffffffffffffffffff\r\n"), 400);

for my $how (qw/ reset close /) {
    my $c = http_start($head . substr($body, 0, 40));
    select undef, undef, undef, 0.1;
    $c->$how;
    refused("client gone in the body, $how", undef, undef);
}

# nginx answers nothing here: the connection is closed

(my $slow = $head) =~ s!/mcp!/slow!;
refused('timeout', http($slow . substr($body, 0, 40)));
is(($t->audit)[-1]{result}{status}, 408, 'timeout: 408 on record');

# media types

for my $type ('application/json', 'Application/JSON',
              'application/json; charset=utf-8',
              'application/json;charset="UTF-8"',
              'application/json ; a=b; Charset=utf-8')
{
    passes("type $type", '/mcp', $body, headers => { 'Content-Type' => $type });
}

for my $type (undef, 'text/plain', 'application/json-rpc',
              'application/jsonx', 'application/jso', 'multipart/form-data',
              'application/json, text/plain', 'application/json;charset=utf-16',
              'application/json; charset=iso-8859-1',
              'application/json; charset=utf-8; charset=utf-7',
              'application/json; a="; charset=utf-8"; charset=utf-7',
              'application/json; charset=utf-8x', 'text/json',
              'application/x-www-form-urlencoded', 'application/cbor')
{
    refused('type ' . ($type // 'none'),
            post('/mcp', $body, headers => { 'Content-Type' => $type }),
            415, -32600, 'content_type');
}

for my $coding (qw/ gzip deflate br x-unknown /, 'identity, gzip')
{
    refused("coding $coding",
            post('/mcp', $body, headers => { 'Content-Encoding' => $coding }),
            415, -32600, 'content_encoding');
}

passes('coding identity', '/mcp', $body,
       headers => { 'Content-Encoding' => 'identity' });

# who waits for a 100 is not kept waiting

$r = post('/mcp', $body, headers => { Expect => '100-continue' });
is($r->{status}, 200, 'Expect: 200');
is($r->{interim}, 1, 'Expect: a 100 before');
$up->requests_next;
$t->audit_next;

$r = http($head =~ s/Bearer \S+/Bearer bad\r\nExpect: 100-continue/r);
refused('Expect, bad token', $r, 401, 401);

for my $method (qw/ GET DELETE /) {
    for my $chunked (0, 1) {
        refused("$method with a body, chunked $chunked",
                post('/mcp', $body, method => $method, chunked => $chunked),
                400, -32600, 'unwanted_body');
    }
}

done_testing;

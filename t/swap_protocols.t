#!/usr/bin/perl

# The swap, when the upstream or the client does not speak HTTP/1.1: FastCGI,
# uwsgi and gRPC build their requests of the same headers; HTTP/2 brings them in
# another form.

use strict;
use warnings;

use FindBin;
use IO::Socket::INET;
use JSON::PP ();
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $up = MCP::Upstream->start($t, port => 8081);
my $token = $okta->token;
my $d = $t->dir;

my $answer = '{"jsonrpc":"2.0","id":1,"result":{}}';

sub need {
    my ($s, $buf, $n) = @_;

    while (length $$buf < $n) {
        sysread $s, $$buf, 65536, length $$buf or return 0;
    }

    return 1;
}

# A stub: %$params of each request as a JSON line in a file

sub stub {
    my ($name, $n, $one) = @_;
    my $listen = IO::Socket::INET->new(Proto => 'tcp', Listen => 8,
        LocalAddr => '127.0.0.1:' . port($n), ReuseAddr => 1) or die "$!";

    $t->run_daemon(sub {
        while (my $s = $listen->accept) {
            my $params = $one->($s) or next;

            open my $fh, '>>', "$d/$name.params";
            syswrite $fh, JSON::PP->new->latin1->encode($params) . "\n";
        }
    });
}

stub('fastcgi', 8082, sub {
    my ($s) = @_;
    my ($buf, $params) = ('', '');

    while (need($s, \$buf, 8)) {
        my (undef, $type, $id, $len, $pad) = unpack 'CCnnC', $buf;
        need($s, \$buf, 8 + $len + $pad) or return;
        my $data = substr $buf, 8, $len;
        substr $buf, 0, 8 + $len + $pad, '';

        $params .= $data if $type == 4;
        next unless $type == 5 && $len == 0;

        my (%p, @len);

        while (length $params) {
            @len = map {
                my $n = unpack 'C', $params;
                $n < 128 ? (substr($params, 0, 1, ''), $n)[1]
                : unpack('N', substr $params, 0, 4, '') & 0x7fffffff;
            } 1 .. 2;
            my $name = substr $params, 0, $len[0], '';
            $p{$name} = substr $params, 0, $len[1], '';
        }

        my $out = "Content-Type: application/json\r\n\r\n$answer";
        syswrite $s, pack('CCnnCC', 1, 6, 1, length $out, 0, 0) . $out
                     . pack('CCnnCC', 1, 3, 1, 8, 0, 0) . "\0" x 8;
        return \%p;
    }
});

stub('uwsgi', 8083, sub {
    my ($s) = @_;
    my $buf = '';

    need($s, \$buf, 4) or return;
    my (undef, $len) = unpack 'CvC', $buf;
    need($s, \$buf, 4 + $len) or return;

    my %p = unpack '(v/a)*', substr $buf, 4, $len;

    syswrite $s, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                 . "Content-Length: " . length($answer) . "\r\n\r\n$answer";
    return \%p;
});

$t->write_conf(<<'END');
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    underscores_in_headers on;

    %%ISSUER_okta%%

    mcp_credential bot { type static; value "Bearer bot-secret"; }
    mcp_credential key { type static; header X-Api-Key; value key-secret; }
    mcp_server bot { resource https://mcp.example.com/bot; issuer okta;
                     credential bot; role * { allow tool *; } }
    mcp_server key { resource https://mcp.example.com/key; issuer okta;
                     credential key; role * { allow tool *; } }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_8085%% http2;

        location /fastcgi/bot { mcp_auth bot;
            fastcgi_pass 127.0.0.1:%%PORT_8082%%; }
        location /fastcgi/key { mcp_auth key;
            fastcgi_pass 127.0.0.1:%%PORT_8082%%; }
        location /uwsgi/bot { mcp_auth bot;
            uwsgi_pass 127.0.0.1:%%PORT_8083%%; }
        location /uwsgi/key { mcp_auth key;
            uwsgi_pass 127.0.0.1:%%PORT_8083%%; }
        location /grpc { mcp_auth bot;
            grpc_pass grpc://127.0.0.1:%%PORT_8084%%; }
        location /http { mcp_auth key;
            proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }

    server {
        listen 127.0.0.1:%%PORT_8084%% http2;
        underscores_in_headers on;
        location / { proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
}
END
$t->start;

my %evil = (Cookie => 'evil', 'X-User' => 'evil', 'DPoP' => 'evil',
            x_user => 'evil', 'Proxy-Authorization' => 'evil',
            'X-Forwarded-For' => '10.1.2.3');

for my $p (qw/ fastcgi uwsgi /) {
    my $requests = 0;

    for ([ 'bot', 'HTTP_AUTHORIZATION', 'Bearer bot-secret' ],
         [ 'key', 'HTTP_X_API_KEY', 'key-secret' ])
    {
        my ($server, $name, $secret) = @$_;

        my $r = call_tool("/$p/$server", 'x', {}, token => $token,
                          headers => { %evil, X_API_KEY => 'evil' });
        is($r->{status}, 200, "$p: allowed");

        # the stub answers before it writes: wait for this request's line

        my @lines;
        $requests++;

        MCP::Test::wait_until(5, sub {
            @lines = $t->read_file("$p.params") =~ /^(.*)\n/mg;
            return @lines >= $requests;
        });

        is(scalar @lines, $requests, "$p: a request");
        my $params = JSON::PP->new->latin1->decode($lines[-1]);

        is($params->{$name}, $secret, "$p: $name is the credential");
        is($params->{HTTP_X_FORWARDED_FOR}, '10.1.2.3', "$p: other headers");
        ok(!exists $params->{HTTP_AUTHORIZATION}, "$p: nothing else is")
            if $server eq 'key';
        unlike($lines[-1], qr/evil|\Q$token\E/, "$p: nothing of the caller's");
    }
}

my $r = call_tool('/grpc', 'x', {}, token => $token, headers => \%evil);
my ($req) = $up->requests_next(1, timeout => 5);
is($req->{headers}{authorization}, 'Bearer bot-secret', 'grpc: the credential');
unlike($req->{head}, qr/evil|\Q$token\E/, "grpc: nothing of the caller's");


SKIP: {
    my $curl = `curl -V 2>/dev/null`;
    skip 'no curl with HTTP/2', 4 unless $curl =~ /HTTP2/;

    $t->write_file('body', JSON::PP->new->encode(
                   rpc('tools/call', { name => 'x' }, era => 'legacy')));

    my $out = `curl -s --http2-prior-knowledge -o /dev/null \\
        -w '%{http_code} %{http_version}' --data-binary \@$d/body \\
        -H 'Content-Type: application/json' -H 'Accept: application/json' \\
        -H 'Authorization: Bearer $token' -H 'Cookie: a=evil' \\
        -H 'Cookie: b=evil' -H 'X-User: evil' -H 'X-Api-Key: evil' \\
        http://127.0.0.1:${\ port(8085)}/http`;

    is($out, '200 2', 'HTTP/2: allowed');
    ($req) = $up->requests_next(1);
    is($req->{headers}{'x-api-key'}, 'key-secret', 'HTTP/2: the credential');
    ok(!exists $req->{headers}{authorization}, 'HTTP/2: no token');
    unlike($req->{head}, qr/evil|\Q$token\E/, "HTTP/2: nothing of the caller's");
}

done_testing;

#!/usr/bin/perl

# Corners of nginx: clients that close their half of the connection, at each
# point of a request; and upstreams that do not speak HTTP/1.1, whose responses
# are read like any other.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use IO::Socket::INET;

use MCP::Trap conf => <<'CONF', http => <<'HTTP';
        location /patient {
            mcp_auth mcp;
            proxy_ignore_client_abort on;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /fastcgi {
            mcp_auth mcp;
            fastcgi_pass 127.0.0.1:%%PORT_8082%%;
        }
        location /uwsgi {
            mcp_auth mcp;
            uwsgi_pass 127.0.0.1:%%PORT_8083%%;
        }
        location /grpc {
            mcp_auth mcp;
            grpc_pass grpc://127.0.0.1:%%PORT_8084%%;
        }
CONF
    server {
        listen 127.0.0.1:%%PORT_8084%% http2;
        location / { proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
HTTP

# ---- half-closed

# begins a request, closes the client's half behind $n bytes of it (undef: all)

sub half {
    my ($uri, $msg, $n) = @_;
    my $bytes = MCP::Test::mcp_request($uri, $msg, token => token,
                                       era => 'none');
    my $c = http_start(defined $n ? substr($bytes, 0, $n) : $bytes);

    $c->shutdown;
    return $c;
}

my $length = length MCP::Test::mcp_request('/mcp', call('echo'),
                                           token => token, era => 'none');

my $c = half('/mcp', call('echo'), $length - 5);

ok($c->closed(5), 'in the middle of the body: closed');
is(record()->{reason}, 'incomplete_body', 'on record');
nothing('half a body');

$c = half('/mcp', call('rm'));

my $r = $c->read_response;

is($r->{json}{error}{code}, -32602, 'a denial is heard all the same');
is(record()->{decision}, 'deny', 'on record');
nothing('a denial');

# nginx takes it for a client that went: the upstream is left

upstream->answer({ wait => 20, result => {} });

my $before = upstream->events(0);

$c = mcp_start('/mcp', call('echo'), token => token, era => 'none');
is(scalar arrived(1), 1, 'the call has arrived');
$c->shutdown;
ok($c->closed(5), 'while the upstream thinks: closed');

my $a = record();

is("$a->{decision} $a->{reason} $a->{result}{status}", 'allow client_gone 499',
   'on record');
upstream->events($before + 1);
is(upstream->events(0) - $before, 1, 'and the upstream was left');

upstream->answer({ wait => 0.3, result => { x => 1 } });
$c = half('/patient', call('echo'));
is(passes($c->read_response, 'proxy_ignore_client_abort')->{method}, 'POST',
   'proxy_ignore_client_abort: answered');

upstream->answer({ sse => [ { data => { jsonrpc => '2.0', method => 'x' } },
                            20 ] });
$c = mcp_start('/mcp', call('echo'), token => token, era => 'none');
ok($c->sse_next, 'a stream');
$c->shutdown;
ok($c->closed(5), 'half-closed: closed');
is(record()->{reason}, 'client_gone', 'on record');
arrived(1);


# ---- FastCGI and uwsgi: one connection for each request, answers from here

my %listen = map {
    $_->[0] => IO::Socket::INET->new(Proto => 'tcp', Listen => 8,
        ReuseAddr => 1, LocalAddr => '127.0.0.1:' . port($_->[1]))
        || die "listen: $!"
} ['fastcgi', 8082], ['uwsgi', 8083];

# the request's bytes, after the answer was sent: header lines and a body

sub serve {
    my ($what, $head, $body) = @_;
    my $s = $listen{$what}->accept;
    my $got = '';

    while ($got !~ /"params":\{.*\}\}/s) {
        sysread $s, $got, 65536, length $got or last;
    }

    if ($what eq 'fastcgi') {
        my $out = "Status: $head\r\n\r\n$body";

        syswrite $s, pack('CCnnCC', 1, 6, 1, length $out, 0, 0) . $out
                     . pack('CCnnCC', 1, 3, 1, 8, 0, 0) . "\0" x 8;
    } else {
        syswrite $s, "HTTP/1.1 $head\r\n\r\n$body";
    }

    close $s;
    return $got;
}

my $list = '{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"rm"},'
           . '{"name":"echo"}]}}';
my $ok = '{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"echo"}]}}';
my $json = 'Content-Type: application/json';

for my $what (qw/ fastcgi uwsgi /) {
    my $ask = sub {
        my ($head, $body) = @_;
        my $c = mcp_start("/$what", '{"jsonrpc":"2.0","id":1,"method":'
                          . '"tools/list","params":{}}', token => token,
                          era => 'none');

        serve($what, $head, $body);
        return $c->read_response;
    };

    is($ask->("200 OK\r\n$json", $list)->{body}, $ok, "$what: a list is cut");
    is(record()->{result}{removed}, 1, 'on record');
    is($ask->("200 OK\r\nContent-Type: text/event-stream",
              "data: $list\n\n")->{body}, "data: $ok\n\n", "$what: an event");
    record();

    for (["401 No\r\n$json\r\nWWW-Authenticate: Bearer x", '{}',
          'upstream_credential'],
         ["302 Go\r\nLocation: https://evil.example/", '', 'upstream_status'],
         ["200 OK\r\n$json", 'no JSON', 'upstream_invalid'],
         ["200 OK\r\n$json\r\nContent-Encoding: gzip", 'x',
          'upstream_encoding'])
    {
        my ($head, $body, $reason) = @$_;

        $r = $ask->($head, $body);
        is($r->{status}, 502, "$what: $reason");
        unlike($r->{head}, qr/evil|bearer/i, 'nothing of it');
        is(record()->{reason}, $reason, 'on record');
    }

    refused(post(call('rm'), uri => "/$what"), 200, -32602, 'no_rule',
            "$what: a denied tool");
    ok(!IO::Select->new($listen{$what})->can_read(0.1), 'goes nowhere');
}


# ---- gRPC, as a way to a server that is reached by HTTP/2

upstream->answer({ body => $list });
is(post('{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}',
        uri => '/grpc')->{body}, $ok, 'grpc: a list is cut');
is(record()->{result}{removed}, 1, 'on record');
arrived(1);

upstream->answer({ sse => [ { data => $list } ] });
is(post('{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}',
        uri => '/grpc')->{body}, "data: $ok\n\n", 'grpc: an event');
record();
arrived(1);

for ([401, 'upstream_credential'], [302, 'upstream_status']) {
    upstream->answer({ status => $_->[0], body => '{}',
                       headers => { Location => '/evil' } });
    $r = post(call('echo'), uri => '/grpc');
    is($r->{status}, 502, "grpc: $_->[1]");
    is(record()->{reason}, $_->[1], 'on record');
    arrived(1);
}

refused(post(call('rm'), uri => '/grpc'), 200, -32602, 'no_rule',
        'grpc: a denied tool');

done_testing;

#!/usr/bin/perl

# Streams over HTTP/2, and with upstreams that do not speak HTTP/1.1, end with
# their token too: gently for who reads, cut off for who does not, and without
# harm for the other streams of the connection.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1, conf => 'leeway 0s;');
my $big = '{"jsonrpc":"2.0","method":"x","params":{"x":"' . 'y' x 60_000
          . '"}}';
my $note = '{"jsonrpc":"2.0","method":"notifications/message","params":{}}';

my $up = MCP::Upstream->start($t, port => 8081, handler => sub {
    my ($req) = @_;

    return { sse => [ $req->{uri} =~ /big/ ? (map { { data => $big } } 1 .. 800)
                    : (map { ({ data => $note }, 0.2) } 1 .. 150) ] };
});

# one FastCGI server, which answers as it is asked, and does not end

my $listen = IO::Socket::INET->new(Proto => 'tcp', Listen => 8, ReuseAddr => 1,
    LocalAddr => '127.0.0.1:' . port(8082)) or die "listen: $!";

$t->run_daemon(sub {
    while (my $s = $listen->accept) {
        sysread $s, my $buf, 65536;

        my $put = sub {
            return syswrite $s, pack('CCnnCC', 1, 6, 1, length $_[0], 0, 0)
                                . $_[0];
        };

        $put->("Content-Type: text/event-stream\r\n\r\n");

        for (1 .. 300) {
            $put->("data: $note\n\n") or last;
            sleep 0.1;
        }
    }
});
close $listen;

$t->write_conf(<<'END');
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;

    %%ISSUERS%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        stream_grace 0s;
        role * { allow tool echo; }
    }

    send_timeout 30s;
    proxy_read_timeout 30s;

    server {
        listen 127.0.0.1:%%PORT_8080%% http2 sndbuf=8k;
        location /mcp { mcp_auth mcp; proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /fastcgi { mcp_auth mcp; fastcgi_pass 127.0.0.1:%%PORT_8082%%; }
        location /grpc { mcp_auth mcp; grpc_pass grpc://127.0.0.1:%%PORT_8083%%; }
    }

    server {
        listen 127.0.0.1:%%PORT_8083%% http2;
        location / {
            proxy_buffering off;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END
$t->start;

my ($worker) = $t->workers;

# A client of HTTP/2 that asks, and reads frames until the streams have ended.
# (No window is ever enlarged: who sends more than 65535 bytes has to wait.)

sub frame {
    my ($type, $flags, $stream, $data) = @_;
    return substr(pack('N', length $data), 1) . pack('CCN', $type, $flags,
                                                     $stream) . $data;
}

# streams: [URI, seconds that its token has]

sub connect_to {
    my (@streams) = @_;

    sleep 1 - (time - int time) + 0.02;

    my $c = MCP::Conn->new(port => port(8080));
    my $bytes = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . frame(4, 0, 0, '');
    my $n = -1;

    for (@streams) {
        my ($uri, $left) = @$_;
        my @h = (':method' => 'GET', ':scheme' => 'http', ':path' => $uri,
                 ':authority' => 'localhost', accept => 'text/event-stream',
                 authorization => 'Bearer ' . $okta->token(-expires => $left));

        # literals without indexing; a length over 126 in several bytes

        my $block = '';

        while (my ($name, $value) = splice @h, 0, 2) {
            $block .= "\0" . length_of($name) . $name . length_of($value)
                      . $value;
        }

        $bytes .= frame(1, 5, $n += 2, $block);
    }

    $c->send($bytes);
    return $c;
}

sub length_of {
    my $n = length $_[0];

    return chr $n if $n < 127;
    $n -= 127;

    my $out = chr 127;

    while ($n >= 128) {
        $out .= chr(128 + $n % 128);
        $n = int($n / 128);
    }

    return $out . chr $n;
}

# what became of $n streams: { stream => { end, bytes, time } }

sub ends {
    my ($c, $n) = @_;
    my $until = time + $MCP::Test::TIMEOUT + 10;
    my %s;

    while (grep({ $_->{end} } values %s) < $n) {
        if (length $c->{buf} < 9
            || length $c->{buf} < 9 + unpack('N', "\0$c->{buf}"))
        {
            $c->fill($until) or last;
            next;
        }

        my ($type, $flags, $id) = unpack 'CCN', substr $c->{buf}, 3, 6;
        my $len = unpack 'N', "\0$c->{buf}";

        substr $c->{buf}, 0, 9 + $len, '';
        $s{$id}{bytes} += $len if $type == 0;
        $s{$id}{end} = $type == 3 ? 'reset' : 'complete'
            if $type == 3 || ($type <= 1 && $flags & 1);
        $s{$id}{time} ||= time if $s{$id}{end};
    }

    return \%s;
}

for my $uri (qw( /mcp /fastcgi /grpc )) {
    my $from = time;
    my $s = ends(connect_to([$uri, 2]), 1);

    is($s->{1}{end}, 'complete', "$uri: ends like one that is complete");
    cmp_ok($s->{1}{bytes} || 0, '>', length $note, "$uri: after some events");

    my $a = $t->audit_next;
    is("$a->{decision} $a->{reason}", 'allow token_expired',
       "$uri: on record");
}


# two in one connection: the other goes on

my $s = ends(connect_to(['/mcp/short', 2], ['/mcp/long', 5]), 2);

is("$s->{1}{end} $s->{3}{end}", 'complete complete', 'two: each ends');
cmp_ok($s->{3}{time} - $s->{1}{time}, '>', 1.5, 'in its time');
is(join(' ', map { $_->{reason} } $t->audit_next(2)),
   'token_expired token_expired', 'both on record');


# a client that does not enlarge its window is cut off some seconds later; the
# other stream of its connection is not

my $c = connect_to(['/mcp/big', 2], ['/mcp', 60]);

$s = ends($c, 1);

is($s->{1}{end}, 'reset', 'who reads nothing is cut off');
ok(!$s->{3}{end}, 'alone');

my $a = $t->audit_next;

is("$a->{decision} $a->{reason}", 'allow token_expired', 'on record');
$c->close;
is($t->audit_next->{reason}, 'client_gone', 'its other one went on');
is(($t->workers)[0], $worker, 'the worker is what it was');

done_testing;

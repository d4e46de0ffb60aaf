package MCP::H2;

# A client of HTTP/2 that a test can steer frame by frame: many streams of one
# connection, resets, GOAWAY, windows that are or are not enlarged.
#
#     my $c = MCP::H2->new;
#     my $id = $c->post('/mcp', $bytes, token => $token);
#     my $s = $c->response($id);          # { status, body, end }
#
# end is `complete`, `reset`, or undef while the stream is open.  Nothing of
# HPACK is used but literals; of a response's headers the status is read, which
# is all that nginx writes without Huffman's code.

use strict;
use warnings;

use Time::HiRes qw/ time /;

use MCP::Conn;
use MCP::Test ();

my %static = (8 => 200, 9 => 204, 10 => 206, 11 => 304, 12 => 400, 13 => 404,
              14 => 500);


# window => 0: windows are not enlarged, 65535 bytes come in all

sub new {
    my ($class, %o) = @_;

    my $self = bless {
        c => MCP::Conn->new(port => $o{port} || MCP::Test::port(8080)),
        window => 1, next => 1, streams => {}, %o,
    }, $class;

    $self->{c}->send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . frame(4, 0, 0, ''));

    return $self;
}


sub frame {
    my ($type, $flags, $stream, $data) = @_;
    return substr(pack('N', length $data), 1) . pack('CCN', $type, $flags,
                                                     $stream) . $data;
}


# a length of HPACK, over 126 in several bytes

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


sub block {
    my @h = @_;
    my $out = '';

    while (my ($name, $value) = splice @h, 0, 2) {
        $out .= "\0" . length_of($name) . $name . length_of($value) . $value;
    }

    return $out;
}


# The bytes of a HEADERS frame of a new stream, its number.  open => 1: a body
# follows.  headers: a list of pairs, behind the usual ones.

sub head {
    my ($self, $method, $uri, %o) = @_;
    my $id = $self->{next};

    $self->{next} += 2;
    $self->{streams}{$id} = { body => '' };

    my @h = (':method' => $method, ':scheme' => 'http', ':path' => $uri,
             ':authority' => 'localhost');

    push @h, authorization => "Bearer $o{token}" if defined $o{token};
    push @h, accept => 'application/json, text/event-stream';
    push @h, 'content-type' => $o{type} // 'application/json'
        if $method eq 'POST';
    push @h, @{$o{headers} || []};

    return (frame(1, $o{open} ? 4 : 5, $id, block(@h)), $id);
}


sub send {
    my ($self, @frames) = @_;
    $self->{c}->send(join '', @frames);
    return $self;
}


sub data {
    my ($self, $id, $bytes, $end) = @_;
    return $self->send(frame(0, $end ? 1 : 0, $id, $bytes));
}


sub get {
    my ($self, $uri, %o) = @_;
    my ($frame, $id) = $self->head($o{method} || 'GET', $uri, %o);

    $self->send($frame);
    return $id;
}


sub post {
    my ($self, $uri, $body, %o) = @_;
    my ($frame, $id) = $self->head('POST', $uri, %o, open => 1);

    $self->send($frame, frame(0, 1, $id, $body));
    return $id;
}


sub reset { $_[0]->send(frame(3, 0, $_[1], pack 'N', $_[2] // 8)) }
sub goaway { $_[0]->send(frame(7, 0, 0, pack 'NN', 0, 0)) }
sub close { $_[0]{c}->close }


# Reads frames until done->() is true: 1; 0 when the time or the connection is
# over.

sub read_until {
    my ($self, $done, $timeout) = @_;
    my $c = $self->{c};
    my $until = time + ($timeout // $MCP::Test::TIMEOUT);

    while (!$done->()) {
        if (length $c->{buf} < 9
            || length $c->{buf} < 9 + unpack('N', "\0$c->{buf}"))
        {
            $c->fill($until) or return 0;
            next;
        }

        my $len = unpack 'N', "\0$c->{buf}";
        my ($type, $flags, $id) = unpack 'CCN', substr $c->{buf}, 3, 6;
        my $bytes = substr $c->{buf}, 9, $len;

        substr $c->{buf}, 0, 9 + $len, '';
        $self->took($type, $flags, $id, $bytes);
    }

    return 1;
}


sub took {
    my ($self, $type, $flags, $id, $bytes) = @_;
    my $s = $self->{streams}{$id};

    if ($type == 7) {
        $self->{goaway} = unpack 'x4N', $bytes;

    } elsif ($type == 4 && !($flags & 1)) {
        $self->send(frame(4, 1, 0, ''));

    } elsif ($type == 6 && !($flags & 1)) {
        $self->send(frame(6, 1, 0, $bytes));
    }

    return unless $s;

    if ($type == 0) {
        $s->{body} .= $bytes;
        $self->send(map { frame(8, 0, $_, pack 'N', length $bytes) } 0, $id)
            if $self->{window} && length $bytes;

    } elsif ($type == 1 && !defined $s->{status}) {
        $bytes =~ s/\A[\x20-\x3f]+//;       # the table's size

        $s->{status} = $bytes =~ /\A\x48\x03(\d\d\d)/ ? $1
                     : $static{ord($bytes) & 0x7f};
    }

    $s->{end} //= $type == 3 ? 'reset' : 'complete'
        if $type == 3 || ($type <= 1 && $flags & 1);
    $s->{time} //= time if $s->{end};
}


# What came for the stream when it has ended, or the time is over.

sub response {
    my ($self, $id, $timeout) = @_;
    my $s = $self->{streams}{$id};

    $self->read_until(sub { $s->{end} }, $timeout);

    return $s;
}


1;

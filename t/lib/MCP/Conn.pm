package MCP::Conn;

# One client connection, as raw as a test needs it: bytes in the pieces that
# the test chooses, responses read as they arrive.
#
#     my $c = MCP::Conn->new(port => 8080);
#     $c->send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", split => 1);
#     my $r = $c->read_response;          # keep-alive: again, and again
#
# A response is a hash: status, reason, proto, headers (lower-case names,
# values of one name joined with ", "), header_list (pairs in order), head and
# body (bytes), complete (0: the connection broke in the body), events (of an
# event stream), json (the body, or the data of the last event, decoded; absent
# when it is not JSON).  undef: no response before the timeout or the end.

use strict;
use warnings;

use IO::Socket::INET;
use IO::Select;
use JSON::PP ();
use Socket qw/ IPPROTO_TCP TCP_NODELAY SOL_SOCKET SO_LINGER /;
use Time::HiRes qw/ time sleep /;

our $TIMEOUT = $ENV{MCP_TEST_VALGRIND} ? 120 : $ENV{MCP_TEST_SAN} ? 30 : 10;


sub new {
    my ($class, %o) = @_;

    my $s = IO::Socket::INET->new(
        Proto => 'tcp',
        PeerAddr => $o{host} || '127.0.0.1',
        PeerPort => $o{port},
        Timeout => 5,
    ) or die "connect to port $o{port}: $!\n";

    setsockopt($s, IPPROTO_TCP, TCP_NODELAY, 1);
    binmode $s;
    $s->blocking(0);

    return bless { sock => $s, buf => '', eof => 0,
                   timeout => $o{timeout} || $TIMEOUT }, $class;
}


# split => 1: a write for each byte; chunks => [...]: these instead of the
# bytes; delay => s between two writes.  Returns the number of bytes that the
# other side took.

sub send {
    my ($self, $bytes, %o) = @_;

    my $split = $o{split} // $ENV{MCP_TEST_SPLIT};
    my @parts = $o{chunks} ? @{$o{chunks}}
              : $split ? split(//, $bytes) : ($bytes);
    my $total = 0;
    my $first = 1;

    local $SIG{PIPE} = 'IGNORE';

    for my $part (@parts) {
        sleep($o{delay} || ($o{chunks} ? 0.02 : 0)) unless $first;
        $first = 0;

        my $off = 0;
        my $end = time + $self->{timeout};

        while ($off < length $part) {
            my $n = syswrite($self->{sock}, $part, length($part) - $off, $off);

            if (defined $n) {
                $off += $n;
                $total += $n;
                next;
            }

            return $total unless $!{EAGAIN} && time < $end;
            IO::Select->new($self->{sock})->can_write($end - time);
        }
    }

    return $total;
}


# Reads some bytes: 1, or 0 at the end of the connection or of the time.

sub fill {
    my ($self, $until) = @_;

    return 0 if $self->{eof};

    while (1) {
        my $wait = $until - time;
        return 0 if $wait <= 0;

        next unless IO::Select->new($self->{sock})->can_read($wait);

        my $n = sysread($self->{sock}, $self->{buf}, 65536,
                        length $self->{buf});

        return 1 if $n;
        next if !defined $n && ($!{EAGAIN} || $!{EINTR});

        $self->{eof} = 1;
        $self->{error} = "$!" unless defined $n;
        return 0;
    }
}


# The head of the next response; interim ones are counted and dropped.  Then
# read_body(), sse_next() or both go on with its body.

sub read_head {
    my ($self, %o) = @_;
    my $until = time + ($o{timeout} || $self->{timeout});
    my $interim = 0;

    while (1) {
        while ($self->{buf} !~ /\r?\n\r?\n/) {
            return undef unless $self->fill($until);
        }

        $self->{buf} =~ s/\A(.*?\r?\n)\r?\n//s;
        my $head = $1;
        my ($line, @lines) = split /\r?\n/, $head;

        my ($proto, $status, $reason) =
            ($line // '') =~ m!^(HTTP/\d\.\d) (\d{3})(?: (.*))?$!
            or die "not a response: " . ($line // '') . "\n";

        my (%h, @list);

        for (@lines) {
            my ($n, $v) = /^([^:]+):\s*(.*?)\s*$/ or next;
            push @list, [$n, $v];
            $n = lc $n;
            $h{$n} = exists $h{$n} ? "$h{$n}, $v" : $v;
        }

        if ($status >= 100 && $status < 200 && $status != 101) {
            $interim++;
            next;
        }

        my $r = { proto => $proto, status => $status, reason => $reason,
                  head => $head, headers => \%h, header_list => \@list,
                  interim => $interim, body => '', complete => 0 };

        $self->{response} = $r;
        $self->{sse} = '';
        $self->{left} = undef;
        $self->{mode} =
            $o{head} || $status == 204 || $status == 304 ? 'none'
            : lc($h{'transfer-encoding'} // '') eq 'chunked' ? 'chunked'
            : defined $h{'content-length'} ? 'length' : 'close';

        $self->{left} = $h{'content-length'} if $self->{mode} eq 'length';
        $r->{complete} = 1
            if $self->{mode} eq 'none'
               || ($self->{mode} eq 'length' && $self->{left} == 0);

        return $r;
    }
}


# The next bytes of the body, decoded; undef: no more, or not in time.

sub body_some {
    my ($self, $until) = @_;
    my $r = $self->{response};

    while (1) {
        return undef if $r->{complete};

        if ($self->{mode} eq 'chunked') {

            if (!defined $self->{left}) {
                if ($self->{buf} =~ s/\A(?:\r\n)?([0-9a-f]+)[^\r\n]*\r\n//i) {
                    $self->{left} = hex $1;
                    $self->{last} = $self->{left} == 0;
                    next;
                }

            } elsif ($self->{last}) {
                if ($self->{buf} =~ s/\A(?:[^\r\n]+\r\n)*\r\n//) {
                    $r->{complete} = 1;
                    return undef;
                }

            } elsif (length $self->{buf}) {
                return $self->take_left;
            }

        } elsif ($self->{mode} eq 'length') {
            return $self->take_left if length $self->{buf};

        } elsif (length $self->{buf}) {
            my $some = $self->{buf};
            $self->{buf} = '';
            $r->{body} .= $some;
            return $some;
        }

        next if $self->fill($until);

        $r->{complete} = 1 if $self->{eof} && $self->{mode} eq 'close'
                              && !$self->{error};
        return undef;
    }
}


sub take_left {
    my ($self) = @_;
    my $some = substr($self->{buf}, 0, $self->{left}, '');

    $self->{left} -= length $some;
    $self->{response}{body} .= $some;

    if ($self->{left} == 0) {
        $self->{left} = undef;
        $self->{response}{complete} = 1 if $self->{mode} eq 'length';
    }

    return $some;
}


sub read_body {
    my ($self, %o) = @_;
    my $until = time + ($o{timeout} || $self->{timeout});

    1 while defined $self->body_some($until);

    my $r = $self->{response};
    my $text = $r->{body};

    if (($r->{headers}{'content-type'} // '') =~ m!^text/event-stream!i) {
        $r->{events} = [ parse_sse($text) ];
        my ($last) = grep { defined $_->{data} && length $_->{data} }
                     reverse @{$r->{events}};
        $text = $last ? $last->{data} : '';
    }

    my $json = eval { JSON::PP->new->utf8->allow_nonref->decode($text) };
    $r->{json} = $json if defined $json;

    return $r;
}


sub read_response {
    my ($self, %o) = @_;

    $self->read_head(%o) or return undef;
    return $self->read_body(%o);
}


# The next event of the stream: a hash with event, data, id, retry, comment
# (those that it has), raw, and time when it was complete.  undef: none in
# time, or the stream ended ($c->{response}{complete} tells).

sub sse_next {
    my ($self, %o) = @_;
    my $until = time + ($o{timeout} || $self->{timeout});

    $self->read_head(%o) or return undef unless $self->{response};

    while (1) {
        if ($self->{sse} =~ s/\A(.*?(?:\r\n\r\n|\n\n|\r\r))//s) {
            my ($e) = parse_sse($1);
            next unless $e;
            $e->{time} = time;
            return $e;
        }

        my $some = $self->body_some($until);
        return undef unless defined $some;
        $self->{sse} .= $some;
    }
}


sub parse_sse {
    my ($text) = @_;
    my @events;

    while ($text =~ s/\A(.*?(?:\r\n\r\n|\n\n|\r\r))//s) {
        my %e = (raw => $1);

        for (split /\r\n|\n|\r/, $1) {
            my ($n, $v) = /^([^:]*)(?::\s?(.*))?$/s or next;
            next if $_ eq '';
            $n = 'comment' if $n eq '';
            $v //= '';
            $e{$n} = exists $e{$n} ? "$e{$n}\n$v" : $v;
        }

        $e{json} = eval {
            JSON::PP->new->utf8->allow_nonref->decode($e{data})
        } if defined $e{data};

        push @events, \%e;
    }

    return @events;
}


# 1 when the other side has closed, within the time.

sub closed {
    my ($self, $timeout) = @_;
    my $until = time + ($timeout // 2);

    1 while $self->fill($until);
    return $self->{eof};
}


sub shutdown {
    my ($self) = @_;
    CORE::shutdown($self->{sock}, 1);
}


sub close {
    my ($self) = @_;
    CORE::close($self->{sock}) if $self->{sock};
    $self->{eof} = 1;
}


# closes with a RST

sub reset {
    my ($self) = @_;
    setsockopt($self->{sock}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
    $self->close;
}


1;

package MCP::Proxy;

# A TCP proxy in front of Redis that misbehaves as the test says.  It knows
# commands and replies, so that it can do something to the third reply, or to
# each GET.
#
#     my $proxy = MCP::Proxy->start($t, port => 6380, to => $redis->socket);
#     $proxy->mode(delay => 0.3);         # every reply comes later
#     $proxy->mode(reply => "-LOADING x\r\n", only => 'GET');
#     $proxy->mode;                       # behaves again
#
# raw => 1: it does not look into what passes (TLS); a piece is as a reply then.
# mode() replaces what was said before, and is in force when it returns:
#
#   delay => s          each reply so much later; all later ones behind it
#   split => s          replies leave byte by byte, s between two
#   hole => 1           nothing passes any more, connections are accepted
#   stop => 'replies'   commands pass, replies do not
#   cut => N            the next reply: N bytes of it, then the connection ends
#   reply => BYTES      instead of Redis, to each command
#   swallow => 1        the next reply is lost, and the connection stays
#   only => NAME        all of these for this command only (GET, HSCAN, PING)
#   refuse => 1         connections are closed when they come
#   chaos => { drop => P, delay => S, swallow => P, seed => N }   at random
#   close => 1          all connections end now
#
# connections() is how often somebody connected, commands(NAME) how many came.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use JSON::PP ();
use Socket qw/ AF_UNIX SOCK_STREAM PF_UNSPEC IPPROTO_TCP TCP_NODELAY /;
use Time::HiRes qw/ time sleep /;

use MCP::Test ();


sub start {
    my ($class, $t, %o) = @_;
    my $self = bless { port => 6380, t => $t, %o }, $class;
    my $port = MCP::Test::port($self->{port});

    my $listen = IO::Socket::INET->new(
        Proto => 'tcp', LocalAddr => "127.0.0.1:$port",
        Listen => 128, ReuseAddr => 1,
    ) or die "listen on $port: $!";

    socketpair(my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC)
        or die "socketpair: $!";
    $ours->autoflush(1);

    $self->{control} = $ours;
    $self->{pid} = $t->run_daemon(sub {
        close $ours;
        serve($listen, $theirs, $self->{to}, $self->{raw});
    });

    close $theirs;
    close $listen;

    return $self;
}


sub server { '127.0.0.1:' . MCP::Test::port($_[0]{port}) }


sub ask {
    my ($self, $what) = @_;
    my $s = $self->{control};

    print $s JSON::PP->new->latin1->encode($what), "\n";

    IO::Select->new($s)->can_read($MCP::Test::TIMEOUT)
        or die "the proxy does not answer";
    my $line = <$s> // die "the proxy has gone";

    return JSON::PP->new->latin1->decode($line);
}


sub mode {
    my ($self, %o) = @_;

    $self->ask({ mode => \%o });
    return $self;
}


sub connections { $_[0]->ask({})->{connections} }
sub open { $_[0]->ask({})->{open} }
sub commands { $_[0]->ask({})->{commands}{uc $_[1]} || 0 }


# ---- its process

my (%mode, %count, @conns);


sub serve {
    my ($listen, $control, $to, $raw) = @_;
    my $buf = '';

    %count = (connections => 0, commands => {});
    $_->blocking(0) for $listen, $control;

    while (1) {
        my $now = time;
        my $next = $now + 1;

        # what is due

        for my $c (@conns) {
            flush($c, $now);
            $next = $c->{out}[0]{at} if @{$c->{out}} && $c->{out}[0]{at} < $next;
        }

        @conns = grep { !$_->{dead} } @conns;

        my $s = IO::Select->new($listen, $control);
        for my $c (@conns) {
            $s->add($c->{client}) unless $c->{client_eof};
            $s->add($c->{server}) if $c->{server};
        }

        my $wait = $next - time;

        for my $fh ($s->can_read($wait > 0 ? $wait : 0)) {

            if ($fh == $control) {
                sysread($control, $buf, 65536, length $buf) or POSIX::_exit(0);
                while ($buf =~ s/\A(.*)\n//) {
                    control($control, $1);
                }
                next;
            }

            if ($fh == $listen) {
                accept_one($listen, $to, $raw);
                next;
            }

            my ($c) = grep { !$_->{dead} && ($_->{client} == $fh
                             || ($_->{server} && $_->{server} == $fh)) } @conns;
            next unless $c;

            $fh == $c->{client} ? from_client($c) : from_server($c);
        }
    }
}


sub control {
    my ($control, $line) = @_;
    my $what = JSON::PP->new->latin1->decode($line);

    if ($what->{mode}) {
        %mode = %{$what->{mode}};
        srand $mode{chaos}{seed} if $mode{chaos} && $mode{chaos}{seed};

        if ($mode{close}) {
            finish($_) for @conns;
        }
    }

    syswrite $control, JSON::PP->new->latin1->encode({
        %count, open => scalar(grep { !$_->{dead} } @conns) }) . "\n";
}


sub accept_one {
    my ($listen, $to, $raw) = @_;
    my $client = $listen->accept or return;

    $count{connections}++;
    setsockopt($client, IPPROTO_TCP, TCP_NODELAY, 1);
    $client->blocking(0);

    return if $mode{refuse};

    my $server = $to =~ m!^/! ? IO::Socket::UNIX->new(Peer => $to)
                              : IO::Socket::INET->new(Proto => 'tcp',
                                                      PeerAddr => $to);
    if (!$server) {
        close $client;
        return;
    }

    $server->blocking(0);

    # due: what was asked, in order; undef when the answer is the proxy's own

    push @conns, { client => $client, server => $server, in => '', from => '',
                   due => [], out => [], raw => $raw };
}


sub finish {
    my ($c) = @_;

    $c->{dead} = 1;
    close $c->{client};
    close $c->{server} if $c->{server};
}


# Takes a command or a reply off the text: its bytes and, of a command, its
# name; nothing when it is not complete.

sub one {
    my ($text) = @_;
    my $end = item($text, 0) // return;
    my $bytes = substr $$text, 0, $end, '';
    my ($name) = $bytes =~ /\A\*\d+\r\n\$\d+\r\n([^\r]*)/;

    return ($bytes, uc($name // ''));
}


sub all {
    my ($text) = @_;
    my $bytes = substr $$text, 0, length $$text, '';

    return length $bytes ? ($bytes, '') : ();
}


# the end of the item at this place

sub item {
    my ($text, $at) = @_;
    my $eol = index $$text, "\r\n", $at;
    return undef if $eol < 0;

    my $line = substr $$text, $at, $eol - $at;
    $at = $eol + 2;

    if ($line =~ /\A\$(-?\d+)/) {
        $at += $1 + 2 if $1 >= 0;
        return $at <= length $$text ? $at : undef;
    }

    if ($line =~ /\A\*(-?\d+)/) {
        for (1 .. $1) {
            $at = item($text, $at) // return undef;
        }
    }

    return $at;
}


sub from_client {
    my ($c) = @_;
    my $n = sysread $c->{client}, $c->{in}, 65536, length $c->{in};

    return if !defined $n && $!{EAGAIN};

    if (!$n) {
        return finish($c);
    }

    while (my ($bytes, $name) = $c->{raw} ? all(\$c->{in})
                                          : one(\$c->{in}))
    {
        $count{commands}{$name}++;

        my $mine = !$mode{only} || $mode{only} eq $name;

        if ($mode{hole} && $mine) {
            next;
        }

        if (defined $mode{reply} && $mine) {

            # behind those that Redis owes

            push @{$c->{due}}, { name => $name, reply => $mode{reply} };
            settle($c);
            next;
        }

        push @{$c->{due}}, { name => $name };
        $c->{server}->blocking(1);
        syswrite $c->{server}, $bytes;
        $c->{server}->blocking(0);
    }
}


# answers of the proxy's own that are next

sub settle {
    my ($c) = @_;

    while (@{$c->{due}} && defined $c->{due}[0]{reply}) {
        my $d = shift @{$c->{due}};
        answer($c, $d->{name}, $d->{reply});
    }
}


sub from_server {
    my ($c) = @_;
    my $n = sysread $c->{server}, $c->{from}, 65536, length $c->{from};

    return if !defined $n && $!{EAGAIN};

    if (!$n) {

        # what Redis has said may still be due

        close $c->{server};
        $c->{server} = undef;
        push @{$c->{out}}, { at => due_time($c, 0), bytes => '', end => 1 };
        return;
    }

    while (my ($bytes) = $c->{raw} ? all(\$c->{from}) : one(\$c->{from})) {

        # a message of a subscription answers nothing

        my $push = $bytes =~ /\A\*3\r\n\$7\r\nmessage\r\n/;
        my $d = $push ? { name => 'MESSAGE' } : shift @{$c->{due}};

        answer($c, $d ? $d->{name} : '', $bytes);
        settle($c);
        return if $c->{dead};
    }
}


sub due_time {
    my ($c, $delay) = @_;
    my $at = time + $delay;
    my $last = @{$c->{out}} ? $c->{out}[-1]{at} : 0;

    return $at > $last ? $at : $last;
}


sub answer {
    my ($c, $name, $bytes) = @_;
    my $mine = !$mode{only} || $mode{only} eq $name;
    my $delay = $mine ? $mode{delay} || 0 : 0;
    my $end = 0;

    if ($mine) {
        return if $mode{stop} || $mode{hole};
        return if delete $mode{swallow};

        if (defined $mode{cut}) {
            $bytes = substr $bytes, 0, delete $mode{cut};
            $end = 1;
        }

        if (my $chaos = $mode{chaos}) {
            return if rand() < ($chaos->{swallow} || 0);
            $delay = rand($chaos->{delay} || 0);

            if (rand() < ($chaos->{drop} || 0)) {
                $bytes = substr $bytes, 0, rand length $bytes;
                $end = 1;
            }
        }
    }

    my $at = due_time($c, $delay);

    if ($mine && $mode{split}) {
        for my $byte (split //, $bytes) {
            push @{$c->{out}}, { at => $at, bytes => $byte };
            $at += $mode{split};
        }
        push @{$c->{out}}, { at => $at, bytes => '', end => 1 } if $end;

    } else {
        push @{$c->{out}}, { at => $at, bytes => $bytes, end => $end };
    }

    flush($c, time);
}


sub flush {
    my ($c, $now) = @_;

    while (!$c->{dead} && @{$c->{out}} && $c->{out}[0]{at} <= $now) {
        my $o = shift @{$c->{out}};

        if (length $o->{bytes}) {
            $c->{client}->blocking(1);
            syswrite $c->{client}, $o->{bytes};
            $c->{client}->blocking(0);
        }

        finish($c) if $o->{end};
    }
}


1;

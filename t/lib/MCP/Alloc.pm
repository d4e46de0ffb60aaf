package MCP::Alloc;

# Allocations that fail, in the sanitizer build: see t/lib/alloc_hook.c, whose
# layout this knows.
#
#     plan(skip_all => ...) unless MCP::Alloc->possible;
#     my $alloc = MCP::Alloc->new($t);        # before $t->start
#     $t->start;
#     my $n = $alloc->count(sub { call_tool(...) });
#     $alloc->fail(17, sub { call_tool(...) });   # the 17th one gives NULL
#
# Whatever the worker allocates while the sub runs is counted, of whichever
# request or timer.  trace => 1 (or MCP_ALLOC_TRACE=1) shows in nginx.out where
# one failed.

use strict;
use warnings;

use Fcntl qw/ O_RDWR O_CREAT SEEK_SET /;
use Time::HiRes qw/ sleep /;

use constant { OFF => 0, ONE => 1, ALL_FROM => 2 };


sub possible { $ENV{MCP_TEST_SAN} && !$ENV{MCP_TEST_VALGRIND} }


sub new {
    my ($class, $t) = @_;
    my $path = $t->dir . '/alloc';

    sysopen my $fh, $path, O_RDWR | O_CREAT, 0600 or die "$path: $!";
    syswrite $fh, "\0" x 4096;

    # its workers have it too, whatever becomes of the environment

    $ENV{MCP_ALLOC_HOOK} = $path;

    return bless { fh => $fh, trace => $ENV{MCP_ALLOC_TRACE} ? 1 : 0 }, $class;
}


# The number is there before the mode.

sub arm {
    my ($self, $mode, $n) = @_;

    $self->put(0, pack 'L', OFF);
    $self->put(4, pack 'LQQQ', $self->{trace}, $n, 0, 0);
    $self->put(0, pack 'L', $mode);
}


# (allocations, those that failed)

sub disarm {
    my ($self) = @_;

    $self->put(0, pack 'L', OFF);

    sysseek $self->{fh}, 16, SEEK_SET;
    sysread $self->{fh}, my $got, 16;

    return unpack 'QQ', $got;
}


sub put {
    my ($self, $at, $bytes) = @_;

    sysseek $self->{fh}, $at, SEEK_SET;
    syswrite $self->{fh}, $bytes;
}


# How many the code needs.

sub count {
    my ($self, $code) = @_;

    $self->arm(ONE, 0);
    $code->();

    return ($self->disarm)[0];
}


# What the code returned, and how many failed.  all => 1: each from the n-th on.

sub fail {
    my ($self, $n, $code, %o) = @_;

    $self->arm($o{all} ? ALL_FROM : ONE, $n);
    my $got = $code->();

    return ($got, ($self->disarm)[1]);
}


1;

#!/usr/bin/perl

# A reload, and an end by QUIT, while a request waits: for Redis, keys, a token
# endpoint, the rest of a body, the upstream, in a stream.  The old worker does
# what it began; with worker_shutdown_timeout it is gone in time all the same,
# the request is on record once, and no socket is left open.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time /;

use MCP::Test;
use MCP::Waits;

my $g = MCP::Waits->new(issuers => 2);
my $t = $g->{t};
my @states = MCP::Waits::states();

sub gone {
    my ($pid, $s) = @_;
    return MCP::Test::wait_until($s // $MCP::Test::TIMEOUT,
                                 sub { !kill 0 => $pid });
}


# ---- reload: what waits is answered by the worker that it waits in

for my $state (@states) {
    $g->forget;

    my $c = $g->begin($state, seconds => 1);
    my ($old) = $t->workers;

    ok($t->reload, "reload, $state");

    my $r = $g->end($state, $c);

    is($r && $r->{status}, 200, "$state: answered by the old worker");
    ok($r && $r->{complete}, "$state: to its end");
    $c->close;
    is(($g->records(1, $state))[0]{decision}, 'allow', "$state: allowed");
    ok(gone($old), "$state: which then leaves");
    $g->settle;
}

$g->well('after the reloads');


# ---- QUIT: as well; for stop() asserts that nothing is left behind

my @open = map { $g->begin($_, seconds => 1) } qw/ redis upstream /;
my ($old) = $t->workers;

$g->forget;
kill QUIT => $t->pid;
is(join(' ', map { my $r = $_->read_response; $r ? $r->{status} : 'none' }
             @open), '200 200', 'QUIT: what waits is answered');
$_->close for @open;
ok(gone($old), 'then the worker leaves');
$t->stop;
is(scalar(my @r = $g->records(2, 'QUIT')), 2, 'and wrote what it did');
$g->settle;


# ---- worker_shutdown_timeout: it leaves in time, whatever waits

$t->write_conf($g->conf(global => 'worker_shutdown_timeout 500ms;'))->start;
$g->until_ready;

for my $state (@states) {
    $g->{keys} = 1;
    $g->forget;

    my $c = $g->begin($state, seconds => 20);
    my ($old) = $t->workers;
    my $from = time;

    ok($t->reload, "in time: reload, $state");
    ok($c->closed($MCP::Test::TIMEOUT), "in time: $state is cut off");
    ok(gone($old), "in time: $state: the worker is gone");
    cmp_ok(time - $from, '<', $ENV{MCP_TEST_VALGRIND} ? 60 : 8,
           "in time: $state: without waiting for it");
    $g->records(1, "in time: $state");
    $g->settle;
}

$g->well('after the timeouts');
is($g->{idp}->count(reuse => 1), 0, 'no refresh token was used twice');
$g->clean;

unlike($t->read_log, qr/open socket #\d+ left|exited on signal/,
       'no socket was left, nothing crashed');

done_testing;

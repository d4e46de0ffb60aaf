#!/usr/bin/perl

# A worker is killed (-9), or dies of a fault of its own (SEGV), while a request
# waits: for Redis, keys, a token endpoint, the rest of a body, the upstream, in
# a stream.  The client sees its connection end, another worker takes over, no
# lock or lease is left behind, and nothing is sent twice.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time /;

use MCP::Test;
use MCP::Waits;

my $g = MCP::Waits->new(issuers => 1);
my $t = $g->{t};

$t->allow_log(qr/exited on signal (?:9|11)/);

# with or without a file of what they were

$t->allow_log(qr/core dumped/);

for my $signal (qw/ KILL SEGV /) {

    # under a sanitizer or valgrind a SEGV is a report, and would be one of ours

    last if $signal eq 'SEGV' && $MCP::Test::SAN;

    # a SEGV is as sudden: for two of them is enough

    for my $state ($signal eq 'KILL' ? MCP::Waits::states()
                   : qw/ token stream /)
    {
        $g->forget;

        my $arrived = $g->{up}->requests(0);
        my $c = $g->begin($state, seconds => 3);
        my ($old) = $t->workers;
        my $from = time;

        kill $signal => $old;
        ok($c->closed, "$signal, $state: the client is cut off");

        ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
            my ($new) = $t->workers;
            return $new && $new != $old;
        }), "$signal, $state: another worker begins");

        $g->settle;

        my $sent = $g->{up}->requests(0) - $arrived;

        is($sent, $state eq 'upstream' || $state eq 'stream' ? 1 : 0,
           "$signal, $state: nothing is sent again");
        cmp_ok(time - $from, '<', 3 * $MCP::Test::TIMEOUT,
               "$signal, $state: nobody waits for the dead");
        $g->well("$signal, $state");
    }
}

# what was waiting for a key set died with it, and the next one is not told to
# wait for it: t/keys-wait.t.  What a dead worker did not write of a refresh:
# t/credential_faults.t.

is($g->{idp}->count(reuse => 1), 0, 'no refresh token was used twice');
$g->clean;

done_testing;

#!/usr/bin/perl

# A client that goes while its request waits: for Redis, keys, a token endpoint,
# the rest of its own body, the upstream, in a stream; by FIN, by RST, with one
# half of its connection, and with a second request behind the one that waits.
# It leaves one record for each request that was read, no descriptor, and no
# wait; those who stay are served.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ sleep /;

use MCP::Test;
use MCP::Waits;

my $g = MCP::Waits->new(issuers => 4);
my $t = $g->{t};
my ($worker) = $t->workers;

my %gone = (
    close => sub { $_[0]->close },
    reset => sub { $_[0]->reset },
    half => sub { $_[0]->shutdown },
);

# Who waits for the body has read nothing: there is nothing to take for gone but
# what the client says.  It is nginx that says incomplete_body.

sub reason {
    my ($state) = @_;
    return $state eq 'body' ? qr/^incomplete_body$/
         : qr/^(?:aborted_waiting_for_\w+|client_gone|aborted\w*)$/;
}

# what is open when nobody is there; each pool of connections has been used

$g->well('before');

my $rest = MCP::Waits::descriptors($worker);

for my $how (sort keys %gone) {
    for my $state (MCP::Waits::states()) {
        $g->forget;

        my $arrived = $g->{up}->requests(0);
        my $c = $g->begin($state, seconds => 2);

        $gone{$how}->($c);

        my ($r) = $g->records(1, "$how, $state");

        like($r->{reason}, reason($state), "$how, $state: why");
        is($g->{up}->requests(0) - $arrived,
           $state eq 'upstream' || $state eq 'stream' ? 1 : 0,
           "$how, $state: who did not wait for the upstream never gets there");

        $c->close;
        $g->settle;
    }
}

# nobody waits any more

ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
       MCP::Waits::descriptors($worker) <= $rest }), 'no descriptor is left')
    or diag(MCP::Waits::descriptors($worker) . " > $rest");
is(metric('open_streams'), 0, 'nor a stream');
$g->well('after');


# ---- a second request behind the one that waits: in order, each its own

for my $state (grep { $_ !~ /body|keys/ } MCP::Waits::states()) {
    $g->forget;

    my $behind = MCP::Test::mcp_request('/mcp', rpc('tools/call',
        { name => 'no_x' }, id => 4711), token => $g->{token});
    my $c = $g->begin($state, seconds => 0.5, behind => $behind);
    my $r = $g->end($state, $c);

    is($r && $r->{status}, 200, "behind, $state: the first is answered");

    $r = $c->read_response;
    is($r && $r->{json}{error}{code}, -32602, "behind, $state: and the second");
    is(join(' ', map { my $which = ($_->{rpc_id} // 0) == 4711 ? 2 : 1;
                       "$_->{decision}:$which" }
                 $g->records(2, "behind, $state")),
       'allow:1 deny:2', "behind, $state: each by itself");
    $g->settle;

    # and gone, with both

    $c = $g->begin($state, seconds => 2, behind => $behind);
    $c->reset;
    is(join(' ', map { ($_->{rpc_id} // 0) == 4711 ? 2 : 1 }
                 $g->records(1, "behind, $state, reset")), 1,
       "behind, $state, reset: the second was not looked at");
    $g->settle;
}

is(join(' ', $t->workers), $worker, 'it is the worker that it was');
is($g->{idp}->count(reuse => 1), 0, 'no refresh token was used twice');
$g->well('at the end');
$g->clean;

done_testing;

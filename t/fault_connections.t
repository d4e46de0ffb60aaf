#!/usr/bin/perl

# worker_connections are used up: whoever needs another one, for Redis, keys, a
# token endpoint or the upstream, is told so, on record, and nobody passes who
# would not; when there are some again all is well by itself.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ sleep /;

use MCP::Test;
use MCP::Waits;

my $g = MCP::Waits->new(issuers => 2, connections => 24);
my $t = $g->{t};
my ($worker) = $t->workers;

$t->allow_log(qr/\[alert\].*worker_connections are not enough/);

# Requests that hold two connections each, until there are none: those whose
# client sees its connection end found none for the upstream, or for itself.

sub fill {
    my ($n, $s) = @_;

    $g->{up}->clear;
    $g->{up}->answer(({ wait => $s, result => { late => 1 } }) x 40);

    return map {
        mcp_start('/mcp', rpc('tools/call', { name => 'ok_x' }),
                  token => $g->{token});
    } 1 .. $n;
}

# what came of each: a status, or that the connection ended

sub outcomes {
    return map { my $r = eval { $_->read_response(timeout => 30) };
                 $r ? $r->{status} : 'ended' } @_;
}

$g->well('before');
$g->forget;

my $rest = MCP::Waits::descriptors($worker);

# ---- the upstream: more calls than there are connections

for my $round (1 .. 3) {
    my @all = fill(40, 0.6);
    my @got = outcomes(@all);
    my %n;

    $n{$_}++ for @got;
    cmp_ok($n{200} // 0, '>', 0, "round $round: some are served");
    cmp_ok(40 - ($n{200} // 0), '>', 0, "round $round: not all can be");
    is(join(' ', grep { !/^(?:200|50\d|ended)$/ } keys %n), '',
       "round $round: those who are not hear it, or are cut off");
    $_->close for @all;
}

# each that was answered is on record, once; an upstream saw what was allowed

my @a = $t->audit_next(1, settle => 0.5);
my %by;

$by{$_->{rpc_id}}++ for @a;
is(scalar(grep { $_ > 1 } values %by), 0, 'nobody is on record twice');
is(scalar(grep { $_->{decision} eq 'deny' } @a), 0, 'nobody is denied for it');

$g->settle;
$g->well('after the upstream');


# ---- Redis, keys, a token endpoint: what waits there has a connection already;
# who comes when there is none gets an answer

for my $state (qw/ redis keys token /) {
    my @hold;

    # all but one or two: idle connections would be taken, those that are in use
    # are not

    for (1 .. 40) {
        my $c = eval { http_start("POST /mcp HTTP/1.1\r\nHost: a\r\n"
            . "Content-Length: 100\r\nAuthorization: Bearer $g->{token}\r\n"
            . "Content-Type: application/json\r\n\r\n{") } or last;
        push @hold, $c;
    }

    sleep 0.2;
    $g->{up}->requests_next(0, settle => 0);

    my $c = http_start($g->request($state, 0));

    my ($got) = outcomes($c);

    like($got, qr/^(?:200|50[0-4]|ended)$/, "$state: an answer, or none: $got");

    $_->close for @hold;
    $c->close;
    $g->settle;
    MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
        MCP::Waits::descriptors($worker) <= $rest + 2 });
    $g->well("after $state");
}

is(join(' ', $t->workers), $worker, 'it is the worker that it was');
ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
       MCP::Waits::descriptors($worker) <= $rest }), 'no descriptor is left')
    or diag(MCP::Waits::descriptors($worker) . " > $rest");
ok($t->wait_for_log(qr/worker_connections are not enough/),
   'there were none, indeed');
is($g->{idp}->count(reuse => 1), 0, 'no refresh token was used twice');
$g->clean;

done_testing;

#!/usr/bin/perl

# The filter's limits, and that memory stays flat: long lists, large bodies,
# thousands of events, clients that read slowly or go away.
# Trap N22 of docs/internals/traps.md.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $mb = 1024 * 1024;

# bodies that no queue of answers should carry

my $up = MCP::Upstream->start($t, port => 8081, handler => sub {
    my ($req) = @_;
    my ($what, $n) = $req->{uri} =~ m!/(\w+)/(\d+)$!;
    my $head = '{"jsonrpc":"2.0","id":42,"result":{"tools":[';

    return { body => $head . '{"name":"echo","d":"'
                     . 'x' x ($n - length '{"name":"echo","d":""}') . '"}]}}' }
        if $what eq 'entry';

    return { sse => [ ": hi\n\n", 'data: "' . 'x' x ($n - 10) . "\"\n\n",
                      ": bye\n\n" ] }
        if $what eq 'event';

    return { sse => [ ": hi\n\n", 'data: "' . 'x' x $n, 30 ] }
        if $what eq 'endless';

    my $text = '"' . 'x' x 1021 . "\",\n";

    return { body => '{"id":42,"result":{"content":[' . $text x $n . '0]}}',
             chunked => 1 }
        if $what eq 'big';

    my $event = qq({"id":42,"result":{"tools":[{"name":"rm","d":")
                . 'x' x 1500 . qq("},\n{"name":"echo"}]}});

    return { sse => [ (map { { data => $event } } 1 .. $n), 0.5 ] };
});

$t->write_conf(<<'END');
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;

    %%ISSUER_okta%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        role * { allow tool echo; }
    }

    proxy_http_version 1.1;

    server {
        listen 127.0.0.1:%%PORT_8080%% sndbuf=64k;
        mcp_auth mcp;
        proxy_max_temp_file_size 0;

        location /on { proxy_pass http://127.0.0.1:%%PORT_8081%%; }

        location /off {
            proxy_buffering off;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /file {
            proxy_max_temp_file_size 100m;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END
$t->start;

my $token = $okta->token(sub => 'alice');

sub start {
    return mcp_start($_[0], rpc('tools/list', {}, id => 42), token => $token);
}

# the response as bytes: to decode megabytes takes too long

sub whole {
    my ($c) = @_;
    my $r = $c->read_head or return { status => 0, body => '' };
    1 while defined $c->body_some(time + 30);
    return $r;
}

sub rss {
    my ($pid) = $t->workers;
    open my $fh, '<', "/proc/$pid/status" or return 0;
    return (map { /^VmRSS:\s+(\d+)/ ? $1 : () } <$fh>)[0] * 1024;
}


# a long list

$up->answer({ result => { tools => [
    map { { name => $_ % 2 ? "rm$_" : 'echo', inputSchema => { n => $_ } } }
    1 .. 1000 ] } });

my $r = start('/on')->read_response;
is(scalar @{$r->{json}{result}{tools}}, 500, '1000 tools: a half is cut');
is(scalar(grep { $_->{name} ne 'echo' } @{$r->{json}{result}{tools}}), 0,
   'the right one');
is($t->audit_next->{result}{removed}, 500, 'recorded');


# an entry, and an event: what may be, and one byte more

for my $uri (qw( /on /off )) {
    $r = whole(start("$uri/entry/$mb"));
    is("$r->{status} " . length $r->{body}, '200 '
       . ($mb + length '{"jsonrpc":"2.0","id":42,"result":{"tools":[]}}'),
       "$uri: an entry");
    $t->audit_next(1, settle => 0.02);

    $r = start("$uri/entry/" . ($mb + 1))->read_response;
    is("$r->{status} $r->{json}{error}{code}", '502 -32603',
       "$uri: a larger one");
    my $a = $t->audit_next;
    is("$a->{decision} $a->{reason}", 'error upstream_invalid', 'recorded');

    $r = whole(start("$uri/event/" . 4 * $mb));
    is(length $r->{body}, 4 * $mb + length(": hi\n\n: bye\n\n"),
       "$uri: an event");
    $t->audit_next(1, settle => 0.02);

    for ('event/' . (4 * $mb + 1), 'endless/' . 4 * $mb) {
        $r = start("$uri/$_")->read_response;
        is(scalar @{$r->{events}}, 2, "$uri: a larger one: $_");
        is("$r->{json}{id} $r->{json}{error}{code}", '42 -32603',
           'an error takes its place');
        ok(!$r->{complete}, 'and the stream is cut');
        $a = $t->audit_next;
        is("$a->{decision} $a->{reason}", 'error upstream_invalid',
           'recorded');
    }
}


# memory; a sanitizer's own is not ours

my $slack = 4 * $mb;
my $before = rss();

for my $uri (qw( /on /off /file )) {

    # a client that does not read, then reads

    my $c = start("$uri/big/40000");
    sleep 0.7;
    my $grown = rss() - $before;

    SKIP: {
        skip 'memory of a sanitizer', 1 if $MCP::Test::SAN;
        cmp_ok($grown, '<', $slack, "$uri: 40M for a slow client");
    }

    $r = whole($c);
    ok($r->{complete}, 'all of it');
    is(length $r->{body}, length('{"id":42,"result":{"content":[0]}}')
       + 40000 * 1025, 'every byte');

    my $a = $t->audit_next(1, settle => 0.02);
    is("$a->{decision} $a->{result}{bytes}", 'allow ' . length $r->{body},
       'recorded');
}

for my $uri (qw( /on /off )) {

    # in a worker that has no memory of what came before

    my ($old) = $t->workers;
    ok($t->reload, 'reload');
    MCP::Test::wait_until($MCP::Test::TIMEOUT, sub { !kill 0 => $old });

    my $c = start("$uri/stream/100");
    $c->sse_next for 1 .. 100;
    my $first = rss();
    $c->close;

    $c = start("$uri/stream/5000");
    my $events = 0;
    while (my $e = $c->sse_next) {
        $events++ if $e->{data} eq '{"id":42,"result":{"tools":['
                                   . '{"name":"echo"}]}}';
        last if $events == 5000;
    }

    is($events, 5000, "$uri: 5000 events");

    SKIP: {
        skip 'memory of a sanitizer', 1 if $MCP::Test::SAN;
        cmp_ok(rss() - $first, '<', 512 * 1024, 'cost what 100 cost');
    }

    $c->close;
    $t->audit_next(2, settle => 0.02);
}


# a client that goes away in the middle: upstream is told, one record

# (on a busy machine all of it may be there before the client goes: again)

for my $uri (qw( /on /off )) {
    my $told = 0;

    for my $try (1 .. 10) {
        my $aborted = $up->events(0);
        my $c = start("$uri/big/40000");
        sleep 0.05 / $try;
        $c->reset;
        my @a = $t->audit_next;
        is(scalar @a, 1, "$uri: one record of a client that left");
        $told = $up->events($aborted + 1, timeout => 2) > $aborted;
        last if $told;
    }

    ok($told, 'the upstream is told');
}

done_testing;

#!/usr/bin/perl

# Fifty reloads under load, with all that can be configured: nobody is refused,
# the zone's content goes on, the old workers leave, and the master is as large
# as it was.  Then reloads that change what is in the zones, and those that
# nginx refuses.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ sleep /;

use MCP::Test;
use MCP::Waits;

my $slow = $MCP::Test::SAN;
my $g = MCP::Waits->new(issuers => 2, workers => 2);
my $t = $g->{t};
my $d = $t->dir;
my $reloads = $slow ? 12 : 50;


# ---- callers: of three kinds, each request on a connection of its own but for
# those of the last, who keeps one and comes again when it was ended idle

my $pat = $g->{store}->pat(user => 'pat', issuer => $g->{okta}{issuer});

$g->{redis}->write_tokens($g->{store}, $pat);

my @calls = map {
    MCP::Test::mcp_request('/mcp', rpc('tools/call', { name => 'ok_x' }),
                           token => $_->[0], close => $_->[1])
} [ $g->{token}, 1 ], [ $pat->{token}, 1 ], [ $g->{token}, 0 ];

sub caller_of {
    my ($n) = @_;
    my ($good, $bad, $c) = (0, 0);

    until (-e "$d/stop") {
        my $r;

        for (1 .. ($n == 2 ? 2 : 1)) {
            $c ||= eval { MCP::Conn->new(port => port(8080)) } or last;
            $c->send($calls[$n]);
            last if $r = eval { $c->read_response };
            $c = undef;
        }

        $r && $r->{status} == 200 && $r->{complete} ? $good++ : $bad++;
        $c = undef if !$r || $n != 2
                      || ($r->{headers}{connection} // '') eq 'close';
        sleep 0.01;
    }

    $t->write_file("load.$n", "$good $bad");
}

sub memory {
    my ($pid) = @_;
    open my $fh, '<', "/proc/$pid/status" or return 0;
    return join('', <$fh>) =~ /^RssAnon:\s+(\d+)/m ? $1 : 0;
}

sub gone {
    my (@pids) = @_;
    return MCP::Test::wait_until(2 * $MCP::Test::TIMEOUT,
                                 sub { !grep { kill 0 => $_ } @pids });
}

$g->well('before');
$g->forget;

my $seq = ($t->audit(0))[-1]{seq};
my $fetches = $g->{slow}[0]{stub}->requests(0);
my $hits = metric('token_cache_lookups_total{result="zone"}');
my @kids = map {
    my $n = $_;
    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        caller_of($n);
        POSIX::_exit(0);
    }

    $pid;
} 0 .. $#calls;

my ($ok, $warm, @all) = (0);
my $fds = MCP::Waits::descriptors($t->pid);

for my $n (1 .. $reloads) {
    push @all, $t->workers;
    $ok += $t->reload;

    if ($n == int($reloads / 5)) {
        $warm = memory($t->pid);
    }
}

$t->write_file('stop', '');
waitpid $_, 0 for @kids;

is($ok, $reloads, "reloaded $reloads times");

my ($good, $bad) = (0, 0);

for (0 .. $#calls) {
    my ($n, $m) = split ' ', $t->read_file("load.$_");
    $good += $n;
    $bad += $m;
}

cmp_ok($good, '>', $ENV{MCP_TEST_VALGRIND} ? 5 : 50,
       "$good calls meanwhile");
is($bad, 0, 'none is refused or lost');

my @a = grep { $_->{seq} > $seq } $t->audit(0);
MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    @a = grep { $_->{seq} > $seq } $t->audit(0);
    return @a >= $good;
});

# a request of the last caller may have been given up by a worker that left

cmp_ok(scalar @a, '>=', $good, 'each is on record');
is(scalar(grep { $_->{decision} ne 'allow' } @a), 0, 'and all are allowed');

my @seq = sort { $a <=> $b } map { $_->{seq} } @a;
is($seq[-1] - $seq[0] + 1, scalar @seq, 'with numbers that have no gap');

is($g->{slow}[0]{stub}->requests(0), $fetches, 'no key set was fetched again');
cmp_ok(metric('token_cache_lookups_total{result="zone"}'), '>', $hits,
       'new workers know what old ones verified');

# which may take a moment, above all with sanitizers

ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub { $t->workers == 2 }),
   'two workers are there');

my %now = map { $_ => 1 } $t->workers;

ok(gone(grep { !$now{$_} } @all), 'the old ones are gone');
unlike($t->read_log, qr/open socket #\d+ left/, 'no socket was left');

SKIP: {
    skip 'an allocator that keeps all', 1 if $slow;

    my $now = memory($t->pid);
    cmp_ok($now, '<', 1.05 * $warm + 256,
           "the master is as large as it was: $warm -> $now KB");
}

cmp_ok(MCP::Waits::descriptors($t->pid), '<=', $fds,
       'and has as many files open');
$g->well('after');


# ---- what changes with a reload

my $before = metric('requests_total{server="mcp",decision="allow",'
                    . 'reason="allow"}');

ok($t->reload($g->conf(http => 'mcp_revocation_zone 8m;')),
   'another size of the zone of revocations');
$g->well('another size');

# mcp_zone cannot grow in place: nginx makes another one, which begins empty

ok($t->reload($g->conf(http => 'mcp_zone 32m;')), 'another size of the zone');
$g->well('a new zone');
ok($t->reload($g->conf(http => '')), 'and back');
$g->well('the old size');

# the issuer has other keys from now on, the tokens of before are of nobody

my $conf = $t->read_file('nginx.conf');
my $old = $g->{okta}->token(sub => 'old');

is(call_tool('/mcp', 'ok_x', {}, token => $old)->{status}, 200, 'known');
$g->{okta}->add_key('key-2', 'ES256');
$g->{okta}->remove_key('key-1');
$g->{okta}->publish;
ok($t->reload, 'another key set');
is(call_tool('/mcp', 'ok_x', {}, token => $old)->{status}, 401,
   'who was verified by the old one is not any more, cached or not');
$g->{token} = $g->{okta}->token(-expires => 3000);
$g->well('another key set');

# the issuer is another one, and so is whose tokens are taken

(my $other = $conf)
    =~ s!issuer \Q$g->{okta}{issuer}\E;!issuer https://x.example;!;
ok($t->reload($other), 'another issuer');
is(call_tool('/mcp', 'ok_x', {}, token => $g->{token})->{status}, 401,
   'the tokens of the one before are not taken');

# and with no word of ours: as if it was not there

$g->{up}->requests_next(0);
$t->reload("%%GLOBALS%%\nevents { }\nhttp { %%GLOBALS_HTTP%%\n server { listen"
           . " 127.0.0.1:%%PORT_8080%%; location / { proxy_pass"
           . " http://127.0.0.1:%%PORT_8081%%; } } }\n");
is(call_tool('/open', 'ok_x', {}, token => 'mine')->{status}, 200,
   'without any of our directives');
is($g->{up}->requests_next(1)->{headers}{authorization}, 'Bearer mine',
   'nothing is ours');
ok($t->reload($conf), 'and back');
$g->well('with all of them again');


# ---- what nginx refuses changes nothing

$t->allow_log(qr/\[emerg\]/);

my %wrong = (
    'an unknown directive' => sub { s/(mcp_audit )/mcp_nonsense on; $1/ },
    'no such file' => sub { s/mcp_token_key \S+;/mcp_token_key none;/ },
    'a zone of another name and size'
        => sub { s/http \{/http { mcp_zone 128k;/ },
    'a rule that cannot be'
        => sub { s/role dev \{[^}]*\}/role dev { allow; }/ },
    'a port that is taken' => sub {
        my $taken = port(6380);
        s/(listen 127[^;]*;)/$1 listen 127.0.0.1:$taken;/ },
);

my @workers = $t->workers;

for my $what (sort keys %wrong) {
    local $_ = $conf;
    $wrong{$what}->();

    ok(!$t->reload($_), "$what: refused");

    # it tries to have the port for a while

    $t->wait_for_log(qr/still could not bind/) if $what =~ /port/;
    is(join(' ', $t->workers), "@workers", "$what: the workers stay");
    is(call_tool('/mcp', 'ok_x', {}, token => $g->{token})->{status}, 200,
       "$what: and serve as before");
}

$t->write_conf($conf);
ok($t->reload, 'a right one is taken');
$g->well('at the end');
$g->clean;

done_testing;

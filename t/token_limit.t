#!/usr/bin/perl

# Whoever tries own tokens that nobody has is made to wait, by address, and only
# he: not another address, not those behind the same address who have a good
# token, and not for longer than it takes to leak.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Token;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $up = MCP::Upstream->start($t, port => 8081);
my $store = MCP::Token->new($t);

sub pat { $store->pat(issuer => $okta->{issuer}, user => 'alice', @_) }

my @used = map { pat() } 1 .. 2;
my @unused = map { pat() } 1 .. 3;
my @revoked = map { pat(revoked => time) } 1 .. 4;
my @expired = map { pat(expires => time - 1) } 1 .. 4;
my @elsewhere = map { pat(servers => ['other']) } 1 .. 4;
my $n = 5;

$store->write;

sub conf {
    my (%o) = @_;
    my $failures = $o{failures} // $n;

    return <<"END";
%%GLOBALS%%
worker_processes @{[ $o{workers} || 1 ]};
events { }
http {
    %%GLOBALS_HTTP%%
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Real-IP;
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_token_file tokens;
    mcp_token_key pepper-a;
    mcp_token_failures $failures;

    %%ISSUER_okta%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        tokens on;
        role dev { allow tool echo; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location / {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location = /metrics { mcp_status; }
    }
}
END
}

$t->write_conf(conf());
$t->start;

# (status and reason, the response, its record)

sub try {
    my ($ip, $token) = @_;
    my $r = call_tool('/mcp', 'echo', {}, headers => { 'X-Real-IP' => $ip },
                      token => ref $token ? $token->{token} : $token);
    my $a = $t->audit_next(1, settle => 0);

    return ($r->{status} == 200 ? 'ok' : "$r->{status} $a->{reason}", $r, $a);
}

sub got { (try(@_))[0] }
sub guess { got($_[0], MCP::Token::unknown($_[1])) }

# how many guesses until it is told to wait

sub guesses {
    my ($ip, $most, $prefix) = @_;

    for my $i (0 .. $most) {
        return $i if guess($ip, $prefix) eq '429 token_failures';
    }

    return "more than $most";
}

# the workers' caches go, what the limit knows stays

sub forget {
    my $new = pat();
    my $ip = join '.', 10, map { int rand 256 } 1 .. 3;

    $store->write;
    MCP::Test::wait_until(10, sub { got($ip, $new) eq 'ok' })
        or die "no new file";
}

my $a = '192.0.2.1';
my $slow = $ENV{MCP_TEST_SAN};


# ---- so many, and no more

is(got($a, $_), 'ok', 'a good one') for @used;
is(guesses($a, $n + 1), $n, "$n failures, then 429");

my ($got, $r, $record) = try($a, MCP::Token::unknown());

is($got, '429 token_failures', 'and again');
like($r->{headers}{'retry-after'}, qr/^(?:[1-9]|1[0-2])$/, 'Retry-After');
is($r->{headers}{'content-type'}, 'application/json', 'a body');
is($r->{json}{error}{code}, 429, 'of JSON-RPC');
is($r->{json}{jsonrpc}, '2.0', 'with its version');
ok(!exists $r->{headers}{'www-authenticate'}, 'no challenge: it is no 401');
is("$record->{decision} $record->{ev} $record->{client_ip}",
   "deny auth $a", 'on record');
ok(!exists $record->{user}, 'of nobody');

is(got($a, MCP::Token::unknown('mcpv_')), '429 token_failures',
   'a VAT counts with a PAT');
is(got($a, 'mcpp_x'), '429 token_failures', 'nothing is looked at');
is(got($a, $unused[0]), '429 token_failures', 'also a good one that is new');
is(scalar $up->requests(0), scalar @used, 'nothing of that arrived');


# ---- only he, and only with own tokens

is(guess('192.0.2.2'), '401 token_unknown', 'another address');
is(got('192.0.2.2', $unused[1]), 'ok', 'a good one there');
is(got($a, $okta->token(groups => ['dev'])), 'ok', 'a JWT from here');
is(got($a, 'no-token'), '401 token_segments', 'a bad JWT from here');
is(got($a, $_), 'ok', 'a token that is cached') for @used;

forget();
is(got($a, $_), 'ok', 'one that was, minutes ago') for @used;
is(got($a, $unused[1]), 'ok', 'wherever that was');
is(got($a, $unused[2]), '429 token_failures', 'not one that never was');


# ---- what is not guessed does not count

my $b = '192.0.2.10';

is(got($b, $_), '401 token_revoked', 'revoked') for @revoked;
is(got($b, $_), '401 expired', 'expired') for @expired;
is(got($b, $_), '401 token_server', 'for another server') for @elsewhere;
is(got($b, 'a.b.c'), '401 token_encoding', 'no JWT') for 1 .. 3;

my $gone = MCP::Token::unknown();

for (1 .. $n + 2) {
    is(got($b, $gone), '401 token_unknown', 'the same wrong one again');
    forget() if $_ > 1;
}

is(guesses($b, $n), $n - 1, 'it counted once');
is(guesses('192.0.2.11', $n + 1, 'mcpv_'), $n, 'VATs count');

$got = 0;
$got++ while $got <= $n
             && got('192.0.2.12', 'mcpp_' . MCP::Token::base62(49))
                eq '401 token_malformed';
is($got, $n, 'malformed ones count');


# ---- IPv6 by /64; IPv4 in whatever clothes

$got = 0;
$got++ while $got <= $n
             && guess(sprintf '2001:db8:1:2:%x:%x::%x', map { rand 65535 }
                      1 .. 3) eq '401 token_unknown';
is($got, $n, 'any host of a /64');
is(guess('2001:db8:1:2::'), '429 token_failures', 'the first of them');
is(guess('2001:db8:1:2:ffff:ffff:ffff:ffff'), '429 token_failures',
   'the last of them');
is(guess('2001:db8:1:3::1'), '401 token_unknown', 'the next /64');
is(guess('2001:db8:0:2::1'), '401 token_unknown', 'another one');
is(guess('::ffff:198.51.100.7'), '401 token_unknown', 'IPv4 as IPv6');
is(guesses('198.51.100.7', $n), $n - 1, 'is the same IPv4');
is(guess('::ffff:198.51.100.7'), '429 token_failures', 'also when it waits');
is(guess('::ffff:198.51.100.8'), '401 token_unknown', 'the one beside it');
is(guess('unix:'), '401 token_unknown', 'no address at all: as any');


# ---- all workers count together, a reload forgets nothing, nor does a worker
# that dies

my $c = '192.0.2.20';

is(guesses($c, $n + 1), $n, 'before a reload');
ok($t->reload(conf(workers => 3)), 'reload');
is(guess($c), '429 token_failures', 'after it') for 1 .. 4;
is(guesses('192.0.2.21', $n + 1), $n, 'by several workers');

$t->allow_log(qr/exited on signal 9/);
kill KILL => $t->workers;
$t->wait_for_log(qr/(?:exited on signal 9.*){3}/s);
ok(MCP::Test::wait_until(10, sub {
    (eval { guess($c) } // '') eq '429 token_failures' }), 'new workers know');

$r = http("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
          . "\r\n");
like($r->{body}, qr/own_tokens_total\{result="limited"\} [1-9]\d/, 'counted');


# ---- it passes

ok($t->reload(conf(failures => 60)), 'sixty a minute: one a second');

my $d = '192.0.2.30';

like(guesses($d, 200), qr/^\d+$/, 'too many');
($got, $r) = try($d, MCP::Token::unknown());

my $wait = $r->{headers}{'retry-after'} // 1;

cmp_ok($wait, '<=', 1, 'it says for how long') unless $slow;
sleep $wait;
is(guess($d), '401 token_unknown', 'and that is true') unless $slow;
ok(MCP::Test::wait_until(20, sub { got($d, pat()) ne '429 token_failures' }),
   'it passes, though he goes on');

ok($t->reload(conf(failures => 0)), 'no limit');
is(guesses($d, 150), 'more than 150', 'no limit');

ok($t->reload(conf(failures => 1)), 'one a minute');
is(guesses('192.0.2.40', 2), 1, 'one');
($got, $r) = try('192.0.2.40', MCP::Token::unknown());
cmp_ok($r->{headers}{'retry-after'}, '>', 30, 'the next in a minute');


# ---- more addresses than the table has places: nobody fails, nobody crashes

ok($t->reload(conf()), 'as before');

my $wrong = 0;

for (1 .. ($slow ? 300 : 1500)) {
    my $ip = join '.', 10, map { int rand 256 } 1 .. 3;
    $wrong++ if guess($ip) ne '401 token_unknown';
}

is($wrong, 0, 'each of many addresses has its own');
is(guesses('192.0.2.50', $n + 1), $n, 'one more');

done_testing;

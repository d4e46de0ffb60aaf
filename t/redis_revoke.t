#!/usr/bin/perl

# Revocation through Redis, with two gateways: who is revoked there passes
# nowhere a second later and loses every stream, whatever happens to the
# processes meanwhile.  How long it took is printed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use List::Util qw/ max min /;
use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Redis;
use MCP::Token;
use MCP::Upstream;

my $rounds = $ENV{MCP_TEST_ROUNDS} || 24;

my $t = MCP::Test->new;
my $second = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $store = MCP::Token->new($t);
my $redis = MCP::Redis->start($t, persist => 1);
my $note = '{"jsonrpc":"2.0","method":"notifications/message","params":{}}';

my $up = MCP::Upstream->start($t, port => 8081, handler => sub {
    my ($req) = @_;

    return { sse => [ map { ({ data => $note }, 0.2) } 1 .. 600 ] }
        if $req->{method} eq 'GET';
    return { result => { content => [], isError => JSON::PP::false } };
});

# the same on two machines, as far as Redis and the upstream can tell

sub conf {
    my ($gateway, $port, $http) = @_;
    my ($server, $issuer, $d) = ($redis->server, $okta->issuer_conf, $t->dir);

    return <<"END";
%%GLOBALS%%
worker_processes 2;
worker_shutdown_timeout 60s;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_token_key $d/pepper-a;
    @{[ $http // '' ]}

    mcp_redis { server $server; revocation_stale 3s; }

    $issuer

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        tokens on;
        role * { allow tool *; }
    }

    server {
        listen 127.0.0.1:%%PORT_$port%% reuseport;
        proxy_read_timeout 60s;
        location /mcp { mcp_auth mcp;
                        proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
}
END
}

my @gateways = ([$t, 8080], [$second, 8090]);

$_->[0]->write_conf(conf(@$_)) for @gateways;
$_->[0]->start for @gateways;

my $serial = 0;

sub jwt { $okta->token(sub => $_[0], -expires => 3000) }

sub pat {
    my ($user) = @_;
    my $k = $store->pat(issuer => $okta->{issuer}, user => $user);

    $redis->write_tokens($store, $k);
    return $k->{token};
}

sub status {
    my ($port, $token) = @_;
    my $r = call_tool('/mcp', 'echo', {}, token => $token, port => $port);
    return $r->{status} // 0;
}

sub stream {
    my ($port, $token) = @_;
    my $c = http_start("GET /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: "
                       . "text/event-stream\r\nAuthorization: Bearer $token"
                       . "\r\n\r\n", port => $port);
    $c->sse_next or die "no stream";
    return $c;
}

sub revoke { $redis->revoke(issuer => $okta->{issuer}, @_) }

sub ended {
    my ($c) = @_;
    1 while $c->sse_next(timeout => $MCP::Test::TIMEOUT);
    return $c->{response}{complete} ? 1 : 0;
}

my $bob = jwt('bob');
my @bobs = map { stream($_->[1], $bob) } @gateways;

# Into the hash, and nobody is told.

sub write_silently {
    my ($user) = @_;
    my ($field, $line) = $redis->line(user => $user,
                                      issuer => $okta->{issuer});

    $redis->command('HSET', 'mcp:rev', $field,
                    sprintf('%d', time * 1_000_000) . " $line");
}

my $quiet = jwt('quiet');
my $silent = time;

is(status($_->[1], $quiet), 200, 'not revoked yet') for @gateways;
write_silently('quiet');


# ---- a second, everywhere

my (@passed, @cut, $again);

for my $round (1 .. $rounds) {
    my $user = "user-$round";
    my $token = $round % 3 ? jwt($user) : pat($user);
    my @streams = map { stream($_->[1], $token) } @gateways;

    for (@gateways) {
        my ($port) = $_->[1];
        status($port, $token) == 200 or die "round $round" for 1 .. 4;
    }

    my $from = time;
    my ($last, @closed, $no) = ($from);
    my $turn = 0;

    revoke($round % 4 == 3 && $round % 3 ? (client => 'test-client')
                                         : (user => $user));

    # asks both in turn; a stream that was closed counts when it is seen

    while (time < $from + 4 && (!defined $no || grep { !$closed[$_] } 0, 1
                                || time < $from + 0.5))
    {
        my $began = time;

        if (status($gateways[$turn++ % 2][1], $token) == 200) {
            $last = $began if $began > $last;
            undef $no;
            $again++ if $began > $from + 1;

        } else {
            $no //= time;
        }

        for (0, 1) {
            my $c = $streams[$_];

            next if $closed[$_];
            1 while $c->sse_next(timeout => 0.001);
            $closed[$_] = time if $c->{response}{complete} || $c->{eof};
        }
    }

    push @passed, $last - $from;
    push @cut, map { ($closed[$_] // $from + 99) - $from } 0, 1;

    # the client of all test tokens comes back

    if ($round % 4 == 3 && $round % 3) {
        revoke(client => 'test-client', at => undef);
        $_->close for @bobs;
        MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
            2 == grep { status($_->[1], $bob) == 200 } @gateways });
        @bobs = map { stream($_->[1], $bob) } @gateways;
    }
}

sub median { my @s = sort { $a <=> $b } @_; return $s[$#s / 2] }

diag(sprintf '%d rounds, two gateways: the last request that passed was sent '
     . '%.0f ms (median), %.0f ms (maximum) after the revocation was written; '
     . 'streams were closed after %.0f ms, %.0f ms', $rounds,
     map { 1000 * $_ } median(@passed), max(@passed), median(@cut), max(@cut));

cmp_ok(max(@passed), '<', 1, 'nothing passes later than a second');
cmp_ok(max(@cut), '<', 1, 'every stream is closed within a second')
    unless $MCP::Test::SAN;
ok(!$again, 'nobody comes in again');

for (@gateways) {
    my ($g, $port) = @$_;
    my @e = grep { $_->{ev} eq 'revocation' && ($_->{user} // '') =~ /^user-/ }
            $g->audit;

    my %user;
    $user{$_->{user}}++ for @e;

    is(max(values %user), 1, 'one record for each, whatever the workers');
    ok((grep { ($_->{reason} // '') eq 'revoked'
               && $_->{ev} ne 'revocation' } $g->audit) > $rounds,
       'and one for each who was refused');
}

ok($_->sse_next, 'others go on') for @bobs;


# ---- which stamp counts

my $stamp = revoke(user => 'carol');
my $carol = jwt('carol');

sub both {
    my ($want, $token) = @_;

    return MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
        !grep { status($_->[1], $token) != $want }
              map { ($_) x 4 } @gateways;
    });
}

ok(both(401, $carol), 'carol is revoked');
revoke(user => 'carol', at => undef, stamp => $stamp - 1);
ok(both(401, $carol), 'what was said before does not lift that');
revoke(user => 'carol', at => undef);
ok(both(200, $carol), 'what is said later does');

# a message that was not sent by mcpctl

my $hscan = $redis->calls('hscan');
$redis->command('PUBLISH', 'mcp:events', $_)
    for 'rev', 'rev ', 'rev x y', "rev 1 \0", 'rev 99999999999999999999 a',
        'nonsense', '', 'rev 5 user', 'x' x 5000;
ok(MCP::Test::wait_until(5, sub { $redis->calls('hscan') >= $hscan + 4 }),
   'a message that is not understood: all is loaded again');
ok(both(200, $carol), 'and it goes on');


# ---- what was written while nobody heard it

ok(MCP::Test::wait_until(36 - (time - $silent), sub {
    2 == grep { status($_->[1], $quiet) == 401 } @gateways
}), 'all is loaded again every 30 s');

my $dave = jwt('dave');
is(status($_->[1], $dave), 200, 'dave passes') for @gateways;
write_silently('dave');
$redis->command('CLIENT', 'KILL', 'TYPE', 'pubsub');
ok(both(401, $dave), 'a lost subscription: loaded again after it');


# ---- an entry that cannot be understood could be anybody's

for ([ 'user a b', 'garbage' ],
     [ 'user a b', '5 user a c 2026-01-01T00:00:00Z' ],
     [ 'user a b', '5 user a b yesterday' ],
     [ 'session x y', '5 session x y 2026-01-01T00:00:00Z' ])
{
    my ($name, $value) = @$_;

    $redis->command('HSET', 'mcp:rev', $name, $value);
    $redis->command('CLIENT', 'KILL', 'TYPE', 'pubsub');
    ok(both(503, $bob), "broken: $value");
    $redis->command('HDEL', 'mcp:rev', $name);
    ok(both(200, $bob), 'it resumes by itself when the entry is gone');
}

is(status($_->[1], $dave), 401, 'and dave stays out') for @gateways;

for (@gateways) {
    my @said = $_->[0]->read_log =~
        /\[error\].*in "mcp:rev": an entry cannot be understood "user a b": /g;
    ok(@said >= 1 && @said <= 4, 'error.log names it, once a minute')
        or diag(scalar @said);
}

$redis->command('RENAME', 'mcp:rev', 'mcp:rev.old');
$redis->command('SET', 'mcp:rev', 'a string');
$redis->command('CLIENT', 'KILL', 'TYPE', 'pubsub');
ok(both(503, $bob), 'the key is something else');
$redis->command('DEL', 'mcp:rev');
$redis->command('RENAME', 'mcp:rev.old', 'mcp:rev');
ok(both(200, $bob), 'resumes');
@bobs = map { $_->close; () } @bobs;


# ---- Redis loses everything: the gateways put it back

$redis->command('EVAL', <<'END', 1, 'mcp:rev', $okta->{issuer});
for i = 1, 1500 do
    local f = 'user ' .. ARGV[1] .. ' somebody-' .. i
    redis.call('HSET', KEYS[1], f, i .. ' ' .. f .. ' 2026-01-01T00:00:00Z')
end
END
$redis->command('CLIENT', 'KILL', 'TYPE', 'pubsub');

my @old = map { $okta->token(sub => "somebody-$_", iat => 1_700_000_000) }
          1, 750, 1500;
ok(both(401, $_), 'one of many') for @old;

my %before = @{$redis->command('HGETALL', 'mcp:rev')};
cmp_ok(scalar keys %before, '>', 1500, 'there are many');

$redis->command('FLUSHALL');
$redis->command('CLIENT', 'KILL', 'TYPE', 'pubsub');

my %after;
ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    %after = @{$redis->command('HGETALL', 'mcp:rev')};
    return keys %after == keys %before;
}), 'what an emptied Redis lacks is put back');
is_deeply(\%after, \%before, 'with its stamps');
ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    ($t->read_log . $second->read_log)
        =~ /\[notice\].* revocations that it lacked were put back/;
}), 'and said');

is(status($_->[1], $dave), 401, 'dave is out all the time') for @gateways;
is(status(8080, $_), 401, 'so are the many') for @old;


# ---- processes come and go

# in pieces of n s: is anybody in who should not be, or out who should be in?

my $erin = jwt('erin');
revoke(user => 'erin');
ok(both(401, $erin), 'erin is revoked');

sub watch {
    my ($what, $code) = @_;
    my $end;
    my (%erin, %bob);

    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        $code->();
        POSIX::_exit(0);
    }

    while (!$end || time < $end) {
        $end = time + 1 if !$end && waitpid($pid, POSIX::WNOHANG()) == $pid;

        for (8080, 8090) {
            $erin{eval { status($_, $erin) } // 0}++;
            $bob{eval { status($_, $bob) } // 0}++;
        }
    }

    # with reuseport what waits at a socket of an old worker is lost

    delete $bob{0};

    is($erin{200} // 0, 0, "$what: the revoked never gets in");
    ok($bob{200}, "$what: others do");
    ok(both(200, $bob) && both(401, $erin), "$what: and all is well after it");

    return \%bob;
}

$_->[0]->allow_log(qr/worker process \d+ exited on signal 9/) for @gateways;

my $bob_saw = watch('a worker is killed', sub {
    for (1 .. 3) {
        kill KILL => ($t->workers)[0];
        sleep 0.7;
    }
});

$bob_saw = watch('a reload', sub { $_->[0]->reload for @gateways });
like(join(' ', sort keys %$bob_saw),
     $ENV{MCP_TEST_VALGRIND} ? qr/^200( 503)?$/ : qr/^200$/,
     'a reload: nobody notices');

$bob_saw = watch('a reload that changes the zone', sub {
    $_->[0]->reload(conf(@$_, 'mcp_revocation_zone 2m;')) for @gateways;
});
like(join(' ', sort keys %$bob_saw),
     $ENV{MCP_TEST_VALGRIND} ? qr/^200( 503)?$/ : qr/^200$/,
     'a reload that changes the zone: nobody notices');

# a gateway that was not there when erin was revoked

$second->stop;
$second->start;
my %seen;
$seen{status(8090, $erin)}++ for 1 .. 20;
is(join(' ', keys %seen), '401', 'a restart: refused from the first request');


# ---- it costs nothing when it is warm

sleep 0.1;
my $get = $redis->calls('get') + $redis->calls('hscan')
          + $redis->calls('hget');
my @s = map { status(8080, $bob) } 1 .. 200;
is(scalar(grep { $_ == 200 } @s), 200, 'two hundred calls');
cmp_ok($redis->calls('get') + $redis->calls('hscan') + $redis->calls('hget')
       - $get, '<=', 4, 'no round trip but a load that may have come');

done_testing;

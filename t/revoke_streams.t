#!/usr/bin/perl

# Open streams of somebody who is revoked end within a second: of all workers,
# also of those that a reload or a new binary has left behind, also when the
# client is deaf.  Streams of others go on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Revocations;
use MCP::Token;
use MCP::Upstream;

my $t = MCP::Test->new;
my $d = $t->dir;
my $okta = MCP::Issuer->new($t, static => 1);
my $rev = MCP::Revocations->new($t);
my $store = MCP::Token->new($t);
my $workers = 3;

# under sanitizers and valgrind, or with others on the machine, it takes longer

my $most = $ENV{MCP_TEST_VALGRIND} ? 15 : $ENV{MCP_TEST_SAN} ? 5 : 1;

my $pat = $store->pat(issuer => $okta->{issuer}, user => 'alice');
my $vat = $store->vat(service => 'robot');
$store->write;

my $note = '{"jsonrpc":"2.0","method":"notifications/message","params":{}}';
my $big = '{"jsonrpc":"2.0","method":"x","params":{"x":"' . 'y' x 60_000
          . '"}}';

# streams that do not end by themselves in the time of this test

my $up = MCP::Upstream->start($t, port => 8081, handler => sub {
    my ($req) = @_;

    return { sse => [ $req->{uri} =~ /silent/ ? (": hi\n\n", 60)
                    : $req->{uri} =~ /big/ ? (map { { data => $big } } 1 .. 800)
                    : (map { ({ data => $note }, 0.2) } 1 .. 300) ] }
        if $req->{uri} =~ m!^/s!;

    return undef;
});

my $conf = <<"END";
%%GLOBALS%%
worker_processes $workers;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_token_file tokens;
    mcp_token_key pepper-a;
    mcp_revocation_file revoked;

    %%ISSUERS%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        tokens on;
        role * { allow tool *; }
    }

    send_timeout 60s;
    proxy_read_timeout 60s;
    proxy_http_version 1.1;

    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport sndbuf=8k;
        listen 127.0.0.1:%%PORT_8082%% http2;

        location / { mcp_auth mcp;
                     proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location = /status { mcp_status; }
    }
}
END

# USR2 is ignored by a master that is no daemon

$t->write_conf($conf);
$t->write_file('nginx.conf', $t->read_file('nginx.conf') =~ s/daemon off;//r);

my @pids;
my $test = $$;
END { kill KILL => @pids if $$ == $test && @pids }

sub pid_in {
    my ($name, $not) = @_;
    my $pid;

    MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
        ($pid) = $t->read_file($name) =~ /^(\d+)\n/;
        return $pid && $pid != ($not // 0);
    });

    push @pids, $pid if $pid;
    return $pid;
}

sub gone {
    my ($pid) = @_;
    return MCP::Test::wait_until($MCP::Test::TIMEOUT,
                                 sub { !kill 0 => $pid });
}

sub children {
    my ($pid) = @_;
    return split ' ', do { local (@ARGV, $/) =
                           "/proc/$pid/task/$pid/children"; <> } // '';
}

system($MCP::Test::NGINX, '-p', $d, '-c', "$d/nginx.conf", '-e',
       "$d/error.log");
is($?, 0, 'started as a daemon');
my $master = pid_in('nginx.pid');
MCP::Test::wait_until(10, sub { children($master) == $workers });

sub stream {
    my ($token, $uri, %o) = @_;

    my $c = $o{post}
            ? mcp_start($uri || '/s', rpc('tools/call', { name => 'echo' }),
                        token => $token)
            : http_start('GET ' . ($uri || '/s') . " HTTP/1.1\r\n"
                         . "Host: localhost\r\nAccept: text/event-stream\r\n"
                         . "Authorization: Bearer $token\r\n\r\n");

    return $c if $o{deaf};

    $c->read_head;
    $c->{stream} = $c->{response} ? $c->{response}{status} : 'none';
    return $c;
}

sub open_streams {
    my ($n) = @_;
    my $got;

    MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
        $got = metric('open_streams');
        return $got == $n;
    });

    return $got;
}

sub call { call_tool('/mcp', 'echo', {}, token => $_[0])->{status} }

sub lifted {
    my ($token) = @_;

    $rev->clear->write;
    return MCP::Test::wait_until(10, sub {
        !grep { call($token) != 200 } 1 .. 3 * $workers;
    });
}

sub cut { grep { $_->{reason} eq 'revoked' && $_->{upstream} } $t->audit }

# all end within the time; how they end

sub ends {
    my ($what, $from, @c) = @_;
    my (@took, @how);

    for my $c (@c) {
        1 while defined $c->body_some($from + $MCP::Test::TIMEOUT);
        push @took, time - $from;
        push @how, $c->{response}{complete} ? 'complete'
                 : $c->{eof} ? 'broken' : 'open';
    }

    @took = sort { $a <=> $b } @took;
    cmp_ok($took[-1], '<', $most,
           sprintf "$what: all %d within %.2f s", scalar @c, $took[-1]);
    is(join(' ', @how), join(' ', ('complete') x @c),
       "$what: like those that are complete");
}


# ---- all kinds, on all workers

my $alice = $okta->token(-expires => 600);
my $again = $okta->token(-expires => 600);
my $bob = $okta->token(sub => 'bob', -expires => 600);

my @alice = map { my $i = $_;
    stream($i % 3 == 0 ? $again : $i % 3 == 1 ? $pat->{token} : $alice,
           $i % 4 == 0 ? '/s/silent' : '/s', post => $i % 2)
} 1 .. 24;

my @others = map { stream($bob, '/s', post => $_ % 2) } 1 .. 6;
push @others, stream($vat->{token});

is(join(' ', map { $_->{stream} } @alice, @others),
   join(' ', (200) x (@alice + @others)), 'streams are open');
is(open_streams(@alice + @others), @alice + @others, 'and counted');

my $deaf = stream($alice, '/s/big', deaf => 1);
open_streams(@alice + @others + 1);

$rev->add(user => $okta->{issuer}, 'alice', at => time + 1);
my $from = time;
$rev->write;

ends('alice', $from, @alice);

my @records = MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    cut() >= @alice + 1;
}) ? cut() : ();
my $late = time - $from;

is(scalar @records, @alice + 1, 'one record each, also of the deaf one');
cmp_ok($late, '<', $most + 1, sprintf 'which was cut off after %.2f s', $late);
is(join(' ', sort keys %{{ map { ("$_->{user} $_->{decision} "
             . "$_->{result}{status}" => 1) } @records }}),
   'alice allow 200', 'about her');
is(scalar(keys %{{ map { $_->{worker} => 1 } @records }}), $workers,
   'in every worker');
is(open_streams(scalar @others), @others, 'those of others are open');
ok($_->sse_next, 'and go on') for @others[0 .. 2];
is(call($alice), 401, 'who comes back is refused');
like($t->read_log, qr/stream of server "mcp" cut: revoked/, 'logged');

my @aborted = $up->events(scalar @alice);
cmp_ok(scalar @aborted, '>=', @alice - 6, 'the upstream is left');
$deaf->close;

is(metric('revocation_streams_cut_total'), @alice + 1, 'counted');


# ---- a service

$rev->add(client => undef, 'robot', at => time + 1);
$from = time;
$rev->write;
ends('a service', $from, pop @others);

# ---- everybody

ok(lifted($alice), 'lifted');
push @others, stream($alice);
$rev->add(all => undef, undef, at => time + 1);
$from = time;
$rev->write;
ends('everybody', $from, @others);
is(open_streams(0), 0, 'none is left');


# ---- opened in the same moment

ok(lifted($alice), 'lifted');

# forwarded before, begun afterwards

my @slow;

for my $n (1 .. 3) {
    $up->answer({ wait => 2.5, sse => [ map { ({ data => $note }, 0.2) }
                                        1 .. 100 ] });
    push @slow, mcp_start('/mcp', rpc('tools/call', { name => 'slow' },
                                      id => "slow$n"), token => $alice);
}

MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    (grep { ($_->{body} // '') =~ /"slow/ } $up->requests(0)) >= 3;
});

my $cut = cut();
$rev->add(user => $okta->{issuer}, 'alice', at => time + 1);
$rev->write;
MCP::Test::wait_until(10, sub {
    !grep { call($alice) != 401 } 1 .. 3 * $workers;
});

for my $c (@slow) {
    my $r = $c->read_response;

    is($r->{status}, 401, 'an answer that begins too late is no stream');
    like($r->{json}{id}, qr/^slow/, 'but an answer to the call');
    like($r->{headers}{'www-authenticate'}, qr/error="invalid_token"/,
         'with a challenge');
    is($r->{headers}{'content-type'}, 'application/json', 'in JSON');
}

MCP::Test::wait_until($MCP::Test::TIMEOUT, sub { cut() >= $cut + 3 })
    or diag($t->read_file('audit.log'));
is(join(' ', map { "$_->{decision}/$_->{reason}/$_->{result}{status}" }
             (cut())[$cut .. $cut + 2]),
   join(' ', ('error/revoked/401') x 3), 'on record');

# many that begin while it happens: none stays

ok(lifted($alice), 'lifted');
my $pid = fork // die;

if ($pid == 0) {
    sleep 0.3;
    $rev->add(user => $okta->{issuer}, 'alice', at => time + 1);
    $rev->write;
    POSIX::_exit(0);
}

my @many = map { sleep 0.01; stream($alice, '/s', deaf => 1) } 1 .. 80;
waitpid $pid, 0;

is(open_streams(0), 0, 'of those that began while it came, none is left');
$_->read_head for @many;
my %how;
$how{$_->{response}{status}}++ for @many;
cmp_ok($how{200}, '>', 0, 'some had begun');
cmp_ok($how{401}, '>', 0, 'some came too late');
is($how{200} + $how{401}, 80, 'and all were answered');


# ---- HTTP/2: several in one connection

SKIP: {
    skip 'no curl with HTTP/2', 3
        if (`curl --version 2>/dev/null` // '') !~ /\bHTTP2\b/;

    ok(lifted($alice), 'lifted');

    my $url = 'http://127.0.0.1:' . port(8082);
    my @common = ('--http2-prior-knowledge', '-sN', '--stderr', "$d/curl.err",
                  '-H',
                  'Accept: text/event-stream', '-H',
                  "Authorization: Bearer $alice");
    my @kids = map {
        open my $fh, '-|', 'curl', @common, '--parallel',
             '--parallel-immediate', map({ ("$url/s/$_", '-o', "$d/h2.$_") }
                                         $_ * 2, $_ * 2 + 1) or die "curl: $!";
        $fh;
    } 1 .. 2;

    is(open_streams(4), 4, 'HTTP/2: streams are open');
    $rev->add(user => $okta->{issuer}, 'alice', at => time + 1);
    $from = time;
    $rev->write;
    do { local $/; readline $_; close $_ } for @kids;
    my $took = time - $from;
    cmp_ok($took, '<', $most + 0.5, sprintf 'HTTP/2: cut within %.2f s', $took);
}


# ---- workers that are on their way out

ok(lifted($alice), 'lifted');

my @old = map { stream($alice, $_ % 2 ? '/s' : '/s/silent') } 1 .. 6;
my @was = children($master);
my $log = length $t->read_log;

kill HUP => $master;
MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    my @down = substr($t->read_log, $log) =~ /(\d+)#\d+: gracefully shutting/g;
    return @down >= $workers;
});

my @new = map { stream($alice) } 1 .. 6;
is(join(' ', map { $_->{stream} } @old, @new), join(' ', (200) x 12),
   'streams in old workers and in new ones');
is(open_streams(12), 12, 'counted');

my %seen;
$rev->add(user => $okta->{issuer}, 'alice', at => time + 1);
my $events = grep { $_->{ev} eq 'revocation' } $t->audit;
$from = time;
$rev->write;
ends('old workers too', $from, @old, @new);
is((grep { $_->{ev} eq 'revocation' } $t->audit) - $events, 1,
   'recorded once');
ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    !grep { kill 0 => $_ } @was;
}), 'old workers leave');


# ---- a new binary beside the old one

ok(lifted($alice), 'lifted');
@old = map { stream($alice, $_ % 2 ? '/s' : '/s/silent') } 1 .. 4;

kill USR2 => $master;
my $next = pid_in('nginx.pid', $master);
isnt($next, $master, 'a new master');
MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    children($next) == $workers;
});
kill WINCH => $master;
MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    my $n = () = $t->read_log =~ /gracefully shutting/g;
    return $n >= 2 * $workers;
});

@new = map { stream($alice) } 1 .. 4;
is(join(' ', map { $_->{stream} } @old, @new), join(' ', (200) x 8),
   'streams in both');
$rev->add(user => $okta->{issuer}, 'alice', at => time + 1);
$from = time;
$rev->write;
ends('both binaries', $from, @old, @new);
is(call($alice), 401, 'refused by the new one');
kill QUIT => $master;
ok(gone($master), 'the old one leaves');

# what was revoked before: the new one knew from its first request on

ok(lifted($alice), 'lifted');
$rev->add(user => $okta->{issuer}, 'alice');
$rev->write;
MCP::Test::wait_until(10, sub { call($alice) == 401 });
kill USR2 => $next;
my $third = pid_in('nginx.pid', $next);
kill QUIT => $next;
my %status;
$status{call($alice)}++ for 1 .. 40;
is(join(' ', sort keys %status), '401', 'never let in during an upgrade');
ok(gone($next), 'the old one leaves');

kill QUIT => $third;
ok(gone($third), 'the new one leaves');
@pids = ();

done_testing;

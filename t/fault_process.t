#!/usr/bin/perl

# Which process does what: all of it in a single one (master_process off);
# timers and connections of ours in workers only, not in the master, in nginx's
# cache manager or loader; and nothing goes out of a host for the sake of nginx
# -t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX qw/ WNOHANG /;
use Time::HiRes qw/ sleep /;

use MCP::Test;
use MCP::Waits;

my $g = MCP::Waits->new(issuers => 1, workers => 2, http =>
    'proxy_cache_path %%TESTDIR%%/cache keys_zone=pages:1m loader_sleep=10s;',
    server => 'location /pages { proxy_cache pages; proxy_pass'
              . ' http://127.0.0.1:%%PORT_8081%%; }');
my $t = $g->{t};
my $d = $t->dir;

sub connections { my @c = $g->{redis}->command('CLIENT', 'LIST') =~ /^id=/mg;
                  return scalar @c }

# the test's own is one; two for each worker

sub until_connections {
    my ($n) = @_;
    my $have;

    MCP::Test::wait_until($MCP::Test::TIMEOUT,
                          sub { ($have = connections()) == $n });
    return $have;
}

# sockets to somewhere, by the pid

sub connected {
    my ($pid) = @_;
    my %mine = map { ($_ => 1) }
               map { (readlink($_) // '') =~ /^socket:\[(\d+)\]/ }
               glob "/proc/$pid/fd/*";

    open my $fh, '<', "/proc/net/tcp" or die $!;
    return scalar grep { my @c = split; $c[3] eq '01' && $mine{$c[9] // ''} }
           <$fh>;
}


# ---- the helpers

my $log = $t->read_log;
my %kind;

for my $pid ($t->workers) {
    my ($kind) = $log =~ /start (worker|cache \w+) process $pid$/m;
    push @{$kind{$kind =~ /cache/ ? 'cache' : 'worker'}}, $pid;
}

is(scalar @{$kind{worker} || []}, 2, 'two workers');
cmp_ok(scalar @{$kind{cache} || []}, '>', 0, 'and helpers of the cache');
is(until_connections(1 + 2 * 2), 5, 'only the workers are connected to Redis');
is(join(' ', map { connected($_) } @{$kind{cache} || []}, $t->pid),
   join(' ', map { 0 } @{$kind{cache} || []}, 1),
   'neither the helpers nor the master have any');
is(join(' ', map { connected($_) } @{$kind{worker}}), '2 2', 'each worker two');
$g->well('with helpers');


# ---- nginx -t: reads files, asks nobody

my @asked = map { $_->{stub}->requests(0) + 0 } @{$g->{slow}};
my $seen = $g->{proxy}->connections;
my $tokens = $g->{idp}->count;
my @before = $t->audit(0);
my $issuers_saw = $g->{issuers}->read_file('access.log');

for (1 .. 3) {
    my ($ok, $said) = $t->check($g->conf);
    is($ok, 1, 'nginx -t beside the one that runs') or diag($said);
}

sleep 0.3;
is($g->{proxy}->connections, $seen, 'no connection to Redis');
is(join(' ', map { $_->{stub}->requests(0) + 0 } @{$g->{slow}}), "@asked",
   'no key set');
is($g->{idp}->count, $tokens, 'no token');
is(scalar(my @after = $t->audit(0)), scalar @before, 'no record');

my $args = "-p $d -e $d/check.log -c $d/check.conf";
my $printed = `$MCP::Test::NGINX -T $args 2>&1`;

like($printed, qr/mcp_redis/, 'nginx -T');
unlike($printed, qr/\Q$_\E/, 'shows no key that is in a file')
    for $g->{vault}->secrets, $g->{store}->pepper('pepper-a')->{secret};
$g->well('after nginx -t');
$t->stop;


# ---- a single process

$t->write_conf($g->conf(global => 'master_process off;', workers => 1));
unlink "$d/nginx.pid";

my $pid = fork // die "fork: $!";

if ($pid == 0) {
    open STDIN, '<', '/dev/null';
    open STDOUT, '>>', "$d/nginx.out";
    open STDERR, '>&', \*STDOUT;
    { exec $MCP::Test::NGINX, '-p', $d, '-c', "$d/nginx.conf", '-e',
           "$d/error.log" }
    POSIX::_exit(127);
}

my $owner = $$;
END { kill KILL => $pid if $pid && $$ == $owner }

ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    -s "$d/nginx.pid" && eval { MCP::Conn->new(port => port(8080)) } }),
   'master_process off');
is(until_connections(1 + 2), 3, 'it has its two connections');
$g->well('a single process');

for my $state (qw/ redis token upstream stream /) {
    my $c = $g->begin($state, seconds => 0.5);
    my $r = $g->end($state, $c);

    is($r && $r->{status}, 200, "a single process: $state");
    $g->settle;
}

my $c = $g->begin('redis', seconds => 3);

kill QUIT => $pid;
$c->reset;
$g->settle;
ok(MCP::Test::wait_until($MCP::Test::TIMEOUT,
                         sub { waitpid($pid, WNOHANG) == $pid }), 'it leaves');
is($?, 0, 'as it should');
$pid = 0;
is(until_connections(1), 1, 'and its connections with it');
$g->clean;

done_testing;

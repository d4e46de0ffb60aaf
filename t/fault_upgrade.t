#!/usr/bin/perl

# A new binary that is not wanted: USR2, WINCH, and back by HUP to the old one
# and QUIT to the new one, while callers call.  And the module's file replaced:
# a reload goes on with the old code, USR2 begins the new one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Copy qw/ copy /;
use POSIX ();
use Time::HiRes qw/ sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $up = MCP::Upstream->start($t, port => 8081);
my $d = $t->dir;

$t->write_conf(<<'END');
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;

    %%ISSUER_okta%%

    mcp_credential bot { value "Bearer bot-secret"; }
    mcp_server mcp { resource https://mcp.example.com/mcp; issuer okta;
                     credential bot; role * { allow tool ok_*; } }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location = /status { mcp_status; }
        location /mcp { mcp_auth mcp;
                        proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
}
END

# a master that is no daemon ignores USR2

(my $conf = $t->read_file('nginx.conf')) =~ s/daemon off;//;

# a module that can be replaced

if (!$MCP::Test::SAN) {
    copy($MCP::Test::MODULE, "$d/module.so") or die "module.so: $!";
    $conf =~ s/load_module \S+;/load_module $d\/module.so;/;
}

$t->write_file('nginx.conf', $conf);

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
    return $pid // 0;
}

sub until_gone {
    my (@pids) = @_;
    return MCP::Test::wait_until(2 * $MCP::Test::TIMEOUT,
                                 sub { !grep { kill 0 => $_ } @pids });
}

# a new master is a child of the old one, too

sub workers_of {
    my ($pid) = @_;
    my %master = map { $_ => 1 } @pids;

    open my $fh, '<', "/proc/$pid/task/$pid/children" or return;
    return grep { !$master{$_} } split ' ', <$fh> // '';
}

sub until_workers {
    my ($pid, $n) = @_;
    return MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
        my @w = workers_of($pid);
        return @w == $n;
    });
}

sub version {
    my $r = http("GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n");

    return $r->{body} =~ /^mcp_auth_build_info\{version="([^"]*)"/m
           ? $1 : undef;
}

system($MCP::Test::NGINX, '-p', $d, '-c', "$d/nginx.conf", '-e',
       "$d/error.log");
is($?, 0, 'started as a daemon');

my $old = pid_in('nginx.pid');
my $token = $okta->token;
my $call = MCP::Test::mcp_request('/mcp', rpc('tools/call', { name => 'ok_x' }),
                                  token => $token, close => 1);

ok(until_workers($old, 2), 'with two workers');


# ---- callers all the while, each request on a connection of its own

my @kids = map {
    my $n = $_;
    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        my ($good, $bad) = (0, 0);

        until (-e "$d/stop") {
            my $r = eval { http($call) };
            $r && $r->{status} == 200 ? $good++ : $bad++;
            sleep 0.02;
        }

        $t->write_file("load.$n", "$good $bad");
        POSIX::_exit(0);
    }

    $pid;
} 1, 2;


# ---- there and back

kill USR2 => $old;
my $new = pid_in('nginx.pid', $old);
ok(until_workers($new, 2), 'a new master with its workers');
kill WINCH => $old;
ok(until_workers($old, 0), 'the old one has none');
is(http($call)->{status}, 200, 'the new one alone');

kill HUP => $old;
ok(until_workers($old, 2), 'HUP: the old one has workers again');
kill QUIT => $new;
ok(until_gone($new), 'QUIT: the new one leaves');
is(pid_in('nginx.pid'), $old, 'the old one is the master');
is(http($call)->{status}, 200, 'and serves');


# ---- the module's file: replaced, not written over

SKIP: {
    skip 'static build', 6 if $MCP::Test::SAN;

    my $was = version();

    (my $now = $was) =~ tr/0-9/9/;

    my $bytes = $t->read_file('module.so');
    ok($bytes =~ s/\Q$was\E/$now/g, 'another version of the module');
    $t->write_file('module.new', $bytes);
    rename "$d/module.new", "$d/module.so" or die $!;

    my @before = workers_of($old);
    kill HUP => $old;
    ok(until_gone(@before), 'a reload');
    ok(until_workers($old, 2), 'has new workers');
    is(version(), $was, 'but the code that was loaded');

    kill USR2 => $old;
    $new = pid_in('nginx.pid', $old);
    ok(until_workers($new, 2), 'USR2');
    kill QUIT => $old;
    ok(until_gone($old), 'and the old one leaves');
    is(version(), $now, 'begins the new code');
    $old = $new;
}

$t->write_file('stop', '');
waitpid $_, 0 for @kids;

my ($good, $bad) = (0, 0);

for (1, 2) {
    my ($n, $m) = split ' ', $t->read_file("load.$_");
    $good += $n;
    $bad += $m;
}

cmp_ok($good, '>', 5, "$good calls meanwhile");
is($bad, 0, 'none was refused or lost');

kill QUIT => $old;
ok(until_gone($old), 'the end');
@pids = ();

my @a = $t->audit($good);
is(scalar(grep { $_->{decision} eq 'allow' } @a), scalar @a,
   'all were allowed, and no line is torn');
is(scalar @a, scalar(my @u = $up->requests(0)),
   'one record for each that arrived, by whatever master');
is(scalar(grep { $_->{head} !~ /^Authorization: Bearer bot-secret\r$/mi } @u),
   0,
   'no upstream saw anything but the credential');

done_testing;

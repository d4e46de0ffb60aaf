#!/usr/bin/perl

# A new binary with USR2: calls are answered by the old or the new master's
# workers all the time, a stream goes on in the old ones, and both write whole
# lines into one audit file.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
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
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;

    %%ISSUER_okta%%

    mcp_server mcp { resource https://mcp.example.com/mcp; issuer okta;
                     role * { allow tool *; } }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location /mcp { mcp_auth mcp;
                        proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
}
END

# USR2 is ignored by a master that is no daemon

(my $conf = $t->read_file('nginx.conf')) =~ s/daemon off;//;
$t->write_file('nginx.conf', $conf);

my @pids;
my $test = $$;
END { kill KILL => @pids if $$ == $test && @pids }

sub pid_in {
    my ($name, $not) = @_;
    my $pid;

    MCP::Test::wait_until(10, sub {
        ($pid) = $t->read_file($name) =~ /^(\d+)\n/;
        return $pid && $pid != ($not // 0);
    });

    push @pids, $pid if $pid;
    return $pid;
}

sub gone {
    my ($pid) = @_;
    return MCP::Test::wait_until(10, sub { !kill 0 => $pid });
}

system($MCP::Test::NGINX, '-p', $d, '-c', "$d/nginx.conf", '-e',
       "$d/error.log");
is($?, 0, 'started as a daemon');
my $old = pid_in('nginx.pid');

my $token = $okta->token;

sub calls {
    my ($name) = @_;
    my @status = map { call_tool('/mcp', 'x', {}, token => $token)->{status} }
                 1 .. 10;
    is("@status", join(' ', (200) x 10), $name);
}

calls('before');

$up->answer({ sse => [ map { ({ data => "{\"n\":$_}" }, 0.1) } 1 .. 20 ] });
my $c = mcp_start('/mcp', rpc('tools/call', { name => 'x' }), token => $token);
ok($c->sse_next, 'a stream is open');

kill USR2 => $old;
my $new = pid_in('nginx.pid', $old);
isnt($new, $old, 'a new master');
is(pid_in('nginx.pid.oldbin'), $old, 'beside the old one');
$t->wait_for_log(qr/\[notice\] $new#\d+: start worker process /);

calls('both masters');
kill WINCH => $old;
$t->wait_for_log(qr/gracefully shutting down/);
calls('the new one');
kill QUIT => $old;
calls('the old one leaves');

my $n = 1;
$n++ while $c->sse_next(timeout => 5);
is($n, 20, 'the stream goes on to its end');
ok(gone($old), 'then the old master leaves');
calls('after');

kill QUIT => $new;
ok(gone($new), 'the new one leaves');
@pids = ();

is(scalar(my @a = $t->audit(51)), 51, 'a record for each, none torn');

done_testing;

#!/usr/bin/perl

# The audit's files: which, when they are written, that no line is torn or
# lost.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);

my $conf = <<'END';
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;

    %%ISSUER_okta%%

    mcp_server mcp { resource https://mcp.example.com/mcp; issuer okta;
                     role * { allow tool echo; } }

    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport;

        location /mcp { mcp_auth mcp; }
        location /second { mcp_auth mcp; mcp_audit %%TESTDIR%%/second.log; }
        location /off { mcp_auth mcp; mcp_audit off; }
        location /full { mcp_auth mcp; mcp_audit /dev/full; }
        location /later { mcp_auth mcp;
            mcp_audit %%TESTDIR%%/later.log buffer=64k flush=400ms; }
        location /buffer { mcp_auth mcp;
            mcp_audit %%TESTDIR%%/buffer.log buffer=8k flush=60s; }
    }
}
END
$t->write_conf($conf)->start;

my $token = $okta->token;

# one that is denied: no upstream has to keep up

sub denied {
    my ($uri, %o) = @_;
    my $r = call_tool($uri, 'rm', {}, token => $token, %o);
    return $r ? $r->{status} : 0;
}

sub lines {
    my ($name) = @_;
    return $t->read_file($name) =~ /^(.*)\n/mg;
}


# ---- which file

denied('/mcp');
is($t->audit_next->{server}, 'mcp', 'the one of http {}');
denied('/second');
is(scalar(my @s = $t->audit(1, file => 'second.log')), 1, "a location's own");
denied('/off');
is(scalar(my @none = $t->audit_next(0)), 0, 'off');


# ---- buffer=, flush=

my $from = time;
denied('/later') for 1 .. 3;
is(scalar(my @l = lines('later.log')), 0, 'buffered') if time - $from < 0.3;
my @later = $t->audit(3, file => 'later.log');
is(scalar @later, 3, 'written when flush= is over');
cmp_ok(time - $from, '>', 0.35, 'not before');

denied('/buffer');
is(scalar(my @b = lines('buffer.log')), 0, 'kept');
my $c = MCP::Conn->new(port => port(8080));

for (1 .. 60) {
    $c->send(MCP::Test::mcp_request('/buffer', rpc('tools/call',
             { name => 'rm', arguments => {} }), token => $token));
    $c->read_response;
}

my $early = () = lines('buffer.log');
cmp_ok($early, '>', 0, 'written when the buffer is full');
cmp_ok($early, '<', 61, 'and not before');
unlike($t->read_file('buffer.log'), qr/[^\n]\z/, 'by whole lines');
$t->reopen;
is(scalar(my @all = $t->audit(61, file => 'buffer.log')), 61,
   'USR1 writes what is left');


# ---- a disk that is full

$from = () = $t->read_log =~ /records for "\/dev\/full" were not written/g;
is($from, 0, 'nothing yet');
is(denied('/full'), 200, 'a full disk: served on') for 1 .. 10;
ok($t->wait_for_log(qr/mcp_audit: 1 records for "\/dev\/full" were not /),
   'said in error.log');
sleep 0.1;
my $said = () = $t->read_log =~ /were not written/g;
cmp_ok($said, '<=', 2, 'once by each worker, not for each record');


# ---- two workers under load, reopened meanwhile

my $clients = 4;
my $each = 150;

my @kids = map {
    my $n = $_;
    my $pid = fork // die;

    if ($pid == 0) {
        my ($c, $bad) = (undef, 0);
        my $msg = MCP::Test::mcp_request('/mcp', rpc('tools/call',
                      { name => 'rm', arguments => { pad => 'x' x 3000 } }),
                      token => $token);

        for my $i (1 .. $each) {
            $c = MCP::Conn->new(port => port(8080)) if $i % 10 == 1;
            $c->send($msg);
            my $r = $c->read_response;
            $bad++ unless $r && $r->{status} == 200;
        }

        POSIX::_exit($bad ? 1 : 0);
    }

    $pid;
} 1 .. $clients;

my $d = $t->dir;

for my $n (1 .. 3) {
    sleep 0.1;
    rename "$d/audit.log", "$d/audit.log.$n";
    $t->reopen;
}

is(join(' ', map { waitpid $_, 0; $? } @kids), join(' ', (0) x $clients),
   'all answered');

my ($total, @seqs, %workers, $disorder) = (0);
MCP::Test::wait_until(5, sub {
    @seqs = ();
    %workers = ();
    $disorder = 0;

    for my $file (qw/ audit.log.1 audit.log.2 audit.log.3 audit.log /) {
        for ($t->read_file($file) =~ /^(.*)\n/mg) {
            my $r = eval { JSON::PP->new->utf8->decode($_) };
            fail("torn: $_") unless $r;
            push @seqs, $r->{seq};
            $disorder++ if $r->{seq} <= ($workers{$r->{worker}} // 0);
            $workers{$r->{worker}} = $r->{seq};
        }
    }

    return @seqs >= $clients * $each + 1;
});

is(scalar @seqs, $clients * $each + 1, 'no line is lost, none is there twice');
is(scalar keys %workers, 2, 'both workers wrote');
is($disorder, 0, "each worker's seq grows");

push @seqs, map { my ($s) = /"seq":(\d+)/; $s }
            map { lines($_) } qw/ second.log later.log buffer.log /;
my %seen = map { $_ => 1 } @seqs;
is(scalar keys %seen, scalar @seqs, 'no seq is used twice');
is((sort { $b <=> $a } @seqs)[0], @seqs + 10, 'nor left out, but for /dev/full');


# ---- the end

denied('/buffer');
is(scalar(@b = lines('buffer.log')), 61, 'kept');
$t->stop;
is(scalar(@b = lines('buffer.log')), 62, 'a worker that leaves writes it');

done_testing;

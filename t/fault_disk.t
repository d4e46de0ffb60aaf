#!/usr/bin/perl

# A disk that is full, and then is not; a directory that is gone when the logs
# are reopened.  A full disk is a limit of the files' size here (EFBIG), which
# comes in the middle of a line as that does.  Half a line may be there, and is
# a line of its own: no record is glued to it, and those that were lost are
# counted.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

plan skip_all => 'no prlimit' unless -x '/usr/bin/prlimit';

# valgrind and sanitizers write files of their own

plan skip_all => 'not under valgrind' if $ENV{MCP_TEST_VALGRIND};

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $up = MCP::Upstream->start($t, port => 8081);
my $d = $t->dir;

mkdir "$d/logs";

$t->write_conf(<<'END');
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    access_log off;
    client_body_buffer_size 1k;
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
        location /strict { mcp_auth mcp;
                           mcp_audit %%TESTDIR%%/strict.log strict;
                           proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /buffered { mcp_auth mcp;
            mcp_audit %%TESTDIR%%/buffered.log buffer=8k flush=100ms;
            proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /body { mcp_auth mcp; mcp_audit %%TESTDIR%%/body.log;
                         proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /dir { mcp_auth mcp; mcp_audit %%TESTDIR%%/logs/audit.log;
                        proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
}
END

# nginx gets an error, as from a full disk, in place of the signal

{
    local $SIG{XFSZ} = 'IGNORE';
    $t->start;
}

my $token = $okta->token;
my ($worker) = $t->workers;
my $serial = 0;

sub call {
    my ($uri, %o) = @_;
    return call_tool($uri, $o{tool} // 'ok_x', $o{arguments} || {},
                     token => $token, id => ++$serial);
}

sub failed { metric('audit_records_total{result="failed"}') }

sub limit {
    my ($bytes) = @_;
    system('/usr/bin/prlimit', '--pid', $worker, "--fsize=$bytes:unlimited")
        == 0 or die 'prlimit';
}

# ids of the records in a file; every line has to be one

sub ids {
    my ($name) = @_;
    my $text = $t->read_file($name);
    my @ids;

    for (split /\n/, $text) {
        my $r = eval { JSON::PP->new->utf8->decode($_) };
        push @ids, $r ? $r->{rpc_id} // 0 : 'torn';
    }

    push @ids, 'torn' if $text =~ /[^\n]\z/;
    return @ids;
}

sub ids_of {
    my ($name, $n) = @_;
    my @ids;

    MCP::Test::wait_until($MCP::Test::TIMEOUT,
                          sub { (@ids = ids($name)) >= $n });
    return join ' ', @ids;
}


# ---- the audit, not strict: calls pass, what is lost is counted

is(call('/mcp')->{status}, 200, 'there is room');
is(ids_of('audit.log', 1), '1', 'on record');

my $halves = 0;

for my $room (0, 1, 50, 200) {
    my $before = $serial;
    my $lost = failed();

    limit((-s "$d/audit.log") + $room);
    is(call('/mcp')->{status}, 200, "room for $room bytes: calls pass")
        for 1 .. 3;

    # a record is written after its answer

    ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
           failed() - $lost == 3 }), "room for $room bytes: counted");
    limit('unlimited');

    is(call('/mcp')->{status}, 200, "room for $room bytes, and then for all");
    ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
        ((ids('audit.log'))[-1] // 0) eq $serial }), 'on record');

    my @ids = ids('audit.log');
    my @torn = grep { $_ eq 'torn' } @ids;

    is(scalar @torn, $halves += $room ? 1 : 0,
       "room for $room bytes: half a line, when there is room for it");
    is($ids[-1], $serial, "room for $room bytes: the last is on record");
    is(scalar(grep { $_ ne 'torn' && $_ > $before } @ids), 1,
       "room for $room bytes: the others are lost");
    is(failed() - $lost, 3,
       "room for $room bytes: and no other");
}

is(scalar(my @r = $up->requests($serial)), $serial, 'all were served');


# ---- strict: nobody passes while the record of the one before is lost

is(call('/strict')->{status}, 200, 'strict: there is room');
ids_of('strict.log', 1);

for my $room (0, 60) {
    MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
        ((ids('strict.log'))[-1] // 0) eq $serial });

    my $arrived = $up->requests(0);
    my $lost = failed();

    limit((-s "$d/strict.log") + $room);
    is(call('/strict')->{status}, 200,
       "strict, $room: the one whose record is lost");
    MCP::Test::wait_until($MCP::Test::TIMEOUT, sub { failed() > $lost });
    is(call('/strict')->{status}, 503, "strict, $room: no other") for 1 .. 3;
    is($up->requests(0) - $arrived, 1, "strict, $room: nor does it arrive");
    limit('unlimited');
    is(call('/strict')->{status}, 503, "strict, $room: the next try");
    ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
           call('/strict')->{status} == 200 }),
       "strict, $room: and all is well");
    is(scalar(grep { $_ eq 'torn' } ids('strict.log')), $room ? 1 : 0,
       "strict, $room: half a line at most");
}


# ---- buffered

my $failed = failed();

limit(100);
call('/buffered') for 1 .. 3;
ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
       failed() > $failed }),
   'a buffer that cannot be written');
limit('unlimited');
call('/buffered') for 1 .. 3;
ids_of('buffered.log', 1);
MCP::Test::wait_until(5, sub { (ids('buffered.log'))[-1] eq $serial });
is((ids('buffered.log'))[-1], $serial, 'buffered: goes on');
cmp_ok(scalar(grep { $_ eq 'torn' } ids('buffered.log')), '<=', 1,
       'buffered: half a line at most');


# ---- a body that needs a file: it is not forwarded, and is on record

$t->allow_log(qr/\[crit\].*pwrite\(\).*File too large/);

my $arrived = $up->requests(0);

limit(100_000);

my $r = call('/body', arguments => { pad => 'x' x 300_000 });

is($r->{status}, 500, 'a body without a file to be in');
limit('unlimited');
is(call('/body', arguments => { pad => 'x' x 300_000 })->{status}, 200,
   'and with one');
is($up->requests($arrived + 1) - $arrived, 1, 'that one arrives');

@r = $t->audit(2, file => 'body.log');
is(join(' ', map { $_->{decision} } @r), 'error allow',
   'both are on record, the first as not allowed');


# ---- the directory is gone when the logs are reopened: nothing is lost

$t->allow_log(qr/\[emerg\].*logs\/audit.log/);
call('/dir');
is(ids_of('logs/audit.log', 1), $serial, 'a directory');
rename "$d/logs", "$d/gone" or die $!;
$t->reopen;
is(call('/dir')->{status}, 200, 'it is gone: calls pass');
like(ids_of('gone/audit.log', 2), qr/ $serial$/,
     'and are in the file that was there');
mkdir "$d/logs";
$t->reopen;
is(call('/dir')->{status}, 200, 'another one in its place');
is(ids_of('logs/audit.log', 1), $serial, 'the next one is there');

is(join(' ', $t->workers), $worker, 'it is the worker that it was');
is(scalar(grep { $_->{head} !~ /^Authorization: Bearer bot-secret\r$/mi }
          $up->requests(1)), 0, 'no upstream saw anything but the credential');


# ---- two workers, one of which had half a line's room: what the other writes
# behind it is whole

my $two = MCP::Test->new;

(my $conf = $t->read_file('nginx.conf')) =~ s!\Q$d\E!%%TESTDIR%%!g;
$conf =~ s!jwks_file %%TESTDIR%%!jwks_file $d!;
$conf =~ s!^(events )!worker_processes 2;\n$1!m;
$conf =~ s!access_log off;!access_log off; add_header X-Worker \$pid always;!;
$conf =~ s!listen 127\.0\.0\.1:\d+!listen 127.0.0.1:%%PORT_8082%% reuseport!;
mkdir $two->dir . '/logs';

{
    local $SIG{XFSZ} = 'IGNORE';
    $two->write_conf($conf)->start;
}

sub by_worker {
    my $id = ++$serial;
    my $r = call_tool('/mcp', 'ok_x', {}, token => $token, id => $id,
                      port => 8082);
    return ($r->{headers}{'x-worker'}, $id);
}

MCP::Test::wait_until($MCP::Test::TIMEOUT, sub { $two->workers == 2 });
my ($full, $other) = $two->workers;
my (%ids, %since);

for (1 .. 200) {
    my ($pid, $id) = by_worker();

    push @{$ids{$pid}}, $id;
    last if keys %ids == 2;
}

my $n = map { @$_ } values %ids;

is(scalar(@r = $two->audit($n)), $n, 'two workers, in one file');
$worker = $full;
limit((-s $two->dir . '/audit.log') + 50);

# half a line by the one, then some by the other

for (1 .. 400) {
    my ($pid, $id) = by_worker();

    next if $pid == $other && !$since{$full};
    push @{$since{$pid}}, $id;
    last if $pid == $other && @{$since{$other}} == 3;
}

limit('unlimited');

my @lines;

MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    @lines = $two->read_file('audit.log') =~ /^(.*)\n/mg;
    return grep { /"rpc_id":$since{$other}[-1],/ } @lines;
});

my %there = map { my $r = eval { JSON::PP->new->utf8->decode($_) };
                  $r ? ($r->{rpc_id} => 1) : () } @lines;

is(join(' ', grep { !$there{$_} } @{$since{$other}}), '',
   'each record of the other worker is a line of its own');

done_testing;

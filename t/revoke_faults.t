#!/usr/bin/perl

# mcp_revocation_file when things go wrong: what is half there, broken, gone or
# unreadable changes nothing; what does not fit, or was lost with a worker that
# died while it changed the table, lets nobody in until it is right again.
# Whatever happens, somebody who is revoked is never let in.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX qw/ mkfifo /;
use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Revocations;
use MCP::Upstream;

my $t = MCP::Test->new;
my $d = $t->dir;
my $okta = MCP::Issuer->new($t, static => 1);
my $rev = MCP::Revocations->new($t);
my $file = $rev->path;
my $workers = 3;

my $note = '{"jsonrpc":"2.0","method":"notifications/message","params":{}}';

my $up = MCP::Upstream->start($t, port => 8081, handler => sub {
    return $_[0]{uri} =~ m!^/s!
           ? { sse => [ map { ({ data => $note }, 0.2) } 1 .. 300 ] } : undef;
});

my $conf = <<"END";
%%GLOBALS%%
worker_processes $workers;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_revocation_file revoked;
    #zone

    %%ISSUERS%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        stream_grace 2s;
        role * { allow tool *; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport;
        location / { mcp_auth mcp;
                     proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location = /status { mcp_status; }
    }
}
END

my $alice = $okta->token(iat => int(time) - 60, -expires => 3000);
my $bob = $okta->token(iat => int(time) - 60, sub => 'bob', -expires => 3000);
my $eve = $okta->token(iat => int(time) - 60, sub => 'eve', -expires => 3000);

# eve is always revoked

my $always = $rev->add(user => $okta->{issuer}, 'eve', at => time - 30);
$rev->write;

# some workers run as nobody when the test is root: for root all is readable

$t->write_conf($conf);

if ($> == 0) {
    chmod 0755, $d;
    $t->write_file('nginx.conf', $t->read_file('nginx.conf')
                                 =~ s/user root;/user nobody root;/r);
}

$t->start;

sub call {
    my ($token) = @_;
    my $r = call_tool('/mcp', 'echo', {}, token => $token, timeout => 30);
    return $r ? $r->{status} : 0;
}

sub everywhere {
    my ($want, $token, $time) = @_;

    return MCP::Test::wait_until($time // $MCP::Test::TIMEOUT, sub {
        !grep { call($token) != $want } 1 .. 5 * $workers;
    }) ? 1 : 0;
}

sub events { grep { $_->{ev} eq 'revocation' } $t->audit }

# complaints since the last call: waits for one

my $said = 0;

sub complaints {
    my ($re) = @_;

    MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
        substr($t->read_log, $said) =~ /\[error\].*mcp_revocation_file.*$re/;
    });

    sleep 0.8;      # another look or two, of each worker

    my $log = substr $t->read_log, $said;
    $said = length $t->read_log;

    return $log =~ /^.*\[error\].*mcp_revocation_file.*$/mg;
}

is(everywhere(200, $bob), 1, 'bob');
is(everywhere(401, $eve), 1, 'eve is revoked');


# ---- what cannot be taken

my $line = "user $okta->{issuer} bob 2099-01-01T00:00:00Z";
my $good = $rev->text;

my @bad = (
    [ 'half of it', sub { $rev->write(text => substr $good, 0, -20) },
      qr/line 2: / ],
    [ 'without its end', sub { $rev->write(text => "$line\n") },
      qr/line \d+: / ],
    [ 'in place, as it is being written',
      sub { $rev->write(text => "# 1\n$line\n", in_place => 1) },
      qr/line \d+: / ],
    [ 'nothing', sub { $rev->write(text => '') }, qr/line \d+: / ],
    [ 'a broken line',
      sub { $rev->write(text => "# 1\n# 2\n$line\nuser x\nend\n") },
      qr/line 4: not "TYPE ISSUER VALUE TIME"/ ],
    [ 'another one',
      sub { $rev->write(text => "# 1\n$line\nfoo a b -\nend\n") },
      qr/line 3: begins with none of user, client, token, issuer, all/ ],
    [ 'no file', sub { unlink $file }, qr/cannot be opened/,
      ' (2: No such file or directory)' ],
    [ 'a directory', sub { mkdir $file }, qr/is not a regular file/ ],
    [ 'a link to nowhere', sub { rmdir $file; symlink "$d/none", $file },
      qr/cannot be opened/, ' (2: No such file or directory)' ],
    [ 'a FIFO', sub { unlink $file; mkfifo $file, 0644 },
      qr/is not a regular file/ ],
    [ 'one that cannot be read',
      sub { unlink $file; $rev->write(text => "$line\nend\n"); chmod 0, $file },
      qr/cannot be opened/, ' (13: Permission denied)' ],
    [ 'the lines of another system',
      sub { $rev->write(text => $good =~ s/\n/\r\n/gr) },
      qr/line 2: / ],
    [ 'NULs behind its end, of a disk that lost power',
      sub { $rev->write(text => $good . "\0" x 512) }, qr/something follows/ ],
    [ 'a NUL in a line', sub { $rev->write(text => "$line\0\nend\n") },
      qr/line 1: / ],
    [ 'a NUL in a name',
      sub { $rev->write(text => ($line =~ s/bob/bob\0/r) . "\nend\n") },
      qr/a character that has to be written/ ],
    [ 'another character set',
      sub { $rev->write(text => join '', map { "$_\0" } split //, $good) },
      qr/line 2: begins with none/ ],
    [ 'too large', sub {
          unlink $file;
          open my $f, '>', $file;
          print $f "$line\n";
          truncate $f, 64 * 1024 * 1024 + 1;
      }, qr/is too large/ ],
    [ 'a line too long', sub {
          $rev->write(text => "$line\nuser x " . 'y' x 3000
                              . " 2026-01-01T00:00:00Z\nend\n");
      }, qr/line 2: / ],
);

for (@bad) {
    my ($what, $make, $re, $why) = @$_;
    my $end = quotemeta($why // '');

    $make->();
    my @c = complaints($re);

    like($c[0], qr/$re.*; what it had before stays in force$end$/,
         "$what: error.log says so");
    is(scalar @c, 1, "$what: once");
    is(everywhere(401, $eve), 1, "$what: eve is still revoked");
    is(everywhere(200, $bob), 1, "$what: bob is still not");
    is(metric('revocation_file_broken'), 1, "$what: to be seen");
}

is(scalar(events()), 0, 'nothing of that was a revocation');

$rev->write;
ok(MCP::Test::wait_until($MCP::Test::TIMEOUT,
                         sub { metric('revocation_file_broken') == 0 }),
   'the old one again: all is well');
is(everywhere(401, $eve), 1, 'eve is revoked');

# a new one that is right

$rev->write(text => "user x\nend\n");
like((complaints(qr/line 1/))[0], qr/line 1: /, 'broken once more');
my $gone = $rev->add(user => $okta->{issuer}, 'bob');
$rev->write;
is(everywhere(401, $bob), 1, 'put right: bob is revoked');
is(metric('revocation_file_broken'), 0, 'and all is well');
$rev->drop($gone)->write;
is(everywhere(200, $bob), 1, 'bob is back');


# ---- a reload finds it broken

$rev->write(text => "$line\n");
complaints(qr/line/);
$t->allow_log(qr/\[emerg\].*mcp_revocation_file .* line \d+: /);
is($t->reload, 0, 'nginx refuses to load it');
is(everywhere(401, $eve), 1, 'the old content stays');
is(everywhere(200, $bob), 1, 'for all');
$rev->write;


# ---- however it is written

# a file older than the one before, as rsync and tar leave it

$gone = $rev->add(user => $okta->{issuer}, 'bob');
$t->write_file('revoked.new', $rev->text);
utime 1_000_000_000, 1_000_000_000, "$d/revoked.new";
rename "$d/revoked.new", $file;
is(everywhere(401, $bob), 1, 'an old date is no reason to pass it over');

# the same size, in place, in the same moment

my @text = map { my $who = $_;
    "user $okta->{issuer} eve 2026-01-01T00:00:00Z\n"
    . "user $okta->{issuer} $who 2099-01-01T00:00:00Z\nend\n" =~ s/eve 2026/eve 2098/r
} qw/ bob bab /;

my $ok = 0;

for my $i (1 .. 12) {
    $rev->write(text => $text[0], in_place => 1);
    sleep 0.02 * ($i % 5);
    $rev->write(text => $text[1], in_place => 1);
    $rev->write(text => $text[$i % 2], in_place => 1);

    $ok += everywhere($i % 2 ? 200 : 401, $bob);
}

is($ok, 12, 'written in place: the last of several counts');


# ---- many

$rev->{entries} = [ $always ];
$rev->write;
is(everywhere(200, $bob), 1, 'bob is back');

$rev->add(user => "https://issuer.example/$_", "user-$_-" . 'x' x 20,
          by => 'ops@example.com') for 1 .. 10_000;
my $last = $rev->add(user => $okta->{issuer}, 'bob');
my $n = events();
my $from = time;

$rev->write;
is(everywhere(401, $bob), 1, '10,000 entries are taken');
diag(sprintf '10,000 entries in force after %.2f s', time - $from);
is(metric('revocations{store="file"}'), 10_002, 'all of them');
MCP::Test::wait_until($MCP::Test::TIMEOUT, sub { events() >= $n + 10_001 });
is(events() - $n, 10_001, 'each on record');

$rev->drop($last)->write;
$from = time;
is(everywhere(200, $bob), 1, 'one of them is lifted');
diag(sprintf 'and one lifted after %.2f s', time - $from);
MCP::Test::wait_until($MCP::Test::TIMEOUT, sub { events() >= $n + 10_002 });
is(join(' ', map { "$_->{method} $_->{user}" } (events())[-1]),
   'unrevoke/user bob', 'on record, alone');
is(everywhere(401, $eve), 1, 'eve is revoked');


# ---- another size of the zone

$rev->{entries} = [ $always ];
$rev->write;
is(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    metric('revocations{store="file"}') == 1;
}), 1, 'only eve');

my %seen;
my $pid = fork // die;

if ($pid == 0) {
    my $let_in = 0;

    until (-e "$d/stop") {
        $let_in++ if call($eve) == 200;
        sleep 0.005;
    }

    $t->write_file('let_in', $let_in);
    POSIX::_exit(0);
}

for my $size ('1m', '8m', '256k', '4m') {
    is($t->reload($conf =~ s/#zone/mcp_revocation_zone $size;/r), 1,
       "mcp_revocation_zone $size");
    is(metric('revocations_ready'), 1, 'ready at once');
    is(call($eve), 401, 'and nobody is forgotten');
}

$t->write_file('stop', '');
waitpid $pid, 0;
is($t->read_file('let_in'), 0, 'nor was at any moment');
unlink "$d/stop";


# another file is another table, also for workers that are on their way out

my $two = MCP::Revocations->new($t, file => 'others');
$two->add(user => $okta->{issuer}, 'bob');
$two->write;

my $held = http_start("GET /s HTTP/1.1\r\nHost: localhost\r\n"
                      . "Authorization: Bearer $bob\r\n\r\n");
is($held->read_head->{status}, 200, 'a stream of bob');
is($t->reload($conf =~ s/_file revoked/_file others/r), 1, 'another file');
is(call($bob), 401, 'which says who is revoked now');
is(call($eve), 200, 'and who is not');
sleep 0.8;
ok($held->sse_next, 'the old worker has its own');
$rev->add(user => $okta->{issuer}, 'bob', at => time + 1);
$rev->write;
1 while defined $held->body_some(time + $MCP::Test::TIMEOUT);
ok($held->{response}{complete}, 'and looks at it');
$rev->{entries} = [ $always ];
$rev->write;
is($t->reload($conf), 1, 'the first file');
is(call($eve), 401, 'with eve');
is(call($bob), 200, 'and without bob');


# ---- no room

is($t->reload($conf =~ s/#zone/mcp_revocation_zone 64k;/r), 1, 'a small zone');
is(everywhere(200, $bob), 1, 'which is enough for few');

my $c = http_start("GET /s HTTP/1.1\r\nHost: localhost\r\n"
                   . "Authorization: Bearer $bob\r\n\r\n");
is($c->read_head->{status}, 200, 'bob has a stream');

$rev->add(user => 'https://issuer.example', "user-$_") for 1 .. 2000;
$from = time;
$rev->write;

is(everywhere(503, $bob, 20), 1, 'too many: nobody knows who is revoked');
is(everywhere(503, $eve), 1, 'of anybody');

my $r = call_tool('/mcp', 'echo', {}, token => $bob, id => 'x');
is($r->{headers}{'retry-after'}, 2, '503 with Retry-After');
is($r->{json}{id}, undef, 'without having read the body');
my $a = (grep { $_->{ev} ne 'revocation' } $t->audit)[-1];
is("$a->{decision} $a->{reason}", 'error revocation_unknown', 'on record');
is(metric('revocations_ready'), 0, 'to be seen');
like((complaints(qr/does not fit/))[-1],
     qr/does not fit into mcp_revocation_zone, raise it; requests are refused/,
     'error.log says what to do');

1 while defined $c->body_some(time + $MCP::Test::TIMEOUT);
cmp_ok(time - $from, '>', 1.5, 'the stream went on for stream_grace');
ok($c->{response}{complete}, 'then it ended');
my ($cut) = grep { $_->{reason} eq 'revocation_unknown' && $_->{upstream} }
            $t->audit;
is($cut->{decision}, 'allow', 'on record');

$rev->{entries} = [ $always ];
$rev->write;
is(everywhere(200, $bob, 30), 1, 'fewer: all is well');
is(everywhere(401, $eve), 1, 'and eve is revoked');
is(metric('revocations_ready'), 1, 'to be seen');

$rev->add(user => 'https://issuer.example', "user-$_") for 1 .. 2000;
$rev->write;
is(everywhere(503, $bob, 20), 1, 'too many again');
is($t->reload($conf), 1, 'the zone is raised');
is(everywhere(200, $bob), 1, 'all is well');
is(everywhere(401, $eve), 1, 'and eve is revoked');

$rev->{entries} = [ $always ];
$rev->write;


# ---- a worker dies while it changes the table

sub tear { MCP::Revocations::tear($t) }
sub torn { MCP::Revocations::torn($t) }

is(everywhere(200, $bob), 1, 'bob');

SKIP: {
    skip 'no access to the memory of a worker', 22 unless torn();

    like($t->read_log, qr/\[error\].*a worker died while it changed the table/,
       'somebody died in the middle: the next one sees it');
    is(call($bob), 200, 'who comes then waits for the table');
    is(call($eve), 401, 'eve is revoked');
    is(everywhere(200, $bob), 1, 'all is well');
    is(metric('revocations{store="file"}'), 1, 'the table is whole');

    # many times, under requests: nobody slips through

    my @kids = map { my $i = $_;
        my $pid = fork // die;

        if ($pid == 0) {
            my %got;

            until (-e "$d/stop") {
                $got{'eve ' . call($eve)}++;
                $got{'bob ' . call($bob)}++;
                sleep 0.005;
            }

            $t->write_file("got.$i", join ',', sort keys %got);
            POSIX::_exit(0);
        }

        $pid;
    } 1 .. 3;

    for (1 .. 15) {
        sleep 0.1;
        tear();
    }

    sleep 0.5;

    $t->write_file('stop', '');
    waitpid $_, 0 for @kids;
    unlink "$d/stop";
    is(join(' ', map { $t->read_file("got.$_") } 1 .. 3),
       join(' ', ('bob 200,eve 401') x 3),
       'many times: eve is refused each time, bob never');

    # and the file cannot be read at the same time: nothing is known

    my $before = events();
    rename $file, "$file.away";
    complaints(qr/cannot be opened/);
    torn();
    sleep 0.3;

    $from = time;
    is(call($bob), 503, 'without the file: 503');
    cmp_ok(time - $from, '<', 4, 'after two seconds');
    $from = time;
    is(call($bob), 503, 'and the next one');
    cmp_ok(time - $from, '<', 1, 'at once');
    is(call($eve), 503, 'eve too');
    $a = (grep { $_->{ev} ne 'revocation' } $t->audit)[-1];
    is($a->{reason}, 'revocation_unknown', 'on record');

    # requests that wait: they are served, but the one whose client goes

    rename "$file.away", $file;
    is(everywhere(200, $bob, 20), 1, 'the file is back: all is well');
    rename $file, "$file.away";
    torn();

    my @wait = map { mcp_start('/mcp', rpc('tools/call', { name => 'echo' }),
                               token => $bob) } 1 .. 4;
    sleep 0.3;
    $wait[0]->close;
    sleep 0.2;
    rename "$file.away", $file;

    is(join(' ', map { $wait[$_]->read_response->{status} } 1 .. 3),
       '200 200 200', 'who waited is served');

    my ($left) = grep { ($_->{result}{status} // 0) == 499 } $t->audit;
    is($left->{reason}, 'revocation_unknown', 'who went is on record');
    is($left->{user}, 'bob', 'with a name');
    is(everywhere(401, $eve), 1, 'eve is revoked');

    # what was lost and read again is not told again, but what is new is

    is(scalar(events()), $before, 'nothing of that was a revocation');

    rename $file, "$file.away";
    torn();
    $gone = $rev->add(user => $okta->{issuer}, 'bob', at => time + 1);
    $rev->write;
    is(everywhere(401, $bob, 20), 1, 'a change that came with the loss');
    is(join(' ', map { "$_->{method} $_->{user}" }
                 (events())[$before .. events() - 1]),
       'revoke/user bob', 'is told once');
    $rev->drop($gone)->write;
    is(everywhere(200, $bob), 1, 'bob is back');
}


# ---- kill -9 while it changes all the time

# now and then one is hit while it has the lock, which nginx opens and says

$t->allow_log(qr/exited on signal 9/,
              qr/shared memory zone "mcp_\w+" was locked by/);

$rev->add(user => "https://issuer.example/$_", "user-$_") for 1 .. 3000;

my @kids = map { my $i = $_;
    my $pid = fork // die;

    if ($pid == 0) {
        my %got;

        until (-e "$d/stop") {
            my $eve = eval { call($eve) } // 0;
            my $bob = eval { call($bob) } // 0;

            $got{"eve $eve"}++ if $eve && $eve != 401;
            $got{"bob $bob"}++ if $bob && $bob != 200;
            sleep 0.005;
        }

        $t->write_file("got.$i", join ',', map { "$_: $got{$_}" }
                                 sort keys %got);
        POSIX::_exit(0);
    }

    $pid;
} 1 .. 3;

for my $i (1 .. 12) {
    my @extra = map { $rev->add(user => 'https://issuer.example/x', "$i-$_") }
                1 .. 50;
    $rev->write;

    # looks come every 250 ms: some of them are hit

    sleep 0.2 + 0.01 * $i;
    my ($victim) = $t->workers;
    kill KILL => $victim;

    $rev->drop($_) for @extra;
    $rev->write;

    MCP::Test::wait_until(5, sub { $t->workers == $workers });
}

$t->write_file('stop', '');
waitpid $_, 0 for @kids;

is(join(' ', map { $t->read_file("got.$_") } 1 .. 3), '  ',
   'killed workers: nobody revoked gets in, nobody else is refused');
is(everywhere(401, $eve), 1, 'eve is revoked');
is(everywhere(200, $bob), 1, 'bob is not');
$rev->{entries} = [ $always, $rev->add(user => $okta->{issuer}, 'bob') ];
$rev->write;
is(everywhere(401, $bob), 1, 'and changes are seen');

done_testing;

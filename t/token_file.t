#!/usr/bin/perl

# mcp_token_file changes while nginx runs: every worker notices, nobody reloads.
# What is broken, half there, gone or unreadable changes nothing, and error.log
# says so without saying what stands there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fcntl qw/ SEEK_END /;
use POSIX qw/ mkfifo /;
use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Token;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $up = MCP::Upstream->start($t, port => 8081);
my $store = MCP::Token->new($t);
my $file = $t->dir . '/tokens';
my $workers = 3;

sub pat { $store->pat(issuer => $okta->{issuer}, user => 'alice', @_) }

my $always = pat();

$store->write;
$t->write_conf(<<"END");
%%GLOBALS%%
worker_processes $workers;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_token_file tokens;
    mcp_token_key pepper-a;
    mcp_token_failures 0;

    %%ISSUER_okta%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        tokens on;
        role dev { allow tool echo; }
        role ops { allow tool *; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport;
        location / {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END
$t->start;

sub got {
    my ($token, $tool) = @_;
    my $r = call_tool('/mcp', $tool || 'echo', {}, token => $token->{token});
    my $a = $t->audit_next(1, settle => 0);

    return $r->{status} != 200 ? "$r->{status} $a->{reason}"
         : $r->{json}{result} ? 'ok' : "denied $a->{reason}";
}

# by all workers: many in a row, and the workers on record are all that there
# are; undef: not in time, which is half of what a cache remembers

sub everywhere {
    my ($want, $token, $tool) = @_;

    return MCP::Test::wait_until($ENV{MCP_TEST_VALGRIND} ? 30 : 15, sub {
        my $from = ($t->audit)[-1] ? scalar($t->audit) : 0;

        for (1 .. 8 * $workers) {
            return 0 if got($token, $tool) ne $want;
        }

        my %seen = map { $_->{worker} => 1 } ($t->audit)[$from .. $t->audit - 1];
        return keys %seen == $workers;
    });
}

# what was said of the file since the last call

my $said = 0;

sub complaints {
    my ($re) = @_;
    my $log;

    MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
        $log = substr $t->read_log, $said;
        my %pid = map { $_ => 1 }
                  $log =~ /\[error\] (\d+)#\d+: mcp_token_file .*$re/g;
        return keys %pid == $workers;
    }) or diag("not all workers said $re");

    sleep 0.6;      # another look or two
    $log = substr $t->read_log, $said;
    $said = length $t->read_log;

    return $log =~ /^.*\[error\].*mcp_token_file.*$/mg;
}


# ---- it changes

ok(everywhere('ok', $always), 'what was there at the start');

my $new = pat();
my $began = time;

$store->write;
ok(everywhere('ok', $new), 'a new token');
diag(sprintf 'noticed by all workers after %.2f s', time - $began);

$new->{roles} = ['none'];
$store->write;
ok(everywhere('denied no_rule', $new), 'its roles are others, cached or not');

$new->{roles} = ['ops'];
$store->write;
ok(everywhere('ok', $new, 'rm'), 'and others');

$new->{servers} = ['other'];
$store->write;
ok(everywhere('401 token_server', $new), 'its servers are others');

$new->{servers} = ['mcp'];
$new->{revoked} = time;
$store->write;
ok(everywhere('401 token_revoked', $new), 'it is revoked');
is(($t->audit)[-1]{token_id}, $new->{id}, 'with its name on record');

delete $new->{revoked};
$store->write;
ok(everywhere('ok', $new), 'revoked by mistake');

$new->{expires} = int(time) - 1;
$store->write;
ok(everywhere('401 expired', $new), 'it expires earlier, as after a rotation');

$store->drop($new);
$store->write;
ok(everywhere('401 token_unknown', $new), 'it is gone');
ok(everywhere('ok', $always), 'the other one is not');

# a rotation: two tokens of one person, the old one for a while

my $next = pat(replaces => $always->{id});

$store->write;
ok(everywhere('ok', $_), 'both are good') for $always, $next;


# ---- open streams end with their token, and only they

my $note = '{"jsonrpc":"2.0","method":"notifications/message","params":{}}';

sub stream {
    my ($token) = @_;

    $up->answer({ sse => [ map { ({ data => $note }, 0.2) } 1 .. 600 ] });

    my $c = http_start("GET /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: "
                       . "text/event-stream\r\nAuthorization: Bearer $token"
                       . "\r\n\r\n");

    $c->read_head->{status} == 200 && $c->sse_next or die 'no stream';
    return $c;
}

# what is left of it: 1 when it has ended

sub ended {
    my ($c) = @_;
    my $until = time + 30;

    while (time < $until) {
        return 1 if !$c->sse_next(timeout => 5)
                    && ($c->{response}{complete} || $c->{eof});
    }

    return 0;
}

my %of = map { $_ => pat() } qw/ revoked gone expired before /;

@of{qw/ other roles later /} = map { pat(roles => ['ops']) } 1 .. 3;
$store->write;
ok(everywhere('ok', $of{before}), 'tokens for streams');

my %stream = map { $_ => stream($of{$_}{token}) } sort keys %of;

$stream{jwt} = stream($okta->token(groups => ['dev']));
$t->audit_next(0);

$of{revoked}{revoked} = $of{before}{revoked} = time;
$store->drop($of{gone});
$of{expired}{expires} = int(time) - 1;
$of{roles}{roles} = ['none'];
$of{later}{expires} += 1000;
$store->write;

for my $what (qw/ revoked gone expired before /) {
    ok(ended($stream{$what}), "a stream ends: $what");
}

my @ends = $t->audit_next(4);

is(join(' ', map { "$_->{decision} $_->{reason}" } @ends),
   join(' ', ('allow token_revoked') x 4), 'on record');
is(join(' ', sort map { $_->{token_id} } @ends),
   join(' ', sort map { $of{$_}{id} } qw/ revoked gone expired before /),
   'with their names');

for my $what (qw/ other roles later jwt /) {
    ok($stream{$what}->sse_next, "a stream goes on: $what");
    $stream{$what}->close;
}

$t->audit_next(4);

# also those of a worker that a reload has sent away

my $left = pat();

$store->write;
ok(everywhere('ok', $left), 'one more');

my $old = stream($left->{token});

ok($t->reload, 'reload');
ok($old->sse_next, 'its stream goes on');
$t->audit_next(0);
$left->{revoked} = time;
$store->write;
ok(ended($old), 'and ends with the token');
is($t->audit_next(1)->{reason}, 'token_revoked', 'on record');
ok(everywhere('401 token_revoked', $left), 'everywhere');


# ---- requests under way when their token ends: one whose body is still on its
# way is not made, and one that was made does not become a stream

my $bytes = MCP::Test::mcp_request('/mcp', rpc('tools/call', { name => 'echo',
    arguments => {} }), token => 'TOKEN');

sub under_way {
    my ($token) = @_;
    my $c = http_start(substr $bytes =~ s/TOKEN/$token/r, 0, -20);

    # the head and some of the body were read by the worker

    sleep 0.3;
    return $c;
}

sub late_stream {
    my ($token) = @_;

    $up->answer({ wait => $ENV{MCP_TEST_SAN} ? 20 : 8,
                  sse => [ map { ({ data => $note }, 0.2) } 1 .. 600 ] });

    return http_start("GET /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: "
                      . "text/event-stream\r\nAuthorization: Bearer $token"
                      . "\r\n\r\n");
}

# some of six are good no more, and all workers know; nothing on record is read

sub end_some {
    my ($of) = @_;
    my $from = length $t->read_log;

    $of->{revoked}{revoked} = $of->{cached}{revoked} = time;
    $store->drop($of->{gone});
    $of->{expired}{expires} = int(time) - 1;
    $of->{roles}{roles} = ['none'];
    $store->write;

    return MCP::Test::wait_until(30, sub {
        my %pid = map { $_ => 1 } substr($t->read_log, $from)
                  =~ /(\d+)#\d+: mcp_token_file "[^"]*": \d+ tokens/g;
        return keys %pid == $workers;
    });
}

sub six {
    my %of = map { $_ => pat() } qw/ revoked gone expired other roles cached /;

    $store->write;
    ok(everywhere('ok', $of{$_}), "before: $_") for 'cached', 'other';
    $up->requests_next(0);
    $t->audit_next(0);

    return %of;
}

my %way = six();
my %body = map { $_ => under_way($way{$_}{token}) } sort keys %way;

$body{jwt} = under_way($okta->token(groups => ['dev']));
ok(end_some(\%way), 'all workers know');

for (sort keys %body) {
    my $good = /other|roles|jwt/;

    $body{$_}->send(substr $bytes, -20);
    is($body{$_}->read_response->{status}, $good ? 200 : 401,
       "a body that comes afterwards: $_");

    my $a = $t->audit_next(1);
    is($a->{reason}, $good ? 'allow' : 'token_revoked', "on record: $_");
    is($a->{token_id}, $way{$_}{id}, "with its name: $_") if $way{$_};
}

is(scalar(my @made = $up->requests_next(3)), 3,
   'and upstream are those that are good');

%way = six();

my %late = map { $_ => late_stream($way{$_}{token}) } sort keys %way;

$late{jwt} = late_stream($okta->token(groups => ['dev']));
is(scalar(@made = $up->requests_next(7)), 7, 'all are asked for');
ok(end_some(\%way), 'all workers know');

for (sort keys %late) {
    my $good = /other|roles|jwt/;
    my $r = $late{$_}->read_head(timeout => 60);

    is($r->{status}, $good ? 200 : 401, "an answer that begins afterwards: $_");
    ok($late{$_}->sse_next, "and goes on: $_") if $good;
}

$_->close for values %late;

my %why = map { $_->{token_id} => $_->{reason} } $t->audit_next(7);

is($why{$way{$_}{id}}, /other|roles/ ? 'client_gone' : 'token_revoked',
   "on record: $_") for sort keys %way;


# ---- in place, and by a link that is turned

open my $fh, '+<', $file or die "$file: $!";
seek $fh, -4, SEEK_END;
syswrite $fh, "# x\n";
ok($t->wait_for_log(qr/mcp_token_file ".*tokens" line \d+: .*/), 'no end');

my @lines = complaints(qr/the tokens that were there before stay/);
is(scalar @lines, $workers, 'each worker says so once');
my $last = 1 + ($store->text =~ tr/\n//);
like($lines[0], qr/ line (?:$last|@{[ $last - 1 ]}): /, 'and where');
ok(everywhere('ok', $always), 'half-written: what was there stays');

my $more = pat();
my $line = $store->line($more);

syswrite $fh, substr $line, 0, 40;
sleep 0.6;
is(got($always), 'ok', 'half a line');
syswrite $fh, substr($line, 40) . "\nen";
sleep 0.6;
is(got($more), '401 token_unknown', 'nearly all of it');
syswrite $fh, "d\n";
ok(everywhere('ok', $more), 'all of it, written in place');
close $fh;

for my $n (1, 2) {
    my $one = pat();

    $t->write_file("version-$n", $store->text);
    symlink "version-$n", "$file.link" or die "symlink: $!";
    rename "$file.link", $file or die "rename: $!";
    ok(everywhere('ok', $one), "a link to version $n");
}


# ---- broken: the master starts the minute of silence anew for each nginx, so
# each kind has one of its own

my $secret = 'do-not-print-this';
my $good = $store->line($always);

my @broken = (
    ['a key that a newer mcpctl wrote', sub {
        $store->write("\n$good cidr=$secret\nend\n") }, qr/line 2: /],
    ['an empty file', sub { $store->write('') }, qr/is not complete/],
    ['binary', sub { $store->write(join '', map { chr } 0 .. 255) },
     qr/line \d+: /],
    ['more behind the end', sub {
        $store->write("$good\nend\n$secret\n") }, qr/line \d: /],
    ['the same twice', sub { $store->write("$good\n\n$good\nend\n") },
     qr/line 3: /],
    ['gone', sub { unlink $file }, qr/cannot be opened.*No such file/],
    ['a directory', sub { unlink $file; mkdir $file },
     qr/is not a regular file/],
    ['a pipe', sub { unlink $file; mkfifo($file, 0600) },
     qr/is not a regular file/],
    ['too large', sub {
        unlink $file; open my $f, '>', $file; truncate $f, 65 * 1024 * 1024 },
     qr/is too large/],
    ['not for us', sub {
        return chmod 0, $file if $> != 0;
        $store->write("$good\nend\n"); chmod 0600, $file },
     qr/cannot be opened.*Permission denied/, 1],
);

for (@broken) {
    my ($what, $break, $re, $user) = @$_;

    $t->stop;
    rmdir $file if -d $file;
    unlink $file;
    $store->write;

    if ($user && $> == 0) {
        chmod 0755, $t->dir;
        my $conf = $t->read_file('nginx.conf');
        my $group = getgrgid((getpwnam('nobody'))[3]);
        $t->write_file('nginx.conf',
                       $conf =~ s/user root;/user nobody $group;/r);
        chmod 0644, $file;
    }

    $t->start;
    $said = length $t->read_log;
    is(got($always), 'ok', "$what: before");

    $break->();
    @lines = complaints($re);
    is(scalar @lines, $workers, "$what: each worker says so once");
    like($lines[0] // '', $re, "$what: and what");
    ok(everywhere('ok', $always), "$what: what was there stays");
    is(got({ token => MCP::Token::unknown() }),
       '401 token_unknown', "$what: and no more");

    if ($what eq 'gone') {

        # nor does nginx start with it, or take it at a reload

        my ($ok, $text) = $t->check($t->read_file('nginx.conf'));
        is($ok, 0, "$what: nginx -t refuses it");
        like($text, qr/tokens" cannot be opened .*No such file|No such file/,
             "$what: and says why");
        $t->allow_log(qr/\[emerg\].*mcp_token_file/);
        is($t->reload, 0, "$what: a reload is refused");
        is(got($always), 'ok', "$what: and changes nothing");
    }

    rmdir $file if -d $file;
    unlink $file if -p $file;

    my $after = pat();
    $store->write;
    chmod 0644, $file;
    ok(everywhere('ok', $after), "$what: it is there again");
    $said = length $t->read_log;
}


# ---- a worker that is new has what is there now, not what the master read

my $late = pat();

$store->drop($always);
$store->write;
ok(everywhere('ok', $late), 'later');
$t->allow_log(qr/exited on signal 9/);
kill KILL => $t->workers;
$t->wait_for_log(qr/(?:exited on signal 9.*){$workers}/s);
MCP::Test::wait_until(10, sub { $t->workers == $workers });
ok(everywhere('ok', $late), 'workers that were started anew');
is(got($always), '401 token_unknown', 'do not know what was there at first');

# and whoever cannot read it says so at once

if ($> == 0) {
    $t->stop;
    chmod 0600, $file;
    $said = length $t->read_log;
    $t->start;
    @lines = complaints(qr/Permission denied/);
    is(scalar @lines, $workers, 'a file that only root can read');
    is(got($late), 'ok', 'what the master read is in force');
}

unlike($t->read_log, qr/\Q$secret\E|[0-9a-f]{8}:[0-9a-f]{16}|mcpp_\w{20}/,
       'error.log shows nothing of the file');

done_testing;

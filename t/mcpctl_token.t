#!/usr/bin/perl

# mcpctl token create, list, rotate, revoke, on a file and on Redis: what is
# kept, what is shown, what is refused, and what is recorded.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fcntl ();
use MIME::Base64 qw/ encode_base64 /;
use POSIX ();

use MCP::Test;
use MCP::Ctl;
use MCP::Redis;

my $t = MCP::Test->new;
my $d = $t->dir;
my $iss = 'https://idp.example.com/default';

$t->write_file('key', encode_base64('k' x 48, '') . "\n");

sub conf {
    my ($name, $stores) = @_;

    return $t->write_file($name, <<"END");
events { }
http {
    mcp_audit $d/audit.log;
    mcp_token_key $d/key;
    $stores
    mcp_issuer okta { issuer $iss; jwks_uri https://idp.example.com/keys; }
    mcp_server jira { resource https://x/jira; issuer okta; tokens on;
                      role support { allow tool x; }
                      role engineer { allow tool *; } }
    mcp_server wiki { resource https://x/wiki; issuer okta;
                      role reader { allow tool x; } }
    server {
        location /jira { mcp_auth jira; }
        location /wiki { mcp_auth wiki; }
    }
}
END
}

sub audit { map { JSON::PP::decode_json($_) }
            split /\n/, -f "$d/audit.log" ? $t->read_file('audit.log') : '' }

no warnings 'qw';        # a comma is part of it

my @who = qw/ token create --user 00u1 --roles support,engineer
              --servers jira --expires 90d /;


# ---- both stores

sub store {
    my ($name, $ctl) = @_;

    unlink "$d/audit.log";

    my $r = $ctl->run(@who, '--label', 'laptop, old');

    is($r->{code}, 0, "$name: a PAT") or diag($r->{err});
    like($r->{out}, qr/\Amcpp_[0-9A-Za-z]{49}\n\z/, 'alone on stdout');
    like($r->{err}, qr/^pat-\w{12}, until 20.*not shown again\n\z/m, 'its id');

    my ($pat) = $r->{out} =~ /(\S+)/;
    my ($id) = $r->{err} =~ /(pat-\w+)/;

    $r = $ctl->run(qw/ --json token create --service ci --roles support
                       --servers * --expires 2037-01-31 --scopes a,b /);
    is($r->{code}, 0, 'a VAT');
    is($r->{json}{service}, 'ci', 'its account');
    is_deeply($r->{json}{servers}, ['*'], 'all servers');
    is_deeply($r->{json}{scopes}, [qw/ a b /], 'scopes');
    is($r->{json}{expires}, '2037-01-31T00:00:00Z', 'to the day');

    my $vat = $r->{json}{token};
    my $vid = $r->{json}{id};

    like($vat, qr/^mcpv_\w{49}$/, 'the token');
    is($r->{json}{hint}, substr($vat, -4), 'and how it ends');

    $r = $ctl->run(qw/ --json token list /);
    is_deeply([sort map { $_->{id} } @{$r->{json}}], [sort $id, $vid],
              'both are there');

    my ($mine) = grep { $_->{id} eq $id } @{$r->{json}};

    is("$mine->{kind} $mine->{user} $mine->{issuer} $mine->{label} "
       . "$mine->{state} $mine->{store}",
       "pat 00u1 $iss laptop, old good $name", 'as it was made');

    is(scalar @{$ctl->run(qw/ --json token list --user 00u1 /)->{json}}, 1,
       'of a user');
    is(scalar @{$ctl->run(qw/ --json token list --user 00u /)->{json}}, 0,
       'who has that name to the letter');
    is($ctl->run(qw/ --json token list --service ci /)->{json}[0]{id}, $vid,
       'of a service');
    like($ctl->run(qw/ token list /)->{out}, qr/^\Q$id\E +00u1 +support,engineer/m,
         'as a table');

    # rotate

    $r = $ctl->run(qw/ --json token rotate --overlap 10m /, $id);
    is($r->{code}, 0, 'rotated') or diag($r->{err});
    is($r->{json}{replaces}, $id, 'in place of the old one');
    is($r->{json}{label}, 'laptop, old', 'with its label');
    isnt($r->{json}{token}, $pat, 'another token');

    my $new = $r->{json}{id};
    my %is = map { $_->{id} => $_ }
             @{$ctl->run(qw/ --json token list /)->{json}};

    is($is{$id}{state}, 'good', 'the old one is good a little longer');
    cmp_ok($is{$id}{expires}, 'lt', $is{$new}{expires}, 'but not for long');

    $r = $ctl->run(qw/ token rotate --overlap 0 /, $new);
    is($r->{code}, 0, 'rotated at once') or diag($r->{err});
    my ($newer) = $r->{err} =~ /(pat-\w+), until/;

    %is = map { $_->{id} => $_ }
          @{$ctl->run(qw/ --json token list --all /)->{json}};
    is($is{$new}{state}, 'revoked', 'the old one is revoked');
    is($ctl->run(qw/ token rotate /, $new)->{code}, 1, 'and cannot be rotated');

    # revoke

    $r = $ctl->run(qw/ token revoke --reason lost /, $vid);
    is($r->{code}, 0, 'revoked');
    is($r->{out}, "revoked: $vid of service ci\n", 'which is said');
    is($ctl->run(qw/ token revoke /, $vid)->{code}, 0, 'once more');
    %is = map { $_->{id} => $_ }
          @{$ctl->run(qw/ --json token list --all /)->{json}};
    is($is{$vid}{state}, 'revoked', 'on record');
    is($ctl->run(qw/ token revoke vat-000000000000 /)->{code}, 1,
       'one that is not there');

    $r = $ctl->run(qw/ --json revocations /);
    ok(scalar(grep { $_->{type} eq 'token' && $_->{value} eq $vid
                     && !$_->{issuer} && $_->{until} } @{$r->{json}}),
       'with a watermark, which ends with it');

    # the owner falls

    is($ctl->run(qw/ revoke --user 00u1 --reason left /)->{code}, 0, 'left');
    %is = map { $_->{id} => $_ }
          @{$ctl->run(qw/ --json token list --all /)->{json}};
    is($is{$newer}{state}, 'fallen', 'what the user had fell');

    $r = $ctl->run(qw/ token rotate /, $newer);
    is($r->{code}, 1, 'no new token by way of an old one');
    is($r->{out}, '', 'none is shown');
    like($r->{err}, qr/falls under "user \Q$iss\E 00u1 .*--force/, 'why');
    is($ctl->run(qw/ token rotate --force /, $newer)->{code}, 0,
       'unless it is meant');

    # the record of each

    my @lines = audit();

    is_deeply([map { "$_->{ev} $_->{method}" } @lines[0 .. 1]],
              ['token token/create', 'token token/create'], 'recorded');
    is("$lines[0]{user} $lines[0]{auth} $lines[0]{token_id} $lines[0]{by}",
       "00u1 pat $id " . getpwuid($<), 'who, what, and by whom');
    is("$lines[1]{client} $lines[1]{auth}", 'ci vat', 'a service');

    my $written = $t->read_file('audit.log')
                . join '', map { $t->read_file($_) }
                  grep { -f "$d/$_" } qw/ tokens revoked /;

    unlike($written, qr/\Q$pat\E|\Q$vat\E/, 'no token in any file');
}

my $files = MCP::Ctl->new(conf('files.conf',
    "mcp_token_file $d/tokens; mcp_revocation_file $d/revoked;"));

store('file', $files);

my $redis = MCP::Redis->start($t, port => 0);
my $in_redis = MCP::Ctl->new(conf('redis.conf',
    'mcp_redis { server ' . $redis->server . '; }'));

store('redis', $in_redis);

is($redis->command('HLEN', 'mcp:tokens'), 5, 'all have a place in the index');
like($redis->command('GET', 'mcp:tok:' . $redis->command('HGET', 'mcp:tokens',
         $in_redis->run(qw/ --json token list --all --user 00u1 /)
                  ->{json}[0]{id})),
     qr/^pat pat-\w{12} [0-9a-f]{8}:[0-9a-f]{64} /, 'by its hash');


# ---- refused

for (['no owner', 2, qw/ token create --roles support --servers jira
                         --expires 1d /],
     ['two owners', 2, @who, '--service', 'x'],
     ['no roles', 2, qw/ token create --user a --servers jira --expires 1d /],
     ['a role that is not there', 1, qw/ token create --user a --roles boss
                                         --servers jira --expires 1d /],
     ['a server that is not there', 1, qw/ token create --user a --roles support
                                           --servers mail --expires 1d /],
     ['an issuer that is not there', 1, @who, '--issuer', 'https://other'],
     ['an issuer of a service', 2, qw/ token create --service a --roles support
         --servers jira --expires 1d --issuer okta /],
     ['the past', 1, qw/ token create --user a --roles support --servers jira
                         --expires 2020-01-01 /],
     ['two years', 1, qw/ token create --user a --roles support --servers jira
                          --expires 730d /],
     ['no time', 2, qw/ token create --user a --roles support --servers jira
                        --expires 90 /],
     ['a control character', 2, qw/ token create --roles support --servers jira
                                    --expires 1d --user /, "a\nb"],
     ['every role', 1, qw/ token create --force --user a --roles *
                           --servers jira --expires 1d /],
     ['no scope', 3, @who, '--scopes', 'a,b c'],
     ['33 servers', 2, qw/ token create --force --user a --roles support
                           --expires 1d --servers /,
                       join ',', map { "s$_" } 1 .. 33],
     ['a long record', 3, qw/ token create --force --user a --servers jira
                              --expires 1d --roles /,
                          join ',', map { "r$_" . 'x' x 200 } 1 .. 30],
     ['a token for its id', 2, qw/ token revoke /, 'mcpp_' . 'A' x 49],
     ['a token for its id', 2, qw/ token rotate /, 'mcpv_' . 'A' x 49],
     ['a store that is not there', 3, @who, qw/ --store redis /])
{
    my ($what, $code, @args) = @$_;
    my $before = $t->read_file('tokens');
    my $r = $files->run(@args);

    is($r->{code}, $code, "$what: refused") or diag($r->{err});
    is($r->{out}, '', 'nothing on stdout');
    unlike($r->{err}, qr/AAAA/, 'a token is not repeated');
    is($t->read_file('tokens'), $before, 'nothing is changed');
}

# a record that no gateway could read is not written to Redis either

for (['no scope', @who, '--scopes', 'a,b c'],
     ['a long record', qw/ token create --force --user a --servers jira
                           --expires 1d --roles /,
                       join ',', map { "r$_" . 'x' x 200 } 1 .. 30])
{
    my ($what, @args) = @$_;
    my $n = $redis->command('HLEN', 'mcp:tokens');

    is($in_redis->run(@args)->{code}, 3, "$what: Redis: refused");
    is($redis->command('HLEN', 'mcp:tokens'), $n, 'nothing is changed');
}

is($files->run(qw/ token create --force --user b --roles boss --servers mail
                   --expires 730d --issuer https:\/\/other /)->{code}, 0,
   '--force: it is meant');
like($files->run(qw/ token create --user b --roles reader --servers wiki
                     --expires 1d /)->{err},
     qr/"wiki" does not accept tokens/, 'a server without them is warned of');


# ---- the file

chmod 0640, "$d/tokens";
my $inode = (stat "$d/tokens")[1];

$files->run(@who);
isnt((stat "$d/tokens")[1], $inode, 'the file is replaced');
is((stat "$d/tokens")[2] & 0777, 0640, 'its mode stays');

# n at once; how many failed

sub at_once {
    my ($ctl, $n, @args) = @_;

    my @pids = map {
        my $pid = fork // die "fork: $!";
        if ($pid == 0) {
            my $r = $ctl->run(@args);
            require POSIX;
            POSIX::_exit($r->{code});
        }
        $pid;
    } 1 .. $n;

    my $failed = 0;
    for (@pids) { waitpid $_, 0; $failed++ if $? }

    return $failed;
}

for (['file', $files], ['redis', $in_redis]) {
    my ($name, $ctl) = @$_;
    my @many = qw/ token create --service many --roles support --servers jira
                   --expires 1d /;

    is(at_once($ctl, 20, @many), 0, "$name: 20 at once");
    is(scalar @{$ctl->run(qw/ --json token list --service many /)->{json}}, 20,
       'lose nothing');

    # each changes the record that all others change as well

    my $id = $ctl->run('--json', @many)->{json}{id};
    my $failed = at_once($ctl, 4, qw/ token rotate /, $id);
    my $list = $ctl->run(qw/ --json token list --service many /)->{json};

    is($failed, 0, "$name: 4 rotations of one token at once");
    is(scalar(grep { ($_->{replaces} // '') eq $id } @$list), 4,
       'are 4 tokens in its place');

    is(at_once($ctl, 4, qw/ token revoke /, $id), 0, "$name: 4 revocations");
}

# who comes second has a record for each try; under the lock there is one

is(scalar(grep { $_->{decision} ne 'allow' && $_->{store} eq 'file'
                 && $_->{method} ne 'token/revoke' } audit()),
   0, 'under the lock nobody failed on the way');
like($t->read_file('tokens'), qr/\nend\n\z/, 'and the file is whole');

# a new one is for the workers to read; what was revoked above would be named,
# were it still the same second

$t->write_file('revoked', "end\n");

SKIP: {
    my ($gid) = (getpwnam 'www-data')[3];
    skip 'not root, or no www-data', 7 if $> || !defined $gid;

    my $conf = $t->read_file('files.conf');

    for (['www-data', 0700, qr/cannot look into/], ['www-data', 0711, qr/^pat/],
         ['root', 0700, qr/^pat/])
    {
        my ($user, $mode, $said) = @$_;

        mkdir "$d/new";
        chmod $mode, $d;
        $t->write_file('new.conf', "user $user;\n"
                       . $conf =~ s!$d/tokens!$d/new/tokens!r);
        my $r = MCP::Ctl->new("$d/new.conf")->run(@who);

        like($r->{err}, $said, "$user, directory with mode "
             . sprintf('%o', $mode));
        my @st = stat "$d/new/tokens";
        is($st[2] & 0777, 0640, 'a new file: its mode') if $mode == 0700;
        is($st[5], (getpwnam $user)[3], 'its group');
        unlink glob "$d/new/*";
    }

    chmod 0700, $d;
}


# what people wrote into it stays

my $hand = "# tokens of the gateway\n\n"
         . $t->read_file('tokens') =~ s/\nend\n\z/\n# the last one\n\nend\n/r;

$t->write_file('tokens', $hand);
rename "$d/tokens", "$d/tokens.real" or die;
symlink 'tokens.real', "$d/tokens" or die;
is($files->run(@who)->{code}, 0, 'a file with comments');

my $line = ($t->read_file('tokens') =~ /^(pat .*)\nend$/m)[0];

is($t->read_file('tokens'), $hand =~ s/end\n\z/$line\nend\n/r,
   'stays what it is but for the new line');
ok(-l "$d/tokens", 'a link stays a link');
unlink "$d/tokens";
rename "$d/tokens.real", "$d/tokens" or die;

# A writer that is killed just before the last step: the audit log is a FIFO that
# is full, where it waits with the new file ready beside the old one.

sub stuck {
    my ($ctl, $new) = @_;
    my $log = "$d/audit.log";

    rename $log, "$log.away";
    POSIX::mkfifo($log, 0600) or die "mkfifo: $!";
    sysopen my $fifo, $log, Fcntl::O_RDWR() | Fcntl::O_NONBLOCK() or die;
    1 while syswrite $fifo, 'x' x 4096;

    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        open STDOUT, '>', '/dev/null';
        open STDERR, '>', '/dev/null';
        exec $MCP::Ctl::MCPCTL, '--conf', $ctl->{conf}, @who;
    }

    my $ready = MCP::Test::wait_until(10, sub { -s $new
        && do { open my $fh, '<', "/proc/$pid/wchan"; <$fh> // '' }
           =~ /pipe_w/ });
    kill 'KILL', $pid;
    waitpid $pid, 0;
    unlink $log;
    rename "$log.away", $log;

    return $ready;
}

my $whole = $t->read_file('tokens');

ok(stuck($files, "$d/tokens.tmp"), 'a writer is stopped in the last step');
is($t->read_file('tokens'), $whole, 'killed there: the old file');
like($t->read_file('tokens.tmp'), qr/\nend\n\z/, 'and the new one beside it');
is($files->run(@who)->{code}, 0, 'the next one is not in its way');
ok(!-e "$d/tokens.tmp", 'and cleans up');

$whole = $t->read_file('tokens');

for (['half-written', $whole =~ s/end\n\z//r],
     ['a broken line', $whole =~ s/ roles=support/ rolls=support/r])
{
    $t->write_file('tokens', $_->[1]);
    my $r = $files->run(@who);
    is($r->{code}, 3, "$_->[0]: refused");
    like($r->{err}, qr/tokens.*\d|end/, 'where is said');
    is($t->read_file('tokens'), $_->[1], 'and nothing is changed');
}

$t->write_file('tokens', $whole);


# ---- an owner who is revoked, until later than now

my $later = MCP::Redis::timestamp(time + 60);

$t->write_file('revoked', "user $iss 00u1 $later\nend\n");
like($files->run(@who)->{err}, qr/the token is of no use.*unrevoke/s,
     'a token of somebody who is revoked is warned of');
$t->write_file('revoked', "end\n");
$whole = $t->read_file('tokens');


# ---- nothing unrecorded

unlink "$d/audit.log";
mkdir "$d/audit.log";

my $r = $files->run(@who);
is($r->{code}, 3, 'an audit log that cannot be written');
like($r->{err}, qr/audit log.*nothing was changed/, 'is said');
is($t->read_file('tokens'), $whole, 'nothing is changed');
is($files->run(@who, '--no-audit')->{code}, 0, '--no-audit: it is meant');
rmdir "$d/audit.log";


# ---- Redis that is not there, or not ours

$redis->kill;
$r = $in_redis->run(@who);
is($r->{code}, 3, 'Redis is down');
is($r->{out}, '', 'no token');

my $closed = MCP::Redis->start($t, port => 0, name => 'closed',
                               password => 'sesame');

for (['wrong', 3], ['sesame', 0]) {
    $t->write_file('word', "$_->[0]\n");
    my $ctl = MCP::Ctl->new(conf('password.conf', 'mcp_redis { server '
        . $closed->server . "; password file:$d/word; }"));
    $r = $ctl->run(@who);
    is($r->{code}, $_->[1], "password $_->[0]") or diag($r->{err});
}

my $tls = MCP::Redis->start($t, name => 'tls', tls => 1, port => 6390);
my $port = port(6390);

for (['127.0.0.1', '', 0], ['127.0.0.1', 'ssl_name other.example.com;', 3]) {
    my $ctl = MCP::Ctl->new(conf('tls.conf',
        "mcp_redis { server $_->[0]:$port; tls on; $_->[1] "
        . "ssl_trusted_certificate $d/ca.pem; }"));
    $r = $ctl->run(@who);
    is($r->{code}, $_->[2], "TLS to $_->[0] $_->[1]") or diag($r->{err});
}

my $ctl = MCP::Ctl->new(conf('ca.conf', "mcp_redis { server 127.0.0.1:$port; "
                                        . "tls on; }"));
is($ctl->run(@who)->{code}, 3, 'TLS with another CA');

done_testing;

#!/usr/bin/perl

# mcpctl and Redis: two stores at once, what is never made weaker, what is
# forgotten; a Redis whose clock is wrong, that answers nonsense, too much, or
# not at all, or that forbids what is asked.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use MIME::Base64 qw/ encode_base64 /;
use POSIX qw/ strftime /;
use Time::HiRes ();

use MCP::Test;
use MCP::Ctl;
use MCP::Redis;

my $t = MCP::Test->new;
my $d = $t->dir;
my $iss = 'https://idp.example.com/default';

$t->write_file('key', encode_base64('k' x 48, '') . "\n");

sub conf {
    my ($name, $stores) = @_;

    return MCP::Ctl->new($t->write_file($name, <<"END"));
events { }
http {
    mcp_audit $d/audit.log;
    mcp_token_key $d/key;
    $stores
    mcp_issuer okta { issuer $iss; jwks_uri https://idp.example.com/keys; }
    mcp_server jira { resource https://x/jira; issuer okta; tokens on;
                      role support { allow tool x; } }
    server { location /jira { mcp_auth jira; } }
}
END
}

sub audit {
    my $text = -f "$d/audit.log" ? $t->read_file('audit.log') : '';
    unlink "$d/audit.log";
    return map { JSON::PP::decode_json($_) } split /\n/, $text;
}

sub stamp { strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $_[0]) }

my @who = qw/ token create --user 00u1 --roles support --servers jira
              --expires 90d /;
my @alice = qw/ --user alice /;


# ---- a file and Redis

my $redis = MCP::Redis->start($t, port => 0);
my $server = $redis->server;
my $both = conf('both.conf', "mcp_token_file $d/tokens; "
                . "mcp_revocation_file $d/revoked; "
                . "mcp_redis { server $server; database 3; prefix g:; }");

sub rows { @{$both->run(qw/ --json revocations /, @_)->{json}} }
sub stores { join ' ', sort map { $_->{store} } @_ }
sub redis_at { $redis->command('HGET', 'g:rev', "user $iss alice") // '' }

$redis->command('SELECT', 3);

is($both->run('revoke', @alice)->{code}, 0, 'both stores');
is(stores(rows()), 'redis', 'Redis comes first');
like(redis_at(), qr/^\d{16} user \Q$iss\E alice 20/,
     'in its database, under its prefix');
is($both->run('revoke', @alice, qw/ --store file /)->{code}, 0,
   '--store file');
is(stores(rows()), 'file redis', 'now in both');
is(stores(rows(qw/ --store file /)), 'file', 'those of one');

my $r = $both->run('unrevoke', @alice);

is($r->{code}, 0, 'lifted') or diag($r->{err});
like($r->{out}, qr/^not revoked any more: user alice of \Q$iss\E$/, 'is said');
is(stores(rows()), '', 'in both');
is($t->read_file('revoked') =~ /alice/ ? 1 : 0, 0, 'the line is gone');
like(redis_at(), qr/ alice - until=/, 'in Redis it is lifted, for a while');
is(stores(rows(qw/ --all /)), 'redis', 'which --all shows');
is($both->run('unrevoke', @alice)->{code}, 1, 'once only');

my %made;

for my $store (qw/ file redis /) {
    my $r = $both->run('--json', @who, '--store', $store);
    $made{$store} = $r->{json}{id};
}

is(stores(@{$both->run(qw/ --json token list /)->{json}}), 'file redis',
   'tokens of both');

for my $store (qw/ file redis /) {
    is($both->run(qw/ token revoke /, $made{$store})->{code}, 0,
       "a token of $store is found by its id");
    my ($row) = grep { $_->{value} eq $made{$store} } rows();
    is($row->{store}, $store, 'its watermark is there too');
}


# ---- never weaker than it was

my $far = time + 3600;

$redis->revoke(user => 'bob', issuer => $iss, at => $far);

for my $how ([], [qw/ --for 1h /]) {
    $redis->{prefix} = 'g:';
    $redis->revoke(user => 'bob', issuer => $iss, at => $far);
    $r = $both->run(qw/ --json revoke --user bob /, @$how);
    is($r->{json}{at}, stamp($far), 'the moment does not move back');
    is($r->{json}{until}, undef, 'it is not forgotten earlier');
}

like($r->{err}, qr/revoked for longer/, 'which is said');

$both->run(qw/ revoke --user carol --for 1h /);
$r = $both->run(qw/ --json revoke --user carol --for 2h /);
cmp_ok($r->{json}{until}, 'gt', stamp(time + 5400), 'but later it may be');
is($both->run(qw/ --json revoke --user carol /)->{json}{until}, undef,
   'or never');

for (['over', 1, '2020-01-01'], ['now', 1, '0'], ['no time', 2, 'soon'],
     ['no day', 2, '2026-02-30'])
{
    is($both->run(qw/ revoke --user dave --for /, $_->[2])->{code}, $_->[1],
       "--for $_->[2]: $_->[0]");
}

is(scalar(grep { $_->{value} eq 'dave' } rows(qw/ --all /)), 0,
   'nothing of it is there');


# ---- what was forgotten long ago goes, the rest stays

my %old = (week => 6 * 86400, weeks => 8 * 86400);

$redis->revoke(user => $_, issuer => $iss, at => time - 30 * 86400,
               until => time - $old{$_}) for keys %old;
$redis->command('HSET', 'g:rev', "user $iss junk", 'junk');

$r = $both->run(qw/ revoke --user erin /);
is($r->{code}, 0, 'a revocation') or diag($r->{err});
is($redis->command('HEXISTS', 'g:rev', "user $iss weeks"), 0,
   'forgotten for more than a week: gone');
is($redis->command('HEXISTS', 'g:rev', "user $iss week"), 1, 'less: there');
is($redis->command('HEXISTS', 'g:rev', "user $iss junk"), 1,
   'what cannot be read is left');

$r = $both->run(qw/ --json revocations /);
is($r->{code}, 3, 'and is told of');
like($r->{err}, qr/junk/, 'by name');
ok(scalar(grep { $_->{value} eq 'erin' } @{$r->{json}}), 'with all the others');
$redis->command('HDEL', 'g:rev', "user $iss junk");

# ids whose records have gone

$redis->command('DEL', 'g:tok:' . $redis->command('HGET', 'g:tokens',
                                                  $made{redis}));
is($both->run(qw/ token revoke /, $made{redis})->{code}, 1,
   'a record that has gone is none');
is($both->run(qw/ token list --all /)->{code}, 0, 'the list goes on');
is($redis->command('HEXISTS', 'g:tokens', $made{redis}), 0, 'its id goes');

# one under another's id

my ($id) = map { $_->{json}{id} } $both->run('--json', @who);
$redis->command('HSET', 'g:tokens', 'pat-000000000000',
                $redis->command('HGET', 'g:tokens', $id));
$r = $both->run(qw/ token revoke pat-000000000000 /);
is($r->{code}, 3, "another token's record");
like($r->{err}, qr/that of another token/, 'is not taken for it');
$redis->command('HDEL', 'g:tokens', 'pat-000000000000');

like($both->run(qw/ --verbose revoke --user frank /)->{err},
     qr/^mcpctl: 0 workers .*nobody was told/m, '--verbose: nobody listens');


# ---- what Redis forbids

my $strict = MCP::Redis->start($t, port => 0, name => 'strict',
    admin => [qw/ default /, ''],
    users => ['default on nopass ~* &* +@all',
              'op on >sesame-op ~* &* +@all -eval']);

$t->write_file('word', "sesame-op\n");
audit();

my $op = conf('op.conf', 'mcp_redis { server ' . $strict->server
              . "; user op; password file:$d/word; }");

$r = $op->run('revoke', @alice);
is($r->{code}, 3, 'Redis forbids it');
like($r->{err}, qr/refused EVAL: NOPERM/, 'why');
unlike($r->{err}, qr/sesame-op/, 'no password');
is(join(' ', map { "$_->{decision} " . ($_->{reason} // '-') } audit()),
   'allow - error store', 'the record says that it failed');

$t->write_file('word', "guess\n");
$r = $op->run('revoke', @alice);
is($r->{code}, 3, 'a wrong password');
like($r->{err}, qr/refused AUTH/, 'is said');
is(scalar(my @none = audit()), 0, 'and nothing is recorded: nothing was done');


# ---- one that is not Redis.  answer: bytes for a command with its arguments,
# or undef: nothing; asked: what was asked, a line each

my $fake;

sub fake {
    my ($answer) = @_;

    fake_end();

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5,
                                       LocalPort => port(6400),
                                       ReuseAddr => 1) or die "listen: $!";

    $fake = fork // die "fork: $!";
    return if $fake;

    $SIG{PIPE} = 'IGNORE';
    open my $log, '>', "$d/asked" or die;
    $log->autoflush(1);

    while (my $c = $listen->accept) {
        while (my $line = <$c>) {
            my ($n) = $line =~ /^\*(\d+)/ or last;
            my @args = map { my ($len) = <$c> =~ /^\$(\d+)/;
                             read $c, my $v, $len + 2;
                             substr $v, 0, $len } 1 .. $n;
            print $log join("\x01", map { s/\n/ /gr } @args), "\n";
            my $bytes = $answer->(@args);
            last if defined $bytes && $bytes eq 'close';
            print $c $bytes if defined $bytes;
            $c->flush;
        }
    }

    POSIX::_exit(0);
}

sub fake_end {
    return unless $fake;
    kill 'KILL', $fake;
    waitpid $fake, 0;
    undef $fake;
}

END { fake_end() }

sub asked { grep { /^\Q$_[0]\E\x01/ } split /\n/, $t->read_file('asked') }

sub bulk { '$' . length($_[0]) . "\r\n$_[0]\r\n" }
sub clock { my $s = time + $_[0]; "*2\r\n" . bulk($s) . bulk(0) }

sub well {
    my ($cmd, $ahead, $eval) = @_;

    return $cmd eq 'TIME' ? clock($ahead)
         : $cmd eq 'HSCAN' ? "*2\r\n" . bulk('0') . "*0\r\n"
         : $cmd eq 'HGET' ? "\$-1\r\n"
         : $cmd eq 'EVAL' ? $eval : "-ERR unknown\r\n";
}

my $there = conf('fake.conf', 'mcp_redis { server 127.0.0.1:' . port(6400)
                 . '; }');

# what does not know AUTH repeats what it was asked

$t->write_file('word', "sesame-op\n");
fake(sub { "-ERR unknown command 'AUTH', with args beginning with: '$_[1]' "
           . "'$_[2]' \r\n" });
$r = conf('proxy.conf', 'mcp_redis { server 127.0.0.1:' . port(6400)
          . "; user op; password file:$d/word; }")->run('revoke', @alice);
is($r->{code}, 3, 'it is no Redis that has passwords');
like($r->{err}, qr/refused AUTH: ERR$/m, 'is said');
unlike($r->{err}, qr/sesame-op/, 'but for the password');
audit();



# ---- its clock

for my $ahead (1000, -1000) {
    my $before = time;

    fake(sub { well($_[0], $ahead, bulk('done')) });

    $r = $there->run('revoke', @alice);
    is($r->{code}, 0, "its clock is $ahead s ahead") or diag($r->{err});
    like($r->{err}, qr/clock of Redis is (?:999|100[01]) s \w/,
         'which is said');

    my ($at) = (asked('EVAL'))[0] =~ /alice (20\S+Z)/;
    my $want = $before + ($ahead > 0 ? $ahead : 0);

    ok($at ge stamp($want - 2) && $at le stamp($want + 30),
       'a revocation is of the clock that is ahead') or diag($at);

    is($there->run(@who)->{code}, 0, 'a token');

    my ($created) = (asked('EVAL'))[1] =~ / created=(20\S+Z)/;
    $want = $before + ($ahead < 0 ? $ahead : 0);

    ok($created ge stamp($want - 2) && $created le stamp($want + 30),
       'is of the one that is behind') or diag($created);
}


# ---- its answers

audit();

for (['nonsense', "HTTP/1.1 400 Bad Request\r\n\r\n"],
     ['an empty line', "\r\n"],
     ['RESP3', "%1\r\n+a\r\n+b\r\n"],
     ['a number', ":1\r\n"],
     ['no time', "*2\r\n" . bulk('x') . bulk('0')],
     ['an empty list', "*0\r\n"],
     ['a list of 2^31 - 1', "*2147483647\r\n"],
     ['a list of more', "*9999999999\r\n"],
     ['a length below 0', "\$-5\r\nabcde\r\n"],
     ['lists in lists', "*1\r\n" x 20 . ":1\r\n"],
     ['a million of them', "*1\r\n" x 1_000_000 . ":1\r\n"],
     ['two answers', clock(0) . clock(0)],
     ['an answer that is too long', '$99999999' . "\r\n" . 'x' x 17_000_000],
     ['the end', 'close'])
{
    my ($what, $bytes) = @$_;
    my $since = Time::HiRes::time();

    fake(sub { $bytes });
    $r = $there->run('revoke', @alice);
    is($r->{code}, 3, "answers $what") or diag($r->{err});
    like($r->{err}, qr/Redis 127\.0\.0\.1:\d+/, 'Redis is named');
    is(scalar(asked('EVAL')), 0, 'nothing was changed');
}

is(scalar(@none = audit()), 0, 'nothing is recorded');

for (['a list of half a field', "*2\r\n" . bulk('0') . "*1\r\n" . bulk('f')],
     ['no cursor', "*1\r\n" . bulk('0')],
     ['a field that is a number', "*2\r\n" . bulk('0') . "*2\r\n:1\r\n"
                                  . bulk('v')],
     ['a value that is none', "*2\r\n" . bulk('0') . "*2\r\n" . bulk('f')
                              . "\$-1\r\n"],
     ['a value that is a list', "*2\r\n" . bulk('0') . "*2\r\n" . bulk('f')
                                . "*1\r\n" . bulk('v')],
     ['a value that is empty', "*2\r\n" . bulk('0') . "*2\r\n" . bulk('f')
                               . bulk('')],
     ['a number for a list', ":3\r\n"])
{
    my ($what, $bytes) = @$_;

    fake(sub { $_[0] eq 'HSCAN' ? $bytes : well($_[0], 0) });
    is($there->run('revocations')->{code}, 3, "HSCAN answers $what");
}

# a stamp that a gateway would not take for one is none here

for my $stamp (' 5', '+5', '-5', "\t5", '0', '', '5x', '0x5', '5.0', '1e3',
               '9007199254740992', '99999999999999999999999', "5\0")
{
    my $value = "$stamp issuer $iss - 2026-01-01T00:00:00Z";

    fake(sub { $_[0] eq 'HSCAN' ? "*2\r\n" . bulk('0') . "*2\r\n"
                                  . bulk("issuer $iss -") . bulk($value)
               : well($_[0], 0) });
    $r = $there->run('revocations');
    is($r->{code}, 3, "the stamp '$stamp'");
    like($r->{err}, qr/has no stamp/, 'is none');
    unlike($r->{out}, qr/^issuer/m, 'and nothing is shown as revoked');
}

# fewer records than were asked for: no token goes unseen

my $two = "*2\r\n" . bulk('0') . "*4\r\n" . bulk('pat-a') . bulk('h' x 64)
          . bulk('pat-b') . bulk('i' x 64);

for (['none', "*0\r\n"], ['one of two', "*1\r\n\$-1\r\n"],
     ['three', "*3\r\n" . "\$-1\r\n" x 3])
{
    my ($what, $bytes) = @$_;

    fake(sub { $_[0] eq 'HSCAN' ? $two : $_[0] eq 'MGET' ? $bytes
               : well($_[0], 0, bulk('done')) });
    $r = $there->run(qw/ token list /);
    is($r->{code}, 3, "MGET answers $what");
    like($r->{err}, qr/makes no sense/, 'which is said');
    is(scalar(asked('EVAL')), 0, 'and nothing is forgotten');
}

# the change itself: nobody knows whether it was made

for (['a number', ":1\r\n"], ['the end', 'close'], ['nothing', undef]) {
    my ($what, $bytes) = @$_;

    fake(sub { well($_[0], 0, $bytes) });
    $r = $there->run('revoke', @alice);
    is($r->{code}, 3, "the change is answered with $what");
    like($r->{err}, qr/whether Redis did it is not known/, 'which is said');
    is(join(' ', map { $_->{decision} } audit()), 'allow error',
       'and recorded');
}

fake(sub { well($_[0], 0, undef) });
$r = $there->run(@who);
is($r->{code}, 3, 'a token whose record nobody knows of');
is($r->{out}, '', 'is not shown');

# records of credentials

$t->write_file('vault', 'k1 ' . encode_base64('k' x 32, '') . "\n");

my $creds = conf('creds.conf', "mcp_vault_keys $d/vault; mcp_redis { server "
                 . '127.0.0.1:' . port(6400) . '; } mcp_credential c { type '
                 . 'user; token_endpoint https://x/t; client_id i;'
                 . ' client_secret s; }');
my $hex = 'a' x 32;
my $names = "*2\r\n" . bulk('0') . "*1\r\n" . bulk($hex);
my $nil = "\$-1\r\n";

for (['a number', ":1\r\n"], ['no list', bulk('x')], ['none', "*0\r\n"],
     ['two', "*2\r\n" . "*7\r\n" . $nil x 6 . ":1\r\n" . ":1\r\n"],
     ['too few fields', "*1\r\n*6\r\n" . $nil x 6, 1],
     ['no TTL', "*1\r\n*7\r\n" . $nil x 7, 1],
     ['numbers', "*1\r\n*7\r\n" . ":1\r\n" x 7],
     ['a list for a field', "*1\r\n*7\r\n" . "*1\r\n:1\r\n" x 6 . ":1\r\n"],
     ['a version of 20 digits', "*1\r\n*7\r\n" . bulk('9' x 20)
      . bulk('active') . bulk('') x 2 . bulk('0') . $nil . ":1\r\n", 1],
     ['no state', "*1\r\n*7\r\n" . bulk('1') . $nil . bulk('') x 2
      . bulk('0') . $nil . ":1\r\n", 1],
     ['a value that is too long', "*1\r\n*7\r\n" . bulk('1')
      . bulk('active') . bulk('x' x 70_000) . bulk('') . bulk('0') . $nil
      . ":1\r\n", 1],
     ['the end', 'close'])
{
    my ($what, $bytes, $named) = @$_;

    for my $command ([qw/ credential list /], [qw/ vault rekey /],
                     [qw/ credential delete --record /, $hex])
    {
        fake(sub { $_[0] eq 'SSCAN' ? $names : $bytes });
        my $r = $creds->run(@$command);
        is($r->{code}, 3, "@$command[0, 1]: a record is answered with $what")
            or diag($r->{err});
        like($r->{err}, qr/the record $hex in Redis is none/, 'which is named')
            if $named;
    }
}

for (['a number', ":1\r\n"], ['an empty list', "*0\r\n"],
     ['a list of text', "*1\r\n" . bulk('1')], ['the end', 'close'])
{
    my ($what, $bytes) = @$_;
    my $read = "*1\r\n*7\r\n" . $nil x 6 . ":-2\r\n";

    audit();
    fake(sub { $_[0] ne 'EVAL' ? "-ERR\r\n"
               : $_[1] =~ /HDEL/ ? $bytes : $read });
    my $r = $creds->run({ stdin => '{"access_token":"a","expires_in":9}' },
                        qw/ credential import c --user u /);
    is($r->{code}, 3, "an import is answered with $what") or diag($r->{err});
    is(join(' ', map { $_->{decision} } audit()), 'allow error',
       'and recorded');
}

fake_end();
done_testing;

#!/usr/bin/perl

# mcpctl vault rekey and new-key: every record under the first key, whoever made
# it; again and again the same; what others write meanwhile, and a refresh that
# is under way, is not lost.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP qw/ encode_json /;
use POSIX ();

use MCP::Test;
use MCP::Ctl;
use MCP::Issuer;
use MCP::Provider;
use MCP::Redis;
use MCP::Vault;

my $t = MCP::Test->new;
my $d = $t->dir;
my $okta = MCP::Issuer->new($t, static => 1);
my $iss = $okta->{issuer};
my $vault = MCP::Vault->new($t, ids => ['k1']);
my $redis = MCP::Redis->start($t, port => 0);
my $idp = MCP::Provider->start($t, port => 8095);

$idp->resource(port => 8081);

sub conf {
    my ($keys) = @_;
    my ($endpoint, $server) = ($idp->endpoint, $redis->server);

    return <<"END";
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit $d/audit.log;
    mcp_vault_keys $keys;
    mcp_redis { server $server; }
    %%ISSUERS%%

    mcp_credential jira { type user; token_endpoint $endpoint; client_id gw;
                          client_secret gw-secret; timeout 30s; }
    mcp_credential bot { type client_credentials; token_endpoint $endpoint;
                         client_id gw; client_secret gw-secret; }

    mcp_server jira { resource https://mcp.example.com/jira; issuer okta;
                      credential jira; role * { allow tool *; } }
    mcp_server bot { resource https://mcp.example.com/bot; issuer okta;
                     credential bot; role * { allow tool *; } }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location /jira { mcp_auth jira;
                         proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /bot { mcp_auth bot;
                        proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
}
END
}

$t->write_conf(conf($vault->file));
$t->start;

my $ctl = MCP::Ctl->new("$d/nginx.conf");
my @said;

sub ctl {
    my $r = $ctl->run(@_);
    push @said, $r->{out}, $r->{err};
    return $r;
}

sub rekey {
    my ($want, $what, @args) = @_;
    my $r = ctl('--json', @args, qw/ vault rekey /);
    my %got = map { $_ => $r->{json}{$_} } keys %$want;

    is_deeply(\%got, $want, "rekey: $what") or diag($r->{err}, $r->{out});
    return $r;
}

sub owner { { credential => 'jira', issuer => $iss, user => $_[0] } }

sub call {
    my ($server, $user) = @_;
    my $r = call_tool("/$server", 'echo', {},
                      token => $okta->token(sub => $user, -expires => 3000));

    return MCP::Provider->told($r) || {};
}

sub raw { my %h = @{$redis->command('HGETALL', "mcp:cred:$_[0]")}; \%h }
sub keyring { join ' ', map { $_->[0] } @{$vault->{keys}} }
sub keys_of { join ' ', sort map { $_->{key} }
              @{ctl(qw/ --json credential list --all /)->{json}} }
sub audit { grep { ($_->{method} // '') eq 'vault/rekey' } $t->audit(0) }


# ---- a key

my %seen;

for (1 .. 3) {
    my $r = $ctl->run({ conf => undef }, qw/ vault new-key k9 /);
    is($r->{code}, 0, 'a new key, without a configuration');
    like($r->{out}, qr!\Ak9 [A-Za-z0-9+/]{43}=\n\z!, 'is a line');
    $seen{$r->{out}}++;
}

is(scalar keys %seen, 3, 'each is another');

for my $at (3, 17, 31) {
    my %part = map { substr($_, $at, 14) => 1 } keys %seen;
    is(scalar keys %part, 3, "in each part: from $at");
}

my $r = $ctl->run(qw/ vault new-key /);
like($r->{out}, qr/\Ak20\d\d-\d\d-\d\d \S{44}\n\z/, 'named by the day');
$t->write_file('made.keys', "# ours\n$r->{out}" . (keys %seen)[0]);
$t->write_file('made.conf', $t->expand(conf("$d/made.keys")));
is($ctl->run({ conf => "$d/made.conf" }, qw/ config check /)->{code}, 0,
   'such lines are a file of keys');

$r = $ctl->run(qw/ --json vault new-key a.B-9_ /);
is($r->{json}{id}, 'a.B-9_', 'as JSON');
is(length $r->{json}{key}, 44, 'with the key');

is($ctl->run(qw/ vault new-key /, $_)->{code}, 2, "no id: $_")
    for '', 'a b', 'a/b', "a\n", 'k' x 33, "\xc3\xbc";
is($ctl->run(qw/ vault new-key a b /)->{code}, 2, 'one at a time');


# ---- a rekey

rekey({ key => 'k1', records => 0, resealed => 0, left => 0 }, 'of nothing');
is(ctl(qw/ vault rekey /)->{out},
   "key k1: 0 of 0 sealed anew, 0 were already, 0 left\n", 'as text');

my %grants = map { $_ => $idp->grant($_, scope => "of $_") }
             qw/ alice bob carol /;

$vault->write($redis, owner($_), $grants{$_}, version => 7) for keys %grants;
ok(call('bot', 'alice')->{serial}, 'a gateway adds one of its own');

# one that was deleted, one whose refresh began, one that waits for its person

ctl(qw/ credential delete jira --user bob /);

my %name = map { $_ => $vault->name(owner($_)) } qw/ alice bob carol /;

$redis->command('HSET', "mcp:cred:$name{carol}", fl => '7 1 n:1 2',
                st => 'reauth');

rekey({ records => 4, already => 4, resealed => 0 }, 'nothing to do');
is(scalar(() = audit()), 0, 'and nothing on record');
is(keys_of(), 'k1 k1 k1 k1', 'all are under the first key');

my %before = map { $_ => raw($name{$_}) } keys %name;
my %ttl = map { $_ => $redis->command('TTL', "mcp:cred:$name{$_}") }
          keys %name;

$vault->add_key('k2');
is(keyring(), 'k2 k1', 'a new first key');

rekey({ key => 'k2', records => 4, resealed => 4, already => 0, left => 0 },
      'all');
is(keys_of(), 'k2 k2 k2 k2', 'all are under the new one');

for my $user (sort keys %name) {
    my ($was, $is) = ($before{$user}, raw($name{$user}));

    is($is->{$_}, $was->{$_}, "$user: $_ is as it was")
        for grep { exists $was->{$_} } qw/ v st exp fl /;
    isnt($is->{meta}, $was->{meta}, 'but its seals');
    cmp_ok(abs($redis->command('TTL', "mcp:cred:$name{$user}")
               - $ttl{$user}), '<=', 60, 'and when it goes');
}

is(raw($name{bob})->{tok}, '', 'what was deleted has no tokens');
is($vault->read($redis, owner('carol'))->{tokens}{refresh_token},
   $grants{carol}{refresh_token}, 'another implementation opens it');

my @lines = audit();

is(join('; ', map { "$_->{decision} $_->{note}" } @lines),
   'allow key k2: begins; allow key k2: 4 sealed anew, 0 left',
   'begin and end are on record');
is("$lines[0]{ev} $lines[0]{store} $lines[0]{by}",
   'credential redis ' . getpwuid $<, 'with who it was');

rekey({ records => 4, resealed => 0, already => 4 }, 'again: nothing');
is(scalar(() = audit()), 2, 'and nothing on record');

# the gateway needs the new ring, and the old key no more

$vault->remove_key('k1');
$t->reload;
is(call('jira', 'alice')->{user}, 'alice', 'a gateway with the new key alone');
ok(call('bot', 'alice')->{serial}, 'for its own too');


# one half is under another key than the other: both get the first one

$vault->add_key('k1a');

for my $half (qw/ tok meta /) {
    my $name = $name{alice};

    is(raw($name)->{$half} =~ /\A\x01\x02k2/ ? 1 : 0, 1, "$half: the old one");

    my %was = %{raw($name)};

    rekey({ left => 0 }, 'both');
    $redis->command('HSET', "mcp:cred:$name", $half, $was{$half});
    rekey({ records => 4, resealed => 1, already => 3, left => 0 },
          "$half alone");
    like(raw($name)->{$_}, qr/\A\x01\x03k1a/, "$_: the first key")
        for qw/ tok meta /;
    $redis->command('HSET', "mcp:cred:$name", %was);
}

rekey({ left => 0 }, 'as before');
$vault->remove_key('k2');


# ---- what does not open is left, and told of

my $none = MCP::Vault->new($t, ids => ['k0'], name => 'other.keys');

$none->write($redis, owner('dave'), $idp->grant('dave'));
$vault->write($redis, owner('erin'), $idp->grant('erin'));
$redis->command('COPY', 'mcp:cred:' . $vault->name(owner('erin')),
                'mcp:cred:' . $vault->name(owner('frank')));
$redis->command('SADD', 'mcp:creds', $vault->name(owner('frank')), 'x' x 32);

# grants that are over, and whose providers wait to be told

my ($over, $broken) = ('0a' x 16, '0b' x 16);
my $entry = encode_json({ credential => 'jira', issuer => $iss,
                          user => 'gina', begun => int(time),
                          refresh_token => 'a-token-of-gina' });

$redis->command('HSET', 'mcp:rv',
                $over, $vault->seal({ subject => $over }, 'ending', 0, $entry),
                $broken, $vault->seal({ subject => $over }, 'ending', 0,
                                      $entry));
$redis->command('ZADD', 'mcp:rvq', int(time) + 3600, $_) for $over, $broken;

$vault->add_key('k3');

my %left = map { $_ => raw($vault->name(owner($_))) } qw/ dave frank /;

$r = rekey({ records => 9, resealed => 6, already => 0, left => 4 },
           'what opens');
is($r->{code}, 3, 'the rest is a failure');

my $sealed = $redis->command('HGET', 'mcp:rv', $over);
is(substr($sealed, 2, ord substr $sealed, 1), 'k3', 'the end of a grant, too');
is($vault->unseal({ subject => $over }, 'ending', 0, $sealed), $entry,
   'is as it was');
like($r->{err}, qr/not told yet, is left: $broken /, 'one is another\'s');
$redis->command('DEL', 'mcp:rv', 'mcp:rvq');

my %of = map { $_ => $vault->name(owner($_)) } qw/ dave frank /;

like($r->{err}, qr/record $of{dave} is left: it is sealed with the key "k0"/,
     'a key is lacking');
like($r->{err}, qr/record $of{frank} is left: it does not open/,
     'one is not in its place');
like($r->{err}, qr/"x{32}" .* no name/, 'one is none');

is_deeply(raw($vault->name(owner($_))), $left{$_}, "$_: as it was")
    for qw/ dave frank /;

is((audit())[-1]{decision}, 'error', 'which is on record');
like((audit())[-1]{note}, qr/6 sealed anew, 4 left/, 'with the numbers');

push @{$vault->{keys}}, $none->{keys}[0];
$vault->save;
rekey({ records => 7, resealed => 1, already => 5, left => 2 },
      'when the key is there');
is($vault->read($redis, owner('dave'))->{key}, 'k3', 'it opens');

ctl(qw/ credential delete --record /, $vault->name(owner('frank')));
$redis->command('SREM', 'mcp:creds', 'x' x 32);
$r = ctl(qw/ vault rekey /);
is($r->{code}, 0, 'all is well') or diag($r->{err});
like($r->{out}, qr/^k1a, k0 may go when no gateway/m, 'keys that may go');
$vault->remove_key('k0');


# ---- a refresh that is under way keeps its grant

$t->reload;

my $grant = $idp->grant('grace', lifetime => 60);

$vault->write($redis, owner('grace'), { %$grant, expires => time - 10 });
$idp->misbehave('hold', only => 'refresh_token');

my $pid = fork // die "fork: $!";

POSIX::_exit((call('jira', 'grace')->{user} // '') eq 'grace' ? 0 : 1)
    if $pid == 0;

$idp->wait_held(1);
like(raw($vault->name(owner('grace')))->{fl}, qr/^1 /, 'its note is there');

$vault->add_key('k4');
rekey({ left => 0 }, 'while the provider is asked');

my $is = raw($vault->name(owner('grace')));

is($is->{v}, 1, 'the version is as it was');
like($is->{fl}, qr/^1 /, 'so is the note');
is($vault->read($redis, owner('grace'))->{key}, 'k4', 'the key is not');

$idp->behave;
$idp->release;
waitpid $pid, 0;
is($?, 0, 'the request is answered');

ok(MCP::Test::wait_until(10, sub { raw($vault->name(owner('grace')))->{v} == 2
                                   }), 'the new tokens are written');

my $new = $vault->read($redis, owner('grace'));

isnt($new->{tokens}{refresh_token}, $grant->{refresh_token}, 'new ones');
ok($idp->alive($grant), 'the grant lives');
is($idp->count(reuse => 1), 0, 'no refresh token came twice');
is($new->{key}, 'k3', 'under the key of a gateway that was not reloaded');
rekey({ resealed => 1, left => 0 }, 'again for that one');

# (and the gateway reads it)

$t->reload;
is(call('jira', 'grace')->{user}, 'grace', 'a gateway with the new ring');


# ---- while others write

my $users = 4;
my $each = $MCP::Test::SAN ? 6 : 20;

$t->write_file('old.keys', join '', map { "$_->[0] "
    . MIME::Base64::encode_base64($_->[1], '') . "\n" }
    reverse @{$vault->{keys}});
$t->write_file('old.conf', $t->expand(conf("$d/old.keys")));

my @children;

for my $user (1 .. $users) {
    my $pid = fork // die "fork: $!";

    if ($pid) {
        push @children, $pid;
        next;
    }

    for my $n (1 .. $each) {
        my $r = $ctl->run({ conf => "$d/old.conf",
                            stdin => qq({"access_token":"at-$user-$n",)
                                     . '"expires_in":3600}' },
                          qw/ credential import jira --user /, "user$user");
        POSIX::_exit(1) if $r->{code};
    }

    POSIX::_exit(0);
}

my ($runs, $resealed, $bad, %codes) = (0, 0, 0);

while (@children) {
    my $r = ctl(qw/ --json vault rekey /);
    $runs++;
    $resealed += $r->{json}{resealed};
    $codes{$r->{code}}++;

    @children = grep {
        my $gone = waitpid($_, POSIX::WNOHANG()) == $_;
        $bad++ if $gone && $?;
        !$gone;
    } @children;
}

is($bad, 0, 'all imports were made');
is(join(' ', keys %codes), '0', 'no rekey failed') or diag(join "\n", @said);
cmp_ok($resealed, '>', 0, "and some had something to do: $resealed in $runs");
rekey({ left => 0 }, 'the last of them');

for my $user (1 .. $users) {
    my $got = $vault->read($redis, owner("user$user"));

    is($got->{version}, $each, "user$user: a version for each import");
    is($got->{tokens}{access_token}, "at-$user-$each", 'the last one');
    is($got->{key}, 'k4', 'under the new key');
}


# ---- the commands of docs/guides/vault-keys.md, as they stand there

my ($guide) = MCP::Ctl::slurp("$FindBin::Bin/../docs/guides/vault-keys.md");
my @commands = map { s/^ +//mgr } $guide =~ /^ *```sh\n(.*?)^ *```/msg;

is(scalar @commands, 4, 'commands of the guide') or diag("@commands");

my ($first, $which, $append, $anew) = @commands;
my $ring = "$d/guide.keys";

$t->write_file('guide.conf', $t->expand(conf($ring)));

sub guide {
    my ($command) = @_;

    $command =~ s/\bmcpctl\b/'$MCP::Ctl::MCPCTL' --conf '$d\/guide.conf'/g;
    $command =~ s!/etc/nginx/mcp_vault\.keys!$ring!g;
    $command =~ s/^nginx -t && nginx -s reload\n//m;

    my $out = qx{ umask 022; ( $command ) 2>&1 };
    push @said, $out;
    return ($? >> 8, $out);
}

is((guide($first))[0], 0, 'the first key');
is((stat $ring)[2] & 07777, 0600, 'is for nobody else to read');
is($ctl->run({ conf => "$d/guide.conf" }, qw/ config check /)->{code}, 0,
   'and is one');

is($ctl->run({ conf => "$d/guide.conf",
               stdin => '{"access_token":"at-guide","expires_in":3600}' },
             qw/ credential import jira --user guide /)->{code}, 0,
   'somebody has a grant');

is((guide($append))[0], 0, 'another key');
is($ctl->run({ conf => "$d/guide.conf" }, qw/ config check /)->{code}, 0,
   'at the end of the file');

my @ring = grep { /\S/ } split /^/, MCP::Ctl::slurp($ring);
is(scalar @ring, 2, 'two lines');

# (grants of the rest of this test are under keys that this file lacks)

$t->write_file('guide.keys', $ring[1] . $ring[0]);

my ($code, $told) = guide($anew);
is($code, 3, 'sealed anew, but for what does not open');
like($told, qr/^key k2026-11: 1 of \d+ sealed anew, 0 were already, \d+ left$/m,
     'which is said');
unlike($told, qr/may go/, 'no key may go');

($code, $told) = guide($which);
like($told, qr/sealed with the key "k4", which "\Q$ring\E" does not have/,
     'which key they need');
like($told, qr/^jira +guide .* k2026-11 /m, 'and who has the new one');
is($ctl->run({ conf => "$d/guide.conf" },
             qw/ credential delete jira --user guide /)->{code}, 0, 'and gone');
$redis->command('DEL', 'mcp:cred:' . $vault->name(owner('guide')));
$redis->command('SREM', 'mcp:creds', $vault->name(owner('guide')));


# ---- what cannot be done

rekey({ already => 4 + 4 + 3 }, 'no change')
    or diag(ctl(qw/ credential list --all /)->{out});
$vault->add_key('k5');

(my $text = $t->expand(conf($vault->file))) =~ s!mcp_audit \S+;!mcp_audit $d/no/x;!;
$t->write_file('unwritable.conf', $text);
my $was = keys_of();
is($ctl->run({ conf => "$d/unwritable.conf" }, qw/ vault rekey /)->{code}, 3,
   'what cannot be recorded');
is(keys_of(), $was, 'is not done');
is($ctl->run({ conf => "$d/unwritable.conf" },
             qw/ vault rekey --no-audit /)->{code}, 0, '--no-audit');
unlike(keys_of(), qr/k4/, 'is');

# killed wherever it is, and two at once: every record is whole all the time

my $crowd = $MCP::Test::SAN ? 20 : 60;
my $conf = $ctl->{conf};

for my $n (1 .. $crowd) {
    my $r = $ctl->run({ stdin => qq({"access_token":"at-crowd-$n",)
                                 . '"expires_in":3600}' },
                      qw/ credential import --no-audit jira --user /,
                      "crowd$n");
    fail("crowd$n: $r->{err}") if $r->{code};
}

for my $round (1 .. 6) {
    $vault->add_key("r$round");
    $vault->remove_key('r' . ($round - 2)) if $round > 2;

    my @two = map {
        my $pid = fork // die "fork: $!";

        if ($pid == 0) {
            open STDOUT, '>', '/dev/null';
            open STDERR, '>', '/dev/null';
            exec $MCP::Ctl::MCPCTL, '--conf', $conf, qw/ vault rekey /;
        }

        $pid;
    } 1, 2;

    # (whatever they have done by then)

    select undef, undef, undef, rand 0.05;
    kill 'KILL', @two;
    waitpid $_, 0 for @two;

    my $r = ctl(qw/ --json credential list /);
    is($r->{code}, 0, "round $round: all open") or diag($r->{err});
    rekey({ left => 0, complete => JSON::PP::true }, 'the rest');
    is(keys_of() =~ s/\br$round\b//gr =~ s/ //gr, '', 'all have the new key');
}

is(join(' ', grep {
       my $got = $vault->read($redis, owner("crowd$_"));
       "$got->{version} $got->{tokens}{access_token}" ne "1 at-crowd-$_"
   } 1 .. $crowd), '', 'every grant is what it was');

# a walk that did not come to its end says of no key that it may go

$vault->add_key('k6');
$redis->command('RENAME', 'mcp:creds', 'names');
$redis->command('SET', 'mcp:creds', 'no set');

for my $r (ctl(qw/ vault rekey /), ctl(qw/ --json vault rekey /)) {
    is($r->{code}, 3, 'the names cannot be read');
    unlike($r->{out}, qr/may go/, 'no key may go');
    unlike($r->{out}, qr/\b0 left|"left": 0/, 'nor is none left');
}

$redis->command('RENAME', 'names', 'mcp:creds');
$redis->command('CONFIG', 'SET', 'maxmemory', 1);
$r = ctl(qw/ vault rekey /);
is($r->{code}, 3, 'no record can be written');
unlike($r->{out}, qr/may go/, 'no key may go');
is((audit())[-1]{decision}, 'error', 'which is on record');
$redis->command('CONFIG', 'SET', 'maxmemory', 0);
rekey({ left => 0 }, 'when all is well again');
like(ctl(qw/ vault rekey /)->{out}, qr/may go/, 'they may');

$redis->kill;
is(ctl(qw/ vault rekey /)->{code}, 3, 'Redis is down');


# ---- no secret anywhere

my @secrets = ($idp->secrets, $vault->secrets, $none->secrets);

for (['output', join "\n", @said],
     map { [ $_, $t->read_file($_) ] } qw/ audit.log error.log /)
{
    my ($what, $text) = @$_;
    is(join(' ', grep { length > 3 && index($text, $_) >= 0 } @secrets), '',
       "no secret in $what");
}

$t->allow_log(qr/redis/i);
done_testing;

#!/usr/bin/perl

# mcpctl credential import, list, show, delete, with a gateway that uses what was
# imported: as the gateway writes it, sealed, found, taken away.  No secret is
# shown anywhere, whatever goes wrong.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fcntl ();
use JSON::PP ();
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
    my (%o) = @_;
    my ($endpoint, $revoke) = ($idp->endpoint, $idp->endpoint('/revoke'));
    my $client = "token_endpoint $endpoint@{[ $o{query} // '' ]}; client_id gw;"
                 . ' client_secret gw-secret;';
    my $keys = $o{keys} // $vault->file;
    my $at = $o{redis} // 'mcp_redis { server ' . $redis->server . '; }';
    my $audit = $o{audit} // "$d/audit.log";

    return <<"END";
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit $audit;
    mcp_vault_keys $keys;
    $at
    %%ISSUERS%%
    @{[ $o{http} // '' ]}

    mcp_credential jira { type user; $client revoke_endpoint $revoke; }
    mcp_credential wiki { type user; $client fallback bot; }
    mcp_credential hub { type user; provider github; client_id gw;
                         client_secret gw-secret; revoke_endpoint $revoke; }
    mcp_credential bot { type client_credentials; $client }
    mcp_credential key { value static-secret; }

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

$t->write_conf(conf());
$t->start;

my $ctl = MCP::Ctl->new("$d/nginx.conf");


# ---- every run: what it said is kept, and no secret was on its command line

my (@said, @secrets);

sub secret { push @secrets, $_[0]; $_[0] }

sub ctl {
    my ($c, @args) = ref $_[0] eq 'MCP::Ctl' ? @_ : ($ctl, @_);
    my $r = $c->run(@args);

    push @said, $r->{out}, $r->{err};
    return $r;
}

sub import_of {
    my ($name, $user, $tokens, @more) = @_;
    my $text = ref $tokens ? JSON::PP->new->encode($tokens) : $tokens;

    return ctl({ stdin => $text }, '--json', qw/ credential import /, $name,
               '--user', $user, @more);
}

sub answer {
    my ($grant, %o) = @_;

    secret($_) for grep { defined } @$grant{qw/ access_token refresh_token /};

    return { token_type => 'Bearer', %o,
             map { defined $grant->{$_} ? ($_ => $grant->{$_}) : () }
             qw/ access_token refresh_token expires_in scope / };
}

sub owner { { credential => $_[0], issuer => $iss, user => $_[1] } }
sub raw { my %h = @{$redis->command('HGETALL', "mcp:cred:$_[0]")}; \%h }
sub in_redis { $vault->read($redis, owner(@_)) }

sub call {
    my ($server, $user) = @_;
    my $r = call_tool("/$server", 'echo', {},
                      token => $okta->token(sub => $user, -expires => 3000));

    return (MCP::Provider->told($r) || {}, $r);
}

# the serial number of the access token that the server was shown, or 0

sub shown { (call(@_))[0]{serial} // 0 }
sub serial { $idp->who($_[0]{access_token})->{serial} }

sub becomes {
    my ($want, $what, @call) = @_;

    ok(MCP::Test::wait_until(10, sub { shown(@call) == $want }), $what);
}

sub records { @{ctl(qw/ --json credential list /, @_)->{json} || []} }
sub row { join ' ', map { $_->{$_[1]} // '-' } @{$_[0]} }

sub audit {
    my @lines = grep { ($_->{ev} // '') eq 'credential' && $_->{by} }
                $t->audit(0);
    return @lines;
}


# ---- an import is what the gateway would have written, and uses at once

my $grant = $idp->grant('alice', scope => 'read write');

is(shown('jira', 'alice'), 0, 'no grant, no call');

my $r = import_of('jira', 'alice', answer($grant));

is($r->{code}, 0, 'imported') or diag($r->{err});
is_deeply([ @{$r->{json}}{qw/ credential type user issuer state version refresh
                              key scope /} ],
          [ 'jira', 'user', 'alice', $iss, 'active', 1, JSON::PP::true, 'k1',
            'read write' ], 'what is said of it');

my $got = in_redis('jira', 'alice');

is($got->{version}, 1, 'the first version');
is($got->{state}, 'active', 'active');
is($got->{tokens}{$_}, $grant->{$_}, "another implementation reads: $_")
    for qw/ access_token refresh_token scope /;
is($got->{expires}, $got->{tokens}{expires}, 'its end is in the clear too');
cmp_ok(abs($got->{expires} - $grant->{expires}), '<=', 5, 'and is right');

my $name = $vault->name(owner('jira', 'alice'));

is($r->{json}{record}, $name, 'its name');
is_deeply($redis->command('SMEMBERS', 'mcp:creds'), [$name], 'is in the set');
cmp_ok($redis->command('TTL', "mcp:cred:$name"), '>', 399 * 86400,
       'kept for 400 days');
unlike(join('', %{$got->{raw}}), qr/alice|jira|\Q$grant->{access_token}/,
       'nothing of it can be read');

becomes(serial($grant), 'the server is shown it', 'jira', 'alice');
is(shown('jira', 'bob'), 0, 'for nobody else');

# another one in its place: at once, though the first is warm in a worker

my $second = $idp->grant('alice');

$r = import_of('jira', 'alice', answer($second));
is($r->{json}{version}, 2, 'a second import') or diag($r->{err});
is($r->{json}{replaces}, 1, 'takes the place of the first');
becomes(serial($second), 'the server is shown the second one', 'jira', 'alice');

# what Redis hears of an import

my $monitor = bless { %$redis, client => undef }, ref $redis;
$monitor->command('MONITOR');

is(import_of('jira', 'alice', answer($second))->{code}, 0, 'and again');
is(ctl(qw/ credential show jira --user alice /)->{code}, 0, 'shown');

my $heard = '';
ok(MCP::Test::wait_until(10, sub {
    sysread($monitor->{client}{sock}, $heard, 65536, length $heard);
    return $heard =~ /"HMGET" .*"HMGET" /s;
}), 'Redis heard of it');

is(join(' ', grep { index($heard, $_) >= 0 } @secrets), '',
   'but not what the tokens are');
undef $monitor;

# the gateway refreshes what was imported

my $old = $idp->grant('carol', lifetime => 1);

$r = import_of('jira', 'carol', answer($old, expires_at => time - 10));
is($r->{code}, 0, 'an access token that has ended, with a refresh token');
is($r->{json}{state}, 'active', 'is good');
ok(MCP::Test::wait_until(10, sub { shown('jira', 'carol') > serial($old) }),
   'is refreshed');
is(in_redis('jira', 'carol')->{version}, 2, 'and written by the gateway');
ok($idp->alive($old), 'the grant lives');


# ---- how the tokens may be given

sub given {
    my ($user, $tokens, @more) = @_;
    my $r = import_of('jira', $user, { access_token => secret("at-$user-0123"),
                                       %$tokens }, @more);
    is($r->{code}, 0, "$user: taken") or diag($r->{err});
    return (in_redis('jira', $user)->{tokens}, $r);
}

my $now = time;
my ($tok) = given('in', { expires_in => '300' });
cmp_ok(abs($tok->{expires} - $now - 300), '<=', 5, 'expires_in');

($tok) = given('at', { expires_in => 5, expires_at => $now + 5000.7 });
is($tok->{expires}, $now + 5000, 'expires_at wins over expires_in');

($tok) = given('date', { expires_at => '2100-01-31T12:00:00Z',
                         refresh_token => secret('rt-date-01'),
                         refresh_token_expires_in => 7200 });
is($tok->{expires}, 4105080000, 'a date');
cmp_ok(abs($tok->{refresh_expires} - $now - 7200), '<=', 5,
       'the end of the refresh token');
cmp_ok($redis->command('TTL', 'mcp:cred:' . $vault->name(owner('jira',
                                                               'date'))),
       '<=', 7200, 'and the record goes with it');

# what has no refresh token does not end with it

($tok) = given('odd', { expires_in => 3600, refresh_token_expires_in => 5 });
is($tok->{refresh_expires}, 0, 'the end of a refresh token that is not there');
cmp_ok($redis->command('TTL', 'mcp:cred:' . $vault->name(owner('jira',
                                                               'odd'))),
       '>', 3000, 'ends no record');

($tok, $r) = given('none', {});
cmp_ok(abs($tok->{expires} - $now - 300), '<=', 5,
       'no end: by the habits of the provider');
like($r->{err}, qr/neither expires_in nor expires_at/, 'which is said');
like($r->{err}, qr/no refresh token/, 'so is that');

is(import_of('hub', 'alice', { access_token => secret('ghu-abc'),
                               token_type => 'bearer' })->{json}{expires},
   undef, "github's may never end");

($tok) = given('file', { expires_in => 60 });
$t->write_file('tokens.json', '{"access_token":"' . secret('at-of-file')
               . '","expires_in":60}');
chmod 0600, "$d/tokens.json";
$r = ctl(qw/ credential import jira --user file --file /, "$d/tokens.json");
is($r->{code}, 0, '--file');
unlike($r->{err}, qr/others/, 'which is nobody else\'s to read');
chmod 0640, "$d/tokens.json";
like(ctl(qw/ credential import jira --user file --file /,
         "$d/tokens.json")->{err},
     qr/others may read "\S+tokens\.json" \(mode 0640\)/,
     'it is said when others may read it');
is(in_redis('jira', 'file')->{tokens}{access_token}, 'at-of-file', 'is read');

is(import_of('jira', "\xc3\xbc \"x\"", { access_token => secret('at-utf8'),
                                         expires_in => 60 })->{code}, 0,
   'a user of many characters');
is(in_redis('jira', "\xc3\xbc \"x\"")->{tokens}{access_token}, 'at-utf8',
   'is that user');


# ---- nothing of it is kept in memory, either: a run is stopped where it says
# how it went, since nobody reads that, and is looked at

sub remembers {
    my ($c, $stdin, $texts, @args) = @_;

    pipe my $from, my $to or die "pipe: $!";
    fcntl $to, Fcntl::F_SETFL(), Fcntl::O_WRONLY() | Fcntl::O_NONBLOCK();
    1 while syswrite $to, 'x' x 4096;
    1 while syswrite $to, 'x';
    fcntl $to, Fcntl::F_SETFL(), Fcntl::O_WRONLY();
    $t->write_file('stdin', $stdin);

    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        open STDIN, '<', "$d/stdin";
        open STDOUT, '>&', $to;
        open STDERR, '>', '/dev/null';
        exec $MCP::Ctl::MCPCTL, '--conf', $c->{conf}, @args;
    }

    ok(MCP::Test::wait_until(20, sub {
        open my $fh, '<', "/proc/$pid/wchan";
        return (<$fh> // '') =~ /pipe_w/;
    }), "it waits: @args");

    open my $maps, '<', "/proc/$pid/maps" or die "maps: $!";
    open my $mem, '<:raw', "/proc/$pid/mem" or die "mem: $!";
    my %found;

    no warnings 'portable';

    while (<$maps>) {
        my ($start, $end) = /^(\w+)-(\w+) rw-p / or next;
        my $left = hex($end) - hex $start;

        next if $left > 1 << 26;
        sysseek $mem, hex $start, 0 or next;
        sysread $mem, my $bytes, $left or next;
        $found{$_}++ for grep { index($bytes, $_) >= 0 } @$texts;
    }

    kill 'KILL', $pid;
    waitpid $pid, 0;
    unlink "$d/stdin";

    return join ' ', sort keys %found;
}

my @forget = map { secret($_) } 'at-FORGET-me-0123456789', 'rt-FORGET-me-0123',
             'id.FORGET.me';
my $forget = '{"access_token":"' . join('","refresh_token":"', @forget[0, 1])
             . '","expires_in":3600,"id_token":"' . $forget[2] . '"}';
my $key = $vault->{keys}[0][1];

for my $args ([qw/ credential import jira --user forgetful /],
              [qw/ credential import jira --user forgetful --file /, "$d/stdin"],
              [qw/ credential show jira --user forgetful /],
              [qw/ --json credential list --user forgetful /])
{
    is(remembers($ctl, $forget, [@forget, $key, 'forgetful'], @$args), 'forgetful',
       'it remembers who it was, and no token, and no key');
}


# ---- what is refused, without a word of what was given

my $at = secret('SECRET-at-77');
my $rt = secret('SECRET-rt-77');
my $ok = qq({"access_token":"$at","refresh_token":"$rt","expires_in":60});
my $lines = () = audit();

for (['no JSON', 1, $at],
     ['half of it', 1, qq({"access_token":"$at", "refresh_token":"$rt)],
     ['something behind it', 1, "$ok $at"],
     ['a list', 1, qq(["$at"])],
     ['a member twice', 1, qq({"access_token":"$at","access_token":"$rt"})],
     ['nothing', 1, ''],
     ['no access token', 1, qq({"refresh_token":"$rt"})],
     ['an empty one', 1, qq({"access_token":"","refresh_token":"$rt"})],
     ['a number', 1, qq({"access_token":7,"refresh_token":"$rt"})],
     ['a line end in it', 1, qq({"access_token":"$at\\n"})],
     ['a blank in it', 1, qq({"access_token":"$at $rt"})],
     ['a NUL in it', 1, qq({"access_token":"$at\\u0000"})],
     ['another type', 1, qq({"access_token":"$at","token_type":"mac"})],
     ['an error', 1, qq({"error":"invalid_grant","error_description":"$at"})],
     ['no seconds', 1, qq({"access_token":"$at","expires_in":"$rt"})],
     ['no moment', 1, qq({"access_token":"$at","expires_at":"$rt"})],
     ['a moment of old', 1, qq({"access_token":"$at","expires_at":-1})],
     ['one that has ended', 1, qq({"access_token":"$at","expires_at":1000})],
     ['a refresh token that has ended', 1,
      qq({"access_token":"$at","refresh_token":"$rt",)
      . '"refresh_token_expires_at":1000}'],
     ['a long one', 1, '{"access_token":"' . $at x 2000 . '"}'],
     ['too much', 3, "$ok" . ' ' x 65536])
{
    my ($what, $code, $text) = @$_;
    my $r = import_of('jira', 'dave', $text);

    is($r->{code}, $code, "$what: refused") or diag($r->{err});
    is($r->{out}, '', 'nothing on stdout');
    like($r->{err}, qr/\Amcpctl: /, 'why');
}

for (['no such credential', 2, qw/ credential import none --user dave /],
     ['one that is fetched', 1, qw/ credential import bot --user dave /],
     ['one that is static', 1, qw/ credential import key --user dave /],
     ['nobody', 2, qw/ credential import jira /],
     ['no name', 2, qw/ credential import --user dave /],
     ['an empty user', 2, 'credential', 'import', 'jira', '--user', ''],
     ['a control character', 2, 'credential', 'import', 'jira', '--user',
      "a\nb"],
     ['no such issuer', 1, qw/ credential import jira --user dave
                               --issuer https:\/\/other /],
     ['no such file', 3, qw/ credential import jira --user dave --file none /],
     ['a token for an argument', 2, qw/ credential import jira --user dave /,
      $at],
     ['a token for an option', 2, qw/ credential import jira --user dave /,
      "--access-token=$at"])
{
    my ($what, $code, @args) = @$_;
    my $r = ctl({ stdin => $ok }, @args);
    is($r->{code}, $code, "$what: refused") or diag($r->{err});
}

is(in_redis('jira', 'dave'), undef, 'nothing of this is there');
is(scalar(() = audit()), $lines, 'nor on record');

is(import_of('jira', 'dave', $ok, '--issuer', 'https://other',
             '--force')->{json}{issuer}, 'https://other', '--force: it will be');

# stores that are not there

for (['no keys', 'mcp_vault_keys', s => 'mcp_vault_keys .*;'],
     ['no Redis', 'mcp_redis', s => 'mcp_redis .*'])
{
    my ($what, $names, undef, $cut) = @$_;

    (my $text = $t->expand(conf())) =~ s/$cut//;
    $text =~ s/mcp_credential (?:jira|wiki|hub|bot) .*?\}//sg;
    $text =~ s/mcp_server .*?\} \}//sg;
    $text =~ s/mcp_auth \w+;//g;
    $t->write_file('other.conf', $text);

    my $r = ctl({ conf => "$d/other.conf" }, qw/ credential list /);
    is($r->{code}, 3, "$what: nothing to list") or diag($r->{err});
    like($r->{err}, qr/has no $names/, 'which is said');
}


# ---- list and show

my @all = records();

is(row([ grep { $_->{user} eq 'alice' } @all ], 'credential'), 'hub jira',
   'what alice has') or diag(row(\@all, 'user'));
is(row([ records(qw/ --user alice --credential jira /) ], 'version'), '3',
   'by user and credential');
is(scalar records(qw/ --user nobody /), 0, 'an empty list');
is(row([ records('--issuer', 'https://other') ], 'user'), 'dave',
   'by issuer');

$r = ctl(qw/ credential list --user alice /);
is($r->{code}, 0, 'as a table');
like($r->{out}, qr/^CREDENTIAL\ +USER\ +ISSUER\ +STATE\ +VERSION .*\n
                    hub\ +alice\ +\S+\ +active\ +1\ +-\ +no\ +k1\ /x,
     'with headings');

$r = ctl(qw/ credential show jira --user alice /);
is($r->{code}, 0, 'show');
like($r->{out}, qr/^record\ +$name\ncredential\ +jira\n.*^version\ +3\n
                    .*^refresh\ +yes\n/xms, 'as text');

$r = ctl(qw/ --json credential show jira --user alice /);
is(row($r->{json}, 'record'), $name, 'as JSON');
is(row(ctl(qw/ --json credential show --record /, $name)->{json}, 'user'),
   'alice', 'by the name of the record');

for (['nobody has it', 1, qw/ credential show jira --user nobody /],
     ['no such credential', 1, qw/ credential show none /],
     ['no such record', 1, qw/ credential show --record /, '0' x 32],
     ['no name of a record', 2, qw/ credential show --record x /],
     ['both', 2, qw/ credential show jira --record /, $name],
     ['neither', 2, qw/ credential show /])
{
    my ($what, $code, @args) = @$_;
    my $r = ctl(@args);
    is($r->{code}, $code, "$what: said") or diag($r->{err});
}

# one that has ended, and cannot be refreshed

$vault->write($redis, owner('jira', 'ended'),
              { access_token => secret('at-ended-0123'),
                expires => time - 10 });
is(row(ctl(qw/ --json credential show jira --user ended /)->{json}, 'state'),
   'expired', 'one that has ended');
ctl(qw/ credential delete jira --user ended /);

# the note of a refresh

$redis->command('HSET', "mcp:cred:$name", 'fl', "3 1000000000 n:1 1000000001");
$r = ctl(qw/ --json credential show jira --user alice /);
is($r->{json}[0]{refresh_note}, 'began at 2001-09-09T01:46:41Z, by n:1',
   'a refresh that was begun');
$redis->command('HSET', "mcp:cred:$name", 'fl', "1 1000000000 n:1 1000000001");
$r = ctl(qw/ --json credential show jira --user alice /);
is($r->{json}[0]{refresh_note}, undef, 'not one of another version');

my $third = $idp->grant('alice');
import_of('jira', 'alice', answer($third));
is(in_redis('jira', 'alice')->{flight}, undef, 'an import takes it away');


# ---- a record is that of its place

my $bobs = $vault->name(owner('jira', 'bob'));

$redis->command('COPY', "mcp:cred:$name", "mcp:cred:$bobs");
$redis->command('SADD', 'mcp:creds', $bobs);

$r = ctl(qw/ --json credential show jira --user bob /);
is($r->{code}, 3, "alice's record under bob's name");
is(row($r->{json}, 'state'), 'unreadable', 'does not open');
like($r->{err}, qr/$bobs, jira of user bob of .* was changed/, 'which is said');
is(shown('jira', 'bob'), 0, 'not for the gateway either');

$r = ctl(qw/ --json credential list /);
is($r->{code}, 3, 'nor for a list');
is(scalar(grep { $_->{record} eq $bobs } @{$r->{json}}), 0, 'which has it not');
is(scalar @{$r->{json}}, scalar @all, 'and all the others')
    or diag(row($r->{json}, 'user'));

# meta alone is bob's: the tokens are not

my ($meta) = $vault->seal({ subject => $bobs }, 'meta', 0,
    '{"credential":"jira","issuer":"' . $iss . '","user":"bob"}');

$redis->command('HSET', "mcp:cred:$bobs", 'meta', $meta);
$r = ctl(qw/ --json credential list --user bob /);
is($r->{code}, 3, "alice's tokens with bob's name on them");
is(row($r->{json}, 'state'), 'unreadable', 'do not open');

# nor does it help that somebody with the keys sealed another name for her place

my $alices = in_redis('jira', 'alice')->{raw}{meta};

for my $who ('"credential":"jira","issuer":"' . $iss . '","user":"bob"',
             '"credential":"wiki","issuer":"' . $iss . '","user":"alice"')
{
    ($meta) = $vault->seal({ subject => $name }, 'meta', 0, "{$who}");
    $redis->command('HSET', "mcp:cred:$name", 'meta', $meta);
    $r = ctl(qw/ --json credential show --record /, $name);
    is($r->{code}, 3, "a name that is not of this place: $who");
    is("$r->{json}[0]{state} " . ($r->{json}[0]{user} // '-'), 'unreadable -',
       'is not believed');
}

$redis->command('HSET', "mcp:cred:$name", 'meta', $alices);

# nor of another version, nor when a bit of it is another

my %raw = %{in_redis('jira', 'alice')->{raw}};

for my $part (qw/ v st tok meta exp /) {
    my $was = $raw{$part};
    my $is = $part eq 'v' ? $was + 1
             : $part =~ /tok|meta/ ? $was ^ ("\0" x 30 . "\1") : 'nonsense';

    $redis->command('HSET', "mcp:cred:$name", $part, $is);
    $r = ctl(qw/ --json credential show jira --user alice /);

    # whose it is was said by the one who asks

    my $want = $part eq 'meta' ? 0 : $part eq 'st' ? 0 : 3;
    is($r->{code}, $want, "another $part") or diag($r->{err});
    is(row($r->{json}, 'state'), 'unknown', 'is not known')
        if $part eq 'st';
    is(ctl(qw/ credential list --user alice /)->{code}, 3, 'nor listed')
        if $part eq 'meta';
    $redis->command('HSET', "mcp:cred:$name", $part, $was);
}

is(ctl(qw/ credential show jira --user alice /)->{code}, 0, 'as it was');


# ---- delete

$r = ctl(qw/ --json credential delete jira --user bob /);
is($r->{code}, 0, 'what does not open can be deleted') or diag($r->{err});
is(raw($bobs)->{st}, 'revoked', 'it is');

becomes(serial($third), 'alice has hers', 'jira', 'alice');

my $before = in_redis('jira', 'alice');

$r = ctl(qw/ credential delete jira --user alice /);
is($r->{code}, 0, 'deleted') or diag($r->{err});
is($r->{out}, "deleted: jira of user alice of $iss\n", 'which is said');
becomes(0, 'the gateway has it no more', 'jira', 'alice');

$got = raw($name);
is($got->{st}, 'revoked', 'its place is kept');
is($got->{v}, $before->{version} + 1, 'with the next version');
is($got->{tok}, '', 'without tokens');
is($got->{exp}, 0, 'or their end');
cmp_ok($redis->command('TTL', "mcp:cred:$name"), '<=', 86400, 'for a day');

is(scalar records(qw/ --user alice --credential jira /), 0, 'not listed');
is(row([ records(qw/ --user alice --credential jira --all /) ], 'state'),
   'deleted', 'but by --all');
is(ctl(qw/ credential delete jira --user alice /)->{code}, 1, 'once only');

my $fourth = $idp->grant('alice');

is(import_of('jira', 'alice', answer($fourth))->{json}{version},
   $before->{version} + 2, 'imported again');
becomes(serial($fourth), 'and in use', 'jira', 'alice');

# its provider is told as well, by a gateway; where it cannot be, that is said

my $gone = $idp->grant('gone');

import_of('jira', 'gone', answer($gone));
$r = ctl(qw/ credential delete jira --user gone /);
is("$r->{code} $r->{err}", '0 ', 'deleted');
is($idp->wait_count(1, kind => 'revoke', user => 'gone', by => 'refresh',
                    result => 'ok'), 1, 'a gateway told the provider');
ok(!$idp->alive($gone), 'where it is over, too');

import_of('wiki', 'gone', answer($idp->grant('gone')));
$r = ctl(qw/ credential delete wiki --user gone /);
is($r->{code}, 0, 'deleted, without a revoke_endpoint');
like($r->{err}, qr/wiki of user gone .*: its provider is not told/, 'is said');

# nor is another provider, which has its name in the configuration by now

my $moved = $idp->grant('moved');

import_of('jira', 'moved', answer($moved));
$t->write_conf(conf(query => '?new'));
$r = ctl(qw/ credential delete jira --user moved /);
is($r->{code}, 0, 'deleted, though it was of another endpoint');
like($r->{err}, qr/jira of user moved .*: its provider is not told/, 'is said');
$t->write_conf(conf());

# several

$r = ctl(qw/ credential delete jira /);
is($r->{code}, 1, 'all of a credential');
like($r->{err}, qr/there are \d+ of these \(--all/, 'only if it is meant');
is(in_redis('jira', 'alice')->{state}, 'active', 'nothing was done');

is(ctl(qw/ credential delete hub /)->{code}, 0, 'there is but one of these');
is(ctl(qw/ credential delete hub /)->{code}, 1, 'there was');

# what the gateway fetched itself is fetched again

my $first = shown('bot', 'alice');
ok($first, 'client credentials');
is(row([ records(qw/ --credential bot /) ], 'type'), 'client_credentials',
   'are listed');
is(row([ records(qw/ --credential bot /) ], 'user'), '-', 'as nobody\'s');

$r = ctl(qw/ --json credential delete bot /);
is($r->{code}, 0, 'deleted') or diag($r->{err});
is(scalar records(qw/ --credential bot --all /), 0, 'and gone');
ok(MCP::Test::wait_until(10, sub { shown('bot', 'alice') > $first }),
   'there is another at once');

# by the record's name; names without a record, and what is none

$redis->command('HSET', 'mcp:cred:' . 'a' x 32, v => 1, st => 'active',
                tok => 'junk', meta => 'junk', exp => 0);
$redis->command('SADD', 'mcp:creds', 'a' x 32, 'b' x 32, "junk\e[31m");
$redis->command('HSET', 'mcp:cred:' . 'c' x 32, v => 'junk');
$redis->command('HSET', 'mcp:cred:' . 'e' x 32, %raw, v => '9' x 16);
$redis->command('HSET', 'mcp:cred:' . 'f' x 32, %raw, exp => '9' x 16);
$redis->command('SADD', 'mcp:creds', map { $_ x 32 } qw/ c e f /);

$r = ctl(qw/ credential list /);
is($r->{code}, 3, 'records that are none');
like($r->{err}, qr/record a{32}: it does not open/, 'one');
like($r->{err}, qr/record $_ in Redis is none/, 'another')
    for map { $_ x 32 } qw/ c e f /;
like($r->{err}, qr/"junk\\u001b\[31m" .*is no name/, 'a name that is none');
is($redis->command('SISMEMBER', 'mcp:creds', 'b' x 32), 0,
   'a name without a record goes');

$r = ctl(qw/ --json credential delete --record /, 'a' x 32);
is($r->{code}, 0, 'deleted by its name') or diag($r->{err});
is($redis->command('EXISTS', 'mcp:cred:' . 'a' x 32), 0, 'it is gone');
is($redis->command('SISMEMBER', 'mcp:creds', 'a' x 32), 0, 'so is the name');
$redis->command('SREM', 'mcp:creds', "junk\e[31m",
                map { $_ x 32 } qw/ c e f /);


# ---- while a gateway refreshes: what it brings home has no place any more

sub dropped {
    return scalar(() = $t->read_log
                  =~ /"jira": version 2 was written by somebody else/g);
}

sub while_refreshed {
    my ($user, $operator) = @_;
    my $old = $idp->grant($user, lifetime => 60);
    my ($held, $dropped) = ($idp->held, dropped());

    answer($old);
    $vault->write($redis, owner('jira', $user), { %$old,
                                                  expires => time - 10 });
    $idp->misbehave('hold', only => 'refresh_token');

    my $pid = fork // die "fork: $!";

    POSIX::_exit(shown('jira', $user) ? 0 : 1) if $pid == 0;

    ok($idp->wait_held($held + 1), "$user: the provider is asked");
    $operator->();
    $idp->behave;
    ok($idp->wait_count(1, kind => 'refresh_token', user => $user,
                        result => 'ok'), 'and answers');
    waitpid $pid, 0;
    ok(MCP::Test::wait_until(10, sub { dropped() > $dropped }),
       'the gateway drops it');
}

my $new = $idp->grant('gina');

while_refreshed('gina', sub {
    is(import_of('jira', 'gina', answer($new))->{json}{version}, 2,
       'another grant is imported');
});

$got = in_redis('jira', 'gina');
is("$got->{version} $got->{tokens}{access_token}", "2 $new->{access_token}",
   'which stays');
becomes(serial($new), 'and is in use', 'jira', 'gina');

while_refreshed('hans', sub {
    is(ctl(qw/ credential delete jira --user hans /)->{code}, 0,
       'it is deleted');
});

$got = raw($vault->name(owner('jira', 'hans')));
is("$got->{v} $got->{st} $got->{tok}", '2 revoked ', 'which it stays');
becomes(0, 'and is not in use', 'jira', 'hans');

while_refreshed('ines', sub {
    ctl(qw/ credential delete jira --user ines /);
    is(import_of('jira', 'ines', answer($idp->grant('ines')))->{json}{version},
       3, 'deleted and imported again');
});

is(in_redis('jira', 'ines')->{version}, 3, 'which stays');
is($idp->count(reuse => 1), 0, 'no refresh token came twice');


# ---- whatever is in Redis

my $victim = $vault->name(owner('jira', 'ines'));
my %good = %{raw($victim)};

srand 20261125;

for my $round (1 .. ($MCP::Test::SAN ? 20 : 80)) {
    my $field = (qw/ v st tok meta exp fl /)[rand 6];
    my $text = $good{$field} // '3 1 a:1 2';

    for (1 .. 1 + rand 3) {
        my $at = rand(1 + length $text);
        my $how = rand 4;

        $how < 1 ? substr($text, $at) = ''
        : $how < 2 ? substr($text, $at, 1) = chr rand 256
        : $how < 3 ? substr($text, $at, 0) = chr(rand 256) x rand 300
        : ($text .= 'x' x (rand() < 0.1 ? 70_000 : 3));
    }

    $redis->command('HSET', "mcp:cred:$victim", %good, $field => $text);

    for ([qw/ --json credential list /], [qw/ credential show --record /,
                                          $victim])
    {
        my $r = ctl(@$_);
        fail("round $round of $field: @$_: $r->{code}")
            if $r->{code} != 0 && $r->{code} != 3;
    }
}

$redis->command('DEL', "mcp:cred:$victim");
$redis->command('HSET', "mcp:cred:$victim", %good);
is(ctl(qw/ credential show jira --user ines /)->{code}, 0,
   'a record may have anything in it');


# ---- two at once: each import is a version, none is lost

my $each = $MCP::Test::SAN ? 8 : 25;
my @children;

for my $who (1 .. 3) {
    my $pid = fork // die "fork: $!";

    if ($pid) {
        push @children, $pid;
        next;
    }

    for (1 .. $each) {
        my $r = $ctl->run({ stdin => $ok }, qw/ credential import jira
                                                --user both /);
        POSIX::_exit(1) if $r->{code} && $r->{err} !~ /all the time/;
        redo if $r->{code};
    }

    POSIX::_exit(0);
}

my $bad = 0;

for (@children) {
    waitpid $_, 0;
    $bad++ if $?;
}

is($bad, 0, 'three operators import for the same user');
is(in_redis('jira', 'both')->{version}, 3 * $each, 'each is a version');
is(in_redis('jira', 'both')->{tokens}{access_token}, $at, 'the last one opens');


# ---- on record

my ($line) = grep { $_->{method} eq 'credential/import'
                    && ($_->{user} // '') eq 'alice' } audit();

is_deeply([ @$line{qw/ ev decision user issuer credential credential_version
                       store by /} ],
          [ 'credential', 'allow', 'alice', $iss, 'jira', 1, 'redis',
            scalar getpwuid $< ], 'an import');
ok($line->{expires}, 'with its end');

($line) = grep { $_->{method} eq 'credential/delete'
                 && ($_->{user} // '') eq 'alice' } audit();
is("$line->{credential} $line->{credential_version}",
   "jira $before->{version}", 'a deletion, of which version');

$lines = () = audit();
is(import_of('jira', 'erin', $ok, '--no-audit')->{code}, 0, '--no-audit');
is(scalar(() = audit()), $lines, 'leaves no line');

$t->write_file('unwritable.conf', $t->expand(conf(audit => "$d/none/x.log")));
$r = ctl({ stdin => $ok, conf => "$d/unwritable.conf" },
         qw/ credential import jira --user frank /);
is($r->{code}, 3, 'what cannot be recorded');
is(in_redis('jira', 'frank'), undef, 'is not done');

$redis->command('CONFIG', 'SET', 'maxmemory', 1);
$r = import_of('jira', 'frank', $ok);
is($r->{code}, 3, 'Redis refuses') or diag($r->{out});
like($r->{err}, qr/refused EVAL/, 'which is said');
$redis->command('CONFIG', 'SET', 'maxmemory', 0);

my @last = (audit())[-2, -1];
is("$last[0]{decision} $last[1]{decision} " . ($last[1]{reason} // ''),
   'allow error store', 'and recorded');

$redis->kill;
is(import_of('jira', 'frank', $ok)->{code}, 3, 'Redis is down');
is(ctl(qw/ credential list /)->{code}, 3, 'for a list too');


# ---- what docs/directives.md says is enough for gateways and for mcpctl

my ($acl) = MCP::Ctl::slurp("$FindBin::Bin/../docs/directives.md")
            =~ /^The ACL user needs (.*)/m;
my ($gw, $op) = $acl =~ /\A(.*?); `mcpctl` also (.*?)\. Redis must/
    or die "no ACL in directives.md";

$_ = join ' ', /(?<![\w|])(\+[\w|]+)/g for $gw, $op;

my $strict = MCP::Redis->start($t, port => 0, name => 'strict',
    admin => [qw/ default /, ''],
    users => ['default on nopass ~* &* +@all',
              "gw on >pass-word-of-redis ~mcp:* &mcp:* -\@all $gw",
              "op on >pass-word-of-redis ~mcp:* &mcp:* -\@all $gw $op"]);

$t->write_file('word', secret('pass-word-of-redis') . "\n");

sub at_strict {
    my ($user) = @_;
    return conf(redis => 'mcp_redis { server ' . $strict->server
                         . "; user $user; password file:$d/word; }");
}

$t->write_file('op.conf', $t->expand(at_strict('op')));
$t->write_conf(at_strict('gw'))->reload;

my $operator = MCP::Ctl->new("$d/op.conf");
my $fifth = $idp->grant('alice', lifetime => 1);

is(ctl($operator, { stdin => JSON::PP->new->encode(answer($fifth)) },
       qw/ credential import jira --user alice /)->{code}, 0, 'ACL: import');
ok(MCP::Test::wait_until(10, sub { shown('jira', 'alice') > serial($fifth) }),
   'ACL: a gateway reads and refreshes it');
ok(shown('bot', 'alice'), 'ACL: and fetches its own');

for ([qw/ credential list /], [qw/ credential show jira --user alice /],
     [qw/ credential delete bot /], [qw/ credential delete jira /],
     [qw/ vault rekey /])
{
    my $r = ctl($operator, @$_);
    is($r->{code}, 0, "ACL: @$_") or diag($r->{err});
}

$strict->command('SADD', 'mcp:creds', 'd' x 32);
is(ctl($operator, qw/ credential list /)->{code}, 0, 'ACL: a list');
is($strict->command('SISMEMBER', 'mcp:creds', 'd' x 32), 0,
   'and a name that goes');
ok(MCP::Test::wait_until(20, sub { $strict->command('ZCARD', 'mcp:rvq')
                                   == 0 }), 'ACL: the queue is worked off');
$vault->add_key('k2');
cmp_ok(ctl($operator, qw/ --json vault rekey /)->{json}{resealed}, '>=', 1,
       'ACL: a rekey');

is(remembers($operator, '', ['pass-word-of-redis', $vault->{keys}[0][1],
                             'mcp:'],
             qw/ credential list --all /), 'mcp:',
   'nor is the password of Redis remembered');

my $denied = $strict->command('ACL', 'LOG');
is(scalar @$denied, 0, 'ACL: nothing was denied') or diag(explain($denied));


# ---- no secret anywhere

push @secrets, $idp->secrets, $vault->secrets;

my %where = (output => join("\n", @said),
             map { $_ => $t->read_file($_) } qw/ audit.log error.log /);

for my $file (sort keys %where) {
    my @found = grep { length > 3 && index($where{$file}, $_) >= 0 } @secrets;
    is("@found", '', "no secret in $file");
}

cmp_ok(scalar @secrets, '>', 20, 'of many');

$t->allow_log(qr/redis|mcp_redis|does not open|cannot be opened/i);
done_testing;

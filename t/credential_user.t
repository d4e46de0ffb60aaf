#!/usr/bin/perl

# What a person granted: whose it is, that it is refreshed while it serves, what
# happens when the provider refuses, and what somebody is told who has not
# connected an account.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Provider;
use MCP::Redis;
use MCP::Vault;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1, conf =>
    'role engineer mcp-engineer;');
my $vault = MCP::Vault->new($t);
my $redis = MCP::Redis->start($t);
my $idp = MCP::Provider->start($t, port => 8090);
my $up = $idp->resource(port => 8081);
my $connect = 'https://gw.example.com/connect/jira';

sub conf {
    my ($more) = @_;
    my ($server, $endpoint, $keys)
        = ($redis->server, $idp->endpoint, $vault->file);
    my $client = "type user; token_endpoint $endpoint; timeout 1s;"
                 . " client_id gw; client_secret gw-secret;";

    return <<"END";
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_vault_keys $keys;
    mcp_session_key %%TESTDIR%%/session.key;
    mcp_redis { server $server; }
    %%ISSUER_okta%%

    mcp_credential jira { $client connect_url $connect; keepalive 1h; }
    mcp_credential plain { $client }
    mcp_credential admin { $client }
    mcp_credential bot { type static; value "Bearer bot"; }
    mcp_credential mixed { $client connect_url $connect; fallback bot; }

    mcp_server jira  { resource https://mcp.example.com/jira; issuer okta;
                       credential jira; role * { allow tool *; allow prompt *;
                       } }
    mcp_server plain { resource https://mcp.example.com/plain; issuer okta;
                       credential plain; role * { allow tool *; } }
    mcp_server mixed { resource https://mcp.example.com/mixed; issuer okta;
                       credential mixed; role * { allow tool *; } }
    mcp_server roles { resource https://mcp.example.com/roles; issuer okta;
                       credential jira; credential admin role=engineer;
                       role * { allow tool *; }
                       role engineer { allow tool *; } }
    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport;
        location = /status { mcp_status; }
        location /jira { mcp_auth jira; proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /plain { mcp_auth plain; proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /mixed { mcp_auth mixed; proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /roles { mcp_auth roles; proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
}
END
}

$t->write_file('session.key', ('0f' x 32) . "\n");
chmod 0600, $t->dir . '/session.key';

sub owner { { credential => $_[1] // 'jira', issuer => $okta->{issuer},
              user => $_[0] } }

sub token { $okta->token(sub => $_[0], -expires => 3000, @_[1 .. $#_]) }

# the newest audit record that the test wants, when it comes

sub on_record {
    my ($wanted) = @_;
    return MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
        my ($r) = grep { $wanted->() } reverse $t->audit(1);
        return $r;
    }) || {};
}

sub call {
    my ($user, %o) = @_;
    return call_tool($o{uri} // '/jira', 'echo', {},
                     token => $o{token} // token($user), %o);
}

sub user { (MCP::Provider->told($_[0]) // {})->{user} // "-$_[0]{status}" }
sub wait_for { MCP::Test::wait_until($MCP::Test::TIMEOUT, $_[0]) }

# a grant in Redis; expires_in => s, issued => s ago

sub grant {
    my ($user, %o) = @_;
    my $g = $idp->grant($user, lifetime => $o{lifetime} // 300);

    $vault->write($redis, owner($user, $o{credential}),
                  { %$g, exists $o{expires} ? (expires => int(time)
                                               + $o{expires}) : () },
                  exists $o{issued} ? (issued => int(time) - $o{issued}) : ());
    return $g;
}

# one that nobody uses, and that rests too long

my $idle = grant('idle', expires => -86400, issued => 4000);
my $fresh = grant('recent', expires => -100, issued => 200);

# and one of somebody who has left

my $left = grant('left', expires => -86400, issued => 4000);
$redis->revoke(user => 'left', issuer => $okta->{issuer});

$t->write_conf(conf())->start;

# before anything misbehaves

ok($idp->wait_count(1, kind => 'refresh_token', user => 'idle'),
   'an idle grant is kept alive');

# ---- whose it is

my $alice = grant('alice');
my $carol = grant('carol');
my ($a) = (call('alice'));

is(user($a), 'alice', 'her token');
is(user(call('carol')), 'carol', 'and his');
is(user(call('alice')), 'alice', 'warm');
my ($r1) = grep { $_->{ev} eq 'call' } $t->audit_next(3);
is($r1->{credential}, 'jira', 'on record');
is($r1->{credential_version}, 1, 'with its version');
ok(!$r1->{refreshed}, 'not refreshed');
is($idp->count(kind => 'refresh_token', user => 'alice'), 0, 'not asked');

# ---- connect an account

my $client = 'io.modelcontextprotocol/clientCapabilities';
my $can = { $client => { elicitation => { url => {} } } };
my $form = { $client => { elicitation => {} } };

$up->requests_next(0);
$t->audit_next(0);

my $m = mcp_post('/jira', rpc('tools/call', { name => 'echo', _meta => $can }),
                 token => token('bob'));
is($m->{status}, 200, 'modern, opens URLs');
is($m->{json}{result}{resultType}, 'input_required', 'is asked for input');
my ($ask) = values %{$m->{json}{result}{inputRequests}};
is($ask->{method}, 'elicitation/create', 'an elicitation');
is($ask->{params}{mode}, 'url', 'of a URL');
is($ask->{params}{url}, $connect, 'of connect_url');
like($ask->{params}{message}, qr/"jira"/, 'with words');
my ($rec) = grep { $_->{ev} eq 'call' } $t->audit_next(1);
is("$rec->{decision} $rec->{reason}", 'deny no_grant', 'on record');

# it asks the person once, whatever she says; she is not done yet when it comes

for my $action (qw/ accept decline /) {
    my $r = mcp_post('/jira', rpc('tools/call', { name => 'echo',
        _meta => $can,
        inputResponses => { connect => { action => $action } } }),
        token => token('bob'));
    ok($r->{json}{result}{isError}, "$action: not asked again");
    like($r->{json}{result}{content}[0]{text}, qr/\Q$connect\E/,
         "$action: with the URL");
}

for (['that knows forms only', { _meta => $form }], ['that cannot', {}]) {
    my ($what, $params) = @$_;
    my $r = mcp_post('/jira', rpc('tools/call', { name => 'echo', %$params }),
                     token => token('bob'));
    ok($r->{json}{result}{isError}, "a client $what: a tool error");
    like($r->{json}{result}{content}[0]{text}, qr/\Q$connect\E/,
         "$what: with the URL");
}

my $p = mcp_post('/jira', rpc('prompts/get', { name => 'x' }),
                 token => token('bob'));
is($p->{json}{error}{code}, 403, 'no tool: an error');
like($p->{json}{error}{message}, qr/\Q$connect\E/, 'with the URL');

# who cannot discover the server cannot call, and would never be asked

$t->audit_next(0);
$up->requests_next(0);
$m = mcp_post('/jira', rpc('server/discover', {}), token => token('bob'));
is("@{$m->{json}{result}{supportedVersions} || []}", '2026-07-28',
   'server/discover: which era');
is($m->{json}{result}{ttlMs}, 0, 'not to be kept');
is(scalar(() = $up->requests_next(0)), 0, 'said by the gateway');
($rec) = grep { $_->{method} eq 'server/discover' } $t->audit_next(1);
is("$rec->{decision} $rec->{reason}", 'deny no_grant', 'on record');

for my $cap ({ elicitation => { url => {} } }, {}) {
    my $r = mcp_post('/jira', { jsonrpc => '2.0', id => 1,
        method => 'initialize', params => { protocolVersion => $MCP::Test::LEGACY,
        capabilities => $cap, clientInfo => { name => 'x', version => '1' } } },
        token => token('carol'), era => 'legacy');
    my $id = $r->{headers}{'mcp-session-id'};

    # the session is carol's, who then loses the grant

    ok($id, 'a session');
    $redis->command('DEL', 'mcp:cred:' . $vault->name(owner('carol')));
    $redis->command('PUBLISH', 'mcp:events',
                    'cred ' . $vault->name(owner('carol')));
    my $l;
    wait_for(sub {
        $l = mcp_post('/jira', rpc('tools/call', { name => 'echo' },
                      era => 'legacy'), token => token('carol'),
                      era => 'legacy', session => $id);
        return !MCP::Provider->told($l);
    });

    if (%$cap) {
        is($l->{json}{error}{code}, -32042, 'legacy, opens URLs');
        my $e = $l->{json}{error}{data}{elicitations}[0];
        is($e->{url}, $connect, 'the URL');
        ok(length $e->{elicitationId}, 'an id');

    } else {
        ok($l->{json}{result}{isError}, 'legacy, cannot: a tool error');
        like($l->{json}{result}{content}[0]{text}, qr/\Q$connect\E/, 'the URL');
    }

    $vault->write($redis, owner('carol'), $carol);
    $redis->command('PUBLISH', 'mcp:events',
                    'cred ' . $vault->name(owner('carol')) . ' 1');
    ok(wait_for(sub { user(call('carol')) eq 'carol' }), 'connected again');
}

is(call('bob', uri => '/plain')->{status}, 403, 'without connect_url');
is(scalar(grep { $_->{headers}{authorization} !~ /^Bearer at-/ }
          $up->requests_next(0)), 0, 'nobody was forwarded without');

# ---- the server refuses the account, which the provider may have ended

for (401, 403) {
    $up->answer({ status => $_, json => { error => 'Bad credentials' } });
    my $r = call('carol');
    is($r->{status}, 502, "the server says $_");
    like($r->{json}{error}{message},
         qr/"jira".*disconnect it at \Q$connect\E and connect it again/,
         'who can mend it, and where');
}

$vault->write($redis, owner('dan', 'plain'), $idp->grant('dan'));
is(user(call('dan', uri => '/plain')), 'dan', 'an account without connect_url');
$up->answer({ status => 401 });
is(call('dan', uri => '/plain')->{json}{error}{message},
   'Upstream refused the credential of the gateway', 'refused: no address');
$up->requests_next(4);


# ---- a service

my $service = token('0oa1', cid => '0oa1');
is(call('', token => $service)->{status}, 403, 'a service has no account');
$rec = on_record(sub { $_->{reason} eq 'no_person' });
ok($rec, 'on record');
call('', token => $service, uri => '/mixed');
my ($seen) = $up->requests_next(1);
is($seen->{headers}{authorization}, 'Bearer bot', 'but the fallback');
$m = call('bob', uri => '/mixed');
ok($m->{json}{result}{isError}, 'which is for no person');

# ---- by role

grant('dave');
grant('dave', credential => 'admin');
my $as_admin = token('dave', groups => ['mcp-engineer']);
my $n = $vault->read($redis, owner('dave', 'admin'))->{tokens}{access_token};

call('dave', uri => '/roles', token => $as_admin);
call('dave', uri => '/roles');
my @two = map { $_->{headers}{authorization} } $up->requests_next(2);
is($two[-2], "Bearer $n", 'a role has another credential');
isnt($two[-1], "Bearer $n", 'without it');

# one verified token, in one worker, for servers with different credentials

grant('dave', credential => 'plain');
my %hers = map { $_ => 'Bearer ' . $vault->read($redis, owner('dave', $_))
                                   ->{tokens}{access_token} } qw/ jira plain /;
my $same = token('dave');
my $keep = MCP::Conn->new(port => MCP::Test::port(8080));
my @uris = map { ($_, $_) } qw/ jira plain jira plain /;

for my $name (@uris) {
    my $r = mcp_start("/$name", rpc('tools/call', { name => 'echo' }),
                      token => $same, conn => $keep)->read_response;
    is($r->{status}, 200, "one token at $name");
}

is_deeply([ map { $_->{headers}{authorization} } $up->requests_next(8) ],
          [ map { $hers{$_} } @uris ], 'each server gets its own credential');

# ---- refreshed in the background, while the old one serves

my $eve = grant('eve', lifetime => 300, expires => 40, issued => 260);
$idp->misbehave('hold', times => 1);

is(user(call('eve')), 'eve', 'a fifth is left: the old one serves');
ok($idp->wait_held(1), 'and is refreshed meanwhile');
is(user(call('eve')), 'eve', 'the old one still serves') for 1 .. 3;
my @old = map { $_->{headers}{authorization} } $up->requests_next(4);
is(scalar(grep { $_ eq "Bearer $eve->{access_token}" } @old[-4 .. -1]), 4,
   'it was the old one');
$idp->behave;
ok(wait_for(sub {
    user(call('eve')) eq 'eve' or return 0;
    my @r = $up->requests_next(1);
    return $r[-1]{headers}{authorization} ne "Bearer $eve->{access_token}";
}), 'then the new one');
is($idp->count(kind => 'refresh_token', user => 'eve'), 1, 'one refresh');
my $v = $vault->read($redis, owner('eve'));
is($v->{version}, 2, 'version 2');
ok(!defined $v->{flight}, 'no note is left');
my $event = on_record(sub { $_->{ev} eq 'credential' && $_->{user} eq 'eve' });
is($event->{method}, 'credential/refresh', 'an event of its own');
is($event->{credential_version}, 2, 'the new version');
is($event->{issuer}, $okta->{issuer}, 'whose');

# ---- what stands beside new tokens makes no sense: they are kept all the same

my $odd = grant('odd', expires => -1, issued => 301);

$idp->misbehave('change', with => { expires_in => -1, scope => ['a', 'b'] },
                times => 1);
is(user(call('odd')), 'odd', 'a lifetime of -1: served');
ok(wait_for(sub { $vault->read($redis, owner('odd'))->{version} == 2 }),
   'and written');

my $kept = $vault->read($redis, owner('odd'));

isnt($kept->{tokens}{refresh_token}, $odd->{refresh_token},
     'with the new refresh token');
is($kept->{expires} - $kept->{tokens}{issued}, 300, 'for five minutes');
ok($idp->alive($odd), 'the grant lives');

# ---- the provider ends the grant

my $fay = grant('fay', lifetime => 300, expires => 12, issued => 288);
$idp->misbehave('error', error => 'invalid_grant', times => 1);
is(user(call('fay')), 'fay', 'the access token serves');
ok(wait_for(sub { $vault->read($redis, owner('fay'))->{state} eq 'reauth' }),
   'the record says that it is over');
is(user(call('fay')), 'fay', 'it still serves');
my $asked = $idp->count(kind => 'refresh_token', client => 'gw');
call('fay') for 1 .. 4;
is($idp->count(kind => 'refresh_token', client => 'gw'), $asked,
   'the provider is not asked again');

# until its end

$vault->write($redis, owner('fay'), { %$fay, expires => int(time) - 1 },
              version => 7, state => 'reauth');
$redis->command('PUBLISH', 'mcp:events',
                'cred ' . $vault->name(owner('fay')) . ' 7');
$m = undef;
ok(wait_for(sub { $m = call('fay'); !MCP::Provider->told($m) }), 'it ended');
ok($m->{json}{result}{isError}, 'connect it again');
is(user(call('alice')), 'alice', 'others are not touched');

# ---- it fails for a moment

my $gus = grant('gus', lifetime => 300, expires => -1, issued => 301);
$idp->misbehave('status', status => 503, retry_after => 2, times => 1);
my $bad = call('gus');
is($bad->{status}, 503, 'nothing serves');
ok($bad->{headers}{'retry-after'} >= 2, 'Retry-After of the provider');
ok(wait_for(sub { !defined $vault->read($redis, owner('gus'))->{flight} }),
   'nothing happened: no note is left');
ok(wait_for(sub { user(call('gus')) eq 'gus' }), 'a moment later it does');
ok($idp->alive($gus), 'the grant lives');

# ---- records of others, and broken ones

my $hal = grant('hal');
my $stolen = { @{$redis->command('HGETALL', 'mcp:cred:'
                                 . $vault->name(owner('alice')))} };
$redis->command('HSET', 'mcp:cred:' . $vault->name(owner('hal')),
                'tok', $stolen->{tok});
$up->requests_next(0);
is(call('hal')->{status}, 503, 'a record moved to another user');
($rec) = grep { $_->{ev} eq 'call' } reverse $t->audit_next(1);
is($rec->{reason}, 'credential_unreadable', 'does not open');
is(scalar(() = $up->requests_next(0)), 0, 'nothing was forwarded');

for (['v', 'x'], ['exp', '-'], ['st', ''], ['tok', '']) {
    my ($field, $value) = @$_;
    grant('ida');
    $redis->command('HSET', 'mcp:cred:' . $vault->name(owner('ida')),
                    $field, $value);
    $redis->command('PUBLISH', 'mcp:events', 'cred '
                    . $vault->name(owner('ida')));
    sleep 0.1;
    my $r = call('ida');
    is($r->{status}, 503, "broken: $field");
    sleep 1.1;
}

# ---- the provider does not know the gateway: that is so for everybody

grant($_, credential => 'plain', expires => -1, issued => 301)
    for qw/ jim kim /;
$idp->misbehave('error', error => 'invalid_client', status => 401, times => 1);
$n = $idp->count;
is(call('jim', uri => '/plain')->{status}, 503, 'the gateway is refused');
my $kim = call('kim', uri => '/plain');
is($kim->{status}, 503, 'for somebody else');
ok($kim->{headers}{'retry-after'} > 1, 'Retry-After');
is($idp->count, $n + 1, 'it was not asked again');
is($vault->read($redis, owner($_, 'plain'))->{state}, 'active',
   "the grant of $_ is not touched") for qw/ jim kim /;

# ---- the old one serves, and the provider is asked less and less

grant('lea', expires => 60, issued => 3000);
$idp->misbehave('status', status => 500);

my ($longest, $served) = (0, 1);

ok(MCP::Test::wait_until(3 * $MCP::Test::TIMEOUT, sub {
    $served &&= user(call('lea')) eq 'lea';

    my $left = $redis->command('PTTL', 'mcp:lock:'
                               . $vault->name(owner('lea')));
    $longest = $left if $left > $longest && $left <= 5000;
    return $longest > 2500;
}), 'more time passes between two failures');
ok($served, 'the old token serves');
cmp_ok($idp->count(kind => 'refresh_token', user => 'lea'), '<', 12,
       'no storm');
$idp->behave;

# ---- the sweep

is($idp->count(kind => 'refresh_token', user => 'idle'), 1, 'once');
is($idp->count(kind => 'refresh_token', user => 'recent'), 0,
   'one that was refreshed lately is not');
is($idp->count(kind => 'refresh_token', user => 'left'), 0,
   'nor one of somebody who has left');
ok($idp->alive($idle), 'it lives');
ok(wait_for(sub { ($vault->read($redis, owner('idle')) || {})->{version} == 2 }),
   'and is written');
ok(wait_for(sub { (metric('credentials{credential="jira",state="active"}')
                   // 0) >= 2 }), 'records are counted');

# ---- no secret anywhere

my $all = join '', $t->read_log, map { $t->read_file($_) // '' }
                                 qw/ audit.log access.log /;
my $redis_all = join '|', map { my $k = $_;
    eval { map { $_ // '' } @{$redis->command('HGETALL', $k)} } }
    @{$redis->command('KEYS', 'mcp:cred:*')};

for ($idp->secrets) {
    fail("a secret in a log") if index($all, $_) >= 0;
    fail("a secret in Redis") if index($redis_all, $_) >= 0;
}

done_testing;

#!/usr/bin/perl

# The gateway's own tokens, from a file: a person's acts as the person, a
# service's as the account, with the roles, servers and scopes of the record and
# no longer than it says.  What is no token of ours, or of no use here, is
# refused; what was one is refused with a name on record.

use strict;
use warnings;

use Time::HiRes ();

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Issuer;
use MCP::Token;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $partner = MCP::Issuer->new($t, name => 'partner', static => 1);
my $up = MCP::Upstream->start($t, port => 8081, tools => [qw/ echo rm /]);
my $store = MCP::Token->new($t, peppers => [qw/ pepper-a pepper-b pepper-c /]);

# the same issuer under another name: a PAT's issuer is what its tokens say

my $twin = $okta->issuer_conf =~ s/mcp_issuer okta/mcp_issuer twin/r;

my $iss = $okta->{issuer};
my $long = time + 86400 * 365;
my %tok;

sub pat { $store->pat(issuer => $iss, user => 'alice', @_) }

%tok = (
    pat => pat(label => 'a laptop, of hers', by => 'root', hint => 'abcd'),
    second => pat(expires => $long),
    ops => pat(roles => [qw/ dev ops /]),
    nobody => pat(roles => ['unknown-role']),
    star => pat(roles => ['*']),
    vat => $store->vat(service => 'ci', roles => ['ops']),
    vat2 => $store->vat(service => 'backup', roles => ['ops']),
    here => pat(servers => ['mcp']),
    there => pat(servers => ['other', 'third']),
    glob => pat(servers => [qw/ mc* * * m? /, 'mcp2', 'MCP', 'mcp ']),
    resource => pat(servers => ['https://mcp.example.com/mcp']),
    partner => pat(issuer => $partner->{issuer}),
    stranger => pat(issuer => 'https://nobody.example.com'),
    slash => pat(issuer => "$iss/"),
    expired => pat(user => 'eve', expires => time - 1),
    soon => pat(expires => time + 6),
    revoked => pat(user => 'eve', revoked => time - 10),
    revoked_vat => $store->vat(service => 'old-ci', revoked => time - 10),
    both => pat(expires => time - 1, revoked => time - 10),
    future => pat(created => time + 1000, expires => $long),
    scoped => pat(scopes => [qw/ jira.use jira.admin /]),
    narrow => pat(scopes => ['jira.use']),
    pepper_b => pat(pepper => 'pepper-b', user => 'bob'),
    pepper_c => pat(pepper => 'pepper-c', user => 'carol'),
    shown => pat(),
    name => pat(user => "J\xc3\xb6rg, 50%= x"),
);

# "glob" has no server of its own: only patterns, and nearly names

$tok{glob}{servers} = [qw/ mc* *p m? mcp* /, 'mcp2', 'MCP', 'mcp '];

# a record whose kind is not that of the token

my $slip = $store->pat(issuer => $iss, user => 'alice');
my $line = $store->line($slip);
$store->drop($slip);
$line =~ s/^pat pat-/vat vat-/;
$line =~ s/issuer=\S+ user=\S+/service=ci/;
$store->write($store->text =~ s/^end$/$line\nend/mr);

sub conf {
    my (%o) = @_;
    my $keys = $o{keys} || '%%TESTDIR%%/pepper-a %%TESTDIR%%/pepper-b';

    return <<"END";
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_token_file %%TESTDIR%%/tokens;
    mcp_token_key $keys;
    mcp_token_failures 0;

    %%ISSUER_okta%%
    %%ISSUER_partner%%
    $twin

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        tokens on;
        role *   { allow tool any; }
        role dev { allow tool echo; }
        role ops { allow tool *; }
    }
    mcp_server other {
        resource https://mcp.example.com/other;
        issuer partner;
        tokens on;
        role * { allow tool *; }
    }
    mcp_server twin {
        resource https://mcp.example.com/twin;
        issuer twin;
        tokens on;
        role * { allow tool *; }
    }
    mcp_server plain {
        resource https://mcp.example.com/plain;
        issuer okta;
        tokens off;
        role * { allow tool *; }
    }
    mcp_server scoped {
        resource https://mcp.example.com/scoped;
        issuer okta;
        tokens on;
        scope jira.use;
        role * { allow tool *; }
        step_up scope=jira.admin tool rm;
    }

    log_format who '\$mcp_auth_user|\$mcp_auth_client|\$mcp_auth_kind|\$mcp_auth_roles|\$mcp_auth_issuer|\$mcp_auth_reason|\$early|\$mcp_auth_server';
    access_log %%TESTDIR%%/who.log who;

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        large_client_header_buffers 4 32k;

        @{[ map { "location /$_ { mcp_auth $_;
                    proxy_pass http://127.0.0.1:%%PORT_8081%%; }" }
             qw/ mcp other twin plain scoped / ]}
    }

    # asked before the access phase, and then as it was

    map \$mcp_auth_user\$mcp_auth_client \$early { ~(.+) \$1; default none; }
    limit_req_zone \$early zone=u:1m rate=100000r/s;
    limit_req zone=u burst=1000;
}
END
}

$t->write_conf(conf());
$t->start;

# one call; (what became of it, its record)

sub try {
    my ($token, %o) = @_;
    my $r = call_tool($o{uri} || '/mcp', $o{tool} || 'echo', {},
                      token => ref $token ? $token->{token} : $token, %o);
    my $a = $t->audit_next(1, settle => 0);
    my $got = $r->{status} != 200 ? "$r->{status} $a->{reason}"
            : $r->{json}{result} ? 'ok' : "denied $a->{reason}";

    return ($got, $a, $r);
}

sub got { (try(@_))[0] }

sub upstream_saw {
    my @seen = $up->requests_next(0);
    return scalar @seen;
}


# ---- a person's

my ($got, $a, $r) = try($tok{pat});

is($got, 'ok', 'a PAT');
is_deeply([ @$a{qw/ user client kind auth issuer token_id roles decision /} ],
          [ 'alice', undef, 'user', 'pat', $iss, $tok{pat}{id},
            [qw/ * dev /], 'allow' ], 'its record');
is(upstream_saw(), 1, 'it arrives');

($got, $a) = try($tok{pat});
is("$got $a->{token_id}", "ok $tok{pat}{id}", 'again, from the cache');
is(got($tok{pat}, tool => 'rm'), 'denied no_rule', 'its roles are its own');
is(got($tok{ops}, tool => 'rm'), 'ok', 'of another token of hers more');
is(got($tok{second}), 'ok', 'a second one');

for (qw/ nobody star /) {
    is(got($tok{$_}), 'denied no_rule', "role of $_: grants nothing");
    is(got($tok{$_}, tool => 'any'), 'ok', "role of $_: but what all may");
}

($got, $a) = try($tok{name});
is("$got $a->{user}", "ok J\x{f6}rg, 50%= x", 'any name');


# ---- a service's

($got, $a) = try($tok{vat}, tool => 'rm');
is($got, 'ok', 'a VAT');
is_deeply([ @$a{qw/ user client kind auth issuer token_id roles /} ],
          [ undef, 'ci', 'service', 'vat', undef, $tok{vat}{id},
            [qw/ * ops /] ],
          'its record');

for (qw( /other /twin )) {
    is(got($tok{vat}, uri => $_), 'ok', "a VAT at $_: it has no issuer");
}


# ---- servers

is(got($tok{here}), 'ok', 'for this server');
is(got($tok{here}, uri => '/twin'), '401 token_server', 'and no other');
($got, $a) = try($tok{there});
is($got, '401 token_server', 'for another one');
is("$a->{user} $a->{token_id} $a->{decision}", "alice $tok{there}{id} deny",
   'with a name on record');
is(got($tok{glob}), '401 token_server', 'names are no patterns');
is(got($tok{resource}), '401 token_server', 'nor URLs');

($got, $a, $r) = try($tok{pat}, uri => '/plain');
is($got, '401 own_tokens_off', 'where tokens are off');
like($r->{headers}{'www-authenticate'}, qr/error="invalid_token"/,
     'as any token that is refused');
is(got($tok{vat}, uri => '/plain'), '401 own_tokens_off', 'a VAT too');
is(got(MCP::Token::unknown(), uri => '/plain'), '401 own_tokens_off',
   'one that nobody has: the same answer');


# ---- issuers

is(got($tok{pat}, uri => '/other'), '401 unknown_issuer',
   'her issuer is none of this server\'s');
is(got($tok{partner}, uri => '/other'), 'ok', 'another\'s is');
is(got($tok{partner}), '401 unknown_issuer', 'and not at the first');
is(got($tok{stranger}), '401 unknown_issuer', 'of an issuer that is none');
is(got($tok{slash}), '401 unknown_issuer', 'byte for byte');
is(got($tok{pat}, uri => '/twin'), 'ok', 'by another block of the same issuer');


# ---- scopes

($got, $a, $r) = try($tok{pat}, uri => '/scoped');
is($got, '403 insufficient_scope', 'without the scope');
like($r->{headers}{'www-authenticate'}, qr/scope="jira.use"/, 'it is named');
is(got($tok{narrow}, uri => '/scoped'), 'ok', 'with it');
is(got($tok{narrow}, uri => '/scoped', tool => 'rm'), '403 insufficient_scope',
   'but for more');
is(got($tok{scoped}, uri => '/scoped', tool => 'rm'), 'ok', 'with all');


# ---- time

for (['expired', '401 expired', 'eve'], ['revoked', '401 token_revoked', 'eve'],
     ['both', '401 token_revoked', 'alice'])
{
    my ($what, $want, $user) = @$_;

    for my $n ('first', 'again') {
        ($got, $a, $r) = try($tok{$what});
        is($got, $want, "$what, $n");
        is_deeply([ @$a{qw/ user token_id auth ev decision /} ],
                  [ $user, $tok{$what}{id}, 'pat', 'auth', 'deny' ],
                  "$what, $n: whose it was");
    }

    like($r->{headers}{'www-authenticate'}, qr/error="invalid_token"/,
         "$what: challenge");
}

($got, $a) = try($tok{revoked_vat});
is("$got $a->{client}", '401 token_revoked old-ci', 'a VAT that was revoked');

is(got($tok{future}), 'ok', 'a clock that was behind when it was made');
is(got($tok{soon}), 'ok', 'not yet expired') if time < $tok{soon}{expires} - 2;
ok(MCP::Test::wait_until(20, sub { got($tok{soon}) eq '401 expired' }),
   'it expires, cached or not');
cmp_ok(Time::HiRes::time(), '>=', $tok{soon}{expires}, 'not before');


# ---- peppers

is(got($tok{pepper_b}), 'ok', 'made with the second key');
is(got($tok{pepper_c}), '401 token_unknown', 'with one that is not there');
like($t->read_log, qr/\[warn\].*tokens": 1 of \d+ tokens were made with a key/,
     'which is said');


# ---- what is no token of ours

upstream_saw();

my $good = $tok{ops}{token};
my $other = substr($good, 20, 1) eq 'a' ? 'b' : 'a';
my $jwt = $okta->token(groups => ['dev']);

sub with { my ($i, $c) = @_; my $s = $good; substr($s, $i, length $c) = $c; $s }

for (['of nobody', MCP::Token::unknown(), '401 token_unknown'],
     ['a VAT of nobody', MCP::Token::unknown('mcpv_'), '401 token_unknown'],
     ['the other kind', 'mcpv_' . substr($good, 5), '401 token_malformed'],
     ['the other kind, with its checksum', do {
         my $s = 'mcpv_' . substr $good, 5, 43; $s . MCP::Token::checksum($s)
      }, '401 token_unknown'],
     ['a wrong character', with(20, $other), '401 token_malformed'],
     ['a wrong checksum', substr($good, 0, 53)
                          . (substr($good, 53) eq '0' ? '1' : '0'),
      '401 token_malformed'],
     ['another case', with(5, uc substr $good, 5) eq $good
                      ? lc $good : 'mcpp_' . uc substr($good, 5),
      '401 token_malformed'],
     ['53 characters', substr($good, 0, 53), '401 token_malformed'],
     ['55 characters', $good . 'A', '401 token_malformed'],
     ['twice', "$good$good", '401 token_malformed'],
     ['the beginning only', 'mcpp_', '401 token_malformed'],
     ['a hyphen', with(30, '-'), '401 token_malformed'],
     ['an underscore', with(30, '_'), '401 token_malformed'],
     ['with a space', "$good x", '401 token_malformed'],
     ['with spaces behind', "$good\t x", '401 token_malformed'],
     ['with a comma', "$good,", '401 token_malformed'],
     ['two of them', "$good $tok{pat}{token}", '401 token_malformed'],
     ['a UTF-8 character', with(30, "\xc3\xa4"), '401 token_malformed'],
     ['a JWT behind it', "mcpp_$jwt", '401 token_malformed'],
     ['a JWT with it', "$jwt.$good", '401 token_segments'],
     ['its hash', $store->hash($tok{ops}), '401 token_segments'],
     ['its id', $tok{ops}{id}, '401 token_segments'],
     ['its record', $store->line($tok{ops}), '401 token_characters'],
     ['mcpP_', 'mcpP_' . substr($good, 5), '401 token_segments'],
     ['MCPP_', 'MCPP_' . substr($good, 5), '401 token_segments'],
     ['mcpr_', 'mcpr_' . substr($good, 5), '401 token_segments'],
     ['mcpp-', 'mcpp-' . substr($good, 5), '401 token_segments'],
     ['an x before it', "x$good", '401 token_segments'],
     ['a quote before it', qq("$good"), '401 token_characters'],
     ['long', 'mcpp_' . 'A' x 16000, '401 token_malformed'],
     ['too long', 'mcpp_' . 'A' x 17000, '401 token_too_long'])
{
    my ($what, $token, $want) = @$_;

    ($got, $a, $r) = try($token);
    ok($got eq $want || ($want =~ /segments|characters/
                         && $got =~ /^401 token_(?:segments|characters)$/),
       "$what: $want") or diag($got);
    ok(!exists $a->{user} && !exists $a->{token_id}, "$what: nobody");
    like($r->{headers}{'www-authenticate'}, qr/error="invalid_token"/,
         "$what: challenge");
}

is(got($good), 'ok', 'the good one is as good as before');

$r = call_tool('/mcp', 'echo', {}, headers => {
    Authorization => "bearer    $good" });
is($r->{status}, 200, 'the scheme in any case, more spaces');
$t->audit_next(1, settle => 0);

# nginx logs some of these, with the token

my $shown = $tok{shown}{token};

for ([$shown, $shown], [$shown, $jwt], [$jwt, $shown], [$shown, 'x']) {
    $r = call_tool('/mcp', 'echo', {}, headers => {
        Authorization => [ map { "Bearer $_" } @$_ ] });
    is($r->{status}, 400, 'two Authorization headers');
}

for ("Basic $good", "Token $good", $good, "Bearer$good", 'Bearer') {
    $r = call_tool('/mcp', 'echo', {}, headers => { Authorization => $_ });
    is($r->{status}, 401, 'another scheme: ' . (split ' ', $_)[0]);
}

for ("access_token=$shown", "x=1&access_token=$shown") {
    for my $header (undef, $shown) {
        is(call_tool("/mcp?$_", 'echo', {}, token => $header)->{status}, 400,
           'in the query');
    }
}

$r = call_tool('/mcp', 'echo', {}, headers => {
    'X-Api-Key' => $good, Cookie => "token=$good" });
is($r->{status}, 401, 'in other headers');

is(upstream_saw(), 2, 'only the good ones arrived');
is(got($slip->{token}), '401 token_unknown',
   'a record of the other kind is nobody\'s');
is(got($jwt), 'ok', 'a JWT is what it was');

$t->audit_next(0, settle => 0.2);


# ---- the upstream, and variables

upstream_saw();
is(got($good, headers => { 'X-Api-Key' => 'x' }), 'ok', 'a call');
my $req = $up->requests_next;
unlike($req->{head} . $req->{body}, qr/mcpp_|authorization/i,
       'the upstream sees no token');


# who calls: after the access phase; before it what a cache knows, and only
# what this server takes

sub who {
    my ($token, %o) = @_;
    my $from = length $t->read_file('who.log');

    got($token, %o);
    MCP::Test::wait_until(5, sub { length $t->read_file('who.log') > $from });
    return substr($t->read_file('who.log'), $from) =~ s/\n.*//sr
           =~ s/(?<![^|])-(?![^|])//gr;
}

my $new = pat(user => 'dora');
my $revoked = pat(user => 'dora', revoked => time - 1);
my $account = $store->vat(service => 'cd');

$store->write;
ok(MCP::Test::wait_until(10, sub { got($new, uri => '/twin') eq 'ok' }),
   'new tokens, noticed');

is(who($new), "dora||user|*,dev|$iss|allow|none|mcp", 'a PAT');
is(who($new), "dora||user|*,dev|$iss|allow|dora|mcp", 'known');
is(who($new, uri => '/plain'), '|||||own_tokens_off|none|plain',
   'not where tokens are off');
is(who($account, tool => 'any'), '|cd|service|*,dev||allow|none|mcp',
   'a VAT');
is(who($account, tool => 'any'), '|cd|service|*,dev||allow|cd|mcp', 'known');

for (1, 2) {
    is(who($revoked), "dora||user|*,dev|$iss|token_revoked|none|mcp",
       'one that was revoked is nobody before');
}


# ---- sessions and tasks: whose they are

sub legacy {
    my ($token, $session) = @_;
    my $r = mcp_post('/mcp', rpc('tools/call', { name => 'echo',
                     arguments => {} }, era => 'legacy'), era => 'legacy',
                     token => ref $token ? $token->{token} : $token,
                     defined $session ? (session => $session) : ());
    $t->audit_next(1, settle => 0);
    return $r->{status};
}

sub session {
    my ($token) = @_;

    $up->answer({ headers => { 'Mcp-Session-Id' => 'upstream-session' },
                  result => { protocolVersion => '2025-11-25',
                              capabilities => {},
                              serverInfo => { name => 'x' } } });
    my $id = legacy_session('/mcp', token => ref $token ? $token->{token}
                                                        : $token);
    $t->audit_next(1, settle => 0);
    return $id;
}

my %who = (pat => $tok{pat}, vat => $tok{vat},
           jwt => $okta->token(sub => 'alice', cid => 'ci',
                               groups => ['dev']));
my %session = map { $_ => session($who{$_}) } sort keys %who;

for my $of (sort keys %who) {
    for my $by (sort keys %who) {
        is(legacy($who{$by}, $session{$of}), $of eq $by ? 200 : 404,
           "the session of $of, by $by");
    }
}

is(legacy($tok{second}, $session{pat}), 200, 'by another PAT of hers');
is(legacy($tok{pepper_b}, $session{pat}), 404, 'by a PAT of another');
is(legacy($tok{vat2}, $session{vat}), 404, 'by another account');
is(legacy($okta->token(sub => 'ci', cid => 'ci'), $session{vat}), 404,
   'by an issuer\'s service of the same name');

my $task = { taskId => 'task-1', status => 'working',
             createdAt => '2026-01-01T00:00:00Z',
             lastUpdatedAt => '2026-01-01T00:00:00Z', ttl => 60000 };

$up->answer({ result => { task => $task } });
$r = call_tool('/mcp', 'echo', {}, token => $tok{pat}{token}, era => 'legacy');
is($r->{status}, 200, 'a task');
$t->audit_next(1, settle => 0);

for (['pat', 1], ['second', 1], ['vat', 0], ['pepper_b', 0]) {
    my ($by, $may) = @$_;

    $r = mcp_post('/mcp', rpc('tasks/get', { taskId => 'task-1' },
                  era => 'legacy'), token => $tok{$by}{token},
                  era => 'legacy');
    $a = $t->audit_next(1, settle => 0);
    is($a->{reason}, $may ? 'allow' : 'task_owner', "the task, by $by");
}


# ---- a new key: first in the list for new tokens, the old one for old ones

ok($t->reload(conf(keys => '%%TESTDIR%%/pepper-c %%TESTDIR%%/pepper-a')),
   'another ring');
is(got($tok{pepper_c}), 'ok', 'the new key');
is(got($tok{pat}), 'ok', 'the old one');
is(got($tok{pepper_b}), '401 token_unknown', 'the one that went');
is(session($tok{pat}), session($tok{pat}), 'sessions do not know of it');


# ---- nothing of them in any log

my $logs = join '', map { $t->read_file($_) }
           qw/ audit.log error.log access.log who.log nginx.out /;

for my $token (grep { $_ != $tok{shown} } @{$store->{tokens}}) {
    my $hash = $store->hash($token);
    ok(index($logs, substr $token->{token}, 5, 43) < 0
       && index($logs, substr $hash, 0, 16) < 0, "$token->{id} is in no log");
}

ok(index($logs, $_->{secret}) < 0 && index($logs, unpack 'H16', $_->{key}) < 0,
   'nor is a key') for values %{$store->{pepper}};

done_testing;

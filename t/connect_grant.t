#!/usr/bin/perl

# mcp_connect: a call is answered with an address, the person signs in, grants,
# and the very next call succeeds; she disconnects, and the next one asks again.
# Clients of each era; two tabs; two gateways; Redis that restarts.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();

use MCP::Test;
use MCP::Connect;

my $t = MCP::Test->new;
my $g = MCP::Connect->new($t);
my $url = $g->url;
my @tickets;

$g->start(workers => 2, credential => 'scope "read write";');

sub title { $_[0]{body} =~ /<h1>(.*?)<\/h1>/ ? $1 : $_[0]{body} }

sub token { $g->{okta}->token(sub => $_[0], cid => 'app', @_[1 .. $#_]) }

sub call {
    my ($user, %o) = @_;
    my $caps = $o{elicit} ? { elicitation => { url => {} } } : {};
    my $m = rpc('tools/call', { name => 'search', arguments => {}, _meta => {
        'io.modelcontextprotocol/clientCapabilities' => $caps } });
    my $r = mcp_post('/mcp', $m, token => token($user), %o);

    return ($r, eval { JSON::PP->new->utf8->decode($r->{body}) });
}

sub ticket_of {
    my ($text) = @_;
    my ($ticket) = ($text // '') =~ m!\Q$url\Estart/jira\?ticket=([\w-]{43})!;
    push @tickets, $ticket if defined $ticket;
    return $ticket;
}

# ---- asked

my ($r, $m) = call('alice', elicit => 1);
my $e = $m->{result}{inputRequests}{connect};

is($m->{result}{resultType}, 'input_required', 'a modern client is asked');
is($e->{method}, 'elicitation/create', 'by an elicitation');
is($e->{params}{mode}, 'url', 'of a URL');

my $first = ticket_of($e->{params}{url});
ok($first, 'on this gateway, with a ticket') or diag($r->{body});
is($e->{params}{url}, "${url}start/jira?ticket=$first", 'and nothing else');

($r, $m) = call('alice');
ok($m->{result}{isError}, 'another one gets an error of the tool');
is(ticket_of($m->{result}{content}[0]{text}), $first,
   'with the same address: nothing is heaped up');
is(scalar(grep { /\Amcp:tk:/ } @{$g->{redis}->command('KEYS', '*')}), 1,
   'one ticket');

($r, $m) = call('bob');
my $bobs = ticket_of($m->{result}{content}[0]{text});
isnt($bobs, $first, 'somebody else gets another');

unlike(join("\n", map { $g->{redis}->command('GET', $_) // '' }
            grep { /:t[kp]:/ } @{$g->{redis}->command('KEYS', '*')}),
       qr/\Q$first\E|alice|jira/, 'Redis has none of it in clear');

# ---- granted

my $b = $g->browser;
my $page = $b->get("${url}start/jira?ticket=$first");

is($page->{status}, 200, 'the address leads to a page, after a sign-in');
is(title($page), 'Connect an account', 'that asks');
like($page->{body}, qr!as <strong>Alice</strong>.*<strong>jira</strong>!s,
     'for whom, and what');
like($page->{body}, qr/127\.0\.0\.1/, 'at whom');
like($page->{headers}{'content-security-policy'},
     qr!form-action 'self' https: http://127\.0\.0\.1:\d+\z!,
     'its form may lead to the provider');
is($g->{idp}->count(kind => 'authorize'), 0, 'who was not asked yet');

my $done = $b->submit($page, qr/start/);

is(title($done), 'Connected', 'granted');
is($done->{url}, "${url}done", 'the code is not in the address any more');

my ($asked) = map { $_->{params} } grep { $_->{kind} eq 'authorize' }
              $g->{idp}->log;

is($asked->{scope}, 'read write', 'the scope was asked for');
is($asked->{redirect_uri}, "${url}grant/jira", 'with its redirect URI');
is($asked->{code_challenge_method}, 'S256', 'and PKCE');
ok(!exists $asked->{nonce}, 'without a nonce');

($r, $m) = call('alice');
my $told = MCP::Provider->told($r);
is($told->{user}, 'alice', 'the very next call succeeds');
is(call_as('alice'), 'alice', "and the next, $_") for 1 .. 6;

sub call_as {
    my ($r) = call(@_);
    my $told = MCP::Provider->told($r);
    return $told ? $told->{user} : $r->{body};
}

my %of = (credential => 'jira', issuer => $g->{okta}{issuer});
my $rec = $g->{vault}->read($g->{redis}, { %of, user => 'alice' });

is($rec->{state}, 'active', 'the record is active');
is($rec->{version}, 1, 'version 1');
is($rec->{tokens}{scope}, 'read write', 'with what was granted');

my @a = grep { $_->{ev} eq 'connect' } $t->audit;
is_deeply([ map { "$_->{method} $_->{decision} $_->{reason} $_->{user}" } @a ],
          [ 'connect/sign_in allow allow alice',
            'connect/start allow allow alice',
            'connect/grant allow credential alice' ], 'on record')
    or diag(explain(\@a));
is($a[2]{note}, 'read write', 'with what was granted');
is($a[2]{credential_version}, 1, 'as which version');
is($a[2]{client_ip}, '127.0.0.1', 'and from where');

is(metric("connect_steps_total{step=\"$_->[0]\",decision=\"$_->[1]\"}"),
   $_->[2], "counted: $_->[0] $_->[1]")
    for [ qw/ sign_in allow 1 / ], [ qw/ grant allow 1 / ],
        [ qw/ grant deny 0 / ], [ qw/ disconnect allow 0 / ];

# ---- a ticket is used once

my $again = $b->get("${url}start/jira?ticket=$first");
is($again->{status}, 403, 'a ticket that was used');
is(title($again), 'Too late', 'says so');
is(scalar $b->forms($again), 0, 'and nothing can be begun by it');

# ---- my connections

my $list = $b->get($url);
like($list->{body}, qr/Connected\./, 'it is in the list');
like($list->{body}, qr!<code>read</code>.*<code>write</code>!s,
     'with its scopes');
unlike($list->{body}, qr!href="[^"]*start/jira!, 'and need not be connected');

my $other = $g->browser;
$g->{login}->set(person => 'bob');
like($other->get($url)->{body}, qr/Not connected\./, 'it is not bob\'s');
$g->{login}->set(person => 'alice');

# ---- ended

my $after = $b->submit($list, qr/disconnect/);
is($after->{url}, $url, 'disconnected, and back in the list');
like($after->{body}, qr/Not connected\./, 'which says so');

($r, $m) = call('alice');
my $second = ticket_of($m->{result}{content}[0]{text});
ok($second, 'the next call asks again');
isnt($second, $first, 'with another ticket');
my %left = @{$g->{redis}->command('HGETALL', 'mcp:cred:'
             . $g->{vault}->name({ %of, user => 'alice' }))};
is_deeply([ @left{qw/ st tok /} ], [ 'revoked', '' ],
          'what is left says that it was ended, and has no token');

@a = grep { $_->{ev} eq 'connect' } $t->audit;
is("$a[-1]{method} $a[-1]{decision} $a[-1]{user} $a[-1]{credential}",
   'connect/disconnect allow alice jira', 'on record');

# ---- and again, without a ticket, over the mark

$list = $b->get($url);
my ($link) = grep { /start/ } $b->links($list);
$done = $b->submit($b->get($b->absolute($list, $link)), qr/start/);
is(title($done), 'Connected', 'connected again, from the list');
is(call_as('alice'), 'alice', 'and the call succeeds');
is($g->{idp}->count(kind => 'authorization_code', user => 'alice'), 2,
   'each code was asked for once');

# ---- a client of 2025-11-25

my %legacy = (era => 'legacy', token => token('carol'));

$r = mcp_post('/mcp', rpc('initialize', { protocolVersion => '2025-11-25',
    capabilities => { elicitation => { url => {} } },
    clientInfo => { name => 'x', version => '1' } }, era => 'legacy'), %legacy);
my $session = $r->{headers}{'mcp-session-id'};

$r = mcp_post('/mcp', rpc('tools/call', { name => 'search', arguments => {} },
                  era => 'legacy'), %legacy,
              $session ? (session => $session) : ());
$m = JSON::PP->new->utf8->decode($r->{body});

SKIP: {
    skip 'no session', 2 unless $session;
    is($m->{error}{code}, -32042, 'a legacy client gets -32042');
    ok(ticket_of($m->{error}{data}{elicitations}[0]{url}), 'with the address');
}

# ---- two tabs

$g->{login}->set(person => 'dave');
$g->{idp}->set(person => 'dave');
$b = $g->browser;
my @tabs = map { $b->get("${url}start/jira") } 1, 2;
my @got = map { title($b->submit($_, qr/start/)) } @tabs;
is_deeply(\@got, [ 'Connected', 'Connected' ], 'two tabs: both end well');
is(call_as('dave'), 'dave', 'and there is a grant');
is($g->{vault}->read($g->{redis}, { %of, user => 'dave' })->{version}, 2,
   'the second one\'s');

# ---- Redis restarts in the middle

$t->allow_log(qr/mcp_redis|redis/);
$g->{login}->set(person => 'erin');
$g->{idp}->set(person => 'erin');
$b = $g->browser;
$page = $b->get("${url}start/jira");
$b->{follow} = 0;
my $away = $b->submit($page, qr/start/);
my $back = $b->get($away->{headers}{location}, site => 'cross');

$g->{redis}->kill;
$g->{redis}->run;
$b->{follow} = 1;

my $late;
MCP::Test::wait_until(20, sub {
    $late = $b->get($back->{headers}{location}, site => 'cross');
    $late->{status} != 503 });
is(title($late), 'Too late', 'what Redis forgot has to be begun again');
like($late->{body}, qr/href="/, 'and there is a way on');

# each worker finds it again for itself

MCP::Test::wait_until(20, sub {
    my $r = $b->get("${url}start/jira");
    $r->{status} == 200
        and title($done = $b->submit($r, qr/start/)) eq 'Connected' });
is(title($done), 'Connected', 'which ends well');
is(call_as('erin'), 'erin', 'the call succeeds');

# ---- a session that ends while the provider has the browser

$t->keep_secret(grep { defined } @tickets);
done_testing();

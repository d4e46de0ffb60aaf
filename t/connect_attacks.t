#!/usr/bin/perl

# mcp_connect under attack: states, codes, tickets and forms in the wrong hands,
# answers of the wrong provider, and providers that misbehave.  Each time
# nothing is connected, the page says what to do, and the audit says what it
# was.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Time::HiRes qw/ sleep /;

use MCP::Test;
use MCP::Connect;

my $t = MCP::Test->new;
my $g = MCP::Connect->new($t);
my $url = $g->url;
my $host = '127.0.0.1';
my %of = (credential => 'jira', issuer => $g->{okta}{issuer});
my $wiki = 'mcp_credential wiki { type user; provider generic;'
    . ' authorize_endpoint ' . $g->{idp}->endpoint('/authorize') . ';'
    . ' token_endpoint ' . $g->{idp}->endpoint . ';'
    . ' auth_method client_secret_post; client_id gw;'
    . ' client_secret idp-secret-4711; }';

$g->start(credential => 'scope "read write"; timeout 2s;', http => $wiki);

sub title { $_[0]{body} =~ /<h1>(.*?)<\/h1>/ ? $1 : $_[0]{body} }

sub signed_in {
    my ($who) = @_;
    $g->{login}->set(person => $who);
    my $b = $g->browser;
    $b->get($url);
    return $b;
}

# as far as the provider: the browser, and where it is sent back to

sub begun {
    my ($who, $credential) = @_;
    my $b = signed_in($who);

    $g->{idp}->set(person => $who);

    my $page = $b->get("${url}start/" . ($credential // 'jira'));

    $b->{follow} = 0;
    my $r = $b->submit($page, qr/start/);
    $r = $b->get($r->{headers}{location}, site => 'cross');

    return ($b, $r->{headers}{location});
}

sub codes { $g->{idp}->count(kind => 'authorization_code') }

sub connected {
    my ($who, $credential) = @_;
    my $name = $g->{vault}->name({ %of, user => $who, $credential
                                   ? (credential => $credential) : () });
    my $st = $g->{redis}->command('HGET', "mcp:cred:$name", 'st');
    return defined $st && $st eq 'active' ? 1 : 0;
}

# a request that is refused: status, reason; whether a code may be used by it

sub refused {
    my ($what, $status, $reason, $codes, $code) = @_;
    my $before = codes();

    $t->audit_next(0);
    my $r = $code->();

    is($r->{status}, $status, "$what: $status") or diag(title($r));
    is($r->{headers}{'x-frame-options'}, 'DENY', "$what: no frame");
    like($r->{body}, qr/<a class="button" href="/, "$what: a page with a way on");
    like($r->{body}, qr!<code>\Q$reason\E</code>!, "$what: and the reason");
    unlike($r->{body}, qr/evil|<script|onerror/, "$what: nothing of theirs");

    my ($a) = grep { $_->{ev} eq 'connect' && $_->{decision} ne 'allow' }
              $t->audit_next(1);
    is($a->{reason}, $reason, "$what: $reason on record");
    is(codes() - $before, $codes, "$what: codes used");

    return $a;
}

my ($b, $to, $c, $other, $r);

# ---- states

($b, $to) = begun('alice');
is($b->get($to, site => 'cross')->{status}, 303, 'a grant');
ok(connected('alice'), 'is there');
refused('a state again', 400, 'connect_state', 0,
        sub { $b->get($to, site => 'cross') });

($b, $to) = begun('bea');
refused('in another browser', 403, 'connect_browser', 0,
        sub { $g->browser(follow => 0)->get($to) });
ok(!connected('bea'), 'nothing is connected');
refused('then in the first one', 400, 'connect_state', 0,
        sub { $b->get($to) });

($b, $to) = begun('cara');
$c = signed_in('dora');
$c->{follow} = 0;
refused('by another person', 403, 'connect_person', 0, sub { $c->get($to) });
ok(!connected('cara') && !connected('dora'), 'neither is connected');

($b, $to) = begun('emma');
$c = signed_in('emma');
$c->{follow} = 0;
refused('by the same person elsewhere', 403, 'connect_browser', 0,
        sub { $c->get($to) });

# a state that is opened, changed and sealed again

sub changed {
    my ($what, $re, $with) = @_;
    my ($b, $to) = begun('fay');

    resealed($what, 'mcp:st:*', $re, $with);
    return ($b, $to);
}

sub resealed {
    my ($what, $keys, $re, $with) = @_;
    my ($key) = @{$g->{redis}->command('KEYS', $keys)};
    my %whose = (subject => substr $key, 4);
    my $text = $g->{vault}->unseal(\%whose, 'connect', 0,
                                   $g->{redis}->command('GET', $key));
    (my $new = $text) =~ s/$re/$with->()/e;

    isnt($new, $text, "$what: opened");
    $g->{redis}->command('SET', $key, $g->{vault}->seal(\%whose, 'connect', 0,
                                                        $new));
}

for ([ 'of ten minutes ago', qr/"t":(\d+)/, sub { '"t":' . ($1 - 601) } ],
     [ 'of the future', qr/"t":(\d+)/, sub { '"t":' . ($1 + 120) } ],
     [ 'with something more', qr/\{/, sub { '{"x":"",' } ],
     [ 'of another kind', qr/"k":2/, sub { '"k":3' } ])
{
    my ($what, @how) = @$_;
    ($b, $to) = changed($what, @how);
    refused($what, 400, 'connect_state', 0, sub { $b->get($to) });
}

($b, $to) = changed('the person of another issuer',
                    qr/("person_issuer":)"[^"]*"/,
                    sub { qq{$1"https://evil.example.com"} });
refused('the person of another issuer', 403, 'connect_person', 0,
        sub { $b->get($to) });

($b, $to) = begun('gina');
my ($key) = grep { /\Amcp:st:/ } @{$g->{redis}->command('KEYS', 'mcp:st:*')};
($c, $other) = begun('hana');
my ($key2) = grep { $_ ne $key } @{$g->{redis}->command('KEYS', 'mcp:st:*')};
$g->{redis}->command('SET', $key2, $g->{redis}->command('GET', $key));
refused('the text of another state in its place', 400, 'connect_state', 0,
        sub { $c->get($other) });
$g->{redis}->command('DEL', $key);

# a state of a sign-in is none of a grant, and the other way round

($b, $to) = begun('ines');
(my $swapped = $to) =~ s!grant/jira!callback!;
refused('a grant\'s state at the sign-in', 400, 'connect_state', 0,
        sub { $b->get($swapped) });

# ---- mix-up

($b, $to) = begun('jill');
($swapped = $to) =~ s!grant/jira!grant/wiki!;
refused('at another provider\'s address', 502, 'connect_issuer', 0,
        sub { $b->get($swapped) });
ok(!connected('jill') && !connected('jill', 'wiki'), 'nothing is connected');

for ([ 'another issuer', { iss => 'https://evil.example.com' },
       'connect_issuer' ],
     [ 'an issuer on another port', { iss => 'http://127.0.0.1:'
       . MCP::Test::port(8091) }, 'connect_issuer' ],
     [ 'an issuer by TLS', { iss => 'https://127.0.0.1:'
       . MCP::Test::port(8090) }, 'connect_issuer' ],
     [ 'an issuer on another host', { iss => 'http://127.0.0.2:'
       . MCP::Test::port(8090) }, 'connect_issuer' ],
     [ 'an issuer that is no URL', { iss => '<script>' }, 'connect_issuer' ],
     [ 'an error with a hostile text', { code => undef,
       error => 'access_denied"><script>evil()</script>',
       error_description => "<img onerror=evil()>\r\nSet-Cookie: a=b",
       error_uri => 'https://evil.example.com' }, 'connect_refused' ],
     [ 'an error and a code', { error => 'evil' }, 'connect_refused' ],
     [ 'no code', { code => undef }, 'connect_code' ],
     [ 'a code of 5000 bytes', { code => 'x' x 5000 }, 'connect_code' ])
{
    my ($what, $back, $reason) = @$_;
    $g->{idp}->set(back => $back);
    ($b, $to) = begun('kim');
    $g->{idp}->set(back => {});
    refused($what, $reason eq 'connect_refused' ? 403 : 502, $reason, 0,
            sub { $b->get($to, site => 'cross') });
    ok(!connected('kim'), "$what: nothing is connected");
}

$g->{idp}->set(iss => 'http://127.0.0.1:' . MCP::Test::port(8090) . '/x');
($b, $to) = begun('lea');
is($b->get($to)->{status}, 303, 'its own issuer is good');
$g->{idp}->set(iss => undef);

($b, $to) = begun('mia');
refused('a parameter twice', 400, 'connect_state', 0,
        sub { $b->get("$to&code=evil") });
($b, $to) = begun('mia');
refused('the state twice', 400, 'connect_state', 0,
        sub { $b->get("$to&state=" . 'A' x 43) });

# ---- a victim's code with an attacker's state

($b, $to) = begun('nora');
($c, $other) = begun('olga');
my ($theirs) = $other =~ /code=([^&]+)/;
($swapped = $to) =~ s/code=[^&]+/code=$theirs/;
$t->allow_log(qr/a code was not exchanged/, qr/127\.0\.0\.1/);
refused('another\'s code', 502, 'credential_provider', 1,
        sub { $b->get($swapped) });
ok(!connected('nora'), 'nothing is connected');
is($c->get($other)->{status}, 303, 'whose it is can use it still');

# ---- tickets

sub ticket_for {
    my ($who) = @_;
    my $r = call_tool('/mcp', 'search', {},
                      token => $g->{okta}->token(sub => $who, cid => 'app'));
    my ($ticket) = $r->{body} =~ /ticket=([\w-]{43})/ or die $r->{body};
    $t->keep_secret($ticket);
    return "${url}start/jira?ticket=$ticket";
}

my $link = ticket_for('mallory');
$b = signed_in('pia');
my $a = refused('a link that was made for somebody else', 403,
                'connect_ticket_other', 0, sub { $b->get($link) });
is($a->{user}, 'pia', 'who opened it is on record');
is($a->{credential}, 'jira', 'and what for');

# with the form of her own page, and the link of the other

my $page = $b->get("${url}start/jira");
my ($form) = $b->forms($page);
my ($ticket) = $link =~ /ticket=(.*)/;
refused('the same with a form of her own', 403, 'connect_ticket_other', 0,
        sub { $b->post("${url}start/jira", [ @{$form->{fields}},
                                            [ ticket => $ticket ] ]) });
ok(!connected('pia') && !connected('mallory'), 'nothing is connected');

refused('a link that never was', 403, 'connect_ticket', 0,
        sub { $b->get("${url}start/jira?ticket=" . 'A' x 43) });

# two issuers may have a person of the same name

for ([ 'a ticket of another issuer\'s person', qr/("person_issuer":)"[^"]*"/,
       sub { qq{$1"https://evil.example.com"} }, 'connect_ticket_other' ],
     [ 'a ticket of long ago', qr/"t":(\d+)/, sub { '"t":' . ($1 - 601) },
       'connect_ticket' ],
     [ 'a ticket that is something else', qr/"k":3/, sub { '"k":2' },
       'connect_ticket' ])
{
    my ($what, $re, $with, $reason) = @$_;
    $g->{redis}->command('DEL', $_)
        for map { @{$g->{redis}->command('KEYS', "mcp:$_:*")} } qw/ tk tp /;

    my $link = ticket_for('pia');
    resealed($what, 'mcp:tk:*', $re, $with);
    refused($what, 403, $reason, 0, sub { $b->get($link) });
}

$link = ticket_for('quinn');
(my $wrong = $link) =~ s!start/jira!start/wiki!;
$b = signed_in('quinn');
refused('a link with another credential', 403, 'connect_ticket_other', 0,
        sub { $b->get($wrong) });
is($b->get($link)->{status}, 200, 'it serves whom it was made for');

# ---- forms

($b, $to) = begun('alice');
$b->{follow} = 1;
$b->get($to, site => 'cross');
my $list = $b->get($url);
my ($end) = grep { $_->{action} =~ /disconnect\/jira/ } $b->forms($list);
my ($begin) = $b->forms($b->get("${url}start/jira"));
my $mallory = signed_in('mallory');
my ($m) = grep { $_->{action} =~ /logout/ }
          $mallory->forms($mallory->get($url));

for ([ 'another site', [ ], site => 'cross' ],
     [ 'another site that has a form of its own', $m->{fields} ],
     [ 'no token', [ ] ], [ 'an empty one', [ [ csrf => '' ] ] ],
     [ 'garbage', [ [ csrf => 'x' x 200 ] ] ],
     [ 'the token of another form', $begin->{fields} ])
{
    my ($what, $fields, %o) = @$_;
    refused("disconnect by $what", 403, 'connect_form', 0,
            sub { $b->post("${url}disconnect/jira", $fields, %o) });
    ok(connected('alice'), 'it stays connected');
}

my @origin = (Origin => 'http://127.0.0.1:' . MCP::Test::port(8080));

for ([ Origin => 'https://evil.example.com' ], [ $origin[0], "$origin[1]1" ],
     [ 'Sec-Fetch-Site' => 'cross-site' ], [ 'Sec-Fetch-Site' => 'same-site' ],
     [ 'Sec-Fetch-Site' => 'none' ])
{
    refused("a good token, but $_->[0]: $_->[1]", 403, 'connect_form', 0,
            sub { $b->post("${url}disconnect/jira", $end->{fields},
                           headers => [ $_ ]) });
    ok(connected('alice'), 'it stays connected');
}

refused('a grant begun by another site', 403, 'connect_form', 0,
        sub { $b->post("${url}start/jira", [ [ csrf => 'x' ] ]) });
refused('a form of jira for wiki', 403, 'connect_form', 0,
        sub { $b->post("${url}start/wiki", $begin->{fields}) });
is($b->go('GET', "${url}disconnect/jira?csrf=x")->{status}, 405,
   'a link disconnects nothing');
ok(connected('alice'), 'nor did any of it');
$r = $b->post("${url}disconnect/jira", $end->{fields}, headers => [
     [ @origin ], [ 'Sec-Fetch-Site' => 'same-origin' ] ]);
ok(!connected('alice'), 'her own form does, as her browser sends it');

# ---- where redirects go

for ('//evil.example.com', 'https://evil.example.com/', '/\\evil.example.com',
     "jira\r\nLocation: https://evil.example.com", 'javascript:evil()',
     'jira/../../x', '%0d%0aSet-Cookie:a=b')
{
    my $c = $g->browser(follow => 0);
    my $r = $c->get("${url}login?to=" . MCP::Browser::escape($_));
    my $where = $r->{headers}{location};

    is($r->{status}, 303, "to=$_");
    is(MCP::Browser::origin($where), 'http://127.0.0.1:'
       . MCP::Test::port(8091), 'goes to the login alone');
    unlike($r->{raw}, qr/evil/, 'and says nothing of it');

    $g->{login}->set(person => 'rita');
    $r = $c->get($c->get($where)->{headers}{location}, site => 'cross');
    is($r->{headers}{location}, $url, 'and from there to the connections');
}

# what is no ticket goes nowhere

for ('evil', 'A' x 42, 'A' x 42 . '&', "A" x 41 . "\r\n", 'A' x 5000) {
    my $c = $g->browser(follow => 0);
    my $r = $c->get("${url}login?to=jira&ticket=" . MCP::Browser::escape($_));

    $r = $c->get($c->get($r->{headers}{location})->{headers}{location},
                 site => 'cross');
    is($r->{headers}{location}, "${url}start/jira",
       'what is no ticket goes nowhere');
}

$r = $g->browser(follow => 0)->get("${url}login",
                            headers => [ [ Host => 'evil.example.com' ] ]);
unlike($r->{raw}, qr/evil/, 'a Host is not taken for ours');

# ---- providers

my @slow = (timeout => 1);

for ([ 'huge', 502, 'credential_provider', huge => ],
     [ 'slow', 502, 'credential_provider', silent => seconds => 5 ],
     [ 'HTML', 502, 'credential_provider', 'html' ],
     [ 'a trickle', 502, 'credential_provider', trickle => seconds => 0.3 ],
     [ 'empty', 502, 'credential_provider', 'empty' ],
     [ '500', 502, 'credential_provider', status => status => 500 ],
     [ 'a redirect', 502, 'credential_client', redirect =>
       to => 'https://evil.example.com' ],
     [ 'invalid_client', 502, 'credential_client', error =>
       error => 'invalid_client', status => 401 ],
     [ 'another type of token', 502, 'credential_provider', 'mac' ],
     [ 'a token with a line end', 502, 'credential_provider', change =>
       with => { access_token => "a\r\nX-Evil: evil" } ],
     [ 'fewer scopes', 403, 'connect_scope', change =>
       with => { scope => 'read' } ],
     [ 'no scope at all', 403, 'connect_scope', change =>
       with => { scope => '' } ],
     [ 'other scopes', 403, 'connect_scope', change =>
       with => { scope => '<script>evil()</script>' } ])
{
    my ($what, $status, $reason, @mode) = @$_;
    ($b, $to) = begun('sara');
    $g->{idp}->misbehave(@mode);
    refused("the answer is $what", $status, $reason, 1,
            sub { $b->get($to, site => 'cross') });
    $g->{idp}->behave;
    ok(!connected('sara'), "$what: nothing is connected");
}

# ---- a browser that goes while the code is exchanged

($b, $to) = begun('tess');
$g->{idp}->misbehave('slow', seconds => 1);
my ($path) = $to =~ m!(/connect/.*)!;
my $cookie = '__Host-mcp-connect=' . $b->cookie($host, '__Host-mcp-connect');
my $conn = MCP::Test::http_start("GET $path HTTP/1.1\r\nHost: x\r\n"
                                 . "Cookie: $cookie\r\n\r\n");
MCP::Test::wait_until(10, sub { codes() > 0
    && $g->{idp}->count(kind => 'authorization_code', user => 'tess') });
$conn->close;
ok(MCP::Test::wait_until(10, sub { connected('tess') }),
   'what a code brought is kept, also when the browser is gone');
$g->{idp}->behave;

is($g->{idp}->count(reuse => 1), 0, 'no code was used twice');
done_testing();

#!/usr/bin/perl

# mcp_connect: the handler's routes, what every answer has, and the sign-in of a
# person: what is sent, what comes back, and what is refused.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Connect;

my $t = MCP::Test->new;
my $g = MCP::Connect->new($t);
my $url = $g->url;
my $host = '127.0.0.1';
my $stranger = 'http://127.0.0.1:' . MCP::Test::port(8080);

$g->start(server => 'error_page 418 /connect/; location = /teapot { return 418; }
          location = /try { try_files /none /connect/; }');

sub title { $_[0]{body} =~ /<h1>(.*?)<\/h1>/ ? $1 : $_[0]{body} }

sub headers_ok {
    my ($what, $r) = @_;
    my $h = $r->{headers};

    is($h->{'content-security-policy'}, "default-src 'none'; style-src 'self'; "
       . "base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
       "$what: policy");
    is_deeply([ @$h{qw/ cache-control referrer-policy x-content-type-options
                        x-frame-options /} ],
              [ qw/ no-store no-referrer nosniff DENY / ], "$what: headers");
}

# ---- routes and methods

my $b = $g->browser(follow => 0);

for ([ GET => 'nothing', 404 ], [ GET => 'start/nobody', 404 ],
     [ GET => 'start/', 404 ], [ GET => 'start/jira/x', 404 ],
     [ GET => 'loginx', 404 ], [ POST => '', 405 ], [ POST => 'login', 405 ],
     [ GET => 'logout', 405 ], [ GET => 'disconnect/jira', 405 ],
     [ DELETE => '', 405 ], [ OPTIONS => '', 405 ], [ PUT => 'start/jira', 405 ],
     [ GET => 'style.css', 200 ], [ HEAD => 'style.css', 200 ],
     [ GET => '', 303 ], [ HEAD => '', 303 ], [ GET => 'callback', 400 ],
     [ GET => 'grant/jira', 400 ], [ GET => 'done', 200 ],
     [ GET => 'callback?state=a&state=b', 400 ],
     [ GET => 'start/jira?ticket=x', 400 ],
     [ GET => 'login?' . 'a' x 8193, 400 ],
     [ GET => 'login?to=%zz', 400 ], [ GET => 'login?to=%00', 400 ])
{
    my ($method, $path, $status) = @$_;
    my $r = $b->go($method, "$url$path");
    my $what = "$method " . substr $path, 0, 30;

    is($r->{status}, $status, "$what: $status");
    headers_ok($what, $r);
    is($r->{body}, '', "$what: no body") if $method eq 'HEAD';
    is($r->{headers}{allow}, $path =~ /logout|disconnect/ ? 'POST'
       : $path eq 'login' ? 'GET' : 'GET, HEAD', "$what: Allow")
        if $status == 405 && $path !~ /^start/;
}

like($b->get($g->url('style.css'))->{headers}{'content-type'},
     qr!\Atext/css!, 'the style is one');

for ([ '/teapot', 'error_page' ], [ '/try', 'try_files' ]) {
    my $r = $b->get("$stranger$_->[0]");
    is($r->{status}, 404, "$_->[1] does not lead there");
    ok(!$r->{headers}{'set-cookie'}, "$_->[1]: no cookie");
}

for ([ 'text/plain', 415 ], [ 'multipart/form-data; boundary=x', 415 ],
     [ undef, 415 ], [ 'application/x-www-form-urlencodedx', 415 ],
     [ 'xapplication/x-www-form-urlencoded', 415 ],
     [ 'application/x-www-form-urlencoded; charset=utf-8', 200 ])
{
    my $r = $b->post($g->url('logout'), 'a=b',
                     headers => [ [ 'Content-Type' => $_->[0] ] ]);
    is($r->{status}, $_->[1], 'a form of type ' . ($_->[0] // 'none'));
}

is($b->post($g->url('logout'), 'a=' . 'x' x 9000)->{status}, 413,
   'a form that is too large');

# ---- a sign-in

$b = $g->browser;
my $r = $b->get($url);

is($r->{status}, 200, 'signed in');
is($r->{url}, $url, 'and back at the beginning');
like($r->{body}, qr!Signed in as <strong>Alice</strong>!, 'as alice');
headers_ok('my connections', $r);

my ($page) = grep { $_->{url} =~ m!/authorize! } @{$b->{log}};
my ($asked) = grep { $_->{kind} eq 'authorize' } $g->{login}->log;
my ($code) = grep { $_->{kind} eq 'authorization_code' } $g->{login}->log;
my $p = $asked->{params};

is($p->{scope}, 'openid profile', 'scope');
is($p->{redirect_uri}, $g->url('callback'), 'redirect_uri');
is($p->{code_challenge_method}, 'S256', 'PKCE');
like($p->{state}, qr/\A[\w-]{43}\z/, 'state');
like($p->{nonce}, qr/\A[\w-]{43}\z/, 'nonce');
isnt($p->{state}, $p->{nonce}, 'which are two');
is($code->{auth}, 'basic', 'the code went by client_secret_basic');
is($g->{login}->count(kind => 'authorization_code'), 1, 'once');

my ($set) = map { $_->[1] } grep { lc $_->[0] eq 'set-cookie'
                                   && $_->[1] =~ /mcp-connect/ }
            map { @{$_->{all}} } @{$b->{log}};

like($set, qr{\A__Host-mcp-connect=[\w-]+;[ ]Path=/;[ ]Max-Age=\d+;[ ]Secure;
              [ ]HttpOnly;[ ]SameSite=Lax\z}x, 'the cookie of a session');
unlike($set, qr/alice/i, 'tells nothing');

my @a = grep { $_->{ev} eq 'connect' } $t->audit_next(1);
@a = $a[-1];

is_deeply([ map { [ @$_{qw/ method decision reason user issuer /} ] } @a ],
          [ [ 'connect/sign_in', 'allow', 'allow', 'alice',
              $g->{okta}{issuer} ] ],
          'on record') or diag(explain(\@a));

is($b->get($url)->{status}, 200, 'the session is known');
is($g->{login}->count(kind => 'authorize'), 1, 'without another sign-in');

# ---- signing out

my $out = $b->submit($r, qr/logout/);

is($out->{status}, 200, 'signed out');
is(title($out), 'Signed out', 'says the page');
$g->{login}->set(person => undef);
is($b->get($url)->{body}, 'please sign in', 'then one has to sign in again');
$g->{login}->set(person => 'alice');

$b = $g->browser;
$r = $b->get($url);
is($b->post($g->url('logout'), [ [ csrf => 'x' ] ])->{status}, 403,
   'not without the form of this session');
is($b->get($url)->{body} =~ /Alice/ ? 1 : 0, 1, 'who stays signed in');

# ---- a session is what was sealed, for this page, for 15 minutes

my $good = $b->cookie($host, '__Host-mcp-connect');

for ([ 'changed', substr($good, 0, -2) . 'AA' ], [ 'empty', '' ],
     [ 'cut', substr $good, 0, 40 ], [ 'none of ours', 'x' x 100 ],
     [ 'huge', 'x' x 7000 ],
     [ 'of another cookie', $b->cookie($host, '__Host-mcp-login') ])
{
    my $c = $g->browser(follow => 0);
    my $r = $c->get($url, headers => [ [ Cookie =>
                    "__Host-mcp-connect=$_->[1]" ] ]);
    is($r->{status}, 303, "a cookie that is $_->[0] is none");
    like($r->{headers}{location}, qr!/connect/login\z!, 'to the sign-in');
}

$r = $g->browser(follow => 0)->get($url, headers => [ [ Cookie =>
         "__Host-mcp-connect=$good; __Host-mcp-connect=$good" ] ]);
is($r->{status}, 303, 'two of them are none');
is($g->browser(follow => 0)->get($url, headers => [ [ Cookie =>
   "a=b;  __Host-mcp-connect=$good; c=d" ] ])->{status}, 200,
   'among others it is known');

# ---- what comes back is refused

sub callback_of {
    my ($b) = @_;
    my ($l) = grep { $_->{url} =~ m!/authorize! } reverse @{$b->{log}};
    return $l->{headers}{location};
}

# how far: stops before the callback is followed

sub begin {
    my $b = $g->browser;
    $b->{follow} = 0;
    my $r = $b->get($g->url('login'));
    $r = $b->get($r->{headers}{location}, site => 'cross');
    return ($b, $r->{headers}{location});
}

sub refused {
    my ($what, $status, $reason, $b, $to) = @_;
    my $before = $g->{login}->count(kind => 'authorization_code');

    $t->audit_next(0);
    my $r = $b->get($to, site => 'cross');

    is($r->{status}, $status, "$what: $status") or diag(title($r));
    headers_ok($what, $r);
    unlike(($r->{headers}{'set-cookie'} // ''), qr/mcp-connect=[\w-]/,
           "$what: no session");

    my ($a) = grep { $_->{ev} eq 'connect' } $t->audit_next(1);
    is($a->{reason}, $reason, "$what: $reason on record");
    isnt($a->{decision}, 'allow', "$what: not allowed");
    unlike($r->{body}, qr/<script|evil/, "$what: nothing of theirs is shown");

    return $g->{login}->count(kind => 'authorization_code') - $before;
}

my ($c, $to) = begin();

is($c->get($to, site => 'cross')->{status}, 303, 'a callback');
is(refused('replayed', 400, 'connect_state', $c, $to), 0, 'not asked for');

($c, $to) = begin();
is(refused('in another browser', 403, 'connect_browser',
           $g->browser(follow => 0), $to), 0, 'the code is not used');
is(refused('and then in the first', 400, 'connect_state', $c, $to), 0,
   'the state is gone');

my ($d, $other) = begin();
($c, $to) = begin();
is(refused('with another\'s state', 403, 'connect_browser', $c, $other), 0,
   'the code is not used');

for ([ 'the state is unknown', { state => 'A' x 43 }, 'connect_state', 400 ],
     [ 'the state is malformed', { state => 'A' x 42 . '!' },
       'connect_state', 400 ],
     [ 'no state', { state => undef }, 'connect_state', 400 ],
     [ 'no code', { code => undef }, 'connect_code', 403 ],
     [ 'a code of controls', { code => "a\r\nb" }, 'connect_code', 403 ],
     [ 'an error', { code => undef, error => 'access_denied',
       error_description => '<script>evil()</script>' }, 'connect_refused',
       403 ],
     [ 'an error and a code', { error => 'x' }, 'connect_refused', 403 ],
     [ 'of another issuer', { iss => 'https://evil.example.com' },
       'connect_issuer', 403 ],
     [ 'an error of another issuer', { iss => 'https://evil.example.com',
       error => 'evil' }, 'connect_issuer', 403 ])
{
    my ($what, $back, $reason, $status) = @$_;
    $g->{login}->set(back => $back);
    is(refused($what, $status, $reason, begin()), 0, "$what: not asked");
    $g->{login}->set(back => {});
}

$g->{login}->set(iss => $g->{okta}{issuer});
($c, $to) = begin();
is($c->get($to, site => 'cross')->{status}, 303, 'with iss, its own');
$g->{login}->set(iss => undef);

# ---- the ID token

my $now = time;

for ([ 'another nonce', { nonce => 'x' }, 'nonce' ],
     [ 'no nonce', { nonce => undef }, 'nonce' ],
     [ 'another audience', { aud => 'somebody' }, 'aud' ],
     [ 'several audiences', { aud => [ 'gw:login', 'x' ] }, 'aud' ],
     [ 'another azp', { azp => 'x' }, 'aud' ],
     [ 'another issuer', { iss => 'https://evil.example.com' }, 'iss' ],
     [ 'expired', { exp => $now - 60 }, 'expired' ],
     [ 'of long ago', { iat => $now - 3600 }, 'expired' ],
     [ 'of the future', { iat => $now + 3600 }, 'issued_in_future' ],
     [ 'no exp', { exp => undef }, 'exp' ],
     [ 'no iat', { iat => undef }, 'iat' ],
     [ 'no subject', { sub => undef }, 'sub' ],
     [ 'an access token', { -typ => 'at+jwt' }, 'typ' ],
     [ 'no signature', { -header => '{"alg":"none","kid":"key-1"}' }, 'alg' ],
     [ 'the secret as its key', { -header => '{"alg":"HS256"}' }, 'alg' ],
     [ 'an audience of something else', { aud => { 'gw:login' => 1 } },
       'aud' ],
     [ 'a user that is a number', { uid => 7 }, 'user' ],
     [ 'a user with a line end', { uid => "alice\r\nX: y" }, 'user' ],
     [ 'a user of 300 bytes', { uid => 'a' x 300 }, 'user' ],
     [ 'a user that is empty', { uid => '' }, 'user' ],
     [ 'an unknown key', { -kid => 'nobody' }, 'unknown_kid' ])
{
    my ($what, $claims, $reason) = @$_;
    $g->{login}->set(id_token => $claims);
    my ($b, $to) = begin();
    $reason = 'user' if $reason eq 'sub';
    is(refused($what, 403, $reason, $b, $to), 1, "$what: asked once");
    $g->{login}->set(id_token => {});
}

for ([ 'an error', 'error', error => 'invalid_grant' ], [ 'HTML', 'html' ],
     [ 'huge', 'huge' ], [ 'nothing', 'close' ], [ '500', 'status',
       status => 500 ], [ 'no ID token', 'change', with => {
       id_token => undef } ], [ 'no token at all', 'change', with => {
       id_token => 'evil' } ])
{
    my ($what, @mode) = @$_;
    $g->{login}->misbehave(@mode);
    my ($b, $to) = begin();
    my $reason = $what eq 'no token at all' ? 'token_segments'
               : 'login_provider';
    is(refused("the answer is $what", 403, $reason, $b, $to), 1,
       "$what: asked once");
    $g->{login}->behave;
}

for ([ '<script>evil()</script>"\'', '&lt;script&gt;evil()&lt;/script&gt;' ],
     [ "a\x{202e}b", "a\x{fffd}b" ])
{
    my ($name, $shown) = @$_;
    $g->{login}->set(id_token => { name => $name });
    utf8::encode($shown);
    like($g->browser->get($url)->{body}, qr/\Q$shown\E/,
         'a name is text, and no more');
    $g->{login}->set(id_token => {});
}

# ---- Redis is away

$t->allow_log(qr/mcp_redis/, qr/\[error\].*(?:sign-in failed|fetch)/,
              qr/token endpoint|127\.0\.0\.1/);
($c, $to) = begin();
$g->{redis}->kill;

MCP::Test::wait_until(10, sub {
    $g->browser(follow => 0)->get($g->url('login'))->{status} == 503 });
is($c->get($to)->{status}, 503, 'a callback without Redis');
$g->{redis}->run;
ok(MCP::Test::wait_until(20, sub {
   $g->browser->get($url)->{body} =~ /Alice/ }), 'when it is back, all is well');

is($c->get($to)->{status}, 400, 'what was begun before has to be begun again');

# ---- rates

my $n = 0;
$b = $g->browser(follow => 0);

do { $r = $b->get($g->url('callback')) }
while ($r->{status} != 429 && $n++ < 2000);

ok($n > 100 && $n < 2000, 'too many at once are refused') or diag($n);
like($r->{headers}{'retry-after'}, qr/\A\d+\z/, 'and are told when');
headers_ok('too many', $r);
is($b->get($g->url('done'))->{status}, 200, 'other pages are there');

$t->finish if $t->can('finish');
done_testing();

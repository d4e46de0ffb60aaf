#!/usr/bin/perl

# mcp_connect while things change: the configuration is another one when a
# browser comes back; its person is revoked meanwhile; workers go while a request
# waits; another site wants to sign somebody out.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Connect;
use MCP::Provider;

my $t = MCP::Test->new;
my $g = MCP::Connect->new($t);
my $url = $g->url;
my $idp = $g->{idp};
my $host = '127.0.0.1';
my $other = MCP::Provider->start($t, name => 'other', port => 8092,
    redirects => [ "${url}grant/jira" ],
    clients => { gw => { secret => 'idp-secret-4711', auth => 'post' } });

$g->start;

my $plain = $g->conf;

sub title { $_[0]{body} =~ /<h1>(.*?)<\/h1>/ ? $1 : $_[0]{body} }

sub signed_in {
    my ($who) = @_;
    $_->set(person => $who) for $g->{login}, $idp, $other;
    my $b = $g->browser;
    $b->get($url);
    return $b;
}

# as far as the provider: the browser, and where it is sent back to

sub begun {
    my $b = signed_in(@_);
    my $page = $b->get("${url}start/jira");

    $b->{follow} = 0;
    my $r = $b->get($b->submit($page, qr/start/)->{headers}{location},
                    site => 'cross');
    return ($b, $r->{headers}{location});
}

sub begun_login {
    my $b = $g->browser(follow => 0);
    my $r = $b->get($b->get("${url}login")->{headers}{location},
                    site => 'cross');
    return ($b, $r->{headers}{location});
}

# whose token the server behind is shown for this caller

sub served {
    my ($who) = @_;
    my $r = call_tool('/mcp', 'echo', {}, token => $g->{okta}->token(
        sub => $who, aud => 'https://mcp.example.com/mcp',
        -expires => 3000));
    return (MCP::Provider->told($r) || {})->{user} // '-';
}

sub codes { $_[0]->count(kind => 'authorization_code') }

sub connected {
    my ($who) = @_;
    my $name = $g->{vault}->name({ credential => 'jira', user => $who,
                                   issuer => $g->{okta}{issuer} });
    return ($g->{redis}->command('HGET', "mcp:cred:$name", 'st') // '')
           eq 'active' ? 1 : 0;
}

sub reason { (grep { $_->{ev} eq 'connect' && $_->{decision} ne 'allow' }
              $t->audit_next(1))[0]{reason} }

# ---- another provider has the credential when the browser is back

my ($b, $to) = begun('alice');
my ($from, $there) = map { $_->endpoint('/authorize') } $idp, $other;
(my $conf = $plain) =~ s/\Q$from\E/$there/ or die;
$from = $idp->endpoint;
$there = $other->endpoint;
$conf =~ s/token_endpoint \Q$from\E/token_endpoint $there/ or die;
($from, $there) = map { $_->endpoint('/revoke') } $idp, $other;
$conf =~ s/revoke_endpoint \Q$from\E/revoke_endpoint $there/ or die;

ok($t->reload($conf), 'the credential is at another provider now');
$t->audit_next(0);
my $r = $b->get($to, site => 'cross');
is($r->{status}, 502, 'a code of the one before');
is(reason(), 'connect_issuer', 'is not for the new one');
is(codes($_), 0, 'nobody was asked') for $idp, $other;

$b->{follow} = 1;
is(title($b->submit($b->get("${url}start/jira"), qr/start/)), 'Connected',
   'begun again it ends well');
is(codes($other), 1, 'at the new one');

# what she granted at the one before is shown to nobody, and given to nobody

ok($t->reload($plain), 'as it was');
$b = signed_in('ivy');
$b->{follow} = 1;
is(title($b->submit($b->get("${url}start/jira"), qr/start/)), 'Connected',
   'granted there');
is(served('ivy'), 'ivy', 'and served');

ok($t->reload($conf), 'and at another one again');
my $at_other = () = $other->log;
is(served('ivy'), '-', 'it is not served any more');
like($b->get($url)->{body}, qr/Has to be connected again/, 'which she is told');
is(title($b->submit($b->get($url), qr/disconnect/)), 'My connections',
   'disconnected');
ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
   grep { $_->{reason} eq 'no_revoke_endpoint' && $_->{user} eq 'ivy' }
        $t->audit(0) }), 'of which nobody can be told');
is(() = $other->log, $at_other, 'the new one has seen nothing of it');
ok($idp->alive('ivy'), 'and the one before lives on');

# ---- another issuer signs people in

ok($t->reload($plain), 'as it was');
($b, $to) = begun_login();

my $ends = 'authorization_endpoint ' . $g->{login}->endpoint('/authorize')
    . '; token_endpoint ' . $g->{login}->endpoint . ';';
my $keys = $g->{okta}->jwks_file;
($conf = $plain) =~ s/login=okta/login=new/ or die;
$conf =~ s/issuer okta;/issuer okta; issuer new;/ or die;
$conf =~ s/(mcp_issuer okta )/mcp_issuer new { issuer https:\/\/new.example.com;
    jwks_file $keys; client_id gw:login; client_secret x; $ends } $1/ or die;

ok($t->reload($conf), 'the login is another issuer now');
my $before = codes($g->{login});
$t->audit_next(0);
$r = $b->get($to, site => 'cross');
is($r->{status}, 403, 'a code of the one before');
is(reason(), 'connect_issuer', 'is not for the new one');
is(codes($g->{login}), $before, 'nobody was asked');

ok($t->reload($plain), 'as it was');
$b = signed_in('alice');
ok($t->reload($conf), 'and again');
$b->{follow} = 0;
is($b->get($url)->{headers}{location}, "${url}login",
   'a session of the one before is none');

# ---- an issuer that wants the secret in the form

$g->{login}->set(clients => { 'gw:login' => { auth => 'post',
                              secret => 'login-secret-$&%4711' } });
($conf = $plain) =~ s/client_id gw:login;/$& auth_method client_secret_post;/;
ok($t->reload($conf), 'auth_method client_secret_post');
is(signed_in('alice')->get($url)->{status}, 200, 'signs people in');
is((grep { $_->{kind} eq 'authorization_code' } $g->{login}->log)[-1]{auth},
   'post', 'so');
$g->{login}->set(clients => { 'gw:login' => { auth => 'basic',
                              secret => 'login-secret-$&%4711' } });

# ---- workers go while a code is exchanged

ok($t->reload($plain), 'as it was');
($b, $to) = begun('bea');
$idp->misbehave('hold');
my ($path) = $to =~ m!(/connect/.*)!;
my $conn = MCP::Test::http_start("GET $path HTTP/1.1\r\nHost: x\r\n"
    . 'Cookie: __Host-mcp-connect='
    . $b->cookie($host, '__Host-mcp-connect') . "\r\n\r\n");
ok($idp->wait_held, 'a code is being exchanged');
ok($t->reload($plain), 'and the workers are replaced');
$idp->release;
$idp->behave;
is($conn->read_response->{headers}{location}, "${url}done",
   'the old one ends it');
ok(connected('bea'), 'connected');

# ---- revoked: before, and while the provider takes its time

sub revoke {
    my ($who, $at) = @_;
    $g->{redis}->revoke(issuer => $g->{okta}{issuer}, user => $who,
                        at => $at // time + 1);
}

$b = signed_in('cara');
is($b->get($url)->{status}, 200, 'signed in');
revoke('cara');
$b->{follow} = 0;
ok(MCP::Test::wait_until(10, sub { $b->get($url)->{status} == 303 }),
   'whoever is revoked is not any more');
ok(!$b->get("${url}start/jira")->{body}, 'no page for her');

revoke('cara', time + 600);
MCP::Test::wait_until(10, sub { $r = $g->browser->get($url);
                                $r->{status} == 403 });
is($r->{status}, 403, 'nor signs in again before that is over');
like($r->{body}, qr!<code>revoked</code>!, 'which is why');
unlike(($r->{headers}{'set-cookie'} // ''), qr/mcp-connect=[\w-]/,
       'no session');

($b, $to) = begun('dora');
revoke('dora');
MCP::Test::wait_until(10, sub { $b->get($url)->{status} == 303 });
$before = codes($idp);
is($b->get($to, site => 'cross')->{status}, 403, 'nor does a grant end');
is(codes($idp), $before, 'no code is used');

($b, $to) = begun('emma');
my $else = $g->browser(cookies => { $host => { %{$b->{cookies}{$host}} } },
                       follow => 0);
$idp->misbehave('hold');
($path) = $to =~ m!(/connect/.*)!;
$conn = MCP::Test::http_start("GET $path HTTP/1.1\r\nHost: x\r\n"
    . 'Cookie: __Host-mcp-connect='
    . $b->cookie($host, '__Host-mcp-connect') . "\r\n\r\n");
ok($idp->wait_held, 'a code is being exchanged');
revoke('emma');
ok(MCP::Test::wait_until(10, sub { $else->get($url)->{status} == 303 }),
   'its person is revoked');
$t->audit_next(0);
$idp->release;
$idp->behave;
is($conn->read_response->{status}, 403, 'what was granted is not kept');
is(reason(), 'revoked', 'on record');
ok(!connected('emma'), 'there is none');
ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub { !$idp->alive('emma') }),
   'nor at the provider');

# one that is heard of when the grant is kept already

$b = signed_in('gina');
my $at = time + 1;
MCP::Test::wait_until(10, sub { time > $at + 1 });
is(title($b->submit($b->get("${url}start/jira"), qr/start/)), 'Connected',
   'granted by who is revoked, as nobody here knows yet');
revoke('gina', $at);
ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub { !connected('gina') }),
   'it ends when that is known');
ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub { !$idp->alive('gina') }),
   'at the provider, too');

# ---- another site's form signs nobody out

$b = signed_in('fay');
$r = $b->post("${url}logout", [], site => 'cross');
ok(!$r->{headers}{'set-cookie'}, 'without cookies there are none to forget');
is($b->get($url)->{status}, 200, 'signed in still');
like($b->get($url)->{body}, qr/Fay/, 'as she was');
is($b->post("${url}logout", [])->{status}, 403, 'nor without a token');
$r = $b->submit($b->get($url), qr/logout/);
is(title($r), 'Signed out', 'her own does');
is(scalar keys %{$b->{cookies}{$host}}, 0, 'and nothing is left');

done_testing();

#!/usr/bin/perl

# mcp_connect and the issuer's keys: an ID token may have to wait for them, or
# for new ones; without any nobody is signed in, and a code is used once all the
# same.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ sleep /;

use MCP::Test;
use MCP::Connect;
use MCP::Issuer;

my $t = MCP::Test->new;
my $g = MCP::Connect->new($t);
my $url = $g->url;
my $login = $g->{login};
my $at = 'http://127.0.0.1:' . MCP::Test::port(8091);
my $jwks = $g->{okta}->jwks;
my $others = MCP::Issuer->new($t, name => 'others', static => 1, conf => '',
                              kid => 'another')->jwks;
my $conf = $g->conf;
my $file = $g->{okta}->jwks_file;

$conf =~ s/jwks_file \Q$file\E;/jwks_uri $at\/keys; jwks_timeout 20s;/ or die;
$t->allow_log(qr/\[error\].*(?:keys|127\.0\.0\.1)/);
$t->write_conf($conf);

sub keys_are { $login->set(documents => { '/keys' => { @_ } }) }
sub codes { $login->count(kind => 'authorization_code') }

sub begun {
    my $b = $g->browser(follow => 0);
    my $r = $b->get($b->get("${url}login")->{headers}{location},
                    site => 'cross');
    return ($b, $r->{headers}{location});
}

sub signed_in {
    my ($who) = @_;
    return MCP::Test::wait_until(20, sub {
        grep { $_->{ev} eq 'connect' && $_->{method} eq 'connect/sign_in'
               && $_->{decision} eq 'allow' && $_->{user} eq $who }
        $t->audit(0) });
}

# ---- keys that come late

keys_are(body => $jwks, wait => 2);
$t->start;

my ($b, $to) = begun();
is($b->get($to, site => 'cross')->{headers}{location}, $url,
   'keys are waited for');
is(codes(), 1, 'with one code');
$t->stop;

# ---- and a browser that does not wait

$t->start;
$login->set(person => 'bea');
($b, $to) = begun();

my ($path) = $to =~ m!(/connect/.*)!;
my $conn = MCP::Test::http_start("GET $path HTTP/1.1\r\nHost: x\r\n"
    . 'Cookie: __Host-mcp-login='
    . $b->cookie('127.0.0.1', '__Host-mcp-login') . "\r\n\r\n");
ok(MCP::Test::wait_until(10, sub { codes() == 2 }), 'the code is used');
$conn->close;
ok(signed_in('bea'), 'it ends as it would have');
$t->stop;

# ---- no keys

keys_are(status => 500, body => 'evil');
$t->start;
($b, $to) = begun();
$t->audit_next(0);
my $r = $b->get($to, site => 'cross');
is($r->{status}, 503, 'without keys: not now');
unlike($r->{body}, qr/evil/, 'nothing of theirs');
like($r->{body}, qr/<a class="button" href="/, 'and there is a way on');
unlike(($r->{headers}{'set-cookie'} // ''), qr/mcp-connect=[\w-]/,
       'no session');
is((grep { $_->{ev} eq 'connect' } $t->audit_next(1))[0]{reason}, 'no_keys',
   'on record');
$t->stop;

# ---- new keys

keys_are(body => $others);
$t->start;
($b, $to) = begun();
is($b->get($to, site => 'cross')->{status}, 403, 'a key that nobody knows');

$login->set(person => 'cara');
keys_are(body => $jwks);
ok(MCP::Test::wait_until(60, sub {
    sleep 0.5;
    $g->browser->get($url)->{body} =~ /Cara/ }), 'it is found when it is there');

# the same kid, and another key: a signature of somebody else

$t->stop;
$others = MCP::Issuer->new($t, name => 'forged', static => 1, conf => '',
                           kid => 'key-1')->jwks;
keys_are(body => $others);
$t->start;
($b, $to) = begun();
$t->audit_next(0);
is($b->get($to, site => 'cross')->{status}, 403, 'signed by somebody else');
is((grep { $_->{ev} eq 'connect' } $t->audit_next(1))[0]{reason},
   'signature', 'on record');

done_testing();

#!/usr/bin/perl

# mcp_connect: what nginx refuses before the pages are asked, or what it does
# beside them.  Each answer has the headers of the pages, no log has a code, a
# state or a ticket, and nobody who only looks (HEAD) changes anything.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Connect;

my $t = MCP::Test->new;
my $g = MCP::Connect->new($t);
my $url = $g->url;
my $secret = 'leaks-here-0123456789';

$t->allow_log(qr/limiting requests/, qr/access forbidden/, qr/mcp_redis/,
              qr/client intended to send too large/);

$g->start(http => <<'END', server => <<'END2', location => <<'END3');
    log_format all '$request|$request_uri|$args|$query_string|$arg_code|$status';
    access_log %%TESTDIR%%/all.log all;
    limit_req_zone $http_x_limit zone=one:1m rate=1r/m;
    map $http_x_basic $realm { default off; ~. closed; }
END
        location = /mirrored { return 204; }
        location /forbidden/ { deny all; }
END2
            if ($http_x_return) { return 403; }
            if ($http_x_args) { set $args "to=jira"; }
            limit_req zone=one;
            auth_basic $realm;
            auth_basic_user_file %%TESTDIR%%/nobody;
            mirror /mirrored;
            client_max_body_size 20k;
            location /connect/closed/ { deny all; }
END3
$t->write_file('nobody', '');

sub headers_ok {
    my ($what, $r) = @_;
    my $h = $r->{headers};

    is($h->{'content-security-policy'}, "default-src 'none'; style-src 'self'; "
       . "base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
       "$what: policy, once");
    is_deeply([ @$h{qw/ cache-control referrer-policy x-content-type-options
                        x-frame-options /} ],
              [ qw/ no-store no-referrer nosniff DENY / ],
              "$what: headers, once");
}

my $b = $g->browser(follow => 0);
my $to = "${url}callback?code=$secret&state=$secret";

for ([ 'what a rewrite refuses', 403, GET => "${url}x", [ 'X-Return' => 1 ] ],
     [ 'what goes through limit_req', 400, GET => $to, [ 'X-Limit' => 1 ] ],
     [ 'what limit_req refuses', 503, GET => $to, [ 'X-Limit' => 1 ] ],
     [ 'who has no password', 401, GET => $to, [ 'X-Basic' => 1 ] ],
     [ 'a ticket without a password', 401, GET =>
       "${url}start/jira?ticket=$secret", [ 'X-Basic' => 1 ] ],
     [ 'nothing of ours', 404, GET => "${url}x?code=$secret" ],
     [ 'another method', 405, PUT => $to ])
{
    my ($what, $status, $method, $at, @h) = @$_;
    my $r = $b->go($method, $at, headers => \@h);

    is($r->{status}, $status, "$what: $status");
    headers_ok($what, $r);
    unlike($r->{raw}, qr/\Q$secret\E/, "$what: none of it is shown");
}

for ([ 'too large to be read', [ 'Content-Length' => 200_000 ], '' ],
     [ 'too large as it comes', [ 'Transfer-Encoding' => 'chunked' ],
       sprintf("%x\r\n%s\r\n0\r\n\r\n", 30_000, 'x' x 30_000) ],
     [ 'larger than a form of ours', [ 'Transfer-Encoding' => 'chunked' ],
       sprintf("%x\r\n%s\r\n0\r\n\r\n", 9_000, 'x' x 9_000) ],
     [ 'not chunked as it says', [ 'Transfer-Encoding' => 'chunked' ],
       "zz\r\n", 400 ])
{
    my ($what, $h, $body, $status) = @$_;
    my $r = $b->post("${url}logout", $body, headers =>
                     [ [ 'Content-Length' => undef ], $h ]);

    is($r->{status}, $status // 413, "a body $what");
    headers_ok("a body $what", $r);
}

my $log = $t->read_file('all.log');

unlike($log . $t->read_log, qr/\Q$secret\E/, 'no log has any of it');
like($log, qr!^GET /connect/callback HTTP/1\.1\|/connect/callback\|!m,
     'but for the path');

my $refused = $g->browser(follow => 0)->get("${url}closed/");
is($refused->{status}, 403, 'a location within, of the operator\'s');
ok(!$refused->{headers}{'set-cookie'}, 'which is none of ours');

# a query of the operator's own is not the request's to take away

is($g->browser(follow => 0)->get("${url}login", headers => [[ 'X-Args' => 1 ]])
     ->{status}, 303, "it is there for each request ($_)") for 1 .. 2;
$g->{redis}->command('FLUSHALL');

# ---- who only looks

$b = $g->browser(follow => 0);
$_->set(person => 'alice') for $g->{login}, $g->{idp};

my $r = $b->go(HEAD => "${url}login");
is($r->{status}, 405, 'HEAD begins no sign-in');
is($r->{headers}{allow}, 'GET', 'and is told how');
ok(!$r->{headers}{'set-cookie'}, 'no cookie');
is(scalar @{$g->{redis}->command('KEYS', 'mcp:st:*')}, 0, 'no state');

$r = $b->get($b->get("${url}login")->{headers}{location}, site => 'cross');
$to = $r->{headers}{location};
$r = $b->go(HEAD => $to, site => 'cross');
is($r->{status}, 405, 'HEAD ends none');
is($r->{body}, '', 'no body');
headers_ok('HEAD', $r);
is($g->{login}->count(kind => 'authorization_code'), 0, 'no code is used');

my ($key) = @{$g->{redis}->command('KEYS', 'mcp:st:*')};
my $ms = $g->{redis}->command('PTTL', $key);
cmp_ok($ms, '<=', 600_000, 'a state is for ten minutes');
cmp_ok($ms, '>', 500_000, 'and not for less');
is($b->get($to, site => 'cross')->{status}, 303, 'the state is there still');

my $page = $b->get("${url}start/jira");
is($b->go(HEAD => "${url}start/jira")->{headers}{allow}, 'GET, POST',
   'HEAD of a start page');
$r = $b->submit($page, qr/start/);
$to = $b->get($r->{headers}{location}, site => 'cross')->{headers}{location};
is($b->go(HEAD => $to, site => 'cross')->{status}, 405, 'HEAD grants nothing');
is($g->{idp}->count(kind => 'authorization_code'), 0, 'no code is used');
is($b->get($to, site => 'cross')->{headers}{location}, "${url}done",
   'which is good still');

done_testing();

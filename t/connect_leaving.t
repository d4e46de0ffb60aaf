#!/usr/bin/perl

# mcp_connect and browsers that go: at each thing that a request may wait for,
# by an end or by a reset.  Nobody else notices, and what must not be lost is
# kept.  And browsers that ask for several things at once over one connection.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Socket qw/ SOL_SOCKET SO_LINGER /;
use Time::HiRes qw/ sleep /;

use MCP::Test;
use MCP::Connect;
use MCP::Proxy;

my $t = MCP::Test->new;
my $at = 'http://127.0.0.1:' . MCP::Test::port(8091);
my $g = MCP::Connect->new($t, iss => $at);
my $url = $g->url;
my $host = '127.0.0.1';
my $proxy = MCP::Proxy->start($t, port => 6380, to => $g->{redis}->socket);
my $doc = JSON::PP->new->canonical->encode({ issuer => $at,
    authorization_endpoint => "$at/authorize", token_endpoint => "$at/token" });

sub document {
    $g->{login}->set(documents => { '/.well-known/openid-configuration'
                                    => { body => $doc, @_ } });
}

document();
$t->allow_log(qr/mcp_redis/, qr/client prematurely closed/);
$g->start(redis_port => 6380, redis_conf => 'timeout 30s;', endpoints => '',
          credential => 'scope "read write";');

sub cookies {
    my ($b) = @_;
    my $c = $b->{cookies}{$host};
    return 'Cookie: ' . join('; ', map { "$_=$c->{$_}{value}" } sort keys %$c)
           . "\r\n";
}

sub bytes {
    my ($b, $method, $to, $body) = @_;
    my ($path) = $to =~ m!(/connect/.*)!;

    return "$method $path HTTP/1.1\r\nHost: x\r\n" . cookies($b)
           . (defined $body ? 'Content-Type: application/x-www-form-urlencoded'
              . "\r\nContent-Length: " . length($body) . "\r\n" : '')
           . "\r\n" . ($body // '');
}

# a request whose browser goes when `there` is true

sub leaves {
    my ($what, $bytes, $there, $reset) = @_;
    my $conn = MCP::Test::http_start($bytes);

    ok(MCP::Test::wait_until(10, $there), "$what: it waits");

    if ($reset) {
        setsockopt $conn->{sock}, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
    }

    $conn->close;
    sleep 0.05;
}

sub signed_in {
    my ($who) = @_;
    $_->set(person => $who) for $g->{login}, $g->{idp};
    my $b = $g->browser;
    is($b->get($url)->{status}, 200, "$who is signed in");
    return $b;
}

sub all_well {
    my ($what) = @_;
    my $b = $g->browser;
    is($b->get($url)->{status}, 200, "$what: others notice nothing");
}

# ---- where people sign in is not known yet

document(wait => 1);
$t->stop;
$t->start;

my $nobody = $g->browser;
my $asked = $g->{login}->count(kind => 'document');

leaves('the document, ' . ($_ ? 'reset' : 'end'),
       bytes($nobody, GET => 'x/connect/login'),
       sub { $g->{login}->count(kind => 'document') > $asked
             || ($asked = -1) }, $_) for 0, 1;
all_well('the document');
document();

# ---- Redis

sub begun {
    my ($who) = @_;
    my $b = signed_in($who);
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

my ($alice, $to) = begun('alice');
$alice->{follow} = 1;
$alice->get($to, site => 'cross');

for my $reset (0, 1) {
    my ($b, $grant) = begun('bea');
    my ($c, $callback) = begun_login();
    my $list = $alice->get($url);
    my ($form) = $b->forms($b->get("${url}start/jira"));
    my ($end) = grep { $_->{action} =~ /disconnect/ } $alice->forms($list);
    my $text = sub { join '&', map { "$_->[0]=" . MCP::Browser::escape(
                     $_->[1]) } @{$_[0]{fields}} };

    for ([ 'the list', bytes($alice, GET => $url), 'HMGET' ],
         [ 'a ticket', bytes($alice, GET => "${url}start/jira?ticket="
                             . 'A' x 43), 'GET' ],
         [ 'a ticket, to be used', bytes($b, POST => "${url}start/jira",
            $text->($form) . '&ticket=' . 'A' x 43), 'GETDEL' ],
         [ 'a sign-in', bytes($c, GET => "${url}login"), 'SET' ],
         [ 'a grant', bytes($b, POST => "${url}start/jira",
                            $text->($form)), 'SET' ],
         [ 'a sign-in\'s state', bytes($c, GET => $callback), 'GETDEL' ],
         [ 'a grant\'s state', bytes($b, GET => $grant), 'GETDEL' ],
         [ 'a disconnect', bytes($alice, POST => "${url}disconnect/jira",
                                 $text->($end)), 'EVAL' ])
    {
        my ($what, $bytes, $command) = @$_;
        my $n = $proxy->commands($command);

        $what .= $reset ? ', reset' : ', end';
        $proxy->mode(delay => 0.3);
        leaves($what, $bytes, sub { $proxy->commands($command) > $n }, $reset);
        $proxy->mode;
        all_well($what);
    }
}

# ---- a body that does not come to its end

for my $reset (0, 1) {
    my $n = () = $t->read_log =~ /client prematurely closed/g;
    my $bytes = bytes($alice, POST => "${url}logout", 'csrf=' . 'x' x 50);

    leaves('a body, ' . ($reset ? 'reset' : 'end'), substr($bytes, 0, -20),
           sub { 1 }, $reset);
}

all_well('a body');
is($alice->get($url)->{status}, 200, 'nobody was signed out');

# ---- the token endpoint of the login: its code is used all the same

my ($b, $callback) = begun_login();
$g->{login}->misbehave('hold');
leaves('the login', bytes($b, GET => $callback), sub {
       $g->{login}->wait_held });
$g->{login}->release;
$g->{login}->behave;
ok(MCP::Test::wait_until(10, sub { grep { $_->{ev} eq 'connect'
    && $_->{method} eq 'connect/sign_in' && $_->{decision} eq 'allow' }
    $t->audit_next(0) }), 'it is on record');
all_well('the login');

# ---- several at once over one connection

my $all = join '', map { bytes($alice, GET => "$url$_") } 'done', '', 'nothing',
          'callback?state=x', 'style.css';
my $logout = bytes($alice, POST => "${url}logout", 'csrf=x');
my $conn = MCP::Test::http_start($all . $logout
                                 . bytes($alice, GET => "${url}done"));

is($conn->read_response->{status}, $_->[1], "pipelined: $_->[0]")
    for [ 'done', 200 ], [ 'the list', 200 ], [ 'nothing', 404 ],
        [ 'a callback', 400 ], [ 'the style', 200 ], [ 'a form', 403 ],
        [ 'done', 200 ];

my $wrong = bytes($alice, POST => "${url}logout", 'x' x 9000);
$conn = MCP::Test::http_start($wrong . bytes($alice, GET => "${url}done"));
is($conn->read_response->{status}, 413, 'a form that is too large');
is($conn->read_response->{status}, 200, 'and what comes after it');

done_testing();

#!/usr/bin/perl

# Verified tokens are remembered, in the worker and in the zone, no longer than
# they are worth: not past exp, nor for another configuration, another server or
# after their key is gone; and a full zone is no reason to refuse anybody.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, stub => 1, conf => 'leeway 0;');
my $brief = MCP::Issuer->new($t, name => 'brief', stub => 1,
                             conf => 'jwks_refresh 1s; jwks_stale 0;');
my $up = MCP::Upstream->start($t, port => 8081);

sub conf {
    my ($more) = @_;
    my $issuer = $okta->issuer_conf;
    my $claim = $more->{claim} || 'none';

    $issuer =~ s/\}\s*\z/$more->{issuer} }/ if $more->{issuer};

    return <<"END";
%%GLOBALS%%
worker_processes @{[ $more->{workers} || 1 ]};
events { }
http {
    %%GLOBALS_HTTP%%
    large_client_header_buffers 4 32k;
    mcp_zone 256k;
    mcp_audit %%TESTDIR%%/audit.log;

    %%ISSUER_SERVER_okta%%
    %%ISSUER_SERVER_brief%%
    %%ISSUER_brief%%
    $issuer

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta brief;
        role *   { allow tool echo; }
        role ops { allow tool *; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location /mcp {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
            proxy_set_header V-Claim \$mcp_auth_claim_$claim;
        }
    }
}
END
}

$t->write_conf(conf({}));
$t->start;

sub status {
    my ($token, $tool) = @_;
    my $r = call_tool('/mcp', $tool || 'echo', {}, token => $token);
    my $a = $t->audit_next(1, settle => 0);

    return $r->{status} == 200 && !$r->{json}{result} ? 'denied'
         : $r->{status} == 200 ? $a->{user} : "$r->{status} $a->{reason}";
}


# from the cache a token is the same caller with the same roles

my $token = $okta->token(groups => ['ops'], sub => 'bob');
my @first = (status($token), status($token, 'x'));
my @again = (status($token), status($token, 'x'));

is("@first", 'bob bob', 'the first request');
is("@again", 'bob bob', 'the same again');
is(status($okta->token, 'x'), 'denied', 'another caller has his own roles');


# expired although cached

my $short = $okta->token(-expires => 4);
is(status($short), 'alice', 'a token for four seconds');
ok(MCP::Test::wait_until(15, sub { status($short) ne 'alice' }), 'it ends');
is(status($short), '401 expired', 'as expired');


# expired while the rest of a body was on its way: whoever keeps requests open
# does not keep a token by that

my $ends = time + 3;
my $request = MCP::Test::mcp_request('/mcp', rpc('tools/call',
                                     { name => 'echo', arguments => {} }),
                                     token => $okta->token(-expires => 3));
my $slow = MCP::Conn->new(port => port(8080));

$slow->send(substr $request, 0, -5);
sleep 0.1 while time < $ends + 1;
my $upstream = $up->requests(0);
$slow->send(substr $request, -5);

is($slow->read_response->{status}, 401, 'a token that ends before its body');
my $late = $t->audit_next(1, settle => 0);
is("$late->{decision} $late->{reason} $late->{user}", 'deny expired alice',
   'on record with its owner');
is(scalar($up->requests(0)), $upstream, 'and it went no further');


# a refusal is remembered as well, and is as exact

my $bad = $okta->token(-key => $okta->add_key('evil', 'RS256'),
                       -kid => 'key-1');
$okta->remove_key('evil');
is(status($bad), '401 signature', 'a forged token') for 1 .. 2;

my $soon = $okta->token(nbf => 60 + int time);
is(status($soon), '401 not_yet_valid', 'a token of tomorrow');


# what was verified is not verified again: without keys it still passes, and
# what was not verified does not; after a reload the zone remembers

my $seen = $brief->token(sub => 'carol');
is(status($seen), 'carol', 'seen while there are keys');

$brief->{stub}->answer(({ status => 500 }) x 100);
ok(MCP::Test::wait_until(15, sub { status($brief->token) =~ /503/ }),
   'no keys any more');
is(status($seen), 'carol', 'known to the worker');
is(status($brief->token), '503 no_keys', 'others are not');

ok($t->reload(conf({})), 'reload');
is(status($seen), 'carol', 'known to the zone');
is(status($brief->token), '503 no_keys', 'others are not');
is(status($token, 'x'), 'bob', 'roles are known too');


# another configuration makes another caller of the same token: nothing of the
# old one is used

for ([{ issuer => 'roles_claim teams;' }, 'denied', 'another roles_claim'],
     [{ issuer => 'role ops admins;' }, 'denied', 'another mapping'],
     [{ issuer => 'token_type at+jwt;' }, '401 typ', 'another token_type'],
     [{ issuer => 'algorithms ES256;' }, '401 alg_not_allowed',
      'other algorithms'],
     [{ issuer => 'user_claim email;' }, '401 user', 'another user_claim'],
     [{ issuer => 'client_claim azp;' }, 'bob', 'another client_claim'],
     [{}, 'bob', 'the first one again'])
{
    my ($more, $want, $name) = @$_;

    ok($t->reload(conf($more)), "reload with $name");
    is(status($token, 'x'), $want, "$name counts");
}


# claims are kept that the configuration asks for: another one, of the same
# token

my $has = $okta->token(team => 'red', shift => 'late');

for ([qw/ team red /], [qw/ shift late /], [qw/ team red /]) {
    my ($claim, $value) = @$_;

    ok($t->reload(conf({ claim => $claim })), "reload that asks for $claim");
    is(status($has), 'alice', "$claim: who it was");
    is(($up->requests)[-1]{headers}{'v-claim'}, $value, "$claim: what it has");
}


# the key goes: neither level remembers

$okta->remove_key('key-1');
$okta->add_key('key-2', 'RS256');
$okta->publish;

is(status($okta->token), 'alice', 'a new key');
is(status($token), '401 unknown_kid', 'what the old one verified is forgotten');
ok($t->reload(conf({})), 'reload');
is(status($token), '401 unknown_kid', 'also by the zone');


# two workers share what either has seen, and the keys

ok($t->reload(conf({ workers => 2 })), 'reload with two workers');

my %who;

for (1 .. 40) {
    $who{status($okta->token(sub => "u$_"))}++;
}

is(scalar keys %who, 40, 'each caller is himself');


# the zone is full: least recently used ones go, everybody is served

my $wide = 'https://' . 'a' x 300 . '.example.com/';
my @aud = ($okta->{audience}, map { $wide . $_ } 1 .. 20);
my @many = map { $okta->token(sub => "big$_", aud => \@aud) } 1 .. 60;
my $wrong = 0;

for my $round (1, 2) {
    for my $i (1 .. @many) {
        $wrong++ if status($many[$i - 1]) ne "big$i";
    }
}

is($wrong, 0, 'more tokens than the zone has room for');
is(status($many[0]), 'big1', 'the first of them');
is(status($okta->token), 'alice', 'and a new one');
ok($t->reload(conf({})), 'reload of the full zone');
is(status($many[0]), 'big1', 'is served');
unlike($t->read_log, qr/\[(?:error|crit)\].*mcp_zone/, 'nothing to complain of');

done_testing;

#!/usr/bin/perl

# MCP::Provider itself: what the tests of credentials rely on.

use strict;
use warnings;

use lib 't/lib';

use JSON::PP ();
use MIME::Base64 qw/ encode_base64 /;

use MCP::Test;
use MCP::Issuer;
use MCP::Provider;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);

my $es = $t->dir . '/es.key';
my $rs = $t->dir . '/rs.key';

MCP::Issuer::mint('keygen', 'ES256', $es);
MCP::Issuer::mint('keygen', 'RS256', $rs);

my $odd = 'p:a+s s%w&=ord';
my $idp = MCP::Provider->start($t, issuer => $okta, clients => {
    basic => { secret => $odd, auth => 'basic' },
    post => { secret => 'post-secret', auth => 'post' },
    es => { key => $es }, rs => { key => $rs },
    machine => { secret => 'machine-secret',
                 grants => ['client_credentials'] },
});

sub escape {
    (my $s = $_[0]) =~ s/([^A-Za-z0-9._~-])/sprintf '%%%02X', ord $1/ge;
    return $s;
}

# (status, the answer's JSON); -basic => [ID, SECRET], -json => 1

sub ask {
    my (%p) = @_;
    my $basic = delete $p{-basic};
    my $json = delete $p{-json};
    my $timeout = delete $p{-timeout};
    my $body = $json ? JSON::PP->new->encode(\%p)
             : join '&', map { "$_=" . escape($p{$_}) } sort keys %p;

    my $r = http("POST /token HTTP/1.1\r\nHost: idp\r\nContent-Type: "
                 . ($json ? 'application/json'
                          : 'application/x-www-form-urlencoded')
                 . "\r\nContent-Length: " . length($body) . "\r\n"
                 . ($basic ? "Authorization: Basic "
                             . encode_base64(join(':', @$basic), '') . "\r\n"
                           : '')
                 . "Connection: close\r\n\r\n$body", port => 8090,
                 $timeout ? (timeout => $timeout) : ());

    return ($r->{status},
            eval { JSON::PP->new->decode($r->{body} // '') } || {}, $r);
}

sub result {
    my ($status, $json) = ask(@_);
    return join ' ', $status // 'none', $json->{error} // 'ok';
}

my @post = (client_id => 'post', client_secret => 'post-secret');
my @cc = (grant_type => 'client_credentials');

# ---- clients

is(result(@cc, @post), '200 ok', 'client_secret_post');
is(result(@cc, client_id => 'post', client_secret => 'x'),
   '401 invalid_client', 'a wrong secret');
is(result(@cc, -basic => ['post', 'post-secret']), '401 invalid_client',
   'basic of a client of post');
is(result(@cc, -basic => ['basic', escape($odd)]), '200 ok',
   'client_secret_basic, form-encoded');
is(result(@cc, -basic => ['basic', $odd]), '401 invalid_client',
   'not form-encoded');
is(result(@cc, client_id => 'post'), '401 invalid_client', 'no secret');

my $serial = 0;

sub assertion {
    my ($id, $alg, $key, %c) = @_;
    my %claims = (iss => $id, sub => $id, aud => $idp->endpoint,
                  exp => 60 + int time, jti => 'jti-' . ++$serial, %c);

    return (client_assertion_type => $MCP::Provider::ASSERTION,
            client_assertion => MCP::Issuer::mint('token', '--key', $key,
                '--alg', $alg, '--claims',
                JSON::PP->new->encode(\%claims)));
}

for my $of (['es', 'ES256', $es], ['rs', 'RS256', $rs]) {
    my @a = assertion(@$of);

    is(result(@cc, @a), '200 ok', "private_key_jwt, $of->[1]");
    is(result(@cc, @a), '401 invalid_client', 'but once');
    is(result(@cc, assertion(@$of, aud => 'https://else')),
       '401 invalid_client', 'for somebody else');
    is(result(@cc, assertion(@$of, exp => time - 5)), '401 invalid_client',
       'expired');
    is(result(@cc, assertion('es', $of->[1],
                             $of->[2] eq $es ? $rs : $es)),
       '401 invalid_client', 'with another key')
        if $of->[0] eq 'rs';

    s/[^.]{4}\z/AAAA/ for $a[3] = (assertion(@$of))[3];
    is(result(@cc, @a), '401 invalid_client', 'changed');
}

# ---- grants

my @refresh = (grant_type => 'refresh_token', @post);
my $grant = $idp->grant('alice', client => 'post', scope => 'a b');
my ($status, $new) = ask(@refresh, refresh_token => $grant->{refresh_token});

is($status, 200, 'a refresh');
isnt($new->{refresh_token}, $grant->{refresh_token}, 'rotates');
is($new->{scope}, 'a b', 'keeps the scope');
is($idp->who($new->{access_token})->{user}, 'alice', 'and is hers');
is(result(grant_type => 'refresh_token', -basic => ['basic', escape($odd)],
          refresh_token => $new->{refresh_token}), '400 invalid_grant',
   'not for another client');
ok($idp->alive($grant), 'it lives');

is(result(@refresh, refresh_token => $grant->{refresh_token}),
   '400 invalid_grant', 'a used one');
ok(!$idp->alive($grant), 'kills the family');
is($idp->who($new->{access_token})->{bad}, 'revoked', 'and its tokens');
is(result(@refresh, refresh_token => $new->{refresh_token}),
   '400 invalid_grant', 'all of them');
is($idp->count(reuse => 1), 1, 'which is in the books');

$idp->set(grace => 60);
$grant = $idp->grant('bob', client => 'post');
result(@refresh, refresh_token => $grant->{refresh_token});
is(result(@refresh, refresh_token => $grant->{refresh_token}), '200 ok',
   'within the grace time');

$idp->set(grace => 0, rotate => 0);
$grant = $idp->grant('carol', client => 'post', lifetime => 0);
is($idp->who($grant->{access_token})->{bad}, 'expired', 'a short life');
is(result(@refresh, refresh_token => $grant->{refresh_token}), '200 ok',
   'no rotation') for 1, 2;
$idp->revoke('carol');
is(result(@refresh, refresh_token => $grant->{refresh_token}),
   '400 invalid_grant', 'revoked');

my @exchange = (grant_type => $MCP::Provider::EXCHANGE, @post,
                subject_token_type => $MCP::Provider::ACCESS_TOKEN);

($status, $new) = ask(@exchange, subject_token => $okta->token(sub => 'dave'),
                      audience => 'api://x', scope => 's');
is($status, 200, 'an exchange');
is($idp->who($new->{access_token})->{user}, 'dave', 'for him');
is($idp->who($new->{access_token})->{audience}, 'api://x', 'with audience');
is(result(@exchange, subject_token => $okta->token(-expires => -5)),
   '400 invalid_grant', 'expired subject');
is(result(@exchange, subject_token => $okta->token(-key => $rs)),
   '400 invalid_grant', 'subject of another key');
is(result(@exchange, client_id => 'machine', client_secret => 'machine-secret',
          subject_token => $okta->token), '400 unauthorized_client',
   'a client without that grant');

# ---- manners

$idp->set(style => 'slack');
is(result(@refresh, refresh_token => 'x'), '200 invalid_refresh_token',
   'Slack');
$idp->set(style => 'github', rotate => 1);
$grant = $idp->grant('erin', client => 'post');
result(@refresh, refresh_token => $grant->{refresh_token});
is($idp->who($grant->{access_token})->{bad}, 'revoked',
   'GitHub ends the old access token');
is(result(@refresh, refresh_token => 'x'), '200 bad_refresh_token', 'GitHub');
$idp->set(style => 'atlassian');
is(result(@refresh, refresh_token => 'x'), '400 invalid_request',
   'Atlassian wants JSON');
is(result(@refresh, refresh_token => 'x', -json => 1),
   '403 unauthorized_client', 'Atlassian');
$idp->set(style => 'rfc');

# ---- misbehaviour

$idp->misbehave('status', status => 429, retry_after => 7, times => 2,
                only => 'client_credentials');
$grant = $idp->grant('frank', client => 'post');
is(result(@refresh, refresh_token => $grant->{refresh_token}), '200 ok',
   'another kind is answered');

my ($busy, undef, $r) = ask(@cc, @post);
is($busy, 429, 'too many requests');
is($r->{headers}{'retry-after'}, 7, 'Retry-After');
is(result(@cc, @post), '429 ok', 'twice');
is(result(@cc, @post), '200 ok', 'not again');

for (['close', 0], ['reset', 0], ['silent', 0], ['truncated', 1],
     ['headers', 1])
{
    my ($name, $effect) = @$_;
    my $alive = $idp->grant('gina', client => 'post');
    my $n = $idp->count(kind => 'refresh_token', result => 'ok');

    $idp->misbehave($name, seconds => 0.2);
    my (undef, $json) = ask(@refresh, -timeout => 2,
                            refresh_token => $alive->{refresh_token});
    $idp->behave;

    is($json->{access_token}, undef, "$name: no token");
    is($idp->count(kind => 'refresh_token', result => 'ok') - $n, $effect,
       "$name: " . ($effect ? 'but it happened' : 'nothing happened'));
}

$idp->misbehave('change', with => { token_type => 'mac',
                                    expires_in => undef });
(undef, $new) = ask(@cc, @post);
is("$new->{token_type} " . exists $new->{expires_in}, 'mac ', 'changed');
$idp->behave;

$idp->misbehave('hold');
my $pid = $t->run_daemon(sub { ask(@cc, @post) });
ok($idp->wait_held, 'one is held');
$idp->behave;
ok(MCP::Test::wait_until(5, sub { !$idp->held }), 'and let go');

my $secrets = join ' ', $idp->secrets;
like($secrets, qr/\Q$_\E/, 'a secret is known')
    for $odd, $grant->{refresh_token}, $grant->{access_token};

# ---- the server that tells for whom

my $up = $idp->resource;
$grant = $idp->grant('hugo', client => 'post');
is(MCP::Provider->told(call_tool('/mcp', 'echo', {}, port => 8081,
                                 token => $grant->{access_token}))->{user},
   'hugo', 'told for whom');
is(call_tool('/mcp', 'echo', {}, port => 8081, token => 'x')->{status}, 401,
   'a token of nobody');

done_testing;

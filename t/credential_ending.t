#!/usr/bin/perl

# A grant that ends is ended at its provider as well, in the background: when
# its person is revoked, by whichever node and however late it hears of that;
# repeated until the provider took it, over restarts; in each provider's way;
# and no more than was meant.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Provider;
use MCP::Redis;
use MCP::Vault;

my $t = MCP::Test->new;
my $second = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $vault = MCP::Vault->new($t);
my $redis = MCP::Redis->start($t, persist => 1);

my %idp = (rfc => MCP::Provider->start($t, port => 8090),
           map { $_ => MCP::Provider->start($t, name => "idp-$_",
                     port => { github => 8091, slack => 8092,
                               google => 8093 }->{$_}, style => $_) }
           qw/ github slack google /);

$idp{rfc}->resource(port => 8081);

sub conf {
    my ($gateway, $port) = @_;
    my ($server, $keys) = ($redis->server, $vault->file);
    my $issuer = $okta->issuer_conf;

    my $credentials = join "\n    ", map {
        my $provider = $_ eq 'rfc' ? 'generic' : $_;
        my ($token, $revoke) = ($idp{$_}->endpoint,
                                $idp{$_}->endpoint('/revoke'));
        "mcp_credential $_ { type user; provider $provider;"
        . " token_endpoint $token; revoke_endpoint $revoke; timeout 1s;"
        . " client_id gw; client_secret gw-secret; }"
    } sort keys %idp;

    my $token = $idp{rfc}->endpoint;

    return <<"END";
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_vault_keys $keys;
    mcp_session_key @{[ $t->dir ]}/session.key;
    mcp_redis { server $server; }
    $issuer
    $credentials
    mcp_credential none { type user; token_endpoint $token;
        client_id gw; client_secret gw-secret; }
    mcp_server jira { resource https://mcp.example.com/jira; issuer okta;
                      credential rfc; role * { allow tool *; } }
    server {
        listen 127.0.0.1:%%PORT_$port%% reuseport;
        location = /status { mcp_status; }
        location /jira { mcp_auth jira;
                         proxy_pass http://127.0.0.1:@{[ MCP::Test::port(8081) ]}; }
    }
}
END
}

$t->write_file('session.key', ('0f' x 32) . "\n");
chmod 0600, $t->dir . '/session.key';

sub owner { { credential => $_[1] // 'rfc', issuer => $okta->{issuer},
              user => $_[0] } }

sub grant {
    my ($user, $credential, %o) = @_;
    $credential //= 'rfc';
    my $g = ($idp{$credential} || $idp{rfc})->grant($user, lifetime => 300);

    $vault->write($redis, owner($user, $credential), $g, %o);
    return $g;
}

# a grant whose access token has ended

sub grant_over {
    my ($user, $at, $lifetime) = @_;
    my $g = $idp{$at}->grant($user, lifetime => $lifetime);

    $vault->write($redis, owner($user, $at), $g, issued => time - 100);
    wait_for(sub { $idp{$at}->who($g->{access_token})->{bad} });
    return $g;
}

# an entry of the queue, at once: gateways look all the time

sub enqueue {
    my ($id, $entry) = @_;

    $redis->command('EVAL', "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) "
                            . "return redis.call('ZADD', KEYS[2], ARGV[3], "
                            . "ARGV[1])", 2, 'mcp:rv', 'mcp:rvq', $id, $entry,
                    int(time) - 1);
}

sub wait_for { MCP::Test::wait_until($_[1] // $MCP::Test::TIMEOUT, $_[0]) }
sub revoke { $redis->revoke(issuer => $okta->{issuer}, user => @_) }
sub state { ($vault->read($redis, owner(@_)) || {})->{state} // '-' }
sub waiting { $redis->command('ZCARD', 'mcp:rvq') }

# what is in the audit of either gateway about this person

sub records {
    my ($user) = @_;
    return grep { ($_->{user} // '') eq $user && $_->{ev} eq 'credential' }
           map { $_->audit(0) } $t, $second;
}

sub reasons {
    my ($user) = @_;
    return join ' ', sort map { "$_->{method}:$_->{reason}" } records($user);
}

sub call {
    my ($user) = @_;
    return call_tool('/jira', 'echo', {}, @_[1 .. $#_], token => $okta->token(
        sub => $user, -expires => 3000));
}

# somebody who was revoked while no gateway ran

my $early = grant('early', 'rfc', issued => time - 100);
revoke('early');

$t->write_conf(conf($t, 8080))->start;
$second->write_conf(conf($second, 8082))->start;

ok(wait_for(sub { !$idp{rfc}->alive($early) }), 'revoked before: ended');
is(state('early'), 'revoked', 'a tombstone');

# ---- at once, once, on all nodes

my $alice = grant('alice', 'rfc', issued => time - 100);
my $bob = grant('bob', 'rfc', issued => time - 100);
my $hub = grant('alice', 'github', issued => time - 100);
my $slack = grant('alice', 'slack', issued => time - 100);
my $google = grant('alice', 'google', issued => time - 100);
my $none = grant('alice', 'none', issued => time - 100);

is(MCP::Provider->told(call('alice'))->{user}, 'alice', 'it serves');

my $began = time;
revoke('alice');

ok(wait_for(sub { !$idp{rfc}->alive($alice) }), 'ended at the provider');
cmp_ok(time - $began, '<', 5, 'without waiting for a sweep');
ok(wait_for(sub { !$idp{github}->alive($hub) }), 'github: ended');
ok(wait_for(sub { !$idp{slack}->alive($slack) }), 'slack: ended');
ok(wait_for(sub { !$idp{google}->alive($google) }), 'google: ended');
ok(wait_for(sub { waiting() == 0 }), 'nothing is left in the queue');

is(state('alice', $_), 'revoked', "$_: a tombstone")
    for qw/ rfc github slack google none /;
is($vault->read($redis, owner('alice'))->{raw}{tok}, '', 'without tokens');

for ([rfc => 'POST', 'refresh'], [github => 'DELETE', 'access'],
     [slack => 'POST', 'access'], [google => 'POST', 'refresh'])
{
    my ($name, $method, $by) = @$_;
    my @asked = grep { $_->{kind} eq 'revoke'
                       && ($_->{user} // '') eq 'alice' } $idp{$name}->log;
    is(@asked, 1, "$name: was told once");
    is($asked[0]{method}, $method, "$name: $method");
    is($asked[0]{by}, $by, "$name: by its $by token");
}

ok($idp{rfc}->alive($bob), 'nobody else loses anything');
is(MCP::Provider->told(call('bob'))->{user}, 'bob', 'it serves on');

ok(wait_for(sub { records('alice') == 10 }), 'on record');
is(reasons('alice'), join(' ', ('credential/end:user_revoked') x 5,
   ('credential/revoke:credential_ended') x 4,
   'credential/revoke:no_revoke_endpoint'), 'what was done');
my ($told) = grep { $_->{reason} eq 'credential_ended' } records('alice');
ok($told->{ms}{credential} > 0, 'with how long the provider took');

is(call('alice')->{status}, 401, 'what she was issued before is refused');

# ---- what is granted after it stays

my $again = grant('alice', 'rfc', version => 3, granted => time + 60,
                  issued => time - 100);
revoke('alice');
grant('marker', 'rfc', issued => time - 100);
revoke('marker');
ok(wait_for(sub { state('marker') eq 'revoked' }), 'and went all the way');
is(state('alice'), 'active', 'what is granted after a watermark stays');

# a lifted watermark ends nothing

my $ann = grant('ann', 'rfc', issued => time - 100);
revoke('ann', at => undef);

# ---- a provider that is down, and gateways that come and go

$idp{rfc}->misbehave('status', status => 503, only => 'revoke');
my $carol = grant('carol', 'rfc', issued => time - 100);
revoke('carol');

ok(wait_for(sub { reasons('carol') =~ /revoke:credential_provider/ }),
   'the provider does not take it');
is(state('carol'), 'revoked', 'here it is over all the same');
is(waiting(), 1, 'it waits');

my ($id) = @{$redis->command('ZRANGE', 'mcp:rvq', 0, -1)};
my $sealed = $redis->command('HGET', 'mcp:rv', $id);
ok(index($sealed, $carol->{refresh_token}) < 0, 'sealed');
my $entry = JSON::PP->new->decode($vault->unseal({ subject => $id }, 'ending',
                                                 0, $sealed));
is($entry->{refresh_token}, $carol->{refresh_token}, 'its refresh token');
ok(!defined $vault->unseal({ subject => '0' x 32 }, 'ending', 0, $sealed),
   'of this ID only');

$_->stop for $t, $second;
$redis->kill;
$redis->run;
is(waiting(), 1, 'it is still there');
$idp{rfc}->behave;
$t->start;
ok(wait_for(sub { !$idp{rfc}->alive($carol) }, 40), 'told after a restart');
ok(wait_for(sub { waiting() == 0 }), 'and then forgotten');
is($redis->command('EXISTS', 'mcp:rv'), 0, 'whole');
$second->start;

# a worker that is killed with an entry in hand

$idp{rfc}->misbehave('silent', only => 'revoke', times => 1, seconds => 2);
my $dan = grant('dan', 'rfc', issued => time - 100);
revoke('dan');
ok(wait_for(sub { $idp{rfc}->count(kind => 'revoke', mode => 'silent') }),
   'no answer');
ok(wait_for(sub { !$idp{rfc}->alive($dan) }, 40), 'asked again');

# refused for good: on record, and repeated

$idp{rfc}->misbehave('error', error => 'invalid_client', status => 401,
                     only => 'revoke', times => 1);
my $eve = grant('eve', 'rfc', issued => time - 100);
revoke('eve');
ok(wait_for(sub { !$idp{rfc}->alive($eve) }, 40), 'after it refused us');
ok(wait_for(sub { reasons('eve') =~ /credential_client.*credential_ended/ }),
   'both are on record');

# a token that is none any more is as good as revoked

my $fay = grant('fay', 'slack', issued => time - 100);
$idp{slack}->revoke($fay);
revoke('fay');
ok(wait_for(sub { reasons('fay') =~ /credential_ended/ }), 'slack: it was over');
my $gus = grant('gus', 'github', issued => time - 100);
$idp{github}->revoke($gus);
revoke('gus');
ok(wait_for(sub { reasons('gus') =~ /credential_ended/ }),
   'github: it was over');

# what one of them does not find ends with a note; without a refresh token it
# cannot be asked in another way

my $gil = $idp{github}->grant('gil', lifetime => 300);
$vault->write($redis, owner('gil', 'github'),
              { %$gil, refresh_token => undef }, issued => time - 100);
$idp{github}->revoke($gil);
revoke('gil');
ok(wait_for(sub { reasons('gil') =~ /revoke:credential_not_found/ }),
   'github does not find it');
ok($t->wait_for_log(qr/revoke endpoint: grant_dead, not_found/, 1)
   || $second->wait_for_log(qr/revoke endpoint: grant_dead, not_found/),
   'said in the log');

# ---- an access token that is over: made anew, and with it the grant ended

my %over;

for my $at (qw/ github slack /) {

    # by its time, and before

    $over{"lea-$at"} = grant_over("lea-$at", $at, 1);
    $over{"max-$at"} = grant("max-$at", $at, issued => time - 100);
    $idp{$at}->end_access($over{"max-$at"});
    revoke($_) for "lea-$at", "max-$at";

    for my $who ("lea-$at", "max-$at") {
        ok(wait_for(sub { reasons($who) =~ /revoke:credential_ended/ }, 40),
           "$who: told");
        ok(!$idp{$at}->alive($over{$who}), 'it is over at the provider');
        is($idp{$at}->count(kind => 'refresh_token', user => $who,
                            result => 'ok'), 1, 'by one refresh');
        like(reasons($who), qr/refresh:credential /, 'which is on record');
    }

}

# a token endpoint that is down for a while

$idp{slack}->misbehave('status', status => 503, only => 'refresh_token',
                       times => 1);
my $nia = grant_over('nia', 'slack', 1);
revoke('nia');
ok(wait_for(sub { reasons('nia') =~ /revoke:credential_ended/ }, 40),
   'asked again');
ok(!$idp{slack}->alive($nia), 'it is over');
like(reasons('nia'), qr/revoke:credential_ended \S+revoke:credential_provider/,
     'both are on record');

# a client that the endpoint's address does not fit: a token that is new is not
# found either

my $oli = grant('oli', 'github', issued => time - 100);
$idp{github}->misbehave('status', status => 404, only => 'revoke', times => 2);
revoke('oli');
ok(wait_for(sub { reasons('oli') =~ /revoke:credential_client/ }),
   'the client is to blame');
ok(wait_for(sub { reasons('oli') =~ /revoke:credential_ended/ }, 40),
   'asked again');
ok(!$idp{github}->alive($oli), 'until it is over');

# the answer with new tokens gets lost: nobody can end it, and that is said

$idp{slack}->misbehave('close', effect => 1, only => 'refresh_token',
                       times => 1);
my $pam = grant_over('pam', 'slack', 1);
revoke('pam');
ok(wait_for(sub { reasons('pam') =~ /credential_given_up/ }, 40), 'given up');
like(reasons('pam'), qr/revoke:credential_unknown/, 'after no answer');
unlike(reasons('pam'), qr/credential_ended/, 'and not called over');
is($idp{slack}->count(kind => 'refresh_token', user => 'pam'), 2,
   'it was asked again before');
ok($t->wait_for_log(qr/may live on at its provider/, 1)
   || $second->wait_for_log(qr/may live on at its provider/), 'said aloud');
$_->allow_log(qr/may live on at its provider/) for $t, $second;

# ---- ended while it is refreshed: the new tokens are ended, too

my $hal = grant('hal', 'rfc', issued => time - 301, granted => time - 301);
$vault->write($redis, owner('hal'), { %$hal, expires => time - 1 },
              granted => time - 301, issued => time - 301);
$idp{rfc}->set(grace => 100);
$idp{rfc}->misbehave('hold', only => 'refresh_token', times => 1);
my $call = mcp_start('/jira', rpc('tools/call', { name => 'echo',
                                                  arguments => {} }),
                     token => $okta->token(sub => 'hal', -expires => 3000));
ok($idp{rfc}->wait_held, 'a refresh is under way');
revoke('hal');
ok(wait_for(sub { reasons('hal') =~ /end:user_revoked/ }), 'meanwhile it ends');
$idp{rfc}->release;
ok(wait_for(sub { $idp{rfc}->count(kind => 'revoke', user => 'hal') == 2 }),
   'the provider is told of the old token and of the new one');
is(state('hal'), 'revoked', 'a tombstone');
ok(!$idp{rfc}->alive($hal), 'nothing lives');

# ---- a grant of the same account that came after it

for my $at (qw/ google rfc /) {
    my $ida = "ida-$at";

    grant($ida, $at, issued => time - 100);
    $idp{$at}->misbehave('status', status => 503, only => 'revoke');
    revoke($ida);
    ok(wait_for(sub { reasons($ida) =~ /revoke:credential_provider/ }),
       "$at is down");
    my $new = grant($ida, $at, version => 3, granted => time + 60);
    $idp{$at}->behave;
    ok(wait_for(sub { reasons($ida) =~ /granted_again/ }, 40),
       'she connected it again meanwhile');
    ok($idp{$at}->alive($new), 'which is left to her');
}

# ---- a week later

$idp{rfc}->misbehave('status', status => 503, only => 'revoke', times => 1);
my %old = (credential => 'rfc', issuer => $okta->{issuer}, user => 'jim',
           access_token => 'jim-token-that-nobody-has',
           begun => int(time) - 8 * 86400);
$id = 'ab' x 16;
enqueue($id, $vault->seal({ subject => $id }, 'ending', 0,
                          JSON::PP->new->canonical->encode(\%old)));
ok(wait_for(sub { reasons('jim') =~ /credential_given_up/ }, 40),
   'given up after a week');
ok($t->wait_for_log(qr/lives on at its provider/, 1)
   || $second->wait_for_log(qr/lives on at its provider/), 'said aloud');
$_->allow_log(qr/lives on at its provider/) for $t, $second;

# what nobody can open is left for who can, and does not stop the others

$id = 'cd' x 16;
enqueue($id, 'garbage');
my $forged = "0123456789abcdef\nforged: 1234567";
enqueue($forged, 'garbage');
my $kim = grant('kim', 'rfc', issued => time - 100);
revoke('kim');
ok(wait_for(sub { !$idp{rfc}->alive($kim) }, 40), 'others have their turn');
is($redis->command('HGET', 'mcp:rv', $id), 'garbage', 'it is left');
ok(wait_for(sub { map { $_->read_log =~ /cannot be opened/ } $t, $second }),
   'and named in the log');
unlike(join('', map { $_->read_log } $t, $second), qr/^forged/m,
       'but for an ID that is none');
$redis->command('ZREM', 'mcp:rvq', $forged);

ok($idp{rfc}->alive($ann), 'a lifted watermark ended nothing');
ok($idp{rfc}->alive($again), 'nor did the sweeps');

# ---- seen

ok(wait_for(sub { (metric('credential_revocations_waiting') // -1) == 1 }, 20),
   'what waits is told');
ok(defined metric("credential_revocations_total{credential=\"$_\","
                  . 'result="ok"}'), "$_: revocations are counted")
    for sort keys %idp;

# ---- no secret anywhere

my $all = join '', map { my $g = $_; ($g->read_log, map { $g->read_file($_) // '' }
                         qw/ audit.log access.log /) } $t, $second;
my @secrets = map { $_->secrets } values %idp;
cmp_ok(@secrets, '>', 20, 'there are secrets');
is(scalar(grep { index($all, $_) >= 0 } @secrets), 0, 'none is in a log');

done_testing;

#!/usr/bin/perl

# Many people at two gateways, at random: calls, clients that go, accounts that
# are disconnected and connected again, people who are revoked, tokens that end
# all the time.  The server behind is told in each call who calls; whose
# credential it gets is that person's, or none.
#
# MCP_TEST_SEED repeats a run, MCP_TEST_SECONDS makes it longer.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use List::Util qw/ shuffle /;
use Time::HiRes qw/ time sleep /;

use MCP::Conn;
use MCP::Test;
use MCP::Issuer;
use MCP::Provider;
use MCP::Redis;
use MCP::Vault;

my $seed = $ENV{MCP_TEST_SEED} // int(time) % 100_000;
my $seconds = $ENV{MCP_TEST_SECONDS} || 10;

srand $seed;
diag("seed $seed");

my $t = MCP::Test->new;
my $second = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $vault = MCP::Vault->new($t);
my $redis = MCP::Redis->start($t);
my $idp = MCP::Provider->start($t, port => 8095, lifetime => 4);
my $up = $idp->resource(port => 8081);

sub conf {
    my ($port) = @_;
    my ($server, $issuer, $endpoint, $keys)
        = ($redis->server, $okta->issuer_conf, $idp->endpoint, $vault->file);

    return <<"END";
%%GLOBALS%%
worker_processes 3;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_vault_keys $keys;
    mcp_redis { server $server; }
    $issuer

    mcp_credential jira { type user; token_endpoint $endpoint; timeout 5s;
                          client_id gw; client_secret gw-secret;
                          connect_url https://gw.example.com/connect; }
    mcp_server mcp { resource https://mcp.example.com/mcp; issuer okta;
                     credential jira; role * { allow tool *; } }
    server {
        listen 127.0.0.1:%%PORT_$port%% reuseport;
        location /mcp { mcp_auth mcp;
                        proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
}
END
}

$t->write_conf(conf(8080))->start;
$second->write_conf(conf(8090))->start;

my @users = map { "user-$_" } 1 .. 24;
my (%token, %conn, %got);
my ($calls, $answers, $wrong, $refused, $aborted) = (0, 0, 0, 0, 0);

sub owner { { credential => 'jira', issuer => $okta->{issuer},
              user => $_[0] } }

sub login {
    my ($user) = @_;
    $token{$user} = $okta->token(sub => $user, -expires => 3000);
}

sub publish {
    my ($user) = @_;
    $redis->command('PUBLISH', 'mcp:events',
                    'cred ' . $vault->name(owner($user)));
}

sub connect_account {
    my ($user) = @_;
    my $old = $redis->command('HGET', 'mcp:cred:' . $vault->name(owner($user)),
                              'v') // 0;
    $vault->write($redis, owner($user), $idp->grant($user),
                  version => $old + 1);
    publish($user);
}

sub disconnect_account {
    my ($user) = @_;
    $redis->command('DEL', 'mcp:cred:' . $vault->name(owner($user)));
    publish($user);
}

# whose a response is: that of the person, none, or wrong

sub judge {
    my ($user, $r) = @_;
    my $who = MCP::Provider->told($r);

    $answers++;

    if ($who) {
        $wrong++ if $who->{user} ne $user;
        diag("$user was shown to be $who->{user}") if $who->{user} ne $user;
        $got{$user}++;

    } else {
        $refused++;
    }
}

sub start_call {
    my ($user) = @_;
    my $c = MCP::Conn->new(port => port(rand() < .5 ? 8080 : 8090));

    $c->send(MCP::Test::mcp_request('/mcp', rpc('tools/call',
        { name => 'echo', arguments => { caller => $user } }),
        token => $token{$user}, close => 1));
    $calls++;
    return $c;
}

login($_), connect_account($_) for @users;

my $end = time + $seconds;

while (time < $end) {
    my @open = map { [ $_, start_call($_) ] }
               map { $users[rand @users] } 1 .. 40;

    for (shuffle @open) {
        my ($user, $c) = @$_;

        if (rand() < .2) {
            rand() < .5 ? $c->reset : $c->close;
            $aborted++;
            next;
        }

        my $r = $c->read_response(timeout => 20);
        judge($user, $r || { status => 0, body => '' });
    }

    my $user = $users[rand @users];
    my $dice = rand;

    if ($dice < .25) {
        disconnect_account($user);

    } elsif ($dice < .6) {
        connect_account($user);

    } elsif ($dice < .7) {
        $redis->revoke(issuer => $okta->{issuer}, user => $user,
                       at => int time);

    } elsif ($dice < .8) {
        login($_) for @users;

    } elsif ($dice < .85) {
        $idp->misbehave('slow', seconds => .3, times => 1);

    } elsif ($dice < .9) {
        $idp->misbehave('status', status => 503, times => 1);
    }
}

# by the bytes that arrived

my ($seen, $foreign, $callers) = (0, 0, 0);

for my $req ($up->requests(0)) {
    my $caller = $req->{json}{params}{arguments}{caller};
    my ($shown) = ($req->{headers}{authorization} // '') =~ /\ABearer (\S+)\z/;
    my $who = $idp->who($shown);

    $seen++;
    $callers++ if index($req->{head}, $token{$caller}) >= 0;
    $foreign++ if !$who || $who->{user} ne $caller;
}

diag("$calls calls, $answers answers, $refused refused, $aborted aborted, "
     . $idp->count(kind => 'refresh_token', result => 'ok') . ' refreshes');

is($wrong, 0, 'nobody was answered as somebody else');
is($foreign, 0, 'no call reached the server with the credential of another');
is($callers, 0, 'nor with the token of its caller');
ok($seen > 100, 'calls arrived');
ok(keys %got >= 12, 'of many');
ok($refused > 0, 'some were refused');
ok($idp->count(kind => 'refresh_token', result => 'ok') > 5, 'some refreshed');

done_testing;

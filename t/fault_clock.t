#!/usr/bin/perl

# The clock of the machine was wrong and is set back: what was remembered by the
# wrong one is not remembered until it would have been over.  A token that was
# taken for expired is good again, a record that was remembered for seconds is
# not good for an hour.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Provider;
use MCP::Redis;
use MCP::Token;
use MCP::Upstream;
use MCP::Vault;

plan(skip_all => 'the clock is set by a preloaded library')
    if $MCP::Test::SAN || $ENV{MCP_TEST_VALGRIND};

my $t = MCP::Test->new;
my $d = $t->dir;
my $cc = $ENV{CC} || 'cc';

plan(skip_all => "no $cc")
    if system("$cc -O2 -Wall -shared -fPIC -o $d/clock.so"
              . " $FindBin::Bin/lib/clock_hook.c");

my $okta = MCP::Issuer->new($t, static => 1);
my $up = MCP::Upstream->start($t, port => 8081);
my $redis = MCP::Redis->start($t);
my $store = MCP::Token->new($t, file => 'unused');
my $vault = MCP::Vault->new($t);
my $idp = MCP::Provider->start($t, port => 8090);
my ($server, $endpoint, $keys) = ($redis->server, $idp->endpoint,
                                  $vault->file);

$t->write_file('pepper-a', $store->{pepper}{'pepper-a'}{secret});

$t->write_conf(<<"END");
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_token_key pepper-a;
    mcp_vault_keys $keys;
    mcp_redis { server $server; }

    %%ISSUER_okta%%

    mcp_credential account {
        type            user;
        token_endpoint  $endpoint;
        client_id       gw;
        client_secret   gw-secret;
    }

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        tokens on;
        role * { allow tool *; }
    }

    mcp_server theirs {
        resource https://mcp.example.com/theirs;
        issuer okta;
        tokens on;
        credential account;
        role * { allow tool *; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport;

        location /mcp {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /theirs {
            mcp_auth theirs;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END

sub got {
    my ($token, $uri) = @_;
    my $r = call_tool($uri || '/mcp', 'echo', {}, token => $token);
    my $a = $t->audit_next(1, settle => 0);

    return $r->{status} == 200 && $r->{json}{result} ? 'ok' : $a->{reason};
}

# the same from each worker, many times in a row

sub always {
    my ($want, @what) = @_;
    return MCP::Test::wait_until(15, sub {
        return !grep { got(@what) ne $want } 1 .. 24;
    });
}


# an hour ahead

open my $clock, '+>', "$d/clock" or die "clock: $!";

sub set_clock {
    sysseek $clock, 0, 0;
    syswrite $clock, pack('q', $_[0]);
}

set_clock(3600);

{
    local $ENV{LD_PRELOAD} = "$d/clock.so";
    local $ENV{MCP_CLOCK_HOOK} = "$d/clock";

    $t->start;
}

my $now = int time;
my $jwt = $okta->token(-expires => 600);
my $long = $okta->token(-expires => 7200);
my %alice = (issuer => $okta->{issuer}, user => 'alice',
             created => $now, expires => $now + 86400);
my $gone = $store->pat(%alice);
my $over = $store->pat(%alice, expires => $now + 600);
my %account = (credential => 'account', issuer => $okta->{issuer},
               user => 'alice');
my %later = (%account, user => 'bob');
my $bob = $okta->token(sub => 'bob', -expires => 7200);

$redis->write_tokens($store, $gone, $over);
$vault->write($redis, \%account, $idp->grant('alice', lifetime => 86400));

ok(always('ok', $long), 'a token that is still good then');
ok(always('expired', $jwt), 'one that is expired, by that clock');
ok(always('ok', $gone->{token}), 'one of the gateway\'s own');
ok(always('expired', $over->{token}), 'another, expired');
ok(always('ok', $long, '/theirs'), 'an account that was connected');
ok(always('no_grant', $bob, '/theirs'), 'and one that was not');


# the clock is right again

set_clock(0);

$redis->command('DEL', 'mcp:tok:' . $store->hash($gone));
$redis->command('DEL', 'mcp:cred:' . $vault->name(\%account));
$vault->write($redis, \%later, $idp->grant('bob', lifetime => 86400));

ok(always('ok', $long), 'who was good is good');
ok(always('ok', $jwt), 'who was expired is not');
ok(always('token_unknown', $gone->{token}), 'who is in no store any more');
ok(always('ok', $over->{token}), 'whose token is not expired either');
ok(always('no_grant', $long, '/theirs'), 'an account that is there no more');
ok(always('ok', $bob, '/theirs'), 'and one that is there now');

done_testing();

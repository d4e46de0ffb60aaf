#!/usr/bin/perl

# What is left when something ends between the provider's answer and the write:
# Redis, the way to Redis, the worker.  Nobody's grant is destroyed by somebody
# who does not know, and what is unknown is said to be unknown.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Provider;
use MCP::Proxy;
use MCP::Redis;
use MCP::Vault;

my $t = MCP::Test->new;
my $second = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $vault = MCP::Vault->new($t);
my $redis = MCP::Redis->start($t, persist => 1);
my $proxy = MCP::Proxy->start($t, port => 6380, to => $redis->socket);
my $idp = MCP::Provider->start($t, port => 8095);
my $up = $idp->resource(port => 8081);

$t->allow_log(qr/exited on signal 9/);

# the first gateway reaches Redis by way of the proxy

sub conf {
    my ($port, $server) = @_;
    my ($issuer, $endpoint, $keys)
        = ($okta->issuer_conf, $idp->endpoint, $vault->file);
    my $client = "type user; token_endpoint $endpoint;"
                 . " client_id gw; client_secret gw-secret;";

    return <<"END";
%%GLOBALS%%
worker_processes 1;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_vault_keys $keys;
    mcp_redis { server $server; timeout 1s; revocation_stale 60s; }
    $issuer

    mcp_credential strict { $client timeout 2s; }
    mcp_credential grace { $client timeout 2s; grace 30s; }
    mcp_credential patient { $client timeout 30s; }

    mcp_server strict { resource https://mcp.example.com/s; issuer okta;
                        credential strict; role * { allow tool *; } }
    mcp_server grace { resource https://mcp.example.com/g; issuer okta;
                       credential grace; role * { allow tool *; } }
    mcp_server patient { resource https://mcp.example.com/p; issuer okta;
                         credential patient; role * { allow tool *; } }
    server {
        listen 127.0.0.1:%%PORT_$port%%;
        location /patient { mcp_auth patient;
                            proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /strict { mcp_auth strict;
                           proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /grace { mcp_auth grace;
                          proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
}
END
}

$t->write_conf(conf(8080, $proxy->server))->start;
$second->write_conf(conf(8090, $redis->server))->start;

sub owner { { credential => $_[1] // 'strict', issuer => $okta->{issuer},
              user => $_[0] } }
sub name { $vault->name(owner(@_)) }
sub record { $vault->read($redis, owner(@_)) || {} }
sub refreshes { $idp->count(kind => 'refresh_token', user => $_[0]) }
sub wait_for { MCP::Test::wait_until($_[1] // $MCP::Test::TIMEOUT, $_[0]) }

sub send_call {
    my ($user, %o) = @_;
    return mcp_start('/' . ($o{server} // 'strict'),
                     rpc('tools/call', { name => 'echo' }),
                     token => $okta->token(sub => $user, -expires => 3000),
                     %o);
}

sub call { send_call(@_)->read_response(timeout => 20) }
sub user { (MCP::Provider->told($_[0]) // {})->{user} // "-$_[0]{status}" }

# a grant whose access token has ended

sub grant {
    my ($user, %o) = @_;
    my $g = $idp->grant($user, lifetime => 300);

    $vault->write($redis, owner($user, $o{server}),
                  { %$g, expires => int(time) + ($o{expires} // -1) },
                  issued => int(time) - 300 + ($o{expires} // 0));
    return $g;
}

# a request whose refresh the provider answers when it is told to

sub begin {
    my ($user, %o) = @_;

    $idp->misbehave('hold', times => 1);
    my $c = send_call($user, %o);
    ok($idp->wait_held(1), "$user: the provider was asked");
    like(record($user, $o{server})->{flight} // '', qr/^1 \d+ \S+ \d+\z/,
         "$user: and there is a note");
    return $c;
}

# as if the time of its lock was over

sub unlock { $redis->command('DEL', 'mcp:lock:' . name(@_)) }

sub reason {
    my ($gateway, $user) = @_;
    my $r = wait_for(sub {
        return (grep { ($_->{user} // '') eq $user && $_->{ev} eq 'call' }
                reverse $gateway->audit(1))[0];
    });
    return $r ? $r->{reason} : '';
}


# ---- a partition

my $ann = grant('ann');
my $c = begin('ann');

$proxy->mode(hole => 1);
$idp->release;
is(user($c->read_response), 'ann', 'new tokens serve before they are written');

unlock('ann');
my $r = call('ann', port => 8090);
is($r->{status}, 503, 'the other gateway does not ask again');
is(reason($second, 'ann'), 'credential_unknown', 'it does not know');
ok($r->{headers}{'retry-after'} >= 1, 'Retry-After');
is(refreshes('ann'), 1, 'one refresh');
like($second->read_log, qr/a refresh of version 1 began .* is unknown/,
     'it is said');
my ($e) = grep { $_->{ev} eq 'credential' } $second->audit(1);
is($e->{reason}, 'credential_unknown', 'an event');
is($e->{user}, 'ann', 'of her');

$proxy->mode;
ok(wait_for(sub { (record('ann')->{version} // 0) == 2 }, 20),
   'the partition ends: it is written');
ok(wait_for(sub { user(call('ann', port => 8090)) eq 'ann' }),
   'and the other gateway serves');
is(refreshes('ann'), 1, 'still one refresh');
ok($idp->alive($ann), 'the grant lives');
ok(!defined record('ann')->{flight}, 'no note is left');

# what the first gateway asked into the hole is over, and it asks Redis again

my $warm = 0;
ok(wait_for(sub {
    $warm++;
    grant("warm$warm", expires => 200);
    return user(call("warm$warm")) eq "warm$warm";
}, 20), 'nor is the first one cut off');


# ---- the worker dies

my $bob = grant('bob');
begin('bob');
my ($pid) = $t->workers;
kill KILL => $pid;
ok(wait_for(sub { my @w = $t->workers; @w && $w[0] != $pid }), 'another worker');
$idp->release;
unlock('bob');

for my $port (8080, 8090) {
    is(call('bob', port => $port)->{status}, 503, "$port: it is unknown");
    is(call('bob', port => $port)->{status}, 503, "$port: again");
}

is(refreshes('bob'), 1, 'it is not repeated');
is(record('bob')->{version}, 1, 'nothing was written');
is(record('bob')->{state}, 'active', 'nor taken away');
is(reason($second, 'bob'), 'credential_unknown', 'on record');

# when nobody can have the answer any more, once

$redis->command('HSET', 'mcp:cred:' . name('bob'), 'fl', '1 1000 other 1000');
unlock('bob');
ok(wait_for(sub { refreshes('bob') == 2 || !call('bob', port => 8090) }),
   'then it is tried');
ok(wait_for(sub { (record('bob')->{state} // '') eq 'reauth' }),
   'the provider says that it is over');
ok(wait_for(sub { (call('bob', port => 8090)->{status}) == 403 }),
   'bob has to connect it again');
is(refreshes('bob'), 2, 'and was not tried again');
like($second->read_log, qr/a grant is over: .*whose outcome was lost/,
     'the log tells why');


# ---- the worker dies, and the provider has patience

$idp->set(grace => 30);

my $cid = grant('cid', server => 'grace');
begin('cid', server => 'grace');
($pid) = $t->workers;
kill KILL => $pid;
ok(wait_for(sub { my @w = $t->workers; @w && $w[0] != $pid }), 'another worker');
$idp->release;
unlock('cid', 'grace');
is(user(call('cid', server => 'grace', port => 8090)), 'cid',
   'within its grace it is asked again');
ok($idp->alive($cid), 'the grant lives');
ok(wait_for(sub { (record('cid', 'grace')->{version} // 0) == 2 }), 'written');
$idp->set(grace => 0);


# ---- Redis dies, and comes back

my $dan = grant('dan');
$c = begin('dan', port => 8090);
$redis->kill;
$idp->release;
is(user($c->read_response), 'dan', 'new tokens serve without Redis');
$redis->run;
ok(wait_for(sub { (record('dan')->{version} // 0) == 2 }, 20),
   'they are written when it is back');
ok(wait_for(sub { user(call('dan')) eq 'dan' }, 20), 'for the other gateway');
is(refreshes('dan'), 1, 'one refresh');
ok($idp->alive($dan), 'the grant lives');

# Redis is gone before anything began

my $eve = grant('eve');
$redis->kill;
is(call('eve', port => 8090)->{status}, 503, 'no Redis, no credential');
is(refreshes('eve'), 0, 'nothing is refreshed without a lock');
$redis->run;
ok(wait_for(sub { user(call('eve', port => 8090)) eq 'eve' }, 20), 'later');


# ---- nobody answers: the old token serves, and is not risked

my $fay = grant('fay', expires => 6);
$idp->misbehave('silent', seconds => 5, times => 1);
is(user(call('fay', port => 8090)), 'fay', 'the old one serves');
ok(wait_for(sub { (record('fay')->{flight} // '') =~ /^1 \d+ - \d+\z/ }),
   'a note that there is no answer');
is(user(call('fay', port => 8090)), 'fay', 'it still does');
sleep 1.5;
is(user(call('fay', port => 8090)), 'fay', 'and does');
is(refreshes('fay') + $idp->count(mode => 'silent'), 1, 'not repeated yet');
ok(wait_for(sub { refreshes('fay') == 1 || !call('fay', port => 8090) }, 20),
   'after its end it is');
ok(wait_for(sub { user(call('fay', port => 8090)) eq 'fay' }, 20), 'she passes');
ok($idp->alive($fay), 'the grant lives');


# ---- the lock came to its end, and is somebody else's now

my $hal = grant('hal');
my $silent = $idp->count(mode => 'silent');
$idp->misbehave('silent', seconds => 5, times => 1);
$c = send_call('hal', port => 8090);
ok(wait_for(sub { $idp->count(mode => 'silent') > $silent }), 'hal: asked');

my $note = '1 1000 other 1000';
$redis->command('SET', 'mcp:lock:' . name('hal'), 'other');
$redis->command('HSET', 'mcp:cred:' . name('hal'), 'fl', $note);
is($c->read_response(timeout => 20)->{status}, 503, 'no answer');

# what this worker asks of Redis after that is answered after that

is(call('nobody', port => 8090)->{status}, 403, 'something else meanwhile');
is($redis->command('GET', 'mcp:lock:' . name('hal')), 'other',
   'the lock of another is not given back');
is(record('hal')->{flight}, $note, 'nor is its note changed');


# ---- a note that nobody of us wrote

grant('ida');
$redis->command('HSET', 'mcp:cred:' . name('ida'), 'fl', "1 1000\nforged: x");
is(call('ida', port => 8090)->{status}, 503, 'is no sign that nothing happened');
is(refreshes('ida'), 0, 'and the provider is not asked');
my ($line) = $second->read_log =~ /(a refresh of version 1 began[^\n]*\?.*)/;
ok($line, 'it is in the log');
unlike($second->read_log, qr/^forged/m, 'but for what it said');


# ---- a worker that leaves finishes what it began

my $gus = grant('gus', server => 'patient');
$c = begin('gus', server => 'patient', port => 8090);
ok($second->reload, 'a reload meanwhile');
$idp->release;
is(user($c->read_response), 'gus', 'the request is answered');
ok(wait_for(sub { (record('gus', 'patient')->{version} // 0) == 2 }), 'and written');
ok($idp->alive($gus), 'the grant lives');

is($idp->count(reuse => 1), 1, 'one refresh token came twice: bob\'s');

done_testing;

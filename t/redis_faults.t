#!/usr/bin/perl

# What Redis and the network may do: gone, paused, slow, full, another password,
# other rights, a replica, another one in its place.  In each case nobody
# revoked gets in, nobody gets another's identity, what cannot be known is 503,
# and all is well by itself when Redis is.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Faults;

my $f = MCP::Faults->new;
my ($t, $redis, $proxy, $okta, $store)
    = @$f{qw/ t redis proxy okta store /};

my $pass = sub { $proxy->mode };

sub mode {
    my (%o) = @_;
    return sub { $proxy->mode(%o) };
}

sub unsubscribe { $redis->command('CLIENT', 'KILL', 'TYPE', 'pubsub') }

sub disconnect {
    unsubscribe();
    $redis->command('CLIENT', 'KILL', 'TYPE', 'normal');
}


# ---- it is gone, or not there any more

$f->fault('killed', sub { $redis->kill }, sub { $redis->run },
          stale => 1, fresh => '503', log => 'it has closed the connection');

is(($f->got($f->{erin}))[0], 401, 'erin is revoked in a Redis that was empty');
ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    2 == grep { $_ } map { $redis->command('HGET', 'mcp:rev',
        "user $okta->{issuer} $_") } qw/ erin fay /
}), 'which has her again, from the gateway');

$f->fault('paused', sub { $redis->pause }, sub { $redis->resume },
          stale => 1, fresh => '503', log => 'no (?:answer|PONG) in time');

$f->fault('connections refused',
          sub { $proxy->mode(refuse => 1, close => 1) }, $pass,
          stale => 1, fresh => '503');

$f->fault('a black hole', mode(hole => 1), $pass, stale => 1, fresh => '503');

$f->fault('commands arrive, replies do not', mode(stop => 'replies'), $pass,
          stale => 1, fresh => '503');


# ---- slow

$f->fault('slow', mode(delay => 0.2), $pass, fresh => '200', time => 4);
$f->fault('too slow', mode(delay => 0.6), $pass, stale => 1, fresh => '503');
$f->fault('byte by byte', mode(split => 0.0005), $pass, fresh => '200',
          time => 4);


# ---- what it can do, or we may

$f->fault('full', sub {
        $redis->command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
        $redis->command('CONFIG', 'SET', 'maxmemory', 1);
        $redis->command('DEL', 'mcp:rev');
        unsubscribe();
    }, sub { $redis->command('CONFIG', 'SET', 'maxmemory', 0) },
    fresh => '200', log => 'what it lacks cannot be put back "OOM"');

ok(MCP::Test::wait_until($MCP::Test::TIMEOUT,
                         sub { $redis->command('EXISTS', 'mcp:rev') }),
   'put back when there is room');

$f->fault('another password', sub {
        $redis->command('CONFIG', 'SET', 'requirepass', 'other');
        $redis->{password} = 'other';
        disconnect();
    }, sub {
        $redis->command('CONFIG', 'SET', 'requirepass', '');
        delete $redis->{password};
    }, stale => 1, fresh => '503', log => 'it wants a password \(NOAUTH\)');

for (['get', 0, '503'],
     ['hscan', 1, '', 'HSCAN failed "NOPERM"'],
     ['hset', 0, '200', 'HSET was not answered as it should be: NOPERM'],
     ['hello', 0, '200'],
     ['client|setname', 0, '200'])
{
    my ($command, $stale, $fresh, $log) = @$_;

    $f->fault("no right to $command", sub {
        $redis->command('ACL', 'SETUSER', 'default', "-$command");
        unsubscribe();
    }, sub { $redis->command('ACL', 'SETUSER', 'default', '+@all') },
    stale => $stale, fresh => $fresh, log => $log);
}

$f->fault('no right to the channel', sub {
        $redis->command('ACL', 'SETUSER', 'default', 'resetchannels');
        unsubscribe();
    }, sub { $redis->command('ACL', 'SETUSER', 'default', 'allchannels') },
    stale => 1, log => 'it does not let us subscribe \(NOPERM\)');

$f->fault('it became a replica', sub {
        $redis->command('REPLICAOF', '127.0.0.1', 1);
        disconnect();
    }, sub { $redis->command('REPLICAOF', 'NO', 'ONE') },
    stale => 1, fresh => '503', log => 'it is a replica, and may not know');


# ---- another server takes its place, with other data

my $older = $f->pat('older');
my $frank = $okta->token(sub => 'frank', -expires => 3000);

$redis->command('CONFIG', 'SET', 'save', '');
ok($t->reload($f->conf($redis->server)), 'reload: without a proxy');
my @workers;
MCP::Test::wait_until($MCP::Test::TIMEOUT,
                      sub { 2 == (@workers = sort $t->workers) });
ok($f->until_seen('200', $frank) && $f->until_seen('401', $f->{erin}), 'works');

$redis->kill;

my $other = bless { %$redis, name => 'other', dir => $t->dir . '/other' },
            'MCP::Redis';
mkdir $other->{dir};
$other->run;
$other->write_tokens($store, $older);
$other->revoke(user => 'frank', issuer => $okta->{issuer});

ok($f->until_seen('401', $frank), 'fail-over: frank is revoked, says that one');
is($f->seen($f->{erin}), '401', 'erin stays out');
ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    $other->command('HGET', 'mcp:rev', "user $okta->{issuer} erin")
}), 'the new one knows of her now');
ok($f->until_seen('200', $older->{token}), 'its tokens are in force');
is(($f->got($older->{token}))[1], 'older', 'for who they are of');
is(join(' ', sort $t->workers), "@workers", 'the workers live');


# ---- a worker leaves at once, whatever Redis does

for (['gone', sub { $other->kill }], ['paused', sub { $other->run->pause }]) {
    my ($name, $do) = @$_;

    $do->();
    my @old = $t->workers;
    my $waiting = mcp_start('/mcp', rpc('tools/call', { name => 'x' }),
                            token => MCP::Token::unknown());

    ok($t->reload, "reload: Redis is $name");
    ok(MCP::Test::wait_until($MCP::Test::TIMEOUT,
                             sub { !grep { kill 0 => $_ } @old }),
       'the old workers leave');
    is($waiting->read_response->{status}, 503, 'who waited was answered');
    is($f->seen($f->{erin}) =~ /200/ ? 1 : 0, 0, 'erin stays out');
}

$other->resume;
$other->write_tokens($store);
ok($f->until_seen('200', $f->{bob}), 'all is well in the end');
is($f->seen($f->{erin}), '401', 'for those who may');

unlike($t->read_log, qr/mcp:tok:[0-9a-f]/, 'no key of a token in error.log');

done_testing;

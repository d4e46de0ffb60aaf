#!/usr/bin/perl

# The table with both stores, a file and Redis: each revokes for itself, both
# have to be known, and what is lost or does not fit lets nobody in.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Redis;
use MCP::Revocations;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $rev = MCP::Revocations->new($t);
my $redis = MCP::Redis->start($t);
my $server = $redis->server;
my $up = MCP::Upstream->start($t, port => 8081);
my $workers = 2;

my $conf = <<"END";
%%GLOBALS%%
worker_processes $workers;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_revocation_file revoked;
    mcp_redis { server $server; revocation_stale 20s; }
    #zone

    %%ISSUERS%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        role * { allow tool *; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport;
        location / { mcp_auth mcp;
                     proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location = /status { mcp_status; }
    }
}
END

my %who = map {
    $_ => $okta->token(iat => int(time) - 60, sub => $_, -expires => 3000)
} qw/ alice bob carol /;

sub call {
    my ($who) = @_;
    my $r = call_tool('/mcp', 'echo', {}, token => $who{$who}, timeout => 30);
    return $r ? $r->{status} : 0;
}

sub everywhere {
    my ($want, $who, $time) = @_;

    return MCP::Test::wait_until($time // $MCP::Test::TIMEOUT, sub {
        !grep { call($who) != $want } 1 .. 5 * $workers;
    }) ? 1 : 0;
}

sub events { grep { $_->{ev} eq 'revocation' } $t->audit }

sub revoke { $redis->revoke(issuer => $okta->{issuer}, user => @_) }


# ---- at first: requests wait for Redis

revoke('carol');
$rev->add(user => $okta->{issuer}, 'bob');
$rev->write;
$t->write_conf($conf)->start;

# two seconds are not enough for valgrind

MCP::Test::wait_until($MCP::Test::TIMEOUT,
                      sub { metric('revocations_ready') })
    if $ENV{MCP_TEST_VALGRIND};

my @first = map { mcp_start('/mcp', rpc('tools/call', { name => 'echo' }),
                            token => $who{$_}) } qw/ alice bob carol /;
is(join(' ', map { $_->read_response(timeout => 30)->{status} } @first),
   '200 401 401', 'the first requests wait until it is known');
is(scalar(events()), 0, 'what was there before is no news');
is(metric('revocations{store="file"}') . metric('revocations{store="redis"}'),
   11, 'one of each');


# ---- two stores

$rev->add(user => $okta->{issuer}, 'alice');
$rev->write;
is(everywhere(401, 'alice'), 1, 'revoked by the file');
revoke('alice', at => undef);
sleep 0.5;
is(call('alice'), 401, 'Redis does not lift that');
revoke('alice');
MCP::Test::wait_until(10, sub { events() >= 2 });
$rev->clear->write;
is(everywhere(200, 'bob'), 1, 'the file lifts what it had');
is(call('alice'), 401, 'but not what Redis has');
revoke('alice', at => undef);
is(everywhere(200, 'alice'), 1, 'both did');
is(call('carol'), 401, 'and others are as before');

my @told = map { "$_->{method} $_->{user} $_->{store}" } events();

is(join(', ', sort @told),
   'revoke/user alice file, revoke/user alice redis, '
   . 'unrevoke/user alice file, unrevoke/user alice redis, '
   . 'unrevoke/user bob file', 'each on record');
my ($late) = grep { $_->{store} eq 'redis' } events();
cmp_ok($late->{ms}{late}, '<', 5000, 'with the time that it took');


# ---- a worker dies while it changes the table: both are read again

revoke('alice');
is(everywhere(401, 'alice'), 1, 'alice, by Redis');

# (of the file, what came in the same second as the last change is told again)

$rev->add(user => $okta->{issuer}, 'bob', at => time - 30);
$rev->write;
is(everywhere(401, 'bob'), 1, 'bob, by the file');
MCP::Test::wait_until(10, sub { (events())[-1]{user} eq 'bob' });
my $n = events();

SKIP: {
    skip 'no access to the memory of a worker', 9
        unless MCP::Revocations::torn($t);

    my %got;
    my $end = time + 3;

    while (time < $end) {
        $got{$_ . ' ' . call($_)}++ for qw/ alice bob carol /;
    }

    is(join(', ', grep { !/ 401$/ } sort keys %got), '',
       'nobody slips through');
    is(metric('revocations_ready'), 1, 'it is whole again');
    is(metric('revocations{store="redis"}'), 2, 'with all from Redis');
    is(metric('revocations{store="file"}'), 1, 'and from the file');
    is(scalar(events()), $n, 'nothing was told again');

    # and without Redis it stays unknown

    $redis->pause;
    MCP::Revocations::torn($t);
    is(call('alice'), 503, 'Redis does not answer: 503');
    is(call('bob'), 503, 'also for those of the file');
    is(metric('revocations_ready'), 0, 'to be seen');
    $redis->resume;
    is(everywhere(401, 'alice', 40), 1, 'it answers: alice is revoked');
}

is(everywhere(401, 'bob'), 1, 'bob is');
is(everywhere(401, 'carol'), 1, 'carol is');


# ---- no room

$rev->clear->write;
is($t->reload($conf =~ s/#zone/mcp_revocation_zone 64k;/r), 1, 'a small zone');
is(everywhere(200, 'bob'), 1, 'enough for few');

$redis->revoke(issuer => 'https://issuer.example', user => "user$_")
    for 1 .. 600;

is(everywhere(503, 'bob', 30), 1, 'too many: nobody knows who is revoked');
is(call('alice'), 503, 'also of those that fit');
is(metric('revocations_ready'), 0, 'to be seen');
ok($t->wait_for_log(qr/\[error\].*what Redis has does not fit into .*raise it/),
   'error.log says what to do');
is($t->reload($conf), 1, 'raised');
is(everywhere(200, 'bob', 30), 1, 'all is well');
is(call('alice'), 401, 'alice is revoked');
is(metric('revocations{store="redis"}'), 602, 'all are there');

done_testing;

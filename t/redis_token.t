#!/usr/bin/perl

# Own tokens in Redis: whoever a token belongs to, that is who its call comes
# from, whatever happens to connections, replies and processes.  Many tokens at
# once, over a proxy that delays replies, cuts them in the middle and loses
# some, at random (trap N12 of docs/internals/traps.md).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Proxy;
use MCP::Redis;
use MCP::Token;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $store = MCP::Token->new($t);
my $redis = MCP::Redis->start($t);
my $proxy = MCP::Proxy->start($t, port => 6380, to => $redis->socket);
my $server = $proxy->server;
my $seed = $ENV{MCP_TEST_SEED} || int rand 1_000_000;
my $note = '{"jsonrpc":"2.0","method":"notifications/message","params":{}}';

# the upstream tells who it was told that it is

MCP::Upstream->start($t, port => 8081, handler => sub {
    my ($req) = @_;

    return { sse => [ map { ({ data => $note }, 0.2) } 1 .. 300 ] }
        if $req->{method} eq 'GET';
    return { result => { content => [ { type => 'text',
                                        text => $req->{headers}{'x-who'} // ''
                                      } ] } };
});

my $conf = <<"END";
%%GLOBALS%%
worker_processes 3;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_token_key pepper-a pepper-b;
    mcp_token_failures 0;

    mcp_redis { server $server; timeout 300ms; connect_timeout 300ms; }

    %%ISSUER_okta%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        tokens on;
        role dev { allow tool *; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport;
        location /mcp {
            mcp_auth mcp;
            proxy_set_header X-Who "\$mcp_auth_user\$mcp_auth_client";
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END

$t->write_conf($conf);
$t->start;

my $serial = 0;

# of a person or a service, under either pepper

sub token {
    my $who = 'who-' . ++$serial;
    my %o = (pepper => $serial % 3 ? 'pepper-a' : 'pepper-b');

    my $k = $serial % 2
            ? $store->pat(issuer => $okta->{issuer}, user => $who, %o)
            : $store->vat(service => $who, %o);

    $k->{who} = $who;
    return $k;
}

sub ask {
    my ($k) = @_;

    return mcp_start('/mcp', rpc('tools/call', { name => $k->{who} }),
                     token => $k->{token}, close => 1);
}

# Most workers have their connection again; a question that fails shows that
# they have not.

sub connected {
    MCP::Test::wait_until(2, sub {
        !grep { (eval { $_->read_response->{status} } // 0) != 401 }
         map { ask({ token => MCP::Token::unknown(), who => 'nobody' }) } 1 .. 6
    });
}

sub who { ($_[0]{json}{result}{content} || [{}])->[0]{text} // '' }


# ---- everything at once, at random

my (%status, @wrong);

# all of them at the same time, some twice, some of nobody

sub round {
    my ($n) = @_;
    my @k = map { token() } 1 .. $n;

    $redis->write_tokens($store, @k);

    my @nobody = map { { token => MCP::Token::unknown(), who => 'nobody' } }
                 1 .. $n / 4;
    my @all = sort { rand() <=> rand() } @k, @k[0 .. $n / 3], @nobody;
    my @c = map { [ $_, eval { ask($_) } ] } @all;

    # some do not wait

    for (grep { $_->[1] && rand() < 0.1 } @c) {
        $_->[1]->close;
        $_->[1] = undef;
    }

    for (@c) {
        my ($k, $c) = @$_;
        my $r = $c && eval { $c->read_response } or next;

        $status{$r->{status}}++;
        push @wrong, "$k->{who} is " . who($r)
            if $r->{status} == 200 && who($r) ne $k->{who};
    }

    return @k;
}

my @some = round(20);
is(join(' ', sort keys %status), '200 401', 'without faults: 200 or 401')
    or diag(explain(\%status));
is("@wrong", '', 'and everybody is who they are');

diag("seed $seed");
srand $seed;
%status = ();

# each of these for some rounds, the last ones with changes of processes too

$t->allow_log(qr/worker process \d+ exited on signal 9/);

for (['delays', { delay => 0.25 }],
     ['connections that break in the middle of a reply',
      { delay => 0.01, drop => 0.05 }],
     ['replies that get lost', { delay => 0.01, swallow => 0.05 }],
     ['all of it', { delay => 0.05, drop => 0.03, swallow => 0.03 }],
     ['all of it, and reloads', { delay => 0.05, drop => 0.03,
                                  swallow => 0.03 }, sub { $t->reload }],
     ['all of it, and workers that are killed',
      { delay => 0.05, drop => 0.03, swallow => 0.03 },
      sub { kill KILL => ($t->workers)[0] }])
{
    my ($name, $chaos, $do) = @$_;

    @wrong = ();
    %status = ();

    for my $n (1 .. 8) {
        $proxy->mode;
        connected();
        $proxy->mode(only => 'GET', chaos => { %$chaos, seed => $seed + $n });
        my @k = round(24);
        push @some, @k[0 .. 3];
        $do->() if $do;
    }

    is("@wrong", '', "N12: $name: everybody is who they are");
    ok($status{200}, "$name: some pass");
    diag("$name: " . join ', ', map { "$_: $status{$_}" } sort keys %status);
}

$proxy->mode;

# then all is well by itself

for my $k (@some) {
    my $r;

    MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
        $r = ask($k)->read_response;
        return $r && $r->{status} == 200;
    });

    push @wrong, "$k->{who} is " . ($r->{status} == 200 ? who($r)
                                                        : $r->{status})
        if $r->{status} != 200 || who($r) ne $k->{who};
}

is("@wrong", '', 'afterwards every token is good, and its owner\'s');

# the audit saw the same: the target is who it should have been

my @calls = grep { $_->{decision} eq 'allow' && $_->{ev} eq 'call' } $t->audit;
my @bad = grep { ($_->{user} // $_->{client} // '') ne $_->{target} } @calls;

cmp_ok(scalar @calls, '>', 200, 'hundreds of calls on record');
is(join(' ', map { "$_->{target} is " . ($_->{user} // $_->{client}) } @bad),
   '', 'N12: no record shows another than the token\'s owner');

my %id = map { $_->{who} => $_->{id} } @{$store->{tokens}};
is(scalar(grep { $_->{token_id} ne $id{$_->{target}} } @calls), 0,
   'nor another token');


# ---- a binary upgrade in the middle

{
    my $d = $t->dir;

    $t->stop;
    (my $daemon = $t->read_file('nginx.conf')) =~ s/daemon off;//;
    $t->write_file('nginx.conf', $daemon);

    sub pid_in {
        my ($name, $not) = @_;
        my $pid;

        MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
            ($pid) = $t->read_file($name) =~ /^(\d+)\n/;
            return $pid && $pid != ($not // 0);
        });

        return $pid;
    }

    sub gone {
        my ($pid) = @_;
        return MCP::Test::wait_until($MCP::Test::TIMEOUT,
                                     sub { !kill 0 => $pid });
    }

    unlink "$d/nginx.pid";
    system($MCP::Test::NGINX, '-p', $d, '-c', "$d/nginx.conf", '-e',
           "$d/error.log");
    my $old = pid_in('nginx.pid');
    my @pids = $old;

    eval {
        @wrong = ();
        %status = ();
        round(12);
        $proxy->mode(only => 'GET', chaos => { delay => 0.1, drop => 0.05,
                                               seed => $seed });
        kill USR2 => $old;
        my $new = pid_in('nginx.pid', $old);
        push @pids, $new;
        round(24) for 1 .. 2;
        kill QUIT => $old;
        round(24) for 1 .. 2;
        ok(gone($old), 'the old binary leaves');
        $proxy->mode;
        is("@wrong", '', 'a new binary: everybody is who they are');
        ok($status{200}, 'and some pass');
        kill QUIT => $new;
        ok(gone($new), 'the new one leaves');
        @pids = ();
    };

    my $error = $@;
    kill KILL => @pids if @pids;
    die $error if $error;

    $t->write_conf($conf);
    $t->start;
}


# ---- warm: no round trip

my ($pat) = grep { $_->{kind} eq 'pat' } @some;
my ($vat) = grep { $_->{kind} eq 'vat' } @some;

for (1 .. 20) {
    ask($_)->read_response for $pat, $vat;
}

my $get = $redis->calls('get');
my $hset = $redis->calls('hset');
my @r = map { ask($_)->read_response } ($pat, $vat) x 50;

is(scalar(grep { $_->{status} == 200 } @r), 100, 'a hundred calls');
is($redis->calls('get') - $get, 0, 'none of them asked Redis');
is($redis->calls('hset') - $hset, 0, 'or told it something');


# ---- revoked: at once, in every cache

sub stream {
    my ($k) = @_;
    my $c = http_start("GET /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: "
                       . "text/event-stream\r\nAuthorization: Bearer "
                       . "$k->{token}\r\n\r\n");
    $c->sse_next or die "no stream";
    return $c;
}

sub refused {
    my ($k) = @_;
    return MCP::Test::wait_until(1, sub {
        !grep { ask($k)->read_response->{status} != 401 } 1 .. 10;
    });
}

my @streams = map { stream($_) } $pat, $vat;
my $began = time;

$redis->revoke(token => $pat->{id}, issuer => $okta->{issuer});
$redis->revoke(client => $vat->{who});
ok(refused($pat), 'a token that is revoked by its id');
ok(refused($vat), 'a service that is');

for (@streams) {
    1 while $_->sse_next;
}

ok($_->{response}{complete}, 'its stream is over') for @streams;
cmp_ok(time - $began, '<', $MCP::Test::SAN ? 6 : 3, 'soon');

# the record says so as well, as mcpctl writes it

my $k = token();
$redis->write_tokens($store, $k);
is(ask($k)->read_response->{status}, 200, 'one that is good');
my $r = token();
$r->{revoked} = time;
$redis->write_tokens($store, $r);
is(ask($r)->read_response->{status}, 401, 'one whose record says revoked');
ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    grep { ($_->{reason} // '') eq 'token_revoked' } $t->audit
}), 'on record');

done_testing;

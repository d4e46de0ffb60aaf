package MCP::Faults;

# A gateway of two workers whose Redis has faults: what t/redis_faults.t and
# t/redis_replies.t share.
#
#     my $f = MCP::Faults->new;
#     $f->fault('killed', sub { $f->{redis}->kill }, sub { $f->{redis}->run },
#               stale => 1, fresh => '503', log => 'closed the connection');
#     done_testing;
#
# bob and erin have JWTs, fay has a token of ours in Redis; erin and fay are
# revoked.  Each fault asserts: neither of them gets in, nobody gets another's
# identity, workers live and do not hammer, and when it is over everything is
# well by itself.

use strict;
use warnings;

use JSON::PP ();
use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Proxy;
use MCP::Redis;
use MCP::Token;
use MCP::Upstream;


sub new {
    my ($class) = @_;
    my $t = MCP::Test->new;
    my $okta = MCP::Issuer->new($t, static => 1);
    my $store = MCP::Token->new($t);
    my $redis = MCP::Redis->start($t);
    my $proxy = MCP::Proxy->start($t, port => 6380, to => $redis->socket);

    my $self = bless { t => $t, okta => $okta, store => $store,
                       redis => $redis, proxy => $proxy, serial => 0 }, $class;

    MCP::Upstream->start($t, port => 8081);

    $t->write_conf($self->conf($proxy->server));
    $t->start;

    $self->{bob} = $okta->token(sub => 'bob', -expires => 3000);
    $self->{erin} = $okta->token(sub => 'erin', -expires => 3000);
    $self->{fay} = $self->pat('fay');

    $self->furnish;
    ok($self->until_seen('200', $self->{bob}), 'at the beginning');

    $redis->revoke(user => 'erin', issuer => $okta->{issuer});
    $redis->revoke(user => 'fay', issuer => $okta->{issuer}, at => time + 60);
    ok($self->until_seen('401', $self->{erin}), 'erin is revoked');
    ok($self->until_seen('401', $self->{fay}{token}),
       'so is fay, with her token');

    $self->{workers} = [ sort $t->workers ];

    return $self;
}


sub conf {
    my ($self, $server) = @_;

    return <<"END";
%%GLOBALS%%
worker_processes 2;
events { worker_connections 200; }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_token_key pepper-a;
    mcp_token_failures 0;

    mcp_redis { server $server; timeout 400ms; connect_timeout 400ms;
                revocation_stale 2s; max_reply 64k; }

    %%ISSUER_okta%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        tokens on;
        role * { allow tool *; }
        role dev { allow tool *; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport;
        location /mcp { mcp_auth mcp;
                        proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
}
END
}


sub pat {
    my ($self, $user) = @_;
    return $self->{store}->pat(issuer => $self->{okta}{issuer}, user => $user);
}


# what is in Redis at the beginning, and after it was emptied for a test

sub furnish {
    my ($self) = @_;
    $self->{redis}->write_tokens($self->{store});
}


# (status, the user on record, the reason)

sub got {
    my ($self, $token) = @_;
    my $r = call_tool('/mcp', 'echo', {}, token => $token);
    my $a;

    MCP::Test::wait_until($MCP::Test::TIMEOUT, sub { $a = $self->record });

    return ($r->{status}, $a->{user} // $a->{client} // '',
            $a->{reason} // '');
}


# The next record of a call; what was read is not read again, there are many.

sub record {
    my ($self) = @_;

    open my $fh, '<:raw', $self->{t}->dir . '/audit.log' or return;
    seek $fh, $self->{read} || 0, 0;

    while (my $line = <$fh>) {
        return unless $line =~ /\n\z/;

        $self->{read} = tell $fh;
        my $a = JSON::PP->new->utf8->decode($line);
        return $a if $a->{ev} ne 'revocation';
    }

    return;
}


# n times, since there are two workers: which statuses came.  token: itself, or
# a function that makes one

sub seen {
    my ($self, $token, $n) = @_;
    my %seen;

    $seen{($self->got(ref $token ? $token->() : $token))[0]}++
        for 1 .. $n || 10;

    return join ' ', sort keys %seen;
}


sub until_seen {
    my ($self, $want, $token) = @_;

    return MCP::Test::wait_until(2 * $MCP::Test::TIMEOUT,
                                 sub { $self->seen($token) eq $want });
}


# A fault: enter->(), what holds meanwhile, leave->().
#   stale => 1      nobody passes when revocation_stale is over; else, those who
#                   are known pass
#   fresh => LIST   the statuses of who comes with a token that is in no cache
#   settles => 1    it may be stale for a while, until all is asked for again
#   log => RE       what error.log says
#   time => s

sub fault {
    my ($self, $name, $enter, $leave, %o) = @_;
    my ($t, $proxy) = @$self{qw/ t proxy /};
    my $user = 'user-' . ++$self->{serial};
    my $mine = $self->pat($user);
    my $from = length $t->read_log;
    my $connections = $proxy->connections;
    my $began = time;

    $self->{redis}->write_tokens($self->{store}, $mine);
    $enter->();

    my (%fresh, %wrong, %in);
    my $end = $began + ($o{time} // ($o{stale} ? 2.5 : 1));

    while (time < $end) {
        my ($status, $who) = $self->got($mine->{token});

        $fresh{$status}++;
        $wrong{$who}++ if $who ne '' && $who ne $user;

        for (['erin', $self->{erin}], ['fay', $self->{fay}{token}]) {
            ($status, $who) = $self->got($_->[1]);
            $in{$_->[0]}++ if $status == 200;
            $wrong{$who}++ if $who ne '' && $who ne $_->[0];
        }

        sleep 0.02;
    }

    is(join(' ', sort keys %in), '', "$name: nobody revoked gets in");
    is(join(' ', sort keys %wrong), '', "$name: nobody is somebody else");
    if ($o{settles}) {
        ok($fresh{$o{fresh}}, "$name: a token of no cache");

    } elsif ($o{fresh}) {
        is(join(' ', sort keys %fresh), $o{fresh},
           "$name: a token of no cache");
    }

    if ($o{stale}) {
        ok($self->until_seen('503', $self->{bob}),
           "$name: stale, nobody passes");
        is(($self->got($self->{bob}))[2], 'revocation_unknown',
           "$name: and why");

    } elsif ($o{settles}) {
        ok($self->until_seen('200', $self->{bob}),
           "$name: who is known passes");

    } else {
        is($self->seen($self->{bob}), '200', "$name: who is known passes");
    }

    my $took = time - $began;

    $leave->();
    $self->furnish;

    # four connections, each of which waits longer each time

    my $tries = $proxy->connections - $connections;
    cmp_ok($tries, '<', 30 + 8 * $took, "$name: no hammering");

    ok($self->until_seen('200', $self->{bob}), "$name: passes again");
    ok($self->until_seen('200', $mine->{token}), "$name: so does the new token");
    is(($self->got($mine->{token}))[1], $user, "$name: and is who it is");
    is($self->seen($self->{erin}), '401', "$name: the revoked do not");
    is(join(' ', sort $t->workers), "@{$self->{workers}}",
       "$name: the workers live");
    ok($self->until_seen('401', sub { MCP::Token::unknown() }),
       "$name: all workers ask again");

    my $log = substr $t->read_log, $from;

    # the same thing is said once a minute, and more quietly in between

    ok($log =~ /\[(?:error|info)\].*mcp_redis.*$o{log}/, "$name: said")
        if $o{log};

    my $n = () = $log =~ /\[error\].*mcp_redis/g;
    cmp_ok($n, '<', 25, "$name: not too often");
}


1;

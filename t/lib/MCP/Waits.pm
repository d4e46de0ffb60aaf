package MCP::Waits;

# A gateway in which a request can be made to wait where requests wait: what
# t/fault_*.t do to it meanwhile is theirs.
#
#     my $g = MCP::Waits->new(issuers => 3);
#     for my $state (MCP::Waits::states()) {
#         my $c = $g->begin($state, seconds => 1);    # it waits now
#         ...
#         my $r = $g->end($state, $c);                # as if nothing had been
#     }
#     $g->well('after all of it');
#
# The states: redis (a token of ours is looked up), keys (a key set is fetched),
# token (a grant is refreshed), body (half of it is there), upstream (the server
# thinks), stream (events come).  For `keys` there is one issuer for each time,
# since none is asked twice in 30 s: issuers => N.
#
# t, up, redis, proxy, idp, okta, conf() (with `global => LINES`, `http =>
# LINES`, workers => N), token (of somebody who waits nowhere).
#
# records($n, $what): that there are n records since the last look, one for each
# request, and returns them.  well($what): that calls of all kinds pass, and
# leave one record each.  clean(): that no upstream ever saw what callers hold.

use strict;
use warnings;

use Time::HiRes qw/ sleep time /;

use MCP::Test;
use MCP::Issuer;
use MCP::Provider;
use MCP::Proxy;
use MCP::Redis;
use MCP::Token;
use MCP::Upstream;
use MCP::Vault;


sub states { qw/ redis keys token body upstream stream / }


sub new {
    my ($class, %o) = @_;
    my $t = MCP::Test->new;
    my $issuers = MCP::Test->new;
    my $self = bless { t => $t, issuers => $issuers, serial => 0, held => [],
                       conf => { workers => 1, %o } }, $class;

    # what serves their keys is another nginx, which no signal reaches

    $self->{slow} = [ map { MCP::Issuer->new($issuers, name => "slow$_",
                            stub => 1) } 1 .. $o{issuers} || 1 ];
    $self->{okta} = MCP::Issuer->new($t, static => 1);
    $self->{store} = MCP::Token->new($t);
    $self->{vault} = MCP::Vault->new($t);
    $self->{redis} = MCP::Redis->start($t);
    $self->{proxy} = MCP::Proxy->start($t, port => 6380,
                                       to => $self->{redis}->socket);
    $self->{idp} = MCP::Provider->start($t, port => 8090);
    $self->{up} = MCP::Upstream->start($t, port => 8081);

    $issuers->write_conf("%%GLOBALS%%\nevents { }\nhttp { %%GLOBALS_HTTP%%\n"
                         . join('', map { $_->server_conf } @{$self->{slow}})
                         . "}\n")->start;

    $t->write_conf($self->conf)->start;

    # all of them are fetched at the beginning, and Redis is there

    $_->{stub}->requests(1) for @{$self->{slow}};
    $self->until_ready;
    $self->{token} = $self->{okta}->token(-expires => 3000);

    return $self;
}


sub until_ready {
    my ($self) = @_;

    return MCP::Test::wait_until($MCP::Test::TIMEOUT,
                                 sub { metric('revocations_ready') })
           || die "Redis is not reached";
}


sub conf {
    my ($self, %o) = @_;
    %o = (%{$self->{conf}}, %o);
    $self->{conf} = \%o;

    my ($server, $keys, $endpoint) = ($self->{proxy}->server,
        $self->{vault}->file, $self->{idp}->endpoint);
    my $slow = join '', map { $_->issuer_conf } @{$self->{slow}};
    my $names = join ' ', map { $_->{name} } @{$self->{slow}};

    return <<"END";
%%GLOBALS%%
worker_processes $o{workers};
@{[ $o{global} // '' ]}
events { worker_connections @{[ $o{connections} // 512 ]}; }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_vault_keys $keys;
    mcp_token_key pepper-a;
    mcp_token_failures 0;
    mcp_redis { server $server; timeout 10s; revocation_stale 60s; }

    %%ISSUER_okta%%
    $slow

    mcp_credential bot { value "Bearer bot-secret"; }
    mcp_credential user { type user; token_endpoint $endpoint; client_id gw;
                          client_secret gw-secret; timeout 10s; }

    mcp_server mcp { resource https://mcp.example.com/mcp; tokens on;
                     issuer okta $names; credential bot;
                     role * { allow tool ok_*; }
                     role dev { allow tool ok_*; } }
    mcp_server user { resource https://mcp.example.com/user; issuer okta;
                      credential user; role * { allow tool ok_*; } }
    @{[ $o{http} // '' ]}

    server {
        listen 127.0.0.1:%%PORT_8080%% @{[ $o{listen} // '' ]};
        location = /status { mcp_status; }
        location /mcp { mcp_auth mcp;
                        proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /user { mcp_auth user;
                         proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        @{[ $o{server} // '' ]}
    }
}
END
}


# the bytes of a call of somebody new, who waits in that state, for the others
# of somebody who does not; and what was done that it waits

sub request {
    my ($self, $state, $s) = @_;
    my $who = 'user' . ++$self->{serial};
    my ($uri, $token) = ('/mcp', $self->{token});
    my $t = $self->{t};

    if ($state eq 'redis') {
        my $pat = $self->{store}->pat(user => $who,
                                      issuer => $self->{okta}{issuer});
        $self->{redis}->write_tokens($self->{store}, $pat);
        $self->{proxy}->mode(delay => $s, only => 'GET');
        $token = $pat->{token};

    } elsif ($state eq 'keys') {
        my $issuer = $self->{slow}[$self->{keys}++] || die 'no issuer left';

        $issuer->add_key('key-2', 'ES256');
        $issuer->publish;
        $issuer->{stub}->answer({ wait => $s, body => $issuer->jwks });
        $self->{asked} = [ $issuer->{stub}, 1 + $issuer->{stub}->requests(0) ];
        $token = $issuer->token(sub => $who);

    } elsif ($state eq 'token') {
        my $grant = $self->{idp}->grant($who);

        $self->{vault}->write($self->{redis}, { credential => 'user',
            issuer => $self->{okta}{issuer}, user => $who },
            { %$grant, expires => int(time) - 1 }, issued => int(time) - 300);
        $self->{idp}->misbehave('slow', seconds => $s, times => 1);
        $self->{refreshes} = $self->{idp}->count;
        ($uri, $token) = ('/user', $self->{okta}->token(sub => $who,
                                                        -expires => 3000));

    } elsif ($state eq 'upstream') {
        $self->{up}->answer({ wait => $s, result => { late => 1 } });

    } elsif ($state eq 'stream') {
        $self->{up}->answer({ sse => [ map { ({ data => { jsonrpc => '2.0',
            method => 'notifications/progress', params => { n => $_ } } },
            0.1) } 1 .. 10 * $s ] });
    }

    $self->{arrived} = $self->{up}->requests(0);
    push @{$self->{held}}, $token;

    return MCP::Test::mcp_request($uri, rpc('tools/call', { name => 'ok_x' },
                                            id => $self->{serial}),
                                  token => $token);
}


# A connection whose request waits there, for so many seconds if nothing is done

sub begin {
    my ($self, $state, %o) = @_;
    my $bytes = $self->request($state, $o{seconds} // 1);
    my $gets = $self->{proxy}->commands('GET');
    my $c;

    if ($state eq 'body') {
        $c = http_start(substr $bytes, 0, -30);
        $self->{rest} = substr $bytes, -30;
        sleep 0.1;
        return $c;
    }

    $c = http_start($bytes . ($o{behind} // ''));

    my $there = $state eq 'stream' ? $c->sse_next
        : MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
            $state eq 'redis' ? $self->{proxy}->commands('GET') > $gets
            : $state eq 'keys' ? $self->{asked}[0]->requests(0)
                                 >= $self->{asked}[1]
            : $state eq 'token' ? $self->{idp}->count > $self->{refreshes}
            : $self->{up}->requests(0) > $self->{arrived};
        });

    ok($there, "$state: it waits");
    return $c;
}


# what it is answered

sub end {
    my ($self, $state, $c) = @_;

    $c->send($self->{rest}) if $state eq 'body';

    if ($state eq 'stream') {
        1 while $c->sse_next;
        return $c->{response};
    }

    return $c->read_response;
}


# the request is over, in whatever way: nothing waits for the next one

sub settle {
    my ($self) = @_;

    $self->{proxy}->mode;
    $self->{idp}->behave;
    $self->{up}->clear;
}


sub records {
    my ($self, $n, $what) = @_;
    my @r = grep { $_->{ev} ne 'credential' }
            $self->{t}->audit_next(0, settle => 0);

    MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
        push @r, grep { $_->{ev} ne 'credential' }
                 $self->{t}->audit_next(0, settle => 0);
        return @r >= $n;
    });
    sleep 0.1;
    push @r, grep { $_->{ev} ne 'credential' }
             $self->{t}->audit_next(0, settle => 0);

    is(scalar @r, $n, "$what: $n on record")
        or diag(map { "$_->{decision} $_->{reason}\n" } @r);
    return @r;
}


sub forget { my ($self) = @_; $self->{t}->audit_next(0, settle => 0.1); }


# calls pass, of somebody known, of somebody new with a token of ours, and with
# a grant that has to be refreshed; a denied one does not

sub well {
    my ($self, $what) = @_;
    my @status;

    $self->settle;
    $self->until_ready;
    $self->forget;

    for my $state (qw/ upstream redis token /) {
        my $c = http_start($self->request($state, 0));

        push @status, ($c->read_response || { status => 'none' })->{status};
        $self->settle;
    }

    is("@status", '200 200 200', "$what: calls pass");

    my $before = $self->{up}->requests(0);
    my $r = call_tool('/mcp', 'no_x', {}, token => $self->{token});

    is($r->{json}{error}{code}, -32602, "$what: and what is denied does not");
    is($self->{up}->requests(0) - $before, 0, "$what: nor arrives");
    is(join(' ', map { $_->{decision} } $self->records(4, $what)),
       'allow allow allow deny', "$what: decided");
}


sub clean {
    my ($self) = @_;
    my $any = join '|', map { quotemeta } @{$self->{held}};
    my @bad = grep { "$_->{head}$_->{body}" =~ /$any/ }
              $self->{up}->requests(0);
    my @creds = grep {
        my ($cred) = ($_->{headers}{authorization} // '') =~ /\ABearer (.+)/;
        $_->{uri} =~ m!^/user! ? !$self->{idp}->who($cred)
            : $_->{uri} =~ m!^/mcp! && ($cred // '') ne 'bot-secret';
    } $self->{up}->requests(0);

    is(scalar @bad, 0, 'no upstream ever saw a caller\'s token');
    is(scalar @creds, 0, 'and each had the credential of its server');
}


# how many files and sockets a process has open

sub descriptors { scalar(my @f = glob "/proc/$_[0]/fd/*") }


1;

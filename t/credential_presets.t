#!/usr/bin/perl

# The presets of `provider`, each against a token endpoint that has that
# provider's habits: what is asked and how, what becomes of the record, and what
# is made of its errors.  Only token_endpoint is overridden.

use strict;
use warnings;

use lib 't/lib';

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Provider;
use MCP::Redis;
use MCP::Vault;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $redis = MCP::Redis->start($t);
my $vault = MCP::Vault->new($t);

# habits: of the stub; auth, json: of the request; rotates; safe: a refresh whose
# answer is lost can be repeated; life: s of a token without expires_in, 0: it
# never ends; dead, stranger: what the log calls a dead grant and a refused
# client

my %presets = (
    github => { habits => { style => 'github' }, auth => 'post', rotates => 1,
                life => 0, dead => 'bad_refresh_token',
                stranger => 'incorrect_client_credentials' },
    atlassian => { habits => { style => 'atlassian', grace => 600 },
                   auth => 'post', json => 1, rotates => 1, safe => 1,
                   life => 3600, dead => 'unauthorized_client',
                   stranger => 'invalid_client' },
    slack => { habits => { style => 'slack' }, auth => 'post', rotates => 1,
               life => 0, dead => 'invalid_refresh_token',
               stranger => 'bad_client_secret' },
    google => { habits => { rotate => 0 }, auth => 'post', safe => 1,
                life => 3600, dead => 'invalid_grant',
                stranger => 'invalid_client' },
    entra => { habits => { grace => 1e9 }, auth => 'post', rotates => 1,
               safe => 1, life => 3600, dead => 'invalid_grant',
               stranger => 'invalid_client' },
    okta => { habits => { grace => 30 }, auth => 'basic', rotates => 1,
              safe => 1, life => 3600, dead => 'invalid_grant',
              stranger => 'invalid_client' },
);

my $secret = 'gw secret/of:presets';
my ($blocks, $places, $n) = ('', '', 0);

for my $name (sort keys %presets) {
    my $p = $presets{$name};
    my $up = 8060 + ++$n;

    $p->{idp} = MCP::Provider->start($t, name => $name, port => 8090 + $n,
        %{$p->{habits}}, clients => {
            gw => { secret => $secret, auth => $p->{auth} } });
    $p->{idp}->resource(port => $up);

    # the second one is refused, and held off

    for (['', 'client'], ['_wrong', 'wrong']) {
        my ($more, $file) = @$_;

        $blocks .= <<"END";
    mcp_credential $name$more {
        type           user;
        provider       $name;
        token_endpoint @{[ $p->{idp}->endpoint ]};
        client_id      gw;
        client_secret  "\${file:%%TESTDIR%%/$file.secret}";
        connect_url    https://gw.example.com/connect/$name;
    }
    mcp_server $name$more { resource https://mcp.example.com/mcp; issuer okta;
                            credential $name$more; role * { allow tool *; } }
END
        $places .= "location = /$name$more { mcp_auth $name$more;"
                   . " proxy_pass http://127.0.0.1:%%PORT_$up%%; }\n";
    }
}

$t->write_file('client.secret', "$secret\n");
$t->write_file('wrong.secret', "another $secret\n");
$t->write_conf(<<"END");
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_vault_keys @{[ $vault->file ]};
    mcp_redis { server @{[ $redis->server ]}; }
    %%ISSUER_okta%%
    $blocks
    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport;
        $places
    }
}
END
$t->start;

my $serial = 0;

# somebody whose access token has expired

sub person {
    my ($preset, $more) = @_;
    my $name = 'person-' . ++$serial;
    my $grant = $presets{$preset}{idp}->grant($name, scope => 'read');
    my $credential = $preset . ($more // '');
    my $owner = { credential => $credential, issuer => $okta->{issuer},
                  user => $name };

    $grant->{expires} = int(time) - 5;
    my $record = $vault->write($redis, $owner, $grant, issued => time - 300);

    return { name => $name, grant => $grant, owner => $owner,
             record => $record, uri => "/$credential",
             token => $okta->token(sub => $name) };
}

# (status, who the server was told it is, body)

sub call {
    my ($who) = @_;
    my $r = call_tool($who->{uri}, 'echo', {}, token => $who->{token});
    my $told = ($r->{status} // 0) == 200 ? MCP::Provider->told($r) : undef;

    return ($r->{status} // 0, $told ? $told->{user} : '', $r->{body});
}

sub works {
    my ($who) = @_;
    my ($status, $told) = call($who);
    return $status == 200 && $told eq $who->{name};
}

sub stored { $vault->read($redis, $_[0]{owner}) }

# the holding off of a failure is not what is looked at here

sub comes_back {
    my ($who) = @_;

    return MCP::Test::wait_until(15, sub {
        $redis->command('DEL', "$redis->{prefix}lock:$who->{record}");
        return works($who);
    });
}

for my $name (sort keys %presets) {
    my $p = $presets{$name};
    my $idp = $p->{idp};

    # ---- a refresh

    my $who = person($name);

    ok(works($who), "$name: a refresh");

    my ($asked) = reverse $idp->log;
    is($asked->{result}, 'ok', "$name: understood");
    is($asked->{auth}, $p->{auth}, "$name: who the client is");
    is($asked->{json}, $p->{json} || 0, "$name: form or JSON");
    is(join(' ', sort keys %{$asked->{params}}),
       $p->{auth} eq 'basic' ? 'grant_type' : 'client_id grant_type',
       "$name: and no more");

    my $r = stored($who);
    is($r->{version}, 2, "$name: a new version");
    is($idp->who($r->{tokens}{access_token})->{user}, $who->{name},
       "$name: with the new token");
    is($r->{tokens}{refresh_token} ne $who->{grant}{refresh_token} ? 1 : 0,
       $p->{rotates} || 0, "$name: the refresh token");
    is($r->{tokens}{scope}, 'read', "$name: the scope");

    # ---- without expires_in

    $idp->set(lifetime => undef);
    $who = person($name);
    ok(works($who), "$name: without expires_in");
    $r = stored($who)->{tokens};
    is($r->{expires} && $r->{expires} - $r->{issued}, $p->{life},
       "$name: ends when that is usual");
    $idp->set(lifetime => 300);

    # ---- the client is refused: no grant ends by that

    my $from = length $t->read_log;

    $who = person($name, '_wrong');
    is((call($who))[0], 503, "$name: a refused client");
    ok(substr($t->read_log, $from) =~ /client_bad, $p->{stranger} /,
       "$name: and why");
    is(stored($who)->{state}, 'active', "$name: stays active");
    ok($idp->alive($who->{grant}), "$name: the grant lives");
    is($idp->count(kind => 'refresh_token', result => $p->{stranger}), 1,
       "$name: asked once");

    # ---- the grant is over

    $from = length $t->read_log;
    $who = person($name);
    $idp->revoke($who->{name});

    my ($status, $told, $body) = call($who);
    is("$status $told", '200 ', "$name: a dead grant");
    ok($body =~ m!https://gw\.example\.com/connect/$name\b!,
       "$name: told where to connect");
    ok(substr($t->read_log, $from) =~ /grant_dead, $p->{dead} /,
       "$name: and why");
    is(stored($who)->{state}, 'reauth', "$name: stored as that");

    # ---- the answer is lost

    $who = person($name);
    $idp->misbehave('close', effect => 1, times => 1);
    is((call($who))[0], 503, "$name: a lost answer");
    is(stored($who)->{state}, 'active', "$name: nothing ends by that");

    if ($p->{safe}) {
        ok(comes_back($who), "$name: asked again");
        ok($idp->alive($who->{grant}), "$name: the grant lives");

    } else {
        # the other worker may hold off still what this one has asked again

        my @is;
        ok(MCP::Test::wait_until(15, sub {
            $redis->command('DEL', "$redis->{prefix}lock:$who->{record}");
            @is = call($who);
            return $is[0] == 200;
        }), "$name: known in the end");
        like($is[2], qr!/connect/$name\b!, "$name: has to be granted");
    }
}

done_testing;

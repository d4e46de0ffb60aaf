#!/usr/bin/perl

# The keys of the vault as docs/guides/vault-keys.md has it: a new key on two
# gateways while people work and nobody notices; and a key that is missing, by
# which no grant is lost.

use strict;
use warnings;

use lib 't/lib';

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Ctl;
use MCP::Issuer;
use MCP::Provider;
use MCP::Redis;
use MCP::Vault;

my $t = MCP::Test->new;
my $second = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $redis = MCP::Redis->start($t);
my $vault = MCP::Vault->new($t, ids => ['old']);
my $idp = MCP::Provider->start($t, port => 8090);

$idp->resource(port => 8081);

sub conf {
    my ($port) = @_;

    return <<"END";
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_vault_keys @{[ $vault->file ]};
    mcp_redis { server @{[ $redis->server ]}; }
    @{[ $okta->issuer_conf ]}
    mcp_credential jira {
        type           user;
        token_endpoint @{[ $idp->endpoint ]};
        client_id gw;  client_secret gw-secret;
        connect_url    https://gw.example.com/connect/jira;
    }
    mcp_credential bot {
        type           client_credentials;
        token_endpoint @{[ $idp->endpoint ]};
        client_id gw;  client_secret gw-secret;
    }
    mcp_server jira { resource https://mcp.example.com/mcp; issuer okta;
                      credential jira; role * { allow tool *; } }
    mcp_server bot { resource https://mcp.example.com/mcp; issuer okta;
                     credential bot; role * { allow tool *; } }
    server {
        listen 127.0.0.1:%%PORT_$port%% reuseport;
        location = /jira { mcp_auth jira;
                           proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location = /bot { mcp_auth bot;
                          proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
}
END
}

my @gateways = ([$t, 8080], [$second, 8070]);

$_->[0]->write_conf(conf($_->[1]))->start for @gateways;

# Four people, whose tokens live for four seconds: all of them are refreshed
# meanwhile, with whatever key that gateway has first.

$idp->set(lifetime => 4);

my %people = map {
    my %owner = (credential => 'jira', issuer => $okta->{issuer},
                 user => "person-$_");
    my $grant = $idp->grant("person-$_");

    $vault->write($redis, \%owner, $grant);
    ("person-$_" => { owner => \%owner, grant => $grant,
                      token => $okta->token(sub => "person-$_",
                                            -expires => 3000) });
} 1 .. 4;

# (status, who)

sub call {
    my ($uri, $name, $port) = @_;
    my $r = call_tool($uri, 'echo', {}, token => $people{$name}{token},
                      port => $port);
    my $told = ($r->{status} // 0) == 200 ? MCP::Provider->told($r) : undef;

    return ($r->{status} // 0, $told ? $told->{user} // $told->{client} : '');
}

# they work all the time; what was not as it should be is written down

my $calls = $t->dir . '/calls';

my $work = $t->run_daemon(sub {
    while (1) {
        for my $name (sort keys %people) {
            for my $port (8080, 8070) {
                my @got = eval { call('/jira', $name, $port) };

                open my $fh, '>>', $calls;
                print $fh "@got" eq "200 $name" ? "fine\n"
                          : "$name at $port: @got $@\n";
            }
        }
    }
});

sub worked {
    my ($n) = @_;

    return MCP::Test::wait_until(30, sub {
        my $fine = () = $t->read_file('calls') =~ /^fine$/mg;
        return $fine >= $n && $fine;
    });
}

# forty calls, and a refresh

sub more {
    my $n = worked(1);
    my $refreshed = $idp->count(kind => 'refresh_token', result => 'ok');

    return worked($n + 40)
           && $idp->wait_count($refreshed + 1, kind => 'refresh_token',
                               result => 'ok') > $refreshed;
}

sub reload { $_->[0]->reload for @gateways }

# key ids of all records, as they are in Redis

sub ids {
    my %ids = map { $vault->read($redis, $_)->{key} => 1 }
              @{$redis->command('SMEMBERS', "$redis->{prefix}creds")};
    return join ' ', sort keys %ids;
}

my $ctl = MCP::Ctl->new($t->dir . '/nginx.conf');

is((call('/bot', 'person-1', 8080))[0], 200, "the gateway's own");
ok(more(), 'people work');
is(ids(), 'old', 'with one key');

# ---- a new key

$vault->add_key('new');
@{$vault->{keys}} = reverse @{$vault->{keys}};
$vault->save;
reload();
ok(more(), 'the new key at the end');
is(ids(), 'old', 'seals nothing yet');

@{$vault->{keys}} = reverse @{$vault->{keys}};
$vault->save;
reload();
ok(more(), 'the new key first');

my $r = $ctl->run(qw/ vault rekey /);
is($r->{code}, 0, 'mcpctl vault rekey');
like($r->{out}, qr/ 0 left$/m, 'leaves none');
is(ids(), 'new', 'all are sealed with the new one');
like($ctl->run(qw/ vault rekey /)->{out}, qr/: 0 of 5 sealed anew/,
     'and once more changes nothing');

$vault->remove_key('old');
reload();
ok(more(), 'without the old key');
is(ids(), 'new', 'and all with the new one');

$t->stop_daemon($work);

my @wrong = grep { $_ ne 'fine' } split /\n/, $t->read_file('calls');
is(join("\n", @wrong[0 .. ($#wrong < 5 ? $#wrong : 5)]), '',
   'nobody noticed anything');
ok($idp->alive($people{$_}{grant}), "the grant of $_ lives")
    for sort keys %people;
is($idp->count(reuse => 1), 0, 'no refresh token was used twice');
cmp_ok($idp->count(kind => 'refresh_token'), '>=', 4, 'and they were used');

# ---- a key that is missing

my $full = [@{$vault->{keys}}];
my $asked;

$idp->set(lifetime => 300);
$vault->add_key('other');
$vault->remove_key('new');
reload();

# what the old workers had begun is over

MCP::Test::wait_until(15, sub {
    $asked = $idp->count(kind => 'refresh_token');
    sleep 0.5;
    return $idp->count(kind => 'refresh_token') == $asked;
});

is(join(' ', call('/jira', $_, 8080)), '503 ', "$_: 503 without the key")
    for sort keys %people;
is((call('/bot', 'person-1', 8080))[0], 200,
   "the gateway's own is fetched anew");
is($idp->count(kind => 'refresh_token'), $asked, 'nobody asked the provider');
ok($t->read_log =~ /a grant cannot be opened with the keys of mcp_vault_keys/,
   'said in the log');

my @reasons = map { $_->{reason} } grep { $_->{result}{status} == 503 }
              grep { $_->{ev} eq 'call' } $t->audit;
is(join(' ', sort keys %{{ map { $_ => 1 } @reasons }}),
   'credential_unreadable', 'and on record');

$r = $ctl->run(qw/ credential list /);
is($r->{code}, 3, 'mcpctl says so, too');
like("$r->{out}$r->{err}", qr/"new"/, 'and which key is missing');
$r = $ctl->run(qw/ vault rekey /);
is($r->{code}, 3, 'nothing is sealed anew');
like($r->{out}, qr/ 4 left$/m, 'all are left as they are');

push @{$vault->{keys}}, @$full;
$vault->save;
reload();

is(join(' ', call('/jira', $_, 8080)), "200 $_", "$_: works when it is back")
    for sort keys %people;
is($ctl->run(qw/ vault rekey /)->{code}, 0, 'and is sealed anew');
is(ids(), 'other', 'with the first key');

done_testing;

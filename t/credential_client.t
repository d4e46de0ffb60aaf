#!/usr/bin/perl

# Client credentials: one token for everybody who uses the credential, got once
# for all workers; how the gateway shows who it is; what reaches the upstream,
# and what is refused when there is no token.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Provider;
use MCP::Redis;
use MCP::Upstream;
use MCP::Vault;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $vault = MCP::Vault->new($t);
my $d = $t->dir;

system("openssl genrsa -out $d/rsa.key 2048 2>/dev/null") == 0
    && system("openssl ecparam -name prime256v1 -genkey -noout"
              . " -out $d/ec.key 2>/dev/null") == 0
    or die 'openssl';
chmod 0600, "$d/rsa.key", "$d/ec.key";

my $idp = MCP::Provider->start($t, port => 8090, clients => {
    'basic id' => { secret => 'sec:ret/%+ of basic', auth => 'basic' },
    post => { secret => 'secret-of-post', auth => 'post' },
    rsa => { auth => 'jwt', key => "$d/rsa.key" },
    ec => { auth => 'jwt', key => "$d/ec.key" },
});
my $up = MCP::Upstream->start($t, port => 8081);

my %blocks = (
    basic => 'client_id "basic id"; client_secret "sec:ret/%+ of basic";
              scope a b; audience api://basic;
              resource https://mcp.acme.com/basic;',
    post => 'client_id post; client_secret secret-of-post;
             auth_method client_secret_post;',
    rsa => "client_id rsa; auth_method private_key_jwt; key $d/rsa.key;
            key_id k1;",
    ec => "client_id ec; auth_method private_key_jwt; key $d/ec.key;",
    many => 'client_id post; client_secret secret-of-post; scope many;
             auth_method client_secret_post;
             header X-Token "${token}"; header X-Tenant acme;
             header X-Both "Token token=${token};v=1";',
    bad => 'client_id post; client_secret wrong;
            auth_method client_secret_post;',
);

my $redis;

sub conf {
    my (%o) = @_;
    my ($credentials, $servers, $locations) = ('', '', '');

    for my $n (sort keys %blocks) {
        $credentials .= "mcp_credential $n { type client_credentials;"
            . " token_endpoint " . $idp->endpoint . ";"
            . " timeout 1s; $blocks{$n} }\n";
        $servers .= "mcp_server $n { resource https://mcp.example.com/$n;"
            . " issuer okta; credential $n; role * { allow tool *; } }\n";
        $locations .= "location /$n { mcp_auth $n;"
            . " proxy_pass http://127.0.0.1:%%PORT_8081%%; }\n";
    }

    my $store = $o{redis} ? 'mcp_redis { server ' . $o{redis}->server
                            . '; timeout 500ms; }' : '';

    return <<"END";
%%GLOBALS%%
worker_processes 4;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_vault_keys @{[ $vault->file ]};
    $store

    %%ISSUER_okta%%

    $credentials
    $servers

    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport;
        location = /status { mcp_status; }
        $locations
    }
}
END
}

my $token = $okta->token(sub => 'alice', -expires => 3000);

sub call {
    my ($server, %o) = @_;
    return call_tool("/$server", 'echo', {}, token => $token, %o);
}

# Each way of showing who the gateway is.  Every connection goes to some worker.

sub works {
    my ($server, $what, %want) = @_;
    my $n = $idp->count(result => 'ok');
    my @status = map { call($server)->{status} } 1 .. 12;
    my @requests = $up->requests_next(12);

    is("@status", join(' ', (200) x 12), "$what: all pass");
    is($idp->count(result => 'ok'), $n + 1, "$what: one token for all");

    my ($entry) = reverse $idp->log;
    is($entry->{kind}, 'client_credentials', "$what: the grant");
    is($entry->{params}{$_}, $want{$_}, "$what: $_") for sort keys %want;

    my %shown;
    $shown{$_->{headers}{authorization} // 'none'}++ for @requests;
    is(scalar keys %shown, 1, "$what: the same for all");

    my ($shown) = keys %shown;
    my $who = $idp->who($shown =~ /\ABearer (\S+)\z/ ? $1 : '');
    ok($who && !$who->{bad}, "$what: the token of the provider");
    unlike($_->{head}, qr/\Q$token\E/, "$what: not the caller's") for @requests;

    return $shown;
}

$t->write_conf(conf())->start;

works('basic', 'basic', scope => 'a b', audience => 'api://basic',
      resource => 'https://mcp.acme.com/basic', client_id => undef);
works('post', 'post', client_id => 'post');
works('rsa', 'RS256', client_id => 'rsa');
works('ec', 'ES256');

# ---- several headers

is(call('many', headers => { 'X-Tenant' => 'evil', 'X-Token' => 'evil',
                             'X_Both' => 'evil' })->{status}, 200, 'headers');
my ($req) = $up->requests_next;
my $h = $req->{headers};
my $who = $idp->who($h->{'x-token'});
ok($who && !$who->{bad}, 'the token alone');
is($h->{'x-tenant'}, 'acme', 'a fixed one');
is($h->{'x-both'}, "Token token=$h->{'x-token'};v=1", 'in the middle of text');
ok(!exists $h->{authorization}, 'no Authorization then');

done_testing;

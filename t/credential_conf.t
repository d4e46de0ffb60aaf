#!/usr/bin/perl

# mcp_credential, mcp_vault_keys: what nginx -t takes and what it refuses, with
# words that help.  No secret is in any of its messages.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw/ encode_base64 /;

use MCP::Test;
use MCP::Issuer;
use MCP::Vault;

$ENV{MCP_TEST_SECRET} = 'env-secret-0123456789';

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $vault = MCP::Vault->new($t);
my $keys = $vault->file;
my $d = $t->dir;
my $redis = 'mcp_redis { server 127.0.0.1:%%PORT_6379%%; }';

for (['rsa.key', 'openssl genrsa 2048'], ['small.key', 'openssl genrsa 1024'],
     ['ec.key', 'openssl ecparam -name prime256v1 -genkey -noout'],
     ['p384.key', 'openssl ecparam -name secp384r1 -genkey -noout'])
{
    my ($name, $command) = @$_;
    $t->write_file($name, scalar `$command 2>/dev/null`);
    chmod 0600, "$d/$name";
}

$t->write_file('none.key', "-----BEGIN PRIVATE KEY-----\nAAAA\n");
chmod 0600, "$d/none.key";

sub vault_file {
    my ($name, $text) = @_;
    $t->write_file($name, $text);
    chmod 0600, "$d/$name";
    return "$d/$name";
}

sub check {
    my ($credential, %o) = @_;
    my $k = exists $o{keys} ? $o{keys} : "mcp_vault_keys $keys;";
    my $server = $o{server} // 'credential c;';

    return $t->check(<<"END");
%%GLOBALS%%
env MCP_TEST_SECRET;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    $k
    @{[ $o{redis} // '' ]}
    %%ISSUER_okta%%
    $credential
    mcp_server s { resource https://mcp.example.com/s; issuer okta; $server
                   role * { allow tool *; } role lead { allow tool *; } }
    server { listen 127.0.0.1:%%PORT_8080%%; location / { mcp_auth s; } }
}
END
}

my @said;

sub takes {
    my ($what, $credential, %o) = @_;
    my ($ok, $said) = check($credential, %o);
    ok($ok, "takes $what") or diag($said);
    push @said, $said;
}

sub refuses {
    my ($what, $credential, $why, %o) = @_;
    my ($ok, $said) = check($credential, %o);
    ok(!$ok, "refuses $what");
    like($said, $why, "and says why: $what");
    push @said, $said;
}

my $client = 'client_id id; client_secret secret-4711;';
my $url = 'token_endpoint https://localhost/token;';
my $cc = "type client_credentials; $url";
my $user = "type user; $url $client";

takes('client credentials', "mcp_credential c { $cc $client }");
takes('a secret of the environment', "mcp_credential c { $cc client_id id;
       client_secret \"\${env:MCP_TEST_SECRET}\"; }");
takes('client_secret_post', "mcp_credential c { $cc $client
       auth_method client_secret_post; scope a b; scope_ x; }" =~ s/scope_ x;//r);
takes("private_key_jwt, $_", "mcp_credential c { $cc client_id id;
       auth_method private_key_jwt; key $d/$_.key; key_id k;
       assertion_audience https://idp.example.com; }") for qw/ rsa ec /;
takes('http to loopback', 'mcp_credential c { type client_credentials;'
      . " token_endpoint http://127.0.0.1:1/t; $client }");
takes('several headers', "mcp_credential c { $cc $client
       header Authorization \"Bearer \${token}\"; header X-Tenant acme;
       header X-Key \"k=\${token};\"; }");
takes('one header by its name', "mcp_credential c { $cc $client
       header X-Api-Token; }");
takes('a person\'s', "mcp_credential c { $user
       connect_url https://gw.example.com/c; rotation off; grace 30s;
       keepalive 1d; timeout 5s; }", redis => $redis);
takes("provider $_", "mcp_credential c { type user; provider $_; $client }",
      redis => $redis) for qw/ github atlassian slack google /;
takes("provider $_", "mcp_credential c { type user; provider $_; $url $client }",
      redis => $redis) for qw/ entra okta generic /;
takes('what overrides a provider', "mcp_credential c { type user;
       provider github; $url auth_method client_secret_basic; $client }",
      redis => $redis);
takes('an exchange', "mcp_credential c { type token_exchange; $url $client
       audience api://x; fallback bot; }
       mcp_credential bot { type static; value x; }");
takes('one for each role', "mcp_credential c { type static; value x; }
       mcp_credential d { $cc $client }",
      server => 'credential d role=lead; credential c;');
takes('a static one without keys', 'mcp_credential c { type static;'
      . ' value x; }', keys => '');
takes('several static headers', 'mcp_credential c { type static;'
      . ' header X-Api-Key "k"; header X-Tenant acme; }');

refuses('an unknown type', 'mcp_credential c { type magic; }',
        qr/unknown credential type "magic"/);
refuses('no endpoint', "mcp_credential c { type client_credentials; $client }",
        qr/"c" has no "token_endpoint"/);
refuses('http elsewhere', 'mcp_credential c { type client_credentials;'
        . " token_endpoint http://idp.example.com/t; $client }",
        qr/invalid URL "http:\/\/idp/);
refuses('a URL with a user', 'mcp_credential c { type client_credentials;'
        . " token_endpoint https://u:p\@idp.example.com/t; $client }",
        qr/invalid URL/);
refuses('no client', "mcp_credential c { $cc client_secret x; }",
        qr/has no "client_id"/);
refuses('no secret', "mcp_credential c { $cc client_id x; }",
        qr/needs a "client_secret"/);
refuses('an unknown method', "mcp_credential c { $cc $client
        auth_method tls_client_auth; }", qr/unknown auth_method/);
refuses('a key without its method', "mcp_credential c { $cc $client
        key $d/rsa.key; }", qr/go together/);
refuses('a secret with a key', "mcp_credential c { $cc $client
        auth_method private_key_jwt; key $d/rsa.key; }",
        qr/has no "client_secret"/);
refuses("the key $_->[0]", "mcp_credential c { $cc client_id x;
        auth_method private_key_jwt; key $d/$_->[0]; }", $_->[1])
    for ['small.key', qr/2048/], ['p384.key', qr/P-256/],
        ['none.key', qr/mcp_credential "c"/],
        ['missing.key', qr/missing\.key/];
refuses('a client without a secret', "mcp_credential c { $cc client_id x;
        auth_method none; }", qr/"auth_method none" is for "type user"/);
refuses("$_->[0] of another type", "mcp_credential c { $_->[1] }",
        qr/"$_->[0]" does not belong to its type/)
    for ['value', "$cc $client value x;"],
        ['connect_url', "$cc $client connect_url https://x/;"],
        ['fallback', "$cc $client fallback x;"],
        ['token_endpoint', "type static; value x; $url"],
        ['rotation', "$cc $client rotation on;"];
refuses('a line twice', "mcp_credential c { $cc $client client_id b; }",
        qr/duplicate/);
refuses('a header twice', "mcp_credential c { $cc $client
        header X-A \"\${token}\"; header x-a b; }", qr/is there twice/);
refuses('no header with the token', "mcp_credential c { $cc $client
        header X-A b; }", qr/has no header with \$\{token\}/);
refuses('a token in a static one', 'mcp_credential c { type static;
        value "Bearer ${token}"; }', qr/is static and has no \$\{token\}/);
refuses("header $_", "mcp_credential c { $cc $client
        header $_ \"\${token}\"; }", qr/header/i)
    for qw/ Host Content-Length Transfer-Encoding Mcp-Method a_b /;
refuses('an unknown provider', "mcp_credential c { type user;
        provider gitlub; $client }", qr/unknown provider "gitlub"/,
        redis => $redis);
refuses('a provider behind what overrides it', "mcp_credential c { type user;
        $url provider github; $client }", qr/has to come before/,
        redis => $redis);
refuses('no endpoint of a tenant', "mcp_credential c { type user;
        provider entra; $client }", qr/no "token_endpoint"/, redis => $redis);
refuses('a person\'s without Redis', "mcp_credential c { $user }",
        qr/needs "mcp_redis"/);
refuses('no keys', "mcp_credential c { $cc $client }",
        qr/needs "mcp_vault_keys"/, keys => '');
refuses('a fallback that is not there', "mcp_credential c { $user fallback x; }",
        qr/"fallback" that is not there/, redis => $redis);
refuses('a fallback of a person', "mcp_credential c { $user fallback d; }
        mcp_credential d { $user }", qr/needs a person as well/,
        redis => $redis);
refuses("timeout $_", "mcp_credential c { $cc $client timeout $_; }",
        qr/invalid time/) for qw/ 0 1ms 2m x /;
refuses("keepalive $_", "mcp_credential c { $user keepalive $_; }",
        qr/invalid time/, redis => $redis) for qw/ 1s 400d x /;
refuses("grace $_", "mcp_credential c { $user grace $_; }",
        qr/invalid time/, redis => $redis) for qw/ 2d x /;
refuses('rotation', "mcp_credential c { $user rotation maybe; }",
        qr/on or off/, redis => $redis);
refuses('a scope', "mcp_credential c { $cc $client scope 'a\"b'; }",
        qr/invalid scope/);
refuses('a role without rules', 'mcp_credential c { type static; value x; }',
        qr/which has no rules here/, server => 'credential c role=nobody;');
refuses('two for everybody', 'mcp_credential c { type static; value x; }',
        qr/duplicate|twice/, server => 'credential c; credential c;');
refuses('an unknown one', 'mcp_credential d { type static; value x; }',
        qr/unknown mcp_credential "c"/);

# ---- keys

my $c = "mcp_credential c { $cc $client }";
my $k = encode_base64('k' x 32, '');

takes('a ring of two', $c, keys => 'mcp_vault_keys '
      . vault_file('two', "# keys\n\nnew $k\nold "
                          . encode_base64('o' x 32, '') . "\n") . ';');
refuses("keys: $_->[0]", $c, $_->[2],
        keys => 'mcp_vault_keys ' . vault_file('bad', $_->[1]) . ';')
    for ['none', "# nothing, and that for more than 32 bytes\n", qr/there is no key/],
        ['short', 'a ' . encode_base64('k' x 31, '') . "\n", qr/line 1/],
        ['twice', "a $k\na $k\n", qr/line 2: the id is there twice/],
        ['no id', "$k\n", qr/line 1/],
        ['text', "a " . 'x' x 44 . "\n", qr/line 1/];
refuses('keys that are not there', $c, qr/missing\.keys/,
        keys => "mcp_vault_keys $d/missing.keys;");
refuses('keys twice', $c, qr/duplicate/,
        keys => "mcp_vault_keys $keys; mcp_vault_keys $keys;");

my $all = join '', @said;
ok(index($all, $_) < 0, 'no secret in what it says')
    for 'secret-4711', $ENV{MCP_TEST_SECRET}, $k, $vault->secrets;

done_testing;

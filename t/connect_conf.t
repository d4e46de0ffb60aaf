#!/usr/bin/perl

# mcp_connect: what nginx -t takes and what it refuses, with words that help,
# and that mcpctl says the same in the same place.  No secret is in a message.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Ctl;
use MCP::Issuer;
use MCP::Vault;

$ENV{MCP_TEST_SECRET} = 'login-secret-0123456789';

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $vault = MCP::Vault->new($t);
my $d = $t->dir;
my $keys = $okta->jwks_file;
my $ctl = MCP::Ctl->new("$d/check.conf");
my @said;

$t->write_file('session.key', 'k' x 32);
chmod 0600, "$d/session.key";

my %base = (
    redis => 'mcp_redis { server 127.0.0.1:%%PORT_6379%%; }',
    keys => "mcp_vault_keys " . $vault->file . ";",
    session => 'mcp_session_key session.key;',
    login => 'client_id gw; client_secret "${env:MCP_TEST_SECRET}";',
    listen => 'listen 127.0.0.1:%%PORT_8443%% ssl; server_name gw.example.com;',
    location => 'location /connect/ { mcp_connect login=okta; }',
    user => 'type user; provider github; client_id a; client_secret b;',
    more => '', server => '', http => '', extra => '',
);

sub conf {
    my (%o) = (%base, @_);

    return <<"END";
%%GLOBALS%%
env MCP_TEST_SECRET;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    ssl_certificate %%TESTDIR%%/server.pem;
    ssl_certificate_key %%TESTDIR%%/server.key;
    $o{keys} $o{session} $o{redis}
    mcp_issuer okta { issuer $okta->{issuer}; jwks_file $keys;
                      $o{login} }
    mcp_issuer entra { issuer https://entra.example.com;
                       jwks_file $keys; $o{login} }
    mcp_credential c { $o{user} $o{more} }
    mcp_server s { resource https://mcp.example.com/s; issuer okta;
                   credential c; role * { allow tool *; } $o{server} }
    server { listen 127.0.0.1:%%PORT_8080%%;
             location /mcp { mcp_auth s; return 204; } }
    server { $o{listen} $o{location} }
    $o{extra}
}
END
}

sub check {
    my ($ok, $said) = $t->check(conf(@_));
    my $r = $ctl->run(qw/ config check /);

    push @said, $said, $r->{err}, $r->{out};

    return ($ok, $said, $r);
}

sub takes {
    my ($what, %o) = @_;
    my ($ok, $said, $r) = check(%o);

    ok($ok, "takes $what") or diag($said);
    is($r->{code}, 0, "so does mcpctl: $what") or diag($r->{err});
}

sub refuses {
    my ($what, $why, %o) = @_;
    my ($ok, $said, $r) = check(%o);

    ok(!$ok, "refuses $what");
    like($said, $why, "and says why: $what");
    is($r->{code}, 3, "mcpctl refuses $what");
    like($r->{err}, $why, "and says why: $what");

    my ($line) = $said =~ /\[emerg\].* in \S+?(\/[\w.-]+:\d+)/;
    my ($own) = $r->{err} =~ / in \S+?(\/[\w.-]+:\d+)$/m;

    is($own, $line, "in the same place: $what");
}

# ---- what it needs

takes('a location with all that it needs');
takes('^~', location => 'location ^~ /connect/ { mcp_connect login=okta; }');
takes('a nested one', location => 'location /a/ { location /a/connect/ {
       mcp_connect login=okta; } }');
takes('a URL', location => 'location /c/ { mcp_connect login=okta
       url=https://gw.example.com/c/; }', listen => 'listen 127.0.0.1:1;');
takes('a URL of loopback', location => 'location /c/ { mcp_connect
       url=http://127.0.0.1:8080/c/ login=okta; }',
      listen => 'listen 127.0.0.1:1;');
takes('TLS that another server has there', listen => 'listen 127.0.0.1:1443;
       server_name GW.example.com;',
      extra => 'server { listen 127.0.0.1:1443 ssl; server_name x; }');
takes('the whole of a server', location => 'location / { mcp_connect
       login=okta; }');
takes('an if', location => 'location /connect/ { mcp_connect login=okta;
       if ($args) { set $x 1; } }');
takes('endpoints', login => $base{login} . 'login_scope openid email;
       authorization_endpoint https://a.example.com/authorize;
       token_endpoint https://a.example.com/token;');
takes('a page of the operator\'s own',
      more => 'connect_url https://wiki.example.com/how;');

refuses('no Redis', qr/"mcp_redis"/, redis => '', user => 'value x;');
refuses('no vault', qr/"mcp_vault_keys"/, keys => '', user => 'value x;');
refuses('no session key', qr/"mcp_session_key"/, session => '');
refuses('no client', qr/no "client_id" and "client_secret"/, login => '');
refuses('no secret', qr/no "client_id" and "client_secret"/,
        login => 'client_id x;');
refuses('no TLS', qr/needs TLS/, listen => 'listen 127.0.0.1:1;
        server_name gw;');
refuses('no name', qr/know its name/,
        listen => 'listen 127.0.0.1:1443 ssl;');
refuses("the name $_", qr/know its name/,
        listen => "listen 127.0.0.1:1443 ssl; server_name $_ gw;")
    for qw/ *.example.com .example.com _ ~^gw /;
refuses('a TLS port of another address', qr/needs TLS/,
        listen => 'listen 127.0.0.1:1443; server_name gw;',
        extra => 'server { listen 127.0.0.2:1443 ssl; }');

# ---- the directive

my $of = 'location /connect/ { mcp_connect';

refuses('no login', qr/login=ISSUER/, location => "$of url=https://gw/; }");
refuses('an unknown issuer', qr/unknown mcp_issuer "nobody"/,
        location => "$of login=nobody; }");
refuses("the parameter $_", qr/invalid parameter/,
        location => "$of login=okta $_; }")
    for 'login=okta', 'url=', 'x=y', 'on';
refuses('the URL ' . ($_->[0] =~ s/\Aurl=//r), $_->[1],
        location => "$of login=okta url=$_->[0]; }")
    for [ 'http://gw.example.com/connect/', qr/loopback/ ],
        [ 'https://gw.example.com/other/', qr/not that of the location/ ],
        [ 'https://gw.example.com/connect', qr/not that of the location/ ],
        [ 'https://gw.example.com/connect/?a', qr/not that of the location/ ],
        [ 'https://u@gw.example.com/connect/', qr/invalid URL.*user name/ ],
        [ 'ftp://gw.example.com/connect/', qr/invalid URL/ ],
        [ 'https://gw.example.com:443/connect/', qr/scheme's own port/ ],
        [ 'https://GW.example.com/connect/', qr/lower case/ ],
        [ 'https://gw.example.com/a$(id)/', qr/not for a URL that others/ ],
        [ '/connect/', qr/invalid URL/ ];
refuses("location $_", qr/prefix location that ends in "\/"/,
        location => "location $_ { mcp_connect login=okta; }")
    for '/connect', '//evil.example.com/', '= /connect/', '~ /connect/', '=/connect/',
        '~*/connect/', '@connect';
refuses('two in a location', qr/duplicate/,
        location => "$of login=okta; mcp_connect login=okta; }");
refuses('mcp_status beside it', qr/another handler/,
        location => "$of login=okta; mcp_status; }");
refuses('mcp_auth beside it', qr/for browsers/,
        location => "$of login=okta; mcp_auth s; }");
refuses('mcp_auth around it', qr/for browsers/,
        location => "mcp_auth s; $of login=okta; }");
takes('mcp_auth around it, off', location => "mcp_auth s; $of login=okta;
      mcp_auth off; }");
refuses('the same page twice', qr/another mcp_connect with the URL/,
        extra => 'server { listen 127.0.0.1:1; location /connect/ {
        mcp_connect login=okta
        url=https://gw.example.com:' . MCP::Test::port(8443) . '/connect/; }
        }');

# ---- the issuer

refuses("login_scope $_", qr/no "openid"/,
        login => $base{login} . "login_scope $_;")
    for 'profile', 'openid2', 'a openid2 xopenid', '""';
takes("login_scope $_", login => $base{login} . "login_scope $_;")
    for 'openid', '"profile openid"', 'a b openid c';
refuses('an endpoint without TLS', qr/loopback/,
        login => $base{login} . 'token_endpoint http://a.example.com/t;');
refuses('an endpoint that is no URL', qr/invalid URL/,
        login => $base{login} . 'authorization_endpoint nonsense;');
refuses("an endpoint with $_ in its query", qr/invalid URL.*query/,
        login => $base{login} . "authorization_endpoint
                                 https://a.example.com/a?x=1&$_;")
    for qw[ state=1 redirect_uri=https://b.example.com st%61te=1 ];
refuses("a provider's endpoint with $_ in its query", qr/invalid URL.*query/,
        more => "authorize_endpoint https://a.example.com/a?x=1&$_;")
    for qw/ code_challenge=x request_uri=urn:x /;
refuses("an endpoint with $_->[1]", qr/invalid URL/,
        $_->[0] eq 'login'
        ? (login => "$base{login} authorization_endpoint
                     \"https://a.example.com/$_->[1]\";")
        : (more => "$_->[0] \"https://a.example.com/$_->[1]\";"))
    for [ login => '#x' ], [ login => '$(id)' ], [ login => "a;b'c" ],
        [ authorize_endpoint => '#' ], [ authorize_endpoint => '(id)' ],
        [ connect_url => '$(id)' ], [ connect_url => 'a;b' ];
takes('endpoints with a query', login => $base{login} .
      'authorization_endpoint https://a.example.com/a?x=state;',
      more => 'authorize_endpoint https://a.example.com/a?tenant=1;');
refuses('an issuer that is no URL', qr/cannot be discovered/,
        login => $base{login},
        location => "$of login=plain; }",
        extra => "mcp_issuer plain { issuer plain; jwks_file $keys;
                  $base{login} }");
takes('the same with endpoints', location => "$of login=plain; }",
      more => 'connect_url https://wiki.example.com/;',
      extra => "mcp_issuer plain { issuer plain; jwks_file $keys;
                $base{login} authorization_endpoint https://a/a;
                token_endpoint https://a/t; }");
takes("auth_method $_", login => $base{login} . "auth_method $_;")
    for qw/ client_secret_basic client_secret_post /;
refuses("auth_method $_", qr/unknown auth_method "$_"/,
        login => $base{login} . "auth_method $_;")
    for qw/ none private_key_jwt client_secret /;
refuses('auth_method twice', qr/duplicate/, login => $base{login}
        . 'auth_method client_secret_post; auth_method client_secret_post;');
refuses('client_id twice', qr/duplicate/,
        login => $base{login} . 'client_id x;');
refuses('a secret that is not there', qr/MCP_TEST_NONE/,
        login => 'client_id x; client_secret "${env:MCP_TEST_NONE}";');

# ---- the credentials

my $two = 'server { listen 127.0.0.1:1; location /two/ { mcp_connect
           login=okta url=https://two.example.com/two/; } }';
my $entra = 'location /connect/ { mcp_connect login=entra; }';

refuses('no word on which of two', qr/more than one mcp_connect/,
        extra => $two);
takes('one of two', extra => $two,
      more => 'connect_url https://two.example.com/two/;');
refuses('a person of another issuer', qr/none of its issuers/,
        location => $entra);
takes('that issuer as well', location => $entra, server => 'issuer entra;');
refuses('no authorize_endpoint', qr/authorize_endpoint/,
        user => 'type user; provider generic; client_id a; client_secret b;
                 token_endpoint https://p.example.com/t;');
takes('no authorize_endpoint, elsewhere',
      user => 'type user; provider generic; client_id a; client_secret b;
               token_endpoint https://p.example.com/t;
               connect_url https://wiki.example.com/;');

unlike(join('', @said), qr/\Q$ENV{MCP_TEST_SECRET}\E/, 'no secret was said');

done_testing();

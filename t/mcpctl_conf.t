#!/usr/bin/perl

# mcpctl reads nginx's configuration as nginx with our module does: what the one
# refuses in our blocks the other refuses, with the same file and line, and what
# the one takes the other takes.  A table of lines, one by one and in random
# company; random quoting and layout; other modules' blocks, Lua among them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 ();

use MCP::Test;
use MCP::Ctl;

my $t = MCP::Test->new;
my $d = $t->dir;
my $ctl = MCP::Ctl->new("$d/check.conf");
my $seed = $ENV{MCP_TEST_SEED} || 20261125;

srand $seed;
note("MCP_TEST_SEED=$seed");

$t->write_file('secret', "TOP-SECRET-VALUE\n");
$t->write_file('empty', '');
$t->write_file('two-lines', "a\nb\n");
$t->write_file('bad.json', '{"keys":');
$t->write_file('none.json', '{"keys":[]}');
$t->write_file('key', 'x' x 32);
$t->write_file('key2', 'y' x 40 . "\n");
$t->write_file('short.key', 'x' x 31);
$t->write_file('rule.conf', "allow tool included;\n");
$t->write_file('bad-rule.conf', "\n\nallow tool;\n");
$t->write_file('open.conf', "allow tool a; deny tool b\n");
$t->write_file('close.conf', "allow tool a; }\n");
$t->write_file('issuer.conf', "leeway 10s;\n");
mkdir "$d/sub";
$t->write_file('sub/1.conf', "allow tool a1;");
$t->write_file('sub/2.conf', "allow tool a2;");
$t->write_file('jwks', MCP::Ctl::slurp(jwks()));
$ENV{MCP_TEST_SECRET} = 'value-of-it';
delete $ENV{MCP_TEST_UNSET};


sub jwks {
    my $key = "$d/rsa.key";

    system("$MCP::Test::MINT keygen ES256 $key > /dev/null") == 0 or die;
    system("$MCP::Test::MINT jwks k1=$key:ES256 > $d/made.jwks") == 0 or die;
    return "$d/made.jwks";
}


# A configuration of parts: lines in each of our blocks, and around them.

sub conf {
    my (%o) = @_;
    my %p = (main => '', http => '', issuer => '', credential => '',
             server => '', role => '', level => '', location => '',
             base => 'jwks_file jwks;', %o);

    my $iss = $p{no_issuer} ? '' : 'issuer https://idp.example.com;';
    my $res = $p{no_resource} ? '' : 'resource https://mcp.example.com/m;';
    my $of = $p{no_of} ? '' : 'issuer a;';
    my $allow = $p{no_rule} ? '' : 'allow tool base;';

    return <<"END";
%%GLOBALS%%
events { }
$p{main}
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    $p{http}
    mcp_issuer a { $iss $p{base} $p{issuer} }
    mcp_credential c { value x; $p{credential} }
    mcp_server s { $res $of $p{server} role r { $allow $p{role} } }
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        $p{level}
        location / { mcp_auth s; $p{location} return 204; }
    }
}
END
}


# 1 when both say the same; where it is refused, in the same place but for what
# nginx finds when http {} ends, or in the wake of something else

my $elsewhere = qr/ssl_trusted_certificate|\}\s+\}$|^round/;

sub same {
    my ($what, $conf, $expect) = @_;
    my ($ok, $said) = $t->check($conf);
    my $r = $ctl->run(qw/ config check /);
    my $mine = $r->{code} == 0 ? 1 : 0;
    my $good = $ok == $mine && ($mine || $r->{code} == 3);

    if (!$good) {
        diag("nginx: $said\nmcpctl: $r->{code} $r->{err}\n$conf");
    }

    if (defined $expect && $ok != $expect) {
        diag("nginx -t " . ($ok ? 'takes' : 'refuses') . " it: $said");
        $good = 0;
    }

    if (!$ok && $good && $what !~ $elsewhere) {
        my ($line) = $said =~ /\[emerg\].* in \S+?(\/[\w.-]+:\d+)/;
        my ($own) = $r->{err} =~ / in \S+?(\/[\w.-]+:\d+)$/m;

        if (defined $line && $line ne ($own // '')) {
            diag("$what: nginx: $said\nmcpctl: $r->{err}");
            $good = 0;
        }
    }

    $good = 0 if $r->{err} =~ /TOP-SECRET/;

    return $good;
}


# ---- lines, right ones and wrong ones, by block

my %right = (
    issuer => [
        'audience a b;', 'algorithms RS256 PS384;', 'algorithms EdDSA;',
        'token_type any;', 'token_type at+jwt;', 'user_claim uid email;',
        'client_claim cid;', 'scope_claim scp;', 'roles_claim a/b;',
        'role r x y;', 'leeway 0;', 'leeway 5m;', 'leeway "1m 5s";',
        'jwks_stale 0;', 'jwks_stale 30d;', 'jwks_stale 4w;',
        'jwks_refresh 1h;', 'jwks_timeout 500ms;', 'jwks_timeout 1m;',
        'jwks_timeout "1s 500ms";', 'max_key_set 64K;',
        'max_key_set 1m;', 'max_keys 2;', 'max_groups 65536;',
        'include issuer.conf;', 'include %%TESTDIR%%/issu*.conf;',
        'include none-*.conf;', 'client_id x;', 'login_scope a openid;',
        'client_secret "${env:MCP_TEST_SECRET}${file:secret}";',
        'authorization_endpoint https://a/b?c; token_endpoint https://a;',
    ],
    credential => [
        'type static;', 'header X-Api-Key;', 'header Proxy-Authorization;',
    ],
    server => [
        'scope a b;', 'scope a:b/c;', 'credential c;', 'deny_reply unknown;',
        'deny_reply forbidden;', 'deny_reply tool_error;', 'enforce on;',
        'enforce shadow;', 'origin https://a http://b:8080;', 'origin a://b;',
        'stream_grace 0;', 'stream_grace 1d;', 'stream_grace 5;',
        'strip X-Debug x_*;', 'preview 16;', 'preview 2k;', 'params /a /b/c;',
        'params /a~1b;', 'step_up scope=a,b tool base;',
        'step_up scope=a tool b*;', 'role * { allow tool y; }',
        'role q { allow prompt *; enforce shadow; }',
    ],
    role => [
        'allow tool a b* "c d";', 'deny tool a1 where /x != y and /n < 5;',
        'allow prompt *;', 'allow resource a://* ;', 'allow method x/*;',
        "allow tool 'q' where /a exists;", 'allow tool w where /a = "";',
        'allow tool w2 where /a/b >= -1.5e3;', 'include rule.conf;',
        'include sub/*.conf;', 'include sub/[1].conf;', 'enforce shadow;',
        'deny resource x;', "allow tool a\\ b;", 'allow tool "}";',
        "allow tool \"#\"; # allow tool;\n", "allow tool \n\t two\n;",
        'allow tool ${x};', 'allow tool $;', "allow tool a#b;",
    ],
    http => [
        'mcp_zone 1m;', 'mcp_zone 256k;', 'mcp_audit_key key;',
        'mcp_audit_key %%TESTDIR%%/key2;', 'mcp_session_key key key2;',
        'mcp_max_body 64;', 'mcp_max_token 16k;', 'mcp_max_id 8;',
        'mcp_max_depth 512;', 'mcp_max_name 64k;', 'mcp_max_list_entry 1m;',
        'mcp_max_event 256;', 'mcp_issuer b { issuer https://b; }',
        'mcp_issuer b { issuer http://127.0.0.1:1/x?; jwks_uri'
        . ' http://localhost/k?a=b; }',
        'mcp_issuer b { issuer https://b; jwks_uri https://[::1]:8443/k; }',
        'mcp_credential d { value "B ${file:secret}${env:MCP_TEST_SECRET}"; }',
        'mcp_server u { resource https://x/y/; issuer a; role r { allow tool'
        . ' z; } }',
        'mcp_server u { resource HTTP://127.1.2.3; issuer a; role r { allow'
        . ' tool z; } }',
        'map $uri $x { default "{"; }', 'types { a/b c; }',
        'log_format x "$uri ${status} ; }";',
        'geo $g { default 0; 10.0.0.0/8 1; }',
        'upstream up { server 127.0.0.1:1; }',
    ],
    level => [
        'mcp_max_body 1m;', 'mcp_max_name 128;', 'mcp_audit off;',
        'location = /metrics { mcp_status; }',
        'location /x { location /x/y { mcp_auth s; return 204; } }',
        'location /off { mcp_auth off; return 204; }',
        'if ($uri = /nothing) { return 404; }',
    ],
    location => [
        'mcp_max_depth 4;', 'mcp_audit %%TESTDIR%%/b.log buffer=8k;',
        'mcp_audit %%TESTDIR%%/c.log buffer=16m flush=60s;',
        'mcp_audit %%TESTDIR%%/d.log strict;',
        'limit_except GET { deny all; }', 'if ($args) { return 404; }',
    ],
);

my %wrong = (
    issuer => [
        'issuer https://b;', 'nonsense on;', 'audience;', 'audience a;'
        . ' audience b;', 'algorithms none;', 'algorithms HS256;',
        'algorithms rs256;', 'token_type jwt;', 'leeway 301;', 'leeway 1y;',
        'leeway 1s1m;', 'leeway 10ms;', 'leeway -1;', 'leeway x;',
        'leeway "";', 'leeway 1 2;', 'jwks_stale 31d;', 'jwks_stale 1M1;',
        'jwks_refresh 0;', 'jwks_refresh 86401;', 'jwks_timeout 0;',
        'jwks_timeout 61s;', 'jwks_timeout 1y;', 'jwks_timeout 2M;',
        'max_key_set 127;', 'max_key_set 1g;', 'max_key_set k;',
        'max_keys 0;', 'max_keys 65537;', 'max_keys 1k;', 'max_groups x;',
        'role * a;', 'role r;', 'role r a; role r b;', 'role "a b" c;',
        'user_claim a; user_claim b;', 'roles_claim "";',
        'roles_claim a; roles_claim b;', 'jwks_uri https://a/k;',
        'jwks_file jwks;', 'listen 80;', 'allow tool x;', 'resource x;',
        'leeway { }', 'role r x { }', 'include none.conf;', 'include;',
        'leeway 99999999999999999999;', 'leeway 9223372036854775807y;',
        'ssl_trusted_certificate a b;', 'login_scope profile;',
        'login_scope a\\"b openid;', 'client_id x; client_id y;',
        'client_secret "${file:empty}";', 'client_id "";',
        'token_endpoint x;', 'authorization_endpoint http://a/;',
    ],
    credential => [
        'value y;', 'type magic;', 'type;', 'header "X Y";', 'header X:;',
        'header "";', 'header Host;', 'header content-LENGTH;',
        'header Mcp-Name;', 'header X_Y;', 'header TE;',
        'header A; header B;', 'nonsense;',
    ],
    server => [
        'nonsense on;', 'listen 80;', 'leeway 1;', 'resource https://b;',
        'issuer;', 'issuer b;', 'issuer a;', 'scope "a b";', 'scope "";',
        'scope a\\"b;', 'credential d;', 'credential c; credential c;',
        'deny_reply no;', 'deny_reply unknown; deny_reply unknown;',
        'enforce off;', 'enforce on; enforce on;', 'origin app.example.com;',
        'origin https://a/b;', 'origin *;', 'origin null;', 'origin https://;',
        'origin "https://a b";', 'stream_grace 86401;', 'stream_grace x;',
        'stream_grace 1; stream_grace 1;', 'strip *;', 'strip "";',
        'strip X *x;', 'preview 15;', 'preview 2049;', 'preview 1k;'
        . ' preview 1k;', 'params a;', 'params "";', 'params /a~2;',
        'step_up tool base;', 'step_up scope=a;', 'step_up scope=a tool y;',
        'step_up scope= tool base;', 'step_up scope=a tool base where /a = b;',
        'role q { }', 'role q;', 'role r { allow tool z; }',
        'role "a,b" { allow tool z; }', 'role a b { allow tool z; }',
        'allow tool x;', 'role q { role z { } }', 'role q { allow tool z; ',
        'role q { allow tool z; } }',
    ],
    role => [
        'permit x;', 'allow tool;', 'allow tools x;', 'allow tool base;',
        'allow tool x; deny tool *;', 'deny tool b*;', 'allow tool "";',
        'allow tool a**b;', 'allow method tools/list;',
        'allow method tools/call;', 'allow method tasks/get;',
        'allow resource x where /a = b;', 'allow tool x where;',
        'allow tool x where /a;', 'allow tool x where /a == b;',
        'allow tool x where /a =;', 'allow tool x where /a exists b;',
        'allow tool x where /a < b;', 'allow tool x where /a < 1 2;',
        'allow tool x where "" = b;', 'allow tool x where a = b;',
        'allow tool x where /a < 1 and /a > 2;',
        'allow tool x where /a absent and /a = b;',
        'allow tool x where /a != *;', 'include bad-rule.conf;',
        'include open.conf;', 'include close.conf;', 'include none.conf;',
        'enforce no;', 'enforce on; enforce shadow;', 'scope a;',
        'allow tool "a"b;', 'allow tool "a', "allow tool 'a' 'b;",
        'allow tool a { }', '; allow tool a;', '{ }', 'allow tool a;;',
        "allow tool \"a\tb\";", 'allow tool "a\\nb";', 'allow tool {x;',
        'allow tool x{;', "allow tool x; # }\n }",
    ],
    http => [
        'mcp_zone 64k;', 'mcp_zone x;', 'mcp_zone 1m; mcp_zone 1m;',
        'mcp_zone;', 'mcp_audit_key short.key;', 'mcp_audit_key none;',
        'mcp_audit_key empty;', 'mcp_audit_key key; mcp_audit_key key;',
        'mcp_session_key key key;', 'mcp_session_key key short.key;',
        'mcp_session_key;', 'mcp_max_depth 3;', 'mcp_max_depth 513;',
        'mcp_max_depth x;', 'mcp_max_depth 1k;', 'mcp_max_name 63;',
        'mcp_max_name 65537;', 'mcp_max_id 7;', 'mcp_max_id 257;',
        'mcp_max_token 63;', 'mcp_max_body 63;', 'mcp_max_body -1;',
        'mcp_max_list_entry 255;', 'mcp_max_event 255;',
        'mcp_max_event 1m; mcp_max_event 1m;', 'mcp_nonsense on;',
        'mcp_auth s;', 'mcp_status;', 'mcp_server s { }',
        'mcp_issuer a { issuer https://x; }', 'mcp_issuer b { }',
        'mcp_issuer b { issuer nonsense; }', 'mcp_issuer b { issuer'
        . ' http://idp.example.com; }',
        'mcp_issuer b { issuer https://b?c; }',
        'mcp_issuer b { issuer https://b; jwks_uri http://b/k; }',
        'mcp_issuer b { issuer https://b; jwks_uri http://127.0.0.1.b/k; }',
        'mcp_issuer b { issuer https://b; jwks_uri http://127.1/k; }',
        'mcp_issuer b { issuer https://b; jwks_uri https://b:0/k; }',
        'mcp_issuer b { issuer https://b; jwks_uri https://b:/k; }',
        'mcp_issuer b { issuer https://b; jwks_uri https://b..c/k; }',
        'mcp_issuer b { issuer https://b; jwks_uri https://[::g]/k; }',
        'mcp_issuer b { issuer https://b; jwks_uri https://b/k#x; }',
        'mcp_issuer b { issuer https://b; jwks_uri https://u@b/k; }',
        'mcp_issuer b { issuer https://b; jwks_file bad.json; }',
        'mcp_issuer b { issuer https://b; jwks_file none.json; }',
        'mcp_issuer b { issuer https://b; jwks_file none; }',
        'mcp_issuer b { issuer https://b; jwks_file jwks; max_key_set 128; }',
        'mcp_issuer b { issuer https://b; ssl_trusted_certificate empty; }',
        'mcp_issuer a/b { issuer https://b; }', 'mcp_issuer { issuer b; }',
        'mcp_issuer b;', 'mcp_issuer b c { issuer https://b; }',
        'mcp_issuer ' . 'b' x 65 . ' { issuer https://b; }',
        'mcp_credential d { }', 'mcp_credential c { value x; }',
        'mcp_credential d { value "${file:none}"; }',
        'mcp_credential d { value "${file:empty}"; }',
        'mcp_credential d { value "${file:two-lines}"; }',
        'mcp_credential d { value "${file:%%TESTDIR%%}"; }',
        'mcp_credential d { value "${env:MCP_TEST_UNSET}"; }',
        'mcp_credential d { value "${MCP_TEST_SECRET}"; }',
        'mcp_credential d { value "${env:MCP_TEST_SECRET"; }',
        'mcp_credential d { value "a\\nb"; }', 'mcp_credential d { value ""; }',
        'mcp_server off { resource https://x; issuer a; role r { allow tool'
        . ' z; } }',
        'mcp_server u { resource https://x; issuer a; }',
        'mcp_server u { resource https://x/%41; issuer a; role r { allow'
        . ' tool z; } }',
        'mcp_server u { resource https://x?y; issuer a; role r { allow'
        . ' tool z; } }',
        'mcp_server u { resource ftp://x; issuer a; role r { allow tool z; }'
        . ' }',
        'mcp_server u { resource https://x; role r { allow tool z; } }',
        'mcp_server u { issuer a; role r { allow tool z; } }',
        'mcp_server u { resource https://x; issuer a a; role r { allow tool'
        . ' z; } }',
    ],
    level => [
        'mcp_auth q;', 'mcp_auth s; mcp_auth s;', 'mcp_zone 1m;',
        'mcp_server x { }', 'mcp_max_depth 1;', 'mcp_audit off strict;',
        'location /x { mcp_auth; }', 'location /x { mcp_auth a b; }',
        'location /x { mcp_auth q; return 204; }',
        'if ($uri = /n) { mcp_auth s; }',
        'location /y { limit_except GET { mcp_auth s; } }',
        'location = /m { mcp_status on; }',
    ],
    location => [
        'mcp_max_body 1; ', 'mcp_max_id 300;',
        'mcp_audit %%TESTDIR%%/b.log buffer=1k;',
        'mcp_audit %%TESTDIR%%/b.log flush=1s;',
        'mcp_audit %%TESTDIR%%/b.log buffer=8k flush=61s;',
        'mcp_audit %%TESTDIR%%/b.log buffer=8k strict;',
        'mcp_audit %%TESTDIR%%/b.log nonsense;', 'mcp_audit;',
        'mcp_audit off; mcp_audit off;',
    ],
);

# those of the stores

my $at = 'server 127.0.0.1;';

sub redis { map { "mcp_redis { $_ }" } @_ }

push @{$right{http}}, 'mcp_token_failures 0;', 'mcp_token_failures 6000;',
    'mcp_token_key key key2;', 'mcp_token_file tokens;',
    'mcp_token_file %%TESTDIR%%/tokens;';
push @{$wrong{http}}, 'mcp_token_failures 6001;', 'mcp_token_failures x;',
    'mcp_token_failures 1; mcp_token_failures 1;', 'mcp_token_key key key;',
    'mcp_token_key short.key;', 'mcp_token_key none;', 'mcp_token_key;',
    'mcp_token_key key; mcp_token_key key2;', 'mcp_token_file none;',
    'mcp_token_file "";', 'mcp_token_file bad-tokens;',
    'mcp_token_file half-tokens;', 'mcp_token_file empty;',
    'mcp_token_file %%TESTDIR%%;',
    'mcp_token_file tokens; mcp_token_file tokens;';
push @{$right{server}}, 'tokens off;';
push @{$wrong{server}}, 'tokens on;', 'tokens On;', 'tokens 1;',
    'tokens off; tokens off;', 'tokens;';

push @{$right{http}}, redis($at, 'server localhost:1;',
    'server 127.0.0.1:6380; prefix x:;', 'server [::1]:6379;',
    "server unix:$d/redis;", "$at user u; password file:secret;",
    "$at password \"\${file:secret}\"; database 65535;",
    "$at password \"\${env:MCP_TEST_SECRET}\"; tls off;",
    "$at tls on; ssl_name redis.example.com;", "$at tls on;"
    . ' ssl_name 127.0.0.1;', "$at timeout 10ms; connect_timeout 1m;",
    "$at revocation_stale 2s;", "$at revocation_stale 1h;",
    "$at max_reply 64k;", "$at max_reply 64m;", "$at include none-*;");
push @{$wrong{http}}, redis('', 'server;', "$at $at", 'server a b;',
    'server "";', 'server unix:;', 'server unix:redis;',
    'server unix:/' . 'x' x 107 . ';', 'server 127.0.0.1:0;',
    'server 127.0.0.1:65536;', 'server 127.0.0.1:x;', 'server u@a;',
    'server a..b;', 'server [::g];', "$at user u;",
    "$at password secret;", "$at password file:none;",
    "$at password \"x\${file:secret}\";", "$at password file:secret;"
    . ' password file:secret;', "$at password \"\${file:secret}x\";",
    "$at password \"\${env:MCP_TEST_UNSET}\";", "$at password file:;",
    "$at password file:two-lines;", "$at password \"\";",
    "$at tls yes;", "$at tls on; tls on;", "server unix:/x; tls on;",
    "$at ssl_name a;", "$at tls on; ssl_name a:1;", "$at tls on;"
    . ' ssl_name "";', "$at ssl_trusted_certificate empty;",
    "$at tls on; ssl_trusted_certificate empty;", "$at user \"a b\";",
    "$at prefix \"\";", "$at prefix " . 'x' x 65 . ';',
    "$at prefix \"\xc3\xbc\";", "$at database 65536;",
    "$at database -1;", "$at database 0; database 0;", "$at timeout 9ms;",
    "$at timeout 61s;", "$at timeout 1s; timeout 1s;",
    "$at revocation_stale 1999ms;", "$at revocation_stale 61m;",
    "$at max_reply 65535;", "$at max_reply 65m;", "$at max_reply 1g;",
    "$at nonsense;", "$at issuer a;"), "mcp_redis { $at } mcp_redis { $at }",
    "mcp_redis x { $at }", 'mcp_redis;';

push @{$right{http}}, 'mcp_revocation_file revoked;',
    'mcp_revocation_zone 64k;';
push @{$wrong{http}}, 'mcp_revocation_file none;',
    'mcp_revocation_file bad-revoked;', 'mcp_revocation_file empty;',
    'mcp_revocation_file revoked; mcp_revocation_file revoked;',
    'mcp_revocation_zone 63k;', 'mcp_revocation_zone x;',
    'mcp_revocation_zone 1m; mcp_revocation_zone 1m;';

# credentials that are fetched: each is complete but for what is said

my $keys = 'mcp_vault_keys vault;';
my $secret = 'client_id i; client_secret "${file:secret}";';
my $ep = 'token_endpoint https://idp.example.com/token;';
my $signed = 'client_id i; auth_method private_key_jwt;';

sub fetched {
    my ($type, @lines) = @_;
    my $also = $type eq 'user' ? " mcp_redis { $at }" : '';

    return map { "$keys$also mcp_credential d { type $type; $_ }" } @lines;
}

push @{$right{http}}, $keys,
    fetched('client_credentials', "$ep $secret",
        "$secret $ep auth_method client_secret_post;",
        'client_id i; client_secret x; token_endpoint http://127.0.0.1:1/t;',
        "provider okta; $ep $secret scope \"a b\" c \" d\"; audience api://x;"
        . ' resource https://r;', "provider google; $secret",
        "$ep $secret timeout 100ms;", "$ep $secret timeout 60s;",
        "$ep $secret header X-Token;", "$ep $secret header X-Token \${token};",
        "$ep $secret header X-A \"Bearer \${token}\"; header X-B b;",
        "$ep $secret header X-A; header X-B b;", "header X-A a; header X-B;"
        . " provider okta; $ep $secret",
        "$ep $secret header X-A \"\${file:secret} \${token}"
        . "\${env:MCP_TEST_SECRET}\";",
        map { "$ep $signed key $_;" } 'ec.pem', '%%TESTDIR%%/rsa.pem',
        'ec.pem; key_id k; assertion_audience https://a'),
    fetched('token_exchange', "$ep $secret audience api://x;",
        "$ep $secret fallback c;", "provider okta; $ep $secret",
        "$ep $secret fallback e; } mcp_credential e { type"
        . " client_credentials; $ep $secret"),
    fetched('user', "$ep $secret", "provider github; $secret",
        "provider atlassian; $secret connect_url https://gw/c?x=y;",
        "$ep client_id i; auth_method none;", "provider slack; $secret"
        . ' rotation off; grace 0; keepalive 0;',
        "$ep $secret rotation on; grace 1d; keepalive 366d; fallback c;",
        "$ep $secret keepalive 1h; authorize_endpoint https://a/b;"
        . ' revoke_endpoint https://a/c;');

push @{$wrong{http}}, 'mcp_vault_keys none;', 'mcp_vault_keys;',
    'mcp_vault_keys key;', 'mcp_vault_keys vault vault;', "$keys $keys",
    'mcp_vault_keys empty;', (map { "mcp_vault_keys vault-$_;" } 1 .. 9),
    "mcp_credential d { type client_credentials; $ep $secret }",
    "$keys mcp_credential d { type user; $ep $secret }",
    fetched('client_credentials', '', $ep, $secret, "$ep client_id i;",
        "$ep client_secret x;", "$ep $secret auth_method none;",
        "$ep $secret auth_method magic;", "$ep $secret auth_method"
        . ' private_key_jwt;', "$ep $signed", "$ep $secret key ec.pem;",
        "$ep client_id i; auth_method none;", "$ep $secret value x;",
        "$ep $secret fallback c;", "$ep $secret connect_url https://x;",
        "$ep $secret keepalive 1d;", "$ep $secret grace 1;",
        "$ep $secret rotation on;", "$ep $secret type client_credentials;",
        "provider magic; $ep $secret", "$ep $secret provider okta;",
        "client_id i; provider okta; $ep client_secret x;",
        "provider entra; $secret", "provider okta; $secret",
        "token_endpoint http://idp/t; $secret", "token_endpoint x; $secret",
        "token_endpoint \"\"; $secret", "$ep $ep $secret",
        "$ep client_id i; client_secret \"\${file:none}\";",
        "$ep client_id i; client_secret \"\${env:MCP_TEST_UNSET}\";",
        "$ep client_id i; client_secret \"\";",
        "$ep client_id \"\"; client_secret x;", "$ep $secret scope a\\\"b;",
        "$ep $secret scope \"a\xc3\xbc\";", "$ep $secret scope;",
        "$ep $secret audience \"\";", "$ep $secret resource \"\";",
        "$ep $secret key_id \"\";", "$ep $secret timeout 99ms;",
        "$ep $secret timeout 61s;", "$ep $secret timeout x;",
        "$ep $secret ssl_trusted_certificate empty;",
        "$ep $secret ssl_trusted_certificate \"\";",
        "$ep $secret header Host;", "$ep $secret header X-A x;",
        "$ep $secret header X-A \"\${token} \${token}\";",
        "$ep $secret header X-A \${token}; header x-a b;",
        "$ep $secret header X-A; header X-B;",
        "$ep $secret header X-A; header X-A \${token};",
        "$ep $secret header X-A \${token} x;", "$ep $secret header X-B \"\";",
        "$ep $secret header X-A \"\${file:none}\${token}\";",
        "$ep $secret " . join(' ', map { "header X-$_ \${token};" } 1 .. 9),
        map { "$ep $signed key $_;" } 'none', 'key', 'short.key', 'ec384.pem',
        'small.pem', '""'),
    fetched('token_exchange', "$ep $secret fallback none;",
        "$ep $secret fallback d;", "$ep $secret fallback \"\";",
        "$ep $secret rotation on;", "$ep $secret fallback c; fallback c;",
        "$ep $secret authorize_endpoint https://a/b;"),
    fetched('user', "$ep $secret rotation maybe;", "$ep $secret grace 86401;",
        "$ep $secret grace x;", "$ep $secret keepalive 59m;",
        "$ep $secret keepalive 367d;", "$ep $secret keepalive x;",
        "$ep $secret connect_url x;", "$ep $secret connect_url http://gw/c;",
        "$ep $secret fallback d;", "$ep $secret revoke_endpoint http://a/b;"),
    'mcp_credential d { client_id x; value y; }',
    'mcp_credential d { value ${token}; }',
    'mcp_credential d { type static; header X-A; }',
    'mcp_credential d { header X-A; header X-B b; }',
    'mcp_credential d { header X-A a; value b; header x-a; }',
    'mcp_credential d { value a; header Authorization b; }';

push @{$right{credential}}, 'header X-Other other;',
    'header X-Other "${file:secret}"; header X-More x;';
push @{$wrong{credential}}, 'provider okta;', 'client_id x;', 'header X Y Z;',
    'header Authorization x;', 'header X ${token};', 'type token;';
push @{$right{server}}, 'credential c role=r;',
    'credential c; credential c role=r;', 'credential c role=*;',
    'role q { allow tool z; } credential c role=q; credential c role=r;';
push @{$wrong{server}}, 'credential c role=nobody;', 'credential c r;',
    'credential c role=;', 'credential d role=r;', 'credential c role=r x;',
    'credential c role=r; credential c role=r;',
    'credential c; credential c role=*;';

my $base64 = MIME::Base64::encode_base64('k' x 32, '');
my $other = MIME::Base64::encode_base64('o' x 32, '');

$t->write_file('vault', "# keys\n\nk2 $base64\nk-1.x $other\n");
$t->write_file('vault-1', "# none\n" . '#' x 32 . "\n");
$t->write_file('vault-2', "k1 " . MIME::Base64::encode_base64('k' x 31, '')
               . "\n");
$t->write_file('vault-3', "k1 $base64\nk1 $other\n");
$t->write_file('vault-4', join '', map {
    "k$_ " . MIME::Base64::encode_base64($_ x 32, '') . "\n" } 1 .. 9);
$t->write_file('vault-5', "k/1 $base64\n");
$t->write_file('vault-6', "k1  $base64\n");
$t->write_file('vault-7', "k1 $base64 x\n");
$t->write_file('vault-8', 'k' x 33 . " $base64\n");
$t->write_file('vault-9', "k1 $base64\nk2 $base64\n");

for (['ec.pem', 'genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256'],
     ['ec384.pem', 'genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384'],
     ['rsa.pem', 'genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048'],
     ['small.pem', 'genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024'])
{
    system("openssl $_->[1] -out $d/$_->[0] 2> /dev/null") == 0 or die $_->[0];
}

$t->write_file('tokens', "# a comment\n\n"
               . "vat vat-abcdefghijkl 00000000:" . '0' x 64
               . ' service=ci roles=r servers=s created=2026-11-25T15:10:40Z'
               . " expires=2027-11-25T15:10:40Z\nend\n");
$t->write_file('bad-tokens', "\nvat nonsense\nend\n");
$t->write_file('half-tokens', "# no end\n");
$t->write_file('revoked', "all - - 2026-11-25T15:10:40Z\nend\n");
$t->write_file('bad-revoked', "all - -\nend\n");

ok(same('the least', conf(), 1), 'the least');

my $key = 'mcp_token_key key;';

ok(same('tokens on', conf(http => "$key mcp_token_file tokens;",
                          server => 'tokens on;'), 1), 'own tokens');
ok(same('a role of tokens only', conf(
        http => "$key mcp_token_file tokens;", issuer => 'role r x;',
        server => 'tokens on; role q { allow tool z; }'), 1),
   'a role that only own tokens have');
ok(same('no key', conf(http => 'mcp_token_file tokens;',
                       server => 'tokens on;'), 0), 'refused: no key');
ok(same('no store', conf(http => $key, server => 'tokens on;'), 0),
   'refused: no store');
ok(same('in Redis', conf(http => "$key mcp_redis { $at }",
                         server => 'tokens on;'), 1), 'tokens in Redis');

for my $block (sort keys %right) {
    for (@{$right{$block}}) {
        ok(same($_, conf($block => $_), 1), "taken in $block: $_");
    }
}

for my $block (sort keys %wrong) {
    for (@{$wrong{$block}}) {
        ok(same($_, conf($block => $_), 0), "refused in $block: $_");
    }
}

for (qw/ no_issuer no_resource no_of no_rule /) {
    ok(same($_, conf($_ => 1), 0), "refused: $_");
}

for ('main', 'http') {
    ok(same("} in $_", conf($_ => '}'), 0), "refused: } in $_");
    ok(same("quote in $_", conf($_ => 'x "'), 0), "refused: quote in $_");
}


# ---- the same in random company

sub pick { $_[rand @_] }

my ($agreed, $taken) = (0, 0);
my $rounds = $ENV{MCP_TEST_ROUNDS} || ($MCP::Test::SAN ? 60 : 200);

for my $round (1 .. $rounds) {
    my %parts;

    for my $block (keys %right) {
        next if rand() < 0.4;
        my %lines = map { $_ => 1 } map { pick(@{$right{$block}}) } 1 .. 3;
        $parts{$block} = join ' ', sort keys %lines;
    }

    if (rand() < 0.3) {
        my $block = pick(sort keys %wrong);
        $parts{$block} = join ' ', $parts{$block} // '',
                              pick(@{$wrong{$block}});
    }

    my $same = same("round $round", conf(%parts));

    $agreed += $same;
    $taken++ if ($t->check(conf(%parts)))[0];

    fail("round $round of MCP_TEST_SEED=$seed") unless $same;
}

is($agreed, $rounds, 'random configurations: the same answer');
cmp_ok($taken, '>', $rounds / 20, 'of which some were taken');
cmp_ok($taken, '<', $rounds, 'and some refused');


# ---- words: whatever is between them, and however they are written

# \t, \r and \n in a word are control characters, which no pattern may have

my @bits = ('a', 'b', '*', '\\"', "\\'", '\\\\', '\\;', '\\{', '$', '${x}',
            '\\ ', '"', "'", '#', '}', ')', '\\x', "\xc3\xbc");
my $words = 0;
$rounds = $ENV{MCP_TEST_ROUNDS} || ($MCP::Test::SAN ? 60 : 300);

for my $round (1 .. $rounds) {
    my $text = '';

    for (1 .. 1 + rand 3) {
        my $quote = pick('', '', '"', "'");
        my $word = join '', map { pick(@bits) } 1 .. 1 + rand 4;
        $text .= pick(' ', "\n", "\t", '  ', " # c ;\n") . $quote . $word
                 . $quote;
    }

    my $conf = conf(role => "allow prompt$text;");
    my $same = same("words $round", $conf);

    fail("words $round of MCP_TEST_SEED=$seed") unless $same;
    $words += $same;
}

is($words, $rounds, 'random words: the same answer');

for (4094 .. 4098) {
    my $long = 'x' x $_;
    ok(same("a word of $_", conf(main => "env $long;")), "a word of $_");
    ok(same("quoted", conf(main => "env \"$long\";")), "a quoted word of $_");
}


# ---- Lua's blocks are passed over by Lua's rules; nginx needs no Lua for that

sub lua {
    my ($name, $text, $code) = @_;

    $t->write_file('lua.conf', $t->expand(conf(http => $text)));
    my $r = $ctl->run({ conf => "$d/lua.conf" }, qw/ config check --json /);

    is($r->{code}, $code, "Lua: $name") or diag($r->{err});
    is(scalar @{$r->{json}{servers} || []}, $code ? 0 : 1, 'and what follows')
}

lua('a table', 'init_by_lua_block { local t = { 1, {} } }', 0);
lua('strings', q(init_by_lua_block { a = "}" b = '}\\'}' c = "\\"}" }), 0);
lua('comments', "init_by_lua_block { -- }\n --[[ } \n } ]] --[==[ }]]}]==]\n }",
    0);
lua('brackets', 'init_by_lua_block { a = [[ } ]] b = [=[ ]] } ]=] c[1] = 2 }',
    0);
lua('no bracket', "init_by_lua_block { a = b[c] --[ }\n }", 0);
lua('in a server', 'server { location / { content_by_lua_block { a = "}" } } }',
    0);
lua('with an argument', 'server { set_by_lua_block $x { return "{" } }', 0);
lua('in an upstream', 'upstream x { balancer_by_lua_block { a = "}" } }', 0);
lua('not closed', 'init_by_lua_block { a = "}" ', 3);
lua('a directive of ours in it', 'init_by_lua_block { mcp_server s { } }', 0);


# ---- what is bounded

$t->write_file('loop.conf', "events { }\ninclude loop.conf;\n");
my $r = $ctl->run({ conf => "$d/loop.conf" }, qw/ config check /);
is($r->{code}, 3, 'an include of itself ends');
like($r->{err}, qr/too deep/, 'and is said');

$t->write_file('deep.conf', 'a { ' x 1000 . '} ' x 1000);
$r = $ctl->run({ conf => "$d/deep.conf" }, qw/ config check /);
is($r->{code}, 3, 'blocks in blocks end');

$t->write_file('nul.conf', "events { }\nenv a\0b;\n");
$r = $ctl->run({ conf => "$d/nul.conf" }, qw/ config check /);
is($r->{code}, 3, 'a NUL is refused');
like($r->{err}, qr/nul\.conf:2$/m, 'with its line');

$t->write_file('esc.conf', "events { }\nhttp { mcp_server \"\e[31mx\" { } }\n");
$r = $ctl->run({ conf => "$d/esc.conf" }, qw/ config check /);
unlike($r->{err}, qr/[\x00-\x09\x0b-\x1f]/, 'no control character in errors');

$r = $ctl->run({ conf => "$d/none.conf" }, qw/ config check /);
is($r->{code}, 3, 'no configuration');
like($r->{err}, qr/none\.conf.*No such file/, 'says which');

$r = $ctl->run({ conf => $d }, qw/ config check /);
is($r->{code}, 3, 'a directory is none');


# ---- the two tables of directives are one

my $ours = ours("$FindBin::Bin/../ngx_mcp_auth_module/mcpctl/mcpctl_conf.c");
my $theirs = theirs("$FindBin::Bin/../ngx_mcp_auth_module/nginx/"
                    . "ngx_mcp_conf.c");

is_deeply($ours, $theirs,
          'mcpctl knows the directives of the module, and no others');


# "name context" => "arguments", from the table of the module

sub theirs {
    my $text = MCP::Ctl::slurp($_[0]);
    my %is = (NGX_HTTP_MAIN_CONF => 'HTTP', NGX_HTTP_SRV_CONF => 'SERVER',
              NGX_HTTP_LOC_CONF => 'LOCATION', NGX_MCP_ISSUER_CONF => 'ISSUER',
              NGX_MCP_CREDENTIAL_CONF => 'CREDENTIAL',
              NGX_MCP_SERVER_CONF => 'MCP', NGX_MCP_ROLE_CONF => 'ROLE',
              NGX_MCP_REDIS_CONF => 'REDIS');
    my %args = (NOARGS => '1 1', TAKE1 => '2 2', TAKE2 => '3 3',
                TAKE12 => '2 3', '1MORE' => '2 -', '2MORE' => '3 -',
                FLAG => '2 2');
    my %found;

    $text =~ s/ngx_mcp_limit\("(\w+)"/{ ngx_string("$1"),
        NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
        /g;

    $text =~ s/ngx_mcp_credential_take1\("(\w+)"\)/ngx_mcp_line("$1",
        NGX_MCP_CREDENTIAL_CONF, NGX_CONF_TAKE1, ngx_mcp_credential_line)/g;

    while ($text =~ /(?:ngx_mcp_line\(|ngx_string\()"(\w+)"\)?,\s*
                     ([\w|\s]+),\s*(NGX_CONF[\w|\s]*)?/gx)
    {
        my ($name, $type) = ($1, $2 . '|' . ($3 // ''));
        my ($n) = $type =~ /NGX_CONF_(NOARGS|TAKE\d+|\dMORE|FLAG)/;

        next if $name eq 'include' || !defined $n;
        $n = $args{$n} // die "$name: $n";
        $n .= ' {' if $type =~ /NGX_CONF_BLOCK/;

        for (grep { $is{$_} } split /[|\s]+/, $type) {
            $found{"$name $is{$_}"} = $n;
        }
    }

    return \%found;
}


sub ours {
    my $text = MCP::Ctl::slurp($_[0]);
    my %found;

    $text =~ s/MCPCTL_LOC\b/MCPCTL_HTTP|MCPCTL_SERVER|MCPCTL_LOCATION/g;

    while ($text =~ /mcpctl_(line|block)\("(\w+)",\s*([\w|]+),\s*(\d),\s*
                     (\d|MCPCTL_MORE),/gx)
    {
        my ($kind, $name, $contexts, $min, $max) = ($1, $2, $3, $4, $5);
        my $n = "$min " . ($max eq 'MCPCTL_MORE' ? '-' : $max);

        next if $name eq 'include'
                || ($name !~ /^mcp_/
                    && $contexts !~ /ISSUER|CREDENTIAL|MCP\b|ROLE|REDIS/);

        $n .= ' {' if $kind eq 'block';

        for ($contexts =~ /MCPCTL_(\w+)/g) {
            $found{"$name $_"} = $n;
        }
    }

    return \%found;
}


done_testing;

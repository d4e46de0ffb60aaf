#!/usr/bin/perl

# nginx -t refuses what cannot work or can never match, and names the file and
# the line; what is meant to work passes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Issuer;
use MCP::Token;

my $t = MCP::Test->new;
my $store = MCP::Token->new($t, peppers => [qw/ pepper-a pepper-b /]);
my $okta = MCP::Issuer->new($t, static => 1);

my $secret = 'TOP-SECRET-VALUE';

$t->write_file('secret', "$secret\n");
$t->write_file('empty', '');
$t->write_file('two-lines', "$secret\nX-Forged: 1\n");
$t->write_file('bad.json', '{"keys":');
$t->write_file('none.json', '{"keys":[]}');
$t->write_file('short.key', 'x' x 31);
$t->write_file('rules.conf', "allow tool included;\n");
$t->write_file('broken.conf', "\n\nallow tool;\n");
$t->write_file('issuer.conf', "leeway 10s;\n");

my $pat = $store->pat(issuer => 'https://idp.example.com', user => 'u');
my $line = $store->line($pat);

$store->pat(issuer => 'https://idp.example.com', user => 'u',
            pepper => 'pepper-b');
$store->write;
$t->write_file('tokens-end', "$line\n");
$t->write_file('tokens-key', "# $secret\n\n$line cidr=$secret\nend\n");
$t->write_file('tokens-twice', "$line\n$line\nend\n");
$t->write_file('tokens-kind', $line =~ s/^pat/key/r . "\nend\n");
$ENV{MCP_TEST_SECRET} = $secret;
delete $ENV{MCP_TEST_UNSET};

my $issuer = 'issuer https://idp.example.com; jwks_file %%TESTDIR%%/issuers'
             . '/okta/keys;';
my $resource = 'resource https://mcp.example.com/mcp; issuer a;';
my $role = 'role * { allow tool x; }';


# The parts of a configuration; each case replaces some.

sub conf {
    my (%o) = @_;

    my %p = (
        http => '', issuer => $issuer, credential => '', server => '',
        resource => $resource, role => $role, auth => 'mcp_auth s;',
        location => 'proxy_pass http://127.0.0.1:1;', %o,
    );

    return <<"END";
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    $p{http}
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_issuer a { $p{issuer} }
    $p{credential}
    mcp_server s { $p{resource} $p{server} $p{role} }
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location / { $p{auth} $p{location} }
    }
}
END
}


sub valid {
    my ($what, %o) = @_;
    my ($ok, $said) = $t->check(conf(%o));
    ok($ok, "valid: $what") or diag($said);

    return $said;
}


sub refused {
    my ($what, $re, %o) = @_;
    my ($ok, $said) = $t->check(conf(%o));
    my $file = delete $o{in} || 'check.conf';

    ok(!$ok, "refused: $what");
    like($said, qr/\[emerg\].*?$re/, "$what: the message");
    like($said, qr/\[emerg\].* in \S*\Q$file\E:\d+(?: \(\d+: .*\))?$/m,
         "$what: where");
    unlike($said, qr/TOP-SECRET|X-Forged/, "$what: no secret");
}


sub rule { (role => "role r { $_[0] }") }
sub cred { (credential => "mcp_credential c { $_[0] }",
            server => 'credential c;') }
sub iss { (issuer => "$issuer $_[0]") }
sub res { (resource => "resource $_[0]; issuer a;") }
my $value = "value '\${file:%%TESTDIR%%/secret}';";

sub own {
    my ($file, $key, $server) = @_;

    return (http => join(' ', $file ? "mcp_token_file $file;" : '',
                         $key ? "mcp_token_key $key;" : ''),
            server => $server // 'tokens on;');
}

like(valid('own tokens', own('tokens', 'pepper-a')),
     qr/\[warn\].*tokens": 1 of 2 tokens were made with a key that is not/,
     'but one of a key that is not there is said');
unlike(valid('of two keys', own('tokens', 'pepper-b pepper-a')),
       qr/\[warn\]/, 'none to tell of');
valid('a store that is not used', own('tokens', 0, 'tokens off;'));
valid('a role for own tokens', own('tokens', 'pepper-a'), iss('role q x;'),
      role => 'role r { allow tool x; }');
valid("failures $_", http => "mcp_token_failures $_;") for 0, 1, 20, 6000;
my $nothing = qr/\[warn\].*mcp_server "s" protects nothing.*check\.conf:\d+/;

unlike(valid('the least'), qr/\[warn\]/, 'nothing to complain of');
like(valid('an unused server', auth => ''), $nothing, 'but it is said');
like(valid('off', auth => 'mcp_auth off;'), $nothing, 'and here');
valid('all of an issuer', iss(
    'audience a b; algorithms RS256 PS384 ES512 EdDSA; token_type at+jwt;'
    . 'user_claim uid; client_claim cid; scope_claim scp; roles_claim a/b;'
    . 'role r x y; leeway 0; jwks_stale 1h; max_groups 10; max_keys 2;'),
    role => 'role r { allow tool x; }');
valid('loopback', issuer => 'issuer http://127.0.0.1:1; jwks_uri'
      . ' http://127.0.0.1:1/keys;');
valid('environment', cred('value "Bearer ${env:MCP_TEST_SECRET}";'));
valid('file', cred("header X-Api-Key; $value"));
valid('rules', rule('allow tool a b* "c d"; deny tool b1 where /x != y and'
                    . ' /n < 5; allow prompt *; allow resource a://*;'
                    . ' allow method x/*;'));
valid('step_up', server => 'step_up scope=a,b tool x;');
valid('origins, params, strip', server => 'origin https://a; params /a /b/c;'
      . ' strip X-User;');
like(valid('a role of no server', iss('role typo a;')),
     qr/\[warn\].* role "typo" is in no mcp_server in \S*check\.conf:\d+/,
     'but it is said');

my $slash = qr!\[warn\].* redirects "/mcp".* "location = /mcp" .*check\.conf:\d+!;
my $at = 'mcp_auth s; proxy_pass http://127.0.0.1:1; }';

like(valid('a slash too many', location => "return 404; } location /mcp/ { $at"
           . ' location /x {'), $slash, 'but it is said');
unlike(valid('a slash, and one without', location => "return 404; } location "
             . "/mcp/ { $at location = /mcp { $at location /x {"), $slash,
       'is right');
unlike(valid('a slash elsewhere', location => "return 404; } location /mc/ { "
             . "$at location /mcp { $at location /x {"), $slash, 'is right');
valid('include in a role', rule('include %%TESTDIR%%/rules.conf;'));
valid('include in an issuer', iss('include %%TESTDIR%%/issuer.conf;'));
valid('limits', http => 'mcp_zone 1m; mcp_max_body 1m; mcp_max_depth 10;');
valid('limit in a location', location => 'mcp_max_body 1k; return 204;');
valid('audit key', http => 'mcp_audit_key %%TESTDIR%%/audit.key;')
    if $t->write_file('audit.key', 'x' x 32);
valid('satisfy any elsewhere', auth => 'satisfy any;');

my @cases = (
    # blocks and names
    [ 'unknown in an issuer', 'unknown directive "nonsense"',
      iss('nonsense on;') ],
    [ 'unknown in a server', 'unknown directive "nonsense"',
      server => 'nonsense on;' ],
    [ 'unknown in a credential', 'unknown directive "nonsense"',
      cred('nonsense on;') ],
    [ 'unknown in a role', 'unknown directive "permit"', rule('permit x;') ],
    [ 'nginx in a server', '"listen" directive is not allowed here',
      server => 'listen 80;' ],
    [ 'ours in http', '"issuer" directive is not allowed here',
      http => 'issuer a;' ],
    [ 'of an issuer in a server', 'not allowed|unknown', server => 'leeway 1;' ],
    [ 'duplicate issuer', 'duplicate mcp_issuer "a"',
      http => "mcp_issuer a { $issuer }" ],
    [ 'duplicate server', 'duplicate mcp_server "s"',
      http => "mcp_server s { $resource $role }" ],
    [ 'duplicate credential', 'duplicate mcp_credential "c"',
      credential => "mcp_credential c { $value } mcp_credential c { $value }" ],
    [ 'duplicate role', 'duplicate role "r"',
      role => 'role r { allow tool a; } role r { allow tool b; }' ],
    [ 'name', 'invalid name "a/b"', http => "mcp_issuer a/b { $issuer }" ],
    [ 'name off', 'cannot be named "off"',
      http => "mcp_server off { $resource $role }" ],
    [ 'role name', 'invalid name', role => 'role "a,b" { allow tool a; }' ],
    [ 'mcp_auth of nothing', 'unknown mcp_server "q"', auth => 'mcp_auth q;' ],
    [ 'mcp_auth twice', '"mcp_auth" directive is duplicate',
      auth => 'mcp_auth s; mcp_auth s;' ],
    # issuers
    [ 'no issuer', 'has no "issuer"', issuer => 'jwks_file x;' ],
    [ 'issuer twice', 'duplicate', iss('issuer b;') ],
    [ 'unknown issuer', 'unknown mcp_issuer "b"',
      resource => 'resource https://a; issuer b;' ],
    [ 'two of one issuer', 'have the same "issuer"',
      http => "mcp_issuer b { $issuer }",
      resource => 'resource https://a; issuer a b;' ],
    [ 'both sources', 'both "jwks_uri" and "jwks_file"',
      iss('jwks_uri https://a/k;') ],
    [ 'http endpoint', 'loopback', issuer => 'issuer https://a;'
      . ' jwks_uri http://idp.example.com/k;' ],
    [ 'http discovery', 'loopback', issuer => 'issuer http://idp.example.com;' ],
    [ 'http, almost loopback', 'loopback', issuer => 'issuer https://a;'
      . ' jwks_uri http://127.0.0.1.example.com/k;' ],
    [ 'no URL', '', issuer => 'issuer https://a; jwks_uri nonsense;' ],
    [ 'no file', 'No such file', issuer => 'issuer https://a; jwks_file /q/q;' ],
    [ 'broken keys', 'bad.json', issuer => 'issuer https://a;'
      . ' jwks_file %%TESTDIR%%/bad.json;' ],
    [ 'no keys', 'none.json', issuer => 'issuer https://a;'
      . ' jwks_file %%TESTDIR%%/none.json;' ],
    [ 'no certificates', '', issuer => 'issuer https://a;'
      . ' ssl_trusted_certificate %%TESTDIR%%/empty;' ],
    (map { [ "algorithm $_", 'unsupported algorithm', iss("algorithms $_;") ] }
         qw/ none HS256 RS257 rs256 /),
    [ 'token type', '"token_type" is', iss('token_type jwt;') ],
    [ 'leeway', 'invalid value "1h" of "leeway"', iss('leeway 1h;') ],
    [ 'no time', 'invalid value "x" of "jwks_stale"', iss('jwks_stale x;') ],
    [ 'max_keys', 'invalid value', iss('max_keys 0;') ],
    [ 'role *', 'held by every caller', iss('role * a;') ],
    [ 'a role mapped twice', 'duplicate role', iss('role r a; role r b;') ],
    # servers
    [ 'no resource', 'has no "resource"', resource => 'issuer a;' ],
    [ 'no issuer of a server', 'has no "issuer"',
      resource => 'resource https://a;' ],
    [ 'no roles', 'has no "role"', role => '' ],
    [ 'a role that no issuer grants', 'role "r" is in the "role" lines of none',
      iss('role q x;'), role => 'role q { allow tool a; }'
                                . ' role r { allow tool a; }' ],
    [ 'resource twice', 'duplicate', server => 'resource https://b;' ],
    (map { [ "resource $_", 'resource', res($_) ] }
         'nonsense', 'ftp://a/b', 'https://a/b#c', 'https://a/b?c', '/mcp',
         'https://', 'https://u@a/'),
    [ 'unknown credential', 'unknown mcp_credential "c"',
      server => 'credential c;' ],
    [ 'scope', 'invalid scope', server => 'scope "a b";' ],
    [ 'origin', 'origin', server => 'origin app.example.com;' ],
    [ 'origin with a path', 'origin', server => 'origin https://a/b;' ],
    [ 'origin *', 'origin', server => 'origin *;' ],
    [ 'origin null', 'origin', server => 'origin null;' ],
    [ 'pointer of params', 'a/b', server => 'params a/b;' ],
    [ 'strip *', 'would strip', server => 'strip *;' ],
    # own tokens
    [ 'tokens', 'tokens "yes" is neither on nor off', server => 'tokens yes;' ],
    [ 'tokens twice', 'duplicate', server => 'tokens off; tokens on;' ],
    [ 'no store', 'has "tokens on" without "mcp_token_file" or "mcp_redis"',
      own(0, 'pepper-a') ],
    [ 'neither', 'has "tokens on" without "mcp_token_file" or "mcp_redis"', own(0, 0) ],
    [ 'no key', 'has "tokens on" without "mcp_token_key"', own('tokens', 0) ],
    [ 'no token file', 'nothing": cannot be opened', own('nothing', 0) ],
    [ 'a directory as token file', 'is not a regular file', own('.', 0) ],
    [ 'an empty token file', 'its last line is not "end"', own('empty', 0) ],
    [ 'no end', 'tokens-end" line \d: ', own('tokens-end', 0) ],
    [ 'an unknown key', 'tokens-key" line 3: ', own('tokens-key', 0) ],
    [ 'a token twice', 'tokens-twice" line 2: ', own('tokens-twice', 0) ],
    [ 'no kind', 'tokens-kind" line 1: ', own('tokens-kind', 0) ],
    [ 'two token files', 'duplicate', own('tokens; mcp_token_file tokens', 0) ],
    [ 'two token keys', 'duplicate', own(0, 'pepper-a; mcp_token_key pepper-b') ],
    [ 'the same key twice', 'is there twice', own(0, 'pepper-a pepper-a') ],
    [ 'a short one', 'shorter than 32', own(0, 'short.key') ],
    [ 'none', 'cannot read secret file', own(0, 'nothing') ],
    (map { [ "failures $_", 'not a number from 0 to 6000',
             http => "mcp_token_failures $_;" ] } qw/ x -1 6001 1.5 /),
    [ 'failures twice', 'duplicate',
      http => 'mcp_token_failures 1; mcp_token_failures 1;' ],
    # rules
    [ 'a role without rules', 'role "r" has no rules', role => 'role r { }' ],
    [ 'no pattern', 'number of arguments', rule('allow tool;') ],
    [ 'kind', 'unknown kind "tools"', rule('allow tools x;') ],
    [ 'rule twice', 'is there twice', rule('allow tool x; allow tool x;') ],
    [ 'all denied', 'can never match', rule('allow tool x; deny tool *;') ],
    [ 'denied already', 'can never match',
      rule('deny tool a*; deny tool ab; allow tool *;') ],
    [ 'empty pattern', 'empty pattern', rule('allow tool "";') ],
    [ '**', 'is not a glob', rule('allow tool a**b;') ],
    [ 'free method', 'open to every', rule('allow method tools/list;') ],
    [ 'method of a target', 'decided by its target',
      rule('allow method tools/call;') ],
    [ 'where of a resource', 'where is for tool and prompt',
      rule('allow resource x where /a = b;') ],
    [ 'where without pointer', 'no pointer', rule('allow tool x where;') ],
    [ 'where without operator', 'no operator',
      rule('allow tool x where /a;') ],
    [ 'unknown operator', 'unknown operator "=="',
      rule('allow tool x where /a == b;') ],
    [ 'no value', 'no value', rule('allow tool x where /a =;') ],
    [ 'value of exists', 'no value expected',
      rule('allow tool x where /a exists b;') ],
    [ 'no number', 'one number', rule('allow tool x where /a < b;') ],
    [ 'two numbers', 'one number', rule('allow tool x where /a < 1 2;') ],
    (map { [ "pointer '$_'", '', rule("allow tool x where '$_' = b;") ] }
         '', 'a', 'a/b', '/a~', '/a~2', '/' . 'a/' x 100),
    [ 'contradiction', 'can never hold',
      rule('allow tool x where /a < 1 and /a > 2;') ],
    [ 'another', 'can never hold',
      rule('allow tool x where /a absent and /a = b;') ],
    [ '!= *', 'can never hold', rule('allow tool x where /a != *;') ],
    [ 'step_up of nothing', 'can never apply',
      server => 'step_up scope=a tool y;' ],
    [ 'step_up without scope', 'expected scope=', server => 'step_up tool x;' ],
    # credentials
    [ 'no value of a credential', 'has no "value"', cred('header X-Key;') ],
    [ 'no such file', 'cannot read secret file',
      cred('value "${file:/no/such}";') ],
    [ 'empty file', 'is empty', cred('value "${file:%%TESTDIR%%/empty}";') ],
    [ 'a directory', 'cannot read secret file',
      cred('value "${file:%%TESTDIR%%}";') ],
    [ 'two lines', 'control character',
      cred('value "${file:%%TESTDIR%%/two-lines}";') ],
    [ 'unset', '"MCP_TEST_UNSET" is not set',
      cred('value "${env:MCP_TEST_UNSET}";') ],
    [ 'no reference', 'neither', cred('value "${MCP_TEST_SECRET}";') ],
    [ 'not closed', 'not closed', cred('value "${env:MCP_TEST_SECRET";') ],
    [ 'value twice', 'duplicate', cred("$value $value") ],
    [ 'type', 'unknown credential type', cred("type magic; $value") ],
    (map { [ "header '$_'", 'header', cred("header '$_'; $value") ] }
         'X Y', 'X:', '', 'Host', 'content-length', 'Mcp-Name', 'X_Y'),
    # what cannot go together
    [ 'satisfy any', 'satisfy any', location => 'satisfy any; return 204;' ],
    [ 'cache', 'cache', http => 'proxy_cache_path %%TESTDIR%%/c'
      . ' keys_zone=c:1m;', location => 'proxy_cache c;'
      . ' proxy_pass http://127.0.0.1:1;' ],
    [ 'small zone', 'mcp_zone is smaller', http => 'mcp_zone 64k;' ],
    [ 'short key', 'shorter than 32', http => 'mcp_audit_key'
      . ' %%TESTDIR%%/short.key;' ],
    (map { [ $_, 'out of its range|invalid', http => "mcp_max_$_;" ] }
         'depth 3', 'depth 100000', 'name 10', 'name 1m', 'id 4', 'id 10k',
         'body 0', 'token 1', 'list_entry 1', 'event 1', 'depth x'),
    [ 'included', 'number of arguments', in => 'broken.conf',
      rule('include %%TESTDIR%%/broken.conf;') ],
    [ 'include of nothing', 'No such file',
      rule('include %%TESTDIR%%/nothing.conf;') ],
);

refused(@$_) for @cases;

done_testing;

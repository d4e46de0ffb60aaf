#!/usr/bin/perl

# `where`: rules that look at the arguments.  Each operator, both ways, for an
# allow and for a deny; and what cannot be evaluated, which satisfies no allow
# and every deny.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $up = MCP::Upstream->start($t, port => 8081);

# each condition: the arguments (JSON) for which it is true, false, and unclear

my @conditions = (
    [ '/p = SANDBOX', [ '{"p":"SANDBOX"}', '{"p":"\u0053ANDBOX"}',
                        '{"\u0070":"SANDBOX"}', '{"x":1,"p":"SANDBOX"}' ],
      [ '{"p":"PROD"}', '{"p":"sandbox"}', '{"p":"SANDBOX "}', '{"p":""}',
        '{"p":"SANDBOX\n"}', '{"p":1}' ],
      [ '{}', '{"p":null}', '{"p":["SANDBOX"]}', '{"p":{"a":"SANDBOX"}}',
        '{"p":"SANDBOX","p":"PROD"}', '{"p":"PROD","p":"SANDBOX"}',
        '{"p":"SANDBOX","P":"PROD"}', '{"P":"SANDBOX"}',
        '{"p":"SANDBOX","\u0070":"SANDBOX"}', undef ] ],
    [ '/p = a* *z "x y"', [ '{"p":"a"}', '{"p":"abc"}', '{"p":"z"}',
                            '{"p":"x y"}' ],
      [ '{"p":"b"}', '{"p":" a"}', '{"p":"x"}' ], [ '{}' ] ],
    [ '/p != PROD ops*', [ '{"p":"SANDBOX"}', '{"p":"prod"}', '{"p":""}' ],
      [ '{"p":"PROD"}', '{"p":"ops"}', '{"p":"opsx"}' ],
      [ '{}', '{"p":null}', '{"p":["PROD"]}', '{"p":{}}',
        '{"p":"A","p":"PROD"}', '{"P":"A"}', '{"p":"A","P":"PROD"}',
        '{"p":"' . 'x' x 1025 . '"}' ] ],
    [ '/n < 100', [ '{"n":99}', '{"n":-1e9}', '{"n":99.9999999999999999999}',
                    '{"n":0}', '{"n":9.9e1}', '{"n":-100}' ],
      [ '{"n":100}', '{"n":1e2}', '{"n":100.0}',
        '{"n":100.00000000000000000000001}' ],
      [ '{}', '{"n":"99"}', '{"n":true}', '{"n":null}', '{"n":[1]}',
        '{"n":1e9999}', '{"n":1e-9999}',
        '{"n":1,"n":1000}', '{"N":1}', '{"n":1,"N":1000}' ] ],
    [ '/n <= 9007199254740993',
      [ '{"n":9007199254740993}', '{"n":9007199254740992}',
        '{"n":9007199254740993.0}', '{"n":9.007199254740993e15}' ],
      [ '{"n":9007199254740994}', '{"n":9007199254740993.1}' ],
      [ '{"n":"1"}' ] ],
    [ '/n > 0.1', [ '{"n":0.10000000000000000001}', '{"n":1}', '{"n":1.1E-1}' ],
      [ '{"n":0.1}', '{"n":0.1000}', '{"n":1e-1}', '{"n":-5}',
        '{"n":0.09999999999999999999999}' ], [ '{"n":"5"}' ] ],
    [ '/n >= -2', [ '{"n":-2}', '{"n":-0}', '{"n":-2.0}' ],
      [ '{"n":-2.00000000000000000001}', '{"n":-3}' ], [ '{"n":{}}' ] ],
    [ '/n = 50', [ '{"n":50}', '{"n":"50"}' ],
      [ '{"n":51}', '{"n":-50}', '{"n":"51"}', '{"n":"x50"}' ],
      [ '{}', '{"n":"50.0"}', '{"n":" 50"}', '{"n":"5_0"}', '{"n":true}' ] ],
    [ '/n != 50', [ '{"n":51}' ], [ '{"n":50}', '{"n":50.0}', '{"n":5e1}',
                                    '{"n":0.5E2}' ], [ '{}' ] ],
    [ '/e exists', [ '{"e":1}', '{"e":{}}', '{"e":""}' ],
      [ '{}', '{"x":1}', undef ],
      [ '{"e":1,"e":2}', '{"E":1}', '{"e":null}' ] ],
    [ '/e absent', [ '{}', '{"x":{"e":1}}', undef ],
      [ '{"e":1}', '{"\u0065":0}' ],
      [ '{"e":1,"e":2}', '{"E":1}', '{"e":null}' ] ],
    [ '/o/e absent', [ '{}', '{"o":{}}', '{"o":null}', '{"o":[]}', '{"o":1}' ],
      [ '{"o":{"e":1}}' ], [ '{"o":"{\\"e\\":1}"}', '{"o":""}' ] ],
    [ '/b = true', [ '{"b":true}', '{"b":"true"}' ], [ '{"b":false}' ],
      [ '{}', '{"b":null}', '{"b":1}', '{"b":"True"}', '{"b":"yes"}' ] ],
    [ '/b != true', [ '{"b":false}' ], [ '{"b":true}', '{"b":"true"}' ],
      [ '{"b":1}', '{"b":"on"}' ] ],
    [ '/a/b/c = x', [ '{"a":{"b":{"c":"x"}}}', '{"a":{"z":{},"b":{"c":"x"}}}' ],
      [ '{"a":{"b":{"c":"y"}}}' ],
      [ '{"a":{"b":{}}}', '{"a":{"b":"x"}}', '{"a":"x"}', '{"c":"x"}',
        '{"a":{"b":{"c":"x"}},"a":{"b":{"c":"y"}}}',
        '{"a":{"b":{"c":"x"},"B":{"c":"y"}}}', '{"a":[{"b":{"c":"x"}}]}' ] ],
    [ '/l/1 = x', [ '{"l":["a","x"]}', '{"l":["a","x","b"]}' ],
      [ '{"l":["x","a"]}' ],
      [ '{"l":["x"]}', '{"l":"ax"}', '{"l":[]}', '{"l":["a",["x"]]}' ] ],
    [ '/a~1b~0c = x', [ '{"a/b~c":"x"}' ], [ '{"a/b~c":"y"}' ],
      [ '{"a":{"b~c":"x"}}', '{"a~1b~0c":"x"}' ] ],
    [ '/p = a and /n < 5', [ '{"p":"a","n":1}', '{"n":1,"p":"a"}' ],
      [ '{"p":"b","n":1}', '{"p":"a","n":5}', '{"p":"b"}' ],
      [ '{"p":"a"}', '{"n":1}' ] ],
);

my ($allow, $deny) = ('', '');

for my $i (0 .. $#conditions) {
    $allow .= "allow tool allow_$i where $conditions[$i][0];\n";
    $deny .= "allow tool deny_$i; deny tool deny_$i"
             . " where $conditions[$i][0];\n";
}

$t->write_conf(<<"END");
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;

    %%ISSUER_okta%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;

        role * {
            $allow
            $deny
            allow prompt greet where /lang = en;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        location / {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END
$t->start;

my $token = $okta->token;


sub ask {
    my ($what, $method, $name, $arguments, $passes, $reason) = @_;
    my $body = '{"jsonrpc":"2.0","id":1,"method":"' . $method . '","params":{'
               . (defined $arguments ? "\"arguments\":$arguments," : '')
               . "\"name\":\"$name\"}}";
    my $r = mcp_post('/mcp', $body, token => $token, era => 'legacy');
    my @seen = $up->requests_next($passes, settle => 0);
    my ($a, @more) = $t->audit_next(1, settle => 0);

    $what .= ' of ' . substr($arguments // 'none', 0, 60);

    is(@seen && $seen[-1]{body}, $passes ? $body : 0,
       "$what: upstream $passes");
    is($a->{decision} . ' ' . ($a->{reason} // ''),
       ($passes ? 'allow ' : 'deny ') . $reason, "$what: $reason");
    is(scalar @more, 0, "$what: one record");
}


for my $i (0 .. $#conditions) {
    my ($text, @sets) = @{$conditions[$i]};

    for my $truth (0 .. 2) {
        for (@{$sets[$truth]}) {
            ask("allow where $text", 'tools/call', "allow_$i", $_,
                $truth == 0 ? 1 : 0,
                (qw/ allow allow_where allow_unclear /)[$truth]);
            ask("deny where $text", 'tools/call', "deny_$i", $_,
                $truth == 1 ? 1 : 0,
                (qw/ deny_rule allow deny_unclear /)[$truth]);
        }
    }
}

ask('prompt', 'prompts/get', 'greet', '{"lang":"en"}', 1, 'allow');
ask('prompt', 'prompts/get', 'greet', '{"lang":"fr"}', 0, 'allow_where');
ask('prompt', 'prompts/get', 'greet', '{}', 0, 'allow_unclear');

# also when name and arguments come late, in pieces and from a file

my $large = '{"x":"' . 'y' x 40_000 . '","p":"%%"}';
ask('large', 'tools/call', 'allow_0', $large =~ s/%%/SANDBOX/r, 1, 'allow');
ask('large', 'tools/call', 'allow_0', $large =~ s/%%/PROD/r, 0, 'allow_where');

done_testing;

#!/usr/bin/perl

# What is no message, or not one that every parser reads alike, goes nowhere;
# the client hears why, with its id as it was written.

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

$t->write_conf(<<'END');
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;

    %%ISSUER_okta%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        role * { allow tool echo a/b; allow prompt *; allow resource *; }
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


sub post {
    my ($body, %o) = @_;
    return mcp_post('/mcp', $body, token => $token, era => 'none', %o);
}


sub short { $_[0] =~ s/[^\x21-\x7e]/?/gr =~ s/^(.{60}).*/$1.../sr }


sub seen {
    my @seen = $up->requests_next($_[0], settle => 0);
    return scalar @seen;
}


# An error: the body byte for byte, nothing upstream, one record

sub refused {
    my ($what, $body, $status, $code, $message, $id, $reason, %o) = @_;
    my $r = post($body, %o);

    $what = short($what);
    is($r->{status}, $status, "$what: $status");
    is($r->{body}, qq({"jsonrpc":"2.0","id":$id,"error":{"code":$code,)
                   . qq("message":"$message"}}), "$what: the answer");
    is($r->{headers}{'content-type'}, 'application/json', "$what: its type")
        if length $r->{body};

    my @audit = $t->audit_next(1, settle => 0.01);
    is(scalar @audit, 1, "$what: one record");
    isnt($audit[0]{decision}, 'allow', "$what: not allowed");
    is($audit[0]{reason}, $reason, "$what: $reason");
    is($audit[0]{result}{rpc_code}, $code, "$what: the code on record");
    is(seen(0), 0, "$what: nothing upstream");
}


sub passes {
    my ($what, $body, %o) = @_;
    my $r = post($body, %o);

    $what = short($what);
    is($r->{status}, $o{status} || 200, "$what: passes");
    my @seen = $up->requests_next(1, settle => 0);
    is(scalar @seen, 1, "$what: one upstream");
    is(@seen && $seen[0]{body}, $body, "$what: byte for byte");
    is($t->audit_next(1, settle => 0)->{decision}, 'allow', "$what: allowed");
    return $r;
}


sub call {
    my ($inside, $id) = @_;
    return '{"jsonrpc":"2.0","id":' . ($id // 5)
           . ',"method":"tools/call","params":{' . $inside . '}}';
}


my $echo = '"name":"echo","arguments":{}';

passes('plain', call($echo));
passes('with space', " \t\r\n" . call($echo) . " \r\n");
passes('an escaped name', call('"name":"\u0065cho"'));
passes('an escaped key', call('"n\u0061me":"echo"'));
passes('an escaped slash', '{"jsonrpc":"2.0","id":5,"method":"tools\/call",'
                           . '"params":{"name":"a\u002fb"}}');
passes('what nobody reads', call("$echo,\"x\":[{\"a\":1,\"A\":2}],\"y\":1e999"));
passes('a key twice in the arguments',
       call('"name":"echo","arguments":{"a":1,"a":2}'));

# two keys that one parser or another takes for one

for my $twice ('"name":"rm"', '"Name":"rm"', '"NAME":"rm"', '"n\u0061me":"rm"',
               '"nam\u0065":"rm"', '"arguments":{}', '"Arguments":{}',
               '"argument\u017f":{}', '"argument\u017F":{}',
               "\"argument\xc5\xbf\":{}")
{
    refused("twice: $echo,$twice", call("$echo,$twice"), 400, -32600,
            'Invalid Request: duplicate key', 5, 'duplicate_key');

    # the first is as wrong

    my $r = post(call("$twice,$echo"));
    is($r->{status}, 400, "first: " . short($twice));
    like($t->audit_next->{reason}, qr/^(?:duplicate_key|key_case)$/,
         'first: reason');
    is(seen(0), 0, 'first: nothing upstream');
}

my @keys = (
    [ '{"jsonrpc":"2.0","id":5,"method":"tools/list","method":"tools/call",'
      . '"params":{"name":"echo"}}', 'duplicate_key', 5 ],
    [ '{"jsonrpc":"2.0","id":5,"method":"tools/list","m\u0065thod":'
      . '"tools/call","params":{"name":"rm"}}', 'duplicate_key', 5 ],
    [ '{"jsonrpc":"2.0","id":5,"method":"tools/list","Method":"tools/call",'
      . '"params":{"name":"rm"}}', 'duplicate_key', 5 ],
    [ '{"jsonrpc":"2.0","id":5,"params":{"name":"echo"},"method":"tools/call",'
      . '"params":{"name":"rm"}}', 'duplicate_key', 5 ],
    [ '{"jsonrpc":"2.0","id":5,"id":6,"method":"ping"}', 'duplicate_key',
      'null' ],
    [ '{"jsonrpc":"2.0","id":5,"ID":6,"method":"ping"}', 'duplicate_key',
      'null' ],
    [ '{"jsonrpc":"2.0","id":5,"method":"ping","jsonrpc":"2.0"}',
      'duplicate_key', 5 ],
    [ call('"_meta":{},"_meta":{},' . $echo), 'duplicate_key', 5 ],
    [ call('"_meta":{"a":1,"A":2},' . $echo), 'duplicate_key', 5 ],
    [ '{"jsonrpc":"2.0","id":5,"method":"completion/complete","params":{"ref":'
      . '{"type":"ref/prompt","name":"a","name":"b"}}}', 'duplicate_key', 5 ],
);

refused($_->[0], $_->[0], 400, -32600, 'Invalid Request: duplicate key',
        $_->[2], $_->[1]) for @keys;

for my $key ('"Name":"echo"', '"NAME":"echo"', "\"\xc5\xbf\":1,\"Cursor\":1",
             '"_Meta":{}', '"URI":"x"', '"TaskId":"x"', '"Ref":{}')
{
    refused("case: $key", call($key), 400, -32600,
            'Invalid Request: key differs in case', 5, 'key_case');
}

refused('case of method', '{"jsonrpc":"2.0","id":5,"Method":"ping"}', 400,
        -32600, 'Invalid Request: key differs in case', 5, 'key_case');

# what a strict parser of RFC 8259 does not take

for my $bad ('', ' ', '{', '}', 'nonsense', '{"jsonrpc":"2.0",}', '{} x',
             call($echo) . '{}', call($echo) . ' true', call($echo) . "\0",
             "\xef\xbb\xbf" . call($echo), '// x' . "\n" . call($echo),
             call('"name":"echo",/* x */"a":1'), call("'name':'echo'"),
             call('name:"echo"'), call('"name":"echo",'),
             call("\"name\":\"echo\xc0\xaf\""), call("\"name\":\"\xff\""),
             call("\"name\":\"\xed\xa0\x80\""), call('"name":"\ud800"'),
             call('"name":"\udc00\ud800"'), call('"name":"\x65cho"'),
             call("\"name\":\"echo\n\""), call("\"name\":\"ec\tho\""),
             call("$echo,\"x\":NaN"), call("$echo,\"x\":Infinity"),
             call("$echo,\"x\":01"), call("$echo,\"x\":+1"),
             call("$echo,\"x\":.5"), call("$echo,\"x\":1."),
             call("$echo,\"x\":0x10"), call("$echo,\"x\":1e"),
             call("$echo,\"x\":True"), call("$echo,\x0b\"x\":1"),
             call("$echo,\xc2\xa0\"x\":1"), call('"name":"echo'))
{
    refused("malformed: $bad", $bad, 400, -32700, 'Parse error', 'null',
            'parse_error');
}

refused('deep', call("$echo,\"x\":" . '[' x 70 . ']' x 70), 400, -32700,
        'Parse error', 'null', 'too_deep');
refused('deep arguments', call('"name":"echo","arguments":{"a":'
        . '{"a":' x 4000 . '1' . '}' x 4000 . '}'), 400, -32700,
        'Parse error', 'null', 'too_deep');

# no batches, whatever is in them

refused("batch $_", $_, 400, -32600, 'Batch not supported', 'null', 'batch')
    for '[]', '[' . call($echo) . ']', " \n[" . call($echo) . ']', '[1]';

refused("no object: $_", $_, 400, -32600, 'Invalid Request', 'null',
        'not_object') for '1', '"tools/list"', 'null', 'true';

# the envelope

my $not = 'Invalid Request: id is no string or integer';

refused("id $_", call($echo, $_), 400, -32600, $not, 'null', 'id_type')
    for 'null', '{}', '[]', 'true', 'false', '1.5', '1e3', '1E3', '-0.10';

refused('id long', call($echo, '"' . 'x' x 255 . '"'), 400, -32600,
        'Invalid Request: id too long', 'null', 'id_too_long');

for ('"jsonrpc":"1.0",', '"jsonrpc":2.0,', '"jsonrpc":"2.0 ",', '') {
    refused("jsonrpc $_", '{' . $_ . '"id":5,"method":"ping"}', 400, -32600,
            'Invalid Request: jsonrpc is not 2.0', 5, 'jsonrpc');
}

refused("params $_", '{"jsonrpc":"2.0","id":5,"method":"tools/list","params":'
        . "$_}", 400, -32600, 'Invalid Request: params is not an object', 5,
        'params_type') for '[]', 'null', '1', '"a"', '["echo",{}]';

refused("method $_", '{"jsonrpc":"2.0","id":5,"method":' . "$_}", 400, -32600,
        'Invalid Request: method is no string', 5, 'method_type')
    for 'null', '1', '""', '{}', '["tools/list"]';

refused("method and $_", '{"jsonrpc":"2.0","id":5,"method":"ping",' . "$_}",
        400, -32600, 'Invalid Request: method and result', 5,
        'method_and_result') for '"result":{}', '"error":{}';

refused("name: $_", call($_), 400, -32602,
        'Invalid params: name or uri is missing', 5, 'target_missing')
    for '', '"name":""', '"name":null', '"name":1', '"name":["echo"]',
        '"name":{"a":"echo"}', '"uri":"echo"';

refused("arguments: $_", call("\"name\":\"echo\",\"arguments\":$_"), 400,
        -32602, 'Invalid params: not an object', 5, 'arguments_type')
    for 'null', '[]', '1', '"a"';

refused('NUL', call('"name":"echo\u0000"'), 400, -32600,
        'Invalid Request: NUL in a name', 5, 'nul');
refused('long name', call('"name":"' . 'x' x 1025 . '"'), 400, -32600,
        'Invalid Request: name too long', 5, 'name_too_long');

# names are compared byte for byte

for my $name ('Echo', 'echo ', ' echo', 'ECHO', "e\xcc\x80cho",
              "\xd0\xb5cho", 'echo/', 'a\/B')
{
    refused("name $name", call("\"name\":\"$name\""), 200, -32602,
            'Unknown tool: ' . ($name =~ s!\\/!/!r), 5, 'no_rule');
}

refused("method $_", "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"$_\",\"params\":"
        . '{"name":"echo"}}', 200, -32601, 'Method not found', 5, 'no_rule')
    for 'Tools/Call', 'tools/call ', ' tools/call', 'tools//call', 'tools/Call';

# ids come back as they were written

for my $id ('9007199254740993', '1.0', '-0', '0', '""', '"a\u0062\"\/"',
            '12345678901234567890123456789', '"' . 'x' x 254 . '"',
            "\"\xc3\xa9\"")
{
    refused("id $id", call('"name":"rm"', $id), 200, -32602,
            'Unknown tool: rm', $id, 'no_rule');
    passes("id $id", call($echo, $id));
}

refused('late id', '{"method":"tools/call","params":{"name":"rm"},'
        . '"jsonrpc":"2.0" , "id" : 77 }', 200, -32602, 'Unknown tool: rm',
        77, 'no_rule');
refused('id in pieces', call('"name":"rm"', '"abcdef"'), 200, -32602,
        'Unknown tool: rm', '"abcdef"', 'no_rule', split => 1);

# without an id it is a notification: nobody executes it, nobody answers

for my $what ('tools/call', 'prompts/get', 'resources/read', 'tools/list',
              'initialize', 'ping', 'unknown/method')
{
    my $r = post("{\"jsonrpc\":\"2.0\",\"method\":\"$what\",\"params\":"
                 . '{"name":"echo","uri":"a:b"}}');
    is($r->{status}, 202, "$what as a notification: 202");
    is($r->{body}, '', "$what as a notification: no answer");
    is(seen(0), 0, "$what as a notification: goes nowhere");
    is($t->audit_next->{decision}, 'deny', "$what as a notification: denied");
}

passes($_, "{\"jsonrpc\":\"2.0\",\"method\":\"$_\"}", status => 202)
    for 'notifications/initialized', 'notifications/cancelled';

refused('a notification with an id',
        '{"jsonrpc":"2.0","id":5,"method":"notifications/initialized"}',
        200, -32601, 'Method not found', 5, 'message_form');

# a legacy client answers its server

my $session = legacy_session('/mcp', token => $token);

seen(1);
$t->audit_next(1, settle => 0);

passes('result', '{"jsonrpc":"2.0","id":5,"result":{}}', status => 202,
       session => $session);
passes('error', '{"jsonrpc":"2.0","id":"a","error":{"code":1,"message":"a"}}',
       status => 202, session => $session);

refused("response: $_", "{\"jsonrpc\":\"2.0\",$_}", 400, -32600,
        'Invalid Request', 5, 'no_method')
    for '"id":5', '"id":5,"result":{},"error":{}', '"id":5,"result":{},'
        . '"params":{"name":"rm"}';

refused('response without id', '{"jsonrpc":"2.0","result":{}}', 400, -32600,
        'Invalid Request', 'null', 'no_method');
refused('modern response', '{"jsonrpc":"2.0","id":5,"result":{}}', 400, -32600,
        'Invalid Request: responses are not accepted', 5, 'response',
        era => 'modern');

# other methods of HTTP

for my $method (qw/ PUT PATCH OPTIONS HEAD PROPFIND /) {
    my $c = mcp_start('/mcp', call($echo), token => $token, era => 'none',
                      method => $method,
                      headers => { 'X-HTTP-Method-Override' => 'POST' });
    my $r = $c->read_response(head => $method eq 'HEAD');

    is($r->{status}, 405, "$method: 405");
    is($r->{headers}{allow}, 'POST, GET, DELETE', "$method: Allow");
    is(seen(0), 0, "$method: goes nowhere");
    isnt($t->audit_next->{decision}, 'allow', "$method: not allowed");
}

done_testing;

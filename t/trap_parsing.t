#!/usr/bin/perl

# The traps of parsing a message: two readers of the same bytes must not see
# two messages, and what was authorised is what is forwarded.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Trap;

my $head = '{"jsonrpc":"2.0","id":1,';

trap M1 => 'duplicate keys, also by case or escape', sub {
    refused(post($head . '"method":"tools/list","method":"tools/call",'
                 . '"params":{"name":"echo"}}'),
            400, -32600, 'duplicate_key', 'method twice');
    refused(post($head . '"method":"tools/call","params":{"name":"echo",'
                 . "$_:\"rm\"}}"), 400, undef, 'duplicate_key', "name and $_")
        for '"name"', '"Name"', '"NAME"', '"n\u0061me"';
    refused(post($head . '"method":"tools/call","params":{"name":"echo"},'
                 . '"params":{"name":"rm"}}'),
            400, -32600, 'duplicate_key', 'params twice');
    refused(post($head . '"method":"tools/call","params":{"name":"echo",'
                 . '"_meta":{"a":1,"a":2}}}'),
            400, undef, 'duplicate_key', '_meta');
    passes(post(call('echo')), 'each once');
};

trap M2 => 'a strict parser of RFC 8259, with limits', sub {
    my $bad = sub {
        refused(post($_[0]), 400, -32700, undef, $_[1]);
    };

    $bad->(call('ec\ud800ho'), 'a lone surrogate');
    $bad->(call("ec\xc0\xafho"), 'an overlong sequence');
    $bad->(call("ec\xffho"), 'no UTF-8');
    $bad->(call("ec\tho"), 'a raw control character');
    $bad->("\xef\xbb\xbf" . call('echo'), 'a BOM');
    $bad->(call('echo') . 'x', 'something after the value');
    $bad->(call('echo') . call('rm'), 'two values');
    $bad->(call('echo', more => '"x":NaN'), 'NaN');
    $bad->(call('echo', more => '"x":01'), 'a leading zero');
    $bad->('/* */' . call('echo'), 'a comment');
    $bad->(call('echo', more => '"x":' . '[' x 100 . ']' x 100), 'nesting');

    # one text in another form is the same name; another text is not

    passes(post(call('ec\u0068o')), 'an escape');
    refused(post(call($_)), 200, -32602, 'no_rule', "'$_'")
        for 'Echo', 'echo ', 'ech\u043e', 'e\u0301cho';
    refused(post(call('echo\u0000')), 400, undef, 'nul', 'a NUL');
};

trap M3 => 'the bytes that were read are the bytes that go on', sub {
    my $odd = " \r\n" . '{ "params" : { "arguments":{"a":1e400,"b":0.10},'
              . '"name":"echo" },"method":"tools\/call", "id":1 ,'
              . '"jsonrpc":"2.0","x":{"method":"tools/list"} }' . "\n\t ";

    passes(post($odd), 'odd but strict', body => $odd);
    refused(post('{"jsonrpc":"2.0","id":1,"method":"tools/list","x":"'
                 . 'x' x 9000 . '","method":"tools/call"}'),
            400, -32600, 'duplicate_key', 'a second method far behind');
};

trap M4 => 'batches', sub {
    my @calls = (call('echo'), call('rm'));

    refused(post($_), 400, -32600, 'batch', substr $_, 0, 20)
        for '[]', "[$calls[0]]", "[$calls[0],$calls[1]]", " \n[$calls[1]]";
};

trap M5 => 'Content-Type', sub {
    my $with = sub {
        return post(call('echo'), headers => { 'Content-Type' => $_[0] });
    };

    refused($with->($_), 415, -32600, 'content_type', $_ // 'none')
        for undef, 'text/plain', 'application/json-rpc', 'multipart/form-data',
            'application/json; charset=utf-16', 'application/jsonx';
    passes($with->($_), $_)
        for 'Application/JSON', 'application/json;charset=UTF-8';
};

trap M6 => 'bodies that are coded, chunked, empty or on disk', sub {
    refused(post(call('echo'), headers => { 'Content-Encoding' => 'gzip' }),
            415, -32600, 'content_encoding', 'gzip');
    refused(post(''), 400, -32700, undef, 'nothing');
    passes(post(call('echo'), chunked => 1), 'chunked');

    my $pad = '"x":"' . 'y' x 200_000 . '"';

    passes(post(call('echo', more => $pad)), 'in a temporary file',
           body => call('echo', more => $pad));
    refused(post(call('rm', more => $pad)), 200, -32602, 'no_rule',
            'forbidden, in a temporary file');

    gateway->allow_log(qr/client intended to send too large body/);
    refused(post('x', headers => { 'Content-Length' => 5_000_000 }, close => 1),
            413, -32600, 'body_too_large', 'too large');
};

trap M7 => 'methods by case and by letter', sub {
    refused(post($head . qq("method":"$_","params":{"name":"echo"}})),
            200, -32601, 'no_rule', "'$_'")
        for 'Tools/Call', 'tools/call ', 'TOOLS/CALL';
    passes(post(call('echo')), 'as it is');
};

trap M8 => 'a call without an id', sub {
    my $r = post(call('echo', id => undef));

    is($r->{status}, 202, 'a notification: 202');
    is($r->{body}, '', 'without an answer');
    nothing();
    is(record()->{reason}, 'message_form', 'not a form of tools/call');
    for my $method (qw( server/discover tools/list ping initialize
                        resources/read tasks/get prompts/get ))
    {
        $r = post(qq({"jsonrpc":"2.0","method":"$method","params":{"name":"x",)
                  . '"uri":"stub://a","taskId":"t"}}');

        is("$r->{status} $r->{body}", '202 ', "$method as a notification");
        nothing();
        isnt(record()->{decision}, 'allow', "nor of $method");
    }

    refused(post(call('echo', id => 'null')), 400, -32600, undef, 'id null');
    passes(post('{"jsonrpc":"2.0","method":"notifications/initialized"}'),
           'a known notification', status => 202);
};

trap M9 => 'what is neither request, notification nor answer', sub {
    refused(post($_), 400, -32600, undef, $_)
        for '{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}',
            '{"jsonrpc":"2.0","id":1,"method":"ping","error":{}}',
            '{"jsonrpc":"1.0","id":1,"method":"ping"}',
            '{"id":1,"method":"ping"}',
            (map { qq({"jsonrpc":"2.0","id":$_,"method":"ping"}) }
                 '{}', '[1]', 'true', '1.5'),
            $head . '"method":"ping","params":[]}',
            $head . '"method":"ping","params":"x"}';
    refused(post($head . qq("method":"tools/call","params":{$_}})),
            400, -32602, undef, "params {$_}")
        for '', '"name":""', '"name":1', '"name":["echo"]', '"name":null';
};

trap M10 => 'the id comes back as it was written', sub {
    for my $id ('9007199254740993', '-0', '0', '""', '"\u0061\""', '1.0') {
        my $r = post(call('rm', id => $id));

        like($r->{body}, qr/"id":\Q$id\E,/, "id $id");
        refused($r, 200, -32602, 'no_rule', "id $id");
    }

    refused(post(call('rm', id => '"' . 'x' x 300 . '"')), 400, -32600, undef,
            'too long');
};

done_testing;

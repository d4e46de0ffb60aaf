#!/usr/bin/perl

# Trap N11 of docs/internals/traps.md: a list that is written so that the filter
# might not know it for one.  Each document as a body and as an event, under
# several types; what is expected is the bytes, or that nothing of it passes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Encode qw/ encode /;
use IO::Compress::Gzip qw/ gzip /;

use MCP::Trap http => <<'HTTP';
    mcp_max_depth 32;
    mcp_max_event 64k;
HTTP

my $rm = '{"name":"rm","description":"secret"}';
my $echo = '{"name":"echo"}';

sub result { '{"jsonrpc":"2.0","id":42,"result":{' . $_[0] . '}}' }
sub tools { result('"tools":[' . $_[0] . ']') }

# what the upstream says, what the caller gets; undef: nothing of it

my @docs = (
    ['as it should be', tools("$rm,$echo"), tools($echo)],
    ['cursors', result(qq("tools":[$echo,$rm],"nextCursor":"cm0=")),
                result(qq("tools":[$echo],"nextCursor":"cm0="))],
    ['all of it', result(qq("nextCursor":"","tools":[$rm])),
                  result('"nextCursor":"","tools":[]')],

    # members twice, or in other letters

    ['two lists', result(qq("tools":[$rm],"tools":[$echo,$rm])),
                  result(qq("tools":[],"tools":[$echo]))],
    ['two results', qq({"id":42,"result":{"tools":[$echo]},"result":{"tools":[$rm]}}),
                    qq({"id":42,"result":{"tools":[$echo]},"result":{"tools":[]}})],
    ['a result and an error',
     qq({"id":42,"error":{"code":1,"message":""},"result":{"tools":[$rm]}}),
     '{"id":42,"error":{"code":1,"message":""},"result":{"tools":[]}}'],
    ['an error and a result',
     qq({"id":42,"result":{"tools":[$rm]},"error":{"code":1,"message":""}}),
     '{"id":42,"result":{"tools":[]},"error":{"code":1,"message":""}}'],
    ['a method and a result', qq({"method":"notifications/x","result":{"tools":[$rm]}}),
                              '{"method":"notifications/x","result":{"tools":[]}}'],
    ['a request with one', qq({"id":1,"method":"ping","result":{"tools":[$rm]}}),
                           '{"id":1,"method":"ping","result":{"tools":[]}}'],
    ['no id', qq({"result":{"tools":[$rm]}}), '{"result":{"tools":[]}}'],
    (map { ["the key $_", result(qq("$_":[$rm,$echo])), result(qq("$_":[$echo]))] }
     'Tools', 'TOOLS', 't\u006fols', '\u0074\u006F\u006f\u006c\u0073',
     "tool\xc5\xbf", 'tool\u017f', 'T\u004fOLS'),
    (map { ["the key $_", qq({"id":42,"$_":{"tools":[$rm]}}),
            qq({"id":42,"$_":{"tools":[]}})] }
     'Result', 'RESULT', 'r\u0065sult', "re\xc5\xbfult", 're\u017fult'),

    # names

    (map { ["the entry $_", tools("$_,$echo"), tools($echo)] }
     '{"n\u0061me":"rm"}', '{"name":"\u0072m"}', '{"name":"rm","name":"echo"}',
     '{"name":"echo","name":"rm"}', '{"name":"echo","Name":"rm"}',
     '{"Name":"rm"}', '{"NAME":"echo"}', '{"name":"echo","n\u0041me":"echo"}',
     '{"name":["rm"]}', '{"name":{"name":"echo"}}', '{"name":null,"title":"rm"}',
     '{"title":"rm"}', '{"name":"rm\u0000"}', '{"name":"echo\u0000"}',
     '{"name":"echo\u200b"}', '{"name":"echo "}', '{"name":" echo"}',
     '{"name":"Echo"}', "{\"name\":\"ech\xd0\xbe\"}", '{"name":""}', '"rm"',
     '["rm"]', '[{"name":"echo"}]', 'null', 'true', '-1e400', '{}',
     '{"name":"' . 'e' x 70_000 . '"}'),

    # where else a list may be

    ['in a result of a result', result(qq("result":{"tools":[$rm,$echo]})),
                                result(qq("result":{"tools":[$echo]}))],
    ['in what a notification brings',
     qq({"method":"notifications/tasks","params":{"result":{"tools":[$rm]}}}),
     '{"method":"notifications/tasks","params":{"result":{"tools":[]}}}'],
    ['the other lists', result(qq("prompts":[$rm],"resources":[{"uri":"rm:"}],)
                               . '"resourceTemplates":[{"uriTemplate":"rm:{x}"}],'
                               . '"tasks":[{"taskId":"rm"}]'),
     result('"prompts":[],"resources":[],"resourceTemplates":[],"tasks":[]')],
    ['an object', result(qq("tools":{"0":$rm})), result('"tools":[]')],
    ['an object of lists', result(qq("Tools":{"a":[$rm],"b":{"tools":[$rm]}})),
                           result('"Tools":[]')],

    # several messages

    ['a batch', '[' . tools($rm) . ' , ' . tools("$echo,$rm") . ']',
                '[' . tools('') . ' , ' . tools($echo) . ']'],
    ['a batch with others', '[1,"x",null,{"method":"x"},' . tools($rm) . ']',
                            '[1,"x",null,{"method":"x"},' . tools('') . ']'],
    ['a batch in a batch', '[[' . tools($rm) . ']]', undef],
    ['deeper', '[1,[[' . tools($rm) . ']]]', undef],
    ['two documents', tools($echo) . ' ' . tools($rm), undef],
    ['something behind it', tools($rm) . ',', undef],

    # numbers that are no double, and depth

    ['huge numbers', result('"n":[1e999,-1E-999,' . '9' x 500 . qq(],"tools":[$rm])),
                     result('"n":[1e999,-1E-999,' . '9' x 500 . '],"tools":[]')],
    ['a huge id', '{"id":' . '9' x 400 . qq(,"result":{"tools":[$rm]}}),
                  '{"id":' . '9' x 400 . ',"result":{"tools":[]}}'],
    ['too deep', result('"x":' . '[' x 40 . ']' x 40 . qq(,"tools":[$rm])), undef],
    ['too deep behind it', result(qq("tools":[$echo,$rm],"x":) . '[' x 40 . ']' x 40),
                           undef],
    ['deep in an entry', tools("{\"name\":\"echo\",\"x\":" . '[' x 40 . ']' x 40
                               . "},$rm"), undef],

    # no JSON, though somebody may read it

    ['a BOM', "\xef\xbb\xbf" . tools($rm), undef],
    ['a comment', tools("/* */ $rm"), undef],
    ['a comma too many', tools("$rm,"), undef],
    ['other quotes', "{'result':{'tools':[{'name':'rm'}]}}", undef],
    ['NaN', result(qq("x":NaN,"tools":[$rm])), undef],
    ['a number with a plus', result(qq("x":+1,"tools":[$rm])), undef],
    ['a control character', result(qq("x":"\x01","tools":[$rm])), undef],
    ['not UTF-8', result(qq("x":"\xff","tools":[$rm])), undef],
    ['overlong', result(qq("\xc1\xb4ools":[$rm])), undef],
    ['half a surrogate', result(qq("x":"\\ud800","tools":[$rm])), undef],
    ['UTF-16', encode('UTF-16', tools($rm)), undef],
    ['UTF-16, without a BOM', encode('UTF-16LE', tools($rm)), undef],
    ['UTF-32', encode('UTF-32BE', tools($rm)), undef],
    ['UTF-7', '+AHsAIg-result' . tools($rm), undef],
    ['base64', 'eyJyZXN1bHQiOnsidG9vbHMiOltdfX0=', undef],
    ['a guard against scripts', ")]}',\n" . tools($rm), undef],
    ['a call of a function', 'f(' . tools($rm) . ')', undef],
    ['gzip that nobody told of', do { gzip(\tools($rm), \my $z); $z }, undef],
);

# An answer is read whole, since some have line ends that the harness's own
# events would make two lines of.

sub ask {
    my ($body, $type) = @_;

    upstream->answer({ body => $body, headers => { 'Content-Type' => $type } });
    return list_tools('/mcp', token => token, id => 42);
}

sub same {
    my ($r, $want, $what, $out) = @_;

    if (defined $want) {
        is($r->{status}, 200, "$what: passes");
        is($r->{body}, $want, "$what: byte for byte");

    } else {
        unlike($r->{body}, qr/rm|secret|r\0m|cm0/, "$what: nothing of it");
        like("$r->{status} $r->{body}", $out, "$what: something of ours");
    }
}

trap N11 => 'as a body', sub {
    for (@docs) {
        my ($what, $in, $want) = @$_;

        same(ask($in, $_), $want, "$what, as $_",
             qr/^502 .*"code":-32603/) for 'application/json',
            'application/json; charset=utf-16', 'text/html', 'image/png';
    }
};

trap N11 => 'as an event', sub {
    for (@docs) {
        my ($what, $in, $want) = @$_;
        next if $in =~ /[\r\n]/;

        for my $type ('text/event-stream', 'TEXT/Event-Stream;charset=utf-16',
                      'text/event-stream ; x=y')
        {
            # a name of 70k makes an event that is too large

            my $large = length $in > 65536 ? undef : $want;

            same(ask("event: x\ndata: $in\nid: 7\n\n", $type),
                 defined $large ? "event: x\ndata: $large\nid: 7\n\n" : undef,
                 "$what, as $type", qr/^200 (?:\z|.*"code":-32603)/s);
        }
    }
};

# the bytes of an event under a type that does not say so, and the other way

trap N11 => 'a type that is another', sub {
    my $in = tools("$rm,$echo");

    for my $type ('application/json', 'text/event-streams', 'text/event',
                  "text/event-stream\tx", 'text/event-stream,text/html',
                  'application/x-ndjson', 'multipart/mixed; boundary=x', '')
    {
        same(ask("data: $in\n\n", $type), undef, "an event as '$type'",
             qr/^502 /);
        same(ask("$in\n$in\n", $type), undef, "two lines as '$type'", qr/^502 /);
        same(ask("--x\r\n\r\n$in\r\n--x--", $type), undef,
             "a part as '$type'", qr/^502 /);
    }

    same(ask($in, 'text/event-stream'), undef, 'a body as events', qr/^200 /);
    same(ask("$in\n\n", 'text/event-stream'), undef, 'a body and a blank line',
         qr/^200 /);
    same(ask("Data: $in\n\nDATA: $in\n\n data: $in\n\n", 'text/event-stream'),
         undef, 'fields that are none', qr/^200 /);

    # two types: whichever counts

    for my $types (['text/event-stream', 'application/json'],
                   ['application/json', 'text/event-stream'])
    {
        for my $body ("data: $in\n\n", $in) {
            upstream->answer({ body => $body, headers =>
                               [ map { [ 'Content-Type', $_ ] } @$types ] });
            my $r = list_tools('/mcp', token => token, id => 42);

            unlike($r ? $r->{body} : '', qr/rm|secret/, "@$types: cut or kept");
        }
    }
};

# lines of data that are one document, wherever they were split

trap N11 => 'several lines of data', sub {
    my $in = tools("$rm, $echo");

    for my $end ("\n", "\r", "\r\n") {
        for my $at (0 .. length $in) {
            my $lines = 'data:' . substr($in, 0, $at) . "${end}data: "
                        . substr($in, $at) . "$end$end";
            my $r = ask($lines, 'text/event-stream');

            $r->{body} =~ /rm|secret/ or next;
            fail("a list in two lines, split at $at") for 1;
        }

        pass('split by ' . unpack 'H*', $end);
    }

    for my $at (grep { substr($in, $_, 1) =~ /[\[\]{},: ]/ } 1 .. length($in) - 1) {
        my $r = ask('data: ' . substr($in, 0, $at) . "\ndata: "
                    . substr($in, $at) . "\n\n", 'text/event-stream');

        like($r->{body}, qr/"echo"/, "a line end at $at: what is his passes");
    }
};

done_testing;

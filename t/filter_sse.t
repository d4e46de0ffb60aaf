#!/usr/bin/perl

# Event streams: each event is read as a whole when its blank line is there,
# cut like a JSON body, and leaves at once; what cannot be read is dropped; on
# POST and on GET alike, buffered by nginx or not.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time /;

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
        role * { allow tool echo; }
    }

    proxy_http_version 1.1;
    proxy_set_header Connection "";

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        mcp_auth mcp;

        location / { proxy_pass http://127.0.0.1:%%PORT_8081%%; }

        location /off {
            proxy_buffering off;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /gzip {
            gzip on;
            gzip_types text/event-stream;
            gzip_min_length 1;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END
$t->start;

my $token = $okta->token(sub => 'alice');
my $rm = '{"jsonrpc":"2.0","id":42,"result":{"tools":'
         . '[{"name":"rm"},{"name":"echo"}]}}';
my $ok = '{"jsonrpc":"2.0","id":42,"result":{"tools":[{"name":"echo"}]}}';
my $note = '{"jsonrpc":"2.0","method":"notifications/message","params":{}}';

sub ask {
    my ($sse, %o) = @_;

    $up->answer(ref $sse eq 'HASH' ? $sse : { sse => $sse });
    return list_tools(delete $o{uri} || '/mcp', token => $token, id => 42, %o);
}


# what stands on the stream, and what the caller gets

my @streams = (
    ["data: $rm\n\n", "data: $ok\n\n", 'a list'],
    ["event: message\nid: 7\ndata: $rm\nretry: 5\nfoo: bar\n\n",
     "event: message\nid: 7\ndata: $ok\nretry: 5\nfoo: bar\n\n",
     'fields keep their order'],
    ["data:$rm\n\n", "data:$ok\n\n", 'no space'],
    ["data: $rm\r\n\r\n", "data: $ok\r\n\r\n", 'CRLF'],
    ["data: $rm\r\r", "data: $ok\r\r", 'CR'],
    ["id: 1\rdata: $rm\r\n\n", "id: 1\rdata: $ok\r\n\n", 'mixed'],
    ["\xef\xbb\xbfdata: $rm\n\n", "\xef\xbb\xbfdata: $ok\n\n", 'a BOM'],
    [": hi\n\n: hi\n\ndata: $rm\n\n", ": hi\n\n: hi\n\ndata: $ok\n\n",
     'comments'],
    ["id: 1\ndata:\n\ndata: $rm\n\n", "id: 1\ndata:\n\ndata: $ok\n\n",
     'the event that primes'],
    ["id: 1\ndata\n\ndata: $note\n\n", "id: 1\ndata\n\ndata: $note\n\n",
     'data without a colon'],
    ["data: $note\n\ndata: [$rm,$rm]\n\n",
     "data: $note\n\ndata: [$ok,$ok]\n\n", 'a batch'],
    ["data: $note\n\ndata: not JSON\n\ndata: $rm\n\n",
     "data: $note\n\ndata: $ok\n\n", 'not JSON: dropped'],
    ["data: $rm x\n\ndata: $note\n\n", "data: $note\n\n", 'more than JSON'],
    ["data: \xc2\xa0$rm\n\ndata: $note\n\n", "data: $note\n\n", 'odd space'],
    ["data: $note\n\ndata: $rm\n", "data: $note\n\n", 'no end: no event'],
    ["$rm\n\ndata: $note\n\n", "data: $note\n\n", 'a body as no field'],
    ["data: $note\n\n\n\n\n", "data: $note\n\n\n\n\n", 'more blank lines'],
);

# the entry that goes takes the line feed behind it along

my ($a, $b) = $rm =~ /^(.*?\},)(.*)$/;

push @streams,
    ["id: 1\ndata: $a\ndata: $b\n\n", "id: 1\ndata: $ok\n\n",
     'a list on several lines'],
    ["data: {\ndata: " . substr($rm, 1) . "\n\n",
     "data: {\ndata: " . substr($ok, 1) . "\n\n", 'lines that stay'],
    ["id: 1\r\ndata: {\r\nretry: 1\r\ndata: \"jsonrpc\":\"2.0\"}\r\n\r\n",
     "id: 1\r\ndata: {\r\nretry: 1\r\ndata: \"jsonrpc\":\"2.0\"}\r\n\r\n",
     'other things on several lines, as they were'],
    ["data: {\ndata: \ndata: }\ndata:\n\n", "data: {\ndata: \ndata: }\ndata:"
     . "\n\n", 'lines of nothing'];

for (@streams) {
    my ($in, $out, $what) = @$_;

    for my $uri ('/mcp', '/off') {
        is(ask([$in], uri => $uri)->{body}, $out, "$uri: $what");
    }
}


# headers

my $r = ask([ { data => $rm } ], headers => {});
is($r->{headers}{'content-type'}, 'text/event-stream', 'its type');
is($r->{headers}{'x-accel-buffering'}, 'no', 'for a proxy before us');
is($r->{headers}{'content-length'}, undef, 'no length');

for ('Text/Event-Stream', 'text/event-stream;charset=utf-8',
     'text/event-stream ; x')
{
    my $r = ask({ body => "data: $rm\n\n",
                  headers => { 'Content-Type' => $_, ETag => '"x"' } });
    is($r->{body}, "data: $ok\n\n", "a stream: $_");
    is($r->{headers}{etag}, undef, 'ETag');
}


# a GET stream, new and resumed, carries lists as well

my $session = legacy_session('/mcp', token => $token);

for ({}, { 'Last-Event-ID' => 5, 'Mcp-Session-Id' => $session }) {
    $up->answer({ sse => [ { id => 6, data => $rm } ] });
    my $r = mcp_post('/mcp', '', token => $token, method => 'GET',
                     era => 'legacy', headers => { 'Content-Type' => undef,
                     Accept => 'text/event-stream', %$_ });
    is($r->{body}, "id: 6\ndata: $ok\n\n", 'GET ' . join ' ', sort keys %$_);
}


# the record tells what the last answer was

$t->audit_next(0);
ask([ { data => $note }, { data => $rm } ]);
my $rec = $t->audit_next;
is("$rec->{decision} $rec->{result}{removed}", 'allow 1', 'recorded: removed');

ask([ { data => $note }, "data: x\n\n",
      { data => { jsonrpc => '2.0', id => 42,
                  error => { code => -7, message => '' } } } ]);
$rec = $t->audit_next;
is("$rec->{reason} $rec->{result}{rpc_code}", 'event_dropped -7',
   'recorded: an error, and that an event was dropped');
like($t->read_log, qr/event of server "mcp" dropped/, 'logged');


# each event leaves when it is complete; the header before the first one

my @due = (0, 0.3, 0.9, 1.2, 1.5);

for my $uri ('/mcp', '/off') {
    $up->answer({ sse => [ 0.3, ": hi\n\n", 0.3, 'data: ', 0.3,
                           "$rm\n\n", 0.3, { data => $note }, 0.3 ] });

    my $start = time;
    my $c = mcp_start($uri, rpc('tools/list', {}, id => 42), token => $token);

    $c->read_head;
    my @at = (time - $start);
    push @at, $c->sse_next->{time} - $start for 1 .. 3;
    $c->read_body;
    push @at, time - $start;

    my $late = grep { $at[$_] > $due[$_] + 0.25 } 0 .. 4;
    my $early = grep { $at[$_] < $due[$_] - 0.02 } 0 .. 4;

    is("$late $early", '0 0', "$uri: in time")
        or diag(join ' ', map { sprintf '%.3f', $_ } @at);
    ok($c->{response}{complete}, 'to the end');
}


# compressed after us, event by event

$up->answer({ sse => [ { data => $rm }, 2, { data => $note } ] });
my $start = time;
my $c = mcp_start('/gzip', rpc('tools/list', {}, id => 42), token => $token,
                  headers => { 'Accept-Encoding' => 'gzip' });
my $head = $c->read_head;
is($head->{headers}{'content-encoding'}, 'gzip', 'gzip on');
ok(length $c->body_some($start + 5), 'its first event');
cmp_ok(time - $start, '<', 1.5, 'does not wait for the second');
ok($c->read_body->{complete}, 'to the end');


# the connection to the client lives on after a stream

$c = mcp_start('/mcp', rpc('tools/list', {}), token => $token);
is($c->read_response->{status}, 200, 'keep-alive: before');
$up->answer({ sse => [ { data => $rm } ] });
mcp_start('/mcp', rpc('tools/list', {}, id => 42), token => $token,
          conn => $c);
is($c->read_response->{body}, "data: $ok\n\n", 'keep-alive: a stream');
mcp_start('/mcp', rpc('tools/list', {}), token => $token, conn => $c);
is($c->read_response->{status}, 200, 'keep-alive: after');

done_testing;

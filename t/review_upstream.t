#!/usr/bin/perl

# An upstream that means no good, or answers in an odd way: a refused response
# does not bind client or connection to what is left of it, however long that
# takes; and what the record shows of a response is what the client was sent.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time /;

use MCP::Trap server => 'preview 2k;', conf => <<'CONF';
        location /unbuffered {
            mcp_auth mcp;
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_read_timeout 20s;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /buffered {
            mcp_auth mcp;
            proxy_http_version 1.1;
            proxy_read_timeout 20s;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
CONF

my $head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n";

sub chunk { return sprintf "%x\r\n%s\r\n", length $_[0], $_[0] }

# several chunks that come at once; what drips, and would for ten seconds

my $page = $head . "Transfer-Encoding: chunked\r\n\r\n"
           . join('', map { chunk("<h1>$_" . 'x' x 1000) } 1 .. 3)
           . "0\r\n\r\n";
my @drip = ('{"a":1', map { (0.2, 'x') } 1 .. 50);

for my $uri (qw( /unbuffered /buffered )) {
    for (['a page in three chunks', { raw => $page }, 'upstream_invalid'],
         ['no JSON that drips', { chunked => 1, parts => \@drip },
          'upstream_invalid'],
         ['a 401 that drips', { status => 401, chunked => 1,
                                parts => \@drip }, 'upstream_credential'],
         ['a 302 of a length that never comes',
          { status => 302, headers => { Location => 'https://evil.example/' },
            length => 9999, parts => ['x', 10] }, 'upstream_status'],
         ['a 401 whose body does not begin',
          { status => 401, length => 9999, parts => [10] },
          'upstream_credential'])
    {
        my ($what, $answer, $reason) = @$_;

        upstream->answer($answer);

        my $from = time;
        my $c = mcp_start($uri, call('echo'), token => token, era => 'none');
        my $r = $c->read_response;

        is($r->{status}, 502, "$uri, $what: refused");
        is(record()->{reason}, $reason, "$uri, $what: on record");
        arrived(1);

        $c->send(MCP::Test::mcp_request($uri, call('echo'), token => token,
                                        era => 'none'));
        passes($c->read_response, "$uri, $what: the connection goes on");
        cmp_ok(time - $from, '<', 8, "$uri, $what: at once");
    }
}


# the preview: neither twice what stands on several lines, nor what was dropped
# or taken back

my $note = '{"jsonrpc":"2.0","method":"notifications/x"}';
my $last = '{"jsonrpc":"2.0","id":1,"result":{}}';

upstream->answer({ sse => ["data: {\"jsonrpc\":\"2.0\",\ndata: \"method\":"
                           . "\"notifications/y\"}\n\n",
                           "data: {\"id\":1,\"x\":\"dropped\" y\n\n",
                           "data: $last\n\n"] });
my $r = post(call('echo'));
my $a = record();

is($r->{body}, "data: {\"jsonrpc\":\"2.0\",\ndata: \"method\":\"notifications/y\"}"
               . "\n\ndata: $last\n\n", 'what the client was sent');
is($a->{result}{preview}, $r->{body}, 'is what the preview shows');
is($a->{result}{bytes}, length $r->{body}, 'and counts');

upstream->answer({ body => "$note and more" });
$r = post(call('echo'));
is($r->{status}, 502, 'a response that was refused');
is(record()->{result}{preview}, undef, 'has no preview');

done_testing;

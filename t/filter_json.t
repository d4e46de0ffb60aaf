#!/usr/bin/perl

# Lists in JSON bodies: recognised by shape, whatever the Content-Type says;
# what is kept is kept byte for byte; what cannot be read is an error with the
# id of the request, and never reaches the caller.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Uncompress::Gunzip qw/ gunzip /;
use IO::Compress::Gzip qw/ gzip /;

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
        role * {
            allow tool echo get_*;
            allow prompt hello;
            allow resource file:///pub/*;
        }
    }

    proxy_http_version 1.1;
    proxy_set_header Connection "";

    upstream u {
        server 127.0.0.1:%%PORT_8081%%;
        keepalive 4;
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        mcp_auth mcp;

        location /mcp { proxy_pass http://u; }
        location /off { proxy_pass http://u; proxy_buffering off; }

        location /gzip {
            gzip on;
            gzip_types application/json text/event-stream;
            gzip_min_length 1;
            proxy_pass http://u;
        }
    }
}
END
$t->start;

my $token = $okta->token(sub => 'alice');

sub ask {
    my ($answer, %o) = @_;

    $up->answer($answer);
    return list_tools(delete $o{uri} || '/mcp', token => $token, id => 42, %o);
}

sub wrapped { return qq({"jsonrpc":"2.0","id":42,"result":{$_[0]}}) }


# what goes, and what stays as it was

my @cuts = (
    ['"tools":[{"name":"echo"},{"name":"rm"}]',
     '"tools":[{"name":"echo"}]', 'the last one'],
    ['"tools":[ {"name":"rm"} , {"name":"echo"} ]',
     '"tools":[ {"name":"echo"} ]', 'the first one'],
    ['"tools":[{"name":"rm"}],"nextCursor":""',
     '"tools":[],"nextCursor":""', 'all, and the cursor stays'],
    ['"tools":[{"x":1E2,"name":"e\u0063ho","y":"\/","z":9007199254740993}]',
     '"tools":[{"x":1E2,"name":"e\u0063ho","y":"\/","z":9007199254740993}]',
     'nothing, byte for byte'],
    ['"tools":[{"name":"echo","name":"rm"},{"Name":"echo"},"echo",null,7]',
     '"tools":[]', 'entries that are not clear'],
    ['"prompts":[{"name":"hello"},{"name":"echo"}]',
     '"prompts":[{"name":"hello"}]', 'a prompt'],
    ['"resources":[{"uri":"file:///etc/x"},{"uri":"file:///pub/x"}]',
     '"resources":[{"uri":"file:///pub/x"}]', 'a resource'],
    ['"Tools":[{"name":"rm"}]', '"Tools":[]', 'in another case'],
    ['"cacheScope":"public","tools":[]',
     '"cacheScope":"private","tools":[]', 'cacheScope'],
    ['"content":[{"type":"text","text":"{\"tools\":[{\"name\":\"rm\"}]}"}]',
     '"content":[{"type":"text","text":"{\"tools\":[{\"name\":\"rm\"}]}"}]',
     'no text that looks like one'],
);

for (@cuts) {
    my ($in, $out, $what) = @$_;

    my $r = ask({ body => wrapped($in) });
    is("$r->{status} $r->{body}", '200 ' . wrapped($out), "cut: $what");
    is($r->{headers}{'content-length'}, length $r->{body}, 'its length');
}

my $rm = wrapped('"tools":[{"name":"rm"},{"name":"echo"}]');
my $ok = wrapped('"tools":[{"name":"echo"}]');

is(ask({ body => "[$rm,$rm]" })->{body}, "[$ok,$ok]", 'in a batch');

$t->audit_next(@cuts + 1);
ask({ body => $rm });
my $a = $t->audit_next;
is($a->{result}{removed}, 1, 'the record counts what was cut');
is($a->{result}{bytes}, length $ok, 'and the bytes that were sent');
is("$a->{decision} $a->{ev}", 'allow list', 'an allowed list');


# headers about the body

for ('text/plain', 'text/html; charset=x', 'application/octet-stream',
     'Application/JSON;charset=utf-8', 'text/event-stream2')
{
    my $r = ask({ headers => { 'Content-Type' => $_ }, body => $rm });
    is($r->{body}, $ok, "read as JSON: $_");
}

my $r = ask({ raw => "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "
                     . length($rm) . "\r\n\r\n$rm" });
is($r->{body}, $ok, 'without a Content-Type');

$r = ask({ chunked => 1, body => $rm });
is($r->{body}, $ok, 'chunked');

$r = ask({ length => 0, body => $rm });
is($r->{body}, $ok, 'until the connection closes');

$r = ask({ raw => "HTTP/1.0 200 OK\r\n\r\n$rm" });
is($r->{body}, $ok, 'HTTP/1.0');

$r = ask({ body => $rm, headers => {
    'ETag' => '"a"', 'Last-Modified' => 'Sun, 06 Nov 1994 08:49:37 GMT',
    'Accept-Ranges' => 'bytes', 'Content-MD5' => 'x', 'Digest' => 'x',
    'Repr-Digest' => 'x', 'Content-Digest' => 'x', 'Signature' => 'x' } });
is(join(' ', grep { exists $r->{headers}{$_} } qw/ etag last-modified
             accept-ranges content-md5 digest repr-digest content-digest
             signature /), '', 'nothing told of the old body');


# what cannot be read

$t->audit_next(0);

sub refused {
    my ($answer, $what, $status, $reason) = @_;

    $status ||= 502;

    for my $uri (qw( /mcp /off )) {
        my $r = ask($answer, uri => $uri);

        is($r->{status}, $status, "$uri: $what");
        is("$r->{json}{id} $r->{json}{error}{code}", '42 -32603',
           'our error, with the id');
        is($r->{headers}{'content-length'}, length $r->{body}, 'its length');
        unlike($r->{head} . $r->{body}, qr/"rm"|x-secret/i, 'nothing of it');

        my $a = $t->audit_next(1, settle => 0.01);
        is("$a->{decision} $a->{reason}", "error "
           . ($reason || 'upstream_invalid'), 'recorded');
    }
}

my %secret = (headers => { 'X-Secret' => 1 });

refused({ body => "\xef\xbb\xbf$rm", %secret }, 'a BOM');
refused({ body => "$rm$rm" }, 'two documents');
refused({ body => substr $rm, 0, -1 }, 'half a document');
refused({ body => "\x0b$rm" }, 'odd space');
refused({ body => ' ' }, 'nothing but space');
refused({ body => "data: $rm\n\n" }, 'an event that says it is JSON');
refused({ body => join '', map { "$_\0" } split //, $rm }, 'UTF-16');
refused({ body => '<html>rm</html>', %secret,
          headers => { 'Content-Type' => 'text/html' } }, 'a page');
refused({ body => '<html>rm</html>', status => 503 }, 'an error page', 503);
refused({ body => '<html>rm</html>', status => 404 }, 'an error page', 404);
refused({ body => '[' x 100 . ']' x 100 }, 'too deep');
refused({ body => $rm, cut => 20 }, 'broken off', 502, 'upstream_closed');
refused({ body => $rm, cut => 20, reset => 1 }, 'reset', 502,
        'upstream_closed');
refused({ body => $rm, chunked => 1, cut => 20 }, 'broken off, chunked', 502,
        'upstream_closed');
refused({ body => $rm, length => 0, cut => 20 }, 'broken off, no length');

my $gz;
gzip \$rm => \$gz;

refused({ body => $gz, headers => { 'Content-Encoding' => $_ } }, $_, 502,
        'upstream_encoding') for qw/ gzip br x-unknown /;

for ([qw/ gzip identity /], [qw/ identity gzip /]) {
    refused({ body => $gz, headers => [ map { [ 'Content-Encoding', $_ ] }
                                            @$_ ] },
            "two encodings: @$_", 502, 'upstream_encoding');
}

refused({ body => $gz }, 'gzip that says nothing');

$r = ask({ body => $rm, headers => { 'Content-Encoding' => 'identity' } });
is($r->{body}, $ok, 'identity is none');

# nothing asked for it either

$up->requests_next(0);
$r = ask({ body => $rm }, headers => { 'Accept-Encoding' => 'gzip, br',
                                       'Range' => 'bytes=1-', });
is($r->{body}, $ok, 'a caller who accepts gzip and wants a part');
my $q = $up->requests_next;
is($q->{headers}{'accept-encoding'}, 'identity', 'asked for identity');
is($q->{headers}{range}, undef, 'and for all of it');


# and what comes after us in nginx

$r = ask({ body => $rm }, uri => '/gzip',
         headers => { 'Accept-Encoding' => 'gzip' });
is($r->{headers}{'content-encoding'}, 'gzip', 'gzip on');
gunzip \$r->{body} => \my $plain;
is($plain, $ok, 'of what was left');

done_testing;

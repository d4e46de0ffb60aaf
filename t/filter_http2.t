#!/usr/bin/perl

# The filter under HTTP/2: lists are cut, a stream stays a stream, our errors
# come with their id, a slow client costs no memory, and a break is seen.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

plan(skip_all => 'no curl with HTTP/2')
    if (`curl --version 2>/dev/null` // '') !~ /\bHTTP2\b/;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $up = MCP::Upstream->start($t, port => 8081, handler => sub {
    my $text = '"' . 'x' x 1021 . "\",\n";
    return { body => '{"id":42,"result":{"content":[' . $text x 40000
                     . '0]}}', chunked => 1 };
});

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

    server {
        listen 127.0.0.1:%%PORT_8080%% http2;
        mcp_auth mcp;
        proxy_max_temp_file_size 0;

        location / { proxy_pass http://127.0.0.1:%%PORT_8081%%; }

        location /off {
            proxy_buffering off;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END
$t->start;

my $body = '{"jsonrpc":"2.0","id":42,"method":"tools/list"}';
my $rm = '{"jsonrpc":"2.0","id":42,"result":{"tools":'
         . '[{"name":"rm"},{"name":"echo"}]}}';
my $ok = '{"jsonrpc":"2.0","id":42,"result":{"tools":[{"name":"echo"}]}}';

$t->write_file('curl.conf', join "\n",
    map({ "header = \"$_\"" } 'Content-Type: application/json',
        'Accept: application/json, text/event-stream',
        "MCP-Protocol-Version: $MCP::Test::LEGACY",
        'Authorization: Bearer ' . $okta->token(sub => 'alice')),
    'http2-prior-knowledge', 'silent', 'no-buffer',
    'data = "' . $body =~ s/"/\\"/gr . '"');

# (what curl left with, the status, the body)

sub curl_start {
    my ($uri, @more) = @_;
    my $d = $t->dir;
    my $pid = open my $fh, '-|', 'curl', '-K', "$d/curl.conf", @more,
              '-w', "\n%{http_version} %{http_code}",
              'http://127.0.0.1:' . port(8080) . $uri or die "curl: $!";
    return ($fh, $pid);
}

sub curl_read {
    my ($fh) = @_;
    local $/;
    my $out = <$fh>;
    close $fh;
    my $code = $? >> 8;
    $out =~ s/\n(\S+) (\d+)\z//;
    return ($code, "$1 $2", $out);
}

sub curl { return curl_read((curl_start(@_))[0]) }

sub rss {
    my ($pid) = $t->workers;
    open my $fh, '<', "/proc/$pid/status" or return 0;
    return (map { /^VmRSS:\s+(\d+)/ ? $1 : () } <$fh>)[0] * 1024;
}

for my $uri (qw( /on /off )) {
    $up->answer({ body => $rm });
    is(join(' ', curl($uri)), "0 2 200 $ok", "$uri: a list");

    $up->answer({ status => 401, body => 'x' x 100000 });
    my ($code, $status, $out) = curl($uri);
    is("$code $status", '0 2 502', "$uri: an error of ours");
    is(JSON::PP::decode_json($out)->{id}, 42, 'with the id');

    $up->answer({ raw => "\r\n" });
    ($code, $status) = curl($uri);
    is("$code $status", '0 2 502', "$uri: no HTTP");

    $up->answer({ sse => [ 0.3, { data => $rm }, 2, { data => $rm } ] });
    my $start = time;
    my ($fh) = curl_start($uri);
    my $first = <$fh>;
    is($first, "data: $ok\n", "$uri: the first event");
    cmp_ok(time - $start, '<', 1.8, 'does not wait for the second');
    is(join(' ', curl_read($fh)), "0 2 200 \ndata: $ok\n\n", 'to the end');

    $up->answer({ sse => [ { data => $rm }, 0.2, { data => $rm } ],
                  cut => 150 });
    ($code, $status, $out) = curl($uri);
    is($out, "data: $ok\n\n", "$uri: a stream that breaks off");
    isnt($code, 0, 'and the break is seen');

    # curl takes its time

    my $before = rss();
    ($fh) = curl_start("$uri/big", '--limit-rate', '4m');
    sleep 0.7;
    my $grown = rss() - $before;

    SKIP: {
        skip 'memory of a sanitizer', 1 if $MCP::Test::SAN;
        cmp_ok($grown, '<', 4 * 1024 * 1024, "$uri: 40M for a slow client");
    }

    close $fh;
}

is(scalar(grep { $_->{result}{removed} } $t->audit(12)), 6, 'recorded');

done_testing;

#!/usr/bin/perl

# Several requests on one connection: none is taken for a part of another,
# neither after an answer nor after a refusal, in HTTP/1.1 and in HTTP/2.

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
        role * { allow tool echo; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_8090%% http2;

        location / {
            mcp_auth mcp;
            mcp_max_body 20k;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END
$t->start;

my $token = $okta->token;


sub request {
    my ($name, %o) = @_;
    return MCP::Test::mcp_request('/mcp', rpc('tools/call',
        { name => $name, arguments => { name => 'other' } },
        era => 'legacy', id => $o{id}), token => $token, era => 'legacy', %o);
}


sub names { join ' ', map { $_->{json}{params}{name} } @_ }


# pipelined: each is decided for itself, answers in order

for my $chunked (0, 1) {
    my $c = http_start(join '', map {
        request($_->[1], id => $_->[0], chunked => $chunked)
    } [1, 'echo'], [2, 'rm'], [3, 'echo'], [4, 'rm']);
    my @r = map { $c->read_response } 1 .. 4;

    is(join(' ', map { $_->{json}{id} } @r), '1 2 3 4', 'pipelined: in order');
    is(join(' ', map { $_->{json}{error} ? 'no' : 'yes' } @r),
       'yes no yes no', 'pipelined: each for itself');
    is(names($up->requests_next(2)), 'echo echo', 'pipelined: two upstream');
    is(join(' ', map { $_->{decision} } $t->audit_next(4)),
       'allow deny allow deny', 'pipelined: four records');
}

# what follows a refusal: the connection is closed or the next one is clean

my @refusals = (
    [ 'bad token', token => 'bad' ],
    [ 'no token', token => undef ],
    [ 'media type', headers => { 'Content-Type' => 'text/plain' } ],
    [ 'coding', headers => { 'Content-Encoding' => 'gzip' } ],
    [ 'origin', headers => { Origin => 'https://evil' } ],
    [ 'mirror', headers => { 'Mcp-Name' => 'rm' } ],
    [ 'version', headers => { 'MCP-Protocol-Version' => 'x' } ],
    [ 'put', method => 'PUT' ],
    [ 'get with a body', method => 'GET' ],
);

# a body that would be a request of its own

my $smuggled = request('echo', id => 666);

for my $case (@refusals) {
    my ($what, %o) = @$case;

    for my $chunked (0, 1) {
        my $first = MCP::Test::mcp_request('/mcp', $smuggled, era => 'legacy',
                                           token => $token,
                                           chunked => $chunked, %o);
        my $c = http_start($first . request('echo', id => 7));
        my $r = $c->read_response;

        cmp_ok($r->{status}, '>=', 400, "$what: refused");

        my $next = $c->read_response(timeout => 2);
        is($next && $next->{json}{id}, 7, "$what: then the next") if $next;

        my @seen = $up->requests_next($next ? 1 : 0, settle => 0.02);
        is(scalar(grep { ($_->{id} // '') eq '666' } @seen), 0,
           "$what: its body is no request");
        my @audit = $t->audit_next($next ? 2 : 1, settle => 0.02);
        is(scalar @audit, $next ? 2 : 1, "$what: a record for each");
    }
}

# both lengths at once, and lengths that lie, are nginx's to refuse

for my $lengths ("Transfer-Encoding: chunked\r\nContent-Length: 5",
                 "Content-Length: 5\r\nContent-Length: 6",
                 "Content-Length: 5, 5", "Content-Length: +5",
                 "Content-Length: 0x5", "Transfer-Encoding: xchunked",
                 "Transfer-Encoding: chunked, identity",
                 "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")
{
    my $first = request('echo', id => 1) =~ s/Content-Length: \d+/$lengths/r;
    my $c = http_start($first . request('echo', id => 7));
    my $r = $c->read_response;

    cmp_ok($r->{status}, '>=', 400, "$lengths: refused");
    ok($c->closed(5), "$lengths: closed");
    is(scalar(my @seen = $up->requests_next(0, settle => 0.02)), 0,
       "$lengths: goes nowhere");
}

# HTTP/2

SKIP: {
    my $curl = `curl --version 2>/dev/null`;
    skip 'no curl with HTTP/2', 10 unless $curl =~ /HTTP2/;

    $t->audit_next(0);

    my $call = sub {
        my ($name, $fill, @more) = @_;
        my $body = '{"jsonrpc":"2.0","id":"h2","method":"tools/call","params":'
                   . '{"arguments":{"a":"' . 'x' x $fill . '"},"name":"'
                   . $name . '"}}';
        $t->write_file('h2.body', $body);

        my $out = join ' ', map { "'$_'" } @more;
        my $got = `curl -s --max-time 10 --http2-prior-knowledge $out \\
            -H 'Authorization: Bearer $token' -H 'Expect:' \\
            -H 'Content-Type: application/json' -w ' %{http_code}' \\
            --data-binary \@@{[$t->dir]}/h2.body \\
            http://127.0.0.1:@{[port(8090)]}/mcp`;
        return ($got, $body);
    };

    for my $fill (0, 18_000) {
        my ($got, $body) = $call->('echo', $fill);
        like($got, qr/"id":"h2".* 200$/, "h2, $fill: passes");
        is($up->requests_next->{body}, $body, "h2, $fill: byte for byte");
        is($t->audit_next->{decision}, 'allow', "h2, $fill: allowed");
    }

    my ($got) = $call->('rm', 5000);
    like($got, qr/Unknown tool: rm.* 200$/, 'h2: refused');

    # curl may miss an answer that comes before it has sent all: the records
    # tell

    $call->('echo', 30_000);
    ($got) = $call->('echo', 0, '-H', 'Mcp-Name: rm');
    like($got, qr/-32020.* 400$/, 'h2: mirror');
    $call->('echo', 0, '-H', 'Origin: https://evil');

    is(join(' ', map { $_->{reason} } $t->audit_next(4)),
       'no_rule body_too_large name_mismatch origin', 'h2: records');
    is(scalar(my @seen = $up->requests_next(0)), 0, 'h2: go nowhere');
}

done_testing;

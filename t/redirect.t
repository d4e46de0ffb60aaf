#!/usr/bin/perl

# Internal redirects and subrequests: what was authorised stays so, is not
# authorised again with the swapped header, and opens nothing else; what was
# refused gets no credential anywhere; each leaves one record.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $up = MCP::Upstream->start($t, port => 8081);

mkdir $t->dir . '/tmp/dir';
$t->write_file('page.shtml', 'page <!--# include virtual="/mcp" -->');
$t->write_file('file.json', '{"jsonrpc":"2.0","id":1,"result":{"file":1}}');

$t->write_conf(<<'END');
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    log_subrequest on;      # they have no record of their own for that
    mcp_audit %%TESTDIR%%/audit.log;

    %%ISSUER_okta%%

    mcp_credential bot { type static; value "Bearer bot-secret"; }

    mcp_server mcp { resource https://mcp.example.com/mcp; issuer okta;
                     credential bot; role * { allow tool echo; } }
    mcp_server other { resource https://mcp.example.com/other; issuer okta;
                       credential bot; role * { allow tool *; } }

    limit_req_zone $http_x_key zone=slow:64k rate=1r/m;

    upstream stub { server 127.0.0.1:%%PORT_8081%%; }
    upstream dead { server 127.0.0.1:%%PORT_8082%%; }

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        location /mcp { mcp_auth mcp; proxy_pass http://stub; }
        location /other { mcp_auth other; proxy_pass http://stub; }
        location /open { proxy_pass http://stub; }

        location /try/same { mcp_auth mcp; try_files /none /mcp/t; }
        location /try/other { mcp_auth mcp; try_files /none /other; }
        location /try/open { mcp_auth mcp; try_files /none /open; }
        location /try/named { mcp_auth mcp; try_files /none @open; }
        location /try/into { try_files /none /mcp/into; }
        location /tmp/dir/ { mcp_auth mcp; index /mcp/index; }

        location /dead/same { mcp_auth mcp; proxy_pass http://dead;
                              error_page 502 = @same; }
        location /dead/open { mcp_auth mcp; proxy_pass http://dead;
                              error_page 502 = @open; }
        location /dead/other { mcp_auth mcp; proxy_pass http://dead;
                               error_page 502 = @other; }
        location /dead/page { mcp_auth mcp; proxy_pass http://dead;
                              error_page 502 /sorry; }
        location @same { mcp_auth mcp; proxy_pass http://stub; }
        location @other { mcp_auth other; proxy_pass http://stub; }
        location @open { proxy_pass http://stub; }
        location /sorry { return 200 sorry; }

        location /rewrite/same { rewrite ^ /mcp/r last; }
        location /rewrite/out { mcp_auth mcp; rewrite ^ /open/r last; }
        location /rewrite/over { mcp_auth mcp; rewrite ^ /other/r last; }

        location /refused/deny { mcp_auth mcp; deny all; error_page 403 = @open;
                                 proxy_pass http://stub; }
        location /refused/limit { mcp_auth mcp; limit_req zone=slow;
                                  error_page 503 /sorry; proxy_pass http://stub;
        }
        location /refused/big { mcp_auth mcp; client_max_body_size 100;
                                error_page 413 = @open; proxy_pass http://stub;
        }
        location /refused/back { mcp_auth mcp; client_max_body_size 100;
                                 error_page 413 /mcp; proxy_pass http://stub; }

        location /refused/torn { mcp_auth mcp; error_page 400 = @same;
                                 proxy_pass http://stub; }
        location /refused/torn/page { mcp_auth mcp; error_page 400 /mcp/torn;
                                      proxy_pass http://stub; }

        location /ssi { ssi on; ssi_types *; mcp_auth mcp;
                        proxy_pass http://stub; }
        location /page.shtml { ssi on; ssi_types *; }
        location /asks { auth_request /mcp; mcp_auth mcp;
                         proxy_pass http://stub; }
        location /mirrors { mcp_auth mcp; mirror /mirror/same;
                            mirror /mirror/other; mirror /mirror/open;
                            proxy_pass http://stub; }
        location /mirror/same { mcp_auth mcp; proxy_pass http://stub; }
        location /mirror/other { mcp_auth other; proxy_pass http://stub; }
        location /mirror/open { proxy_pass http://stub; }
        location /from-open { mirror /mcp; proxy_pass http://stub; }
        location /file.json { internal; }
    }
}
END
$t->start;

my $token = $okta->token;

# calls, and gives the response, the one record, and the upstream's requests

sub try {
    my ($uri, %o) = @_;
    my $records = delete $o{records} // 1;
    my $r = call_tool($uri, $o{tool} || 'echo', {}, token => $token, %o);

    my @a = $t->audit_next($records);
    is(scalar @a, $records, "$uri: $records record");
    my @u = $up->requests_next($o{upstream} // 0);

    unlike(join('', map { $_->{head} } @u), qr/\Q$token\E/, "$uri: no token")
        unless $o{passes};

    return ($r, $a[-1], @u);
}

sub allowed {
    my ($uri, $to, %o) = @_;
    my ($r, $a, @u) = try($uri, upstream => 1, %o);

    is($r->{status}, 200, "$uri: allowed");
    is(join(' ', map { $_->{uri} } @u), $to, "$uri: reaches $to, once");
    is($u[0]{headers}{authorization}, 'Bearer bot-secret', "$uri: credential");
    is("$a->{decision} $a->{target}", 'allow echo', "$uri: recorded");
    is($a->{server}, 'mcp', "$uri: as its server's");
    is($a->{user}, 'alice', "$uri: with its user");
}

sub refused {
    my ($uri, $status, $reason, %o) = @_;
    my ($r, $a, @u) = try($uri, %o);

    is($r->{status}, $status, "$uri: refused");
    is(scalar @u, 0, "$uri: nothing reaches an upstream");
    like("$a->{decision} $a->{reason}", qr/^$reason$/, "$uri: recorded");
}


# ---- redirects of an authorised call

allowed('/try/same', '/mcp/t');
allowed('/try/open', '/open');
allowed('/try/named', '/try/named');
allowed('/try/into', '/mcp/into');
allowed('/dead/same', '/dead/same');
allowed('/dead/open', '/dead/open');
allowed('/rewrite/same', '/mcp/r');
refused('/try/other', 403, 'deny redirect_between_servers');
refused('/dead/other', 403, 'deny redirect_between_servers');

my ($r, $a) = try('/dead/page');
is($r->{body}, 'sorry', 'an error page of another location');
is($a->{decision}, 'error', 'recorded');
is($a->{upstream}{status}, 502, 'with what the upstream did');

# an index is looked for by GET

$r = http("GET /tmp/dir/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
          . "Authorization: Bearer $token\r\n\r\n");
is($r->{status}, 200, 'index');
is(scalar(my @one = $t->audit_next), 1, 'index: one record');
my ($u) = $up->requests_next;
is("$u->{uri} $u->{headers}{authorization}", '/mcp/index Bearer bot-secret',
   'index: swapped');

# a name that is not allowed is not, wherever it goes

($r, $a) = try($_, tool => 'rm')
    and is("$a->{decision} $r->{json}{error}{code}", 'deny -32602', "$_: denied")
    for qw! /try/same /try/open /try/into /dead/open /rewrite/same !;


# ---- X-Accel-Redirect: from a protected location nowhere, as if it was not
# there; from one of the operator's, where the request was led on to, as ever

for (['/mcp', 'allow'], ['/other', 'deny'], ['/file.json', 'allow']) {
    my ($to, $decision) = @$_;

    for my $uri ('/mcp', '/ssi') {
        $up->answer({ result => { own => 1 },
                      headers => { 'X-Accel-Redirect' => $to } });
        ($r, $a, my @u) = try($uri, upstream => 1);
        is("$a->{decision} $r->{status} $r->{json}{result}{own}",
           'allow 200 1', "X-Accel-Redirect of $uri to $to: ignored");
        is(scalar @u, 1, 'one request');
        ok(!exists $r->{headers}{'x-accel-redirect'}, 'nor told');
    }

    $up->answer({ result => {}, headers => { 'X-Accel-Redirect' => $to } });
    ($r, $a, my @u) = try('/try/open', upstream => 1);
    is($a->{decision}, $decision, "X-Accel-Redirect to $to: $decision");
    is($r->{status}, $decision eq 'deny' ? 403 : 200, "status");
    is(scalar @u, $to eq '/mcp' ? 2 : 1, 'upstream');
}


# ---- rewritten before authentication: as if it had been asked for

($r, $a, $u) = try('/rewrite/over', tool => 'rm', upstream => 1);
is("$a->{server} $a->{decision}", 'other allow', "the new location's server");

($r, undef, $u) = try('/rewrite/out', records => 0, upstream => 1, passes => 1);
is($u->{uri}, '/open/r', 'out: not ours any more');


# ---- refused before and while we looked, with an error page

($r, $a, my @u) = try('/refused/deny', upstream => 1);
is("$a->{decision} $a->{reason}", 'error nginx', 'deny all: recorded');
is(scalar @u, 1, 'deny all: its error page is asked for');
ok(!exists $u[0]{headers}{authorization}, 'without a credential');

try('/refused/limit', headers => { 'X-Key' => 1 }, upstream => 1);
($r, $a) = try('/refused/limit', headers => { 'X-Key' => 1 });
is($r->{body}, 'sorry', 'limit_req: an error page');
is("$a->{decision} $a->{reason}", 'error nginx', 'limit_req: recorded');

# 413 is ours alone: nginx says it before the location is ours to guard

for my $chunked (0, 1) {
    my %big = (chunked => $chunked, headers => { 'X-Pad' => 'x' });
    my $how = $chunked ? 'chunked 413' : '413 by length';

    for my $uri ('/refused/big', '/refused/back') {
        ($r, $a, @u) = try($uri, %big);
        is($r->{status}, 413, "$how, $uri");
        is($r->{json}{error}{code}, -32600, 'its error page is not asked for');
        is("$a->{decision} $a->{reason}", 'error body_too_large', 'recorded');
        is(scalar @u, 0, 'and nothing reaches an upstream');
    }
}


# a body that breaks off behind what would be a call, at once and later: the
# error page is in a location of the same server, and no call is made of it

my $call = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":'
           . '{"name":"echo","arguments":{}}}';
my $torn = sprintf "%x\r\n%s\r\nzz\r\n", length $call, $call;

for my $uri ('/refused/torn', '/refused/torn/page') {
    my $head = "POST $uri HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
               . "$token\r\nContent-Type: application/json\r\n"
               . "Transfer-Encoding: chunked\r\n\r\n";

    for my $at (0, 30, map { length($torn) - $_ } 2 .. 6) {
        my $c = http_start($head . ($at ? substr $torn, 0, $at : ''));

        sleep 0.1 if $at;
        $c->send(substr $torn, $at);

        my $answer = $c->read_response;

        cmp_ok($answer->{status}, '>=', 400, "$uri, $at: refused");
        unlike($answer->{body}, qr/"result"/, 'with nothing of the upstream');
        isnt($t->audit_next(1)->{decision}, 'allow', 'recorded');
        is(scalar(@u = $up->requests_next(0)), 0, 'no call is made of it');
    }
}


# ---- subrequests

($r, undef, @u) = try('/asks', upstream => 0);
is($r->{status}, 403, 'auth_request to a protected location is refused');
is(scalar @u, 0, 'nothing reaches an upstream');

$r = http("GET /page.shtml HTTP/1.0\r\n\r\n");
unlike($r->{body}, qr/jsonrpc/, 'SSI of a public page includes nothing');
is(scalar(@u = $up->requests_next(0)), 0, 'nothing reaches an upstream');
is($t->wait_for_log(qr/subrequest that was not authorised .* refused/), 1,
   'which error.log tells');

(undef, undef, @u) = try('/from-open', records => 0, upstream => 1,
                         passes => 1);
is(join(' ', map { $_->{uri} } @u), '/from-open',
   'a mirror into a protected location is refused');

$up->answer({ body => qq({"jsonrpc":"2.0","id":%%ID%%,"result":{"a":1}}) });
(undef, $a, @u) = try('/ssi', upstream => 1);
is($a->{decision}, 'allow', 'ssi on');

(undef, $a, @u) = try('/mirrors', upstream => 3);
is(join(' ', sort map { $_->{uri} } @u),
   '/mirror/open /mirror/same /mirrors', 'mirrors: not to another server');
is($a->{decision}, 'allow', 'recorded');
is(join(' ', sort map { "$_->{uri}=" . ($_->{headers}{authorization} // '') }
             @u),
   '/mirror/open= /mirror/same=Bearer bot-secret /mirrors=Bearer bot-secret',
   'a mirror elsewhere gets neither token nor credential');
unlike($_->{head}, qr/eyJ/, "$_->{uri}: no token") for @u;

done_testing;

#!/usr/bin/perl

# What reaches the upstream: the gateway's credential, and nothing by which the
# caller was, or says to be, somebody.  Neither the caller's token nor the
# gateway's secret is in any log.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

$ENV{MCP_TEST_SECRET} = 'env-secret-0123456789';

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $up = MCP::Upstream->start($t, port => 8081);

$t->write_file('secret', "file-secret-9876543210\n");
$t->write_file('crlf', "crlf-secret-5555555555\r\n");

sub conf {
    my ($value) = @_;

    return <<"END";
%%GLOBALS%%
env MCP_TEST_SECRET;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    underscores_in_headers on;

    %%ISSUER_okta%%

    mcp_credential bot { type static; value "Bearer $value"; }
    mcp_credential key { type static; header X-Api-Key;
                         value "\${file:%%TESTDIR%%/secret}"; }
    mcp_credential late { value late-secret-3333; header X-Late-Key; }
    mcp_credential crlf { type static; header Authorization;
                          value "Basic \${file:%%TESTDIR%%/crlf}"; }

    mcp_credential own { type static; header Backend-Key; value own-secret; }

    mcp_server own { resource https://mcp.example.com/own; issuer okta;
                     credential own; role * { allow tool *; } }
    mcp_server none { resource https://mcp.example.com/none; issuer okta;
                      role * { allow tool *; } }
    mcp_server bot { resource https://mcp.example.com/bot; issuer okta;
                     credential bot; role * { allow tool *; } }
    mcp_server key { resource https://mcp.example.com/key; issuer okta;
                     credential key; strip x-corp-* X_Legacy;
                     role * { allow tool *; } }
    mcp_server late { resource https://mcp.example.com/late; issuer okta;
                      credential late; role * { allow tool *; } }
    mcp_server crlf { resource https://mcp.example.com/crlf; issuer okta;
                      credential crlf; role * { allow tool *; } }

    map \$http_authorization \$mapped { default \$http_authorization; }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location /none { mcp_auth none;
            proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /bot { mcp_auth bot;
            proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /late { mcp_auth late;
                         proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /key { mcp_auth key;
            proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /own { mcp_auth own;
            proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /crlf { mcp_auth crlf;
            proxy_pass http://127.0.0.1:%%PORT_8081%%; }

        location /psh { mcp_auth bot;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
            proxy_set_header Authorization \$http_authorization;
            proxy_set_header Cookie \$http_cookie;
            proxy_set_header X-Cookie \$cookie_sid;
            proxy_set_header X-User \$http_x_user;
            proxy_set_header X-Mapped \$mapped; }

        location /early { mcp_auth none;
            set \$a \$http_authorization\$http_cookie\$cookie_sid\$http_x_user;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
            proxy_set_header Authorization \$http_authorization;
            proxy_set_header Cookie \$http_cookie;
            proxy_set_header X-Cookie \$cookie_sid;
            proxy_set_header X-User \$http_x_user; }

        # who is asked before us is asked with what the caller sent

        location /asked { mcp_auth bot; auth_request /ask;
            proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location = /ask { internal;
            proxy_pass_request_body off;
            proxy_set_header Content-Length '';
            proxy_pass http://127.0.0.1:%%PORT_8081%%; }

        # nothing can save these: the value was copied before

        location /lost { mcp_auth bot;
            set \$kept \$http_authorization;
            if (\$mapped = '') { set \$empty 1; }
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
            proxy_set_header X-Kept \$kept;
            proxy_set_header X-Mapped \$mapped; }
    }
}
END
}

$t->write_conf(conf('${env:MCP_TEST_SECRET}'));
$t->start;

my $token = $okta->token(sub => 'alice');
my %tokens = ($token => 1);

sub sent {
    my ($uri, %o) = @_;

    my $r = call_tool($uri, 'echo', {}, token => $token, %o);
    is($r->{status}, 200, "$uri: allowed");

    my ($req, @more) = $up->requests_next;
    is(scalar @more, 0, "$uri: once");
    return $req;
}

sub header { join '; ', map { $_->[1] }
             grep { lc $_->[0] eq lc $_[1] } @{$_[0]{header_list}} }


# ---- the credential takes the token's place

my $req = sent('/none');
ok(!exists $req->{headers}{authorization}, 'no credential: none at all');
unlike($req->{head}, qr/\Q$token\E/, 'and no token');

$req = sent('/bot');
is(header($req, 'Authorization'), 'Bearer env-secret-0123456789', 'from env');
unlike($req->{head}, qr/\Q$token\E/, 'no token');

$req = sent('/key', headers => { 'x-API-key' => [qw/ mine mine2 /],
                                 X_Api_Key => 'mine3' });
is(header($req, 'X-Api-Key'), 'file-secret-9876543210',
   'in another header, from a file with a line end');
ok(!exists $req->{headers}{authorization}, 'in place of the token');
unlike($req->{head}, qr/mine/, "and of the caller's own");

$req = sent('/late');
is(header($req, 'X-Late-Key'), 'late-secret-3333', 'a header behind its value');
ok(!exists $req->{headers}{authorization}, 'and in no other');

# auth_request: its own question has the token, the call has not

is(call_tool('/asked', 'echo', {}, token => $token)->{status}, 200, '/asked');

my %seen = map { $_->{uri} => $_ } $up->requests_next(2);

is(header($seen{'/ask'}, 'Authorization'), "Bearer $token", 'asked with it');
is(header($seen{'/asked'}, 'Authorization'), 'Bearer env-secret-0123456789',
   'called without it');

# a header that is on no list but the credential's own

$req = sent('/own', headers => { 'backend-KEY' => [qw/ mine mine2 /],
                                 Backend_Key => 'mine3' });
is(header($req, 'Backend-Key'), 'own-secret', 'in a header of its own');
unlike($req->{head}, qr/mine/, "and none of the caller's");

$req = sent('/none', headers => { 'Backend-Key' => 'mine' });
is(header($req, 'Backend-Key'), 'mine', 'which elsewhere is any header');

$req = sent('/crlf', token => undef,
            headers => { aUTHORIZATION => "bEARER  $token" });
is(header($req, 'Authorization'), 'Basic crlf-secret-5555555555',
   'odd case; a file with CR LF');

my $r = call_tool('/bot', 'echo', {}, headers => {
    Authorization => [ "Bearer $token", "Bearer $token" ] });
is($r->{status}, 400, 'two tokens');
is(scalar(my @none = $up->requests_next(0)), 0, 'go nowhere');


# ---- by variables

$req = sent('/psh', headers => { Cookie => 'sid=s3ss', 'X-User' => 'root' });
is(header($req, 'Authorization'), 'Bearer env-secret-0123456789',
   '$http_authorization is the credential');
is(header($req, 'X-Mapped'), 'Bearer env-secret-0123456789',
   'so is what a map makes of it later');
unlike($req->{head}, qr/s3ss|root|\Q$token\E/, 'no cookie, user or token');

$req = sent('/early', headers => { Cookie => 'sid=s3ss', 'X-User' => 'root' });
unlike($req->{head}, qr/s3ss|root|\Q$token\E/,
       'nor when the variables were evaluated before');

$req = sent('/lost');
is(header($req, 'Authorization'), 'Bearer env-secret-0123456789', 'swapped');
like(header($req, 'X-Kept'), qr/\Q$token\E/, 'what `set` copied is out of reach');
like(header($req, 'X-Mapped'), qr/\Q$token\E/, 'so is an early map');


# ---- who the caller is not

my %forged = map { $_ => 'evil' } qw/
    Cookie Cookie2 Proxy-Authorization DPoP Remote-User X-User X-User-Id
    X-Auth-Request-User X-Authenticated-User X-Remote-User X-MCP-User
    X-Forwarded-User X-Forwarded-Email X-Forwarded-Groups X-Forwarded-Client-Cert
    X-WEBAUTH-USER Remote-Groups X-Client-Cert X-SSL-Client-Cert SSL-Client-S-DN
    X-Api-Key X-Access-Token X-Email X-Roles X-Tenant-Id X-Amzn-Oidc-Data
    X-Goog-Authenticated-User-Email X-MS-Client-Principal OIDC-Claim-Sub
    X-Consumer-Username Cf-Access-Jwt-Assertion Client-Cert
    X-HTTP-Method-Override X-Original-URL X-Rewrite-URL TE
    x_user REMOTE_USER X_Forwarded_User OIDC_CLAIM_sub Proxy_Authorization
/;

$req = sent('/bot', headers => \%forged);
unlike($req->{head}, qr/evil/, 'identity cannot be forged');

# nginx 1.30 refuses two of Proxy-Authorization itself

$req = sent('/bot', headers => { map { uc($_) => [ 'evil', 'evil' ] }
                                 grep { !/^(?:Cookie|Proxy-Authorization)$/ }
                                 keys %forged });
unlike($req->{head}, qr/evil/, 'in capitals, and twice');

my %kept = ('X-Forwarded-For' => '10.1.2.3', 'X-Forwarded-Proto' => 'https',
            'X-Forwarded-Host' => 'h', 'X-Request-Id' => 'r', 'X-Real-IP' => 'i',
            'Accept-Language' => 'de', 'X-Corp-Zone' => 'z', X_Legacy => 'l');

$req = sent('/bot', headers => \%kept);
is(header($req, $_), $kept{$_}, "$_ is kept") for sort keys %kept;

$req = sent('/key', headers => { %kept, 'x-CORP-zone' => 'again' });
is(header($req, 'X-Forwarded-For'), '10.1.2.3', 'strip: others are kept');
is(header($req, 'X-Corp-Zone'), '', 'strip: a glob');
is(header($req, 'X_Legacy'), '', 'strip: a name');


# ---- the response must be whole and readable

my %partial = ('Range' => 'bytes=0-1', 'If-Range' => '"e"',
    'If-None-Match' => '"e"', 'If-Match' => '"other"',
    'If-Modified-Since' => 'Sun, 22 Nov 2026 00:00:00 GMT',
    'If-Unmodified-Since' => 'Sun, 22 Nov 2015 00:00:00 GMT',
    'Accept-Encoding' => 'gzip', 'Upgrade' => 'websocket');

$up->answer({ result => {}, headers => { ETag => '"e"', 'Last-Modified' =>
    'Sun, 22 Nov 2026 00:00:00 GMT', 'Accept-Ranges' => 'bytes' } });
$req = sent('/bot', headers => \%partial);
is(header($req, $_), '', "no $_") for grep { $_ ne 'Accept-Encoding' }
                                      sort keys %partial;
is(header($req, 'Accept-Encoding'), 'identity', 'Accept-Encoding: identity');


# ---- a new secret by reload

$t->write_file('secret', 'file-secret-new');
$ENV{MCP_TEST_SECRET} = 'unused';
ok($t->reload(conf('literal-secret')), 'reload');
is(header(sent('/key'), 'X-Api-Key'), 'file-secret-new', 'from the file');
is(header(sent('/bot'), 'Authorization'), 'Bearer literal-secret', 'literal');


# ---- the logs

my @audit = $t->audit(1);
is((grep { $_->{decision} eq 'allow' && $_->{server} eq 'bot'
           && $_->{credential} ne 'bot' } @audit), 0, 'the audit names it');
ok(!exists $audit[0]{credential}, 'or nothing');

call_tool('/bot', 'echo', {}, token => $_)
    for "$token.x", substr($token, 0, -4), "mcpp_$token",
        $okta->token(sub => 'late', -expires => -1000);

my ($head, $payload, $signature) = split /\./, $token;

for my $log (qw/ error.log access.log audit.log nginx.out /) {
    my $text = $t->read_file($log);

    # nginx's own, at level info: an argument for a higher one

    $text =~ s/^.*client sent duplicate header line.*\n//mg;

    unlike($text, qr/(?:env|file|crlf|literal)-secret/, "no secret in $log")
        unless $ENV{MCP_TEST_DEBUG};
    unlike($text, qr/\Q$payload\E|\Q$signature\E/, "no token in $log")
        unless $ENV{MCP_TEST_DEBUG};
}

done_testing;

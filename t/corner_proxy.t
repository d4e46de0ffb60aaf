#!/usr/bin/perl

# Corners of nginx around proxy_pass: what would make another request of the one
# that was authorised is refused by nginx -t; everything else is shown to be
# right, or to be what the operator's own words make of it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Time::HiRes qw/ sleep /;

use MCP::Trap http => <<'HTTP', conf => <<'CONF';
    ignore_invalid_headers off;
    underscores_in_headers on;
HTTP
        location /unbuffered {
            mcp_auth mcp;
            proxy_request_buffering off;
            proxy_http_version 1.1;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location ~ ^/re/(?<part>[a-z]+)$ {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%/from/$part;
            location ~ /nested$ {
                proxy_pass http://127.0.0.1:%%PORT_8081%%;
            }
        }
        location /sub {
            mcp_auth mcp;
            sub_filter_types application/json;
            sub_filter echo ECHO;
            sub_filter_once off;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /charset {
            mcp_auth mcp;
            charset utf-8;
            charset_types application/json;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /slice {
            mcp_auth mcp;
            slice 64;
            proxy_set_header Range $slice_range;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /own {
            mcp_auth mcp;
            proxy_set_header Authorization "Basic operator";
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /post {
            mcp_auth mcp;
            post_action /after;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location = /after {
            internal;
            proxy_pass http://127.0.0.1:%%PORT_8081%%/after;
        }
        location /scgi {
            mcp_auth mcp;
            include /etc/nginx/scgi_params;
            scgi_pass 127.0.0.1:%%PORT_8083%%;
        }
        location /v10 {
            mcp_auth mcp;
            proxy_http_version 1.0;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
CONF

sub at { my ($uri, $msg, %o) = @_; return post($msg, uri => $uri, %o) }

my @locations = qw( /unbuffered /re/x /re/nested /sub /charset /v10 );

# everywhere: the allowed passes with the gateway's credential, the forbidden
# does not, a list is cut

for my $uri (@locations) {
    my $req = passes(at($uri, call('echo')), $uri);

    is($req->{headers}{authorization}, 'Bearer downstream-secret',
       "$uri: the credential");
    refused(at($uri, call('rm')), 200, -32602, 'no_rule', $uri);

    my $r = mcp_post($uri, rpc('tools/list', {}), token => token);
    unlike($r->{body}, qr/"rm"/, "$uri: a list is cut");
    arrived(1);
    record();
}

is(passes(at('/re/x', call('echo')), 'regex')->{uri}, '/from/x',
   'captures as ever');

# an operator's own filter works on what was filtered

my $r = mcp_post('/sub', rpc('tools/list', {}), token => token);
like($r->{body}, qr/"name":"ECHO"/, 'sub_filter: behind ours');
arrived(1);
record();

# ranges: nginx's slice would ask for a part, which could not be filtered

upstream->answer({ status => 206, headers => { 'Content-Range' =>
    'bytes 0-63/100' }, body => 'x' x 64 });
$r = at('/slice', call('echo'));
is($r->{status}, 502, 'slice: a part of a response is none');
record();
upstream->requests_next(1, settle => 0.2);

is(passes(at('/own', call('echo')), 'own')->{headers}{authorization},
   'Basic operator', 'proxy_set_header Authorization is the operator\'s word');

# post_action: a second request by nginx, when the first is over

$r = at('/post', call('echo'));
is($r->{status}, 200, 'post_action');

my @seen = upstream->requests_next(2);
is(join(' ', map { $_->{uri} } @seen), '/post /after', 'asks');
unlike($seen[1]{head}, qr/\Q${\ token}\E/, 'without the caller\'s token');
is(scalar(my @records = gateway->audit_next(1)), 1, 'one record');


# SCGI: a server of the test's own, one request

my $scgi = IO::Socket::INET->new(LocalAddr => '127.0.0.1:' . port(8083),
                                 Listen => 1, ReuseAddr => 1);
my $c = mcp_start('/scgi', call('echo'), token => token, era => 'none');
my $s = $scgi->accept;
my $got = '';

while ($got !~ /"arguments":\{\}\}\}\z/) {
    sysread $s, $got, 65536, length $got or last;
}

like($got, qr/HTTP_AUTHORIZATION\0Bearer downstream-secret\0/,
     'scgi: the credential');
unlike($got, qr/\Q${\ token}\E/, 'scgi: not the token');
print $s "Status: 200 OK\r\nContent-Type: application/json\r\n\r\n"
         . '{"id":1,"result":{"tools":[{"name":"rm"},{"name":"echo"}]}}';
close $s;
is($c->read_response->{body}, '{"id":1,"result":{"tools":[{"name":"echo"}]}}',
   'scgi: filtered');
record();


# one that is slow is waited for, byte by byte

$c = mcp_start('/unbuffered', call('echo'), token => token, era => 'none',
               split => 7, delay => 0.001);
passes($c->read_response, 'slow');

# names of headers that nginx would drop by default: none becomes a credential

my $req = passes(at('/mcp', call('echo'), headers => { 'X.Odd' => 'y',
                    'Proxy_Authorization' => 'x' }), 'odd names');
is($req->{headers}{authorization}, 'Bearer downstream-secret',
   'the credential is the gateway\'s');
ok(!exists $req->{headers}{proxy_authorization}, 'under no other spelling');


# nginx -t: file and line of the mcp_auth

my $conf = gateway->read_file('nginx.conf');

for (['proxy_set_body x', qr/"proxy_set_body" forwards another request/],
     ['proxy_method GET', qr/"proxy_method" forwards another request/],
     ['proxy_pass_request_body off', qr/"pass_request_body off" forwards/],
     ['proxy_pass_request_headers off', qr/keeps back the credential/],
     ['proxy_store on', qr/a store would keep one caller's responses/])
{
    my ($line, $why) = @$_;

    my ($ok, $said) = gateway->check($conf =~ s/slice 64;/$line;/r);
    is($ok, 0, "nginx -t refuses $line");
    like($said, qr/$why.* in a location of mcp_auth "mcp" in .*:\d+/,
         'and says why and where');

    ($ok, $said) = gateway->check($conf =~ s/ignore_invalid_headers off;/$line;/r);
    is($ok, 0, "nginx -t refuses $line, inherited");

    ($ok) = gateway->check($conf =~ s!location = /after \{!location /free { $line; proxy_pass http://127.0.0.1:1; } location = /after {!r);
    is($ok, 1, "$line elsewhere is nobody's business");
}

for (['scgi_pass_request_body off', 0], ['scgi_pass_request_headers off', 0]) {
    is((gateway->check($conf =~ s/scgi_pass/$_->[0]; scgi_pass/r))[0], $_->[1],
       "nginx -t refuses $_->[0]");
}

is((gateway->check($conf =~ s!(resource https://mcp.example.com/mcp);!$1/a%2fb;!r))[0],
   0, 'nginx -t refuses a resource with %XX');

done_testing;

#!/usr/bin/perl

# An issuer without `audience`: a token is for the server whose `resource` it
# names, and for no other, cached or not.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1, audience => undef);
my $up = MCP::Upstream->start($t, port => 8081);
my ($issuers, $servers, $locations) = ($okta->issuer_conf, '', '');

for my $name ('one', 'two') {
    $servers .= "mcp_server $name { resource https://mcp.example.com/$name; "
              . "issuer okta; role * { allow tool *; } }\n";
    $locations .= "location /$name { mcp_auth $name; "
                . "proxy_pass http://127.0.0.1:%%PORT_8081%%; }\n";
}

$t->write_conf(<<"END");
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    $issuers
    $servers
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        $locations
    }
}
END
$t->start;

my $url = 'https://mcp.example.com';

sub said {
    my ($server, $token) = @_;
    my $r = call_tool("/$server", 'echo', {}, token => $token);

    return "$r->{status} " . $t->audit_next(1, settle => 0)->{reason};
}

# each server from its own look and from its cache, whichever was asked first

for (['one', 'two'], ['two', 'one']) {
    my ($its, $other) = @$_;
    my $token = $okta->token(aud => "$url/$its");

    for my $time ('first', 'again') {
        is(said($other, $token), '401 audience', "$its at $other, $time");
        is(said($its, $token), '200 allow', "$its at $its, $time");
    }
}

my $both = $okta->token(aud => ["$url/two", 'https://x.example', "$url/one"]);
is(said($_, $both), '200 allow', "one of several, at $_") for 'one', 'two';

for my $aud ("$url/on", "$url/one/", "$url/One", "$url/one?", "$url/one#",
             "HTTPS://mcp.example.com/one", "$url:443/one", $url, "$url/",
             "$url/%6fne", 'one', '*', 'test-client', ' ', "$url/one ",
             $okta->{issuer}, [ "$url/three", '*', 'one' ])
{
    my $token = $okta->token(aud => $aud);

    is(said('one', $token), '401 audience',
       (ref $aud ? "[@$aud]" : "\"$aud\"") . " $_") for 'first', 'again';
}

like(said('one', $okta->token(aud => $_)), qr/^401 aud/, 'none')
    for undef, '', [], [''], 0, {}, [["$url/one"]];

is(scalar(my @seen = $up->requests_next(6)), 6, 'no other went upstream');

done_testing;

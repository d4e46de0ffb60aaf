#!/usr/bin/perl

# The credential is the gateway's secret: what a log_format asks of the request
# when it is over, $http_authorization and its like, does not tell it, whatever
# the end of the request was.  $remote_user is not the gateway's account.

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

    log_format all '$uri [$http_authorization] [$http_x_api_key] '
                   '[$remote_user] [$http_cookie]';

    %%ISSUER_okta%%

    mcp_credential basic { type static; value "Basic c3ZjOnNlY3JldA=="; }
    mcp_credential key { type static; header X-Api-Key; value key-secret; }

    mcp_server basic { resource https://mcp.example.com/basic; issuer okta;
                       credential basic; role * { allow tool *; } }
    mcp_server key { resource https://mcp.example.com/key; issuer okta;
                     credential key; role * { allow tool *; } }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        access_log %%TESTDIR%%/all.log all;

        location /basic {
            mcp_auth basic;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
            proxy_set_header X-Copy $http_authorization;
        }

        location /dead {
            mcp_auth basic;
            proxy_pass http://127.0.0.1:%%PORT_8082%%;
        }

        location /key {
            mcp_auth key;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END
$t->start;

my $token = $okta->token(sub => 'alice');

is(call_tool('/basic', 'echo', {}, token => $token)->{status}, 200, 'basic');
my ($req) = $up->requests_next;
is($req->{headers}{authorization}, 'Basic c3ZjOnNlY3JldA==', 'was sent');
is($req->{headers}{'x-copy'}, 'Basic c3ZjOnNlY3JldA==', 'by variable as well');

is(call_tool('/key', 'echo', {}, token => $token)->{status}, 200, 'key');
is($up->requests_next->{headers}{'x-api-key'}, 'key-secret', 'was sent');

is(call_tool('/dead', 'echo', {}, token => $token)->{status}, 502, 'dead');

# a client that goes while the upstream is asked

$up->answer({ hang => 5 });
my $c = mcp_start('/basic', rpc('tools/call', { name => 'echo' }),
                  token => $token);
$up->requests_next;
$c->close;

my @audit = $t->audit(4);
is($audit[3]{reason}, 'client_gone', 'a client that goes');

MCP::Test::wait_until(5, sub { 4 <= (() = $t->read_file('all.log') =~ /\n/g) });

my $log = $t->read_file('all.log');
is(scalar(() = $log =~ /\n/g), 4, 'each request is in the access log');
unlike($log, qr/c3ZjOnNlY3JldA|key-secret/, 'without the secret');
unlike($log, qr/svc/, 'or its user');
unlike($log, qr/\Q$token\E/, "or the caller's token");

done_testing;

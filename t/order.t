#!/usr/bin/perl

# Where we stand among nginx's own modules: allow/deny, auth_basic and
# auth_request have their say first, so that what they refuse never costs a
# token check, nor is told which issuer to ask; our filter runs after the
# response has its headers and before they are written.

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

$t->write_file('users', "bob:{PLAIN}secret\n");
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

        location /mcp {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /denied {
            deny all;
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /basic {
            auth_basic basic;
            auth_basic_user_file %%TESTDIR%%/users;
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /asked {
            auth_request /ask;
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location = /ask {
            internal;
            return 403;
        }
    }
}
END
$t->start;

my $r = call_tool('/mcp', 'echo', {});
is($r->{status}, 401, 'ours: no token');
like($r->{headers}{'www-authenticate'}, qr/^Bearer .*resource_metadata=/,
     'our challenge');

for (['/denied', 403, 'allow/deny'], ['/basic', 401, 'auth_basic'],
     ['/asked', 403, 'auth_request'])
{
    my ($uri, $status, $who) = @$_;

    $r = call_tool($uri, 'echo', {});
    is($r->{status}, $status, "$who is asked first");
    unlike($r->{headers}{'www-authenticate'} // '', qr/Bearer/,
           "$who: no challenge of ours");

    $r = call_tool($uri, 'echo', {}, token => $okta->token);
    is($r->{status}, $status, "$who refuses a good token as well");
}

is(scalar $up->requests(0), 0, 'nothing reached the upstream');

$r = call_tool('/mcp', 'echo', {}, token => $okta->token);
is($r->{status}, 200, 'a good token');
is($r->{json}{result}{content}[0]{text}, 'called echo with {}', 'is answered');

$up->answer({ result => { tools => [
    { name => 'echo', inputSchema => {} },
    { name => 'forbidden', inputSchema => {} } ] } });

$r = list_tools('/mcp', token => $okta->token);
is(join(' ', map { $_->{name} } @{$r->{json}{result}{tools} || []}), 'echo',
   'the list is cut');
ok(!defined $r->{headers}{'content-length'}
   || $r->{headers}{'content-length'} == length $r->{body},
   'and its length is not the old one');

done_testing;

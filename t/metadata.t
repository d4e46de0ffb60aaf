#!/usr/bin/perl

# RFC 9728 documents: for each mcp_auth location of a server {}, at the path of
# the resource and, when it is the only one, at the root; for anybody, and
# always the same, whatever the request says.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $other = MCP::Issuer->new($t, name => 'other', static => 1);
my $up = MCP::Upstream->start($t, port => 8081);

$t->write_conf(<<'END');
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;

    %%ISSUER_okta%%
    %%ISSUER_other%%

    mcp_server jira {
        resource https://mcp.example.com/jira;
        issuer okta;
        scope jira.use jira.read;
        role * { allow tool *; }
    }

    mcp_server wiki {
        resource https://mcp.example.com/team/wiki;
        issuer okta other;
        role * { allow tool *; }
    }

    mcp_server whole {
        resource https://whole.example.com:8443/;
        issuer okta;
        role * { allow tool *; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location /jira {
            mcp_auth jira;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
            location /jira/again { mcp_auth jira; }
        }
        location /team/wiki {
            mcp_auth wiki;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location / { return 404 elsewhere; }
    }

    server {
        listen 127.0.0.1:%%PORT_8082%%;
        deny all;
        auth_basic closed;
        auth_basic_user_file %%TESTDIR%%/users;
        location / {
            mcp_auth jira;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_8083%%;
        location / {
            mcp_auth whole;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_8084%%;
        location / { return 404 elsewhere; }
    }
}
END
$t->start;

my $well = '/.well-known/oauth-protected-resource';

my $jira = qq({"resource":"https://mcp.example.com/jira",)
    . qq("authorization_servers":["$okta->{issuer}"],)
    . qq("scopes_supported":["jira.use","jira.read"],)
    . qq("bearer_methods_supported":["header"],"resource_name":"jira"});

my $wiki = qq({"resource":"https://mcp.example.com/team/wiki",)
    . qq("authorization_servers":["$okta->{issuer}","$other->{issuer}"],)
    . qq("bearer_methods_supported":["header"],"resource_name":"wiki"});

my $whole = qq({"resource":"https://whole.example.com:8443/",)
    . qq("authorization_servers":["$okta->{issuer}"],)
    . qq("bearer_methods_supported":["header"],"resource_name":"whole"});

sub ask {
    my ($method, $uri, %o) = @_;
    my $host = $o{host} // 'localhost';
    my $more = join '', map { "$_\r\n" } @{$o{headers} || []};

    return http("$method $uri HTTP/1.1\r\nHost: $host\r\nConnection: close\r\n"
                . "$more\r\n" . ($o{body} // ''),
                port => $o{port}, head => $method eq 'HEAD');
}

sub is_document {
    my ($r, $document, $name) = @_;

    is($r->{status}, 200, $name);
    is($r->{body}, $document, "$name: the document");
}


# the path form, and the root when there is one resource

my $r = ask('GET', "$well/jira");
is_document($r, $jira, 'jira');
is($r->{headers}{'content-type'}, 'application/json', 'its type');
is($r->{headers}{'content-length'}, length $jira, 'its length');
is($r->{headers}{'access-control-allow-origin'}, '*', 'for any page');
is($r->{headers}{'cache-control'}, 'public, max-age=3600', 'for an hour');
ok(!$r->{headers}{'www-authenticate'}, 'no challenge');

my $a = $t->audit_next;
is("$a->{ev} $a->{server} $a->{decision}", 'metadata jira allow',
   'one audit record');
ok(!exists $a->{user}, 'about nobody');

is_document(ask('GET', "$well/team/wiki"), $wiki, 'wiki');
is_document(ask('GET', $well, port => 8082), $jira, 'the root of one');
is_document(ask('GET', $well, port => 8083), $whole, 'resource at the root');

for ([8080, $well, 'the root of two'], [8080, "$well/", 'a slash'],
     [8080, "$well/jira/again", 'a path inside'], [8080, "$well/jir", 'less'],
     [8080, "${well}x", 'more'], [8080, "$well/JIRA", 'upper case'],
     [8080, "$well/whole", 'of another server {}'],
     [8084, $well, 'where nothing is protected'])
{
    my ($port, $uri, $name) = @$_;
    my $got = ask('GET', $uri, port => $port);

    is("$got->{status} $got->{body}", '404 elsewhere', "none for $name");
}

is(scalar(my @three = $t->audit_next(3)), 3, 'and no record of those');

# a client follows the challenge to the document, whose resource is that of
# the challenge

for ([8080, '/jira', $jira], [8080, '/team/wiki/x', $wiki], [8083, '/', $whole])
{
    my ($port, $uri, $document) = @$_;
    my $c = call_tool($uri, 'echo', {}, port => $port);
    my ($url) = $c->{headers}{'www-authenticate'}
                =~ /resource_metadata="([^"]+)"/;
    my ($host, $path) = $url =~ m!^https://([^/]+)(/.*)!;

    is_document(ask('GET', $path, port => $port, host => $host), $document,
                "challenge of $uri");
    is(index($document, qq({"resource":"https://$host)), 0, 'of that host');
}

$t->audit_next(6);


# methods

$r = ask('HEAD', "$well/jira");
is("$r->{status} $r->{headers}{'content-length'}", '200 ' . length $jira,
   'HEAD: the length of the document');
is($r->{body}, '', 'and nothing of it');

$r = ask('OPTIONS', "$well/jira", headers => [
    'Origin: https://inspector.example.org',
    'Access-Control-Request-Method: GET',
    'Access-Control-Request-Headers: mcp-protocol-version' ]);
is($r->{status}, 204, 'OPTIONS');
is($r->{headers}{'access-control-allow-origin'}, '*', 'any origin');
like($r->{headers}{'access-control-allow-methods'}, qr/\bGET\b/, 'may GET');
like($r->{headers}{'access-control-allow-headers'}, qr/mcp-protocol-version/i,
     'with this header');
is($r->{body}, '', 'no body');

for (['POST', '{"a":1}'], ['PUT', ''], ['DELETE', ''], ['PATCH', ''],
     ['BREW', ''])
{
    my ($method, $body) = @$_;

    $r = ask($method, "$well/jira", body => $body,
             headers => [ 'Content-Length: ' . length $body ]);
    is($r->{status}, 405, $method);
    is($r->{headers}{allow}, 'GET, HEAD, OPTIONS', "$method: what is allowed");
    unlike($r->{headers}{'cache-control'} // '', qr/public/,
           "$method: not to be kept");
}

my @records = $t->audit_next(7);
is(scalar @records, 7, 'a record for each');
is($records[-1]{decision}, 'error', 'those of 405 say so');


# nobody is asked who he is, nothing of the request is in the answer

for (['Authorization: Bearer x.y.z'], ['Authorization: Basic eDp5'],
     ['Authorization: Bearer ' . $okta->token], ['Origin: https://evil.test'],
     ['X-Forwarded-Host: evil.test', 'X-Forwarded-Proto: http',
      'Forwarded: host=evil.test', 'X-Original-URL: /evil'])
{
    is_document(ask('GET', "$well/jira", headers => $_), $jira,
                substr $_->[0], 0, 30);
}

is_document(ask('GET', "$well/jira?access_token=x&resource=evil"), $jira,
            'a query');
is_document(ask('GET', "$well/%6aira"), $jira, 'an escaped path');
is_document(ask('GET', "https://evil.test$well/jira"), $jira,
            'an absolute URL');

for my $host ('evil.test', 'evil.test:1', 'mcp.example.com') {
    is_document(ask('GET', "$well/jira", host => $host), $jira, "host $host");

    $r = call_tool('/jira', 'echo', {}, host => $host, headers => {
                   'X-Forwarded-Host' => 'evil.test' });
    unlike($r->{headers}{'www-authenticate'}, qr/evil|localhost/,
           "challenge to $host");
}

is(scalar $up->requests(0), 0, 'nothing reached the upstream');

done_testing;

#!/usr/bin/perl

# The traps of headers, methods and paths: what stands beside the body decides
# nothing, must not contradict it, and opens no other way.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();

use MCP::Trap conf => <<'CONF';
        location /open/ { return 204; }
        location ~ ^/re/.*\.mcp$ {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
CONF

sub modern {
    my ($name, %headers) = @_;

    return post(rpc('tools/call', { name => $name, arguments => {} },
                    id => 1), era => 'modern', headers => \%headers);
}

trap M12 => 'a header twice', sub {
    refused(post(call('echo'), headers => { $_->[0] => $_->[1] }), 400, -32600,
            'duplicate_header', $_->[0])
        for ['MCP-Protocol-Version', ['2025-11-25', '2025-11-25']],
            ['Mcp-Session-Id', ['a', 'b']],
            ['Mcp-Method', ['tools/call', 'tools/list']],
            ['Mcp-Name', ['echo', 'rm']],
            ['Content-Type', ['application/json', 'text/plain']],
            ['Origin', ['https://mcp.example.com', 'https://mcp.example.com']];

    # nginx itself refuses two of this one, before anything of ours runs

    my $r = post(call('echo'), headers => {
        Authorization => ['Bearer ' . token, 'Bearer ' . token] });

    is($r->{status}, 400, 'Authorization: 400');
    nothing('Authorization');
};

trap M13 => 'the scheme in any case, the token in one form', sub {
    my $with = sub {
        return post(call('echo'), headers => { Authorization => $_[0] });
    };

    passes($with->("$_ " . token), $_) for qw/ Bearer bearer BEARER /;
    passes($with->('Bearer   ' . token), 'several spaces');
    refused($with->($_), 401, undef, undef, $_)
        for 'Bearer', 'Bearer ', "Bearer\t" . token, 'Bearer a,b',
            'Bearer ' . token . ' x', 'Basic ' . token, 'Bearer=' . token;
    refused($with->('Bearer ' . 'a' x 7000), 401, undef, undef, 'long');
};

trap M14 => 'a token in the query', sub {
    refused(post(call('echo'), uri => "/mcp?$_=" . token), 400, -32600,
            'query_token', $_)
        for 'access_token', 'a=1&access_token', 'access%5ftoken';
    unlike(gateway->read_file('audit.log'), qr/\Q${\ token}\E/,
           'not in the audit');
};

trap M15 => 'one tool in the header, another in the body', sub {
    refused(modern('echo', 'Mcp-Name' => 'rm'), 400, -32020, 'name_mismatch',
            'name');
    refused(modern('rm', 'Mcp-Name' => 'echo'), 400, -32020, 'name_mismatch',
            'the forbidden one in the body');
    refused(modern('echo', 'Mcp-Method' => 'tools/list'), 400, -32020,
            'method_mismatch', 'method');
    refused(post(call('echo'), era => 'legacy',
                 headers => { 'Mcp-Name' => 'rm' }),
            400, -32020, 'name_mismatch', 'in the legacy era too');
    passes(modern('echo'), 'the same');
};

trap M16 => 'headers by which a client says who it is', sub {
    my %forged = map { $_ => 'root' } 'X-User', 'X-Forwarded-User',
                 'X-Remote-User', 'X-Forwarded-Email', 'X-Mcp-User', 'Cookie',
                 'Proxy-Authorization', 'DPoP', 'X-Auth-Request-User';
    my $req = passes(post(call('echo'), headers => \%forged));

    is($req->{headers}{authorization}, 'Bearer downstream-secret',
       'the credential of the gateway');
    ok(!exists $req->{headers}{lc $_}, "no $_") for sort keys %forged;
};

trap M17 => 'other methods of HTTP', sub {
    for my $method (qw/ PUT PATCH HEAD PROPFIND LINK /) {
        my $r = http("$method /mcp HTTP/1.1\r\nHost: localhost\r\n"
                     . 'Authorization: Bearer ' . token
                     . "\r\nContent-Length: 0\r\n\r\n");

        is($r->{headers}{allow}, 'POST, GET, DELETE', "$method: Allow");
        refused($r, 405, undef, 'http_method', $method);

        # an era probe without a token has to hear where to get one

        $r = http("$method /mcp HTTP/1.1\r\nHost: localhost\r\n"
                  . "Content-Length: 0\r\n\r\n");
        like($r->{headers}{'www-authenticate'} // '', qr/resource_metadata=/,
             "$method without a token: the challenge");
        refused($r, 401, undef, 'no_token', "$method without a token");
    }

    my $req = passes(post(call('echo'), headers =>
                              { 'X-HTTP-Method-Override' => 'DELETE' }));
    is($req->{method}, 'POST', 'an override changes nothing here');

    for my $method (qw/ GET DELETE /) {
        my $r = http("$method /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n");
        ok($r->{headers}{'www-authenticate'}, "$method: the challenge");
        refused($r, 401, undef, 'no_token', "$method without a token");
    }
};

trap M18 => 'other ways to write the path', sub {
    for my $uri ('/mcp/', '//mcp', '/mcp%2f', '/MCP', '/open/../mcp',
                 '/open/%2e%2e/mcp', '/re/x.mcp', '/./mcp')
    {
        refused(mcp_post($uri, call('echo'), era => 'none'), 401, undef,
                'no_token', $uri);
        refused(post(call('rm'), uri => $uri), 200, -32602, 'no_rule', $uri);
    }

    # the second of two in one connection is a request of its own

    my $c = mcp_start('/mcp', call('echo'), token => token, era => 'none');

    passes($c->read_response, 'the first');
    $c->send(MCP::Test::mcp_request('/mcp', call('echo'), era => 'none'));
    refused($c->read_response, 401, undef, 'no_token', 'the second');
};

trap M19 => 'the well-known document, and nothing else, for anybody', sub {
    my $r = http("GET /.well-known/oauth-protected-resource/mcp HTTP/1.1\r\n"
                 . "Host: localhost\r\n\r\n");

    is($r->{status}, 200, 'the document');
    is(JSON::PP->new->decode($r->{body})->{resource},
       'https://mcp.example.com/mcp', 'of this resource');
    nothing('the document');
    gateway->audit_next(1, settle => 0.01);

    refused(http("GET $_ HTTP/1.1\r\nHost: localhost\r\n\r\n"), 401, undef,
            'no_token', $_)
        for '/.well-known/openid-configuration', '/sse', '/messages',
            '/.well-known/oauth-authorization-server', '/register', '/health',
            '/.well-known/oauth-protected-resourceX';
};

done_testing;

#!/usr/bin/perl

# The traps of meaning: ways round a denied tool, what outlives its permission,
# and what the record has to say.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();

use MCP::Trap http => <<'HTTP', conf => <<'CONF';
    upstream two {
        server 127.0.0.1:%%PORT_8081%%;
        server 127.0.0.1:%%PORT_8081%%;
    }
    mcp_server many {
        resource https://mcp.example.com/mcp;
        issuer okta;
        role * {
            allow tool ok* deny;
            deny tool deny;
            allow tool when where /n < 5;
        }
        role lead { allow tool lead; }
    }
HTTP
        location /many {
            mcp_auth many;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /two {
            mcp_auth mcp;
            proxy_next_upstream error timeout http_500 http_503;
            proxy_pass http://two;
        }
CONF

my $head = '{"jsonrpc":"2.0","id":1,';

sub message {
    my ($method, $params) = @_;
    return $head . qq("method":"$method","params":$params});
}

trap M31 => 'ways round a denied tool, prompt or resource', sub {
    my $denied = sub {
        my ($method, $params) = @_;
        my $a = refused(post(message($method, $params)), 200, undef, undef,
                        "$method $params");
        is($a->{decision}, 'deny', "$method: denied");
    };

    $denied->('completion/complete', '{"ref":{"type":"ref/prompt","name":"x"},'
              . '"argument":{"name":"a","value":"b"}}');
    $denied->('completion/complete', '{"ref":{"type":"ref/resource",'
              . '"uri":"stub://b"},"argument":{"name":"a","value":"b"}}');
    $denied->('prompts/get', '{"name":"x"}');
    $denied->('resources/read', "{\"uri\":\"$_\"}")
        for 'stub://b', 'ui://rm', 'stub://a/../b', 'STUB://a';
    $denied->('resources/subscribe', '{"uri":"stub://b"}');
    $denied->($_, '{"taskId":"of-somebody"}')
        for 'tasks/get', 'tasks/result', 'tasks/cancel';
    $denied->('x/extension', '{}');
    $denied->('tools/call', '{"name":"rm","inputResponses":{},'
              . '"requestState":"x"}');

    passes(post(message('completion/complete', '{"ref":{"type":"ref/prompt",'
                        . '"name":"greet"},"argument":{"name":"a",'
                        . '"value":"b"}}')), 'a completion of what is allowed');
    passes(post(message('prompts/get', '{"name":"greet"}')), 'the prompt');
    passes(post(message('resources/read', '{"uri":"stub://a"}')), 'the URI');
};

trap M32 => 'a role that is lost counts at the next call', sub {
    my $message = call('echo');

    passes(post($message), 'before');

    # the same token: what changes is the configuration

    my $conf = gateway->read_file('nginx.conf');
    (my $less = $conf) =~ s/allow tool echo;/allow tool other;/;

    ok(gateway->reload($less), 'another configuration');
    refused(post($message), 200, -32602, 'no_rule', 'after');
    ok(gateway->reload($conf), 'back again');
    passes(post($message), 'and back');
};

trap M34 => 'a tool that nobody has heard of', sub {
    refused(post(call($_)), 200, -32602, 'no_rule', $_)
        for 'echo2', 'new_tool', 'rm_v2';

    upstream->answer({ result => { tools => [ map { { name => $_ } }
                                              qw/ echo echo2 new_tool / ] } });
    is(list_tools('/mcp', token => token)->{json}{result}{tools}[-1]{name},
       'echo', 'is not in a list either');
    record('the list');
};

trap M37 => 'a call is not sent twice', sub {
    upstream->answer({ status => 500, body => '{"id":1,"error":{"code":1}}' });
    post(call('echo'), uri => '/two');
    is(scalar(my @seen = upstream->requests_next(1, settle => 0.2)), 1,
       'not after a 500, though another server is there');
    record();

    upstream->answer({ raw => '' });
    post(call('echo'), uri => '/two');
    is(scalar(@seen = upstream->requests_next(1, settle => 0.2)), 1,
       'nor after a connection that broke off');
    record();
};

trap M39 => 'the body is there before the upstream is asked', sub {
    my $c = http_start("POST /mcp HTTP/1.1\r\nHost: localhost\r\n"
                       . 'Authorization: Bearer ' . token . "\r\n"
                       . "Content-Type: application/json\r\n"
                       . "Content-Length: 200\r\n\r\n" . substr(call('echo'),
                                                                0, 40));
    select undef, undef, undef, 0.2;
    nothing('half a body');
    $c->close;
    is(record()->{reason}, 'incomplete_body', 'on record');
};

trap M40 => 'what the record says, and in one line', sub {
    my $evil = 'x\n{\"decision\":\"allow\"}\r\u001b[31m\u2028';
    my $before = () = gateway->read_file('audit.log') =~ /\n/g;

    post(message('tools/call', "{\"name\":\"$evil\"}"));

    my $a = record();
    my $after = () = gateway->read_file('audit.log') =~ /\n/g;

    is($after - $before, 1, 'one line');
    is("$a->{decision} $a->{result}{status} $a->{method}",
       'deny 200 tools/call', 'a denial, though HTTP says 200');
    is($a->{target}, "x\n{\"decision\":\"allow\"}\r\e[31m\x{2028}",
       'the tool of the body, escaped');
    like($a->{$_} // '', qr/./, "$_ is there")
        for qw/ ts user client issuer token_id era client_ip rpc_id /;
    like($a->{params}{digest} // 'absent', qr/^(?:[0-9a-f]{32}|absent)$/,
         'arguments as a digest');
    unlike(gateway->read_file('audit.log'), qr/\Q${\ token}\E|downstream-sec/,
           'no token, no credential');
};

trap M41 => 'a denied tool and one that is not there', sub {
    my ($length, %head);

    # by a deny, by a condition, by no rule, for another role; and not there

    for my $name (qw/ deny when rule lead none /) {
        my $r = post(call($name), uri => '/many');

        is($r->{body}, '{"jsonrpc":"2.0","id":1,"error":{"code":-32602,'
                       . "\"message\":\"Unknown tool: $name\"}}",
           "$name: as if it did not exist");
        $head{$r->{head} =~ s/^Date:.*\r\n//mr} = 1;
        nothing($name);
        is(record($name)->{decision}, 'deny', "$name: denied on record");
    }

    is(scalar keys %head, 1, 'not a header differs');
    passes(post(call('ok'), uri => '/many'), 'what is allowed');
};

done_testing;

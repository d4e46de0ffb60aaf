#!/usr/bin/perl

# The traps of responses: whatever form a list comes in, it is cut; whatever
# cannot be read does not pass; and what the upstream says of itself is not said
# of the gateway.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();

use MCP::Trap http => <<'HTTP', conf => <<'CONF';
    mcp_max_event 100k;
    mcp_max_list_entry 50k;
    mcp_server scoped {
        resource https://mcp.example.com/mcp;
        issuer okta;
        scope more;
        deny_reply forbidden;
        role nobody { allow tool x; }
    }
HTTP
        location /scoped {
            mcp_auth scoped;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
CONF

my $rm = '{"jsonrpc":"2.0","id":42,"result":{"tools":'
         . '[{"name":"rm"},{"name":"echo"}]}}';
my $ok = '{"jsonrpc":"2.0","id":42,"result":{"tools":[{"name":"echo"}]}}';

sub ask {
    my ($answer, %o) = @_;

    upstream->answer(ref $answer eq 'HASH' ? $answer : { sse => $answer });
    return list_tools('/mcp', token => token, id => 42, %o);
}

# an answer that does not reach the caller: our error instead, and recorded

sub kept_back {
    my ($r, $reason, $what) = @_;

    is($r->{status}, 502, "$what: 502");
    unlike($r->{head} . $r->{body}, qr/"rm"|secret/, "$what: nothing of it");
    is(eval { JSON::PP->new->decode($r->{body})->{id} }, 42, "$what: the id");

    my $a = record($what);
    is("$a->{decision} $a->{reason}", "error $reason", "$what: on record");
}

trap M20 => 'events are read as a whole', sub {
    my %streams = (
        'CR' => ["data: $rm\r\r", "data: $ok\r\r"],
        'mixed line ends' => ["id: 1\rdata: $rm\r\n\n",
                              "id: 1\rdata: $ok\r\n\n"],
        'a BOM' => ["\xef\xbb\xbfdata: $rm\n\n", "\xef\xbb\xbfdata: $ok\n\n"],
        'no space' => ["data:$rm\n\n", "data:$ok\n\n"],
        'fields in order' => ["event: message\nid: 7\ndata: $rm\nretry: 5\n\n",
                              "event: message\nid: 7\ndata: $ok\nretry: 5\n\n"],
        'several lines' => ["data: {\ndata: " . substr($rm, 1) . "\n\n",
                            "data: {\ndata: " . substr($ok, 1) . "\n\n"],
        'the event that primes' => ["id: 1\ndata:\n\ndata: $rm\n\n",
                                    "id: 1\ndata:\n\ndata: $ok\n\n"],
        'no blank line at the end' => ["data: $ok\n\ndata: $rm\n",
                                       "data: $ok\n\n"],
        'data without a colon' => ["data\n\ndata: $rm\n\n",
                                   "data\n\ndata: $ok\n\n"],
    );

    is(ask([$streams{$_}[0]])->{body}, $streams{$_}[1], $_)
        for sort keys %streams;
};

trap M21 => 'an event that is too large, or no JSON', sub {
    my $note = '{"jsonrpc":"2.0","method":"notifications/message"}';
    my $good = "data: $note\n\n";

    is(ask(["data: $_\n\n$good"])->{body}, $good, 'dropped')
        for 'not JSON', "$rm x", "\x0b$rm", "\xc2\xa0$rm", "\xc2\x85$rm",
            "\x0c$rm";

    gateway->audit_next(6);

    my $r = ask(['data: {"x":"' . 'y' x 110_000 . "\"}\n\n$good"]);

    like($r->{body}, qr/"code":-32603/, 'an error event');
    unlike($r->{body}, qr/yyyy/, 'and nothing of it');
    is(record()->{reason}, 'upstream_invalid', 'on record');
};

trap M22 => 'a list, whatever the type says', sub {
    for my $type ('application/json', 'text/plain', 'application/octet-stream',
                  'text/html; charset=x', 'multipart/mixed', '')
    {
        my $r = ask({ body => $rm, headers => { 'Content-Type' => $type } });
        is($r->{body}, $ok, "as '$type'");
    }

    for my $type ('Text/Event-Stream', 'text/event-stream; charset=utf-8') {
        my $r = ask({ body => "data: $rm\n\n",
                      headers => { 'Content-Type' => $type } });
        is($r->{body}, "data: $ok\n\n", "as '$type'");
    }

    gateway->audit_next(8);
    kept_back(ask({ body => "tools: rm secret" }), 'upstream_invalid',
              'no JSON');
    kept_back(ask({ body => '{"result":{"tools":[{"name":"rm","x":"'
                            . 'z' x 60_000 . '"}]}}' }),
              'upstream_invalid', 'an entry too large');
};

trap M23 => 'compressed responses', sub {
    my $req = do {
        ask({ body => $rm }, headers => { 'Accept-Encoding' => 'gzip, br' });
        (upstream->requests_next(1))[-1];
    };

    ok(($req->{headers}{'accept-encoding'} // 'identity') eq 'identity',
       'not asked for');
    record();
    kept_back(ask({ body => $rm, headers => { 'Content-Encoding' => $_ } }),
              'upstream_encoding', "sent all the same: $_")
        for 'gzip', 'br', 'identity, gzip';
};

trap M24 => 'what was said about the bytes before they were cut', sub {
    my @about = qw/ ETag Last-Modified Accept-Ranges Content-MD5 Digest
                    Repr-Digest Content-Digest Signature /;
    my $r = ask({ body => $rm, headers => { map { $_ => 'x' } @about } },
                headers => { Range => 'bytes=0-9', 'If-Range' => '"x"' });

    is($r->{body}, $ok, 'whole');
    is($r->{headers}{'content-length'}, length $ok, 'its own length');
    ok(!exists $r->{headers}{lc $_}, "no $_") for @about;

    my ($req) = upstream->requests_next(1);
    ok(!exists $req->{headers}{$_}, "$_ not asked for")
        for qw/ range if-range /;
    record();
    kept_back(ask({ status => 206, body => $rm,
                    headers => { 'Content-Range' => 'bytes 0-9/99' } }),
              'upstream_status', '206');
};

trap M25 => 'no cache in front', sub {
    my ($ok, $said) = gateway->check(<<'END');
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    %%ISSUERS%%
    proxy_cache_path %%TESTDIR%%/cache keys_zone=c:1m;
    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        role * { allow tool echo; }
    }
    server {
        location / {
            mcp_auth mcp;
            proxy_cache c;
            proxy_pass http://127.0.0.1:1;
        }
    }
}
END

    is($ok, 0, 'nginx -t refuses proxy_cache');
    like($said, qr/a cache would mix callers in .* in .*check\.conf:\d+/, 'and says where');
};

trap M26 => 'lists stay lists', sub {
    my $list = sub {
        my ($in) = @_;
        return ask({ body => qq({"id":42,"result":{"tools":$in,)
                             . '"nextCursor":"","ttlMs":5}}' })->{body};
    };
    my $tail = ',"nextCursor":"","ttlMs":5}}';
    my $head = '{"id":42,"result":{"tools":';

    is($list->('[{"name":"rm"}]'), "$head\[]$tail", 'an empty array');
    is($list->('[ {"name":"rm"} , {"name":"echo","x":0.10} ,{"name":"rm"}]'),
       "$head\[ {\"name\":\"echo\",\"x\":0.10}]$tail", 'as it was written');
    is($list->("[$_,{\"name\":\"echo\"}]"), "$head\[{\"name\":\"echo\"}]$tail",
       "cut: $_")
        for 'null', '1', '"echo"', '[]', '{}', '{"name":1}',
            '{"name":"echo","name":"rm"}', '{"name":"echo","Name":"rm"}',
            '{"name":"rm","n":{"name":"echo"}}';
    is($list->('[{"name":"echo"},{"name":"rm"},{"name":"echo"}]'),
       "$head\[{\"name\":\"echo\"},{\"name\":\"echo\"}]$tail",
       'each of the same name');
};

trap M27 => 'cacheScope', sub {
    for my $was ('"public"', '"private"', '"x"', 'null') {
        my $r = ask({ body => qq({"id":42,"result":{"cacheScope":$was,)
                              . '"tools":[]}}' });
        is($r->{body}, '{"id":42,"result":{"cacheScope":"private",'
                       . '"tools":[]}}', "$was is private");
    }
};

trap M28 => 'an error in the middle of a stream is an event', sub {
    my $r = ask([ { data => { jsonrpc => '2.0', method => 'x/y' } },
                  'data: {"x":"' . 'y' x 110_000 . "\"}\n\n" ]);

    like($r->{body}, qr/\n\nevent: message\ndata: \{.*"code":-32603.*\}\n\n\z/,
         'framed');

    $r = mcp_post('/mcp', call('rm'), token => token, era => 'none',
                  headers => { Accept => 'text/event-stream' });
    is($r->{headers}{'content-type'}, 'application/json',
       'before anything was sent: JSON');
};

trap M29 => 'headers of the upstream', sub {
    my @secret = qw/ WWW-Authenticate Proxy-Authenticate Set-Cookie Refresh
                     Clear-Site-Data Alt-Svc Link Content-Location Trailer
                     Strict-Transport-Security Report-To NEL Accept-CH
                     Reporting-Endpoints Service-Worker-Allowed /;
    my $r = ask({ body => $rm, headers => {
        (map { $_ => 'secret' } @secret), Location => '/secret',
        'Access-Control-Allow-Origin' => '*', Server => 'secret/1',
        'X-Accel-Charset' => 'x' } });

    is($r->{status}, 200, 'passes');
    unlike($r->{head}, qr/secret|access-control|x-accel/i, 'without them');
    record();
    kept_back(ask({ status => $_, body => '{"secret":1}',
                    headers => { 'WWW-Authenticate' => 'Bearer secret' } }),
              'upstream_credential', "its $_ is ours")
        for 401, 403;
};

trap M30 => 'server/discover', sub {
    my $discover = sub {
        return mcp_post('/mcp', rpc('server/discover', {}, id => 42),
                        token => token, @_);
    };
    my $r = $discover->();

    is($r->{status}, 200, 'never denied');
    is(JSON::PP->new->decode($r->{body})->{result}{cacheScope}, 'private',
       'filtered like a list');
    record();
    arrived(1);

    # not even to who may do nothing at all

    for my $era (qw/ modern legacy /) {
        refused(mcp_post('/scoped', rpc('tools/list', {}, era => $era),
                         token => token, era => $era), 403, 403,
                'insufficient_scope', "$era: a list is denied");
        passes(mcp_post('/scoped', rpc('server/discover', {}, era => $era),
                        token => token, era => $era),
               "$era: whose scope is too small");
    }

    # a server of the other era has its own word

    upstream->answer({ status => $_->[0], error => { code => $_->[1],
                                                     message => 'no' } }),
        $r = $discover->(),
        is("$r->{status} " . JSON::PP->new->decode($r->{body})->{error}{code},
           "@$_", "@$_ of the upstream passes")
        for [400, -32600], [404, -32601], [400, -32022];
};

trap N11 => 'ways round the list filter', sub {
    my $note = '{"jsonrpc":"2.0","method":"x"}';

    # batches, in a body and in an event; inside of a task's result

    for (["[$rm]", "[$ok]"], ["[$note,$rm ]", "[$note,$ok ]"],
         ['{"id":42,"result":{"status":"completed","result":{"tools":'
          . '[{"name":"rm"}]}}}', '{"id":42,"result":{"status":"completed",'
          . '"result":{"tools":[]}}}'],
         [$rm =~ s/"tools"/"To\\u006fls"/r, $ok =~ s/"tools"/"To\\u006fls"/r])
    {
        my ($in, $out) = @$_;

        is(ask({ body => $in })->{body}, $out, "a body: $in");
        is(ask(["data: $in\n\n"])->{body}, "data: $out\n\n", "an event: $in");
    }

    gateway->audit_next(8);

    # a replay, which nobody asked for with tools/list

    my $session = do {
        upstream->answer({ headers => { 'Mcp-Session-Id' => 's' },
                           result => {} });
        MCP::Test::legacy_session('/mcp', token => token);
    };

    upstream->clear;
    upstream->answer({ sse => ["id: 8\ndata: $rm\n\n"] });

    my $r = http("GET /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: "
                 . 'Bearer ' . token . "\r\nMcp-Session-Id: $session\r\n"
                 . "Last-Event-ID: 7\r\n\r\n");

    is($r->{body}, "id: 8\ndata: $ok\n\n", 'a replay');
    gateway->audit_next(2);

    # what breaks off: nothing of an entry that was not decided

    kept_back(ask({ body => $rm, cut => 60 }), 'upstream_closed', 'truncated');
    kept_back(ask({ body => $rm, headers => { 'Content-Encoding' => 'gzip' } }),
              'upstream_encoding', 'gzip');
    kept_back(ask({ status => 206, body => $rm }), 'upstream_status', 'a range');
};

done_testing;

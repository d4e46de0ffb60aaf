#!/usr/bin/perl

# deny_reply: the three ways to tell a caller that the rules forbid it, and that
# none of them tells what exists, what the rules are, or a secret.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();

use MCP::Trap http => <<'HTTP', conf => <<'CONF';
    mcp_server unknown {
        resource https://mcp.example.com/unknown;
        issuer okta;
        credential bot;
        deny_reply unknown;
        role engineer { allow tool echo; deny tool secret_rule where /x = y; }
        role *        { allow prompt greet; }
    }
    mcp_server forbidden {
        resource https://mcp.example.com/forbidden;
        issuer okta;
        deny_reply forbidden;
        role engineer { allow tool echo; deny tool secret_rule where /x = y; }
        role *        { allow prompt greet; }
    }
    mcp_server tool_error {
        resource https://mcp.example.com/tool_error;
        issuer okta;
        deny_reply tool_error;
        role engineer { allow tool echo; deny tool secret_rule where /x = y; }
        role *        { allow prompt greet; }
    }
HTTP
        error_page 403 404 =200 /own.html;
        location = /own.html { return 200 "the operator says"; }

        location /unknown    { mcp_auth unknown;
                               proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /forbidden  { mcp_auth forbidden;
                               proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /tool_error { mcp_auth tool_error;
                               proxy_pass http://127.0.0.1:%%PORT_8081%%; }
CONF

my $token = issuer->token(sub => 'alice', groups => ['engineer']);

# a request of an era and what it names

my %ask = (
    tool => sub { ['tools/call', { name => $_[0], arguments => { x => 'y' } }] },
    prompt => sub { ['prompts/get', { name => $_[0] }] },
    resource => sub { ['resources/read', { uri => "stub://$_[0]" }] },
    method => sub { ["x/$_[0]", {}] },
);

sub ask {
    my ($uri, $kind, $name, $era) = @_;

    return mcp_post($uri, rpc(@{$ask{$kind}->($name)}, era => $era,
                              id => '7'), token => $token, era => $era);
}

# JSON-RPC's and HTTP's code, by kind and era, as the official servers say it
# of what they do not have

my %unknown = (
    tool => [200, -32602, 'Unknown tool: NAME'],
    prompt => [200, -32602, 'Unknown prompt: NAME'],
    'resource modern' => [200, -32602, 'Resource not found: stub://NAME'],
    'resource legacy' => [200, -32002, 'Resource not found: stub://NAME'],
    'method modern' => [404, -32601, 'Method not found: x/NAME'],
    'method legacy' => [200, -32601, 'Method not found: x/NAME'],
);

for my $era (qw/ modern legacy /) {
    for my $kind (sort keys %ask) {

        # denied by a rule, by none, and not there: one answer

        for my $uri (qw( /unknown /forbidden /tool_error )) {
            my %seen;

            for my $name ('secret_rule', 'other', 'nothing') {
                my $r = ask($uri, $kind, $name, $era);
                my $said = $r->{body};
                my $what = "$uri: $era $kind $name";

                $said =~ s/$name/NAME/;
                $seen{"$r->{status} $said"} = 1;

                my $a = refused($r, $r->{status}, undef, undef, $what);

                is($a->{decision}, 'deny', "$what: recorded");
                unlike($r->{head} . $r->{body},
                       qr/downstream|engineer|deny_rule|where|the operator|
                          WWW-Authenticate/xi, "$what: tells nothing");
            }

            is(scalar keys %seen, 1, "$uri: $era $kind: one answer for all")
                or diag(explain(\%seen));

            my ($answer) = keys %seen;
            my ($status, $body) = $answer =~ /^(\d+) (.*)$/s;
            my $m = JSON::PP->new->utf8->decode($body);

            is($m->{id}, 7, "$uri: $era $kind: the id");

            if ($uri eq '/forbidden') {
                is("$status $m->{error}{code} $m->{error}{message}",
                   '403 403 Forbidden', "$uri: $era $kind: forbidden");

            } elsif ($uri eq '/tool_error' && $kind eq 'tool') {
                is_deeply($m->{result}, {
                    $era eq 'modern' ? (resultType => 'complete') : (),
                    content => [ { type => 'text',
                                   text => 'Denied by policy' } ],
                    isError => JSON::PP::true }, "$uri: $era: a tool's error");
                is($status, 200, "$uri: $era: with 200");

            } else {
                my $want = $unknown{"$kind $era"} || $unknown{$kind};

                is("$status $m->{error}{code}", "@$want[0, 1]",
                   "$uri: $era $kind: unknown");
                like($m->{error}{message}, qr/^\Q$want->[2]\E$|^Method not found$/,
                     "$uri: $era $kind: in these words");
            }
        }
    }

    for my $uri (qw( /unknown /forbidden /tool_error )) {
        my $r = mcp_post($uri, rpc('tools/call', { name => 'echo' },
                                   era => $era), token => $token, era => $era);
        passes($r, "$uri: $era: what is allowed");
    }
}


# a notification has no answer, whatever deny_reply says

for my $uri (qw( /unknown /forbidden /tool_error )) {
    my $r = mcp_post($uri, '{"jsonrpc":"2.0","method":"notifications/x"}',
                     token => $token, era => 'legacy');

    is($r->{body}, '', "$uri: a notification: no answer");
    refused($r, 202, undef, 'no_rule', "$uri: a notification");
}


# a name comes back escaped and bounded by what a name may be

my $r = mcp_post('/unknown', '{"jsonrpc":"2.0","id":1,"method":"tools/call",'
                 . '"params":{"name":"<b>\"\\\\\u0001\u2028é"}}',
                 token => $token, era => 'legacy');

like($r->{body}, qr/Unknown tool: <b>\\"\\\\\\u0001\\u2028\xc3\xa9"/,
     'an odd name');
is(JSON::PP->new->utf8->decode($r->{body})->{error}{code}, -32602, 'is JSON');


for ('deny_reply', 'deny_reply 404', 'deny_reply unknown; deny_reply unknown') {
    is((gateway->check(gateway->read_file('nginx.conf')
                       =~ s/deny_reply forbidden/$_/r))[0], 0,
       "nginx -t refuses $_");
}

done_testing;

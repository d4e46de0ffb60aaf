#!/usr/bin/perl

# A connection that is kept may have many callers: each request is that of its
# own token, whatever came before it on the same connection.

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

$t->write_conf(<<'END');
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    large_client_header_buffers 8 16k;
    mcp_max_token 8k;
    mcp_audit %%TESTDIR%%/audit.log;

    %%ISSUER_okta%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        role *    { allow tool *; }
        role here { allow prompt *; }
    }

    mcp_server other {
        resource https://mcp.example.com/other;
        issuer okta;
        role *     { allow tool *; }
        role there { allow prompt *; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        listen 127.0.0.1:%%PORT_8082%% ssl http2;
        ssl_certificate %%TESTDIR%%/tls.crt;
        ssl_certificate_key %%TESTDIR%%/tls.key;

        location /mcp {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /other {
            mcp_auth other;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END

my $d = $t->dir;

# TLS, because curl 7.88 sends but one request on a connection without

system('openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
       . " -subj /CN=localhost -days 2 -keyout $d/tls.key -out $d/tls.crt"
       . ' 2>/dev/null') == 0 or die 'openssl';

$t->start;

# names of one length: so are their tokens, nearly

my %token = map {
    my ($name, $more) = @$_;
    ($name => $okta->token(sub => $name, more => 'x' x $more,
                           aud => 'https://mcp.example.com/mcp'));
} [ alice => 0 ], [ bobby => 0 ], [ carol => 300 ], [ david => 1500 ],
  [ emily => 4500 ];

my $conn = MCP::Conn->new(port => port(8080));
my $a;

sub who {
    my ($token, $uri) = @_;
    my $msg = rpc('tools/call', { name => 'echo', arguments => {} });

    $conn->send(MCP::Test::mcp_request($uri || '/mcp', $msg, token => $token));
    my $r = $conn->read_response or return 'closed';
    $a = $t->audit_next(1, settle => 0);

    return $r->{status} == 200 ? $a->{user} : "$r->{status} $a->{reason}";
}


my @order = (('alice') x 4, ('bobby') x 3, 'alice', 'carol', 'carol', 'bobby',
             'david', 'david', 'carol', 'emily', 'emily', 'emily', 'david',
             'alice', 'alice', 'emily', 'alice');

is(who($token{$order[$_]}), $order[$_], "request $_ is of $order[$_]")
    for 0 .. $#order;


# what differs at one place only

is(who($token{alice}), 'alice', 'as before');

my $n = length $token{alice};

for my $at (0, 7, 8, 9, int($n / 2), $n - 10, $n - 9, $n - 8, $n - 2) {
    my $forged = $token{alice};
    my $ch = substr $forged, $at, 1;

    substr($forged, $at, 1) = $ch eq 'A' ? 'B' : 'A';
    like(who($forged), qr/^401 /, "another byte at $at of $n");
    is(who($token{alice}), 'alice', '... and as before');
}

like(who(substr $token{alice}, 0, -4), qr/^401 /, 'four bytes less');
like(who($token{alice} . 'AAAA'), qr/^401 /, 'four bytes more');


# who may be here need not be there

is(who($token{alice}), 'alice', 'alice on one server');
is(who($token{alice}, '/other'), '401 audience', 'not on the other');
is(who($token{alice}), 'alice', 'and again');

my $there = $okta->token(sub => 'alice',
                         aud => 'https://mcp.example.com/other');
is(who($there, '/other'), 'alice', 'another token, there') for 1 .. 2;
is(who($there), '401 audience', 'which is not for here');


# the caller's part of the record is kept with the token, by the names that
# roles have where it was used first; elsewhere they are others

my $both = $okta->token(sub => 'bobby', groups => [qw/ here there /],
                        aud => [ map { "https://mcp.example.com/$_" }
                                     qw/ mcp other / ]);

for (1 .. 3) {
    for my $at ([ mcp => '* here' ], [ other => '* there' ]) {
        my ($name, $roles) = @$at;

        who($both, "/$name");
        is("$a->{server} $a->{user} @{$a->{roles}}", "$name bobby $roles",
           "the record of $name names its own roles");
    }
}


# all at once: what one brought is in no other, though it lies in one buffer
# with it and waits for it

my $none = $okta->token(sub => 'nobody', exp => 1000);
my %pipe = (%token, none => $none, forged => substr($token{alice}, 0, -4)
                                             . 'AAAA');
my @in = map { (qw/ alice bobby none alice forged carol /, $_) }
         qw/ alice bobby emily none david forged /;
my @is = map { $_ eq 'none' ? 'expired -' : $_ eq 'forged' ? 'signature -'
                            : "allow $_" } @in;

$conn->send(join '', map {
    MCP::Test::mcp_request('/mcp', rpc('tools/call', { name => 'echo' }),
                           token => $pipe{$_})
} @in);

is(join(' ', map { $conn->read_response->{status} } @in),
   join(' ', map { /^allow/ ? 200 : 401 } @is), 'one behind the other');
is(join(', ', map { "$_->{reason} " . ($_->{user} // '-') }
              $t->audit_next(scalar @in)), join(', ', @is),
   'each on record as its own caller\'s');


# streams of HTTP/2, one after another on one connection

SKIP: {
    skip 'no curl with HTTP/2', 2
        unless (`curl --version 2>/dev/null` // '') =~ /\bHTTP2\b/;

    my @users = qw/ alice alice alice bobby alice bobby bobby emily emily
                    alice /;

    $t->write_file('body', JSON::PP->new->encode(rpc('tools/list', {})));
    $t->write_file('curl.conf', join "next\n", map {
        join '', map { "$_\n" }
            'url = "https://127.0.0.1:' . port(8082) . '/mcp"',
            'http2', 'silent', 'insecure',
            'header = "Content-Type: application/json"',
            'header = "Accept: application/json, text/event-stream"',
            "header = \"MCP-Protocol-Version: $MCP::Test::MODERN\"",
            'header = "Mcp-Method: tools/list"',
            "header = \"Authorization: Bearer $token{$_}\"",
            "data-binary = \"\@$d/body\"",
            'write-out = "%{num_connects}"', 'output = "/dev/null"'
    } @users);

    is(`curl -K $d/curl.conf`, '1' . '0' x $#users,
       'one connection');
    is(join(' ', map { $_->{user} // '-' } $t->audit_next(scalar @users)),
       "@users", 'each stream is of its own caller');
}


done_testing();

#!/usr/bin/perl

# A stream does not outlive its token by more than the server's grace (trap M33
# of docs/internals/traps.md): it ends like one that the upstream ended, the
# upstream's connection too, and the record says why.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1, conf => 'leeway 0s;');
my $note = '{"jsonrpc":"2.0","method":"notifications/message","params":{}}';
my $big = '{"jsonrpc":"2.0","method":"x","params":{"x":"' . 'y' x 60_000
          . '"}}';

# streams that do not end by themselves in the time of this test

my $up = MCP::Upstream->start($t, port => 8081, handler => sub {
    my ($req) = @_;

    return { sse => [ $req->{uri} =~ /silent/ ? (": hi\n\n", 30)
                    : $req->{uri} =~ /big/ ? (map { { data => $big } } 1 .. 800)
                    : (map { ({ data => $note }, 0.2) } 1 .. 150) ] };
});

$t->write_conf(<<'END');
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;

    %%ISSUERS%%

    mcp_server strict {
        resource https://mcp.example.com/mcp;
        issuer okta;
        stream_grace 0s;
        role * { allow tool echo; }
    }

    mcp_server grace {
        resource https://mcp.example.com/grace;
        issuer okta;
        stream_grace 2s;
        role * { allow tool echo; }
    }

    mcp_server plain {
        resource https://mcp.example.com/plain;
        issuer okta;
        role * { allow tool echo; }
    }

    send_timeout 20s;
    proxy_read_timeout 20s;

    server {
        listen 127.0.0.1:%%PORT_8080%% sndbuf=8k;
        location /mcp { mcp_auth strict; proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /grace { mcp_auth grace; proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location /plain { mcp_auth plain; proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
}
END
$t->start;

# A GET stream whose token has so many whole seconds left

sub stream {
    my ($uri, $left, %o) = @_;

    sleep 1 - (time - int time) + 0.02;

    my $token = $okta->token(-expires => $left);
    return $o{post}
            ? mcp_start($uri, rpc('tools/call', { name => 'echo' }),
                        token => $token)
            : http_start("GET $uri HTTP/1.1\r\nHost: localhost\r\nAccept: "
                         . "text/event-stream\r\nAuthorization: Bearer $token"
                         . "\r\n\r\n");
}

my @c = (
    ['a GET stream', 2, stream('/mcp', 2)],
    ['a call', 2, stream('/mcp', 2, post => 1)],
    ['one that is silent', 2, stream('/mcp/silent', 2)],
    ['with grace', 4, stream('/grace', 2)],
);

for (@c) {
    my ($what, $due, $c) = @$_;

    $c->read_head;
    is($c->{response}{status}, 200, "$what: begins");
}

# whose clients say nothing and hear nothing

my $deaf = stream('/mcp/big', 2);
my $long = stream('/mcp', 60);
my $default = stream('/plain', 1);

for (@c) {
    my ($what, $due, $c) = @$_;

    $c->read_body;
    ok($c->{response}{complete}, "$what: ends like one that is complete");
}

my @records = $t->audit_next(4);

is(scalar @records, 4, 'one record each');
is(join(' ', map { "$_->{decision}/$_->{reason}/$_->{result}{status}" }
             @records), join(' ', ('allow/token_expired/200') x 4),
   'which say why');

my @took = sort { $a <=> $b } map { $_->{ms}{total} } @records;

ok($took[0] > 1500 && $took[2] < 3500, 'in time')
    or diag("@took");
ok($took[3] > 3500 && $took[3] < 6000, 'and after the grace') or diag("@took");
is($t->read_log =~ /cut: token_expired/ ? 1 : 0, 1, 'logged');

my @aborted = $up->events(4);
cmp_ok(scalar @aborted, '>=', 4, 'the upstream is left');

my $r = http("GET /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
             . $okta->token(-expires => -1) . "\r\n\r\n");
is($r->{status}, 401, 'who comes back with the old token hears 401');
is($t->audit_next(1)->{reason}, 'expired', 'on record');

# nobody reads: cut off some seconds later

my $gone = $t->audit_next(1);

is("$gone->{decision} $gone->{reason}", 'allow token_expired',
   'a client that reads nothing is cut off');

# others go on, also over a reload, and end like any other

$default->read_head unless $default->{response};
$long->read_head unless $long->{response};
is(scalar(my @none = $t->audit_next(0)), 0, 'others are not');
ok($t->reload, 'reload');
is(scalar(@none = $t->audit_next(0, settle => 0.5)), 0, 'nor by a reload');
$_->close for $long, $default;
is(scalar(grep { $_->{reason} eq 'client_gone' } $t->audit_next(2)), 2,
   'clients that go are clients that go');

my $old = stream('/mcp', 2);
ok($t->reload, 'another one, while a stream is open');
is($old->read_response->{complete}, 1, 'the old worker ends it');
is($t->audit_next(1)->{reason}, 'token_expired', 'on record');

for ('stream_grace 2d', 'stream_grace x', 'stream_grace -1',
     'stream_grace 1s; stream_grace 1s')
{
    my ($ok) = $t->check($t->read_file('nginx.conf')
                         =~ s/stream_grace 2s/$_/r);
    is($ok, 0, "nginx -t refuses $_");
}

done_testing;

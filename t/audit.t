#!/usr/bin/perl

# What is in an audit record, of a call in either era: every key, its value and
# its place.

use strict;
use warnings;

use Digest::SHA qw/ sha256 hmac_sha256_hex /;
use FindBin;
use JSON::PP ();
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1,
                            conf => 'role engineer mcp-eng;');
my $up = MCP::Upstream->start($t, port => 8081);

my @keys = ('audit key no. 1, of 32 bytes or more',
            'audit key no. 2, of 32 bytes or more');
$t->write_file("key$_", "$keys[$_]\n") for 0 .. 1;

sub conf {
    my ($key) = @_;

    return <<"END";
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_audit_key %%TESTDIR%%/key$key;

    %%ISSUER_okta%%

    mcp_credential bot { type static; value secret; }

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        credential bot;
        params /summary /n /deep/flag;
        role engineer { allow tool *; deny tool delete_*; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location /mcp {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END
}

$t->write_conf(conf(0));
$t->start;

my %who = (sub => 'alice', cid => 'cli', jti => 'token-1',
           groups => ['mcp-eng', 'else']);
my $token = $okta->token(%who);
my $key = sha256($keys[0]);

sub digest { substr hmac_sha256_hex($_[0], $key), 0, 32 }

# as docs/audit.md tells an auditor

sub result_digest {
    my ($text) = @_;

    return digest($text) if length $text <= 1024;

    my $k = unpack 'H*', $key;
    my $info = unpack 'H*', "digest\0gmac";
    my $hash = unpack 'H*', openssl('kdf -keylen 32 -kdfopt digest:SHA256',
                                    "-kdfopt hexkey:$k -kdfopt hexinfo:$info",
                                    '-binary HKDF');

    $t->write_file('rest', substr $text, 1024);

    return digest(substr($text, 0, 1024)
                  . openssl("mac -cipher AES-256-GCM -macopt hexkey:$hash",
                            '-macopt hexiv:' . '0' x 24, '-binary -in',
                            $t->dir . '/rest GMAC'));
}

sub openssl {
    my $command = "openssl @_";
    return scalar `$command`;
}

sub line {
    my @lines = $t->read_file('audit.log') =~ /^(.*)\n/mg;
    return $lines[-1];
}

# the keys of the record itself, in their order

sub order {
    my ($line) = @_;
    1 while $line =~ s/:(?:\{[^{}]*\}|\[[^\[\]]*\])/:0/g;
    return join ' ', $line =~ /"(\w+)":/g;
}


# ---- a call of 2026-07-28

my $trace = '4bf92f3577b34da6a3ce929d0e0e4736';
my $args = '{"summary":"Fix \"it\"","n":7,"deep":{"flag":true},"secret":"s3"}';
my $body = '{"jsonrpc":"2.0","id":"q-1","method":"tools/call","params":{'
    . '"name":"create_issue","arguments":' . $args . ',"_meta":{'
    . '"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
    . '"io.modelcontextprotocol/clientCapabilities":{},'
    . '"io.modelcontextprotocol/clientInfo":{"name":"claude","version":"9.1"},'
    . qq("traceparent":"00-$trace-00f067aa0ba902b7-01"}}});

my $r = mcp_post('/mcp', $body, token => $token);
is($r->{status}, 200, 'a call');

my $a = $t->audit_next;

is(order(line()), 'ts seq node worker ev server method target decision reason '
   . 'rule user client kind auth issuer token_id roles agent rpc_id era params '
   . 'result credential upstream ms client_ip request_id trace_id',
   'all keys, in order');

like($a->{ts}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/, 'ts');
like(delete $a->{request_id}, qr/^[0-9a-f]{32}$/, 'request_id');
like(delete $a->{ms}{$_}, qr/^\d+(?:\.\d+)?$/, "ms.$_") for qw/ total auth /;
like(delete $a->{upstream}{ms}, qr/^\d/, 'upstream.ms');
ok(length delete $a->{node}, 'node');
delete $a->{ts};

is_deeply($a, {
    seq => 1, worker => 0, ev => 'call', server => 'mcp',
    method => 'tools/call', target => 'create_issue',
    decision => 'allow', reason => 'allow', rule => $a->{rule},
    user => 'alice', client => 'cli', kind => 'user', auth => 'jwt',
    issuer => $okta->{issuer}, token_id => 'token-1', roles => ['engineer'],
    agent => { name => 'claude', version => '9.1' },
    rpc_id => 'q-1', era => 'modern',
    params => { keys => [qw/ summary n deep secret /], bytes => length $args,
                digest => digest($args),
                clear => { '/summary' => 'Fix "it"', '/n' => 7,
                           '/deep/flag' => JSON::PP::true } },
    result => { status => 200, is_error => JSON::PP::false,
                bytes => length $r->{body},
                digest => result_digest($r->{body}) },
    credential => 'bot', ms => {},
    upstream => { addr => '127.0.0.1:' . port(8081), status => 200 },
    client_ip => '127.0.0.1', trace_id => $trace,
}, 'and their values');

like($a->{rule}, qr/allow tool \*/, 'rule');
unlike(line(), qr/s3/, 'nothing else in the clear');


# ---- calls of the legacy era

sub legacy {
    my ($method, $params, %o) = @_;
    my $res = mcp_post('/mcp', rpc($method, $params, era => 'legacy', %o),
                       token => $token, era => 'legacy', %o);
    return (scalar $t->audit_next, $res);
}

($a, $r) = legacy('initialize', { protocolVersion => '2025-11-25',
    capabilities => {}, clientInfo => { name => 'old', version => '0.1' } });

is("$a->{ev} $a->{era} $a->{agent}{name} $a->{agent}{version}",
   'session legacy old 0.1', 'initialize: the agent');

my $session = $r->{headers}{'mcp-session-id'};

($a) = legacy('tools/call', { name => 'create_issue' }, id => 12,
    session => $session,
    headers => { traceparent => "00-$trace-00f067aa0ba902b7-00" });

is(order(line()), 'ts seq node worker ev server method target decision reason '
   . 'rule user client kind auth issuer token_id roles rpc_id era session '
   . 'result credential upstream ms client_ip request_id trace_id',
   'legacy: all keys, in order');
is($a->{rpc_id}, 12, 'a number stays one');
is($a->{trace_id}, $trace, 'trace id of the header');
ok(length $a->{session} && $a->{session} ne $session, 'a digest of the session');
unlike(line(), qr/\Q$session\E/, 'not the session');

($a) = legacy('tools/call', { name => 'create_issue' },
              headers => { traceparent => '00-0-0-0' });
ok(!exists $a->{trace_id}, 'a bad traceparent is none');


# ---- results

my $error = { code => -32603, message => 'no' };
my $failed = { content => [], isError => JSON::PP::true };
my %long = map {
    ($_ => { content => [ { type => 'text', text => 'y' x $_ } ] });
} 900, 1100, 50_000;

for (['error', { error => $error }, -32603, undef],
     ['error in an event', { error => $error, as_sse => 1 }, -32603, undef],
     ['isError', { result => $failed }, undef, 1],
     ['isError in an event', { result => $failed, as_sse => 1 }, undef, 1],
     (map { [ "$_ bytes", { result => $long{$_} } ],
            [ "$_ bytes in an event", { result => $long{$_}, as_sse => 1 } ]
      } sort keys %long))
{
    my ($name, $answer, $code, $is) = @$_;

    $up->answer($answer);
    ($a, $r) = legacy('tools/call', { name => 'create_issue' });

    is($a->{result}{rpc_code}, $code, "$name: rpc_code");
    is(!!$a->{result}{is_error}, !!$is, "$name: is_error") if $is;
    is("$a->{decision} $a->{result}{status}", 'allow 200', "$name: HTTP 200");
    is($a->{result}{bytes}, length $r->{body}, "$name: bytes");
    is($a->{result}{digest}, result_digest($r->{body}), "$name: digest");
}

$up->answer({ result => { tools => [ map { { name => $_ } }
              qw/ create_issue delete_it delete_all / ] } });
($a) = legacy('tools/list', {});
is("$a->{ev} $a->{result}{removed}", 'list 2', 'a list: how much was cut');


# ---- digests are keyed

my @digests;

for my $with ('{"a":1}', '{"a":1}', '{"a":2}') {
    mcp_post('/mcp', qq({"jsonrpc":"2.0","id":1,"method":"tools/call","params":)
             . qq({"name":"x","arguments":$with}}), token => $token,
             era => 'legacy');
    push @digests, $t->audit_next->{params}{digest};
}

is($digests[0], $digests[1], 'equal bytes, equal digests');
isnt($digests[0], $digests[2], 'others');

ok($t->reload(conf(1)), 'another mcp_audit_key');
$key = sha256($keys[1]);
mcp_post('/mcp', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":'
         . '{"name":"x","arguments":{"a":1}}}', token => $token,
         era => 'legacy');
$a = $t->audit_next;
isnt($a->{params}{digest}, $digests[0], 'another digest');
is($a->{params}{digest}, digest('{"a":1}'), 'by the new key');


# ---- log injection

my $evil = qq(x\n{"seq":1,"decision":"allow"}\r\n\e[31m\x{2028}"\\);
my $before = () = $t->read_file('audit.log') =~ /\n/g;

mcp_post('/mcp', rpc('tools/call', { name => "delete_$evil",
                                     arguments => { $evil => $evil,
                                                    summary => $evil } },
                     id => "i$evil"), token => $token,
         headers => { 'Mcp-Name' => undef, 'User-Agent' => 'a"b' });
mcp_post('/mcp', rpc('tools/call', { name => "delete_$evil",
                                     arguments => { $evil => $evil,
                                                    summary => $evil } },
                     era => 'legacy', id => "i$evil"), token => $token,
         era => 'legacy');

my @a = $t->audit_next(2);
my $after = () = $t->read_file('audit.log') =~ /\n/g;

is($after - $before, 2, 'two lines for two calls');
is($a[1]{target}, "delete_$evil", 'the name, escaped');
is($a[1]{decision}, 'deny', 'is denied');
is($a[1]{params}{clear}{'/summary'}, $evil, 'so is what is in the clear');
unlike($t->read_file('audit.log'), qr/[\x00-\x09\x0b-\x1f]/,
       'no control characters');

done_testing;

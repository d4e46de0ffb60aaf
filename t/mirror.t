#!/usr/bin/perl

# The headers that mirror the body decide nothing, but must agree with it: an
# upstream or a balancer behind us may route by them.  Which era a message
# belongs to is its own claim, cross-checked with the header.
# Trap M42 of docs/internals/traps.md.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use MIME::Base64 qw/ encode_base64 /;

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

    %%ISSUER_okta%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        scope mcp.use;
        role * { allow tool *; allow prompt *; allow resource *;
                 allow method x/y; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        location / {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END
$t->start;

my $token = $okta->token(scp => ['mcp.use']);
my $key = 'io.modelcontextprotocol/protocolVersion';


sub b64 { '=?base64?' . encode_base64($_[0], '') . '?=' }


# status 200 and 202 pass; what else comes is (code, reason)

sub try_one {
    my ($what, $msg, $headers, $status, $code, $reason, %o) = @_;
    my $r = mcp_post('/mcp', $msg, token => $token, headers => $headers, %o);
    my @audit = $t->audit_next(1, settle => 0.01);
    my @seen = $up->requests_next($status < 300, settle => 0);

    is($r->{status}, $status, "$what: $status");
    is(scalar @audit, 1, "$what: one record");

    if (!$code) {
        is($audit[0]{decision}, 'allow', "$what: allowed");
        is(scalar @seen, 1, "$what: goes upstream");
        return;
    }

    is($r->{json}{error}{code}, $code, "$what: $code");
    is($r->{json}{id}, $msg->{id}, "$what: its id");
    is($audit[0]{reason}, $reason, "$what: $reason");
    is(scalar @seen, 0, "$what: goes nowhere");

    return $r;
}


sub good { try_one(@_[0, 1, 2], 200, undef, undef, @_[3 .. $#_]) }

my $call = sub { rpc('tools/call', { name => $_[0] }) };
my $old = sub { rpc('tools/call', { name => $_[0] }, era => 'legacy') };
my $list = rpc('tools/list', {});

# Mcp-Method

good('same method', $list, {});
good('space around', $list, { 'Mcp-Method' => "  tools/list \t" });

try_one("method '$_'", $list, { 'Mcp-Method' => $_ }, 400, -32020,
        'method_mismatch')
    for 'tools/call', 'Tools/list', 'tools/list/', '', 'tools/list, tools/call',
        'tools', "tools/list\xe9";

try_one('base64 method', $list, { 'Mcp-Method' => b64('tools/list') }, 400,
        -32020, 'method_mismatch');
try_one('no method', $list, { 'Mcp-Method' => undef }, 400, -32020,
        'method_header_missing');

# Mcp-Name

good('same name', $call->('echo'), {});
good('encoded', $call->('echo'), { 'Mcp-Name' => b64('echo') });
good('must be encoded', $call->("\xe9cho"),
     { 'Mcp-Name' => b64("\xc3\xa9cho") });
good('looks encoded, is encoded', $call->('=?base64?ZWNobw==?='),
     { 'Mcp-Name' => b64('=?base64?ZWNobw==?=') });
good('half a mark', $call->('=?base64?a'), { 'Mcp-Name' => '=?base64?a' });
good('other half', $call->('a?='), { 'Mcp-Name' => 'a?=' });
good('mark in capitals', $call->('=?BASE64?ZWNobw==?='),
     { 'Mcp-Name' => '=?BASE64?ZWNobw==?=' });

try_one("name '$_'", $call->('echo'), { 'Mcp-Name' => $_ }, 400, -32020,
        'name_mismatch')
    for 'rm', 'Echo', 'echo, rm', '', b64('rm'), b64('Echo'),
        '=?base64?ZWNobw?=', '=?base64?ZWNobx==?=', '=?base64?ZWN obw==?=',
        '=?base64?ZWNobw==', '=?base64?=', '=?base64??=', '=?base64?!!!!?=',
        '=?base64?ZWNobw==ZWNobw==?=', '=?base64?ZWNobw-_?=';

try_one('literal of what looks encoded', $call->('=?base64?ZWNobw==?='),
        { 'Mcp-Name' => '=?base64?ZWNobw==?=' }, 400, -32020,
        'name_mismatch');
try_one('raw bytes', $call->("\xe9"), { 'Mcp-Name' => "\xc3\xa9" }, 400,
        -32020, 'name_mismatch');
try_one('no name', $call->('echo'), { 'Mcp-Name' => undef }, 400, -32020,
        'name_header_missing');
try_one('name where none is', $list, { 'Mcp-Name' => 'echo' }, 400, -32020,
        'name_mismatch');

my $read = rpc('resources/read', { uri => 'a:b', name => 'other' });
good('uri', $read, { 'Mcp-Name' => 'a:b' });
try_one('uri, mirrored by the name', $read, { 'Mcp-Name' => 'other' }, 400,
        -32020, 'name_mismatch');
try_one('prompt', rpc('prompts/get', { name => 'a' }), { 'Mcp-Name' => 'b' },
        400, -32020, 'name_mismatch');

# a header that is there twice, or joined by the client, is no header

for my $name ('Mcp-Method', 'Mcp-Name', 'MCP-Protocol-Version', 'mcp-name',
              'Mcp-Session-Id', 'Origin', 'Content-Type')
{
    my %two = ('Mcp-Method' => 'tools/call',
               'MCP-Protocol-Version' => $MCP::Test::MODERN,
               'Content-Type' => 'application/json');
    my $v = $two{$name} || 'echo';
    my $r = mcp_post('/mcp', $call->('echo'), token => $token,
                     headers => { $name => [$v, $v] });

    is($r->{status}, 400, "$name twice: 400");
    isnt($t->audit_next->{decision}, 'allow', "$name twice: not allowed");
    my @seen = $up->requests_next(0, settle => 0);
    is(scalar @seen, 0, "$name twice: goes nowhere");
}

# in the legacy era they are not needed, but may not lie either

good('legacy, none', $old->('echo'), {}, era => 'legacy');
good('legacy, same', $old->('echo'),
     { 'Mcp-Method' => 'tools/call', 'Mcp-Name' => 'echo' }, era => 'legacy');
try_one('legacy, method', $old->('echo'), { 'Mcp-Method' => 'tools/list' },
        400, -32020, 'method_mismatch', era => 'legacy');
try_one('legacy, name', $old->('echo'), { 'Mcp-Name' => 'rm' },
        400, -32020, 'name_mismatch', era => 'legacy');

# eras

sub claim {
    my ($version, $method) = @_;
    my $m = rpc($method || 'tools/list', {});
    $m->{params}{_meta}{$key} = $version;
    return $m;
}

my $V = 'MCP-Protocol-Version';
my $plain = rpc('tools/list', {}, era => 'legacy');
my @modern = ('Mcp-Method' => 'tools/list');

good('no claim, no header', $plain, {}, era => 'none');
good("no claim, $_", $plain, { $V => $_ }, era => 'none')
    for '2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05';
good('legacy claim', claim('2025-11-25'), { $V => '2025-11-25' });

try_one("no claim, header '$_'", $plain, { $V => $_ }, 400, -32600,
        'version_header', era => 'none')
    for '2025-11-26', '1.0', '2026-7-28', 'latest', '2025-11-25, 2026-07-28';

try_one('modern header, no claim', $plain, { $V => '2026-07-28', @modern },
        400, -32602, 'version_missing', era => 'none');
try_one('modern header, initialize',
        rpc('initialize', { protocolVersion => '2025-11-25' },
            era => 'legacy'), { $V => '2026-07-28' }, 400, -32020,
        'version_mismatch', era => 'none');
try_one('modern claim, legacy header', claim('2026-07-28'),
        { $V => '2025-11-25' }, 400, -32020, 'version_mismatch');
try_one('modern claim, no header', claim('2026-07-28'), { $V => undef },
        400, -32020, 'version_header_missing');
try_one('legacy claim, modern header', claim('2025-11-25'),
        { $V => '2026-07-28' }, 400, -32020, 'version_mismatch');
try_one("claim " . ($_ // 'null'), claim($_), {}, 400, -32602,
        'version_malformed') for '2026-7-28', '', 20260728, undef, [];

for my $version ('2026-07-29', '2027-01-01', '9999-99-99') {
    my $r = try_one("future $version", claim($version), { $V => $version },
                    400, -32022, 'version');
    is($r->{json}{error}{data}{requested}, $version, 'the version asked for');
    is($r->{json}{error}{data}{supported}[0], '2026-07-28', 'those known');
}

try_one('unknown past', claim('2025-01-01'), { $V => '2025-01-01' }, 400,
        -32022, 'version');

my $bare = rpc('tools/list', {});
delete $bare->{params}{_meta}{'io.modelcontextprotocol/clientCapabilities'};
try_one('no capabilities', $bare, {}, 400, -32602, 'capabilities_missing');

# methods belong to an era

try_one("$_ in the modern era", rpc($_, { uri => 'a:b' }),
        { $V => $MCP::Test::MODERN }, 404, -32601, 'era')
    for 'ping', 'logging/setLevel', 'resources/subscribe', 'initialize';
try_one('subscriptions/listen in the legacy era',
        rpc('subscriptions/listen', {}, era => 'legacy'), {}, 200, -32601,
        'era', era => 'legacy');
try_one('unknown', rpc('x/z', {}), {}, 404, -32601, 'no_rule');
$up->answer({ result => {} }, { result => {} });
good('an extension', rpc('x/y', {}), {});
good('an extension with a name', rpc('x/y', { uri => 'q' }),
     { 'Mcp-Name' => 'q' });
try_one('an extension with another name', rpc('x/y', { uri => 'q' }),
        { 'Mcp-Name' => 'r' }, 400, -32020, 'name_mismatch');

# server/discover is answered to every caller, whatever its roles and scopes

$token = $okta->token;
good('discover without a scope', rpc('server/discover', {}), {});
my $r = mcp_post('/mcp', $list, token => $token);
is($r->{status}, 403, 'others need it');

done_testing;

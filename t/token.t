#!/usr/bin/perl

# Who is let in: every way in which a bearer token may be absent, malformed,
# forged, another server's or out of date.  The client is told one thing, the
# audit the reason, the upstream nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use MIME::Base64 qw/ encode_base64url decode_base64url /;

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1,
                            conf => 'role engineer mcp-eng mcp-leads;');
my $other = MCP::Issuer->new($t, name => 'other', static => 1, alg => 'ES256',
                             conf => 'token_type at+jwt;');
my $stranger = MCP::Issuer->new($t, name => 'stranger', static => 1);
my $up = MCP::Upstream->start($t, port => 8081);

$t->write_conf(<<'END');
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    large_client_header_buffers 4 32k;
    mcp_audit %%TESTDIR%%/audit.log;

    %%ISSUER_okta%%
    %%ISSUER_other%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta other;
        scope mcp.use;
        role *        { allow tool echo; }
        role engineer { allow tool deploy; }
    }

    mcp_server free {
        resource https://mcp.example.com/free;
        issuer okta;
        role * { allow tool *; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        location /mcp {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /free {
            mcp_auth free;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END
$t->start;

my $meta = 'https://mcp.example.com/.well-known/oauth-protected-resource/mcp';
my $plain = qq{Bearer resource_metadata="$meta", scope="mcp.use"};
my $invalid = qq{Bearer error="invalid_token", resource_metadata="$meta", }
              . 'scope="mcp.use", error_description="The access token is '
              . 'invalid or expired"';

sub token { $okta->token(scp => ['mcp.use'], @_) }
sub header { token(-header => $_[0]) }

sub ask {
    my ($value, %o) = @_;
    return call_tool('/mcp', $o{tool} || 'echo', {}, %o,
                     headers => { Authorization => $value,
                                  %{$o{headers} || {}} });
}

sub refused {
    my ($value, $reason, $name, $challenge) = @_;
    my $r = ask($value);
    my $a = $t->audit_next(1, settle => 0);

    is($r->{status}, 401, "$name: 401");
    is($r->{headers}{'www-authenticate'}, $challenge // $invalid,
       "$name: challenge");
    is($a->{reason}, $reason, "$name: audit");
    is($a->{decision}, 'deny', "$name: denied");
}

sub accepted {
    my ($token, $name, %expected) = @_;
    my $r = ask("Bearer $token");
    my $a = $t->audit_next(1, settle => 0);

    is($r->{status}, 200, "$name: 200");
    is($a->{decision}, 'allow', "$name: allowed");
    is_deeply($a->{$_}, $expected{$_}, "$name: $_") for sort keys %expected;
    $up->requests_next(1, settle => 0);
}


# no credentials: what to do, and no error (RFC 6750, section 3)

for ([undef, 'none', 'no_token'], ['Basic dXNlcjpwYXNz', 'another scheme'],
     ['Bearer', 'a scheme only'], ['Bearer ', 'an empty token'],
     ["Bearer\tabc", 'a tab'], ['Bearerabc', 'no space'], ['', 'nothing'])
{
    my ($value, $name, $reason) = @$_;
    refused($value, $reason || 'bad_authorization', $name, $plain);
}

my $r = ask(undef);
$t->audit_next;

is($r->{headers}{'content-type'}, 'application/json', 'the body is JSON');
is($r->{headers}{'cache-control'}, 'no-store', 'not to be cached');
is($r->{json}{error}{message}, 'Unauthorized', 'and says so');
is(scalar(grep { lc $_->[0] eq 'www-authenticate' } @{$r->{header_list}}), 1,
   'one challenge');

for my $method (qw/ GET DELETE PUT HEAD OPTIONS /) {
    $r = http("$method /mcp HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
              head => $method eq 'HEAD');
    is("$r->{status} $r->{headers}{'www-authenticate'}", "401 $plain",
       "$method: the same");
    $t->audit_next(1, settle => 0);
}


# text

my $good = token();
my ($h, $p, $s) = split /\./, $good;

for (['a.b', 'token_segments'], ["$h.$p.", 'token_segments'],
     ["$h.$p.$s.$s.$s", 'token_encrypted'], ["$good.", 'token_segments'],
     ["$good=", 'token_characters'], ["$h.$p.~", 'token_characters'],
     ["$good, $good", 'token_characters'], ["$good x", 'token_characters'],
     ["\"$good\"", 'token_characters'], ["$good%20", 'token_characters'],
     ["$h.$p.A", 'token_encoding'],
     [encode_base64url('[]') . ".$p.$s", 'header_json'],
     [encode_base64url('{"alg":"RS256","alg":"RS256"}') . ".$p.$s",
      'header_json'],
     [encode_base64url('{"alg":"RS256"} x') . ".$p.$s", 'header_json'],
     ["$h." . encode_base64url('{') . ".$s", 'payload_json'],
     ["$h." . encode_base64url('{"iss":"a","iss":"b"}') . ".$s",
      'payload_json'],
     ["$h." . encode_base64url('[' x 10000) . ".$s", 'payload_json'],
     ["$h." . encode_base64url('{"iss":["' . $okta->{issuer} . '"]}') . ".$s",
      'iss'])
{
    refused("Bearer $_->[0]", $_->[1], substr $_->[0], -20);
}


# algorithm and key

my $kid = '"kid":"key-1"';
my $pem = `openssl pkey -in $okta->{keys}[0]{file} -pubout`;
my $public = $t->write_file('public.pem', $pem);
my $n = decode_base64url((JSON::PP::decode_json($okta->jwks))->{keys}[0]{n});
my $modulus = $t->write_file('modulus', $n);

refused('Bearer ' . token(-alg => 'none', -header => qq({"alg":"$_",$kid}))
        . ($_ eq 'none' ? '' : $s), $_ eq 'none' ? 'token_segments' : 'alg',
        "alg $_")
    for qw/ none None NONE nOnE /;

refused('Bearer ' . token(-key => $_, -alg => 'HS256',
                          -header => qq({"alg":"HS256",$kid})),
        'alg', "HS256 with the public key: $_") for $public, $modulus;

for (['{"alg":"RS256","kid":"key-1","crit":[]}', 'crit'],
     ['{"alg":"RS256","kid":"key-1","crit":["exp"]}', 'crit'],
     ['{"alg":"RS256","kid":"key-1","b64":false}', 'header_extension'],
     ['{"alg":"RS256","kid":"key-1","zip":"DEF"}', 'header_extension'],
     ['{"alg":["RS256"],"kid":"key-1"}', 'alg'], ['{"kid":"key-1"}', 'alg'],
     ['{"alg":"rs256","kid":"key-1"}', 'alg'],
     ['{"alg":"RS256","kid":1}', 'kid'], ['{"alg":"RS256","kid":""}', 'kid'],
     ['{"alg":"RS256","kid":"key-1","typ":"dpop+jwt"}', 'typ'],
     ['{"alg":"RS256","kid":"key-1","typ":"logout+jwt"}', 'typ'],
     ['{"alg":"RS256","kid":"key-1","typ":"okta-internal-at+jwt"}', 'typ'],
     ['{"alg":"RS256","kid":"key-1","cty":"JWT"}', 'nested'],
     ['{"alg":"RS512","kid":"key-1"}', 'alg_not_allowed'],
     ['{"alg":"ES256","kid":"key-1"}', 'alg_key_mismatch'],
     ['{"alg":"RS256","kid":"key-2"}', 'unknown_kid'],
     ['{"alg":"RS256","kid":"../../../dev/null"}', 'unknown_kid'])
{
    refused('Bearer ' . header($_->[0]), $_->[1], $_->[0]);
}

my $mine = $stranger->{keys}[0];
my $jwk = JSON::PP::encode_json((JSON::PP::decode_json($stranger->jwks))
                                ->{keys}[0]);

refused('Bearer ' . token(-key => { %$mine, alg => 'RS256' }), 'signature',
        'signed by another key of the same kid');
refused('Bearer ' . token(-key => $mine, -header =>
                          qq({"alg":"RS256",$kid,"jwk":$jwk})), 'signature',
        'with its own key in it');

my $evil = encode_base64url(decode_base64url($p) =~ s/alice/admin/r);
refused("Bearer $h.$evil.$s", 'signature', 'changed claims');


# claims

my $now = time;

for ([[iss => $stranger->{issuer}], 'unknown_issuer'],
     [[iss => "$okta->{issuer}/"], 'unknown_issuer'],
     [[iss => $other->{issuer}], 'alg_key_mismatch', "another's name"],
     [[exp => $now - 31], 'expired'], [[exp => undef], 'exp'],
     [[exp => "$now"], 'exp'], [[iat => undef], 'iat'],
     [[iat => $now + 120], 'issued_in_future'],
     [[nbf => $now + 120], 'not_yet_valid'], [[nbf => 'now'], 'nbf'],
     [[aud => undef], 'aud'], [[aud => []], 'aud'], [[aud => {}], 'aud'],
     [[aud => 'https://mcp.example.com/mcp/'], 'audience'],
     [[aud => 'https://mcp.example.com/mc'], 'audience'],
     [[aud => 'https://mcp.example.com/MCP'], 'audience'],
     [[aud => ['a', ['https://mcp.example.com/mcp']]], 'aud'],
     [[sub => undef], 'sub'], [[sub => ''], 'sub'],
     [[sub => "admin\0x"], 'payload_json'], [[sub => "a\nb"], 'sub'],
     [[uid => ['alice']], 'user'],
     [[cnf => { jkt => 'abc' }], 'sender_constrained'],
     [[cnf => undef, nonce => 'n'], 'not_an_access_token', 'ID token: nonce'],
     [[at_hash => 'x'], 'not_an_access_token', 'ID token: at_hash'],
     [[jti => 'ID.abc'], 'not_an_access_token', 'ID token of Okta'],
     [[typ => 'Refresh'], 'not_an_access_token', 'refresh token of Keycloak'],
     [[token_use => 'id'], 'not_an_access_token', 'ID token of Cognito'],
     [[events => {}], 'not_an_access_token', 'logout token'],
     [[groups => { a => 1 }], 'roles'], [[groups => [1]], 'roles'],
     [[_claim_names => { groups => 'src1' }], 'roles', 'groups elsewhere'],
     [[groups => [1 .. 1025]], 'too_many_groups', 'groups'],
     [[scp => [1]], 'scope'])
{
    my ($claims, $reason, $name) = @$_;

    $name ||= join ' ', map { ref $_ ? JSON::PP::encode_json($_) : $_ // '-' }
                        @$claims;
    refused('Bearer ' . token(@$claims), $reason, $name);
}
is(scalar $up->requests(0), 0, 'none of them reached the upstream');


# error.log at info has what the configuration is to be compared with, and
# nothing that could be a secret or more than one line

my $says = qr/\[info\].* mcp_auth: token refused:/;

like($t->read_log, qr!$says unknown_issuer, its "iss" is "\Q$okta->{issuer}\E/"!,
     'error.log: iss');
like($t->read_log, qr!$says audience, its "aud" is "https://\S+/mcp/"!,
     'error.log: aud');

ask('Bearer ' . token(iss => "https://x/\e[2J\x{e9} $good", aud => 'y'));
ask('Bearer ' . token(iss => 'https://' . 'z' x 500));
ask('Bearer ' . token(aud => ['a1', 'a2', 'a3', 'a4', 'a5', "b\e[1m"]));
$t->audit_next(3);

like($t->read_log, qr!$says unknown_issuer, its "iss" is "https://x/\?\[2J\?\?!,
     'without control characters');
like($t->read_log, qr!$says unknown_issuer, its "iss" is "https://z{100,248}"!,
     'bounded');
like($t->read_log, qr!$says audience, its "aud" is "a4"!, 'several audiences');
unlike($t->read_log, qr!its "aud" is "a5"!, 'not all of them');
unlike($t->read_log, qr!\Q$p\E|\Q$s\E!, 'and no token');


# what is good

accepted($good, 'of Okta: no typ', user => 'alice', client => 'test-client',
         issuer => $okta->{issuer}, kind => 'user', auth => 'jwt');
accepted(token(-typ => 'JWT', uid => '00u1', sub => 'a@b'), 'typ JWT',
         user => '00u1');
accepted(token(-typ => 'application/AT+jwt', nonce => 'n'), 'typ at+jwt');
accepted(token(aud => ['x', 'https://mcp.example.com/mcp']), 'two audiences');
accepted(token(exp => $now - 5, iat => $now - 60), 'expired within leeway');
accepted(token(nbf => $now + 5, iat => $now + 5), 'early within leeway');
accepted(token(exp => $now + 100.5, iat => $now - 0.5), 'fractions');
accepted(token(-kid => undef), 'no kid, one key');
accepted(token(sub => '0oa1', cid => '0oa1'), 'a service', kind => 'service',
         client => '0oa1', user => undef);

$r = ask("bEaReR   $good");
$t->audit_next;
is($r->{status}, 200, 'the scheme in any case, spaces behind it');


# the second issuer of this server wants at+jwt

sub of_other { $other->token(scope => 'mcp.use x', aud => $okta->{audience},
                             @_) }

accepted(of_other(-typ => 'at+jwt'), 'the second issuer',
         issuer => $other->{issuer});
refused('Bearer ' . of_other(), 'typ', 'the second issuer without typ');

$r = call_tool('/free', 'echo', {}, token => of_other(-typ => 'at+jwt'));
is($r->{status}, 401, 'not an issuer of that server');
is($t->audit_next->{reason}, 'unknown_issuer', 'says the audit');


# roles from groups

for (['mcp-eng', 1], ['mcp-leads', 1], ['engineer', 0], ['MCP-ENG', 0],
     ['mcp-eng2', 0])
{
    my ($group, $may) = @$_;

    $r = ask('Bearer ' . token(groups => ['x', $group]), tool => 'deploy');
    is(exists $r->{json}{result} ? 1 : 0, $may, "group $group");
    my $a = $t->audit_next(1, settle => 0);
    is_deeply($a->{roles}, $may ? ['*', 'engineer'] : ['*'], 'its roles');
}

done_testing;

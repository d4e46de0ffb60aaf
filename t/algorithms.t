#!/usr/bin/perl

# Each algorithm is accepted where `algorithms` names it, and nowhere else,
# whatever keys there are and whatever the token says of itself.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my @algs = qw/ RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA /;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $up = MCP::Upstream->start($t, port => 8081);

# all of them have their key in the set; RSA keys say nothing of the algorithm

for (qw/ ES256 ES384 ES512 EdDSA Ed448 /) {
    $okta->add_key("key-$_", $_);
}

my %key = map { $_->{alg} => $_ } @{$okta->{keys}};
my $rsa = $key{RS256}{file};

$okta->publish(MCP::Issuer::mint('jwks', "key-1=$rsa",
    map { "key-$_=$key{$_}{file}" } qw/ ES256 ES384 ES512 EdDSA Ed448 /));

my ($issuers, $servers, $locations) = ('', '', '');

for my $name ('default', @algs) {
    my $block = $okta->issuer_conf;
    my $algorithms = $name eq 'default' ? '' : "algorithms $name;";

    $block =~ s/mcp_issuer okta/mcp_issuer $name/;
    $block =~ s/\}\s*\z/$algorithms }/;
    $issuers .= "$block\n";

    $servers .= "mcp_server $name { resource https://mcp.example.com/$name; "
              . "issuer $name; role * { allow tool *; } }\n";
    $locations .= "location /$name { mcp_auth $name; "
                . "proxy_pass http://127.0.0.1:%%PORT_8081%%; }\n";
}

$t->write_conf(<<"END");
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    $issuers
    $servers
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        $locations
    }
}
END
$t->start;

my %tokens = map {
    my $key = /^[RP]S/ ? $key{RS256} : $key{$_};
    $_ => $okta->token(-key => $key, -alg => $_);
} @algs;

for my $server ('default', @algs) {
    my %may = map { $_ => 1 }
              $server eq 'default' ? qw/ RS256 ES256 / : $server;

    # once more from the cache

    for (1, 2) {
        for my $alg (@algs) {
            my $r = call_tool("/$server", 'echo', {}, token => $tokens{$alg});
            my $a = $t->audit_next(1, settle => 0);

            is($r->{status}, $may{$alg} ? 200 : 401, "$server: $alg");
            is($a->{reason}, $may{$alg} ? 'allow' : 'alg_not_allowed',
               "$server: $alg: audit");
        }
    }
}

is(scalar $up->requests(0), 2 * (@algs + 2), 'no other reached the upstream');


# the key decides as well: a signature of one algorithm under the name of
# another, a curve with the digest of another

sub claim {
    my ($name, $alg, $key, $signed) = @_;
    my $token = $okta->token(-key => $key, -alg => $signed, -header =>
                             qq({"alg":"$alg","kid":"$key->{kid}"}));

    my $r = call_tool("/$name", 'echo', {}, token => $token);
    return ($r->{status}, $t->audit_next(1, settle => 0)->{reason});
}

for (['RS256', 'RS256', $key{RS256}, 'PS256', 'signature'],
     ['PS256', 'PS256', $key{RS256}, 'RS256', 'signature'],
     ['RS512', 'RS512', $key{RS256}, 'RS256', 'signature'],
     ['PS384', 'PS384', $key{RS256}, 'PS256', 'signature'],
     ['ES256', 'ES256', $key{ES384}, 'ES384', 'alg_key_mismatch'],
     ['ES512', 'ES512', $key{ES256}, 'ES256', 'alg_key_mismatch'],
     ['ES256', 'ES256', $key{EdDSA}, 'EdDSA', 'alg_key_mismatch'],
     ['EdDSA', 'EdDSA', $key{ES256}, 'ES256', 'alg_key_mismatch'],
     ['EdDSA', 'Ed25519', $key{Ed448}, 'Ed448', 'alg_key_mismatch'],
     ['RS256', 'RS256', $key{ES256}, 'ES256', 'alg_key_mismatch'])
{
    my ($name, $alg, $key, $signed, $reason) = @$_;

    is_deeply([ claim($name, $alg, $key, $signed) ], [ 401, $reason ],
              "$signed as $alg with $key->{kid}");
}

# RFC 9864: the names of EdDSA's curves

is((claim('EdDSA', 'Ed25519', $key{EdDSA}, 'EdDSA'))[0], 200, 'Ed25519');
is((claim('EdDSA', 'Ed448', $key{Ed448}, 'Ed448'))[0], 200, 'Ed448');
is((claim('EdDSA', 'EdDSA', $key{Ed448}, 'Ed448'))[0], 200, 'EdDSA is both');


# one byte less or more, zeros, DER instead of both numbers

use MIME::Base64 qw/ encode_base64url decode_base64url /;

for my $alg (qw/ RS256 ES256 EdDSA /) {
    my ($text, $signature) = $tokens{$alg} =~ /^(.*)\.(.*)$/;
    my $bytes = decode_base64url($signature);

    for (['less', substr $bytes, 0, -1], ['more', "$bytes\0"],
         ['zero in front', "\0$bytes"], ['all zero', "\0" x length $bytes],
         ['twice', "$bytes$bytes"], ['one byte', 'x'],
         ['DER', "0\x06\x02\x01\x01\x02\x01\x01"])
    {
        my ($name, $forged) = @$_;
        my $r = call_tool("/$alg", 'echo', {},
                          token => "$text." . encode_base64url($forged));

        is("$r->{status} " . $t->audit_next(1, settle => 0)->{reason},
           '401 signature', "$alg: $name");
    }
}

for (qw/ none HS256 HS512 RS1 rs256 ES256K dir A128KW /) {
    my $block = $okta->issuer_conf;
    $block =~ s/\}\s*\z/algorithms RS256 $_; }/;

    my ($ok, $said) = $t->check("%%GLOBALS%%\nevents { }\nhttp { $block }\n");
    ok(!$ok, "algorithms $_: refused by nginx -t");
    like($said, qr/unsupported algorithm "$_".* in \S+:\d+/, 'with its line');
}

done_testing;

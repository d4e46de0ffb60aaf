#!/usr/bin/perl

# Trap N8 of docs/internals/traps.md: what a token says of its own algorithm,
# key and encoding is compared with what is configured, and never believed.
# Through the gateway, with keys that would do it and a list of algorithms that
# has them all.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use MIME::Base64 qw/ encode_base64url decode_base64url decode_base64 /;

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $up = MCP::Upstream->start($t, port => 8081);
my $json = JSON::PP->new->canonical;

my %key = (rsa => { kid => 'rsa', alg => 'RS256' });
$key{rsa}{file} = $okta->{keys}[0]{file};
$key{$_->[0]} = $okta->add_key(@$_)
    for ['ec', 'ES256'], ['ed', 'EdDSA'];

my %jwk = map {
    $_ => JSON::PP->new->decode(MCP::Issuer::mint('jwks',
              "$_=$key{$_}{file}"))->{keys}[0]
} keys %key;

# a key set each: the key "rsa" with more members, or others, and one more

my %sets = (
    plain => {},
    sig => { use => 'sig', key_ops => ['verify'], alg => 'RS256' },
    enc => { use => 'enc' },
    use_list => { use => ['sig'] },
    use_case => { use => 'SIG' },
    ops_sign => { key_ops => ['sign'] },
    ops_none => { key_ops => [] },
    ops_text => { key_ops => 'verify' },
    alg_other => { alg => 'RS512' },
    alg_oaep => { alg => 'RSA-OAEP-256' },
    alg_hmac => { alg => 'HS256' },
    alg_none => { alg => 'none' },
    alg_list => { alg => ['RS256'] },
    kty_case => { kty => 'rsa' },
    kty_ec => { kty => 'EC', crv => 'P-256' },
    kty_oct => { kty => 'oct', k => $jwk{rsa}{n} },
    with_k => { k => encode_base64url('secret') },
    with_d => { d => 'AQAB' },
);
my %fine = (plain => 1, sig => 1);

my ($issuers, $servers, $locations) = ('', '', '');

for my $set (sort keys %sets) {
    my $name = $set =~ tr/_/-/r;

    $okta->{name} = $name;
    $okta->publish($json->encode({ keys => [
        { %{$jwk{rsa}}, %{$sets{$set}} }, $jwk{ec}, $jwk{ed} ] }));

    my $block = $okta->issuer_conf;
    $block =~ s/\}\s*\z/algorithms RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA; }/;
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

# Records are looked at together, in the order of the requests.

my @expected;

sub is_refused {
    my ($token, $reason, $what, $set) = @_;

    my $r = call_tool('/' . ($set || 'plain'), 'echo', {}, token => $token);

    is($r->{status}, 401, "N8 $what: refused");
    push @expected, [$what, $reason];
}

sub recorded {
    my @records = $t->audit_next(scalar @expected, settle => 0);

    is(scalar @records, scalar @expected, 'N8 each is on record');

    for (@expected) {
        my ($what, $reason) = @$_;
        my $a = shift @records || {};

        like($a->{reason}, qr/^(?:$reason)$/, "N8 $what: $reason on record");
        ok(!defined $a->{user}, "N8 $what: nobody on record");
    }

    @expected = ();
}

sub is_taken {
    my ($token, $what, $set) = @_;

    recorded();

    my $r = call_tool('/' . ($set || 'plain'), 'echo', {}, token => $token);
    my $a = $t->audit_next(1, settle => 0);

    is("$r->{status} $a->{reason}", '200 allow', "N8 $what: taken");
    is(scalar(my @seen = $up->requests_next(1, settle => 0)), 1,
       "N8 $what: and nothing else");
}

sub token { $okta->token(-key => $key{rsa}, @_) }

is_taken(token(), 'RS256');


# ---- the public key as the secret of an HMAC, in each form in which it is had

sub file {
    my ($name, $bytes) = @_;
    $t->write_file("secret-$name", $bytes);
    return $t->dir . "/secret-$name";
}

my $pem = `openssl pkey -in $key{rsa}{file} -pubout`;
my $pkcs1 = `openssl rsa -in $key{rsa}{file} -RSAPublicKey_out 2>/dev/null`;
like($pem, qr/BEGIN PUBLIC KEY/, 'the public key');
like($pkcs1, qr/BEGIN RSA PUBLIC KEY/, 'in the older form');

my ($der) = $pem =~ /-----\n(.*?)-----/s;
my ($der1) = $pkcs1 =~ /-----\n(.*?)-----/s;

my %secret = (
    pem => $pem, 'pem-no-lf' => $pem =~ s/\n\z//r,
    'pem-crlf' => $pem =~ s/\n/\r\n/gr,
    pkcs1 => $pkcs1, 'pkcs1-no-lf' => $pkcs1 =~ s/\n\z//r,
    der => decode_base64($der), 'der-base64' => $der =~ s/\s//gr,
    'pkcs1-der' => decode_base64($der1),
    n => $jwk{rsa}{n}, 'n-bytes' => decode_base64url($jwk{rsa}{n}),
    jwk => $json->encode($jwk{rsa}), kid => 'rsa', empty => '',
);

for my $form (sort keys %secret) {
    my $file = file($form, $secret{$form});

    # as it should be called, and as what the key is for

    for my $alg ('HS256', 'RS256', 'ES256', 'EdDSA') {
        is_refused(token(-key => { file => $file, kid => 'rsa' },
                         -alg => 'HS256',
                         -header => qq({"alg":"$alg","kid":"rsa"})),
                   $alg eq 'HS256' ? 'alg' : 'signature|alg_key_mismatch',
                   "HMAC with $form as $alg");
    }
}

is_refused(token(-header => qq({"alg":"$_","kid":"rsa"})), 'alg',
           "alg $_ over a good signature")
    for 'HS256', 'HS384', 'HS512', 'RSA', 'rs256', 'RS256 ', 'RS256\u0020',
        'RS256,none', 'RS1', 'ES256K', 'dir', 'A256KW', 'RSA-OAEP', '';


# ---- none, however it is spelled; with, without, and with any signature

my ($text, $signature) = token() =~ /^(.*)\.(.*)$/;
my ($head, $claims) = split /\./, $text;

for my $alg ('none', 'None', 'NONE', 'nOnE', 'noNe', 'none ', ' none',
             '\u006eone', 'nonE', 'null', 'no\u006ee')
{
    for my $kid ('', ',"kid":"rsa"') {
        my $h = encode_base64url(qq({"alg":"$alg"$kid}));

        is_refused("$h.$claims.$_->[0]", $_->[1], "$alg$kid, $_->[2]")
            for ['', 'token_segments|bad_authorization', 'no signature'],
                [$signature, 'alg', 'a good one of another'],
                ['AA', 'alg', 'one byte'];

        is_refused("$h.$claims", 'token_segments', "$alg$kid, two segments");
    }
}

is_refused(encode_base64url($_) . ".$claims.$signature", 'alg|header_json',
           "the header $_")
    for '{}', '{"alg":null}', '{"alg":[]}', '{"alg":["RS256"]}', '{"alg":0}',
        '{"alg":false}', '{"alg":{"RS256":1}}', '{"ALG":"RS256"}',
        '{"alg":"none","alg":"RS256"}', '{"alg":"RS256","alg":"none"}',
        '{"alg":"RS256","\u0061lg":"none"}', "\xef\xbb\xbf" . '{"alg":"RS256"}';


# ---- another family or curve than the key is of

for (['rsa', 'RS256', 'ES256'], ['rsa', 'RS256', 'EdDSA'],
     ['ec', 'ES256', 'RS256'], ['ec', 'ES256', 'ES384'],
     ['ec', 'ES256', 'EdDSA'], ['ed', 'EdDSA', 'ES256'],
     ['ed', 'EdDSA', 'PS256'], ['ed', 'EdDSA', 'Ed448'])
{
    my ($name, $alg, $as) = @$_;

    is_refused(token(-key => $key{$name}, -alg => $alg, -header =>
                     qq({"alg":"$as","kid":"$name"})), 'alg_key_mismatch',
               "$alg of $name as $as");
}

is_refused(token(-header => '{"alg":"RS256","kid":"ec"}'), 'alg_key_mismatch',
           'the kid of another kind of key');


# ---- a key that the token brings along; what changes what is signed

my $evil = $okta->add_key('evil', 'RS256');
my $brought = $json->encode(MCP::Issuer::mint('jwks', "rsa=$evil->{file}")
                            =~ /\[(.*)\]/s
                            ? JSON::PP->new->decode($1) : {});

for my $more (qq("jwk":$brought), '"jku":"https://mcp.example.com/keys"',
              '"jku":"http://127.0.0.1:%%PORT_8081%%/keys"',
              '"x5u":"http://127.0.0.1:%%PORT_8081%%/cert"',
              '"x5c":["MIIB"]', '"x5t":"AAAA"', '"x5t#S256":"AAAA"')
{
    my $member = $t->expand($more);

    is_refused(token(-key => $evil, -alg => 'RS256', -header =>
                     qq({"alg":"RS256","kid":"rsa",$member})), 'signature',
               "signed by the key of $more");
    is_refused(token(-key => $evil, -alg => 'RS256', -header =>
                     qq({"alg":"RS256","kid":"evil",$member})), 'unknown_kid',
               "and with its kid");
}

for ('"crit":["exp"]', '"crit":[]', '"crit":["b64"],"b64":false',
     '"b64":false', '"b64":true', '"zip":"DEF"', '"enc":"A128GCM"',
     '"epk":{}', '"p2c":1', '"p2s":"AA"')
{
    is_refused(token(-header => qq({"alg":"RS256","kid":"rsa",$_})),
               'crit|header_extension', "a good signature with $_");
}

# b64 false: the claims as they are, signed so

my $raw = $okta->token(-key => $key{rsa}, -header =>
                       '{"alg":"RS256","kid":"rsa","crit":["b64"],"b64":false}');
my ($rh, $rc, $rs) = split /\./, $raw;
is_refused("$rh." . decode_base64url($rc) . ".$rs",
           'token_characters|token_segments|bad_authorization',
           'claims that are not encoded');


# ---- the key set has a word as well

for my $set (sort keys %sets) {
    my $name = $set =~ tr/_/-/r;

    my $token = token();

    if ($fine{$set}) {
        is_taken($token, "a key that is $set", $name);
        next;
    }

    is_refused($token, 'alg_key_mismatch|unknown_kid', "a key that is $set",
               $name);

    # nor without its name, nor by an HMAC under what is public of it

    is_refused(token(-kid => undef), 'signature|unknown_kid|kid_missing',
               "$set, without a kid", $name);
    is_refused(token(-key => { file => file('oct', $jwk{rsa}{n}),
                               kid => 'rsa' }, -alg => 'HS256'),
               'alg', "$set, an HMAC", $name);
}


# ---- base64url: one text for one token

my $good = token();
my ($h, $c, $s) = split /\./, $good;

is_taken($good, 'the token as it is');

my %mangled = (
    'padding' => ["$h.$c.$s=", "$h.$c.$s==", "$h=.$c.$s", "$h==.$c.$s",
                  "$h.$c=.$s", "$good%3d", "$h.$c.$s%3D%3D"],
    'space' => ["$h .$c.$s", "$h. $c.$s", "$h.$c.\t$s", "$good\x0b",
                "$good\x0c", "$h.$c.$s\xa0"],
    'other signs' => ["$h.$c.$s!", "$h.$c.$s,", "$h.$c.$s~",
                      "$h.$c.$s\x80", "\xef\xbb\xbf$good", "$good\"",
                      "\"$good\"", "$good;", "$h|$c|$s", "$h\xe3\x80\x82$c.$s"],
    'segments' => [".$good", "$good.", "$h..$c.$s", "$h.$c.$s.$s",
                   "$h.$c.$s.$s.$s", "$h.$c", $h, "..", ".$c.$s", "$h..$s"],
    'a character more' => ["$h.$c.${s}A", "$h.$c.${s}AA", "$h.$c.${s}AAA",
                           "$h.$c.${s}AAAA", "${h}AAAA.$c.$s",
                           "$h.${c}AAAA.$s"],
    'a character less' => ["$h.$c." . substr($s, 0, -1),
                           "$h." . substr($c, 0, -1) . ".$s",
                           substr($h, 0, -1) . ".$c.$s"],
);

for my $how (sort keys %mangled) {
    my $i = 0;

    is_refused($_, 'token_\w+|bad_authorization|duplicate_header|signature'
                   . '|header_json|payload_json',
               "$how, " . ++$i)
        for @{$mangled{$how}};
}

# the standard alphabet: of a token that has both of its signs

my $both;

for (1 .. 200) {
    $both = token();
    last if ($both =~ /\..*\..*-/ && $both =~ /\..*\..*_/);
}

like($both, qr/\.[^.]*\.[^.]*(?:-.*_|_.*-)/, 'both signs are there');
is_taken($both, 'with both signs');
is_refused($both =~ s/(\..*\..*?)-/$1+/r, 'token_characters', '+ for -');
is_refused($both =~ s/(\..*\..*?)_/$1\//r, 'token_characters', '/ for _');
is_refused($both =~ tr{-_}{+/}r, 'token_characters', 'both');

# bits that no byte has: every other last character that decodes to the same;
# 256 bytes leave four of them, 64 bytes as well

my $alphabet = join '', 'A' .. 'Z', 'a' .. 'z', 0 .. 9, '-', '_';

for my $name ('rsa', 'ed') {
    my $whole = $okta->token(-key => $key{$name});
    my $last = substr $whole, -1;
    my $at = index $alphabet, $last;

    is_taken($whole, "$name: as it is");
    is($at % 16, 0, "$name: four bits are zero");

    is_refused(substr($whole, 0, -1) . substr($alphabet, $at + $_, 1),
               'token_encoding', "$name: $_ in bits that must be zero")
        for 1 .. 15;
}

recorded();
is(scalar(my @rest = $up->requests_next(0)), 0,
   'N8 nothing else got through, and no key was fetched');

done_testing;

#!/usr/bin/perl

# jwt inspect says why a token is refused: for good and bad tokens of every kind
# the reason is that of the running gateway's record.  What it shows is bounded
# and escaped, and never has the signature.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use MIME::Base64 qw/ encode_base64url decode_base64url /;

use MCP::Test;
use MCP::Ctl;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $d = $t->dir;
my $okta = MCP::Issuer->new($t, static => 1, audience => undef, conf =>
    'role eng mcp-eng; role sup mcp-sup; max_groups 30; leeway 10s;');
my $other = MCP::Issuer->new($t, name => 'other', static => 1,
    audience => 'https://mcp.example.com/main', alg => 'ES256', conf =>
    'token_type at+jwt; user_claim email; roles_claim realm/roles;');
my $remote = MCP::Issuer->new($t, name => 'remote',
    audience => 'https://mcp.example.com/main');
my $stranger = MCP::Issuer->new($t, name => 'stranger', static => 1);

my $conf = <<'END';
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    large_client_header_buffers 4 64k;
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_revocation_file revoked-always;
    %%ISSUER_okta%%
    %%ISSUER_other%%
    %%ISSUER_SERVER_remote%%
    %%ISSUER_remote%%

    # the same issuer, read in another way

    mcp_issuer okta_too {
        issuer OKTA;
        jwks_file %%TESTDIR%%/issuers/okta/keys;
        roles_claim teams;
        user_claim email;
    }

    mcp_server main {
        resource https://mcp.example.com/main;
        issuer okta other remote;
        role *   { allow tool x; }
        role eng { allow tool *; }
        role sup { allow tool y; }
    }
    mcp_server too {
        resource https://mcp.example.com/too;
        issuer okta_too;
        scope too.use;
        role eng { allow tool *; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        location /main {
            mcp_auth main;
            mcp_max_token 15k;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /too {
            mcp_auth too;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END

MCP::Upstream->start($t, port => 8081);
$conf =~ s/OKTA/$okta->{issuer}/;

my $soon = stamp(time + 3000);
my $past = stamp(time - 3000);

$t->write_file('revoked-always', <<"END");
# who has left
user $okta->{issuer} left $soon
user $okta->{issuer} back $past
user $okta->{issuer} forgotten $soon until=$past
user $okta->{issuer} kept $soon until=$soon by=ops
client $okta->{issuer} lost-client $soon
token $okta->{issuer} J-stolen $soon
user $other->{issuer} alice $soon
issuer $remote->{issuer} - $past
end
END

$t->write_conf($conf);
$t->start;

my $ctl = MCP::Ctl->new("$d/nginx.conf");
my $main = 'https://mcp.example.com/main';
my $too = 'https://mcp.example.com/too';

sub token { $okta->token(aud => $main, @_) }

sub stamp {
    my @t = gmtime($_[0]);
    return sprintf('%d-%02d-%02dT%02d:%02d:%02dZ', $t[5] + 1900, $t[4] + 1,
                   @t[3, 2, 1, 0]);
}

sub header { token(-header => $_[0]) }


# The gateway's reason, undef when the token was accepted.

sub gateway {
    my ($server, $token) = @_;

    mcp_post("/$server", rpc('ping', {}, era => 'legacy'), era => 'legacy',
             token => $token);
    my $a = $t->audit_next(1, settle => 0) || {};

    return ($a->{reason} // 'none') =~ /^(?:allow|insufficient_scope)$/
           ? undef : $a->{reason} // 'none';
}


sub same {
    my ($token, $what, %o) = @_;
    my $server = $o{server} || 'main';
    my $theirs = gateway($server, $token);
    my $r = $ctl->run({ stdin => "$token\n" }, qw/ jwt inspect - --json/,
                      '--server', $server, @{$o{args} || []});
    my $j = $r->{json} || {};

    is($j->{reason}, $theirs, "$what: " . ($theirs // 'accepted'))
        or diag("$r->{err}$r->{out}");
    is($r->{code}, defined $theirs ? 1 : 0, 'exit code');
    is($theirs, $o{reason}, 'as it should be') if exists $o{reason};

    my ($signature) = $token =~ /\.([^.]{20,})\z/;
    unlike("$r->{out}$r->{err}", qr/\Q$signature\E/, 'no signature')
        if defined $signature;

    return $j;
}


# ---- good ones

my $good = token(groups => ['x', 'mcp-eng'], scp => ['a', 'b']);
my $j = same($good, 'a good one', reason => undef);

ok($j->{accepted} && $j->{complete}, 'accepted, all was checked');
is($j->{kind}, 'jwt', 'its kind');
is("$j->{user} $j->{client} $j->{scopes}", 'alice test-client a b', 'who');
is_deeply($j->{servers}, [{ server => 'main', accepted => JSON::PP::true,
                            roles => '*,eng' }], 'the roles there');
is_deeply([ map { "$_->{step} $_->{result}" } @{$j->{steps}} ],
          [ 'form ok', 'issuer ok', 'signature ok', 'claims ok',
            'revocation ok' ], 'steps');
is($j->{claims}{sub}, 'alice', 'claims');
is($j->{header}{alg}, 'RS256', 'header');

my $now = time;

same(token(-typ => 'application/AT+jwt', nonce => 'n'), 'at+jwt',
     reason => undef);
same(token(-kid => undef), 'no kid, one key', reason => undef);
same(token(exp => $now + 100.5, iat => $now - 0.5), 'fractions',
     reason => undef);
same(token(exp => $now - 3, iat => $now - 60), 'in the leeway',
     reason => undef);
$j = same(token(sub => '0oa1', cid => '0oa1'), 'a service', reason => undef);
is($j->{client}, '0oa1', 'its client');
ok(!exists $j->{user}, 'and no user');
$j = same($other->token(-typ => 'at+jwt', aud => $main, email => 'b@c',
                        realm => { roles => ['sup'] }),
          'the second issuer', reason => undef);
is($j->{servers}[0]{roles}, '*,sup', 'its roles');

# two servers read one token differently

$j = same(token(aud => $too, teams => ['eng'], email => 'x@y', scp => 'z'),
          'at the other server', server => 'too', reason => undef);
is_deeply($j->{servers}[0], { server => 'too', accepted => JSON::PP::true,
                              roles => 'eng', missing_scopes => 'too.use' },
          'roles by another claim; what it lacks');

my $r = $ctl->run({ stdin => token(aud => [$too, $main], email => ['q']) },
                  qw/ jwt inspect --json /);
is_deeply([ map { $_->{reason} } @{$r->{json}{servers}} ], [ undef, 'user' ],
          'without --server: each one says for itself');
is($r->{code}, 0, 'one of them takes it');


# ---- text

my ($h, $p, $s) = split /\./, $good;

for (['a.b', 'token_segments'], ["$h.$p.", 'token_segments'],
     ["$h.$p.$s.$s.$s", 'token_encrypted'], ["$good.", 'token_segments'],
     ["$good=", 'token_characters'], ["$h.$p.~", 'token_characters'],
     ["$good, $good", 'token_characters'], ["\"$good\"", 'token_characters'],
     ["$h.$p.A", 'token_encoding'],
     [encode_base64url('[]') . ".$p.$s", 'header_json'],
     [encode_base64url('{"alg":"RS256","alg":"RS256"}') . ".$p.$s",
      'header_json'],
     ["$h." . encode_base64url('{') . ".$s", 'payload_json'],
     ["$h." . encode_base64url('{"iss":"a","iss":"b"}') . ".$s",
      'payload_json'],
     ["$h." . encode_base64url('[' x 10000) . ".$s", 'payload_json'],
     ["$h." . encode_base64url('{"iss":["' . $okta->{issuer} . '"]}') . ".$s",
      'iss'],
     ["$good" . 'x' x 15360, 'token_too_long'])
{
    same($_->[0], substr($_->[0], -20), reason => $_->[1]);
}


# ---- algorithm and key

my $kid = '"kid":"key-1"';

same(token(-alg => 'none', -header => qq({"alg":"$_",$kid})), "alg $_")
    for qw/ none None NONE /;

for (['{"alg":"RS256","kid":"key-1","crit":[]}', 'crit'],
     ['{"alg":"RS256","kid":"key-1","b64":false}', 'header_extension'],
     ['{"kid":"key-1"}', 'alg'], ['{"alg":"RS256","kid":1}', 'kid'],
     ['{"alg":"RS256","kid":"key-1","typ":"dpop+jwt"}', 'typ'],
     ['{"alg":"RS256","kid":"key-1","cty":"JWT"}', 'nested'],
     ['{"alg":"RS512","kid":"key-1"}', 'alg_not_allowed'],
     ['{"alg":"ES256","kid":"key-1"}', 'alg_key_mismatch'],
     ['{"alg":"RS256","kid":"key-2"}', 'unknown_kid'])
{
    same(header($_->[0]), $_->[0], reason => $_->[1]);
}

same(token(-key => { %{$stranger->{keys}[0]}, alg => 'RS256' }),
     "another's key", reason => 'signature');
same("$h." . encode_base64url(decode_base64url($p) =~ s/alice/admin/r)
     . ".$s", 'changed claims', reason => 'signature');


# ---- claims

for ([[iss => $stranger->{issuer}], 'unknown_issuer'],
     [[iss => "$okta->{issuer}/"], 'unknown_issuer'],
     [[iss => $other->{issuer}], 'alg_key_mismatch'],
     [[exp => $now - 31], 'expired'], [[exp => undef], 'exp'],
     [[exp => "$now"], 'exp'], [[iat => undef], 'iat'],
     [[iat => $now + 120], 'issued_in_future'],
     [[nbf => $now + 120], 'not_yet_valid'], [[nbf => 'now'], 'nbf'],
     [[aud => undef], 'aud'], [[aud => []], 'aud'],
     [[aud => "$main/"], 'audience'], [[aud => $too], 'audience'],
     [[sub => undef], 'sub'], [[sub => "a\nb"], 'sub'],
     [[uid => ['alice']], 'user'], [[cid => 1], 'client'],
     [[jti => ''], 'jti'],
     [[cnf => { jkt => 'abc' }], 'sender_constrained'],
     [[nonce => 'n'], 'not_an_access_token'],
     [[jti => 'ID.abc'], 'not_an_access_token'],
     [[groups => { a => 1 }], 'roles'],
     [[_claim_names => { groups => 'src1' }], 'roles'],
     [[groups => [1 .. 31]], 'too_many_groups'], [[scp => [1]], 'scope'])
{
    my ($claims, $reason) = @$_;
    my $j = same(token(@$claims), JSON::PP->new->encode($claims),
                 reason => $reason);

    # in words, too; of the tokens' own reasons there is one for each

    my $x = $ctl->run({ stdin => token(@$claims) }, qw/ jwt inspect --server
                      main /);
    like($x->{out}, qr/^refused: $reason, \S/, 'and in words');
}

same($other->token(aud => $main), 'no at+jwt', reason => 'typ');
same($good, 'not that server', server => 'too');


# ---- keys that are not here

my $far = $remote->token;
$r = $ctl->run({ stdin => $far }, qw/ jwt inspect --server main --json /);
is($r->{code}, 0, 'no keys: not refused');
ok(!$r->{json}{complete}, 'but not all was checked');
is($r->{json}{steps}[2]{result}, 'not_checked', 'not the signature');
like($r->{json}{steps}[2]{detail}, qr/\Q$remote->{jwks_uri}\E/,
     'the keys are there');

$r = $ctl->run({ stdin => $far }, qw/ jwt inspect --server main /);
like($r->{out}, qr/^not refused, as far as it was checked$/m, 'in words');

$r = $ctl->run({ stdin => $far }, qw/ jwt inspect --server main --json --jwks /,
               $remote->jwks_file);
ok($r->{json}{complete} && $r->{json}{accepted}, '--jwks: with its keys');
$r = $ctl->run({ stdin => $far }, qw/ jwt inspect --server main --json --jwks /,
               $okta->jwks_file);
is($r->{json}{reason}, 'signature', '--jwks: with other keys');
$r = $ctl->run({ stdin => $far }, qw/ jwt inspect --server main --jwks /,
               "$d/none");
is($r->{code}, 3, '--jwks: no file');
$t->write_file('bad.jwks', '{"keys":[]}');
$r = $ctl->run({ stdin => $far }, qw/ jwt inspect --server main --jwks /,
               "$d/bad.jwks");
is($r->{code}, 3, '--jwks: no keys in it');
is($r->{out}, '', 'no result');


# ---- where the token comes from

$t->write_file('token', "Bearer  $good\r\n");
$r = $ctl->run(qw/ jwt inspect --json /, "$d/token");
is($r->{code}, 0, 'a file, as a header has it');
is($r->{err}, '', 'nothing to warn of');

$r = $ctl->run(qw/ jwt inspect --json /, $good);
is($r->{code}, 0, 'an argument');
like($r->{err}, qr/seen by others/, 'that is warned of');
unlike($r->{err}, qr/\Q$s\E/, 'without repeating it');

$r = $ctl->run(qw/ jwt inspect --json /, "$d/no-such-file");
is($r->{code}, 2, 'no file');
$r = $ctl->run({ stdin => " \n" }, qw/ jwt inspect /);
is($r->{code}, 2, 'nothing');
$r = $ctl->run({ stdin => $good }, qw/ jwt inspect --server none /);
is($r->{code}, 2, 'an unknown server');


# ---- what is shown

my $evil = token(name => "\e[31m\x{202e}x\x{85}", "\e]0;k\a" => 'v',
                 long => 'L' x 2000, map { ("c$_" => $_) } 1 .. 100);

for my $format ([], ['--json']) {
    $r = $ctl->run({ stdin => $evil }, qw/ jwt inspect --server main /,
                   @$format);
    unlike($r->{out}, qr/[^\n\x20-\x7e\xe2\x80\xa6]/,
           "@$format: no control characters");
    is($r->{code}, 0, 'it is a good token');
}

$r = $ctl->run({ stdin => $evil }, qw/ jwt inspect --server main /);
unlike($r->{out}, qr/L{300}/, 'a long claim is cut');
like($r->{out}, qr/^  and \d+ more$/m, 'and so are many');
like($r->{out}, qr/^  exp: \d+  \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, in 0d /m,
     'times for people');

# ---- revocation: as the gateway, by a file of watermarks

for ([[sub => 'left'], 'revoked'], [[sub => 'back'], undef],
     [[sub => 'forgotten'], undef], [[sub => 'kept'], 'revoked'],
     [[cid => 'lost-client'], 'revoked'], [[jti => 'J-stolen'], 'revoked'],
     [[sub => 'Left'], undef], [[sub => 'lef'], undef],
     [[sub => 'x', uid => 'left'], 'revoked'],
     [[sub => 'left', aud => $too], 'audience'],
     [[sub => 'left', exp => time - 60], 'expired'])
{
    same(token(@{$_->[0]}), "revocation: @{$_->[0]}", reason => $_->[1]);
}

# and, line by line, by one that changes

my $with = $t->expand($conf);
$with =~ s/revoked-always/revoked/ or die;
$t->write_file('revoked.conf', $with);

my $issued = time - 100;
my $own = token(iat => $issued, jti => 'J1');
my ($before, $at, $later) = map { stamp($issued + $_) } -11, -10, 50;
my $iss = $okta->{issuer};

for (["user $iss alice $later", 'revoked'], ["client $iss test-client $later",
      'revoked'], ["token $iss J1 $later", 'revoked'],
     ["issuer $iss - $later", 'revoked'], ["all - - $later", 'revoked'],
     ["user $iss alice $at", 'revoked', 'in the leeway of a fast clock'],
     ["user $iss alice $before", undef], ["user $iss bob $later", undef],
     ["user $iss/ alice $later", undef], ["token $iss J2 $later", undef],
     ["user $iss alice $later until=" . stamp(time - 3600), undef],
     ["user $iss alice $later until=" . stamp(time + 3600), 'revoked'],
     ["user $iss alice $later by=ops reason=left", 'revoked'], ['', undef])
{
    my ($line, $reason, $what) = @$_;

    $t->write_file('revoked', "# who\n$line\nend\n");
    $r = $ctl->run({ conf => "$d/revoked.conf", stdin => $own },
                   qw/ jwt inspect --server main --json /);
    is($r->{json}{reason}, $reason, $what // "revocation: $line")
        or diag($r->{out}, $r->{err});
    ok($r->{json}{complete}, 'all was checked');
}

for ('', 'user x', "all - - $later\n") {
    $t->write_file('revoked', $_);
    $r = $ctl->run({ conf => "$d/revoked.conf", stdin => $own },
                   qw/ jwt inspect --server main --json /);
    my ($step) = grep { $_->{step} eq 'revocation' } @{$r->{json}{steps}};
    is($step->{result}, 'not_checked', 'a broken file proves nothing');
    like($step->{detail}, qr/revoked:\d+$/, 'its line');
}

unlink "$d/revoked";
$r = $ctl->run({ conf => "$d/revoked.conf", stdin => $own },
               qw/ jwt inspect --server main --json /);
ok($r->{json}{accepted} && !$r->{json}{complete}, 'neither does no file');


# own tokens: form and checksum

for (['mcpp_', 'token_malformed'], ['mcpv_' . 'a' x 49, 'token_malformed'],
     ['mcpp_' . 'a' x 100, 'token_malformed'])
{
    $r = $ctl->run({ stdin => $_->[0] }, qw/ jwt inspect --json /);
    is($r->{json}{reason}, $_->[1], "$_->[0]: $_->[1]");
    is($r->{json}{kind}, $_->[0] =~ /^mcpp/ ? 'pat' : 'vat', 'its kind');
    is($r->{json}{steps}[0]{result}, 'refused', 'by its form');
}

done_testing;

#!/usr/bin/perl

# jwt inspect of the gateway's own tokens: the reason is that of the running
# gateway, and the record is shown to whoever may read it; never the token nor
# its hash.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX qw/ strftime /;

use MCP::Test;
use MCP::Ctl;
use MCP::Issuer;
use MCP::Redis;
use MCP::Token;
use MCP::Upstream;

my $t = MCP::Test->new;
my $d = $t->dir;
my $okta = MCP::Issuer->new($t, static => 1);
my $partner = MCP::Issuer->new($t, name => 'partner', static => 1);
my $store = MCP::Token->new($t, peppers => [qw/ pepper-a pepper-b pepper-c /]);
my $iss = $okta->{issuer};

MCP::Upstream->start($t, port => 8081);

sub pat { $store->pat(issuer => $iss, user => 'alice', @_) }

my %tok = (
    pat => pat(label => "a laptop, of hers", scopes => ['use', 'more']),
    ops => pat(roles => [qw/ dev ops /], servers => ['mcp', 'other']),
    nobody => pat(roles => ['unknown-role']),
    vat => $store->vat(service => 'ci', roles => ['ops']),
    here => pat(servers => ['mcp']),
    there => pat(servers => ['other', 'third']),
    glob => pat(servers => ['mc*', 'MCP', 'mcp2']),
    partner => pat(issuer => $partner->{issuer}),
    stranger => pat(issuer => 'https://nobody.example.com'),
    both_wrong => pat(issuer => "$iss/", servers => ['other']),
    expired => pat(expires => time - 1),
    revoked => pat(revoked => time - 10),
    both => pat(expires => time - 1, revoked => time - 10),
    pepper_b => pat(pepper => 'pepper-b'),
    pepper_c => pat(pepper => 'pepper-c'),
    left => pat(user => 'left'),
    left_there => pat(user => 'left', servers => ['other']),
    lost => pat(id => 'pat-lostlostlost'),
    account => $store->vat(service => 'old-ci'),
);

my $slip = pat();
my $line = $store->line($slip);
$store->drop($slip);
$line =~ s/^pat pat-/vat vat-/;
$line =~ s/issuer=\S+ user=\S+/service=ci/;
$store->write($store->text =~ s/^end$/$line\nend/mr);

my $at = strftime('%Y-%m-%dT%H:%M:%SZ', gmtime time + 60);

$t->write_file('revoked', <<"END");
user $iss left $at
client - old-ci $at
token $iss pat-lostlostlost $at
end
END

my $conf = <<'END';
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    large_client_header_buffers 4 32k;
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_token_file tokens;
    mcp_token_key pepper-a pepper-b;
    mcp_token_failures 0;
    mcp_revocation_file revoked;

    %%ISSUER_okta%%
    %%ISSUER_partner%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        scope use;
        tokens on;
        role *   { allow tool any; }
        role dev { allow tool echo; }
        role ops { allow tool *; }
    }
    mcp_server other {
        resource https://mcp.example.com/other;
        issuer partner;
        tokens on;
        role * { allow tool *; }
    }
    mcp_server none {
        resource https://mcp.example.com/none;
        issuer okta;
        role * { allow tool *; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location /mcp {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /other {
            mcp_auth other;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /none {
            mcp_auth none;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END

$t->write_conf($conf);
$t->start;

my $ctl = MCP::Ctl->new("$d/nginx.conf");

sub inspect {
    my ($token, @args) = @_;
    my $r = $ctl->run({ stdin => $token }, qw/ jwt inspect /, @args);

    my ($secret) = $token =~ /^mcp[pv]_(.{20,}).{6}$/;
    unlike("$r->{out}$r->{err}", qr/\Q$secret\E/, 'no token') if $secret;
    return $r;
}


# the gateway's reason; undef when the token was accepted

sub gateway {
    my ($server, $token) = @_;

    mcp_post("/$server", rpc('ping', {}, era => 'legacy'), era => 'legacy',
             token => $token);
    my $a = $t->audit_next(1, settle => 0) || {};

    return ($a->{reason} // 'none') =~ /^(?:allow|insufficient_scope)$/
           ? (undef, $a) : ($a->{reason} // 'none', $a);
}


sub same {
    my ($token, $server, $what) = @_;
    my ($theirs, $a) = gateway($server, $token);
    my $r = inspect($token, '--json', '--server', $server);
    my $j = $r->{json} || {};

    is($j->{reason}, $theirs, "$what at $server: " . ($theirs // 'accepted'))
        or diag("$r->{err}$r->{out}");
    is($r->{code}, defined $theirs ? 1 : 0, 'exit code');
    return $j if defined $theirs;

    is($j->{servers}[0]{roles}, join(',', @{$a->{roles}}), 'its roles');
    is($j->{servers}[0]{missing_scopes} ? 'insufficient_scope' : 'allow',
       $a->{reason}, 'its scopes');
    return $j;
}


for my $name (sort keys %tok) {
    same($tok{$name}{token}, $_, $name) for qw/ mcp other none /;
}

same($slip->{token}, 'mcp', 'the other kind');
same(MCP::Token::unknown(), 'mcp', 'one that nobody has');
same(MCP::Token::unknown('mcpv_'), 'mcp', 'another');

my $good = $tok{pat}{token};

same($_, 'mcp', substr $_, 0, 12)
    for substr($good, 0, -1), $good . 'x', 'mcpp_', $good =~ s/.$/~/r,
        $good =~ s/^(.{20})(.)(.)/$1$3$2/r, 'mcpv_' . 'a' x 49,
        'mcpp_' . 'a' x 17000;


# ---- what is shown

my $r = inspect($good, '--json');
my $hash = $store->hash($tok{pat});

is($r->{json}{kind}, 'pat', 'a person\'s');
is($r->{json}{record}{user}, 'alice', 'the owner');
is($r->{json}{record}{id}, $tok{pat}{id}, 'its id');
is_deeply($r->{json}{record}{scopes}, [qw/ use more /], 'its scopes');
is_deeply([ map { $_->{reason} } @{$r->{json}{servers}} ],
          [ undef, 'unknown_issuer', 'own_tokens_off' ], 'at each server');
unlike($r->{out}, qr/$hash/, 'no hash');

$r = inspect($good);
like($r->{out}, qr/^accepted$/m, 'in words');
like($r->{out}, qr/^  owner: alice at \Q$iss\E$/m, 'whose it is');
unlike($r->{out}, qr/$hash/, 'no hash');

$r = inspect($tok{vat}{token});
like($r->{out}, qr/^  service: ci$/m, 'an account');


# ---- what cannot be told is said

sub at {
    my ($text, $token) = @_;

    $t->write_file('other.conf', $t->expand($text));
    $r = $ctl->run({ conf => "$d/other.conf", stdin => $token },
                   qw/ jwt inspect --server mcp --json /);
    my ($step) = grep { $_->{step} eq 'record' } @{$r->{json}{steps}};
    return $step || {};
}

my $unknown = MCP::Token::unknown();

is(at($conf =~ s/tokens;$/none;/mr, $good)->{result}, 'not_checked',
   'no file');
is($r->{code}, 0, 'which is no refusal');
ok(!$r->{json}{complete}, 'nor complete');

$t->write_file('broken', "vat nonsense\nend\n");
my $step = at($conf =~ s/tokens;$/broken;/mr, $good);
is($step->{result}, 'not_checked', 'a broken file');
like($step->{detail}, qr/broken:1$/, 'and where');

is(at($conf =~ s/pepper-a pepper-b/none/r, $good)->{result}, 'not_checked',
   'no pepper that can be read');
like($r->{err}, qr/cannot read secret file/, 'and why');

# ---- in Redis

my $redis = MCP::Redis->start($t);
my $line_of = 'mcp_redis { server ' . $redis->server . '; timeout 10s; }';
my $both = $conf =~ s/mcp_token_failures 0;/$line_of/r;

is(at($both, $good)->{result}, 'ok', 'one in the file');
is(at($both, $unknown)->{result}, 'refused', 'none in either');

my $alone = $both =~ s/mcp_token_file tokens;//r
                  =~ s/mcp_revocation_file revoked;//r;

sub ctl {
    my ($code, @args) = @_;
    my $r = $ctl->run({ conf => "$d/other.conf" }, @args);
    is($r->{code}, $code, "@args") or diag($r->{err});
    return $r;
}

sub result {
    my ($token) = @_;
    my $r = $ctl->run({ conf => "$d/other.conf", stdin => $token },
                      qw/ jwt inspect --server mcp --json /);
    my $j = $r->{json};
    return ($j->{reason} // 'accepted') . ($j->{complete} ? '' : ', not all')
           . ($r->{err} ne '' ? ', and a message' : '');
}

is(at($alone, $good)->{result}, 'refused', 'that of the file is not there');

my $made = ctl(0, qw/ token create --user alice --roles dev --servers mcp
                      --expires 1d --issuer /, $iss)->{out};
chomp $made;

my $jwt = $okta->token(aud => 'https://mcp.example.com/mcp', scp => 'use');

is(result($made), 'accepted', 'a new one');
is(result($jwt), 'accepted', 'and a JWT');
is(result($unknown), 'token_unknown', 'another is unknown');

my $record = $redis->command('HGETALL', 'mcp:tokens');
my ($id, $digest) = @$record;

like($id, qr/^pat-/, 'its id');
ctl(0, qw/ revoke --user alice --issuer /, $iss);
is(result($made), 'revoked', 'its owner is revoked');
is(result($jwt), 'revoked', 'and so is the JWT');
ctl(0, qw/ unrevoke --user alice --issuer /, $iss);
is(result($made), 'accepted', 'and is not any more');
is(result($jwt), 'accepted', 'nor is the JWT');

my $stored = $redis->command('GET', "mcp:tok:$digest");

$redis->command('SET', "mcp:tok:$digest", $store->line($tok{pat}));
is(result($made), 'accepted, not all', "another's record is nobody's");
$redis->command('SET', "mcp:tok:$digest", 'nonsense');
is(result($made), 'accepted, not all', 'nor is nonsense');
$redis->command('SET', "mcp:tok:$digest", $stored);

ctl(0, qw/ token revoke /, $id);
is(result($made), 'token_revoked', 'revoked itself');

$redis->kill;
is(result($made), 'accepted, not all, and a message', 'Redis is gone');
is(result($jwt), 'accepted, not all, and a message', 'for a JWT, too');

done_testing;

#!/usr/bin/perl

# mcpctl revoke, unrevoke, revocations, and a gateway that hears of them: what
# mcpctl writes, to files and to Redis, is what the gateway reads.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw/ encode_base64 /;
use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Ctl;
use MCP::Issuer;
use MCP::Redis;
use MCP::Upstream;

my $t = MCP::Test->new;
my $d = $t->dir;
my $okta = MCP::Issuer->new($t, static => 1);
my $iss = $okta->{issuer};
my $redis = MCP::Redis->start($t, port => 0);

$t->write_file('key', encode_base64('k' x 48, '') . "\n");
$t->write_file($_, "end\n") for qw/ tokens revoked /;

my $up = MCP::Upstream->start($t, port => 8081, handler => sub {
    return { result => { content => [] } };
});

sub conf {
    my ($stores) = @_;

    return <<"END";
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_token_key %%TESTDIR%%/key;
    $stores

    %%ISSUERS%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        tokens on;
        role dev { allow tool *; }
        role * { allow tool *; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location /mcp { mcp_auth mcp;
                        proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
}
END
}

my $files = conf('mcp_token_file %%TESTDIR%%/tokens; '
                 . 'mcp_revocation_file %%TESTDIR%%/revoked;');
my $in_redis = conf('mcp_redis { server ' . $redis->server . '; }');

my $ctl;

sub passes { call_tool('/mcp', 'echo', {}, token => $_[0])->{status} == 200 }

# within a second, of which a busy machine may take some

sub becomes {
    my ($token, $want, $what) = @_;
    my $since = time;

    my $ok = MCP::Test::wait_until(10, sub { passes($token) == $want });
    my $took = time - $since;

    ok($ok, $what) or return;
    diag(sprintf('%s: %.0f ms', $what, $took * 1000))
        if $took > 1 && $what !~ /forgotten/;
}

sub rows { @{$ctl->run(qw/ --json revocations /, @_)->{json}} }

sub store {
    my ($name) = @_;

    my $jwt = $okta->token(sub => 'alice', -expires => 3000);
    my $other = $okta->token(sub => 'bob', -expires => 3000);
    my ($pat, $vat) = map {
        my $r = $ctl->run(qw/ --json token create --roles dev --servers mcp
                              --expires 1d /, @$_);
        is($r->{code}, 0, "$name: @$_") or diag($r->{err});
        $r->{json};
    } ['--user', 'alice'], ['--service', 'ci'];

    becomes($pat->{token}, 1, "$name: a PAT is good");
    becomes($vat->{token}, 1, "$name: a VAT is good");
    ok(passes($jwt) && passes($other), 'so are JWTs');

    # each kind ends what it names, and nothing else

    for (['--user', 'alice', [$jwt, $pat->{token}], [$other, $vat->{token}]],
         ['--service', 'ci', [$vat->{token}], [$jwt, $pat->{token}]],
         ['--token-id', $pat->{id}, [$pat->{token}], [$jwt, $vat->{token}]],
         ['--issuer-all', undef, [$jwt, $other, $pat->{token}],
          [$vat->{token}]],
         ['--all', undef, [$jwt, $other, $pat->{token}, $vat->{token}], []])
    {
        my ($option, $value, $ends, $stay) = @$_;
        my @whom = ($option, defined $value ? $value : ());
        my $r = $ctl->run('--json', 'revoke', @whom, '--reason', 'test it');

        is($r->{code}, 0, "$name: revoke @whom") or diag($r->{err});
        is($r->{json}{reason}, 'test it', 'with a reason');

        becomes($_, 0, "$name: @whom ends it") for @$ends;
        ok(passes($_), 'not this one') for @$stay;

        is(scalar rows(), 1, 'one is in force');

        $r = $ctl->run('unrevoke', @whom);
        is($r->{code}, 0, "$name: unrevoke @whom") or diag($r->{err});
        becomes($_, 1, "$name: @whom: good again") for @$ends;

        is(scalar rows(), 0, 'none is in force');
        is($ctl->run('unrevoke', @whom)->{code}, 1, 'there is no such one');
    }

    # the token's own command

    is($ctl->run(qw/ token revoke /, $vat->{id})->{code}, 0, 'token revoke');
    becomes($vat->{token}, 0, "$name: token revoke ends it");

    # for a while only

    $ctl->run(qw/ revoke --user alice --for 2s /);
    becomes($pat->{token}, 0, "$name: --for 2s");
    becomes($pat->{token}, 1, "$name: is forgotten");

    # what is new after it

    is($ctl->run(qw/ revoke --user carol --issuer okta /)->{code}, 0,
       'by the name of the issuer');
    my ($row) = grep { ($_->{value} // '') eq 'carol' } rows();
    is("$row->{type} $row->{issuer} $row->{by} $row->{store}",
       "user $iss " . getpwuid($<) . " $name", 'the row');
}

$t->write_conf($files);
$ctl = MCP::Ctl->new("$d/nginx.conf");
$t->start;

store('file');

$t->write_conf($in_redis);
$t->reload;
store('redis');


# ---- on record, by mcpctl and by the gateway

my @lines = grep { ($_->{ev} // '') eq 'revocation' } $t->audit(0);
my @mine = grep { $_->{by} && $_->{method} eq 'revoke/user'
                  && ($_->{user} // '') eq 'alice' } @lines;

cmp_ok(scalar @mine, '>=', 4, 'mcpctl and the gateway have a line each');


# ---- refused

for (['nobody', 2, qw/ revoke /],
     ['two', 2, qw/ revoke --user a --client b /],
     ['no such issuer', 1, qw/ revoke --user a --issuer https:\/\/x /],
     ['an issuer of all', 2, qw/ revoke --all --issuer okta /],
     ['an empty name', 2, 'revoke', '--user', ''],
     ['a control character', 2, 'revoke', '--user', "a\nb"],
     ['no file', 3, qw/ revoke --user a --store file /])
{
    my ($what, $code, @args) = @$_;
    my $r = $ctl->run(@args);
    is($r->{code}, $code, "$what: refused") or diag($r->{err});
}

# a file that lost its content: the gateways remember, and shall go on

my $lost = MCP::Ctl->new($t->write_file('lost.conf', $t->expand($files)));
my %empty = (nothing => '', 'a line end' => "\n", spaces => "  \n",
             'a comment' => "# x\n", 'half an end' => 'en', NUL => "\0" x 64,
             'CR LF' => "end\r\n", 'two ends' => "end\nend\n",
             'more than an end' => "end\nuser - - x\n",
             'half a line' => "user $iss ann 2026-11-25T10:0");

for my $what (sort keys %empty) {
    $t->write_file($_, $empty{$what}) for 'revoked', 'tokens';

    for (['revoke', '--user', 'bob'], ['unrevoke', '--user', 'bob'],
         ['revocations'], [qw/ token list /],
         [qw/ token create --roles dev --servers mcp --expires 1d --user u /])
    {
        my $r = $lost->run(@$_);

        is($r->{code}, 3, "a file with $what: @$_");
        like($r->{err}, qr/(?:revoked|tokens):[12]: /, 'file and line');
        is($r->{out}, '', 'and nothing else');
    }

    is($t->read_file($_), $empty{$what}, "$_ stays") for 'revoked', 'tokens';
}

unlink "$d/revoked";
my $new = $lost->run(qw/ revoke --user bob /);
is($new->{code}, 0, 'a file that is not there: is made');
like($new->{err}, qr/was not there: it is new/, 'which is said');
is($lost->run(qw/ revoke --user ann /)->{err}, '', 'once');

$redis->kill;
is($ctl->run(qw/ revoke --user alice /)->{code}, 3, 'Redis is down: said');

done_testing;

#!/usr/bin/perl

# A zone that is full of what it has to remember: verified tokens, tokens of ours
# that nobody has, and, without Redis, the sealed records of credentials.  Each
# caller is served as who it is, by two workers, again and again, also after a
# reload.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Issuer;
use MCP::Provider;
use MCP::Token;
use MCP::Upstream;
use MCP::Vault;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $store = MCP::Token->new($t);
my $vault = MCP::Vault->new($t);
my $idp = MCP::Provider->start($t, port => 8090, issuer => $okta);
my $up = $idp->resource(port => 8081);
my ($d, $keys, $endpoint) = ($t->dir, $vault->file, $idp->endpoint);

$t->write_conf(<<"END")->start;
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    large_client_header_buffers 4 32k;
    mcp_zone 256k;
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_vault_keys $keys;
    mcp_token_file $d/tokens;
    mcp_token_key $d/pepper-a;
    mcp_token_failures 0;

    %%ISSUER_okta%%

    mcp_credential xch { type token_exchange; token_endpoint $endpoint;
                         client_id gw; client_secret gw-secret; timeout 10s; }
    mcp_server mcp { resource https://mcp.example.com/mcp; issuer okta;
                     tokens on; credential xch; role * { allow tool ok_*; } }

    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport;
        location = /status { mcp_status; }
        location /mcp { mcp_auth mcp;
                        proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
}
END

# tokens of some 10 KB: the claims that nobody asks for are remembered as well

my $people = 24;
my $wide = 'https://' . 'a' x 300 . '.example.com/';
my @aud = ($okta->{audience}, map { "$wide$_" } 1 .. 24);
my %token = map { $_ => $okta->token(sub => "user$_", aud => \@aud,
                                     -expires => 3000) } 1 .. $people;
my ($wrong, $denied, $own) = (0, 0, 0);
my $free = metric('zone_free_bytes');

for my $round (1, 2) {
    for my $n (1 .. $people) {
        my $r = call_tool('/mcp', 'ok_x', {}, token => $token{$n});
        my $who = (MCP::Provider->told($r) // {})->{user} // "-$r->{status}";

        if ($who ne "user$n") {
            diag("user$n is $who") if $wrong++ < 5;
        }

        next if $n % 4;

        $denied++ if (call_tool('/mcp', 'no_x', {}, token => $token{$n})
                      ->{json}{error}{code} // 0) == -32602;
        $own++ if call_tool('/mcp', 'ok_x', {},
                            token => MCP::Token::unknown())->{status} == 401;
    }

    ok($t->reload, 'a reload of the full zone') if $round == 1;
}

is($wrong, 0, 'each is served, as who it is');
is($denied, 2 * int($people / 4), 'what is denied is');
is($own, 2 * int($people / 4), 'and tokens of nobody are');

my $log = $t->read_log;

cmp_ok(metric('zone_free_bytes'), '<', $free / 2, 'it was full, or nearly')
    or diag("$free -> " . metric('zone_free_bytes'));
cmp_ok($idp->count(kind => 'exchange'), '>', $people,
       'what had to go was exchanged again');
unlike($log, qr/ngx_slab_alloc\(\) failed: no memory/,
       'and it is nothing to complain of');

my (%records, @a);

MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    @a = grep { $_->{ev} ne 'credential' } $t->audit(0);
    return @a >= 2 * $people + 4 * int($people / 4);
});
$records{$_->{decision}}++ for @a;
is($records{allow}, 2 * $people, 'each is on record');
is($records{deny}, 4 * int($people / 4), 'and each denial');
is($records{error} // 0, 0, 'none could not be decided');

is(scalar(grep { my $h = $_->{headers}{authorization} // '';
                 !$idp->who($h =~ s/^Bearer //r) } $up->requests(0)), 0,
   'no upstream saw anything but what the provider gave');

done_testing;

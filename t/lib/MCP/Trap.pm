package MCP::Trap;

# The traps of docs/internals/traps.md, each with a test of its name: one
# gateway, one upstream, one caller, and few words for what is the same in all.
#
#     use MCP::Trap;
#
#     trap M4 => 'batches', sub {
#         refused(post('[]'), 400, -32600, 'batch');
#         passes(post(call('echo')));
#     };
#
#     done_testing;
#
# `use MCP::Trap conf => 'what stands in server {}'` for more locations; http =>
# for what stands in http {}; server => for more lines of the mcp_server;
# tokens => 1 for tokens of the gateway's own, which are in store; revoked => 1
# for a file of revocations, which has none; slow => N for N more issuers,
# slow(1) to slow(N), whose key sets are what their stubs answer.  The locations
# of the gateway: / (server mcp: may call echo, read stub://a and get the prompt
# greet, in role *).

use strict;
use warnings;

use Exporter ();

use MCP::Test;
use MCP::Issuer;
use MCP::Revocations;
use MCP::Token;
use MCP::Upstream;

our @EXPORT = (@MCP::Test::EXPORT, qw/
    trap gateway upstream issuer slow store token post call refused passes arrived nothing record
/);

my ($t, $okta, @slow, $store, $up, $token);


sub import {
    my ($class, %o) = @_;

    strict->import;
    warnings->import;

    set_up(%o) unless $t;

    local $Exporter::ExportLevel = 1;
    Exporter::import($class);
}


sub set_up {
    my (%o) = @_;

    my $conf = $o{conf} || '';
    my $http = $o{http} || '';
    my $server = $o{server} || '';
    my $also = join ' ', map { "slow$_" } 1 .. $o{slow} || 0;

    $t = MCP::Test->new;

    if ($o{tokens}) {
        $store = MCP::Token->new($t);
        $server .= ' tokens on;';
        $http .= ' mcp_token_file %%TESTDIR%%/tokens;'
                 . ' mcp_token_key %%TESTDIR%%/pepper-a;';
    }

    if ($o{revoked}) {
        MCP::Revocations->new($t);
        $http .= ' mcp_revocation_file %%TESTDIR%%/revoked;';
    }

    $okta = MCP::Issuer->new($t, static => 1);
    @slow = map { MCP::Issuer->new($t, name => "slow$_", stub => 1) }
            1 .. $o{slow} || 0;
    $up = MCP::Upstream->start($t, port => 8081, tools => [qw/ echo rm /]);

    $t->write_file('session.key', 'a key for sessions, of 32 bytes or more');
    $t->write_file('vault.keys', 'one ' . 'A' x 43 . "=\n");
    $t->write_conf(<<END);
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;

    %%ISSUERS%%

    mcp_credential bot { value "Bearer downstream-secret"; }

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta $also;
        credential bot;
        role * {
            allow tool echo;
            allow prompt greet;
            allow resource stub://a;
        }
        $server
    }

    $http

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        location / {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        $conf
    }
}
END
    $t->start;
    $token = $okta->token(sub => 'alice', groups => ['mcp-eng']);
}


sub gateway { $t }
sub upstream { $up }
sub issuer { $okta }
sub store { $store }
sub slow { $slow[$_[0] - 1] }
sub token { $token }


# A subtest with the trap's number first; nothing of one is left to the next.

sub trap {
    my ($id, $what, $code) = @_;

    $up->clear;
    $up->requests_next(0, settle => 0);
    $t->audit_next(0, settle => 0);

    subtest "$id $what" => $code;
}


# POST of a message (hash or bytes) by the caller, of no era unless told

sub post {
    my ($msg, %o) = @_;

    return mcp_post(delete $o{uri} || '/mcp', $msg, token => $token,
                    era => 'none', %o);
}


# the bytes of a tools/call; more => what else stands in the envelope

sub call {
    my ($name, %o) = @_;
    my $id = exists $o{id} ? $o{id} : 1;

    return '{"jsonrpc":"2.0"' . (defined $id ? qq(,"id":$id) : '')
           . ($o{more} ? ",$o{more}" : '')
           . qq(,"method":"tools/call","params":{"name":"$name",)
           . '"arguments":{}}}';
}


# what reached the upstream since the last look; waits for n

sub arrived {
    my ($n) = @_;
    my @seen = $up->requests_next($n, settle => 0);

    return @seen;
}


sub nothing {
    my ($what) = @_;
    is(scalar arrived(0), 0, ($what ? "$what: " : '') . 'nothing upstream');
}


# the one record of the last request

sub record {
    my ($what) = @_;
    my @records = $t->audit_next(1, settle => 0.01);

    is(scalar @records, 1, ($what ? "$what: " : '') . 'one record');
    return $records[-1] || {};
}


# An answer of ours: status, JSON-RPC code (undef: any body), the reason on
# record (undef: any); the upstream saw nothing.

sub refused {
    my ($r, $status, $code, $reason, $what) = @_;

    $what = $what ? "$what: " : '';
    is($r->{status}, $status, "${what}status $status");

    if (defined $code) {
        my $m = eval { JSON::PP->new->utf8->decode($r->{body}) } || {};
        is($m->{error}{code}, $code, "${what}code $code");
    }

    nothing($what =~ s/: $//r);

    my $a = record($what =~ s/: $//r);
    isnt($a->{decision}, 'allow', "${what}not allowed on record");
    is($a->{reason}, $reason, "${what}reason $reason") if defined $reason;

    return $a;
}


# It reached the upstream, with body (when given) byte for byte and without the
# caller's token; returns what the upstream saw.

sub passes {
    my ($r, $what, %o) = @_;

    $what = $what ? "$what: " : '';
    is($r->{status}, $o{status} || 200, "${what}passes");

    my @seen = arrived(1);
    is(scalar @seen, 1, "${what}one request upstream");

    my $req = $seen[0] || { headers => {}, body => '' };
    is($req->{body}, $o{body}, "${what}byte for byte") if defined $o{body};
    unlike($req->{head} // '', qr/\Q$token\E/, "${what}not the caller's token");
    is(record($what =~ s/: $//r)->{decision}, 'allow',
       "${what}allowed on record");

    return $req;
}


1;

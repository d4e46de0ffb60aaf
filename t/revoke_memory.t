#!/usr/bin/perl

# A worker that has no memory for a new mcp_revocation_file takes it when there
# is some, though the file did not change once more.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Issuer;
use MCP::Revocations;
use MCP::Upstream;

plan(skip_all => 'sanitizers and valgrind have memory of their own')
    if $ENV{MCP_TEST_SAN};
plan(skip_all => 'no prlimit')
    if system('prlimit --version > /dev/null 2>&1');

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $up = MCP::Upstream->start($t, port => 8081);
my $rev = MCP::Revocations->new($t);
my $iss = $okta->{issuer};

$rev->write;

$t->write_conf(<<'END');
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_revocation_file revoked;
    mcp_revocation_zone 64m;

    %%ISSUERS%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        role * { allow tool *; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location / { mcp_auth mcp; proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location = /status { mcp_status; }
    }
}
END
$t->start;

my $token = $okta->token(sub => 'alice', iat => int(time) - 60);

sub status { call_tool('/mcp', 'echo', {}, token => $token)->{status} }

is(status(), 200, 'alice');

# The text has 7 MB, what is made of it 13 MB: there is room for the one only.
# All lines but the last are about one user: there is one event of them.

my $text = "user $iss nobody 2026-01-01T00:00:00Z\n" x 100_000
           . "user $iss alice 2099-01-01T00:00:00Z\nend\n";
my ($worker) = $t->workers;

open my $statm, '<', "/proc/$worker/statm" or die "statm: $!";
my $has = 4096 * (split ' ', <$statm>)[0];

sub limit { system('prlimit', "--pid=$worker", "--as=$_[0]") == 0 or die }

$t->allow_log(qr/(?:malloc|posix_memalign)\(.*failed .*Cannot allocate/);

limit($has + int(1.7 * length $text) . ':unlimited');
$rev->write(text => $text);

ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    $t->read_log =~ /\[error\].*mcp_revocation_file.*no memory; what it had/
}), 'no memory: error.log says so') or diag($t->read_log);
is(metric('revocation_file_broken'), 1, 'to be seen');
is(status(), 200, 'the content that was there is in force');

limit('unlimited');
ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub { status() == 401 }),
   'there is memory: alice is revoked');
is(metric('revocation_file_broken'), 0, 'all is well');
is(($t->workers)[0], $worker, 'in the same worker');

done_testing;

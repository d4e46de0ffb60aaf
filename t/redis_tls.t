#!/usr/bin/perl

# Redis over TLS: the chain and the name are verified, always, before a byte is
# sent; a host, an IP address, or another name.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Issuer;
use MCP::Proxy;
use MCP::Redis;
use MCP::Token;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $store = MCP::Token->new($t);
my $d = $t->dir;
my $secret = 'TOP-SECRET-VALUE';

MCP::Upstream->start($t, port => 8081);

# certificates: of another CA, expired (it ended when it was made), for another
# host

my $req = 'openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1'
        . " -nodes -batch -config $d/openssl.cnf";
my $sign = "openssl x509 -req -in $d/server.csr -extfile $d/openssl.cnf"
         . ' -extensions server -set_serial';

MCP::Issuer::run("$req -x509 -days 2 -extensions ca -subj /CN=other"
                 . " -keyout $d/ca2.key -out $d/ca2.pem");
MCP::Issuer::run("$sign 50 -days 2 -CA $d/ca2.pem -CAkey $d/ca2.key"
                 . " -out $d/stranger.pem");
MCP::Issuer::run("$sign 51 -days 0 -CA $d/ca.pem -CAkey $d/ca.key"
                 . " -out $d/expired.pem");
$t->write_file('name.cnf', "[server]\nsubjectAltName = DNS:redis.example.com\n");
MCP::Issuer::run("openssl x509 -req -days 2 -in $d/server.csr -CA $d/ca.pem"
                 . " -CAkey $d/ca.key -set_serial 52 -extensions server"
                 . " -extfile $d/name.cnf -out $d/name.pem");
$t->write_file('password', "$secret\n");

my $redis = MCP::Redis->start($t, tls => 1, password => $secret);
my $port = port(6379);

sub conf {
    my ($lines, $trust) = @_;

    $trust //= "ssl_trusted_certificate $d/ca.pem;";

    return <<"END";
%%GLOBALS%%
worker_processes 1;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_token_key pepper-a;
    mcp_token_failures 0;

    mcp_redis { password file:password; tls on; $trust $lines
                timeout 2s; connect_timeout 2s; revocation_stale 4s; }

    %%ISSUER_okta%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        tokens on;
        role * { allow tool *; }
        role dev { allow tool *; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location /mcp { mcp_auth mcp;
                        proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
}
END
}

sub pat {
    my ($user) = @_;
    my $k = $store->pat(issuer => $okta->{issuer}, user => $user);

    $redis->write_tokens($store, $k);
    return $k->{token};
}

sub status {
    my ($token) = @_;
    return call_tool('/mcp', 'x', {}, token => $token)->{status};
}

sub becomes {
    my ($status, $token) = @_;

    return MCP::Test::wait_until($MCP::Test::TIMEOUT,
                                 sub { status($token) == $status });
}

my $started;

sub now {
    my ($conf) = @_;

    $t->write_conf($conf);

    if ($started++) {
        $t->reload or die "no reload";
    } else {
        $t->start;
    }
}


# ---- what is accepted

now(conf("server localhost:$port;"));
ok(becomes(200, pat('host')), 'a host name');

now(conf("server 127.0.0.1:$port;"));
ok(becomes(200, pat('address')), 'an IP address, which the certificate has');

now(conf("server 127.0.0.1:$port; ssl_name localhost;"));
ok(becomes(200, pat('name')), 'an IP address, and another name');

now(conf("server localhost:$port; ssl_name 127.0.0.1;"));
ok(becomes(200, pat('literal')), 'a host, and an IP address to verify');

my ($clients) = $redis->command('CLIENT', 'LIST') =~ /( name=mcp-auth )/;
ok($clients, 'connected over TLS');

# revocations, many of them

my $alice = $okta->token(sub => 'alice', -expires => 3000);
ok(becomes(200, $alice), 'alice passes');
$redis->command('EVAL', <<'END', 1, 'mcp:rev', $okta->{issuer});
for i = 1, 4000 do
    local f = 'user ' .. ARGV[1] .. ' somebody-' .. i
    redis.call('HSET', KEYS[1], f, i .. ' ' .. f .. ' 2026-01-01T00:00:00Z')
end
END
$redis->revoke(user => 'alice', issuer => $okta->{issuer});
ok(becomes(401, $alice), 'until she is revoked');

my $somebody = $okta->token(sub => 'somebody-3999', iat => 1_700_000_000);
is(status($somebody), 200, 'one of thousands passes');
$redis->command('CLIENT', 'KILL', 'TYPE', 'pubsub');
ok(becomes(401, $somebody), 'until all of them were loaded');


# ---- in pieces, and with other events than one thinks

my $proxy = MCP::Proxy->start($t, port => 6380, to => "127.0.0.1:$port",
                              raw => 1);

now(conf('server ' . $proxy->server . '; ssl_name localhost;'));
ok(becomes(200, pat('piece')), 'through a proxy');
$proxy->mode(split => 0.00005, close => 1);
ok(becomes(200, pat('pieces')), 'byte by byte, from the handshake on');
$proxy->mode(delay => 0.2);
ok(becomes(200, pat('late')), 'slowly');
$proxy->mode(cut => 20);
status(pat('cut'));
ok(becomes(200, pat('after')), 'a record of TLS that is cut off');
$proxy->mode(hole => 1, close => 1);
ok(becomes(503, pat('hole')), 'a black hole');
$proxy->mode;
ok(becomes(200, pat('again')), 'resumes by itself');
is(status($alice), 401, 'alice stays out');


# ---- what is not

sub refused {
    my ($what, $re) = @_;
    my $from = length $t->read_log;
    my $auth = $redis->calls('auth');

    now($_[2]) if $_[2];
    my $token = pat('nobody');
    ok(becomes(503, $token), "refused: $what");

    my $log;
    ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
        $log = substr $t->read_log, $from;
        return $log =~ /mcp_redis "[^"]*": $re/;
    }), "$what: said") or diag($log);

    is($redis->calls('auth'), $auth, "$what: no password was sent");
    is(status($alice) == 200 ? 1 : 0, 0, "$what: nor does anybody pass");
}

refused('another name', qr/certificate does not match the host name/,
        conf("server localhost:$port; ssl_name redis.example.com;"));
refused('another address', qr/certificate does not match the host name/,
        conf("server localhost:$port; ssl_name 127.0.0.2;"));
refused('a CA that the system does not know',
        qr/certificate verify failed \(/, conf("server localhost:$port;", ''));
refused('another CA', qr/certificate verify failed \(/,
        conf("server localhost:$port;", "ssl_trusted_certificate $d/ca2.pem;"));

my $plain = MCP::Redis->start($t, name => 'plain', port => 6391);
refused('a Redis without TLS', qr/timed out in the TLS handshake/,
        conf('server 127.0.0.1:' . port(6391) . ';'));
is($plain->calls('auth'), 0, 'nothing was sent there');

my $no_tls = conf("server 127.0.0.1:$port;", '');
$no_tls =~ s/tls on; //;
refused('no TLS to a Redis that has it',
        qr/it has closed the connection|the connection is broken|no answer/,
        $no_tls);


# ---- Redis comes back with other certificates

now(conf("server localhost:$port;"));
ok(becomes(200, pat('back')), 'the right one again');

for (['expired', qr/certificate verify failed \(certificate has expired\)/],
     ['stranger', qr/certificate verify failed \(/],
     ['name', qr/certificate does not match the host name/])
{
    my ($file, $re) = @$_;

    $redis->stop;
    $redis->{cert} = "$d/$file.pem";
    $redis->run;
    refused("a certificate: $file", $re);

    $redis->stop;
    delete $redis->{cert};
    $redis->run;
    ok(becomes(200, pat("after-$file")), 'resumes by itself');
    is(status($alice), 401, 'and alice stays out');
}

unlike($t->read_log, qr/$secret/, 'the password is in no log');
unlike($t->read_log, qr/global SSL error/, "OpenSSL's error queue is empty");

done_testing;

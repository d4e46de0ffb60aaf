#!/usr/bin/perl

# Keys that cannot be had: 503 with Retry-After, never 401, and one line in
# error.log from which an operator knows what to mend and for which issuer.
# Traps N14 and N20 of docs/internals/traps.md.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t);
my $up = MCP::Upstream->start($t, port => 8081);
my $d = $t->dir;
my $big = '{"keys":[' . ' ' x 300_000 . ']}';
my $keys = $okta->jwks;

# name => [jwks_uri (a path of the stub, or a URL), what error.log says,
#          answer of the stub, more directives]

my $tls = 'https://localhost:' . port(8500);

# under valgrind or sanitizers the handshake alone may take so long

my $timed_out = $MCP::Test::SAN
                ? qr/timed out/ : qr/timed out waiting for the response/;

my %case = (
    ca => ["$tls/good/keys", qr/certificate verify failed \(unable to/,
           undef, 'ssl_trusted_certificate %%TESTDIR%%/other-ca.pem;'],
    host => ['https://127.0.0.2:' . port(8500) . '/good/keys',
             qr/certificate does not match the host name/],
    name => ['https://localhost:' . port(8504) . '/good/keys',
             qr/certificate does not match the host name/],
    expired => ['https://localhost:' . port(8501) . '/good/keys',
                qr/certificate verify failed \(certificate has expired\)/],
    plain => ['https://localhost:' . port(8502) . '/good/keys',
              qr/TLS handshake failed/],
    refused => ['https://127.0.0.1:' . port(8503) . '/keys',
                qr/connection refused/i],
    unknown => ['https://no-such-host.invalid/keys', qr/host not found/],
    silent => ["/silent/keys", $timed_out,
               { hang => 20 }],
    trickle => ["/trickle/keys", $timed_out,
                { body => $keys, split => 1, delay => 0.1 }],
    500 => ['/500/keys', qr/unexpected status \(status 500\)/,
            { status => 500, body => $keys }],
    404 => ['/404/keys?secret=s3cr3t', qr/unexpected status \(status 404\)/,
            { status => 404, body => $keys }],
    redirect => ['/redirect/keys', qr/unexpected status \(status 302\)/,
                 { status => 302, headers => { Location => "$tls/good/keys" },
                   body => $keys }],
    large => ['/large/keys', qr/response body too large/, { body => $big }],
    html => ['/html/keys', qr/is not a JSON object/, { body => '<html></html>' }],
    empty => ['/empty/keys', qr/no key that can verify/,
              { body => '{"keys":[]}' }],
    nothing => ['/nothing/keys', qr/is not a JSON object/, { body => '' }],
    oct => ['/oct/keys', qr/no key that can verify/, { body =>
            '{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"key-1"}]}' }],
    torn => ['/torn/keys', qr/connection closed before the end/,
             { body => $keys, cut => 100 }],
    many => ['/many/keys', qr/too many keys/,
             { body => '{"keys":[' . join(',', ('{"kty":"x"}') x 65) . ']}' }],
);

my %path = map { ref $case{$_}[2] ? ("/$_/keys" => $case{$_}[2]) : () }
           keys %case;

MCP::Upstream->start($t, port => 8600, handler => sub {
    my $uri = $_[0]{uri} =~ s/\?.*//r;
    return $path{$uri} || { body => $keys };
});

# a name server that knows nothing

my $dns = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1')
    or die "dns: $!";
my $resolver = '127.0.0.1:' . $dns->sockport;

$t->run_daemon(sub {
    while (defined(my $from = recv $dns, my $query, 512, 0)) {
        substr $query, 2, 2, "\x81\x83";
        send $dns, $query, 0, $from;
    }
});

# certificates of another authority, and one that ended when it was made (from
# OpenSSL 3.5 on none can end before it begins)

my $req = 'openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1'
        . " -nodes -batch -config $d/openssl.cnf";

MCP::Issuer::run("$req -x509 -days 2 -extensions ca -subj /CN=other"
                 . " -keyout $d/other-ca.key -out $d/other-ca.pem");
MCP::Issuer::run("openssl x509 -req -days 0 -in $d/server.csr -CA $d/ca.pem"
                 . " -CAkey $d/ca.key -set_serial 7 -extensions server"
                 . " -extfile $d/openssl.cnf -out $d/expired.pem");

$t->write_file('elsewhere.cnf', "subjectAltName = DNS:elsewhere.example\n");
MCP::Issuer::run("openssl x509 -req -days 2 -in $d/server.csr -CA $d/ca.pem"
                 . " -CAkey $d/ca.key -set_serial 8 -extfile $d/elsewhere.cnf"
                 . " -out $d/elsewhere.pem");

my $issuers = '';

for (sort keys %case) {
    my ($uri, $why, undef, $more) = @{$case{$_}};

    $uri = "$tls$uri" if $uri =~ m!^/!;
    $more ||= "ssl_trusted_certificate $d/ca.pem;";
    $more .= $why =~ /timed out/ ? 'jwks_timeout 3s;'
             : $ENV{MCP_TEST_VALGRIND} ? 'jwks_timeout 60s;' : '';
    $issuers .= "mcp_issuer $_ { issuer https://$_.example.com; "
              . "jwks_uri $uri; audience mcp; $more }\n";
}

my $names = join ' ', sort keys %case;

$t->write_conf(<<"END");
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    resolver $resolver;
    ssl_certificate_key $d/server.key;

    $issuers

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer $names;
        role * { allow tool *; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location /mcp {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_8500%% ssl;
        listen 127.0.0.2:%%PORT_8500%% ssl;
        ssl_certificate $d/server.pem;
        location / {
            proxy_pass http://127.0.0.1:%%PORT_8600%%;
            proxy_buffering off;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_8501%% ssl;
        ssl_certificate $d/expired.pem;
        location / { proxy_pass http://127.0.0.1:%%PORT_8600%%; }
    }

    server {
        listen 127.0.0.1:%%PORT_8504%% ssl;
        ssl_certificate $d/elsewhere.pem;
        location / { proxy_pass http://127.0.0.1:%%PORT_8600%%; }
    }

    server {
        listen 127.0.0.1:%%PORT_8502%%;
        location / { proxy_pass http://127.0.0.1:%%PORT_8600%%; }
    }
}
END
$t->start;

# all at once: each waits for the first load, at most for jwks_timeout

my %conn = map {
    my $token = $okta->token(iss => "https://$_.example.com", aud => 'mcp');
    $_ => mcp_start('/mcp', rpc('tools/call', { name => 'echo' }),
                    token => $token);
} sort keys %case;

for my $name (sort keys %case) {
    my $r = $conn{$name}->read_response;

    is($r->{status}, 503, "$name: 503");
    like($r->{headers}{'retry-after'}, qr/^[1-9]\d?$/, "$name: Retry-After");
    ok(!$r->{headers}{'www-authenticate'}, "$name: no challenge");
    is($r->{json}{error}{code}, 503, "$name: the body says so");
}

my @records = $t->audit_next(scalar keys %case);
is(scalar @records, scalar keys %case, 'one audit record each');
is(scalar(grep { $_->{reason} eq 'no_keys' && $_->{decision} eq 'error' }
          @records), scalar @records, 'which name the reason');
is(scalar $up->requests(0), 0, 'nothing reached the upstream');

for my $name (sort keys %case) {
    my $re = qr/mcp_issuer "$name": no keys from "https:[^"]*": /;
    my $why = $case{$name}[1];

    ok($t->wait_for_log(qr/\[error\].*$re.*$why/, 3), "$name: log")
        or diag(grep { /"$name"/ } map { "$_\n" } split /\n/, $t->read_log);
    is(scalar(() = $t->read_log =~ /\[error\][^\n]*$re/g), 1, "$name: once");
}

unlike($t->read_log, qr/(?:issuer|fetch)[^\n]* "[^"\n]*s3cr3t/,
       'no query in the log');
unlike($t->read_log, qr/\[error\].*mcp fetch/, 'and nothing is said twice');

done_testing;

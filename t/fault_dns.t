#!/usr/bin/perl

# Names of issuers, and a name server that is silent, broken, slow, knows other
# addresses than before, or IPv6 only.  Whoever needs keys from there gets 503,
# in time, and nobody else waits; when the name can be resolved all is well by
# itself.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use JSON::PP ();
use Time::HiRes qw/ sleep time /;

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $issuers = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $up = MCP::Upstream->start($t, port => 8081);
my $d = $t->dir;
my $port = port(8500);

# Is IPv6 there?

my $six = do {
    require IO::Socket::IP;
    my $s = IO::Socket::IP->new(Proto => 'tcp', LocalHost => '::1',
                                LocalPort => $port, Listen => 1);
    $s ? 1 : 0;
};


# ---- the name server: NAME => [ADDRESS...], nx, fail, silent or garbage

sub names {
    my (%o) = @_;

    $t->write_file('names.new', JSON::PP->new->encode(\%o));
    rename "$d/names.new", "$d/names";
}

my $dns = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1')
    or die "dns: $!";
my $resolver = '127.0.0.1:' . $dns->sockport;

sub answer {
    my ($query, $what) = @_;
    my ($id, $rest) = unpack 'n x10 a*', $query;
    my ($question) = $rest =~ /\A((?:[^\0].*?)?\0....)/s or return;
    my $type = unpack 'n', substr $question, -4, 2;
    my $code = $what eq 'nx' ? 3 : $what eq 'fail' ? 2 : 0;
    my @a;

    return "\0\1\2" if $what eq 'garbage';

    for (ref $what ? @$what : ()) {
        my $bytes = /:/ ? Socket::inet_pton(Socket::AF_INET6(), $_)
                        : Socket::inet_aton($_);

        push @a, pack 'n n n N n/a', 0xc00c, $type, 1, 1, $bytes
            if $type == (/:/ ? 28 : 1);
    }

    return pack('n n n n n n', $id, 0x8180 | $code, 1, scalar @a, 0, 0)
           . $question . join '', @a;
}

$t->run_daemon(sub {
    while (defined(my $from = recv $dns, my $query, 512, 0)) {
        my ($name) = $query =~ /\A.{12}.([a-z0-9]+)/s or next;
        my $what = JSON::PP->new->decode($t->read_file('names'))->{$name}
                   // 'nx';

        $t->write_file("asked.$name", '');
        next if $what eq 'silent';

        my $text = answer($query, $what) // next;
        send $dns, $text, 0, $from;
    }
});


# ---- the issuers: each has its own name, and one certificate is for all

MCP::Issuer::certificate($t);

my $sign = sub {
    my ($file, $alt) = @_;
    $t->write_file("$file.cnf", "subjectAltName = $alt\n");
    MCP::Issuer::run("openssl x509 -req -days 2 -in $d/server.csr"
                     . " -CA $d/ca.pem -CAkey $d/ca.key -set_serial 77"
                     . " -extfile $d/$file.cnf -out $d/$file.pem");
};

$sign->('names', 'DNS:*.example.com,IP:::1');

my %case = (
    good => [['127.0.0.1']],
    second => [['127.0.0.9', '127.0.0.1']],
    moves => [['127.0.0.9']],
    fails => ['fail'],
    silent => ['silent'],
    garbage => ['garbage'],
    nobody => [[]],
    $six ? (six => [['::1']]) : (),
    waits => ['silent'],
    leaves => ['silent'],
);

my (%is, $conf);
my $patience = $ENV{MCP_TEST_VALGRIND} ? '20s' : '3s';

for my $name (sort keys %case, $six ? 'literal' : ()) {
    my $host = $name eq 'literal' ? '[::1]' : "$name.example.com";

    $is{$name} = MCP::Issuer->new($issuers, name => $name, stub => 1,
                                  issuer => "https://$name.example.com/");
    $conf .= "mcp_issuer $name { issuer $is{$name}{issuer};"
             . " jwks_uri https://$host:$port/$name/keys; audience"
             . " $is{$name}{audience}; jwks_timeout $patience;"
             . " ssl_trusted_certificate $d/ca.pem; }\n";
}

my %now = map { $_ => $case{$_}[0] } keys %case;
names(%now);

$issuers->write_conf("%%GLOBALS%%\nevents { }\nhttp { %%GLOBALS_HTTP%%\n"
    . "server { listen 127.0.0.1:$port ssl;"
    . ($six ? "listen [::1]:$port ssl;" : '')
    . "ssl_certificate $d/names.pem; ssl_certificate_key $d/server.key;"
    . join('', map { "location /$_/ { proxy_pass http://127.0.0.1:"
                     . port($is{$_}{stub_port}) . "; }\n" } keys %is)
    . "} }\n")->start;

my $names = join ' ', sort keys %is;

$t->write_conf(<<"END")->start;
%%GLOBALS%%
worker_shutdown_timeout 1s;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    resolver $resolver valid=1s @{[ $six ? '' : 'ipv6=off' ]};
    resolver_timeout 2s;

    %%ISSUER_okta%%
    $conf

    mcp_credential bot { value "Bearer bot-secret"; }
    mcp_server mcp { resource https://mcp.example.com/mcp; credential bot;
                     issuer okta $names; role * { allow tool *; } }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location /mcp { mcp_auth mcp;
                        proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }
}
END

sub begin { return mcp_start('/mcp', rpc('tools/call', { name => 'x' }),
                             token => $is{$_[0]}->token) }
sub status {
    my $r = begin($_[0])->read_response(timeout => 30);
    return $r ? $r->{status} : 'none';
}
my ($worker) = $t->workers;


# ---- what can be resolved

is(status('good'), 200, 'an address');
is(status('second'), 200, 'the second address, when the first does not answer');

SKIP: {
    skip 'no IPv6 here', 2 unless $six;
    is(status('six'), 200, 'IPv6 only');
    is(status('literal'), 200, 'a literal address');
}

is(call_tool('/mcp', 'x', {}, token => $okta->token)->{status}, 200,
   'who needs no name');


# ---- what cannot: 503 in time, and who needs nothing of it passes at once

for my $name (qw/ fails silent garbage nobody moves /) {
    my $from = time;
    my $c = begin($name);
    my $known = time;

    is(call_tool('/mcp', 'x', {}, token => $okta->token)->{status}, 200,
       "$name: others pass");

    my $r = $c->read_response(timeout => 60);

    is($r && $r->{status}, 503, "$name: 503");
    like($r->{headers}{'retry-after'} // '', qr/^\d+$/,
         "$name: with Retry-After");
    cmp_ok(time - $from, '<', $ENV{MCP_TEST_VALGRIND} ? 60 : 8,
           "$name: in time");
}

is(scalar(grep { $_->{reason} eq 'no_keys' } my @r = $t->audit(1)), 5,
   'on record');
ok($t->wait_for_log(qr/"$_": no keys/), "$_: said")
    for qw/ fails silent garbage nobody moves /;


# ---- it comes to its senses, or the name moves: no reload is needed

$now{$_} = ['127.0.0.1'] for qw/ fails silent garbage nobody moves /;
names(%now);

for my $name (qw/ fails silent garbage nobody moves /) {
    ok(MCP::Test::wait_until(6 * $MCP::Test::TIMEOUT,
                             sub { status($name) == 200 }),
       "$name: well again");
}


# ---- while a name is looked for: the client goes, the worker has to leave

# a request that waits: after a failure keys are not asked for at once again,
# and who comes meanwhile is told so

sub waiting {
    my ($name) = @_;

    return MCP::Test::wait_until(6 * $MCP::Test::TIMEOUT, sub {
        my $c = begin($name);
        return $c->read_head(timeout => 0.5) ? 0 : $c;
    });
}

my $c = waiting('waits');

ok($c && -e "$d/asked.waits", 'a name is asked for');
$c->reset;
ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
       grep { $_->{reason} eq 'aborted_waiting_for_keys' } $t->audit(0) }),
   'its client goes: on record');

$c = waiting('leaves');
ok($c && -e "$d/asked.leaves", 'another one is asked for');

my $from = time;

is(join(' ', $t->workers), $worker, 'by the worker that it was');
ok($t->reload, 'a reload');
ok($c->closed($MCP::Test::TIMEOUT), 'its client is cut off, or answered');
ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub { !kill 0 => $worker }),
   'the worker leaves');
cmp_ok(time - $from, '<', $ENV{MCP_TEST_VALGRIND} ? 60 : 8, 'in time');
is(status('good'), 200, 'the next one resolves');

is(scalar(grep { $_->{head} !~ /^Authorization: Bearer bot-secret\r$/mi }
          $up->requests(1)), 0, 'no upstream saw anything but the credential');

done_testing;

#!/usr/bin/perl

# Where records go besides a file: syslog, one datagram for each; and `strict`:
# no call passes while the last record could not be written.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use IO::Socket::UNIX;
use JSON::PP ();
use Socket qw/ SOCK_DGRAM /;
use Time::HiRes qw/ time sleep /;

use MCP::Trap http => <<'HTTP', conf => <<'CONF';
    mcp_server two {
        resource https://mcp.example.com/two;
        issuer okta;
        role * { allow tool *; }
    }
HTTP
        location /udp {
            mcp_auth two;
            mcp_audit syslog:server=127.0.0.1:%%PORT_8514%%,facility=auth,tag=mcp,severity=notice;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /unix {
            mcp_auth two;
            mcp_audit syslog:server=unix:%%TESTDIR%%/log.sock,nohostname strict;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /full {
            mcp_auth two;
            mcp_audit /dev/full strict;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /lax {
            mcp_auth two;
            mcp_audit /dev//full;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
CONF

my $udp = MCP::Test::udp(8514);

sub datagram {
    my ($s, $timeout) = @_;

    return undef unless IO::Select->new($s)->can_read($timeout // 5);
    $s->recv(my $text, 65536);
    return $text;
}

sub unix_socket {
    unlink gateway->dir . '/log.sock';
    return IO::Socket::UNIX->new(Local => gateway->dir . '/log.sock',
                                 Type => SOCK_DGRAM);
}

sub at { post($_[0], uri => $_[1]) }


# UDP

is(at(call('echo'), '/udp')->{status}, 200, 'udp: a call');

my $d = datagram($udp);
like($d, qr/^<37>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ mcp: \{/,
     'facility, severity, host name and tag');

my ($json) = $d =~ /^[^{]*(\{.*\})\z/s;
my $m = eval { JSON::PP->new->utf8->decode($json) };
is("$m->{decision} $m->{target}", 'allow echo', 'a record, without an end');

my $evil = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a'
           . '\n<0>Jan 1 00:00:00 evil: x\r\n\u0000"}}';
at($evil =~ s/\\u0000//r, '/udp');
$d = datagram($udp);
is(scalar(() = $d =~ /[\r\n]/g), 0, 'one line, whatever a caller sends');

at(call('echo'), '/udp') for 1 .. 20;
is(scalar(grep { defined datagram($udp) } 1 .. 20), 20, 'each in its own');
is(datagram($udp, 0.2), undef, 'and no more');


# a unix socket that is not there: strict refuses after the first

my $r = at(call('echo'), '/unix');
is($r->{status}, 200, 'unix: the call whose record is the first to be lost');
arrived(1);

sleep 0.1;
$r = at(call('echo'), '/unix');
is($r->{status}, 503, 'the next one is refused');
like($r->{headers}{'retry-after'}, qr/^\d+$/, 'with Retry-After');
is($r->{json}{error}{code}, 503, 'as JSON-RPC');
is(http("GET /unix HTTP/1.1\r\nHost: localhost\r\n\r\n")->{status}, 503,
   'so is who has no token');
nothing('while it lasts');
ok(gateway->wait_for_log(qr/records for "syslog:server=unix:.*" were not written.*calls are refused/),
   'said once');

# a record is tried after its answer: the one before must not find the log

sleep($ENV{MCP_TEST_VALGRIND} ? 2 : 0.1);
my $unix = unix_socket();
sleep 0.1;
$r = at(call('echo'), '/unix');
is($r->{status}, 503, 'the try that finds the log again');
like(datagram($unix), qr/^<190>\S+ +\S+ \S+ nginx: \{.*"reason":"audit"/,
     'its record is the first that is there');
$r = at(call('echo'), '/unix');
is($r->{status}, 200, 'and calls pass again');
like(datagram($unix), qr/"decision":"allow"/, 'on record');
arrived(1);

close $unix;
$r = at(call('echo'), '/unix');
is($r->{status}, 200, 'the log goes away: one call more');
arrived(1);
sleep 0.1;
$r = at(call('echo'), '/unix');
is($r->{status}, 503, 'then none');
$unix = unix_socket();
at(call('echo'), '/unix');
datagram($unix);
is(at(call('echo'), '/unix')->{status}, 200, 'and it resumes by itself');
arrived(1);


# a file: /dev/full takes nothing, ever

$r = at(call('echo'), '/full');
is($r->{status}, 200, 'a full disk: the first');
arrived(1);
sleep 0.1;
is(at(call('echo'), '/full')->{status}, 503, 'and no other') for 1 .. 3;
nothing('a full disk');

# not strict: requests go on, the loss is counted

my $dir = gateway->dir;
is(at(call('echo'), '/lax')->{status}, 200, 'lax: passes') for 1 .. 2;
arrived(2);


# one location's log is not another's

is(post(call('echo'))->{status}, 200, 'elsewhere calls pass');
is(record()->{decision}, 'allow', 'and are on record');

my $conf = gateway->read_file('nginx.conf');

for (['%s buffer=64k strict', qr/cannot be "strict" with a "buffer"/],
     ['syslog:', qr/unknown syslog parameter/],
     ['syslog:facility=auth', qr/no syslog server/],
     ['syslog:server=127.0.0.1,facility=nothing', qr/unknown syslog facility/],
     ['%s strict=1', qr/invalid parameter/])
{
    my ($line, $why) = @$_;
    my $audit = $line =~ s!%s!$dir/x.log!r;
    my ($ok, $said) = gateway->check($conf =~ s!mcp_audit /dev/full strict!mcp_audit $audit!r);

    is($ok, 0, "nginx -t refuses $line");
    like($said, $why, 'and says why');
}

done_testing;

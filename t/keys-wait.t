#!/usr/bin/perl

# Requests that wait for keys, and what may happen meanwhile: the client goes,
# the configuration is loaded again, a worker dies with the fetch.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $issuers = MCP::Test->new;

# nobody waits for the hung one; the others take their time under valgrind

my $patience = $ENV{MCP_TEST_VALGRIND} ? 60 : 4;
my %is = map { $_ => MCP::Issuer->new($issuers, name => $_, stub => 1,
             conf => 'jwks_timeout ' . ($_ eq 'hung' ? 4 : $patience) . 's;') }
         qw/ client reload killed hung /;
my $up = MCP::Upstream->start($t, port => 8081);

# their nginx is another one, which no reload and no signal reaches

$issuers->write_conf("%%GLOBALS%%\nevents { }\nhttp { %%GLOBALS_HTTP%%\n"
                     . join('', map { $_->server_conf } values %is) . "}\n");
$issuers->start;

my $conf = join '', map { $is{$_}->issuer_conf } sort keys %is;
my $names = join ' ', sort keys %is;

$conf = <<"END";
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    $conf

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
}
END

for (qw/ client reload killed /) {
    $is{$_}{stub}->answer({ wait => 2.5, body => $is{$_}->jwks });
}

$is{hung}{stub}->answer(({ hang => 40 }) x 20);

$t->write_conf($conf);
$t->start;

$_->{stub}->requests(1) for values %is;

my $message = rpc('tools/call', { name => 'echo' });

sub waiting {
    my ($name, %o) = @_;
    return mcp_start('/mcp', $message, token => $is{$name}->token, %o);
}


# four clients: two go, in two ways; one half-sends; one stays

my ($worker) = $t->workers;
my @c = map { waiting('client') } 1 .. 3;
my $half = http_start(substr(MCP::Test::mcp_request('/mcp', $message,
                             token => $is{client}->token), 0, -5));

sleep 0.2;
$c[0]->close;
$c[1]->reset;

my @gone = $t->audit_next(2, timeout => 2);
is(scalar @gone, 2, 'two clients go: two records, at once');
is(scalar(grep { $_->{result}{status} == 499 } @gone), 2, 'with 499');
is(scalar(grep { !defined $_->{user} } @gone), 2, 'about nobody');

my $r = $c[2]->read_response;
is($r->{status}, 200, 'the one that stayed is served');
$half->send(substr(MCP::Test::mcp_request('/mcp', $message,
                   token => $is{client}->token), -5));
is($half->read_response->{status}, 200, 'and the one whose body came later');

is(scalar(my @rest = $t->audit_next(2)), 2, 'one record each');
is(scalar $up->requests(2), 2, 'only those reached the upstream');
is(scalar $is{client}{stub}->requests(0), 1, 'one fetch for all');
is(($t->workers)[0], $worker, 'the worker lives');


# jwks_timeout: the fetch hangs, a request does not

my $from = time;
$r = waiting('hung')->read_response;
is($r->{status}, 503, 'a hung issuer: 503');
cmp_ok(time - $from, '<', 20, 'in time');
ok($t->wait_for_log(qr/"hung": no keys .*timed out waiting for the response/),
   'and said');
$t->audit_next;


# reload: the old worker ends what waits there

$is{reload}->add_key('key-2', 'ES256');
$is{reload}->publish;
$is{reload}{stub}->answer({ wait => 1, body => $is{reload}->jwks });

my $c = waiting('reload');
$is{reload}{stub}->requests(2);

ok($t->reload, 'reload while a request waits');
$r = $c->read_response;
is($r && $r->{status}, 200, 'the old worker answers it');
is(call_tool('/mcp', 'echo', {}, token => $is{reload}->token)->{status}, 200,
   'the new one finds the key');
is(scalar(my @two = $t->audit_next(2)), 2, 'a record each');

ok(MCP::Test::wait_until(10, sub { !kill 0, $worker }), 'the old worker ends');


# kill -9: nobody inherits a lock or a lease

$is{killed}->add_key('key-2', 'ES256');
$is{killed}->publish;
$is{killed}{stub}->answer({ hang => 20 });
my $n = $is{killed}{stub}->requests(0);

$c = waiting('killed');
$is{killed}{stub}->requests($n + 1);

$t->allow_log(qr/exited on signal 9/);
($worker) = $t->workers;
kill KILL => $worker;

ok($c->closed, 'its client is cut off');
ok(MCP::Test::wait_until(5, sub {
       my ($new) = $t->workers;
       return $new && $new != $worker;
   }), 'another worker begins');

my $old = $is{killed}->token(-key => $is{killed}{keys}[0]);
is(call_tool('/mcp', 'echo', {}, token => $old)->{status}, 200,
   'the keys in the zone serve');
is(waiting('killed')->read_response->{status}, 200,
   'and what the dead one asked for is asked for again');

done_testing;

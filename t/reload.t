#!/usr/bin/perl

# Reload, crash and shutdown under load: nobody is refused or forgotten, streams
# end as the operator said, no lock is left held.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $up = MCP::Upstream->start($t, port => 8081);

my $conf = <<'END';
%%GLOBALS%%
worker_processes 2;
#shutdown
events { }
http {
    %%GLOBALS_HTTP%%
    access_log off;
    keepalive_requests 100000;
    mcp_audit %%TESTDIR%%/audit.log;

    %%ISSUER_okta%%

    mcp_credential bot { type static; value "Bearer bot"; }
    mcp_server mcp { resource https://mcp.example.com/mcp; issuer okta;
                     credential bot; role * { allow tool *; } }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location /mcp { mcp_auth mcp;
                        proxy_pass http://127.0.0.1:%%PORT_8083%%; }
        location /stream { mcp_auth mcp;
                           proxy_pass http://127.0.0.1:%%PORT_8081%%; }
    }

    server {
        listen 127.0.0.1:%%PORT_8083%%;
        location / { default_type application/json;
            return 200 '{"jsonrpc":"2.0","id":1,"result":{"as":"$http_authorization"}}'; }
    }
}
END

$t->write_conf($conf)->start;

my $token = $okta->token;
my $call = MCP::Test::mcp_request('/mcp', rpc('tools/call', { name => 'x' },
                                              id => 1), token => $token);

# Clients that call on connections that are kept alive until the test stops
# them.  A connection that closes instead of an answer is idle keep-alive being
# ended: the call is made once more on a new one.  $lose: and again.

sub load {
    my ($n, $code, $lose) = @_;
    my $dir = $t->dir;

    unlink "$dir/stop";

    my @kids = map {
        my $n = $_;
        my $pid = fork // die;

        if ($pid == 0) {
            my ($good, $bad, $c, $left) = (0, 0);

            until (-e "$dir/stop") {
                my $r;

                for (1 .. ($lose ? 5 : 2)) {
                    $c ||= eval { MCP::Conn->new(port => port(8080)) } or next;
                    $c->send($call);
                    last if $r = eval { $c->read_response };
                    $c = undef;
                }

                $r && $r->{status} == 200
                    && $r->{body} =~ /"as":"Bearer bot"/ ? $good++ : $bad++;
                $c = undef if $r && ($r->{headers}{connection} // '') eq 'close';
                sleep 0.01;
            }

            $t->write_file("load.$n", "$good $bad");
            POSIX::_exit(0);
        }

        $pid;
    } 1 .. $n;

    $code->();
    $t->write_file('stop', '');
    waitpid $_, 0 for @kids;

    my ($good, $bad) = (0, 0);

    for (1 .. $n) {
        my @n = split ' ', $t->read_file("load.$_");
        $good += $n[0] // 0;
        $bad += $n[1] // 1;
    }

    return ($good, $bad);
}

sub stream {
    my ($events, $every) = @_;

    $up->answer({ sse => [ map { ({ data => { jsonrpc => '2.0',
        method => 'notifications/progress', params => { n => $_ } } }, $every) }
        1 .. $events ] });

    my $c = mcp_start('/stream', rpc('tools/call', { name => 'x' }),
                      token => $token);
    ok($c->sse_next, 'a stream is open');
    return $c;
}


# ---- reload

my $reloads = 20;
my ($good, $bad) = load(4, sub {
    my $ok = 0;
    $ok += $t->reload for 1 .. $reloads;
    is($ok, $reloads, "reloaded $reloads times");
});

cmp_ok($good, '>', $MCP::Test::SAN ? 20 : 100, "$good calls meanwhile");
is($bad, 0, 'none lost or refused');

my @a = $t->audit($good);
cmp_ok(scalar @a, '>=', $good, 'each is recorded');
my %seq = map { $_->{seq} => 1 } @a;
is(scalar keys %seq, scalar @a, 'seq goes on over reloads');
is((sort { $a <=> $b } keys %seq)[-1], scalar @a, 'without a gap');


# ---- crash

$t->allow_log(qr/exited on signal 9/);

($good, $bad) = load(4, sub {
    for (1 .. 4) {
        my ($victim) = $t->workers;
        kill KILL => $victim;
        MCP::Test::wait_until(5, sub {
            my @w = $t->workers;
            return @w == 2 && !grep { $_ == $victim } @w;
        }) or fail('respawned');
        sleep 0.1;
    }
}, 1);

cmp_ok($good, '>', $ENV{MCP_TEST_VALGRIND} ? 2 : 50,
       "$good calls while workers crash");
is($bad, 0, 'all answered, at last');

my @status = map { call_tool('/mcp', 'x', {}, token => $_)->{status} }
             $token, map { $okta->token(sub => "user$_") } 1 .. 4;
is("@status", '200 200 200 200 200', 'tokens known and new: no lock is held');


# ---- reload and streams

my $c = stream(10, 0.1);
ok($t->reload, 'reload');
my $n = 1;
$n++ while $c->sse_next(timeout => 5);
is($n, 10, 'the stream goes on to its end');
ok($c->{response}{complete}, 'and ends properly');

$conf =~ s/#shutdown/worker_shutdown_timeout 300ms;/;
ok($t->reload($conf), 'worker_shutdown_timeout');
$c = stream(100, 0.1);
my $from = time;
ok($t->reload, 'reload');
1 while $c->sse_next(timeout => 5);
ok(!$c->{response}{complete}, 'the stream is cut');
cmp_ok(time - $from, '<', 4, 'in time');

my @cut;
MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    @cut = grep { $_->{server} eq 'mcp' && $_->{upstream}{addr}
                  && $_->{upstream}{addr} eq '127.0.0.1:' . port(8081) }
           $t->audit(0);
    return @cut >= 2;
});
is(scalar @cut, 2, 'each stream has one record');
is("$cut[1]{decision} $cut[1]{reason}", 'allow client_gone', 'cut: recorded');


# ---- quit

$conf =~ s/worker_shutdown_timeout .*?;//;
ok($t->reload($conf), 'no worker_shutdown_timeout');
$c = stream(6, 0.1);
kill QUIT => $t->pid;
$n = 1;
$n++ while $c->sse_next(timeout => 5);
is($n, 6, 'quit: the stream goes on to its end');
$t->stop;
is(scalar(grep { $_->{upstream}{addr}
                 && $_->{upstream}{addr} eq '127.0.0.1:' . port(8081) }
          $t->audit), 3, 'and is recorded');

done_testing;

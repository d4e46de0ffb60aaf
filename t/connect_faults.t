#!/usr/bin/perl

# mcp_connect and a Redis whose replies are lost, late, or not what they should
# be: a step is done or not, and the person gets a page that says how to go on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ sleep time /;

use MCP::Test;
use MCP::Connect;
use MCP::Proxy;

my $t = MCP::Test->new;
my $g = MCP::Connect->new($t);
my $url = $g->url;
my $proxy = MCP::Proxy->start($t, port => 6380, to => $g->{redis}->socket);
my $n = 0;

$t->allow_log(qr/mcp_redis/, qr/could not be written/, qr/mcp_credential/);
$g->start(redis_port => 6380, redis_conf => 'timeout 500ms;');

sub title { $_[0]{body} =~ /<h1>(.*?)<\/h1>/ ? $1 : $_[0]{body} }

sub record {
    my ($who) = @_;
    my $name = $g->{vault}->name({ credential => 'jira', user => $who,
                                   issuer => $g->{okta}{issuer} });
    return { @{$g->{redis}->command('HGETALL', "mcp:cred:$name")} };
}

# all is well: both connections are there

sub settle {
    $proxy->mode;
    ok(MCP::Test::wait_until(20, sub {
        sleep 0.1;
        $g->browser->get($url)->{status} == 200 }), 'all is well again');
}

# a new person, signed in

sub person {
    my $who = 'person' . ++$n;
    $_->set(person => $who) for $g->{login}, $g->{idp};
    my $b = $g->browser;
    MCP::Test::wait_until(10, sub { $b->get($url)->{status} == 200 });
    return ($who, $b);
}

# as far as the provider's answer

sub begun {
    my ($who, $b) = person();
    my $page = $b->get("${url}start/jira");

    $b->{follow} = 0;
    my $r = $b->get($b->submit($page, qr/start/)->{headers}{location},
                    site => 'cross');

    return ($who, $b, $r->{headers}{location});
}

sub way_on {
    my ($what, $r) = @_;
    like($r->{body}, qr/href="\/connect\//, "$what: there is a way on");
    is($r->{headers}{'cache-control'}, 'no-store', "$what: a page of ours");
}

# ---- a step that is not begun

for my $fault ([ swallow => 1 ], [ cut => 3 ], [ reply => "-OOM evil\r\n" ],
               [ reply => "+evil\r\n" ], [ reply => ":1\r\n" ],
               [ reply => "\$-1\r\n" ])
{
    my $what = "SET: @$fault" =~ s/\r\n//r;
    my ($who, $b) = person();
    my $page = $b->get("${url}start/jira");

    $b->{follow} = 0;
    $proxy->mode(@$fault, only => 'SET');
    my $r = $b->submit($page, qr/start/);

    is($r->{status}, 503, "$what: not now");
    way_on($what, $r);
    unlike($r->{body}, qr/evil/, "$what: nothing of it is shown");
    settle();
}

# ---- a state of which nobody knows whether it was taken

for my $fault ([ swallow => 1 ], [ cut => 5 ], [ reply => "-ERR evil\r\n" ],
               [ reply => ":1\r\n" ], [ reply => "\$4\r\nevil\r\n" ],
               [ reply => "-ERR unknown command 'GETDEL', with args: evil\r\n" ],
               [ reply => "*1\r\n\$4\r\nevil\r\n" ])
{
    my $what = "GETDEL: @$fault" =~ s/\r\n//gr;
    my ($who, $b, $to) = begun();
    my $before = $g->{idp}->count(kind => 'authorization_code');

    $proxy->mode(@$fault, only => 'GETDEL');
    my $r = $b->get($to, site => 'cross');

    like($r->{status}, qr/\A(?:503|400)\z/, "$what: not now");
    way_on($what, $r);
    is($g->{idp}->count(kind => 'authorization_code'), $before,
       "$what: no code is used");
    is(record($who)->{st}, undef, "$what: nothing is connected");
    settle();

    # from the page on, to a good end

    $b->{follow} = 1;
    $r = $b->submit($b->get("${url}start/jira"), qr/start/);
    is(title($r), 'Connected', "$what: begun again it ends well");
}

like($t->read_log, qr/mcp_connect was refused: ERR, .*Redis 6\.2 is needed/,
     'a Redis that is too old is said to be');
like($t->read_log, qr/mcp_connect was refused: OOM,/, 'and one that is full');
unlike($t->read_log, qr/evil/, 'without the rest of its text');

# ---- what a code brought is written, whatever is lost on the way

for my $fault ([ swallow => 1, only => 'EVAL' ], [ cut => 2, only => 'EVAL' ],
               [ swallow => 1, only => 'HMGET' ], [ close => 1 ])
{
    my $what = "written: @$fault";
    my ($who, $b, $to) = begun();

    $proxy->mode(@$fault);
    $b->{follow} = 1;
    my $r = $b->get($to, site => 'cross');
    my $rec = record($who);

    SKIP: {
        # the state may have been what was lost

        skip 'nothing was begun', 3
            if $fault->[0] eq 'close' && $r->{status} == 503;

        is(title($r), 'Connected', "$what: connected");
        is($rec->{st}, 'active', "$what: it is there");
        is($rec->{v}, 1, "$what: written once");
    }

    settle();
}

# ---- Redis is away for a while, just then

my ($who, $b, $to) = begun();
$g->{idp}->misbehave('hold');
my ($path) = $to =~ m!(/connect/.*)!;
my $conn = MCP::Test::http_start("GET $path HTTP/1.1\r\nHost: x\r\n"
    . 'Cookie: __Host-mcp-connect='
    . $b->cookie('127.0.0.1', '__Host-mcp-connect') . "\r\n\r\n");

ok($g->{idp}->wait_held, 'a code is being exchanged');
$proxy->mode(refuse => 1, close => 1);
$g->{idp}->release;
$g->{idp}->behave;
sleep 1;
$proxy->mode;
my $r = $conn->read_response;
is($r->{status}, 303, 'it waits for Redis');
is(record($who)->{st}, 'active', 'and is kept');

# ---- an answer to an MCP client does without a ticket

settle();
my $token = $g->{okta}->token(sub => 'nobody', cid => 'app');

for my $fault ([ swallow => 1 ], [ cut => 2 ], [ reply => "-ERR evil\r\n" ],
               [ reply => "\$4\r\nevil\r\n" ], [ reply => ":1\r\n" ])
{
    my $what = "ticket: @$fault" =~ s/\r\n//gr;
    my $first = call_tool('/mcp', 'search', {}, token => $token);

    like($first->{body}, qr!start/jira\?ticket=!, "$what: usually with one");
    $proxy->mode(@$fault, only => 'EVAL');

    my $r = call_tool('/mcp', 'search', {}, token => $token);
    like($r->{body}, qr!\Q$url\Estart/jira in a!, "$what: without");
    unlike($r->{body}, qr/evil/, "$what: nothing of it is shown");
    settle();
}

# ---- a worker that ends at once while many wait

($who, $b) = person();
my $cookie = 'Cookie: __Host-mcp-connect='
             . $b->cookie('127.0.0.1', '__Host-mcp-connect');

$proxy->mode(stop => 'replies');

my @waiting = map { MCP::Test::http_start("GET /connect/$_ HTTP/1.1\r\n"
                    . "Host: x\r\n$cookie\r\n\r\n") }
              ('', 'login', 'grant/jira?state=' . 'A' x 43,
               'callback?state=' . 'B' x 43) x 3;
push @waiting, map { MCP::Test::mcp_start('/mcp',
                     rpc('tools/call', { name => 'search', arguments => {} }),
                     token => $token) } 1 .. 3;
sleep 0.2;
kill 'TERM', $t->pid;
$t->wait_for_log(qr/signal 15.*exiting/);
$t->stop;
unlike($t->read_log, qr/exited on signal|\[alert\].*open socket/,
       'a worker that ends leaves nothing behind');

done_testing();

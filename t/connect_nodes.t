#!/usr/bin/perl

# mcp_connect on two gateways behind one name: each request goes to one of them
# at random, and it makes no difference.  What may happen once happens once,
# over both.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();

use MCP::Test;
use MCP::Connect;

my $t = MCP::Test->new;
my $second = MCP::Test->new;
my $g = MCP::Connect->new($t);
my $url = $g->url;
my @port = map { MCP::Test::port($_) } 8080, 8082;
my $seed = $ENV{MCP_TEST_SEED} || time;

srand $seed;
note("MCP_TEST_SEED=$seed");

# as the user of Redis that docs/directives.md tells

my ($rights) = do {
    open my $fh, '<', "$FindBin::Bin/../docs/directives.md" or die $!;
    join('', <$fh>) =~ /^The ACL user needs (.*?); `mcpctl` also/m;
};

$t->keep_secret('pass-word-of-redis');
$t->write_file('word', "pass-word-of-redis\n");
$g->{redis}->command(qw/ ACL SETUSER gw on >pass-word-of-redis ~mcp:* &mcp:*
                         -@all /, $rights =~ /(?<![\w|])(\+[\w|]+)/g);

my $conf = $g->conf(workers => 2, redis_conf => 'user gw; password file:'
                                                . $t->dir . '/word;');
$t->write_conf($conf)->start;
$conf =~ s/listen 127\.0\.0\.1:%%PORT_8080%%/listen 127.0.0.1:%%PORT_8082%%/;
$second->write_conf($conf)->start;

sub title { $_[0]{body} =~ /<h1>(.*?)<\/h1>/ ? $1 : $_[0]{body} }

sub browser {
    return $g->browser(@_, via => sub {
        $_[0] == $port[0] ? $port[rand 2] : $_[0] });
}

sub call {
    my ($who, $node) = @_;
    return call_tool('/mcp', 'search', {}, port => $node,
                     token => $g->{okta}->token(sub => $who, cid => 'app'));
}

sub ticket {
    my ($who, $node) = @_;
    my ($ticket) = call($who, $node)->{body} =~ /ticket=([\w-]{43})/;
    $t->keep_secret($ticket) if defined $ticket;
    return $ticket;
}

# as a new person of both

sub person {
    my ($who) = @_;
    $_->set(person => $who) for $g->{login}, $g->{idp};
    return $who;
}

# ---- any gateway at any time

for my $n (1 .. 8) {
    my $who = person("user$n");
    my @tickets = map { ticket($who, $_) } 8080, 8082, 8080;

    ok(defined $tickets[0], "$who is asked");
    is_deeply([ @tickets[1, 2] ], [ @tickets[0, 0] ],
              'with one ticket by both');

    my $b = browser();
    my $page = $b->get("${url}start/jira?ticket=$tickets[0]");

    is(title($page), 'Connect an account', 'to a page of either');
    is(title($b->submit($page, qr/start/)), 'Connected', 'connected');

    for my $node (8080, 8082) {
        my $told;

        # the other gateway is told by Redis, and nobody waits for it there

        MCP::Test::wait_until(2, sub {
            $told = MCP::Provider->told(call($who, $node)) });
        is($told->{user}, $who, "and the call succeeds at $node");
    }

    is(title($b->get("${url}start/jira?ticket=$tickets[0]")), 'Too late',
       'the ticket was used');
}

is($g->{idp}->count(kind => 'authorization_code', result => 'ok'), 8,
   'each code was exchanged once');

# ---- at once

# the same request to both, from as many processes: their statuses

sub at_once {
    my ($n, $cookie, $path) = @_;
    my @pipes;

    pipe my $go, my $start or die;

    for my $i (1 .. $n) {
        pipe my $in, my $out or die;
        my $pid = fork // die "fork: $!";

        if ($pid == 0) {
            close $start;
            sysread $go, my $x, 1;
            my $r = MCP::Test::http("GET $path HTTP/1.0\r\nHost: x\r\n"
                                    . "Cookie: $cookie\r\n\r\n",
                                    port => $i % 2 ? 8080 : 8082);
            syswrite $out, $r->{status};
            POSIX::_exit(0);
        }

        close $out;
        push @pipes, [ $pid, $in ];
    }

    close $go;
    close $start;

    return sort map {
        sysread $_->[1], my $status, 10;
        waitpid $_->[0], 0;
        $status;
    } @pipes;
}

for my $n (1 .. 4) {
    my $who = person("twice$n");
    my $b = browser();

    my $page = $b->get("${url}start/jira");
    $b->{follow} = 0;
    my $r = $b->get($b->submit($page, qr/start/)->{headers}{location},
                    site => 'cross');
    my ($path) = $r->{headers}{location} =~ m!(/connect/.*)!;
    my $cookie = '__Host-mcp-connect='
                 . $b->cookie('127.0.0.1', '__Host-mcp-connect');
    my @got = at_once(6, $cookie, $path);

    is("@got", '303 400 400 400 400 400', 'of six callbacks one is taken');
    is($g->{idp}->count(kind => 'authorization_code', user => $who), 1,
       'and asks once');
    is(MCP::Provider->told(call($who, 8080))->{user}, $who,
       'whose call succeeds');
}

is($g->{idp}->count(reuse => 1), 0, 'no code was used twice');

# ---- whoever signs in at one is known at the other, and signs out at both

person('zoe');
my $b = browser();
$b->get($url);

for (1 .. 6) {
    like($b->get($url)->{body}, qr/Zoe/, 'known by either');
}

$b->submit($b->get($url), qr/logout/);
$g->{login}->set(person => undef);
is($b->get($url)->{body}, 'please sign in', 'or by none');

$second->stop;
is_deeply($g->{redis}->command(qw/ ACL LOG /), [], 'Redis denied nothing');

done_testing();

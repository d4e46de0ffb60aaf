#!/usr/bin/perl

# mcp_connect over HTTP/2: pages and forms, streams that are reset and
# connections that end while Redis or a provider is waited for.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Connect;
use MCP::H2;

my $t = MCP::Test->new;
my $g = MCP::Connect->new($t);
my $url = $g->url;
my $port = MCP::Test::port(8085);

$g->start(server => "listen 127.0.0.1:$port http2;",
          redis_conf => 'timeout 10s;');

sub h2 { MCP::H2->new(port => $port) }

sub status {
    my ($uri, %o) = @_;
    my $c = h2();
    my $s = $c->response(defined $o{body} ? $c->post($uri, $o{body}, %o)
                                          : $c->get($uri, %o));
    return ($s->{status} // 0, $s->{body});
}

my $b = $g->browser;
$b->get($url);
my $cookie = '__Host-mcp-connect='
             . $b->cookie('127.0.0.1', '__Host-mcp-connect');
my @with = (headers => [ cookie => $cookie ]);

is((status('/connect/style.css'))[0], 200, 'the style sheet');
is((status('/connect/nothing'))[0], 404, 'no page');
my ($status, $body) = status('/connect/', @with);
is($status, 200, 'my connections');
like($body, qr/Alice/, 'are hers');
($status, $body) = status('/connect/start/jira', @with);
is($status, 200, 'what will happen');
my ($csrf) = $body =~ /name="csrf" value="([^"]+)"/;

my $c = h2();
my %form = (type => 'application/x-www-form-urlencoded', @with);
my $s = $c->response($c->post('/connect/disconnect/jira', "csrf=$csrf",
                              %form));
like($s->{body}, qr/Nothing was changed/, 'another form\'s token');
$s = $c->response($c->post('/connect/start/jira', 'a=' . 'x' x 9000, %form));
like($s->{body}, qr/too long/, 'a form that is too large');

# ---- Redis is waited for, and nobody waits

$g->{redis}->pause;

for my $round (1 .. 4) {
    my @c = map { h2() } 1 .. 3;

    for my $c (@c) {
        my @id = map { $c->get($_, @with) }
                 ('/connect/', '/connect/login', '/connect/grant/jira?state='
                  . 'A' x 43, '/connect/callback?state=' . 'B' x 43) x 2;
        push @id, $c->post('/connect/start/jira', "csrf=$csrf", %form);

        $c->reset($_) for @id[grep { $_ % 2 } 0 .. $#id];
    }

    $round % 2 ? $_->goaway : $_->close for @c;
    $_->close for @c;
}

my $one = h2();
my $id = $one->get('/connect/', @with);
my $two = $one->get('/connect/login', @with);

$g->{redis}->resume;

like($one->response($id)->{body}, qr/Alice/, 'who waited gets her page');
ok(defined $one->response($two)->{end}, 'all of them end');
is((status('/connect/', @with))[0], 200, 'and it goes on');

# ---- the provider is waited for, and the browser goes

$g->{idp}->set(person => 'alice');
$b->{follow} = 0;
my $page = $b->get("${url}start/jira");
my $r = $b->get($b->submit($page, qr/start/)->{headers}{location},
                site => 'cross');
my ($path) = $r->{headers}{location} =~ m!(/connect/.*)!;

$g->{idp}->misbehave('hold');
$c = h2();
$id = $c->get($path, @with);
ok($g->{idp}->wait_held, 'a code is being exchanged');
$c->reset($id);
$c->close;
$g->{idp}->release;
$g->{idp}->behave;

my $name = $g->{vault}->name({ credential => 'jira', user => 'alice',
                               issuer => $g->{okta}{issuer} });
ok(MCP::Test::wait_until(10, sub {
    ($g->{redis}->command('HGET', "mcp:cred:$name", 'st') // '') eq 'active' }),
   'what it brought is kept');
is((status('/connect/', @with))[0], 200, 'and it goes on');

done_testing();

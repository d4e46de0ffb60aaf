#!/usr/bin/perl

# HTTP/2: many callers in one connection, each is who they are and nobody else;
# streams that are reset or revoked while they wait, while they send and while
# they read; a connection that goes on after each kind of refusal.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::H2;
use MCP::Issuer;
use MCP::Proxy;
use MCP::Redis;
use MCP::Token;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $slow = MCP::Issuer->new($t, name => 'slow', stub => 1);
my $store = MCP::Token->new($t);
my $redis = MCP::Redis->start($t);
my $proxy = MCP::Proxy->start($t, port => 6380, to => $redis->socket);

my $note = '{"jsonrpc":"2.0","method":"notifications/message","params":{}}';

# it answers with the user of whom the gateway says that they call, late

my $up = MCP::Upstream->start($t, port => 8081, handler => sub {
    my ($req) = @_;

    return { sse => [ map { ({ data => $note }, 0.1) } 1 .. 600 ] }
        if $req->{uri} =~ /stream/;

    my $id = eval { JSON::PP->new->decode($req->{body})->{id} };

    return { wait => ($id || 0) % 3 / 20, id => $id,
             json => { jsonrpc => '2.0', id => $id, result =>
                       { user => $req->{headers}{'x-caller'} } } };
});

$t->write_conf(<<"END");
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_token_key pepper-a;
    mcp_token_failures 0;
    mcp_redis { server @{[$proxy->server]}; timeout 5s; revocation_stale 30s; }

    %%ISSUERS%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta slow;
        tokens on;
        origin https://app.example.com;
        role dev { allow tool echo; }
        role * { allow tool echo; }
    }

    client_max_body_size 8k;
    http2_max_concurrent_streams 256;

    server {
        listen 127.0.0.1:%%PORT_8080%% http2;

        location /mcp {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
            proxy_set_header X-Caller \$mcp_auth_user;
        }

        location /dead {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8089%%;
        }
    }
}
END
$t->start;

my ($worker) = $t->workers;

sub call {
    my ($id, $name) = @_;

    return '{"jsonrpc":"2.0","id":' . $id . ',"method":"tools/call","params":'
           . '{"name":"' . ($name || 'echo') . '","arguments":{}}}';
}

sub jwt { $okta->token(sub => $_[0], iat => int(time) - 60, -expires => 3000) }

sub pats {
    my ($prefix, $n) = @_;
    my @keys = map { $store->pat(issuer => $okta->{issuer},
                                 user => "$prefix-$_") } 1 .. $n;

    $redis->write_tokens($store, @keys);
    return map { $_->{token} } @keys;
}

sub spoil { $_[0] =~ s/\.\K(.)(?=[^.]+\z)/$1 eq 'A' ? 'B' : 'A'/er }

sub result {
    my ($s) = @_;
    my $m = eval { JSON::PP->new->decode($s->{body}) } || {};

    return ($s->{status} // '-') . ' '
           . ($m->{result}{user} // $m->{error}{code} // '') . ' '
           . ($s->{end} // 'open');
}

# 503 until Redis has said who is revoked

my $first;

MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    my $c = MCP::H2->new;
    $first = result($c->response($c->post('/mcp', call(1),
                                          token => jwt('first'))));
    return $first !~ /^503/;
});
is($first, '200 first complete', 'one');
$t->audit_next(1);


# ---- many in one connection, of all kinds, which overtake each other

$proxy->mode(delay => 0.05, only => 'GET');

my $c = MCP::H2->new;
my (@frames, %want);
my @pats = pats('pat', 30);

for my $i (1 .. 30) {
    for (["jwt-$i", jwt("jwt-$i"), "200 jwt-$i complete"],
         ["pat-$i", $pats[$i - 1], "200 pat-$i complete"],
         ["no-$i", $store->unknown, '401 401 complete'],
         ["bad-$i", spoil(jwt("bad-$i")), '401 401 complete'])
    {
        my ($who, $token, $what) = @$_;
        my ($frame, $id) = $c->head('POST', '/mcp', token => $token,
                                    open => 1);

        push @frames, $frame, MCP::H2::frame(0, 1, $id, call($id));
        $want{$id} = [ $who, $what ];
    }
}

$c->send(@frames);

for my $id (sort { $a <=> $b } keys %want) {
    is(result($c->response($id, 20)), $want{$id}[1],
       "many: $want{$id}[0] is who they are");
}

my %users;
$users{$_->{user}}++ for grep { $_->{decision} eq 'allow' } $t->audit_next(120);

is(scalar keys %users, 60, 'many: each on record');
is((sort { $b <=> $a } values %users)[0], 1, 'many: once');
$up->requests_next(60);


# ---- reset while Redis is asked; the others get theirs

$proxy->mode(delay => 0.5, only => 'GET');

for my $round (1 .. 3) {
    my @tokens = pats("reset$round", 20);
    my @ids = map { $c->post('/mcp', call($_), token => $tokens[$_ - 1]) }
              1 .. 20;

    sleep 0.1 * ($round - 1);
    $c->reset($ids[2 * $_]) for 0 .. 9;

    is(result($c->response($ids[2 * $_ + 1])),
       "200 reset$round-" . (2 * $_ + 2) . ' complete',
       "reset $round: the others are who they are") for 0 .. 9;

    my @records = $t->audit_next(20);
    is(scalar(grep { $_->{result}{status} == 499 } @records), 10,
       "reset $round: ten are gone, on record");
    is(scalar(my @seen = $up->requests_next(10)), 10,
       "reset $round: nothing of them upstream");
}


# ---- the connection goes while Redis is asked; GOAWAY lets what runs end

my @tokens = pats('gone', 10);
my $gone = MCP::H2->new;

$gone->post('/mcp', call($_), token => $tokens[$_ - 1]) for 1 .. 10;
sleep 0.1;
$gone->{c}->reset;
is(scalar(grep { $_->{result}{status} == 499 } $t->audit_next(10)), 10,
   'a connection that is reset: ten are gone');

@tokens = pats('away', 5);
$gone = MCP::H2->new;

my @ids = map { $gone->post('/mcp', call($_), token => $tokens[$_ - 1]) } 1 .. 5;

$gone->goaway;
is(result($gone->response($ids[$_ - 1])), "200 away-$_ complete",
   "GOAWAY: $_ is answered") for 1 .. 5;
$t->audit_next(5);
$up->requests_next(5);


# ---- and while a key set is fetched

$slow->add_key('key-2', 'ES256');
$slow->publish;
$slow->{stub}->answer({ wait => 1, body => $slow->jwks });

my @late = map { $c->post('/mcp', call($_), token =>
                          $slow->token(sub => "late-$_")) } 1 .. 6;

sleep 0.2;
$c->reset($late[$_]) for 0, 2, 4;
is(result($c->response($late[$_ - 1])), "200 late-$_ complete",
   "keys that come late: $_") for 2, 4, 6;
$t->audit_next(6);
$up->requests_next(3);
$proxy->mode;


# ---- refusals of each kind; the connection goes on

my $bob = jwt('bob');
my %origin = (headers => [ origin => 'https://evil.example.com' ]);
my @second = (headers => [ authorization => "Bearer $bob" ]);

$t->allow_log(qr/client intended to send too large|connect\(\) failed/);

for (['no token', 401, sub { $c->post('/mcp', call(1)) }],
     ['a token that is none', 401, sub { $c->post('/mcp', call(1), token => 'x.y.z') }],
     ['two tokens', 400, sub { $c->post('/mcp', call(1), token => $bob, @second) }],
     ['a token in the query', 400, sub { $c->post('/mcp?access_token=x', call(1)) }],
     ['no JSON', 400, sub { $c->post('/mcp', '{', token => $bob) }],
     ['a batch', 400, sub { $c->post('/mcp', '[' . call(1) . ']', token => $bob) }],
     ['nothing', 400, sub { $c->post('/mcp', '', token => $bob) }],
     ['another type', 415, sub { $c->post('/mcp', call(1), token => $bob, type => 'text/plain') }],
     ['too much', 413, sub { $c->post('/mcp', ' ' x 12000 . call(1), token => $bob) }],
     ['too much, announced', 413, sub {
          $c->post('/mcp', 'x' x 12000, token => $bob,
                   headers => [ 'content-length' => 12000 ]) }],
     ['less than announced', 400, sub {
          $c->post('/mcp', call(1), token => $bob,
                   headers => [ 'content-length' => 200 ]) }],
     ['an origin', 403, sub { $c->post('/mcp', call(1), token => $bob, %origin) }],
     ['PUT', 405, sub { $c->get('/mcp', token => $bob, method => 'PUT') }],
     ['a mirror that lies', 400, sub {
          $c->post('/mcp', call(1), token => $bob,
                   headers => [ 'mcp-method' => 'tools/list' ]) }],
     ['a tool that is denied', 200, sub { $c->post('/mcp', call(1, 'rm'), token => $bob) }],
     ['an upstream that is not there', 502, sub { $c->post('/dead', call(1), token => $bob) }])
{
    my ($what, $status, $ask) = @$_;
    my $s = $c->response($ask->());

    is($s->{status}, $status, "$what: $status");
    unlike($s->{body}, qr/"user"/, "$what: nothing of the upstream");
    is(result($c->response($c->post('/mcp', call(3), token => $bob))),
       '200 bob complete', "$what: and the next one in its connection");
}

$t->audit_next(31);                 # nginx refuses two tokens by itself
is(scalar(my @seen = $up->requests_next(16)), 16, 'nothing of them upstream');
is($c->{goaway}, undef, 'all in one connection');


# ---- revoked: who sends, who reads, who asks

my ($alice, $carol) = (jwt('alice'), jwt('carol'));
my ($head, $sends) = $c->head('POST', '/mcp', token => $alice, open => 1);
my $body = call(7);

$c->send($head)->data($sends, substr $body, 0, 30);

my @open = map { $c->get('/mcp/stream', token => $_) } $alice, $carol, $alice;

$c->read_until(sub { 3 == grep { $c->{streams}{$_}{body} =~ /message/ } @open });

my $since = time;
$redis->revoke(user => 'alice', issuer => $okta->{issuer});
$c->response($_) for @open[0, 2];

ok($c->{streams}{$_}{end}, 'revoked: a stream ends') for @open[0, 2];
cmp_ok(time - $since, '<', $ENV{MCP_TEST_SAN} ? 10 : 3, 'revoked: soon');
ok(!$c->{streams}{$open[1]}{end}, "revoked: another's goes on");

$c->data($sends, substr($body, 30), 1);
is(result($c->response($sends)), '401 401 complete',
   'revoked: a body that was under way');
is(result($c->response($c->post('/mcp', call(1), token => $alice))),
   '401 401 complete', 'revoked: a new request');

my $n = length $c->{streams}{$open[1]}{body};
ok($c->read_until(sub { length $c->{streams}{$open[1]}{body} > $n + 100 }),
   "revoked: another's has more");
is(join(' ', sort map { $_->{reason} } $t->audit_next(5)),
   'revocation revoked revoked revoked revoked', 'revoked: on record');
$up->requests_next(3);


# ---- a reload: the stream goes on in the old worker, which hears as well

$redis->revoke(user => 'dora', issuer => $okta->{issuer}, at => 1);
$t->reload;
$redis->revoke(user => 'carol', issuer => $okta->{issuer});
$c->response($open[1]);
ok($c->{streams}{$open[1]}{end}, 'a worker that goes cuts it too');
ok($c->read_until(sub { defined $c->{goaway} || $c->{c}{eof} }, 5),
   'and says that it goes');

ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    !grep { $_ == $worker } $t->workers
}), 'nothing holds it');
is(result((sub { $_[0]->response($_[0]->post('/mcp', call(1),
                                             token => $_[1])) })
          ->(MCP::H2->new, $_->[0])), $_->[1], 'in the new one')
    for [$bob, '200 bob complete'], [$carol, '401 401 complete'];

done_testing;

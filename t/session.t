#!/usr/bin/perl

# Sessions of the legacy era: what the upstream calls a session is a secret that
# no client gets; what the client gets instead opens for the same server, issuer,
# user and client, whatever token they hold, and for nobody else.  Traps M11,
# M35 and M36 of docs/internals/traps.md.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Trap slow => 1, http => <<'HTTP', conf => <<'CONF';
    mcp_session_key %%TESTDIR%%/session.key;
    underscores_in_headers on;
    log_format session '$http_mcp_session_id|$remote_addr';
    access_log %%TESTDIR%%/session.log session;
    mcp_server other {
        resource https://mcp.example.com/other;
        issuer okta;
        role * { allow tool echo; }
    }
HTTP
        location /other {
            mcp_auth other;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /cgi {
            mcp_auth mcp;
            proxy_set_header X-Sees $http_mcp_session_id;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /mirrored {
            mcp_auth mcp;
            mirror /there;
            mirror /here;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location = /there { proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location = /here {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
CONF

my $id = 'upstream-session-1';
my $alice = token;

my %caller = (
    'another user' => issuer->token(sub => 'bob'),
    'another client' => issuer->token(sub => 'alice', cid => 'other-client'),
    'user and client swapped' => issuer->token(sub => 'test-client',
                                               cid => 'alice'),
    'another issuer' => slow(1)->token(sub => 'alice'),
    'a longer name' => issuer->token(sub => 'alicetest', cid => '-client'),
);

sub legacy {
    my ($token, $msg, %o) = @_;
    return mcp_post($o{uri} || '/mcp', $msg, token => $token, era => 'legacy',
                    %o);
}

sub initialize {
    my ($token, %o) = @_;

    upstream->answer({ headers => { 'Mcp-Session-Id' => $o{id} // $id },
                       result => { protocolVersion => '2025-11-25',
                                   capabilities => {},
                                   serverInfo => { name => 'x' } } });
    return legacy($token, rpc('initialize', {
        protocolVersion => '2025-11-25', capabilities => {},
        clientInfo => { name => 'x', version => '1' } }, era => 'legacy'), %o);
}

sub plain {
    my ($method, $session, %o) = @_;

    return http("$method /mcp HTTP/1.1\r\nHost: localhost\r\n"
                . "Accept: text/event-stream\r\nAuthorization: Bearer "
                . ($o{token} || $alice) . "\r\n"
                . (defined $session ? "Mcp-Session-Id: $session\r\n" : '')
                . ($o{event} ? "Last-Event-ID: $o{event}\r\n" : '') . "\r\n");
}


# what the client gets

my $r = initialize($alice);
my $session = $r->{headers}{'mcp-session-id'};
my $a = record('initialize');

is($r->{status}, 200, 'initialize');
like($session, qr/^[A-Za-z0-9_-]{60,80}\z/, 'a sealed id');
unlike($r->{head} . $r->{body}, qr/upstream-session/, 'not the upstream\'s');
like($a->{session}, qr/^[0-9a-f]{16}$/, 'on record, as a digest');
arrived(1);

is(initialize($alice)->{headers}{'mcp-session-id'}, $session,
   'the same session is called the same');
isnt(initialize($alice, id => 'upstream-session-2')
     ->{headers}{'mcp-session-id'}, $session, 'another one is not');
arrived(2);
gateway->audit_next(2);


# a mirror of the server's own has it; one elsewhere has neither that nor ours

is(legacy($alice, call('echo'), uri => '/mirrored', session => $session)
   ->{status}, 200, 'a call that is mirrored');
is(join(' ', sort map { "$_->{uri}=" . ($_->{headers}{'mcp-session-id'} // '') }
             arrived(3)),
   "/here=$id /mirrored=$id /there=", 'who is told the session');
record('mirrored');


# whose it is

trap M35 => 'a session is bound to the caller, not to a token', sub {
    my $message = call('echo');

    for (['the same token', $alice],
         ['a refreshed one', issuer->token(sub => 'alice', groups => ['x'])])
    {
        my ($what, $token) = @$_;
        my $req = passes(legacy($token, $message, session => $session), $what,
                         body => $message);

        is($req->{headers}{'mcp-session-id'}, $id, "$what: the upstream's id");
    }

    for my $what (sort keys %caller) {
        my $req = legacy($caller{$what}, $message);

        is($req->{status}, 200, "$what: may call");
        arrived(1);
        record();
        $a = refused(legacy($caller{$what}, $message, session => $session),
                     404, 404, 'session', "$what, in this session");
        ok($a->{session}, "$what: the session is on record");

        for my $method (qw/ GET DELETE /) {
            refused(plain($method, $session, token => $caller{$what}), 404,
                    404, 'session', "$what: $method");
        }

        refused(plain('GET', $session, token => $caller{$what}, event => 7),
                404, 404, 'session', "$what: a replay");
    }

    refused(legacy(issuer->token(sub => 'alice', aud =>
                                 'https://mcp.example.com/mcp'), $message,
                   session => $session, uri => '/other'),
            404, 404, 'session', 'another server of this gateway');

    my $req = passes(plain('GET', $session, event => 7), 'GET, a replay');
    is("$req->{headers}{'mcp-session-id'} $req->{headers}{'last-event-id'}",
       "$id 7", 'GET: the upstream sees its own');
    is(passes(plain('DELETE', $session), 'DELETE', status => 204)
       ->{headers}{'mcp-session-id'}, $id, 'DELETE: likewise');
};

trap M36 => 'the token comes first, then the session', sub {
    refused(mcp_post('/mcp', call('echo'), era => 'legacy',
                     session => $session), 401, undef, 'no_token', 'no token');
    refused(legacy(issuer->token(-expires => -90), call('echo'),
                   session => $session), 401, undef, 'expired', 'an old one');
    refused(legacy($alice, call('rm'), session => 'x'), 404, 404, 'session',
            'then the session, before the rules');
    refused(legacy($alice, call('rm'), session => $session), 200, -32602,
            'no_rule', 'then the rules');

    # the server's own word that a session is over

    upstream->answer({ status => 404, error => { code => -32001,
                                                 message => 'gone' } });
    passes(legacy($alice, call('echo'), session => $session),
           'its 404 is passed on', status => 404);
};

trap M11 => 'an answer to the server goes into the caller\'s session', sub {
    my $answer = '{"jsonrpc":"2.0","id":5,"result":{"action":"accept"}}';
    my $error = '{"jsonrpc":"2.0","id":5,"error":{"code":-1,"message":"no"}}';

    for my $message ($answer, $error) {
        upstream->answer({ status => 202 });
        passes(legacy($alice, $message, session => $session), 'with it',
               status => 202, body => $message);
        refused(legacy($alice, $message), 400, -32600, 'no_session',
                'without one');
        refused(legacy($caller{'another user'}, $message,
                       session => $session), 404, 404, 'session',
                'in another\'s');
    }
};

trap M11 => 'what is about a session needs one', sub {
    refused(plain('DELETE'), 400, -32600, 'no_session', 'DELETE');
    refused(plain('GET', undef, event => 7), 400, -32600, 'no_session',
            'a replay');

    my $req = passes(plain('GET'), 'a stream of a server without sessions');
    ok(!exists $req->{headers}{'mcp-session-id'}, 'has none');
};


unlike(gateway->read_file('session.log'), qr/upstream-session/,
       'a log that asks for the header does not get the upstream\'s');
like(gateway->read_file('session.log'), qr/^\|127/m, 'but nothing');


# what is no session of ours

my @bad = ($id, '', 'x', $session . 'A', substr($session, 0, -1),
           "$session=", substr($session, 1), 'A' x length $session,
           'A' x 3000, lc $session, "$session, $session", "$session ,");

for my $i (0, 5, 12, 30, length($session) - 1) {
    my $c = substr $session, $i, 1;
    substr(my $changed = $session, $i, 1) = $c eq 'A' ? 'B' : 'A';
    push @bad, $changed;
}

for (@bad) {
    refused(legacy($alice, call('echo'), session => $_), 404, 404, 'session',
            'no session: ' . substr $_, 0, 20);
}


# an upstream's that cannot be told, and the era that has none

for ("a\tb", 'a b', '', 'x' x 1025, "caf\xe9") {
    $r = initialize($alice, id => $_);

    if ($_ eq '') {
        is($r->{status}, 502, 'an empty id');
    } else {
        is($r->{status}, 502, 'an id that is none');
    }

    is(record()->{reason}, 'upstream_session', 'on record');
    arrived(1);
}

upstream->answer({ raw => "HTTP/1.1 200 OK\r\nContent-Type: application/json"
                          . "\r\nMcp-Session-Id: a\r\nmcp-session-id: b\r\n"
                          . "Content-Length: 2\r\n\r\n{}" });
$r = legacy($alice, call('echo'));
is($r->{status}, 502, 'two ids');
ok(!exists $r->{headers}{'mcp-session-id'}, 'neither is told');
is(record()->{reason}, 'upstream_session', 'on record');
arrived(1);

$r = initialize($alice, id => 'x' x 1024);
is(length $r->{headers}{'mcp-session-id'}, 1411, 'a long one');
arrived(1);
record();
is(passes(legacy($alice, call('echo'), session =>
                 $r->{headers}{'mcp-session-id'}))
   ->{headers}{'mcp-session-id'}, 'x' x 1024, 'and back');

upstream->answer({ headers => { 'Mcp-Session-Id' => $id },
                   result => { content => [] } });
$r = call_tool('/mcp', 'echo', {}, token => $alice, session => 'anything');
ok(!exists $r->{headers}{'mcp-session-id'}, 'modern: none for the client');

my $req = passes($r, 'modern');
ok(!exists $req->{headers}{'mcp-session-id'}, 'modern: none upstream');

upstream->answer({ status => 500, headers => { 'Mcp-Session-Id' => $id },
                   body => 'no JSON' });
$r = legacy($alice, call('echo'));
unlike($r->{head}, qr/upstream-session/, 'not with an error either');
arrived(1);
record();


# by whatever name, and where it is used after the swap

$req = passes(legacy($alice, call('echo'), session => $session,
                     uri => '/cgi', headers => { 'Mcp_Session_Id' => 'x' }));
is($req->{headers}{'x-sees'}, $id, 'a variable has what goes upstream');
unlike($req->{head}, qr/mcp_session_id/i, 'no other spelling of it');


# a reload changes nothing; a new key after the old one neither; without it the
# session is over

ok(gateway->reload, 'reload');
passes(legacy($alice, call('echo'), session => $session), 'after a reload');

my $conf = gateway->read_file('nginx.conf');
my $dir = gateway->dir;

for my $n (1, 2) {
    gateway->write_file("key-$n", chr(64 + $n) x 32);
}

ok(gateway->reload($conf =~ s!(mcp_session_key )!$1$dir/key-1 !r),
   'a new key before the old one');
passes(legacy($alice, call('echo'), session => $session), 'the old one opens');

my $new = initialize($alice)->{headers}{'mcp-session-id'};

arrived(1);
record();
isnt($new, $session, 'the new one seals');
ok(gateway->reload($conf =~ s!mcp_session_key .*!mcp_session_key $dir/key-2;!r),
   'another key');
refused(legacy($alice, call('echo'), session => $new), 404, 404, 'session',
        'without its key');

(my $none = $conf) =~ s!mcp_session_key .*!!;

ok(gateway->reload($none), 'no key');
$new = initialize($alice)->{headers}{'mcp-session-id'};
arrived(1);
record();
ok(gateway->reload, 'reload');
passes(legacy($alice, call('echo'), session => $new),
       'one that came with the zone survives a reload');

for (['key-0', qr/shorter than 32 bytes/], ['none', qr/cannot read secret file/],
     ["key-1 $dir/key-1", qr/is there twice/])
{
    gateway->write_file('key-0', 'short');
    my ($ok, $said) = gateway->check(
        $none =~ s!http \{!http { mcp_session_key $dir/$_->[0];!r);

    is($ok, 0, "nginx -t refuses $_->[0]");
    like($said, $_->[1], 'and says why');
}

unlike(gateway->read_file('audit.log') . gateway->read_log,
       qr/upstream-session|\Q$session\E/, 'no session in any log');

done_testing;

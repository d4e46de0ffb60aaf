#!/usr/bin/perl

# mcp_revocation_file: who is named there is refused within a second, by every
# worker, without a reload, whatever is cached; who is not named any more comes
# in again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Revocations;
use MCP::Token;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1, conf => 'leeway 5s;');
my $other = MCP::Issuer->new($t, static => 1, name => 'other',
                             conf => 'leeway 0s;');
my $late = MCP::Issuer->new($t, stub => 1, name => 'late',
                            conf => 'jwks_timeout 30s;');
my $up = MCP::Upstream->start($t, port => 8081);
my $store = MCP::Token->new($t);
my $rev = MCP::Revocations->new($t);
my $workers = 3;

my %own = (
    pat => $store->pat(issuer => $okta->{issuer}, user => 'alice'),
    pat_bob => $store->pat(issuer => $okta->{issuer}, user => 'bob'),
    vat => $store->vat(service => 'robot'),
);

$store->write;

my $conf = <<"END";
%%GLOBALS%%
worker_processes $workers;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_token_file tokens;
    mcp_token_key pepper-a;
    mcp_revocation_file revoked;

    %%ISSUERS%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta other late;
        tokens on;
        role dev { allow tool *; }
        role * { allow tool *; }
    }

    map \$mcp_auth_user \$caller { default "\$mcp_auth_user"; }
    limit_req_zone \$caller zone=callers:1m rate=100000r/s;

    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport;

        location / {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /early {
            limit_req zone=callers burst=1000;
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location = /status { mcp_status; }
    }
}
END

$late->{stub}->answer({ wait => 2, body => $late->jwks });
$t->write_conf($conf)->start;

sub got {
    my ($token, $uri) = @_;
    my $r = call_tool($uri || '/mcp', 'echo', {}, token => $token);

    return 'ok' if $r->{status} == 200 && $r->{json}{result};

    my ($error) = ($r->{headers}{'www-authenticate'} // '')
                  =~ /error="(\w+)"/;
    return "$r->{status} " . ($error // '');
}

my $no = '401 invalid_token';

sub requests { grep { $_->{ev} ne 'revocation' } $t->audit }
sub events { grep { $_->{ev} eq 'revocation' } $t->audit }

# by all workers: many in a row, and the workers on record are all that there
# are; undef: not in time

sub everywhere {
    my ($want, $token, %o) = @_;

    return MCP::Test::wait_until(30, sub {
        my $from = $t->audit;

        for (1 .. 8 * $workers) {
            return 0 if got($token, $o{uri}) ne $want;
        }

        my %seen = map { $_->{worker} => 1 }
                   ($t->audit($from + 8 * $workers))[$from .. $t->audit - 1];
        return keys %seen == $workers;
    });
}

# tokens that were issued some seconds ago

sub old {
    my ($is, %o) = @_;
    return $is->token(iat => int(time) - 60, %o);
}


# ---- whose request waits for the keys of its issuer

my $message = rpc('tools/call', { name => 'echo' });
my @wait = map { mcp_start('/mcp', $message, token => $late->token(sub => $_)) }
           qw/ alice bob alice bob /;

sleep 0.3;
$rev->add(user => $late->{issuer}, 'alice', at => time + 1);
$rev->write;

is(join(' ', map { $_->read_response(timeout => 30)->{status} } @wait),
   '401 200 401 200', 'revoked while keys were awaited');
is(scalar(grep { $_->{reason} eq 'revoked' } requests()), 2, 'on record');

$rev->clear->write;
my $first = events();
MCP::Test::wait_until(10, sub { events() > $first });


# ---- a person leaves

my $alice = old($okta);
my $bob = old($okta, sub => 'bob');
my $twin = old($other);

ok(everywhere('ok', $alice), 'alice');
ok(everywhere('ok', $own{pat}{token}), 'alice, by her token of the gateway');
ok(everywhere('ok', $alice, uri => '/early'),
   'alice, asked for before the access phase');
ok(everywhere('ok', $bob), 'bob');
ok(everywhere('ok', $twin), 'another alice, of another issuer');
is(metric('revocations{store="file"}'), 0, 'nothing is revoked');
is(metric('revocations_ready'), 1, 'which is known');

my $leaver = $rev->add(user => $okta->{issuer}, 'alice', by => 'ops@example',
                       reason => 'left the company');
my $began = time;

$rev->write;

my $last = $began;

MCP::Test::wait_until(10, sub {
    my $ok = grep { got($alice) eq 'ok' } 1 .. 2 * $workers;
    $last = time if $ok;
    return time - $began > 2;
});

my $took = $last - $began;
my $most = $ENV{MCP_TEST_SAN} ? 5 : 1;
cmp_ok($took, '<', $most, sprintf 'refused by all within %.2f s', $took);

ok(everywhere($no, $alice), 'alice is refused by each');
ok(everywhere($no, $own{pat}{token}), 'her own token too');
ok(everywhere($no, $alice, uri => '/early'), 'also where she was looked up');
ok(everywhere('ok', $bob), 'bob is not');
ok(everywhere('ok', $own{pat_bob}{token}), 'nor is his token');
ok(everywhere('ok', $twin), 'nor the other alice');

my ($event) = my @events = (events())[2 .. events() - 1];

is(scalar @events, 1, 'one record of the revocation');
is("$event->{method} $event->{decision} $event->{reason}",
   'revoke/user allow revocation', 'what it is');
is("$event->{user} $event->{issuer}", "alice $okta->{issuer}", 'whom');
is("$event->{by}: $event->{note} ($event->{store})",
   'ops@example: left the company (file)', 'by whom and why');
is($event->{at}, MCP::Revocations::moment($leaver->{at}), 'when');
is(join(' ', grep { exists $event->{$_} } qw/ server client kind auth ms
        client_ip request_id session upstream result /), '',
   'and nothing of a request');

my ($refused) = grep { $_->{reason} eq 'revoked'
                        && $_->{issuer} eq $okta->{issuer} } requests();
is("$refused->{ev} $refused->{decision} $refused->{user} $refused->{server}",
   'auth deny alice mcp', 'a refused request names her');
is($refused->{result}{status}, 401, 'with its status');
is(scalar(grep { $_->{reason} eq 'revoked' && $_->{upstream} } requests()), 0,
   'none went further');
is(metric('revocations{store="file"}'), 1, 'one entry');
is(metric('revocation_changes_total{change="applied"}'), 2, 'applied');
is(metric('revocation_refusals_total'),
   scalar(grep { $_->{reason} eq 'revoked' } requests()), 'refusals counted');

# the leeway of the issuer's clock; a token from after it is another matter

is(got($okta->token(iat => $leaver->{at} + 5)), $no, 'within the leeway');
MCP::Test::wait_until(10, sub { time >= $leaver->{at} + 6 });
is(got($okta->token(iat => $leaver->{at} + 6)), 'ok', 'issued after it');
is(got($okta->token(iat => undef)), $no, 'without iat: as old as can be');

$rev->drop($leaver)->write;
ok(everywhere('ok', $alice), 'unrevoked: alice is back');
ok(everywhere('ok', $own{pat}{token}), 'with her token');
@events = events();
is("$events[-1]{method} $events[-1]{user}", 'unrevoke/user alice',
   'on record');
is(metric('revocation_changes_total{change="lifted"}'), 2, 'counted');


# ---- each kind

my $jti = old($okta, jti => 'AT.known');
my $plain = old($okta, jti => undef, sub => 'carol');

is(got($jti), 'ok', 'a token with jti');
is(got($plain), 'ok', 'one without');
my $sha = ($t->audit_next)[-1]{token_id};
like($sha, qr/^sha256:[0-9a-f]{32}$/, 'which the audit names');

my @kinds = (
    [ 'a client', [ client => $okta->{issuer}, 'test-client' ],
      [ $alice, $bob, $jti ], [ $twin, $own{pat}{token}, $own{vat}{token} ] ],
    [ 'a token by its jti', [ token => $okta->{issuer}, 'AT.known' ],
      [ $jti ], [ $alice, $plain, $own{pat}{token} ] ],
    [ 'a token by its digest', [ token => $okta->{issuer}, $sha ],
      [ $plain ], [ $alice, $jti ] ],
    [ 'a person\'s own token', [ token => $okta->{issuer}, $own{pat}{id} ],
      [ $own{pat}{token} ], [ $alice, $own{pat_bob}{token} ] ],
    [ 'a service', [ client => undef, 'robot' ],
      [ $own{vat}{token} ], [ $alice, $own{pat}{token} ] ],
    [ 'a service\'s token', [ token => undef, $own{vat}{id} ],
      [ $own{vat}{token} ], [ $alice, $own{pat}{token} ] ],
    [ 'an issuer', [ issuer => $okta->{issuer}, undef ],
      [ $alice, $bob, $plain, $own{pat}{token} ],
      [ $twin, $own{vat}{token} ] ],
    [ 'all', [ all => undef, undef ],
      [ $alice, $bob, $twin, $own{pat}{token}, $own{vat}{token} ], [] ],
);

for (@kinds) {
    my ($what, $entry, $out, $in) = @$_;
    my $e = $rev->add(@$entry);

    $rev->write;
    ok(everywhere($no, $out->[0]), "$what: refused");
    is(join(', ', map { got($_) } @$out[1 .. $#$out]),
       join(', ', ($no) x $#$out), "$what: all of them");
    is(join(', ', map { got($_) } @$in), join(', ', ('ok') x @$in),
       "$what: nobody else");

    my ($r) = (events())[-1];
    is($r->{method}, "revoke/$entry->[0]", "$what: on record");

    $rev->drop($e)->write;
    ok(everywhere('ok', $out->[0]), "$what: and back");
}

is(scalar(grep { $_->{method} =~ /^unrevoke/ } events()), 2 + @kinds,
   'each was lifted on record');

# strange names: spaces, percent signs, a lone dash, another alphabet

for my $name ('a b', '100%', '-', "\x{416}\x{443}\x{43a}", 'x' x 120) {
    my $e = $rev->add(user => $okta->{issuer}, $name);
    my $bytes = $name;
    utf8::encode($bytes) if utf8::is_utf8($bytes);
    my $claims = JSON::PP->new->canonical->utf8->encode({
        iss => $okta->{issuer}, aud => $okta->{audience}, sub => $name,
        cid => 'c', jti => 'j', iat => int(time) - 60, exp => int(time) + 300 });
    my $token = $okta->token(-claims => $claims);

    is(got($token), 'ok', "user '$bytes'");
    $rev->write;
    ok(everywhere($no, $token), "user '$bytes': revoked");
    $rev->drop($e)->write;
}


# ---- until: forgotten by itself

ok(everywhere('ok', $bob), 'bob');
my $short = $rev->add(user => $okta->{issuer}, 'bob', until => int(time) + 4);
$rev->write;
is(MCP::Test::wait_until(3, sub { got($bob) eq $no }), 1, 'bob, for a while');

# with the leeway of the issuer's clock: 5 s more

ok(MCP::Test::wait_until(20, sub { got($bob) eq 'ok' }), 'it runs out');
cmp_ok(time, '>=', $short->{until} + 5, 'not before its time');

my $n = events();
$rev->drop($short)->write;
sleep 0.8;
is(scalar(events()), $n, 'taking it out afterwards lifts nothing');

# two lines about one: the later moment counts; a later moment is news

my @two = map { $rev->add(user => $okta->{issuer}, 'bob', at => time - $_) }
          1000, 30;
$rev->write;
ok(everywhere($no, $bob), 'two lines about bob');
is((events())[-1]{at}, MCP::Revocations::moment($two[1]{at}),
   'the later one is told');
$rev->drop($two[1])->write;
ok(everywhere('ok', $bob), 'the earlier one lets him in');


# ---- it comes while a request is under way

$rev->clear->write;
ok(everywhere('ok', $alice), 'alice again');

my $request = MCP::Test::mcp_request('/mcp', $message, token => $alice);
my @slow = map { http_start(substr $request, 0, -5) } 1 .. 2 * $workers;

sleep 0.3;
$rev->add(user => $okta->{issuer}, 'alice');
$rev->write;
ok(everywhere($no, $alice), 'revoked while bodies are on their way');

my $before = $up->requests(0);

for my $c (@slow) {
    $c->send(substr $request, -5);
    my $r = $c->read_response;
    is($r->{status}, 401, 'a body that came too late');
    is($r->{json}{id}, $message->{id}, 'answered with its id');
}

is(scalar($up->requests(0)), $before, 'none went further');

# the session of somebody revoked is of no use to anybody

$rev->clear->write;
ok(everywhere('ok', $alice), 'alice once more');

my %legacy = (era => 'legacy');
my $session = legacy_session('/mcp', token => $alice);
ok($session, 'she has a session');

sub ping {
    my ($token) = @_;
    return mcp_post('/mcp', rpc('ping', {}, %legacy), %legacy,
                    token => $token, session => $session)->{status};
}

is(ping($alice), 200, 'which works');
$rev->add(user => $okta->{issuer}, 'alice');
$rev->write;
ok(everywhere($no, $alice), 'she is revoked');
is(ping($alice), 401, 'and the session with her');
is(ping($bob), 404, 'nobody else has it');
$rev->clear->write;
ok(everywhere('ok', $alice), 'lifted');
is(ping($alice), 200, 'the session is hers again');


# ---- nginx -t

my $file = $rev->path;

for (
    [ 'no file', sub { unlink $file }, qr/revoked" cannot be opened \(2: / ],
    [ 'a directory', sub { unlink $file; mkdir $file },
      qr/revoked" is not a regular file/ ],
    [ 'no end', sub { rmdir $file;
                      $rev->write(text => "user a b 2026-01-01T00:00:00Z\n") },
      qr/revoked", line \d+: .*end/ ],
    [ 'a broken line',
      sub { $rev->write(text => "# x\n\nuser a b yesterday\nend\n") },
      qr/revoked", line 3: .*2026-11-25T15:10:40Z/ ],
    [ 'an empty file', sub { $rev->write(text => '') },
      qr/revoked", line \d+: / ],
) {
    my ($what, $make, $re) = @$_;

    $make->();
    my ($ok, $said) = $t->check($conf);
    is($ok, 0, "nginx -t refuses $what");
    like($said, $re, "$what: and says so");
}

$rev->write;
is(($t->check($conf))[0], 1, 'it takes one that is right');

my ($ok, $said) = $t->check($conf =~ s/(mcp_revocation_file \S+;)/$1 $1/r);
is($ok, 0, 'two files');
like($said, qr/is duplicate/, 'are said to be');

($ok, $said) = $t->check($conf =~ s/(mcp_revocation_file \S+;)/$1
                                    mcp_revocation_zone 32k;/r);
is($ok, 0, 'a small zone');
like($said, qr/mcp_revocation_zone is smaller than 64k/, 'is said to be');

$rev->add(user => 'https://issuer.example', "user$_") for 1 .. 2000;
$rev->write;
($ok, $said) = $t->check($conf =~ s/(mcp_revocation_file \S+;)/$1
                                    mcp_revocation_zone 64k;/r);
is($ok, 0, 'a zone too small for the file');
like($said, qr/mcp_revocation_zone of 65536 bytes is too small for /,
     'is said to be');

# without the file nobody is revoked

$rev->clear->add(user => $okta->{issuer}, 'alice');
$rev->write;
ok(everywhere($no, $alice), 'revoked at last');
ok($t->reload($conf =~ s/mcp_revocation_file \S+;//r),
   'a configuration without');
is(got($alice), 'ok', 'revokes nobody');
is(metric('revocations_ready'), undef, 'and shows nothing');

done_testing;

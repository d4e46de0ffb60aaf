#!/usr/bin/perl

# The traps of an nginx module: waits and what ends them, redirects, what is
# cached, and what must not be left behind.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Trap slow => 5, http => <<'HTTP', conf => <<'CONF';
    log_format auth '$http_authorization|$mcp_auth_user';
    access_log %%TESTDIR%%/auth.log auth;
    client_body_timeout 500ms;
HTTP
        location /mirrored {
            mcp_auth mcp;
            mirror /mirror;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location = /mirror {
            internal;
            proxy_pass http://127.0.0.1:%%PORT_8081%%/copy;
        }

        location = /page.json {
            mcp_auth mcp;
            addition_types *;
            add_after_body /after;
        }

        location = /after { return 200 after; }

        location /first {
            mcp_auth mcp;
            try_files /none @second;
        }

        location @second {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /early {
            mcp_auth mcp;
            set $was $http_authorization;
            proxy_set_header X-Now $http_authorization;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
CONF

# tokens by a new key of this issuer, whose key set takes s seconds

sub new_key {
    my ($n, $s) = @_;

    slow($n)->{stub}->requests(1);
    slow($n)->add_key('key-2', 'ES256');
    slow($n)->publish;
    slow($n)->{stub}->answer({ wait => $s, body => slow($n)->jwks });
}

sub late {
    my ($n, %o) = @_;

    return http_start(MCP::Test::mcp_request($o{uri} || '/mcp', call('echo'),
                      era => 'none', token => slow($n)->token));
}

trap N1 => 'a request that a foreign event resumes goes all the way', sub {
    new_key(1, 0.3);

    my $c = late(1, uri => '/mirrored');

    is($c->read_response->{status}, 200, 'answered after the wait');
    is(join(' ', sort map { $_->{uri} } upstream->requests_next(2)),
       '/copy /mirrored', 'with its subrequest');
    is(record()->{decision}, 'allow', 'on record');

    # one that nothing but the wake would ever run

    gateway->write_file('page.json', '{}');
    new_key(5, 0.3);

    my $r = http("GET /page.json HTTP/1.1\r\nHost: localhost\r\n"
                 . 'Authorization: Bearer ' . slow(5)->token . "\r\n\r\n");

    is($r->{body}, '{}after', 'a page that waits for its subrequest');
    is(record()->{decision}, 'allow', 'on record');
};

trap N2 => 'a client that goes leaves nothing that wakes it', sub {
    new_key(2, 0.5);

    my @c = map { late(2) } 1 .. 3;
    my ($worker) = gateway->workers;

    sleep 0.15;
    $c[0]->close;
    $c[1]->reset;
    is($c[2]->read_response->{status}, 200, 'the one that stays is served');
    is((gateway->workers)[0], $worker, 'by the same worker');
    is(scalar(my @r = gateway->audit_next(3)), 3, 'three records');
    is(scalar(@r = upstream->requests_next(1)), 1, 'one call');
};

trap N3 => 'the body: at once, later, too large, never', sub {
    passes(post(call('echo')), 'with the head');

    my $bytes = MCP::Test::mcp_request('/mcp', call('echo'), token => token,
                                       era => 'none');
    my $c = http_start(substr $bytes, 0, -20);

    sleep 0.1;
    $c->send(substr $bytes, -20);
    passes($c->read_response, 'later');

    gateway->allow_log(qr/client intended to send too large body/);
    refused(post('x', headers => { 'Content-Length' => 9_000_000 }, close => 1),
            413, -32600, 'body_too_large', 'too large');

    $c = http_start(substr $bytes, 0, -20);
    is(record()->{reason}, 'incomplete_body', 'never: on record');
    nothing('never');

    $c = http_start(substr $bytes, 0, -20);
    sleep 0.1;
    $c->reset;
    is(record()->{reason}, 'incomplete_body', 'reset: on record');
    nothing('reset');
};

trap N4 => 'after an internal redirect the caller is who it was', sub {
    my $req = passes(post(call('echo'), uri => '/first'));

    is($req->{headers}{authorization}, 'Bearer downstream-secret',
       'swapped once');
    refused(post(call('rm'), uri => '/first'), 200, -32602, 'no_rule',
            'a denial stays one');
};

trap N5 => 'a client that goes is noticed while its request waits', sub {
    new_key(3, 2);

    my $c = late(3);
    my $from = time;

    sleep 0.1;
    $c->close;

    my $a = record();
    cmp_ok(time - $from, '<', 1.5, 'at once');
    is("$a->{reason} $a->{result}{status}", 'aborted_waiting_for_keys 499',
       'on record');
};

trap N8 => 'the algorithm is what configuration and key have in common', sub {
    my $with = sub {
        return post(call('echo'), headers => {
            Authorization => 'Bearer ' . issuer->token(@_) });
    };

    refused($with->(-header => '{"alg":"none"}'), 401, undef, undef, 'none');
    refused($with->(-header => '{"alg":"HS256","kid":"'
                    . issuer->{keys}[-1]{kid} . '"}'), 401, undef, undef,
            'HS256');


    # the key could do these, the issuer's list has them not

    refused($with->(-alg => $_), 401, undef, 'alg_not_allowed', $_)
        for 'RS384', 'RS512';
    passes($with->(-typ => 'at+jwt'), 'at+jwt');
    refused(post(call('echo'), headers => { Authorization =>
                'Bearer ' . token . $_ }), 401, undef, undef, "token and '$_'")
        for '=', '.', '!', '%3d';
};

trap N9 => 'no token in any log', sub {
    my $token = token;

    post(call('echo'));
    post(call('rm'));
    post('{', uri => '/early');
    gateway->audit_next(3);

    my @parts = split /\./, $token;

    for my $log (qw/ error.log audit.log access.log auth.log /) {
        next if $log eq 'auth.log';
        unlike(gateway->read_file($log), qr/\Q$parts[2]\E/,
               "$log: no signature");
        unlike(gateway->read_file($log), qr/downstream-secret/,
               "$log: no credential");
    }

    like(gateway->read_file('auth.log'), qr/^[^|]*\|alice$/m,
         'a log that asks for the user has it');
    unlike(gateway->read_file('auth.log'), qr/downstream-secret/,
           'a log that asks for the header has no credential');
};

trap N10 => 'the caller\'s token ends here, and no cache of it is used', sub {
    my $req = passes(post(call('echo'), uri => '/early'));

    is($req->{headers}{'x-now'}, 'Bearer downstream-secret',
       '$http_authorization is read anew after the swap');
};

trap N13 => 'unknown keys cost the issuer one fetch', sub {
    my $stub = slow(4)->{stub};
    my $before = $stub->requests(1);

    my @r = map {
        post(call('echo'), headers => { Authorization => 'Bearer '
            . slow(4)->token(-kid => "random-$_") })->{status}
    } 1 .. 20;

    is(scalar(grep { $_ == 401 || $_ == 503 } @r), 20, 'none gets in');
    cmp_ok($stub->requests(0) - $before, '<=', 1, 'one fetch at most');
    nothing();
    gateway->audit_next(20);
};

trap N16 => 'what OpenSSL said of one token is not held against another', sub {
    refused(post(call('echo'), headers => { Authorization => 'Bearer '
                 . (token =~ s/\.[^.]*\z/'.' . 'A' x 342/er) }), 401, undef,
            'signature') for 1 .. 3;
    passes(post(call('echo')), 'the next one');
    unlike(gateway->read_log, qr/stale global SSL error/, 'nothing is left');
};

trap N19 => 'an idle worker leaves at once', sub {
    my @old = gateway->workers;
    my $from = time;

    ok(gateway->reload, 'reload');
    MCP::Test::wait_until(5, sub { !grep { kill 0 => $_ } @old });
    is(scalar(grep { kill 0 => $_ } @old), 0, 'the old worker is gone');
    cmp_ok(time - $from, '<', 4, 'no timer of ours held it');
    passes(post(call('echo')), 'the new one serves');
};

done_testing;

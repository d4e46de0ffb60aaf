#!/usr/bin/perl

# The life of a key set over verified TLS: the first load while a request
# waits, discovery, rotation, removal, and what a flood of unknown keys costs
# the issuer.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw/ encode_base64url /;
use Time::HiRes qw/ time /;

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my %is = map { $_ => MCP::Issuer->new($t, name => $_, stub => 1,
                                      $_ =~ /disc|oauth/ ? (discovery => 1)
                                                         : ()) }
         qw/ slow disc oauth liar rotate gone refresh flood late later /;
my $up = MCP::Upstream->start($t, port => 8081);

$is{refresh}{conf} = $is{later}{conf} = 'jwks_refresh 1s;';
$is{liar}{discovery} = 1;

# what the stubs answer at first

$is{slow}{stub}->answer({ wait => 2, body => $is{slow}->jwks });
$is{oauth}{stub}->answer({ status => 404, body => 'none' });
$is{late}{stub}->answer(({ status => 503 }) x 50);

my $meta = JSON::PP::decode_json($t->read_file('issuers/liar/metadata'));
$meta->{issuer} = $is{disc}{issuer};
$t->write_file('issuers/liar/metadata', JSON::PP::encode_json($meta));

my $names = join ' ', sort keys %is;

$t->write_conf(<<"END");
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    %%ISSUERS%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer $names;
        role * { allow tool *; }
    }

    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport;
        location /mcp {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END
$t->start;

sub fetches {
    my ($name) = @_;
    return scalar grep { $_->{uri} =~ m!/keys$! }
                  $is{$name}{stub}->requests(0);
}

# asks on new connections until both workers have answered: their statuses

sub both {
    my ($token) = @_;
    my (%worker, %status);

    for (1 .. 60) {
        my $r = call_tool('/mcp', 'echo', {}, token => $token);

        $status{$r->{status}} = 1;
        $worker{$t->audit_next(1, settle => 0)->{worker}} = 1;
        last if keys %worker == 2;
    }

    return join ' ', sort keys %status;
}


# the first load

my $from = time;
my $r = call_tool('/mcp', 'echo', {}, token => $is{slow}->token);
my $a = $t->audit_next;

is($r->{status}, 200, 'a request waits for the first load');
cmp_ok(time - $from, '<', 10, 'no longer than that takes');
cmp_ok($a->{ms}{total}, '>', 100, 'the record knows that it waited');
is($a->{decision}, 'allow', 'and was allowed');
is(fetches('slow'), 1, 'one fetch for two workers');
is(both($is{slow}->token), '200', 'whose set both have');
is(fetches('slow'), 1, 'without another one');


# discovery

is(both($is{disc}->token), '200', 'OpenID discovery');
is((map { $_->{uri} } $is{disc}{stub}->requests(0))[0],
   '/disc/.well-known/openid-configuration', 'behind the issuer');

is(both($is{oauth}->token), '200', 'OAuth discovery');
is((map { $_->{uri} } $is{oauth}{stub}->requests(0))[1],
   '/.well-known/oauth-authorization-server/oauth', 'in front of its path');

is(both($is{liar}->token), '503', 'a document of another issuer');
is(fetches('liar'), 0, 'its keys are not asked for');
ok($t->wait_for_log(qr/mcp_issuer "liar".*document is of another issuer/),
   'and that is said');


# a down issuer comes up

is(both($is{late}->token), '503', 'down at the start');
$is{late}{stub}->clear;

$r = MCP::Test::wait_until(15, sub {
    $r = call_tool('/mcp', 'echo', {}, token => $is{late}->token);
    return $r if $r->{status} == 200;
});
is($r && $r->{status}, 200, 'up later: nobody had to do anything');
like($t->read_log, qr/mcp_issuer "late": keys are fetched again/, 'the log');
$t->audit_next(0);


# one that goes down: old keys serve

is(both($is{later}->token), '200', 'while it is up');
$is{later}{stub}->answer(({ status => 500 }) x 50);
ok($t->wait_for_log(qr/"later": no keys .*status 500.*the old ones serve/),
   'down: the log says what happens');
is(both($is{later}->token), '200', 'old keys serve');
is(both($is{later}->token(-kid => 'new')), '503',
   'whether there are new ones nobody knows');


# rotation

my $old = $is{rotate}->token;
is(both($old), '200', 'before the rotation');

my $n = fetches('rotate');
$is{rotate}->add_key('key-2', 'ES256');
$is{rotate}->publish;

is(both($is{rotate}->token), '200', 'a new key is found at once');
is(fetches('rotate'), $n + 1, 'by one fetch');
is(both($old), '200', 'the old one is good');
is(both($is{rotate}->token), '200', 'and again');
is(fetches('rotate'), $n + 1, 'without another fetch');


# removal: found by a fetch for another key, and by refreshing alone

for my $name (qw/ gone refresh /) {
    my $is = $is{$name};
    my $first = $is->token;
    my $second = $is->token;

    is(both($first), '200', "$name: verified, and in all caches");

    $is->remove_key('key-1');
    $is->add_key('key-2', 'RS256');
    $is->publish;

    is(both($is->token), '200', "$name: a new key") if $name eq 'gone';

    my $refused = MCP::Test::wait_until($name eq 'gone' ? 0 : 10, sub {
        my $got = call_tool('/mcp', 'echo', {}, token => $second);
        $t->audit_next(1, settle => 0);
        return $got->{status} == 401;
    });

    ok($refused, "$name: the removed key verifies nothing more");
    is(both($first), '401', "$name: nor what it had verified");
    is(both($is->token), '200', "$name: the new one does");
}


# a flood of tokens with random keys

is(both($is{flood}->token), '200', 'before the flood');
$t->audit_next(0);
$n = fetches('flood');
$up->requests_next(0);

my ($h, $p, $s) = split /\./, $is{flood}->token;
my (%status, %worker);

for my $round (1 .. 25) {
    my @c = map {
        my $i = $round * 100 + $_;
        my $header = encode_base64url(
            qq({"alg":"RS256","kid":") . ($i % 4 ? "kid-$i" : "\xc3\xa4$i")
            . '"}');
        mcp_start('/mcp', rpc('tools/list', {}), token => "$header.$p.$s");
    } 1 .. 40;

    $status{$_->read_response->{status}}++ for @c;
}

my @records = $t->audit_next(1000);

is_deeply(\%status, { 401 => 1000 }, 'each of 1,000 is refused');
is(fetches('flood'), $n + 1, 'for one fetch');
is(scalar @records, 1000, 'with a record each');
is(scalar(grep { $_->{reason} eq 'unknown_kid' } @records), 1000, 'saying why');
$worker{$_->{worker}} = 1 for @records;
is(scalar keys %worker, 2, 'both workers had their share');
is(scalar(my @none = $up->requests_next(0)), 0, 'none reached the upstream');
is(both($is{flood}->token), '200', 'others are served');

done_testing;

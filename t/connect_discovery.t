#!/usr/bin/perl

# mcp_connect: where people sign in is found from the issuer's document, or is
# not found at all; and what the document says of iss (RFC 9207).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Time::HiRes ();

use MCP::Test;
use MCP::Connect;

my $t = MCP::Test->new;
my $at = 'http://127.0.0.1:' . MCP::Test::port(8091);
my $g = MCP::Connect->new($t, iss => $at);
my $url = $g->url;
my %doc = (issuer => $at, authorization_endpoint => "$at/authorize",
           token_endpoint => "$at/token");

$g->{login}->set(documents => {});

sub document {
    my ($doc) = @_;
    $doc = JSON::PP->new->canonical->encode($doc) if !exists $doc->{body};
    $g->{login}->set(documents => {
        '/.well-known/openid-configuration' => $doc });
}

$t->allow_log(qr/no endpoints for the login/, qr/127\.0\.0\.1/);
$g->start(endpoints => '');

sub sign_in { $g->browser->get("${url}login") }

is(sign_in()->{status}, 503, 'no document: not now');

for ([ 'another issuer', { %doc, issuer => 'https://evil.example.com' } ],
     [ 'an issuer of the same length', { %doc, issuer => $at =~ s/\.1:/.2:/r } ],
     [ 'no issuer', { %doc, issuer => undef } ],
     [ 'a page elsewhere', { %doc, authorization_endpoint =>
                             'https://evil.example.com/a' } ],
     [ 'a token endpoint elsewhere', { %doc, token_endpoint =>
                                       'https://evil.example.com/t' } ],
     [ 'another port', { %doc, token_endpoint => 'http://127.0.0.1:1/t' } ],
     [ 'another spelling of the host', { %doc, token_endpoint =>
                         'http://localhost:' . MCP::Test::port(8091) . '/t' } ],
     [ 'no TLS', { %doc, token_endpoint => 'http://evil.example.com/t' } ],
     [ 'a page of a script', { %doc, authorization_endpoint =>
                               'javascript:evil()' } ],
     [ 'a user name', { %doc, authorization_endpoint =>
                        'http://evil@127.0.0.1/' } ],
     [ 'a state of its own', { %doc, authorization_endpoint =>
                               "$doc{authorization_endpoint}?state=evil" } ],
     [ 'a fragment', { %doc, authorization_endpoint =>
                       "$doc{authorization_endpoint}#evil" } ],
     [ 'a word for a shell', { %doc, authorization_endpoint =>
                               "$doc{authorization_endpoint}/\$(evil)" } ],
     [ 'no endpoint', { %doc, token_endpoint => undef } ],
     [ 'a number', { %doc, token_endpoint => 1 } ],
     [ 'no JSON', { body => '<html>' } ],
     [ 'an error', { status => 500, body => 'evil' } ],
     [ 'a large one', { body => '{"a":"' . 'x' x 70000 . '"}' } ])
{
    my ($what, $doc) = @$_;
    document($doc);

    my $n = $g->{login}->count(kind => 'document');
    my $r;

    ok(MCP::Test::wait_until(10, sub {
        Time::HiRes::sleep(0.3);
        $r = sign_in();
        $r->{status} != 503 || $g->{login}->count(kind => 'document') > $n }),
       "$what: the document is asked for again");
    is($r->{status}, 503, "$what: nobody is sent anywhere");
    unlike($r->{raw}, qr/evil/, "$what: nor told of it");
}

document(\%doc);
ok(MCP::Test::wait_until(10, sub { Time::HiRes::sleep(0.3); sign_in()->{body} =~ /Alice/ }),
   'with a good one people sign in');

my $n = $g->{login}->count(kind => 'document');
is(sign_in()->{status}, 200, 'again') for 1 .. 3;
is($g->{login}->count(kind => 'document'), $n, 'it is kept');
$t->stop;

# ---- iss

document({ %doc, authorization_response_iss_parameter_supported =>
           JSON::PP::true });
$g->start(endpoints => '');
is(sign_in()->{status}, 403, 'an answer without the iss that was promised');
$g->{login}->set(iss => $at);
is(sign_in()->{status}, 200, 'with it');
$g->{login}->set(iss => "$at/");
is(sign_in()->{status}, 403, 'byte for byte');
$g->{login}->set(iss => undef);
$t->stop;

# ---- lines have precedence, and may lead elsewhere

document({ %doc, token_endpoint => 'https://evil.example.com/t' });
$g->start(endpoints => 'token_endpoint ' . $g->{login}->endpoint . ';');
is(sign_in()->{status}, 200, 'a token endpoint that is written');
$t->stop;

# ---- in `if`, and nested

$g->start(endpoints => '', location => 'if ($arg_x) { set $y 1; }',
          server => "location /a/ { location /a/b/ { mcp_connect login=okta
          url=http://127.0.0.1:@{[ MCP::Test::port(8080) ]}/a/b/; } }",
          credential => "connect_url $url;");
document(\%doc);
is($g->browser->get("${url}done?x=1")->{status}, 200, 'within an if');
(my $nested = $url) =~ s!connect/!a/b/!;
is($g->browser->get("${nested}done")->{status}, 200, 'a nested one');
is($g->browser(follow => 0)->get("${nested}start/jira")->{status}, 404,
   'connects what is its own');

done_testing();

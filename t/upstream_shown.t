#!/usr/bin/perl

# What an upstream wants people to see or open: URLs that are not https, icons
# from anywhere, names with characters that nobody sees.  Dropped or refused,
# and on record; what is meant well passes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();

use MCP::Trap http => 'mcp_max_list_entry 64k;';

my $evil = 'http://phish.example/login';

sub ask {
    my ($answer, %o) = @_;

    upstream->answer($answer);
    return call_tool('/mcp', 'echo', {}, token => token, era => 'legacy', %o);
}

sub elicit {
    my ($url) = @_;
    return { jsonrpc => '2.0', id => 77, method => 'elicitation/create',
             params => { mode => 'url', url => $url, message => 'please',
                         elicitationId => 'e' } };
}

sub result {
    return { jsonrpc => '2.0', id => $_[0], result => { content => [] } };
}


# a request of the server in a stream

for my $url ($evil, 'javascript:alert(1)', 'https://user@phish.example/', 7) {
    upstream->answer({ sse => [ { data => elicit($url) } ] });

    my $r = mcp_post('/mcp', rpc('tools/call', { name => 'echo' }, id => 9,
                     era => 'legacy'), token => token, era => 'legacy');

    unlike($r->{body}, qr/elicitation|phish|javascript/, "$url: dropped");
    like($r->{body}, qr/^event: message\ndata: \{"jsonrpc":"2.0","id":9,"error"/,
         "$url: who waits hears that it failed");

    my $a = record();
    is("$a->{decision} $a->{reason}", 'error elicitation_url', 'on record');
    arrived(1);
}

my $good = elicit('https://bank.example/consent?x=1');
my $r = ask({ sse => [ { data => $good }, { data => result(1) } ] });
like($r->{body}, qr!https:\\?/\\?/bank.example!, 'https passes');
is(record()->{decision}, 'allow', 'and is allowed');
arrived(1);


# the other places: an error of the legacy era, a result of the modern one

for my $era (qw/ legacy modern /) {
    for my $url ($evil, 'https://bank.example/') {
        my %answer = $era eq 'legacy'
            ? (error => { code => -32042, message => 'x', data => {
                   elicitations => [ elicit($url)->{params} ] } })
            : (result => { resultType => 'input_required', requestState => 'x',
                           inputRequests => { a => {
                               method => 'elicitation/create',
                               params => elicit($url)->{params} } } });

        for my $as_sse (0, 1) {
            $r = ask({ %answer, as_sse => $as_sse }, era => $era);

            my $a = record();
            arrived(1);

            if ($url eq $evil) {
                unlike($r->{body}, qr/phish/, "$era, $as_sse: refused");
                like($r->{body}, qr/"code":-32603/, "$era, $as_sse: an error");
                is($a->{reason}, 'elicitation_url', 'on record');
                is($r->{status}, 502, 'with 502') unless $as_sse;

            } else {
                like($r->{body}, qr/bank\.example/, "$era, $as_sse: passes");
                is($a->{decision}, 'allow', 'allowed');
            }
        }
    }
}


# and what only a lax client, or one of two readers, takes for a question; and
# a task that asks, or that failed because nobody was asked

my $ask = qq("params":{"mode":"url","url":"$evil"});

for (qq({"jsonrpc":"2.0","id":7,"Method":"elicitation/create",$ask}),
     qq({"jsonrpc":"2.0","id":7,"method":"elicitation/create",$ask,)
     . '"method":"ping"}',
     qq({"jsonrpc":"2.0","method":"notifications/tasks","params":{"status":)
     . qq("input_required","inputRequests":{"a":{$ask}}}}),
     '{"jsonrpc":"2.0","id":1,"result":{"status":"failed","error":{"code":'
     . qq(-32042,"data":{"elicitations":[{"url":"$evil"}]}}}}))
{
    for my $as_sse (0, 1) {
        $r = ask({ body => $_, as_sse => $as_sse });
        unlike($r->{body}, qr/phish/, "$as_sse: $_");
        is(record()->{reason}, 'elicitation_url', 'on record');
        arrived(1);
    }
}


# icons and names in lists, as JSON and as an event

my @tools = ({ name => 'echo', icons => [ { src => $evil } ] },
             map { { name => $_ } } "echo\e[31m", "ec\x{200b}ho", "echo\n");

for my $as_sse (0, 1) {
    upstream->answer({ result => { tools => \@tools }, as_sse => $as_sse });
    $r = list_tools('/mcp', token => token, era => 'legacy');

    unlike($r->{body}, qr/phish|\\e|\\n\"|\xe2\x80\x8b/, 'nothing of it');
    like($r->{body}, qr/"icons":\[\]/, 'no icons');

    my $a = record();
    is("$a->{reason} $a->{result}{removed}", 'icon_removed 3', 'on record');
    arrived(1);
}

upstream->answer({ result => { protocolVersion => '2025-11-25',
    capabilities => {}, serverInfo => { name => 's', version => '1',
        icons => [ { src => 'file:///etc/passwd' } ] } } });
$r = mcp_post('/mcp', rpc('initialize', { protocolVersion => '2025-11-25',
    capabilities => {}, clientInfo => { name => 'x', version => '1' } },
    era => 'legacy'), token => token, era => 'legacy');
like($r->{body}, qr/"icons":\[\]/, 'the server\'s own icons');
is(record()->{reason}, 'icon_removed', 'on record');
arrived(1);

upstream->answer({ result => { resultType => 'complete', ttlMs => 0,
    cacheScope => 'private', supportedVersions => ['2026-07-28'],
    capabilities => {}, _meta => { 'io.modelcontextprotocol/serverInfo' => {
        name => 's', version => '1', icons => [ { src => $evil } ] } } } });
$r = mcp_post('/mcp', rpc('server/discover', {}), token => token);
like($r->{body}, qr/"icons":\[\]/, 'where the modern era has it');
is(record()->{reason}, 'icon_removed', 'on record');


# what a tool says is the caller's, whatever it looks like

my $out = { content => [ { type => 'text', text => $evil } ],
            structuredContent => { url => $evil, tools => [ { name => 'rm' } ],
                                   icons => [ { src => $evil } ] } };
upstream->answer({ result => $out });
$r = call_tool('/mcp', 'echo', {}, token => token, era => 'legacy');
is_deeply(JSON::PP->new->utf8->decode($r->{body})->{result}, $out,
          'a result is not touched');

# and a server that samples names tools of its own

my $sampling = { jsonrpc => '2.0', id => 5, method => 'sampling/createMessage',
                 params => { messages => [], tools => [ { name => 'rm' } ] } };
$r = ask({ sse => [ { data => $sampling }, { data => result(1) } ] });
like($r->{body}, qr/"rm"/, 'sampling has the server\'s own tools');

done_testing;

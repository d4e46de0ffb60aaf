#!/usr/bin/perl

# What a record shows of arguments, names and responses has no secrets in it; a
# preview is as long as it was asked for, and the record bounded and one line
# whatever is in it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();

use MCP::Trap http => <<'HTTP', conf => <<'CONF';
    mcp_server shown {
        resource https://mcp.example.com/shown;
        issuer okta;
        params /a /n /deep/b;
        preview 200;
        role * { allow tool *; allow resource *; }
    }
    mcp_server long {
        resource https://mcp.example.com/long;
        issuer okta;
        params /a /b /c /d /e /f /g /h /i /j;
        preview 2k;
        role * { allow tool *; }
    }
HTTP
        location /shown {
            mcp_auth shown;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /long {
            mcp_auth long;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
CONF

my %secret = (
    jwt => token,
    github => 'ghp_0123456789abcdefghijABCDEFGHIJ012345',
    aws => 'AKIAIOSFODNN7EXAMPLE',
    card => '4111 1111 1111 1111',
    own => 'mcpp_' . 'x' x 49,
);

sub call_with {
    my ($arguments, %o) = @_;

    return post('{"jsonrpc":"2.0","id":' . ($o{id} || 1) . ',"method":'
                . '"tools/call","params":{"name":"' . ($o{name} || 'echo')
                . '","arguments":' . $arguments . '}}',
                uri => $o{uri} || '/shown');
}

sub none_of_it {
    my ($what) = @_;
    my $log = gateway->read_file('audit.log');

    ok(index($log, $secret{$_}) < 0, "$what: no $_") for sort keys %secret;
}


# arguments, names, ids

for my $kind (sort keys %secret) {
    call_with("{\"a\":\"see $secret{$kind} here\",\"deep\":{\"b\":\"x\"}}");
    is(record($kind)->{params}{clear}{'/a'}, "see [redacted:$kind] here",
       "$kind: an argument");
}

call_with('{"n":4111111111111111}');
is(record()->{params}{clear}{'/n'}, '[redacted:card]', 'a number');
call_with('{"n":1234567890123}');
is(record()->{params}{clear}{'/n'}, 1234567890123, 'another number');
call_with('{"a":"plain"}');
is(record()->{params}{clear}{'/a'}, 'plain', 'what is no secret');
call_with("{\"$secret{github}\":1}", name => $secret{aws},
          id => "\"$secret{own}\"");

my $a = record();
is("$a->{target} $a->{params}{keys}[0] $a->{rpc_id}",
   '[redacted:aws] [redacted:github] [redacted:own]', 'names and ids');

post('{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":'
     . '"https://user:pw@files.example/a?token=abc&x=1"}}', uri => '/shown');
is(record()->{target}, 'https://[redacted:userinfo]@files.example/a?token='
   . '[redacted:query]&x=1', 'a URI');
none_of_it('arguments');
arrived(9);


# wherever a long name is cut: nothing of it

for my $kind (sort keys %secret) {
    my $some = substr $secret{$kind}, 0, 6;

    for my $at (24, 44, 50, 55, 60, 63) {
        call_with('{"' . 'y' x ($at - 1) . " $secret{$kind}\":1}");
        unlike(record()->{params}{keys}[0], qr/\Q$some\E/,
               "$kind: the name of an argument, at $at");
    }
}

post('{"jsonrpc":"2.0","id":1,"method":"initialize","params":{'
     . '"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{'
     . '"name":"https://me:' . 'p' x 300 . '@host","version":"1"}}}',
     uri => '/shown');
like(record()->{agent}{name}, qr!^https://\[redacted:userinfo\]!, 'a client');
arrived(31);


# previews

sub preview {
    my ($answer, %o) = @_;

    upstream->answer($answer);
    call_with('{}', %o);
    return record()->{result}{preview};
}

my $start = '{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"';

is(preview({ body => "${start}hello\"}]}}" }), "${start}hello\"}]}}",
   'a short response, whole');

my $p = preview({ body => $start . 'y' x 5000 . '"}]}}' });
is(length $p, 201, 'a long one is cut');
is(substr($p, -1), "\x{2026}", 'and says so');

like(preview({ sse => [ { data => { jsonrpc => '2.0', id => 1,
                                    result => { x => 'y' } } } ] }),
     qr/"result":\{"x":"y"\}/, 'an event');

upstream->answer({ body => '{"id":1,"result":{"tools":[{"name":"rm"},'
                           . '{"name":"echo"}]}}' });
list_tools('/mcp', token => token);
is(record()->{result}{preview}, undef, 'not where nobody asked for it');

for my $kind (sort keys %secret) {
    like(preview({ body => "$start$secret{$kind}\"}]}}" }),
         qr/^\Q$start\E\[redacted:$kind\](?:"\}\]\}\})?$/,
         "$kind: in a response");

    # wherever the preview ends: nothing of it

    for my $at (130, 150, 180, 190, 195, 199, 200) {
        my $pad = 'y' x ($at - length($start) - 1);

        $p = preview({ body => "$start$pad $secret{$kind}\"}]}}" });
        unlike($p, qr/\Q${\ substr $secret{$kind}, 0, 6}\E/,
               "$kind: at $at");
    }
}

none_of_it('responses');

# behind an escape, or with one in it: as servers write text into JSON

for my $kind (sort keys %secret) {
    for my $before ('\n', '\r\n', '\t', '\\\\n', '\u0022', '\"') {
        $p = preview({ body => "${start}x$before$secret{$kind}\"}]}}" });
        like($p, qr/\Q$before\E\[redacted:$kind\]/, "$kind: behind $before");
    }
}

none_of_it('escapes');

unlike(preview({ body => $start . $_->[0] . '"}]}}' }), qr/hunter/, $_->[1])
    for ['https:\/\/u:hunter@h\/', 'a URL as PHP writes it'],
        ['see h?a=1\u0026token=hunter', 'a query as Go writes it'],
        ['{\"password\":\"hunter\"}', 'JSON in JSON'],
        ['h%3Ftoken%3Dhunter%26', 'a URL in a URL'];

preview({ body => "$start\xc3\xa9\xe2\x82\xac\"}]}}" });
upstream->answer({ body => $start . "\xc3\xa9" x 200 . '"}]}}' });
call_with('{}');
unlike(record()->{result}{preview}, qr/\x{fffd}/, 'cut at a character');
arrived(0);


# everything at its largest, and as hostile as can be: one line, valid, bounded

my $evil = '\u001b[31m\n\r\u2028\u202e\"\\\\\u0085';

for my $text ($evil x 100, '\u0001' x 900, 'x' x 900, "\xf0\x9f\x92\xa9" x 200) {
    my $values = join ',', map { "\"$_\":\"$text\"" } 'a' .. 'j';
    my $before = length gateway->read_file('audit.log');

    upstream->answer({ body => "$start$text$text$text\"}]}}" });
    call_with("{$values}", uri => '/long', name => 'x' x 900,
              id => '"' . 'i' x 250 . '"');
    $a = record();
    ok($a->{params}{digest} && $a->{result}{status} && $a->{request_id},
       'whole');

    my $line = substr gateway->read_file('audit.log'), $before;
    is(scalar(() = $line =~ /\n/g), 1, 'one line');
    cmp_ok(length $line, '<=', 12320, 'bounded');
    unlike($line, qr/[\x00-\x09\x0b-\x1f\x7f]/, 'no control characters');
}

for ('preview 8', 'preview 4k', 'preview x', 'preview 1k; preview 1k') {
    is((gateway->check(gateway->read_file('nginx.conf')
                       =~ s/preview 2k/$_/r))[0], 0, "nginx -t refuses $_");
}

done_testing;

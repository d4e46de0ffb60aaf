#!/usr/bin/perl

# The module loads into the distribution's nginx, alone and beside others that
# are known to export much, shows the world no symbol of its own, and costs a
# configuration that does not use it nothing.
# Trap N21 of docs/internals/traps.md.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;

my $t = MCP::Test->new;
my $minimal = "%%GLOBALS%%\nevents { }\n";

my ($ok, $said) = $t->check($minimal);
ok($ok, 'nginx -t without http {}') or diag($said);

($ok, $said) = $t->check("$minimal http { %%GLOBALS_HTTP%% }\n");
ok($ok, 'nginx -t without any of our directives') or diag($said);

($ok, $said) = $t->check("$minimal http { %%GLOBALS_HTTP%%\n"
                         . "mcp_nonsense on; }\n");
ok(!$ok, 'nginx -t refuses an unknown directive');
like($said, qr/unknown directive "mcp_nonsense" in \S+check\.conf:\d+/,
     'and says where');


SKIP: {
    skip 'static build', 5 if $MCP::Test::SAN;

    my @symbols = map { (split)[2] } split /\n/,
                  `nm -D --defined-only '$MCP::Test::MODULE'`;

    is_deeply([ sort @symbols ],
              [ qw/ ngx_module_names ngx_module_order ngx_modules / ],
              'only what nginx looks up is visible');

    my @missing = `nm -D --undefined-only '$MCP::Test::MODULE'`;
    is(scalar(grep { /\bU mcp_/ } @missing), 0, 'no symbol of core/ is missing');
    is(scalar(grep { /\bU (?:redis|sds|freeReply)/ } @missing), 0,
       'hiredis is its own, whatever others bring');

    # first and last: the first .so loaded wins where a symbol is shared

    my $dir = '/usr/lib/nginx/modules';
    my $plain = "events { }\nhttp { %%GLOBALS_HTTP%% }\n";
    my $globals = $t->globals('check.log');
    $globals =~ s/^(load_module.*\n)//;
    my $ours = $1;
    my @beside;

    for my $so (qw/ ndk_http ngx_http_lua ngx_nchan /) {
        my $line = "load_module $dir/${so}_module.so;\n";

        next unless -f "$dir/${so}_module.so";

        # some lack a library, with or without us

        ($ok) = $t->check(join '', @beside, $line, $globals, $plain);
        push @beside, $line if $ok;
    }

    skip 'no other modules installed', 2 unless @beside;

    ($ok, $said) = $t->check(join '', $ours, @beside, $globals, $plain);
    ok($ok, 'loads before others') or diag($said);

    ($ok, $said) = $t->check(join '', @beside, $ours, $globals, $plain);
    ok($ok, 'loads after others') or diag($said);
}


$t->write_file('index.html', 'plain');
$t->write_conf(<<'END');
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    server {
        listen 127.0.0.1:%%PORT_8080%%;
    }
}
END

$t->start;
is(http("GET / HTTP/1.0\r\n\r\n")->{body}, 'plain', 'a page is served');

ok($t->reload, 'reload');
is(http("GET / HTTP/1.0\r\n\r\n")->{body}, 'plain', 'served after a reload');

unlike($t->read_log, qr/\[(?:warn|error)\]/, 'nothing to complain of');

done_testing;

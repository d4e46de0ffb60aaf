#!/usr/bin/perl

# The module loads into the distribution's nginx, alone and beside others that
# are known to export much, shows the world no symbol of its own, and costs a
# configuration that does not use it nothing.

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
    skip 'static build', 4 if $MCP::Test::SAN;

    my @symbols = map { (split)[2] } split /\n/,
                  `nm -D --defined-only '$MCP::Test::MODULE'`;

    is_deeply([ sort @symbols ],
              [ qw/ ngx_module_names ngx_module_order ngx_modules / ],
              'only what nginx looks up is visible');

    my @strings = `nm -D --undefined-only '$MCP::Test::MODULE'`;
    is(scalar(grep { /\bU mcp_/ } @strings), 0, 'no symbol of core/ is missing');

    # first and last: the first .so loaded wins where a symbol is shared

    my $dir = '/usr/lib/nginx/modules';
    my @beside = map { "load_module $_;\n" } grep { -f $_ } map { "$dir/$_" }
                 qw/ ndk_http_module.so ngx_http_lua_module.so
                     ngx_nchan_module.so /;

    skip 'no other modules installed', 2 unless @beside;

    my $plain = "events { }\nhttp { %%GLOBALS_HTTP%% }\n";

    ($ok, $said) = $t->check(join '', '%%GLOBALS%%', "\n", @beside, $plain);
    ok($ok, 'loads before others') or diag($said);

    my $globals = $t->globals('check.log');
    $globals =~ s/^(load_module.*\n)//;

    ($ok, $said) = $t->check(join '', @beside, $1, $globals, $plain);
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

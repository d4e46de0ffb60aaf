#!/usr/bin/perl

# What is built has what the compiler and the linker give against a memory
# error: stack protector, fortified calls, relocations read-only, no executable
# stack; mcpctl is position-independent and bound when it starts.  libhiredis.a
# is in both and has its own: so the calls that are looked for are those that
# hiredis does not make.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Ctl;

plan(skip_all => 'the builds of the tests have sanitizers') if $MCP::Test::SAN;

my $mcpctl = $MCP::Ctl::MCPCTL;
my $module = $MCP::Test::MODULE;

for my $file ($mcpctl, $module) {
    (my $name = $file) =~ s!.*/!!;
    my $headers = `readelf -W -l '$file'`;

    like($headers, qr/^\s+GNU_RELRO\b/m, "$name: relocations are read-only");
    like($headers, qr/^\s+GNU_STACK\b.* RW +0x/m,
         "$name: no executable stack");
}

my $dynamic = `readelf -W -h -d '$mcpctl'`;

like($dynamic, qr/^\s*Type:\s+DYN\b/m, 'mcpctl is position-independent');
like($dynamic, qr/\bBIND_NOW\b|\bFlags:.* NOW\b/, 'mcpctl is bound at once');

my $calls = `nm -D --undefined-only '$mcpctl'`;

like($calls, qr/ __v?f?printf_chk\b/, 'mcpctl: fortified');

# a function of mcpctl's own with a buffer on its stack

for ([ $mcpctl, 'mcpctl_read' ], [ $module, 'ngx_' ]) {
    my ($file, $prefix) = @$_;
    my ($guarded, $in) = (0, '');

    open my $fh, '-|', "objdump -d --no-show-raw-insn '$file'" or die $!;

    while (<$fh>) {
        $in = $1 if /^[0-9a-f]+ <([^>]+)>:/;
        $guarded++ if /<__stack_chk_fail/ && $in =~ /^\Q$prefix\E/;
    }
    close $fh;

    (my $name = $file) =~ s!.*/!!;
    cmp_ok($guarded, '>', 0, "$name: stack protector");
}

done_testing();

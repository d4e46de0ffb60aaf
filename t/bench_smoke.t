#!/usr/bin/perl

# The programs that measure still run: a short comparison of this module with
# plain proxy_pass gives a row for each, a picture, and the same again from the
# file of results.  What the figures are is not looked at.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;

plan(skip_all => 'measures the build as it is delivered') if $MCP::Test::SAN;
plan(skip_all => 'no wrk, no taskset')
    if grep { my $name = $_; !grep { -x "$_/$name" } split /:/, $ENV{PATH} }
       qw/ wrk taskset /;

my $t = MCP::Test->new;
my $out = $t->dir . '/out';
my $run = "$FindBin::Bin/bench/peers/run --out $out";

my $few = "--rounds 1 --groups call --connections 8 --only 'everything\$'";
my $said = `$run $few 2>&1`;

is($?, 0, 'peers/run') or diag($said);

for my $name ('nginx, proxy_pass', 'this module: everything') {
    my ($us, $ratio) = $said =~ /^\| \Q$name\E \| ([\d.]+) \| ([\d.]+) /m;

    cmp_ok($us // 0, '>', 0, "$name: a time");
    cmp_ok($ratio // 0, '>', 0, "$name: a ratio");
}

my $svg = $t->read_file('out/performance-peers.svg');

like($svg, qr/\A<svg .*this module: everything.*<\/svg>\n\z/s, 'a picture');

my %open;

$open{$2} += $1 ? -1 : 1 while $svg =~ m{<(/?)(\w+)[^>]*(?<!/)>}g;
is_deeply([ grep { $open{$_} } keys %open ], [], 'each element is closed');

my $again = `$run --draw $out/results.json 2>&1`;

is($again, $t->read_file('out/tables.md'), '--draw: the same tables');
is(index($said, $again) >= 0, 1, 'which were printed');

$said = `$FindBin::Bin/bench/run --rounds 1 --only '^call, everything' 2>&1`;

is($?, 0, 'bench/run') or diag($said);
like($said, qr/^call, everything on +[\d.]+ +[\d.]+ /m, 'a row');

done_testing;

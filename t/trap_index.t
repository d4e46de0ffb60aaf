#!/usr/bin/perl

# docs/internals/traps.md is true: each trap has a test of its name, or a
# sentence why it has none; and what only the source shows (N18).

use strict;
use warnings;

use FindBin;
use Test::More;

my $top = "$FindBin::Bin/..";

sub slurp {
    open my $fh, '<:raw', $_[0] or return '';
    local $/;
    return <$fh>;
}

my %row;

for (slurp("$top/docs/internals/traps.md") =~ /^(\|.*\|)$/mg) {
    my ($id, $what, $where) = /^\| ([MN]\d+) \| (.*) \| (.*) \|$/ or next;
    ok(!$row{$id}, "$id: one row");
    $row{$id} = $where;
}

for my $id ((map { "M$_" } 1 .. 42), map { "N$_" } 1 .. 23) {
    my $where = $row{$id} // '';

    if ($where =~ /^cannot \w+.*\.$/) {
        pass("$id: a sentence");
        next;
    }

    my ($file) = $where =~ /^`([\w\/.-]+)`/;

    ok($file, "$id: a test, or a sentence") or next;
    ok(slurp("$top/$file") =~ /\b$id\b/, "$id: named in $file");

    ok(-f "$top/$_", "$id: $_ is there") for $where =~ /`([\w\/.-]+)`/g;
}

is(scalar keys %row, 42 + 23, 'no other rows');

for my $page (glob "$top/docs/internals/*.md") {
    ok(-f "$top/$_", "$_ is there, as $page says")
        for slurp($page) =~ /`(t\/[\w\/.-]+\.(?:t|c|mjs|pm))`/g;
}


# N18: the zone's own mutex, by two functions and no others, and what is done
# while it is held is short and known: no heap, no log, no system call, no hash

my ($shmtx, $held) = (0, 0);

for my $file (glob "$top/ngx_mcp_auth_module/nginx/*.c") {
    my $text = slurp($file);

    $shmtx += () = $text =~ /ngx_shmtx_(?:try)?lock\(/g;

    for my $what ($text =~ /ngx_shmtx_(?:try)?lock\(([^;]*)\);/g) {
        like($what, qr/shpool->mutex/, 'N18 the mutex of the zone');
    }

    while ($text =~ /_zone_lock\(zone\) != NGX_OK.*?_zone_unlock\(/sg) {
        $held++;
        ok($& !~ /\b(?:ngx_alloc|ngx_palloc|ngx_pnalloc|ngx_log_error|
                      ngx_slab_alloc|ngx_write_fd|EVP_\w+|SHA256\w*|
                      json_\w+)\s*\(/x, 'N18 nothing slow while it is held')
            or diag($&);
    }
}

is($shmtx, 2, 'N18 one way to take each of the two zones');
cmp_ok($held, '>', 5, 'N18 its uses were found');

done_testing;

#!/usr/bin/perl

# The commands and options that mcpctl --help tells of are those of the man page,
# of docs/mcpctl.md and of the completion; the completion works in bash; the man
# page is one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Ctl;

my $t = MCP::Test->new;
my $d = $t->dir;
my $top = "$FindBin::Bin/..";
my $man = MCP::Ctl::slurp("$top/docs/man/mcpctl.8");
my $doc = MCP::Ctl::slurp("$top/docs/mcpctl.md");
my $completion = "$top/contrib/bash-completion/mcpctl";

$t->write_file('nginx.conf', <<'END');
events { }
http {
    mcp_issuer a { issuer https://a; }
    mcp_credential bot { value x; }
    mcp_credential wiki_key { value y; }
    mcp_server jira { resource https://x/jira; issuer a;
                      role support { allow tool x; }
                      role engineer { allow tool *; } }
    mcp_server wiki { resource https://x/wiki; issuer a;
                      role reader { allow tool x; } }
}
END
$t->write_file('key-set.json', '');

my $ctl = MCP::Ctl->new(undef);
my $help = $ctl->run('--help');

is($help->{code}, 0, 'help');
is($help->{err}, '', 'on stdout');

my ($commands) = $help->{out} =~ /\n\n((?:  \w.*\n)+)/;
my @commands = map { /^  (\S+(?: [a-z]+)?)  / ? $1 : () } split /\n/, $commands;
my @global = $help->{out} =~ /^  (--\w+)/mg;

cmp_ok(scalar @commands, '>=', 4, 'commands');
cmp_ok(scalar @global, '>=', 5, 'options of all');


# the options of a section of the man page, which is written with Fl

sub man_options {
    my ($text) = @_;
    return join ' ', sort grep { !/^--(?:verbose|json|help)$/ }
                     keys %{{ map { ("-$_" => 1) } $text =~ /Fl (-\w[\w-]*)/g }};
}


sub complete_line {
    my ($line) = @_;
    my @words = split / /, $line, -1;
    my $script = <<'END';
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_mcpctl
printf '%s\n' "${COMPREPLY[@]}"
END
    $words[0] = $MCP::Ctl::MCPCTL;
    open my $fh, '-|', 'bash', '-c', $script, 'bash', $completion, @words
        or die "bash: $!";
    my @got = sort grep { length } map { chomp; $_ } <$fh>;
    close $fh or fail("bash: $line");
    return @got;
}


for my $command (@commands) {
    my $r = $ctl->run(split(/ /, $command), '--help');
    my ($usage) = $r->{out} =~ /\A(.*?)\n\n/s;
    my %own = map { $_ => 1 } $usage =~ /(--\w[\w-]*)/g;
    my $own = join ' ', sort keys %own;

    is($r->{code}, 0, "$command --help");

    # the man page: its item, up to the next one

    my $name = quotemeta $command;
    my ($item) = $man =~ /^\.(?:It )?Ic $name\n(.*?)(?=^\.It|^\.El|^\.Xc)/ms;

    ok(defined $item, "$command: is in the man page") or next;
    is(man_options($item), $own, "$command: its options there");

    # the page

    my ($syntax) = $doc =~ /^ {4}(mcpctl $name(?: .*)?(?:\n {8}.*)*)$/m;

    ok(defined $syntax, "$command: is in mcpctl.md") or next;
    is(join(' ', sort keys %{{ map { $_ => 1 } $syntax =~ /(--\w[\w-]*)/g }}),
       $own, "$command: its options there");

    # the completion

    my %offered = map { $_ => 1 } complete_line("mcpctl $command --");

    is(join(' ', sort grep { !/^--(?:conf|prefix|json|verbose|help)$/ }
                      keys %offered), $own, "$command: its options by bash");

    # with a value before, written in both ways

    for my $option (grep { /^--(?:user|server|roles|store)$/ } sort keys %own) {
        for ("$option x", "$option = x") {
            %offered = map { $_ => 1 } complete_line("mcpctl $command $_ --");
            ok($offered{$option}, "$command: behind $_");
        }
    }

    my @words = split / /, $command;

    for my $i (0 .. $#words) {
        my $line = join ' ', 'mcpctl', @words[0 .. $i - 1],
                             substr $words[$i], 0, 1;
        ok(scalar(grep { $_ eq $words[$i] } complete_line($line)),
           "$command: bash completes '$line'");
    }
}

for my $option (@global) {
    like($man, qr/^\.(?:It )?(?:Op )?Fl -\Q@{[substr $option, 2]}\E\b/m,
         "$option: in the man page");
    like($doc, qr/^\| `\Q$option\E\b/m, "$option: in mcpctl.md");
    ok(scalar(grep { $_ eq $option } complete_line('mcpctl --')),
       "$option: by bash");
}

# links lead somewhere

my %headings = map { my $h = lc $_; $h =~ s/[^\w -]//g; $h =~ tr/ /-/; $h => 1 }
               $doc =~ /^#+ (.*)$/mg;

ok($headings{$_}, "mcpctl.md: #$_") for $doc =~ /\]\(#([^)]+)\)/g;

for (0 .. 3) {
    like($man, qr/^\.Sh EXIT STATUS\n.*^\.It $_$/ms, "exit code $_: man page");
    like($doc, qr/^\| $_ \| /m, "exit code $_: mcpctl.md");
}


# what the completion takes from elsewhere

my $c = "mcpctl --conf $d/nginx.conf";

is_deeply([ complete_line("$c policy explain --server ") ], [qw/ jira wiki /],
          'servers');
is_deeply([ complete_line("$c policy explain --server w") ], ['wiki'],
          'one of them');
is_deeply([ complete_line("$c policy explain --server jira --role ") ],
          [qw/ engineer support /], 'roles of a server');
is_deeply([ complete_line("$c policy explain --role = s") ], ['support'],
          'behind a =');
is_deeply([ complete_line("$c token create --user u --roles support,eng") ],
          ['support,engineer'], 'a second role');
is_deeply([ complete_line("$c token create --servers wiki,") ],
          [ 'wiki,jira', 'wiki,wiki' ], 'a second server');
is_deeply([ complete_line("$c --server jira policy explain --role e") ],
          ['engineer'], 'options before the command');
is_deeply([ complete_line("$c jwt inspect --jwks $d/key-") ],
          [ "$d/key-set.json" ], 'files');
is_deeply([ complete_line("$c jwt inspect $d/key-") ], [ "$d/key-set.json" ],
          'tokens are in files');
is_deeply([ complete_line("$c credential list --credential ") ],
          [qw/ bot wiki_key /], 'credentials');
is_deeply([ complete_line("$c credential show w") ], ['wiki_key'],
          'one of them');
is_deeply([ complete_line("$c credential import wiki_key --user ") ], [],
          'nobody');
is_deeply([ complete_line("$c credential import bot --file $d/key-") ],
          [ "$d/key-set.json" ], 'tokens to import are in files');
is_deeply([ complete_line("$c policy explain --tool ") ], [], 'no guesses');
is_deeply([ complete_line('mcpctl --conf /none policy explain --server ') ],
          [], 'no configuration, no servers');


# the man page by what reads man pages

SKIP: {
    my ($groff) = grep { -x } '/usr/bin/groff', '/usr/local/bin/groff';
    skip 'no groff', 2 unless $groff;

    my $out = `$groff -mdoc -Tutf8 -ww -z '$top/docs/man/mcpctl.8' 2>&1`;
    is($out, '', 'groff has nothing to say');
    $out = `$groff -mdoc -Tascii '$top/docs/man/mcpctl.8' 2>/dev/null`;
    $out =~ s/.\x08//g;
    like($out, qr/SYNOPSIS.*DESCRIPTION.*EXIT STATUS/s, 'it is a page');
}

done_testing;

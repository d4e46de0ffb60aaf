package Report;

# Tables and pictures of what t/bench/peers/run measured.  A value is its
# quartiles: [ low, median, high ].

use strict;
use warnings;

use List::Util qw/ first /;

use MCP::Plot;

# colours of MCP::Plot: what nginx does by itself, this module, the others

my %COLOUR = (nginx => 0, this => 1, other => 2);


sub write {
    my ($o, $top, $results) = @_;
    my %picture = pictures($results);
    my $tables = tables($results);

    put("$o->{out}/tables.md", $tables);
    put("$o->{out}/performance-$_.svg", $picture{$_}) for keys %picture;

    print $tables;
    return unless $o->{docs};

    my $page = "$top/docs/performance.md";
    my ($begin, $end) = ('<!-- bench-peers -->', '<!-- /bench-peers -->');

    open my $fh, '<', $page or die "$page: $!";
    my $text = join '', <$fh>;

    $text =~ s/\Q$begin\E\n.*?\Q$end\E/$begin\n$tables$end/s
        or die "$page has no $begin\n";

    put($page, $text);
    mkdir "$top/docs/pictures";
    put("$top/docs/pictures/performance-$_.svg", $picture{$_})
        for keys %picture;
}


sub put {
    my ($name, $text) = @_;

    open my $fh, '>', $name or die "$name: $!";
    print $fh $text;
    close $fh or die "$name: $!";
}


sub kind { $_[0] =~ /^nginx, / ? 'nginx' : $_[0] =~ /module|^\.\.\./
                               ? 'this' : 'other' }


# ---- tables

sub tables {
    my ($r) = @_;

    return join "\n", grep { length } machine($r->{machine}), calls($r),
                      lists($r), growth($r), streams($r);
}


sub machine {
    my ($m) = @_;
    my $v = $m->{versions};

    return "One run of $m->{rounds} rounds of $m->{seconds} s on $m->{date}:"
           . " $m->{cpus} CPUs ($m->{cpu}), Linux $m->{kernel}, load average"
           . " $m->{load_before} at the start and $m->{load_after} at the end"
           . " (the run itself makes 1 to 3 of it). Versions: "
           . join(', ', map { "$_ $v->{$_}" } sort keys %$v) . ".\n";
}


# us, and times plain with the quartiles

sub cpu {
    my ($c) = @_;

    return sprintf '%.1f | %.2f (%.2f to %.2f)', $c->{us}[1], $c->{ratio}[1],
                   @{$c->{ratio}}[0, 2];
}


sub calls {
    my ($r) = @_;
    my @calls = grep { $_->{group} eq 'call' } @{$r->{cases}};
    my %at = map { ("$_->{name} $_->{x}" => $_) } @calls;
    my @x = do { my %seen; grep { !$seen{$_}++ } map { $_->{x} } @calls };
    my $main = main_connections($r) or return '';
    my @others = grep { $_ != $main } @x;
    my $text = '| a warm `tools/call`, at ' . join(', ', @x)
        . " connections | us CPU ($main) | x plain ($main) | x plain ("
        . join(', ', @others) . ') | requests/s | p50 ms | p99 ms |' . "\n"
        . "|---|---|---|---|---|---|---|\n";

    for my $name (map { $_->{name} } grep { $_->{x} == $main } @calls) {
        my @all = map { $at{"$name $_"} } @x;

        $text .= "| $name | " . cpu($at{"$name $main"}) . ' | '
            . join(' | ', map { join ', ', @$_ }
                [ map { sprintf '%.2f', $at{"$name $_"}{ratio}[1] } @others ],
                [ map { sprintf '%.0f', $_->{rps}[1] } @all ],
                [ map { ms($_->{p50}[1]) } @all ],
                [ map { ms($_->{p99}[1]) } @all ]) . " |\n";
    }

    return $text;
}


# at how many connections gateways are compared: 64, if that was measured

sub main_connections {
    my ($r) = @_;
    my @x = map { $_->{x} } grep { $_->{group} eq 'call' } @{$r->{cases}};

    return (first { $_ == 64 } @x) // $x[0];
}


sub ms { sprintf $_[0] < 10_000 ? '%.2f' : '%.0f', $_[0] / 1000 }


sub lists {
    my ($r) = @_;
    my @lists = grep { $_->{group} eq 'list' } @{$r->{cases}};
    my $text = '';

    return '' unless @lists;

    $text .= "| `tools/list` | format | plain, us CPU | everything on, us CPU |"
             . " x plain |\n|---|---|---|---|---|\n";

    for my $kind (['list', 'JSON'], ['event', 'SSE']) {
        for my $c (grep { $_->{name} eq "$kind->[0], module" } @lists) {
            my $plain = first { $_->{name} eq "$kind->[0], plain"
                                && $_->{x} == $c->{x} } @lists;

            $text .= sprintf "| %s tools | %s | %.1f | %s |\n",
                     MCP::Plot::number($c->{x}), $kind->[1], $plain->{us}[1],
                     cpu($c);
        }
    }

    return $text;
}


sub growth {
    my ($r) = @_;
    my @growth = grep { $_->{group} eq 'growth' } @{$r->{cases}};
    my $text = '';

    return '' unless @growth;

    $text .= "| number of | | us CPU | x plain |\n|---|---|---|---|\n";
    $text .= "| $_->{name} | " . MCP::Plot::number($_->{x}) . ' | ' . cpu($_)
             . " |\n" for @growth;

    for my $s (@{$r->{streams}}) {
        $text .= sprintf "| streams held | %s | | %.2f (%.2f to %.2f) |\n",
                 MCP::Plot::number($_->[0]), @$_[2, 1, 3]
                 for @{$s->{calls} || []};
    }

    return $text;
}


sub streams {
    my ($r) = @_;
    my $text = '';

    return '' unless @{$r->{streams}};

    $text .= "| idle event streams | number | bytes for each |\n|---|---|---|\n";
    $text .= "| $_->{name} | " . MCP::Plot::number($_->{count}) . ' | '
             . MCP::Plot::number(sprintf '%.0f', $_->{bytes}) . " |\n"
             for @{$r->{streams}};

    return $text;
}


# ---- pictures

sub pictures {
    my ($r) = @_;
    my %picture;
    my $main = main_connections($r);
    my @calls = grep { $_->{group} eq 'call' && $_->{x} == $main }
                @{$r->{cases}};
    my @lists = grep { $_->{group} eq 'list' } @{$r->{cases}};
    my @growth = grep { $_->{group} eq 'growth' } @{$r->{cases}};

    $picture{peers} = MCP::Plot::bars(
        title => "A warm tools/call, $main connections: CPU of the gateway",
        x => 'CPU per request, times nginx proxy_pass (log scale; whiskers:'
             . ' quartiles)',
        log => 1,
        rows => [ map { [ $_->{name}, @{$_->{ratio}},
                          $COLOUR{kind($_->{name})} ] } @calls ]) if @calls;

    $picture{lists} = MCP::Plot::lines(
        title => 'tools/list: CPU of the gateway',
        x => 'tools in the list, 700 bytes each (whiskers: quartiles)',
        y => 'us CPU per request',
        xlog => 1, ylog => 1,
        series => [ map {
            my ($name, $label, $colour, $dashed) = @$_;
            { name => $label, colour => $colour, dashed => $dashed,
              points => [ map { [ $_->{x}, @{$_->{us}} ] }
                          grep { $_->{name} eq $name } @lists ] };
        } [ 'list, module', 'everything on, JSON', 1 ],
          [ 'event, module', 'everything on, SSE', 1, 1 ],
          [ 'list, plain', 'proxy_pass, JSON', 0 ],
          [ 'event, plain', 'proxy_pass, SSE', 0, 1 ],
        ]) if @lists;

    my %points;

    push @{$points{$_->{name}}}, [ $_->{x}, @{$_->{ratio}} ] for @growth;

    for my $s (@{$r->{streams}}) {
        push @{$points{'streams held'}}, @{$s->{calls} || []};
    }

    my $n = 0;

    $picture{growth} = MCP::Plot::lines(
        title => 'A tools/call by the size of things: CPU of the gateway',
        x => 'number of them (whiskers: quartiles)',
        y => 'CPU per request, times nginx proxy_pass',
        xlog => 1, ylog => 1,
        series => [ map {
            { name => $_, points => $points{$_},
              colour => $n++, dashed => /new|held/ ? 1 : 0 };
        } sort keys %points ]) if %points;

    $picture{streams} = MCP::Plot::bars(
        title => 'Memory for each idle event stream',
        x => 'KB for each stream (Pss of all processes)',
        rows => [ map { [ $_->{name}, ($_->{bytes} / 1024) x 3,
                          $COLOUR{kind($_->{name})} ] } @{$r->{streams}} ])
        if @{$r->{streams}};

    return %picture;
}


1;

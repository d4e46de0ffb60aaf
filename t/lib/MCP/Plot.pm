package MCP::Plot;

# Charts as SVG, drawn here: no library, no script in the picture, its own
# background, and colours for light and for dark (prefers-color-scheme).
#
#     print MCP::Plot::bars(title => ..., x => 'CPU, times plain', log => 1,
#                           rows => [[ $label, $low, $value, $high ], ...]);
#     print MCP::Plot::lines(title => ..., x => ..., y => ...,
#                            xlog => 1, ylog => 1,
#                            series => [{ name => ..., points =>
#                                         [[ $x, $low, $value, $high ], ...] }]);
#
# low and high (the quartiles) are drawn as a whisker at each value, when they
# differ.

use strict;
use warnings;

use List::Util qw/ max min /;
use POSIX qw/ ceil floor /;

my $STYLE = <<'END_STYLE';
  <style>
    .back { fill: #ffffff; }
    text { font: 13px sans-serif; fill: #24292f; }
    .title { font-size: 15px; font-weight: bold; }
    .num { font-size: 12px; fill: #57606a; }
    .grid { stroke: #d0d7de; stroke-width: 1; }
    .axis { stroke: #57606a; stroke-width: 1; }
    .whisker { stroke: #24292f; stroke-width: 1.5; fill: none; }
    .c0 { fill: #57606a; stroke: #57606a; }
    .c1 { fill: #0969da; stroke: #0969da; }
    .c2 { fill: #bc4c00; stroke: #bc4c00; }
    .c3 { fill: #1a7f37; stroke: #1a7f37; }
    .c4 { fill: #8250df; stroke: #8250df; }
    .c5 { fill: #bf3989; stroke: #bf3989; }
    .bar { stroke: none; }
    .line { fill: none; stroke-width: 2; }
    @media (prefers-color-scheme: dark) {
      .back { fill: #0d1117; }
      text { fill: #e6edf3; }
      .num { fill: #9da7b1; }
      .grid { stroke: #30363d; }
      .axis { stroke: #9da7b1; }
      .whisker { stroke: #e6edf3; }
      .c0 { fill: #9da7b1; stroke: #9da7b1; }
      .c1 { fill: #58a6ff; stroke: #58a6ff; }
      .c2 { fill: #f0883e; stroke: #f0883e; }
      .c3 { fill: #56d364; stroke: #56d364; }
      .c4 { fill: #bc8cff; stroke: #bc8cff; }
      .c5 { fill: #f778ba; stroke: #f778ba; }
      .bar { stroke: none; }
      .line { fill: none; }
    }
  </style>
END_STYLE


# Rows: [ label, low, value, high, colour (0 to 5) ]; log => 1 starts at 1

sub bars {
    my (%o) = @_;
    my @rows = @{$o{rows}};
    my ($left, $top, $row, $width) = (270, 50, 24, 470);
    my $height = $row * @rows;
    my $scale = scale($o{log}, 0, $width, $o{log} ? 1 : 0,
                      map { $_->[3] } @rows);
    my $svg = '';

    for my $tick (@{$scale->{ticks}}) {
        my $x = $left + $scale->{at}->($tick);

        $svg .= line('grid', $x, $top, $x, $top + $height)
                . text('num', 'middle', $x, $top + $height + 18,
                       number($tick));
    }

    for my $i (0 .. $#rows) {
        my ($label, $low, $value, $high, $colour) = @{$rows[$i]};
        my $y = $top + $i * $row;
        my $w = $scale->{at}->($value);
        my $mid = $y + $row / 2;

        $svg .= text('', 'end', $left - 8, $mid + 4, $label)
                . sprintf('  <rect class="bar c%d" x="%.1f" y="%.1f"'
                          . " width=\"%.1f\" height=\"%.1f\"/>\n",
                          $colour // 0, $left, $y + 4, max($w, 1), $row - 8)
                . ($low == $high ? '' : whisker($mid,
                   map { $left + $scale->{at}->($_) } $low, $high))
                . text('num', 'start', $left + $scale->{at}->($high) + 8,
                       $mid + 4, sprintf $value < 10 ? '%.2f' : '%.1f',
                       $value);
    }

    $svg .= line('axis', $left, $top, $left, $top + $height)
            . text('', 'middle', $left + $width / 2, $top + $height + 42,
                   $o{x});

    return picture($o{title}, $left + $width + 70, $top + $height + 56, $svg);
}


sub lines {
    my (%o) = @_;
    my ($left, $top, $width, $height) = (80, 50, 480, 300);
    my @points = map { @{$_->{points}} } @{$o{series}};
    my $x = scale($o{xlog}, 0, $width, $o{xlog} ? undef : 0,
                  map { $_->[0] } @points);
    my $y = scale($o{ylog}, $height, 0, $o{ylog} ? undef : 0,
                  map { ($_->[1], $_->[3]) } @points);
    my $svg = '';

    for my $tick (@{$x->{ticks}}) {
        my $at = $left + $x->{at}->($tick);

        $svg .= line('grid', $at, $top, $at, $top + $height)
                . text('num', 'middle', $at, $top + $height + 18,
                       number($tick));
    }

    for my $tick (@{$y->{ticks}}) {
        my $at = $top + $y->{at}->($tick);

        $svg .= line('grid', $left, $at, $left + $width, $at)
                . text('num', 'end', $left - 8, $at + 4, number($tick));
    }

    my $n = 0;

    for my $s (@{$o{series}}) {
        my $colour = $s->{colour} // $n;
        my @at = map { [ $left + $x->{at}->($_->[0]),
                         map { $top + $y->{at}->($_) } @$_[1 .. 3] ] }
                 @{$s->{points}};

        $svg .= sprintf "  <polyline class=\"c%d line\"%s points=\"%s\"/>\n",
                $colour, $s->{dashed} ? ' stroke-dasharray="6 4"' : '',
                join ' ', map { sprintf '%.1f,%.1f', $_->[0], $_->[2] } @at;

        for (@at) {
            my ($px, $low, $value, $high) = @$_;

            $svg .= line('whisker', $px, $low, $px, $high)
                    . sprintf '  <circle class="c%d" cx="%.1f" cy="%.1f"'
                              . " r=\"3.5\"/>\n", $colour, $px, $value;
        }

        my $ly = $top + 12 + $n++ * 22;

        $svg .= sprintf('  <line class="c%d line"%s x1="%d" y1="%d" x2="%d"'
                        . " y2=\"%d\"/>\n", $colour,
                        $s->{dashed} ? ' stroke-dasharray="6 4"' : '',
                        $left + $width + 20, $ly, $left + $width + 50, $ly)
                . text('', 'start', $left + $width + 58, $ly + 4, $s->{name});
    }

    $svg .= line('axis', $left, $top, $left, $top + $height)
            . line('axis', $left, $top + $height, $left + $width,
                   $top + $height)
            . text('', 'middle', $left + $width / 2, $top + $height + 42,
                   $o{x})
            . sprintf('  <text text-anchor="middle" transform="translate(%d %d)'
                      . " rotate(-90)\">%s</text>\n", 22, $top + $height / 2,
                      escape($o{y}));

    return picture($o{title}, $left + $width + 230, $top + $height + 56, $svg);
}


# ---- scales: where a value is, from one end to the other, and the ticks

sub scale {
    my ($log, $from, $to, $first, @values) = @_;
    my ($low, $high, @ticks);

    if ($log) {
        $low = floor(log10($first // min(@values)) + 1e-9);
        $high = log10(max(@values));
        @ticks = grep { log10($_) <= $high + 0.05 }
                 map { my $d = $_; map { $_ * 10 ** $d } 1, 2, 5 }
                 $low .. ceil($high);
        @ticks = grep { log10($_) == int log10($_) } @ticks if @ticks > 10;
        $high = max($high, log10($ticks[-1]));

    } else {
        ($low, $high) = ($first // min(@values), max(@values));

        my $step = 10 ** floor(log10(($high - $low) / 4));
        $step *= ($high - $low) / $step > 16 ? 5
               : ($high - $low) / $step > 8 ? 2 : 1;
        @ticks = map { $_ * $step } floor($low / $step) .. ceil($high / $step);
        $high = $ticks[-1];
    }

    $high = $low + 1 if $high <= $low;

    return {
        ticks => \@ticks,
        at => sub {
            my $v = $log ? log10(max($_[0], 1e-9)) : $_[0];
            $v = min(max($v, $low), $high);
            return $from + ($to - $from) * ($v - $low) / ($high - $low);
        },
    };
}


# exact for the powers of ten

sub log10 { sprintf('%.9f', log($_[0]) / log 10) + 0 }


# ---- pieces

sub number {
    my $s = sprintf '%.6g', $_[0];

    1 while $s =~ s/^(\d+)(\d{3})/$1,$2/;
    return $s;
}


sub escape { $_[0] =~ s/&/&amp;/gr =~ s/</&lt;/gr =~ s/>/&gt;/gr }


sub line {
    return sprintf "  <line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\""
                   . " y2=\"%.1f\"/>\n", @_;
}


sub text {
    my ($class, $anchor, $x, $y, $text) = @_;

    return sprintf "  <text%s text-anchor=\"%s\" x=\"%.1f\" y=\"%.1f\">"
                   . "%s</text>\n", $class ? " class=\"$class\"" : '', $anchor,
                   $x, $y, escape($text);
}


sub whisker {
    my ($y, $from, $to) = @_;

    return line('whisker', $from, $y, $to, $y)
           . line('whisker', $from, $y - 4, $from, $y + 4)
           . line('whisker', $to, $y - 4, $to, $y + 4);
}


sub picture {
    my ($title, $width, $height, $svg) = @_;

    return qq{<svg xmlns="http://www.w3.org/2000/svg" width="$width"}
           . qq{ height="$height" viewBox="0 0 $width $height" role="img">\n}
           . '  <title>' . escape($title) . "</title>\n$STYLE"
           . qq{  <rect class="back" width="$width" height="$height"/>\n}
           . text('title', 'start', 16, 28, $title) . "$svg</svg>\n";
}


1;

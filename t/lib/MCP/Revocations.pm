package MCP::Revocations;

# A revocation file, written without the gateway's code (core/mcp_revocation.h).
#
#     my $rev = MCP::Revocations->new($t);            # "revoked", empty
#     my $e = $rev->add(user => $okta->{issuer}, 'alice', by => 'ops');
#     $rev->write;                        # the file, whole at once
#     $rev->drop($e)->write;
#
# An entry is a hash: type, issuer, value, at (now), until, by, reason; raw =>
# "..." is a line as it is.  write(in_place => 1) writes into the file that is
# there, write(text => ...) these bytes.

# MCP::Revocations::tear($t) makes it look as if a worker of $t had died while it
# changed the table: what such a worker leaves is an odd number in the zone, and
# here it is put there by hand, in the memory that all share.  0: not possible.
# torn($t) waits until somebody saw it; who passed before passes until then.

use strict;
use warnings;
no warnings 'portable';

use POSIX qw/ strftime /;


sub new {
    my ($class, $t, %o) = @_;

    my $self = bless { t => $t, file => 'revoked', entries => [], %o },
               $class;

    return $self->write;
}


sub path { $_[0]{t}->dir . "/$_[0]{file}" }


sub add {
    my ($self, $type, $issuer, $value, %o) = @_;

    my $e = { type => $type, issuer => $issuer, value => $value,
              at => int time, %o };

    push @{$self->{entries}}, $e;
    return $e;
}


sub drop {
    my ($self, @e) = @_;

    for my $e (@e) {
        $self->{entries} = [ grep { $_ != $e } @{$self->{entries}} ];
    }

    return $self;
}


sub clear {
    my ($self) = @_;

    $self->{entries} = [];
    return $self;
}


sub column {
    my ($v) = @_;

    return '-' unless defined $v && length $v;
    return '%2D' if $v eq '-';

    utf8::encode($v) if utf8::is_utf8($v);
    $v =~ s/([^\x21-\x7e]|%)/sprintf '%%%02X', ord $1/ge;
    return $v;
}


sub moment {
    return strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $_[0]);
}


sub line {
    my ($e) = @_;

    return $e->{raw} if defined $e->{raw};

    return join ' ', $e->{type}, column($e->{issuer}), column($e->{value}),
        moment($e->{at}),
        (defined $e->{until} ? 'until=' . moment($e->{until}) : ()),
        (defined $e->{by} ? 'by=' . column($e->{by}) : ()),
        (defined $e->{reason} ? 'reason=' . column($e->{reason}) : ());
}


sub text {
    my ($self) = @_;

    return join '', map { "$_\n" } '# revocations of the test',
                    (map { line($_) } @{$self->{entries}}), 'end';
}


sub write {
    my ($self, %o) = @_;
    my ($t, $file) = ($self->{t}, $self->{file});
    my $text = $o{text} // $self->text;

    if ($o{in_place}) {
        $t->write_file($file, $text);
        return $self;
    }

    $t->write_file("$file.new", $text);
    rename $t->dir . "/$file.new", $t->dir . "/$file" or die "rename: $!";

    return $self;
}


sub tear {
    my ($t) = @_;
    my ($pid) = $t->workers;

    open my $maps, '<', "/proc/$pid/maps" or return 0;
    sysopen my $mem, "/proc/$pid/mem", 2 or return 0;

    while (my $map = <$maps>) {
        my ($start, $end) = $map =~ /^(\w+)-(\w+) rw-s / or next;
        my ($at, $size) = (hex $start, hex($end) - hex $start);

        sysseek $mem, $at, 0;
        sysread $mem, my $bytes, $size or next;

        # magic, version, size of itself, and then the number

        for (my $p = 0; ($p = index $bytes, 'RPCM', $p) >= 0; $p++) {
            my ($magic, $version, $self, $writer) =
                unpack 'a4 L Q Q', substr $bytes, $p, 24;

            next if $version > 99 || $self > 4096 || $writer > 1e6;

            sysseek $mem, $at + $p + 16, 0;
            return syswrite $mem, pack 'Q', $writer + 1;
        }
    }

    return 0;
}


sub torn {
    my ($t) = @_;
    my $n = seen($t);

    return 0 unless tear($t);
    return MCP::Test::wait_until($MCP::Test::TIMEOUT, sub { seen($t) > $n });
}


sub seen {
    my ($t) = @_;
    return scalar(() = $t->read_log =~ /a worker died while it changed/g);
}


1;

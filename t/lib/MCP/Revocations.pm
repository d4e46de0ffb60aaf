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

use strict;
use warnings;

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


1;

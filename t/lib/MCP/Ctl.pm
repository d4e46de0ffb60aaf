package MCP::Ctl;

# Runs mcpctl as an operator would.
#
#     my $ctl = MCP::Ctl->new("$dir/nginx.conf");
#     my $r = $ctl->run(qw/ policy explain --role support --tool search /);
#     $r->{code}, $r->{out}, $r->{err}, $r->{json} (after --json)
#
# A run that ended by a signal, or that a sanitizer complained of, fails the
# test.  Environment: MCP_TEST_MCPCTL (the binary).

use strict;
use warnings;

use Cwd qw/ abs_path /;
use File::Basename qw/ dirname /;
use File::Temp ();
use JSON::PP ();
use Test::More import => [ qw/ fail diag BAIL_OUT / ];

our $SAID = '';          # by all runs, what it was asked to print included
our $MCPCTL = $ENV{MCP_TEST_MCPCTL}
              || abs_path(dirname(__FILE__) . '/../../..') . '/build/mcpctl';


sub new {
    my ($class, $conf) = @_;

    BAIL_OUT("no mcpctl at $MCPCTL: make build") unless -x $MCPCTL;

    return bless { conf => $conf }, $class;
}


# Arguments; a hash as the first one: stdin => TEXT, env => { NAME => VALUE },
# conf => FILE (undef: no --conf)

sub run {
    my ($self, @args) = @_;
    my $o = ref $args[0] eq 'HASH' ? shift @args : {};
    my $conf = exists $o->{conf} ? $o->{conf} : $self->{conf};

    my $in = File::Temp->new;
    my $out = File::Temp->new;
    my $err = File::Temp->new;

    print $in $o->{stdin} // '';
    close $in;

    unshift @args, '--conf', $conf if defined $conf;

    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        open STDIN, '<', $in->filename or die;
        open STDOUT, '>', $out->filename or die;
        open STDERR, '>', $err->filename or die;
        @ENV{keys %{$o->{env}}} = values %{$o->{env}} if $o->{env};
        { exec $MCPCTL, @args }
        require POSIX;
        POSIX::_exit(127);
    }

    waitpid $pid, 0;

    my %r = (signal => $? & 127, code => $? >> 8,
             out => slurp($out->filename), err => slurp($err->filename));

    $SAID .= "$r{out}$r{err}";

    if ($r{signal} || $r{code} == 127
        || "$r{err}$r{out}" =~ /Sanitizer|runtime error:/)
    {
        fail("mcpctl @args: signal $r{signal}, code $r{code}");
        diag($r{err});
    }

    if ($r{out} =~ /\A\s*[\[{]/) {
        $r{json} = eval { JSON::PP->new->utf8->decode($r{out}) };
    }

    return \%r;
}


sub slurp {
    my ($name) = @_;

    open my $fh, '<:raw', $name or die "$name: $!";
    local $/;
    return <$fh> // '';
}


1;

package MCP::Redis;

# A real redis-server of the test's own, with a client for the test.
#
#     my $redis = MCP::Redis->start($t);
#     $redis->command('SET', 'a', 1);
#     $redis->pause;              # SIGSTOP
#     $redis->resume;
#     $redis->kill;               # -9
#     $redis->run;                # again: empty, unless persist => 1
#     $redis->revoke(user => 'alice', issuer => 'https://...');
#
# Options: port (a number for port(); default 6379; 0: none), name, password,
# users => [ACL lines], tls => 1 (port is TLS then; certificates of
# MCP::Issuer's CA), persist => 1, conf => "more lines", server => BINARY.
# It always listens on a unix socket too, $redis->socket, which the test's own
# client uses.  MCP_TEST_REDIS names another binary (valkey-server).

use strict;
use warnings;

use IO::Select;
use IO::Socket::UNIX;
use POSIX qw/ WNOHANG strftime /;
use Time::HiRes qw/ time sleep /;

use MCP::Test ();

our $SERVER = $ENV{MCP_TEST_REDIS} || '/usr/bin/redis-server';


sub start {
    my ($class, $t, %o) = @_;

    my $self = bless { t => $t, name => 'redis', port => 6379, conf => '',
                       prefix => 'mcp:', %o }, $class;

    die "no $SERVER: make deps" unless -x $SERVER;

    $self->{dir} = $t->dir . "/$self->{name}";
    mkdir $self->{dir};

    require MCP::Issuer;
    MCP::Issuer::certificate($t) if $o{tls};

    return $self->run;
}


sub socket { "$_[0]{dir}/socket" }

# as the configuration wants it

sub server {
    my ($self) = @_;
    return $self->{port} ? '127.0.0.1:' . MCP::Test::port($self->{port})
                         : 'unix:' . $self->socket;
}


sub configure {
    my ($self) = @_;
    my $port = $self->{port} ? MCP::Test::port($self->{port}) : 0;
    my $d = $self->{t}->dir;

    my @lines = (
        "bind 127.0.0.1", "unixsocket " . $self->socket, "unixsocketperm 777",
        "dir $self->{dir}", "logfile $self->{dir}/log", 'save ""',
        "protected-mode no", "daemonize no", "latency-tracking no",
        $self->{tls} ? ("port 0", "tls-port $port", "tls-auth-clients no",
                        "tls-cert-file " . ($self->{cert} || "$d/server.pem"),
                        "tls-key-file " . ($self->{key} || "$d/server.key"),
                        "tls-ca-cert-file $d/ca.pem")
                     : "port $port",
        $self->{persist} ? ("appendonly yes", "appendfsync always") : (),
        $self->{password} ? "requirepass $self->{password}" : (),
        (map { "user $_" } @{$self->{users} || []}),
        $self->{conf},
    );

    open my $fh, '>', "$self->{dir}/conf" or die "$self->{dir}/conf: $!";
    print $fh map { "$_\n" } @lines;
    close $fh;
}


# Starts it, and waits until it answers.

sub run {
    my ($self) = @_;
    my $t = $self->{t};

    $self->configure;
    unlink $self->socket;

    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        my @with = -x '/usr/bin/setpriv'
                   ? ('/usr/bin/setpriv', '--pdeathsig', 'TERM') : ();

        open STDOUT, '>>', "$self->{dir}/out";
        open STDERR, '>&', \*STDOUT;
        { exec @with, $self->{server} || $SERVER, "$self->{dir}/conf" }
        POSIX::_exit(127);
    }

    $self->{pid} = $pid;
    push @{$t->{daemons}}, $pid;

    my $up = MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
        return -1 if waitpid($pid, WNOHANG) == $pid;
        my $r = eval { $self->command('PING') } // '';
        return $r eq 'PONG';
    });

    return $self if ($up // 0) == 1;

    die "redis-server does not start:\n"
        . $t->read_file("$self->{name}/out")
        . $t->read_file("$self->{name}/log");
}


# ---- its life

sub gone {
    my ($self, $signal) = @_;
    my $pid = delete $self->{pid} or return $self;
    my $t = $self->{t};

    delete $self->{client};
    CORE::kill($signal, $pid);
    CORE::kill('CONT', $pid);

    MCP::Test::wait_until($MCP::Test::TIMEOUT,
                          sub { waitpid($pid, WNOHANG) == $pid })
        or die "redis-server does not leave";

    $t->{daemons} = [ grep { $_ != $pid } @{$t->{daemons}} ];

    return $self;
}


sub stop { $_[0]->gone('TERM') }
sub kill { $_[0]->gone('KILL') }

sub pause { CORE::kill('STOP', $_[0]{pid}); $_[0] }
sub resume { CORE::kill('CONT', $_[0]{pid}); $_[0] }


# ---- a client.  An answer is a string, a number, undef, or a list of them
# (an array reference); errors die.

sub command {
    my ($self, @args) = @_;
    my $c = $self->{client};

    if (!$c) {
        my $s = IO::Socket::UNIX->new(Peer => $self->socket)
            or die "connect to redis: $!\n";
        $c = $self->{client} = { sock => $s, buf => '' };

        if ($self->{admin} || $self->{password}) {
            eval { $self->command('AUTH', $self->{admin}
                                          ? @{$self->{admin}}
                                          : $self->{password}) };
            if ($@) {
                delete $self->{client};
                die $@;
            }
        }
    }

    my $text = '*' . @args . "\r\n"
               . join '', map { '$' . length($_) . "\r\n$_\r\n" } @args;

    local $SIG{PIPE} = 'IGNORE';

    if ((syswrite($c->{sock}, $text) // 0) != length $text) {
        delete $self->{client};
        die "redis has gone\n";
    }

    my $r = eval { $self->reply($c) };

    if ($@) {
        delete $self->{client} unless $@ =~ /^-/;
        die $@;
    }

    return $r;
}


sub reply {
    my ($self, $c) = @_;
    my $line = $self->take($c, undef);

    return $1 if $line =~ /\A[+:](.*)/;
    die "$line\n" if $line =~ /\A-/;

    if ($line =~ /\A\$(-?\d+)/) {
        return $1 < 0 ? undef : $self->take($c, $1);
    }

    if ($line =~ /\A\*(-?\d+)/) {
        return $1 < 0 ? undef : [ map { $self->reply($c) } 1 .. $1 ];
    }

    die "not a reply: $line\n";
}


# so many bytes, or a line

sub take {
    my ($self, $c, $n) = @_;

    while (1) {
        my $len = $n // index $c->{buf}, "\r\n";

        if ($len >= 0 && length $c->{buf} >= $len + 2) {
            my $got = substr $c->{buf}, 0, $len, '';
            substr $c->{buf}, 0, 2, '';
            return $got;
        }

        $self->more($c);
    }
}


sub more {
    my ($self, $c) = @_;

    IO::Select->new($c->{sock})->can_read($MCP::Test::TIMEOUT)
        or die "redis does not answer\n";
    sysread($c->{sock}, $c->{buf}, 65536, length $c->{buf})
        or die "redis has gone\n";
}


# how often a command was called, by INFO commandstats

sub calls {
    my ($self, $name) = @_;
    my $info = $self->command('INFO', 'commandstats');

    return $info =~ /^cmdstat_\Q$name\E:calls=(\d+)/mi ? $1 : 0;
}


# ---- what mcpctl writes

my $script;

sub script {
    return $script if $script;

    my $file = __FILE__ =~ s!t/lib/MCP/Redis\.pm\z!!r
               . 'ngx_mcp_auth_module/core/mcp_revocation.c';
    open my $fh, '<', $file or die "$file: $!";
    my $text = do { local $/; <$fh> };

    my ($part) = $text =~ /mcp_revocation_script\[\] =\n(.*?);\n/s
        or die "no script in $file";
    $part = join '', $part =~ /"((?:[^"\\]|\\.)*)"/g;
    $part =~ s/\\n/\n/g;
    $part =~ s/\\(.)/$1/g;

    return $script = $part;
}


sub timestamp { strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $_[0]) }


# A line as mcp_revocation.h has it: (field, line).  at => undef: lifted.

sub line {
    my ($self, %o) = @_;
    my ($type) = grep { exists $o{$_} } qw/ user client token all /;

    $type //= 'issuer';

    my $at = exists $o{at} ? $o{at} : int time;
    my $field = join ' ', $type, $type eq 'all' ? '-' : $o{issuer} // '-',
                $type eq 'all' || $type eq 'issuer' ? '-' : $o{$type};
    my $line = "$field " . (defined $at ? timestamp($at) : '-');

    $line .= ' until=' . timestamp($o{until}) if $o{until};
    $line .= " by=$o{by}" if $o{by};

    return ($field, $line);
}


# Returns the stamp.  stamp => N instead of a new one.

sub revoke {
    my ($self, %o) = @_;
    my ($field, $line) = $self->line(%o);

    return $self->command('EVAL', script(), 2, "$self->{prefix}rev",
                          "$self->{prefix}events", $field, $line,
                          $o{stamp} // '');
}


# Puts the records of an MCP::Token there, or some of its tokens.

sub write_tokens {
    my ($self, $store, @tokens) = @_;

    for my $k (@tokens ? @tokens : @{$store->{tokens}}) {
        my $hash = $store->hash($k);
        $self->command('SET', "$self->{prefix}tok:$hash", $store->line($k));
        $self->command('HSET', "$self->{prefix}tokens", $k->{id}, $hash);
    }
}


1;

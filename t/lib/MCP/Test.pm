package MCP::Test;

# The harness of t/*.t: a real nginx in a directory of its own, with our module
# (or, for sanitizers, built in), on free ports.  Core Perl only.
#
#     use lib 't/lib';
#     use MCP::Test;
#
#     my $t = MCP::Test->new;
#     $t->write_conf(<<'END');
#     %%GLOBALS%%
#     events { }
#     http {
#         %%GLOBALS_HTTP%%
#         server { listen 127.0.0.1:%%PORT_8080%%; location / { return 204; } }
#     }
#     END
#     $t->start;
#     is(http("GET / HTTP/1.0\r\n\r\n")->{status}, 204, 'works');
#     done_testing;
#
# `use MCP::Test` exports Test::More.  Its done_testing stops every nginx that
# the test started and asserts for each: left on QUIT, no worker behind, no
# unexpected [alert], [emerg] or [crit], no worker with an exit code, no report
# of a sanitizer (trap N15 of docs/internals/traps.md).
#
# Environment: MCP_TEST_NGINX (binary), MCP_TEST_MODULE (our .so),
# MCP_TEST_SAN=1 (static build: no load_module), MCP_TEST_VALGRIND=1 (it runs
# under valgrind: more patience), MCP_TEST_MINT, MCP_TEST_DEBUG=1
# (debug log), MCP_TEST_SPLIT=1 (clients write byte by byte), MCP_TEST_LEAVE=1
# (keep the directory), MCP_TEST_CATLOG=1 (print the log).

use strict;
use warnings;

use Cwd qw/ abs_path /;
use Errno ();
use Exporter qw/ import /;
use File::Basename qw/ dirname /;
use File::Path qw/ rmtree /;
use File::Temp qw/ tempdir /;
use IO::Socket::INET;
use JSON::PP ();
use MIME::Base64 qw/ encode_base64 /;
use POSIX qw/ WNOHANG /;
use Test::More import => [ '!done_testing' ];
use Time::HiRes qw/ time sleep /;

use MCP::Conn;

our @EXPORT = ((grep { $_ ne 'done_testing' } @Test::More::EXPORT), qw/
    done_testing port http http_start http_read_response metric
    rpc mcp_post mcp_start call_tool list_tools legacy_session
/);

my $top = abs_path(dirname(__FILE__) . '/../../..');

our $NGINX = $ENV{MCP_TEST_NGINX} || '/usr/sbin/nginx';
our $MODULE = $ENV{MCP_TEST_MODULE}
              || "$top/build/ngx_http_mcp_auth_module.so";
our $MINT = $ENV{MCP_TEST_MINT} || "$top/build/mint";
our $SAN = $ENV{MCP_TEST_SAN};
our $TIMEOUT = $MCP::Conn::TIMEOUT;

our $MODERN = '2026-07-28';
our $LEGACY = '2025-11-25';

my $owner = $$;

# END runs after these as well

$SIG{$_} = sub { exit 1 } for qw/ INT TERM HUP /;

my @instances;
my %ports;


# ---- life of an nginx

# log => 'debug' for the level of error.log; default info

sub new {
    my ($class, %o) = @_;

    BAIL_OUT("no nginx at $NGINX") unless -x $NGINX;
    BAIL_OUT("no module at $MODULE: make build") unless $SAN || -f $MODULE;

    my $self = bless {
        dir => tempdir('mcp-test-XXXXXXXX', TMPDIR => 1),
        level => $o{log} || ($ENV{MCP_TEST_DEBUG} ? 'debug' : 'info'),
        allowed => [], daemons => [], issuers => [], secret => [],
        minted => [], audit_seen => 0,
    }, $class;

    mkdir "$self->{dir}/tmp";
    push @instances, $self;

    return $self;
}


sub dir { $_[0]{dir} }


# A free port for this number of the test's own; the same one every time.  A
# UDP socket on the same port keeps other tests off it.

sub port {
    my ($n) = @_;
    $n = $_[1] if ref $n;

    return $ports{$n}{port} if $ports{$n};

    for (1 .. 100) {
        my $p = 20000 + int rand 12000;
        my $lock = IO::Socket::INET->new(Proto => 'udp',
                                         LocalAddr => "127.0.0.1:$p") or next;
        IO::Socket::INET->new(Proto => 'tcp', LocalAddr => "127.0.0.1:$p",
                              Listen => 1, ReuseAddr => 1) or next;

        $ports{$n} = { port => $p, lock => $lock };
        return $p;
    }

    die "no free port";
}


# the socket that holds it: datagrams to the port arrive there

sub udp {
    my ($n) = @_;

    port($n);
    return $ports{$n}{lock};
}


sub globals {
    my ($self, $log) = @_;

    # what a new binary (USR2) is to know of the sanitizers as well

    return ($SAN ? join('', map { "env $_;\n" } qw/ ASAN_OPTIONS LSAN_OPTIONS
                                                    UBSAN_OPTIONS /)
                 : "load_module $MODULE;\n")
        . ($> == 0 ? "user root;\n" : '')
        . "daemon off;\n"
        . "pid $self->{dir}/nginx.pid;\n"
        . "error_log $self->{dir}/$log $self->{level};\n";
}


sub globals_http {
    my ($self) = @_;
    my $d = $self->{dir};

    return "root $d;\naccess_log $d/access.log;\n"
        . join '', map { "${_}_temp_path $d/tmp/$_;\n" }
                   qw/ client_body proxy fastcgi uwsgi scgi /;
}


# %%GLOBALS%%, %%GLOBALS_HTTP%%, %%TESTDIR%%, %%PORT_n%%, and for each
# MCP::Issuer NAME: %%ISSUER_SERVER_NAME%% (its server {}), %%ISSUER_NAME%%
# (an mcp_issuer {} that trusts it), %%ISSUERS%% (both of all).

sub expand {
    my ($self, $text, $log) = @_;

    $log ||= 'error.log';

    $text =~ s/%%ISSUERS%%/join '', map { "%%ISSUER_SERVER_$_->{name}%%\n"
                           . "%%ISSUER_$_->{name}%%\n" } @{$self->{issuers}}/ge;

    for my $i (@{$self->{issuers}}) {
        $text =~ s/%%ISSUER_SERVER_\Q$i->{name}\E%%/$i->server_conf/ge;
        $text =~ s/%%ISSUER_\Q$i->{name}\E%%/$i->issuer_conf/ge;
    }

    $text =~ s/%%GLOBALS%%/$self->globals($log)/ge;
    $text =~ s/%%GLOBALS_HTTP%%/$self->globals_http/ge;
    $text =~ s/%%TESTDIR%%/$self->{dir}/g;
    $text =~ s/%%PORT_(\d+)%%/port($1)/ge;

    # under valgrind a second is too short for an answer, unless a test says so

    $text =~ s/\b(mcp_redis\s*\{)(?![^}]*timeout)/$1 timeout 5s;/g
        if $ENV{MCP_TEST_VALGRIND};

    die "unknown $1 in configuration" if $text =~ /(%%\w+%%)/;

    return $text;
}


sub write_file {
    my ($self, $name, $content) = @_;

    open my $fh, '>:raw', "$self->{dir}/$name" or die "$name: $!";
    print $fh $content;
    close $fh or die "$name: $!";

    return "$self->{dir}/$name";
}


sub read_file {
    my ($self, $name) = @_;

    open my $fh, '<:raw', "$self->{dir}/$name" or return '';
    local $/;
    return <$fh> // '';
}


sub write_conf {
    my ($self, $conf) = @_;

    $self->write_file('nginx.conf', $self->expand($conf));
    return $self;
}


# nginx -t on a configuration; its messages leave error.log alone.
# (1 or 0, what it said)

sub check {
    my ($self, $conf) = @_;

    $self->write_file('check.conf', $self->expand($conf, 'check.log'));

    my $d = $self->{dir};

    # nginx -t leaves its configuration to the end of the process

    local $ENV{ASAN_OPTIONS} = ($ENV{ASAN_OPTIONS} // '') . ':detect_leaks=0';
    local $ENV{MCP_VALGRIND_LEAKS} = 'no';

    my $out = `$NGINX -t -p $d -e $d/check.log -c $d/check.conf 2>&1`;

    diag($out) if $out =~ /Sanitizer|runtime error:|^==\d+== /m;

    return ($? == 0 ? 1 : 0, $out);
}


sub start {
    my ($self) = @_;
    my $d = $self->{dir};

    unlink "$d/nginx.pid";

    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$d/nginx.out";
        open STDERR, '>&', \*STDOUT;

        # a test that is killed leaves no nginx behind

        my @with = -x '/usr/bin/setpriv'
                   ? ('/usr/bin/setpriv', '--pdeathsig', 'TERM') : ();

        { exec @with, $NGINX, '-p', $d, '-c', "$d/nginx.conf",
               '-e', "$d/error.log" }
        POSIX::_exit(127);
    }

    $self->{pid} = $pid;

    my $up = wait_until($TIMEOUT, sub {
        return 1 if -s "$d/nginx.pid" && $self->workers;
        return -1 if waitpid($pid, WNOHANG) == $pid;
    });

    return $self if ($up // 0) == 1;

    delete $self->{pid} if ($up // 0) == -1;
    my $said = $self->read_file('nginx.out') || $self->read_log;
    die "nginx does not start:\n$said";
}


sub pid { $_[0]{pid} }


# the pids of the processes that the master made: workers (and cache helpers)

sub workers {
    my ($self) = @_;

    return () unless $self->{pid};

    open my $fh, '<', "/proc/$self->{pid}/task/$self->{pid}/children"
        or return ();
    return split ' ', <$fh> // '';
}


# New configuration: 1 when new workers serve and the old ones take no more
# requests; 0 when nginx refused it (it logs an [emerg]: see allow_log).

sub reload {
    my ($self, $conf) = @_;

    $self->write_conf($conf) if defined $conf;

    my @old = $self->workers;
    my $from = length $self->read_log;

    kill HUP => $self->{pid};

    my $done = wait_until($TIMEOUT, sub {
        my $log = substr $self->read_log, $from;
        return -1 if $log =~ /\[emerg\]/;
        return 1 if @old <= grep {
            my $p = $_;
            $log =~ /\[notice\] $p#\d+: gracefully shutting down/
                || !kill 0 => $p;
        } @old;
    });

    return ($done // 0) == 1 ? 1 : 0;
}


# USR1: logs are reopened; move them away first

sub reopen {
    my ($self) = @_;

    my @workers = $self->workers;
    my $from = () = $self->read_log =~ /reopening logs/g;

    kill USR1 => $self->{pid};

    wait_until($TIMEOUT, sub {
        my $n = () = $self->read_log =~ /reopening logs/g;
        return $n - $from >= @workers + 1;
    });

    sleep 0.1;
    return $self;
}


sub quit { $_[0]->stop }


# QUIT, as an operator would; what is left after the timeout is terminated and
# found by finish()

sub stop {
    my ($self, $signal) = @_;
    my $pid = delete $self->{pid} or return $self;

    $self->{pid} = $pid;
    my @workers = $self->workers;
    delete $self->{pid};

    kill $signal || 'QUIT', $pid;

    my $gone = wait_until($TIMEOUT, sub { waitpid($pid, WNOHANG) == $pid });
    my $status = $?;

    if (!$gone) {
        push @{$self->{trouble}}, "nginx did not leave on QUIT";
        kill TERM => $pid;
        wait_until(5, sub { waitpid($pid, WNOHANG) == $pid })
            or kill(KILL => $pid, @workers), waitpid($pid, 0);

    } elsif ($status != 0) {
        push @{$self->{trouble}}, "nginx left with status $status";
    }

    my @left = grep { kill 0 => $_ } @workers;

    if (@left) {
        wait_until(2, sub { !grep { kill 0 => $_ } @left })
            or push @{$self->{trouble}}, "workers left behind: @left";
        kill KILL => @left;
    }

    return $self;
}


# A process of the test's own, for stub servers; ended with the test

sub run_daemon {
    my ($self, $code, @args) = @_;

    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        $SIG{$_} = sub { POSIX::_exit(0) } for qw/ INT TERM HUP /;
        $SIG{PIPE} = 'IGNORE';
        eval { $code->(@args) };
        warn $@ if $@;
        POSIX::_exit($@ ? 1 : 0);
    }

    push @{$self->{daemons}}, $pid;
    return $pid;
}


sub stop_daemon {
    my ($self, $pid) = @_;

    $self->{daemons} = [ grep { $_ != $pid } @{$self->{daemons}} ];
    kill KILL => $pid;
    waitpid $pid, 0;
}


# ---- logs

sub read_log {
    my ($self) = @_;

    return join '', map { $self->read_file($_) }
                    map { s!.*/!!r } sort glob "$self->{dir}/error.log*";
}


# 1 when a line of error.log matches, within the time

sub wait_for_log {
    my ($self, $re, $timeout) = @_;

    return wait_until($timeout // $TIMEOUT, sub { $self->read_log =~ $re })
           ? 1 : 0;
}


# lines of [alert], [emerg], [crit] that the test expects

sub allow_log {
    my ($self, @re) = @_;

    push @{$self->{allowed}}, @re;
    return $self;
}


# The audit records, decoded, in order.  audit($n) waits until there are $n.

sub audit {
    my ($self, $n, %o) = @_;
    my $name = $o{file} || 'audit.log';
    my @records;

    wait_until($o{timeout} // $TIMEOUT, sub {
        my @lines = $self->read_file($name) =~ /^(.*)\n/mg;

        return 0 if @lines < ($n || 0);

        @records = map {
            $self->{decoded}{$_} ||= do {
                my $r = eval { JSON::PP->new->utf8->decode($_) };
                fail("audit line is JSON: $_") unless $r;
                $r || {};
            };
        } @lines;

        return 1;
    });

    return @records;
}


# The records since the last call, at least $n (default 1) when they come in
# time; waits a little longer, so that one too many is seen.

sub audit_next {
    my ($self, $n, %o) = @_;

    $n //= 1;
    $self->audit($self->{audit_seen} + $n, %o);
    sleep($o{settle} // 0.1);

    my @all = $self->audit(0, %o);
    my @new = @all[$self->{audit_seen} .. $#all];
    $self->{audit_seen} = @all;

    return wantarray ? @new : $new[-1];
}


# ---- secrets

# Text, or an object with secrets(), that nothing written may show: finish()
# looks for it.  With one of them the tokens of the test's issuers are looked
# for as well.

sub keep_secret {
    my ($self, @what) = @_;

    push @{$self->{secret}}, @what;
    return $self;
}


# One expression for all of them, as they are and as they would be in a URL, in
# JSON or in base64; undef: there are none.

sub secrets_re {
    my ($self) = @_;

    return undef unless @{$self->{secret}};

    my %forms;

    for my $s (@{$self->{minted}},
               map { ref $_ ? $_->secrets : $_ } @{$self->{secret}})
    {
        next if length $s < 8;

        (my $url = $s) =~ s/([^A-Za-z0-9._~-])/sprintf '%%%02X', ord $1/ge;
        (my $json = $s) =~ s/(["\\\/])/\\$1/g;

        @forms{$s, $url, $json} = ();

        # in base64 it depends on what is before it

        for my $before (0 .. 2) {
            my $text = encode_base64('x' x $before . $s, '');
            $forms{substr $text, $before ? 4 : 0, -8} = 1;
        }
    }

    my $any = join '|', map { quotemeta } sort keys %forms;

    return qr/($any)/;
}


# What is shown of them in texts (name => text): names and beginnings

sub leaks {
    my ($self, %texts) = @_;
    my $re = $self->secrets_re;
    my @found;

    return '' unless $re;

    for my $name (sort keys %texts) {
        push @found, "$name: " . substr($1, 0, 12) . '...'
            if $texts{$name} =~ $re;
    }

    return join "\n", @found;
}


# Everything that nginx and mcpctl wrote.  At level debug nginx itself shows
# headers.

sub written {
    my ($self) = @_;
    my %texts = map { my $name = s!.*/!!r; ($name => $self->read_file($name)) }
                grep { -f } glob join ' ', map { "$self->{dir}/$_" }
                qw/ error.log* check.log nginx.out *audit*.log* access.log* /;

    s/^.*\[debug\].*\n//mg for values %texts;
    $texts{mcpctl} = $MCP::Ctl::SAID if $INC{'MCP/Ctl.pm'};

    return %texts;
}


# ---- the end

sub finish {
    my ($self) = @_;

    return if $self->{finished}++;

    $self->stop;
    $self->stop_daemon($_) for @{$self->{daemons}};

    my $log = $self->read_log . $self->read_file('nginx.out');

    my @bad = grep {
        my $line = $_;
        !grep { $line =~ $_ } @{$self->{allowed}}
    } $log =~ /^.*(?:\[(?:alert|emerg|crit)\]|exited with code [1-9]).*/mg;

    # valgrind, which is quiet, has nothing else to say

    my @san = $log =~ /^(?:.*(?:Sanitizer|runtime error:).*|==\d+== .*)/mg;

    is(join("\n", @{$self->{trouble} || []}), '', 'nginx leaves on QUIT');
    is(join("\n", @bad), '', 'no alerts in error.log');
    is(join("\n", @san), '', 'no sanitizer reports');
    is($self->leaks($self->written), '', 'no secret in what was written')
        if @{$self->{secret}};

    if (@san) {
        my @lines = split /\n/, $log;
        my ($i) = grep { $lines[$_] =~ /Sanitizer|runtime error:|^==\d+== / }
                       0..$#lines;
        diag(join "\n", grep { defined } @lines[$i .. $i + 60]);
    }
}


sub done_testing {
    $_->finish for @instances;
    Test::More::done_testing(@_);
}


# also after a die: nothing is left running

END {
    if ($$ == $owner) {
        my $status = $?;

        for my $t (@instances) {
            if (!$t->{finished}) {
                diag("the test ended early; error.log:\n"
                     . join "\n", grep { defined }
                       (split /\n/, $t->read_log)[-20 .. -1]);
                $status ||= 255;
            }

            $t->stop;
            $t->stop_daemon($_) for @{$t->{daemons}};
            diag($t->read_log) if $ENV{MCP_TEST_CATLOG};

            if ($ENV{MCP_TEST_LEAVE}) {
                diag("left $t->{dir}");
            } else {
                rmtree($t->{dir});
            }
        }

        $? = $status;
    }
}


# Calls until the answer is true: that, or undef after the time.

sub wait_until {
    my ($timeout, $code) = @_;
    my $end = time + $timeout;

    while (1) {
        my $got = $code->();
        return $got if $got;
        return undef if time >= $end;
        sleep 0.02;
    }
}


# ---- clients.  Options everywhere: port (a number for port(), default 8080),
# timeout, split, chunks, delay; see MCP::Conn

sub http_start {
    my ($bytes, %o) = @_;

    my $c = $o{conn} || MCP::Conn->new(port => port($o{port} || 8080),
                                       timeout => $o{timeout});
    $c->send($bytes, %o);
    return $c;
}


sub http_read_response {
    my ($c, %o) = @_;
    return $c->read_response(%o);
}


sub http {
    my ($bytes, %o) = @_;

    return http_start($bytes, %o)
           ->read_response(head => scalar $bytes =~ /^HEAD /, %o);
}


# What mcp_auth_status at /status says, name without "mcp_auth_"; undef: it is
# not there.

sub metric {
    my ($name) = @_;
    my $r = http("GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n");

    return $r->{body} =~ /^mcp_auth_\Q$name\E (\S+)$/m ? $1 : undef;
}


my $next_id = 1;

# A JSON-RPC request; id => undef makes a notification.  era: modern (default;
# params._meta is filled in) or legacy.

sub rpc {
    my ($method, $params, %o) = @_;
    my %m = (jsonrpc => '2.0', method => $method);

    $m{id} = exists $o{id} ? $o{id} : $next_id++;
    delete $m{id} unless defined $m{id};

    my %p = %{$params || {}};

    if (($o{era} || 'modern') eq 'modern') {
        $p{_meta} = {
            'io.modelcontextprotocol/protocolVersion' => $MODERN,
            'io.modelcontextprotocol/clientCapabilities' => {},
            'io.modelcontextprotocol/clientInfo' =>
                { name => 'mcp-test', version => '1.0' },
            %{$p{_meta} || {}},
        };
    }

    $m{params} = \%p if %p || $params;

    return \%m;
}


sub header_value {
    my ($v) = @_;

    return $v if $v =~ /\A[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?\z/
                 && $v !~ /\A=\?base64\?.*\?=\z/;

    utf8::encode($v) if utf8::is_utf8($v);
    return '=?base64?' . encode_base64($v, '') . '?=';
}


# The bytes of a POST with one message (a hash, or the body's bytes).
#   token => BEARER, era => modern | legacy | none, session => ID
#   headers => { NAME => VALUE, [VALUES] or undef (none of it) }
#   host, method, content_length => 0 (none), close => 1, chunked => 1

sub mcp_request {
    my ($uri, $msg, %o) = @_;

    my $body = ref $msg ? JSON::PP->new->utf8->canonical->encode($msg) : $msg;
    my $m = ref $msg ? $msg : eval { JSON::PP->new->utf8->decode($msg) };
    my $era = $o{era} || 'modern';

    my @h = (
        [ 'Host', $o{host} || 'localhost' ],
        [ 'Accept', 'application/json, text/event-stream' ],
        [ 'Content-Type', 'application/json' ],
    );

    push @h, [ 'Authorization', "Bearer $o{token}" ] if defined $o{token};
    push @h, [ 'Mcp-Session-Id', $o{session} ] if defined $o{session};
    push @h, [ 'Connection', 'close' ] if $o{close};

    push @h, [ 'MCP-Protocol-Version', $era eq 'modern' ? $MODERN : $LEGACY ]
        unless $era eq 'none'
               || (ref $m eq 'HASH' && ($m->{method} // '') eq 'initialize');

    if ($era eq 'modern' && ref $m eq 'HASH' && defined $m->{method}
        && !ref $m->{method})
    {
        my $p = ref $m->{params} eq 'HASH' ? $m->{params} : {};
        my %source = ('tools/call' => 'name', 'prompts/get' => 'name',
                      'resources/read' => 'uri', 'tasks/get' => 'taskId',
                      'tasks/update' => 'taskId', 'tasks/cancel' => 'taskId');
        my $from = $source{$m->{method}};

        push @h, [ 'Mcp-Method', header_value($m->{method}) ];
        push @h, [ 'Mcp-Name', header_value($p->{$from}) ]
            if $from && defined $p->{$from} && !ref $p->{$from};
    }

    if ($o{chunked}) {
        push @h, [ 'Transfer-Encoding', 'chunked' ];
        $body = length $body
              ? sprintf("%x\r\n%s\r\n0\r\n\r\n", length $body, $body)
              : "0\r\n\r\n";

    } elsif ($o{content_length} // 1) {
        push @h, [ 'Content-Length', length $body ];
    }

    for my $n (sort keys %{$o{headers} || {}}) {
        my $v = $o{headers}{$n};
        @h = grep { lc $_->[0] ne lc $n } @h;
        push @h, map { [ $n, $_ ] } ref $v ? @$v : defined $v ? $v : ();
    }

    return ($o{method} || 'POST') . " $uri HTTP/1.1\r\n"
           . join('', map { "$_->[0]: $_->[1]\r\n" } @h) . "\r\n$body";
}


# sends, and returns the MCP::Conn: for streams, pipelining, aborts

sub mcp_start {
    my ($uri, $msg, %o) = @_;
    return http_start(mcp_request($uri, $msg, %o), %o);
}


sub mcp_post {
    my ($uri, $msg, %o) = @_;
    return mcp_start($uri, $msg, %o)->read_response(%o);
}


sub call_tool {
    my ($uri, $name, $arguments, %o) = @_;
    return mcp_post($uri, rpc('tools/call',
        { name => $name, arguments => $arguments || {} }, %o), %o);
}


sub list_tools {
    my ($uri, %o) = @_;
    return mcp_post($uri, rpc('tools/list', {}, %o), %o);
}


# what the gateway calls a new session of the legacy era

sub legacy_session {
    my ($uri, %o) = @_;
    my %init = (protocolVersion => $LEGACY, capabilities => {},
                clientInfo => { name => 'mcp-test', version => '1.0' });

    return mcp_post($uri, rpc('initialize', \%init, era => 'legacy'), %o,
                    era => 'legacy')->{headers}{'mcp-session-id'};
}


1;

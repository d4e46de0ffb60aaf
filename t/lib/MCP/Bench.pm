package MCP::Bench;

# What the programs that measure share (t/bench/run, t/bench/peers/run): the
# requests, the load that wrk makes of them, the CPU time of a gateway's
# processes, and the statistics.
#
#     my $b = MCP::Bench->new($t, seconds => 1, connections => 64);
#     $b->write_requests;
#     my $r = $b->load($case);            # requests, us, p50, p99, bytes
#
# A case is a hash: port (a number for port()), path, request (which of
# write_requests), tokens (which of the files NAME.tokens), start (0; counts up,
# so that each token has its turn).  Everything is pinned to one CPU, or with
# two_cpus => 1 the gateway to one, upstream and wrk to the other.

use strict;
use warnings;

use Exporter qw/ import /;
use JSON::PP ();
use List::Util qw/ sum /;
use POSIX ();

use MCP::Test ();

our @EXPORT_OK = qw/ median quantile /;

my $json = JSON::PP->new->canonical;
our $MODULES = '/usr/lib/nginx/modules';

my $dir = __FILE__ =~ s![^/]*$!!r . '../../bench';


sub new {
    my ($class, $t, %o) = @_;
    my $self = bless { t => $t, seconds => 1, connections => 64, %o }, $class;

    my ($list) = `taskset -cp $$` =~ /: (\S+)/ or die "no taskset\n";
    my @cpus = map { /(\d+)-(\d+)/ ? $1 .. $2 : $_ } split /,/, $list;

    splice @cpus, 1 unless $o{two_cpus};
    $self->{cpus} = \@cpus;

    return $self;
}


# the CPU of the gateway, and that of all others

sub gateway_cpu { $_[0]{cpus}[0] }
sub other_cpu { $_[0]{cpus}[-1] }


# a file of t/bench

sub read_file {
    my ($name) = @_;

    open my $fh, '<', "$dir/$name" or die "$name: $!";
    local $/;
    return <$fh>;
}


# The head of an nginx.conf: one worker, on this CPU.  With modules (names in
# nginx's directory) or without any, ours not among them.

sub worker {
    my ($t, $cpu, %o) = @_;

    return ($o{ours} ? '%%GLOBALS%%'
            : join('', map { "load_module $MODULES/$_.so;\n" }
                       @{$o{modules} || []})
              . ($> == 0 ? "user root;\n" : '') . "daemon off;\n"
              . "pid $t->{dir}/nginx.pid;\n"
              . "error_log $t->{dir}/error.log warn;\n")

           # the mask of one CPU

           . "worker_processes 1;\nworker_cpu_affinity 1" . '0' x $cpu . ";\n"
           . ($o{files} ? "worker_rlimit_nofile $o{files};\n" : '') . "\n"
           . 'events { worker_connections ' . ($o{connections} || 2048)
           . "; }\n";
}


# ---- requests

# A tools/list as a server of so many tools writes it, compact; 30 are 22 KB.

sub list {
    my ($count) = @_;
    my @verbs = qw/ search create read update close delete comment_on export
                    assign label link watch move archive restore /;
    my @tools;

    NOUN:
    for my $noun ('issue', 'project', map { "thing_$_" } 1 .. $count) {
        for my $verb (@verbs) {
            last NOUN if @tools == $count;

            push @tools, {
                name => "${verb}_$noun",
                description => "Tries to $verb one $noun, or several of them"
                    . " when a query is given; what was done is in the"
                    . " result, with links.",
                inputSchema => {
                    type => 'object',
                    properties => {
                        project => { type => 'string', description =>
                            'Key of the project, as in "SANDBOX"' },
                        key => { type => 'string', description =>
                            "Key of the $noun" },
                        limit => { type => 'integer', minimum => 1,
                                   maximum => 1000, default => 50 },
                        fields => { type => 'array', items =>
                            { type => 'string' }, description =>
                            "Members of the $noun that are wanted; all" },
                        dry_run => { type => 'boolean', default =>
                            JSON::PP::false },
                    },
                    required => [ 'project', 'key' ],
                    '$schema' => 'http://json-schema.org/draft-07/schema#',
                },
                annotations => { readOnlyHint => JSON::PP::false,
                                 destructiveHint => JSON::PP::true },
            };
        }
    }

    return $json->encode({ jsonrpc => '2.0', id => 7,
                           result => { tools => \@tools } });
}


# The files that the upstream has: NAME.json, NAME.sse

sub write_list {
    my ($self, $name, $count) = @_;
    my $list = list($count);

    mkdir $self->{t}->dir . '/files';
    $self->{t}->write_file("files/$name.json", $list);
    $self->{t}->write_file("files/$name.sse",
                           "event: message\ndata: $list\n\n");
}


sub write_stream {
    my ($self) = @_;

    $self->{t}->write_file('files/stream.sse', join '', map {
        "event: message\nid: $_\ndata: " . $json->encode({
            jsonrpc => '2.0', method => 'notifications/progress',
            params => { progressToken => 7, progress => $_, total => 100,
                        message => "page $_ of 100 was read and indexed" },
        }) . "\n\n"
    } 1 .. 100);
}


# A head and a body for each kind of request: NAME.head, NAME.body

sub write_requests {
    my ($self) = @_;
    my $t = $self->{t};
    my $head = "Host: mcp.example.com\n"
               . "Accept: application/json, text/event-stream\n"
               . "Content-Type: application/json\nUser-Agent: bench/1.0\n";
    my %arguments = (project => 'SANDBOX', priority => 'normal',
        summary => 'The list of reports is empty after an upgrade',
        description => 'Since the upgrade of last night the list is empty '
            . 'for everybody who is in more than one team. ' x 4,
        labels => [ 'reports', 'regression' ], estimate => 3);
    my %calls = (
        call => rpc('tools/call', name => 'create_issue',
                    arguments => \%arguments),
        denied => rpc('tools/call', name => 'delete_issue',
                      arguments => { project => 'LIVE', key => 'LIVE-1' }),
        hold => rpc('subscriptions/listen', notifications =>
                    { toolsListChanged => JSON::PP::true }),
        (map { ($_ => rpc('tools/list')) } qw/ list event stream /),
    );

    for my $name (keys %calls) {
        my $m = $calls{$name};

        $t->write_file("$name.body", $json->encode($m));
        $t->write_file("$name.head", "${head}Mcp-Method: $m->{method}\n"
            . "MCP-Protocol-Version: $MCP::Test::MODERN\n"
            . ($m->{params}{name} ? "Mcp-Name: $m->{params}{name}\n" : ''));
    }

    my %legacy = %{$calls{call}};

    $legacy{params} = { %{$legacy{params}} };
    delete $legacy{params}{_meta};

    $t->write_file('legacy.body', $json->encode(\%legacy));
    $t->write_file('legacy.head', "${head}MCP-Protocol-Version: "
                                  . "$MCP::Test::LEGACY\n");
}


sub rpc {
    my ($method, %params) = @_;

    return MCP::Test::rpc($method, {
        %params, _meta => { 'io.modelcontextprotocol/clientInfo' =>
                            { name => 'bench', version => '1.0' } } },
        id => 7);
}


# what a token says of its bearer

sub claims {
    return (sub => 'alice@example.com', uid => '00u1a2b3c4d5e6f7g8h9',
        jti => 'AT.kq3mZ0pB7aVdT2wE9sYxLr5uHnGcJfQ1',
        scp => [ 'jira.use', 'openid' ],
        groups => [ 'mcp-support', 'mcp-eng', map { "team-$_" } 1 .. 8 ],
        -expires => 3600);
}


# the bytes of one request of a case

sub request {
    my ($self, $case) = @_;
    my $body = $self->{t}->read_file("$case->{request}.body");
    my $head = $self->{t}->read_file("$case->{request}.head");
    my $bytes = "POST $case->{path} HTTP/1.1\n${head}Authorization: Bearer "
                . $self->token($case) . "\nContent-Length: " . length($body)
                . "\n\n";

    return $bytes =~ s/\n/\r\n/gr . $body;
}


sub token {
    my ($self, $case) = @_;

    return (split /\n/, $self->{t}->read_file("$case->{tokens}.tokens"))[0];
}


# ---- measuring

# What these processes have used so far, in seconds, with all their threads; the
# scheduler's own count is in nanoseconds, that of /proc/PID/stat in ticks of
# 10 ms.

sub used {
    my (@pids) = @_;

    return sum map { used_by($_) } @pids;
}


sub used_by {
    my ($pid) = @_;
    my $ns = 0;

    for my $task (glob "/proc/$pid/task/*/schedstat") {
        open my $fh, '<', $task or next;
        $ns += (split ' ', <$fh> // '')[0] // 0;
    }

    return $ns / 1e9 if $ns;

    open my $fh, '<', "/proc/$pid/stat" or die "/proc/$pid/stat: $!";
    my @f = split ' ', (<$fh> =~ s/.*\) //r);
    return ($f[11] + $f[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}


# Some seconds of one case: what wrk counted.  p50 and p99 are in us.

sub load {
    my ($self, $case, %o) = @_;
    my $seconds = $o{seconds} || $self->{seconds};
    my $connections = $o{connections} || $self->{connections};
    my $d = $self->{t}->dir;

    my $said;
    my $wrk = join ' ', map { "'$_'" } 'taskset', '-c', $self->other_cpu,
        'wrk', '-t1', "-c$connections", "-d${seconds}s", '--timeout', '30s',
        '-s', "$dir/load.lua", 'http://127.0.0.1:' . MCP::Test::port($case->{port})
        . $case->{path}, '--', "$d/$case->{request}.head",
        "$d/$case->{request}.body", "$d/$case->{tokens}.tokens",
        $case->{start};

    my %r;

    # none at all: a slow one on a busy machine

    for (1 .. 5) {
        $said = `$wrk 2>&1`;
        %r = $said =~ /(\w+)=(\d+)/g;
        last if $r{requests} || !defined $r{requests};
    }

    die "wrk:\n$said" unless $r{requests};
    die "$case->{name}: $r{errors} errors\n$said" if $r{errors};

    # each token in its turn, also in the next round

    $case->{start} += $r{requests} + $connections;

    return \%r;
}


# The cases in the order of this round (from 1): each round another one.

sub order {
    my ($round, @cases) = @_;
    my @order = $round % 2 ? @cases : reverse @cases;

    push @order, splice @order, 0, $round * 7 % @order;

    return @order;
}


# ---- statistics

sub median { quantile(0.5, @_) }


sub quantile {
    my ($q, @v) = @_;

    @v = sort { $a <=> $b } @v;

    my $at = $q * $#v;
    my $i = int $at;

    return $i == $#v ? $v[$i] : $v[$i] + ($at - $i) * ($v[$i + 1] - $v[$i]);
}


1;

package MCP::Upstream;

# An MCP server as a test wants it: on its own port, in processes of its own,
# every request on record as the bytes that came, every answer as the test
# says.
#
#     my $up = MCP::Upstream->start($t, port => 8081);
#     $up->answer({ result => { tools => [] } });     # for the next request
#     ...
#     my ($req) = $up->requests(1);                   # waits for one
#     is($req->{headers}{authorization}, ..., ...);
#
# Without an answer() waiting, `handler => sub { my ($req) = @_; return {...} }`
# answers, and without one of those a small MCP server of both eras with the
# tools, prompts and resources of `tools => [...]` etc.
#
# An answer is a hash:
#   status, headers   default 200; headers is a hash or a list of pairs
#   result | error    a JSON-RPC response with the request's id as it was sent
#   json              any value as JSON
#   body              bytes; %%ID%% is the request's id as it was sent
#   sse               a list of events: { data, event, id, retry, comment }
#                     (data: text or a hash for JSON), text as it is, or a
#                     number: seconds to wait
#   raw               the whole response, bytes; then the connection is closed
#   as_sse => 1       result, error or json as one event
#   chunked => 1      (default for sse) else Content-Length
#   length => 0       neither: until the connection closes; N: N is what it says
#   split => 1|N      writes of N bytes; delay => s between them
#   parts => [...]    the body in these pieces; numbers wait
#   wait => s         before the answer
#   cut => N          only the first N bytes of the body, then close
#   close => 1        close after the answer; reset => 1 with a RST
#   hang => s         no answer at all for so long, then close

use strict;
use warnings;

use Fcntl qw/ LOCK_EX O_WRONLY O_APPEND O_CREAT /;
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use MIME::Base64 qw/ decode_base64 encode_base64 /;
use POSIX qw/ WNOHANG /;
use Socket qw/ IPPROTO_TCP TCP_NODELAY SOL_SOCKET SO_LINGER /;
use Time::HiRes qw/ time sleep /;

use MCP::Test ();


# options: port (a number for port(), default 8081), handler, tools, prompts,
# resources, templates (names, or hashes as they stand in the lists)

sub start {
    my ($class, $t, %o) = @_;

    my $n = $o{port} || 8081;
    my $port = MCP::Test::port($n);
    my $self = bless {
        %o, t => $t, port => $port, seen => 0,
        record => $t->dir . "/upstream-$n.requests",
        queue => $t->dir . "/upstream-$n.answers",
    }, $class;

    my $listen = IO::Socket::INET->new(
        Proto => 'tcp', LocalAddr => "127.0.0.1:$port",
        Listen => 64, ReuseAddr => 1,
    ) or die "listen on $port: $!";

    $self->{pid} = $t->run_daemon(sub { $self->serve($listen) });
    close $listen;

    return $self;
}


sub stop {
    my ($self) = @_;

    kill TERM => $self->{pid};
    waitpid $self->{pid}, 0;
    @{$self->{t}{daemons}} = grep { $_ != $self->{pid} }
                             @{$self->{t}{daemons}};
}


# ---- the test's side

# answers for the next requests, in this order

sub answer {
    my ($self, @answers) = @_;

    $self->queue(sub { (@_, @answers) });
    return $self;
}


# forgets the answers that nobody asked for

sub clear {
    my ($self) = @_;
    $self->queue(sub { () });
}


# All requests so far; waits until there are $n.  A request: method, uri,
# version, head (bytes), headers (lower-case names, joined), header_list,
# body (bytes, dechunked), json, id (as it was written), connection (a number
# for each), time.

sub requests {
    my ($self, $n, %o) = @_;

    return grep { !$_->{event} } $self->records($n, 0, %o);
}


# those since the last call, at least $n (default 1) when they come in time

sub requests_next {
    my ($self, $n, %o) = @_;

    $n //= 1;
    $self->requests($self->{seen} + $n, %o);
    sleep($o{settle} // 0.05);

    my @all = $self->requests(0);
    my @new = @all[$self->{seen} .. $#all];
    $self->{seen} = @all;

    return wantarray ? @new : $new[-1];
}


# what happened else: { event => 'aborted', connection, time } when the gateway
# went away in the middle of an answer

sub events {
    my ($self, $n, %o) = @_;

    return grep { $_->{event} } $self->records($n, 1, %o);
}


sub records {
    my ($self, $n, $events, %o) = @_;
    my $r = $self->{records} ||= [];

    MCP::Test::wait_until($o{timeout} // $MCP::Test::TIMEOUT, sub {
        $self->read_records;

        my @counted = grep { !$_->{event} == !$events } @$r;
        return @counted >= ($n || 0);
    });

    return @$r;
}


# those that are new in the file; each is decoded once

sub read_records {
    my ($self) = @_;

    open my $fh, '<:raw', $self->{record} or return;
    seek $fh, $self->{offset} || 0, 0;

    local $/ = "\n";

    while (my $line = <$fh>) {
        last unless $line =~ s/\n\z//;

        my ($head, $body) = split /\t/, $line, 2;
        my $r = JSON::PP->new->latin1->decode($head);

        $self->{offset} = tell $fh;
        push @{$self->{records}}, $r;
        next if $r->{event};

        $r->{body} = decode_base64($body);
        my $json = eval {
            JSON::PP->new->utf8->allow_nonref->decode($r->{body})
        };
        $r->{json} = $json if defined $json;
    }
}


# ---- shared by both: the queue of answers

sub queue {
    my ($self, $change) = @_;

    open my $lock, '>>', "$self->{queue}.lock" or die "$self->{queue}: $!";
    flock $lock, LOCK_EX;

    my $text = '[]';

    if (open my $fh, '<:raw', $self->{queue}) {
        local $/;
        $text = <$fh>;
    }

    my $codec = JSON::PP->new->latin1;
    my @left = $change->(@{$codec->decode($text)});

    open my $fh, '>:raw', "$self->{queue}.new" or die "$self->{queue}: $!";
    print $fh $codec->encode(\@left);
    close $fh;
    rename "$self->{queue}.new", $self->{queue};
}


# ---- the server's side

sub serve {
    my ($self, $listen) = @_;
    my $connection = 0;

    $SIG{CHLD} = 'IGNORE';
    end_with_parent();

    my %children;
    $SIG{TERM} = sub { kill KILL => keys %children; POSIX::_exit(0) };

    while (1) {
        my $s = $listen->accept or next;
        $connection++;

        my $pid = fork;

        if (defined $pid && $pid == 0) {
            $SIG{TERM} = 'DEFAULT';
            close $listen;

            end_with_parent();

            eval { $self->connection($s, $connection) };
            warn $@ if $@;
            POSIX::_exit(0);
        }

        $children{$pid} = 1 if $pid;
        delete @children{grep { !kill 0 => $_ } keys %children};
        close $s;
    }
}


# a test, or a stub, that is killed leaves nothing behind

sub end_with_parent {
    my $parent = getppid;

    $SIG{ALRM} = sub {
        POSIX::_exit(0) if getppid != $parent;
        alarm 1;
    };

    alarm 1;
}


sub connection {
    my ($self, $s, $number) = @_;
    my $buf = '';

    setsockopt($s, IPPROTO_TCP, TCP_NODELAY, 1);

    while (my $req = read_request($s, \$buf)) {
        $req->{connection} = $number;
        $req->{time} = time;
        $self->record($req);

        # what the stub's own server looks at; long text takes JSON::PP long

        (my $short = $req->{body}) =~ s/"[^"\\]{10000,}"/""/g;
        my $json = eval {
            JSON::PP->new->utf8->allow_nonref->decode($short)
        };
        $req->{json} = $json if defined $json;

        my $answer;
        $self->queue(sub { $answer = shift; @_ });

        $answer ||= $self->{handler}->($req) if $self->{handler};
        $answer ||= $self->mcp_server($req);

        my $keep = $self->send_answer($s, $req, $answer);

        if ($keep < 0) {
            $self->record({ event => 'aborted', connection => $number,
                            time => time });
        }

        last if $keep <= 0;
        last if lc($req->{headers}{connection} // '') eq 'close'
                || $req->{version} eq 'HTTP/1.0';
    }
}


sub record {
    my ($self, $what) = @_;

    my %head = %$what;
    my $body = delete $head{body} // '';

    my $line = JSON::PP->new->latin1->canonical->encode(\%head) . "\t"
               . encode_base64($body, '') . "\n";

    sysopen my $fh, $self->{record}, O_WRONLY | O_APPEND | O_CREAT, 0644
        or die "$self->{record}: $!";
    flock $fh, LOCK_EX;

    for (my $off = 0; $off < length $line; ) {
        my $n = syswrite $fh, $line, length($line) - $off, $off;
        next if !defined $n && $!{EINTR};
        die "$self->{record}: $!" unless $n;
        $off += $n;
    }
}


sub read_more {
    my ($s, $buf) = @_;

    while (1) {
        my $n = sysread $s, $$buf, 65536, length $$buf;
        next if !defined $n && $!{EINTR};
        return $n;
    }
}


sub read_request {
    my ($s, $buf) = @_;

    while ($$buf !~ /\r\n\r\n/) {
        read_more($s, $buf) or return undef;
    }

    $$buf =~ s/\A(.*?\r\n)\r\n//s;
    my $head = $1;
    my ($line, @lines) = split /\r\n/, $head;
    my ($method, $uri, $version) = split / /, $line;
    my (%h, @list);

    for (@lines) {
        my ($n, $v) = /^([^:]+):\s*(.*)$/s or next;
        push @list, [$n, $v];
        $n = lc $n;
        $h{$n} = exists $h{$n} ? "$h{$n}, $v" : $v;
    }

    my $body = '';

    if (lc($h{'transfer-encoding'} // '') eq 'chunked') {
        while (1) {
            while ($$buf !~ /\A([0-9a-f]+)[^\r\n]*\r\n/i) {
                read_more($s, $buf) or return undef;
            }

            my $n = hex $1;
            $$buf =~ s/\A[^\r\n]+\r\n//;

            while (length $$buf < $n + 2) {
                read_more($s, $buf) or return undef;
            }

            $body .= substr $$buf, 0, $n, '';
            substr $$buf, 0, 2, '';
            last if $n == 0;
        }

    } elsif ($h{'content-length'}) {
        while (length $$buf < $h{'content-length'}) {
            read_more($s, $buf) or return undef;
        }

        $body = substr $$buf, 0, $h{'content-length'}, '';
    }

    # the id of the envelope as it was written; good enough for a stub, which
    # sees what the gateway let through

    my ($id) = $body =~ /"id"\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9.eE+-]+|null)/;

    return { method => $method, uri => $uri, version => $version,
             head => $head, headers => \%h, header_list => \@list,
             body => $body, id => $id };
}


sub encode {
    return JSON::PP->new->utf8->canonical->allow_nonref->encode($_[0]);
}


# the body as pieces: strings to send, references to seconds to wait

sub pieces {
    my ($a, $id) = @_;
    my $text;

    if ($a->{parts}) {
        return map { /\A[0-9.]+\z/ ? \(my $s = $_) : $_ } @{$a->{parts}};
    }

    if ($a->{sse}) {
        return map {
            ref $_ ? event($_, $id) : /\A[0-9.]+\z/ ? \(my $s = $_) : $_
        } @{$a->{sse}};
    }

    for my $k (qw/ result error /) {
        $text = qq({"jsonrpc":"2.0","id":$id,"$k":) . encode($a->{$k}) . '}'
            if exists $a->{$k};
    }

    $text = encode($a->{json}) if exists $a->{json};
    $text = $a->{body} if exists $a->{body};
    $text //= '';
    $text =~ s/%%ID%%/$id/g;

    return event({ event => 'message', data => $text }, $id) if $a->{as_sse};
    return $text;
}


sub event {
    my ($e, $id) = @_;
    my $text = defined $e->{comment} ? ": $e->{comment}\n" : '';

    for (qw/ event id retry /) {
        $text .= "$_: $e->{$_}\n" if defined $e->{$_};
    }

    if (defined $e->{data}) {
        my $data = ref $e->{data} ? encode($e->{data}) : $e->{data};
        $data =~ s/%%ID%%/$id/g;
        $text .= "data: $_\n" for length $data ? split(/\n/, $data, -1) : '';
    }

    return "$text\n";
}


# 1: keep the connection; 0: close it; -1: the gateway closed it before the end

sub send_answer {
    my ($self, $s, $req, $a) = @_;
    my $id = $req->{id} // 'null';

    return -1 if $a->{wait} && !pause($s, $a->{wait});

    if ($a->{hang}) {
        return pause($s, $a->{hang}) ? 0 : -1;
    }

    if (defined $a->{raw}) {
        (my $raw = $a->{raw}) =~ s/%%ID%%/$id/g;
        setsockopt($s, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0))
            if $a->{reset};
        return put($s, $raw, $a) ? 0 : -1;
    }

    my @pieces = pieces($a, $id);
    my $stream = $a->{sse} || $a->{as_sse};
    my $length = 0;
    $length += length for grep { !ref } @pieces;

    my $chunked = $a->{chunked} // $stream;
    my $until_close = defined $a->{length} && !$a->{length};
    my @h = ref $a->{headers} eq 'ARRAY' ? @{$a->{headers}}
          : map { [ $_, $a->{headers}{$_} ] } sort keys %{$a->{headers} || {}};

    push @h, [ 'Content-Type',
               $stream ? 'text/event-stream' : 'application/json' ]
        if (@pieces > 1 || $length) && !grep { lc $_->[0] eq 'content-type' } @h;

    if ($until_close) {
        push @h, [ 'Connection', 'close' ];

    } elsif ($chunked) {
        push @h, [ 'Transfer-Encoding', 'chunked' ];

    } elsif (($a->{status} || 200) != 204) {
        push @h, [ 'Content-Length', $a->{length} || $length ];
    }

    my $status = $a->{status} || 200;

    put($s, "HTTP/1.1 $status Stub\r\n"
            . join('', map { "$_->[0]: $_->[1]\r\n" } @h) . "\r\n", {})
        or return -1;

    my $left = $a->{cut};

    for my $piece (@pieces) {
        if (ref $piece) {
            pause($s, $$piece) or return -1;
            next;
        }

        my $p = $piece;
        my $stop;

        if (defined $left && length $p >= $left) {
            $p = substr $p, 0, $left;
            $stop = 1;
        }

        $left -= length $p if defined $left;

        if (length $p) {
            $p = sprintf("%x\r\n%s\r\n", length $p, $p) if $chunked;
            put($s, $p, $a) or return -1;
        }

        if ($stop) {
            setsockopt($s, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0))
                if $a->{reset};
            return 0;
        }
    }

    put($s, "0\r\n\r\n", $a) or return -1 if $chunked && !$until_close;

    setsockopt($s, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0)) if $a->{reset};

    return $a->{close} || $a->{reset} || $until_close ? 0 : 1;
}


# waits; 0 when the other side closed meanwhile

sub pause {
    my ($s, $seconds) = @_;
    my $end = time + $seconds;

    while ((my $wait = $end - time) > 0) {
        IO::Select->new($s)->can_read($wait < 0.2 ? $wait : 0.2) or next;

        my $n = recv $s, my $peek, 1, Socket::MSG_PEEK();
        return 0 if !defined $n || length $peek == 0;
        sleep($wait < 0.02 ? $wait : 0.02);
    }

    return 1;
}


sub put {
    my ($s, $bytes, $a) = @_;
    my $size = $a->{split} || ($ENV{MCP_TEST_SPLIT} ? 1 : 0);

    for my $p ($size ? unpack "(a$size)*", $bytes : $bytes) {
        my $off = 0;

        while ($off < length $p) {
            my $n = syswrite $s, $p, length($p) - $off, $off;
            next if !defined $n && $!{EINTR};
            return 0 unless $n;
            $off += $n;
        }

        sleep $a->{delay} if $a->{delay};
    }

    return 1;
}


# ---- a small MCP server

sub named {
    my ($key, @list) = @_;

    return [ map {
        ref $_ ? $_
        : $key eq 'uri' ? { uri => $_, name => $_ }
        : $key eq 'uriTemplate' ? { uriTemplate => $_, name => $_ }
        : { name => $_, description => "does $_",
            inputSchema => { type => 'object' } }
    } @list ];
}


sub mcp_server {
    my ($self, $req) = @_;
    my $m = $req->{json};

    if ($req->{method} eq 'GET') {
        return { sse => [ { comment => 'hello' } ] };
    }

    return { status => 204 } if $req->{method} eq 'DELETE';
    return { status => 400, error => { code => -32700, message => 'Parse' } }
        if ref $m ne 'HASH';
    return { status => 202 } if !defined $req->{id} || !defined $m->{method};

    my $p = ref $m->{params} eq 'HASH' ? $m->{params} : {};
    my $modern = $p->{_meta}
                 && $p->{_meta}{'io.modelcontextprotocol/protocolVersion'};
    my %base = $modern ? (resultType => 'complete') : ();
    my %list = $modern ? (%base, ttlMs => 60000, cacheScope => 'public') : ();
    my $method = $m->{method};

    if ($method eq 'initialize') {
        return {
            headers => { 'Mcp-Session-Id' => "stub-$$-" . int time },
            result => {
                protocolVersion => $p->{protocolVersion},
                capabilities => { tools => {}, prompts => {},
                                  resources => {} },
                serverInfo => { name => 'stub', version => '1.0' },
            },
        };
    }

    if ($method eq 'server/discover') {
        return { result => {
            %list, supportedVersions => [ $MCP::Test::MODERN ],
            capabilities => { tools => {}, prompts => {}, resources => {} },
            serverInfo => { name => 'stub', version => '1.0' },
        } };
    }

    if ($method eq 'tools/list') {
        return { result => { %list, tools =>
                     named('name', @{$self->{tools} || [qw/ echo add /]}) } };
    }

    if ($method eq 'prompts/list') {
        return { result => { %list, prompts =>
                     named('name', @{$self->{prompts} || ['greet']}) } };
    }

    if ($method eq 'resources/list') {
        return { result => { %list, resources =>
                     named('uri', @{$self->{resources} || ['stub://a']}) } };
    }

    if ($method eq 'resources/templates/list') {
        return { result => { %list, resourceTemplates =>
                     named('uriTemplate', @{$self->{templates} || []}) } };
    }

    if ($method eq 'tools/call') {
        return { result => { %base, content => [ {
            type => 'text',
            text => "called $p->{name} with " . encode($p->{arguments} // {}),
        } ], isError => JSON::PP::false } };
    }

    if ($method eq 'prompts/get') {
        return { result => { %base, messages => [] } };
    }

    if ($method eq 'resources/read') {
        return { result => { %base, contents => [
            { uri => $p->{uri}, text => 'text' } ] } };
    }

    return { result => { %base } }
        if $method eq 'ping' || $method =~ m!^(?:logging|resources|tasks)/!;

    return { status => $modern ? 404 : 200,
             error => { code => -32601, message => 'Method not found' } };
}


1;

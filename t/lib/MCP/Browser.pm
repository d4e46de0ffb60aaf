package MCP::Browser;

# A browser, as far as it matters: cookies as RFC 6265bis has them (the __Host-
# prefix, SameSite), redirects, links and forms, the Referer that the policy of
# the page before allows.  No script: the pages have none.
#
#     my $b = MCP::Browser->new;
#     my $page = $b->get('http://127.0.0.1:8080/connect/');
#     $page->{status}, {headers}, {body}, {url} (after redirects)
#     $b->submit($page, qr/disconnect/);          # the form with this action
#     $b->{follow} = 0;                           # stop at each redirect
#     $b->{log}                                   # what was asked and answered
#     $b->{via} = sub { $other{$_[0]} || $_[0] }; # a port in place of another
#
# All is asked by HTTP over one connection each, whatever the host's name: a
# URL with https goes to the same port with `tls`.  Secure cookies are kept and
# sent, as browsers do for loopback.

use strict;
use warnings;

use IO::Socket::INET;
use Time::HiRes ();

use MCP::Test ();


sub new {
    my ($class, %o) = @_;
    return bless { cookies => {}, log => [], follow => 1, %o }, $class;
}


sub get { my ($self, $url, %o) = @_; $self->go('GET', $url, %o) }


sub post {
    my ($self, $url, $form, %o) = @_;
    my $body = ref $form ? join '&', map { escape($_->[0]) . '='
                                           . escape($_->[1]) } @$form : $form;

    return $self->go('POST', $url, body => $body, %o);
}


sub escape {
    my ($s) = @_;
    utf8::encode($s) if utf8::is_utf8($s);
    $s =~ s/([^A-Za-z0-9._~-])/sprintf '%%%02X', ord $1/ge;
    return $s;
}


sub unescape {
    my ($s) = @_;
    my %c = (lt => '<', gt => '>', quot => '"', amp => '&');

    $s =~ s/&(lt|gt|quot|amp|[#]\d+|[#]x[0-9a-fA-F]+);/
            $c{$1} || chr($1 =~ m{\A.x(.*)} ? hex $1 : substr $1, 1)/ge;
    return $s;
}


sub origin { $_[0] =~ m!\A(https?://[^/?#]+)! ? $1 : die "no URL: $_[0]" }


# One request, and those that its redirects ask for.
# site => 'cross': another site's page began it; headers => [ [ N, V ] ... ]

sub go {
    my ($self, $method, $url, %o) = @_;

    for my $n (0 .. 20) {
        my $r = $self->ask($method, $url, %o);

        $r->{url} = $url;
        push @{$self->{log}}, $r;

        my $to = $r->{headers}{location};
        return $r if !$self->{follow} || $r->{status} !~ /\A30[1237]\z/
                     || !defined $to;

        # what another origin's redirect leads to is a request of that site

        $to = origin($url) . $to if $to =~ m!\A/!;
        $o{site} = 'cross' if origin($to) ne origin($url);
        ($method, $url) = ('GET', $to);
        delete $o{body};
    }

    die "more than 20 redirects\n";
}


sub ask {
    my ($self, $method, $url, %o) = @_;
    my ($host, $port, $path) = $url =~ m!\Ahttp://([^/:]+):(\d+)(/[^#]*)?!
        or die "no URL of http: $url\n";
    my $peer = ($self->{via} || sub { $_[0] })->($port);
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $peer,
                                  Timeout => 10)
        or die "cannot connect to $url: $!\n";
    my @h = ([ Host => "$host:$port" ], [ Connection => 'close' ],
             [ Accept => 'text/html' ]);
    my @c = $self->cookies_for($host, $method, $o{site} // 'same');

    push @h, [ Cookie => join '; ', @c ] if @c;
    push @h, [ 'Content-Type' => 'application/x-www-form-urlencoded' ],
             [ 'Content-Length' => length $o{body} ] if defined $o{body};

    for my $h (@{$o{headers} || []}) {
        @h = grep { lc $_->[0] ne lc $h->[0] } @h;
        push @h, $h if defined $h->[1];
    }

    my $text = "$method " . ($path // '/') . " HTTP/1.1\r\n"
               . join('', map { "$_->[0]: $_->[1]\r\n" } @h) . "\r\n"
               . ($o{body} // '');

    local $SIG{PIPE} = 'IGNORE';
    local $SIG{ALRM} = sub { die "no answer from $url\n" };

    alarm $MCP::Test::TIMEOUT + 30;
    syswrite $s, $text;

    my $got = '';
    while (sysread $s, my $bytes, 65536) { $got .= $bytes }
    alarm 0;

    my ($head, $body) = split /\r\n\r\n/, $got, 2;
    my ($status, @lines) = split /\r\n/, $head // '';
    my %r = (status => ($status // '') =~ / (\d+)/ ? $1 : 0, raw => $got,
             headers => {}, method => $method, all => []);

    for (@lines) {
        my ($n, $v) = split /:\s*/, $_, 2;
        push @{$r{all}}, [ $n, $v ];
        $r{headers}{lc $n} = exists $r{headers}{lc $n}
                             ? "$r{headers}{lc $n}, $v" : $v;
        $self->keep_cookie($host, $v) if lc $n eq 'set-cookie';
    }

    if (($r{headers}{'transfer-encoding'} // '') =~ /chunked/) {
        my $plain = '';
        while ($body =~ s/\A([0-9a-fA-F]+)\r\n//) {
            my $n = hex $1 or last;
            $plain .= substr $body, 0, $n, '';
            $body =~ s/\A\r\n//;
        }
        $body = $plain;
    }

    $r{body} = $body // '';

    return \%r;
}


# ---- cookies

sub keep_cookie {
    my ($self, $host, $line) = @_;
    my ($pair, @a) = split /\s*;\s*/, $line;
    my ($name, $value) = $pair =~ /\A([^=]+)=(.*)\z/ or return;
    my %a = map { my ($n, $v) = split /=/, $_, 2; (lc $n => $v // 1) } @a;

    die "a cookie that no browser keeps: $line\n"
        if $name =~ /\A__Host-/
           && (!$a{secure} || ($a{path} // '') ne '/' || exists $a{domain});

    if (defined $a{'max-age'} && $a{'max-age'} <= 0) {
        delete $self->{cookies}{$host}{$name};
        return;
    }

    $self->{cookies}{$host}{$name} = { value => $value, %a,
        until => defined $a{'max-age'} ? time + $a{'max-age'} : undef };
}


sub cookies_for {
    my ($self, $host, $method, $site) = @_;
    my $c = $self->{cookies}{$host} || {};

    return map { "$_=$c->{$_}{value}" } grep {
        my $same = lc($c->{$_}{samesite} // 'lax');
        (!defined $c->{$_}{until} || $c->{$_}{until} > time)
        && ($site eq 'same' || $same eq 'none'
            || ($same eq 'lax' && $method eq 'GET'))
    } sort keys %$c;
}


sub cookie { $_[0]{cookies}{$_[1]}{$_[2]}{value} }


# ---- pages

# the forms of a page: { action, method, fields => [ [ N, V ] ... ] }

sub forms {
    my ($self, $page) = @_;
    my @forms;

    while ($page->{body} =~ m!<form\b([^>]*)>(.*?)</form>!gs) {
        my ($head, $inner) = ($1, $2);
        my ($action) = $head =~ /\baction="([^"]*)"/;
        my ($method) = $head =~ /\bmethod="([^"]*)"/;
        my @f;

        while ($inner =~ m!<(?:input|button)\b([^>]*)>!g) {
            my $a = $1;
            my ($n) = $a =~ /\bname="([^"]*)"/ or next;
            my ($v) = $a =~ /\bvalue="([^"]*)"/;
            push @f, [ unescape($n), unescape($v // '') ];
        }

        push @forms, { action => unescape($action // ''), fields => \@f,
                       method => uc($method // 'get') };
    }

    return @forms;
}


# submits the form whose action matches

sub submit {
    my ($self, $page, $re, %o) = @_;
    my ($f) = grep { $_->{action} =~ $re } $self->forms($page);

    die "no form $re in:\n$page->{body}\n" unless $f;

    my $url = $self->absolute($page, $f->{action});

    return $self->post($url, $f->{fields}, %o) if $f->{method} eq 'POST';
    return $self->get("$url?" . join('&', map { escape($_->[0]) . '='
                      . escape($_->[1]) } @{$f->{fields}}), %o);
}


sub links {
    my ($self, $page) = @_;
    return map { unescape($_) } $page->{body} =~ /<a\b[^>]*\bhref="([^"]*)"/g;
}


sub absolute {
    my ($self, $page, $to) = @_;

    return $to if $to =~ m!\Ahttps?://!;
    return origin($page->{url}) . $to if $to =~ m!\A/!;

    my ($base) = $page->{url} =~ m!\A(https?://[^?#]*/)!;

    $to =~ s!\A\./!!;

    while ($to =~ s!\A\.\./!!) {
        $base =~ s![^/]+/\z!!;
    }

    return $base . $to;
}


1;

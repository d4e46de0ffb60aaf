package MCP::Provider;

# An OAuth provider's token endpoint, which keeps books, and misbehaves as the
# test says.
#
#     my $idp = MCP::Provider->start($t, port => 8090,
#                                    clients => { gw => { secret => 's' } });
#     ... token_endpoint @{[ $idp->endpoint ]};  client_id gw; ...
#     my $grant = $idp->grant('alice');       # as after alice's consent
#     $idp->misbehave('status', status => 503, times => 2);
#     ...
#     is($idp->count(kind => 'refresh_token'), 1, 'one refresh');
#     ok($idp->alive($grant), 'the grant lives');
#
# Grants: client_credentials, refresh_token, token exchange, and with
# `redirects` a code: GET /authorize is the page on which a person consents at
# once, and is sent back; POST /revoke ends a grant (RFC 7009).  Clients show who
# they are by client_secret_basic (form-encoded before base64), by
# client_secret_post or by private_key_jwt.  A used refresh token that comes
# again kills its family, access tokens included, but within the grace time.
#
# The books are one file, changed under a lock; every change is in force when
# the call returns, also while requests are under way.
#
# set(NAME => VALUE): what is true of the provider from now on:
#   lifetime => s     of access tokens, default 300; undef: no expires_in
#   rotate => 0|1     a refresh gives a new refresh token, default 1
#   grace => s        a used refresh token still works so long, default 0
#   style => NAME     rfc (default), github, slack, google, atlassian: where errors
#                     stand, what they are called, how a request has to look
#   audience => URL   what an assertion is for, default the endpoint
#   scope => TEXT     granted in place of what was asked for
#   redirects => [URL...]   where a code may go; none: there is no /authorize
#   documents => { PATH => JSON, or an answer of MCP::Upstream }
#   person => NAME    who consents (default alice); undef: nobody is signed in
#   back => { ... }   members of the callback replaced (undef: not in it)
#   iss => TEXT       in the callback (RFC 9207); undef: it has none
#   id_token => { ... }     with `login`: claims of the ID token replaced
#
# misbehave(NAME, ...) is in force until behave(), or for `times => N` requests;
# `only => GRANT` for one kind.  With effect => 1 the books are changed as if
# all was well (the refresh token is used up) and only the answer is bad, with
# effect => 0 they are not; the default is in brackets.
#   slow, seconds => s         [1] the right answer, later
#   hold                       [1] the right answer, after release()
#   silent, seconds => s       [0] no answer, then close (default 60)
#   close | reset              [0] the connection ends without an answer
#   status, status => N, retry_after => s    [0] HTML of that status
#   error, error => NAME, status => N        [0] an error in JSON (400)
#   html | empty               [0] 200, and no JSON
#   truncated, bytes => N      [1] the right answer to its middle
#   trickle, seconds => s      [1] byte by byte, s between two
#   huge, bytes => N           [1] the right answer with a long member
#   headers, bytes => N        [1] header lines without end
#   mac                        [1] token_type mac
#   late, seconds => s         [1] the answer when nobody waits any more
#   change, with => { ... }    [1] members replaced (undef: taken out)
#   body, body => BYTES, status => N, type => TYPE    [0] as it is
#   redirect, to => URL        [0] 302
# Every error repeats the secrets of its request, as some providers do; at the
# end of the test none of them may be in anything that was written.

use strict;
use warnings;

use Digest::SHA qw/ sha256 sha256_hex /;
use Fcntl qw/ LOCK_EX /;
use JSON::PP ();
use MIME::Base64 qw/ decode_base64 decode_base64url encode_base64url /;
use Storable ();
use Time::HiRes qw/ time sleep /;

use MCP::Test ();
use MCP::Upstream;

our $EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
our $ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
our $ASSERTION = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

my %effect = map { $_ => 1 } qw/ slow hold truncated trickle huge headers mac
                                 late change /;
my %known = (%effect, map { $_ => 1 } qw/ silent close reset status error html
                                          empty body redirect /);

my %dead = (rfc => [ 400, 'invalid_grant' ],
            github => [ 200, 'bad_refresh_token' ],
            slack => [ 200, 'invalid_refresh_token' ],
            google => [ 400, 'invalid_grant' ],
            atlassian => [ 403, 'unauthorized_client' ]);
my %stranger = (rfc => [ 401, 'invalid_client' ],
                github => [ 200, 'incorrect_client_credentials' ],
                slack => [ 200, 'bad_client_secret' ],
                google => [ 401, 'invalid_client' ],
                atlassian => [ 401, 'invalid_client' ]);


# Options: name (default idp), port (a number for port(), default 8090), path
# (default /token), tls => N (a number for port(): server_conf() listens there
# with the test's certificate), issuer => MCP::Issuer (subject tokens of an
# exchange are its; without one, JWTs of anybody), login => MCP::Issuer (whose
# keys sign ID tokens: the token endpoint of an OpenID provider), and all of
# set().
# clients => { ID => { secret => TEXT, auth => basic | post (default: either) |
# jwt | none, key => FILE of its key (jwt), grants => [...] } }

sub start {
    my ($class, $t, %o) = @_;
    my $self = bless { t => $t, name => 'idp', port => 8090, path => '/token',
                       map { $_ => $o{$_} }
                       grep { exists $o{$_} }
                       qw/ name port path tls issuer login / }, $class;

    my $dir = $self->{dir} = $t->dir . "/$self->{name}";
    mkdir $dir;

    my %set = (lifetime => 300, rotate => 1, grace => 0, style => 'rfc',
               audience => undef, scope => undef, redirects => undef,
               person => 'alice', back => {}, iss => undef, id_token => {});

    exists $o{$_} and $set{$_} = $o{$_} for keys %set;

    $self->write({ %set, clients => $o{clients} || { gw => {
                     secret => 'gw-secret' } },
                   modes => [], log => [], access => {}, refresh => {},
                   families => {}, jti => {}, codes => {}, serial => 0, held => 0,
                   released => 0, secrets => {} });

    $self->{stub} = MCP::Upstream->start($t, port => $self->{port},
        handler => sub { $self->handle($_[0]) });

    $t->keep_secret($self);

    return $self;
}


sub stop { $_[0]{stub}->stop }


# starts again, with the books as they are

sub restart {
    my ($self) = @_;

    $self->{stub} = MCP::Upstream->start($self->{t}, port => $self->{port},
        handler => sub { $self->handle($_[0]) });
}


# ---- configuration

sub endpoint {
    my ($self, $path) = @_;
    my $at = $self->{tls} ? 'https://localhost:' . MCP::Test::port($self->{tls})
           : 'http://127.0.0.1:' . MCP::Test::port($self->{port});

    return $at . ($path // $self->{path});
}


# with tls: a server {} for the http {} of some nginx

sub server_conf {
    my ($self) = @_;
    my $d = $self->{t}->dir;

    require MCP::Issuer;
    MCP::Issuer::certificate($self->{t});

    return "server { listen 127.0.0.1:" . MCP::Test::port($self->{tls})
           . " ssl; server_name localhost; access_log off;"
           . " ssl_certificate $d/server.pem;"
           . " ssl_certificate_key $d/server.key;"
           . " location / { proxy_pass http://127.0.0.1:"
           . MCP::Test::port($self->{port}) . "; } }\n";
}


# ---- what the test says and asks

sub set {
    my ($self, %o) = @_;
    $self->change(sub { $_[0]{$_} = $o{$_} for keys %o });
    return $self;
}


sub misbehave {
    my ($self, $name, %o) = @_;

    die "unknown misbehaviour $name" unless $known{$name};
    $self->change(sub { push @{$_[0]{modes}}, { name => $name, %o } });

    return $self;
}


sub behave {
    my ($self) = @_;
    $self->change(sub { $_[0]{modes} = []; $_[0]{released}++ });
    return $self;
}


# hold: how many requests wait now; and let them go

sub held { $_[0]->books->{held} }

sub wait_held {
    my ($self, $n) = @_;
    return MCP::Test::wait_until($MCP::Test::TIMEOUT,
                                 sub { $self->held >= ($n // 1) });
}

sub release {
    my ($self) = @_;
    $self->change(sub { $_[0]{released}++ });
    return $self;
}


# A grant of a person, as after a consent: { family, access_token,
# refresh_token, expires_in, expires, scope, user, client }.
# client => ID (default the first), lifetime => s, scope => TEXT

sub grant {
    my ($self, $user, %o) = @_;
    my $g;

    $self->change(sub {
        my ($b) = @_;
        my $family = 'family-' . ++$b->{serial};
        my $client = $o{client} // (sort keys %{$b->{clients}})[0];

        $b->{families}{$family} = { user => $user, client => $client,
                                    scope => $o{scope} // $b->{scope} // '' };
        local $b->{lifetime} = $o{lifetime} if exists $o{lifetime};

        $g = $self->tokens($b, $family);
        $g->{family} = $family;
        $g->{user} = $user;
        $g->{client} = $client;
        $g->{expires} = int time + $g->{expires_in} if $g->{expires_in};
    });

    return $g;
}


# A family, a grant() or a person: does it live (all of the person's)?

sub alive {
    my ($self, $whose) = @_;
    my @f = $self->families($self->books, $whose);

    return @f && !grep({ $_->{dead} } @f) ? 1 : 0;
}


# The person, or an administrator, takes it back: refresh and access tokens.

sub revoke {
    my ($self, $whose) = @_;
    $self->change(sub { $_->{dead} ||= 'revoked'
                            for $self->families($_[0], $whose) });
    return $self;
}


# The access token is over before its time; the grant lives.

sub end_access {
    my ($self, $grant) = @_;
    $self->change(sub {
        $_[0]{access}{sha256_hex($grant->{access_token})}{dead} = 'ended';
    });
    return $self;
}


sub families {
    my ($self, $b, $whose) = @_;
    my $f = $b->{families};

    $whose = $whose->{family} if ref $whose;

    return $f->{$whose} if $f->{$whose};
    return grep { $_->{user} eq $whose } values %$f;
}


# Whose an access token is: { user, client, family, audience, scope, kind,
# serial, expires }, with `bad` (expired, revoked) when it is not good any more;
# undef: none of ours.

sub who {
    my ($self, $token) = @_;
    my $b = $self->books;
    my $a = defined $token ? $b->{access}{sha256_hex($token)} : undef;

    return undef unless $a;

    my $f = $a->{family} ? $b->{families}{$a->{family}} : {};
    my $bad = $f->{dead} || $a->{dead} ? 'revoked'
            : defined $a->{expires} && $a->{expires} <= time ? 'expired'
            : undef;

    return { %$a, bad => $bad };
}


# What was asked: hashes of kind (refresh_token, client_credentials, exchange,
# revoke, by the path /revoke..., with method and by (refresh, access, unknown);
# or what else it said), client, user, result (ok, or the error), mode (what
# was misbehaved), reuse (1: a used refresh token; it killed the family), grace
# (1: it was still good), auth, json (1), params (without secrets), time, done.

sub log { @{$_[0]->books->{log}} }


# How many of them: count(kind => 'refresh_token', result => 'ok', user => ...)

sub count {
    my ($self, %want) = @_;

    return scalar grep {
        my $e = $_;
        !grep { ($e->{$_} // '') ne $want{$_} } keys %want;
    } $self->log;
}


# as count, but waits until there are so many

sub wait_count {
    my ($self, $n, %want) = @_;

    MCP::Test::wait_until($MCP::Test::TIMEOUT,
                          sub { $self->count(%want) >= $n });
    return $self->count(%want);
}


# Everything that must never be read anywhere: client secrets, all tokens that
# were given out, assertions and subject tokens that came.

sub secrets {
    my ($self) = @_;
    my $b = $self->books;

    return sort keys %{{ map { $_ => 1 } keys %{$b->{secrets}},
                         grep { defined } map { $_->{secret} }
                         values %{$b->{clients}} }};
}


# An MCP server behind the gateway that knows for whom it was called: an
# MCP::Upstream on `port` (default 8081) whose tools answer with what who() says
# of the token, and with 401 to one that is not good.  header => NAME
# (authorization), with "Bearer " in front or not.  Whom a response of it is
# for: told($response).

sub resource {
    my ($self, %o) = @_;
    my $header = lc($o{header} // 'authorization');

    return MCP::Upstream->start($self->{t}, port => $o{port} // 8081,
                                handler => sub {
        my ($req) = @_;
        my $v = $req->{headers}{$header};
        my ($token) = ($v // '') =~ /\A(?:Bearer )?(\S+)\z/i;
        my $who = $self->who($token);

        return { status => 401, json => { error => 'invalid_token' },
                 headers => { 'WWW-Authenticate' => 'Bearer' } }
            if !$who || $who->{bad};

        return undef if ($req->{json}{method} // '') ne 'tools/call';

        my $text = JSON::PP->new->canonical->encode($who);
        return { result => { resultType => 'complete', content => [
                 { type => 'text', text => $text } ],
                 isError => JSON::PP::false } };
    });
}


sub told {
    my ($class, $response) = @_;
    my $m = eval { JSON::PP->new->utf8->decode($response->{body}) };

    return undef unless $m && $m->{result};
    return eval { JSON::PP->new->decode($m->{result}{content}[0]{text}) };
}


# ---- the books

sub books { Storable::retrieve("$_[0]{dir}/books") }


sub write {
    my ($self, $b) = @_;

    Storable::nstore($b, "$self->{dir}/books.new");
    rename "$self->{dir}/books.new", "$self->{dir}/books"
        or die "books: $!";
}


# the books, changed by the function, whose value is returned

sub change {
    my ($self, $code) = @_;

    open my $lock, '>>', "$self->{dir}/lock" or die "$self->{dir}/lock: $!";
    until (flock $lock, LOCK_EX) {
        die "$self->{dir}/lock: $!" unless $!{EINTR};
    }

    my $b = $self->books;
    my $got = $code->($b);
    $self->write($b);

    return $got;
}


sub random {
    open my $fh, '<:raw', '/dev/urandom' or die "urandom: $!";
    read $fh, my $bytes, 16;
    return unpack 'H*', $bytes;
}


# ---- an answer

sub handle {
    my ($self, $req) = @_;
    my ($answer, $mode, $serial, $released);
    my $path = (split /\?/, $req->{uri})[0];

    if (my $doc = ($self->books->{documents} || {})->{$path}) {
        $self->change(sub { push @{$_[0]{log}}, { kind => 'document',
                                                  time => time } });
        return ref $doc ? $doc : { json => JSON::PP->new->decode($doc) };
    }

    return $self->authorize($req)
        if $path eq '/authorize' && $self->books->{redirects};

    my $revoke = $path =~ m!\A/revoke!;

    if ($path ne $self->{path} && !$revoke) {
        return { status => 404, body => 'not here' };
    }

    $self->change(sub {
        my ($b) = @_;
        my ($p, $broken) = params($req);
        my $kind = $revoke ? 'revoke' : $p->{grant_type} // '';
        my %entry = (kind => $kind eq $EXCHANGE ? 'exchange' : $kind,
                     time => time,
                     json => ($req->{headers}{'content-type'} // '')
                             =~ /json/ ? 1 : 0);

        note_secrets($b, $req, $p);
        $mode = take_mode($b, $entry{kind});
        $entry{mode} = $mode->{name} if $mode;
        $entry{method} = $req->{method} if $revoke;

        if (!$mode || ($mode->{effect} // $effect{$mode->{name}})) {
            $answer = $broken ? refusal($b, 400, 'invalid_request', $p)
                    : $revoke ? $self->revocation($b, $req, $p, \%entry)
                    : $self->answer($b, $req, $p, \%entry);
        }

        $entry{result} = !$answer ? 'none' : $answer->{error} // 'ok';
        $entry{params} = { map { $_ => $p->{$_} }
                           grep { !/secret|token\z|assertion\z|\Acode/ }
                           keys %$p };
        push @{$b->{log}}, \%entry;

        $serial = $#{$b->{log}};
        $released = $b->{released};
        $b->{held}++ if $mode && $mode->{name} eq 'hold';
        $answer ||= { status => 400, json => error_json($b,
                      $mode->{error} // 'invalid_request', $p) };
    });

    my $status = $answer->{status} // 200;
    my %a = (status => $status, defined $answer->{body}
             ? (body => $answer->{body}) : (json => $answer->{json}),
             headers => { 'Cache-Control' => 'no-store' });

    %a = $self->misbehaved($mode, $released, %a) if $mode;

    $self->change(sub { $_[0]{log}[$serial]{done} = time });

    return \%a;
}


# the parameters, and whether the request is malformed

sub params {
    my ($req) = @_;
    my $type = $req->{headers}{'content-type'} // '';
    my %p;

    if ($type =~ m!\Aapplication/json!) {
        return (ref $req->{json} eq 'HASH' ? $req->{json} : {},
                ref $req->{json} ne 'HASH');
    }

    return ({}, 1) if $type !~ m!\Aapplication/x-www-form-urlencoded!;

    for (split /&/, $req->{body}) {
        my ($n, $v) = map { unescape($_) } split /=/, $_, 2;
        return (\%p, 1) if exists $p{$n};
        $p{$n} = $v // '';
    }

    return (\%p, $req->{method} ne 'POST');
}


sub unescape {
    my ($s) = @_;

    $s =~ tr/+/ /;
    $s =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge;

    return $s;
}


sub note_secrets {
    my ($b, $req, $p) = @_;

    $b->{secrets}{$_} = 1
        for grep { defined && length > 7 }
            @$p{qw/ client_assertion subject_token /},
            ($req->{headers}{authorization} // '') =~ /\ABasic (\S+)/;
}


# The first command that is meant for this kind of request.

sub take_mode {
    my ($b, $kind) = @_;

    for my $m (@{$b->{modes}}) {
        next if defined $m->{only} && $m->{only} ne $kind;

        my $copy = { %$m };

        if (defined $m->{times} && --$m->{times} <= 0) {
            @{$b->{modes}} = grep { $_ != $m } @{$b->{modes}};
        }

        return $copy;
    }

    return undef;
}


sub error_json {
    my ($b, $error, $p) = @_;
    my $text = join ' ', 'refused:',
                    map { defined $p->{$_} ? "$_ $p->{$_}" : () }
                    qw/ client_secret refresh_token subject_token
                        client_assertion /;

    return { $b->{style} eq 'slack' ? (ok => JSON::PP::false) : (),
             error => $error, error_description => $text };
}


sub refusal {
    my ($b, $status, $error, $p) = @_;

    $status = 200 if $b->{style} =~ /\A(?:github|slack)\z/;

    return { status => $status, error => $error,
             json => error_json($b, $error, $p) };
}


sub answer {
    my ($self, $b, $req, $p, $e) = @_;

    return refusal($b, 400, 'invalid_request', $p)
        if $b->{style} eq 'atlassian' && !$e->{json};

    my $client = $self->client($b, $req, $p, $e);
    return refusal($b, @{$stranger{$b->{style}}}, $p) unless defined $client;

    $e->{client} = $client;
    my $grants = $b->{clients}{$client}{grants};

    return refusal($b, 400, 'unauthorized_client', $p)
        if $grants && !grep { $_ eq $e->{kind} } @$grants;

    return $e->{kind} eq 'client_credentials' ? $self->machine($b, $p, $e)
         : $e->{kind} eq 'refresh_token' ? $self->refresh($b, $p, $e)
         : $e->{kind} eq 'exchange' ? $self->exchange($b, $p, $e)
         : $e->{kind} eq 'authorization_code' ? $self->code($b, $p, $e)
         : refusal($b, 400, 'unsupported_grant_type', $p);
}


# ---- who the client is

sub client {
    my ($self, $b, $req, $p, $e) = @_;
    my $basic = $req->{headers}{authorization};
    my ($id, $secret);

    if (defined $p->{client_assertion}) {
        $e->{auth} = 'jwt';
        return undef if defined $basic || defined $p->{client_secret};
        return $self->assertion($b, $p);
    }

    if (defined $basic) {
        $e->{auth} = 'basic';
        my ($coded) = $basic =~ /\ABasic ([A-Za-z0-9+\/]+=*)\z/;
        return undef if !defined $coded
                        || defined $p->{client_secret}
                        || ($b->{style} =~ /github|atlassian/
                            && $e->{kind} ne 'revoke');
        my @pair = split /:/, decode_base64($coded), -1;
        return undef if @pair != 2;
        ($id, $secret) = map { unescape($_) } @pair;

    } else {
        ($id, $secret) = @$p{qw/ client_id client_secret /};
        $e->{auth} = defined $secret ? 'post' : 'none';
    }

    my $c = defined $id ? $b->{clients}{$id} : undef;
    return undef unless $c;

    my $auth = $c->{auth} // ($c->{key} ? 'jwt' : 'secret');

    return undef if $auth eq 'jwt'
                    || ($auth =~ /basic|post|none/ && $auth ne $e->{auth});

    if ($e->{auth} ne 'none') {
        return undef if !defined $c->{secret} || $c->{secret} ne $secret;

    } elsif ($auth ne 'none') {
        return undef;
    }

    return $id;
}


# RFC 7523: signed by the client's key, for this endpoint, once

sub assertion {
    my ($self, $b, $p) = @_;

    return undef if ($p->{client_assertion_type} // '') ne $ASSERTION;

    my ($claims, $head) = jwt($p->{client_assertion}) or return undef;
    my $id = $claims->{iss} // '';
    my $key = $b->{clients}{$id}{key} or return undef;
    my $aud = $b->{audience} // $self->endpoint;
    my @aud = ref $claims->{aud} ? @{$claims->{aud}} : $claims->{aud} // '';
    my $now = time;

    return undef if ($claims->{sub} // '') ne $id
                    || (defined $p->{client_id} && $p->{client_id} ne $id)
                    || @aud != 1 || $aud[0] ne $aud
                    || ($claims->{exp} // '') !~ /\A\d+\z/
                    || $claims->{exp} <= $now || $claims->{exp} > $now + 300
                    || !length($claims->{jti} // '')
                    || $b->{jti}{"$id $claims->{jti}"}
                    || !$self->signed($p->{client_assertion}, $head, $key);

    $b->{jti}{"$id $claims->{jti}"} = 1;

    return $id;
}


# its claims and header, or nothing

sub jwt {
    my ($text) = @_;

    $text =~ /\A([\w-]+)\.([\w-]+)\.[\w-]+\z/ or return;

    my ($head, $claims) = map {
        eval { JSON::PP->new->utf8->decode(decode_base64url($_)) }
    } $1, $2;

    return ref $head eq 'HASH' && ref $claims eq 'HASH' ? ($claims, $head) : ();
}


# RS256 or ES256, by the openssl program; the file has the private or the
# public key

sub signed {
    my ($self, $text, $head, $file) = @_;
    my ($input, $sig) = $text =~ /\A(.*)\.(.*)\z/;
    my $base = "$self->{dir}/verify-$$";
    my $alg = $head->{alg} // '';

    return 0 unless $alg =~ /\A(?:RS|ES)256\z/;

    $sig = decode_base64url($sig);

    if ($alg eq 'ES256') {
        return 0 if length $sig != 64;
        $sig = der_signature(unpack 'a32 a32', $sig);
    }

    for (["$base.in", $input], ["$base.sig", $sig]) {
        open my $fh, '>:raw', $_->[0] or die "$_->[0]: $!";
        print $fh $_->[1];
        close $fh;
    }

    # the stub's server does not wait for its children

    local $SIG{CHLD} = 'DEFAULT';

    system("openssl pkey -in $file -pubout -out $base.pem 2>/dev/null") == 0
        or system("openssl pkey -pubin -in $file -out $base.pem") == 0
        or return 0;

    my $of = `openssl pkey -pubin -in $base.pem -noout -text 2>/dev/null`;

    # an algorithm that is not the key's is not tried

    my $ok = ($alg eq 'ES256') == ($of =~ /prime256v1|P-256/ ? 1 : 0);

    $ok &&= system("openssl dgst -sha256 -verify $base.pem"
                   . " -signature $base.sig $base.in >/dev/null 2>&1") == 0;

    unlink map { "$base.$_" } qw/ in sig pem /;

    return $ok ? 1 : 0;
}


sub der_signature {
    my @n = map {
        (my $n = $_) =~ s/\A\0+//;
        $n = "\0$n" if $n eq '' || ord $n > 127;
        pack 'C C a*', 2, length $n, $n;
    } @_;

    my $both = join '', @n;
    return pack 'C C a*', 0x30, length $both, $both;
}


# ---- grants

sub machine {
    my ($self, $b, $p, $e) = @_;

    return { json => $self->access($b, {
        kind => 'client', user => undef, client => $e->{client},
        audience => $p->{audience}, resource => $p->{resource},
        scope => $b->{scope} // $p->{scope} }) };
}


# ---- codes

# The page: the person consents, and is sent back with a code.

sub authorize {
    my ($self, $req) = @_;
    my ($query) = $req->{uri} =~ /\?(.*)/;
    my (%q, $twice);

    for (split /&/, $query // '') {
        my ($n, $v) = map { unescape($_) } split /=/, $_, 2;
        $twice = $n if exists $q{$n};
        $q{$n} = $v // '';
    }

    return $self->change(sub {
        my ($b) = @_;

        push @{$b->{log}}, { kind => 'authorize', time => time,
                             params => { %q } };

        my $c = $b->{clients}{$q{client_id} // ''};
        my $wrong = $twice ? "$twice is there twice" : !$c ? 'client'
            : !grep({ $_ eq ($q{redirect_uri} // '') } @{$b->{redirects}})
              ? 'redirect_uri'
            : ($q{response_type} // '') ne 'code' ? 'response_type'
            : ($q{code_challenge_method} // '') ne 'S256' ? 'PKCE'
            : ($q{code_challenge} // '') !~ /\A[\w-]{43}\z/ ? 'challenge'
            : length($q{state} // '') < 22 ? 'state' : undef;

        return { status => 400, body => "wrong: $wrong" } if $wrong;
        return { status => 200, body => 'please sign in',
                 headers => { 'Content-Type' => 'text/html' } }
            unless defined $b->{person};

        my $code = 'code-' . random();

        $b->{codes}{sha256_hex($code)} = {
            client => $q{client_id}, redirect_uri => $q{redirect_uri},
            challenge => $q{code_challenge}, user => $b->{person},
            nonce => $q{nonce}, scope => $b->{scope} // $q{scope} // '' };
        $b->{secrets}{$_} = 1 for $code, $q{state};

        my %back = (code => $code, state => $q{state},
                    defined $b->{iss} ? (iss => $b->{iss}) : (),
                    %{$b->{back}});
        my $args = join '&', map { "$_=" . escape($back{$_}) }
                   grep { defined $back{$_} } sort keys %back;

        return { status => 302, body => '', headers => {
                 Location => "$q{redirect_uri}?$args" } };
    });
}


sub escape {
    my ($s) = @_;
    $s =~ s/([^A-Za-z0-9._~-])/sprintf '%%%02X', ord $1/ge;
    return $s;
}


sub code {
    my ($self, $b, $p, $e) = @_;
    my $c = $b->{codes}{sha256_hex($p->{code} // '')};
    my $proof = encode_base64url(sha256($p->{code_verifier} // ''));

    $b->{secrets}{$p->{code_verifier}} = 1 if length($p->{code_verifier} // '');

    return refusal($b, 400, 'invalid_grant', $p)
        if !$c || $c->{client} ne $e->{client}
           || $c->{redirect_uri} ne ($p->{redirect_uri} // '')
           || $c->{challenge} ne $proof;

    $e->{user} = $c->{user};

    if ($c->{used}) {
        $e->{reuse} = 1;
        $b->{families}{$c->{used}}{dead} = 'reuse';
        return refusal($b, 400, 'invalid_grant', $p);
    }

    my $family = $c->{used} = 'family-' . ++$b->{serial};

    $b->{families}{$family} = { map { $_ => $c->{$_} }
                                qw/ user client scope / };

    my $tokens = $self->tokens($b, $family);

    if ($self->{login}) {

        # the stub's server does not wait for its children

        local $SIG{CHLD} = 'DEFAULT';

        $tokens->{id_token} = $self->{login}->token(
            aud => $e->{client}, sub => $c->{user}, cid => undef, jti => undef,
            nonce => $c->{nonce}, name => ucfirst $c->{user},
            %{$b->{id_token}});
        $b->{secrets}{$tokens->{id_token}} = 1;
    }

    return { json => $b->{style} eq 'slack'
             ? { ok => JSON::PP::true, authed_user => {
                 %$tokens, token_type => 'user' } } : $tokens };
}


sub refresh {
    my ($self, $b, $p, $e) = @_;
    my $r = $b->{refresh}{sha256_hex($p->{refresh_token} // '')};
    my @dead = @{$dead{$b->{style}}};
    my $f = $r ? $b->{families}{$r->{family}} : undef;

    return refusal($b, @dead, $p)
        if !$f || $f->{dead} || $f->{client} ne $e->{client};

    $e->{user} = $f->{user};

    if (defined $r->{used}) {

        if (time - $r->{used} > $b->{grace}) {
            $e->{reuse} = 1;
            $f->{dead} = 'reuse';

            return refusal($b, @dead, $p);
        }

        $e->{grace} = 1;
    }

    if ($b->{rotate}) {
        $r->{used} //= time;

        # GitHub ends the old access token with it

        if ($b->{style} eq 'github') {
            $_->{dead} = 1 for grep { ($_->{family} // '') eq $r->{family} }
                               values %{$b->{access}};
        }
    }

    my $tokens = $self->tokens($b, $r->{family}, !$b->{rotate});

    return { json => { $b->{style} eq 'slack'
                       ? (ok => JSON::PP::true, %$tokens,
                          token_type => 'user') : %$tokens } };
}


# RFC 7009: the end of a family, whoever's; an unknown token is as good as
# revoked.  github: DELETE, the access token in JSON, of a client by basic
# authentication; slack and google: whoever has a token ends it.

sub revocation {
    my ($self, $b, $req, $p, $e) = @_;
    my $github = $b->{style} eq 'github';
    my $own = $b->{style} =~ /slack|google/;

    if (!$own) {
        my $client = $self->client($b, $req, $p, $e);
        return { status => 401, error => 'invalid_client',
                 json => error_json($b, 'invalid_client', $p) }
            unless defined $client;
        $e->{client} = $client;
    }

    return { status => 405, error => 'method', body => '' }
        if $req->{method} ne ($github ? 'DELETE' : 'POST')
           || $github != $e->{json};

    my $token = $p->{$github ? 'access_token' : 'token'} // '';
    my $hash = sha256_hex($token);
    my $t = $b->{refresh}{$hash} || $b->{access}{$hash};
    my $f = $t && $b->{families}{$t->{family} // ''};

    $f = undef if $f && !$own && $f->{client} ne $e->{client};

    # these know access tokens alone, and only those that are good

    $f = undef if $b->{style} =~ /github|slack/
                  && (!$b->{access}{$hash} || $t->{dead}
                      || defined $t->{expires} && $t->{expires} <= time);
    $e->{user} = $f->{user} if $f;
    $e->{by} = !$f ? 'unknown' : $b->{refresh}{$hash} ? 'refresh' : 'access';

    if (!$f || $f->{dead}) {
        return $github ? { status => 404, error => 'not_found', body => '' }
             : $b->{style} eq 'slack' ? refusal($b, 200, 'token_revoked', {})
             : $own ? refusal($b, 400, 'invalid_token', {})
             : { status => 200, body => '' };
    }

    $f->{dead} = 'revoked';

    return $github ? { status => 204, body => '' }
         : $b->{style} eq 'slack' ? { json => { ok => JSON::PP::true,
                                                revoked => JSON::PP::true } }
         : { status => 200, body => '' };
}


sub exchange {
    my ($self, $b, $p, $e) = @_;
    my $token = $p->{subject_token} // '';
    my ($claims, $head) = jwt($token);

    return refusal($b, 400, 'invalid_request', $p)
        if ($p->{subject_token_type} // '') ne $ACCESS_TOKEN;

    return refusal($b, 400, 'invalid_grant', $p)
        if !$claims || ($claims->{exp} // 0) <= time || !$claims->{sub};

    if (my $i = $self->{issuer}) {
        my ($key) = grep { ($_->{kid} // '') eq ($head->{kid} // '') }
                    @{$i->{keys}};

        return refusal($b, 400, 'invalid_grant', $p)
            if !$key || $claims->{iss} ne $i->{issuer}
               || !$self->signed($token, $head, $key->{file});
    }

    $e->{user} = $claims->{sub};

    return { json => { %{$self->access($b, {
        kind => 'exchange', user => $claims->{sub}, client => $e->{client},
        audience => $p->{audience}, resource => $p->{resource},
        scope => $b->{scope} // $p->{scope} })},
        issued_token_type => $ACCESS_TOKEN } };
}


# A pair of a family; keep: the refresh token stays as it is.

sub tokens {
    my ($self, $b, $family, $keep) = @_;
    my $f = $b->{families}{$family};
    my $out = $self->access($b, { kind => 'user', family => $family,
                                  map { $_ => $f->{$_} }
                                  qw/ user client scope / });

    return $out if $keep;

    my $refresh = 'rt-' . random();

    $b->{refresh}{sha256_hex($refresh)} = { family => $family };
    $b->{secrets}{$refresh} = 1;
    $out->{refresh_token} = $refresh;

    return $out;
}


sub access {
    my ($self, $b, $a) = @_;
    my $token = 'at-' . random();
    my $life = $b->{lifetime};

    $a->{serial} = ++$b->{serial};
    $a->{expires} = time + $life if defined $life;
    $b->{access}{sha256_hex($token)} = $a;
    $b->{secrets}{$token} = 1;

    return { access_token => $token, token_type => 'Bearer',
             defined $life ? (expires_in => $life) : (),
             defined $a->{scope} && length $a->{scope}
             ? (scope => $a->{scope}) : () };
}


# ---- the wrong answer

sub misbehaved {
    my ($self, $m, $released, %a) = @_;
    my $name = $m->{name};
    my $s = $m->{seconds};
    my $json = JSON::PP->new->canonical->utf8->encode($a{json} // {});
    my $html = '<html><body><h1>Gateway trouble</h1></body></html>';

    return (%a, wait => $s // 1) if $name eq 'slow';
    return (hang => $s // 60) if $name eq 'silent';
    return (raw => '') if $name eq 'close';
    return (raw => '', reset => 1) if $name eq 'reset';
    return (body => '') if $name eq 'empty';
    return (%a, cut => $m->{bytes} // length($json) / 2)
        if $name eq 'truncated';

    return (status => $m->{status} // 500, body => $html, headers => {
            'Content-Type' => 'text/html', defined $m->{retry_after}
            ? ('Retry-After' => $m->{retry_after}) : () })
        if $name eq 'status';

    return (%a, status => $m->{status} // 400,
            json => { %{$a{json} // {}}, error => $m->{error},
                      exists $m->{with} ? %{$m->{with}} : () })
        if $name eq 'error';

    return (status => 200, body => $html,
            headers => { 'Content-Type' => 'text/html' })
        if $name eq 'html';

    return (status => $m->{status} // 200, body => $m->{body},
            headers => { 'Content-Type' => $m->{type} // 'application/json' })
        if $name eq 'body';

    return (status => 302, body => '',
            headers => { Location => $m->{to} // 'http://127.0.0.1:1/' })
        if $name eq 'redirect';

    return (%a, split => 1, delay => $s // 0.2) if $name eq 'trickle';

    return (%a, json => { %{$a{json} // {}},
                          padding => 'x' x ($m->{bytes} // 10_000_000) })
        if $name eq 'huge';

    return (raw => "HTTP/1.1 200 OK\r\n"
                   . "X-Padding: abcdefghijklmnopqrstuvwxyz\r\n"
                     x (($m->{bytes} // 10_000_000) / 39))
        if $name eq 'headers';

    $a{json} = { %{$a{json} // {}}, token_type => 'mac' } if $name eq 'mac';

    if ($name eq 'change') {
        $a{json} = { %{$a{json} // {}}, %{$m->{with}} };
        delete @{$a{json}}{grep { !defined $m->{with}{$_} } keys %{$m->{with}}};
    }

    # sleeps whether somebody listens or not

    sleep $s // 5 if $name eq 'late';

    if ($name eq 'hold') {
        MCP::Test::wait_until(120,
                              sub { $self->books->{released} > $released });
        $self->change(sub { $_[0]{held}-- });
    }

    return %a;
}


1;

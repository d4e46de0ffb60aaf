package MCP::Issuer;

# A token issuer: keys, a key set and discovery over TLS, and tokens.
#
#     my $okta = MCP::Issuer->new($t, name => 'okta');
#     $t->write_conf(<<'END');      # an nginx server {} of the same nginx
#     ... http { %%GLOBALS_HTTP%% %%ISSUER_SERVER_okta%% %%ISSUER_okta%% ... }
#     END
#     my $token = $okta->token(sub => 'alice', groups => ['mcp-eng']);
#
# %%ISSUER_SERVER_okta%% serves https://localhost:PORT/okta/keys and the
# discovery documents, with a certificate of the test's own CA (ca.pem in the
# test directory).  %%ISSUER_okta%% is an `mcp_issuer okta {}` that trusts it.
# $okta->fetches is the number of times that the key set was asked for.
#
# stub => 1 puts an MCP::Upstream in place of the files, so that a test makes
# it slow, broken or absent: $okta->{stub}->answer({ status => 500 }), and
# without an answer it serves the same files.

use strict;
use warnings;

use JSON::PP ();
use Time::HiRes qw/ time /;

use MCP::Test ();
use MCP::Upstream;

my $next_port = 8443;
my $serial = 0;


# Options: name (default okta), port (a number for port(); default 8443 and
# up), alg (of its first key, default RS256), kid, audience, static => 1
# (jwks_file, no fetch), discovery => 1 (neither jwks_uri nor jwks_file),
# stub => 1, conf => "more directives;" of the mcp_issuer {}

sub new {
    my ($class, $t, %o) = @_;

    my $self = bless {
        t => $t,
        name => 'okta',
        port => $o{port} || $next_port++,
        alg => 'RS256',
        audience => 'https://mcp.example.com/mcp',
        keys => [],
        conf => '',
        %o,
    }, $class;

    die "no $MCP::Test::MINT: make build/mint" unless -x $MCP::Test::MINT;

    $self->{host} = 'localhost:' . MCP::Test::port($self->{port});
    $self->{issuer} ||= "https://$self->{host}/$self->{name}";
    $self->{jwks_uri} = "https://$self->{host}/$self->{name}/keys";

    push @{$t->{issuers}}, $self;

    certificate($t);
    $self->add_key($self->{kid} || 'key-1', $self->{alg});
    $self->publish;

    if ($self->{stub}) {
        $self->{stub_port} = $self->{port} + 1000;
        $self->{stub} = MCP::Upstream->start($t,
            port => $self->{stub_port},
            handler => sub { $self->stub_answer($_[0]) });
    }

    return $self;
}


# A CA and its certificate for localhost, once for each test

sub certificate {
    my ($t) = @_;
    my $d = $t->dir;

    return if -f "$d/server.pem";

    my $new = 'openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1'
              . ' -nodes -batch';

    $t->write_file('openssl.cnf', <<'END');
[req]
distinguished_name = dn
[dn]
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[server]
basicConstraints = CA:FALSE
subjectAltName = DNS:localhost,IP:127.0.0.1
END

    run("$new -x509 -days 2 -config $d/openssl.cnf -extensions ca"
        . " -subj '/CN=MCP test CA' -keyout $d/ca.key -out $d/ca.pem");
    run("$new -config $d/openssl.cnf -subj /CN=localhost"
        . " -keyout $d/server.key -out $d/server.csr");
    run("openssl x509 -req -days 2 -in $d/server.csr -CA $d/ca.pem"
        . " -CAkey $d/ca.key -set_serial " . (1000 + $serial++)
        . " -extfile $d/openssl.cnf -extensions server -out $d/server.pem");
}


sub run {
    my ($command) = @_;

    my $out = `$command 2>&1`;
    die "$command:\n$out" if $?;
    return $out;
}


sub mint {
    my (@args) = @_;

    open my $fh, '-|', $MCP::Test::MINT, @args or die "mint: $!";
    local $/;
    my $out = <$fh>;
    close $fh or die "mint @args: failed\n";
    $out =~ s{\s+\z}{};

    return $out;
}


# ---- keys

# Makes a key; it signs from now on, and is in the set after publish().

sub add_key {
    my ($self, $kid, $alg, %o) = @_;
    my $file = $self->{t}->dir . "/$self->{name}-$kid.key";

    mint('keygen', $alg, $file);

    my $key = { kid => $kid, alg => $alg, file => $file, %o };
    push @{$self->{keys}}, $key;

    return $key;
}


# Takes a key out of the set (after publish).

sub remove_key {
    my ($self, $kid) = @_;
    $self->{keys} = [ grep { $_->{kid} ne $kid } @{$self->{keys}} ];
}


# The key set: its bytes

sub jwks {
    my ($self) = @_;

    return '{"keys":[]}' unless @{$self->{keys}};
    return mint('jwks', map { "$_->{kid}=$_->{file}:$_->{alg}" }
                        @{$self->{keys}});
}


# Writes the documents that are served; with bytes, those as the key set.

sub publish {
    my ($self, $jwks) = @_;
    my ($t, $n) = ($self->{t}, $self->{name});
    my $d = $t->dir;

    mkdir "$d/issuers";
    mkdir "$d/issuers/$n";

    my $meta = JSON::PP->new->canonical->utf8->encode({
        issuer => $self->{issuer},
        jwks_uri => $self->{jwks_uri},
        authorization_endpoint => "https://$self->{host}/$n/authorize",
        token_endpoint => "https://$self->{host}/$n/token",
        response_types_supported => ['code'],
    });

    # whole at once, also for an nginx that reads it now

    for (['keys', $jwks // $self->jwks], ['metadata', $meta]) {
        $t->write_file("issuers/$n/$_->[0].new", $_->[1]);
        rename "$d/issuers/$n/$_->[0].new", "$d/issuers/$n/$_->[0]";
    }

    return $self;
}


sub jwks_file { $_[0]{t}->dir . "/issuers/$_[0]{name}/keys" }


# how often its key set was fetched

sub fetches {
    my ($self) = @_;
    my $n = $self->{name};
    my $log = $self->{t}->read_file("issuer-$n.log");

    return scalar(() = $log =~ m!"GET /$n/keys!g);
}


# ---- configuration

sub server_conf {
    my ($self) = @_;

    return '' if $self->{static};

    my ($n, $d) = ($self->{name}, $self->{t}->dir);
    my $port = MCP::Test::port($self->{port});
    my $files = $self->{stub}
        ? 'location / { proxy_pass http://127.0.0.1:'
          . MCP::Test::port($self->{stub_port}) . '; }'
        : <<END;
location = /$n/keys { alias $d/issuers/$n/keys; }
        location = /$n/.well-known/openid-configuration {
            alias $d/issuers/$n/metadata;
        }
        location = /.well-known/oauth-authorization-server/$n {
            alias $d/issuers/$n/metadata;
        }
        location = /$n/.well-known/oauth-authorization-server {
            alias $d/issuers/$n/metadata;
        }
END

    return <<END;
    server {
        listen 127.0.0.1:$port ssl;
        server_name localhost;
        ssl_certificate $d/server.pem;
        ssl_certificate_key $d/server.key;
        access_log $d/issuer-$n.log;
        default_type application/json;
        $files
    }
END
}


sub issuer_conf {
    my ($self) = @_;
    my $d = $self->{t}->dir;

    my $keys = $self->{static} ? 'jwks_file ' . $self->jwks_file . ';'
             : $self->{discovery} ? ''
             : "jwks_uri $self->{jwks_uri};";
    my $trust = $self->{static} ? '' : "ssl_trusted_certificate $d/ca.pem;";

    # nothing is fast under valgrind, least of all TLS

    my $patience = $ENV{MCP_TEST_VALGRIND} && !$self->{static}
                   && $self->{conf} !~ /jwks_timeout/
                 ? 'jwks_timeout 60s;' : '';
    my $audience = defined $self->{audience}
                 ? "audience $self->{audience};" : '';

    return <<END;
    mcp_issuer $self->{name} {
        issuer $self->{issuer};
        $keys
        $audience
        $trust
        $patience
        $self->{conf}
    }
END
}


sub stub_answer {
    my ($self, $req) = @_;
    my $file = $req->{uri} =~ m!/keys$! ? 'keys' : 'metadata';

    return { body => $self->{t}->read_file("issuers/$self->{name}/$file") };
}


# ---- tokens

# A token with sane claims, each of which an argument replaces (undef: not in
# it).  Not claims: -key (a file or a key of add_key), -alg, -kid (undef: none;
# default the key's), -typ, -header (JSON: the whole header), -expires (s from
# now, default 300), -claims (JSON: the claims, byte for byte), -count (so many,
# one on a line, with their number in place of "@" in the claims).

sub token {
    my ($self, %c) = @_;
    my %o;

    for (grep { /^-/ } keys %c) {
        $o{$_} = delete $c{$_};
    }

    my $key = $o{-key} || $self->{keys}[-1] || die "no key";
    $key = { file => $key, alg => $self->{alg}, kid => undef } unless ref $key;

    my $now = int time;
    my %claims = (
        iss => $self->{issuer},
        aud => $self->{audience},
        sub => 'alice',
        cid => 'test-client',
        jti => sprintf('AT.%d.%d', $$, ++$serial),
        iat => $now,
        exp => $now + ($o{-expires} // 300),
        %c,
    );

    delete @claims{grep { !defined $claims{$_} } keys %claims};

    my $kid = exists $o{-kid} ? $o{-kid} : $key->{kid};
    my @args = ('--key', $key->{file}, '--alg', $o{-alg} || $key->{alg});

    push @args, '--kid', $kid if defined $kid;
    push @args, '--typ', $o{-typ} if defined $o{-typ};
    push @args, '--header', $o{-header} if defined $o{-header};
    push @args, '--count', $o{-count} if defined $o{-count};

    my $json = $o{-claims}
               // JSON::PP->new->canonical->utf8->encode(\%claims);

    my $token = mint('token', @args, '--claims', $json);

    # what makes a token of it: the rest is in audits, and should be

    push @{$self->{t}{minted}}, grep { length > 40 }
                                map { (split /\./, $_, -1)[2] // '' }
                                defined $o{-count} ? () : $token;

    return $token;
}


1;

package MCP::Token;

# The gateway's own tokens, made without the gateway's code: a second opinion of
# their format, their checksum and their hash (core/mcp_access_key.h).
#
#     my $store = MCP::Token->new($t);
#     my $pat = $store->pat(user => 'alice', issuer => $okta->{issuer});
#     $store->write;                      # the file, whole at once
#     $t->write_conf(... %%TESTDIR%%/tokens, %%TESTDIR%%/pepper-a ...);
#     call_tool('/mcp', 'echo', {}, token => $pat->{token});
#     $pat->{revoked} = time; $store->write;
#
# A token is a hash with token, id and what its record says; change it and
# write() again.  roles (default dev), servers (default *) and scopes are arrays;
# times are s since the epoch; created is now, expires in an hour; pepper is the
# name of a file (default pepper-a); raw => "..." more columns as they are.

use strict;
use warnings;

use Digest::SHA qw/ hmac_sha256 hmac_sha256_hex /;
use Compress::Zlib ();
use POSIX qw/ strftime /;

my @digits = (0 .. 9, 'A' .. 'Z', 'a' .. 'z');


sub new {
    my ($class, $t, %o) = @_;

    my $self = bless { t => $t, file => 'tokens', tokens => [], %o }, $class;

    $self->pepper($_) for @{$o{peppers} || [qw/ pepper-a pepper-b /]};
    $self->write;

    return $self;
}


# A file with 32 random bytes in hex, and what is made of them

sub pepper {
    my ($self, $name) = @_;

    return $self->{pepper}{$name} if $self->{pepper}{$name};

    my $secret = join '', map { sprintf '%02x', int rand 256 } 1 .. 32;
    my $prk = hmac_sha256($secret, "\0" x 32);

    $self->{t}->write_file($name, "$secret\n");

    return $self->{pepper}{$name} = {
        secret => $secret,
        id => unpack('H8', hmac_sha256("token\0id\1", $prk)),
        key => hmac_sha256("token\0pepper\1", $prk),
    };
}


sub base62 {
    my ($n) = @_;
    return join '', map { $digits[rand 62] } 1 .. $n;
}


# the six digits behind 48 characters

sub checksum {
    my ($text) = @_;
    my ($crc, $out) = (Compress::Zlib::crc32($text), '');

    for (1 .. 6) {
        $out = $digits[$crc % 62] . $out;
        $crc = int($crc / 62);
    }

    return $out;
}


# one that nobody has

sub unknown {
    my ($prefix) = @_;
    my $text = ($prefix || 'mcpp_') . base62(43);

    return $text . checksum($text);
}


sub add {
    my ($self, $kind, %o) = @_;

    my $token = {
        kind => $kind,
        token => unknown($kind eq 'pat' ? 'mcpp_' : 'mcpv_'),
        id => "$kind-" . base62(12),
        roles => ['dev'],
        servers => ['*'],
        created => time,
        expires => time + 3600,
        pepper => 'pepper-a',
        %o,
    };

    push @{$self->{tokens}}, $token;
    return $token;
}


sub pat { my $self = shift; return $self->add('pat', @_) }
sub vat { my $self = shift; return $self->add('vat', @_) }


sub drop {
    my ($self, $token) = @_;
    $self->{tokens} = [ grep { $_ != $token } @{$self->{tokens}} ];
}


sub column {
    my ($v) = @_;

    utf8::encode($v) if utf8::is_utf8($v);
    $v =~ s/([^\x21-\x7e]|[%,= ])/sprintf '%%%02X', ord $1/ge;
    return $v;
}


sub hash {
    my ($self, $token) = @_;
    return hmac_sha256_hex($token->{token},
                           $self->pepper($token->{pepper})->{key});
}


sub line {
    my ($self, $token) = @_;

    my @c = ($token->{kind}, $token->{id},
             $self->pepper($token->{pepper})->{id} . ':'
             . $self->hash($token));

    for (qw/ issuer user service roles servers scopes created expires revoked
             label by replaces hint /)
    {
        my $v = $token->{$_} // next;

        push @c, "$_=" . (ref $v ? join ',', map { column($_) } @$v
                          : /^(?:created|expires|revoked)$/
                          ? strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $v)
                          : column($v));
    }

    push @c, $token->{raw} if $token->{raw};

    return join ' ', @c;
}


sub text {
    my ($self) = @_;
    return join '', map { "$_\n" } '# tokens of the test',
                    (map { $self->line($_) } @{$self->{tokens}}), 'end';
}


# all of them, or these bytes; a new file in the place of the old one

sub write {
    my ($self, $text) = @_;
    my ($t, $file) = ($self->{t}, $self->{file});

    $t->write_file("$file.new", $text // $self->text);
    rename $t->dir . "/$file.new", $t->dir . "/$file" or die "rename: $!";

    return $self;
}


1;

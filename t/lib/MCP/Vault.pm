package MCP::Vault;

# Records of credentials in Redis, as the module has them: written and read by
# a second implementation, out of core Perl and the openssl program.
#
#     my $vault = MCP::Vault->new($t);        # a key ring with one key, "one"
#     ... mcp_vault_keys @{[ $vault->file ]}; ...
#     my %of = (credential => 'jira', issuer => $okta->{issuer},
#               user => 'alice');
#     $vault->write($redis, \%of, $idp->grant('alice'));
#     ...
#     my $r = $vault->read($redis, \%of);
#     is($r->{state}, 'active', ...); $r->{tokens}{refresh_token}
#
# An owner has what mcp_vault_owner_t has: credential, issuer, user, client,
# audience, scope, subject.  A grant of a person has the first three; client
# credentials have credential, audience and scope.
#
# The format: 1 | length of the key's id | id | salt (16) | nonce (12) |
# ciphertext | tag (16); AES-256-GCM under HKDF-SHA256(key, salt,
# "mcp-vault/1" NUL FIELD); the additional data is format, length, id, then the
# owner's seven strings, the field and the version, each behind its length in
# eight bytes.

use strict;
use warnings;

use Digest::SHA qw/ hmac_sha256 sha256_hex /;
use IPC::Open2 qw/ open2 /;
use JSON::PP ();
use MIME::Base64 qw/ encode_base64 /;
use Time::HiRes qw/ time /;

use MCP::Test ();

my @PARTS = qw/ credential issuer user client audience scope subject /;


# ids => [...]: of the ring's keys, the first is the active one; name => FILE

sub new {
    my ($class, $t, %o) = @_;
    my $self = bless { t => $t, name => 'vault.keys', keys => [],
                       exists $o{name} ? (name => $o{name}) : () }, $class;

    push @{$self->{keys}}, [ $_, random(32) ] for @{$o{ids} || ['one']};
    $t->keep_secret($self);

    return $self->save;
}


sub file { "$_[0]{t}{dir}/$_[0]{name}" }


sub save {
    my ($self) = @_;

    $self->{t}->write_file($self->{name}, join '', map {
        "$_->[0] " . encode_base64($_->[1], '') . "\n" } @{$self->{keys}});
    chmod 0600, $self->file;

    return $self;
}


# A new active key; the others stay until they are removed.

sub add_key {
    my ($self, $id) = @_;
    unshift @{$self->{keys}}, [ $id, random(32) ];
    return $self->save;
}


sub remove_key {
    my ($self, $id) = @_;
    @{$self->{keys}} = grep { $_->[0] ne $id } @{$self->{keys}};
    return $self->save;
}


# what must never be read anywhere

sub secrets { map { encode_base64($_->[1], '') } @{$_[0]{keys}} }


sub random {
    my ($n) = @_;

    open my $fh, '<:raw', '/dev/urandom' or die "urandom: $!";
    read($fh, my $bytes, $n);
    return $bytes;
}


# ---- records

sub counted { join '', map { pack('Q>', length) . $_ } @_ }


sub parts {
    my ($o) = @_;
    return map { $o->{$_} // '' } @PARTS;
}


# the name of an owner's record

sub name {
    my ($self, $owner) = @_;
    return substr sha256_hex("mcp-vault\0" . counted(parts($owner))), 0, 32;
}


# Tokens as a provider gives them (and `expires`, s since the epoch, before
# `expires_in`).  version => N (default 1), state => active | reauth | revoked,
# keep => s, issued, granted => s since the epoch.

sub write {
    my ($self, $redis, $owner, $tokens, %o) = @_;
    my $version = $o{version} // 1;
    my $name = $self->name($owner);
    my $key = "$redis->{prefix}cred:$name";
    my $now = int time;

    my $expires = $tokens->{expires}
                  // ($tokens->{expires_in} ? $now + $tokens->{expires_in} : 0);
    my %t = (access_token => $tokens->{access_token},
             exists $o{granted} ? (granted => int $o{granted}) : (),
             issued => int($o{issued} // $now), expires => int $expires,
             refresh_expires => 0);

    for (qw/ refresh_token scope /) {
        $t{$_} = $tokens->{$_} if length($tokens->{$_} // '');
    }

    my %meta = map { length($owner->{$_} // '') ? ($_ => $owner->{$_}) : () }
               @PARTS;

    $redis->command('HSET', $key, v => $version, st => $o{state} // 'active',
        tok => $self->seal($owner, 'tokens', $version, encode(\%t)),
        meta => $self->seal({ subject => $name }, 'meta', 0,
                            encode(\%meta)),
        exp => int $expires);
    $redis->command('EXPIRE', $key, $o{keep} // 86400);
    $redis->command('SADD', "$redis->{prefix}creds", $name);

    return $name;
}


# What Redis has: { version, state, expires, flight, key (id), tokens (undef:
# it does not open) }; undef: nothing.

sub read {
    my ($self, $redis, $owner) = @_;
    my $name = ref $owner ? $self->name($owner) : $owner;
    my %h = @{$redis->command('HGETALL', "$redis->{prefix}cred:$name")};

    return undef unless %h;

    my $text = ref $owner && length $h{tok}
               ? $self->unseal($owner, 'tokens', $h{v}, $h{tok}) : undef;

    return { version => $h{v}, state => $h{st}, expires => $h{exp},
             flight => $h{fl}, key => length $h{tok}
             ? substr($h{tok}, 2, ord substr $h{tok}, 1) : undef,
             raw => \%h,
             tokens => defined $text ? JSON::PP->new->utf8->decode($text)
                                     : undef };
}


sub encode { JSON::PP->new->canonical->utf8->encode($_[0]) }


# ---- seals

sub seal {
    my ($self, $owner, $field, $version, $value) = @_;
    my ($id, $key) = @{$self->{keys}[0]};
    my $head = chr(1) . chr(length $id) . $id;
    my ($salt, $nonce) = (random(16), random(12));
    my $aad = $head . counted(parts($owner), $field, pack 'Q>', $version);

    return $head . $salt . $nonce
           . join '', gcm(derive($key, $salt, $field), $nonce, $aad, $value, 1);
}


# undef: it does not open

sub unseal {
    my ($self, $owner, $field, $version, $sealed) = @_;
    my ($format, $id, $rest) = unpack 'C C/a a*', $sealed;
    my ($key) = map { $_->[1] } grep { $_->[0] eq $id } @{$self->{keys}};

    return undef if $format != 1 || !defined $key || length $rest < 44;

    my ($salt, $nonce, $text) = unpack 'a16 a12 a*', $rest;
    my $tag = substr $text, -16, 16, '';
    my $aad = chr(1) . chr(length $id) . $id
              . counted(parts($owner), $field, pack 'Q>', $version);
    my ($plain, $want) = gcm(derive($key, $salt, $field), $nonce, $aad, $text,
                             0);

    return $tag eq $want ? $plain : undef;
}


# RFC 5869, of which one block is enough

sub derive {
    my ($key, $salt, $field) = @_;
    my $prk = hmac_sha256($key, $salt);

    return hmac_sha256("mcp-vault/1\0$field\x01", $prk);
}


# NIST SP 800-38D: (text, tag)

sub gcm {
    my ($key, $nonce, $aad, $text, $encrypt) = @_;
    my $out = ctr($key, $nonce . pack('N', 1), "\0" x 16 . $text);
    my $mask = substr $out, 0, 16, '';
    my $sum = ghash(ctr($key, "\0" x 16, "\0" x 16), $aad,
                    $encrypt ? $out : $text);

    return ($out, $mask ^ $sum);
}


sub ctr {
    my ($key, $iv, $text) = @_;

    local $SIG{CHLD} = 'DEFAULT';

    my $pid = open2(my $from, my $to, 'openssl', 'enc', '-aes-256-ctr',
                    '-K', unpack('H*', $key), '-iv', unpack('H*', $iv));
    binmode $_ for $from, $to;
    print $to $text;
    close $to;

    my $out = do { local $/; <$from> };
    waitpid $pid, 0;
    die "openssl enc: $?" if $?;

    return $out;
}


sub ghash {
    my ($h, $aad, $text) = @_;
    my @h = unpack 'Q>2', $h;
    my ($yh, $yl) = (0, 0);
    my $all = join '', map { $_ . "\0" x (-length($_) % 16) } $aad, $text;

    $all .= pack 'Q>2', 8 * length $aad, 8 * length $text;

    for my $block (unpack '(a16)*', $all) {
        my ($xh, $xl) = unpack 'Q>2', $block;
        ($yh, $yl) = multiply($yh ^ $xh, $yl ^ $xl, @h);
    }

    return pack 'Q>2', $yh, $yl;
}


# in GF(2^128), bits in GCM's order

sub multiply {
    my ($xh, $xl, $vh, $vl) = @_;
    my ($zh, $zl) = (0, 0);

    for my $i (0 .. 127) {
        if ($i < 64 ? ($xh >> (63 - $i)) & 1 : ($xl >> (127 - $i)) & 1) {
            $zh ^= $vh;
            $zl ^= $vl;
        }

        my $carry = $vl & 1;
        $vl = ($vl >> 1) | (($vh & 1) << 63);
        $vh >>= 1;
        $vh ^= 0xe1 << 56 if $carry;
    }

    return ($zh, $zl);
}


1;

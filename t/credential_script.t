#!/usr/bin/perl

# The script by which gateways and mcpctl write a record of a credential, as it
# stands in mcp_vault_script.c, in a real Redis: over the version that was read
# or not at all, over a deleted one only for a new grant, and of locks its own
# alone.  That is what keeps grants when everything else goes wrong.  Then those
# by which mcpctl deletes and seals anew.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::UNIX;

use MCP::Test;
use MCP::Ctl;
use MCP::Redis;

my $t = MCP::Test->new;
my $redis = MCP::Redis->start($t, port => 0);

sub script {
    my ($file, $name) = @_;
    my ($text) = MCP::Ctl::slurp("$FindBin::Bin/../ngx_mcp_auth_module/$file")
                 =~ /\b${name}_script\[\] =\n(.*?);\n/s
        or die "no script $name in $file";

    return join '', map { s/\\n/\n/gr } $text =~ /"((?:[^"\\]|\\.)*)"/g;
}

my $script = script('core/mcp_vault_script.c', 'mcp_vault_write');
my %mcpctl = map { $_ => script('mcpctl/mcpctl_vault_redis.c',
                                "mcpctl_vault_$_") } qw/ delete reseal gone /;

my $name = '0123456789abcdef' x 2;
my @keys = ("mcp:cred:$name", "mcp:lock:$name", 'mcp:creds');

# as a gateway: owner, version, and what differs

sub write_over {
    my ($owner, $version, %o) = @_;

    return $redis->command('EVAL', $script, 3, @keys, $owner, $version,
                           $o{st} // 'active', $o{tok} // 'new tokens',
                           'new meta', 1700000000, $o{keep} // 1000, $name,
                           'mcp:events', exists $o{grant} ? $o{grant} : ());
}

# what is there before: fields of the record, and the lock

sub before {
    my ($lock, %fields) = @_;

    $redis->command('DEL', @keys);
    $redis->command('HSET', $keys[0], %fields) if %fields;
    $redis->command('SET', $keys[1], $lock) if defined $lock;
}

sub record { my %h = @{$redis->command('HGETALL', $keys[0])}; \%h }

my %old = (v => 7, st => 'active', tok => 'old tokens', meta => 'old meta',
           exp => 5, fl => '7 1 me 2');
my %new = (st => 'active', tok => 'new tokens', meta => 'new meta',
           exp => 1700000000);

# ---- it is written

before('me', %old);
is_deeply(write_over('me', 7), [1], 'over the version that was read');
is_deeply(record(), { %new, v => 8 }, 'all of it, without the note');
is($redis->command('EXISTS', $keys[1]), 0, 'its lock is gone');
is_deeply($redis->command('SMEMBERS', $keys[2]), [$name],
          'its name is in the set');

my $ttl = $redis->command('TTL', $keys[0]);
ok($ttl > 900 && $ttl <= 1000, 'it goes when it should');

before(undef);
is_deeply(write_over('me', 0), [1], 'the first one');
is(record()->{v}, 1, 'is version 1');

before('me', %old, v => 999_999_999_999_998);
is_deeply(write_over('me', 999_999_999_999_998), [1], 'a large version');
is(record()->{v}, '999999999999999', 'is the next one, to the digit');

# ---- it is not

for (['an older one', 6], ['a newer one', 8], ['none', 0],
     ['another text', '07'], ['nothing', ''])
{
    my ($what, $version) = @$_;

    before('me', %old);
    my $r = write_over('me', $version);

    is_deeply($r, [0, [@old{qw/ v st tok meta exp fl /}]],
              "$what: not, and what there is instead");
    is_deeply(record(), \%old, "$what: nothing changed");
    is($redis->command('GET', $keys[1]), 'me', "$what: nor the lock");
    is($redis->command('EXISTS', $keys[2]), 0, "$what: nor the set");
}

before('me');
is_deeply(write_over('me', 7), [0, [(undef) x 6]], 'over one that has gone');
is($redis->command('EXISTS', $keys[0]), 0, 'it stays away');

# ---- one that was deleted

my %deleted = (v => 8, st => 'revoked', tok => '', meta => 'm', exp => 0);

for ('', 'GRANT', 'revoked') {
    before('me', %deleted);
    is(write_over('me', 8, $_ eq '' ? () : (grant => $_))->[0], 0,
       "deleted: not by a gateway ($_)");
    is_deeply(record(), \%deleted, 'it stays deleted');
}

before(undef, %deleted);
is_deeply(write_over('mcpctl', 8, grant => 'grant'), [1],
          'but for a new grant');
is_deeply(record(), { %new, v => 9 }, 'which has the next version');

# ---- locks of others

for my $lock ('other', 'hold', 'me2', 'm') {
    before($lock, %old);
    is_deeply(write_over('me', 7), [1], "written, though $lock has the lock");
    is($redis->command('GET', $keys[1]), $lock, 'which stays');
}

# ---- everybody hears of it

my $sock = IO::Socket::UNIX->new(Peer => $redis->socket) or die "connect: $!";
my $ear = bless { %$redis, client => { sock => $sock, buf => '' } }, ref $redis;

$ear->command('SUBSCRIBE', 'mcp:events');
before('me', %old);
write_over('me', 6);
write_over('me', 7);
is_deeply($ear->reply($ear->{client}),
          ['message', 'mcp:events', "cred $name 8"],
          'of the write, and of no other');

# ---- mcpctl deletes what it has seen, and no other

sub mcpctl { $redis->command('EVAL', $mcpctl{+shift}, 3, @keys, @_) }

before('other', %old);
$redis->command('SADD', $keys[2], $name);

for ('6', '8', '0', '') {
    is_deeply(mcpctl('delete', $_, $name, 'mcp:events'), [0],
              "delete: not of version \"$_\"");
    is_deeply(record(), \%old, 'it is as it was');
    is($redis->command('SISMEMBER', $keys[2], $name), 1, 'so is the set');
}

is_deeply(mcpctl('delete', 7, $name, 'mcp:events'), [1], 'delete');
is($redis->command('EXISTS', $keys[0]), 0, 'it is gone');
is($redis->command('SISMEMBER', $keys[2], $name), 0, 'so is its name');
is($redis->command('GET', $keys[1]), 'other', 'a lock is nobody else\'s to end');
is_deeply($ear->reply($ear->{client}), ['message', 'mcp:events', "cred $name"],
          'everybody hears of it, and of nothing else');
is_deeply(mcpctl('delete', 7, $name, 'mcp:events'), [0], 'once');

# ---- a new seal is that of what was read.  A grant that was deleted and
# imported again may have the same version.

before('other', %old);

for ([6, 'old tokens', 'old meta'], [7, 'other tokens', 'old meta'],
     [7, 'old tokens', 'other meta'], [7, '', ''])
{
    is_deeply(mcpctl('reseal', @$_, 'T', 'M'), [0], "reseal: not of @$_");
    is_deeply(record(), \%old, 'it is as it was');
}

is_deeply(mcpctl('reseal', 7, 'old tokens', 'old meta', 'T', 'M'), [1],
          'reseal');
is_deeply(record(), { %old, tok => 'T', meta => 'M' }, 'the seals alone');
is($redis->command('GET', $keys[1]), 'other', 'and no lock');

before(undef);
is_deeply(mcpctl('reseal', 7, '', '', 'T', 'M'), [0], 'of none');
is($redis->command('EXISTS', $keys[0]), 0, 'none is made');

# ---- a name goes when its record has gone, and has not come again

$redis->command('SADD', $keys[2], $name);
mcpctl('gone', $name);
is($redis->command('SISMEMBER', $keys[2], $name), 0, 'a name without a record');

before(undef, %old);
$redis->command('SADD', $keys[2], $name);
mcpctl('gone', $name);
is($redis->command('SISMEMBER', $keys[2], $name), 1, 'a name with one');

done_testing;

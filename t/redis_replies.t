#!/usr/bin/perl

# Replies that are none: garbage, other types, other lengths, records of other
# tokens, errors.  Nobody revoked gets in, nobody gets another's identity, and
# all is well when Redis speaks sense again (trap N12 of
# docs/internals/traps.md, with t/redis_token.t).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Faults;

my $f = MCP::Faults->new;
my ($redis, $proxy, $store) = @$f{qw/ redis proxy store /};
my $pass = sub { $proxy->mode };

sub reply {
    my ($bytes, %o) = @_;
    return sub { $proxy->mode(reply => $bytes, %o) };
}

sub unsubscribe { $redis->command('CLIENT', 'KILL', 'TYPE', 'pubsub') }

my $fay = $store->line($f->{fay});


# ---- to the question for a token

$f->fault('cut in the middle of a reply',
          sub { $proxy->mode(cut => 3, only => 'GET') }, $pass);

for (['N12: a record of somebody else', sprintf("\$%d\r\n%s\r\n", length $fay, $fay),
      'it is another token\'s'],
     ['garbage', "\xff\x00 nonsense \r\n\r\n", 'does not speak its protocol'],
     ['HTTP', "HTTP/1.1 400 Bad Request\r\n\r\n",
      'does not speak its protocol'],
     ['another type', ":1\r\n", 'GET was not answered as it should be'],
     ['a list', "*2\r\n\$1\r\na\r\n\$1\r\nb\r\n"],
     ['no record', "\$5\r\nhello\r\n"],
     ['an empty one', "\$0\r\n\r\n"],
     ['a list without end', "*100000000\r\n", 'larger than max_reply'],
     ['a text without end', "\$500000000\r\n" . 'x' x 100_000,
      'larger than max_reply'],
     ['many little things', "*8000\r\n" . ":1\r\n" x 8000,
      'larger than max_reply'],
     ['lists in lists', "*1\r\n" x 20 . ":1\r\n",
      'does not speak its protocol'],
     ['a double of RESP3', ",1.5\r\n", 'does not speak its protocol'],
     ['a list of RESP3', "*2\r\n#t\r\n,1.5\r\n", 'does not speak its protocol'],
     ['a map of RESP3', "%1\r\n+a\r\n+b\r\n", 'does not speak its protocol'],
     ['a negative length', "\$-2\r\n", 'does not speak its protocol'],
     ['-ERR', "-ERR no\r\n"],
     ['-BUSY', "-BUSY script\r\n"],
     ['-NOPERM', "-NOPERM no\r\n"],
     ['-LOADING', "-LOADING Redis is loading\r\n", 'loading its data'],
     ['-MASTERDOWN', "-MASTERDOWN Link\r\n", 'became a replica'],
     ['-MOVED', "-MOVED 1 127.0.0.1:1\r\n", 'it is a cluster'])
{
    my ($name, $bytes, $log) = @$_;

    # with some both connections are made anew, and with that goes time of
    # revocation_stale

    $f->fault($name, reply($bytes, only => 'GET'), $pass, fresh => '503',
              log => $log, time => 0.5);
}

$f->fault('N12: two replies to one question',
          reply("\$-1\r\n\$-1\r\n", only => 'GET'), $pass,
          log => 'what nobody had asked');

$f->fault('no such token', reply("\$-1\r\n", only => 'GET'), $pass,
          fresh => '401');

$f->fault('-READONLY', reply("-READONLY x\r\n", only => 'HSET'), $pass,
          time => 0.5);


# ---- to everything

for (['-LOADING', "-LOADING x\r\n", 'it is not ready \(LOADING\)'],
     ['garbage', "\x01\x02\x03", 'does not speak its protocol'])
{
    my ($name, $bytes, $log) = @$_;

    $f->fault("$name to everything", reply($bytes, close => 1), $pass,
              stale => 1, fresh => '503', log => $log);
}


# ---- in place of revocations

for (['an error', "-ERR no\r\n", 'HSCAN failed "ERR"'],
     ['a number', ":0\r\n", 'HSCAN was not answered as it should be'],
     ['no cursor', "*2\r\n\$1\r\nx\r\n*0\r\n"],
     ['an odd list', "*2\r\n\$1\r\n0\r\n*1\r\n\$1\r\na\r\n"],
     ['a list of numbers', "*2\r\n\$1\r\n0\r\n*2\r\n:1\r\n:2\r\n"],
     ['pages without end', "*2\r\n\$1\r\n7\r\n*0\r\n"])
{
    my ($name, $bytes, $log) = @$_;

    $f->fault("$name in place of revocations", sub {
        $proxy->mode(reply => $bytes, only => 'HSCAN');
        unsubscribe();
    }, $pass, stale => 1, log => $log);
}

$f->fault('nothing in place of revocations', sub {
        $proxy->mode(reply => "*2\r\n\$1\r\n0\r\n*0\r\n", only => 'HSCAN');
        unsubscribe();
    }, $pass, fresh => '200', time => 3, settles => 1);


# ---- on the subscription

$f->fault('no PONG', reply("+PONG\r\n", only => 'PING'), $pass, stale => 1,
          log => 'unexpected message on the subscription');

$f->fault('no subscription', sub {
        $proxy->mode(reply => "-NOPERM x\r\n", only => 'SUBSCRIBE');
        unsubscribe();
    }, $pass, stale => 1, log => 'it does not let us subscribe \(NOPERM\)');

done_testing;

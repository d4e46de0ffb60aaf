#!/usr/bin/perl

# The n-th allocation fails, for every n, in each of the main requests: of a
# pool, of the zones, of OpenSSL, jansson and hiredis.  The worker goes on; the
# caller has an error or the answer that it would have had, never another one;
# no list is shown unfiltered; the upstream is asked for nothing that is not
# allowed and on record; the next request is served; nothing is left at exit.
#
# A request of more than 400 allocations is sampled; MCP_ALLOC_ALL=1: each of
# them, and once more with all that follow failing as well.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Alloc;
use MCP::Connect;
use MCP::Token;
use MCP::Upstream;

plan(skip_all => 'sanitizer build only') unless MCP::Alloc->possible;

my $SAMPLE = $ENV{MCP_ALLOC_ALL} ? 1e9 : 400;

my $t = MCP::Test->new;
my $g = MCP::Connect->new($t);
my ($okta, $redis, $vault) = @$g{qw/ okta redis vault /};
my $up = MCP::Upstream->start($t, port => 8082,
                              tools => [qw/ echo delete_all add /]);
my $file = MCP::Token->new($t);
my $kept = MCP::Token->new($t, file => 'unused');
my $alloc = MCP::Alloc->new($t);

# one pepper for both

$kept->{pepper} = $file->{pepper};
$t->write_file($_, $file->{pepper}{$_}{secret}) for qw/ pepper-a pepper-b /;

my %of = (issuer => $okta->{issuer}, user => 'alice', roles => ['dev'],
          expires => int(time) + 3000);
my $pat = $file->pat(%of);
$file->write;

# what has no memory says so

$t->allow_log(qr/\[emerg\].*(?:malloc|posix_memalign).*failed/);
$t->allow_log(qr/\[(?:crit|alert)\].*(?:no memory|out of memory|alloc)/);

my $to = 'http://127.0.0.1:' . MCP::Test::port(8082);

$g->start(http => <<"END", server => <<"END2");
    mcp_token_file tokens;
    mcp_token_key pepper-a pepper-b;
    mcp_credential bot { type static; value "Bearer bot-secret-4711"; }
    mcp_server lists { resource https://mcp.example.com/lists; issuer okta;
                       tokens on;
                       role * { allow tool echo add; }
                       role dev { allow tool add; } }
    mcp_server bot { resource https://mcp.example.com/bot; issuer okta;
                     credential bot; role * { allow tool echo; } }
END
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        set_real_ip_from 127.0.0.1;
        real_ip_header X-Real-IP;
        location /lists { mcp_auth lists; proxy_pass $to; }
        location /bot { mcp_auth bot; proxy_pass $to; }
END2

$vault->write($redis, { credential => 'jira', issuer => $okta->{issuer},
                        user => 'alice' },
              $g->{idp}->grant('alice', lifetime => 3000));

my @aud = map { "https://mcp.example.com/$_" } qw/ mcp lists bot /;

sub token { $okta->token(aud => \@aud, -expires => 3000, @_) }

my $warm = token();
my $id = 0;

# one request over a connection of its own; {} when there was no answer

sub ask {
    my ($uri, $method, $params, %o) = @_;

    return mcp_post($uri, rpc($method, $params, id => 'r' . ++$id), close => 1,
                    token => $o{token} // $warm, timeout => 15) // {};
}

sub call { my $tool = shift; ask(shift, 'tools/call', { name => $tool }, @_) }


my $page;

{
    my $b = $g->browser;
    my $r = $b->get($g->url);

    is($r->{status}, 200, 'signed in');
    $page = $b;
}

# what is asked; how the answer looks when all went well

my @requests = (
    [ 'an allowed call', sub { call('echo', '/lists') },
      qr/called echo/ ],
    [ 'an allowed call, token not known', sub { call('echo', '/lists', @_) },
      qr/called echo/, before => sub { (token => token()) } ],
    [ 'a denied call', sub { call('delete_all', '/lists') },
      qr/Unknown tool/ ],
    [ 'a list in JSON', sub { ask('/lists', 'tools/list', {}) },
      qr/"echo"/ ],
    [ 'a list in events', sub { ask('/lists', 'tools/list', {}) },
      qr/"echo"/, before => sub {
          $up->clear;
          $up->answer({ result => { tools => [ map { { name => $_ } }
              qw/ echo delete_all add delete_two / ] }, as_sse => 1 });
          return ();
      } ],
    [ 'a long list in pieces', sub { ask('/lists', 'tools/list', {}) },
      qr/"echo"/, before => sub {
          $up->clear;
          $up->answer({ split => 700, chunked => 1, result => { tools => [ map {
              { name => $_, description => 'x' x 3000 } }
              qw/ echo delete_all add delete_two / ] } });
          return ();
      } ],
    [ 'a PAT of the file', sub { call('add', '/lists', token => $pat->{token}) },
      qr/called add/ ],
    [ 'a PAT of Redis', sub { call('add', '/lists', @_) }, qr/called add/,
      before => sub {
          my $k = $kept->pat(%of);
          $redis->write_tokens($kept, $k);
          return (token => $k->{token});
      } ],
    [ 'a static credential', sub { call('echo', '/bot') }, qr/called echo/ ],
    [ 'a credential of Redis', sub { call('x', '/mcp') }, qr/alice/,
      before => sub {
          my $name = $vault->name({ credential => 'jira', user => 'alice',
                                    issuer => $okta->{issuer} });
          $redis->command('PUBLISH', 'mcp:events', "cred $name");
          sleep 0.02;
          return ();
      } ],
    [ 'a page', sub { $page->get($g->url) // {} }, qr/<h1>/ ],
    [ 'the beginning of a grant', sub {
          local $page->{follow} = 0;
          $page->get($g->url('start/jira')) // {};
      }, qr/<h1>/ ],
    [ 'a sign-in', sub {
          my $b = $g->browser(follow => 0);
          $b->get($g->url('login'), headers => [ [ 'X-Real-IP' =>
                  sprintf '10.1.%d.%d', ++$id / 256, $id % 256 ] ]) // {};
      }, qr/^$/, status => 303 ],
);


my ($worker) = $t->workers;


# 1: a whole answer, as it has to be

sub good {
    my ($r, $like, $status) = @_;

    return ($r->{status} // 0) == ($status // 200)
           && ($r->{complete} // 1) && ($r->{body} // '') =~ $like;
}


# what must not be, in whatever was received

sub bad {
    my ($r, $like, $status, $time) = @_;
    my $s = $r->{status} // 0;
    my $body = $r->{body} // '';

    return "took $time s" if $time > 12;
    return 'shows what is forbidden' if $body =~ /"name":"delete_/;
    return 'shows a secret' if $body =~ /bot-secret/;
    return "is $s, and not what was asked for: $body"
        if $s == 200 && ($r->{complete} // 1) && $body !~ $like
           && $body !~ /"error"|isError/;

    return undef;
}


# one scenario, one n: undef, or what is wrong; and whether it failed at all

sub try {
    my ($q, $n, $all) = @_;
    my (undef, $code, $like, %o) = @$q;
    my @with = $o{before} ? $o{before}->() : ();
    my $begun = time;
    my ($r, $failed) = $alloc->fail($n, sub { eval { $code->(@with) } || {} },
                                    all => $all);
    my $wrong = bad($r, $like, $o{status}, time - $begun);

    return ("$wrong", $failed) if $wrong;
    return ('the worker is another one', $failed)
        if ($t->workers)[0] != $worker;
    return (undef, $failed) if good($r, $like, $o{status});
    return ('nothing failed, and it is not what it should be: '
            . ($r->{status} // 'no answer') . ' ' . ($r->{body} // ''), 0)
        if !$failed;

    return (undef, $failed);
}


# afterwards it is as it was; what was lost with a failure (the subscription, a
# connection) may take a moment

sub recovered {
    my ($q) = @_;
    my (undef, $code, $like, %o) = @$q;

    return MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
        my @with = $o{before} ? $o{before}->() : ();
        return good(eval { $code->(@with) } || {}, $like, $o{status});
    });
}


for my $q (@requests) {
    my $what = $q->[0];
    my @before;

    ok(recovered($q), "$what: works") or next;

    my $need = $alloc->count(sub {
        @before = $q->[3] && {@$q[3 .. $#$q]}->{before}
                  ? {@$q[3 .. $#$q]}->{before}->() : ();
        $q->[1]->(@before);
    });

    my $step = $need > $SAMPLE ? $need / $SAMPLE : 1;
    my ($tried, $failed, @wrong) = (0, 0);

    # timers allocate too: some more than were needed

    for my $all ($ENV{MCP_ALLOC_ALL} ? (0, 1) : 0) {
        for (my $x = 1; $x <= $need + 3 && @wrong < 3; $x += $step) {
            my $n = int $x;
            my ($wrong, $did) = try($q, $n, $all);

            $tried++;
            $failed += $did ? 1 : 0;
            push @wrong, "allocation $n of $need: $wrong" if defined $wrong;

            if (!recovered($q)) {
                push @wrong, "allocation $n of $need: does not work after it";
                last;
            }
        }
    }

    is(join("\n", @wrong), '', "$what: $tried of $need, $failed failed");
    ($worker) = $t->workers;
}


# each call that reached the upstream was allowed, and is on record

my (%record, @without);

push @{$record{$_->{rpc_id} // ''}}, $_->{decision} . ' ' . $_->{reason}
    for $t->audit(1);

my @seen = map { $_->{json}{id} // () } $up->requests(1);

for (@seen) {
    my $of = join ', ', @{$record{$_} || ['none']};

    # what failed afterwards is an error, of the upstream's or of the answer

    push @without, "$_: $of" if $of !~ /\A(?:allow |error upstream_)[^,]*\z/;
}

is(join("\n", @without), '', 'no call of an upstream without its record');
ok(@seen > 10, scalar(@seen) . ' of them');

done_testing;

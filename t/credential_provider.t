#!/usr/bin/perl

# A token endpoint that is slow, down, busy, broken or says no: what it says is
# understood for what it is, it is not asked over and over, and no grant is
# lost by it.
#
# Under each fault there are three callers: one whose access token is due to be
# refreshed and still good, one whose access token has expired, and a
# credential of the gateway itself (client_credentials) that it does not have
# yet.  Four providers have faults at the same time, each another one.

use strict;
use warnings;

use lib 't/lib';

use JSON::PP ();
use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Issuer;
use MCP::Provider;
use MCP::Redis;
use MCP::Vault;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $redis = MCP::Redis->start($t);
my $vault = MCP::Vault->new($t);

# The last one's used refresh tokens live a while, as Okta's and Atlassian's.  A
# lane is a provider and the server behind it.

my $lanes = 4;
my @lanes = map {
    my $idp = MCP::Provider->start($t, name => "idp$_", port => 8090 + $_,
        grace => $_ == $lanes - 1 ? 600 : 0, clients => {
            gw => { secret => 'gw-secret-of-faults', auth => 'post' } });

    $idp->resource(port => 8060 + $_);

    { n => $_, idp => $idp, up => 8060 + $_ };
} 0 .. $lanes - 1;

# name, class, options:
#   do => [...]    what it does, or down => 1
#   soft => 1      it happened and the answer is bad: a grant lives on only
#                  where a used refresh token does
#   hold => s      nobody asks again for so long
#   dead => 1      the person has to grant it again

my @faults = (
    { name => '500', class => 'transient', do => ['status', status => 500] },
    { name => '503', class => 'transient', do => ['status', status => 503] },
    { name => '503, Retry-After', class => 'transient', hold => 7,
      do => ['status', status => 503, retry_after => 7] },
    { name => '429', class => 'transient', do => ['status', status => 429] },
    { name => '429, Retry-After', class => 'transient', hold => 6,
      do => ['status', status => 429, retry_after => 6] },
    { name => 'temporarily_unavailable', class => 'transient',
      do => ['error', error => 'temporarily_unavailable', status => 400] },
    { name => 'ratelimited in a 200', class => 'transient',
      do => ['body', body => '{"ok":false,"error":"ratelimited"}'] },
    { name => 'an error that nobody knows, in a 200', class => 'transient',
      do => ['body', body => '{"error":"moon_phase"}'] },
    { name => 'down', class => 'transient', down => 1 },

    { name => '502', class => 'unknown', do => ['status', status => 502] },
    { name => '504', class => 'unknown', do => ['status', status => 504] },
    { name => 'no answer', class => 'unknown', do => ['silent'] },
    { name => 'closed', class => 'unknown', do => ['close'] },
    { name => 'reset', class => 'unknown', do => ['reset'] },
    { name => 'HTML', class => 'unknown', do => ['html'] },
    { name => 'nothing in it', class => 'unknown', do => ['empty'] },
    { name => 'a token with a line end', class => 'unknown',
      do => ['body', body => '{"access_token":"a\r\nX-Evil: 1",'
                             . '"token_type":"Bearer","expires_in":60}'] },
    { name => 'a token twice', class => 'unknown',
      do => ['body', body => '{"access_token":"a","access_token":"b",'
                             . '"token_type":"Bearer","expires_in":60}'] },

    { name => 'slow', class => 'unknown', soft => 1,
      do => ['slow', seconds => 3] },
    { name => 'byte by byte', class => 'unknown', soft => 1,
      do => ['trickle', seconds => 0.1] },
    { name => 'truncated', class => 'unknown', soft => 1,
      do => ['truncated'] },
    { name => 'closed after it happened', class => 'unknown', soft => 1,
      do => ['close', effect => 1] },
    { name => '10 MB', class => 'unknown', soft => 1, do => ['huge'] },
    { name => 'header lines without end', class => 'unknown', soft => 1,
      do => ['headers'] },
    { name => 'token_type mac', class => 'unknown', soft => 1, do => ['mac'] },
    { name => 'a refresh token that is none', class => 'unknown', soft => 1,
      do => ['change', with => { refresh_token => 7 }] },
    { name => 'an answer that nobody waits for', class => 'unknown', soft => 1,
      do => ['late', seconds => 2] },

    { name => 'invalid_client', class => 'client_bad', hold => 30,
      do => ['error', error => 'invalid_client', status => 401] },
    { name => 'incorrect_client_credentials in a 200', class => 'client_bad',
      hold => 30, do => ['body',
                         body => '{"error":"incorrect_client_credentials"}'] },
    { name => '401 and HTML', class => 'client_bad', hold => 30,
      do => ['status', status => 401] },
    { name => 'redirected', class => 'client_bad', hold => 30,
      do => ['redirect'] },
    { name => 'invalid_scope', class => 'client_bad', hold => 30,
      do => ['error', error => 'invalid_scope', status => 400] },

    { name => 'invalid_grant', class => 'grant_dead', dead => 1,
      do => ['error', error => 'invalid_grant', status => 400] },
    { name => 'bad_refresh_token in a 200', class => 'grant_dead', dead => 1,
      do => ['body', body => '{"error":"bad_refresh_token"}'] },
    { name => 'token_revoked in a 200', class => 'grant_dead', dead => 1,
      do => ['body', body => '{"ok":false,"error":"token_revoked"}'] },
    { name => 'interaction_required', class => 'interact', dead => 1,
      do => ['error', error => 'interaction_required', status => 400] },
);

# those first that nobody may ask for long after, and that are looked at last

@faults = sort { ($b->{hold} || 0) <=> ($a->{hold} || 0) } @faults;

my %reason = (transient => 'credential_provider',
              unknown => 'credential_unknown',
              client_bad => 'credential_client',
              grant_dead => 'credential_refused',
              interact => 'credential_refused');

my $common = <<'END';
        auth_method    client_secret_post;
        client_id      gw;
        client_secret  ${file:%%TESTDIR%%/client.secret};
        timeout        500ms;
END

my $server = 'resource https://mcp.example.com/mcp; issuer okta;'
             . ' role * { allow tool *; }';
my ($blocks, $places) = ('', '');

sub block {
    my ($lane, $name, $more) = @_;
    my $endpoint = $lane->{idp}->endpoint;

    $blocks .= <<"END";
    mcp_credential $name {
        token_endpoint $endpoint;
$common
        $more
    }
    mcp_server $name { credential $name; $server }
END
    $places .= "location = /$name { mcp_auth $name;"
               . " proxy_pass http://127.0.0.1:%%PORT_$lane->{up}%%; }\n";
}

# Each fault has credentials for itself: one that is held off is so for
# everybody who has it.  Faults take lanes in turn.

my $turn = 0;
my $last = { name => 'last', n => 'last', lane => $lanes[0] };

for my $i (0 .. $#faults) {
    my $f = $faults[$i];

    $f->{n} = $i;
    $f->{lane} = $lanes[$f->{soft} ? $lanes - 1 : $turn++ % ($lanes - 1)];
    push @{$f->{lane}{faults}}, $f;
}

for my $f (@faults, $last) {
    my $grace = $f->{soft} ? 'grace 600s;' : '';

    block($f->{lane}, "own$f->{n}",
          "type client_credentials; scope fault-$f->{n};");
    block($f->{lane}, "people$f->{n}", "type user; $grace"
          . " connect_url https://gw.example.com/connect/people$f->{n};");
}

$t->write_file('client.secret', "gw-secret-of-faults\n");
$t->write_conf(<<"END");
%%GLOBALS%%
worker_processes 2;
events { worker_connections 400; }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_vault_keys @{[ $vault->file ]};
    mcp_redis { server @{[ $redis->server ]}; }
    %%ISSUER_okta%%
    $blocks
    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport;
        location /status { mcp_status; }
        $places
    }
}
END
$t->start;


# ---- callers

my $serial = 0;

# A person with a grant whose access token ends in so many seconds.

sub person {
    my ($f, $left) = @_;
    my $name = 'person-' . ++$serial;
    my $grant = $f->{lane}{idp}->grant($name);
    my $owner = { credential => "people$f->{n}",
                  issuer => $okta->{issuer}, user => $name };

    $grant->{expires} = int(time) + $left;
    my $record = $vault->write($redis, $owner, $grant, issued => time - 300);

    return { name => $name, grant => $grant, owner => $owner,
             uri => "/people$f->{n}", record => $record,
             token => $okta->token(sub => $name) };
}


# Calls of several at once, for each of them (status, who the server was told it is, the
# response)

sub calls {
    my (@who) = @_;
    my @conns = map {
        mcp_start($_->{uri}, rpc('tools/call', { name => 'echo',
                                                 arguments => {} }),
                  token => $_->{token})
    } @who;

    return map {
        my $r = $_->read_response;
        my $told = ($r->{status} // 0) == 200 ? MCP::Provider->told($r)
                                              : undef;

        [ $r->{status} // 0, $told ? $told->{user} // $told->{client} : '',
          $r ]
    } @conns;
}


sub call { my ($got) = calls(@_); return @$got }


sub works {
    my ($who) = @_;
    my ($status, $told) = call($who);
    return $status == 200 && $told eq $who->{name};
}


# what the audit says of each since the last time: name -> reason -> times

my $read = 0;

sub reasons {
    my %got;

    open my $fh, '<:raw', $t->dir . '/audit.log' or return {};
    seek $fh, $read, 0;

    while (my $line = <$fh>) {
        last unless $line =~ /\n\z/;
        $read = tell $fh;
        my $a = JSON::PP->new->utf8->decode($line);
        $got{$a->{user} // ''}{$a->{reason} // 'ok'}++ if $a->{ev} eq 'call';
    }

    return \%got;
}


# in force no more: nobody waits for the hold of another test

sub lift {
    my ($who) = @_;
    $redis->command('DEL', "$redis->{prefix}lock:$who->{record}");
}


sub begin {
    my ($f) = @_;
    my $lane = $f->{lane};

    $f->{asked} = $lane->{idp}->log;
    $f->{due} = person($f, 25);
    $f->{gone} = person($f, -5);
    $f->{self} = {
        name => 'gw', uri => "/own$f->{n}", user => "user-of-own$f->{n}",
        record => $vault->name({ credential => "own$f->{n}",
                                 scope => "fault-$f->{n}" }),
    };
    $f->{self}{token} = $okta->token(sub => $f->{self}{user});

    $f->{down} ? $lane->{idp}->stop : $lane->{idp}->misbehave(@{$f->{do}});
}


sub look {
    my (@f) = @_;
    my @who = map { @$_{qw/ due gone self /} } @f;
    my $began = time;

    while (time < $began + 1) {
        my @got = calls(@who);

        for my $i (0 .. $#who) {
            my ($status, $told, $r) = @{$got[$i]};

            $who[$i]{seen}{$status}++;
            $who[$i]{told}{$told}++ if $told ne '';
            $who[$i]{retry} = $r->{headers}{'retry-after'} if $status == 503;
            $who[$i]{body} = $r->{body};
        }

        sleep 0.02;
    }

    $_->{looked} = time - $began for @f;
}


sub check {
    my ($f, $log, $reasons) = @_;
    my ($name, $lane) = @$f{qw/ name lane /};
    my ($due, $gone, $self) = @$f{qw/ due gone self /};
    my $idp = $lane->{idp};

    is(join(' ', keys %{$due->{seen}}), '200', "$name: the old token serves");
    is(join(' ', keys %{$due->{told}}), $due->{name}, "$name: as hers");
    is(join(' ', keys %{$gone->{seen}}), $f->{dead} ? '200' : '503',
       "$name: without one it is refused");
    is(join(' ', keys %{$gone->{told} || {}}), '',
       "$name: and nothing forwarded");
    is(join(' ', keys %{$self->{seen}}), '503',
       "$name: the gateway's own, too");

    for my $who ($self, $f->{dead} ? () : $gone) {
        my $retry = $who->{retry} // '';

        like($retry, qr/\A[1-9]\d?\z/, "$name: Retry-After");
        cmp_ok($retry, '>=', 1 + $f->{hold} / 2, "$name: long enough")
            if $f->{hold};
    }

    like($gone->{body}, qr!https://gw\.example\.com/connect/!,
         "$name: told where to connect") if $f->{dead};

    # the class, in the log and on record

    my $mine = qr/mcp_credential "(?:people|own)$f->{n}"/;
    my @class = $log =~ /$mine: token endpoint: (\w+)/g;
    my %class = map { $_ => 1 } @class;

    is(join(' ', sort keys %class), $f->{class}, "$name: the class");

    # whoever comes while nobody may ask does not know why that is

    my %said = %{$reasons->{$f->{hold} ? $self->{user} : $gone->{name}} || {}};
    my $want = $f->{dead} ? 'grant_dead' : $reason{$f->{class}};

    ok(delete $said{$want}, "$name: on record");
    delete $said{credential_provider};
    is(join(' ', %said), '', "$name: and nothing else");

    # how often it was asked: for each of the three once in a second at most,
    # and of the grants that are over once; what it refuses to one of a
    # credential it need not be asked for the other

    my $n = $f->{down} ? @class : $idp->log - $f->{asked};
    my $each = $f->{hold} ? 1 : 2 + int $f->{looked};

    cmp_ok($n, '>=', $f->{hold} ? 2 : 3, "$name: it was asked");
    cmp_ok($n, '<=', $f->{dead} ? 2 + $each : 3 * $each,
           "$name: not over and over");

    if ($f->{hold}) {
        my $left = $redis->command('PTTL',
                                   "$redis->{prefix}lock:$self->{record}");
        cmp_ok($left, '>', 1000 * ($f->{hold} - 4), "$name: held off");
    }
}


# it is well again

sub after {
    my ($f) = @_;
    my ($name, $lane) = @$f{qw/ name lane /};
    my ($due, $gone, $self) = @$f{qw/ due gone self /};
    my $idp = $lane->{idp};
    my $wait = 15 + ($f->{hold} || 0);

    ok(MCP::Test::wait_until($wait, sub { works($self) }),
       "$name: the gateway's own comes back");

    if ($f->{dead}) {
        is($vault->read($redis, $_->{owner})->{state}, 'reauth',
           "$name: to be granted again") for $due, $gone;

        my $again = $idp->grant($gone->{name});
        my $version = $vault->read($redis, $gone->{owner})->{version};

        $vault->write($redis, $gone->{owner}, $again,
                      version => $version + 1);
        ok(MCP::Test::wait_until(15, sub { works($gone) }),
           "$name: granted again");
        return;
    }

    ok(MCP::Test::wait_until($wait, sub { works($gone) }),
       "$name: who had none is served");
    ok($idp->alive($_->{grant}), "$name: the grant lives") for $due, $gone;
    is($vault->read($redis, $_->{owner})->{state}, 'active',
       "$name: it is not called dead") for $due, $gone;
    is($idp->count(reuse => 1), 0, "$name: no used token was shown again");

    my $r = $vault->read($redis, $gone->{owner});
    cmp_ok($r->{version}, '>=', 2, "$name: a new version is stored");
    is($idp->who($r->{tokens}{access_token})->{user}, $gone->{name},
       "$name: and hers");
}


my $only = $ENV{MCP_TEST_FAULT};

while (my @now = grep { defined } map { shift @{$_->{faults}} } @lanes) {
    @now = grep { $_->{name} =~ /$only/ } @now if defined $only;
    next unless @now;

    my $from = length $t->read_log;

    reasons();
    begin($_) for @now;
    look(@now);

    my $log = substr $t->read_log, $from;
    my $reasons = reasons();

    check($_, $log, $reasons) for @now;

    for my $f (@now) {
        $f->{down} ? $f->{lane}{idp}->restart : $f->{lane}{idp}->behave;
        lift($_) for $f->{hold} ? () : @$f{qw/ due gone self /};
    }

    after($_) for grep { !$_->{hold} } @now;
}

# those have waited long enough, most of them

after($_) for grep { $_->{hold} && $_->{self} } @faults;


# ---- revoked at the provider

my $idp = $last->{lane}{idp};
my $who = person($last, -5);

$idp->revoke($who->{name});
my $n = $idp->log;

my ($status, $told, $r) = call($who);
is($status, 200, 'revoked: an answer for the client');
is($told, '', 'revoked: not forwarded');
like($r->{body}, qr!https://gw\.example\.com/connect/peoplelast!,
     'revoked: told where to connect');
call($who) for 1 .. 5;
is($idp->log - $n, 1, 'revoked: asked once');
is($vault->read($redis, $who->{owner})->{state}, 'reauth',
   'revoked: stored as that');


# ---- the rotation happened, its answer is lost, and there is no grace

$who = person($last, -5);
$n = $idp->log;
$idp->misbehave('close', effect => 1, times => 1);
is((call($who))[0], 503, 'lost: not known');
is($vault->read($redis, $who->{owner})->{state}, 'active',
   'lost: nobody calls it dead yet');
ok(MCP::Test::wait_until(15, sub { (call($who))[0] == 200 }),
   'lost: then it is known');
like((call($who))[2]{body}, qr!/connect/peoplelast!, 'lost: has to be granted');
is($idp->log - $n, 2, 'lost: one more was asked, not again and again');
ok($t->read_log =~ /outcome is unknown/, 'lost: said when it was unknown');
ok($t->read_log =~ /outcome was lost/, 'lost: and what came of it');

done_testing;

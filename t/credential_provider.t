#!/usr/bin/perl

# A token endpoint that is slow, down, busy, broken or says no: what it says is
# understood for what it is, it is not asked over and over, and no grant is
# lost by it.
#
# Under each fault there are three callers: one whose access token is due to be
# refreshed and still good, one whose access token has expired, and a
# credential of the gateway itself (client_credentials) that it does not have
# yet.

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
my $idp = MCP::Provider->start($t, name => 'idp', port => 8090,
    clients => { gw => { secret => 'gw-secret-of-faults', auth => 'post' } });

# a provider whose used refresh tokens live a while, as Okta and Atlassian

my $soft = MCP::Provider->start($t, name => 'soft', port => 8091, grace => 600,
    clients => { gw => { secret => 'gw-secret-of-faults', auth => 'post' } });

my $redis = MCP::Redis->start($t);
my $vault = MCP::Vault->new($t);

$idp->resource(port => 8081);
$soft->resource(port => 8082);

# name, class, what is on record, options:
#   do => [...]    what it does; or enter, leave: functions
#   soft => 1      it happened and the answer is bad: a grant lives on only
#                  where a used refresh token does
#   hold => s      nobody asks again for so long
#   dead => 1      the person has to grant it again
# A busy provider is asked at most twice in the time that this looks, each time
# for one caller.

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
    { name => 'down', class => 'transient',
      enter => sub { $idp->stop }, leave => sub { $idp->restart } },

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
    { name => 'a lifetime of -1', class => 'unknown', soft => 1,
      do => ['change', with => { expires_in => -1 }] },
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

my %reason = (transient => 'credential_provider',
              unknown => 'credential_unknown',
              client_bad => 'credential_client',
              grant_dead => 'credential_refused',
              interact => 'credential_refused');

my $n = 0;
my $own = join '', map {
    my $i = $n++;
    my $to = $_->{soft} ? $soft : $idp;
    my $up = $_->{soft} ? 8082 : 8081;

    $_->{n} = $i;
    <<"END";
    mcp_credential own_$i {
        type           client_credentials;
        token_endpoint @{[ $to->endpoint ]};
        auth_method    client_secret_post;
        client_id      gw;
        client_secret  \${file:%%TESTDIR%%/client.secret};
        scope          fault-$i;
        timeout        500ms;
    }
    mcp_server own_$i {
        resource https://mcp.example.com/mcp;
        issuer okta;
        credential own_$i;
        role * { allow tool *; }
    }
    server {
        listen unix:%%TESTDIR%%/own-$i;
        location / { mcp_auth own_$i;
                     proxy_pass http://127.0.0.1:%%PORT_$up%%; }
    }
END
} @faults;

my ($places, $people) = ('', '');

$places .= "location /own-$_ { proxy_pass http://unix:%%TESTDIR%%/own-$_:/; }\n"
    for 0 .. $#faults;

for (['jira', $idp, 8081], ['wiki', $soft, 8082]) {
    my ($name, $to, $up) = @$_;
    my $grace = $name eq 'wiki' ? 'grace 600s;' : '';

    $people .= <<"END";
    mcp_credential $name {
        type           user;
        token_endpoint @{[ $to->endpoint ]};
        auth_method    client_secret_post;
        client_id      gw;
        client_secret  \${file:%%TESTDIR%%/client.secret};
        timeout        500ms;
        connect_url    https://gw.example.com/connect/$name;
        $grace
    }
    mcp_server $name {
        resource https://mcp.example.com/mcp;
        issuer okta;
        credential $name;
        role * { allow tool *; }
    }
END
    $places .= "location /$name { mcp_auth $name;"
               . " proxy_pass http://127.0.0.1:%%PORT_$up%%; }\n";
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
    $people
    $own
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
    my ($fault, $left) = @_;
    my $to = $fault->{soft} ? $soft : $idp;
    my $credential = $fault->{soft} ? 'wiki' : 'jira';
    my $name = 'person-' . ++$serial;
    my $grant = $to->grant($name);
    my $owner = { credential => $credential, issuer => $okta->{issuer},
                  user => $name };

    $grant->{expires} = int(time) + $left;
    my $record = $vault->write($redis, $owner, $grant, issued => time - 300);

    return { name => $name, grant => $grant, owner => $owner, idp => $to,
             uri => "/$credential", record => $record,
             token => $okta->token(sub => $name) };
}


# (status, who the server was told it is, the response)

sub call {
    my ($who) = @_;
    my $r = call_tool($who->{uri}, 'echo', {}, token => $who->{token});
    my $told = ($r->{status} // 0) == 200 ? MCP::Provider->told($r) : undef;

    return ($r->{status} // 0, $told ? $told->{user} // $told->{client} : '',
            $r);
}


sub works {
    my ($who) = @_;
    my ($status, $told) = call($who);
    return $status == 200 && $told eq $who->{name};
}


# what the audit says of someone since a place in it: reason -> times

my $read = 0;

sub reasons {
    my %got;

    open my $fh, '<:raw', $t->dir . '/audit.log' or return {};
    seek $fh, $read, 0;

    while (my $line = <$fh>) {
        last unless $line =~ /\n\z/;
        $read = tell $fh;
        my $a = JSON::PP->new->utf8->decode($line);
        $got{$a->{user} // ''}{$a->{reason} // 'ok'}++;
    }

    return \%got;
}


# in force no more: nobody waits for the hold of another test

sub lift {
    my ($who) = @_;
    $redis->command('DEL', "$redis->{prefix}lock:$who->{record}");
}


sub fault {
    my ($f) = @_;
    my $name = $f->{name};
    my $to = $f->{soft} ? $soft : $idp;
    my $asked = $to->log;
    my $log = length $t->read_log;

    my $due = person($f, 25);
    my $gone = person($f, -5);
    my $own = { name => 'gw', uri => "/own-$f->{n}", record => $vault->name({
                    credential => "own_$f->{n}", scope => "fault-$f->{n}" }),
                token => $okta->token(sub => "owner-$f->{n}") };
    my @all = ($due, $gone, $own);

    reasons();
    $f->{do} ? $to->misbehave(@{$f->{do}}) : $f->{enter}->();

    my (%seen, %told, $retry, $shown);
    my $end = time + 1;

    while (time < $end) {
        for my $who (@all) {
            my ($status, $told, $r) = call($who);

            $seen{$who->{name}}{$status}++;
            $told{$who->{name}}{$told}++ if $told ne '';
            $retry = $r->{headers}{'retry-after'} if $status == 503;
            $shown = $r->{body} if $who == $gone;
        }

        sleep 0.02;
    }

    is(join(' ', keys %{$seen{$due->{name}}}), '200',
       "$name: the old token serves");
    is(join(' ', keys %{$told{$due->{name}}}), $due->{name}, "$name: as hers");
    is(join(' ', keys %{$seen{$gone->{name}}}), $f->{dead} ? '200' : '503',
       "$name: without one it is refused");
    is(join(' ', keys %{$told{$gone->{name}} || {}}), '',
       "$name: and nothing forwarded");
    is(join(' ', keys %{$seen{gw}}), '503', "$name: the gateway's own, too");

    like($retry, qr/\A[1-9]\d?\z/, "$name: Retry-After");
    cmp_ok($retry, '>=', 1 + $f->{hold} / 2, "$name: long enough") if $f->{hold};

    if ($f->{dead}) {
        like($shown, qr!https://gw\.example\.com/connect/!,
             "$name: told where to connect");
    }

    # the class, in the log and on record

    my $said = substr $t->read_log, $log;
    my %class = map { $_ => 1 } $said =~ /token endpoint: (\w+)/g;

    is(join(' ', sort keys %class), $f->{class}, "$name: the class");

    my $reasons = reasons();
    my $want = $f->{dead} ? 'grant_dead' : $reason{$f->{class}};

    # whoever comes while nobody may ask does not know why that is

    my %said = %{$reasons->{$gone->{name}} || {}};
    ok(delete $said{$want}, "$name: on record");
    delete $said{credential_provider};
    is(join(' ', %said), '', "$name: and nothing else");

    # how often it was asked: once or twice for each of the three

    my $n = $f->{enter} ? () = $said =~ /token endpoint:/g
                        : $to->log - $asked;
    my $once = $f->{hold} || $f->{dead} ? 4 : 7;

    cmp_ok($n, '>=', 3, "$name: it was asked");
    cmp_ok($n, '<=', $once, "$name: not over and over");

    if ($f->{hold}) {
        my $left = $redis->command('PTTL',
                                   "$redis->{prefix}lock:$gone->{record}");
        cmp_ok($left, '>', 1000 * ($f->{hold} - 4), "$name: held off");
    }

    # it is well again

    $f->{do} ? $to->behave : $f->{leave}->();
    lift($_) for @all;

    ok(MCP::Test::wait_until(15, sub { works($own) }),
       "$name: the gateway's own comes back");

    if ($f->{dead}) {
        is($vault->read($redis, $_->{owner})->{state}, 'reauth',
           "$name: to be granted again") for $due, $gone;

        my $again = $to->grant($gone->{name});
        my $version = $vault->read($redis, $gone->{owner})->{version};

        $vault->write($redis, $gone->{owner}, $again,
                      version => $version + 1);
        ok(MCP::Test::wait_until(15, sub { works($gone) }),
           "$name: granted again");
        return;
    }

    ok(MCP::Test::wait_until(15, sub { works($gone) }),
       "$name: who had none is served");
    ok($to->alive($_->{grant}), "$name: the grant lives") for $due, $gone;
    is($vault->read($redis, $_->{owner})->{state}, 'active',
       "$name: it is not called dead") for $due, $gone;
    is($to->count(reuse => 1), 0, "$name: no used token was shown again");

    my $r = $vault->read($redis, $gone->{owner});
    cmp_ok($r->{version}, '>=', 2, "$name: a new version is stored");
    is($to->who($r->{tokens}{access_token})->{user}, $gone->{name},
       "$name: and hers");
}


my $only = $ENV{MCP_TEST_FAULT};

for my $f (@faults) {
    next if defined $only && $f->{name} !~ /$only/;
    fault($f);
}


# ---- revoked at the provider

my $who = person({}, 25);
ok(works($who), 'before it was revoked');

$who = person({}, -5);
$idp->revoke($who->{name});
$n = $idp->log;

my ($status, $told, $r) = call($who);
is($status, 200, 'revoked: an answer for the client');
is($told, '', 'revoked: not forwarded');
like($r->{body}, qr!https://gw\.example\.com/connect/jira!,
     'revoked: told where to connect');
call($who) for 1 .. 5;
is($idp->log - $n, 1, 'revoked: asked once');
is($vault->read($redis, $who->{owner})->{state}, 'reauth',
   'revoked: stored as that');


# ---- the rotation happened, its answer is lost, and there is no grace

$who = person({}, -5);
$n = $idp->log;
$idp->misbehave('close', effect => 1, times => 1);
is((call($who))[0], 503, 'lost: not known');
is($vault->read($redis, $who->{owner})->{state}, 'active',
   'lost: nobody calls it dead yet');
ok(MCP::Test::wait_until(15, sub { (call($who))[0] == 200 }),
   'lost: then it is known');
like((call($who))[2]{body}, qr!/connect/jira!, 'lost: has to be granted');
is($idp->log - $n, 2, 'lost: one more was asked, not again and again');
like($t->read_log, qr/outcome is not known/, 'lost: said when it was unknown');
like($t->read_log, qr/outcome was lost/, 'lost: and what came of it');

done_testing;

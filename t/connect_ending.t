#!/usr/bin/perl

# mcp_connect: a person disconnects an account.  It is over here at once, and at
# its provider, which is told until it took it; only she can do it, by a form of
# her own session; what was granted in vain is not left about.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Connect;

my $t = MCP::Test->new;
my $g = MCP::Connect->new($t);
my $idp = $g->{idp};

$g->start(credential => 'scope "a.read b.write";', workers => 2);

sub wait_for { MCP::Test::wait_until($_[1] // $MCP::Test::TIMEOUT, $_[0]) }

sub owner { { credential => 'jira', issuer => $g->{okta}{issuer},
              user => $_[0] } }

sub state { ($g->{vault}->read($g->{redis}, owner($_[0])) || {})->{state}
            // '-' }

sub call {
    my ($user) = @_;
    return call_tool('/mcp', 'echo', {}, token => $g->{okta}->token(
        sub => $user, aud => 'https://mcp.example.com/mcp',
        -expires => 3000));
}

sub served { (MCP::Provider->told(call($_[0])) || {})->{user} // '-' }
sub reasons { join ' ', map { "$_->{method}:$_->{reason}" }
              grep { ($_->{user} // '') eq $_[0] && $_->{ev} =~ /connect|cred/ }
              $t->audit(0) }

# signed in as this person, who has connected the account

sub connected {
    my ($user, %o) = @_;
    $_->set(person => $user) for $g->{login}, $idp;
    my $b = $o{browser} || $g->browser;
    my $page = $b->submit($b->get($g->url('start/jira')), qr/start/);

    is($page->{url}, $g->url('done'), "$user: connected") or diag $page->{body};
    return $b;
}

my $alice = connected('alice');
my $bob = connected('bob');

my $page = $alice->get($g->url);
unlike($page->{body}, qr/Last used/, 'nobody used it yet');

is(served($_), $_, "$_ is served") for qw/ alice bob /;

ok(wait_for(sub { $alice->get($g->url)->{body} =~
                  m!Last used</dt><dd><time datetime="\d{4}-! }),
   'she sees when it was used last');
my $name = $g->{vault}->name(owner('alice'));
my $used = sub { $g->{redis}->command('HGET', "mcp:cred:$name", 'us') };
cmp_ok(abs($used->() - time), '<', 60, 'the record has it');

# but for a worker that has lost sight of it meanwhile

ok(wait_for(sub {
    my $before = $used->();
    sleep 1.1;
    served('alice') for 1 .. 3;
    return $used->() == $before;
}), 'which is not written for each call');

$page = $alice->get($g->url);
like($page->{body}, qr/Connected since/, 'she sees since when');

my $tokens = $g->{vault}->read($g->{redis}, owner('alice'))->{tokens};
cmp_ok(abs($tokens->{granted} - time), '<', 60, 'the record has it');

# ---- others cannot

my $form = { map { @$_ } map { @{$_->{fields}} }
             grep { $_->{action} =~ /disconnect/ } $alice->forms($page) };
my @forged = map { [ $_ => $form->{$_} ] } sort keys %$form;

is($bob->post($g->url('disconnect/jira'), \@forged)->{status}, 403,
   'with a token of her form in his browser');
is($g->browser->post($g->url('disconnect/jira'), \@forged)->{status}, 403,
   'without a session');
is($alice->post($g->url('disconnect/jira'), [])->{status}, 403,
   'without a token');
is(state($_), 'active', "$_ is connected") for qw/ alice bob /;
is($idp->count(kind => 'revoke'), 0, 'no provider heard of it');

# ---- she can

$page = $alice->submit($alice->get($g->url), qr/disconnect/);
is($page->{url}, $g->url, 'back at the list');
unlike($page->{body}, qr/Connected since/, 'which has it no more');

is(state('alice'), 'revoked', 'a tombstone');
ok(wait_for(sub { !$idp->alive('alice') }), 'over at the provider');
is(served('alice'), '-', 'over here');
is(served('bob'), 'bob', 'his is not');
ok($idp->alive('bob'), 'nor there');
is($idp->count(kind => 'revoke'), 1, 'told once');
ok(wait_for(sub { reasons('alice') =~ /credential_ended/ }), 'on record');
like(reasons('alice'), qr{connect/disconnect:allow}, 'what she did');
like(reasons('alice'),
     qr{credential/end:disconnected.*credential/revoke:credential_ended},
     'what came of it');

# again: there is none, which is what she wants

$page = $alice->post($g->url('disconnect/jira'), \@forged);
is($page->{url}, $g->url, 'a second time');
is($idp->count(kind => 'revoke'), 1, 'nothing is told');

# ---- connected again: that is another grant

connected('alice', browser => $alice);
is(served('alice'), 'alice', 'it serves');

# ---- a provider that is down, and a nginx that goes meanwhile

$idp->misbehave('status', status => 503, only => 'revoke');
$alice->submit($alice->get($g->url), qr/disconnect/);
is(state('alice'), 'revoked', 'over here all the same');
ok(wait_for(sub { $idp->count(kind => 'revoke', mode => 'status') }),
   'the provider does not take it');
$t->stop;
$idp->behave;
$t->start;
ok(wait_for(sub { !grep { !$_->{dead} && $_->{user} eq 'alice' }
                  values %{$idp->books->{families}} }, 40),
   'it is told when both are there again');

# ---- granted in vain: less than is needed

$_->set(person => 'carol') for $g->{login}, $idp;
$idp->set(scope => 'a.read');
my $carol = $g->browser;
$page = $carol->submit($carol->get($g->url('start/jira')), qr/start/);
like($page->{body}, qr/Less was granted/, 'less was granted');
is(state('carol'), '-', 'nothing is kept');
ok(wait_for(sub { !$idp->alive('carol') }), 'nor left at the provider');

done_testing;

#!/usr/bin/perl

# Who may do what: roles from the token's groups, their union, denies that win
# over any allow, globs, each kind of target and the ways around it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1,
                            conf => 'role lead mcp-leads mcp-chiefs;'
                                    . ' role support support;'
                                    . ' role engineer engineer;'
                                    . ' role intern intern;'
                                    . ' role ops ops; role exact exact;');
my $up = MCP::Upstream->start($t, port => 8081,
    tools => [qw/ ping_all search secret delete_a delete_b maybe admin_x /],
    prompts => [qw/ greet hidden /], resources => [qw! doc://a sec://b !]);

$t->write_conf(<<'END');
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;

    %%ISSUER_okta%%

    mcp_server mcp {
        resource https://mcp.example.com/mcp;
        issuer okta;
        scope mcp.use;

        role *        { allow tool ping_all; allow prompt greet; }
        role support  { allow tool search delete_a;
                        allow resource doc://*; }
        role engineer { allow tool *; deny tool secret;
                        allow prompt *; allow resource *;
                        deny resource sec://*; }
        role intern   { deny tool delete_*; allow tool sea*h;
                        allow tool maybe where /ok = yes; }
        role lead     { allow tool secret admin_*; allow resource sec://*; }
        role ops      { allow method x/* y/z; }
        role exact    { allow tool a.b "two words" "a*c*"; }

        step_up scope=admin.write,admin.read tool admin_*;
        step_up scope=admin.more tool admin_x;
        step_up scope=doc.read resource doc://secret/*;
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        location / {
            mcp_auth mcp;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END
$t->start;

my %tokens;

sub token {
    my ($groups, $scope) = @_;
    return $tokens{"$groups/" . ($scope // '')} ||= $okta->token(
        groups => [ split ' ', $groups ],
        scp => [ split ' ', $scope // 'mcp.use' ]);
}


# what the client gets, whether it went upstream, the record

sub ask {
    my ($groups, $method, $params, %o) = @_;
    my $r = mcp_post('/mcp', rpc($method, $params, %o), %o,
                     token => token($groups, $o{scope}));
    my @seen = $up->requests_next($o{reaches} ? 1 : 0, settle => 0);
    my @audit = $t->audit_next(1, settle => 0.01);

    is(scalar @audit, 1, "$groups: $method: one record");
    return ($r, scalar @seen, $audit[0]);
}


sub may {
    my ($groups, $method, $params, $rule, %o) = @_;
    my ($r, $seen, $a) = ask($groups, $method, $params, %o, reaches => 1);
    my $what = "'$groups' may $method " . (values %$params)[0];

    is($seen, 1, "$what: reaches the upstream");
    is($a->{decision}, 'allow', "$what: allowed");
    is($a->{rule}, $rule, "$what: by the rule");
}


sub may_not {
    my ($groups, $method, $params, $reason, $rule, $code, %o) = @_;
    my ($r, $seen, $a) = ask($groups, $method, $params, %o);
    my $what = "'$groups' may not $method " . (values %$params)[0];

    is($seen, 0, "$what: does not reach the upstream");
    is($r->{status}, $o{status} || 200, "$what: status");
    is($r->{json}{error}{code}, $code || -32602, "$what: code");
    is($a->{decision}, 'deny', "$what: denied");
    is($a->{reason}, $reason, "$what: $reason");
    is($a->{rule}, $rule, "$what: by the rule");
}


sub tool { ('tools/call', { name => $_[0] }) }

# roles

may('', tool('ping_all'), '*: allow tool ping_all');
may_not('', tool('search'), 'no_rule');
may_not('unheard-of', tool('search'), 'no_rule');
may('support', tool('search'), 'support: allow tool search delete_a');
may('unheard-of support', tool('search'), 'support: allow tool search delete_a');
may_not('Support', tool('search'), 'no_rule');
may_not('support ', tool('secret'), 'no_rule');
may('mcp-leads', tool('secret'), 'lead: allow tool secret admin_*');
may('mcp-chiefs', tool('secret'), 'lead: allow tool secret admin_*');
may_not('lead', tool('secret'), 'no_rule');
may_not('mcp', tool('secret'), 'no_rule');

# the union; a deny of any role wins

may('support mcp-leads', tool('search'), 'support: allow tool search delete_a');
may('support mcp-leads', tool('secret'), 'lead: allow tool secret admin_*');
may('engineer', tool('whatever'), 'engineer: allow tool *');
may_not('engineer', tool('secret'), 'deny_rule', 'engineer: deny tool secret');
may_not('engineer mcp-leads', tool('secret'), 'deny_rule',
        'engineer: deny tool secret');
may_not('mcp-leads engineer', tool('secret'), 'deny_rule',
        'engineer: deny tool secret');
may_not('support intern', tool('delete_a'), 'deny_rule',
        'intern: deny tool delete_*');
may_not('intern engineer', tool('delete_'), 'deny_rule',
        'intern: deny tool delete_*');
may('intern engineer', tool('delete'), 'engineer: allow tool *');

# globs: anchored, byte for byte, the star alone is special

may('intern', tool($_), 'intern: allow tool sea*h')
    for 'search', 'seah', 'sea/../h', "sea\nh";
may_not('intern', tool($_), 'no_rule')
    for 'seah ', ' seah', 'Search', 'sea', 'xsearch', 'searchx';
may('exact', tool($_), 'exact: allow tool a.b "two words" a*c*')
    for 'a.b', 'two words', 'abcd', 'ac', 'acc';
may_not('exact', tool($_), 'no_rule') for 'axb', 'two', 'words', 'a';

# prompts and resources, and what leads to them

may('', 'prompts/get', { name => 'greet' }, '*: allow prompt greet');
may_not('', 'prompts/get', { name => 'hidden' }, 'no_rule');
may_not('', 'tools/call', { name => 'greet' }, 'no_rule');
may('support', 'resources/read', { uri => 'doc://a' },
    'support: allow resource doc://*');
may_not('support', 'resources/read', { uri => 'sec://b' }, 'no_rule');
may_not('support', 'resources/read', { uri => 'sec://b' }, 'no_rule', undef,
        -32002, era => 'legacy');
may_not('engineer mcp-leads', 'resources/read', { uri => 'sec://b' },
        'deny_rule', 'engineer: deny resource sec://*');

# what a server's URL parser makes of a URI is not what was allowed

may_not('support', 'resources/read', { uri => $_ }, 'uri_form')
    for 'doc://a/../../sec', 'doc://a/%2E%2e/b', 'doc://a/..\\b', 'doc://a/..',
        'doc://a/./b?c', "doc://a\tb", 'doc://a%2f..%2fb', 'doc://a ';
may('support', 'resources/read', { uri => $_ },
    'support: allow resource doc://*')
    for 'doc://a/...', 'doc://a/.b/c..', 'doc://a?b=/../c', 'doc://a b/%20';
may_not('engineer', 'resources/read', { uri => $_ }, 'deny_rule',
        'engineer: deny resource sec://*')
    for 'SEC://b', 'sec:/b', 's%65c://b', 'sec:\\\\b', 'sec:////b';
may_not('engineer', 'resources/read', { uri => $_ }, 'uri_form')
    for ' sec://b', "s\nec://b", 'file:x', 'HTTPS:x';
may('engineer', 'resources/read', { uri => $_ }, 'engineer: allow resource *')
    for 'DOC://a', 'users/me', 'file:///x', 'urn:x:y';

for my $m ('resources/subscribe', 'resources/unsubscribe') {
    may('support', $m, { uri => 'doc://a' }, 'support: allow resource doc://*',
        era => 'legacy');
    may_not('support', $m, { uri => 'sec://b' }, 'no_rule', undef, -32002,
            era => 'legacy');
}

sub ref_to { ('completion/complete', { ref => { @_ } }) }

may('', ref_to(type => 'ref/prompt', name => 'greet'),
    '*: allow prompt greet');
may_not('', ref_to(type => 'ref/prompt', name => 'hidden'), 'no_rule');
may_not('', ref_to(type => 'ref/prompt', name => 'hidden', uri => 'doc://a'),
        'no_rule');
may('support', ref_to(type => 'ref/resource', uri => 'doc://{x}'),
    'support: allow resource doc://*');
may_not('support', ref_to(type => 'ref/resource', uri => 'sec://{x}'),
        'no_rule');
may_not('support', ref_to(type => 'ref/resource', uri => 'sec://b',
                          name => 'greet'), 'no_rule');

sub listen_to {
    ('subscriptions/listen',
     { notifications => { toolsListChanged => JSON::PP::true,
                          resourceSubscriptions => [@_] } });
}

may('support', listen_to('doc://a', 'doc://b'),
    'support: allow resource doc://*');
may_not('support', listen_to('doc://a', 'sec://b'), 'no_rule');
may_not('support', listen_to('sec://b', 'doc://a'), 'no_rule');
may_not('', listen_to('doc://a'), 'no_rule');
may_not('support', listen_to('doc://a', 'doc://a/../b'), 'uri_form');
may_not('support', ref_to(type => 'ref/resource', uri => 'doc://a/../{x}'),
        'uri_form');
may('', listen_to(), undef);
may_not('engineer', 'subscriptions/listen',
        { notifications => { taskIds => ['a'] } }, 'task_owner', undef,
        -32602);

# tasks belong to who started them; other methods to whom a rule names

may_not('engineer', $_, { taskId => 'a' }, 'task_owner', undef, -32602)
    for 'tasks/get', 'tasks/update', 'tasks/cancel', 'tasks/result';
may_not('engineer', $_, { taskId => 'a' }, 'task_owner', undef, -32602,
        era => 'legacy') for 'tasks/get', 'tasks/result';
may('ops', 'x/anything', { a => 1 }, 'ops: allow method x/* y/z');
may('ops', 'y/z', { a => 1 }, 'ops: allow method x/* y/z');
may_not('ops', 'y/zz', { a => 1 }, 'no_rule', undef, -32601, status => 404);
may_not('ops', 'X/anything', { a => 1 }, 'no_rule', undef, -32601,
        status => 404);
may_not('engineer', 'x/anything', { a => 1 }, 'no_rule', undef, -32601,
        status => 404);
may_not('engineer', 'x/anything', { a => 1 }, 'no_rule', undef, -32601,
        era => 'legacy');

for (['ops', 'x/tell', 1], ['engineer', 'x/tell', 0],
     ['ops', 'notifications/unheard-of', 0])
{
    my ($groups, $method, $passes) = @$_;
    my ($r, $seen, $a) = ask($groups, $method, {}, id => undef,
                             reaches => $passes);

    is($r->{status}, 202, "notification $method of $groups: 202");
    is($seen, $passes, "notification $method of $groups: upstream $passes");
    is($a->{decision}, $passes ? 'allow' : 'deny', 'and so on record');
}

# scopes: the server's for everything, a step-up for what the role allows

sub small {
    my ($groups, $scope, $need, $rule, $method, $params) = @_;
    my ($r, $seen, $a) = ask($groups, $method, $params, scope => $scope);

    is($r->{status}, 403, "$method with '$scope': 403");
    is($seen, 0, "$method with '$scope': goes nowhere");
    like($r->{headers}{'www-authenticate'},
         qr/^Bearer error="insufficient_scope", scope="\Q$need\E", /,
         'the challenge has all the scopes');
    is($a->{reason}, 'insufficient_scope', 'insufficient_scope');
    is($a->{decision}, 'deny', 'denied');
    is($a->{rule}, $rule, 'the step-up on record');
}

my $two = 'step_up scope=admin.write,admin.read tool admin_*';

small('', 'other', 'mcp.use', undef, tool('ping_all'));
small('', 'mcp.use2', 'mcp.use', undef, 'tools/list', {});
small('mcp-leads', 'mcp.use', 'mcp.use admin.write admin.read', $two,
      tool('admin_y'));
small('mcp-leads', 'mcp.use admin.read', 'mcp.use admin.write admin.read',
      $two, tool('admin_y'));
small('mcp-leads', 'mcp.use admin.read admin.write',
      'mcp.use admin.write admin.read admin.more',
      'step_up scope=admin.more tool admin_x', tool('admin_x'));
may('mcp-leads', tool('admin_y'), 'lead: allow tool secret admin_*',
    scope => 'mcp.use admin.read admin.write');

# whom no scope would help is not sent for one

may_not('support', tool('admin_x'), 'no_rule');

small('support', 'mcp.use', 'mcp.use doc.read',
      'step_up scope=doc.read resource doc://secret/*', 'resources/read',
      { uri => 'doc://secret/a' });
small('support', 'mcp.use', 'mcp.use doc.read',
      'step_up scope=doc.read resource doc://secret/*',
      listen_to('doc://a', 'doc://secret/a'));
small('support', 'mcp.use', 'mcp.use doc.read',
      'step_up scope=doc.read resource doc://secret/*', 'resources/read',
      { uri => 'doc://SECR%45T//a' });
may('support', listen_to('doc://secret/a'), 'support: allow resource doc://*',
    scope => 'mcp.use doc.read');

# lists show what may be done, and what may be done under conditions

for (['', 'ping_all'], ['support', 'ping_all search delete_a'],
     ['intern', 'ping_all search maybe'],
     ['engineer', 'ping_all search delete_a delete_b maybe admin_x'],
     ['engineer intern', 'ping_all search maybe admin_x'])
{
    my ($groups, $tools) = @$_;
    my ($r) = ask($groups, 'tools/list', {}, reaches => 1);
    is(join(' ', map { $_->{name} } @{$r->{json}{result}{tools}}), $tools,
       "'$groups' sees its tools");
}

done_testing;

#!/usr/bin/perl

# enforce shadow: what the rules or a scope would deny is recorded and let pass,
# for a server or for one role; everything else is enforced as ever.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Trap http => <<'HTTP', conf => <<'CONF';
    mcp_server tried {
        resource https://mcp.example.com/tried;
        issuer okta;
        enforce shadow;
        scope use;
        role * { allow tool echo; deny tool rm*; }
        role lead { allow tool lead where /n = 1; }
        step_up scope=big tool echo;
    }
    mcp_server partly {
        resource https://mcp.example.com/partly;
        issuer okta;
        role support  { allow tool echo; deny tool drop_*;
                        deny resource stub://z; }
        role engineer { enforce shadow; allow tool build make where /n = 1;
                        deny tool erase; allow resource stub://a; }
        role admin    { enforce on; allow tool erase; }
        step_up scope=big tool build;
    }
HTTP
        location /tried {
            mcp_auth tried;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /partly {
            mcp_auth partly;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /none {
            mcp_auth tried;
            proxy_pass http://127.0.0.1:%%PORT_8089%%;
        }
CONF

my $nobody = issuer->token(sub => 'bob', scp => ['use', 'big'], groups => []);
my $small = issuer->token(sub => 'bob', scp => ['use'], groups => []);
my $none = issuer->token(sub => 'bob', groups => []);

sub at {
    my ($uri, $token, $msg, %o) = @_;
    return mcp_post($uri, $msg, token => $token, era => 'none', %o);
}

# reaches the upstream, and says so

sub would_deny {
    my ($r, $reason, $rule, $what) = @_;

    is($r->{status}, 200, "$what: passes");
    is(scalar arrived(1), 1, "$what: upstream");

    my $a = record($what);
    is("$a->{decision} $a->{reason}", "would_deny $reason", "$what: recorded");
    is($a->{rule}, $rule, "$what: by which rule") unless ref $rule;
    return $a;
}


# a server

passes(at('/tried', $nobody, call('echo')), 'what is allowed');
would_deny(at('/tried', $nobody, call('other')), 'no_rule', undef, 'no rule');
would_deny(at('/tried', $nobody, call('rm_x')), 'deny_rule',
           '*: deny tool rm*', 'a deny');
would_deny(at('/tried', $small, call('echo')), 'insufficient_scope',
           'step_up scope=big tool echo', 'a step-up');
would_deny(at('/tried', $none, call('echo')), 'insufficient_scope', [],
           'the server\'s scope');
would_deny(at('/tried', issuer->token(scp => 'use', groups => ['lead']),
              call('lead')), 'allow_unclear', 'lead: allow tool lead where /n '
           . '= 1', 'a condition that is not clear');
would_deny(at('/tried', $nobody, '{"jsonrpc":"2.0","id":1,"method":"x/y",'
              . '"params":{}}'), 'no_rule', undef, 'an extension\'s method');

# what no shadow opens

refused(at('/tried', undef, call('echo')), 401, undef, 'no_token', 'no token');
refused(at('/tried', 'x.y.z', call('echo')), 401, undef, undef, 'a bad one');
refused(at('/tried', $nobody, '[]'), 400, -32600, 'batch', 'a batch');
refused(at('/tried', $nobody, call('echo'), headers => { 'Mcp-Name' => 'x' }),
        400, -32020, 'name_mismatch', 'another name in the header');
refused(at('/tried', $nobody, call('echo'),
           headers => { Origin => 'https://evil.example' }), 403, 403,
        'origin', 'a foreign page');
refused(at('/tried', $nobody, call('echo', id => undef)), 202, undef,
        'message_form', 'a call as a notification');
refused(at('/tried', $nobody, call('echo'), session => 'x'), 404, 404,
        'session', 'a session of others');
refused(at('/tried', $nobody, '{"jsonrpc":"2.0","id":1,"method":"'
           . 'subscriptions/listen","params":{}}'), 200, -32601, 'era',
        'a method of the other era');
refused(at('/tried', $nobody, '{"jsonrpc":"2.0","id":1,"method":"tasks/get",'
           . '"params":{"taskId":"x"}}'), 200, undef, 'task_owner',
        'somebody\'s task');

# lists are whole, and what would be cut is counted once

upstream->answer({ result => { tools => [
    (map { { name => $_ } } qw/ echo rm_a other /), 'x', {} ] } });

my $r = list_tools('/tried', token => $nobody);

is(join(' ', map { $_->{name} } @{$r->{json}{result}{tools}}),
   'echo rm_a other', 'a list: what can be read is there');
is(record()->{result}{removed}, 4, 'what would be cut, and what was');
arrived(1);

# what happened then is in the status; what would have been denied stays

upstream->answer({ status => 401, body => '{}' });
$r = at('/tried', $nobody, call('rm_x'));
is($r->{status}, 502, 'the upstream fails');
is(record()->{decision}, 'would_deny', 'and the record keeps would_deny');
arrived(1);
$r = at('/none', $nobody, call('rm_x'));
is($r->{status}, 502, 'there is no upstream');

my $a = record();
is("$a->{decision} $a->{rule} $a->{result}{status}",
   'would_deny *: deny tool rm* 502', 'likewise');

upstream->answer({ sse => [ "data: x\n\n", { data => { jsonrpc => '2.0',
                                         id => 1, result => {} } } ] });
at('/tried', $nobody, call('rm_x'));
is(record()->{reason}, 'deny_rule', 'an event is dropped: likewise');
arrived(1);


# a role

my %has = map { my $name = $_; $name => issuer->token(
                sub => $name, groups => [ split /\+/, $name ]) }
          qw/ support engineer support+engineer engineer+admin admin /;

sub partly {
    my ($who, $tool, $arguments) = @_;

    return at('/partly', $has{$who}, '{"jsonrpc":"2.0","id":1,"method":'
              . "\"tools/call\",\"params\":{\"name\":\"$tool\","
              . '"arguments":' . ($arguments || '{}') . '}}');
}

refused(partly('support', 'other'), 200, -32602, 'no_rule',
        'who holds an enforced role');
would_deny(partly('engineer', 'other'), 'no_rule', undef,
           'who holds one in shadow');
would_deny(partly('engineer', 'make', '{"n":2}'), 'allow_where', [],
           'its condition');
would_deny(partly('engineer', 'erase'), 'deny_rule',
           'engineer: deny tool erase', 'its deny');
would_deny(partly('engineer+admin', 'erase'), 'deny_rule',
           'engineer: deny tool erase', 'its deny, where another allows');
passes(partly('admin', 'erase'), 'the other alone');
refused(partly('support+engineer', 'drop_x'), 200, -32602, 'deny_rule',
        'a deny of an enforced role');
would_deny(partly('support+engineer', 'other'), 'no_rule', undef,
           'what nobody denies');

# step-ups are the server's, which is not in shadow

$r = partly('engineer', 'build', '{"n":1}');
is($r->{headers}{'www-authenticate'} =~ /scope="big"/ ? 1 : 0, 1, 'a step-up');
refused($r, 403, 403, 'insufficient_scope', 'is enforced');
refused(partly('engineer', 'build', '{"n":2}'), 403, 403,
        'insufficient_scope', 'also where a rule is not');

upstream->answer({ result => { tools => [
    map { { name => $_ } } qw/ echo erase drop_x build new / ] } });
$r = list_tools('/partly', token => $has{'support+engineer'});
is(join(' ', map { $_->{name} } @{$r->{json}{result}{tools}}),
   'echo erase build new', 'a list: an enforced deny cuts');
is(record()->{result}{removed}, 3, 'the others are counted');
arrived(1);

# a subscription is denied by one URI in earnest, wherever it stands

my $listen = sub {
    return mcp_post('/partly', rpc('subscriptions/listen', { notifications => {
        resourceSubscriptions => [ @_ ] } }), token => $has{engineer});
};

upstream->answer({ result => {} });
would_deny($listen->('stub://a', 'stub://b'), 'no_rule', [], 'a subscription');

for (['stub://b', 'stub://z'], ['stub://z', 'stub://b'],
     ['stub://a', 'stub://b', 'stub://z', 'stub://a'])
{
    my $a = refused(mcp_post('/partly', rpc('subscriptions/listen', {
        notifications => { resourceSubscriptions => $_ } }),
        token => $has{'support+engineer'}), 200, undef, 'deny_rule', "@$_");

    is($a->{target}, 'stub://z', 'by the one that is meant in earnest');
}


# nginx -t

my $conf = gateway->read_file('nginx.conf');
my ($ok, $said) = gateway->check($conf);

is($ok, 1, 'nginx -t passes');
like($said, qr/\[warn\].*rules of mcp_server "tried" in shadow/, 'and warns');
like($said, qr/\[warn\].*a role of mcp_server "partly" in shadow/, 'of each');

for ('enforce off', 'enforce shadow; enforce on', 'enforce') {
    is((gateway->check($conf =~ s/enforce shadow/$_/r))[0], 0,
       "nginx -t refuses $_");
    is((gateway->check($conf =~ s/enforce on/$_/r))[0], 0,
       "nginx -t refuses $_ in a role");
}

done_testing;

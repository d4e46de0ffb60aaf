#!/usr/bin/perl

# Tasks belong to whoever was answered with them, in both eras: nobody else
# reads, cancels or lists them, or hears of them; and what cannot be noted is
# not told.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Trap http => <<'HTTP', conf => <<'CONF';
    mcp_server other {
        resource https://mcp.example.com/mcp;
        issuer okta;
        role * { allow tool echo; }
    }
HTTP
        location /other {
            mcp_auth other;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
CONF

my $alice = issuer->token(sub => 'alice', groups => ['x']);
my %other = (
    'another user' => issuer->token(sub => 'bob'),
    'another client' => issuer->token(sub => 'alice', cid => 'other'),
);

# tools/call that is answered with a task

sub make {
    my ($id, $era, %o) = @_;
    my $task = { taskId => $id, status => 'working', ttl => $o{ttl} // 60000 };

    upstream->answer({ %o, ($o{raw_result} ? (body => $o{raw_result})
        : (result => $era eq 'modern'
                     ? { %$task, resultType => 'task' } : { task => $task })) });
    return call_tool($o{uri} || '/mcp', 'echo', {}, token => $o{token} || token,
                     era => $era);
}

sub ask {
    my ($method, $id, $era, %o) = @_;

    return mcp_post($o{uri} || '/mcp', rpc($method, { taskId => $id },
                    era => $era, id => 5), token => $o{token} || token,
                    era => $era);
}

my %methods = (legacy => [qw( tasks/get tasks/result tasks/cancel )],
               modern => [qw( tasks/get tasks/update tasks/cancel )]);

for my $era (qw/ legacy modern /) {
    my $id = "task-$era-1";

    is(make($id, $era)->{status}, 200, "$era: a task is made");
    arrived(1);
    record();

    for my $method (@{$methods{$era}}) {
        passes(ask($method, $id, $era), "$era: $method by its owner");
        passes(ask($method, $id, $era, token => $alice),
               "$era: $method with another token of the owner");

        for my $who (sort keys %other) {
            my $r = ask($method, $id, $era, token => $other{$who});
            my $missing = ask($method, 'task-none', $era,
                              token => $other{$who});

            is($r->{body}, $missing->{body}, "$era: $method by $who: as if it "
               . 'did not exist');
            nothing("$era: $method by $who");
            my @a = gateway->audit_next(2);
            is("$a[0]{decision} $a[0]{reason}", 'deny task_owner',
               "$era: $method by $who: on record");
        }

        refused(ask($method, 'task-unknown', $era), 200, -32602, 'task_owner',
                "$era: $method of an unknown task");
    }

    refused(ask('tasks/get', $id, $era, uri => '/other'), 200, -32602,
            'task_owner', "$era: at another server");
}


# a list has the caller's own

make('task-bob', 'legacy', token => $other{'another user'});
arrived(1);
record();

for (['', 'task-legacy-1 task-modern-1'], ['another user', 'task-bob'],
     ['another client', ''])
{
    my ($who, $want) = @$_;

    upstream->answer({ result => { tasks => [ map { { taskId => $_ } }
        qw/ task-legacy-1 task-bob task-x task-modern-1 / ] } });
    my $r = mcp_post('/mcp', rpc('tasks/list', {}, era => 'legacy'),
                     token => $other{$who} || token, era => 'legacy');
    is(join(' ', map { $_->{taskId} } @{$r->{json}{result}{tasks}}), $want,
       "a list for " . ($who || 'the owner'));
    arrived(1);
    is(record()->{result}{removed}, 4 - (() = $want =~ /task/g), 'the others '
       . 'were cut');
}


# a stream: made there, and what it says about tasks

my $note = sub {
    my ($method, $id) = @_;
    return { data => { jsonrpc => '2.0', method => $method,
                       params => { taskId => $id, status => 'working' } } };
};

upstream->answer({ sse => [
    $note->('notifications/tasks/status', 'task-legacy-1'),
    $note->('notifications/tasks/status', 'task-bob'),
    $note->('notifications/tasks', 'task-x'),
    { data => { jsonrpc => '2.0', id => 9, result => {
        task => { taskId => 'task-sse', ttl => undef } } } },
    $note->('notifications/tasks', 'task-sse') ] });

my $r = mcp_post('/mcp', rpc('tools/call', { name => 'echo' }, id => 9,
                             era => 'legacy'), token => token, era => 'legacy');
my @ids = $r->{body} =~ /"taskId":"([^"]*)"/g;

is("@ids", 'task-legacy-1 task-sse task-sse', 'a stream tells of one\'s own');
is(record()->{reason}, 'event_dropped', 'on record');
arrived(1);
passes(ask('tasks/get', 'task-sse', 'legacy'), 'made in a stream');


# the first owner stays; an id that cannot be noted is not told

$r = make('task-bob', 'legacy');
is($r->{status}, 502, 'a task of somebody else is not told');
unlike($r->{body}, qr/task-bob/, 'not a word of it');
is(record()->{reason}, 'upstream_task', 'on record');
arrived(1);
passes(ask('tasks/get', 'task-bob', 'legacy',
           token => $other{'another user'}), 'it is still its owner\'s');

for my $bad ('{"task":{"taskId":"a","taskId":"b"}}',
             '{"task":{"taskId":"a","TaskId":"b"}}', '{"task":{"taskId":""}}',
             '{"task":{"taskId":5}}', '{"task":{"taskId":{"x":1}}}',
             '{"resultType":"task","taskId":["a"]}',
             '{"task":{"taskId":"' . 'x' x 257 . '"}}')
{
    $r = make('', 'legacy', raw_result => qq({"id":%%ID%%,"result":$bad}));
    is($r->{status}, 502, substr "no task: $bad", 0, 60);
    is(record()->{decision}, 'error', 'on record');
    arrived(1);
}

# what only looks like one is none

$r = make('', 'legacy', raw_result => '{"jsonrpc":"2.0","id":%%ID%%,"result":'
          . '{"structuredContent":{"task":{"taskId":"hers"}},"taskId":"hers"}}');
is($r->{status}, 200, 'a mention makes no task');
arrived(1);
record();
refused(ask('tasks/get', 'hers', 'legacy'), 200, -32602, 'task_owner',
        'of nobody');


# one response does not fill the zone that all servers share

my $flood = sub {
    my ($n) = @_;

    return '[' . join(',', map { qq({"jsonrpc":"2.0","id":$_,"result":{"task":)
                                 . qq({"taskId":"flood-$_"}}}) } 1 .. $n) . ']';
};

for (0, 1) {
    upstream->answer({ body => $flood->(64 + $_) });
    $r = call_tool('/mcp', 'echo', {}, token => token, era => 'legacy');
    is($r->{status}, $_ ? 502 : 200, 64 + $_ . ' tasks in one response');
    is(record()->{reason}, $_ ? 'upstream_task' : 'allow', 'on record');
    arrived(1);
}


# not the rules' to open, and kept over a reload

ok(gateway->reload, 'reload');
passes(ask('tasks/get', 'task-legacy-1', 'legacy'), 'after a reload');
is((gateway->check(gateway->read_file('nginx.conf')
                   =~ s/allow tool echo;/allow method tasks\/get;/r))[0], 0,
   'nginx -t refuses rules for tasks');


# a subscription names tasks of one's own, and no other

sub listen_to {
    my ($ids, %o) = @_;

    return mcp_post('/mcp', rpc('subscriptions/listen', { notifications => {
        taskIds => $ids } }), token => $o{token} || token);
}

upstream->answer({ sse => [ $note->('notifications/tasks', 'task-modern-1'),
                            $note->('notifications/tasks', 'task-bob') ] });
$r = listen_to(['task-modern-1']);
unlike($r->{body}, qr/task-bob/, 'a stream tells of no other');
like(passes($r, 'a task of one\'s own')->{body}, qr/"task-modern-1"/,
     'is subscribed to');

refused(listen_to($_->[0], token => $_->[1]), 200, -32602, 'task_owner',
        "$_->[2]")
    for [['task-modern-1'], $other{'another user'}, 'another\'s'],
        [['task-modern-1'], $other{'another client'}, 'of another client'],
        [['task-modern-1', 'task-bob'], token, 'one of two'],
        [['task-none'], token, 'one that is not there'];
refused(listen_to(['task-modern-1', 5]), 400, -32602, 'bad_uri',
        'what is no id');

done_testing;

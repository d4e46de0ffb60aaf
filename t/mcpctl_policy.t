#!/usr/bin/perl

# policy explain says what the running gateway does: for calls made of every
# role, target, argument and scope of a configuration, the decision, its reason
# and its rule are those of the gateway's record.  policy matrix and the lists of
# explain say what its filtered lists show.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();

use MCP::Test;
use MCP::Ctl;
use MCP::Issuer;
use MCP::Upstream;

my $seed = $ENV{MCP_TEST_SEED} || 4711;
srand $seed;
note("MCP_TEST_SEED=$seed");

my @tools = qw/ ping search delete_a delete_b pay pay_big secret admin_x build
                erase lead other /;
push @tools, 'two words', 'a"q', 'b\\b', '}', '${x}', "\xc3\xbc";

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $up = MCP::Upstream->start($t, port => 8081,
    tools => [ map { my $n = $_; utf8::decode($n); $n } @tools ],
    prompts => [qw/ greet report-a /], resources => [qw! doc://a sec://b !]);

$t->write_file('rules.conf', <<'END');
        role support  { allow tool search delete_a; allow resource doc://*; }
        role engineer { allow tool *; deny tool secret;
                        deny tool delete_* where /project != SANDBOX;
                        allow prompt *; allow resource *;
                        deny resource sec://*; }
        role finance  { allow tool pay pay_* where /amount <= 5000
                                and /to/country = DE FR "" and /note absent;
                        deny tool pay_big where /amount > 100.5 and /x exists;
                        allow prompt report-* where /month = 2026-*; }
        role odd      { allow tool "two words" 'a"q' b\\b "}" ${x} "ü";
                        allow method x/* y/z; deny method x/no; }
END

$t->write_conf(<<'END');
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;

    %%ISSUER_okta%%

    mcp_server main {
        resource https://mcp.example.com/main;
        issuer okta;
        scope mcp.use;
        role * { allow tool ping; allow prompt greet; }
        include rules.conf;
        step_up scope=admin.write,admin.read tool admin_* "two words";
        step_up scope=doc.read resource doc://secret/*;
        step_up scope=x.use method x/*;
    }

    mcp_server tried {
        resource https://mcp.example.com/tried;
        issuer okta;
        enforce shadow;
        scope mcp.use;
        role * { allow tool ping; deny tool secret; }
        role engineer { allow tool lead where /n = 1; deny tool erase; }
        step_up scope=admin.write tool ping lead;
    }

    mcp_server partly {
        resource https://mcp.example.com/partly;
        issuer okta;
        role support  { allow tool ping; deny tool delete_*; }
        role engineer { enforce shadow; allow tool build lead where /n = 1;
                        deny tool erase ping; allow resource doc://a; }
        role finance  { allow tool erase delete_a; }
        step_up scope=admin.write tool build;
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;

        location /main {
            mcp_auth main;
            mcp_max_name 64;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /tried {
            mcp_auth tried;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /partly {
            mcp_auth partly;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
    }
}
END
$t->start;

my $ctl = MCP::Ctl->new($t->dir . '/nginx.conf');
my %roles = (main => [qw/ support engineer finance odd /],
             tried => ['engineer'], partly => [qw/ support engineer finance /]);
my $json = JSON::PP->new->allow_nonref;
my %tokens;

sub token {
    my ($groups, $scope) = @_;
    return $tokens{"@$groups/" . ($scope // '')} ||= $okta->token(
        groups => $groups, defined $scope ? (scp => [ split ' ', $scope ]) : ());
}

sub pick { $_[rand @_] }

# bytes as a JSON string

sub quoted {
    my ($s) = @_;
    utf8::decode($s);
    $s = $json->encode($s);
    utf8::encode($s);
    return $s;
}


# One call, both ways: what the gateway recorded, what mcpctl says.

sub compare {
    my ($server, $roles, $scope, $kind, $name, $args) = @_;
    my %method = (tool => 'tools/call', prompt => 'prompts/get',
                  resource => 'resources/read', method => $name);
    my $params = $kind eq 'method' ? ''
               : ($kind eq 'resource' ? '"uri":' : '"name":') . quoted($name);
    $params .= ",\"arguments\":$args" if defined $args;

    my $r = mcp_post("/$server", '{"jsonrpc":"2.0","id":1,"method":'
                     . quoted($method{$kind}) . ",\"params\":{$params}}",
                     token => token($roles, $scope), era => 'none');
    my $a = $t->audit_next(1, settle => 0) || {};

    my $c = $ctl->run(qw/ policy explain --json --server /, $server,
                      @$roles ? ('--role', join ',', @$roles) : (),
                      '--scope', $scope // '', "--$kind", $name,
                      defined $args ? ('--args', $args) : ());
    my $e = $c->{json} || {};

    my $theirs = join ' | ', map { $_ // '-' } @$a{qw/ decision reason rule /};
    my $ours = join ' | ', map { $_ // '-' } @$e{qw/ decision reason rule /};
    my $what = "$server @$roles: $kind $name " . ($args // '')
             . ' with ' . ($scope // 'no scope');

    is($ours, $theirs, $what) or diag($c->{err}, $c->{out});
    is($c->{code}, ($a->{decision} // '') =~ /^(?:deny|error)$/ ? 1 : 0,
       'exit code');

    return $a;
}


# ---- a few that are known

my $a = compare('main', ['engineer'], 'mcp.use', 'tool', 'delete_a',
                '{"project":"PROD"}');
is($a->{reason}, 'deny_rule', 'a condition that holds');
$a = compare('main', ['engineer'], 'mcp.use', 'tool', 'delete_a', '{}');
is($a->{reason}, 'deny_unclear', 'one that is unclear');
$a = compare('main', ['engineer'], 'mcp.use', 'tool', 'delete_a',
             '{"project":"SANDBOX"}');
is($a->{reason}, 'allow', 'one that does not hold');
$a = compare('main', ['engineer'], 'mcp.use', 'tool', 'admin_x');
is($a->{reason}, 'insufficient_scope', 'a step-up');
$a = compare('main', [], 'mcp.use', 'tool', 'x' x 65);
is($a->{reason}, 'name_too_long', 'the limits of the location');
$a = compare('main', [], 'mcp.use', 'tool', 'ping', '[1]');
is($a->{reason}, 'arguments_type', 'arguments that are none');
$a = compare('main', ['engineer'], 'mcp.use', 'tool', 'delete_a',
             '{"project":"SANDBOX","Project":"PROD"}');
is($a->{reason}, 'deny_unclear', 'a key twice');
$a = compare('tried', ['engineer'], undef, 'tool', 'erase');
is("$a->{decision} $a->{rule}", 'would_deny engineer: deny tool erase',
   'shadow of rules, and of a scope without a rule');
$a = compare('main', ['odd'], 'mcp.use', 'tool', '}');
is($a->{rule}, "odd: allow tool \"two words\" a\"q b\\b } \${x} \xfc",
   'words with quotes and escapes');
compare('main', ['odd'], 'mcp.use x.use', 'method', $_)
    for 'x/a', 'x/no', 'y/z', 'y/zz', 'ping', 'tools/list', 'notifications/x';


# ---- and many that are not

my @args = map {
    my $project = $_;
    map { "{\"project\":$project,\"amount\":$_}" }
        '1', '100.6', '5e3', '5000.01', '"5"', 'null'
} '"SANDBOX"', '"PROD"', '["SANDBOX"]';

push @args, undef, '{}', '{"n":1}', '{"n":2}', '{"n":"1"}',
    '{"amount":1,"to":{"country":"DE"}}',
    '{"amount":1,"to":{"country":""},"note":1}',
    '{"amount":101,"to":{"country":"FR"},"x":null}',
    '{"amount":1,"to":{"country":"IT"}}', '{"amount":1,"to":"DE"}',
    '{"month":"2026-07"}', '{"month":"2025-07"}', '{"project":"SANDBOX"} ',
    '{"\u0070roject":"SAND\u0042OX"}', '{"project":"SANDBOX","project":"A"}';

my @scopes = (undef, 'mcp.use', 'mcp.use admin.write',
              'mcp.use admin.read admin.write doc.read x.use', 'other');
my $rounds = $MCP::Test::SAN ? 60 : 250;

for (1 .. $rounds) {
    my $server = pick('main', 'main', 'tried', 'partly');
    my @roles = grep { rand() < 0.4 } @{$roles{$server}};
    my $kind = pick('tool', 'tool', 'tool', 'tool', 'prompt', 'resource',
                    'method');
    my $name = $kind eq 'tool' ? pick(@tools, 'unheard-of', 'lead', 'pay',
                                      'pay_big', 'delete_a', 'ping')
             : $kind eq 'prompt' ? pick(qw/ greet report-a other /)
             : $kind eq 'resource' ? pick(qw! doc://a doc://secret/x sec://b !)
             : pick(qw! x/a x/no y/z other !);

    compare($server, \@roles, pick(@scopes), $kind, $name,
            $kind =~ /tool|prompt/ ? pick(@args) : undef);
}


# ---- lists

for my $server (sort keys %roles) {
    my $c = $ctl->run(qw/ policy matrix --json --server /, $server, '--tools',
                      join ',', @tools);
    my ($m) = grep { $_->{server} eq $server } @{$c->{json} || []};

    for my $role ('*', @{$roles{$server}}) {
        my $r = list_tools("/$server", era => 'none',
            token => token($role eq '*' ? [] : [$role], 'mcp.use'));
        $t->audit_next(1, settle => 0);

        my $shown = join ' ', sort map { $_->{name} }
                              @{$r->{json}{result}{tools}};
        my %row = map { $_->{name} => $_->{roles}{$role} }
                  grep { $_->{kind} eq 'tool' && !$_->{pattern} } @{$m->{rows}};
        my $may = join ' ', sort grep {
            my $cell = $row{$_};
            $cell->{use} =~ /allow|maybe/ || $cell->{shadow}
        } map { my $n = $_; utf8::decode($n); $n } @tools;

        is($may, $shown, "$server: matrix and list of $role");

        # explain without a target: each name of the rules, listed or not

        $c = $ctl->run(qw/ policy explain --json --server /, $server,
                       $role eq '*' ? () : ('--role', $role));
        my %listed = map { $_->{name} => $_->{listed} ? 1 : 0 }
                     grep { $_->{kind} eq 'tool' } @{$c->{json}{names}};
        my %is = map { $_ => 1 } split / (?!words)/, $shown;

        is_deeply({ map { $_ => $listed{$_} } grep { $row{$_} } keys %listed },
                  { map { $_ => $is{$_} ? 1 : 0 }
                    grep { $row{$_} } keys %listed },
                  "$server: explain and list of $role");
    }
}


# ---- the matrix, cell by cell

sub cell {
    my ($m, $name, $role) = @_;
    my ($row) = grep { $_->{name} eq $name } @{$m->{rows}};
    my $c = $row->{roles}{$role} || return "no $name";
    return join ' | ', map { $c->{$_} // '-' } qw/ use rule unless /;
}

my $c = $ctl->run(qw/ policy matrix --json /);
is_deeply([ map { $_->{server} } @{$c->{json}} ], [qw/ main tried partly /],
          'all servers');
my ($m) = @{$c->{json}};

for (['ping', '*', 'allow | *: allow tool ping | -'],
     ['ping', 'support', 'allow | *: allow tool ping | -'],
     ['search', '*', 'none | - | -'],
     ['secret', 'engineer', 'deny | engineer: deny tool secret | -'],
     ['delete_*', 'engineer', 'maybe | engineer: allow tool * | engineer: deny'
      . ' tool delete_* where /project != SANDBOX'],
     ['delete_a', 'support', 'allow | support: allow tool search delete_a'
      . ' | -'],
     ['delete_*', 'support', 'maybe | support: allow tool search delete_a'
      . ' | -'],
     ['doc://*', 'support', 'allow | support: allow resource doc://* | -'],
     ['sec://*', 'engineer', 'deny | engineer: deny resource sec://* | -'],
     ['x/*', 'odd', 'maybe | odd: allow method x/* y/z | odd: deny method'
      . ' x/no'])
{
    is(cell($m, $_->[0], $_->[1]), $_->[2], "cell $_->[0] of $_->[1]");
}

my ($p) = grep { $_->{server} eq 'partly' } @{$c->{json}};
ok($p->{rows}[0]{roles}{engineer}{shadow}, 'a role in shadow');
ok(!$p->{rows}[0]{roles}{support}{shadow}, 'another is not');

$c = $ctl->run(qw/ policy matrix --server main /);
like($c->{out}, qr/^KIND +NAME +\* +support +engineer +finance +odd$/m,
     'a table');
like($c->{out}, qr/^tool +secret +- +- +deny \[(\d+)\] +- +-$/m, 'a row of it');
my ($n) = $c->{out} =~ /secret.*deny \[(\d+)\]/;
like($c->{out}, qr/^\[$n\] engineer: deny tool secret$/m, 'and its rule');

# names from files

my @forms = (
    [ 'result', '{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"q1"},'
      . '{"name":"q2"}]}}' ],
    [ 'tools', '{"tools":[{"name":"q1","description":"x"},{"name":"q2"}]}' ],
    [ 'array', '["q1","q2"]' ],
    [ 'lines', "q1\nq2\r\n" ],
);

for (@forms) {
    my $file = $t->write_file("tools.$_->[0]", $_->[1]);
    $c = $ctl->run(qw/ policy matrix --server main --json --tools /, $file);
    is(cell($c->{json}[0], $_, 'engineer'),
       'allow | engineer: allow tool * | -', "$_ of a file") for 'q1', 'q2';
}

$c = $ctl->run(qw/ policy matrix --server main --tools /,
               $t->write_file('bad', '{"tools":1}'));
is($c->{code}, 2, 'a file without tools');


# ---- what cannot be asked

for (['an unknown server', qw/ --server none --tool x /],
     ['an unknown role', qw/ --server main --role none --tool x /],
     ['a role of another server', qw/ --server tried --role odd --tool x /],
     ['which server', qw/ --tool x /],
     ['two targets', qw/ --server main --tool x --prompt y /],
     ['arguments of a resource', qw/ --server main --resource x --args {} /],
     ['no JSON', qw/ --server main --tool x --args {a} /],
     ['more than JSON', qw/ --server main --tool x --args /, '{},"name":"y"'],
     ['a method with a target', qw! --server main --method tools/call !],
     ['a task', qw! --server main --method tasks/get !],
     ['no UTF-8', qw/ --server main --tool /, "\xff"],
     ['an unknown option', qw/ --server main --nonsense /],
     ['an option without its value', qw/ --server main --tool /],
     ['a flag with a value', qw/ --server main --json=1 /],
     ['too many arguments', qw/ --server main x /])
{
    my ($what, @args) = @$_;
    $c = $ctl->run(qw/ policy explain /, @args);
    is($c->{code}, 2, "$what: usage") or diag("$c->{out}$c->{err}");
    is($c->{out}, '', 'and no result');
    like($c->{err}, qr/^mcpctl: /, 'but a message');
}

$c = $ctl->run(qw/ policy explain --server main --role engineer --tool secret /);
like($c->{out}, qr/^deny: deny_rule, by "engineer: deny tool secret"$/m,
     'as text');
like($c->{out}, qr/^scopes  needs mcp\.use; not checked/m, 'scopes are said');
is($c->{code}, 1, 'denied');

$c = $ctl->run(qw/ policy explain --server main --tool /, "\e[31m");
unlike($c->{out}, qr/\e/, 'no control character on the terminal');

$t->stop;

done_testing;

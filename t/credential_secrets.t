#!/usr/bin/perl

# No secret in anything that is written.  One gateway has every kind of secret
# that there is, and goes through what it does: all well, providers that show
# their requests again, configurations that are wrong, a Redis that is away,
# records that do not open, mcpctl.  Then everything that was written is read:
# all files that are not the test's own, what nginx and mcpctl printed, what
# clients were answered, and what Redis has.

use strict;
use warnings;

use lib 't/lib';

use File::Find qw/ find /;
use JSON::PP ();
use MIME::Base64 qw/ encode_base64 /;
use Time::HiRes qw/ time sleep /;

use MCP::Test;
use MCP::Ctl;
use MCP::Issuer;
use MCP::Provider;
use MCP::Redis;
use MCP::Token;
use MCP::Upstream;
use MCP::Vault;

my $t = MCP::Test->new;
my $d = $t->dir;

my %secret = map { $_ => "$_-" . MCP::Provider::random() }
             qw/ env file redis pepper audit basic post odd client /;

# one that is another thing in a URL, in JSON and in base64

$secret{odd} = 'o"d/d: ' . $secret{odd};

MCP::Issuer::mint('keygen', 'ES256', "$d/assertion.key");
my @pem = grep { !/-----/ && length > 40 }
          split /\n/, $t->read_file('assertion.key');

ok(@pem > 0, 'a private key');
$t->keep_secret(values %secret, @pem);

my $okta = MCP::Issuer->new($t, static => 1);
my $idp = MCP::Provider->start($t, issuer => $okta, clients => {
    basic => { secret => $secret{odd}, auth => 'basic' },
    post => { secret => $secret{post}, auth => 'post' },
    jwt => { key => "$d/assertion.key" },
});
my $redis = MCP::Redis->start($t, password => $secret{redis});
my $vault = MCP::Vault->new($t, ids => [qw/ two one /]);
my $own = MCP::Token->new($t);
my $up = MCP::Upstream->start($t, port => 8081);

$ENV{MCP_TEST_STATIC} = $secret{env};

my %file = (static => $secret{file}, redis => $secret{redis},
            basic => $secret{odd}, post => $secret{post},
            pepper => $secret{pepper} x 2, audit => $secret{audit} x 2);

$t->write_file("$_.secret", "$file{$_}\n") for keys %file;

my @servers = qw/ env file basic post jwt exchange user /;
# as short as the machine can do

my $short = $ENV{MCP_TEST_VALGRIND} ? '5s' : '300ms';
my $fetched = 'token_endpoint ' . $idp->endpoint . "; timeout $short;";

my $credentials = <<"END";
    mcp_credential env { value "Bearer \${env:MCP_TEST_STATIC}"; }
    mcp_credential file { header X-Api-Key; value "\${file:$d/static.secret}"; }
    mcp_credential basic { type client_credentials; $fetched
        client_id basic; client_secret "\${file:$d/basic.secret}"; }
    mcp_credential post { type client_credentials; $fetched
        auth_method client_secret_post;
        client_id post; client_secret "\${file:$d/post.secret}"; }
    mcp_credential jwt { type client_credentials; $fetched
        auth_method private_key_jwt; client_id jwt; key $d/assertion.key; }
    mcp_credential exchange { type token_exchange; $fetched
        client_id basic; client_secret "\${file:$d/basic.secret}"; }
    mcp_credential user { type user; $fetched
        auth_method client_secret_post; connect_url https://gw.example.com/c;
        client_id post; client_secret "\${file:$d/post.secret}"; }
END

my $servers = join '', map { <<"END" } @servers;
    mcp_server $_ { resource https://mcp.example.com/mcp; issuer okta;
        tokens on; credential $_; preview 2k; params /shown;
        role * { allow tool *; } }
END

# All that a log_format could show of it.  Headers of what was forwarded only: a
# request that was refused still has what its caller sent.

my $format = join ' ', map { "\$$_" } qw/ remote_addr request status
    upstream_addr upstream_status sent_http_www_authenticate
    mcp_auth_user mcp_auth_client mcp_auth_server mcp_auth_reason
    mcp_auth_claim_sub proxy_add_x_forwarded_for /;
my $headers = join ' ', map { "\$$_" } qw/ http_authorization http_x_api_key
    http_proxy_authorization http_cookie upstream_status /;

sub conf {
    my (%o) = @_;
    my $locations = join '', map { "location = /$_ { mcp_auth $_;"
        . " proxy_pass http://127.0.0.1:%%PORT_8081%%; }\n" } @servers;
    my $keys = $o{keys} // $vault->file;
    my $more = $o{more} // '';

    return <<"END";
%%GLOBALS%%
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    log_format all '$format';
    log_format headers 'headers: $headers';
    access_log $d/access.log all;
    access_log $d/access.log-headers headers if=\$upstream_status;
    mcp_audit $d/audit.log;
    mcp_audit_key $d/audit.secret;
    mcp_vault_keys $keys;
    mcp_token_key $d/pepper.secret;
    mcp_redis { server @{[ $redis->server ]};
                password file:$d/redis.secret;
                timeout $short; connect_timeout $short; revocation_stale 1h; }
    %%ISSUER_okta%%
    $credentials
    $servers
    $more
    server {
        listen 127.0.0.1:%%PORT_8080%% reuseport;
        location = /status { mcp_status; }
        $locations
    }
}
END
}

my $said = '';              # to clients, and by nginx

$t->write_conf(conf())->start;


sub call {
    my ($server, $token, %o) = @_;
    my $r = call_tool("/$server", 'echo', $o{arguments} || {},
                      token => $token, %o);

    $said .= ($r->{head} // '') . join('', map { "$_: $r->{headers}{$_}\n" }
                                       keys %{$r->{headers} || {}})
             . ($r->{body} // '');

    return $r->{status} // 0;
}

my $serial = 0;

sub person {
    my ($left) = @_;
    my $name = 'person-' . ++$serial;
    my $grant = $idp->grant($name, client => 'post');
    my %owner = (credential => 'user', issuer => $okta->{issuer},
                 user => $name);

    $grant->{expires} = int(time) + $left;
    my $record = $vault->write($redis, \%owner, $grant, issued => time - 300);

    return ($okta->token(sub => $name), $record, $grant);
}


# ---- all is well

my $alice = $okta->token(sub => 'alice', -expires => 3000);
my ($person) = person(300);

is(call($_, $_ eq 'user' ? $person : $alice), 200, "$_: works") for @servers;

my @shown = $up->requests(scalar @servers);
is($shown[0]{headers}{authorization}, "Bearer $secret{env}",
   'the upstream was shown it');
is($shown[1]{headers}{'x-api-key'}, $secret{file}, 'and that');


# ---- providers that say too much

my ($token, $record, $grant) = person(-5);
my $all = join ' ', $secret{post}, @$grant{qw/ refresh_token access_token /},
                    (split /\./, $alice)[2];
my $marker = 'marker-' . MCP::Provider::random();

$t->keep_secret($marker);

my @bad = (
    ['error', error => 'invalid_client', status => 401],
    ['error', error => 'invalid_grant', status => 400],
    ['error', error => "moon $all", status => 400],
    ['body', body => "<h1>$all</h1>", type => 'text/html'],
    ['body', body => "<h1>$all</h1>", type => 'text/html', status => 500],
    ['body', body => qq({"error":"server_error","error_uri":"$all"}),
     status => 503],
    ['body', body => qq({"access_token":"$marker\\r\\nX-Evil: 1",)
                     . '"token_type":"Bearer"}'],
    ['body', body => qq({"access_token":"$marker","token_type":"$marker"})],
    ['body', body => qq({"access_token":"$marker","access_token":"$marker"})],
    ['body', body => qq({"access_token":"$marker","token_type":"Bearer",)
                     . qq("expires_in":"$marker"})],
    ['body', body => qq({"access_token":"$marker","scope":["$marker"],)
                     . '"token_type":"Bearer"}'],
    ['body', body => qq({"access_token":"$marker)],
    ['redirect', to => "http://127.0.0.1:1/?code=$marker"],
    ['silent'], ['close'], ['reset'], ['headers'], ['truncated'],
);

for my $bad (@bad) {
    $idp->misbehave(@$bad);

    # new people and tokens: there is nothing to serve instead

    my ($token, $record) = person(-5);
    my $status = call('user', $token);

    like($status, qr/\A(?:200|503)\z/, "user: $bad->[0]");
    is(call('exchange', $okta->token(sub => 'bob')), 503,
       "exchange: $bad->[0]");
    $idp->behave;
}


# ---- callers who show theirs where it does not belong

my $pat = $own->pat(user => 'alice', issuer => $okta->{issuer});
my $other = $okta->token(sub => 'carol');

$redis->write_tokens($own);
$t->keep_secret($pat->{token});

call('env', $pat->{token});
call('env', $alice, headers => { 'X-Api-Key' => $other,
                                 'Mcp-Session-Id' => $other });
$up->answer({ result => { content => [] } });
call('env', $alice, arguments => { shown => $other, token => $pat->{token} });
call('env', "$other.$other");
call('env', $other . 'x');
call('nothing', $other);

$up->answer({ status => 401, json => { error => "$secret{env} is no good" },
              headers => { 'WWW-Authenticate' =>
                           qq(Bearer error="$secret{env}") } });
is(call('env', $alice), 502, 'an upstream that refuses it, and shows it');

$up->answer({ result => { content => [ { type => 'text', text =>
              "Authorization: Bearer $secret{env}" } ] } });
my $before = $said;
is(call('env', $alice), 200, 'an upstream that gives it away');

# that one is between the server and its caller

$said = $before;

$up->stop;
is(call($_, $alice), 502, "$_: no upstream") for qw/ env file basic /;


# ---- Redis

$redis->command('HSET', "$redis->{prefix}cred:$record", 'tok', "\1\3one$all");
is(call('user', $token), 503, 'a record that does not open');
like($t->read_log, qr/cannot be opened/, 'said');

$redis->command('HSET', "$redis->{prefix}cred:$record", 'v', $all);
call('user', $token);

# sealed with a key that is in no file any more

$redis->command('HSET', "$redis->{prefix}cred:$record", 'v', 1, 'tok',
                "\1\4gone" . 'x' x 80);

my %redis;

for my $key (@{$redis->command('KEYS', '*')}) {
    next if $key =~ /\Q$record\E/;
    my $type = $redis->command('TYPE', $key);

    $redis{$key} = join "\n", $type eq 'hash'
        ? @{$redis->command('HGETALL', $key)}
        : $type eq 'set' ? @{$redis->command('SMEMBERS', $key)}
        : $redis->command('GET', $key);
}

ok((grep { /cred:/ } keys %redis) > 5, 'Redis has records');
is($t->leaks(%redis), '', 'no secret in Redis');


# ---- mcpctl

my $ctl = MCP::Ctl->new("$d/nginx.conf");
my %printed;

sub ctl {
    my (@args) = @_;
    my $r = $ctl->run(@args);
    my $name = join ' ', grep { !ref } @args;

    $printed{$name} = $r->{out} . $r->{err};
    return $r;
}

my @common = map { ([@$_], ['--json', @$_]) } (
    [qw/ token list --all /], [qw/ revocations --all /],
    [qw/ credential list --all /], [qw/ policy matrix --server user /],
    [qw/ credential show user --user person-1 /],
);

ctl(@$_) for @common;
my $list = ctl(qw/ credential list /);
is($list->{code}, 3, 'mcpctl says that one does not open');
like("$list->{err}$list->{out}", qr/\bgone\b/, 'and which key it needs');
like($list->{out}, qr/^user .*person-1\b/m, 'and shows the others');

my $imported = { access_token => 'at-' . MCP::Provider::random(),
                 refresh_token => 'rt-' . MCP::Provider::random(),
                 token_type => 'Bearer', expires_in => 300 };
my $json = JSON::PP->new->encode($imported);
my @import = qw/ credential import user --user dora /;

$t->keep_secret(@$imported{qw/ access_token refresh_token /});

is(ctl({ stdin => $json }, @import)->{code}, 0, 'mcpctl imports a grant');

for my $bad (substr($json, 0, -3), "[$json]", $json =~ s/Bearer/$marker/r,
             $json =~ s/300/"$marker"/r, $imported->{access_token},
             qq({"error":"$all"}), $json . $json)
{
    isnt(ctl({ stdin => $bad }, @import)->{code}, 0, 'mcpctl refuses one');
}

$vault->add_key('three');
$t->reload(conf());
is(ctl(qw/ vault rekey /)->{code}, 3, 'a record is left that does not open');
$redis->command('DEL', "$redis->{prefix}cred:$record");
is(ctl(qw/ vault rekey /)->{code}, 0, 'mcpctl rekeys');
is(ctl(qw/ credential list /)->{code}, 0, 'all can be opened');
is(ctl(qw/ credential delete user --user dora /)->{code}, 0, 'and deletes');
ctl(qw/ revoke --user person-1 --reason gone /);

$t->write_file('redis.secret', "$marker\n");
isnt(ctl(qw/ credential list /)->{code}, 0, 'a wrong password');
$t->write_file('redis.secret', "$secret{redis}\n");


# ---- wrong configurations, and what nginx prints of a right one

$t->write_file('broken.keys', $t->read_file('vault.keys') . "four $marker\n");
$t->write_file('twice.keys', $t->read_file('vault.keys') x 2);
$t->write_file('broken.key', "-----BEGIN PRIVATE KEY-----\n$pem[0]\n");
$t->write_file('control.secret', "$secret{client}\x01\n");

my %wrong = (
    'a line that is no key' => { keys => "$d/broken.keys" },
    'a key twice' => { keys => "$d/twice.keys" },
    'half a private key' => { more =>
        "mcp_credential x { type client_credentials; $fetched client_id x;"
        . " auth_method private_key_jwt; key $d/broken.key; }" },
    'a control character' => { more =>
        "mcp_credential x { type client_credentials; $fetched client_id x;"
        . " client_secret \"\${file:$d/control.secret}\"; }" },
    'a secret where none belongs' => { more =>
        "mcp_credential x { type client_credentials; $fetched client_id x;"
        . " auth_method private_key_jwt; key $d/assertion.key;"
        . " client_secret \"\${file:$d/post.secret}\"; }" },
);

for (sort keys %wrong) {
    my ($ok, $out) = $t->check(conf(%{$wrong{$_}}));

    ok(!$ok, "nginx -t: $_");
    like($out, qr/\[emerg\]/, "and why");
    $said .= $out;
}

$t->write_conf(conf());
my $printed = `$MCP::Test::NGINX -T -p $d -e $d/check.log -c $d/nginx.conf 2>&1`;
like($printed, qr/mcp_credential jwt/, 'nginx -T');
$said .= $printed;


# ---- Redis is away; then nginx ends

$redis->stop;
call('user', $person) for 1 .. 3;
call('user', $okta->token(sub => 'erin'));

my $status = http("GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n");
like($status->{body}, qr/mcp_auth_/, 'the status');
$said .= $status->{body};

$t->reopen;
$t->stop;


# ---- everything that was written, but for what the test wrote itself and what
# the stubs keep

my $input = qr{^(?:\w+\.secret|\w+\.keys?|\w+-key-1\.key|(?:server|ca)\.\w+
                 |nginx\.conf|check\.conf|nginx\.pid|issuers/.*|idp/.*
                 |pepper-\w|openssl\.cnf|upstream-\d+\..*|redis/conf
                 |okta-.*\.key)$}x;
my %files;

find({ no_chdir => 1, wanted => sub {
    return unless -f && !-S _;
    my $name = substr $_, 1 + length $d;
    $files{$name} = $t->read_file($name) unless $name =~ $input;
} }, $d);

for my $log (qw/ error.log audit.log access.log access.log-headers /) {
    ok(length $files{$log} > 100, "$log was read");
}

is($t->leaks(%files), '', 'no secret in a file');
is($t->leaks(answers => $said), '', 'no secret in what was answered');
is($t->leaks(%printed), '', 'no secret in what mcpctl printed');

# that it would have been found

ok($t->leaks(x => "...$_..."), 'would have been found')
    for $secret{odd}, encode_base64("x:$secret{odd}", '') =~ s/^....//r,
        $grant->{refresh_token}, (split /\./, $alice)[2];
ok($t->leaks(x => $t->read_file('idp/books')), 'the stub keeps them');

done_testing;

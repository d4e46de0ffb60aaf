#!/usr/bin/perl

# mcp_status: what Prometheus reads, and that it is true: requests by server,
# decision and reason over all workers, caches, keys, audit, work and streams.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Time::HiRes qw/ time sleep /;

use MCP::Trap slow => 1, tokens => 1, revoked => 1, http => <<'HTTP', conf => <<'CONF';
    mcp_server shadow {
        resource https://mcp.example.com/shadow;
        issuer okta;
        enforce shadow;
        role none { allow tool x; }
    }
    mcp_server idle {
        resource https://mcp.example.com/idle;
        issuer okta;
        role none { allow tool x; }
    }
    mcp_vault_keys %%TESTDIR%%/vault.keys;
    mcp_credential fetched {
        type client_credentials;
        token_endpoint http://127.0.0.1:%%PORT_8099%%/token;
        client_id x;
        client_secret y;
    }
HTTP
        location /shadow {
            mcp_auth shadow;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location /quiet {
            mcp_auth mcp;
            mcp_audit off;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }
        location = /metrics { mcp_status; }
        location = /closed { deny all; mcp_status; }
CONF

# The text as a strict reader takes it: { name{labels} => value }, and the
# families by name

my %family;

sub metrics {
    my $r = http("GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
                 . "Connection: close\r\n\r\n");
    my (%m, $name);

    is($r->{status}, 200, 'metrics') if $r->{status} != 200;
    %family = ();

    my $bad = 0;

    for (split /\n/, $r->{body}, -1) {
        next if $_ eq '';

        if (/^# HELP ([a-z_]+) \S.*\.$/) {
            $name = $1;
            $bad++ if $family{$name};
            $family{$name} = {};

        } elsif (/^# TYPE ([a-z_]+) (counter|gauge|histogram)$/) {
            $bad++ if ($name // '') ne $1;
            $family{$1}{type} = $2;
            $bad++ if ($2 eq 'counter') != ($1 =~ /_total$/ ? 1 : 0);

        } elsif (/^(([a-z_]+)(?:\{[a-z_]+="[^"\\]*"(?:,[a-z_]+="[^"\\]*")*\})?)
                  [ ](-?[0-9]+(?:\.[0-9]+)?)$/x)
        {
            my ($key, $n, $v) = ($1, $2, $3);
            $n =~ s/_(?:bucket|sum|count)$//
                if ($family{$name}{type} // '') eq 'histogram';
            $bad++ if $n ne $name || exists $m{$key};
            $m{$key} = $v;

        } else {
            $bad++;
            diag("line: $_");
        }
    }

    is($bad, 0, 'well-formed');
    return ($r, %m);
}

sub requests {
    my ($server, $decision, $reason) = @_;

    return "mcp_auth_requests_total{server=\"$server\",decision=\"$decision\","
           . "reason=\"$reason\"}";
}

my ($r, %m) = metrics();

is($r->{headers}{'content-type'}, 'text/plain; version=0.0.4', 'the type');
is($r->{headers}{'cache-control'}, 'no-store', 'not to be stored');
is_deeply([ grep { /requests_total/ } keys %m ], [], 'nothing was asked yet');


# requests

post(call('echo')) for 1 .. 3;
post(call('rm')) for 1 .. 2;
post('{');
mcp_post('/mcp', call('echo'));
post(call('x'), uri => '/shadow');
post(call('y'), uri => '/shadow');
post(call('echo'), uri => '/quiet');
upstream->answer({ body => 'no JSON' });
post(call('echo'));
gateway->audit_next(10);

my %want = (
    requests('mcp', 'allow', 'allow') => 4,
    requests('mcp', 'deny', 'no_rule') => 2,
    requests('mcp', 'deny', 'no_token') => 1,
    requests('mcp', 'error', 'parse_error') => 1,
    requests('mcp', 'error', 'upstream_invalid') => 1,
    requests('shadow', 'would_deny', 'no_rule') => 2,
);

($r, %m) = metrics();
is($m{$_}, $want{$_}, $_) for sort keys %want;
is(scalar(grep { /requests_total/ } keys %m), scalar keys %want, 'no others');
is(scalar(grep { /idle/ && /requests_total/ } keys %m), 0,
   'nothing for a server that nobody asked');


# work

is($m{'mcp_auth_work_seconds_count{server="mcp"}'}, 9, 'as many as requests');
is($m{'mcp_auth_work_seconds_bucket{server="mcp",le="+Inf"}'}, 9,
   'all are in the last bucket');

my @le = map { $m{"mcp_auth_work_seconds_bucket{server=\"mcp\",le=\"$_\"}"} }
         qw/ 0.000010 0.000025 0.000050 0.000100 0.000250 0.000500 0.001000
             0.002500 0.005000 0.010000 /;

is(scalar(grep { defined } @le), 10, 'all buckets');
is(join(' ', sort { $a <=> $b } @le), join(' ', @le), 'each in the next');
cmp_ok($m{'mcp_auth_work_seconds_sum{server="mcp"}'}, '>', 0, 'their sum');


# caches, keys, audit

is($m{'mcp_auth_token_cache_lookups_total{result="miss"}'}, 2,
   'the token was new, for each server');
is($m{'mcp_auth_token_cache_lookups_total{result="worker"}'}
   + $m{'mcp_auth_token_cache_lookups_total{result="zone"}'}, 8,
   'and then not');
is($m{'mcp_auth_audit_records_total{result="written"}'}, 10, 'records');
is($m{'mcp_auth_audit_records_total{result="failed"}'}, 0, 'all written');
is($m{'mcp_auth_key_set_failures{issuer="slow1"}'}, 0, 'keys: no failures');
cmp_ok($m{'mcp_auth_key_set_age_seconds{issuer="slow1"}'}, '<', 30,
       'keys: their age');
ok(!exists $m{'mcp_auth_key_set_age_seconds{issuer="okta"}'},
   'a file has none');
is($m{'mcp_auth_key_fetches_total'}, 1, 'fetches');
cmp_ok($m{'mcp_auth_zone_free_bytes'}, '>', 1_000_000, 'the zone has room');
like($r->{body}, qr/^mcp_auth_build_info\{version="[0-9.]+",nginx="[0-9.]+"\} 1$/m,
     'the build');


# tokens of our own: looked up once, and their file

my $pat = store->pat(issuer => issuer->{issuer}, user => 'alice');
my $left = store->pat(issuer => issuer->{issuer}, user => 'eve', revoked => 1);

is($m{"mcp_auth_own_tokens_total{result=\"$_\"}"}, 0, "none was $_")
    for qw/ accepted refused limited /;
is($m{mcp_auth_token_records}, 0, 'a file without any');
is($m{mcp_auth_token_file_failed}, 0, 'that is all right');
store->write;
MCP::Test::wait_until(10, sub {
    (metrics())[0]{body} =~ /token_records 2$/m });

post(call('echo'), token => $_->{token}) for $pat, $pat, $left, $left;
gateway->audit_next(4);

($r, %m) = metrics();
is($m{'mcp_auth_own_tokens_total{result="accepted"}'}, 1, 'one looked up');
is($m{'mcp_auth_own_tokens_total{result="refused"}'}, 1, 'one refused');
is($m{mcp_auth_token_records}, 2, 'records');
cmp_ok($m{mcp_auth_token_file_age_seconds}, '<', 60, 'their age');

store->write("nonsense\n");
ok(MCP::Test::wait_until(10, sub {
    (metrics())[0]{body} =~ /token_file_failed 1$/m }), 'a file that is none');
($r, %m) = metrics();
is($m{mcp_auth_token_records}, 2, 'what was there is in force');
store->write;
ok(MCP::Test::wait_until(10, sub {
    (metrics())[0]{body} =~ /token_file_failed 0$/m }), 'and is one again');


# streams, in all workers; a worker that is killed takes its own along

my $conf = gateway->read_file('nginx.conf');
ok(gateway->reload($conf =~ s/events/worker_processes 2;\nevents/r), 'workers');
upstream->answer(map { { sse => [ ": hi\n\n", 30 ] } } 1 .. 6);

my @c = map { http_start("GET /mcp HTTP/1.1\r\nHost: localhost\r\n"
                         . "Accept: text/event-stream\r\nAuthorization: Bearer "
                         . token . "\r\n\r\n") } 1 .. 6;

is($_->read_head->{status}, 200, 'a stream') for @c;
($r, %m) = metrics();
is($m{mcp_auth_open_streams}, 6, "all are counted");
$_->close for @c[0, 1];
MCP::Test::wait_until(5, sub { (metrics())[0]{body} =~ /open_streams 4$/m });
($r, %m) = metrics();
is($m{mcp_auth_open_streams}, 4, 'and those that end are not');
is($m{requests('mcp', 'deny', 'no_rule')}, 2, 'a reload keeps the counters');

gateway->allow_log(qr/exited on signal 9/);
ok(MCP::Test::wait_until($MCP::Test::TIMEOUT, sub { 2 == gateway->workers }),
   'the old one is gone');
kill KILL => gateway->workers;
gateway->wait_for_log(qr/exited on signal 9.*exited on signal 9/s);
MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
    my $up = eval { (metrics())[0]{body} =~ /open_streams 0$/m }; $up });
($r, %m) = metrics();
is($m{mcp_auth_open_streams}, 0, 'killed workers have no streams');


# who may ask, and how

is(http("GET /closed HTTP/1.1\r\nHost: localhost\r\n\r\n")->{status}, 403,
   'guarded like any location');
is(http("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
        . "\r\n")->{status}, 405, 'only GET and HEAD');

$r = http("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
is("$r->{status} " . length($r->{body} // ''), '200 0', 'HEAD');
unlike((metrics())[0]{body}, qr/alice|echo|stub|Bearer/, 'nobody is named');

for (['mcp_auth mcp; mcp_status', qr/is no MCP server that mcp_auth/],
     ['mcp_status x', qr/invalid number of arguments/])
{
    my ($ok, $said) = gateway->check($conf =~ s/deny all; mcp_status/$_->[0]/r);
    is($ok, 0, "nginx -t refuses $_->[0]");
    like($said, $_->[1], 'and says why');
}


# every reason of the documentation has a counter, and none is missing there

sub slurp {
    open my $fh, '<:raw', "$FindBin::Bin/../$_[0]" or die "$_[0]: $!";
    local $/;
    return <$fh>;
}

my ($table) = slurp('ngx_mcp_auth_module/core/mcp_reason.c')
              =~ /"other",(.*?)\};/s;
my @reasons = $table =~ /"([a-z_]+)"/g;
my ($audit) = slurp('docs/audit.md') =~ /## Reasons(.*?)\n## /s;
my $message = slurp('docs/internals/message.md');
my %told = map { $_ => 1 } map { /`([a-z_*]+)`/g }
           map { /^\| ([^|]*) \|/ } split /\n/, $audit;

is(join(' ', sort @reasons), join(' ', @reasons), 'the table is sorted');

for my $reason (@reasons) {
    my $known = $told{$reason} || $message =~ /`$reason`/
                || grep { s/\*//r eq substr $reason, 0, length($_) - 1 }
                   grep { /\*$/ } keys %told;
    ok($known, "$reason is documented");
}

my %in = map { $_ => 1 } @reasons;
ok($in{$_}, "$_ is counted") for grep { !/\*/ } sort keys %told;


# more servers than there are counters: the rest share one

(my $many = $conf) =~ s!(mcp_server idle \{)!join('', map {
    "mcp_server s$_ { resource https://mcp.example.com/s$_; issuer okta; "
    . "role * { allow tool x; } }\n" } 1 .. 80) . $1!e;
$many =~ s!(location = /metrics)!join('', map {
    "location /s$_ { mcp_auth s$_; return 204; }\n" } 70, 80) . $1!e;

ok(gateway->reload($many), 'many servers');
post(call('echo'), uri => "/s$_") for 70, 80;
($r, %m) = metrics();
is($m{requests('other', 'error', 'nginx')}, 2, 'are counted as one');

my %servers = map { $_ => 1 } map { /server="([^"]*)"/ } keys %m;
is(scalar keys %servers, 64, 'of 64');


# the dashboard and the alerts ask for nothing that is not there: neither
# metrics, nor labels, nor values of them that there cannot be

my (undef, %shown) = metrics();
my (%label, %value);

for (keys %shown) {
    my ($name, $labels) = /^([a-z_]+)(?:\{(.*)\})?$/;

    for (split /,/, $labels // '') {
        my ($l, $v) = /^([a-z_]+)="(.*)"$/;
        $label{$name}{$l} = 1;
        $value{$l}{$v} = 1;
    }
}

$value{decision} = { map { $_ => 1 } qw/ allow deny would_deny error / };
$value{reason} = { map { $_ => 1 } @reasons };

for my $file ('docs/grafana/mcp_auth.json', 'docs/guides/monitoring.md') {
    my $text = slurp($file) =~ s/\\"/"/gr;
    my %asked = map { $_ => 1 }
                $text =~ /(?<!\$)\b(mcp_auth_[a-z_]+?)(?:_bucket|_sum|_count)?\b(?!\.json)/g;

    delete $asked{mcp_auth_module};
    delete $asked{mcp_auth_revocations_age_seconds};    # only with Redis
    delete $asked{mcp_auth_credential_expiry_seconds};  # t/credential_client.t
    delete $asked{mcp_auth_connect_steps_total};        # t/connect_grant.t
    $label{mcp_auth_connect_steps_total} = { step => 1, decision => 1 };
    cmp_ok(scalar keys %asked, '>', 4, "$file asks");
    ok($family{$_}, "$file: $_") for sort keys %asked;

    my $selectors = 0;

    while ($text =~ /\b(mcp_auth_[a-z_]+)\{([a-z_]+(?:=~?|!=|!~)"[^}]*)\}/g) {
        my ($name, $in) = ($1, $2);

        $selectors++;

        for (split /,(?=[a-z_]+[=!])/, $in) {
            my ($l, $v) = /^([a-z_]+)(?:=~?|!=|!~)"(.*)"$/;
            ok($label{$name}{$l}, "$file: $name has $l");
            next if $v =~ /^\$/;
            ok($value{$l}{$_}, "$file: $name: $l $_") for split /\|/, $v;
        }
    }

    cmp_ok($selectors, '>', 2, "$file selects");

    for ($text =~ /\bby \(([^)]*)\)/g) {
        for my $l (split /, */) {
            ok($l eq 'le' || grep({ $_->{$l} } values %label),
               "$file: by $l");
        }
    }
}

my $dashboard = JSON::PP::decode_json(slurp('docs/grafana/mcp_auth.json'));
my @panels = grep { $_->{type} ne 'row' } @{$dashboard->{panels}};

cmp_ok(scalar @panels, '>', 6, 'panels');

for (@panels) {
    ok($_->{targets} && @{$_->{targets}}
       && !(grep { ($_->{expr} // '') !~ /mcp_auth_/ } @{$_->{targets}}),
       "the panel \"$_->{title}\" asks for something");
}

done_testing;

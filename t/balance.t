#!/usr/bin/perl

# Several servers behind one location, as docs/guides/existing-nginx.md has it:
# a caller's requests all go to one of them, sessions and streams included; a
# server that does not run is passed over; what was sent once is not sent again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my %up = map { $_ => MCP::Upstream->start($t, port => $_,
                                          handler => handler($_)) }
         8081, 8082;

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
        role * { allow tool *; }
    }

    upstream jira {
        zone    jira 64k;
        hash    "$mcp_auth_issuer $mcp_auth_user $mcp_auth_client" consistent;
        server  127.0.0.1:%%PORT_8081%% max_fails=1 fail_timeout=10s;
        server  127.0.0.1:%%PORT_8082%% max_fails=1 fail_timeout=10s;
        keepalive  8;
    }

    # the same servers, of which nothing bad is known yet
    upstream fresh {
        hash    "$mcp_auth_issuer $mcp_auth_user $mcp_auth_client" consistent;
        server  127.0.0.1:%%PORT_8081%%;
        server  127.0.0.1:%%PORT_8082%%;
    }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        proxy_http_version  1.1;
        proxy_set_header    Connection "";
        proxy_buffering     off;

        location = /mcp {
            mcp_auth    mcp;
            proxy_pass  http://jira;
        }

        location = /fresh {
            mcp_auth    mcp;
            proxy_pass  http://fresh;
        }
    }
}
END
$t->start;


# each server knows its own sessions only, and says which one it is

sub handler {
    my ($name) = @_;

    return sub {
        my ($req) = @_;
        my $method = $req->{json} ? $req->{json}{method} : $req->{method};
        my $session = $req->{headers}{'mcp-session-id'};

        if ($method eq 'initialize') {
            return { headers => { 'Mcp-Session-Id' => "of-$name" },
                     result => { protocolVersion => '2025-11-25',
                                 capabilities => {},
                                 serverInfo => { name => "$name" } } };
        }

        return { status => 404, json => { error => 'not mine' } }
            if defined $session && $session ne "of-$name";

        return { sse => [ { data => { jsonrpc => '2.0', method =>
                                      'notifications/message',
                                      params => { level => 'info',
                                                  data => "$name" } } } ] }
            if $method eq 'GET';

        return { result => { content => [ { type => 'text',
                                            text => "$name" } ] } };
    };
}

sub text { $_[0]{json}{result}{content}[0]{text} }

sub get {
    my ($token, $session) = @_;

    return http("GET /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: "
                . "text/event-stream\r\nAuthorization: Bearer $token\r\n"
                . "Mcp-Session-Id: $session\r\nConnection: close\r\n\r\n");
}


# a caller stays where the session was begun

my (%users, %stays);

for my $user (map { "user-$_" } 1 .. 24) {
    my %o = (token => $okta->token(sub => $user), era => 'legacy');
    my $session = legacy_session('/mcp', %o);

    my $r = call_tool('/mcp', 'echo', {}, %o, session => $session);
    my $name = $r->{status} == 200 ? text($r) : "$r->{status}";

    push @{$users{$name}}, { %o, user => $user };
    $stays{$user} = $name;

    like($name, qr/^808[12]$/, "$user: the session is known");
    like(get($o{token}, $session)->{body}, qr/"data":"$name"/,
         "$user: its stream too");
}

is_deeply([sort keys %users], [8081, 8082], 'both have callers');

# also with a new token, and in the modern era; a service has no user

for my $user (sort keys %stays) {
    my $r = call_tool('/mcp', 'echo', {}, token => $okta->token(
        sub => $user, groups => ['x']));
    is(text($r), $stays{$user}, "$user: another token, the other era");
}

my %services;

for my $client (map { "0oa$_" } 1 .. 16) {
    my $token = $okta->token(sub => $client, cid => $client);
    my %at = map { text(call_tool('/mcp', 'echo', {}, token => $token)) => 1 }
             1 .. 3;
    is(keys %at, 1, "$client: stays");
    $services{$_} = 1 for keys %at;
}

is_deeply([sort keys %services], [8081, 8082], 'services are spread');
$t->audit_next;


# a server that goes after it has got a call: the call is not sent again

my ($one) = @{$users{8081}};

$_->requests_next(0) for values %up;
$up{8081}->answer({ hang => 0.1 });

my $r = call_tool('/mcp', 'echo', {}, token => $one->{token});
is($r->{status}, 502, 'broken off: 502');
is(scalar(() = $up{8081}->requests_next(1)), 1, 'sent once');
is(scalar(() = $up{8082}->requests_next(0)), 0, 'and not to the other one');
is($t->audit_next->{reason}, 'upstream_failed', 'on record');


# one that does not run is passed over, with one record

$up{8081}->stop;

for my $n (1 .. 3) {
    $r = call_tool('/fresh', 'echo', {}, token => $one->{token});
    is(text($r), '8082', "without its server, $n");
}

my @records = $t->audit_next(3);
is(scalar @records, 3, 'a record each');
is($_->{decision}, 'allow', 'allowed') for @records;
like($t->read_log, qr/Connection refused/, 'it was tried');

# its sessions went with it: 404, and the client begins anew

my $session = legacy_session('/fresh', %$one);
is(text(call_tool('/fresh', 'echo', {}, %$one, session => $session)), '8082',
   'a new session at the other one');

$t->allow_log(qr/\[error\].*(?:Connection refused|prematurely closed)/);
done_testing;

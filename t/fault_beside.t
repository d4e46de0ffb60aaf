#!/usr/bin/perl

# Beside other modules, loaded before and after us, each at work in the same
# locations: lua and njs (which run code in phases and filters of their own, and
# make subrequests), headers-more, brotli, nchan (with a hiredis of its own, at
# the same Redis).  What is denied stays denied, the list that they see is cut,
# no way of theirs leads into a protected location.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IPC::Open2 qw/ open2 /;

use MCP::Test;
use MCP::Issuer;
use MCP::Redis;
use MCP::Token;
use MCP::Upstream;

plan skip_all => 'static build' if $MCP::Test::SAN;

my $dir = '/usr/lib/nginx/modules';
my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1);
my $redis = MCP::Redis->start($t);
my $store = MCP::Token->new($t);
my $up = MCP::Upstream->start($t, port => 8081,
                              tools => [qw/ ok_a no_a ok_b /]);
my $d = $t->dir;
my %file = (lua => [qw/ ndk_http ngx_http_lua /], njs => ['ngx_http_js'],
            more => ['ngx_http_headers_more_filter'],
            brotli => ['ngx_http_brotli_filter'], nchan => ['ngx_nchan']);

# those that are installed, and that nginx can begin with

my (%have, %line);

for my $name (sort keys %file) {
    my @so = map { "$dir/${_}_module.so" } @{$file{$name}};

    $line{$name} = join '', map { "load_module $_;\n" } @so;
    next if grep { !-f } @so;

    my ($ok, $said) = $t->check($line{$name} . ($t->globals('check.log')
                        =~ s/^load_module.*\n//r)
                        . "events { }\nhttp { %%GLOBALS_HTTP%% }\n");

    $ok ? $have{$name} = 1 : diag("$name: $said");
}

plan skip_all => 'no other modules installed' unless %have;

my $pat = $store->pat(user => 'pat', issuer => $okta->{issuer});
$redis->write_tokens($store);

$t->write_file('own.js', <<'END');
async function ask(r) {
    const reply = await r.subrequest('/mcp', { method: 'POST', body:
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":'
        + '{"name":"ok_a","arguments":{}}}' });

    r.return(200, `njs: ${reply.status} ${reply.responseText}`);
}

function head(r) {
    r.headersOut['X-Njs'] = 'njs';
    delete r.headersOut['Content-Length'];
}

function body(r, data, flags) {
    r.sendBuffer(data.replace(/ok_a/g, 'OK_A'), flags);
}

export default { ask, head, body };
END

my $public = 'proxy_pass http://127.0.0.1:%%PORT_8081%%;';

# what each of them has in http {} and in server {}

my %http = (
    njs => "js_path $d; js_import own from own.js;",
    nchan => 'upstream nchan_redis { nchan_redis_server redis://'
             . $redis->server . '; }',
);

my %server = (
    lua => <<"END",
        location /lua {
            mcp_auth mcp;
            rewrite_by_lua_block { ngx.req.read_body() }
            access_by_lua_block { ngx.req.set_header("X-Lua", "access") }
            header_filter_by_lua_block { ngx.header["X-Lua"] = "lua"
                                         ngx.header.content_length = nil }
            body_filter_by_lua_block {
                local all = ngx.arg[1]
                if all then
                    if string.find(all, '"no_a"', 1, true) then
                        ngx.log(ngx.ERR, "lua sees all of it")
                    end
                    ngx.arg[1] = string.gsub(all, "ok_b", "OK_B")
                end
            }
            log_by_lua_block {
                ngx.log(ngx.NOTICE, "lua: ", ngx.var.mcp_auth_user, " ",
                        ngx.var.http_authorization)
            }
            $public
        }
        location /lua-asks {
            content_by_lua_block {
                ngx.req.read_body()
                local r = ngx.location.capture("/mcp", { method =
                    ngx.HTTP_POST, body = ngx.req.get_body_data() })
                ngx.say("lua: ", r.status, " ", r.body)
            }
        }
        location /lua-goes {
            content_by_lua_block { ngx.exec("/mcp") }
        }
END
    njs => <<"END",
        location /njs {
            mcp_auth mcp;
            js_header_filter own.head;
            js_body_filter own.body;
            $public
        }
        location /njs-asks { js_content own.ask; }
END
    more => <<"END",
        location /more {
            mcp_auth mcp;
            more_set_headers "X-More: more";
            more_clear_headers Server;
            $public
        }
        location /more-clears {
            mcp_auth mcp;
            more_clear_input_headers Authorization;
            $public
        }
END
    brotli => <<"END",
        location /brotli {
            mcp_auth mcp;
            brotli on;
            brotli_types application/json text/event-stream;
            brotli_min_length 1;
            $public
        }
END
    nchan => <<'END',
        location = /pub { nchan_publisher; nchan_channel_id x;
                          nchan_redis_pass nchan_redis; }
        location = /sub { nchan_subscriber longpoll; nchan_channel_id x;
                          nchan_redis_pass nchan_redis; }
END
);

sub conf {
    my ($first) = @_;
    my $globals = $t->globals('error.log');
    my ($ours) = $globals =~ /^(load_module.*\n)/;
    my $others = join '', map { $line{$_} } sort keys %have;

    $globals =~ s/^load_module.*\n//;

    return ($first ? $ours . $others : $others . $ours) . $globals . <<"END";
worker_processes 2;
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    mcp_token_key pepper-a;
    mcp_redis { server @{[ $redis->server ]}; }
    @{[ join "\n", map { $http{$_} // '' } sort keys %have ]}

    %%ISSUER_okta%%

    mcp_credential bot { value "Bearer bot-secret"; }
    mcp_server mcp { resource https://mcp.example.com/mcp; issuer okta;
                     tokens on; credential bot; role * { allow tool ok_*; }
                     role dev { allow tool ok_*; } }

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        location = /status { mcp_status; }
        location /mcp { mcp_auth mcp; $public }
        @{[ join "\n", map { $server{$_} } sort keys %have ]}
    }
}
END
}

my $token = $okta->token;

sub at { my ($uri, $tool, %o) = @_;
         return call_tool($uri, $tool, {}, token => $token, %o) }
sub list { list_tools($_[0], token => $token, @_[1 .. $#_]) }
sub names { join ' ', map { $_->{name} } @{$_[0]{json}{result}{tools} || []} }

sub plain {
    my ($uri) = @_;
    return http("POST $uri HTTP/1.1\r\nHost: a\r\nContent-Type:"
                . " application/json\r\nContent-Length: 2\r\nConnection:"
                . " close\r\nAccept: application/json, text/event-stream\r\n"
                . "\r\n{}");
}

# one location: as if nothing else was there

sub location {
    my ($uri, $list) = @_;
    my $before = $up->requests(0);

    is(at($uri, 'ok_a')->{status}, 200, "$uri: an allowed call");
    is(at($uri, 'no_a')->{json}{error}{code}, -32602, "$uri: a denied one");
    is(call_tool($uri, 'ok_a', {})->{status}, 401, "$uri: nobody");
    is(call_tool($uri, 'ok_a', {}, token => $pat->{token})->{status}, 200,
       "$uri: with a token of ours");
    is(names(list($uri)), $list, "$uri: the list is cut");
    is($up->requests(0) - $before, 3, "$uri: no other arrives");
    is(join(' ', sort map { $_->{decision} } $t->audit_next(5)),
       'allow allow allow deny deny', "$uri: each on record");
}


my %about = (

lua => sub {
    my $from = length $t->read_log;

    location('/lua', $_[0] ? 'ok_a' : 'ok_a OK_B');
    is(at('/lua', 'ok_a')->{headers}{'x-lua'}, 'lua', 'lua: its header');
    is(at('/lua', 'no_a')->{headers}{'x-lua'}, 'lua', 'on a denial, too');
    is(scalar(grep { ($_->{headers}{'x-lua'} // '') ne 'access' }
              grep { $_->{uri} eq '/lua' } $up->requests(0)), 0,
       'lua: its part of the access phase');
    $t->audit_next(2);

    my $log = substr $t->read_log, $from;

    like($log, qr/lua: alice/, 'lua: knows the user');
    is($log =~ /sees all of it/ ? 1 : 0, $_[0], 'lua: what its filter sees');
    unlike($log, qr/bot-secret/, 'lua: no credential in its log phase');

    my $before = $up->requests(0);

    unlike(plain('/lua-asks')->{body}, qr/result/, 'lua: a subrequest');
    is(plain('/lua-goes')->{status}, 401, 'lua: exec, by nobody');
    is($up->requests(0), $before, 'lua: nothing arrives');
    $t->audit_next(1);
},

njs => sub {
    location('/njs', $_[0] ? 'ok_b' : 'OK_A ok_b');
    is(at('/njs', 'ok_b')->{headers}{'x-njs'}, 'njs', 'njs: its header');

    my $before = $up->requests(0);

    unlike(plain('/njs-asks')->{body}, qr/result/, 'njs: a subrequest');
    is($up->requests(0), $before, 'njs: nothing arrives');
    $t->audit_next(1);
},

more => sub {
    location('/more', 'ok_a ok_b');
    is(at('/more', 'no_a')->{headers}{'x-more'}, 'more', 'more: its header');
    is(at('/more-clears', 'ok_a')->{status}, 401,
       'more: a token that it takes away is not there');
    $t->audit_next(2);
},

brotli => sub {
    location('/brotli', 'ok_a ok_b');

    my $r = list('/brotli', headers => { 'Accept-Encoding' => 'br' });

    is($r->{headers}{'content-encoding'}, 'br', 'brotli: compressed');

    my $pid = open2(my $from, my $to, 'node', '-e', 'process.stdout.write('
        . "require('zlib').brotliDecompressSync(require('fs')"
        . '.readFileSync(0)))');
    binmode $_ for $from, $to;
    print $to $r->{body};
    close $to;

    my $text = do { local $/; <$from> };
    waitpid $pid, 0;
    is(join(' ', $text =~ /"name":"(\w+)"/g), 'ok_a ok_b',
       'brotli: and it is the list that was cut');
    $t->audit_next(1);
},

nchan => sub {
    my $c = http_start("GET /sub HTTP/1.1\r\nHost: a\r\n\r\n");

    location('/mcp', 'ok_a ok_b');

    my $status;

    # it has to reach Redis first

    MCP::Test::wait_until($MCP::Test::TIMEOUT, sub {
        $status = http("POST /pub HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                       . "Connection: close\r\n\r\nhello")->{status};
        return $status =~ /^20/;
    });
    like($status, qr/^20/, 'nchan: publishes, by Redis');
    is($c->read_response->{body}, 'hello', 'nchan: and who waits reads it');
    location('/mcp', 'ok_a ok_b');
},

);


for my $first (1, 0) {
    my $when = $first ? 'before' : 'after';

    $t->write_conf(conf($first));
    $t->start;
    MCP::Test::wait_until($MCP::Test::TIMEOUT,
                          sub { metric('revocations_ready') });

    for my $name (qw/ lua njs more brotli nchan /) {
        subtest "loaded $when the others: $name" => sub {
            plan skip_all => "$name is not installed, or lacks a library"
                unless $have{$name};
            $about{$name}->($first);
        };
    }

    # new workers for all of them

    ok($t->reload, 'reload');
    is(at('/mcp', 'ok_a')->{status}, 200, 'and on');
    $t->audit_next(1);
    $t->stop;
}

is(scalar(grep { $_->{head} !~ /^Authorization: Bearer bot-secret\r$/mi }
          $up->requests(1)), 0, 'no upstream saw anything but the credential');
unlike($t->read_log, qr/exited on signal/, 'nothing crashed');

done_testing;

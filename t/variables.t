#!/usr/bin/perl

# $mcp_auth_*: in log_format, map, proxy_set_header and limit_req_zone; before
# and after the access phase; never a header of the caller's making.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MCP::Test;
use MCP::Issuer;
use MCP::Upstream;

my $t = MCP::Test->new;
my $okta = MCP::Issuer->new($t, static => 1, conf => 'role eng mcp-eng; role ops mcp-ops;');
my $next = MCP::Issuer->new($t, static => 1, name => 'next');
my $up = MCP::Upstream->start($t, port => 8081);

my @names = qw/ user client kind roles issuer server method target decision
                reason rule claim_tenant claim_none /;
my $format = join '|', map { "\$mcp_auth_$_" } @names;
my $headers = join '', map { (my $h = "V-$_") =~ tr/_/-/;
                             "proxy_set_header $h \$mcp_auth_$_;\n" } @names;

$t->write_conf(<<"END");
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    log_format mcp '$format';

    %%ISSUERS%%

    mcp_server mcp { resource https://mcp.example.com/mcp; issuer okta;
                     role eng { allow tool *; deny tool rm; }
                     role ops { allow tool *; } }
    mcp_server next { resource https://mcp.example.com/next; issuer next;
                      role * { allow tool *; } }

    map \$mcp_auth_user \$greeting { alice hello; default who; }
    limit_req_zone \$mcp_auth_user zone=user:64k rate=1r/m;

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        access_log %%TESTDIR%%/mcp.log mcp;
        set \$before "\$mcp_auth_user";

        location /mcp {
            mcp_auth mcp;
            set \$early "\$mcp_auth_user/\$mcp_auth_roles/\$mcp_auth_claim_tenant";
            set \$late "\$mcp_auth_decision\$mcp_auth_method";
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
            $headers
            proxy_set_header V-Greeting \$greeting;
            proxy_set_header V-Before \$before;
            proxy_set_header V-Early \$early;
            proxy_set_header V-Late \$late;
        }

        location /next {
            mcp_auth next;
            limit_req zone=user;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /limit {
            mcp_auth mcp;
            limit_req zone=user;
            proxy_pass http://127.0.0.1:%%PORT_8081%%;
        }

        location /free { return 200 "\$mcp_auth_user\$mcp_auth_claim_tenant."; }
    }
}
END
$t->start;

my %alice = (sub => 'alice', cid => 'cli', groups => ['mcp-eng'],
             tenant => 'acme');
my $token = $okta->token(%alice);

sub logged {
    my ($n) = @_;
    my @lines;

    MCP::Test::wait_until(5, sub {
        @lines = $t->read_file('mcp.log') =~ /^(.*)\n/mg;
        return @lines >= $n;
    });

    is(scalar @lines, $n, 'lines in the access log');
    my %v;
    @v{@names} = split /\|/, $lines[-1], -1;
    return \%v;
}


# ---- after access

call_tool('/mcp', 'echo', {}, token => $token);
my $h = $up->requests_next->{headers};
my %want = (user => 'alice', client => 'cli', kind => 'user', roles => 'eng',
            issuer => $okta->{issuer}, server => 'mcp', method => 'tools/call',
            target => 'echo', decision => 'allow', reason => 'allow',
            claim_tenant => 'acme');

for (sort keys %want) {
    (my $name = "v-$_") =~ tr/_/-/;
    is($h->{$name}, $want{$_}, "\$mcp_auth_$_ upstream");
}

like($h->{'v-rule'}, qr/allow tool \*/, '$mcp_auth_rule');
ok(!exists $h->{'v-claim-none'}, 'a claim that is not there');
is($h->{'v-greeting'}, 'hello', 'in a map');

my $v = logged(1);
is($v->{$_}, $want{$_}, "\$mcp_auth_$_ in the log") for sort keys %want;


# ---- before access

is($h->{'v-early'}, '//', 'set: empty');
ok(!exists $h->{'v-before'}, 'before there is a location: empty');
ok(!exists $h->{'v-late'}, 'and nothing is decided');

my $r = http("GET /free HTTP/1.0\r\nAuthorization: Bearer $token\r\n\r\n");
is($r->{body}, '.', 'nobody in a location that is not protected');


# ---- limit_req by user

is(call_tool('/next', 'echo', {}, token => $token)->{status}, 401,
   'a token of another server') for 1 .. 2;
my @status = map { call_tool('/limit', 'echo', {}, token => $_)->{status} }
             $token, $token, map { ($_, $_, $_) }
             $okta->token(%alice, sub => 'bob');

is(join(' ', @status), '200 503 200 200 503',
   'counted by user, from the second request of a token on');
$up->requests_next(3);


# ---- refused

$v = logged(9);
call_tool('/mcp', 'rm', {}, token => $token);
$v = logged(10);
is("$v->{decision} $v->{target} $v->{user}", 'deny rm alice', 'denied');

call_tool('/mcp', 'echo', {}, token => "$token.x");
$v = logged(11);
is("$v->{decision} $v->{user} $v->{server}", 'deny - mcp', 'no caller');


# ---- a name that would be a header

for my $era (qw/ legacy modern /) {
    mcp_post('/mcp', rpc('tools/call', { name => "a\r\nX-Evil: 1\r\n\tb\x7f" },
                         era => $era), token => $token, era => $era);
    my ($req) = $up->requests_next(1, timeout => 1);

    next unless $req;
    ok(!exists $req->{headers}{'x-evil'}, "$era: no header of the caller's");
    is($req->{headers}{'v-target'}, 'a%0D%0AX-Evil: 1%0D%0A%09b%7F',
       "$era: control characters are escaped");
}

done_testing;

#!/usr/bin/perl

# The Debian package, as `make test-deb` builds it: two builds are the same,
# byte for byte, and leave the tree alone; lintian has nothing to say; it is
# installed, enabled, used, removed, installed again and purged, with dpkg, and
# nothing of it stays.
#
# What is installed goes to an overlay over this machine's files, in a mount
# namespace of its own, that is in memory and ends with it.  That takes root.

use strict;
use warnings;

use Cwd qw/ abs_path /;
use File::Temp qw/ tempdir /;
use FindBin;
use IO::Socket::INET;
use Test::More;

my $top = abs_path("$FindBin::Bin/../..");
my $package = 'libnginx-mod-http-mcp-auth';
my $so = 'usr/lib/nginx/modules/ngx_http_mcp_auth_module.so';
my $dir = tempdir('mcp-deb-XXXXXX', TMPDIR => 1, CLEANUP => 1);

chdir $top or die "chdir: $!";

my ($version) = slurp('ngx_mcp_auth_module/nginx/ngx_mcp_module.h')
                =~ /^#define NGX_MCP_VERSION +"([^"]+)"/m;


# made; a commit meanwhile is of another time

$ENV{SOURCE_DATE_EPOCH} //= (run(qw/ git log -1 --format=%ct /))[1] =~ s/\s//gr
    if -e '.git';

my $before = tree();
my %first = build('build/deb');
my ($deb) = grep { m!/${package}_! } keys %first;

is(tree(), $before, 'the tree is as it was');

BAIL_OUT('no package') unless $deb;
is(scalar(keys %first), 2, 'the package, and its symbols');

{
    local $ENV{TZ} = 'Asia/Kathmandu';
    local $ENV{LANG} = 'C';
    my $mask = umask 077;
    my %again = build('build/deb-again/elsewhere');

    umask $mask;
    is_deeply([ sort values %again ], [ sort values %first ],
              'another build at another place: the same bytes');
    system('rm', '-rf', 'build/deb-again');
}

my ($ok, $said) = run('lintian', '--allow-root', '--fail-on', 'error,warning',
                      glob('build/deb/*.changes'));
ok($ok, 'lintian has nothing to say') or diag($said);


# what it says and has

my %field;

(undef, $said) = run('dpkg-deb', '-f', $deb);
$field{$1} = $2 while $said =~ /^([\w-]+): (.*)$/mg;
is($field{Package}, $package, 'name');
is($field{Version}, $version, 'the version is the module\'s');
like($field{Depends}, qr/\bnginx-abi-[\w.-]+/, 'depends on the ABI of nginx');
like($field{Depends}, qr/\blibssl\d/, 'and on the libraries');

(undef, $said) = run('dpkg-deb', '-c', $deb);
my %has = map { $_ => 1 } $said =~ m!^-.* \./(\S+)$!mg;

for my $file ($so, "usr/share/nginx/modules-available/mod-http-mcp-auth.conf",
              'usr/sbin/mcpctl', 'usr/share/man/man8/mcpctl.8.gz',
              'usr/share/bash-completion/completions/mcpctl',
              'etc/logrotate.d/mcp',
              map { "usr/share/doc/$package/$_" }
              qw! README.md copyright copyright.hiredis changelog.gz
                  docs/directives.md docs/guides/okta.md
                  docs/internals/README.md examples/nginx.conf !)
{
    ok($has{$file}, $file);
}

run('dpkg-deb', '-x', $deb, "$dir/x");

for my $file ($so, 'usr/sbin/mcpctl') {
    (undef, $said) = run('readelf', '-W', '-d', '-l', "$dir/x/$file");
    like($said, qr/GNU_RELRO/, "$file: relro");
    like($said, qr/\bBIND_NOW\b|\bFlags:.* NOW\b/, "$file: bound at once");
    (undef, $said) = run('nm', '-D', '--undefined-only', "$dir/x/$file");
    like($said, qr/\b__stack_chk_fail\b/, "$file: stack protector");
    (undef, $said) = run('strings', "$dir/x/$file");
    unlike($said, qr!\Q$top\E!, "$file: no path of this machine");
}

like(slurp("$dir/x/etc/logrotate.d/mcp"),
     qr!\A\s*/var/log/mcp/\*\.log \{\n.*^\}\s*\z!ms, 'the rotation of the guide');
is((stat "$dir/x/etc/logrotate.d/mcp")[2] & 07777, 0644, 'and its mode');
like(slurp("$dir/x/usr/share/doc/$package/examples/nginx.conf"),
     qr/^http \{\n.*\bmcp_auth +jira;.*^\}\s*\z/ms, 'the example of the README');


# installed and removed

SKIP: {
    my $r = $> == 0 ? installed() : undef;

    skip 'not root, or no overlay file system', 20 unless $r;

    my $link = '/etc/nginx/modules-enabled/50-mod-http-mcp-auth.conf';

    is($r->{install}[0], 0, 'installed') or diag($r->{install}[1]);
    like($r->{links}[1], qr/^\Q$link\E$/m, 'enabled');
    is($r->{bare}[0], 0, 'nginx -t without a use of it')
        or diag($r->{bare}[1]);

    is($r->{test}[0], 0, 'nginx -t with a use of it')
        or diag($r->{test}[1]);
    like($r->{dump}[1], qr!^# configuration file \Q$link\E:\n
                           load_module\ modules/ngx_http_mcp_auth_module.so;!mx,
         'nginx -T: by its own file');
    like($r->{reply}[1], qr/^HTTP\/1.1 401 .*^WWW-Authenticate: Bearer /msi,
         'it asks for a token');
    like($r->{record}[1], qr/"decision":"deny","reason":"no_token"/,
         'and writes a record');
    like($r->{mcpctl}[1], qr/\Q$version\E/, 'mcpctl --version');
    is($r->{check}[0], 0, 'mcpctl reads /etc/nginx/nginx.conf')
        or diag($r->{check}[1]);
    like($r->{check}[1], qr/\bjira\b/, 'and knows the server');
    like($r->{rotate}[1], qr/^(?:none|0)$/m, 'logrotate takes the file');

    is($r->{remove}[0], 0, 'removed') or diag($r->{remove}[1]);
    is($r->{gone}[0], 0, 'nginx -t without it') or diag($r->{gone}[1]);
    like($r->{after_remove}[1], qr/^\Q$link\E\.removed$/m, 'not enabled');
    unlike($r->{after_remove}[1], qr/^\Q$link\E$/m, 'any more');

    is($r->{again}[0], 0, 'installed again');
    like($r->{links_again}[1], qr/^\Q$link\E$/m, 'enabled again');
    is($r->{purge}[0], 0, 'purged') or diag($r->{purge}[1]);
    is($r->{diff}[1], '', 'nothing stays') or diag($r->{diff}[1]);
    is($r->{last}[0], 0, 'nginx -t') or diag($r->{last}[1]);
}

done_testing();


sub slurp {
    my ($file) = @_;

    open my $fh, '<', $file or die "$file: $!";
    local $/;
    return scalar <$fh>;
}


sub run {
    my (@command) = @_;
    my $pid = open(my $fh, '-|') // die "fork: $!";

    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        exec @command or exit 127;
    }

    local $/;
    my $said = <$fh> // '';
    close $fh;

    return ($? == 0, $said);
}


# what git sees and what it does not

sub tree {
    return -e '.git'
        ? join '', map { (run('git', @$_))[1] }
          [qw/ status --porcelain --ignored -- . :!build /], [qw/ diff HEAD /]
        : (run('find', '.', '-path', './build', '-prune', '-o', '-print'))[1];
}


# { file => digest }

sub build {
    my ($to) = @_;
    my ($ok, $said) = run('build-aux/deb', $to);

    ok($ok, "built in $to") or diag($said);

    return map { $_ => ((run('sha256sum', $_))[1] =~ /^(\w+)/)[0] }
           glob("$to/*.deb");
}


# { step => [ exit status, output ] }, or nothing where there is no overlay

sub installed {
    my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')
        or die "no port: $!";
    my $port = $socket->sockport;

    close $socket;

    script("$dir/outside", <<"END");
set -e
mount -t tmpfs mcp-deb '$dir'
mkdir '$dir/upper' '$dir/work' '$dir/root'
mount -t overlay mcp-deb '$dir/root' \\
    -o 'lowerdir=/,upperdir=$dir/upper,workdir=$dir/work'
mount -t proc proc '$dir/root/proc'
mount --rbind /dev '$dir/root/dev'
mount -t tmpfs mcp-run '$dir/root/run'
mkdir -p '$dir/root/run/lock' '$dir/root/mcp'
cp /dev/fd/3 '$dir/root/mcp/inside'
cp '$top/$deb' '$dir/root/mcp/it.deb'
exec chroot '$dir/root' /usr/bin/env -i LC_ALL=C.UTF-8 \\
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \\
    sh /mcp/inside 3<&-
END

    script("$dir/inside", <<'END' =~ s/%%PORT%%/$port/gr);
step()
{
    name=$1
    shift
    rc=0
    "$@" > /mcp/out 2>&1 || rc=$?
    echo "=== $name $rc"
    cat /mcp/out
}

# logs and caches may change; the package manager's files are its own

list()
{
    find / -xdev \( -path /var/log -o -path /var/cache -o -path /var/lib/dpkg \
        -o -path /tmp -o -path /mcp \) -prune -o -printf '%p %y %l %m\n' | sort
}

links()
{
    find /etc/nginx/modules-enabled -name '*mcp*'
}

reply()
{
    nginx || return 1
    curl -s -i -m 10 -H 'Content-Type: application/json' \
        -d '{"jsonrpc":"2.0","id":1,"method":"ping"}' \
        http://127.0.0.1:%%PORT%%/jira
    rc=$?
    nginx -s quit
    return $rc
}

# quit: the last record is there when the last process is not

record()
{
    for i in $(seq 100)
    do
        [ -e /run/nginx.pid ] || break
        sleep 0.1
    done
    cat /var/log/nginx/mcp_audit.log
}

rotate()
{
    command -v logrotate > /dev/null || { echo none; return; }
    logrotate -d /etc/logrotate.d/mcp
    echo $?
}

export DEBIAN_FRONTEND=noninteractive
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
dpkg -P libnginx-mod-http-mcp-auth > /dev/null 2>&1
rm -rf /etc/nginx/conf.d/* /etc/nginx/sites-enabled/*
mkdir -p /var/log/nginx
rm -f /var/log/nginx/*

list > /mcp/before

step install dpkg -i /mcp/it.deb
step links links
step bare nginx -t

cat > /mcp/keys.json <<KEYS
{"keys":[{"kty":"EC","crv":"P-256","use":"sig","kid":"1","alg":"ES256",
"x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
"y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}
KEYS

cat > /etc/nginx/conf.d/mcp.conf <<CONF
mcp_issuer okta {
    issuer     https://issuer.example;
    jwks_file  /mcp/keys.json;
    algorithms ES256;
}

mcp_server jira {
    resource  https://mcp.example/jira;
    issuer    okta;
    role * { allow tool *; }
}

server {
    listen 127.0.0.1:%%PORT%%;
    location = /jira { mcp_auth jira; proxy_pass http://127.0.0.1:1; }
}
CONF

step test nginx -t
step dump nginx -T
step reply reply
step record record
step mcpctl mcpctl --version
step check mcpctl policy matrix --server jira
step rotate rotate

rm /etc/nginx/conf.d/mcp.conf

step remove dpkg -r libnginx-mod-http-mcp-auth
step gone nginx -t
step after_remove links
step again dpkg -i /mcp/it.deb
step links_again links
step purge dpkg -P libnginx-mod-http-mcp-auth

list > /mcp/after
step diff diff /mcp/before /mcp/after
step last nginx -t
END

    my ($ok, $said) = run('sh', '-c', 'exec unshare --mount --pid --fork'
                          . " --kill-child sh '$dir/outside' 3< '$dir/inside'");
    my %r;

    note($said);
    $r{$1} = [ $2, $3 ]
        while $said =~ /^=== (\w+) (\d+)\n(.*?)(?=^=== |\z)/msg;

    if (!%r) {
        diag($said);
        return;
    }

    return \%r;
}


sub script {
    my ($file, $text) = @_;

    open my $fh, '>', $file or die "$file: $!";
    print $fh $text;
    close $fh;
}

package MCP::Connect;

# A gateway with mcp_connect, a login issuer and a provider, for tests of the
# pages.
#
#     my $g = MCP::Connect->new($t);
#     $g->start;
#     my $b = $g->browser;
#     my $page = $b->get($g->url);                # signs in, as alice
#     $g->{login}->set(person => 'bob');
#
# login (an MCP::Provider whose ID tokens are okta's), idp (the provider of
# credential `jira`), redis, vault, okta, up (the MCP server behind).  Options:
# iss => URL of the login issuer.  start() and conf(): issuer => more lines of
# mcp_issuer, endpoints => its endpoints, http => more of http {}, server => of
# server {}, credential => of `jira`, location => of the location, workers.

use strict;
use warnings;

use MCP::Test ();
use MCP::Browser;
use MCP::Issuer;
use MCP::Provider;
use MCP::Redis;
use MCP::Vault;


sub new {
    my ($class, $t, %o) = @_;
    my $self = bless { t => $t, name => 'nginx', %o }, $class;
    my $at = 'http://127.0.0.1:' . MCP::Test::port(8080);

    $self->{url} = "$at/connect/";
    $self->{okta} = MCP::Issuer->new($t, static => 1,
        audience => 'https://mcp.example.com/mcp', conf => '',
        defined $o{iss} ? (issuer => $o{iss}) : ());
    $self->{vault} = MCP::Vault->new($t);
    $self->{redis} = MCP::Redis->start($t) unless $self->{redis};
    $self->{login} = MCP::Provider->start($t, name => 'login', port => 8091,
        login => $self->{okta}, redirects => ["$self->{url}callback"],
        clients => { 'gw:login' => { secret => 'login-secret-$&%4711',
                                     auth => 'basic' } });
    $self->{idp} = MCP::Provider->start($t, name => 'idp', port => 8090,
        redirects => [ map { "$self->{url}grant/$_" } qw/ jira wiki / ],
        clients => { gw => { secret => 'idp-secret-4711', auth => 'post' } });
    $self->{up} = $self->{idp}->resource;

    $t->write_file('session.key', join '', map { chr 33 + rand 90 } 1 .. 48);
    chmod 0600, $t->dir . '/session.key';

    return $self;
}


sub url { $_[0]{url} . ($_[1] // '') }

sub browser { shift; MCP::Browser->new(@_) }


sub conf {
    my ($self, %o) = @_;
    my $d = $self->{t}->dir;
    my $vault = $self->{vault}->file;
    my ($login, $idp) = ($self->{login}, $self->{idp});
    my $redis = MCP::Test::port($o{redis_port} // 6379);
    my $ends = defined $o{endpoints} ? $o{endpoints}
        : 'authorization_endpoint ' . $login->endpoint('/authorize') . ';'
          . 'token_endpoint ' . $login->endpoint . ';';
    my $okta = $o{okta} // "mcp_issuer okta { issuer $self->{okta}{issuer};
        jwks_file @{[ $self->{okta}->jwks_file ]};
        audience https://mcp.example.com/mcp;
        client_id gw:login; client_secret 'login-secret-\$&%4711';
        $ends @{[ $self->{issuer_more} // q() ]} }";
    my $user = 'type user; provider generic;'
        . ' authorize_endpoint ' . $idp->endpoint('/authorize') . ';'
        . ' token_endpoint ' . $idp->endpoint . ';'
        . ' revoke_endpoint ' . $idp->endpoint('/revoke') . ';'
        . ' auth_method client_secret_post; client_id gw;'
        . ' client_secret idp-secret-4711;';

    # the workers are replaced while it waits: long, under valgrind

    $user .= ' timeout 60s;' if $ENV{MCP_TEST_VALGRIND}
                                && ($o{credential} // '') !~ /timeout/;

    my $credentials = $o{credentials}
        // "mcp_credential jira { $user @{[ $o{credential} // '' ]} }";

    return <<"END";
%%GLOBALS%%
worker_processes @{[ $o{workers} // 1 ]};
events { }
http {
    %%GLOBALS_HTTP%%
    mcp_audit %%TESTDIR%%/audit.log;
    large_client_header_buffers 4 32k;
    mcp_vault_keys $vault;
    mcp_session_key $d/session.key;
    mcp_redis { server 127.0.0.1:$redis; @{[ $o{redis_conf} // '' ]} }
    $okta
    $credentials
    mcp_server s { resource https://mcp.example.com/mcp; issuer okta;
                   credential jira; role * { allow tool *; } }
    @{[ $o{http} // '' ]}
    server {
        listen 127.0.0.1:%%PORT_8080%%;
        @{[ $o{server} // '' ]}
        location /connect/ {
            mcp_connect login=okta url=$self->{url};
            @{[ $o{location} // '' ]}
        }
        location /mcp { mcp_auth s;
                        proxy_pass http://127.0.0.1:%%PORT_8081%%; }
        location = /status { mcp_status; }
    }
}
END
}


sub start {
    my ($self, %o) = @_;

    $self->{issuer_more} = $o{issuer} // '';
    $self->{t}->write_conf($self->conf(%o))->start;

    return $self;
}


1;

/*
 * A Redis of the test's own, and a grant of a person in it.
 */

import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { root } from './nginx.mjs';
import { freePort, start, stop } from './process.mjs';


export class Redis {
    async start() {
        this.dir = mkdtempSync(join(tmpdir(), 'mcp-redis-'));
        chmodSync(this.dir, 0o711);
        this.port = await freePort();
        this.socket = join(this.dir, 'socket');
        this.child = await start('redis-server', [
            '--port', String(this.port), '--bind', '127.0.0.1',
            '--unixsocket', this.socket, '--save', '', '--dir', this.dir,
        ], { port: this.port, what: 'redis-server' });
        return this;
    }

    async stop() {
        await stop(this.child);
        rmSync(this.dir, { recursive: true, force: true });
    }
}


/* Perl, since the sealed format is spelled out in t/lib/MCP/Vault.pm. */
const IMPORT = `
my $o = JSON::PP->new->utf8->decode(do { local $/; <STDIN> });
my $vault = bless { keys => [ [ 'one',
    MIME::Base64::decode_base64($o->{key}) ] ] }, 'MCP::Vault';
my $redis = bless { dir => $o->{dir}, prefix => 'mcp:' }, 'MCP::Redis';
$vault->write($redis, $o->{owner}, $o->{tokens});
`;

/* owner: { credential, issuer, user }; key: base64, as in mcp_vault_keys */
export function importGrant(redis, key, owner, tokens) {
    execFileSync('perl', ['-It/lib', '-MMIME::Base64', '-MMCP::Vault',
                          '-MMCP::Redis', '-e', IMPORT],
                 { cwd: root, input: JSON.stringify({ dir: redis.dir, key,
                                                      owner, tokens }) });
}

/*
 * A Redis of the test's own, and how a grant of a person comes into it.
 */

import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { module } from './nginx.mjs';
import { freePort, start, stop } from './process.mjs';


export class Redis {
    async start() {
        this.dir = mkdtempSync(join(tmpdir(), 'mcp-redis-'));
        chmodSync(this.dir, 0o711);
        this.port = await freePort();
        this.socket = join(this.dir, 'socket');
        return this.restart();
    }

    /* Nothing of what it had is left. */
    async restart() {
        await stop(this.child);
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


/* What a token endpoint answered becomes somebody's credential, as an operator
 * would have it. */
export function importGrant(nginx, credential, user, issuer, answer) {
    const mcpctl = process.env.MCPCTL ?? join(dirname(module), 'mcpctl');

    execFileSync(mcpctl, ['--conf', nginx.conf, 'credential', 'import',
                          credential, '--user', user, '--issuer', issuer],
                 { input: JSON.stringify(answer),
                   stdio: ['pipe', 'ignore', 'inherit'] });
}

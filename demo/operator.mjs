/*
 * The operator of the demonstration: mcpctl, with the demonstration's
 * configuration.
 */

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { module } from '../t/e2e/lib/nginx.mjs';


export class Operator {
    /* The files that the configuration names are there before nginx starts;
     * ca: the authority of pair, which is the certificate of the pages. */
    constructor(nginx, { ca, pair }) {
        this.nginx = nginx;
        this.mcpctl = process.env.MCPCTL ?? join(dirname(module), 'mcpctl');

        const file = (name, text, mode) =>
            writeFileSync(join(nginx.dir, name), text, { mode });

        for (const name of ['token.key', 'session.key']) {
            file(name, `${randomBytes(48).toString('base64')}\n`, 0o600);
        }
        file('vault.keys', `one ${randomBytes(32).toString('base64')}\n`,
             0o600);
        file('ca.pem', readFileSync(ca), 0o644);
        file('cert.pem', pair.cert, 0o644);
        file('key.pem', pair.key, 0o600);
    }

    run(...args) {
        return execFileSync(this.mcpctl, ['--conf', this.nginx.conf, ...args],
                            { encoding: 'utf8',
                              stdio: ['ignore', 'pipe', 'pipe'] }).trim();
    }
}

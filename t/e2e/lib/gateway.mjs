/*
 * A gateway that is reached over TLS, in front of a server of each era:
 *
 *     client -> nginx -> recorder -> server-everything    /legacy
 *                     -> recorder -> modern server        /modern
 *
 * The configuration is the test's; it names the issuer, which is the test's
 * too.
 */

import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { startEverything } from './everything.mjs';
import { ModernServer } from './modern.mjs';
import { Nginx, root } from './nginx.mjs';
import { freePort, onSignal, sleep, stop, until } from './process.mjs';
import { Recorder } from './recorder.mjs';
import { authority, certificate } from './tls.mjs';


export class Gateway {
    secret = `s-${randomUUID()}`;   /* what arrives upstream */

    constructor(host = '127.0.0.1') {
        this.host = host;
    }

    /* template: a file beside this one's parent; files: name -> what else it
     * names, for nginx's directory */
    async start(template, values, files = {}, port = undefined) {
        const { key, cert } = certificate(this.host);
        port ??= await freePort();

        onSignal();
        this.url = `https://${this.host}:${port}`;
        try {
            this.reference = await startEverything();
            this.legacy = await new Recorder(this.reference.port).start();
            this.server = await new ModernServer().start();
            this.modern = await new Recorder(this.server.port).start();

            this.nginx = new Nginx(join(root, 't/e2e', template), {
                PORT: port, SECRET: this.secret, LEGACY: this.legacy.port,
                MODERN: this.modern.port, ...values,
            });
            const put = (name, data) => writeFileSync(
                join(this.nginx.dir, name), data, { mode: 0o600 });

            put('ca.pem', readFileSync(authority()));
            put('cert.pem', cert);
            put('key.pem', key);
            for (const [name, data] of Object.entries(files)) {
                put(name, data);
            }
            await this.nginx.start();

        } catch (error) {
            await this.stop();
            throw error;
        }
        return this;
    }

    /* Returns what must not be in error.log. */
    async stop() {
        await this.nginx?.stop();
        await stop(this.reference?.child);
        await this.server?.stop();
        this.legacy?.stop();
        this.modern?.stop();

        const complaints = this.nginx?.complaints() ?? [];
        this.nginx?.remove();
        return complaints;
    }

    /* What was sent to a server; clients open GET streams when they like. */
    posts(era) {
        return this[era.name].requests.filter(({ method }) =>
            method === 'POST');
    }

    /* The audit records that match, when there are at least n. */
    async audit(match, n = 1) {
        await until(() => this.nginx.lines('audit.log').filter(match).length
                          >= n, `${n} audit records`, 5000);
        await sleep(50);
        return this.nginx.lines('audit.log').filter(match);
    }
}

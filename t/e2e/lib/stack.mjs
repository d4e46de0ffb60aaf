/*
 * All that a test file needs, on free loopback ports:
 *
 *     client -> nginx -> recorder -> server-everything    /everything, legacy
 *                     -> recorder -> modern server        /projects, modern
 *     nginx -> issuers: one by http with a key set; one by https, to be
 *              discovered; one whose certificate is not trusted
 */

import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { startEverything } from './everything.mjs';
import { Issuer } from './issuer.mjs';
import { ModernServer } from './modern.mjs';
import { Nginx, root } from './nginx.mjs';
import { freePort, onSignal, sleep, stop, until } from './process.mjs';
import { Recorder } from './recorder.mjs';


export async function startStack() {
    const stack = new Stack();

    onSignal();
    try {
        await stack.start();
    } catch (error) {
        await stack.stop();
        throw error;
    }
    return stack;
}


class Stack {
    /* what must arrive upstream, and nowhere else */
    everythingSecret = `s-${randomUUID()}`;
    projectsSecret = `p-${randomUUID()}`;

    async start() {
        const port = await freePort();

        this.url = `http://127.0.0.1:${port}`;
        this.issuer = await new Issuer({ path: '/oauth2/default' }).start();
        this.partner = await new Issuer({ path: '/partner', tls: true })
                                 .start();
        this.stranger = await new Issuer({ path: '/stranger', tls: true })
                                  .start();

        this.reference = await startEverything();
        this.everything = await new Recorder(this.reference.port).start();
        this.modern = await new ModernServer().start();
        this.projects = await new Recorder(this.modern.port).start();

        this.nginx = new Nginx(join(root, 't/e2e/nginx.conf'), {
            PORT: port,
            ISSUER: this.issuer.url,
            PARTNER: this.partner.url,
            STRANGER: this.stranger.url,
            SECRET: this.everythingSecret,
            EVERYTHING: this.everything.port,
            PROJECTS: this.projects.port,
        });
        writeFileSync(join(this.nginx.dir, 'partner.pem'),
                      this.partner.certificate);
        await this.nginx.start({ UPSTREAM_TOKEN: this.projectsSecret });
    }

    async stop() {
        await this.nginx?.stop();
        await stop(this.reference?.child);
        await this.modern?.stop();
        for (const part of [this.everything, this.projects, this.issuer,
                            this.partner, this.stranger])
        {
            part?.stop();
        }
        const complaints = this.nginx?.complaints() ?? [];
        this.nginx?.remove();
        return complaints;
    }

    /* An access token for one of the two servers. */
    token(server, user, groups, claims, how) {
        return this.issuer.token({
            aud: `${this.url}/${server}`, uid: `00u${user}`,
            sub: `${user}@example.com`, groups, ...claims,
        }, how);
    }

    engineer(server, claims) {
        return this.token(server, 'alice', ['mcp-eng', 'everyone'], claims);
    }

    support(server, claims) {
        return this.token(server, 'bob', ['mcp-support'], claims);
    }

    /* Audit records, once there are at least n; fails when there are more. */
    async audit(match = () => true, n = 1) {
        const found = await until(() => {
            const lines = this.nginx.lines('audit.log').filter(match);
            return lines.length >= n && lines;
        }, `${n} audit records`, 5000);

        await sleep(100);
        return this.nginx.lines('audit.log').filter(match);
    }
}


/* A POST by hand. */
export function post(url, body, headers) {
    return fetch(url, {
        method: 'POST',
        headers: {
            'Content-Type': 'application/json',
            Accept: 'application/json, text/event-stream',
            ...headers,
        },
        body: typeof body === 'string' ? body : JSON.stringify(body),
    });
}

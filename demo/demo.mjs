/*
 * The demonstration: issuer, MCP server, Redis and nginx on loopback, then the
 * tour.
 *
 *     client -> nginx -> recorder -> server-everything
 *                 |----> login (the issuer: key set; where people sign in)
 *                 |----> provider (a credential that does not last)
 *                 |----> notes (a provider where people have accounts)
 *                 `----> Redis
 *
 * All of it ends with this process: on Ctrl-C, on failure, or after the tour
 * when TOUR_ONLY is set.
 */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';

import { startEverything } from '../t/e2e/lib/everything.mjs';
import { Nginx, root } from '../t/e2e/lib/nginx.mjs';
import { freePort, onSignal, stop, until } from '../t/e2e/lib/process.mjs';
import { Recorder } from '../t/e2e/lib/recorder.mjs';
import { Redis } from '../t/e2e/lib/redis.mjs';
import { authority, certificate } from '../t/e2e/lib/tls.mjs';
import { Accounts } from './accounts.mjs';
import { Operator } from './operator.mjs';
import { Provider } from './provider.mjs';
import { tour } from './tour.mjs';


/* The port people expect, or any other. */
function pickPort(usual) {
    return new Promise((done) => {
        const probe = createServer();
        probe.once('error', () => done(freePort()));
        probe.listen(usual, '127.0.0.1',
                     () => probe.close(() => done(usual)));
    });
}


const parts = {};

/* how long a credential of the API lives, s */
const LIFE = Number(process.env.LIFETIME ?? (process.env.TOUR_ONLY ? 2 : 20));

async function start() {
    const port = Number(process.env.PORT) || await pickPort(8080);
    const tls = await pickPort(8443);
    const connectUrl = `https://127.0.0.1:${tls}/connect/`;
    const secret = `upstream-secret-${randomBytes(6).toString('hex')}`;
    const pair = certificate();
    const people = ['alice', 'bob', 'carol'];

    parts.login = await new Accounts('The company', {
        people, pair, redirect: `${connectUrl}callback` }).start();
    parts.notes = await new Accounts('Notes', {
        people, pair, redirect: `${connectUrl}grant/notes`,
        scopes: ['notes.read'], asks: true }).start();
    parts.redis = await new Redis().start();
    parts.everything = await startEverything();
    parts.recorder = await new Recorder(parts.everything.port).start();
    parts.api = await new Recorder(parts.everything.port).start();
    parts.server = await new Recorder(parts.everything.port).start();
    parts.provider = await new Provider(LIFE).start();
    parts.nginx = new Nginx(join(root, 'demo/nginx.conf'), {
        PORT: port,
        TLS: tls,
        REDIS: parts.redis.port,
        ISSUER: parts.login.url,
        LOGIN: parts.login.client,
        UPSTREAM: parts.recorder.port,
        API: parts.api.port,
        PROVIDER: parts.provider.url,
        CLIENT: parts.provider.client,
        NOTES: parts.notes.url,
        NOTES_CLIENT: parts.notes.client,
        NOTES_SERVER: parts.server.port,
    });
    const operator = new Operator(parts.nginx, { ca: authority(), pair });
    await parts.nginx.start({ DEMO_UPSTREAM_TOKEN: secret,
                              DEMO_CLIENT_SECRET: parts.provider.secret,
                              DEMO_LOGIN_SECRET: parts.login.secret,
                              DEMO_NOTES_SECRET: parts.notes.secret });

    const url = `http://127.0.0.1:${port}/mcp`;
    const apiUrl = `http://127.0.0.1:${port}/api`;
    const notesUrl = `http://127.0.0.1:${port}/notes`;
    const person = (name, group) => ({
        name,
        token: parts.login.token({
            aud: [url, apiUrl, notesUrl], sub: name,
            groups: [group, 'everyone'],
            exp: Math.floor(Date.now() / 1000) + 8 * 3600,
        }),
    });

    const metrics = `http://127.0.0.1:${port}/metrics`;
    await ready(metrics);

    return {
        url, apiUrl, notesUrl, connectUrl, metrics, secret, operator,
        api: parts.api,
        notes: parts.notes,
        server: parts.server,
        provider: parts.provider,
        nginx: parts.nginx,
        recorder: parts.recorder,
        alice: person('alice', 'mcp-eng'),
        bob: person('bob', 'mcp-support'),
        carol: person('carol', 'mcp-support'),
    };
}


/* A worker that just started does not know who is revoked, and says 503. */
function ready(metrics) {
    return until(async () => {
        const answer = await fetch(metrics);
        return /^mcp_auth_revocations_ready 1$/m.test(await answer.text());
    }, 'what Redis has of revocations');
}


let ending;

function end(status) {
    ending ??= (async () => {
        await stop(parts.nginx?.child, 'SIGTERM');
        await stop(parts.everything?.child);
        parts.recorder?.stop();
        parts.api?.stop();
        parts.server?.stop();
        parts.provider?.stop();
        parts.notes?.stop();
        parts.login?.stop();
        await parts.redis?.stop();
        parts.nginx?.remove();
        rmSync(process.env.MCP_CA, { recursive: true, force: true });
        process.exit(status);
    })();
    return ending;
}


onSignal(() => end(0));

try {
    const demo = await start();
    await tour(demo);
    assert.deepEqual(parts.nginx.complaints(), []);

    if (process.env.TOUR_ONLY) {
        await end(0);
    }

    console.log(`
The gateway goes on at ${demo.url}; Ctrl-C ends it all.
  configuration  ${demo.nginx.conf}
  metrics        ${demo.metrics}
  audit          ${join(demo.nginx.dir, 'audit.log')}
  alice          export ALICE=${demo.alice.token}
  bob            export BOB=${demo.bob.token}

For eight hours any MCP client can try, with the header "Authorization: Bearer
$BOB", or this one:
  MCP_TOKEN=$BOB demo/client ${demo.url}
  MCP_TOKEN=$BOB demo/client ${demo.url} call get-sum '{"a": 1, "b": 2}'
  MCP_TOKEN=$BOB demo/client ${demo.apiUrl} call echo '{"message": "still"}'

The last one is behind the credential that lives for ${LIFE} seconds.

An account of your own, as alice:
  MCP_TOKEN=$ALICE demo/client ${demo.notesUrl} call echo '{"message": "mine"}'
says where to connect it. Open that in a browser (the certificate is of this
demonstration: ${join(demo.nginx.dir, 'ca.pem')}), sign in as
alice, go on, allow it, and call again. What is connected, and its end:
  ${demo.connectUrl}

Tokens of the gateway, and who is revoked:
  ${demo.operator.mcpctl} --conf ${demo.nginx.conf} token list --all
  ${demo.operator.mcpctl} --conf ${demo.nginx.conf} revoke --user bob`);

} catch (error) {
    if (!ending) {
        console.error(error);
        console.error(parts.nginx?.read('error.log').slice(-4000) ?? '');
        await end(1);
    }
}

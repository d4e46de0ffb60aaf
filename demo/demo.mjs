/*
 * The demonstration: issuer, MCP server and nginx on loopback, then the tour.
 *
 *     client -> nginx -> recorder -> server-everything
 *                 |----> issuer (key set)
 *                 `----> provider (a credential that does not last)
 *
 * All of it ends with this process: on Ctrl-C, on failure, or after the tour
 * when TOUR_ONLY is set.
 */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import { join } from 'node:path';

import { startEverything } from '../t/e2e/lib/everything.mjs';
import { Issuer } from '../t/e2e/lib/issuer.mjs';
import { Nginx, root } from '../t/e2e/lib/nginx.mjs';
import { freePort, onSignal, stop } from '../t/e2e/lib/process.mjs';
import { Recorder } from '../t/e2e/lib/recorder.mjs';
import { Operator } from './operator.mjs';
import { Provider } from './provider.mjs';
import { tour } from './tour.mjs';


/* The port people expect, or any other. */
function pickPort() {
    if (process.env.PORT) {
        return Number(process.env.PORT);
    }
    return new Promise((done) => {
        const probe = createServer();
        probe.once('error', () => done(freePort()));
        probe.listen(8080, '127.0.0.1', () => probe.close(() => done(8080)));
    });
}


const parts = {};

/* how long a credential of the API lives, s */
const LIFE = Number(process.env.LIFETIME ?? (process.env.TOUR_ONLY ? 2 : 20));

async function start() {
    const port = await pickPort();
    const secret = `upstream-secret-${randomBytes(6).toString('hex')}`;

    parts.issuer = await new Issuer({ path: '/oauth2/default' }).start();
    parts.everything = await startEverything();
    parts.recorder = await new Recorder(parts.everything.port).start();
    parts.api = await new Recorder(parts.everything.port).start();
    parts.provider = await new Provider(LIFE).start();
    parts.nginx = new Nginx(join(root, 'demo/nginx.conf'), {
        PORT: port,
        ISSUER: parts.issuer.url,
        UPSTREAM: parts.recorder.port,
        API: parts.api.port,
        PROVIDER: parts.provider.url,
        CLIENT: parts.provider.client,
    });
    const operator = new Operator(parts.nginx);
    await parts.nginx.start({ DEMO_UPSTREAM_TOKEN: secret,
                              DEMO_CLIENT_SECRET: parts.provider.secret });

    const url = `http://127.0.0.1:${port}/mcp`;
    const apiUrl = `http://127.0.0.1:${port}/api`;
    const person = (name, group) => ({
        name,
        token: parts.issuer.token({
            aud: [url, apiUrl], uid: `00u${name}`, sub: `${name}@example.com`,
            groups: [group, 'everyone'],
            exp: Math.floor(Date.now() / 1000) + 8 * 3600,
        }),
    });

    return {
        url, apiUrl, secret, operator,
        api: parts.api,
        provider: parts.provider,
        nginx: parts.nginx,
        recorder: parts.recorder,
        alice: person('alice', 'mcp-eng'),
        bob: person('bob', 'mcp-support'),
        carol: person('carol', 'mcp-support'),
    };
}


let ending;

function end(status) {
    ending ??= (async () => {
        await stop(parts.nginx?.child, 'SIGTERM');
        await stop(parts.everything?.child);
        parts.recorder?.stop();
        parts.api?.stop();
        parts.provider?.stop();
        parts.issuer?.stop();
        parts.nginx?.remove();
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
  audit          ${join(demo.nginx.dir, 'audit.log')}
  alice          export ALICE=${demo.alice.token}
  bob            export BOB=${demo.bob.token}

For eight hours any MCP client can try, with the header "Authorization: Bearer
$BOB", or this one:
  MCP_TOKEN=$BOB demo/client ${demo.url}
  MCP_TOKEN=$BOB demo/client ${demo.url} call get-sum '{"a": 1, "b": 2}'
  MCP_TOKEN=$BOB demo/client ${demo.apiUrl} call echo '{"message": "still"}'

The last one is behind the credential that lives for ${LIFE} seconds.

Tokens of the gateway, and who is revoked:
  ${demo.operator.mcpctl} --conf ${demo.nginx.conf} token list --all
  ${demo.operator.mcpctl} --conf ${demo.nginx.conf} revoke --user 00ubob`);

} catch (error) {
    if (!ending) {
        console.error(error);
        console.error(parts.nginx?.read('error.log').slice(-4000) ?? '');
        await end(1);
    }
}

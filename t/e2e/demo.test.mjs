/*
 * make run, without a person: the tour checks itself; here it is checked that
 * it ends, and that it leaves nothing behind.
 */

import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { run } from './lib/demo.mjs';
import { freePort, sleep, until } from './lib/process.mjs';


/* an nginx with sanitizers has the module linked in, and loads none */
describe('demo/run', { skip: Boolean(process.env.MCP_TEST_SAN) }, () => {
    test('the tour', async () => {
        const demo = run({ TOUR_ONLY: '1' });
        const [status] = await demo.end;

        assert.equal(status, 0, demo.output);
        assert.match(demo.output, /HTTP 401/);
        assert.match(demo.output, /bob \(support\): 2 tools/);
        assert.match(demo.output, /Unknown tool: get-tiny-image/);
        assert.match(demo.output, /seen upstream .*Bearer upstream-secret-/);
        assert.match(demo.output, /"decision": "deny"/);
        assert.match(demo.output, /her sign-in +401 after \d+ ms/);
        assert.match(demo.output, /her token +401 after \d+ ms/);
        assert.match(demo.output, /her open stream +closed after \d+ ms/);
        assert.match(demo.output, /\d+ calls .*, 3 credentials of 2 s each/);
        assert.match(demo.output, /no call failed/);
        for (const line of [
            /asked +MCP error 403: .*\/connect\/start\/notes\?ticket=/,
            /signs in as alice\n +200 +Connect an account/,
            /audit +connect\/sign_in +alice +allow/,
            /bob opens .*\n +403 +Not for you/,
            /audit +connect\/start +bob +deny +connect_ticket_other/,
            /audit +connect\/start +alice +allow/,
            /allows it\n +200 +Connected\n/,
            /audit +connect\/grant +alice +allow .*notes\.read/,
            /allowed +Echo: my notes\n +seen upstream .* of alice's account/,
            /notes: Connected\.\n/,
            /notes: Not connected\.\n/,
            /audit +connect\/disconnect +alice +allow/,
            /audit +credential\/revoke +alice +allow +credential_ended/,
            /asked +Your account .*\/connect\/start\/notes\?ticket=/,
        ]) {
            assert.match(demo.output, line);
        }
        assert.doesNotMatch(demo.output, /ticket=[\w-]{8}|oidc-provider/);
        assert.deepEqual(readdirSync(demo.tmp), []);
        rmSync(demo.tmp, { recursive: true });
    });

    test('it goes on until it is interrupted', async () => {
        const port = await freePort();
        const demo = run({ PORT: String(port), LIFETIME: '2' });

        await until(() => {
            assert.equal(demo.child.exitCode, null, demo.output);
            return demo.output.includes('Ctrl-C');
        }, 'the tour', 60_000);
        const { status } = await fetch(`http://127.0.0.1:${port}/mcp`);
        assert.equal(status, 401);

        demo.child.kill('SIGINT');
        assert.deepEqual(await demo.end, [0, null]);
        await assert.rejects(fetch(`http://127.0.0.1:${port}/mcp`));
        assert.deepEqual(readdirSync(demo.tmp), []);
        rmSync(demo.tmp, { recursive: true });
    });

    test('CONF: a configuration of one\'s own', async () => {
        const dir = mkdtempSync(join(tmpdir(), 'mcp-conf-test-'));
        const port = await freePort();
        const conf = join(dir, 'own.conf');

        writeFileSync(conf, `
            events { }
            error_log ${dir}/error.log;
            http {
                access_log off;
                include own.inc;
                server {
                    listen 127.0.0.1:${port};
                    location / { return 200 "mine\\n"; }
                }
            }`);
        writeFileSync(join(dir, 'own.inc'),
                      'mcp_zone 8m;\nmcp_audit off;\n');

        const demo = run({ CONF: conf });
        await until(async () => {
            assert.equal(demo.child.exitCode, null, demo.output);
            return fetch(`http://127.0.0.1:${port}/`).then(() => true,
                                                           () => false);
        }, 'nginx', 20_000);
        const answer = await fetch(`http://127.0.0.1:${port}/`);
        assert.equal(await answer.text(), 'mine\n');

        demo.child.kill('SIGTERM');
        await demo.end;
        assert.doesNotMatch(demo.output, /\[(emerg|alert|crit|error|warn)\]/);
        await sleep(50);
        assert.deepEqual(readdirSync(demo.tmp), []);
        rmSync(demo.tmp, { recursive: true });
        rmSync(dir, { recursive: true });
    });
});

/*
 * make run, when a step of the tour is not as it should be.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { run } from './lib/demo.mjs';


/* a Redis from which no step can be taken */
test('a step that is not as it should be',
     { skip: Boolean(process.env.MCP_TEST_SAN) }, async () => {
    const bin = mkdtempSync(join(tmpdir(), 'mcp-demo-bin-'));
    const redis = execFileSync('bash', ['-c', 'command -v redis-server'],
                               { encoding: 'utf8' }).trim();

    writeFileSync(join(bin, 'redis-server'), `#!/bin/sh
exec ${redis} "$@" --rename-command GETDEL ''\n`, { mode: 0o755 });

    const demo = run({ TOUR_ONLY: '1',
                       PATH: `${bin}:${process.env.PATH}` });
    const [status] = await demo.end;

    assert.equal(status, 1, demo.output);
    assert.match(demo.output,
        /instead of "Connect an account" \(200\), at .*\/callback: Not now/);
    assert.match(demo.output, /reason: connect_store/);
    assert.deepEqual(readdirSync(demo.tmp), []);
    rmSync(demo.tmp, { recursive: true });
    rmSync(bin, { recursive: true });
});

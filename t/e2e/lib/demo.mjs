/*
 * demo/run, with a directory of its own for what it leaves behind.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { module, root } from './nginx.mjs';


/* { child, tmp, output, end } */
export function run(env) {
    const tmp = mkdtempSync(join(tmpdir(), 'mcp-demo-test-'));
    chmodSync(tmp, 0o711);
    const child = spawn(join(root, 'demo/run'), {
        env: { ...process.env, MODULE: module, TMPDIR: tmp, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
    });
    const result = { child, tmp, output: '' };

    child.stdout.on('data', (piece) => { result.output += piece; });
    child.stderr.on('data', (piece) => { result.output += piece; });
    result.end = once(child, 'exit');
    return result;
}

/*
 * The reference server of the protocol's authors, with sessions: eras up to
 * 2025-11-25.
 */

import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { freePort, start } from './process.mjs';


const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);


export async function startEverything(port) {
    const manifest = require.resolve(
        '@modelcontextprotocol/server-everything/package.json');
    const program = join(dirname(manifest), 'dist', 'index.js');

    port ??= await freePort();
    const child = await start(process.execPath, [
        '--import', pathToFileURL(join(here, 'loopback.mjs')).href,
        program, 'streamableHttp',
    ], { port, env: { PORT: String(port) }, what: 'server-everything' });

    return { child, port };
}

/*
 * The guides, followed as somebody does who knows nginx and not MCP: each
 * command as it stands there, each configuration, and what it says that comes
 * out.
 */

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { Machine, check, follow } from './lib/guide.mjs';
import { root } from './lib/nginx.mjs';


const require = createRequire(import.meta.url);
const everything = join(dirname(require.resolve(
    '@modelcontextprotocol/server-everything/package.json')),
    'dist/index.js');


describe('guides', () => {
    const machine = new Machine();

    before(() => machine.ports('8080', '3001'));
    after(() => machine.remove());

    test('a first server', async () => {
        const page = 'docs/guides/first-server.md';
        const loopback = pathToFileURL(join(root, 't/e2e/lib/loopback.mjs'));

        const steps = await follow(page, {
            map: machine.map, env: machine.env(),
            prelude: `${machine.prelude}
                npx() {
                    [ "$1 $2 $3" = "-y @modelcontextprotocol/server-everything \\
streamableHttp" ] || echo "npx $*"
                    echo $BASHPID >> "\${MCP_PIDS:-/dev/null}"
                    PORT=${machine.port[3001]} exec '${process.execPath}' \\
                        --import '${loopback}' '${everything}' streamableHttp
                }`,
        });

        assert.equal(check(steps), 5);
        assert.ok(!existsSync(join(machine.dir, 'etc/conf.d/mcp.conf')));
    });
});

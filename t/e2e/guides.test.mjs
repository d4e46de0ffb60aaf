/*
 * The guides, followed as somebody does who knows nginx and not MCP: each
 * command as it stands there, each configuration, and what it says that comes
 * out.
 */

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
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

    /* with the records of those who were there a moment ago */
    test('reading the audit', async () => {
        const steps = await follow('docs/guides/audit.md', {
            map: machine.map, env: machine.env(), prelude: machine.prelude });
        const [, questions, sql, digest, missing] = steps.map(
            ({ output }) => output);

        assert.equal(steps.length, 5);
        for (const { line, output } of steps) {
            assert.doesNotMatch(output, /error|not found|No such file/i,
                                `line ${line}`);
        }

        for (const answer of [
            /^[\d:]{8}\tbob\teverything\techo\t200$/m,
            /^\["[^"]+","tools\/call","get-tiny-image","deny","no_rule"\]$/m,
            /^ +1 bob$/m,
            /^ +1 bob\tget-sum\tdeny_rule\tsupport: deny tool get-sum where/m,
            /^ +1 expired\t127\.0\.0\.1$/m,
            /^ +1 support echo$/m,
            /^\["[^"]+","initialize",null,"allow"\]\n(?:.*\n)*?.*"echo"/m,
        ]) {
            assert.match(questions, answer);
        }
        assert.match(sql, /^bob 3$/m);
        assert.match(digest,
                     /^\["[^"]+","bob","echo"\]\n\["[^"]+","carol","echo"\]$/);
        assert.equal(missing, '');
    });

    test('a missing record is found', async () => {
        const log = join(machine.dir, 'log/mcp_audit.log');
        const lines = readFileSync(log, 'utf8').split('\n');

        writeFileSync(log, [...lines.slice(0, 4), ...lines.slice(5)]
            .join('\n'));
        const steps = await follow('docs/guides/audit.md', {
            map: machine.map, env: machine.env(),
            only: ({ text }) => /^log=|awk/.test(text) });

        assert.match(steps.at(-1).output, /^\S+ missing after 4$/);
    });
});

/*
 * The guides, followed as somebody does who knows nginx and not MCP: each
 * command as it stands there, each configuration, and what it says that comes
 * out.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { Accounts } from '../../demo/accounts.mjs';
import { Person } from '../../demo/person.mjs';
import { legacy, leave } from './lib/clients.mjs';
import { startEverything } from './lib/everything.mjs';
import { Machine, check, follow } from './lib/guide.mjs';
import { module, root } from './lib/nginx.mjs';
import { freePort, stop, until } from './lib/process.mjs';
import { Recorder } from './lib/recorder.mjs';
import { Redis } from './lib/redis.mjs';
import { authority, certificate } from './lib/tls.mjs';


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


/* The ACL that the documentation says is enough for a gateway. */
function enough() {
    const [, list] = readFileSync(join(root, 'docs/directives.md'), 'utf8')
        .match(/^The ACL user needs (.*?); `mcpctl` also/m);

    return ['~mcp:*', '&mcp:*', '-@all', ...list.match(/\+[\w|]+/g)];
}


describe('people connect their own accounts', () => {
    const page = 'docs/guides/connect.md';
    const machine = new Machine();
    const password = 'of-redis-4711';
    let at, login, notes, redis, everything, server, options;

    before(async () => {
        const pair = certificate();
        const port = await freePort();
        const put = (name, text) => writeFileSync(join(machine.dir, 'etc',
                                                       name), text);

        at = `https://127.0.0.1:${port}`;
        login = new Accounts('The company', { people: ['alice', 'bob'], pair,
            redirect: `${at}/connect/callback` });
        login.client = '0oa1gateway';
        notes = new Accounts('Notes', { people: ['alice'], pair, asks: true,
            scopes: ['notes.read'], redirect: `${at}/connect/grant/notes` });
        notes.client = 'acme-gateway';
        await login.start();
        await notes.start();

        redis = await new Redis().start();
        execFileSync('redis-cli', ['-p', String(redis.port), 'acl', 'setuser',
            'default', 'reset', 'on', `>${password}`, ...enough()],
            { stdio: ['ignore', 'ignore', 'inherit'] });

        everything = await startEverything();
        server = await new Recorder(everything.port).start();

        mkdirSync(join(machine.dir, 'etc/secrets'));
        put('secrets/redis', `${password}\n`);
        put('secrets/login', `${login.secret}\n`);
        put('secrets/notes', `${notes.secret}\n`);
        put('gw.pem', pair.cert);
        put('gw.key', pair.key);

        machine.replace.push(
            ['/run/secrets', join(machine.dir, 'etc/secrets')],
            ['/etc/ssl/gw.acme.com', join(machine.dir, 'etc/gw')],
            ['https://gw.acme.com', at], ['gw.acme.com', '127.0.0.1'],
            ['listen               443', `listen 127.0.0.1:${port}`],
            ['https://acme.okta.com/oauth2/default', login.url],
            ['https://notes.example.com', notes.url],
            ['127.0.0.1:6379', `127.0.0.1:${redis.port}`],
            ['10.0.0.7:8080', `127.0.0.1:${server.port}`]);

        const mcpctl = process.env.MCPCTL ?? join(dirname(module), 'mcpctl');
        options = {
            map: machine.map,
            prelude: `${machine.prelude}
                export PATH="$PATH:${dirname(mcpctl)}"`,
            env: { ...machine.env(), SSL_CERT_FILE: authority(),
                   CURL_CA_BUNDLE: authority() },
        };
    });

    after(async () => {
        await machine.remove();
        await stop(everything?.child);
        server?.stop();
        notes?.stop();
        login?.stop();
        await redis?.stop();
    });

    const audit = ({ text }) => text.startsWith('log=');
    const proxy = ({ text }) => text.startsWith('server {');

    test('its commands and its configuration', async () => {
        const steps = await follow(page, { ...options,
            only: (block) => !audit(block) && !proxy(block) });

        assert.equal(check(steps), 1);
        assert.match(steps.find(({ text }) => text.includes('nginx -t')).output,
                     /test is successful/);
        assert.deepEqual(machine.complaints(), []);
    });

    const open = (name) => legacy(`${at}/notes`, login.token({
        sub: name, aud: `${at}/notes` }), { name: 'guide' });

    const told = async (name) => {
        let address;

        /* workers that just started do not know who is revoked */
        await until(() => open(name).then(leave, ({ message }) => {
            address = message.match(/https:\S+ticket=\S+/)?.[0];
            return address;
        }), 'the address', 20_000);
        return address;
    };

    async function signIn(browser, address, name) {
        const first = await browser.open(address);

        return first.title === 'The company'
            ? browser.press(first, 'Sign in', { values: { login: name } })
            : first;
    }

    test('a person does as it says', async () => {
        const alice = new Person();
        const bob = new Person();
        const address = await told('alice');

        assert.equal((await signIn(bob, address, 'bob')).title, 'Not for you');

        let page = await signIn(alice, address, 'alice');
        page = await alice.press(page, 'Go on to');
        page = await alice.press(page, 'Sign in', {
            values: { login: 'alice' } });
        page = await alice.press(page, 'Deny');
        assert.equal(page.title, 'Not connected');
        assert.match(page.html, /<code>connect_refused</);

        page = await alice.open(`${at}/connect/start/notes`);
        page = await alice.press(page, 'Go on to');
        page = await alice.press(page, 'Allow');
        assert.equal(page.title, 'Connected');

        const client = await open('alice');
        const call = () => client.callTool({ name: 'echo',
                                             arguments: { message: 'hi' } });
        assert.equal((await call()).content[0].text, 'Echo: hi');
        const [, token] = server.requests.at(-1).headers.authorization
            .match(/^Bearer (.*)$/);
        assert.equal(await notes.owner(token), 'alice');

        page = await alice.open(`${at}/connect/`);
        page = await alice.press(page, 'Disconnect');
        assert.match((await call()).content[0].text,
            /^Your account for "notes" is not connected\.  Open https:.* in a browser, connect it, and try again\.$/);
        await until(() => notes.granted().length === 0,
                    'the end at the provider');
        await leave(client);
        assert.deepEqual(machine.complaints(), []);
    });

    test('what there is to look for', async () => {
        await until(() => readFileSync(join(machine.dir,
            'log/mcp_audit.log'), 'utf8').includes('credential/revoke'),
            'the record');
        const [{ output }] = await follow(page, { ...options,
            only: audit });

        for (const line of [
            'alice\tnotes\topenid offline_access notes.read',
            '      1 connect/grant connect_refused',
            '      1 connect/start connect_ticket_other',
            'bob\tnotes', 'alice\tnotes\tcredential_ended',
        ]) {
            assert.ok(output.split('\n').includes(line),
                      `no "${line}" in:\n${output}`);
        }
    });
});

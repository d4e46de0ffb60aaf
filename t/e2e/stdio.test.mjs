/*
 * A stdio server behind a bridge, as docs/guides/stdio.md has it: its secrets,
 * its unit of systemd and its configuration are taken from the page, and the
 * programs are those of npm that it names.
 *
 *     client -> nginx -> recorder -> mcp-proxy -> server-gitlab -> a GitLab
 *
 * The GitLab is ours: it remembers what it is asked, and with which token.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync,
         writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { leave, legacy, modern, names } from './lib/clients.mjs';
import { Machine, blocks, follow } from './lib/guide.mjs';
import { Issuer } from './lib/issuer.mjs';
import { freePort, start, stop, until } from './lib/process.mjs';
import { Recorder } from './lib/recorder.mjs';
import { post } from './lib/stack.mjs';
import { certificate } from './lib/tls.mjs';


const page = 'docs/guides/stdio.md';
const AUDIENCE = 'https://mcp.acme.com/gitlab';


/* A GitLab in which there is nothing, and nothing may be made. */
class GitLab {
    requests = [];          /* { method, url, headers, body } */

    async start() {
        this.server = createServer(async (req, res) => {
            let body = '';
            for await (const piece of req) {
                body += piece;
            }
            this.requests.push({ method: req.method, url: req.url,
                                 headers: req.headers, body });
            res.writeHead(req.method === 'POST' ? 403 : 200,
                          { 'Content-Type': 'application/json' });
            res.end('[]');
        });
        this.server.listen(0, '127.0.0.1');
        await once(this.server, 'listening');
        this.url = `http://127.0.0.1:${this.server.address().port}`;
        return this;
    }

    stop() {
        this.server?.closeAllConnections();
        this.server?.close();
    }
}


/* What systemd would make of a unit: the command, and its environment. */
function unit(text, files) {
    const value = (name) => text.match(new RegExp(`^${name}=(.*)$`, 'm'))[1];
    const environment = readFileSync(value('EnvironmentFile'), 'utf8');
    const words = value('ExecStart').replaceAll('$$', '$')
        .match(/'[^']*'|\S+/g).map((word) => word.replace(/^'|'$/g, ''));

    return {
        command: words,
        env: Object.fromEntries(environment.trim().split('\n')
            .map((line) => line.split(/=(.*)/s).slice(0, 2))),
    };
}


describe('a stdio server behind a bridge', () => {
    const machine = new Machine();
    const issuer = new Issuer();
    const secret = `glpat-${randomUUID()}`;
    const heard = [];       /* all that clients were sent */
    let bridge, gitlab, key, port, recorder, service, url;

    const token = (user, ...groups) => issuer.token({
        iss: 'https://acme.okta.com/oauth2/default', aud: AUDIENCE,
        uid: `00u${user}`, sub: `${user}@example.com`, groups });

    const listen = async (...args) => {
        const answer = await fetch(...args);
        const heads = JSON.stringify([...answer.headers]);

        answer.clone().text().then((text) => heard.push(heads + text),
                                   () => {});
        return answer;
    };

    const people = {
        alice: token('alice', 'mcp-eng'),
        bob: token('bob', 'mcp-support', 'everyone'),
    };
    const clients = {
        legacy: (who) => legacy(url, people[who], { fetch: listen }),
        modern: (who) => modern(url, people[who], { fetch: listen }),
    };

    const startBridge = async () => {
        bridge = await start(service.command[0], service.command.slice(1), {
            port: machine.port[8931], what: 'the bridge',
            env: { ...service.env,
                   PATH: `${dirname(process.execPath)}:${process.env.PATH}` },
        });
    };

    const audit = (match) => until(() => readFileSync(
        join(machine.dir, 'log/mcp_audit.log'), 'utf8').trim().split('\n')
        .map((line) => JSON.parse(line)).findLast(match), 'the record');

    before(async () => {
        port = await freePort();
        url = `https://127.0.0.1:${port}/gitlab`;
        gitlab = await new GitLab().start();
        await machine.ports('8931');
        recorder = await new Recorder(machine.port[8931]).start();

        const { cert, key: own } = certificate();
        const file = (name, text) => {
            writeFileSync(join(machine.dir, name), text);
            return join(machine.dir, name);
        };

        machine.replace.push(
            ['--port 8931', `--port ${machine.port[8931]}`],
            ['/opt/mcp-gitlab', join(machine.dir, 'opt')],
            ['/etc/mcp-gitlab.env', join(machine.dir, 'etc/mcp-gitlab.env')],
            ['https://gitlab.acme.com', gitlab.url],
            ['glpat-put-yours-here', secret],
            ['/etc/ssl/mcp.acme.com.pem', file('cert.pem', cert)],
            ['/etc/ssl/mcp.acme.com.key', file('key.pem', own)],
            ['443 ssl', `127.0.0.1:${port} ssl`]);

        file('etc/conf.d/issuer.conf', `mcp_issuer okta {
            issuer https://acme.okta.com/oauth2/default;
            jwks_file ${file('keys.json', JSON.stringify(issuer.keySet()))};
            role engineer mcp-eng;
            role support mcp-support; }`);

        /* what npm would install, where the page installs it */
        mkdirSync(join(machine.dir, 'opt'));
        symlinkSync(fileURLToPath(new URL('node_modules', import.meta.url)),
                    join(machine.dir, 'opt/node_modules'));

        const steps = await follow(page, {
            map: (text, lang) => {
                const here = machine.map(text);
                return lang !== 'nginx' ? here
                    : here.replaceAll(`:${machine.port[8931]}`,
                                      `:${recorder.port}`);
            },
            env: machine.env(),
            only: ({ text }) => !/curl|journalctl/.test(text),
            prelude: `${machine.prelude}
                npm() { printf '%s\\n' "$@"; }`,
        });

        const installed = steps[0].output.split('\n').filter(
            (word) => /.@\d/.test(word));
        const { dependencies } = JSON.parse(readFileSync(
            new URL('package.json', import.meta.url), 'utf8'));
        assert.equal(installed.length, 2);
        for (const word of installed) {
            const [name, version] = word.split(/(?<=.)@/);
            assert.equal(dependencies[name], version);
        }

        const [ini] = blocks(page).filter(({ lang }) => lang === 'ini');
        service = unit(machine.map(ini.text));
        key = service.env.MCP_PROXY_API_KEY;

        await startBridge();
        execFileSync('bash', ['-c', `${machine.prelude}
            nginx -t && systemctl reload nginx`],
            { stdio: 'pipe', env: { ...process.env, ...machine.env() } });
    });

    after(async () => {
        await stop(bridge);
        const complaints = existsSync(join(machine.dir, 'log/error.log'))
            ? machine.complaints() : [];
        await machine.remove();
        recorder?.stop();
        gitlab?.stop();
        assert.deepEqual(complaints, []);
    });

    test('its secrets are for root alone', () => {
        for (const name of ['etc/mcp-gitlab.env', 'etc/mcp-gitlab.key']) {
            const { mode } = statSync(join(machine.dir, name));
            assert.equal(mode & 0o777, 0o600, name);
        }
        assert.match(key, /^[0-9a-f]{64}$/);
        assert.equal(service.env.GITLAB_PERSONAL_ACCESS_TOKEN, secret);
        assert.ok(!service.command.join(' ').includes(key));
    });

    test('the bridge listens on loopback, and wants its key', async () => {
        const hex = machine.port[8931].toString(16).toUpperCase()
                                      .padStart(4, '0');
        const sockets = ['tcp', 'tcp6'].flatMap((kind) =>
            readFileSync(`/proc/net/${kind}`, 'utf8').split('\n'))
            .map((line) => line.trim().split(/\s+/))
            .filter(([, local, , state]) => local?.endsWith(`:${hex}`)
                                            && state === '0A')
            .map(([, local]) => local);
        assert.deepEqual(sockets, [`0100007F:${hex}`]);

        const answer = await post(
            `http://127.0.0.1:${machine.port[8931]}/mcp`,
            { jsonrpc: '2.0', id: 1, method: 'tools/list' },
            { Authorization: `Bearer ${people.alice}` });
        assert.equal(answer.status, 401);
    });

    for (const era of ['legacy', 'modern']) {
        describe(`${era} era`, () => {
            test('lists are cut by role', async () => {
                const bob = await clients[era]('bob');
                const alice = await clients[era]('alice');

                assert.deepEqual(names((await bob.listTools()).tools),
                    ['create_issue', 'get_file_contents',
                     'search_repositories']);

                const hers = names((await alice.listTools()).tools);
                assert.ok(hers.includes('create_merge_request'));
                assert.ok(!hers.includes('fork_repository'));
                await leave(bob);
                await leave(alice);
            });

            test('an allowed call reaches GitLab with its token', async () => {
                const bob = await clients[era]('bob');
                const seen = gitlab.requests.length;
                const { content, isError } = await bob.callTool({
                    name: 'search_repositories',
                    arguments: { search: `${era} gateway` } });
                await leave(bob);

                assert.ok(!isError);
                assert.match(content[0].text, /"items": \[\]/);

                const asked = gitlab.requests.slice(seen);
                assert.equal(asked.length, 1);
                assert.match(asked[0].url, new RegExp(`search=${era}`));
                assert.equal(asked[0].headers.authorization,
                             `Bearer ${secret}`);

                const record = await audit(({ target }) =>
                    target === 'search_repositories');
                assert.equal(record.decision, 'allow');
                assert.equal(record.user, '00ubob');
                assert.equal(record.credential, 'gitlab_bridge');
            });

            test('denied calls do not reach the bridge', async () => {
                const bob = await clients[era]('bob');
                const alice = await clients[era]('alice');
                const calls = () => recorder.requests.filter(
                    ({ body }) => body.includes('tools/call')).length;
                const before = calls();

                const cases = [
                    [bob, 'create_merge_request', {}],
                    [bob, 'create_issue', { project_id: 'payroll/hr',
                                            title: 'x' }],
                    [alice, 'fork_repository', { project_id: '1' }],
                    [alice, 'push_files', { project_id: '1', branch: 'main',
                                            files: [], commit_message: 'x' }],
                    [alice, 'push_files', { project_id: '1', files: [] }],
                ];
                for (const [who, name, args] of cases) {
                    await assert.rejects(who.callTool({ name,
                        arguments: args }), /Unknown tool/);
                }
                await leave(bob);
                await leave(alice);

                assert.equal(calls(), before);
                const record = await audit(({ target }) =>
                    target === 'push_files');
                assert.equal(record.decision, 'deny');
                assert.equal(record.reason, 'deny_unclear');
            });
        });
    }

    test('what GitLab refuses is the server\'s to say', async () => {
        const bob = await clients.legacy('bob');
        await assert.rejects(bob.callTool({ name: 'create_issue',
            arguments: { project_id: 'support/desk', title: 'x' } }),
            /GitLab API error: Forbidden/);
        await leave(bob);

        const asked = gitlab.requests.findLast(({ method }) =>
            method === 'POST');
        assert.match(asked.url, /support%2Fdesk/);
        const record = await audit(({ target, decision }) =>
            target === 'create_issue' && decision === 'allow');
        assert.equal(record.result.rpc_code, -32603);
        assert.deepEqual(record.params.clear,
                         { '/project_id': 'support/desk' });
    });

    test('nobody has what is not his', async () => {
        const text = (list) => JSON.stringify(list);
        const log = (name) => readFileSync(join(machine.dir, 'log', name),
                                           'utf8');

        await until(() => heard.length > 20, 'answers');
        for (const [who, caller] of Object.entries(people)) {
            for (const part of [caller, caller.split('.')[2]]) {
                assert.ok(!text(recorder.requests).includes(part), who);
                assert.ok(!text(gitlab.requests).includes(part), who);
                assert.ok(!bridge.output().includes(part), who);
            }
        }
        for (const { headers } of recorder.requests) {
            assert.equal(headers['x-api-key'], key);
            assert.equal(headers.authorization, undefined);
        }
        for (const hidden of [secret, key]) {
            assert.ok(!text(heard).includes(hidden));
            assert.ok(!log('mcp_audit.log').includes(hidden));
            assert.ok(!log('error.log').includes(hidden));
        }
        assert.ok(!text(recorder.requests).includes(secret));
        assert.ok(!text(gitlab.requests).includes(key));
    });

    /* The last one: the bridge ends, and is started again. */
    test('with its server the bridge ends, and begins anew', async () => {
        const alice = await clients.legacy('alice');
        const children = (pid) => readFileSync(
            `/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')
            .filter(Boolean).map(Number);
        const [shell] = children(bridge.pid);
        const [server] = children(shell);

        process.kill(server, 'SIGTERM');
        await until(() => bridge.exitCode !== null
                          || bridge.signalCode !== null, 'its end');

        await assert.rejects(alice.listTools());
        await audit(({ method, result }) => method === 'tools/list'
                                            && result.status === 502);

        await startBridge();

        /* the old session is unknown now: 404, and a new client gets in */
        await assert.rejects(alice.listTools(), /404|[Ss]ession/);
        await alice.close();
        const again = await clients.legacy('alice');
        assert.ok((await again.listTools()).tools.length > 3);
        await leave(again);
    });
});

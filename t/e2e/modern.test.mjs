/*
 * Era 2026-07-28: the official client and a server made with the official
 * package; stateless, with mirror headers.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { leave, modern, names } from './lib/clients.mjs';
import { sleep, until } from './lib/process.mjs';
import { post, startStack } from './lib/stack.mjs';


const VERSION = '2026-07-28';


describe('modern era', () => {
    let stack, url, alice, bob;

    before(async () => {
        stack = await startStack();
        url = `${stack.url}/projects`;
        alice = await modern(url, stack.engineer('projects'));
        bob = await modern(url, stack.support('projects'));
    });

    after(async () => {
        await leave(alice);
        await leave(bob);
        assert.deepEqual(await stack?.stop(), [], 'error.log');
    });

    test('a role sees its tools and no others', async () => {
        assert.deepEqual(names((await bob.listTools()).tools),
                         ['count', 'search_issues', 'show_headers']);
    });

    test('a tool under a condition is shown', async () => {
        assert.deepEqual(names((await alice.listTools()).tools),
            ['count', 'delete_issue', 'export_all', 'search_issues',
             'show_headers']);
    });

    test('an allowed call is answered by the server', async () => {
        const { content } = await bob.callTool(
            { name: 'search_issues', arguments: { query: 'nginx' } });
        assert.equal(content[0].text, 'no issue mentions nginx');
    });

    test('a tool of others is unknown', async () => {
        await assert.rejects(bob.callTool({ name: 'delete_issue',
                arguments: { project: 'SANDBOX', issue: 1 } }),
            { code: -32602, message: /Unknown tool: delete_issue$/ });
        await assert.rejects(bob.callTool({ name: 'no_such_tool' }),
            { code: -32602, message: /Unknown tool: no_such_tool$/ });
    });

    test('a condition lets one project through', async () => {
        const drop = (project) => alice.callTool(
            { name: 'delete_issue', arguments: { project, issue: 7 } });

        assert.equal((await drop('SANDBOX')).content[0].text,
                     'SANDBOX-7 is gone');
        await assert.rejects(drop('PROD'), { code: -32602 });
        await assert.rejects(drop('sandbox'), { code: -32602 });
        await assert.rejects(alice.callTool(
            { name: 'delete_issue', arguments: { issue: 7 } }),
            { code: -32602 });
    });

    test('the header mirror must agree with the body', async () => {
        const call = (name, headers) => post(url, {
            jsonrpc: '2.0', id: 9007199254740991, method: 'tools/call',
            params: { name, arguments: { query: 'x' }, _meta: {
                'io.modelcontextprotocol/protocolVersion': VERSION,
                'io.modelcontextprotocol/clientCapabilities': {},
            } },
        }, {
            Authorization: `Bearer ${stack.support('projects')}`,
            'MCP-Protocol-Version': VERSION, 'Mcp-Method': 'tools/call',
            'Mcp-Name': 'search_issues', ...headers,
        });

        const seen = stack.projects.requests.length;
        assert.equal((await call('search_issues')).status, 200);

        for (const headers of [{ 'Mcp-Name': 'delete_issue' },
                               { 'Mcp-Method': 'tools/list' },
                               { 'MCP-Protocol-Version': '2025-11-25' }])
        {
            const answer = await call('search_issues', headers);
            assert.equal(answer.status, 400, JSON.stringify(headers));
            const { id, error } = await answer.json();
            assert.equal(id, 9007199254740991);
            assert.equal(error.code, -32020);
        }

        /* the server would say the same, but it is not asked */
        assert.equal(stack.projects.requests.length, seen + 1);
    });

    test('progress arrives while the tool still works', async () => {
        const began = Date.now();
        const ticks = [];
        const { content } = await bob.callTool(
            { name: 'count', arguments: { steps: 5, ms: 250 } },
            { onprogress: () => ticks.push(Date.now() - began) });
        const ended = Date.now() - began;

        assert.equal(content[0].text, 'counted to 5');
        assert.equal(ticks.length, 5);
        assert.ok(ended - ticks[0] > 700,
                  `first at ${ticks[0]} ms, result at ${ended} ms`);
        assert.ok(ticks[3] - ticks[0] > 500, 'progress came in one lump');
    });

    test('a subscription stays open and brings what it is for', async () => {
        const news = [];
        bob.setNotificationHandler('notifications/tools/list_changed',
                                   () => { news.push(Date.now()); });

        const subscription = await bob.listen({ toolsListChanged: true });
        await sleep(300);
        stack.modern.notify.toolsChanged();
        await until(() => news.length, 'the notification', 5000);
        await subscription.close();

        const [record] = await stack.audit(
            (r) => r.method === 'subscriptions/listen');
        assert.equal(record.ev, 'stream');
        assert.equal(record.decision, 'allow');
        assert.ok(record.ms.total >= 300);
    });

    test('nobody subscribes to what is not readable', async () => {
        const earlier = stack.projects.requests.length;
        await assert.rejects(bob.listen(
            { resourceSubscriptions: ['docs://projects/salaries'] }));
        assert.equal(stack.projects.requests.length, earlier);
    });

    test('prompts and resources are filtered and guarded', async () => {
        assert.deepEqual(names((await bob.listPrompts()).prompts), ['triage']);
        assert.deepEqual(names((await alice.listPrompts()).prompts),
                         ['blame', 'triage']);
        assert.deepEqual(names((await bob.listResources()).resources),
                         ['handbook']);
        assert.deepEqual(names((await alice.listResources()).resources),
                         ['handbook', 'salaries']);

        await assert.rejects(bob.getPrompt({ name: 'blame' }),
            { code: -32602, message: /Unknown prompt: blame$/ });
        await assert.rejects(
            bob.readResource({ uri: 'docs://projects/salaries' }),
            { code: -32602 });
        assert.equal((await bob.readResource(
            { uri: 'docs://projects/handbook' })).contents[0].text,
            'the handbook');
    });

    test('a client in auto mode finds the modern server', async () => {
        const client = await modern(url, stack.support('projects'),
                                    { mode: 'auto' });
        assert.equal((await client.listTools()).tools.length, 3);
        await leave(client);

        const seen = stack.projects.requests.map(({ body }) => body);
        assert.ok(!seen.some((body) => body.includes('"initialize"')));
    });

    test('a role without rules here sees nothing', async () => {
        const nobody = await modern(url,
            stack.token('projects', 'eve', ['visitors']));
        assert.deepEqual((await nobody.listTools()).tools, []);
        await assert.rejects(nobody.callTool(
            { name: 'search_issues', arguments: { query: 'x' } }),
            { code: -32602 });
        await leave(nobody);
    });
});

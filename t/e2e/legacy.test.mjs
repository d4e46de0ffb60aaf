/*
 * Eras up to 2025-11-25: the official SDK with the reference server, which
 * has sessions, GET streams and answers in server-sent events.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { LoggingMessageNotificationSchema }
    from '@modelcontextprotocol/sdk/types.js';

import { leave, legacy, modern, names } from './lib/clients.mjs';
import { until } from './lib/process.mjs';
import { startStack } from './lib/stack.mjs';


describe('legacy era', () => {
    let stack, url, alice, bob;

    before(async () => {
        stack = await startStack();
        url = `${stack.url}/everything`;
        alice = await legacy(url, stack.engineer('everything'));
        bob = await legacy(url, stack.support('everything'));
    });

    after(async () => {
        await leave(alice);
        await leave(bob);
        assert.deepEqual(await stack?.stop(), [], 'error.log');
    });

    test('a role sees its tools and no others', async () => {
        const { tools } = await bob.listTools();
        assert.deepEqual(names(tools),
                         ['echo', 'get-sum', 'trigger-long-running-operation']);
        assert.ok(tools.every((tool) => tool.inputSchema.type === 'object'));
    });

    test('another role sees all but what is denied', async () => {
        const { tools } = await alice.listTools();
        assert.ok(tools.length > 8, `only ${tools.length}`);
        assert.ok(names(tools).includes('get-tiny-image'));
        assert.ok(!names(tools).includes('get-env'));
    });

    test('what is kept is what the server sent', async () => {
        const direct = await legacy(
            `http://127.0.0.1:${stack.reference.port}/mcp`);
        const { tools } = await direct.listTools();
        const kept = await bob.listTools();
        await leave(direct);

        for (const tool of kept.tools) {
            assert.deepEqual(tool, tools.find((t) => t.name === tool.name));
        }
        assert.ok(names(tools).includes('get-env'));
    });

    test('an allowed call is answered by the server', async () => {
        const { content } = await bob.callTool(
            { name: 'echo', arguments: { message: 'übung ✓' } });
        assert.equal(content[0].text, 'Echo: übung ✓');
    });

    test('a tool of nobody is unknown', async () => {
        await assert.rejects(alice.callTool({ name: 'get-env' }),
            { code: -32602, message: /Unknown tool: get-env$/ });
    });

    test('a tool of others is unknown, and no call reaches the server',
         async () => {
        const calls = () => stack.everything.requests.filter(
            (request) => request.body.includes('get-tiny-image')).length;
        const earlier = calls();

        await assert.rejects(bob.callTool({ name: 'get-tiny-image' }),
            { code: -32602, message: /Unknown tool: get-tiny-image$/ });
        assert.equal(calls(), earlier);

        const { content } = await alice.callTool({ name: 'get-tiny-image' });
        assert.ok(content.some((part) => part.type === 'image'));
        assert.equal(calls(), earlier + 1);
    });

    test('a deny rule looks at the arguments', async () => {
        const sum = (a) => bob.callTool(
            { name: 'get-sum', arguments: { a, b: 1 } });

        assert.match((await sum(1000)).content[0].text, /1001/);
        await assert.rejects(sum(1001), { code: -32602 });
        await assert.rejects(sum(1e300), { code: -32602 });
        await assert.rejects(sum('1'), { code: -32602 },
                             'what cannot be evaluated denies');
    });

    test('progress arrives while the tool still works', async () => {
        const began = Date.now();
        const ticks = [];
        const { content } = await bob.callTool({
            name: 'trigger-long-running-operation',
            arguments: { duration: 1.5, steps: 5 },
        }, undefined, { onprogress: (progress) => {
            ticks.push({ at: Date.now() - began, progress });
        } });
        const ended = Date.now() - began;

        assert.match(content[0].text, /completed/);
        assert.deepEqual(ticks.map((tick) => tick.progress.progress),
                         [1, 2, 3, 4, 5]);
        assert.ok(ended - ticks[0].at > 900,
                  `first at ${ticks[0].at} ms, result at ${ended} ms`);
        assert.ok(ticks[3].at - ticks[0].at > 600, 'progress came in one lump');
    });

    test('prompts are filtered and guarded', async () => {
        assert.deepEqual(names((await bob.listPrompts()).prompts),
                         ['simple-prompt']);
        assert.ok((await alice.listPrompts()).prompts.length > 1);

        const { messages } = await bob.getPrompt({ name: 'simple-prompt' });
        assert.equal(messages.length, 1);
        await assert.rejects(bob.getPrompt({ name: 'args-prompt',
                                             arguments: { city: 'Rome' } }),
            { code: -32602, message: /Unknown prompt: args-prompt$/ });
    });

    test('resources are filtered and guarded', async () => {
        const mine = 'demo://resource/static/document/features.md';
        const { resources } = await bob.listResources();
        const all = (await alice.listResources()).resources;
        const other = all.find((resource) => resource.uri !== mine).uri;

        assert.deepEqual(resources.map((resource) => resource.uri), [mine]);
        assert.ok(all.length > 1);

        const { contents } = await bob.readResource({ uri: mine });
        assert.ok(contents[0].text.length > 100);
        await assert.rejects(bob.readResource({ uri: other }),
            (error) => [-32002, -32602].includes(error.code));
        assert.ok((await alice.readResource({ uri: other })).contents);
    });

    test('resource templates are filtered', async () => {
        const templates = (await bob.listResourceTemplates()).resourceTemplates;
        assert.deepEqual(templates, []);
        assert.ok((await alice.listResourceTemplates())
                  .resourceTemplates.length > 0);
    });

    test('the server speaks on the GET stream', async () => {
        const heard = [];
        alice.setNotificationHandler(LoggingMessageNotificationSchema,
                                     ({ params }) => { heard.push(params); });

        await alice.callTool({ name: 'toggle-simulated-logging' });
        await until(() => heard.length, 'a log message', 10_000);
        await alice.callTool({ name: 'toggle-simulated-logging' });
        assert.match(heard[0].data, /message/);
    });

    test('completion follows the rule of what it completes', async () => {
        const complete = (client) => client.complete({
            ref: { type: 'ref/prompt', name: 'completable-prompt' },
            argument: { name: 'department', value: 'E' },
        });

        assert.deepEqual((await complete(alice)).completion.values,
                         ['Engineering']);
        await assert.rejects(complete(bob), { code: -32602 });
    });

    test('a modern client in auto mode falls back and works', async () => {
        const client = await modern(url, stack.support('everything'),
                                    { mode: 'auto' });
        const { tools } = await client.listTools();
        await leave(client);
        assert.equal(tools.length, 3);
    });
});

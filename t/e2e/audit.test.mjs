/*
 * The audit file: one record for each request, and what is in it.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { leave, legacy, modern } from './lib/clients.mjs';
import { sleep, until } from './lib/process.mjs';
import { post, startStack } from './lib/stack.mjs';


describe('audit', () => {
    let stack;

    before(async () => { stack = await startStack(); });

    after(async () => {
        assert.deepEqual(await stack?.stop(), [], 'error.log');
    });

    test('an allowed call', async () => {
        const client = await modern(`${stack.url}/projects`,
                                    stack.engineer('projects'));
        await client.callTool({ name: 'delete_issue',
            arguments: { project: 'SANDBOX', issue: 4711 } });
        await leave(client);

        const records = await stack.audit((r) => r.target === 'delete_issue');
        assert.equal(records.length, 1);
        const [record] = records;

        assert.equal(record.ev, 'call');
        assert.equal(record.server, 'projects');
        assert.equal(record.method, 'tools/call');
        assert.equal(record.decision, 'allow');
        assert.match(record.rule, /engineer: allow tool \*/);
        assert.equal(record.user, '00ualice');
        assert.equal(record.client, '0oademo');
        assert.equal(record.kind, 'user');
        assert.equal(record.auth, 'jwt');
        assert.equal(record.issuer, stack.issuer.url);
        assert.match(record.token_id, /^AT\./);
        assert.deepEqual(record.roles, ['engineer']);
        assert.equal(record.agent.name, 'e2e-modern');
        assert.match(record.era, /modern|2026-07-28/);
        assert.equal(record.credential, 'projects_bot');
        assert.equal(record.result.status, 200);
        assert.equal(record.upstream.status, 200);
        assert.equal(record.client_ip, '127.0.0.1');
        assert.match(record.ts, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);

        /* the arguments: names and a digest; /project is configured clear */
        assert.deepEqual([...record.params.keys].sort(), ['issue', 'project']);
        assert.ok(record.params.digest);
        assert.ok(!JSON.stringify(record).includes('4711'));
        assert.ok(JSON.stringify(record.params.clear).includes('SANDBOX'));
    });

    test('a denied call', async () => {
        const client = await modern(`${stack.url}/projects`,
                                    stack.support('projects'));
        await assert.rejects(client.callTool({ name: 'export_all' }));
        await leave(client);

        const records = await stack.audit((r) => r.target === 'export_all');
        assert.equal(records.length, 1);
        assert.equal(records[0].decision, 'deny');
        assert.equal(records[0].user, '00ubob');
        assert.equal(records[0].upstream, undefined);
        assert.equal(records[0].credential, undefined);
        assert.equal(records[0].result.rpc_code, -32602);
    });

    test('a refused token', async () => {
        await post(`${stack.url}/everything`,
            { jsonrpc: '2.0', id: 1, method: 'tools/list' },
            { Authorization: 'Bearer opaque' });

        const records = await stack.audit((r) => r.result?.status === 401);
        assert.equal(records.length, 1);
        assert.equal(records[0].ev, 'auth');
        assert.equal(records[0].decision, 'deny');
        assert.equal(records[0].user, undefined);
    });

    test('what is no message', async () => {
        const answer = await post(`${stack.url}/everything`, '{"jsonrpc":',
            { Authorization: `Bearer ${stack.engineer('everything')}` });
        assert.equal(answer.status, 400);
        assert.equal((await answer.json()).error.code, -32700);

        const records = await stack.audit((r) => r.result?.status === 400);
        assert.equal(records.length, 1);
        assert.notEqual(records[0].decision, 'allow');
    });

    test('a tool name that would forge a line', async () => {
        const evil = 'x"}\n{"ev":"call","user":"forged"}\u0007';
        await post(`${stack.url}/everything`,
            { jsonrpc: '2.0', id: 1, method: 'tools/call',
              params: { name: evil } },
            { Authorization: `Bearer ${stack.engineer('everything')}` });

        const records = await stack.audit((r) => r.target === evil);
        assert.equal(records.length, 1);
        assert.equal(
            (await stack.audit((r) => r.user === 'forged', 0)).length, 0);
    });

    test('a list that was cut', async () => {
        const client = await legacy(`${stack.url}/everything`,
                                    stack.support('everything'));
        const { tools } = await client.listTools();
        await leave(client);

        const [record] = await stack.audit((r) => r.method === 'tools/list'
                                                  && r.user === '00ubob');
        assert.equal(record.ev, 'list');
        assert.equal(tools.length, 3);
        assert.ok(record.result.removed > 5, `${record.result.removed}`);
    });

    test('a caller who leaves', async () => {
        const client = await modern(`${stack.url}/projects`,
                                    stack.engineer('projects'));
        const gone = new AbortController();
        const call = client.callTool(
            { name: 'count', arguments: { steps: 50, ms: 100 } },
            { signal: gone.signal, onprogress: () => gone.abort() });
        await assert.rejects(call);
        await leave(client);

        const records = await stack.audit((r) => r.target === 'count');
        assert.equal(records.length, 1);
        assert.equal(records[0].decision, 'allow');
        assert.equal(records[0].reason, 'client_gone');
    });

    /* The last one: it counts what all of the others did. */
    test('each request has exactly one record', async () => {
        const token = stack.engineer('everything');
        const calls = Array.from({ length: 40 }, (unused, id) =>
            post(`${stack.url}/everything`,
                 { jsonrpc: '2.0', id, method: 'tools/call',
                   params: { name: id % 2 ? 'get-env' : 'echo' } },
                 { Authorization: `Bearer ${token}` })
            .then((answer) => answer.text()));
        await Promise.all(calls);

        const requests = await until(async () => {
            const seen = stack.nginx.lines('access.log');
            await sleep(300);
            return seen.length === stack.nginx.lines('access.log').length
                   && seen;
        }, 'quiet');
        const records = stack.nginx.lines('audit.log')
                             .filter((r) => r.ev !== 'metadata');
        const ids = (list) => list.map((item) => item.request_id).sort();

        assert.ok(requests.length > 50, `only ${requests.length}`);
        assert.deepEqual(ids(records), ids(requests));

        const numbers = records.map((r) => r.seq);
        assert.equal(new Set(numbers).size, numbers.length, 'seq is unique');

        /* the variables of the access log tell the same */
        for (const request of requests) {
            const record = records.find(
                (r) => r.request_id === request.request_id);
            assert.equal(request.user === '-' ? '' : request.user,
                         record.user ?? '');
            assert.equal(request.decision, record.decision);
            assert.equal(request.status, record.result?.status);
        }
    });
});

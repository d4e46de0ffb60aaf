/*
 * The official clients with an issuer that has the ways of an Okta custom
 * authorization server: clients that an administrator made, one audience,
 * tokens without a type, scopes in an array, a hundred groups.  And tokens of
 * such an issuer that are not for us.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Browser } from './lib/browser.mjs';
import { leave, names } from './lib/clients.mjs';
import { Gateway } from './lib/gateway.mjs';
import { claims, kinds, text } from './lib/kinds.mjs';
import { Okta } from './lib/okta.mjs';
import { until } from './lib/process.mjs';
import { Program, eras } from './lib/program.mjs';


/* What everybody is in; with one more it is a hundred. */
const many = Array.from({ length: 99 }, (unused, i) =>
    `Department ${i} - Application Owners and Reviewers, all regions`);

const people = {
    alice: ['mcp-eng', ...many],
    lea: [...many, 'mcp-eng-leads'],
    bob: [...many.slice(0, 50), 'mcp-support', ...many.slice(50)],
    eve: ['MCP-ENG', 'mcp-eng ', 'mcp-engineers', 'mcp', 'engineer',
          ...many.slice(0, 95)],
    carol: undefined,
    dan: [],
};


describe('an issuer like Okta', () => {
    let okta, gateway;
    const programs = [];

    before(async () => {
        okta = await new Okta(people).start();
        gateway = await new Gateway().start('okta.conf',
                                            { ISSUER: okta.url });
        await until(() => okta.seen('/v1/keys').length, 'its keys');
    });

    after(async () => {
        await Promise.all(programs.map((program) => program.leave()));
        assert.deepEqual(await gateway?.stop(), [], 'error.log');
        okta?.stop();
    });

    const url = (era) => `${gateway.url}/${era.name}`;

    function program(login, era, client = { client_id: okta.client,
                                            issuer: okta.url })
    {
        const made = new Program(era, url(era), new Browser({ login }),
                                 { client });
        programs.push(made);
        return made;
    }

    for (const kind of kinds) {
        const { era } = kind;

        describe(`${era.name} era`, () => {
            for (const how of ['RFC 8414', 'OpenID discovery']) {
                test(`from 401 to the first call, by ${how}`, () =>
                    fromNothing(kind, how === 'RFC 8414'));
            }
            test('nobody registers by himself', () => registration(kind));
            test('groups make roles', () => groups(kind));
            test('more scope for one call', () => more(kind));
            test('after its token has expired', () => expired(kind));
            test('tokens that are refused', () => refused(kind));
            test('tokens that look odd and are good', () => odd(kind));
        });
    }

    async function fromNothing({ era, call, answer, refreshes }, inserted) {
        const before = okta.requests.length;
        const early = gateway.posts(era).length;
        const alice = program('alice', era);

        okta.inserted = inserted;
        try {
            await assert.rejects(alice.connect(), era.unauthorized);
        } finally {
            okta.inserted = true;
        }
        assert.equal(gateway.posts(era).length, early);

        /* a client asks in this order, until it is told */
        const documents = ['/.well-known/oauth-authorization-server',
                           '/.well-known/openid-configuration'].map((name) =>
            `${name}/oauth2/default`).concat(
            '/oauth2/default/.well-known/openid-configuration');
        assert.deepEqual(okta.requests.slice(before).map(({ path }) => path),
                         documents.slice(0, inserted ? 1 : 3));

        const query = Object.fromEntries(alice.store.pages[0].searchParams);
        assert.equal(query.client_id, okta.client);
        assert.equal(query.resource, url(era), 'asked for; not heard');
        assert.equal(query.scope, refreshes ? 'mcp.use offline_access'
                                            : 'mcp.use');

        await alice.authorize();
        const [head, body] = alice.token.split('.').slice(0, 2).map((part) =>
            JSON.parse(Buffer.from(part, 'base64url')));
        assert.equal(head.typ, undefined);
        assert.equal(body.aud, 'api://default');
        assert.equal(body.groups.length, 100);
        assert.ok(alice.token.length > 8192);

        const client = await alice.connect();
        assert.ok((await client.listTools()).tools.length > 3);
        assert.equal(await text(client, call), answer);

        for (const { headers, raw } of gateway.posts(era).slice(early)) {
            assert.equal(headers.authorization, `Bearer ${gateway.secret}`);
            assert.ok(!raw.join('\n').includes(alice.token));
        }

        const [record] = await gateway.audit((r) =>
            r.token_id === body.jti && r.target === call.name);
        assert.equal(record.user, okta.uids.alice, 'the immutable one');
        assert.equal(record.client, okta.client);
        assert.equal(record.kind, 'user');
        assert.deepEqual(record.roles, ['engineer']);
    }

    /* The metadata names an address, and it asks for a token. */
    async function registration({ era, rejected }) {
        const alice = program('alice', era, null);
        const early = gateway.posts(era).length;
        const before = okta.requests.length;

        await assert.rejects(alice.connect(), rejected);
        assert.equal(alice.store.pages.length, 0);
        assert.equal(gateway.posts(era).length, early);
        assert.equal(okta.requests.slice(before).filter(
            ({ path }) => path === '/oauth2/v1/clients').length, 1);
    }

    async function groups({ era, call, answer }) {
        for (const login of ['lea', 'bob']) {
            const client = await program(login, era).login();
            const tools = names((await client.listTools()).tools);

            assert.equal(await text(client, call), answer);
            if (login === 'bob') {
                assert.deepEqual(tools, [call.name]);
            } else {
                assert.ok(tools.length > 3, tools);
            }
        }

        const early = gateway.posts(era).length;
        for (const login of ['eve', 'carol', 'dan']) {
            const client = await program(login, era).login();

            assert.deepEqual((await client.listTools()).tools, [], login);
            await assert.rejects(client.callTool(call), { code: -32602 });
            const [record] = await gateway.audit((r) => r.target === call.name
                && r.user === okta.uids[login] && r.server === era.name);
            assert.equal(record.reason, 'no_rule');
            assert.equal(record.roles, undefined, login);
        }
        assert.ok(!gateway.posts(era).slice(early).some(({ body }) =>
            body.includes('"tools/call"')));
    }

    async function more({ era, big }) {
        const alice = program('alice', era);
        await alice.login();
        const result = await alice.interactive(() => alice.client.callTool(
            { name: big, arguments: {} }));

        assert.ok(result.content.length);
        assert.equal(alice.browser.forms, 1, 'who is known types nothing');
        const scopes = alice.store.pages[1].searchParams.get('scope');
        assert.ok(scopes.includes('mcp.use') && scopes.includes('mcp.export'));
    }

    /* Only the modern client asks for a refresh token by itself. */
    async function expired({ era, call, answer, refreshes }) {
        const alice = program('alice', era);
        await alice.login();

        const now = Math.floor(Date.now() / 1000);
        alice.store.saveTokens({ ...alice.store.tokens(),
            access_token: okta.accessToken('alice', { iat: now - 99,
                                                      exp: now - 40 }) });
        const works = () => text(alice.client, call);

        assert.equal(await (refreshes ? works() : alice.interactive(works)),
                     answer);
        assert.equal(alice.store.pages.length, refreshes ? 1 : 2);
        assert.equal(alice.browser.forms, 1);
    }

    async function refused({ era, bare, http }) {
        const cases = [
            ['audience', okta.accessToken('alice', { aud: url(era) })],
            ['audience', okta.accessToken('alice', { aud: 'api://Default' })],
            ['unknown_issuer', okta.accessToken('alice',
                { iss: okta.domain, scp: ['openid'] })],
            ['unknown_issuer', okta.accessToken('alice',
                { iss: `${okta.url}/` })],
            ['typ', okta.accessToken('alice', {},
                { header: { typ: 'application/okta-internal-at+jwt' } })],
            ['not_an_access_token', okta.idToken('alice',
                { nonce: 'n', at_hash: 'h' })],
            ['not_an_access_token', okta.idToken('alice', {})],
            ['not_an_access_token', okta.idToken('alice',
                { aud: 'api://default' })],
            ['too_many_groups', okta.accessToken('alice',
                { groups: Array(1025).fill('g') })],
            ['roles', okta.accessToken('alice', { groups: { a: 'mcp-eng' } })],
            ['sender_constrained', okta.accessToken('alice',
                { cnf: { jkt: 'x' } })],
        ];
        const early = gateway.posts(era).length;

        for (const [reason, token] of cases) {
            await assert.rejects(bare(url(era), token), (error) =>
                http(error) === 401, reason);
        }
        assert.equal(gateway.posts(era).length, early);

        const reasons = new Set(cases.map(([reason]) => reason));
        const records = await gateway.audit((r) => r.server === era.name
            && reasons.has(r.reason), cases.length);
        assert.deepEqual(records.map((r) => r.reason).sort(),
                         cases.map(([reason]) => reason).sort());
    }

    async function odd({ era, bare, call, answer }) {
        const keys = okta.seen('/v1/keys').length;
        const good = {
            'scopes in a string': okta.accessToken('alice',
                { scp: undefined, scope: 'openid mcp.use' }),
            'one group': okta.accessToken('alice', { groups: 'mcp-eng' }),
            'two audiences': okta.accessToken('alice',
                { aud: ['api://other', 'api://default'] }),
        };

        for (const [what, token] of Object.entries(good)) {
            const client = await bare(url(era), token);
            assert.equal(await text(client, call), answer, what);
            await leave(client);
        }

        /* client credentials: nobody logged in, so no groups and no role */
        const service = await bare(url(era), okta.accessToken('alice', {
            uid: undefined, sub: okta.client, groups: undefined,
            auth_time: undefined }));
        assert.deepEqual((await service.listTools()).tools, []);
        await leave(service);
        const [record] = await gateway.audit((r) => r.server === era.name
            && r.kind === 'service' && r.method === 'tools/list');
        assert.equal(record.user, undefined);
        assert.equal(record.client, okta.client);
        assert.equal(okta.seen('/v1/keys').length, keys);
    }

    test('another key signs: one fetch, and both keys are good', async () => {
        const keys = okta.seen('/v1/keys').length;
        const old = okta.accessToken('alice');
        okta.addKey();
        const fresh = okta.accessToken('alice');

        for (const { era, bare, call, answer } of kinds) {
            for (const token of [fresh, old]) {
                const client = await bare(url(era), token);
                assert.equal(await text(client, call), answer);
                await leave(client);
            }
        }
        assert.equal(okta.seen('/v1/keys').length, keys + 1);
    });

    test('no token is in any log', () => {
        const logs = ['error.log', 'audit.log'].map((name) =>
            gateway.nginx.read(name)).join('\n');

        for (const { token } of programs.filter(({ token }) => token)) {
            assert.ok(!logs.includes(token));
            assert.ok(!logs.includes(token.split('.')[2]));
        }
    });
});

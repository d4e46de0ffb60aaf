/*
 * The whole login: the official clients learn from the gateway's first answer
 * where to go, register, let a person log in, and come back with tokens.
 * Clients and provider are other people's code; the gateway has to fit.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { names } from './lib/clients.mjs';
import { claims, kinds, text } from './lib/kinds.mjs';
import { Login } from './lib/login.mjs';
import { eras } from './lib/program.mjs';


describe('login', () => {
    let site, provider, gateway;

    before(async () => {
        site = await new Login().start();
        ({ provider, gateway } = site);
    });

    after(async () => {
        assert.deepEqual(await site?.stop(), [], 'error.log');
    });

    for (const kind of kinds) {
        describe(`${kind.era.name} era`, () => {
            test('from 401 to the first call, by registration',
                 () => fromNothing(kind));
            test('from 401 to the first call, by its document',
                 () => fromNothing(kind, site.document()));
            test('a role limits who has logged in', () => roles(kind));
            test('more scope for one call', () => more(kind, false));
            test('more scope, with a refresh token', () => more(kind, true));
        });
    }

    async function fromNothing({ era, call, answer }, metadataUrl) {
        const alice = site.program('alice', era, { metadataUrl });
        const before = provider.requests.length;
        const early = gateway.posts(era).length;

        await assert.rejects(alice.connect(), era.unauthorized);
        assert.equal(gateway.posts(era).length, early, 'nobody came through');

        /* one by one, what the client asked the provider */
        const [page] = alice.store.pages;
        const asked = provider.requests.slice(before)
            .map(({ method, path }) => `${method} ${path}`);
        assert.deepEqual(asked, [
            'GET /.well-known/oauth-authorization-server',
            ...(metadataUrl ? [] : ['POST /reg']),
        ]);

        const query = Object.fromEntries(page.searchParams);
        assert.equal(query.resource, site.url(era), 'as the gateway writes it');
        assert.equal(query.code_challenge_method, 'S256');
        assert.equal(query.scope.split(' ')[0], 'mcp.use', 'the challenge');
        assert.ok(!query.scope.includes('mcp.export'));
        if (metadataUrl) {
            assert.equal(query.client_id, metadataUrl);
        }

        await alice.authorize();
        const [grant] = provider.seen('/token', before);
        assert.equal(grant.params.resource, site.url(era));
        assert.ok(grant.params.code_verifier);

        const token = claims(alice.token);
        assert.equal(token.aud, site.url(era));
        assert.equal(token.iss, provider.url);

        const client = await alice.connect();
        assert.ok((await client.listTools()).tools.length > 3);
        assert.equal(await text(client, call), answer);

        for (const { headers, raw } of gateway.posts(era).slice(early)) {
            assert.equal(headers.authorization, `Bearer ${gateway.secret}`);
            assert.ok(!raw.join('\n').includes(alice.token));
        }

        const mine = (r) => r.client === query.client_id && r.method;
        const record = (await gateway.audit(mine, 3)).find(
            (r) => r.target === call.name);
        assert.equal(record.user, 'alice');
        assert.equal(record.issuer, provider.url);
        assert.equal(record.token_id, token.jti);
        assert.deepEqual(record.roles, ['engineer']);
        assert.ok((await gateway.audit((r) => r.ev === 'metadata'
            && r.server === era.name)).length, 'RFC 9728');
    }

    async function roles({ era, rpc, call, answer, other }) {
        const bob = site.program('bob', era);
        const client = await bob.login();

        assert.deepEqual(names((await client.listTools()).tools),
                         [call.name]);
        assert.equal(await text(client, call), answer);
        await assert.rejects(client.callTool({ name: other, arguments: {} }),
            (error) => rpc(error) === -32602
                       && error.message.endsWith(`Unknown tool: ${other}`));
        assert.equal(site.ran(era, other), 0);

        const eve = await site.program('eve', era).login();
        assert.deepEqual((await eve.listTools()).tools, []);
        const calls = site.ran(era, call.name);
        await assert.rejects(eve.callTool(call), { code: -32602 });
        assert.equal(site.ran(era, call.name), calls);
    }

    async function more({ era, http, call, answer, big }, refresh) {
        const alice = site.program('alice', era, { refresh });
        const calls = site.ran(era, big);
        const export_ = () => alice.client.callTool(
            { name: big, arguments: {} });

        await alice.login();
        assert.deepEqual(claims(alice.token).scope.split(' ')[0], 'mcp.use');

        /*
         * The legacy client uses the refresh token first, which gives it the
         * same scope, and then gives up; so a program has to forget it.
         */
        if (refresh && era === eras.legacy) {
            const before = provider.requests.length;

            await assert.rejects(export_(), (error) =>
                http(error) === 403
                && /after trying upscoping/.test(error.message));
            assert.deepEqual(provider.seen('/token', before).map(
                ({ params }) => params.grant_type), ['refresh_token']);

            const { refresh_token: gone, ...rest } = alice.store.tokens();
            assert.ok(gone);
            alice.store.saveTokens(rest);
            await alice.connect();
        }

        const result = await alice.interactive(export_);
        assert.ok(result.content.length);
        assert.equal(site.ran(era, big), calls + 1, 'once, and with the scope');

        const page = alice.store.pages.at(-1);
        const scopes = page.searchParams.get('scope').split(' ');
        assert.ok(scopes.includes('mcp.use') && scopes.includes('mcp.export'));
        assert.equal(page.searchParams.get('resource'), site.url(era));

        await export_();
        assert.equal(await text(alice.client, call), answer);

        const [record] = await gateway.audit((r) =>
            r.reason === 'insufficient_scope' && r.server === era.name);
        assert.equal(record.decision, 'deny');
        assert.equal(record.target, big);
    }

    test('a modern client that tries both eras', async () => {
        for (const { era, call, answer } of kinds) {
            const alice = site.program('alice', { ...eras.auto,
                                             name: era.name });
            assert.equal(await text(await alice.login(), call), answer);
        }
    });

    /* URL parsers write it with a slash; a provider compares strings. */
    test('a resource that is a whole host', async () => {
        const [{ call, answer }] = kinds;

        for (const resource of site.hosts) {
            for (const era of [eras.legacy, eras.auto]) {
                const alice = site.program('alice', era, {}, resource);
                assert.equal(await text(await alice.login(), call), answer);
                assert.equal(claims(alice.token).aud, resource);
            }
        }
    });

    test('a provider that holds clients to what they registered', async () => {
        provider.restart({ strict: true });

        for (const { era, big } of kinds) {
            const ways = [
                [{}, /error=invalid_scope/],
                [{ metadataUrl: site.document(false) }, null],
            ];

            for (const [options, refusal] of ways) {
                const alice = site.program('alice', era,
                                      { refresh: false, ...options });
                const calls = site.ran(era, big);
                const works = () => alice.client.callTool(
                    { name: big, arguments: {} });

                await alice.login();
                if (refusal) {
                    await assert.rejects(alice.interactive(works), refusal);
                } else {
                    await alice.interactive(works);
                }
                assert.equal(site.ran(era, big), calls + (refusal ? 0 : 1));
            }
        }

        provider.restart();
    });

    test('no token and no code is in any log', () => {
        assert.deepEqual(site.leaks(), []);
    });
});

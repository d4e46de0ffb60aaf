/*
 * After the login: tokens that have expired, that are for somebody else or
 * that a vanished key signed, and what the official clients make of it.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { leave } from './lib/clients.mjs';
import { claims, kinds, text } from './lib/kinds.mjs';
import { Login } from './lib/login.mjs';
import { sleep, until } from './lib/process.mjs';
import { eras } from './lib/program.mjs';


describe('after the login', () => {
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
            test('a dead refresh token: the person logs in again',
                 () => again(kind));
            test('tokens that are not for here', () => refused(kind));
            test('a provider that sends them in vain', () => inVain(kind));
        });
    }

    async function again({ era, call, answer }) {
        const alice = site.program('alice', era);
        await alice.login();

        const now = Math.floor(Date.now() / 1000);
        alice.store.saveTokens({
            ...alice.store.tokens(), refresh_token: 'dead',
            access_token: provider.altered(alice.token,
                                           { iat: now - 9, exp: now - 1 }),
        });
        const calls = site.ran(era, call.name);
        const works = () => text(alice.client, call);

        assert.equal(await alice.interactive(works), answer);
        assert.equal(site.ran(era, call.name), calls + 1);
        await gateway.audit((r) => r.reason === 'expired'
                                   && r.server === era.name);
    }

    /* Tokens that this provider signed, and nothing to get others with. */
    async function refused({ era, bare, http, call, answer }) {
        const alice = site.program('alice', era);
        await alice.login();
        const token = alice.token;
        const header = { typ: 'JWT' };
        const cases = {
            audience: { aud: site.url(era === eras.legacy ? eras.modern
                                                       : eras.legacy) },
            unknown_issuer: { iss: `${provider.url}/` },
            typ: {},
        };

        for (const [reason, change] of Object.entries(cases)) {
            const early = gateway.posts(era).length;
            const other = provider.altered(token, change,
                reason === 'typ' ? header : {});

            await assert.rejects(bare(site.url(era), other), (error) =>
                http(error) === 401, reason);
            assert.equal(gateway.posts(era).length, early, reason);
            await gateway.audit((r) => r.reason === reason
                                       && r.server === era.name);
        }

        const same = await bare(site.url(era), provider.altered(token, {}));
        assert.equal(await text(same, call), answer);
        await leave(same);

        /* what was for the other server is replaced by what is for this */
        const other = kinds.find((kind) => kind.era !== era).era;
        const elsewhere = site.program('alice', other);
        await elsewhere.login();

        const lost = site.program('alice', era);
        lost.store.saveTokens({ access_token: elsewhere.token,
                                token_type: 'Bearer' });
        const early = gateway.posts(era).length;
        await assert.rejects(lost.connect(), era.unauthorized);
        assert.equal(gateway.posts(era).length, early);
        await lost.authorize();
        assert.equal(await text(await lost.connect(), call), answer);
    }

    /* The client must see an end of it, and so must the provider. */
    async function inVain({ era, http }) {
        const alice = site.program('alice', era);
        const early = gateway.posts(era).length;

        provider.audience = 'https://elsewhere.example.com';
        try {
            await assert.rejects(alice.login(), (error) =>
                http(error) === 401
                && /after (successful |re-)authentication/.test(error.message));
        } finally {
            delete provider.audience;
        }

        assert.equal(alice.store.pages.length, 1);
        assert.equal(gateway.posts(era).length, early);
    }

    /* One of the programs says nothing, but has a stream open. */
    test('after it has expired a token is refreshed, unseen', async () => {
        const retry = (maxRetries) => ({ transport: { reconnectionOptions: {
            maxRetries, initialReconnectionDelay: 100,
            maxReconnectionDelay: 1000, reconnectionDelayGrowFactor: 2,
        } } });
        const [first] = kinds;
        const all = kinds.map((kind) => ({ ...kind,
            alice: site.program('alice', kind.era, retry(0)) }));
        const quiet = site.program('alice', first.era, retry(5));
        const streams = () => gateway.legacy.requests.filter(
            ({ method }) => method === 'GET').length;
        const open = streams();

        provider.seconds = 4;
        for (const { alice } of [...all, { alice: quiet }]) {
            await alice.login();
        }
        provider.seconds = 600;
        await until(() => streams() >= open + 2, 'the streams');

        const old = quiet.token;
        const last = claims(old).exp;
        while (Date.now() / 1000 < last) {
            await sleep(100);
        }

        const refreshes = ({ clientId }) => provider.seen('/token')
            .map(({ params }) => params)
            .filter((params) => params?.client_id === clientId).slice(1);

        for (const { alice, era, call, answer } of all) {
            const forms = alice.browser.forms;

            assert.equal(await text(alice.client, call), answer);
            assert.equal(alice.store.pages.length, 1);
            assert.equal(alice.browser.forms, forms);

            const [params, ...rest] = refreshes(alice);
            assert.equal(params.grant_type, 'refresh_token');
            assert.equal(params.resource, site.url(era));
            assert.deepEqual(rest, []);
        }

        /* the stream was cut; the client came back with another token */
        await until(() => streams() >= open + 3, 'the stream again');
        assert.notEqual(quiet.token, old);
        assert.equal(refreshes(quiet).length, 1);
        assert.equal(await text(quiet.client, first.call), first.answer);
        assert.equal(refreshes(quiet).length, 1);
        assert.equal(quiet.store.pages.length, 1);
        await gateway.audit((r) => r.reason === 'token_expired'
                                   && r.client === quiet.clientId, 1);
    });

    /* From here on the old keys are worth nothing. */
    test('new keys at the provider are fetched once', async () => {
        const before = kinds.map(({ era }) => site.program('alice', era));
        for (const alice of before) {
            await alice.login();
        }

        const start = provider.requests.length;
        provider.rotate();

        for (const { era, call, answer } of kinds) {
            const bob = site.program('bob', era);
            assert.equal(await text(await bob.login(), call), answer);
        }
        assert.equal(provider.seen('/jwks', start).length, 1);

        /* who came before is refused, refreshes, and notices nothing */
        for (const [i, { call, answer }] of kinds.entries()) {
            const old = before[i].token;
            assert.equal(await text(before[i].client, call), answer);
            assert.notEqual(before[i].token, old);
            assert.equal(before[i].store.pages.length, 1);
        }

        /* another fetch would be allowed after 30 s */
        provider.rotate();
        for (const { era, http } of kinds) {
            const early = gateway.posts(era).length;
            await assert.rejects(site.program('bob', era).login(), (error) =>
                http(error) === 401);
            assert.equal(gateway.posts(era).length, early);
        }
        assert.equal(provider.seen('/jwks', start).length, 1);
    });

    test('no token and no code is in any log', () => {
        assert.deepEqual(site.leaks(), []);
    });
});

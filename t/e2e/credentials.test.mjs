/*
 * Downstream credentials from a real provider, over TLS: one of the gateway's
 * own, one that a person granted and that rotates, and one that is exchanged
 * for the caller's token.  What counts is what the MCP server was shown.
 */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';

import { modern } from './lib/clients.mjs';
import { Downstream } from './lib/downstream.mjs';
import { Gateway } from './lib/gateway.mjs';
import { Issuer } from './lib/issuer.mjs';
import { claims } from './lib/kinds.mjs';
import { sleep, until } from './lib/process.mjs';
import { Redis, importGrant } from './lib/redis.mjs';
import { post } from './lib/stack.mjs';


describe('downstream credentials', () => {
    const people = ['alice', 'bob', 'carol', 'dave'];
    const key = randomBytes(32).toString('base64');
    const sent = [];                /* callers' tokens */
    let issuer, provider, redis, gateway;

    before(async () => {
        issuer = await new Issuer({ path: '/oauth2/default' }).start();
        provider = await new Downstream(people, issuer).start();
        redis = await new Redis().start();
        gateway = await new Gateway().start('credentials.conf', {
            ISSUER: issuer.url, PROVIDER: provider.url, REDIS: redis.port,
            RESOURCE: provider.resource, KEY_ID: provider.jwk.kid,
        }, {
            'vault.keys': `one ${key}\n`, 'machine.pem': provider.key,
            'people.secret': `${provider.secrets.people}\n`,
            'broker.secret': `${provider.secrets.broker}\n`,
        });
    });

    after(async () => {
        const complaints = await gateway?.stop();
        await redis?.stop();
        provider?.stop();
        issuer?.stop();
        assert.deepEqual(complaints, [], 'error.log');
    });

    const token = (who, more) => {
        const made = issuer.token({ sub: who, aud: 'api://default',
                                    exp: Math.floor(Date.now() / 1000) + 600,
                                    ...more });
        sent.push(made);
        return made;
    };

    const client = (server, bearer) =>
        modern(`${gateway.url}/${server}`, bearer);

    /* What the server was shown: the claims of the API's token. */
    async function shown(of) {
        const { content } = await of.callTool({ name: 'show_headers',
                                                arguments: {} });
        const headers = JSON.parse(content[0].text);
        const [, bearer] = headers.authorization.match(/^Bearer (\S+)$/);

        assert.ok(provider.tokens.includes(bearer), 'of the provider');
        return claims(bearer);
    }

    const grant = async (who) => importGrant(gateway.nginx, 'people', who,
        issuer.url, await provider.grant(who));

    const audit = (match, n) => gateway.audit(match, n);

    test('client credentials: one token for everybody', async () => {
        const before = provider.requests.length;
        const clients = await Promise.all(people.map((who) =>
            client('machine', token(who))));

        const all = await Promise.all(Array.from({ length: 24 }, (_, i) =>
            shown(clients[i % clients.length])));

        for (const { aud, client_id, exp, scope } of all) {
            assert.equal(client_id, 'machine');
            assert.equal(aud, provider.resource);
            assert.equal(scope, 'issues.read');
            assert.ok(exp > Date.now() / 1000);
        }
        assert.equal(new Set(all.map(({ jti }) => jti)).size, 1);
        assert.equal(provider.requests.length - before, 1);

        await Promise.all(clients.map((one) => one.close()));
        const calls = await audit((r) => r.server === 'machine'
                                         && r.target === 'show_headers', 24);
        assert.deepEqual([...new Set(calls.map(({ user }) => user))].sort(),
                         people);
        for (const { credential, credential_version: version } of calls) {
            assert.equal(credential, 'machine');
            assert.equal(version, 1);
        }
    });

    test('a grant that rotates while four clients work', async () => {
        const before = provider.count('refresh_token');

        /* refreshed when half of four seconds is left */
        provider.seconds = 4;
        await grant('alice');

        const bearer = token('alice');
        const clients = await Promise.all(Array.from({ length: 4 }, () =>
            client('people', bearer)));
        const seen = new Set();
        const end = Date.now() + 9_000;
        let calls = 0;

        await Promise.all(clients.map(async (one) => {
            while (Date.now() < end) {
                const { sub, jti, exp, client_id } = await shown(one);

                assert.equal(sub, 'alice');
                assert.equal(client_id, 'people');
                assert.ok(exp * 1000 > Date.now() - 1000, 'not expired');
                seen.add(jti);
                calls++;
                await sleep(20);
            }
        }));

        const asked = provider.count('refresh_token') - before;
        assert.equal(asked, provider.count('refresh_token', 200) - before,
                     'none was refused');
        assert.ok(asked >= 3 && asked <= 6, `${asked} refreshes`);
        assert.equal(seen.size, asked + 1, 'each new one was used');
        assert.ok(calls > 100, `${calls} calls`);

        const events = await audit((r) => r.ev === 'credential'
            && r.method === 'credential/refresh' && r.user === 'alice', asked);
        assert.deepEqual(events.map((r) => r.credential_version),
                         events.map((r, i) => i + 2));
        assert.ok(events.every((r) => r.reason === 'credential'));

        provider.seconds = 600;
        await Promise.all(clients.map((one) => one.close()));
    });

    test('without a grant: where to connect', async () => {
        const bearer = token('bob');
        const answer = await post(`${gateway.url}/people`, {
            jsonrpc: '2.0', id: 1, method: 'tools/call', params: {
                name: 'show_headers', arguments: {}, _meta: {
                    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
                    'io.modelcontextprotocol/clientCapabilities': {},
                } },
        }, { Authorization: `Bearer ${bearer}`,
             'MCP-Protocol-Version': '2026-07-28',
             'Mcp-Method': 'tools/call', 'Mcp-Name': 'show_headers' });
        const { result } = await answer.json();

        assert.equal(answer.status, 200);
        assert.equal(result.isError, true);
        assert.match(result.content[0].text,
                     /https:\/\/gw\.acme\.example\/connect\/people/);

        /* what alice granted is hers alone */
        await grant('bob');
        const bob = await until(() => client('people', bearer)
            .catch(() => false), 'the grant', 5000);
        assert.equal((await shown(bob)).sub, 'bob');
        await bob.close();
    });

    test('taken back at the provider', async () => {
        provider.seconds = 4;
        await grant('carol');
        const carol = await client('people', token('carol'));
        assert.equal((await shown(carol)).sub, 'carol');

        provider.revoke('carol');
        const before = provider.count('refresh_token');
        const result = await until(async () => {
            const answer = await carol.callTool({ name: 'show_headers',
                                                  arguments: {} });
            await sleep(100);
            return answer.isError && answer;
        }, 'the end of the token', 8000);

        assert.match(result.content[0].text, /\/connect\/people/);
        assert.equal(provider.count('refresh_token') - before, 1,
                     'asked once');
        provider.seconds = 600;
        await carol.close();
    });

    test('token exchange: for each person', async () => {
        const before = provider.count('token-exchange');

        for (const who of ['alice', 'bob']) {
            const one = await client('broker', token(who));

            for (let i = 0; i < 5; i++) {
                const { sub, aud, client_id } = await shown(one);

                assert.equal(sub, who);
                assert.equal(aud, provider.resource);
                assert.equal(client_id, 'broker');
            }
            await one.close();
        }

        /* two workers, each of which has been asked */
        assert.equal(provider.count('token-exchange') - before, 2);
    });

    test('an exchange ends with the caller\'s token', async () => {
        const exp = Math.floor(Date.now() / 1000) + 4;
        const before = provider.count('token-exchange');
        const dave = await client('broker', token('dave', { exp }));

        await shown(dave);
        const again = await client('broker', token('dave'));
        await sleep(Math.max(0, exp * 1000 - Date.now()) + 500);
        assert.equal((await shown(again)).sub, 'dave');
        assert.equal(provider.count('token-exchange') - before, 2,
                     'another token, another exchange');
        await Promise.all([dave, again].map((one) => one.close()
            .catch(() => {})));
    });

    test('a service has nobody to act for', async () => {
        const service = token('0oaservice', { cid: '0oaservice' });
        const before = provider.count('token-exchange');

        await assert.rejects(async () => {
            const one = await client('broker', service);
            await one.callTool({ name: 'show_headers', arguments: {} });
        }, /403|people/);

        const one = await client('fallback', service);
        assert.equal((await shown(one)).client_id, 'machine');
        await one.close();

        const alice = await client('fallback', token('alice'));
        assert.equal((await shown(alice)).sub, 'alice');
        await alice.close();
        assert.equal(provider.count('token-exchange') - before, 1);
    });

    test('a provider that cannot be verified is not asked', async () => {
        const before = provider.requests.length;

        await assert.rejects(async () => {
            const one = await client('distrustful', token('alice'));
            await one.callTool({ name: 'show_headers', arguments: {} });
        }, /503/);
        assert.equal(provider.requests.length, before);
    });

    test('nothing of it is in a log', () => {
        const logs = ['error.log', 'audit.log'].map((name) =>
            gateway.nginx.read(name)).join('\n');
        const secrets = [key, ...Object.values(provider.secrets), ...sent,
                         ...provider.tokens].filter(Boolean);

        assert.ok(secrets.length > 20);
        assert.deepEqual(secrets.filter((secret) => logs.includes(secret)
            || logs.includes(secret.split('.')[2] ?? secret)), []);
    });
});

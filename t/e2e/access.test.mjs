/*
 * Who may come in at all, what the upstream gets to see of a caller, and what
 * happens when keys change.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { discoverOAuthProtectedResourceMetadata }
    from '@modelcontextprotocol/client';

import { leave, legacy, modern } from './lib/clients.mjs';
import { Issuer } from './lib/issuer.mjs';
import { post, startStack } from './lib/stack.mjs';


const PING = { jsonrpc: '2.0', id: 1, method: 'tools/list' };


describe('access', () => {
    let stack, url;

    before(async () => {
        stack = await startStack();
        url = `${stack.url}/everything`;
    });

    after(async () => {
        assert.deepEqual(await stack?.stop(), [], 'error.log');
    });

    test('without a token: 401, and where to get one', async () => {
        const answer = await post(url, PING);
        const challenge = answer.headers.get('www-authenticate');

        assert.equal(answer.status, 401);
        assert.match(challenge, /^Bearer /);
        assert.match(challenge, /resource_metadata="[^"]+"/);
        assert.doesNotMatch(challenge, /error=/);

        const [, where] = challenge.match(/resource_metadata="([^"]+)"/);
        const metadata = await (await fetch(where)).json();
        assert.equal(metadata.resource, url);
        assert.deepEqual(metadata.authorization_servers, [stack.issuer.url]);
    });

    test('the official client discovers the issuer', async () => {
        const metadata = await discoverOAuthProtectedResourceMetadata(
            `${stack.url}/projects`);

        assert.equal(metadata.resource, `${stack.url}/projects`);
        assert.deepEqual(metadata.authorization_servers,
                         [stack.issuer.url, stack.partner.url,
                          stack.stranger.url]);
        assert.deepEqual(metadata.scopes_supported, ['mcp.use']);
    });

    test('the official clients are told 401', async () => {
        for (const connect of [legacy, modern]) {
            await assert.rejects(connect(url), (error) =>
                /401|Unauthorized/i.test(`${error.name} ${error.message} `
                                         + `${error.code} ${error.status}`));
        }
    });

    test('GET and DELETE without a token: 401', async () => {
        for (const method of ['GET', 'DELETE']) {
            const answer = await fetch(url, { method });
            assert.equal(answer.status, 401, method);
            assert.match(answer.headers.get('www-authenticate'), /^Bearer /);
        }
    });

    describe('a bad token is refused', () => {
        const stranger = new Issuer({ path: '/oauth2/default' });
        const past = Math.floor(Date.now() / 1000) - 3600;
        const good = () => stack.engineer('everything');
        const cut = (token, n) => token.split('.').slice(0, n).join('.');

        const cases = {
            'no JWT': () => 'opaque',
            'expired': () => stack.engineer('everything',
                                            { exp: past, iat: past - 60 }),
            'not valid yet': () => stack.engineer('everything',
                                                  { nbf: past + 7200 }),
            'for another server': () => stack.engineer('projects'),
            'of an unknown issuer': () => stack.engineer('everything',
                { iss: 'https://login.example.org' }),
            'of an issuer that is not this server\'s': () =>
                stack.partner.token({ aud: url, uid: 'x' }),
            'signed with another key': () => stack.token('everything', 'eve',
                ['mcp-eng'], {}, { key: stranger.addKey() }),
            'alg none': () => `${Buffer.from('{"alg":"none"}')
                .toString('base64url')}.${good().split('.')[1]}.`,
            'without its signature': () => `${cut(good(), 2)}.`,
            'in two parts': () => cut(good(), 2),
            'an ID token': () => stack.issuer.token(
                { aud: '0oademo', uid: '00ueve', nonce: 'n', cid: undefined,
                  scp: undefined }),
            'with changed claims': () => {
                const [head, , signature] = good().split('.');
                const claims = Buffer.from(JSON.stringify({
                    iss: stack.issuer.url, aud: url, exp: past + 9999,
                    groups: ['mcp-eng'] })).toString('base64url');
                return `${head}.${claims}.${signature}`;
            },
        };

        for (const [name, make] of Object.entries(cases)) {
            test(name, async () => {
                const before = stack.everything.requests.length;
                const answer = await post(url, PING,
                    { Authorization: `Bearer ${make()}` });

                assert.equal(answer.status, 401);
                assert.match(answer.headers.get('www-authenticate'),
                             /^Bearer .*error="invalid_token"/);
                assert.equal(stack.everything.requests.length, before);
            });
        }
    });

    test('a token in the query is refused, and goes no further', async () => {
        const token = stack.engineer('everything');
        const seen = stack.everything.requests.length;
        const answer = await post(`${url}?access_token=${token}`, PING,
                                  { Authorization: `Bearer ${token}` });

        assert.equal(answer.status, 400);
        assert.equal(stack.everything.requests.length, seen);
    });

    test('a scope that is too small: 403, and which would do', async () => {
        const projects = `${stack.url}/projects`;
        const call = { jsonrpc: '2.0', id: 1, method: 'tools/call',
                       params: { name: 'export_all' } };
        const ask = (scp) => post(projects, call, { Authorization:
            `Bearer ${stack.engineer('projects', { scp })}` });
        const scopes = (answer) => answer.headers.get('www-authenticate')
            .match(/scope="([^"]+)"/)[1].split(' ').sort();

        const poor = await ask(['openid']);
        assert.equal(poor.status, 403);
        assert.match(poor.headers.get('www-authenticate'),
                     /^Bearer error="insufficient_scope"/);
        assert.ok(scopes(poor).includes('mcp.use'));

        const small = await ask(['mcp.use']);
        assert.equal(small.status, 403);
        assert.deepEqual(scopes(small), ['mcp.export', 'mcp.use']);
    });

    test('a foreign Origin is refused', async () => {
        const answer = await post(url, PING, {
            Authorization: `Bearer ${stack.engineer('everything')}`,
            Origin: 'https://evil.example',
        });
        assert.equal(answer.status, 403);
    });

    test('keys from an issuer that cannot prove who it is: 503', async () => {
        const answer = await post(`${stack.url}/projects`, PING, {
            Authorization: `Bearer ${stack.stranger.token({
                aud: `${stack.url}/projects`, uid: '00ueve',
                sub: 'eve@example.com', groups: ['mcp-eng'] })}` });

        assert.equal(answer.status, 503);
        assert.ok(Number(answer.headers.get('retry-after')) >= 1);
        assert.equal(answer.headers.get('www-authenticate'), null);
        assert.equal(stack.stranger.fetches, 0);
        assert.match(stack.nginx.read('error.log'),
                     /mcp_issuer "stranger": no keys/);
    });

    test('a second issuer is found by discovery, over TLS', async () => {
        const token = stack.partner.token({ aud: `${stack.url}/projects`,
            sub: 'carol', cid: 'partner-app', groups: ['partners'] });
        const carol = await modern(`${stack.url}/projects`, token);

        assert.equal((await carol.listTools()).tools.length, 3);
        await leave(carol);
        assert.ok(stack.partner.fetches >= 1);
    });

    test('the upstream sees the credential and nothing of the caller',
         async () => {
        const token = stack.engineer('everything');
        const client = await legacy(url, token, { headers: {
            Cookie: 'session=caller', 'Proxy-Authorization': 'Basic eDp5' } });
        await client.listTools();
        await leave(client);

        assert.ok(stack.everything.requests.length >= 3);
        for (const { method, raw, headers } of stack.everything.requests) {
            assert.equal(headers.authorization,
                         `Bearer ${stack.everythingSecret}`, method);
            assert.equal(raw.filter((name, i) => i % 2 === 0
                && name.toLowerCase() === 'authorization').length, 1);
            assert.equal(headers.cookie, undefined);
            assert.equal(headers['proxy-authorization'], undefined);
            assert.ok(!raw.join('\n').includes(token));
            assert.ok(!raw.join('\n').includes(token.split('.')[2]));
        }
    });

    test('a credential in another header: Authorization is gone', async () => {
        const token = stack.support('projects');
        const client = await modern(`${stack.url}/projects`, token,
                                    { headers: { 'X-Api-Key': 'forged' } });
        const { content } = await client.callTool({ name: 'show_headers' });
        await leave(client);

        const headers = JSON.parse(content[0].text);
        assert.equal(headers['x-api-key'], stack.projectsSecret);
        assert.equal(headers.authorization, undefined);
        assert.ok(!content[0].text.includes(token));

        for (const { raw } of stack.projects.requests) {
            assert.ok(!raw.join('\n').includes(token));
        }
    });

    test('no token and no secret is in any log', async () => {
        const token = stack.engineer('everything');
        await post(url, PING, { Authorization: `Bearer ${token}` });

        for (const name of ['error.log', 'access.log', 'audit.log']) {
            const text = stack.nginx.read(name);
            for (const secret of [stack.everythingSecret, stack.projectsSecret,
                                  token, token.split('.')[2]])
            {
                assert.ok(!text.includes(secret), name);
            }
        }
    });

    /* The last one: from here on the old keys are worth nothing. */
    test('new keys are fetched when a token names one', async () => {
        const fetches = stack.issuer.fetches;
        stack.issuer.rotate();

        const client = await legacy(url, stack.engineer('everything'));
        assert.ok((await client.listTools()).tools.length > 0);
        await leave(client);
        assert.equal(stack.issuer.fetches, fetches + 1);
    });
});

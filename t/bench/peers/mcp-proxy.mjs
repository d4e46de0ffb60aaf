// mcp-proxy, a gateway from npm that speaks MCP of both eras: it answers a
// message itself or asks the server behind it as an MCP client, over one
// session for all callers.
//
//     node mcp-proxy.mjs MODULE_DIR PORT UPSTREAM PUBLIC_PEM ISS AUD
//
// Its own check of a caller is a constant API key; here `authenticate`, the hook
// that it has for more, checks the token's signature (RS256), exp, iss and aud
// with node:crypto on each request, and createServer, called for each request of
// 2026-07-28, makes the server that asks upstream.  The caller's token goes no
// further.  Not: rules, lists, an audit, revocation.

import { createPublicKey, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [dir, port, upstream, pem, iss, aud] = process.argv.slice(2);
const require = createRequire(`${dir}/package.json`);
const load = (name) => import(pathToFileURL(require.resolve(name)));

const { proxyServer, startHTTPServer } =
    await import(pathToFileURL(`${dir}/node_modules/mcp-proxy/dist/index.mjs`));
const { Client, StreamableHTTPClientTransport } =
    await load('@modelcontextprotocol/client');
const { Server } = await load('@modelcontextprotocol/server');

const key = createPublicKey(readFileSync(pem));
const json = (part) => JSON.parse(Buffer.from(part, 'base64url'));

async function authenticate(req) {
    const [head, payload, sig] =
        (req.headers.authorization ?? '').replace(/^Bearer /, '').split('.');

    if (!sig || json(head).alg !== 'RS256'
        || !verify('sha256', Buffer.from(`${head}.${payload}`), key,
                   Buffer.from(sig, 'base64url')))
    {
        return undefined;
    }

    const c = json(payload);

    return c.iss === iss && c.aud === aud && c.exp > Date.now() / 1000
           ? { authenticated: true, user: c.uid }
           : { authenticated: false };
}

const client = new Client({ name: 'mcp-proxy', version: '1.0' });

await client.connect(new StreamableHTTPClientTransport(new URL(upstream), {
    requestInit: { headers: {
        Authorization: 'Bearer jira-bot-0123456789abcdef' } },
}));

await startHTTPServer({
    authenticate,
    createServer: async () => {
        const capabilities = client.getServerCapabilities();
        const server = new Server(client.getServerVersion(), { capabilities });

        await proxyServer({ client, server, serverCapabilities: capabilities });
        return server;
    },
    enableJsonResponse: true,
    host: '127.0.0.1',
    port: Number(port),
    sseEndpoint: null,
});

/*
 * The official clients of both eras, with a token that is already there: how
 * a person logs in is the issuer's affair.  Each is loaded when it is used:
 * demo/client begins anew for every question.
 */

/* fetch: in place of the real one, for those who look at what comes back */
const init = (token, headers, fetch) => ({
    ...(fetch && { fetch }),
    requestInit: {
        headers: token ? { Authorization: `Bearer ${token}`, ...headers }
                       : { ...headers },
    },
});


/* @modelcontextprotocol/sdk: initialize, sessions, GET streams. */
export async function legacy(url, token,
                             { name = 'e2e-legacy', headers, fetch } = {})
{
    const { Client } = await import(
        '@modelcontextprotocol/sdk/client/index.js');
    const { StreamableHTTPClientTransport } = await import(
        '@modelcontextprotocol/sdk/client/streamableHttp.js');
    const client = new Client({ name, version: '1.0.0' });

    await client.connect(new StreamableHTTPClientTransport(
        new URL(url), init(token, headers, fetch)));
    return client;
}


/* @modelcontextprotocol/client; mode: 'auto', or { pin: VERSION }. */
export async function modern(url, token, { name = 'e2e-modern', headers, fetch,
                             mode = { pin: '2026-07-28' } } = {})
{
    const { Client, StreamableHTTPClientTransport } = await import(
        '@modelcontextprotocol/client');
    const client = new Client({ name, version: '1.0.0' },
                              { versionNegotiation: { mode } });

    await client.connect(new StreamableHTTPClientTransport(
        new URL(url), init(token, headers, fetch)));
    return client;
}


/* Ends the session too, where there is one. */
export async function leave(client) {
    await client?.transport?.terminateSession?.().catch(() => {});
    await client?.close();
}


export const names = (list) => list.map((item) => item.name).sort();

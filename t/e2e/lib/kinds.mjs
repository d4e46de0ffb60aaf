/*
 * The official client of each era with the server that it talks to: what there
 * is to call, and what the client throws when it is not let in.
 */

import { ProtocolError, RegistrationRejectedError, SdkHttpError }
    from '@modelcontextprotocol/client';
import { StreamableHTTPError }
    from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ServerError }
    from '@modelcontextprotocol/sdk/server/auth/errors.js';
import { McpError } from '@modelcontextprotocol/sdk/types.js';

import { legacy, modern } from './clients.mjs';
import { eras } from './program.mjs';


/*
 * bare: connects with a token and nothing to get another with.  call, answer:
 * allowed to everybody with a role; other: to engineers only; big: needs more
 * scope.  refreshes: asks for a refresh token by itself.
 */
export const kinds = [{
    era: eras.legacy, bare: legacy,
    call: { name: 'echo', arguments: { message: 'hello' } },
    answer: 'Echo: hello', other: 'get-sum', big: 'get-tiny-image',
    refreshes: false,
    http: (error) => error instanceof StreamableHTTPError && error.code,
    rpc: (error) => error instanceof McpError && error.code,
    rejected: (error) => error instanceof ServerError
                         && /HTTP 401/.test(error.message),
}, {
    era: eras.modern, bare: modern,
    call: { name: 'search_issues', arguments: { query: 'nginx' } },
    answer: 'no issue mentions nginx', other: 'count', big: 'export_all',
    refreshes: true,
    http: (error) => error instanceof SdkHttpError && error.status,
    rpc: (error) => error instanceof ProtocolError && error.code,
    rejected: (error) => error instanceof RegistrationRejectedError
                         && error.status === 401,
}];


/* The payload of a token. */
export const claims = (token) => JSON.parse(
    Buffer.from(token.split('.')[1], 'base64url'));

/* What a tool says. */
export const text = async (client, call) =>
    (await client.callTool(call)).content[0].text;

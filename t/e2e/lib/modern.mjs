/*
 * A server of era 2026-07-28: stateless, one POST for each message.  Its
 * projects are invented; what matters is that it streams and that it can tell
 * which headers reached it.
 */

import { createServer } from 'node:http';
import { once } from 'node:events';

import { toNodeHandler } from '@modelcontextprotocol/node';
import { McpServer, createMcpHandler } from '@modelcontextprotocol/server';
import { z } from 'zod';

import { sleep } from './process.mjs';


const text = (value) => ({ content: [{ type: 'text', text: value }] });


function build(context) {
    const server = new McpServer({ name: 'projects', version: '1.0.0' });

    server.registerTool('search_issues', {
        description: 'Finds issues',
        inputSchema: z.object({ query: z.string() }),
    }, ({ query }) => text(`no issue mentions ${query}`));

    server.registerTool('delete_issue', {
        description: 'Deletes an issue',
        inputSchema: z.object({ project: z.string(), issue: z.number() }),
    }, ({ project, issue }) => text(`${project}-${issue} is gone`));

    server.registerTool('export_all', {
        description: 'Everything in one file',
        inputSchema: z.object({}),
    }, () => text('everything'));

    server.registerTool('show_headers', {
        description: 'The headers of this request as the server got them',
        inputSchema: z.object({}),
    }, () => {
        const headers = Object.fromEntries(context.requestInfo.headers);
        return text(JSON.stringify(headers));
    });

    server.registerTool('count', {
        description: 'Counts slowly and reports its progress',
        inputSchema: z.object({ steps: z.number(), ms: z.number() }),
    }, async ({ steps, ms }, { mcpReq }) => {
        const { progressToken } = mcpReq._meta ?? {};

        for (let progress = 1; progress <= steps; progress++) {
            await sleep(ms);
            if (progressToken !== undefined) {
                await mcpReq.notify({
                    method: 'notifications/progress',
                    params: { progressToken, progress, total: steps },
                });
            }
        }
        return text(`counted to ${steps}`);
    });

    server.registerPrompt('triage', { description: 'Sorts what came in' },
        () => ({ messages: [{ role: 'user',
            content: { type: 'text', text: 'Sort these issues.' } }] }));

    server.registerPrompt('blame', { description: 'Finds who did it' },
        () => ({ messages: [{ role: 'user',
            content: { type: 'text', text: 'Who did this?' } }] }));

    for (const name of ['handbook', 'salaries']) {
        const uri = `docs://projects/${name}`;
        server.registerResource(name, uri, { mimeType: 'text/plain' },
            () => ({ contents: [{ uri, text: `the ${name}` }] }));
    }

    return server;
}


export class ModernServer {
    #server;
    #handler;

    async start(port = 0) {
        this.#handler = createMcpHandler(build, { legacy: 'reject' });
        this.#server = createServer(toNodeHandler(this.#handler));
        this.#server.listen(port, '127.0.0.1');
        await once(this.#server, 'listening');
        this.port = this.#server.address().port;
        return this;
    }

    /* what the server tells its subscribers */
    get notify() {
        return this.#handler.notify;
    }

    async stop() {
        await this.#handler?.close();
        this.#server?.closeAllConnections();
        this.#server?.close();
    }
}

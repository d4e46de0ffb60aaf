/*
 * Official clients that are told to have an account connected: each in the way
 * that its era and its capabilities have for that.
 */

import assert from 'node:assert/strict';

import { UrlElicitationRequiredError as Elicitation }
    from '@modelcontextprotocol/sdk/types.js';

import { eras } from './program.mjs';


const URLS = { capabilities: { elicitation: { url: {} } } };

const within = (text) => {
    const [url] = text.match(/https:\/\/\S+/) ?? [];

    assert.ok(url, `an address in: ${text}`);
    return url;
};

const echo = { name: 'echo', arguments: { message: 'hello' } };
const search = { name: 'search_issues', arguments: { query: 'nginx' } };


const ready = (program) => program.client?.transport || program.connect();


/* A tool that fails says so in its text; anything else is an answer. */
async function tool(program, call, open) {
    let result = await program.client.callTool(call);

    if (open) {
        assert.equal(result.isError, true, 'it was asked');
        await open(within(result.content[0].text));
        result = await program.client.callTool(call);
    }
    assert.ok(!result.isError, result.content[0].text);
    return result.content[0].text;
}


/*
 * call(program, open): calls a tool, whose text it returns.  open(url): is how
 * the client shows an address to the person; undefined: it is not to be asked.
 */
export const kinds = [{
    name: '2025-11-25, opens URLs', era: eras.legacy, can: URLS,
    answer: 'Echo: hello',

    async call(program, open) {
        const work = async () => {
            await ready(program);
            return tool(program, echo);
        };

        if (open) {
            const error = await work().then(() => undefined, (e) => e);
            const [{ mode, url, elicitationId }] = error.elicitations;

            assert.ok(error instanceof Elicitation, error);
            assert.equal(error.code, -32042);
            assert.equal(mode, 'url');
            assert.ok(elicitationId);
            await open(url);
        }
        return work();
    },
}, {
    name: '2026-07-28, opens URLs', era: eras.modern, can: URLS,
    answer: 'no issue mentions nginx',

    /* the client does it all: asks, and calls again */
    async call(program, open) {
        let asked = 0;

        await ready(program);
        program.client.setRequestHandler('elicitation/create',
            async ({ params }) => {
                assert.equal(params.mode, 'url');
                asked++;
                await open(params.url);
                return { action: 'accept' };
            });

        const text = await tool(program, search);
        assert.equal(asked, open ? 1 : 0);
        return text;
    },
}, {
    name: '2026-07-28', era: eras.modern, can: { capabilities: {} },
    answer: 'no issue mentions nginx',

    async call(program, open) {
        await ready(program);
        return tool(program, search, open);
    },
}, {
    name: '2025-11-25', era: eras.legacy, can: { capabilities: {} },
    answer: 'Echo: hello',

    async call(program, open) {
        if (!program.client?.transport) {
            const error = await program.connect().then(() => undefined,
                                                       (e) => e);
            assert.equal(error.code, 403, error);
            await open(within(error.message));
            await program.connect();
            open = undefined;
        }
        return tool(program, echo, open);
    },
}];

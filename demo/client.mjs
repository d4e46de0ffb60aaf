/*
 * demo/client: one question to an MCP server by way of an official client,
 * with a token that is already there.  What was refused is printed as the
 * client says it, with the HTTP status where there is one.
 */

import { leave, legacy, modern, names } from '../t/e2e/lib/clients.mjs';


const [url, what = 'list', name, json = '{}'] = process.argv.slice(2);

function usage() {
    console.error('usage: demo/client URL '
                  + '[list | call TOOL [JSON] | prompt NAME [JSON] | read URI]');
    process.exit(2);
}


/* what a server does not have at all is no error of ours */
async function list(client, kind, ask) {
    if (client.getServerCapabilities()?.[kind]) {
        const found = names((await ask())[kind]);
        console.log(`${kind}: ${found.join(', ') || 'none'}`);
    }
}


const actions = {
    async list(client) {
        await list(client, 'tools', () => client.listTools());
        await list(client, 'prompts', () => client.listPrompts());
        await list(client, 'resources', () => client.listResources());
    },

    async call(client) {
        const result = await client.callTool(
            { name, arguments: JSON.parse(json) });

        for (const part of result.content) {
            console.log(part.text ?? JSON.stringify(part));
        }
        if (result.isError) {
            throw new Error('the tool says that this is an error');
        }
    },

    async prompt(client) {
        const result = await client.getPrompt(
            { name, arguments: JSON.parse(json) });
        console.log(JSON.stringify(result.messages, null, 2));
    },

    async read(client) {
        const { contents } = await client.readResource({ uri: name });

        for (const part of contents) {
            console.log(part.text ?? JSON.stringify(part));
        }
    },
};


if (!url || !Object.hasOwn(actions, what) || (what !== 'list' && !name)) {
    usage();
}

try {
    JSON.parse(json);
} catch (error) {
    console.error(`not JSON: ${json}`);
    process.exit(2);
}

let client;

try {
    const connect = process.env.MCP_ERA === 'legacy' ? legacy : modern;

    client = await connect(url, process.env.MCP_TOKEN,
                           { name: 'demo-client', mode: 'auto' });
    await actions[what](client);

} catch (error) {
    let what = error;

    while (!what.status && what.cause) {
        what = what.cause;
    }
    console.error(`refused: ${what.status ?? what.code ?? ''} `
                  .replace(/ +/, ' ') + error.message);
    process.exitCode = 1;
}

await leave(client).catch(() => {});

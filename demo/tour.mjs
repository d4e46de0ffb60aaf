/*
 * The tour: what two people see of one MCP server, what the server sees of
 * them, and what was recorded.  Each step is checked; the tour fails when the
 * gateway does not do what is said here.
 */

import assert from 'node:assert/strict';

import { leave, legacy, names } from '../t/e2e/lib/clients.mjs';
import { until } from '../t/e2e/lib/process.mjs';


const colour = process.stdout.isTTY && !process.env.NO_COLOR;
const paint = (code) => (text) => colour ? `\x1b[${code}m${text}\x1b[0m` : text;
const bold = paint(1), dim = paint(2), red = paint(31), green = paint(32);

const say = (text = '') => console.log(text);
const head = (text) => say(`\n${bold(text)}`);

/* enough of a token to know it by, and not enough to use it */
const short = (token) => `${token.slice(0, 12)}...`;


function fold(words, indent, width = 76) {
    const lines = [''];

    for (const word of words) {
        const last = lines.at(-1);
        if (last && indent.length + last.length + word.length + 2 > width) {
            lines.push(word);
        } else {
            lines[lines.length - 1] = last ? `${last}, ${word}` : word;
        }
    }
    return lines.map((line) => indent + line).join(',\n');
}


async function sees(person, role) {
    const tools = names((await person.client.listTools()).tools);
    const prompts = names((await person.client.listPrompts()).prompts);

    say(`  ${green(person.name)} (${role}): ${tools.length} tools, `
        + `${prompts.length} prompt${prompts.length === 1 ? '' : 's'}`);
    say(fold(tools, '      '));
    return tools;
}


async function attempt(person, name, args = {}) {
    const call = `${person.name}: ${name}(${JSON.stringify(args)})`;

    try {
        const { content } = await person.client.callTool(
            { name, arguments: args });
        const part = content[0].text ?? `[${content[0].type}]`;
        say(`  ${call}\n      ${green('allowed')}  ${part}`);
        return true;

    } catch (error) {
        say(`  ${call}\n      ${red('denied')}   ${error.message}`);
        assert.equal(error.code, -32602);
        return false;
    }
}


async function withoutToken(url) {
    const answer = await fetch(url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
    });

    say(`  HTTP ${answer.status}`);
    say(`  WWW-Authenticate: ${answer.headers.get('www-authenticate')}`);
    assert.equal(answer.status, 401);
}


function swapped({ recorder, secret, alice, bob }) {
    const seen = recorder.requests.map((request) => request.raw.join('\n'));

    for (const { token } of [alice, bob]) {
        assert.ok(!seen.some((headers) => headers.includes(token)));
    }

    const { headers } = recorder.requests.findLast(
        (request) => request.body.includes('"echo"'));
    assert.equal(headers.authorization, `Bearer ${secret}`);

    say(`  sent by bob      Authorization: Bearer ${short(bob.token)}`);
    say(`  seen upstream    Authorization: ${headers.authorization}`);
    say(dim(`  ${seen.length} requests reached the server, none with a `
            + 'caller\'s token'));
}


async function records({ nginx, recorder }) {
    const lines = await until(() => {
        const all = nginx.lines('audit.log');
        return all.some((line) => line.target === 'get-env') && all;
    }, 'the audit records');

    for (const line of lines) {
        const what = [line.method, line.target].filter(Boolean).join(' ');
        const allowed = line.decision === 'allow';
        const decision = (allowed ? green : red)(line.decision.padEnd(5));
        const why = line.rule ?? (allowed ? '' : line.reason);
        say(`  ${line.ts.slice(11, 23)}  ${(line.user ?? '-').padEnd(9)} `
            + `${(line.roles ?? ['-']).join(',').padEnd(9)} ${decision}  `
            + `${what}${dim(`  ${why}`)}`);
    }

    const denied = lines.find((line) => line.decision === 'deny'
                                        && line.target);
    assert.ok(denied);
    assert.ok(lines.length > recorder.requests.length,
              'denied requests are recorded too');

    say(dim('\n  one of them in full:\n'));
    say(JSON.stringify(denied, null, 2).replace(/^/gm, '  '));
}


export async function tour(demo) {
    const { url, alice, bob } = demo;

    head('Without a token: where to get one');
    await withoutToken(url);

    alice.client = await legacy(url, alice.token, { name: 'tour' });
    bob.client = await legacy(url, bob.token, { name: 'tour' });

    head('The same server, seen by two people');
    const aliceTools = await sees(alice, 'engineer');
    const bobTools = await sees(bob, 'support');
    assert.deepEqual(bobTools, ['echo', 'get-sum']);
    assert.ok(aliceTools.length > 8 && !aliceTools.includes('get-env'));

    head('What they may call');
    assert.ok(await attempt(bob, 'echo', { message: 'hello' }));
    assert.ok(await attempt(bob, 'get-sum', { a: 1000, b: 1 }));
    assert.ok(!await attempt(bob, 'get-sum', { a: 1001, b: 1 }));
    assert.ok(!await attempt(bob, 'get-tiny-image'));
    assert.ok(await attempt(alice, 'get-tiny-image'));
    assert.ok(!await attempt(alice, 'get-env'));

    head('Which credential the server was shown');
    swapped(demo);

    await leave(alice.client);
    await leave(bob.client);

    head('What was recorded');
    await records(demo);
}

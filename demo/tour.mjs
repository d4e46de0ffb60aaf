/*
 * The tour: what two people see of one MCP server, what the server sees of
 * them, what was recorded, and how a person connects an account.  Each step is
 * checked; the tour fails when the gateway does not do what is said here.
 */

import assert from 'node:assert/strict';

import { leave, legacy, names } from '../t/e2e/lib/clients.mjs';
import { sleep, until } from '../t/e2e/lib/process.mjs';
import { Person, text } from './person.mjs';


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


/* A client with a stream open, and when that ends. */
async function listens(url, token) {
    let ended;
    const end = new Promise((done) => { ended = done; });

    const watching = async (input, init) => {
        const answer = await fetch(input, init);

        if (init?.method !== 'GET' || !answer.ok) {
            return answer;
        }

        const [theirs, ours] = answer.body.tee();
        (async () => {
            try {
                for await (const piece of ours) { void piece; }
            } catch { /* cut off is over too */ }
            ended(performance.now());
        })();
        watching.open = true;
        return new Response(theirs, answer);
    };

    const client = await legacy(url, token, { name: 'tour', fetch: watching });
    await until(() => watching.open, 'the stream');
    return { client, end };
}


/* ms until a token is refused, of at most two seconds */
async function refused(url, token, since) {
    await until(async () => {
        const answer = await fetch(url, {
            method: 'POST',
            headers: { 'Content-Type': 'application/json',
                       Authorization: `Bearer ${token}` },
            body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
        });
        await answer.text();
        return answer.status === 401;
    }, 'the refusal', 2000);

    return Math.round(performance.now() - since);
}


async function offboarding({ url, operator, carol }) {
    const pat = operator.run('token', 'create', '--user', carol.name,
                             '--roles', 'support', '--servers', 'everything',
                             '--expires', '90d', '--label', 'laptop');

    say(`  ${green(carol.name)} has signed in, and has a token of the gateway `
        + `for her laptop: ${short(pat)}`);

    const person = { name: `${carol.name}, with that token` };
    person.client = await until(
        () => legacy(url, pat, { name: 'tour' }).catch(() => false),
        'the new token', 2000);
    assert.ok(await attempt(person, 'echo', { message: 'still here' }));
    await leave(person.client);

    const stream = await listens(url, carol.token);

    const words = ['revoke', '--user', carol.name,
                   '--reason', 'contract ended'];
    say(dim(`\n  $ mcpctl ${words.join(' ').replace(/contract.*/, '"$&"')}`));
    operator.run(...words);

    const since = performance.now();
    const [jwt, own, closed] = await Promise.all([
        refused(url, carol.token, since),
        refused(url, pat, since),
        stream.end.then((at) => Math.max(0, Math.round(at - since))),
    ]);

    say(`  her sign-in        ${red('401')} after ${jwt} ms`);
    say(`  her token          ${red('401')} after ${own} ms`);
    say(`  her open stream    ${red('closed')} after ${closed} ms`);
    assert.ok(Math.max(jwt, own, closed) < 1000);

    await stream.client.close();
}


/* What the API was shown, in order: { token, at, ...what the provider knows } */
function credentials({ api, provider }) {
    return api.requests.map(({ headers, at }) => {
        const token = headers.authorization.replace(/^Bearer /, '');
        return { token, at, ...provider.issued.get(token) };
    });
}


/* One client goes on calling, with one token, until three credentials of the
 * API have come and gone. */
async function outlives(demo) {
    const { apiUrl, bob, provider } = demo;
    const began = Date.now();
    const client = await legacy(apiUrl, bob.token, { name: 'tour' });
    let calls = 0, shown = 0;

    while (shown < 3) {
        const { content } = await client.callTool(
            { name: 'echo', arguments: { message: 'still here' } });
        assert.match(content[0].text, /still here/);
        calls++;

        const { number, token } = credentials(demo).at(-1);
        if (number > shown) {
            shown = number;
            const after = ((Date.now() - began) / 1000).toFixed(1);
            say(`  after ${after.padStart(4)} s   call ${
                String(calls).padEnd(4)} credential ${number}  ${
                short(token)}`);
        }
        await sleep(100);
    }
    await leave(client);

    for (const { at, from, until: end } of credentials(demo)) {
        assert.ok(at >= from && at < end, 'one that was good');
    }
    say(`  ${calls} calls with one token of bob's, ${shown} credentials of ${
        provider.seconds} s each: ${green('no call failed')}`);
}


/* The records of the pages and of grants since the last time, when these are
 * among them. */
async function recorded(demo, ...methods) {
    demo.shown ??= 0;

    const found = await until(() => {
        const all = demo.nginx.lines('audit.log').filter(
            ({ ev, credential }) => ev === 'connect'
                || (ev === 'credential' && credential === 'notes'));
        const next = all.slice(demo.shown);
        return methods.every((method) => next.some(
            (line) => line.method === method)) && next;
    }, `the audit records ${methods.join(', ')}`);

    for (const { method, user, decision, reason, credential, note } of found) {
        say(dim(`      audit  ${method.padEnd(19)} ${user.padEnd(6)} ${
            decision.padEnd(5)}  ${[reason, credential, note].filter(Boolean)
                .join('  ')}`));
    }
    demo.shown += found.length;
    return found;
}


/* A page with this title, and what was done to come there. */
function shown(page, title, did, status = 200) {
    const good = page.status === status && page.title === title;

    say(`  ${did}\n      ${(good && status === 200 ? green : red)(
        page.status)}  ${page.title}`);
    assert.ok(good, `instead of "${title}" (${status}), at ${
        page.url.origin}${page.url.pathname}: ${text(page.html)}`);
    return page;
}


/* What she is answered who has no account connected: the address where she can
 * do that.  ask: () -> a result of a tool, or an error of the protocol */
async function asked(what, { connectUrl }, ask) {
    const answer = await ask().then(({ content }) => content[0].text,
                                    ({ message }) => message);

    say(`  ${what}\n      ${red('asked')}    ${answer.replace(
        /(ticket=\S{6})\S*/, '$1...')}`);

    const address = answer.match(/https:\S+/)?.[0] ?? '';
    assert.ok(address.startsWith(`${connectUrl}start/notes?ticket=`),
              `no address in the answer: ${answer}`);
    return address;
}


/* What she has connected, as the page says it. */
function connection(page) {
    const card = page.html.match(/<li class="card">[^]*?<\/form>/)?.[0]
                 ?? page.html.match(/<li class="card">[^]*/)?.[0] ?? '';
    const facts = [...card.matchAll(/<dt>(.*?)<\/dt><dd>([^]*?)<\/dd>/g)];

    say(`      ${text(card.match(/<h2>.*?<\/h2>/)?.[0] ?? '')}: ${
        text(card.match(/<p class="state[^]*?<\/p>/)?.[0] ?? '')}`);
    for (const [, what, value] of facts) {
        say(dim(`        ${what.padEnd(16)} ${text(value)}`));
    }
    return text(card);
}


async function connecting(demo) {
    const { notes, notesUrl, connectUrl, server, alice, bob } = demo;
    const browser = new Person();
    const values = { login: alice.name };

    const address = await asked('alice\'s client connects', demo, () =>
        legacy(notesUrl, alice.token, { name: 'tour' }));

    let page = shown(await browser.open(address), 'The company',
                     'alice opens it in a browser');
    page = shown(await browser.press(page, 'Sign in', { values }),
                 'Connect an account', `signs in as ${alice.name}`);
    await recorded(demo, 'connect/sign_in');

    const other = new Person();
    shown(await other.press(await other.open(address), 'Sign in',
                            { values: { login: bob.name } }),
          'Not for you', 'bob opens the same address, and signs in', 403);
    const refused = await recorded(demo, 'connect/start');
    assert.equal(refused.at(-1).reason, 'connect_ticket_other');

    page = shown(await browser.press(page, 'Go on to'), 'Notes',
                 'alice goes on, to the provider');
    await recorded(demo, 'connect/start');
    page = shown(await browser.press(page, 'Sign in', { values }), 'Notes',
                 'signs in there, with her account of the notes');
    page = shown(await browser.press(page, 'Allow'), 'Connected',
                 'and allows it');
    await recorded(demo, 'connect/grant');

    say();
    const note = { message: 'my notes' };
    alice.client = await legacy(notesUrl, alice.token, { name: 'tour' });
    assert.ok(await attempt(alice, 'echo', note));

    const granted = server.requests.at(-1).headers.authorization
        .replace(/^Bearer /, '');
    assert.equal(await notes.owner(granted), alice.name,
                 'the server is shown what alice granted');
    say(dim(`      seen upstream    Bearer ${short(granted)}, of alice's `
            + `account at "${notes.title}"`));

    say();
    page = shown(await browser.open(connectUrl), 'My connections',
                 `she looks at ${connectUrl}`);
    assert.match(connection(page), /Connected.* notes\.read /);

    page = shown(await browser.press(page, 'Disconnect'), 'My connections',
                 'and presses "Disconnect"');
    assert.match(connection(page), /Not connected/);
    await until(() => notes.granted().length === 0,
                'the end of the grant at the provider');
    await recorded(demo, 'connect/disconnect', 'credential/end',
                   'credential/revoke');
    assert.equal(await notes.owner(granted), undefined,
                 'the token is over at the provider, too');

    say();
    await asked('alice: echo({"message":"my notes"})', demo, () =>
        alice.client.callTool({ name: 'echo', arguments: note }));
    await leave(alice.client);
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

    head('Somebody leaves');
    await offboarding(demo);

    head(`A credential that lives for ${demo.provider.seconds} seconds`);
    await outlives(demo);

    head('An account of one\'s own');
    await connecting(demo);
}

/*
 * All that the gateways of the soak talk to, in one process, so that it knows
 * what is true: the issuer and its keys, which change; an OAuth provider that
 * keeps books; and an MCP server that looks at each request it gets.
 *
 * What must never happen goes to wrong.jsonl; each request of the MCP server is
 * in seen.jsonl.
 */

import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';

import { DIR, ISSUER, LIFETIME, idOf, journal, now, pause, ports, signed }
    from './names.mjs';

const ROTATE = Number(process.env.SOAK_ROTATE);    /* s */

const seen = journal('seen.jsonl');
const wrongs = journal('wrong.jsonl');
const counts = { rotations: 0, refreshes: 0, reuse: 0, codes: 0, machine: 0,
                 exchanges: 0, revoked: 0 };

const wrong = (what, more) => wrongs.write({ t: now(), what, ...more });


/*
 * ---- the issuer's keys: the one before the last signs.  A new one is
 * published before it signs, as issuers do: since strangers come with kids that
 * nobody has, the set may have been fetched just now, and is not fetched again
 * for 30 s.
 */

const keys = [];
let serial = 0;

function rotate() {
    const alg = serial % 2 ? 'ES256' : 'RS256';
    const pair = alg === 'RS256'
        ? generateKeyPairSync('rsa', { modulusLength: 2048 })
        : generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const kid = `key-${++serial}`;

    keys.push({
        kid, alg, pem: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }),
        jwk: { ...pair.publicKey.export({ format: 'jwk' }), kid, alg,
               use: 'sig' },
    });
    keys.splice(0, keys.length - 3);
    counts.rotations = serial - 2;

    writeFileSync(`${DIR}/keys.new`, JSON.stringify(keys));
    renameSync(`${DIR}/keys.new`, `${DIR}/keys.json`);
}


/* ---- the provider */

const access = new Map();       /* token -> { person, kind, ends } */
const refresh = new Map();      /* token -> { person, family, used } */
const codes = new Map();
const dead = new Set();         /* families */
let person;                     /* who sits in front of the browser */

const random = (prefix) => `${prefix}-${randomBytes(16).toString('hex')}`;

function given(kind, who, family) {
    const token = random('at');

    access.set(token, { person: who, kind, ends: now() + LIFETIME, family });

    const answer = { access_token: token, token_type: 'Bearer',
                     expires_in: LIFETIME };

    if (family) {
        answer.refresh_token = random('rt');
        refresh.set(answer.refresh_token, { person: who, family });
    }

    return answer;
}


const clients = { gw: 'idp-secret-4711', 'gw:login': 'login-secret-4711' };

function clientOf(req, form) {
    const basic = /^Basic (\S+)$/.exec(req.headers.authorization ?? '');
    const [id, secret] = basic
        ? Buffer.from(basic[1], 'base64').toString().split(':')
            .map(decodeURIComponent)
        : [form.get('client_id'), form.get('client_secret')];

    return clients[id] === secret ? id : undefined;
}


function refreshed(form) {
    const r = refresh.get(form.get('refresh_token'));

    counts.refreshes++;

    if (!r || dead.has(r.family)) {
        return [400, { error: 'invalid_grant' }];
    }

    if (r.used) {
        counts.reuse++;
        wrong('a refresh token came twice', { person: r.person,
                                              after: now() - r.used });
        dead.add(r.family);
        return [400, { error: 'invalid_grant' }];
    }

    r.used = now();
    return [200, given('user', r.person, r.family)];
}


function exchanged(form) {
    const [, claims] = form.get('subject_token').split('.');
    const { sub } = JSON.parse(Buffer.from(claims, 'base64url'));

    counts.exchanges++;

    return [200, { ...given('exchange', sub), issued_token_type:
                   'urn:ietf:params:oauth:token-type:access_token' }];
}


function redeemed(form, client) {
    const code = codes.get(form.get('code'));
    const proof = createHash('sha256').update(form.get('code_verifier') ?? '')
        .digest('base64url');

    counts.codes++;

    if (!code || code.used || code.client !== client
        || code.challenge !== proof
        || code.redirect !== form.get('redirect_uri'))
    {
        wrong('a code that is not good', { person: code?.person,
                                           used: code?.used });
        return [400, { error: 'invalid_grant' }];
    }

    code.used = true;

    if (client !== 'gw:login') {
        return [200, given('user', code.person, random('family'))];
    }

    const iat = Math.floor(now());

    return [200, { access_token: random('login'), token_type: 'Bearer',
        expires_in: 60, id_token: signed(keys.at(-2), {
            iss: ISSUER, aud: client, sub: code.person, nonce: code.nonce,
            iat, exp: iat + 60 }) }];
}


async function token(req, body) {
    const form = new URLSearchParams(body);
    const client = clientOf(req, form);

    if (!client) {
        wrong('a client that does not know its secret');
        return [401, { error: 'invalid_client' }];
    }

    /* now and then it takes its time, so that a worker is killed with it */

    const luck = Math.random();

    if (luck < 0.02 && client === 'gw') {
        return [503, { error: 'temporarily_unavailable' }];
    }

    const answer = {
        refresh_token: refreshed, authorization_code: redeemed,
        'urn:ietf:params:oauth:grant-type:token-exchange': exchanged,
        client_credentials: () => (counts.machine++, [200, given('client')]),
    }[form.get('grant_type')](form, client);

    if (luck > 0.9) {
        await pause(200 + 600 * Math.random());
    }

    return answer;
}


function authorize(url, res) {
    const q = url.searchParams;
    const code = random('code');

    codes.set(code, { client: q.get('client_id'), person,
                      redirect: q.get('redirect_uri'), nonce: q.get('nonce'),
                      challenge: q.get('code_challenge') });

    const back = new URL(q.get('redirect_uri'));

    back.searchParams.set('code', code);
    back.searchParams.set('state', q.get('state'));
    res.writeHead(302, { Location: back.href }).end();
}


function revoke(body) {
    const gone = new URLSearchParams(body).get('token');
    const family = refresh.get(gone)?.family ?? access.get(gone)?.family;

    counts.revoked++;
    dead.add(family);

    return [200, {}];
}


/* ---- the MCP server */

/* whose credential this is, in the words of who() of the clients */

function whose(path, value) {
    if (path === '/bot') {
        return value === 'Bearer bot-static-4711' ? { kind: 'bot' } : undefined;
    }

    const a = access.get(/^Bearer (\S+)$/.exec(value ?? '')?.[1]);

    if (a && a.ends < now() - 1) {
        wrong('a credential that had ended', { path, late: now() - a.ends });
    }

    const kind = { '/user': 'user', '/svc': 'client', '/xch': 'exchange' }[path];

    return a?.kind === kind ? a : undefined;
}


/* Of callers' tokens nothing may be here; nothing else looks like them. */

const TOKEN = /eyJ[\w-]{8,}\.eyJ|mcp[pv]_[0-9A-Za-z]{20}/;

function look(req, path, body, message) {
    const id = idOf(/^00-(\w{32})-/.exec(req.headers.traceparent ?? '')?.[1]);
    const who = whose(path, req.headers.authorization);
    const args = message?.params?.arguments ?? {};

    if (id === undefined) {
        wrong('a request of nobody', { path, method: req.method });
    }

    if (TOKEN.test(req.url + req.rawHeaders.join('\n') + body)) {
        wrong('a caller\'s token', { id, path });
    }

    if (!who) {
        wrong('another credential', { id, path });
    } else if (who.person !== undefined && args.person !== undefined
               && who.person !== args.person)
    {
        wrong('another person\'s credential', { id, path, of: who.person,
                                                by: args.person });
    }

    if (/^no_/.test(message?.params?.name ?? '')) {
        wrong('a tool that is denied', { id, name: message.params.name });
    }

    seen.write({ id, t: now(), path });

    return who ?? {};
}


const tools = ['ok_say', 'ok_stream', 'no_delete', 'no_drop', 'ok_other']
    .map((name) => ({ name, inputSchema: { type: 'object' } }));

function reply(res, message, who) {
    const modern = message.params?._meta ? { resultType: 'complete' } : {};
    const result = {
        initialize: () => ({ protocolVersion: message.params.protocolVersion,
                             capabilities: { tools: {} },
                             serverInfo: { name: 'world', version: '1' } }),
        'tools/list': () => ({ ...modern, tools }),
        'tools/call': () => ({ ...modern, content: [ { type: 'text',
            text: JSON.stringify({ kind: who.kind, person: who.person }) } ] }),
    }[message.method]?.() ?? {};
    const text = JSON.stringify({ jsonrpc: '2.0', id: message.id, result });

    res.writeHead(200, {
        'Content-Type': 'application/json',
        'Content-Length': Buffer.byteLength(text),
        ...message.method === 'initialize'
            ? { 'Mcp-Session-Id': random('session') } : {},
    }).end(text);
}


/* a message every so many milliseconds, until there were n; then the result */

function stream(res, n, every, last) {
    let i = 0;

    res.writeHead(200, { 'Content-Type': 'text/event-stream' });

    const timer = setInterval(() => {
        if (++i > n) {
            clearInterval(timer);
            res.end(last ? `data: ${JSON.stringify(last)}\n\n` : '');
            return;
        }

        res.write(`id: ${i}\ndata: ${JSON.stringify({ jsonrpc: '2.0',
            method: 'notifications/progress',
            params: { progressToken: 1, progress: i } })}\n\n`);
    }, every);

    res.on('close', () => clearInterval(timer));
}


function mcp(req, res, path, body) {
    const message = body ? JSON.parse(body) : undefined;
    const who = look(req, path, body, message);
    const args = message?.params?.arguments ?? {};

    if (req.method === 'GET') {
        stream(res, 200, 200);

    } else if (req.method === 'DELETE' || message.id === undefined) {
        res.writeHead(req.method === 'DELETE' ? 204 : 202).end();

    } else if (message.params?.name === 'ok_stream') {
        stream(res, args.events, args.every, { jsonrpc: '2.0', id: message.id,
            result: { resultType: 'complete', content: [] } });

    } else {
        setTimeout(() => reply(res, message, who),
                   Math.random() < 0.1 ? 100 * Math.random() : 0);
    }
}


/* ---- the server */

async function answer(req, res) {
    const url = new URL(req.url, ISSUER);
    const parts = [];

    for await (const part of req) {
        parts.push(part);
    }

    const body = Buffer.concat(parts).toString();
    const json = ([status, value]) => res.writeHead(status, {
        'Content-Type': 'application/json', 'Cache-Control': 'no-store',
    }).end(JSON.stringify(value));

    switch (url.pathname) {

    case '/issuer/keys':
        return json([200, { keys: keys.map((key) => key.jwk) }]);

    case '/token':
        return json(await token(req, body));

    case '/authorize':
        return authorize(url, res);

    case '/revoke':
        return json(revoke(body));

    case '/person':
        person = body;
        return json([200, {}]);

    case '/counts':
        return json([200, counts]);

    default:
        return mcp(req, res, url.pathname, body);
    }
}


const server = createServer((req, res) => {
    answer(req, res).catch((e) => {
        if (e.code !== 'ECONNRESET') {
            wrong('an error of the world', { text: e.stack });
        }
        res.destroy();
    });
});

/* a process that is killed leaves nothing behind */

const parent = process.ppid;

setInterval(() => process.ppid === parent || process.exit(0), 1000);

process.on('SIGTERM', async () => {
    await Promise.all([seen.end(), wrongs.end()]);
    process.exit(0);
});

rotate();
rotate();
setInterval(rotate, ROTATE * 1000);

server.keepAliveTimeout = 60000;
server.listen(ports.world, '127.0.0.1', 1024);

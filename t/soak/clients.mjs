/*
 * The load: clients of both eras that call, are denied, stream, go away in the
 * middle, come with tokens that expire or are revoked, over both gateways at
 * once.  What each asked and what came of it is in asked.jsonl; the checks are
 * made at the end, by check.mjs.
 *
 * Gateway `b` has an easy life, and whatever is unexpected there is a fault.
 * Gateway `a` is reloaded, and its workers are killed.
 */

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { connect as connectH2, constants } from 'node:http2';

import { AUDIENCE, DIR, ISSUER, LEEWAY, LEGACY, MODERN, journal, now, pause,
         ports, signed, traceOf } from './names.mjs';

const UNTIL = now() + Number(process.env.SOAK_SECONDS);
const ACTORS = Number(process.env.SOAK_ACTORS);       /* for each gateway */
const IDLE = Number(process.env.SOAK_IDLE);           /* ms between two */
const BEGAN = Math.floor(now()) - 60;
const pats = JSON.parse(readFileSync(`${DIR}/pats.json`));

const asked = journal('asked.jsonl');
const needs = journal('needs.jsonl');

const people = Array.from({ length: 12 }, (_, i) => `p${i}`);
const suspects = Array.from({ length: 6 }, (_, i) => `r${i}`);

const pick = (list) => list[Math.floor(Math.random() * list.length)];
const chance = (p) => Math.random() < p;


/* ---- tokens */

const known = new Map();
let keys = [];
let looked = 0;

function signer() {
    if (now() - looked > 0.5) {
        const text = readFileSync(`${DIR}/keys.json`, 'utf8');

        if (JSON.stringify(keys) !== text) {
            keys = JSON.parse(text);
        }

        looked = now();
    }

    return { ...keys.at(-2) };
}


function token(sub, more = {}, key = signer()) {
    const iat = Math.floor(now());

    return signed(key, { iss: ISSUER, aud: AUDIENCE, sub, cid: 'soak', iat,
                         exp: iat + 25, jti: randomBytes(8).toString('hex'),
                         ...more });
}


/* As a client has one: the same for a while.  Suspects signed in long ago. */

function login(sub) {
    let t = known.get(sub);

    if (!t || t.until < now()) {
        const iat = sub.startsWith('r') ? BEGAN : Math.floor(now());

        t = { text: token(sub, { iat }), iat, until: now() + 15 };
        known.set(sub, t);
    }

    return t;
}


/* ---- one request */

let number = 0;
let odd = 0;

const agents = new Map();
const agentOf = (actor) => {
    if (!agents.has(actor)) {
        agents.set(actor, new Agent({ keepAlive: true, maxSockets: 1 }));
    }
    return agents.get(actor);
};


/*
 * o: gw, actor, path, method, headers, body, kind, who, iat; and what the
 * client does: half (of the body, then it goes), leave (ms after sending, then
 * it goes), reset (it goes by RST), cut (so many bytes of a stream, then it
 * goes).  Returns { id, status, headers, text, json, end }, where end is
 * complete, left (by us) or broken (by the gateway).
 */

function ask(o) {
    const id = ++number;
    const entry = { id, gw: o.gw, kind: o.kind, who: o.who, iat: o.iat,
                    t0: now() };
    const body = o.body === undefined || typeof o.body === 'string'
        ? o.body : JSON.stringify(o.body);
    const headers = {
        Host: 'localhost',
        Accept: 'application/json, text/event-stream',
        traceparent: `00-${traceOf(id)}-00f067aa0ba902b7-01`,
        ...body === undefined ? {} : { 'Content-Type': 'application/json',
            'Content-Length': Buffer.byteLength(body) },
        ...o.headers,
    };

    for (const name of Object.keys(headers)) {
        if (headers[name] === undefined) {
            delete headers[name];
        }
    }

    return new Promise((done) => {
        let over = false;
        let text = '';
        let res;

        const finish = (end) => {
            if (over) {
                return;
            }

            over = true;

            const r = { id, status: res?.statusCode, end, text,
                        headers: res?.headers ?? {} };

            Object.assign(entry, { t1: now(), end, status: r.status,
                                   worker: Number(r.headers['x-worker']),
                                   request: r.headers['x-request-id'] });
            r.json = parse(r);
            entry.code = r.json?.error?.code;
            r.entry = entry;
            done(r);
        };

        const req = request({
            port: ports[o.gw], host: '127.0.0.1', path: o.path, headers,
            method: o.method ?? 'POST', agent: agentOf(o.actor),
        }, (response) => {
            res = response;
            res.setEncoding('utf8');
            res.on('data', (part) => {
                text += part;
                if (o.cut !== undefined && text.length >= o.cut) {
                    leave();
                }
            });
            res.on('end', () => finish(res.complete ? 'complete' : 'broken'));
            res.on('aborted', () => finish('broken'));
            res.on('error', () => finish('broken'));
        });

        const leave = () => {
            if (o.reset) {
                req.socket?.resetAndDestroy();
            }
            finish('left');
            req.destroy();
        };

        req.setTimeout(60000, () => { finish('timeout'); req.destroy(); });
        req.on('error', () => finish('broken'));

        if (o.half) {
            req.write(body.slice(0, o.half));
            setTimeout(leave, 20);
        } else {
            req.end(body);
        }

        if (o.leave !== undefined) {
            setTimeout(leave, o.leave);
        }
    });
}


function parse(r) {
    const data = /^text\/event-stream/.test(r.headers['content-type'] ?? '')
        ? r.text.match(/^data: (.*)$/gm)?.at(-1)?.slice(6) : r.text;

    try {
        return JSON.parse(data);
    } catch {
        return undefined;
    }
}


/* writes down what was asked; what: undefined, or what was not right */

function told(r, what) {
    if (what) {
        odd++;
        r.entry.odd = what;
        r.entry.text = r.text.slice(0, 300);
    }

    asked.write(r.entry);
    return r;
}


/* ---- messages */

const meta = {
    'io.modelcontextprotocol/protocolVersion': MODERN,
    'io.modelcontextprotocol/clientCapabilities': {},
    'io.modelcontextprotocol/clientInfo': { name: 'soak', version: '1' },
};

let rpc = 0;

function modern(method, params = {}) {
    const name = params.name ?? params.uri;

    return {
        body: { jsonrpc: '2.0', id: ++rpc, method,
                params: { ...params, _meta: meta } },
        headers: { 'MCP-Protocol-Version': MODERN, 'Mcp-Method': method,
                   ...name === undefined ? {} : { 'Mcp-Name': name } },
    };
}


function legacy(method, params, session) {
    return {
        body: { jsonrpc: '2.0', id: ++rpc, method, params },
        headers: { 'MCP-Protocol-Version': LEGACY,
                   ...session ? { 'Mcp-Session-Id': session } : {} },
    };
}


/* a request of somebody, with the token as it is or as `login` has it */

async function by(actor, who, path, kind, message, o = {}) {
    const t = o.token !== undefined ? { text: o.token } : login(who);

    return ask({ ...actor, path, kind, who, iat: t.iat, ...o, body: message.body,
                 headers: { ...message.headers, ...o.headers,
                            ...t.text ? { Authorization: `Bearer ${t.text}` }
                                      : {} } });
}


const call = (name, args) => modern('tools/call', { name, arguments: args });

const whose = (r) => {
    try {
        return JSON.parse(r.json.result.content[0].text);
    } catch {
        return undefined;
    }
};

/* the outcome of a call that is to be answered by the server behind */

function served(r, kind, person) {
    const w = whose(r);

    if (r.status === 200 && w?.kind === kind && w.person === person) {
        return undefined;
    }

    if (r.status === 200 && w) {
        return `served as ${JSON.stringify(w)}`;
    }

    /* a grant that is not there: its person is sent to connect it */

    const url = /http:[^"\\\s]*ticket=[\w-]{43}/.exec(r.text)?.[0];

    if (url && kind === 'user') {
        needs.write({ person, url });
        r.entry.kind = 'connect';
        return undefined;
    }

    return `${r.end} ${r.status} ${r.json?.error?.message ?? ''}`;
}


/* ---- what clients do; each takes an actor: { gw, actor } */

const scenarios = {
    async bot(a) {
        const who = pick(people);
        const message = chance(0.5)
            ? call('ok_say', { person: who,
                               pad: 'x'.repeat(3000 * chance(0.1)) })
            : legacy('tools/call', { name: 'ok_say',
                                     arguments: { person: who } });
        const r = await by(a, who, '/bot', 'bot', message);

        told(r, served(r, 'bot'));
    },

    async user(a) {
        const who = pick(people);
        const r = await by(a, who, '/user', 'user',
                           call('ok_say', { person: who }));

        told(r, served(r, 'user', who));
    },

    async svc(a) {
        const who = pick(people);
        const r = await by(a, who, '/svc', 'svc', call('ok_say', {}));

        told(r, served(r, 'client'));
    },

    async xch(a) {
        const who = pick(people);
        const r = await by(a, who, '/xch', 'xch',
                           call('ok_say', { person: who }));

        told(r, served(r, 'exchange', who));
    },

    async pat(a) {
        const pat = pick(pats);
        const r = await by(a, pat.user, '/bot', 'pat',
                           call('ok_say', { person: pat.user }),
                           { token: pat.token });

        r.entry.iat = pat.iat;
        told(r, r.status === 401 ? undefined : served(r, 'bot'));
    },

    /* checked at the end, when it is known who was revoked when */

    async suspect(a) {
        const who = pick(suspects);
        const r = await by(a, who, '/bot', 'suspect',
                           call('ok_say', { person: who }));

        told(r, r.status === 401 ? undefined : served(r, 'bot'));
    },

    async suspectStream(a) {
        const who = pick(suspects);
        const r = await by(a, who, '/bot', 'suspectStream', call('ok_stream',
            { events: 40, every: 200 }));

        told(r, r.status === 401 || r.status === 200 ? undefined
                : `${r.end} ${r.status}`);
    },

    async denied(a) {
        const who = pick(people);
        const r = await by(a, who, pick(['/bot', '/user', '/svc', '/xch']),
                           'denied', call(pick(['no_delete', 'no_drop', 'x']),
                                          { person: who }));

        told(r, r.status === 200 && r.json?.error?.code === -32602 ? undefined
                : `${r.end} ${r.status}`);
    },

    async list(a) {
        const r = await by(a, pick(people), '/bot', 'list',
                           modern('tools/list'));
        const names = r.json?.result?.tools?.map((t) => t.name).join(' ');

        told(r, names === 'ok_say ok_stream ok_other' ? undefined
                : `${r.end} ${r.status} ${names}`);
    },

    async stranger(a) {
        const good = login(pick(people)).text;
        const bad = pick(['', good.replace(/.{40}$/, 'A'.repeat(40)), 'x.y.z',
            token('p1', { exp: Math.floor(now()) - 10 }),
            token('p1', { aud: 'https://other.example.com/' }),
            token('p1', {}, { ...signer(), kid: 'key-1000' }),
            `mcpp_${randomBytes(40).toString('hex').slice(0, 49)}`]);
        const r = await by(a, undefined, '/bot', 'stranger',
                           call('ok_say', {}), { token: bad });

        told(r, r.status === 401 ? undefined : `${r.end} ${r.status}`);
    },

    async malformed(a) {
        const text = pick(['{', '[]', '{"jsonrpc":"2.0","id":1,"id":2}',
            '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":1}']);
        const r = await by(a, pick(people), '/bot', 'malformed',
                           { body: text, headers: {} });

        told(r, r.status === 400 || r.json?.error ? undefined
                : `${r.end} ${r.status}`);
    },

    async metadata(a) {
        const r = await ask({ ...a, kind: 'metadata', method: 'GET',
            path: '/.well-known/oauth-protected-resource/soak' });

        told(r, r.status === 200 && r.json?.resource ? undefined
                : `${r.end} ${r.status}`);
    },

    /* of the older era: it has a session */

    async session(a) {
        const who = pick(people);
        let r = await by(a, who, '/bot', 'initialize', legacy('initialize',
            { protocolVersion: LEGACY, capabilities: {},
              clientInfo: { name: 'soak', version: '1' } }),
            { headers: { 'MCP-Protocol-Version': undefined } });
        const session = r.headers['mcp-session-id'];

        told(r, r.status === 200 && session ? undefined
                : `${r.end} ${r.status}`);

        if (!session) {
            return;
        }

        const note = legacy('notifications/initialized', undefined, session);

        delete note.body.id;
        r = await by(a, who, '/bot', 'notification', note);
        told(r, r.status === 202 ? undefined : `${r.end} ${r.status}`);

        for (let i = 0; i < 3; i++) {
            r = await by(a, who, '/bot', 'bot', legacy('tools/call',
                { name: 'ok_say', arguments: { person: who } }, session));
            told(r, served(r, 'bot'));
        }

        const { headers } = legacy('', {}, session);

        r = await by(a, who, '/bot', 'listen', { headers },
                     { method: 'GET', cut: 100 + 400 * Math.random(),
                       reset: chance(0.3) });
        told(r, r.status === 200 ? undefined : `${r.end} ${r.status}`);

        r = await by(a, pick(people.filter((p) => p !== who)), '/bot',
                     'foreign', legacy('tools/call', { name: 'ok_say',
                         arguments: {} }, session));
        told(r, r.status === 404 ? undefined : `${r.end} ${r.status}`);

        r = await by(a, who, '/bot', 'delete', { headers },
                     { method: 'DELETE' });
        told(r, r.status === 204 ? undefined : `${r.end} ${r.status}`);
    },

    async stream(a) {
        const n = Math.floor(10 * Math.random());
        const r = await by(a, pick(people), '/bot', 'stream',
                           call('ok_stream', { events: n, every: 50 }));
        const got = (r.text.match(/"progress":/g) ?? []).length;

        told(r, r.status === 200 && r.end === 'complete' && got === n
                && r.json?.result ? undefined : `${r.end} ${r.status} ${got}`);
    },

    async streamCut(a) {
        const r = await by(a, pick(people), '/bot', 'streamCut',
                           call('ok_stream', { events: 60, every: 50 }),
                           { cut: 1000 * Math.random(), reset: chance(0.5) });

        told(r, r.status === 200 ? undefined : `${r.end} ${r.status}`);
    },

    /* its token ends while it is open: so does it, after leeway and grace */

    async streamExpires(a) {
        const iat = Math.floor(now());
        const who = pick(people);
        const r = await by(a, who, '/bot', 'streamExpires',
                           call('ok_stream', { events: 150, every: 200 }),
                           { token: token(who, { exp: iat + 2 }) });
        const late = r.entry.t1 - (iat + 2 + LEEWAY + 1);

        told(r, r.status === 200 && !r.json?.result
                && (late > -0.1 || a.gw === 'a') && late < 3 ? undefined
                : `${r.end} ${r.status} ${late}`);
    },

    /* a token that ends: not a moment longer than exp and leeway */

    async expires(a) {
        const who = pick(people);
        const exp = Math.floor(now()) + 2;
        const text = token(who, { exp });

        while (now() < exp + LEEWAY + 1.5) {
            const r = await by(a, who, '/bot', 'expires',
                               call('ok_say', { person: who }),
                               { token: text });
            const late = r.entry.t0 - exp - LEEWAY;

            told(r, r.status === 200 && late < 1 ? served(r, 'bot')
                    : r.status === 401 && r.entry.t1 - exp - LEEWAY >= 0
                    ? undefined : `${r.end} ${r.status} ${late}`);
            await pause(150);
        }
    },

    async goes(a) {
        const who = pick(people);
        const path = pick(['/bot', '/user', '/xch']);
        const message = call('ok_say', { person: who, pad: 'x'.repeat(5000) });

        message.body = JSON.stringify(message.body);
        told(await by(a, who, path, 'goes', message, pick([
            { half: 3000, reset: chance(0.5) },
            { leave: 0, reset: chance(0.5) },
            { leave: 3 * Math.random() },
            { cut: 0, reset: true },
        ])));
    },

    http2: several,
};


/* ---- many in one connection of HTTP/2, some of which are reset */

async function several(a) {
    const client = connectH2(`http://127.0.0.1:${ports[`${a.gw}2`]}`);
    const all = [];

    client.on('error', () => {});

    for (let i = 0; i < 6; i++) {
        all.push(one(client, a, pick(people), chance(0.8), chance(0.2)));
    }

    await Promise.all(all);
    client.close();
}


function one(client, a, who, allowed, leaves) {
    const id = ++number;
    const t = login(who);
    const message = call(allowed ? 'ok_say' : 'no_drop', { person: who });
    const entry = { id, gw: a.gw, kind: 'http2', who, iat: t.iat, t0: now() };

    return new Promise((done) => {
        let text = '';
        let head = {};
        let over = false;
        let s;

        const finish = (end) => {
            if (over) {
                return;
            }

            over = true;

            const r = { text, end, headers: {}, status: head[':status'], entry };

            Object.assign(entry, { t1: now(), end, status: r.status,
                                   worker: Number(head['x-worker']) });
            r.json = parse(r);
            entry.code = r.json?.error?.code;
            told(r, end === 'left' ? undefined
                 : allowed ? served(r, 'bot')
                 : r.json?.error?.code === -32602 ? undefined
                 : `${end} ${r.status}`);
            done();
        };

        try {
            s = client.request({ ':method': 'POST', ':path': '/bot',
                'content-type': 'application/json',
                accept: 'application/json, text/event-stream',
                traceparent: `00-${traceOf(id)}-00f067aa0ba902b7-01`,
                authorization: `Bearer ${t.text}`,
                ...Object.fromEntries(Object.entries(message.headers)
                    .map(([n, v]) => [n.toLowerCase(), v])) });
        } catch {
            finish('broken');
            return;
        }

        s.setEncoding('utf8');
        s.on('response', (h) => { head = h; });
        s.on('data', (part) => { text += part; });
        s.on('end', () => finish(s.rstCode ? 'broken' : 'complete'));
        s.on('error', () => finish('broken'));
        s.on('close', () => finish('broken'));
        s.end(JSON.stringify(message.body));

        if (leaves) {
            setTimeout(() => {
                finish('left');
                s.close(constants.NGHTTP2_CANCEL);
            }, 5 * Math.random());
        }
    });
}


/* ---- the run */

const often = { bot: 30, user: 20, svc: 6, xch: 8, pat: 12, suspect: 14,
                denied: 12, list: 10, stranger: 8, malformed: 4, metadata: 2,
                session: 4, stream: 6, streamCut: 5, goes: 12, http2: 5 };
const deck = Object.entries(often).flatMap(([name, n]) => Array(n).fill(name));

async function actor(gw, n, only) {
    const a = { gw, actor: `${gw}${n}` };

    while (now() < UNTIL) {
        await scenarios[only ?? pick(deck)](a);
        await pause(IDLE * Math.random());
    }
}

const all = [];

for (const gw of ['a', 'b']) {
    for (let i = 0; i < ACTORS; i++) {
        all.push(actor(gw, i));
    }

    all.push(actor(gw, 'x', 'streamExpires'), actor(gw, 'y', 'expires'),
             actor(gw, 'z', 'suspectStream'), actor(gw, 's', 'suspectStream'));
}

await Promise.all(all);
agents.forEach((agent) => agent.destroy());
await Promise.all([asked.end(), needs.end()]);

/* what was asked, so that a journal that is not whole is noticed */

console.log(JSON.stringify({ asked: number, odd }));
process.exit(0);

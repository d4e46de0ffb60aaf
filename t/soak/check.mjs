/*
 * Compares the books of a soak: what clients asked (asked.jsonl), what the
 * server behind saw (seen.jsonl), what it found wrong (wrong.jsonl), what was
 * done meanwhile (events.jsonl), and both gateways' audits.
 *
 *     check.mjs AUDIT-OF-A AUDIT-OF-B
 *
 * Prints { checks: [ { what, bad, some } ], counts }.
 *
 * A worker that is killed takes with it what it was doing, and the record of
 * what it had just done.  So a request may be without a record, or unexpected,
 * only when its connection broke at the gateway whose workers are killed, or
 * when the worker that answered it was killed within a second.
 */

import { readFileSync } from 'node:fs';

import { entries, idOf } from './names.mjs';

const asked = entries('asked.jsonl');
const seen = entries('seen.jsonl');
const wrong = entries('wrong.jsonl');
const events = entries('events.jsonl');
const kills = events.filter((e) => e.ev === 'kill');
const reloads = events.filter((e) => e.ev === 'reload');
const revocations = events.filter((e) => e.ev === 'revocation');

const checks = [];

/* of what is bad: some, of as many kinds as there are */

function check(what, list) {
    const kinds = new Map(list.map((e) => [`${e.kind} ${e.odd} ${e.what}`, e]));

    checks.push({ what, bad: list.length,
                  some: [...kinds.values()].slice(0, 8) });
}


/* ---- records, by the request's number */

const records = new Map();
const strangers = [];

/* the record of a document has no trace id */

const byRequest = new Map(asked.map((q) => [q.request, q.id]));
const torn = [];

process.argv.slice(2).forEach((file, i) => {
    const lines = readFileSync(file, 'utf8').split('\n');

    if (lines.pop() !== '') {
        torn.push({ file, why: 'no line end' });
    }

    for (const line of lines) {
        let r;

        try {
            r = JSON.parse(line);
        } catch {
            torn.push({ file, line: line.slice(0, 200) });
            continue;
        }

        /* no requests of these clients: revocations, refreshes, the pages */

        if (['revocation', 'credential', 'connect'].includes(r.ev)) {
            continue;
        }

        const id = idOf(r.trace_id) ?? byRequest.get(r.request_id);

        if (id === undefined) {
            strangers.push({ ev: r.ev, method: r.method, reason: r.reason });
            continue;
        }

        r.gw = 'ab'[i];
        records.set(id, [...records.get(id) ?? [], r]);
    }
});

const arrived = new Map();

for (const s of seen) {
    arrived.set(s.id, [...arrived.get(s.id) ?? [], s]);
}

const byId = new Map(asked.map((q) => [q.id, q]));


/* ---- who may be without a record */

const killedWith = (q) => kills.some((k) => q.gw === k.gw
    && (k.pid === q.worker ? q.t1 > k.t - 1
                           : q.worker === null && q.t0 < k.t + 2
                             && q.t1 > k.t - 1));

/* the end of an idle connection, by a reload or a death, may cross a request */

const reloaded = (q) => reloads.some((e) => q.gw === e.gw && q.t1 > e.t
                                            && q.t0 < e.t + 8);

const excused = (q) => killedWith(q)
    || (q.end === 'broken' && q.gw === 'a' && (q.status === undefined
                                               || reloaded(q)));

const recordsOf = (q) => records.get(q.id) ?? [];
const show = (q) => ({ ...q, text: q.text?.slice(0, 200), records:
    recordsOf(q).map((r) => `${r.gw} ${r.decision} ${r.reason}`) });


check('each line of the audits is whole', torn);
check('each record is of a request that somebody made',
      strangers.filter((s) => s.ev !== 'metadata'
          || !asked.some((q) => q.kind === 'metadata' && !q.status)));
check('the server behind saw nothing that must not be', wrong);

check('an answered request has one record', asked.filter((q) =>
    q.status !== undefined && recordsOf(q).length !== 1
    && !(recordsOf(q).length === 0 && excused(q))).map(show));
check('one that was not answered has one at most', asked.filter((q) =>
    recordsOf(q).length > 1).map(show));
check('each has its record at the gateway that was asked', asked.filter((q) =>
    recordsOf(q).some((r) => r.gw !== q.gw)).map(show));
check('records of no request', [...records.keys()]
    .filter((id) => !byId.has(id)).map((id) => ({ id })));

check('what reached the server has a record that it was let through',
      seen.filter((s) => {
          const q = byId.get(s.id);
          const all = records.get(s.id) ?? [];

          return all.length === 0 ? !(q && excused(q))
                 : all.some((r) => r.decision === 'deny');
      }).map((s) => ({ ...s, asked: show(byId.get(s.id) ?? {}) })));
check('nothing is sent twice', [...arrived.values()]
    .filter((list) => list.length > 1).map((list) => list[0]));

const DENIED = ['denied', 'stranger', 'malformed', 'foreign'];

check('what is to be denied is, and stays here', asked.filter((q) =>
    DENIED.includes(q.kind) && (arrived.has(q.id)
        || recordsOf(q).some((r) => r.decision === 'allow'))).map(show));


/* ---- answers */

/* a token endpoint that is busy, and a refresh that went with its worker */

const patience = (q) => ['user', 'svc', 'xch'].includes(q.kind)
    && q.status === 503 && /^credential_(?:provider|unknown|timeout)$/.test(
        recordsOf(q)[0]?.reason);

check('each answer is as it should be', asked.filter((q) => q.odd
    && !excused(q) && !patience(q)).map(show));
check('few had to wait for a provider', asked.filter(patience).length
    > 0.05 * asked.filter((q) => q.kind === 'user').length + 20
    ? [{ n: asked.filter(patience).length }] : []);


/* ---- revocations: in force from the acknowledgement until it was lifted */

const over = [];
const open = [];
const unknown = [];
let cutByRevocation = 0;

for (const r of revocations) {
    for (const gw of ['a', 'b']) {
        const from = r.ack?.[gw];

        if (from === undefined) {
            if (gw === 'b' || !kills.some((k) => k.t > r.began - 1)) {
                unknown.push({ ...r, gw });
            }
            continue;
        }

        for (const q of asked) {
            if (q.who !== r.user || q.gw !== gw || q.iat > r.at) {
                continue;
            }

            /* what was sent just before the lift may be decided after it */

            if (q.t0 > from && (q.t1 < r.lifted || q.t0 < r.lifted - 2)
                && (arrived.has(q.id) || q.status === 200))
            {
                over.push({ ...show(q), revocation: r });
            }

            if (q.kind === 'suspectStream' && q.t0 < from && q.t1 > from
                && q.status === 200)
            {
                if (q.t1 > from + 3) {
                    open.push({ ...show(q), from });
                } else {
                    cutByRevocation++;
                }
            }
        }
    }
}

check('nobody who is revoked passes', over);
check('and nobody\'s stream goes on', open);
check('each revocation is acknowledged', unknown);


const count = (f) => asked.filter(f).length;

console.log(JSON.stringify({ checks, counts: {
    asked: asked.length, seen: seen.length,
    allowed: count((q) => recordsOf(q)[0]?.decision === 'allow'),
    denied: count((q) => recordsOf(q)[0]?.decision === 'deny'),
    aborted: count((q) => q.end === 'left'),
    broken: count((q) => q.end === 'broken'),
    revoked: count((q) => recordsOf(q)[0]?.reason === 'token_revoked'
                          || recordsOf(q)[0]?.reason === 'revoked'),
    streams: count((q) => /stream/i.test(q.kind) || q.kind === 'listen'),
    cut_by_revocation: cutByRevocation,
    cut_by_expiry: count((q) => recordsOf(q)[0]?.reason === 'token_expired'),
    revocations: revocations.length,
    without_record: count((q) => recordsOf(q).length === 0),
} }));

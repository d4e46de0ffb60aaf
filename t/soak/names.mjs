/*
 * What the soak's programs have in common: where they write, how a request's
 * number becomes its trace id, how a token is signed.
 *
 * Each request has a number; the trace id of its `traceparent` is made of it, so
 * that the audit, and the server behind the gateways, name it too.
 */

import { createPrivateKey, sign } from 'node:crypto';
import { createWriteStream, readFileSync } from 'node:fs';

export const DIR = process.env.SOAK_DIR;
export const ports = JSON.parse(process.env.SOAK_PORTS);

export const AUDIENCE = 'https://mcp.example.com/soak';
export const ISSUER = `http://127.0.0.1:${ports.world}/issuer`;
export const LEEWAY = 2;            /* s, as in the configuration */
export const LIFETIME = 25;         /* s, of a provider's access token */
export const MODERN = '2026-07-28';
export const LEGACY = '2025-11-25';

const PREFIX = '50ac0000000000000000';

export const traceOf = (id) => PREFIX + id.toString(16).padStart(12, '0');
export const idOf = (trace) => trace?.startsWith(PREFIX)
    ? parseInt(trace.slice(PREFIX.length), 16) : undefined;


/* a file of JSON lines that somebody else reads meanwhile */

export function journal(name) {
    const out = createWriteStream(`${DIR}/${name}`, { flags: 'a' });

    return {
        write: (entry) => out.write(`${JSON.stringify(entry)}\n`),
        end: () => new Promise((done) => out.end(done)),
    };
}


export function entries(name) {
    let text = '';

    try {
        text = readFileSync(`${DIR}/${name}`, 'utf8');
    } catch {
        return [];
    }

    return text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
}


const coded = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/* key: { kid, alg (RS256 or ES256), pem } */

export function signed(key, claims) {
    const text = `${coded({ alg: key.alg, kid: key.kid })}.${coded(claims)}`;
    const mac = sign('sha256', Buffer.from(text),
                     { key: key.object ??= createPrivateKey(key.pem),
                       dsaEncoding: 'ieee-p1363' });

    return `${text}.${mac.toString('base64url')}`;
}


export const now = () => Date.now() / 1000;

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/*
 * A token issuer on loopback: signs RS256 access tokens shaped like those of
 * an Okta custom authorization server, and serves its key set and discovery
 * document.  Nobody logs in here; token() is the whole authorization.
 */

import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createHash, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';


/* A certificate for 127.0.0.1 that is its own authority. */
function certificate() {
    const dir = mkdtempSync(join(tmpdir(), 'mcp-issuer-'));
    const key = join(dir, 'key.pem');
    const cert = join(dir, 'cert.pem');

    try {
        execFileSync('openssl', ['req', '-x509', '-nodes', '-days', '2',
            '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1',
            '-subj', '/CN=issuer', '-addext', 'subjectAltName=IP:127.0.0.1',
            '-keyout', key, '-out', cert], { stdio: 'ignore' });
        return { key: readFileSync(key), cert: readFileSync(cert) };

    } finally {
        rmSync(dir, { recursive: true });
    }
}


const b64 = (data) => Buffer.from(data).toString('base64url');


export class Issuer {
    #server;
    #keys = [];             /* published, newest first */

    fetches = 0;            /* of the key set */

    /* tls: https, with a certificate of its own in this.certificate */
    constructor({ path = '', tls = false } = {}) {
        this.path = path;
        this.tls = tls;
        this.addKey();
    }

    async start(port = 0) {
        const serve = (req, res) => this.#serve(req, res);

        if (this.tls) {
            const pair = certificate();
            this.certificate = pair.cert;
            this.#server = createTlsServer(pair, serve);

        } else {
            this.#server = createServer(serve);
        }

        this.#server.listen(port, '127.0.0.1');
        await once(this.#server, 'listening');
        this.port = this.#server.address().port;
        this.url = `http${this.tls ? 's' : ''}://127.0.0.1:${this.port}`
                   + this.path;
        return this;
    }

    stop() {
        this.#server?.closeAllConnections();
        this.#server?.close();
    }

    addKey() {
        const { privateKey, publicKey } = generateKeyPairSync('rsa',
                                                    { modulusLength: 2048 });
        const jwk = publicKey.export({ format: 'jwk' });
        const kid = createHash('sha256').update(jwk.n).digest('base64url')
                                        .slice(0, 16);
        const key = {
            privateKey,
            jwk: { ...jwk, kid, alg: 'RS256', use: 'sig' },
        };
        this.#keys.unshift(key);
        return key;
    }

    /* A new key takes over; the old ones are published no longer. */
    rotate() {
        this.#keys = [];
        return this.addKey();
    }

    keySet() {
        return { keys: this.#keys.map((key) => key.jwk) };
    }

    /*
     * claims override the defaults; undefined leaves one out.  key: sign with
     * another key but under the published kid; header: more header members.
     */
    token(claims, { key, header } = {}) {
        const now = Math.floor(Date.now() / 1000);
        const signer = key ?? this.#keys[0];
        const head = { kid: this.#keys[0].jwk.kid, alg: 'RS256', ...header };
        const body = {
            ver: 1, jti: `AT.${randomUUID()}`, iss: this.url,
            iat: now, exp: now + 3600,
            cid: '0oademo', scp: ['mcp.use'], ...claims,
        };
        const input = [head, body].map((part) => b64(JSON.stringify(part)))
                                  .join('.');
        return `${input}.${b64(sign('sha256', input, signer.privateKey))}`;
    }

    #serve(req, res) {
        const path = req.url.split('?')[0];
        let document;

        if (path === `${this.path}/v1/keys`) {
            this.fetches++;
            document = this.keySet();

        } else if (path === `${this.path}/.well-known/openid-configuration`) {
            document = {
                issuer: this.url,
                jwks_uri: `${this.url}/v1/keys`,
                authorization_endpoint: `${this.url}/v1/authorize`,
                token_endpoint: `${this.url}/v1/token`,
                response_types_supported: ['code'],
                code_challenge_methods_supported: ['S256'],
            };
        }

        res.writeHead(document ? 200 : 404,
                      { 'Content-Type': 'application/json' });
        res.end(JSON.stringify(document ?? { error: 'not_found' }));
    }
}

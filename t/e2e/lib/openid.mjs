/*
 * An OpenID provider: the npm package oidc-provider, over TLS, with the pages
 * that it has for development.  Ours are the people, the resources that tokens
 * may be for, and the keys.  It has no idea that a gateway exists.
 */

import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:https';

import { certificate } from './tls.mjs';

/* node 20 lacks it, and nothing else that the package needs */
URL.parse ??= (text) => {
    try {
        return new URL(text);
    } catch {
        return null;
    }
};

export const { Provider, errors } = await import('oidc-provider');


/*
 * Clients register with the scope of the gateway's first challenge, and this
 * provider holds them to that, but for scopes that only the resource has.
 */
const SCOPES = 'mcp.use mcp.export';
const REGISTERED = ['openid', 'offline_access', 'mcp.use'];

const b64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');


/* What a provider keeps, so that a new one can go on where the old one was. */
export class Adapter {
    constructor(store, model) {
        this.store = store;
        this.model = model;
    }

    key(id) {
        return `${this.model}:${id}`;
    }

    async upsert(id, payload) {
        this.store.set(this.key(id), payload);
    }

    async find(id) {
        return this.store.get(this.key(id));
    }

    async findByUid(uid) {
        return [...this.store].find(([key, value]) =>
            key.startsWith(this.key('')) && value.uid === uid)?.[1];
    }

    async consume(id) {
        (await this.find(id)).consumed = Math.floor(Date.now() / 1000);
    }

    async destroy(id) {
        this.store.delete(this.key(id));
    }

    async revokeByGrantId(grant) {
        for (const [key, { grantId }] of this.store) {
            if (grantId === grant) {
                this.store.delete(key);
            }
        }
    }
}


export class OpenId {
    #server;
    #store = new Map();
    #provider;
    #key;
    #jwk;
    #documents = new Map();

    requests = [];          /* { method, path, query, params } */
    resources = new Set();  /* for which there are tokens */
    seconds = 600;          /* the life of an access token */
    audience;               /* of all tokens; default: the resource */

    /* people: login -> groups; clients: that an administrator made */
    constructor(people, { host = 'localhost', clients = [] } = {}) {
        this.people = people;
        this.host = host;
        this.clients = clients;
    }

    async start() {
        this.#server = createServer(certificate(this.host), (req, res) =>
            this.#serve(req, res));
        this.#server.listen(0, '127.0.0.1');
        await once(this.#server, 'listening');
        this.url = `https://${this.host}:${this.#server.address().port}`;
        this.rotate();
        return this;
    }

    stop() {
        this.#server?.closeAllConnections();
        this.#server?.close();
    }

    /* A new key; the old one is published no longer. */
    rotate() {
        this.#key = generateKeyPairSync('rsa', { modulusLength: 2048 })
                        .privateKey;
        this.#jwk = { ...this.#key.export({ format: 'jwk' }), use: 'sig',
                      alg: 'RS256', kid: randomUUID() };
        this.restart();
    }

    /* strict: a registered client is held to all of its scopes. */
    restart({ strict = false } = {}) {
        this.#provider = this.#make(strict ? ['mcp.export'] : []);
    }

    /* Requests with this path, since the n-th of all. */
    seen(path, n = 0) {
        return this.requests.slice(n).filter((r) => r.path === path);
    }

    /* A client ID metadata document; returns its address. */
    publish(document) {
        const path = `/programs/${randomUUID()}`;
        const id = this.url.replace('localhost', '127.0.0.1') + path;

        this.#documents.set(path, { client_id: id, ...document });
        return id;
    }

    /* The same token with other claims, signed with this provider's key. */
    altered(token, claims, header) {
        const [head, body] = token.split('.').slice(0, 2).map((part) =>
            JSON.parse(Buffer.from(part, 'base64url')));
        const input = `${b64({ ...head, ...header })}.`
                      + b64({ ...body, ...claims });

        return `${input}.${sign('sha256', Buffer.from(input), this.#key)
                               .toString('base64url')}`;
    }

    #serve(req, res) {
        const document = this.#documents.get(req.url);

        if (document) {
            res.writeHead(200, { 'Content-Type': 'application/json' });
            res.end(JSON.stringify(document));
            return;
        }
        this.#provider.callback()(req, res);
    }

    #make(scopes) {
        const provider = new Provider(this.url, {
            adapter: (model) => new Adapter(this.#store, model),
            jwks: { keys: [this.#jwk] },
            cookies: { keys: ['not a secret'] },
            scopes: [...REGISTERED, ...scopes],
            clients: this.clients,
            claims: this.clients.length ? { profile: ['name'] } : {},
            conformIdTokenClaims: false,
            findAccount: (ctx, login) => this.people[login] && {
                accountId: login, claims: () => ({ sub: login,
                    name: login[0].toUpperCase() + login.slice(1) }) },
            extraTokenClaims: (ctx, token) => ({
                groups: this.people[token.accountId] }),
            issueRefreshToken: (ctx, client) =>
                client.grantTypeAllowed('refresh_token'),
            ttl: { AuthorizationCode: 60, Grant: 3600, IdToken: 600,
                   Interaction: 600, RefreshToken: 3600, Session: 3600 },

            /* its guard against loopback addresses is right, elsewhere */
            fetch: (url, { dispatcher, ...options }) => fetch(url, options),

            features: {
                devInteractions: { enabled: true },
                registration: { enabled: true },
                clientIdMetadataDocument: { enabled: true, ack: 'draft-02' },
                resourceIndicators: {
                    enabled: true,
                    useGrantedResource: () => true,
                    getResourceServerInfo: (ctx, resource) =>
                        this.#resource(resource),
                },
            },
        });

        provider.use(async (ctx, next) => {
            const seen = { method: ctx.method, path: ctx.path,
                           query: { ...ctx.query } };
            this.requests.push(seen);
            await next();
            seen.status = ctx.status;
            seen.params = { ...ctx.oidc?.params };
            seen.body = ctx.oidc?.body;
        });
        provider.on('server_error', (ctx, error) => { console.error(error); });
        return provider;
    }

    #resource(resource) {
        if (!this.resources.has(resource)) {
            throw new errors.InvalidTarget();
        }
        return {
            scope: SCOPES, audience: this.audience ?? resource,
            accessTokenFormat: 'jwt', accessTokenTTL: this.seconds,
            jwt: { sign: { alg: 'RS256' } },
        };
    }
}

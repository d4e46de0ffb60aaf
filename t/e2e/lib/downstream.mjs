/*
 * The provider of an API behind the gateway: the npm package oidc-provider,
 * over TLS.  It rotates refresh tokens, ends a grant when a used one comes
 * again, and exchanges tokens of one issuer (RFC 8693), which is what its own
 * extension point is for.  It has no idea that a gateway exists, either.
 *
 * Its clients, each with another way to show who it is:
 *     machine   private_key_jwt (ES256), client_credentials
 *     people    client_secret_post, what people grant
 *     broker    client_secret_basic, token exchange
 */

import { createHash, generateKeyPairSync, randomBytes, randomUUID }
    from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:https';

import { Browser } from './browser.mjs';
import { Adapter } from './openid.mjs';
import { CALLBACK } from './program.mjs';
import { certificate } from './tls.mjs';

const { Provider, errors } = await import('oidc-provider');
const { createLocalJWKSet, jwtVerify } = await import('jose');


const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';

const pair = (kind, options) => generateKeyPairSync(kind, options);
const jwk = (key, more) => ({ ...key.export({ format: 'jwk' }),
                              kid: randomUUID(), use: 'sig', ...more });


export class Downstream {
    #server;
    #store = new Map();
    #provider;

    requests = [];              /* { grant, client, status, error } */
    issued = [];                /* { grant, user, refresh } */
    revocations = [];           /* { token, client, status } */
    tokens = [];                /* all that it gave out, and codes */
    seconds = 600;              /* the life of an access token */
    resource = 'https://api.acme.example/issues';

    /* people: logins; subjects: the Issuer whose tokens are exchanged;
     * redirects: more addresses to which people come back */
    constructor(people, subjects, { host = 'localhost', redirects = [] } = {}) {
        this.people = people;
        this.subjects = subjects;
        this.host = host;
        this.redirects = redirects;

        const { privateKey, publicKey } = pair('ec',
                                               { namedCurve: 'prime256v1' });
        this.key = privateKey.export({ type: 'pkcs8', format: 'pem' });
        this.jwk = jwk(publicKey, { alg: 'ES256' });

        /* RFC 6749 2.3.1 matters to one like this */
        this.secrets = { people: `p-${randomUUID()}`,
                         broker: `b:${randomUUID()}+%/ &=` };
    }

    async start() {
        this.#server = createServer(certificate(this.host), (req, res) =>
            this.#provider.callback()(req, res));
        this.#server.listen(0, '127.0.0.1');
        await once(this.#server, 'listening');
        this.url = `https://${this.host}:${this.#server.address().port}`;
        this.#provider = this.#make();
        return this;
    }

    stop() {
        this.#server?.closeAllConnections();
        this.#server?.close();
    }

    count(grant, status) {
        return this.requests.filter((r) => r.grant === grant
            && (status === undefined || r.status === status)).length;
    }

    /* A person logs in and consents; returns the answer with the tokens. */
    async grant(login) {
        const verifier = randomBytes(32).toString('base64url');
        const page = new URL('/auth', this.url);

        page.search = new URLSearchParams({
            client_id: 'people', response_type: 'code',
            redirect_uri: CALLBACK, prompt: 'consent',
            scope: 'openid offline_access issues.read',
            resource: this.resource, code_challenge_method: 'S256',
            code_challenge: createHash('sha256').update(verifier)
                .digest('base64url'),
        });

        const end = await new Browser({ login, password: 'any' })
            .visit(page, CALLBACK);
        const code = end.searchParams.get('code');
        const answer = await fetch(`${this.url}/token`, {
            method: 'POST',
            body: new URLSearchParams({
                grant_type: 'authorization_code', code,
                redirect_uri: CALLBACK, code_verifier: verifier,
                client_id: 'people', client_secret: this.secrets.people,
                resource: this.resource,
            }),
        });
        const tokens = await answer.json();

        if (!tokens.refresh_token) {
            throw new Error(`no grant: ${JSON.stringify(tokens)}`);
        }
        this.tokens.push(code);
        return tokens;
    }

    /* The person takes back all that was granted. */
    revoke(login) {
        for (const [key, { accountId, grantId }] of this.#store) {
            if (accountId === login && (grantId || key.startsWith('Grant:'))) {
                this.#store.delete(key);
            }
        }
    }

    #make() {
        const { privateKey } = pair('rsa', { modulusLength: 2048 });
        const client = (client_id, method, grant_types, more) => ({
            client_id, grant_types, token_endpoint_auth_method: method,
            client_secret: this.secrets[client_id],
            redirect_uris: [], response_types: [], ...more,
        });
        const provider = new Provider(this.url, {
            adapter: (model) => new Adapter(this.#store, model),
            jwks: { keys: [jwk(privateKey, { alg: 'RS256' })] },
            cookies: { keys: ['not a secret'] },
            scopes: ['openid', 'offline_access', 'issues.read'],
            rotateRefreshToken: true,
            findAccount: (ctx, login) => this.people.includes(login) && {
                accountId: login, claims: () => ({ sub: login }) },
            ttl: { AuthorizationCode: 60, Grant: 3600, IdToken: 600,
                   Interaction: 600, RefreshToken: 3600, Session: 3600 },
            clientAuthMethods: ['client_secret_basic', 'client_secret_post',
                                'private_key_jwt'],
            clients: [
                client('machine', 'private_key_jwt', ['client_credentials'],
                       { jwks: { keys: [this.jwk] },
                         token_endpoint_auth_signing_alg: 'ES256' }),
                client('people', 'client_secret_post',
                       ['authorization_code', 'refresh_token'],
                       { redirect_uris: [CALLBACK, ...this.redirects],
                         response_types: ['code'],
                         application_type: 'native' }),
                client('broker', 'client_secret_basic', [EXCHANGE]),
            ],
            extraClientMetadata: { properties: [] },
            features: {
                devInteractions: { enabled: true },
                clientCredentials: { enabled: true },
                revocation: { enabled: true },
                resourceIndicators: {
                    enabled: true,
                    useGrantedResource: () => true,
                    getResourceServerInfo: (ctx, resource) =>
                        this.#info(resource),
                },
            },
        });

        provider.registerGrantType(EXCHANGE, (ctx) => this.#exchange(ctx),
            ['subject_token', 'subject_token_type', 'audience', 'scope']);

        provider.use(async (ctx, next) => {
            await next();
            if (ctx.path === '/token/revocation') {
                this.revocations.push({
                    token: ctx.oidc?.params?.token, status: ctx.status,
                    client: ctx.oidc?.entities.Client?.clientId,
                });
            }
            if (ctx.path !== '/token') {
                return;
            }
            this.requests.push({
                grant: ctx.oidc?.params?.grant_type.split(':').at(-1),
                client: ctx.oidc?.entities.Client?.clientId,
                status: ctx.status, error: ctx.body?.error_description,
            });
            if (ctx.status === 200) {
                this.issued.push({
                    grant: this.requests.at(-1).grant,
                    user: ctx.oidc?.entities.Account?.accountId,
                    refresh: ctx.body.refresh_token,
                });
            }
            this.tokens.push(ctx.body?.access_token, ctx.body?.refresh_token,
                             ctx.oidc?.params?.client_assertion);
        });
        provider.on('server_error', (ctx, error) => { console.error(error); });
        return provider;
    }

    #info(resource) {
        if (resource !== this.resource) {
            throw new errors.InvalidTarget();
        }
        return {
            scope: 'issues.read', audience: resource,
            accessTokenFormat: 'jwt', accessTokenTTL: this.seconds,
            jwt: { sign: { alg: 'RS256' } },
        };
    }

    /* The caller's token of another issuer becomes one for the API. */
    async #exchange(ctx) {
        const { client, params } = ctx.oidc;
        let subject;

        try {
            if (params.subject_token_type !== ACCESS_TOKEN) {
                throw new Error('another type');
            }
            ({ payload: subject } = await jwtVerify(params.subject_token,
                createLocalJWKSet(this.subjects.keySet()),
                { issuer: this.subjects.url }));
            if (!this.people.includes(subject.sub)) {
                throw new Error('nobody here');
            }
        } catch (error) {
            throw new errors.InvalidGrant(error.message);
        }

        const token = new this.#provider.AccessToken({
            accountId: subject.sub, client, gty: 'token-exchange',
            grantId: randomUUID(), scope: params.scope,
        });
        token.resourceServer = new this.#provider.ResourceServer(
            params.audience, this.#info(params.audience));

        ctx.body = {
            access_token: await token.save(), token_type: 'Bearer',
            expires_in: token.expiration, scope: token.scope,
            issued_token_type: ACCESS_TOKEN,
        };
    }
}

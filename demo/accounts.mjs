/*
 * Where people have accounts: the npm package oidc-provider, over TLS, with two
 * small pages, to sign in and to agree.  The demonstration has two of them: the
 * company's login, which also issues the callers' tokens, and the provider of
 * the notes, where each person grants the gateway something.  Neither knows
 * that the other exists, nor what a gateway is: it is a client to them.
 */

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:https';

import { Issuer } from '../t/e2e/lib/issuer.mjs';

/* it would like a newer node, and says so; it works with this one */
const { warn } = console;
console.warn = () => {};
const { Adapter, Provider } = await import('../t/e2e/lib/openid.mjs');
console.warn = warn;


const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

const page = (title, text, inner) => `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>${escape(title)}</title>
<style>body { font: 1rem/1.6 system-ui; max-width: 24rem; margin: 3rem auto }
input, button { font: inherit; padding: .4rem .8rem }</style>
<h1>${escape(title)}</h1><p>${escape(text)}</p>
<form method="post">${inner}</form></html>`;

const SIGN_IN = `<input name="login" aria-label="Name" autofocus required>
<button>Sign in</button>`;

const AGREE = `<button name="answer" value="yes">Allow</button>
<button name="answer" value="no">Deny</button>`;


export class Accounts {
    #server;
    #provider;
    #store = new Map();
    #signer = new Issuer();

    client = 'gateway';
    secret = randomBytes(18).toString('base64url');

    /* pair: key and certificate; asks: also whether the client may; redirect:
     * the client's URI */
    constructor(title, { people, pair, redirect, scopes = [], asks = false }) {
        Object.assign(this, { title, people, pair, redirect, scopes, asks });
    }

    async start() {
        this.#server = createServer(this.pair, (req, res) => this.#serve(req,
                                                                         res));
        this.#server.listen(0, '127.0.0.1');
        await once(this.#server, 'listening');
        this.url = `https://127.0.0.1:${this.#server.address().port}`;
        this.#signer.url = this.url;
        this.#provider = this.#make();
        return this;
    }

    stop() {
        this.#server?.closeAllConnections();
        this.#server?.close();
    }

    /* An access token, without anybody having to sign in. */
    token(claims) {
        return this.#signer.token(claims);
    }

    /* Who granted this token; undefined: it is none of ours, or is over. */
    async owner(token) {
        return (await this.#provider.AccessToken.find(token))?.accountId;
    }

    /* What is granted to the client: people, each once. */
    granted() {
        return [...this.#store].filter(([key]) => key.startsWith('Grant:'))
            .map(([, { accountId }]) => accountId);
    }

    #make() {
        const { privateKey, jwk } = this.#signer.addKey();
        const name = this.title.replace(/\W/g, '');

        return new Provider(this.url, {
            adapter: (model) => new Adapter(this.#store, model),
            jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }),
                             kid: jwk.kid, alg: 'RS256', use: 'sig' }] },

            /* cookies know no ports: two on one host */
            cookies: { keys: [this.secret], names: {
                interaction: `${name}-interaction`, resume: `${name}-resume`,
                session: `${name}-session` } },

            clients: [{
                client_id: this.client, client_secret: this.secret,
                redirect_uris: [this.redirect],
                grant_types: ['authorization_code', 'refresh_token'],
            }],
            scopes: ['openid', 'offline_access', ...this.scopes],
            findAccount: (ctx, login) => this.people.includes(login) && {
                accountId: login, claims: () => ({ sub: login }) },
            interactions: { url: (ctx, { uid }) => `/interaction/${uid}` },
            ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 86400,
                   IdToken: 600, Interaction: 600, RefreshToken: 86400,
                   Session: 3600 },
            features: { devInteractions: { enabled: false },
                        revocation: { enabled: true, allowedPolicy: (
                            ctx, client, token) =>
                            token.clientId === client.clientId } },
            renderError: (ctx, { error, error_description: why }) => {
                ctx.type = 'html';
                ctx.body = page(this.title, `${error}: ${why}`, '');
            },
        });
    }

    #serve(req, res) {
        if (!req.url.startsWith('/interaction/')) {
            this.#provider.callback()(req, res);
            return;
        }
        this.#interact(req, res).catch((error) => {
            res.writeHead(400, { 'Content-Type': 'text/plain' });
            res.end(`${error.message}\n`);
        });
    }

    async #interact(req, res) {
        const { prompt, params, session } =
            await this.#provider.interactionDetails(req, res);
        const login = prompt.name === 'login';
        const finish = (result) => this.#provider.interactionFinished(req, res,
            result, { mergeWithLastSubmission: true });

        if (req.method !== 'POST') {
            const text = login ? `One of ${this.people.join(', ')}.`
                : `${session.accountId}: may "${params.client_id}" have ${
                    params.scope} of yours?`;
            res.writeHead(200, { 'Content-Type': 'text/html' });
            res.end(page(this.title, text, login ? SIGN_IN : AGREE));
            return;
        }

        let body = '';
        for await (const piece of req) {
            body += piece;
        }

        const form = new URLSearchParams(body);
        const accountId = login ? form.get('login') : session.accountId;

        if (!this.people.includes(accountId)
            || (!login && form.get('answer') !== 'yes'))
        {
            await finish({ error: 'access_denied' });
            return;
        }

        await finish({
            ...(login && { login: { accountId } }),
            ...((!login || !this.asks) && { consent: {
                grantId: await this.#grant(accountId, params) } }),
        });
    }

    async #grant(accountId, { client_id: clientId, scope }) {
        const grant = new this.#provider.Grant({ accountId, clientId });

        grant.addOIDCScope(scope);
        return grant.save();
    }
}

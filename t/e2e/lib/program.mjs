/*
 * A client program of somebody's: the official client of one era with what
 * the program around it has to bring, a store for what OAuth leaves behind and
 * a way to show the person a page.  It keeps everything in memory and notes
 * which pages it was asked to show; what is sent where is the client's doing.
 */

import { randomUUID } from 'node:crypto';

import * as modernClient from '@modelcontextprotocol/client';
import { UnauthorizedError as LegacyUnauthorized }
    from '@modelcontextprotocol/sdk/client/auth.js';
import { Client as LegacyClient }
    from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as LegacyTransport }
    from '@modelcontextprotocol/sdk/client/streamableHttp.js';


/* Nobody listens there: the browser brings the person back by hand. */
export const CALLBACK = 'http://127.0.0.1:9/callback';


const modern = (mode) => ({
    name: 'modern',
    unauthorized: modernClient.UnauthorizedError,
    transport: (url, options) => new modernClient
        .StreamableHTTPClientTransport(new URL(url), options),
    client: (options) => new modernClient.Client(
        { name: 'e2e-login', version: '1.0.0' },
        { ...options, versionNegotiation: { mode } }),
    finish: (transport, params) => transport.finishAuth(params),
});

export const eras = {
    legacy: {
        name: 'legacy',
        unauthorized: LegacyUnauthorized,
        transport: (url, options) => new LegacyTransport(new URL(url),
                                                         options),
        client: (options) => new LegacyClient({ name: 'e2e-login',
                                                version: '1.0.0' }, options),
        /* RFC 9207's iss is not known to this one */
        finish: (transport, params) =>
            transport.finishAuth(params.get('code')),
    },

    modern: modern({ pin: '2026-07-28' }),
    auto: modern('auto'),
};


/* What an OAuthClientProvider is asked for, by either client. */
class Store {
    pages = [];             /* authorization requests, as URLs */
    #state;
    #stored = {};

    constructor({ refresh = true, metadataUrl, client } = {}) {
        this.clientMetadataUrl = metadataUrl;
        this.#stored.client = client;
        this.clientMetadata = {
            client_name: 'e2e', redirect_uris: [CALLBACK],
            response_types: ['code'], token_endpoint_auth_method: 'none',
            grant_types: ['authorization_code',
                          ...(refresh ? ['refresh_token'] : [])],
        };
    }

    get redirectUrl() {
        return CALLBACK;
    }

    state() {
        return this.#state = randomUUID();
    }

    isState(state) {
        return state === this.#state;
    }

    redirectToAuthorization(url) { this.pages.push(url); }

    clientInformation() { return this.#stored.client; }
    saveClientInformation(client) { this.#stored.client = client; }
    tokens() { return this.#stored.tokens; }
    saveTokens(tokens) { this.#stored.tokens = tokens; }
    codeVerifier() { return this.#stored.verifier; }
    saveCodeVerifier(verifier) { this.#stored.verifier = verifier; }
    discoveryState() { return this.#stored.discovery; }
    saveDiscoveryState(discovery) { this.#stored.discovery = discovery; }

    invalidateCredentials(what) {
        for (const name of what === 'all' ? Object.keys(this.#stored)
                                          : [what])
        {
            delete this.#stored[name];
        }
    }
}


export class Program {
    /*
     * of: one of eras; url: of the MCP server; browser: of the person;
     * transport: more options of the client's; can: what the client can do;
     * prepare: called with each new client
     */
    constructor(of, url, browser,
                { transport, can, prepare, ...options } = {})
    {
        this.era = of;
        this.url = url;
        this.browser = browser;
        this.options = transport;
        this.can = can;
        this.prepare = prepare;
        this.store = new Store(options);
    }

    get token() {
        return this.store.tokens()?.access_token;
    }

    get clientId() {
        return this.store.clientInformation()?.client_id;
    }

    /* Starts anew, with what is stored. */
    async connect() {
        await this.leave();
        this.transport = this.era.transport(this.url, {
            ...this.options, authProvider: this.store });
        this.client = this.era.client(this.can);
        this.prepare?.(this.client);
        await this.client.connect(this.transport);
        return this.client;
    }

    /* The person follows the page that the client asked to be shown. */
    async authorize() {
        const end = await this.browser.visit(this.store.pages.at(-1),
                                             CALLBACK);
        if (!this.store.isState(end.searchParams.get('state'))) {
            throw new Error('another state came back');
        }
        if (!end.searchParams.has('code')) {
            throw new Error(`no code: ${end.search}`);
        }
        await this.era.finish(this.transport, end.searchParams);
    }

    /* What does not work until the person has logged in; then again. */
    async interactive(work) {
        const asked = this.store.pages.length;

        try {
            await work();
        } catch (error) {
            if (!(error instanceof this.era.unauthorized)) {
                throw error;
            }
            if (this.store.pages.length !== asked + 1) {
                throw new Error('no page, or too many', { cause: error });
            }
            await this.authorize();
            return work();
        }
        throw new Error('nobody had to log in');
    }

    login() {
        return this.interactive(() => this.connect());
    }

    async leave() {
        await this.transport?.terminateSession?.().catch(() => {});
        await this.client?.close().catch(() => {});
    }
}

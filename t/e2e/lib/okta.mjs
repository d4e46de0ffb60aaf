/*
 * A stand-in for an Okta custom authorization server, over TLS: its paths, its
 * metadata, the shape of its tokens, and what it does not do.  It is a stub
 * and no provider because it must also misbehave when told to.
 *
 * What counts (docs/guides/okta.md): one audience for all tokens, whatever
 * `resource` the client asks for; no registration without an administrator's
 * token, though the metadata name an address for it; tokens without `typ`.
 */

import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:https';

import { Issuer } from './issuer.mjs';
import { certificate } from './tls.mjs';


const SCOPES = ['openid', 'profile', 'email', 'offline_access', 'mcp.use',
                'mcp.export'];

/* OAuth errors that the token endpoint answers */
class Refused extends Error {}

const random = (prefix) => prefix + randomBytes(15).toString('base64url')
    .replace(/[-_]/g, 'x');


export class Okta {
    #server;
    #issuer = new Issuer({ path: '/oauth2/default' });
    #sessions = new Map();  /* cookie -> login */
    #codes = new Map();     /* code -> what was granted */
    #refresh = new Map();   /* refresh token -> the same */

    audience = 'api://default';
    client = random('0oa'); /* an administrator made it */
    requests = [];          /* { method, path, params } */
    inserted = true;        /* RFC 8414: no older organisation has it */

    /* people: login -> groups; undefined: no such claim */
    constructor(people) {
        this.people = people;
        this.uids = Object.fromEntries(Object.keys(people).map((login) =>
            [login, random('00u')]));
    }

    async start() {
        this.#server = createServer(certificate(), (req, res) => {
            this.#serve(req, res).catch((error) => {
                console.error(error);
                res.destroy();
            });
        });
        this.#server.listen(0, '127.0.0.1');
        await once(this.#server, 'listening');
        this.domain = `https://localhost:${this.#server.address().port}`;
        this.url = `${this.domain}/oauth2/default`;
        this.#issuer.url = this.url;
        return this;
    }

    stop() {
        this.#server?.closeAllConnections();
        this.#server?.close();
    }

    /* Requests with this path below the issuer's, since the n-th of all. */
    seen(path, n = 0) {
        return this.requests.slice(n).filter((r) =>
            r.path === `/oauth2/default${path}`);
    }

    /* Another key signs from now on; both are published. */
    addKey() {
        this.#issuer.addKey();
    }

    /*
     * As Okta makes it; claims override, undefined leaves one out.  how: as
     * for Issuer.token().
     */
    accessToken(login, claims, how) {
        const now = Math.floor(Date.now() / 1000);

        return this.#issuer.token({
            aud: this.audience, cid: this.client, uid: this.uids[login],
            scp: ['mcp.use'], auth_time: now, sub: `${login}@example.com`,
            groups: this.people[login], ...claims,
        }, how);
    }

    /* Has the audience of the client; what signs it is the same. */
    idToken(login, claims) {
        return this.accessToken(login, {
            jti: `ID.${randomUUID()}`, aud: this.client, cid: undefined,
            scp: undefined, uid: undefined, sub: this.uids[login],
            amr: ['pwd'], idp: '00o1', ...claims,
        });
    }

    async #serve(req, res) {
        const url = new URL(req.url, this.domain);
        let body = '';

        for await (const piece of req) {
            body += piece;
        }
        const params = Object.fromEntries(new URLSearchParams(
            req.method === 'POST' ? body : url.search));
        const send = (status, value, headers = {}) => {
            const html = typeof value === 'string';
            res.writeHead(status, { 'Content-Type': html ? 'text/html'
                : 'application/json', ...headers });
            res.end(html ? value : JSON.stringify(value));
        };

        this.requests.push({ method: req.method, path: url.pathname, params });

        switch (`${req.method} ${url.pathname}`) {
        case 'GET /.well-known/oauth-authorization-server/oauth2/default':
            return this.inserted ? send(200, this.#metadata())
                                 : send(404, { errorCode: 'E0000022' });

        case 'GET /oauth2/default/.well-known/oauth-authorization-server':
        case 'GET /oauth2/default/.well-known/openid-configuration':
            return send(200, this.#metadata());

        case 'POST /oauth2/v1/clients':
            return send(401, { errorCode: 'E0000005', errorLink: 'E0000005',
                               errorSummary: 'Invalid session',
                               errorId: 'oae1', errorCauses: [] });

        case 'GET /oauth2/default/v1/keys':
            return send(200, this.#issuer.keySet(), { 'Cache-Control':
                'max-age=3832304, must-revalidate' });

        case 'GET /oauth2/default/v1/authorize':
            return this.#authorize(req, params, url.search, send);

        case 'POST /login':
            return this.#login(params, send);

        case 'POST /oauth2/default/v1/token':
            try {
                return send(200, this.#grant(params),
                            { 'Cache-Control': 'no-store' });
            } catch (error) {
                if (!(error instanceof Refused)) {
                    throw error;
                }
                return send(400, { error: error.message });
            }

        default:
            return send(404, { errorCode: 'E0000022' });
        }
    }

    #metadata() {
        const algorithms = ['RS256', 'RS384', 'RS512', 'ES256', 'ES384',
                            'ES512'];
        const methods = ['client_secret_basic', 'client_secret_post',
                         'client_secret_jwt', 'private_key_jwt', 'none'];

        return {
            issuer: this.url,
            authorization_endpoint: `${this.url}/v1/authorize`,
            token_endpoint: `${this.url}/v1/token`,
            userinfo_endpoint: `${this.url}/v1/userinfo`,
            registration_endpoint: `${this.domain}/oauth2/v1/clients`,
            jwks_uri: `${this.url}/v1/keys`,
            response_types_supported: ['code', 'id_token', 'code id_token'],
            response_modes_supported: ['query', 'fragment', 'form_post'],
            grant_types_supported: ['authorization_code', 'refresh_token',
                'password',
                'urn:ietf:params:oauth:grant-type:token-exchange'],
            subject_types_supported: ['public'],
            id_token_signing_alg_values_supported: ['RS256'],
            scopes_supported: SCOPES.slice(0, 4),
            token_endpoint_auth_methods_supported: methods,
            claims_supported: ['ver', 'jti', 'iss', 'aud', 'iat', 'exp',
                               'cid', 'uid', 'scp', 'sub'],
            code_challenge_methods_supported: ['S256'],
            introspection_endpoint: `${this.url}/v1/introspect`,
            introspection_endpoint_auth_methods_supported: methods,
            revocation_endpoint: `${this.url}/v1/revoke`,
            revocation_endpoint_auth_methods_supported: methods,
            end_session_endpoint: `${this.url}/v1/logout`,
            request_parameter_supported: true,
            dpop_signing_alg_values_supported: algorithms,
        };
    }

    /* `resource` is not looked at: without Okta for AI Agents nobody does */
    #authorize(req, query, search, send) {
        const back = (answer) => send(302, '', { Location:
            `${query.redirect_uri}?${new URLSearchParams({
                ...answer, state: query.state })}` });

        if (query.client_id !== this.client || query.response_type !== 'code'
            || query.code_challenge_method !== 'S256')
        {
            return send(400, 'Your request resulted in an error.');
        }
        if (!query.scope?.split(' ').every((one) => SCOPES.includes(one))) {
            return back({ error: 'invalid_scope', error_description: 'One or '
                + 'more scopes are not configured for the authorization '
                + 'server resource.' });
        }

        const login = this.#sessions.get(
            req.headers.cookie?.match(/sid=([^;]+)/)?.[1]);
        if (!login) {
            return send(200, '<form method="post" action="/login">'
                + '<input name="login"><input type="hidden" name="next" value="'
                + `${search.replaceAll('&', '&amp;')}"></form>`);
        }

        const code = randomUUID();
        this.#codes.set(code, {
            login, scopes: query.scope.split(' '),
            challenge: query.code_challenge, callback: query.redirect_uri,
        });
        return back({ code });
    }

    #login({ login, next }, send) {
        if (!(login in this.people)) {
            return send(400, 'Unable to sign in');
        }

        const sid = randomUUID();
        this.#sessions.set(sid, login);
        return send(302, '', {
            'Set-Cookie': `sid=${sid}; Path=/; Secure; HttpOnly`,
            Location: `${this.url}/v1/authorize${next}`,
        });
    }

    #grant(params) {
        let granted;

        if (params.client_id !== this.client) {
            throw new Refused('invalid_client');
        }

        if (params.grant_type === 'authorization_code') {
            granted = this.#codes.get(params.code);
            this.#codes.delete(params.code);

            const proof = createHash('sha256')
                .update(params.code_verifier ?? '').digest('base64url');
            if (granted?.challenge !== proof
                || granted.callback !== params.redirect_uri)
            {
                throw new Refused('invalid_grant');
            }

        } else {
            granted = this.#refresh.get(params.refresh_token);
            if (params.grant_type !== 'refresh_token' || !granted) {
                throw new Refused('invalid_grant');
            }
        }

        const { login, scopes } = granted;
        const answer = {
            token_type: 'Bearer', expires_in: 3600, scope: scopes.join(' '),
            access_token: this.accessToken(login, { scp: scopes }),
        };
        if (scopes.includes('offline_access')) {
            answer.refresh_token = params.refresh_token ?? randomUUID();
            this.#refresh.set(answer.refresh_token, granted);
        }
        return answer;
    }
}

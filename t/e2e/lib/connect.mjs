/*
 * What people meet when they connect an account: a gateway, the issuer where
 * they sign in, the provider where they grant, and a browser.  Issuer and
 * provider are oidc-provider, each on a name of its own.
 */

import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';

import { Browser } from './browser.mjs';
import { Chromium } from './chromium.mjs';
import { Downstream } from './downstream.mjs';
import { Gateway } from './gateway.mjs';
import { claims } from './kinds.mjs';
import { Names } from './names.mjs';
import { OpenId } from './openid.mjs';
import { Person } from './person.mjs';
import { freePort, until } from './process.mjs';
import { Program } from './program.mjs';
import { Redis } from './redis.mjs';


const random = () => randomBytes(32).toString('base64');

/* login -> groups; at the provider they are LOGIN.tracker */
const PEOPLE = {
    alice: ['mcp-eng'], bob: ['mcp-support'], carol: ['mcp-eng'],
    dave: ['mcp-eng'], eve: ['mcp-eng'], mallory: ['mcp-eng'],
};


export class Connect {
    secrets = { login: `l:${randomUUID()}+%/ &=` };
    people = [];
    programs = [];
    looked = new Set();     /* pages that were */

    async start() {
        try {
            await this.#start(await freePort());
        } catch (error) {
            await this.stop();
            throw error;
        }
        return this;
    }

    async #start(port) {
        const own = `https://gw.acme.test:${port}`;

        this.home = `${own}/connect/`;
        this.names = await new Names().start();
        this.redis = await new Redis().start();
        this.issuer = await new OpenId(PEOPLE, { host: 'login.test', clients: [{
            client_id: 'gateway', client_secret: this.secrets.login,
            redirect_uris: ['connect', 'archive'].map((page) =>
                `${own}/${page}/callback`),
        }] }).start();
        this.provider = await new Downstream(
            Object.keys(PEOPLE).map((who) => `${who}.tracker`), undefined,
            { host: 'tracker.test', redirects: [`${this.home}grant/tracker`] })
            .start();
        this.chromium = new Chromium();

        const { issuer, provider, redis } = this;
        const files = {
            'vault.keys': `one ${random()}\n`, 'session.key': `${random()}\n`,
            'login.secret': `${this.secrets.login}\n`,
            'people.secret': `${provider.secrets.people}\n`,
        };

        this.gateway = new Gateway('gw.acme.test');
        await Promise.all([this.chromium.start(),
                           this.gateway.start('connect.conf', {
            ISSUER: issuer.url, PROVIDER: provider.url, REDIS: redis.port,
            RESOURCE: provider.resource, DNS: this.names.port,
        }, files, port)]);

        for (const era of ['legacy', 'modern']) {
            issuer.resources.add(`${own}/${era}`);
        }
        await until(() => issuer.seen('/jwks').length, 'its keys', 30_000);
    }

    /* Returns what must not be in error.log. */
    async stop() {
        await Promise.all([...this.programs, ...this.people].map((one) =>
            one.leave()));
        await this.chromium?.stop();
        const complaints = await this.gateway?.stop() ?? [];
        await this.redis?.stop();
        this.provider?.stop();
        this.issuer?.stop();
        this.names?.stop();
        return complaints;
    }

    async person(login, options) {
        const one = await new Person(this, login, options).start();

        this.people.push(one);
        return one;
    }

    /* A program of hers that has its token already, of a kind of asked.mjs. */
    async program(login, { era, can }) {
        const one = new Program(era, `${this.gateway.url}/${era.name}`,
            new Browser({ login, password: 'any' }), { can });

        this.programs.push(one);
        await assert.rejects(one.connect(), era.unauthorized);
        await one.authorize();
        return one;
    }

    /* The claims of the token that a server was shown last. */
    shown(era) {
        const { headers } = this.gateway.posts(era).at(-1);
        const [, token] = headers.authorization.match(/^Bearer (\S+)$/);

        assert.ok(this.provider.tokens.includes(token), 'of the provider');
        return claims(token);
    }

    /* Records of this person's, of these events. */
    records(user, ...events) {
        return this.gateway.nginx.lines('audit.log').filter((r) =>
            r.user === user && events.includes(r.ev));
    }

    /* Steps on the pages, as "step decision reason". */
    steps(user) {
        return this.records(user, 'connect').map((r) =>
            `${r.method.split('/')[1]} ${r.decision} ${r.reason}`);
    }
}

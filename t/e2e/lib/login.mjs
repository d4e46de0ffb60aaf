/*
 * An OpenID provider, a gateway that knows no more of it than its name, and
 * the programs of three people: an engineer, one of support, and a visitor.
 */

import { Browser } from './browser.mjs';
import { Gateway } from './gateway.mjs';
import { kinds } from './kinds.mjs';
import { OpenId } from './openid.mjs';
import { freePort, until } from './process.mjs';
import { CALLBACK, Program } from './program.mjs';


export class Login {
    programs = [];

    async start() {
        const ports = [await freePort(), await freePort()];

        this.provider = await new OpenId({
            alice: ['everyone', 'mcp-eng'],
            bob: ['mcp-support'],
            eve: ['visitors'],
        }).start();

        this.gateway = await new Gateway().start('login.conf', {
            ISSUER: this.provider.url, HOST: ports[0], SLASH: ports[1] });
        this.hosts = [`https://127.0.0.1:${ports[0]}`,
                      `https://127.0.0.1:${ports[1]}/`];

        for (const resource of this.hosts.concat(kinds.map(({ era }) =>
                 this.url(era))))
        {
            this.provider.resources.add(resource);
        }

        await until(() => this.provider.seen('/jwks').length, 'its keys');
        return this;
    }

    /* Returns what must not be in error.log. */
    async stop() {
        await Promise.all(this.programs.map((program) => program.leave()));
        const complaints = await this.gateway?.stop() ?? [];
        this.provider?.stop();
        return complaints;
    }

    url(era) {
        return `${this.gateway.url}/${era.name}`;
    }

    program(login, era, options, url = this.url(era)) {
        const made = new Program(era, url,
            new Browser({ login, password: 'any' }), options);

        this.programs.push(made);
        return made;
    }

    /* The address of a program's own document, which is its client id. */
    document(refresh = true) {
        return this.provider.publish({
            client_name: 'e2e', redirect_uris: [CALLBACK],
            grant_types: ['authorization_code',
                          ...(refresh ? ['refresh_token'] : [])],
            response_types: ['code'], token_endpoint_auth_method: 'none',
        });
    }

    /* Tools of this name that the server was asked to run. */
    ran(era, name) {
        return this.gateway.posts(era).filter(({ body }) =>
            body.includes('"tools/call"') && body.includes(`"${name}"`))
            .length;
    }

    /* That no token and no code is in any log. */
    leaks() {
        const logs = ['error.log', 'audit.log'].map((name) =>
            this.gateway.nginx.read(name)).join('\n');

        return this.programs.map(({ token }) => token)
            .concat(this.provider.seen('/token').map(
                ({ params }) => params.code))
            .filter(Boolean)
            .filter((secret) => logs.includes(secret)
                || logs.includes(secret.split('.')[2] ?? secret));
    }
}

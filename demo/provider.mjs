/*
 * The provider of the demonstration's API: a token endpoint on loopback whose
 * access tokens live for a few seconds.  It takes the gateway at its word, by
 * id and secret; nobody else gets a token.
 */

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';


export class Provider {
    #server;

    issued = new Map();     /* token -> { number, from, until } in ms */
    client = 'gateway';
    secret = randomBytes(12).toString('hex');

    constructor(seconds) {
        this.seconds = seconds;
    }

    async start() {
        this.#server = createServer((req, res) => {
            let body = '';
            req.on('data', (piece) => { body += piece; });
            req.on('end', () => this.#answer(req, res, body));
        });
        this.#server.listen(0, '127.0.0.1');
        await once(this.#server, 'listening');
        this.url = `http://127.0.0.1:${this.#server.address().port}`;
        return this;
    }

    stop() {
        this.#server?.closeAllConnections();
        this.#server?.close();
    }

    #answer(req, res, body) {
        const basic = Buffer.from(`${this.client}:${this.secret}`)
            .toString('base64');
        const asked = new URLSearchParams(body).get('grant_type');
        const say = (status, json) => {
            res.writeHead(status, { 'Content-Type': 'application/json' });
            res.end(JSON.stringify(json));
        };

        if (req.headers.authorization !== `Basic ${basic}`) {
            say(401, { error: 'invalid_client' });

        } else if (asked !== 'client_credentials') {
            say(400, { error: 'unsupported_grant_type' });

        } else {
            const token = `api-${randomBytes(18).toString('base64url')}`;
            const from = Date.now();

            this.issued.set(token, {
                number: this.issued.size + 1, from,
                until: from + 1000 * this.seconds,
            });
            say(200, { access_token: token, token_type: 'Bearer',
                       expires_in: this.seconds });
        }
    }
}

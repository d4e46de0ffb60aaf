/*
 * A reverse proxy on loopback that remembers the headers of each request as
 * the upstream received them.  It stands between nginx and an MCP server, so
 * that what is asserted about the upstream's view is seen and not inferred.
 */

import { createServer, request } from 'node:http';
import { once } from 'node:events';
import { pipeline } from 'node:stream';


export class Recorder {
    #server;

    requests = [];          /* { method, url, headers, raw, body, at (ms) } */

    constructor(targetPort) {
        this.targetPort = targetPort;
    }

    async start(port = 0) {
        this.#server = createServer((req, res) => this.#forward(req, res));
        this.#server.keepAliveTimeout = 60_000;
        this.#server.listen(port, '127.0.0.1');
        await once(this.#server, 'listening');
        this.port = this.#server.address().port;
        return this;
    }

    stop() {
        this.#server?.closeAllConnections();
        this.#server?.close();
    }

    #forward(req, res) {
        const seen = {
            method: req.method, url: req.url, headers: req.headers,
            raw: req.rawHeaders, body: '', at: Date.now(),
        };
        this.requests.push(seen);

        const onward = request({
            host: '127.0.0.1', port: this.targetPort, method: req.method,
            path: req.url,
            headers: { ...req.headers, host: `127.0.0.1:${this.targetPort}` },
        });

        onward.on('response', (answer) => {
            res.writeHead(answer.statusCode, answer.rawHeaders);
            res.flushHeaders();
            pipeline(answer, res, () => {});
        });
        onward.on('error', () => {
            if (!res.headersSent) {
                res.writeHead(502);
            }
            res.end();
        });
        res.on('close', () => onward.destroy());

        req.on('data', (piece) => { seen.body += piece; });
        pipeline(req, onward, () => {});
    }
}

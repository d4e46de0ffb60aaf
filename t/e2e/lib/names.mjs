/*
 * Names that end in .test are this machine: for node at once, for nginx by a
 * name server (RFC 1035) on a loopback port.  It knows no other name.
 */

import { createSocket } from 'node:dgram';
import dns from 'node:dns';
import { once } from 'node:events';


const NXDOMAIN = 3;
const A = 1;

const { lookup } = dns;

dns.lookup = (name, options, done = options) => {
    if (!name.endsWith('.test')) {
        return lookup(name, options, done);
    }
    process.nextTick(() => options.all
        ? done(null, [{ address: '127.0.0.1', family: 4 }])
        : done(null, '127.0.0.1', 4));
};


/* Header, the question as it came, and one address or none. */
function answer(query) {
    let end = 12;
    const labels = [];

    while (query[end]) {
        labels.push(query.toString('latin1', end + 1, end + 1 + query[end]));
        end += query[end] + 1;
    }
    end++;

    const known = labels.at(-1) === 'test';
    const found = known && query.readUInt16BE(end) === A;
    const head = Buffer.from(query.subarray(0, 12));

    head.writeUInt16BE(0x8180 | (known ? 0 : NXDOMAIN), 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(found ? 1 : 0, 6);
    head.writeUInt32BE(0, 8);

    return Buffer.concat([head, query.subarray(12, end + 4), found
        ? Buffer.from([0xc0, 12, 0, A, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1])
        : Buffer.alloc(0)]);
}


export class Names {
    async start() {
        this.socket = createSocket('udp4');
        this.socket.on('message', (query, from) => {
            this.socket.send(answer(query), from.port, from.address);
        });
        this.socket.bind(0, '127.0.0.1');
        await once(this.socket, 'listening');
        this.port = this.socket.address().port;
        return this;
    }

    stop() {
        this.socket?.close();
    }
}

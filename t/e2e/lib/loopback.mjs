/*
 * Preloaded into a server that would listen on all addresses: it listens on
 * loopback instead.
 */

import { Server } from 'node:net';


const listen = Server.prototype.listen;

Server.prototype.listen = function (...args) {
    if (typeof args[0] === 'number' || typeof args[0] === 'string') {
        args[0] = { port: Number(args[0]), host: '127.0.0.1' };

    } else if (args[0] && typeof args[0] === 'object' && 'port' in args[0]) {
        args[0] = { ...args[0], host: '127.0.0.1' };
    }
    return listen.apply(this, args);
};

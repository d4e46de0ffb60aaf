/*
 * Child processes and ports.  Each child's pid goes into the file that
 * MCP_PIDS names, from which the run scripts end what is left over; children
 * also go when this process does.
 */

import { spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { once } from 'node:events';


const children = new Set();

process.on('exit', () => {
    for (const child of children) {
        child.kill('SIGTERM');
    }
});


/* A signal ends this process by way of `then`, default: at once, with 1. */
export function onSignal(then = () => process.exit(1)) {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
        process.once(signal, then);
    }
}


export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));


/* Waits until condition() gives something true; returns that. */
export async function until(condition, what, ms = 10_000) {
    const deadline = Date.now() + ms;

    for (;;) {
        const value = await condition();
        if (value) {
            return value;
        }
        if (Date.now() > deadline) {
            throw new Error(`timed out after ${ms} ms: ${what}`);
        }
        await sleep(20);
    }
}


export async function freePort() {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    server.close();
    await once(server, 'close');
    return port;
}


function accepts(port) {
    return new Promise((done) => {
        const socket = connect(port, '127.0.0.1');
        socket.once('connect', () => { socket.destroy(); done(true); });
        socket.once('error', () => done(false));
    });
}


/* A child that is ready when something listens on port. */
export async function start(command, args, { port, env, what }) {
    let output = '';
    const child = spawn(command, args, {
        env: { ...process.env, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
    });
    const keep = (piece) => { output = (output + piece).slice(-8192); };

    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', (error) => { output += error.message; });
    child.output = () => output;
    children.add(child);
    child.once('exit', () => children.delete(child));
    if (process.env.MCP_PIDS && child.pid) {
        appendFileSync(process.env.MCP_PIDS, `${child.pid}\n`);
    }

    try {
        await until(async () => {
            if (child.exitCode !== null || child.pid === undefined) {
                throw new Error(`${what} does not start:\n${output}`);
            }
            return accepts(port);
        }, `${what} on port ${port}`, 20_000);

    } catch (error) {
        child.kill('SIGKILL');
        throw error;
    }

    return child;
}


export async function stop(child, signal = 'SIGTERM') {
    if (!child || child.exitCode !== null || child.signalCode !== null) {
        return;
    }
    const gone = once(child, 'exit');
    child.kill(signal);
    const late = setTimeout(() => child.kill('SIGKILL'), 5000);
    await gone;
    clearTimeout(late);
}

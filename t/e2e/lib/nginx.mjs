/*
 * nginx with the built module, in a directory of its own.  The configuration
 * is a template: @NAME@ is replaced by a value.
 */

import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync,
         writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';

import { start, stop } from './process.mjs';


export const root = resolve(dirname(fileURLToPath(import.meta.url)),
                            '../../..');

const env = process.env;

/* MCP_TEST_*: as make sets them; under SAN the module is linked into nginx */
export const linked = Boolean(env.MCP_TEST_SAN);
export const binary = resolve(root, env.NGINX ?? env.MCP_TEST_NGINX
                                    ?? '/usr/sbin/nginx');

export const module = resolve(root, env.MODULE ?? env.MCP_TEST_MODULE
                                    ?? 'build/ngx_http_mcp_auth_module.so');


export class Nginx {
    child;

    constructor(template, values) {
        this.dir = mkdtempSync(join(tmpdir(), 'mcp-nginx-'));
        /* workers have another user when the master is root */
        chmodSync(this.dir, 0o711);
        mkdirSync(join(this.dir, 'tmp'));

        const all = { MODULE: module, DIR: this.dir, ...values };
        const text = readFileSync(template, 'utf8').replace(/@([A-Z_]+)@/g,
            (whole, name) => all[name] ?? whole);

        this.conf = join(this.dir, 'nginx.conf');
        this.port = values.PORT;
        writeFileSync(this.conf, linked ? text.replace(/^load_module .*$/m, '')
                                        : text);
    }

    async start(extra) {
        if (!linked && !existsSync(module)) {
            throw new Error(`${module} is not there: run make build first`);
        }
        /* nginx itself takes NGINX for the sockets of an upgrade */
        this.child = await start(binary, [
            '-p', this.dir, '-c', this.conf,
            '-e', join(this.dir, 'error.log'), '-g', 'daemon off;',
        ], { port: this.port, env: { ...extra, NGINX: undefined },
             what: 'nginx' });
        return this;
    }

    read(name) {
        const file = join(this.dir, name);
        return existsSync(file) ? readFileSync(file, 'utf8') : '';
    }

    /* JSON lines of a file; the last one only when it is whole. */
    lines(name) {
        return this.read(name).split('\n').slice(0, -1)
                   .map((line) => JSON.parse(line));
    }

    /* What must never be in an error log, nor come from a sanitizer. */
    complaints() {
        const text = this.read('error.log') + (this.child?.output() ?? '');
        return text.split('\n').filter((line) =>
            /\[(alert|emerg|crit)\]|Sanitizer|runtime error:/.test(line));
    }

    async stop() {
        await stop(this.child, 'SIGQUIT');
    }

    remove() {
        if (!env.MCP_KEEP) {
            rmSync(this.dir, { recursive: true, force: true });
        }
    }
}

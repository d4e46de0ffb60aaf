/*
 * Debian's Chromium, which knows the authority of t/e2e/run as it knows any
 * other, by its certificate store, and no address but this machine's.
 */

import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, rmSync }
    from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { chromium } from 'playwright-core';

import { authority } from './tls.mjs';


const PROGRAM = process.env.CHROMIUM ?? '/usr/bin/chromium';

const FLAGS = [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update',
    '--disable-sync', '--disable-dev-shm-usage',
    '--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND',
];


export class Chromium {
    async start() {
        if (!existsSync(PROGRAM)) {
            throw new Error(`${PROGRAM} is not there: run make deps`);
        }

        this.home = mkdtempSync(join(tmpdir(), 'mcp-chromium-'));
        this.#trust();
        this.browser = await chromium.launch({
            executablePath: PROGRAM, args: FLAGS, timeout: 60_000,
            env: { ...process.env, HOME: this.home },
        });
        return this;
    }

    async stop() {
        await this.browser?.close();
        if (this.home) {
            rmSync(this.home, { recursive: true, force: true, maxRetries: 5 });
        }
    }

    #trust() {
        const store = join(this.home, '.pki/nssdb');
        const certutil = (...args) => execFileSync('certutil',
            ['-d', `sql:${store}`, ...args], { stdio: 'pipe' });

        mkdirSync(store, { recursive: true });
        certutil('-N', '--empty-password');
        certutil('-A', '-n', 'end-to-end', '-t', 'C,,', '-i', authority());
    }
}

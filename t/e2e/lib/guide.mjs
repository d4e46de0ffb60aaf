/*
 * A page of the documentation, followed to the letter: what is fenced as sh is
 * run, in one shell and in order; what is fenced as nginx and begins with the
 * name of a file is put there; what is fenced as text is what the block of sh
 * before it must have printed.  There `...` stands for anything.
 *
 * What a page cannot do here, a prelude does in its place: sudo, the package
 * manager, the service.  Paths and ports are mapped by the test.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync,
         writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { binary, linked, module, root } from './nginx.mjs';
import { freePort, until } from './process.mjs';


/* Fenced blocks: { line, lang, text } */
export function blocks(page) {
    const text = readFileSync(join(root, page), 'utf8');

    return [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map((found) => ({
        line: text.slice(0, found.index).split('\n').length + 1,
        lang: found[1],
        text: found[2],
    }));
}


/* What a page promises -> what output must look like */
function expected(text) {
    const literal = text.trimEnd()
        .replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
        .replaceAll('\\.\\.\\.', '[^]*?');

    return new RegExp(`^${literal}\\s*$`);
}


/*
 * Runs a page.  map: text, lang -> text, for paths and ports; prelude: sh;
 * only: a predicate on blocks.  Returns [{ line, text, output, expected }], one
 * for each block of sh; expected is a RegExp, or null.
 */
export async function follow(page, { map = (text) => text, prelude = '',
                             env, only = () => true, ms = 60_000 } = {})
{
    const steps = [];
    let script = `${prelude}\n`;

    for (const block of blocks(page).filter(only)) {
        const text = map(block.text, block.lang);

        if (block.lang === 'sh') {
            script += `printf '\\n@@ %d\\n' ${steps.length}\n${text}`;
            steps.push({ line: block.line, text, output: '', expected: null });

        } else if (block.lang === 'text' && steps.length) {
            steps.at(-1).expected = expected(text);

        } else if (block.lang === 'nginx') {
            const [, file] = text.match(/^# (\/\S+)\n/) ?? [];

            if (file) {
                mkdirSync(dirname(file), { recursive: true });
                writeFileSync(`${file}.page`, text);
                script += `cp '${file}.page' '${file}'; rm '${file}.page'\n`;
            }
        }
    }

    const output = await shell(script, env, ms);

    for (const part of output.split(/^@@ (?=\d+$)/m).slice(1)) {
        const [, n, rest] = part.match(/^(\d+)\n([^]*)$/);
        steps[n].output = rest.replaceAll('\r', '').trimEnd();
    }

    return steps;
}


/* stdout and stderr of a script, together. */
async function shell(script, env, ms) {
    let output = '';
    const child = spawn('bash', ['-c', `exec 2>&1\n${script}`], {
        cwd: root, env: { ...process.env, ...env },
        stdio: ['ignore', 'pipe', 'inherit'],
    });
    const late = setTimeout(() => child.kill('SIGKILL'), ms);

    child.stdout.on('data', (piece) => { output += piece; });
    await once(child, 'exit');
    clearTimeout(late);
    child.stdout.destroy();

    return output;
}


/*
 * A machine for a guide: directories that stand for /etc/nginx, /var/log and
 * the home of the reader, and commands that do here what they would do there.
 */
export class Machine {
    constructor() {
        this.dir = mkdtempSync(join(tmpdir(), 'mcp-guide-'));
        chmodSync(this.dir, 0o711);
        this.port = {};
        this.replace = [['/etc/nginx', join(this.dir, 'etc')],
                        ['/var/log/nginx', join(this.dir, 'log')],
                        ['/var/log/mcp/audit.log',
                         join(this.dir, 'log/mcp_audit.log')]];

        for (const name of ['home', 'tmp', 'log', 'etc/conf.d',
                            'etc/modules-enabled'])
        {
            mkdirSync(join(this.dir, name), { recursive: true });
        }
        writeFileSync(join(this.dir, 'etc/mcp_audit.key'),
                      `${randomBytes(48).toString('base64')}\n`);
        writeFileSync(join(this.dir, 'etc/nginx.conf'), `
            ${linked ? '' : `load_module ${module};`}
            pid ${this.dir}/pid; error_log ${this.dir}/log/error.log info;
            events { }
            http {
                access_log off;
                mcp_audit ${this.dir}/log/mcp_audit.log;
                mcp_audit_key ${this.dir}/etc/mcp_audit.key;
                client_body_temp_path ${this.dir}/tmp/1;
                proxy_temp_path ${this.dir}/tmp/2;
                fastcgi_temp_path ${this.dir}/tmp/3;
                uwsgi_temp_path ${this.dir}/tmp/4;
                scgi_temp_path ${this.dir}/tmp/5;
                include ${this.dir}/etc/conf.d/*.conf;
            }`);
    }

    /* Takes free ports for those of a guide. */
    async ports(...guide) {
        for (const port of guide) {
            this.port[port] = await freePort();
            this.replace.push([`:${port}`, `:${this.port[port]}`]);
        }
    }

    map = (text) => this.replace.reduce(
        (all, [from, to]) => all.replaceAll(from, to), text);

    /* what a guide does to a whole machine is done to this one */
    get prelude() {
        return `
            sudo() { "$@"; }
            apt-get() { :; }
            make() { :; }
            ln() { :; }
            nginx() {
                env -u NGINX '${binary}' -p '${this.dir}' \\
                    -c '${this.dir}/etc/nginx.conf' \\
                    -e '${this.dir}/log/error.log' "$@"
            }
            systemctl() {
                [ "$*" = "reload nginx" ] || return 0
                if [ -s '${this.dir}/pid' ]; then
                    nginx -s reload
                else
                    nginx
                    cat '${this.dir}/pid' >> "\${MCP_PIDS:-/dev/null}"
                fi
            }`;
    }

    env() {
        return { HOME: join(this.dir, 'home'), MCP_TOKEN: undefined,
                 NGINX: undefined };
    }

    /* What must never be in an error log. */
    complaints() {
        return readFileSync(join(this.dir, 'log/error.log'), 'utf8')
            .split('\n').filter((line) => /\[(alert|emerg|crit)\]/.test(line));
    }

    async remove() {
        const pid = join(this.dir, 'pid');

        if (existsSync(pid)) {
            process.kill(Number(readFileSync(pid, 'utf8')), 'SIGTERM');
            await until(() => !existsSync(pid), 'the end of nginx');
        }
        rmSync(this.dir, { recursive: true });
    }
}


/* What was promised came out; how many times. */
export function check(steps) {
    const asserted = steps.filter(({ expected }) => expected);

    for (const { line, text, output, expected } of asserted) {
        assert.match(output, expected, `line ${line}:\n${text}`);
    }
    return asserted.length;
}

/*
 * The guides, followed as somebody does who knows nginx and not MCP: each
 * command as it stands there, each configuration, and what it says that comes
 * out.
 */

import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync,
         writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { follow } from './lib/guide.mjs';
import { binary, linked, module, root } from './lib/nginx.mjs';
import { freePort, until } from './lib/process.mjs';


const require = createRequire(import.meta.url);
const everything = join(dirname(require.resolve(
    '@modelcontextprotocol/server-everything/package.json')),
    'dist/index.js');


/*
 * A machine for a guide: directories that stand for /etc/nginx, /var/log and
 * the home of the reader, and commands that do here what they would do there.
 */
class Machine {
    constructor() {
        this.dir = mkdtempSync(join(tmpdir(), 'mcp-guide-'));
        chmodSync(this.dir, 0o711);
        for (const name of ['home', 'tmp', 'log', 'etc/conf.d',
                            'etc/modules-enabled'])
        {
            mkdirSync(join(this.dir, name), { recursive: true });
        }
        writeFileSync(join(this.dir, 'etc/nginx.conf'), `
            ${linked ? '' : `load_module ${module};`}
            pid ${this.dir}/pid; error_log ${this.dir}/log/error.log info;
            events { }
            http {
                access_log off;
                mcp_audit ${this.dir}/log/mcp_audit.log;
                client_body_temp_path ${this.dir}/tmp/1;
                proxy_temp_path ${this.dir}/tmp/2;
                fastcgi_temp_path ${this.dir}/tmp/3;
                uwsgi_temp_path ${this.dir}/tmp/4;
                scgi_temp_path ${this.dir}/tmp/5;
                include ${this.dir}/etc/conf.d/*.conf;
            }`);
    }

    async ports(...guide) {
        this.port = Object.fromEntries(await Promise.all(
            guide.map(async (port) => [port, await freePort()])));
    }

    map = (text) => Object.entries(this.port).reduce(
        (all, [from, to]) => all.replaceAll(`:${from}`, `:${to}`),
        text.replaceAll('/etc/nginx', join(this.dir, 'etc'))
            .replaceAll('/var/log/nginx', join(this.dir, 'log')));

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

    async remove() {
        const pid = join(this.dir, 'pid');

        if (existsSync(pid)) {
            process.kill(Number(readFileSync(pid, 'utf8')), 'SIGTERM');
            await until(() => !existsSync(pid), 'the end of nginx');
        }
        rmSync(this.dir, { recursive: true });
    }
}


function check(steps) {
    const asserted = steps.filter(({ expected }) => expected);

    for (const { line, text, output, expected } of asserted) {
        assert.match(output, expected, `line ${line}:\n${text}`);
    }
    return asserted.length;
}


describe('guides', () => {
    const machine = new Machine();

    before(() => machine.ports('8080', '3001'));
    after(() => machine.remove());

    test('a first server', async () => {
        const page = 'docs/guides/first-server.md';
        const loopback = pathToFileURL(join(root, 't/e2e/lib/loopback.mjs'));

        const steps = await follow(page, {
            map: machine.map, env: machine.env(),
            prelude: `${machine.prelude}
                npx() {
                    [ "$1 $2 $3" = "-y @modelcontextprotocol/server-everything \\
streamableHttp" ] || echo "npx $*"
                    echo $BASHPID >> "\${MCP_PIDS:-/dev/null}"
                    PORT=${machine.port[3001]} exec '${process.execPath}' \\
                        --import '${loopback}' '${everything}' streamableHttp
                }`,
        });

        assert.equal(check(steps), 5);
        assert.ok(!existsSync(join(machine.dir, 'etc/conf.d/mcp.conf')));
    });
});

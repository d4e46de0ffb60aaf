/*
 * The documentation, against the module: every block of configuration in it
 * passes nginx -t, and the directives that are documented are those that
 * exist.
 */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync,
         writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Issuer } from './lib/issuer.mjs';
import { binary, linked, module, root } from './lib/nginx.mjs';


const pages = ['README.md', ...readdirSync(join(root, 'docs'),
                                           { recursive: true })
    .filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)];

const read = (name) => readFileSync(join(root, name), 'utf8');

/* ```nginx blocks, each with the line that it begins at */
function blocks(page) {
    const text = read(page);
    return [...text.matchAll(/^```nginx\n(.*?)^```/gms)].map((found) => ({
        line: text.slice(0, found.index).split('\n').length + 1,
        text: found[1],
    }));
}


/* A whole configuration around a block, with what it names but lacks. */
function complete(text, dir) {
    const first = text.match(/^\s*([a-z_]+)/m)[1];
    const has = (pattern) => pattern.test(text);

    if (first === 'load_module') {
        return text.replace(/^load_module.*$/m, '');
    }

    const server = (inner) => `server { listen 127.0.0.1:1; ${inner} }`;
    let body = text;

    if (first === 'role' || first === 'allow') {
        body = `mcp_server one { resource https://mcp.acme.com/one;
                issuer okta; ${text} }`;

    } else if (has(/^location/m)) {
        const inner = text.slice(text.search(/^location/m));
        body = `${text.slice(0, text.length - inner.length)} ${server(inner)}`;
    }

    let stubs = 'upstream jira_mcp { server 127.0.0.1:2; }';

    for (const name of ['okta']) {
        if (!has(new RegExp(`mcp_issuer ${name}\\b`))) {
            stubs += `mcp_issuer ${name} { issuer https://127.0.0.1/x;
                                           jwks_file ${dir}/keys.json; }`;
        }
    }
    if (!has(/mcp_credential jira_bot/)) {
        stubs += 'mcp_credential jira_bot { value x; }';
    }
    if (!has(/mcp_server jira/)) {
        stubs += `mcp_server jira { resource https://mcp.acme.com/jira;
                  issuer okta; role * { allow tool *; } }`;
    }
    return `events { } http { ${stubs}\n${body}\n
            ${has(/mcp_auth /) ? '' : server('mcp_auth jira;')} }`;
}


describe('documentation', () => {
    let dir;

    before(async () => {
        dir = mkdtempSync(join(tmpdir(), 'mcp-docs-'));
        chmodSync(dir, 0o711);
        mkdirSync(join(dir, 'tmp'));
        writeFileSync(join(dir, 'secret'),
                      'this is as secret as it needs to be\n');
        writeFileSync(join(dir, 'keys.json'),
                      JSON.stringify(new Issuer().keySet()));
        execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048',
            '-nodes', '-subj', '/CN=mcp.acme.com', '-days', '2', '-keyout',
            join(dir, 'key.pem'), '-out', join(dir, 'cert.pem')],
            { stdio: 'ignore' });
    });

    after(() => rmSync(dir, { recursive: true }));

    /* paths, ports and names of the examples -> those of this machine */
    const local = (text) => text
        .replace(/\/(run\/secrets|etc\/nginx)\/[a-z_.-]+\.json/g,
                 join(dir, 'keys.json'))
        .replace(/\/(run\/secrets|etc\/nginx)\/[a-z_.-]+/g, join(dir, 'secret'))
        .replace(/\/var\/log\/nginx/g, dir)
        .replace(/\/etc\/ssl\/mcp\.acme\.com\.pem/, join(dir, 'cert.pem'))
        .replace(/\/etc\/ssl\/mcp\.acme\.com\.key/, join(dir, 'key.pem'))
        .replace(/listen +443/g, 'listen 127.0.0.1:1')
        .replace(/https:\/\/[a-z.-]+\.(okta|example|microsoftonline)\.com/g,
                 'https://127.0.0.1');

    for (const page of pages) {
        for (const { line, text } of blocks(page)) {
            test(`${page}:${line}`, () => {
                const conf = join(dir, 'nginx.conf');

                writeFileSync(conf, `
                    ${linked ? '' : `load_module ${module};`}
                    pid ${dir}/pid; error_log ${dir}/error.log;
                    ${local(complete(text, dir)).replace('http {', `http {
                        access_log off;
                        client_body_temp_path ${dir}/tmp/1;
                        proxy_temp_path ${dir}/tmp/2;
                        fastcgi_temp_path ${dir}/tmp/3;
                        uwsgi_temp_path ${dir}/tmp/4;
                        scgi_temp_path ${dir}/tmp/5;
                        ${/^\s*mcp_audit /m.test(text) ? ''
                          : `mcp_audit ${dir}/audit.log;`}`)}`);

                const run = spawnSync(binary,
                    ['-t', '-p', dir, '-c', conf, '-e', 'stderr'],
                    { encoding: 'utf8', timeout: 20_000,
                      env: { ...process.env, WIKI_KEY: 'k' } });
                assert.equal(run.status, 0,
                    `${run.stderr}\n${readFileSync(conf, 'utf8')}`);
            });
        }
    }

    test('every directive, and no other', () => {
        const dir = 'ngx_mcp_auth_module/nginx';
        const source = readdirSync(join(root, dir))
            .filter((name) => /^ngx_mcp_conf.*\.c$/.test(name))
            .map((name) => read(join(dir, name))).join('');
        const names = [...source.matchAll(
            /(?:ngx_mcp_limit|ngx_mcp_line|\{ ngx_string)\("([a-z_]+)"/g)]
            .map((found) => found[1]);
        const text = read('docs/directives.md');

        assert.ok(names.length > 40, `only ${names.length} found`);

        for (const name of new Set(names)) {
            assert.match(text, new RegExp(`^(\\| )?(\\[)?\`${name}\\b`
                         + `|^    Syntax:.* ${name} |^ +${name}  KIND`, 'm'),
                         `${name} is not documented`);
        }

        const documented = [...text.matchAll(/^\| \[?`([a-z_]+)[` ]/gm)]
            .map((found) => found[1]).filter((name) => name !== 'exists');
        for (const name of documented) {
            assert.ok(names.includes(name), `${name} does not exist`);
        }
    });

    test('every variable, and no other', () => {
        const source = read('ngx_mcp_auth_module/nginx/ngx_mcp_variables.c');
        const exist = [...source.matchAll(/ngx_string\("(mcp_auth_[a-z]+)"\)/g)]
            .map((found) => found[1]).sort();
        const documented = [...read('docs/directives.md').matchAll(
            /^\| `\$(mcp_auth_[a-z]+)`/gm)].map((found) => found[1]).sort();

        assert.deepEqual(documented, exist);
    });

    test('links lead somewhere', () => {
        for (const page of pages) {
            for (const [, to] of read(page).matchAll(/\]\(([^)]+)\)/g)) {
                if (!/^[a-z]+:/.test(to)) {
                    const [path, anchor] = to.split('#');
                    const target = path
                        ? join(page, '..', path) : page;
                    const text = read(target);
                    const anchors = [...text.matchAll(/^#+ (.*)$/gm)].map(
                        ([, head]) => head.toLowerCase()
                            .replace(/[^a-z0-9 _-]/g, '').replace(/ /g, '-'));
                    assert.ok(!anchor || anchors.includes(anchor),
                              `${page}: ${to}`);
                }
            }
        }
    });
});

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

import { blocks } from './lib/guide.mjs';
import { Issuer } from './lib/issuer.mjs';
import { binary, linked, module, root } from './lib/nginx.mjs';


const pages = ['README.md', ...readdirSync(join(root, 'docs'),
                                           { recursive: true })
    .filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)];

const read = (name) => readFileSync(join(root, name), 'utf8');

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

    const stubs = [];
    const lacks = (kind, pattern, stub) => {
        for (const [, names] of body.matchAll(pattern)) {
            for (const name of names.trim().split(/\s+/)) {
                const known = new RegExp(`\\b${kind} +${name} *\\{`);
                if (!known.test(body + stubs.join(''))) {
                    stubs.push(stub(name));
                }
            }
        }
    };

    lacks('upstream', /proxy_pass +https?:\/\/([a-z_]+)[/;]/g, (name) =>
        `upstream ${name} { server 127.0.0.1:2; }`);
    lacks('mcp_credential', /^\s*credential +(\w+);/gm, (name) =>
        `mcp_credential ${name} { value x; }`);
    lacks('mcp_server', /mcp_auth +(?!off)(\w+);/g, (name) =>
        `mcp_server ${name} { resource https://mcp.acme.com/${name};
         issuer okta; role * { allow tool *; } }`);
    lacks('mcp_issuer', /^\s*issuer +((?:\w+ *)+);/gm, (name) =>
        `mcp_issuer ${name} { issuer https://127.0.0.1/${name};
         jwks_file ${dir}/keys.json; }`);
    if (!/mcp_auth /.test(body)) {
        body += server('mcp_auth any;');
        stubs.push(`mcp_server any { resource https://mcp.acme.com/any;
            issuer any; role * { allow tool *; } }
            mcp_issuer any { issuer https://127.0.0.1/any;
                             jwks_file ${dir}/keys.json; }`);
    }
    if (/issuer okta/.test(stubs.join('')) && !/mcp_issuer okta/.test(
        body + stubs.join('')))
    {
        stubs.push(`mcp_issuer okta { issuer https://127.0.0.1/okta;
                                      jwks_file ${dir}/keys.json; }`);
    }
    return `events { } http { ${stubs.join('\n')}\n${body} }`;
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
        writeFileSync(join(dir, 'mime.types'), 'types { text/plain txt; }');
        writeFileSync(join(dir, 'okta.conf'), `mcp_issuer okta {
            issuer https://127.0.0.1/okta; jwks_file ${dir}/keys.json;
            role engineer mcp-eng; role support mcp-support; }`);
        execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048',
            '-nodes', '-subj', '/CN=mcp.acme.com', '-days', '2', '-keyout',
            join(dir, 'key.pem'), '-out', join(dir, 'cert.pem')],
            { stdio: 'ignore' });
    });

    after(() => rmSync(dir, { recursive: true }));

    /* paths, ports and names of the examples -> those of this machine */
    const local = (text) => text
        .replace(/\/etc\/nginx\/(mime\.types|okta\.conf)/g, `${dir}/$1`)
        .replace(/\/(run\/secrets|etc\/nginx)\/[a-z_.-]+\.json/g,
                 join(dir, 'keys.json'))
        .replace(/\/(run\/secrets|etc\/nginx)\/[a-z_.-]+/g, join(dir, 'secret'))
        .replace(/\/var\/log\/(nginx|mcp)/g, dir)
        .replace(/\/etc\/ssl\/mcp\.acme\.com\.pem/g, join(dir, 'cert.pem'))
        .replace(/\/etc\/ssl\/mcp\.acme\.com\.key/g, join(dir, 'key.pem'))
        .replace(/listen +(443|80)\b/g, 'listen 127.0.0.1:$1')
        .replace(/listen +(\d{4})\b/g, 'listen 127.0.0.1:$1')
        .replace(/https:\/\/[a-z.-]+\.(okta|example|microsoftonline)\.com/g,
                 'https://127.0.0.1');

    for (const page of pages) {
        for (const { line, text } of blocks(page).filter(
            ({ lang }) => lang === 'nginx'))
        {
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

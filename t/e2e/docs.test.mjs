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
    if (first === 'http') {
        return complete(text.replace(/^http \{\n([^]*)^\}$/m, '$1'), dir);
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
        const all = body + stubs.join('\n');

        for (const [, names] of all.matchAll(pattern)) {
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

    /* what people granted is connected on the gateway's pages, which then are
     * there, unless each names a page of the operator's */

    const people = body.split(/^mcp_credential/m).some((part) =>
        /^\s*type +user;/m.test(part) && !part.includes('connect_url'));

    if (people && !has(/mcp_connect /)) {
        body += server(`location /connect/ { mcp_connect login=okta
                        url=https://gw.acme.com/connect/; }`);
    }
    if (/mcp_connect /.test(body)
        || has(/^\s*type +(client_credentials|token_exchange|user);/m))
    {
        stubs.push(...[['mcp_vault_keys', `${dir}/vault.keys;`],
                       ['mcp_redis', '{ server 127.0.0.1:3; }'],
                       ['mcp_session_key', `${dir}/secret;`],
                       ['ssl_certificate', `${dir}/cert.pem;`],
                       ['ssl_certificate_key', `${dir}/key.pem;`]]
            .filter(([name]) => !new RegExp(`\\b${name}\\b`).test(body))
            .map(([name, value]) => `${name} ${value}`));
    }
    if (!/mcp_auth /.test(body)) {
        body += server('mcp_auth any;');
    }
    lacks('mcp_server', /mcp_auth +(?!off)(\w+);/g, (name) =>
        `mcp_server ${name} { resource https://mcp.acme.com/${name};
         issuer okta; role * { allow tool *; } }`);
    lacks('mcp_issuer', /\b(?:issuer +|login=)((?:\w+ *)+)(?=;| url=)/gm,
          (name) => `mcp_issuer ${name} { issuer https://127.0.0.1/${name};
                     jwks_file ${dir}/keys.json; client_id a;
                     client_secret b; }`);

    return `events { } http { ${stubs.join('\n')}\n${body} }`;
}


/* The rows of tables of directives: { name, value }, value: the default */
function rows() {
    return read('docs/directives.md').split(/^(?=\| directive \| default)/m)
        .slice(1).flatMap((table) => table.split('\n\n')[0].split('\n'))
        .filter((line) => /^\| \[?`/.test(line))
        .map((line) => line.replaceAll('\\|', '/').split('|'))
        .map(([, name, value]) => ({ name: name.match(/[a-z_]+/)[0],
                                     value: value.trim() }));
}


describe('documentation', () => {
    let dir;

    before(async () => {
        dir = mkdtempSync(join(tmpdir(), 'mcp-docs-'));
        chmodSync(dir, 0o711);
        mkdirSync(join(dir, 'tmp'));
        writeFileSync(join(dir, 'secret'),
                      'this is as secret as it needs to be\n');
        writeFileSync(join(dir, 'vault.keys'),
                      `one ${Buffer.alloc(32, 'k').toString('base64')}\n`);
        writeFileSync(join(dir, 'mcp_tokens'), 'end\n');
        writeFileSync(join(dir, 'mcp_revocations'), 'end\n');
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
        .replace(/\/etc\/nginx\/mcp_vault\.keys/g, join(dir, 'vault.keys'))
        .replace(/\/(run\/secrets|etc\/nginx)\/[a-z_.-]+\.pem/g,
                 join(dir, 'key.pem'))
        .replace(/\/(run\/secrets|etc\/nginx)\/[a-z_.-]+/g, join(dir, 'secret'))
        .replace(/\/var\/(log|lib)\/(nginx|mcp)/g, dir)
        .replace(/\/etc\/ssl\/(mcp|gw)\.acme\.com\.pem/g, join(dir, 'cert.pem'))
        .replace(/\/etc\/ssl\/(mcp|gw)\.acme\.com\.key/g, join(dir, 'key.pem'))
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

    test('other blocks are what they are called', () => {
        let shells = 0;

        for (const page of pages) {
            const fences = read(page).match(/^```/gm) ?? [];
            const all = blocks(page);

            assert.equal(fences.length, 2 * all.length, page);
            for (const { line, lang, text } of all) {
                const where = `${page}:${line}`;

                /* drawings and formats in internals/ need no language */
                assert.match(lang, page.includes('/internals/')
                    ? /^\w*$/ : /^(nginx|sh|json|yaml|toml|ini|conf|text|)$/, where);
                if (lang !== 'nginx') {
                    assert.doesNotMatch(text, /^\s*mcp_[a-z]+ .*[;{]/m, where);
                }
                if (lang === 'sh') {
                    const run = spawnSync('bash', ['-n'], { input: text,
                                                            encoding: 'utf8' });
                    assert.equal(run.stderr, '', where);
                    shells++;
                }
                if (lang === 'json') {
                    JSON.parse(text);
                }
            }
        }
        assert.ok(shells > 20);
    });

    test('every directive, and no other', () => {
        const dir = 'ngx_mcp_auth_module/nginx';
        const source = readdirSync(join(root, dir))
            .filter((name) => /^ngx_mcp_conf.*\.c$/.test(name))
            .map((name) => read(join(dir, name))).join('');
        const names = [...source.matchAll(
            /(?:ngx_mcp_(?:limit|line|credential_take1)|\{ ngx_string)\("([a-z_]+)"/g)]
            .map((found) => found[1]);
        const text = read('docs/directives.md');

        assert.ok(names.length > 40, `only ${names.length} found`);

        /* a row may have several: `client_id TEXT`, `client_secret TEXT` */
        const inRows = new Set(text.split('\n')
            .filter((line) => /^\| \[?`/.test(line))
            .map((line) => line.replaceAll('\\|', '/').split('|')[1])
            .flatMap((cell) => [...cell.matchAll(/`([a-z_]+)\b/g)])
            .map(([, name]) => name));

        for (const name of names.filter((one) => !inRows.has(one))) {
            assert.match(text, new RegExp(`^(\\[)?\`${name}\\b`
                         + `|^    Syntax:.* ${name} |^ +${name}  KIND`, 'm'),
                         `${name} is not documented`);
        }

        const documented = [...text.matchAll(/^\| \[?`([a-z_]+)[` ]/gm)]
            .map((found) => found[1]).filter((name) => name !== 'exists');
        for (const name of documented) {
            assert.ok(names.includes(name), `${name} does not exist`);
        }
    });

    test('defaults are those of the source', () => {
        const dir = 'ngx_mcp_auth_module/nginx';
        const source = readdirSync(join(root, dir))
            .filter((name) => /\.[ch]$/.test(name))
            .map((name) => read(join(dir, name))).join('');
        const [, table] = read('docs/directives.md')
            .match(/([^]*)^## Variables/m);

        const units = { k: 1024, m: 1024 * 1024, s: 1, min: 60, h: 3600,
                        d: 86400 };
        const documented = (text) => {
            const [, n, unit] = text.match(/^(\d+)(k|m|s|h|d)?$/) ?? [];
            return n && Number(n) * (unit ? units[unit] : 1);
        };

        /* 16 * 1024, or the name of a constant that is such */
        const number = (text) => {
            const of = text.trim();
            const [, constant] = source.match(new RegExp(`#define +${of} +`
                + '\\(?([0-9* ]+?)\\)? *(?:/\\*.*)?$', 'm')) ?? [];
            const product = constant ?? of;
            return /^[0-9* ]+$/.test(product)
                ? product.split('*').reduce((a, n) => a * Number(n), 1) : NaN;
        };

        /* ngx_conf_merge_..., ngx_conf_init_..., or an if that says so */
        const coded = (member) => {
            const m = `(?:\\w+(?:->|\\.))*${member}`;
            const forms = [
                `ngx_conf_merge_(\\w+)_value\\(${m},\\s*${m},\\s*([^)]+)\\)`,
                `ngx_conf_init_(\\w+?_)?value\\(${m},\\s*([^)]+)\\)`,
                `if \\(${m} == (NGX_CONF_UNSET\\w*|0)\\) \\{\\s*`
                + `${m} = ([^;]+);`,
            ];
            for (const form of forms) {
                const [, kind, value] = source.match(new RegExp(form)) ?? [];
                if (value) {
                    return number(value) / (/msec/.test(kind ?? '') ? 1000 : 1);
                }
            }
            return undefined;
        };

        let compared = 0;

        for (const { name, value } of rows()) {
            const wanted = documented(value.replaceAll('`', ''));

            if (wanted !== undefined) {
                /* mcp_token_failures: or token_failures, or failures */
                const words = name.split('_');
                const names = { mcp_zone: ['zone_size'] }[name]
                    ?? words.map((word, i) => words.slice(i).join('_'));

                assert.equal(names.map(coded).find((n) => n !== undefined),
                             wanted, name);
                compared++;
            }
        }
        assert.ok(compared >= 16, `only ${compared} compared`);

        /* a section says what the table says */
        for (const [, name, value] of table.matchAll(
            /^ {4}Default: +(mcp_[a-z_]+) (\S+);$/gm))
        {
            assert.ok(table.includes(`| [\`${name}\`](#${name})`), name);
            assert.match(table, new RegExp(
                `^\\| \\[\`${name}\`\\].*\\| \`${value}\` \\|`, 'm'));
        }
    });

    test('default lists are those of the source', () => {
        const source = read('ngx_mcp_auth_module/nginx/ngx_mcp_conf_finish.c');
        const table = read('docs/directives.md');
        const row = (name) => table.match(new RegExp(
            `^\\| \`${name}[^|]*\\| \`([^\`]*)\` \\|`, 'm'))[1];

        for (const name of ['user', 'client', 'scope']) {
            const [, list] = source.match(new RegExp(
                `mcp_str_t +${name}\\[\\] = \\{([^}]*)\\}`));
            assert.equal(row(`${name}_claim`),
                [...list.matchAll(/"(\w+)"/g)].map(([, word]) => word)
                    .join(' '));
        }

        const [, algs] = source.match(/jwt\.algs == 0\) \{\s*\S+ = ([^;]+);/);
        assert.equal(row('algorithms'),
                     algs.replaceAll('MCP_ALG_', '').replaceAll('|', ' '));
        const [, roles] = source.match(/roles_claim, "(\w+)"/);
        assert.equal(row('roles_claim'), roles);
    });

    test('each directive in a table has its default', () => {
        assert.ok(rows().length > 40);
        for (const { name, value } of rows()) {
            assert.ok(value, `${name}: no default`);
        }
    });

    test('reasons that troubleshooting names', () => {
        const reasons = [...read('ngx_mcp_auth_module/core/mcp_reason.c')
            .matchAll(/^ {4}"([a-z_]+)",$/gm)].map(([, word]) => word);
        const page = read('docs/guides/troubleshooting.md');
        let named = 0;

        for (const table of page.match(/^\| reason \|[^]*?\n\n/gm)) {
            for (const [, cell] of table.matchAll(/^\| ([^|]*) \|/gm)) {
                for (const [, word] of cell.matchAll(/`([a-z_]+)`/g)) {
                    assert.ok(reasons.includes(word), word);
                    named++;
                }
            }
        }
        assert.ok(named > 30, `only ${named}`);
    });

    /* what a page of mcp_connect can say, and no other word */
    test('reasons that the guide to connecting accounts explains', () => {
        const known = [...read('ngx_mcp_auth_module/core/mcp_reason.c')
            .matchAll(/^ {4}"([a-z_]+)",$/gm)].map(([, word]) => word);
        const dir = 'ngx_mcp_auth_module/nginx';
        const source = readdirSync(join(root, dir))
            .filter((name) => /^ngx_mcp_connect.*\.c$/.test(name))
            .map((name) => read(join(dir, name)))
            .concat(['mcp_id_token.c', 'mcp_jwt.c'].map((name) =>
                read(join('ngx_mcp_auth_module/core', name))))
            .join('');
        const said = new Set([...source.matchAll(/"([a-z_]+)"/g)]
            .map(([, word]) => word)
            .filter((word) => known.includes(word)
                && !['allow', 'credential', 'disconnected', 'scope',
                     'origin', 'sub'].includes(word)));

        const [, table] = read('docs/guides/connect.md')
            .match(/^\| reason \| the page says[^\n]*\n([^]*?)\n\n/m);
        const explained = [...table.matchAll(/^\| ([^|]*) \|/gm)]
            .flatMap(([, cell]) => [...cell.matchAll(/`([a-z_*]+)`/g)])
            .map(([, word]) => word);

        assert.ok(said.size > 20, `only ${[...said]}`);
        for (const word of said) {
            assert.ok(explained.some((one) => one.endsWith('*')
                ? word.startsWith(one.slice(0, -1)) : word === one),
                `${word} is not explained`);
        }
        for (const word of explained.filter((one) => !one.endsWith('*'))) {
            assert.ok(known.includes(word), `${word} does not exist`);
        }
        for (const word of known.filter((one) => /^connect_/.test(one))) {
            assert.ok(explained.includes(word), `${word} is not explained`);
        }
    });

    /* a test is named as it stands in its file: a literal, or a function */
    test('every test that the security page names exists', () => {
        const page = read('docs/security.md');
        const [promised] = page.match(/^## Against [^]*?^## Not promised/m);
        let named = 0;

        for (const row of promised.match(/^\| (?!promised |---).*$/gm)) {
            const [, what, tests] = row.match(/^\| (.*) \| (.*) \|$/) ?? [];

            assert.match(tests ?? '', /^(`t\/[^`]+`( "[^"]+")?(, |$))+$/, row);

            for (const [, file, name] of tests.matchAll(
                /`(t\/[^`]+)`(?: "([^"]+)")?/g))
            {
                assert.match(file,
                    /^t\/([\w-]+\.t|unit\/\w+\.c|e2e\/\w+\.test\.mjs)$/);

                const source = read(file);

                if (name === undefined) {
                    continue;
                }

                assert.ok(/^test_/.test(name)
                    ? new RegExp(`cmocka_unit_test\\w*\\(${name}\\b`).test(source)
                    : [`'${name}'`, `"${name}"`].some((literal) =>
                        source.includes(literal)),
                    `${file} has no "${name}": ${what}`);
                named++;
            }
        }
        assert.ok(named > 80, `only ${named}`);

        for (const file of page.match(/(?<=`)t\/[^`*]+(?=`)/g)) {
            read(file);
        }
    });

    test('pages of providers say what the presets do', () => {
        const source = read('ngx_mcp_auth_module/core/mcp_oauth.c');
        const presets = source.match(/mcp_oauth_providers\[\] = \{([^]*?)^\};/m)[1]
            .split('.name = ').slice(1);
        const words = [...source.matchAll(/^ {4}\{ "([a-z_]+)", MCP_OAUTH_/gm)]
            .map(([, word]) => word);
        const reasons = read('ngx_mcp_auth_module/core/mcp_reason.c');
        const pages = readdirSync(join(root, 'docs/providers'))
            .filter((name) => name !== 'README.md')
            .map((name) => name.replace('.md', '')).sort();
        const names = presets.map((preset) => preset.match(/^"(\w+)"/)[1]);

        assert.deepEqual(pages, names.filter((name) => name !== 'generic')
                                     .sort());
        assert.ok(words.length > 30);

        for (const preset of presets) {
            const [, name] = preset.match(/^"(\w+)"/);
            const number = (key) => Number(preset.match(new RegExp(
                `\\.${key} = (-?\\d+)(?: \\* 86400)?`))?.[1] ?? 0);

            if (name === 'generic') {
                continue;
            }

            const page = read(`docs/providers/${name}.md`);
            const row = (head) => page.match(new RegExp(
                `^\\| ${head}[^|]*\\| ([^|]*) \\|`, 'm'))?.[1];

            assert.ok(page.includes(`provider       ${name};`)
                      || page.includes(`provider        ${name};`), name);
            assert.match(row('rotation'),
                         /\.rotates = 1/.test(preset) ? /^on/ : /^off/, name);
            if (number('grace') > 0) {
                assert.ok(row('rotation').includes(
                    `grace ${number('grace')}s`), name);
            }
            assert.match(row('`keepalive`'), number('keepalive')
                ? new RegExp(`^${number('keepalive')} days`) : /^none/, name);
            assert.match(row('without `expires_in`'),
                { 0: /^never/, 3600: /^one hour/ }[number('lifetime')], name);
            assert.match(row(/json = 1/.test(preset) ? 'request' : 'client'),
                /AUTH_BASIC|OAUTH_BASIC/.test(preset)
                    ? /client_secret_basic/ : /client_secret_post|JSON/, name);

            const [wrong] = page.match(/^## What goes wrong[^]*/m);
            for (const [, cell] of wrong.matchAll(/^\| ([^|]*) \|/gm)) {
                for (const [, word] of cell.matchAll(/`([a-z_0-9]+)`/g)) {
                    assert.ok(words.includes(word) || /^http_/.test(word)
                        || word === 'no_access_token'
                        || /^(transient|unknown|client_bad|grant_dead|interact)$/
                               .test(word)
                        || reasons.includes(`"${word}"`), `${name}: ${word}`);
                }
            }
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

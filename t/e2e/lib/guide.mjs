/*
 * A page of the documentation, followed to the letter: what is fenced as sh is
 * run, in one shell and in order; what is fenced as nginx and begins with the
 * name of a file is put there; what is fenced as text is what the block of sh
 * before it must have printed.  There `...` stands for anything.
 *
 * What a page cannot do here, a prelude does in its place: sudo, the package
 * manager, the service.  Paths and ports are mapped by the test.
 */

import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { dirname, join } from 'node:path';

import { root } from './nginx.mjs';


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
 * Runs a page.  map: text -> text, for paths and ports; prelude: sh; only: a
 * predicate on blocks.  Returns [{ line, text, output, expected }], one for
 * each block of sh; expected is a RegExp, or null.
 */
export async function follow(page, { map = (text) => text, prelude = '',
                             env, only = () => true, ms = 60_000 } = {})
{
    const steps = [];
    let script = `${prelude}\n`;

    for (const block of blocks(page).filter(only)) {
        const text = map(block.text);

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

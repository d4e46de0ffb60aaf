/*
 * The pictures of docs/pictures: each page of mcp_connect, as Chromium shows
 * it.  `make pictures` runs it; MCP_PICTURES is the directory.
 */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { kinds } from './lib/asked.mjs';
import { Connect } from './lib/connect.mjs';
import { until } from './lib/process.mjs';
import { importGrant } from './lib/redis.mjs';


const DIR = process.env.MCP_PICTURES;
const PHONE = { width: 390, height: 260 };
const DESK = { width: 760, height: 220 };

let site, alice, page;

before(async () => {
    assert.ok(DIR, 'MCP_PICTURES is not set');
    site = await new Connect().start();
    alice = await site.person('alice');
    ({ page } = alice);
});

after(() => site?.stop());


/* which: light, dark, phone */
async function picture(name, which = ['light', 'dark', 'phone']) {
    for (const how of which) {
        await page.emulateMedia({ colorScheme: how === 'dark' ? 'dark'
                                                              : 'light' });
        await page.setViewportSize(how === 'phone' ? PHONE : DESK);
        await page.screenshot({
            path: join(DIR, name + (which.length > 1 ? `-${how}` : '')
                       + '.png'), fullPage: true, caret: 'initial' });
    }
    await page.setViewportSize(DESK);
}


/* What a provider answered is there as if she had connected it. */
function had(credential, answer) {
    importGrant(site.gateway.nginx, credential, 'alice', site.issuer.url,
                answer);
}


test('pages', async () => {
    const [, , kind] = kinds;
    const program = await site.program('alice', kind);
    const follow = (url) => alice.follow(url, page, 'confirm');
    let address;

    await kind.call(program, async (url) => {
        address = url;
        await follow(url);
        await picture('confirm');
        await alice.finish();
        await picture('done');
    });

    had('github', { access_token: 'a', token_type: 'bearer', scope: '',
                    expires_in: 28800, refresh_token: 'r',
                    refresh_token_expires_in: 15897600 });
    had('slack', { ok: true, authed_user: { id: 'U47', token_type: 'user',
        scope: 'channels:history,chat:write,users:read',
        access_token: 'xoxe.xoxp-a', refresh_token: 'xoxe-r',
        expires_in: 43200 } });

    await until(async () => {
        await page.goto(site.home);
        return (await page.textContent('main')).includes('Last used');
    }, 'that it was used', 30_000);
    await picture('connections');

    await page.goto(address);
    await picture('too-late', ['light']);

    for (const name of ['github', 'jira', 'slack', 'drive']) {
        await follow(`${site.home}start/${name}`);
        await picture(`confirm-${{ jira: 'atlassian', drive: 'google' }[name]
                                 ?? name}`, ['light']);
    }

    await follow(`${site.home}start/tracker`);
    await alice.press(page, /^Go on to/);
    await alice.press(page, /Cancel/);
    await picture('failed');

    /* she took it back at the provider, which her next refresh is told */
    site.provider.seconds = 4;
    await alice.follow(`${site.home}start/tracker`);
    site.provider.revoke('alice.tracker');
    await until(async () => {
        await page.goto(site.home);
        await kind.call(program).catch(() => {});
        return (await page.textContent('main')).includes('connected again');
    }, 'the end of the grant', 30_000);
    await picture('connections-again', ['light']);

    const bob = await site.program('bob', kind);
    await kind.call(bob, async (url) => {
        await follow(url);
        await picture('refused');
        throw new Error('enough');
    }).catch((error) => assert.match(error.message, /enough/));

    await page.goto(site.home);
    await alice.press(page, /^Sign out$/);
    await picture('signed-out', ['light']);
});

/*
 * People connect their own accounts, in a real browser: official clients of
 * both eras ask for it, the person signs in at one provider and grants at
 * another, calls work, and she takes it back.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { kinds } from './lib/asked.mjs';
import { Connect } from './lib/connect.mjs';
import { sleep, until } from './lib/process.mjs';


const LONG = 45_000;

/* what somebody hears who does not see the pages */
const CONFIRM = `
- main:
  - heading "Connect an account" [level=1]
  - paragraph:
    - text: You are signed in as
    - strong: Eve
    - text: ", and are about to connect"
    - strong: tracker
    - text: .
  - term: You will be asked by
  - definition: tracker.test
  - term: Asked for
  - definition:
    - list:
      - listitem:
        - code: openid
      - listitem:
        - code: offline_access
      - listitem:
        - code: issues.read
  - paragraph: What you grant there is used for calls that you make through \
this gateway, and for nobody else's. You can end it at any time.
  - paragraph: Go on only if you, or an agent that works for you, just asked \
for this. If another person gave you this address, do not.
  - button "Go on to tracker.test"
  - link "Do not connect":
    - /url: /connect/`;

const entry = (name, provider) => `
    - listitem:
      - heading "${name}" [level=2]
      - paragraph: Not connected.${provider && `
      - term: Provider
      - definition: ${provider}`}
      - 'link "Connect: ${name}"':
        - /url: /connect/start/${name}
        - text: Connect`;

const LIST = `
- main:
  - heading "My connections" [level=1]
  - paragraph:
    - text: Signed in as
    - strong: Eve
    - text: .
  - list:${[['tracker', ''], ['github', 'GitHub'], ['jira', 'Atlassian'],
             ['slack', 'Slack'], ['drive', 'Google']]
    .map(([name, provider]) => entry(name, provider)).join('')}
  - button "Sign out"`;


describe('people connect their accounts', { timeout: 300_000 }, () => {
    let site, provider;

    /* each of them with another client, and another way to use a browser */
    const stories = [
        { who: 'alice', how: { keyboard: true } },
        { who: 'bob', how: { javaScriptEnabled: false } },
        { who: 'carol', how: { viewport: { width: 390, height: 844 },
                               hasTouch: true, isMobile: true } },
        { who: 'dave', how: { keyboard: true, javaScriptEnabled: false } },
    ].map((story, i) => ({ ...story, kind: kinds[i] }));

    before(async () => {
        site = await new Connect().start();
        ({ provider } = site);
    });

    after(async () => {
        assert.deepEqual(await site?.stop(), [], 'error.log');
    });

    for (const story of stories) {
        test(`asked, and connected: ${story.kind.name}`,
             () => connect(story));
    }
    for (const story of stories) {
        test(`the token is refreshed: ${story.kind.name}`,
             () => refresh(story));
    }
    for (const story of stories) {
        test(`disconnected, and asked again: ${story.kind.name}`,
             () => disconnect(story));
    }

    const tokens = (who) => provider.issued.filter(({ user }) =>
        user === `${who}.tracker`);

    async function connect(story) {
        const { who, how, kind } = story;

        /* due when half of that is left */
        provider.seconds = 16;

        story.person = await site.person(who, how);
        story.program = await site.program(who, kind);

        const { person } = story;
        const early = site.gateway.posts(kind.era).length;
        const text = await kind.call(story.program, async (url) => {
            assert.ok(url.startsWith(`${site.home}start/tracker?ticket=`), url);
            assert.equal(site.gateway.posts(kind.era).length, early,
                         'nothing came through');

            const page = await person.follow(url);
            provider.seconds = 600;

            assert.equal(page.url(), `${site.home}done`);
            assert.equal(await page.textContent('h1'), 'Connected');
        });

        assert.equal(text, kind.answer);
        assert.deepEqual(person.done, [
            'login.test agree',         /* name and password */
            'login.test agree',         /* consent */
            'gw.acme.test confirm',
            'tracker.test agree', 'tracker.test agree',
        ]);
        assert.deepEqual(person.complaints, []);

        story.shown = site.shown(kind.era);
        assert.equal(story.shown.sub, `${who}.tracker`);
        assert.deepEqual(tokens(who).map(({ grant }) => grant),
                         ['authorization_code']);

        assert.deepEqual(site.steps(who), ['sign_in allow allow',
            'start allow allow', 'grant allow credential']);
        const grant = site.records(who, 'connect').at(-1);
        assert.equal(grant.credential, 'tracker');
        assert.equal(grant.note, 'issues.read');
    }

    async function refresh({ who, kind, program, shown }) {
        await until(async () => {
            assert.equal(await kind.call(program), kind.answer);
            await sleep(100);
            return site.shown(kind.era).jti !== shown.jti;
        }, 'another token', LONG);

        assert.equal(site.shown(kind.era).sub, `${who}.tracker`);
        assert.deepEqual(tokens(who).map(({ grant }) => grant),
                         ['authorization_code', 'refresh_token'], 'once');
    }

    async function disconnect({ who, person, kind, program }) {
        const { page } = person;

        await person.press(page, /^My connections$/);
        await person.finish();
        assert.equal(page.url(), site.home);

        const item = page.getByRole('listitem').filter({
            has: page.getByRole('heading', { name: 'tracker', exact: true }) });
        assert.match(await item.innerText(),
                     /\bConnected\.\s.*Connected since/s);

        await person.press(page, /^Disconnect: tracker$/);
        await person.finish();
        assert.match(await item.innerText(), /Not connected\./);
        assert.deepEqual(person.complaints, []);

        /* the provider was told, of the token that it gave out last */
        const { refresh: last } = tokens(who).at(-1);
        const told = await until(() => provider.revocations.find(
            ({ token }) => token === last), 'the provider is told', LONG);
        assert.equal(told.status, 200);
        assert.equal(told.client, 'people');

        const ends = await until(() => {
            const found = site.records(who, 'credential').filter((r) =>
                /end|revoke/.test(r.method));
            return found.length === 2 && found;
        }, 'both are on record', LONG);
        assert.deepEqual(ends.map(({ method, decision, reason }) =>
            `${method} ${decision} ${reason}`), [
            'credential/end allow disconnected',
            'credential/revoke allow credential_ended',
        ]);
        assert.ok(ends[1].ms.credential > 0, 'how long it took');
        assert.equal(site.steps(who).at(-1), 'disconnect allow allow');

        const early = site.gateway.posts(kind.era).length;
        let again;

        await assert.rejects(kind.call(program, (url) => {
            again = url;
            throw new Error('not today');
        }));
        assert.ok(again.startsWith(`${site.home}start/tracker?ticket=`));
        assert.equal(site.gateway.posts(kind.era).length, early);
    }

    /* ---- what else happens to people */

    const known = {};

    /* who stays signed in from test to test */
    const person = async (who) => {
        known[who] ??= await site.person(who);
        known[who].complaints.length = 0;
        return known[who];
    };
    const heading = (page) => page.textContent('h1');
    const heard = (page) => page.locator('body').ariaSnapshot();
    const ticket = async (who) => {
        let address;
        const [, , kind] = kinds;
        const program = await site.program(who, kind);

        await assert.rejects(kind.call(program, (url) => {
            address = url;
            throw new Error('later');
        }), /later/);
        return address;
    };
    const connected = async (person) => {
        await person.follow(site.home);
        return person.page.getByRole('listitem')
            .filter({ hasText: 'Connected since' }).count();
    };
    const wait = (condition, what) => until(condition, what, LONG);

    test('as one hears it', async () => {
        const eve = await person('eve');
        const { page } = eve;

        await eve.follow(await ticket('eve'), page, 'confirm');
        assert.equal(await heard(page), CONFIRM.trim());

        await eve.press(page, /^Do not connect$/);
        await eve.finish();
        assert.equal(page.url(), site.home);
        assert.equal(await heard(page), LIST.trim());
    });

    /* most clients answer when the page is open, and call again at once */
    test('a client that does not wait asks once', async () => {
        const [, { era, can }] = kinds;
        const program = await site.program('eve', { era, can });
        const client = await program.connect();
        let asked = 0;

        client.setRequestHandler('elicitation/create', () => {
            asked++;
            return { action: 'accept' };
        });

        const { isError, content } = await client.callTool({
            name: 'search_issues', arguments: { query: 'nginx' } });
        assert.equal(isError, true);
        assert.ok(content[0].text.includes(`${site.home}start/tracker?ticket=`));
        assert.equal(asked, 1);
    });

    test('a name that is long', async () => {
        const eve = await site.person('eve', {
            viewport: { width: 360, height: 640 } });
        const page = await eve.follow(`${site.gateway.url}/archive/`);
        const [link] = await page.getByRole('link').all();

        assert.equal(await heading(page), 'My connections');
        assert.match(await link.getAttribute('href'),
                     /^\/archive\/start\/customer-[\w-]*central-1$/);
    });

    test('the cookies, and a policy that is in force', async () => {
        const eve = await person('eve');
        const page = await eve.follow(site.home);
        const cookies = await eve.cookies();

        assert.ok(cookies.some(({ name }) => name === '__Host-mcp-connect'));
        for (const { name, domain, path, secure, httpOnly, sameSite }
             of cookies)
        {
            assert.match(name, /^__Host-mcp-(connect|login)$/);
            assert.deepEqual({ domain, path, secure, httpOnly, sameSite }, {
                domain: 'gw.acme.test', path: '/', secure: true,
                httpOnly: true, sameSite: 'Lax' });
        }
        assert.equal(await page.evaluate(() => document.cookie), '');

        await page.evaluate(() => {
            const script = document.createElement('script');
            script.textContent = 'window.ran = true';
            document.body.append(script);
        });
        assert.equal(await page.evaluate(() => window.ran), undefined);
        const [{ violatedDirective }] = await wait(() =>
            eve.complaints.length && eve.complaints, 'Chromium complains');
        assert.match(violatedDirective, /^(default|script)-src/);

        await page.goto(site.home);
        await eve.press(page, /^Sign out$/);
        assert.equal(await heading(page), 'Signed out');
        assert.deepEqual((await eve.cookies()).map(({ name }) => name)
            .filter((name) => name === '__Host-mcp-connect'), []);
    });

    test('not in a frame, not from another site', async () => {
        const eve = await person('eve');
        const page = await eve.follow(`${site.home}start/tracker`);

        assert.equal(await heading(page), 'Connected');
        eve.complaints.length = 0;

        await page.goto(`${site.issuer.url}/jwks`);
        await page.setContent(`<iframe src="${site.home}"></iframe>`);
        const [{ violatedDirective }] = await wait(() =>
            eve.complaints.length && eve.complaints, 'Chromium complains');
        assert.equal(violatedDirective, 'frame-ancestors');
        await wait(() => page.frames()[1].url().startsWith('chrome-error:'),
                   'there is no page in it');

        /* the cookie does not come along */
        await page.setContent(`<form method="post"
            action="${site.home}disconnect/tracker">
            <button>A kitten</button></form>`);
        await page.getByRole('button').click();
        await page.waitForURL(`${site.home}disconnect/tracker`);
        assert.equal(await heading(page), 'Too late');
        assert.equal(await connected(eve), 1);
        assert.ok(!site.steps('eve').join().includes('disconnect'));
    });

    test('an address that was made for somebody else', async () => {
        const url = await ticket('carol');
        const mallory = await person('mallory');
        const page = await mallory.follow(url, mallory.page);

        assert.equal(await heading(page), 'Not for you');
        assert.match(await page.textContent('main'), /connect_ticket_other/);
        assert.deepEqual(site.steps('mallory'), ['sign_in allow allow',
            'start deny connect_ticket_other']);
        const [record] = site.records('mallory', 'connect').slice(-1);
        assert.equal(record.credential, 'tracker');
        assert.ok(record.client_ip);

        await mallory.press(page, /^My connections$/);
        assert.equal(page.url(), site.home);
        assert.equal(await connected(mallory), 0);

        /* hers is as good as before, in the browser that she has */
        const carol = stories[2].person;
        await carol.follow(url);
        assert.equal(await heading(carol.page), 'Connected');
    });

    for (const how of ['with a ticket', 'without one']) {
        test(`two tabs, ${how}`, () => tabs(how === 'with a ticket'));
    }

    async function tabs(ticketed) {
        const who = ticketed ? 'bob' : 'dave';
        const one = await person(who);
        const first = one.page;
        const second = await one.tab();
        const url = ticketed ? await ticket(who) : `${site.home}start/tracker`;

        for (const tab of [first, second]) {
            await one.follow(url, tab, 'confirm');
            assert.equal(await heading(tab), 'Connect an account');
        }

        /* both leave before one of them is finished */
        await one.press(first, /^Go on to/);
        await one.press(second, /^Go on to/);
        await one.finish(first);
        assert.equal(await heading(first), 'Connected');
        await one.finish(second);

        if (ticketed) {
            assert.equal(await heading(second), 'Too late');
            await one.press(second, /^My connections$/);
        } else {
            assert.equal(await heading(second), 'Connected');
        }
        assert.equal(await connected(one), 1);
        assert.deepEqual(one.complaints, []);
    }

    test('who says no at the provider', async () => {
        const mallory = await person('mallory');
        const { page } = mallory;

        await mallory.follow(`${site.home}start/tracker`, page, 'confirm');
        await mallory.press(page, /^Go on to/);
        await mallory.press(page, /Cancel/);
        assert.equal(await heading(page), 'Not connected');
        assert.match(await page.textContent('main'),
                     /not agreed to.*connect_refused/s);
        await mallory.finish();
        await mallory.press(page, /^My connections$/);
        assert.equal(await connected(mallory), 0);
        assert.equal(site.steps('mallory').at(-1),
                     'grant deny connect_refused');
        assert.deepEqual(mallory.complaints, []);
    });

    /* These are not there: Chromium says which address it wanted. */
    test('other providers: where the browser is sent', async () => {
        const alice = await person('alice');
        const { page } = alice;
        const providers = {
            github: ['https://github.com/login/oauth/authorize', null],
            jira: ['https://auth.atlassian.com/authorize',
                   'offline_access read:jira-work write:jira-work read:me'],
            slack: ['https://slack.com/oauth/v2/authorize', null],
            drive: ['https://accounts.google.com/o/oauth2/v2/auth',
                    'https://www.googleapis.com/auth/drive.readonly'],
        };

        for (const [name, [endpoint, scope]] of Object.entries(providers)) {
            await alice.follow(`${site.home}start/${name}`, page, 'confirm');
            const { hostname } = new URL(endpoint);

            await alice.press(page, new RegExp(`^Go on to ${hostname}$`));
            const url = new URL(alice.failed.at(-1));

            assert.equal(url.origin + url.pathname, endpoint);
            assert.equal(url.searchParams.get('redirect_uri'),
                         `${site.home}grant/${name}`);
            assert.equal(url.searchParams.get('scope'), scope);
            assert.match(url.searchParams.get('state'), /^[\w-]{43}$/);
        }
        assert.deepEqual(alice.complaints, []);
    });

    test('Redis restarts while she is at the provider', async () => {
        const eve = await person('eve');
        const { page } = eve;

        await eve.follow(`${site.home}start/tracker`, page, 'confirm');
        await eve.press(page, /^Go on to/);
        await site.redis.restart();

        await eve.finish();
        const said = await heading(page);
        assert.ok(['Too late', 'Not now'].includes(said), said);
        assert.match(await page.textContent('main'), /again/);

        await eve.press(page, /^My connections$/);
        await eve.finish();
        await wait(async () => {
            const link = page.getByRole('link', { name: 'Connect: tracker' });

            return await link.count() || (await page.reload(), false);
        }, 'the list');
        await eve.press(page, /^Connect: tracker$/);
        await eve.finish();
        assert.equal(await heading(page), 'Connected');
        assert.equal(await connected(eve), 1);
        assert.deepEqual(eve.complaints, []);
    });

    test('nothing of it is in a log', async () => {
        const logs = ['error.log', 'audit.log', 'access.log'].map((name) =>
            site.gateway.nginx.read(name)).join('\n');
        const secrets = [...site.people.flatMap((one) => [...one.secrets]),
                         ...provider.tokens, site.secrets.login,
                         provider.secrets.people].filter(Boolean);

        assert.ok(secrets.length > 40, `${secrets.length} of them`);
        assert.match(logs, /GET \/connect\/start\/tracker/);
        assert.deepEqual(secrets.filter((secret) => logs.includes(secret)
            || logs.includes(secret.split('.')[2] ?? secret)), []);
    });
});

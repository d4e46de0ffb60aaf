/*
 * A person at a browser.  Whatever page there is, she does what it is for:
 * signs in, agrees, goes on; with a mouse, or with nothing but a keyboard.
 */

import assert from 'node:assert/strict';

import { wellMade } from './page.mjs';


const DEADLINE = 45_000;
const GO_ON = /^Go on to/;

/* What the focused element is, and whether one sees that it has the focus. */
function focused() {
    const one = document.activeElement;
    const style = getComputedStyle(one);

    return { tag: one.localName, name: one.getAttribute('name'),
             text: (one.getAttribute('aria-label') ?? one.textContent).trim(),
             seen: style.outlineStyle !== 'none'
                   && parseFloat(style.outlineWidth) > 0 };
}


export class Person {
    done = [];              /* "HOST what", one for each page */
    complaints = [];        /* of Chromium about the policy of a page */
    secrets = new Set();    /* that were in an address, or in a cookie */
    failed = [];            /* addresses of which nothing came */

    /*
     * site: a Connect; login: at the issuer; options: tracker, her name at the
     * provider; keyboard; and what Playwright's newContext() takes
     */
    constructor(site, login, { tracker = `${login}.tracker`, keyboard,
                               ...options } = {})
    {
        this.site = site;
        this.login = login;
        this.tracker = tracker;
        this.keyboard = keyboard;
        this.options = options;
    }

    async start() {
        this.context = await this.site.chromium.browser.newContext(
            this.options);
        this.context.setDefaultTimeout(DEADLINE);
        this.context.setDefaultNavigationTimeout(DEADLINE);
        this.context.on('request', (request) => this.#note(request.url()));
        this.context.on('requestfailed', (request) =>
            this.failed.push(request.url()));
        this.page = await this.tab();
        return this;
    }

    async leave() {
        await this.context?.close();
    }

    /* What Chromium says of a policy is heard with and without script. */
    async tab() {
        const page = await this.context.newPage();
        const session = await this.context.newCDPSession(page);

        session.on('Audits.issueAdded', ({ issue }) => {
            const policy = issue.details.contentSecurityPolicyIssueDetails;

            if (policy) {
                this.complaints.push(policy);
            }
        });
        await session.send('Audits.enable');
        return page;
    }

    #note(url) {
        const { searchParams: query } = new URL(url);

        for (const name of ['state', 'code', 'ticket', 'nonce']) {
            if (query.get(name)) {
                this.secrets.add(query.get(name));
            }
        }
    }

    async cookies() {
        const all = await this.context.cookies(this.site.gateway.url);

        for (const { value } of all) {
            this.secrets.add(value);
        }
        return all;
    }

    /* Goes there, and on, until there is nothing to do but to read. */
    async follow(url, page = this.page, stop = undefined) {
        await page.goto(url);
        return this.finish(page, stop);
    }

    /* stop: the name of the step that she does not take */
    async finish(page = this.page, stop = undefined) {
        await page.bringToFront();

        for (let i = 0; i < 12; i++) {
            const { hostname } = new URL(page.url());
            const step = await this.#next(page);

            if (!step || step.name === stop) {
                return page;
            }
            this.done.push(`${hostname} ${step.name}`);
            await step.act();
        }
        throw new Error(`going round in circles at ${page.url()}`);
    }

    async #next(page) {
        const { issuer, provider, gateway } = this.site;
        const { origin } = new URL(page.url());

        switch (origin) {
        case gateway.url:
            await this.#look(page);
            return await page.getByRole('button', { name: GO_ON }).count()
                && { name: 'confirm', act: () => this.press(page, GO_ON) };

        case issuer.url:
        case provider.url:
            return { name: 'agree', act: () => this.#agree(page,
                origin === issuer.url ? this.login : this.tracker) };
        }
        throw new Error(`who is ${page.url()}?`);
    }

    /* Each page of the gateway is looked at closely once, in each width. */
    async #look(page) {
        const which = `${await page.title()} ${page.viewportSize().width}`;

        await this.cookies();
        if (!this.site.looked.has(which)) {
            this.site.looked.add(which);
            await wellMade(page);
        }
    }

    /* oidc-provider: a form to sign in, or one to consent */
    async #agree(page, login) {
        const name = page.locator('input[name=login]');

        if (!await name.count()) {
            return this.press(page, /^Continue$/);
        }
        await this.#type(page, name, 'login', login);
        await this.#type(page, page.locator('input[name=password]'),
                         'password', 'any');
        return this.press(page, /^Sign-in$/);
    }

    async #type(page, field, name, value) {
        if (!this.keyboard) {
            return field.fill(value);
        }
        await this.#tabTo(page, (one) => one.name === name);
        await page.keyboard.type(value);
    }

    /* A link or a button; what comes has come when this is over. */
    async press(page, name) {
        await page.bringToFront();

        const one = page.getByRole('button', { name })
            .or(page.getByRole('link', { name }));
        const comes = page.waitForEvent('load');

        if (this.keyboard) {
            const { seen } = await this.#tabTo(page, (x) => name.test(x.text));
            assert.ok(seen, `one sees that ${name} has the focus`);
        }
        await Promise.all([comes, this.keyboard
            ? page.keyboard.press('Enter') : one.click()]);
    }

    async #tabTo(page, wanted) {
        for (let i = 0; i < 40; i++) {
            const one = await page.evaluate(focused);

            if (['a', 'button', 'input'].includes(one.tag) && wanted(one)) {
                return one;
            }
            await page.keyboard.press('Tab');
        }
        throw new Error(`no key leads to it at ${page.url()}`);
    }
}

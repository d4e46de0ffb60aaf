/*
 * The browser of a person who logs in: cookies, redirects, and forms, which it
 * fills in and sends.  It stops at the address that the client program gave
 * the provider, as that program would, and never asks anything of it.
 */

const decode = (text) => text.replace(/&(amp|lt|gt|quot|#39|#x2F);/g,
    (whole, name) => ({ amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'",
                        '#x2F': '/' })[name]);

const attribute = (tag, name) =>
    decode(tag.match(new RegExp(`\\s${name}="([^"]*)"`))?.[1] ?? '');


/* { url, body } of the only form of a page; values are what a person types */
function filledIn(page, url, values) {
    const form = page.match(/<form[^>]*>/)?.[0];

    if (!form) {
        throw new Error(`no form at ${url}: ${page.slice(0, 400)}`);
    }

    const body = new URLSearchParams();
    for (const input of page.match(/<input[^>]*>/g) ?? []) {
        const name = attribute(input, 'name');
        body.set(name, values[name] ?? attribute(input, 'value'));
    }
    return { url: new URL(attribute(form, 'action') || url, url), body };
}


export class Browser {
    #jar = new Map();       /* origin -> Map of name -> { path, pair } */

    /* values: name of an input -> what is typed there */
    constructor(values) {
        this.values = values;
        this.forms = 0;     /* that were sent */
    }

    /* Goes to start, ends at an address that begins with end; returns it. */
    async visit(start, end) {
        let url = new URL(start);
        let body;

        for (let i = 0; i < 20; i++) {
            const answer = await fetch(url, {
                method: body ? 'POST' : 'GET', body, redirect: 'manual',
                headers: { Cookie: this.#cookies(url) },
            });
            this.#keep(url, answer);

            if (answer.status >= 300 && answer.status < 400) {
                url = new URL(answer.headers.get('location'), url);
                body = undefined;
                await answer.body?.cancel();
                if (url.href.startsWith(end)) {
                    return url;
                }
                continue;
            }

            const page = await answer.text();
            if (answer.status !== 200) {
                throw new Error(`${answer.status} at ${url}: ${page}`);
            }
            ({ url, body } = filledIn(page, url, this.values));
            this.forms++;
        }
        throw new Error(`going round in circles at ${url}`);
    }

    #cookies(url) {
        return [...(this.#jar.get(url.origin)?.values() ?? [])]
            .filter(({ path }) => url.pathname.startsWith(path))
            .map(({ pair }) => pair).join('; ');
    }

    #keep(url, answer) {
        const jar = this.#jar.get(url.origin) ?? new Map();

        for (const line of answer.headers.getSetCookie()) {
            const [pair, ...rest] = line.split(/;\s*/);
            const path = rest.find((part) => /^path=/i.test(part))?.slice(5);
            const name = pair.slice(0, pair.indexOf('='));

            if (/expires=Thu, 01 Jan 1970/i.test(line)) {
                jar.delete(name);
            } else {
                jar.set(name, { path: path ?? '/', pair });
            }
        }
        this.#jar.set(url.origin, jar);
    }
}

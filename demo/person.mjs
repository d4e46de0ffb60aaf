/*
 * A person at a browser, as far as the tour needs one: it goes where it is
 * sent, keeps cookies (by host: ports do not count), and presses a button.
 */

const decode = (text) => text.replace(/&(?:#(\d+)|(amp|lt|gt|quot));/g,
    (whole, code, name) => code ? String.fromCharCode(code)
        : { amp: '&', lt: '<', gt: '>', quot: '"' }[name]);

const attribute = (tag, name) =>
    decode(tag.match(new RegExp(`\\s${name}="([^"]*)"`))?.[1] ?? '');

/* what is to be read of a piece of HTML */
export const text = (html) => decode(html.replace(/<[^>]*>/g, ' '))
    .replace(/\s+/g, ' ').trim();


export class Person {
    #cookies = new Map();       /* "HOST NAME" -> value */

    /* { url, status, html, title } of the page at the end of all redirects */
    async open(start, form) {
        let url = new URL(start);
        let body = form;

        for (let i = 0; i < 20; i++) {
            const answer = await fetch(url, {
                method: body ? 'POST' : 'GET', body, redirect: 'manual',
                headers: { Cookie: this.#sent(url) },
            });
            this.#keep(url, answer);

            const to = answer.headers.get('location');
            const html = await answer.text();

            if (!to) {
                return { url, status: answer.status, html,
                         title: text(html.match(/<h1>.*?<\/h1>/s)?.[0] ?? '') };
            }
            url = new URL(to, url);
            body = undefined;
        }
        throw new Error(`going round in circles at ${url}`);
    }

    /* Presses the button with these words of the form whose action has `of`
     * in it; values: what is typed. */
    async press(page, button, { of = '', values = {} } = {}) {
        const forms = page.html.match(/<form\b[^]*?<\/form>/g) ?? [];

        for (const form of forms) {
            const action = attribute(form.match(/<form[^>]*>/)[0], 'action');
            const pressed = (form.match(/<button\b[^]*?<\/button>/g) ?? [])
                .find((one) => text(one).startsWith(button));

            if (!pressed || !action.includes(of)) {
                continue;
            }

            const body = new URLSearchParams();
            for (const tag of [...form.match(/<input[^>]*>/g) ?? [], pressed]) {
                const name = attribute(tag, 'name');
                if (name) {
                    body.set(name, values[name] ?? attribute(tag, 'value'));
                }
            }
            return this.open(new URL(action || page.url, page.url), body);
        }
        throw new Error(`no button "${button}" on the page "${page.title}" (${
            page.status}): ${text(page.html)}`);
    }

    #sent({ hostname }) {
        return [...this.#cookies].filter(([key]) => key.startsWith(
            `${hostname} `)).map(([key, value]) =>
            `${key.split(' ')[1]}=${value}`).join('; ');
    }

    #keep({ hostname }, answer) {
        for (const line of answer.headers.getSetCookie()) {
            const [, name, value] = line.match(/^([^=]+)=([^;]*)/);

            if (/expires=Thu, 01 Jan 1970|max-age=0/i.test(line)) {
                this.#cookies.delete(`${hostname} ${name}`);
            } else {
                this.#cookies.set(`${hostname} ${name}`, value);
            }
        }
    }
}

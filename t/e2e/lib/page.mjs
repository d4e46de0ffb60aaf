/*
 * What is true of each page of the gateway, as the browser has it: it can be
 * heard, read in light and dark, and has nothing that its policy forbids.
 */

import assert from 'node:assert/strict';


/* In the page: what is wrong with it. */
function faults() {
    const found = [];
    const all = (selector) => [...document.querySelectorAll(selector)];
    const expect = (good, what) => good || found.push(what);
    const named = (one) => (one.getAttribute('aria-label')
                            ?? one.textContent).trim();

    expect(document.documentElement.lang === 'en', 'no language');
    expect(document.compatMode === 'CSS1Compat', 'quirks');
    expect(all('h1').length === 1, 'not one h1');
    expect(document.title && document.title === all('h1')[0]?.textContent,
           'title and h1 differ');
    expect(all('main').length === 1 && all('body > *').length === 1,
           'something is outside of main');
    expect(document.styleSheets.length === 1, 'the style sheet is not there');
    expect(all('script, style, [style], img, iframe').length === 0,
           'more than text');
    expect(all('input:not([type=hidden]), select, textarea').length === 0,
           'something to fill in without a label');
    expect(all('form').every((one) => one.method === 'post'), 'a GET form');

    const names = all('a, button').map(named);
    expect(names.every(Boolean), 'a link or button without a name');
    expect(new Set(names).size === names.length, `names twice: ${names}`);

    expect(all('ul > :not(li), dl > :not(dt, dd)').length === 0,
           'a list of something else');
    expect(all('ul').every((one) => one.children.length), 'an empty list');
    expect(all('h2').every((one) => one.closest('li')), 'an h2 somewhere');

    expect(document.documentElement.scrollWidth <= innerWidth,
           `wider than ${innerWidth}`);
    for (const one of all('a.button, button')) {
        expect(one.getBoundingClientRect().height >= 44, `${named(one)}: low`);
    }

    /* WCAG 1.4.3; nothing of ours is translucent */
    const rgb = (text) => text.match(/[\d.]+/g).map(Number);
    const light = (color) => rgb(color).slice(0, 3).map((x) => x / 255)
        .map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
        .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (one) => {
        for (; one; one = one.parentElement) {
            const { backgroundColor } = getComputedStyle(one);
            if (rgb(backgroundColor)[3] !== 0) {
                return backgroundColor;
            }
        }
        return 'rgb(255, 255, 255)';
    };

    for (const one of all('body *')) {
        if (![...one.childNodes].some((x) => x.nodeType === Node.TEXT_NODE
                                             && x.data.trim()))
        {
            continue;
        }
        const [a, b] = [light(getComputedStyle(one).color),
                        light(behind(one))].sort((x, y) => y - x);
        expect((a + 0.05) / (b + 0.05) >= 4.5,
               `contrast of "${one.textContent.slice(0, 20)}"`);
    }

    return found;
}


export async function wellMade(page) {
    const size = page.viewportSize();

    for (const colorScheme of ['dark', 'light']) {
        await page.emulateMedia({ colorScheme });
        assert.deepEqual(await page.evaluate(faults), [],
                         `${colorScheme}: ${page.url()}`);
    }

    /* WCAG 1.4.10 */
    await page.setViewportSize({ width: 320, height: 640 });
    assert.deepEqual(await page.evaluate(faults), [], `320: ${page.url()}`);
    await page.setViewportSize(size);
}

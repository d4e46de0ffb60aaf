// The gateway of njs.conf: checks a JWT and the tool that a call names.
// conf.js has the issuer, the audience and the key (SPKI, base64).

import conf from 'conf.js';

const RSA = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };

async function verified(header) {
    const m = /^Bearer (([\w-]+)\.([\w-]+))\.([\w-]+)$/.exec(header || '');

    if (!m) {
        return null;
    }

    const head = JSON.parse(Buffer.from(m[2], 'base64url').toString());
    const claims = JSON.parse(Buffer.from(m[3], 'base64url').toString());

    if (head.alg !== 'RS256' || claims.iss !== conf.issuer
        || claims.aud !== conf.audience || !(claims.exp > Date.now() / 1000))
    {
        return null;
    }

    const key = await crypto.subtle.importKey('spki',
        Buffer.from(conf.key, 'base64'), RSA, false, ['verify']);

    return await crypto.subtle.verify(RSA, key,
        Buffer.from(m[4], 'base64url'), m[1]) ? claims : null;
}

async function access(r) {
    let message;

    try {
        if (!await verified(r.headersIn.Authorization)) {
            r.return(401);
            return;
        }

        message = JSON.parse(r.requestText);

    } catch (e) {
        r.return(400);
        return;
    }

    if (message.method === 'tools/call'
        && /^(delete|export)_/.test(message.params.name))
    {
        r.return(403);
        return;
    }

    r.internalRedirect('@up');
}

export default { access };

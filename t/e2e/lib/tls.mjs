/*
 * Certificates of the authority that t/e2e/run made.  Everything that speaks
 * TLS here has one, and whoever connects verifies it.
 */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';


const home = process.env.MCP_CA;

export const authority = () => {
    if (!home) {
        throw new Error('there is no authority: use t/e2e/run FILE');
    }
    return join(home, 'ca.pem');
};


/* { key, cert } for localhost, 127.0.0.1 and this name */
export function certificate(name = 'localhost') {
    const ca = authority();
    const dir = mkdtempSync(join(tmpdir(), 'mcp-tls-'));
    const [key, request, extensions, cert] =
        ['key.pem', 'request.pem', 'extensions', 'cert.pem']
            .map((name) => join(dir, name));
    const openssl = (...args) => execFileSync('openssl', args,
                                              { stdio: 'ignore' });

    try {
        writeFileSync(extensions,
                      `subjectAltName=DNS:localhost,DNS:${name},`
                      + 'IP:127.0.0.1\n');
        openssl('req', '-new', '-nodes', '-newkey', 'ec',
                '-pkeyopt', 'ec_paramgen_curve:prime256v1',
                '-subj', '/CN=localhost', '-keyout', key, '-out', request);
        openssl('x509', '-req', '-days', '2', '-in', request, '-CA', ca,
                '-CAkey', join(home, 'ca.key'), '-set_serial',
                String(Date.now()), '-extfile', extensions, '-out', cert);
        return { key: readFileSync(key), cert: readFileSync(cert) };

    } finally {
        rmSync(dir, { recursive: true });
    }
}

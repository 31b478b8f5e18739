import { execFileSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseSubjectAltName, toDistinguishedName } from '../../src/planes/client-certificate.js';
import { makeRestServer } from '../../src/planes/rest/index.js';
import { bearer, makeFakeService, toOptions } from './fake-service.js';

/** TLS and client certificates, with certificates made by openssl. */

const dir = mkdtempSync(join(tmpdir(), 'aegis-rest-tls-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const at = (name: string): string => join(dir, name);
const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' });

function makeAuthority(name: string): void {
  openssl(
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '1',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.pem`,
  );
}
function issue(authority: string, name: string, subject: string, san: string, days = '1'): void {
  openssl(
    'req',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-subj',
    subject,
    '-addext',
    `subjectAltName=${san}`,
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.csr`,
  );
  openssl(
    'x509',
    '-req',
    '-in',
    `${name}.csr`,
    '-CA',
    `${authority}.pem`,
    '-CAkey',
    `${authority}.key`,
    '-CAcreateserial',
    '-copy_extensions',
    'copy',
    '-days',
    days,
    '-out',
    `${name}.pem`,
  );
}

const fake = makeFakeService();
let app: FastifyInstance;
let port = 0;
beforeAll(async () => {
  makeAuthority('ca');
  makeAuthority('stranger');
  issue('ca', 'server', '/CN=localhost', 'DNS:localhost,IP:127.0.0.1');
  issue('ca', 'client', '/C=DE/O=Bank, Inc./CN=app', 'DNS:app.bank.example,URI:spiffe://bank/app,email:app@bank.example');
  issue('stranger', 'other', '/CN=app', 'DNS:app.bank.example');
  app = makeRestServer(
    toOptions(fake, {
      tls: {
        key: readFileSync(at('server.key')),
        cert: readFileSync(at('server.pem')),
        ca: readFileSync(at('ca.pem')),
        requestClientCertificate: true,
      },
    }),
  );
  await app.listen({ host: '127.0.0.1', port: 0 });
  port = (app.server.address() as AddressInfo).port;
});
afterAll(() => app?.close());

function call(options: {
  client?: string;
  headers?: Record<string, string>;
  maxVersion?: 'TLSv1.1';
}): Promise<{ status: number; headers: Record<string, unknown> }> {
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: '127.0.0.1',
        port,
        path: '/v1/whoami',
        ca: readFileSync(at('ca.pem')),
        headers: options.headers ?? {},
        agent: false,
        ...(options.client === undefined
          ? {}
          : { key: readFileSync(at(`${options.client}.key`)), cert: readFileSync(at(`${options.client}.pem`)) }),
        ...(options.maxVersion === undefined
          ? {}
          : { maxVersion: options.maxVersion, minVersion: 'TLSv1' as const, ciphers: 'DEFAULT@SECLEVEL=0' }),
      },
      (answer) => {
        answer.resume();
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers }));
      },
    );
    sent.on('error', reject);
    sent.end();
  });
}
const lastCredential = () => fake.calls.at(-1)?.caller.credential;

describe('client certificates', () => {
  it('one of the configured authority is the credential, exactly as issued', async () => {
    const answer = await call({ client: 'client' });
    expect(answer.status).toBe(200);
    expect(answer.headers['strict-transport-security']).toBeDefined();
    const der = new X509Certificate(readFileSync(at('client.pem'))).raw;
    expect(lastCredential()).toEqual({
      kind: 'certificate',
      fingerprint: createHash('sha256').update(der).digest('hex'),
      subject: 'CN=app,O=Bank\\, Inc.,C=DE',
      subjectAltNames: ['DNS:app.bank.example', 'URI:spiffe://bank/app', 'email:app@bank.example'],
    });
  });
  it('one of another authority is none', async () => {
    expect((await call({ client: 'other' })).status).toBe(401);
    expect(lastCredential()).toEqual({ kind: 'none' });
  });
  it('none is none, and a bearer token works beside', async () => {
    expect((await call({})).status).toBe(401);
    expect((await call({ headers: bearer })).status).toBe(200);
    expect(lastCredential()).toMatchObject({ kind: 'bearer' });
  });
  it('an Authorization header decides, also a malformed one', async () => {
    await call({ client: 'client', headers: bearer });
    expect(lastCredential()).toMatchObject({ kind: 'bearer' });
    expect((await call({ client: 'client', headers: { authorization: 'Basic x' } })).status).toBe(401);
    expect(lastCredential()).toEqual({ kind: 'none' });
  });
  it('TLS 1.1 is refused', async () => {
    await expect(call({ client: 'client', maxVersion: 'TLSv1.1' })).rejects.toThrow();
  });
  it('asking for certificates without an authority to check them is refused at the start', () => {
    const tls = { key: readFileSync(at('server.key')), cert: readFileSync(at('server.pem')), requestClientCertificate: true };
    expect(() => makeRestServer(toOptions(fake, { tls }))).toThrow(/authority/);
  });
});

describe('names in certificates', () => {
  it('cannot forge further entries', () => {
    expect(parseSubjectAltName('DNS:"a, DNS:admin", URI:x')).toEqual(['DNS:a, DNS:admin', 'URI:x']);
    expect(parseSubjectAltName('DNS:a, IP Address:10.0.0.1')).toEqual(['DNS:a', 'IP Address:10.0.0.1']);
    expect(parseSubjectAltName(undefined)).toEqual([]);
    expect(toDistinguishedName('C=DE\nO=Bank\nCN=app')).toBe('CN=app,O=Bank,C=DE');
  });
});

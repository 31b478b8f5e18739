import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Item, readJson, readTtlv, readXml, writeJson, writeTtlv, writeXml } from '@aegis/kmip-ttlv';
import { KmipClient } from '@aegis/kmip-ttlv/client';
import type { OperationName, OperationRequest, OperationResponse } from '../../src/domain/index.js';
import type { KmipServerOptions } from '../../src/planes/kmip/index.js';
import { type KmipTarget, startKmipTarget } from '../kmip/kmip-target.js';

/** What one case needs of the server or its tenant beyond the defaults. */
export interface VectorSettings {
  readonly rngSeed?: 'accept' | 'partial' | 'ignore' | 'refuse';
  /** The server's keys come from the generator of ANSI X9.31 with AES-256. */
  readonly ansiGenerator?: true;
  /** Users of the tenant who authenticate by the credential in the message header. */
  readonly users?: readonly { readonly name: string; readonly password: string }[];
  /** False: the tenant's policy denies every export. */
  readonly mayExport?: boolean;
}

/** A client of a tenant that nobody else has. */
export interface VectorConnection {
  exchange(request: Item): Promise<Item>;
  close(): Promise<void>;
}

export interface VectorPlane {
  open(options: { readonly encoding: 'ttlv' | 'xml' | 'json'; readonly settings: VectorSettings }): Promise<VectorConnection>;
  close(): Promise<void>;
}

const run = promisify(execFile);
const ANSWER_TIMEOUT_MS = 30_000;

/** Client certificates by the hundred: one key and one request, signed anew for each tenant. */
async function makeClientIssuer(target: KmipTarget) {
  const dir = mkdtempSync(join(tmpdir(), 'aegis-vectors-'));
  const { cert, key } = target.authority;
  writeFileSync(join(dir, 'ca.pem'), cert);
  writeFileSync(join(dir, 'ca.key'), key, { mode: 0o600 });
  writeFileSync(join(dir, 'ext.cnf'), 'basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n');
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  await run('openssl', ['req', ...newKey, '-keyout', 'client.key', '-out', 'client.csr', '-subj', '/CN=vectors'], { cwd: dir });
  const clientKey = readFileSync(join(dir, 'client.key'), 'utf8');
  let serial = 1000;
  return {
    async issue() {
      serial += 1;
      const args = ['x509', '-req', '-in', 'client.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-set_serial', String(serial), '-days', '2'];
      const { stdout } = await run('openssl', [...args, '-extfile', 'ext.cnf'], { cwd: dir });
      const fingerprint = new X509Certificate(stdout).fingerprint256.replaceAll(':', '').toLowerCase();
      return { cert: stdout, key: clientKey, fingerprint, name: `vectors-${serial}` };
    },
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}

interface Address {
  readonly port: number;
  readonly httpsPort: number;
}
interface ClientTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

const ANSI_GENERATOR = { RNGAlgorithm: 'ANSIX9_31', CryptographicAlgorithm: 'AES', CryptographicLength: 256 };

/** The real plane; a server of its own for each setting of the plane, a tenant for each case. */
export async function openVectorPlane(): Promise<VectorPlane> {
  const target = await startKmipTarget({ server: { settings: { interop: true } } });
  const issuer = await makeClientIssuer(target);
  const servers = new Map<string, Promise<Address>>();
  const addressFor = (settings: VectorSettings): Promise<Address> => {
    const { rngSeed, ansiGenerator } = settings;
    if (rngSeed === undefined && ansiGenerator === undefined) return Promise.resolve({ port: target.port, httpsPort: target.httpsPort });
    const name = `${rngSeed ?? ''} ${ansiGenerator ?? ''}`;
    const own = {
      interop: true,
      ...(rngSeed === undefined ? {} : { rngSeed }),
      ...(ansiGenerator === undefined ? {} : { randomNumberGenerator: ANSI_GENERATOR }),
    };
    const known = servers.get(name) ?? serveWith(target, { settings: own });
    servers.set(name, known);
    return known;
  };
  return {
    async open({ encoding, settings }) {
      const client = await issuer.issue();
      await target.admin('create-principal', {
        kind: 'service',
        name: client.name,
        roles: ['admin'],
        tenant: client.name,
        certificate: { fingerprint: client.fingerprint },
      });
      await prepareTenant(target, client.fingerprint, settings);
      const address = await addressFor(settings);
      const tls = { ca: target.authority.cert, cert: client.cert, key: client.key };
      return encoding === 'ttlv' ? openTtlv(address.port, tls) : openHttps(address.httpsPort, tls, encoding);
    },
    async close() {
      issuer.remove();
      await target.stop();
    },
  };
}

/** Logins and policy of the tenant, set by its own administrator past the wire. */
async function prepareTenant(target: KmipTarget, fingerprint: string, settings: VectorSettings): Promise<void> {
  const call = async <O extends OperationName>(operation: O, request: OperationRequest<O>): Promise<OperationResponse<O>> => {
    const credential = { kind: 'certificate', fingerprint, subject: 'CN=vectors', subjectAltNames: [] } as const;
    const result = await target.core.service(operation, request, { plane: 'kmip', credential, requestId: 'vectors', source: 'local' });
    if (!result.ok) throw new Error(`${operation}: ${result.fault.code}: ${result.fault.message}`);
    return result.value;
  };
  if ((settings.users ?? []).length > 0) {
    const { principal } = await call('whoami', {});
    for (const { name, password } of settings.users ?? [])
      await call('set-login', {
        principalId: principal.id,
        kind: 'password',
        login: name,
        password: new Uint8Array(Buffer.from(password)),
      });
  }
  if (settings.mayExport === false) await call('put-policy', { name: 'no-export', source: NO_EXPORT });
}

const NO_EXPORT = `statements:
  - id: pads-stay
    effect: deny
    principals: ["*"]
    actions: ["keys:export"]
    resources: ["*"]
`;

async function serveWith(target: KmipTarget, options: Partial<KmipServerOptions>): Promise<Address> {
  const { port, httpsPort } = await target.serve(options);
  return { port, httpsPort: httpsPort as number };
}

async function openTtlv(port: number, tls: ClientTls): Promise<VectorConnection> {
  const client = await KmipClient.connect({
    host: '127.0.0.1',
    port,
    tls: { ...tls, servername: 'localhost' },
    timeoutMs: ANSWER_TIMEOUT_MS,
  });
  return {
    exchange: async (request) => readTtlv(await client.exchange(writeTtlv(request))),
    close: () => client.close(),
  };
}

const TEXT = {
  xml: { type: 'text/xml', write: (item: Item) => writeXml(item), read: readXml },
  json: { type: 'application/json', write: (item: Item) => writeJson(item), read: readJson },
} as const;

async function openHttps(port: number, tls: ClientTls, encoding: 'xml' | 'json'): Promise<VectorConnection> {
  const agent = new Agent({ keepAlive: true, ...tls, servername: 'localhost' });
  const { type, write, read } = TEXT[encoding];
  const exchange = (request: Item): Promise<Item> =>
    new Promise((resolve, reject) => {
      const outgoing = httpsRequest(
        { host: '127.0.0.1', port, path: '/kmip', method: 'POST', agent, timeout: ANSWER_TIMEOUT_MS, headers: { 'content-type': type } },
        (incoming) => {
          let text = '';
          incoming.setEncoding('utf8');
          incoming.on('data', (part) => (text += part));
          incoming.on('error', reject);
          incoming.on('end', () => {
            const answered = String(incoming.headers['content-type']).split(';')[0];
            if (incoming.statusCode !== 200 || answered !== type) reject(new Error(`HTTP ${incoming.statusCode} ${answered}: ${text}`));
            else
              try {
                resolve(read(text));
              } catch (error) {
                reject(error);
              }
          });
        },
      );
      outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${ANSWER_TIMEOUT_MS} ms`)));
      outgoing.on('error', reject);
      outgoing.end(write(request));
    });
  return { exchange, close: async () => agent.destroy() };
}

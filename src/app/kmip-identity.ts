import { execFile } from 'node:child_process';
import { createPublicKey, randomUUID, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import {
  type AuthorityView,
  type Caller,
  type CertificatePurpose,
  effectiveState,
  type Fault,
  type OperationName,
  type OperationRequest,
  type OperationResponse,
} from '../domain/index.js';
import { openDataDirectory, writeFileDurably } from './data-directory.js';
import type { Core } from './service.js';
import { StartError } from './start-error.js';

const run = promisify(execFile);

/** What the KMIP server needs for TLS. One chain and key per kind of key: the client's offer decides which is used. */
export interface KmipServerTls {
  /** PEM. */
  readonly cert: readonly string[];
  readonly key: readonly string[];
  /** PEM: authorities whose client certificates are let in, of every tenant. */
  readonly ca: readonly string[];
}

export interface KmipIdentity {
  /** `<dataDir>/kmip`, 0700. */
  readonly directory: string;
  /** As it is now; read again after `onChange`. */
  serverTls(): KmipServerTls;
  /** Certificates renewed, or authorities made or retired: give the TLS server a new context. Connections stay. */
  onChange(listener: () => void): void;
  stop(): void;
}

export interface KmipIdentityOptions {
  /** Further names and addresses of the server, beside localhost, 127.0.0.1 and ::1. */
  readonly names?: readonly string[];
  readonly log?: { warn(fields: object, message: string): void; info(fields: object, message: string): void };
}

/** What browsers and devices take as the longest for a server. */
const SERVER_DAYS = 397;
const CLIENT_DAYS = 825;
/** Renewed when less than this part of its life is left. */
const RENEW_BELOW = 1 / 3;
const CHECK_EVERY_MS = 3_600_000;
/** A change of the cluster's state is looked at after this, so that many at once cost one look. */
const SETTLE_MS = 250;
const LOCAL_NAMES = ['localhost', '127.0.0.1', '::1'] as const;
/** Where one listens, not what one is called. */
const ANY_ADDRESS: readonly string[] = ['0.0.0.0', '::'];
const AUTHORITY_NAME = 'aegis-ca';
const PAGE = 500;

/** Who may try the endpoint straight after the first start: two tenants, so that their separation can be seen. */
const CLIENTS = [
  { file: 'client', tenant: 'default', principal: 'kmip-client' },
  { file: 'client2', tenant: 'second', principal: 'kmip-client' },
] as const;
const SERVER_KEYS = [
  { file: 'server', algorithm: 'ec-p256' },
  { file: 'server-rsa', algorithm: 'rsa-2048' },
] as const;

class ServiceFault extends Error {
  readonly fault: Fault;
  constructor(fault: Fault) {
    super(fault.message);
    this.fault = fault;
  }
}

const toPem = (der: Uint8Array): string =>
  `-----BEGIN CERTIFICATE-----\n${(
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  ).join('\n')}\n-----END CERTIFICATE-----\n`;

const fromPem = (text: string): Buffer => Buffer.from(text.replace(/-----[^-]+-----|\s/g, ''), 'base64');

type Call = <O extends OperationName>(tenant: string, operation: O, request: OperationRequest<O>) => Promise<OperationResponse<O>>;

/** Everything goes through the guard, as the component `kmip`: audited, and limited by the built-in policy. */
const makeCall =
  (core: Pick<Core, 'service'>): Call =>
  async (tenant, operation, request) => {
    const caller: Caller = {
      plane: 'internal',
      credential: { kind: 'internal', component: 'kmip' },
      requestId: randomUUID(),
      source: 'local',
      tenant,
    };
    const result = await core.service(operation, request, caller);
    if (!result.ok) throw new ServiceFault(result.fault);
    return result.value;
  };

const issuingAuthority = async (call: Call, tenant: string): Promise<AuthorityView | undefined> =>
  (await call(tenant, 'list-authorities', {})).items.find((item) => item.isDefault);

/** The tenant's authority, made where there is none. Two nodes that start at once want the same name: one of them makes it. */
async function ensureAuthority(call: Call, tenant: string): Promise<AuthorityView> {
  const found = await issuingAuthority(call, tenant);
  if (found !== undefined) return found;
  const request = { subject: `CN=Aegis CA ${tenant},O=Aegis`, names: [AUTHORITY_NAME] };
  try {
    return await call(tenant, 'create-authority', request);
  } catch (error) {
    if (!(error instanceof ServiceFault)) throw error;
    if (error.fault.code === 'already-exists') {
      const other = await issuingAuthority(call, tenant);
      if (other !== undefined) return other;
      // The name is taken by a retired authority, or by another object.
      return call(tenant, 'create-authority', { subject: request.subject });
    }
    if (error.fault.code !== 'unsupported-algorithm') throw error;
    return call(tenant, 'create-authority', { ...request, spec: 'ec-p256' });
  }
}

/** A key and its request, made by a process of its own: the server holds no client's key, not even for a moment. */
async function makeKeyFile(directory: string, file: string, algorithm: string): Promise<Buffer> {
  const cli = fileURLToPath(new URL('../cli/main.js', import.meta.url));
  const key = join(directory, `${file}-key.pem`);
  rmSync(`${key}.new`, { force: true });
  const { stdout } = await run(process.execPath, [cli, 'cert', 'request', '--key-out', `${key}.new`, '--key-algorithm', algorithm], {
    env: { PATH: process.env['PATH'] ?? '', HOME: directory },
    timeout: 60_000,
  });
  return fromPem(stdout);
}

interface Wish {
  readonly file: string;
  readonly tenant: string;
  readonly algorithm: string;
  readonly subject: string;
  readonly names: readonly string[];
  readonly purposes: readonly CertificatePurpose[];
  readonly days: number;
  readonly principalId?: string;
}

/** New key, new certificate. The key is put in place last but one, the certificate last: a pair that does not match is made anew. */
async function makeIdentityFiles(call: Call, directory: string, wish: Wish): Promise<void> {
  const csr = await makeKeyFile(directory, wish.file, wish.algorithm);
  const issued = await call(wish.tenant, 'issue-certificate', {
    csr: new Uint8Array(csr),
    subject: wish.subject,
    subjectAltNames: wish.names,
    purposes: wish.purposes,
    days: wish.days,
    ...(wish.principalId === undefined ? {} : { principalId: wish.principalId }),
  });
  const key = readFileSync(join(directory, `${wish.file}-key.pem.new`), 'utf8');
  writeFileDurably(directory, `${wish.file}-key.pem`, key);
  rmSync(join(directory, `${wish.file}-key.pem.new`), { force: true });
  writeFileDurably(directory, `${wish.file}.pem`, toPem(issued.certificate ?? new Uint8Array(0)));
}

/** The certificate in a file, if it is one and belongs to the key beside it. */
function readPair(directory: string, file: string): X509Certificate | undefined {
  const paths = [join(directory, `${file}.pem`), join(directory, `${file}-key.pem`)] as const;
  if (!paths.every((path) => existsSync(path))) return undefined;
  try {
    const certificate = new X509Certificate(readFileSync(paths[0]));
    const spki = createPublicKey(readFileSync(paths[1])).export({ format: 'der', type: 'spki' });
    return certificate.publicKey.export({ format: 'der', type: 'spki' }).equals(spki) ? certificate : undefined;
  } catch {
    return undefined;
  }
}

const isFresh = (certificate: X509Certificate, now: number): boolean => {
  const from = Date.parse(certificate.validFrom);
  const until = Date.parse(certificate.validTo);
  return until - now > (until - from) * RENEW_BELOW;
};

const fingerprintOf = (certificate: X509Certificate): string => certificate.fingerprint256.replaceAll(':', '').toLowerCase();

type Standing = 'active' | 'ended' | 'unknown';
async function standingOf(core: Pick<Core, 'storage'>, certificate: X509Certificate): Promise<Standing> {
  const issued = await core.storage.identity.issuedCertificate(fingerprintOf(certificate));
  if (issued === undefined) return 'unknown';
  const { object, authorityEnded } = issued;
  return !authorityEnded && !object.archived && effectiveState(object, Date.now()) === 'active' ? 'active' : 'ended';
}

const covers = (certificate: X509Certificate, names: readonly string[]): boolean =>
  names.every((name) => (isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name)) !== undefined);

/** Answers whether anything was made. */
async function ensureServer(core: Core, call: Call, directory: string, names: readonly string[]): Promise<boolean> {
  let made = false;
  for (const { file, algorithm } of SERVER_KEYS) {
    const present = readPair(directory, file);
    const stays =
      present !== undefined && isFresh(present, Date.now()) && covers(present, names) && (await standingOf(core, present)) === 'active';
    if (stays) continue;
    const subject = 'CN=aegis-kmip,O=Aegis';
    await makeIdentityFiles(call, directory, {
      file,
      tenant: 'default',
      algorithm,
      subject,
      names,
      purposes: ['server'],
      days: SERVER_DAYS,
    });
    made = true;
  }
  return made;
}

async function ensurePrincipal(call: Call, tenant: string, name: string): Promise<{ readonly id: string; readonly disabled: boolean }> {
  let cursor: string | undefined;
  do {
    const page = await call(tenant, 'list-principals', { kind: 'service', limit: PAGE, ...(cursor === undefined ? {} : { cursor }) });
    const found = page.items.find((principal) => principal.name === name);
    if (found !== undefined) return found;
    cursor = page.next;
  } while (cursor !== undefined);
  return call(tenant, 'create-principal', { kind: 'service', name, roles: ['kmip-client'] });
}

/** A revoked identity stays revoked, and a disabled principal gets none: both are an operator's decision. */
async function ensureClient(core: Core, call: Call, directory: string, client: (typeof CLIENTS)[number]): Promise<void> {
  const { file, tenant, principal: name } = client;
  const present = readPair(directory, file);
  if (present !== undefined) {
    const standing = await standingOf(core, present);
    const expired = Date.parse(present.validTo) <= Date.now();
    if ((standing === 'ended' && !expired) || (standing === 'active' && isFresh(present, Date.now()))) return;
  }
  await ensureAuthority(call, tenant);
  const principal = await ensurePrincipal(call, tenant, name);
  if (principal.disabled) return;
  const subject = `CN=${name},O=${tenant}`;
  const wish = { file, tenant, algorithm: 'ec-p256', subject, names: [], purposes: ['client' as const], days: CLIENT_DAYS };
  await makeIdentityFiles(call, directory, { ...wish, principalId: principal.id });
}

/** What clients verify the server with: every active authority of the operator's tenant, so that a rotation has both. */
async function writeAuthorities(call: Call, directory: string): Promise<void> {
  const { items } = await call('default', 'list-authorities', {});
  const bundle = items
    .filter((item) => item.state === 'active')
    .map((item) => toPem(item.certificate))
    .join('');
  const path = join(directory, 'ca.pem');
  if (!existsSync(path) || readFileSync(path, 'utf8') !== bundle) writeFileDurably(directory, 'ca.pem', bundle);
}

async function readServerTls(core: Core, directory: string): Promise<KmipServerTls> {
  const now = Date.now();
  const ca = (await core.storage.identity.authorities())
    .flatMap((authority) => (authority.content === undefined ? [] : [authority.content]))
    .filter((der) => Date.parse(new X509Certificate(Buffer.from(der)).validTo) > now)
    .map(toPem);
  const read = (name: string): string => readFileSync(join(directory, name), 'utf8');
  return { cert: SERVER_KEYS.map(({ file }) => read(`${file}.pem`)), key: SERVER_KEYS.map(({ file }) => read(`${file}-key.pem`)), ca };
}

const sameTls = (a: KmipServerTls, b: KmipServerTls): boolean => JSON.stringify([a.cert, a.ca]) === JSON.stringify([b.cert, b.ca]);

/**
 * Makes, at the first start, what a KMIP endpoint needs: an authority in the root of trust, the server's certificate, and
 * two client identities of two tenants, in `<dataDir>/kmip`. Later starts renew what is near its end; while the service runs
 * the server's certificate is renewed and the list of authorities kept up to date.
 */
export async function ensureKmipIdentity(core: Core, dataDir: string, options: KmipIdentityOptions = {}): Promise<KmipIdentity> {
  const directory = join(dataDir, 'kmip');
  const names = [...new Set([...LOCAL_NAMES, ...(options.names ?? []).filter((name) => !ANY_ADDRESS.includes(name))])];
  const call = makeCall(core);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  openDataDirectory(directory);
  try {
    await ensureAuthority(call, 'default');
    await ensureServer(core, call, directory, names);
    for (const client of CLIENTS) await ensureClient(core, call, directory, client);
    await writeAuthorities(call, directory);
  } catch (error) {
    if (!(error instanceof ServiceFault)) throw error;
    const { message, next, code } = error.fault;
    throw new StartError(`the KMIP identity could not be made: ${message} (${code})`, next ?? 'Look at the log.');
  }
  return watchIdentity(core, call, directory, names, await readServerTls(core, directory), options.log);
}

function watchIdentity(
  core: Core,
  call: Call,
  directory: string,
  names: readonly string[],
  first: KmipServerTls,
  log: KmipIdentityOptions['log'],
): KmipIdentity {
  const state = { tls: first, stopped: false, queued: undefined as NodeJS.Timeout | undefined, checkedAt: Date.now() };
  const listeners: (() => void)[] = [];

  const look = async (): Promise<void> => {
    if (Date.now() - state.checkedAt >= CHECK_EVERY_MS) {
      if (await ensureServer(core, call, directory, names)) log?.info({ directory }, 'KMIP server certificate renewed');
      state.checkedAt = Date.now();
    }
    const tls = await readServerTls(core, directory);
    if (sameTls(tls, state.tls)) return;
    state.tls = tls;
    await writeAuthorities(call, directory);
    for (const listener of listeners) listener();
  };
  const queue = (): void => {
    if (state.stopped || state.queued !== undefined) return;
    state.queued = setTimeout(() => {
      look()
        .catch((error: unknown) => {
          if (!state.stopped) log?.warn({ error: (error as Error).message }, 'the KMIP identity could not be checked');
        })
        .finally(() => {
          state.queued = undefined;
        });
    }, SETTLE_MS);
    state.queued.unref();
  };
  // Authorities are objects: the epoch moves with every change of any. One small question per settling time at most.
  core.storage.cluster.onChange(queue);
  const timer = setInterval(queue, CHECK_EVERY_MS / 60);
  timer.unref();

  return {
    directory,
    serverTls: () => state.tls,
    onChange: (listener) => void listeners.push(listener),
    stop() {
      state.stopped = true;
      clearInterval(timer);
      if (state.queued !== undefined) clearTimeout(state.queued);
    },
  };
}

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Algorithm } from '@aegis/rot-spi/vocabulary';
import type { Logger } from 'pino';
import type { Pkcs11Parts } from '../planes/pkcs11/contract.js';
import { makePkcs11Server, type Pkcs11Server } from '../planes/pkcs11/server.js';
import type { Config } from './config/load.js';
import type { Pkcs11SocketConfig } from './config/pkcs11.js';
import { writeFileDurably } from './data-directory.js';
import { ensureDoor } from './pkcs11-door.js';
import type { Core } from './service.js';
import { VERSION } from './version.js';

/** The PKCS#11 plane beside the others: its settings resolved, its door started, its addresses shown. */

export interface RunningPkcs11 {
  readonly addresses: readonly { readonly name: string; readonly address: string }[];
  /** Why it is not served; the rest of the service runs without it. */
  readonly problem: string | undefined;
  stop(): Promise<void>;
}

/** sun_path of a Unix socket, without the ending zero. */
const MAX_PATH_BYTES = 107;
const START_MS = 10_000;
const innerPathOf = (dataDir: string): string => join(dataDir, 'pkcs11-inner.sock');

/** Group number from /etc/group; Node has no call for it. */
const groupId = (name: string): number => {
  if (/^\d+$/.test(name)) return Number(name);
  const line = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((one) => one.startsWith(`${name}:`));
  const gid = Number(line?.split(':')[2]);
  if (line === undefined || !Number.isInteger(gid)) throw new Error(`there is no group “${name}”`);
  return gid;
};

const PAGE = 200;
const principalId = async (core: Core, tenant: string, named: string): Promise<string> => {
  const byId = await core.storage.identity.principal(tenant, named);
  if (byId !== undefined) return byId.id;
  let cursor: string | undefined;
  do {
    const page = await core.storage.identity.listPrincipals(tenant, {}, { limit: PAGE, ...(cursor === undefined ? {} : { cursor }) });
    const found = page.items.find((one) => one.name === named);
    if (found !== undefined) return found.id;
    cursor = page.next;
  } while (cursor !== undefined);
  throw new Error(`tenant “${tenant}” has no principal “${named}”`);
};

const toSocket = async (core: Core, one: Pkcs11SocketConfig) => {
  if (Buffer.byteLength(one.path) > MAX_PATH_BYTES)
    throw new Error(`${one.path} is longer than the ${MAX_PATH_BYTES} bytes a Unix socket may have`);
  const [tenant = 'default'] = one.tenants;
  return {
    name: one.name,
    path: one.path,
    mode: one.mode,
    tenants: one.tenants,
    publicSessions: one.publicSessions,
    ...(one.group === undefined ? {} : { gid: groupId(one.group) }),
    ...(one.principal === undefined ? {} : { principal: { tenant, id: await principalId(core, tenant, one.principal) } }),
  };
};

/** Key that seals what the door keeps across restarts; of this node, in its private directory. */
const sealKeyOf = (dataDir: string): Buffer => {
  try {
    const key = Buffer.from(readFileSync(join(dataDir, 'pkcs11-resume.key'), 'utf8').trim(), 'hex');
    if (key.length === 32) return key;
  } catch {
    // The first start makes it.
  }
  const key = randomBytes(32);
  writeFileDurably(dataDir, 'pkcs11-resume.key', `${key.toString('hex')}\n`);
  return key;
};

/** Algorithms the roots can do; asked again from time to time, because a root may be away at the start. */
const makeCanDo = (core: Core): Pkcs11Parts['canDo'] => {
  let known: ReadonlyMap<string, ReadonlySet<Algorithm>> = new Map();
  const look = async (): Promise<void> => {
    const rows = await Promise.all(
      core.registry.ids().map(async (id) => {
        const described = await core.registry.describe(id).catch(() => undefined);
        return described === undefined ? [] : [[id, new Set(described.algorithms.map((row) => row.algorithm))] as const];
      }),
    );
    known = new Map(rows.flat());
  };
  const refresh = (): void => void look().catch(() => undefined);
  refresh();
  setInterval(refresh, 30_000).unref();
  return (algorithm, rootId) => {
    if (known.size === 0) return true;
    // A root that has not been heard of yet is left to answer for itself.
    if (rootId !== undefined) return known.get(rootId)?.has(algorithm) ?? true;
    return [...known.values()].some((algorithms) => algorithms.has(algorithm));
  };
};

const [major = 0, minor = 0] = VERSION.split('.').map(Number);

async function serve(config: Config, core: Core, log: Logger): Promise<Pkcs11Server> {
  const sockets = await Promise.all(config.pkcs11.sockets.map((one) => toSocket(core, one)));
  const innerPath = innerPathOf(config.dataDir);
  if (Buffer.byteLength(innerPath) > MAX_PATH_BYTES)
    throw new Error(`${innerPath} is too long for a Unix socket; choose a shorter data directory`);
  const server = await makePkcs11Server({
    innerPath,
    sockets,
    sealKey: sealKeyOf(config.dataDir),
    parts: {
      service: core.service,
      clock: Date.now,
      nodeId: core.nodeId,
      version: { major: Math.min(major, 255), minor: Math.min(minor, 255) },
      canDo: makeCanDo(core),
      log: (event, message) => log.warn(event, message),
    },
  });
  try {
    ensureDoor(config.dataDir, innerPath);
    await server.untilListening(START_MS);
    return server;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** Undefined where configuration switches the plane off. A plane that cannot start says why and leaves the service running. */
export async function startPkcs11(config: Config, core: Core, log: Logger): Promise<RunningPkcs11 | undefined> {
  if (!config.pkcs11.enabled) return undefined;
  try {
    const server = await serve(config, core, log);
    return {
      addresses: config.pkcs11.sockets.map((one) => ({ name: 'pkcs11', address: `unix:${one.path}` })),
      problem: undefined,
      stop: () => server.stop(),
    };
  } catch (error) {
    const problem = (error as Error).message;
    log.error({ problem }, 'the PKCS#11 plane is not served');
    return { addresses: [], problem, stop: async () => undefined };
  }
}

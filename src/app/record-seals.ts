import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BoundKey, KeyBinding } from '@aegis/rot-spi';
import { canonicalJson } from '../audit/index.js';
import { type Change, FaultError, fail, type LoadedObject, type ManagedObject, type ObjectVersion } from '../domain/index.js';
import type { Journal } from '../guard/ports.js';
import type { RootRegistry } from '../keys/root-registry.js';
import type { CheckSeals, ClusterStore, SealStore, SettingStore, StoredSeals } from '../storage/ports.js';
import { StartError } from './start-error.js';

/**
 * Record seals: a MAC over each object and each version, under a key that only a root of trust can use, so that whoever can
 * write to the database can't swap a public key, undo a revocation, widen a usage mask or make a key exportable. Made when a
 * row is written, checked when one is read for use. A row put back together with its own old seal is not found out by this;
 * the audit log tells what came after it (docs/threat-model.md).
 */
const TENANT = 'system';
const SETTING = 'record-seal-key';
const ALGORITHM = 'hmac-sha256';
const SEAL_PAGE = 200;
const LOCK = 'record-seals';
const LOCK_PAUSE_MS = 50;

interface StoredKey {
  readonly rootId: string;
  readonly reference: string;
  readonly binding: KeyBinding;
}

const isStored = (value: unknown): value is StoredKey =>
  typeof value === 'object' && value !== null && 'reference' in value && 'binding' in value && 'rootId' in value;

const sha256 = (bytes: Uint8Array | undefined): string | null =>
  bytes === undefined ? null : createHash('sha256').update(bytes).digest('hex');

/** As the database gives it back: without what JSON has no form for, members in one order. */
const toBytes = (kind: string, value: object): Uint8Array => Buffer.from(canonicalJson([kind, JSON.parse(JSON.stringify(value))]));

/** Everything of the object's row but its counters, which move without it (docs/formats.md, "Record seals"). */
export const objectSealText = (object: ManagedObject): Uint8Array => {
  const { uses: _uses, usageLimits: _limits, content, ...rest } = object;
  return toBytes('aegis-object-1', { ...rest, content: sha256(content) });
};

/** What never changes of a version. Its reference is bound by the root itself, its state is the object's. */
export const versionSealText = ({ objectId, tenant, version, rootId, bits, createdAt, provenance, ...rest }: ObjectVersion): Uint8Array =>
  toBytes('aegis-version-1', {
    ...{ objectId, tenant, version, rootId, bits, createdAt, provenance },
    publicKey: sha256(rest.publicKey),
    digest: rest.digest === undefined ? null : Buffer.from(rest.digest).toString('hex'),
  });

type Seals = { readonly object: Uint8Array; readonly versions: readonly Uint8Array[] };

export interface RecordSeals {
  readonly check: CheckSeals;
  /** The journal with every change of an object sealed on its way. */
  sealing(journal: Journal): Journal;
}

interface Sealer {
  readonly keyId: string;
  seal(data: Uint8Array): Promise<Uint8Array>;
  holds(data: Uint8Array, mac: Uint8Array | undefined): Promise<boolean>;
}

const makeSealer = (registry: RootRegistry, { rootId, reference, binding }: StoredKey): Sealer => {
  const key: BoundKey = { reference: Buffer.from(reference, 'base64'), binding };
  return {
    keyId: binding.objectId,
    seal: async (data) => (await registry.call(rootId, 'mac', { key, algorithm: ALGORITHM, data })).mac,
    holds: async (data, mac) =>
      mac !== undefined && (await registry.call(rootId, 'macVerify', { key, algorithm: ALGORITHM, data, mac })).valid,
  };
};

const sealLoaded = async ({ seal }: Sealer, { object, versions }: LoadedObject): Promise<Seals> => {
  const [whole, ...parts] = await Promise.all([seal(objectSealText(object)), ...versions.map((v) => seal(versionSealText(v)))]);
  return { object: whole, versions: parts };
};

const sealChange = async (sealer: Sealer, change: Change): Promise<Change> => {
  switch (change.kind) {
    case 'insert-object':
      return { ...change, seals: await sealLoaded(sealer, change) };
    case 'update-object':
      return { ...change, seal: await sealer.seal(objectSealText(change.object)) };
    case 'insert-version':
      return { ...change, seal: await sealer.seal(versionSealText(change.version)) };
    default:
      return change;
  }
};
const needsSeal = ({ kind }: Change): boolean => kind === 'insert-object' || kind === 'update-object' || kind === 'insert-version';

const tampered = (what: string): FaultError =>
  fail('root-rejected', `The stored ${what} is not as this service wrote it.`, {
    next: 'Treat the database as tampered with or wrongly restored; see docs/runbooks.',
  });

const checkLoaded = async ({ holds }: Sealer, { object, versions }: LoadedObject, seals: StoredSeals): Promise<void> => {
  const [whole, ...parts] = await Promise.all([
    holds(objectSealText(object), seals.object),
    ...versions.map((version, index) => holds(versionSealText(version), seals.versions[index])),
  ]);
  if (!whole) throw tampered('object');
  if (!parts.every(Boolean)) throw tampered('key version');
};

export interface RecordSealParts {
  readonly registry: RootRegistry;
  readonly settings: SettingStore;
  readonly store: SealStore;
  readonly journal: Pick<Journal, 'commit'>;
  readonly cluster: Pick<ClusterStore, 'exclusively'>;
  readonly clock: () => number;
  /** The key's id as this node has seen it, kept outside the database; nothing on its first start. */
  readonly pin: { read(): string | undefined; write(keyId: string): void };
  readonly log: { info(details: object, message: string): void };
}

/** Makes the key in the default root and records that, in one transaction. */
const createKey = async ({ registry, journal, clock }: RecordSealParts): Promise<StoredKey> => {
  const binding: KeyBinding = {
    objectId: randomUUID(),
    version: 1,
    tenant: TENANT,
    spec: 'hmac-sha256',
    usage: ['mac', 'mac-verify'],
    exportable: false,
  };
  const rootId = registry.defaultRoot;
  const created = await registry.call(rootId, 'generateKey', { binding });
  const stored: StoredKey = { rootId, binding, reference: Buffer.from(created.reference).toString('base64') };
  const fault = await journal.commit(
    {
      tenant: TENANT,
      at: clock(),
      plane: 'internal',
      requestId: randomUUID(),
      actor: { kind: 'service', id: 'system:keys', name: 'system:keys', method: 'internal' },
      operation: 'create-key',
      action: 'keys:create',
      resource: { type: 'symmetric-key', id: binding.objectId, name: 'record seal key' },
      outcome: 'success',
      detail: { spec: binding.spec, root: rootId },
    },
    [{ kind: 'put-setting', tenant: TENANT, name: SETTING, value: stored }],
  );
  if (fault !== undefined) throw new FaultError(fault);
  return stored;
};

/** Rows from before there were seals get theirs, once, when the key is made. */
const sealExisting = async (sealer: Sealer, { store, log }: RecordSealParts): Promise<void> => {
  for (let count = 0; ; ) {
    const page = await store.unsealed(SEAL_PAGE);
    if (page.length === 0) return;
    for (const loaded of page) await store.seal(loaded, await sealLoaded(sealer, loaded));
    count += page.length;
    log.info({ objects: count }, 'sealing the objects of before');
  }
};

/**
 * The sealer of this database; its key is made on the very first start. A database without the key that this node has seen
 * has been replaced or robbed of it: nothing is sealed anew then, since that would vouch for whatever is in it.
 */
const open = async (parts: RecordSealParts): Promise<Sealer> => {
  const { settings, registry, pin } = parts;
  const found = await settings.setting(TENANT, SETTING);
  const known = pin.read();
  if (known !== undefined && (!isStored(found) || found.binding.objectId !== known))
    throw new StartError(
      'the database does not hold the record seal key that this node knows, so nothing in it can be trusted',
      'Restore the database; or, if it is another one on purpose, delete record-seal-key in the data directory.',
    );
  if (isStored(found)) {
    if (known === undefined) pin.write(found.binding.objectId);
    return makeSealer(registry, found);
  }
  const sealer = makeSealer(registry, await createKey(parts));
  await sealExisting(sealer, parts);
  pin.write(sealer.keyId);
  return sealer;
};

/**
 * Opens the seals. A root that can't make the key on the first start is no reason not to start: it is tried again with every
 * call that needs it, and until then those calls are refused. Rejects with a StartError for a database that is not the one
 * this node knows.
 */
export const openRecordSeals = async (parts: RecordSealParts): Promise<RecordSeals> => {
  let opening: Promise<Sealer> | undefined;
  const openAlone = async (): Promise<Sealer> => {
    for (;;) {
      const sealer = await parts.cluster.exclusively(LOCK, () => open(parts));
      if (sealer !== undefined) return sealer;
      await sleep(LOCK_PAUSE_MS);
    }
  };
  const sealer = (): Promise<Sealer> => {
    opening ??= openAlone().catch((error: unknown) => {
      opening = undefined;
      throw error;
    });
    return opening;
  };
  await sealer().catch((error: unknown) => {
    if (!(error instanceof FaultError)) throw error;
  });
  return {
    check: async (loaded, seals) => checkLoaded(await sealer(), loaded, seals),
    sealing: (journal) => ({
      intent: (record) => journal.intent(record),
      async commit(record, changes) {
        if (!changes.some(needsSeal)) return journal.commit(record, changes);
        let all: readonly Change[];
        try {
          const by = await sealer();
          all = await Promise.all(changes.map((change) => sealChange(by, change)));
        } catch (error) {
          if (!(error instanceof FaultError)) throw error;
          // The call did not succeed, and its record says so.
          return (await journal.commit({ ...record, outcome: 'failed', fault: error.fault.code }, [])) ?? error.fault;
        }
        return journal.commit(record, all);
      },
    }),
  };
};

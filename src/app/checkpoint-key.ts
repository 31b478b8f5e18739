import { randomUUID } from 'node:crypto';
import type { BoundKey, KeyBinding } from '@aegis/rot-spi';
import type { Change } from '../domain/index.js';
import type { Journal } from '../guard/ports.js';
import type { RootRegistry } from '../keys/root-registry.js';
import type { SettingStore } from '../storage/ports.js';

/**
 * The key that signs audit checkpoints. It lives in the default root, belongs to no tenant's callers, and is used by the
 * sequencer directly: a checkpoint that went through the guard would write records that need a checkpoint.
 */
const TENANT = 'system';
const SETTING = 'audit-checkpoint-key';

interface StoredKey {
  readonly rootId: string;
  readonly reference: string;
  readonly publicKey: string;
  readonly binding: KeyBinding;
}

export interface CheckpointKeyParts {
  readonly settings: SettingStore;
  readonly journal: Journal;
  readonly registry: RootRegistry;
  readonly clock: () => number;
}

const isStored = (value: unknown): value is StoredKey =>
  typeof value === 'object' && value !== null && 'reference' in value && 'binding' in value;

/** Makes the key in the default root and records that, in one transaction. */
async function createKey({ journal, registry, clock }: CheckpointKeyParts): Promise<StoredKey> {
  const rootId = registry.defaultRoot;
  const binding: KeyBinding = {
    objectId: randomUUID(),
    version: 1,
    tenant: TENANT,
    spec: 'ec-p256',
    usage: ['sign', 'verify'],
    exportable: false,
  };
  const created = await registry.call(rootId, 'generateKeyPair', { binding });
  const stored: StoredKey = {
    rootId,
    binding,
    reference: Buffer.from(created.reference).toString('base64'),
    publicKey: Buffer.from(created.publicKey ?? []).toString('base64'),
  };
  const changes: Change[] = [{ kind: 'put-setting', tenant: TENANT, name: SETTING, value: stored }];
  const fault = await journal.commit(
    {
      tenant: TENANT,
      at: clock(),
      plane: 'internal',
      requestId: randomUUID(),
      actor: { kind: 'service', id: 'system:audit', name: 'system:audit', method: 'internal' },
      operation: 'create-key-pair',
      action: 'keys:create',
      resource: { type: 'private-key', id: binding.objectId, name: 'audit checkpoint key' },
      outcome: 'success',
      detail: { spec: binding.spec, root: rootId },
    },
    changes,
  );
  if (fault !== undefined) throw new Error(`the audit checkpoint key could not be stored: ${fault.code}`);
  return stored;
}

/** Answers the signing function of the sequencer; makes the key on first use (only one node at a time gets here). */
export function makeCheckpointSigning(
  parts: CheckpointKeyParts,
): (data: Uint8Array) => Promise<{ keyId: string; algorithm: string; signature: Uint8Array; publicKey: Uint8Array }> {
  let known: StoredKey | undefined;
  return async (data) => {
    if (known === undefined) {
      const found = await parts.settings.setting(TENANT, SETTING);
      known = isStored(found) ? found : await createKey(parts);
    }
    const key: BoundKey = { reference: Buffer.from(known.reference, 'base64'), binding: known.binding };
    const { signature } = await parts.registry.call(known.rootId, 'sign', { key, algorithm: 'ecdsa-sha256', data });
    return { keyId: known.binding.objectId, algorithm: 'ecdsa-sha256', signature, publicKey: Buffer.from(known.publicKey, 'base64') };
  };
}

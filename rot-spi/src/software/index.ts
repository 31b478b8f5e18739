import { randomBytes } from 'node:crypto';
import type { SoftwareRootConfig } from '../config.js';
import type { BackEnd, RootCallName, RootDescription, RootHealth, RootOfTrust } from '../contract.js';
import { RootFault } from '../fault.js';
import { toRoot } from '../root.js';
import { makeSoftwareCalls, type SoftwareCalls } from './calls.js';
import { type Probed, probe } from './capabilities.js';
import { makeHsmWrapper } from './hsm-seal.js';
import { makeOpenedKeys } from './opened-keys.js';
import { makePublicKeys } from './public-keys.js';
import { encodeBinding, openReference, sealReference } from './reference.js';
import { openSealRing, type SealRing } from './seal-ring.js';
import { runSelfTest } from './self-test.js';

const DEFAULT_CACHE_ENTRIES = 10_000;
const PUBLIC_KEY_ENTRIES = 1_000;
/** Largest input of one call, bytes. */
const MAX_INPUT_BYTES = 33_554_432;

/** The trial depends on the runtime alone, so every root of a process shares it. */
let probed: Promise<Probed> | undefined;

const powersOf = (calls: SoftwareCalls, found: Probed): readonly RootCallName[] => {
  const kem = found.algorithms.some((line) => line.algorithm === 'ml-kem');
  const names = Object.keys(calls).filter((name) => name !== 'close') as RootCallName[];
  return names.filter((name) => kem || (name !== 'encapsulate' && name !== 'decapsulate'));
};

/** Seals and opens a throw-away reference. */
const tryRing = (ring: SealRing): void => {
  const binding = { objectId: 'health', version: 1, tenant: 'health', spec: 'secret', usage: [], exportable: false } as const;
  const provenance = { local: true, alwaysSensitive: true, neverExtractable: true };
  const material = randomBytes(32);
  const reference = sealReference(ring, binding, { kind: 'raw', provenance, material });
  const opened = openReference(ring, reference, encodeBinding(binding));
  if (!opened.material.equals(material))
    throw new RootFault('unavailable', 'a sealed reference came back changed', 'Check the memory of this machine.');
};

const checkHealth = (ring: SealRing): RootHealth => {
  const startedAt = performance.now();
  runSelfTest();
  tryRing(ring);
  const latencyMs = performance.now() - startedAt;
  try {
    ring.check();
  } catch (error) {
    // Keys in memory still work; the next start would not.
    if (!(error instanceof RootFault)) throw error;
    return { state: 'degraded', detail: error.next === undefined ? error.message : `${error.message}. ${error.next}`, latencyMs };
  }
  return { state: 'ready', latencyMs };
};

/**
 * A root of trust in this process: keys are sealed into their references (reference.ts) and opened with node:crypto.
 * Throws RootFault `sealed` when its sealing keys cannot be had, `unavailable` when a known-answer test fails.
 */
export const openSoftwareRoot = async (config: SoftwareRootConfig): Promise<RootOfTrust> => {
  runSelfTest();
  const { seal } = config;
  if (seal.kind !== 'pkcs11') return openSoftwareRootOn(await openSealRing(seal), config);
  const wrapper = makeHsmWrapper(seal, config.id);
  const create = seal.create === undefined ? {} : { create: seal.create };
  return openSoftwareRootOn(await openSealRing({ kind: 'wrapped', path: seal.path, wrapper, ...create }), config, { seal: 'pkcs11' });
};

/** The software engine over sealing keys that somebody else opened; closing the root closes them. */
export const openSoftwareRootOn = async (
  ring: SealRing,
  config: { readonly id: string; readonly kind: RootDescription['kind']; readonly cacheEntries?: number },
  facts: Readonly<Record<string, string>> = {},
): Promise<RootOfTrust> => {
  runSelfTest();
  probed ??= probe();
  const found = await probed;
  const keys = makeOpenedKeys(ring, config.cacheEntries ?? DEFAULT_CACHE_ENTRIES);
  const { close: closeCalls, ...calls } = makeSoftwareCalls({
    ring,
    keys,
    publicKeys: makePublicKeys(PUBLIC_KEY_ENTRIES),
    contexts: found.contexts,
  });
  let description: RootDescription | undefined;
  const describe = (): RootDescription => {
    if (description?.sealGeneration === ring.generation()) return description;
    description = {
      id: config.id,
      kind: config.kind,
      fingerprint: ring.fingerprint.toString('hex'),
      powers: powersOf({ ...calls, close: closeCalls }, found),
      specs: found.specs,
      algorithms: found.algorithms,
      hashes: found.hashes,
      maxInput: MAX_INPUT_BYTES,
      module: { ...found.module, ...facts },
      external: false,
      sealGeneration: ring.generation(),
    };
    return description;
  };
  const backEnd: BackEnd = {
    ...calls,
    describe: async () => describe(),
    health: async () => checkHealth(ring),
    close: async () => {
      closeCalls();
      keys.close();
      ring.close();
    },
  };
  return toRoot(backEnd);
};

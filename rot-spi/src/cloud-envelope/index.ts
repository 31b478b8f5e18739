import type { CloudRootConfig } from '../config.js';
import type { BackEnd, RootCallName, RootDescription, RootHealth, RootOfTrust } from '../contract.js';
import { RootFault } from '../fault.js';
import { toRoot } from '../root.js';
import { openSoftwareRootOn } from '../software/index.js';
import { type KekWrapper, openSealRing, type SealRing } from '../software/seal-ring.js';
import type { CloudKms } from './kms.js';
import { makeLayeredCalls } from './layered.js';

const DEFAULT_REFRESH_MS = 60_000;
const DEFAULT_GRACE_MS = 3_600_000;
/** A closed root asks the provider no more often than this. */
const REOPEN_MS = 1_000;

/** Only the provider that is asked for is loaded. */
const makeKms = async ({ provider }: CloudRootConfig): Promise<CloudKms> => {
  if (provider.kind === 'vault') return (await import('./vault/transit.js')).makeTransit(provider);
  return (await import('./aws/kms.js')).openAwsKms(provider);
};

const makeWrapper = (kms: CloudKms, key: string): KekWrapper => ({
  provider: kms.provider,
  wrap: (kek, context) => kms.wrapKek(key, kek, context),
  unwrap: (wrapped, context) => {
    if (wrapped.provider !== kms.provider)
      throw new RootFault(
        'sealed',
        `the seal was made by ${wrapped.provider}, not by ${kms.provider}`,
        'Configure the provider that sealed it.',
      );
    return kms.unwrapKek(wrapped, context);
  },
  isStale: async (wrapped) => {
    const current = await kms.currentVersion(key);
    return wrapped.key !== key || (current !== undefined && wrapped.version !== current);
  },
});

/** An engine over an opened seal. */
interface Engine {
  readonly root: RootOfTrust;
  readonly ring: SealRing;
}

const openLayered = (config: CloudRootConfig, kms: CloudKms, ring: SealRing, facts: Readonly<Record<string, string>>): RootOfTrust => {
  const calls = makeLayeredCalls(kms, ring);
  const description = (): RootDescription => ({
    id: config.id,
    kind: 'cloud-envelope',
    fingerprint: ring.fingerprint.toString('hex'),
    powers: Object.keys(calls) as RootCallName[],
    specs: kms.specs,
    algorithms: kms.algorithms,
    hashes: [],
    maxInput: kms.maxInput,
    module: { mode: 'layered', ...facts },
    external: true,
    sealGeneration: ring.generation(),
  });
  let described = description();
  const backEnd: BackEnd = {
    ...calls,
    describe: async () => {
      if (described.sealGeneration !== ring.generation()) described = description();
      return described;
    },
    health: async () => {
      const startedAt = performance.now();
      await kms.ping();
      return { state: 'ready', latencyMs: performance.now() - startedAt };
    },
    close: async () => ring.close(),
  };
  return toRoot(backEnd);
};

const openEngine = async (config: CloudRootConfig, kms: CloudKms): Promise<Engine> => {
  const { key, path, create } = config.seal;
  if (create === true) await kms.ensureSealingKey(key);
  const facts = await kms.facts().catch(() => ({}));
  const wrapper = makeWrapper(kms, key);
  const ring = await openSealRing({ kind: 'wrapped', path, wrapper, ...(create === undefined ? {} : { create }) });
  if (config.mode === 'layered') return { ring, root: openLayered(config, kms, ring, facts) };
  const cache = config.cacheEntries === undefined ? {} : { cacheEntries: config.cacheEntries };
  return {
    ring,
    root: await openSoftwareRootOn(ring, { id: config.id, kind: 'cloud-envelope', ...cache }, { mode: 'envelope', ...facts }),
  };
};

const withNext = (fault: RootFault): string => (fault.next === undefined ? fault.message : `${fault.message}. ${fault.next}`);

/** What the provider says of the seal itself; a time-out says nothing. */
const isRefusal = (error: unknown): error is RootFault => error instanceof RootFault && error.code !== 'unavailable';

/**
 * A root on a cloud key service. The provider is asked every `refreshMs` whether it still opens the seal: a refusal
 * (disabled, denied, deleted) closes the root at once and forgets every key in memory; silence does so after `graceMs`.
 * It opens again by itself when the provider does.
 */
export const openCloudRoot = async (config: CloudRootConfig): Promise<RootOfTrust> => {
  const kms = await makeKms(config);
  let engine: Engine | undefined;
  let reason: RootFault | undefined;
  let opening: Promise<Engine> | undefined;
  let triedAt = 0;
  let heardAt = Date.now();
  let ended = false;

  const forget = async (why: RootFault): Promise<void> => {
    const old = engine;
    engine = undefined;
    reason = why;
    await old?.root.close();
  };

  const open = async (): Promise<Engine> => {
    if (engine !== undefined) return engine;
    if (ended) throw new RootFault('unavailable', 'the root is closed');
    if (opening === undefined && reason !== undefined && Date.now() - triedAt < REOPEN_MS) throw reason;
    opening ??= (async () => {
      triedAt = Date.now();
      try {
        engine = await openEngine(config, kms);
        reason = undefined;
        heardAt = Date.now();
        return engine;
      } catch (error) {
        reason = error instanceof RootFault ? error : new RootFault('unavailable', 'the seal could not be opened');
        throw reason;
      } finally {
        opening = undefined;
      }
    })();
    return opening;
  };

  const refresh = async (): Promise<void> => {
    if (engine === undefined) {
      await open().catch(() => undefined);
      return;
    }
    try {
      await engine.ring.refresh();
      heardAt = Date.now();
    } catch (error) {
      if (isRefusal(error)) await forget(error);
      else if (Date.now() - heardAt > (config.graceMs ?? DEFAULT_GRACE_MS))
        await forget(new RootFault('unavailable', `${kms.provider} has not answered for too long; the keys in memory were forgotten`));
    }
  };

  await open();
  const refreshMs = config.refreshMs ?? DEFAULT_REFRESH_MS;
  const timer = setInterval(() => void refresh(), refreshMs);
  timer.unref();

  return {
    describe: async () => (await open()).root.describe(),
    health: async (): Promise<RootHealth> => {
      try {
        return await (await open()).root.health();
      } catch (error) {
        return { state: 'unavailable', detail: error instanceof RootFault ? withNext(error) : 'The provider could not be asked.' };
      }
    },
    call: async (name, request) => (await open()).root.call(name, request),
    close: async () => {
      if (ended) return;
      ended = true;
      clearInterval(timer);
      await engine?.root.close();
      engine = undefined;
      await kms.close();
    },
  };
};

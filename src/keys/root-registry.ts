import type { RootCallName, RootDescription, RootOfTrust, RootRequest, RootResponse } from '@aegis/rot-spi';
import type { Algorithm, KeySpec } from '@aegis/rot-spi/vocabulary';
import { fail, type ProtectionLevel, type RootView } from '../domain/index.js';
import { toFaultError } from './root-faults.js';

export interface RootRegistryOptions {
  /** By configured id, in order of configuration. */
  readonly roots: ReadonlyMap<string, RootOfTrust>;
  readonly defaultRoot: string;
  /** How long a capability report is believed, ms. Default 30,000; a rotated seal drops it at once. */
  readonly descriptionTtlMs?: number;
  /** For the view: how many processes serve this root. */
  readonly hostsOf?: (id: string) => number;
  readonly clock?: () => number;
}

/** What a caller wants of the root that is to hold a new object. */
export interface RootWish {
  readonly root?: string;
  readonly protection?: ProtectionLevel;
  readonly spec: KeySpec;
  readonly how: 'generate' | 'import';
  /** Take any root that can when the default cannot and neither root nor protection was asked for (opaque data). */
  readonly anyRoot?: boolean;
}

export interface ChosenRoot {
  readonly id: string;
  readonly description: RootDescription;
  readonly protection: ProtectionLevel;
}

export interface RootRegistry {
  readonly defaultRoot: string;
  ids(): readonly string[];
  /** Cached capability report; fault `not-found` for an unknown root, `root-unavailable` when it does not answer. */
  describe(id: string): Promise<RootDescription>;
  forget(id: string): void;
  /** Calls one root; every failure is a FaultError. */
  call<C extends RootCallName>(id: string, name: C, request: RootRequest<C>): Promise<RootResponse<C>>;
  /** Picks the root of a new object: asked for, by protection level, or the default — and checks that it can. */
  choose(wish: RootWish): Promise<ChosenRoot>;
  /** Refuses (`unsupported-algorithm`, with what would work) unless the root can do `algorithm` with keys of `spec`. */
  requireAlgorithm(id: string, algorithm: Algorithm, spec: KeySpec): Promise<void>;
  supports(description: RootDescription, algorithm: Algorithm, spec: KeySpec): boolean;
  protectionOf(description: RootDescription): ProtectionLevel;
  /** Root for a keyless call (random, digest): asked for, default, else the first that has the power. */
  withPower(power: RootCallName, root?: string): Promise<string>;
  view(id: string): Promise<RootView>;
}

const PROTECTION: Readonly<Record<RootDescription['kind'], ProtectionLevel>> = {
  software: 'software',
  pkcs11: 'hsm',
  'cloud-envelope': 'external',
};

const list = (ids: readonly string[]): string => ids.map((id) => `"${id}"`).join(', ');

export const makeRootRegistry = (options: RootRegistryOptions): RootRegistry => {
  const { roots, defaultRoot, descriptionTtlMs = 30_000, hostsOf, clock = Date.now } = options;
  if (!roots.has(defaultRoot)) throw new Error(`default root "${defaultRoot}" is not among the configured roots`);
  const ids = [...roots.keys()];
  const cache = new Map<string, { at: number; description: Promise<RootDescription> }>();

  const rootOf = (id: string): RootOfTrust => {
    const root = roots.get(id);
    if (root === undefined) {
      throw fail('not-found', 'No such root of trust.', { field: 'root', next: `Use one of ${list(ids)}.` });
    }
    return root;
  };

  const describe = (id: string): Promise<RootDescription> => {
    const root = rootOf(id);
    const hit = cache.get(id);
    if (hit !== undefined && clock() - hit.at < descriptionTtlMs) return hit.description;
    const description = root.describe().catch((error: unknown) => {
      // A failed report is not remembered: the next caller asks again.
      if (cache.get(id)?.description === description) cache.delete(id);
      throw toFaultError(error);
    });
    cache.set(id, { at: clock(), description });
    return description;
  };

  /** Reports of the roots that answer now; a dead one must not make the others unusable. */
  const reachable = async (): Promise<readonly ChosenRoot[]> => {
    const reports = await Promise.all(
      ids.map((id) =>
        describe(id).then(
          (description) => ({ id, description }),
          () => undefined,
        ),
      ),
    );
    return reports.flatMap((r) => (r === undefined ? [] : [{ ...r, protection: PROTECTION[r.description.kind] }]));
  };

  const can = (description: RootDescription, wish: RootWish): boolean =>
    description.specs.some((s) => s.spec === wish.spec && (wish.how === 'generate' ? s.generate : s.import));

  const alternatives = async (test: (d: RootDescription) => boolean, otherwise: string): Promise<string> => {
    const able = (await reachable()).filter((r) => test(r.description)).map((r) => r.id);
    return able.length === 0 ? otherwise : `Use ${list(able)}, which can.`;
  };

  const wanted = async (wish: RootWish): Promise<string> => {
    if (wish.root !== undefined) {
      rootOf(wish.root);
      return wish.root;
    }
    if (wish.protection === undefined) return defaultRoot;
    const level = (await reachable()).filter((r) => r.protection === wish.protection);
    const chosen = level.find((r) => r.id === defaultRoot) ?? level.find((r) => can(r.description, wish)) ?? level[0];
    if (chosen !== undefined) return chosen.id;
    throw fail('invalid-field', `No root of trust with protection level "${wish.protection}" is available.`, {
      field: 'protection',
      next: `Configured roots: ${list(ids)}.`,
    });
  };

  const choose = async (wish: RootWish): Promise<ChosenRoot> => {
    // It comes from a request: no message may be made from it before it is known to be a word.
    if (wish.protection !== undefined && !Object.values(PROTECTION).includes(wish.protection))
      throw fail('invalid-field', 'No such protection level.', { field: 'protection', next: 'Use software, hsm or external.' });
    const id = await wanted(wish);
    const description = await describe(id);
    const protection = PROTECTION[description.kind];
    if (wish.protection !== undefined && wish.protection !== protection) {
      throw fail('invalid-field', `Root "${id}" gives protection level "${protection}", not "${wish.protection}".`, {
        field: 'protection',
        next: 'Leave out root or protection, or make them agree.',
      });
    }
    if (can(description, wish)) return { id, description, protection };
    if (wish.anyRoot === true && wish.root === undefined && wish.protection === undefined) {
      const other = (await reachable()).find((r) => can(r.description, wish));
      if (other !== undefined) return other;
    }
    throw fail('unsupported-algorithm', `Root "${id}" cannot ${wish.how} ${wish.spec} keys.`, {
      field: 'spec',
      next: await alternatives((d) => can(d, wish), 'No configured root can; choose another spec (see get-root).'),
    });
  };

  /** Reports as sets, made once per report: every use of a key asks. */
  const indexes = new WeakMap<RootDescription, ReadonlySet<string>>();
  const supports = (description: RootDescription, algorithm: Algorithm, spec: KeySpec): boolean => {
    let index = indexes.get(description);
    if (index === undefined) {
      index = new Set(description.algorithms.flatMap((a) => a.specs.map((s) => `${a.algorithm} ${s}`)));
      indexes.set(description, index);
    }
    return index.has(`${algorithm} ${spec}`);
  };

  const requireAlgorithm = async (id: string, algorithm: Algorithm, spec: KeySpec): Promise<void> => {
    const description = await describe(id);
    if (supports(description, algorithm, spec)) return;
    const others = description.algorithms.filter((a) => a.specs.includes(spec)).map((a) => a.algorithm);
    const here = others.length === 0 ? '' : `With this key it can: ${others.join(', ')}. `;
    throw fail('unsupported-algorithm', `Root "${id}" cannot do ${algorithm} with ${spec} keys.`, {
      field: 'algorithm',
      next: here + (await alternatives((d) => supports(d, algorithm, spec), 'No configured root can.')),
    });
  };

  const call = async <C extends RootCallName>(id: string, name: C, request: RootRequest<C>): Promise<RootResponse<C>> => {
    try {
      return await rootOf(id).call(name, request);
    } catch (error) {
      throw toFaultError(error);
    }
  };

  const withPower = async (power: RootCallName, root?: string): Promise<string> => {
    const first = root ?? defaultRoot;
    if ((await describe(first)).powers.includes(power)) return first;
    const other = root === undefined ? (await reachable()).find((r) => r.description.powers.includes(power)) : undefined;
    if (other !== undefined) return other.id;
    throw fail('unsupported-operation', `Root "${first}" has no ${power}.`, {
      field: 'root',
      next: await alternatives((d) => d.powers.includes(power), 'No configured root has it.'),
    });
  };

  const view = async (id: string): Promise<RootView> => {
    const root = rootOf(id);
    const health = await root
      .health()
      .catch((error: unknown) => ({ state: 'unavailable' as const, detail: toFaultError(error).fault.message }));
    const description = await describe(id).catch(() => undefined);
    return {
      id,
      kind: description?.kind ?? 'unknown',
      state: health.state,
      ...(health.detail === undefined ? {} : { detail: health.detail }),
      ...(description === undefined ? {} : { fingerprint: description.fingerprint, description }),
      isDefault: id === defaultRoot,
      hosts: hostsOf?.(id) ?? 1,
    };
  };

  return {
    defaultRoot,
    ids: () => ids,
    describe,
    forget: (id) => void cache.delete(id),
    call,
    choose,
    requireAlgorithm,
    supports,
    protectionOf: (description) => PROTECTION[description.kind],
    withPower,
    view,
  };
};

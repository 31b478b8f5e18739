import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type BoundKey,
  type RootCallName,
  type RootDescription,
  RootFault,
  type RootOfTrust,
  type RootRequest,
  type RootResponse,
} from '@aegis/rot-spi';
import { openSoftwareRoot } from '@aegis/rot-spi/software';

export const openTestRoot = (id = 'software'): Promise<RootOfTrust> =>
  openSoftwareRoot({
    id,
    kind: 'software',
    seal: { kind: 'key-file', path: join(mkdtempSync(join(tmpdir(), 'aegis-keys-')), 'seal.key'), create: true },
  });

export interface TokenRoot extends RootOfTrust {
  /** Handles of the objects that are on the token now. */
  readonly onToken: () => readonly string[];
  /** Faults thrown instead of the next calls of that name. */
  readonly refuse: (name: RootCallName, ...faults: RootFault[]) => void;
  readonly calls: RootCallName[];
}

/**
 * A root that keeps its keys outside the database, like an HSM with token objects: the reference is only a handle, and
 * what it stands for is gone once destroyed. The cryptography behind it is the software root's.
 */
export const asTokenRoot = (inner: RootOfTrust, id = 'token'): TokenRoot => {
  const held = new Map<string, Uint8Array>();
  const faults = new Map<RootCallName, RootFault[]>();
  const calls: RootCallName[] = [];
  let next = 0;
  const handleOf = (reference: Uint8Array): string => Buffer.from(reference).toString('utf8');
  const opened = (key: BoundKey): BoundKey => {
    const reference = held.get(handleOf(key.reference));
    if (reference === undefined) throw new RootFault('key-not-found', 'the token object is gone');
    return { ...key, reference };
  };
  const inside = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null || value instanceof Uint8Array || Array.isArray(value)) return value;
    if ('reference' in value && 'binding' in value) return opened(value as BoundKey);
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, inside(v)]));
  };
  const outside = (response: object): object => {
    if (!('reference' in response)) return response;
    next += 1;
    const handle = `token-object-${next}`;
    held.set(handle, response.reference as Uint8Array);
    return { ...response, reference: new Uint8Array(Buffer.from(handle)) };
  };
  return {
    calls,
    onToken: () => [...held.keys()],
    refuse: (name, ...list) => void faults.set(name, [...(faults.get(name) ?? []), ...list]),
    describe: async (): Promise<RootDescription> => {
      const { sealGeneration: _, ...description } = await inner.describe();
      const powers = description.powers.filter((p) => p !== 'rotateSeal' && p !== 'rewrapReference');
      return { ...description, id, kind: 'pkcs11', external: true, powers };
    },
    health: () => inner.health(),
    close: async () => undefined,
    call: async <C extends RootCallName>(name: C, request: RootRequest<C>): Promise<RootResponse<C>> => {
      calls.push(name);
      const fault = faults.get(name)?.shift();
      if (fault !== undefined) throw fault;
      if (name === 'destroyKey') {
        held.delete(handleOf((request as RootRequest<'destroyKey'>).key.reference));
        return {} as RootResponse<C>;
      }
      return outside(await inner.call(name, inside(request) as RootRequest<C>)) as RootResponse<C>;
    },
  };
};

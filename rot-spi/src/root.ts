import { type Capabilities, REQUEST_CHECKS } from './checks/requests.js';
import { checkResponse } from './checks/responses.js';
import type { BackEnd, RootCallName, RootDescription, RootOfTrust, RootRequest, RootResponse } from './contract.js';
import { checkRsaPrivateKey } from './encoding/rsa-keys.js';
import { RootFault } from './fault.js';
import { KEY_SPECS } from './vocabulary/index.js';

/**
 * The checks around every implementer: what must hold before a back end sees a call, and what must hold of its answer.
 * They live here so that a new back end cannot forget one.
 *
 * Order of refusals: unknown power (`unsupported`), malformed request (`invalid-argument`, `limit-exceeded`), algorithm
 * that does not fit the key (`invalid-argument`) or that this root lacks (`unsupported`), usage mask (`usage-denied`),
 * exportability (`not-exportable`); only then is a reference opened (`reference-invalid`, `wrong-root`).
 */
export const toRoot = (backEnd: BackEnd): RootOfTrust => {
  let described: RootDescription | undefined;
  let capabilities: Capabilities | undefined;
  let closed = false;

  const describe = async (): Promise<RootDescription> => {
    const description = await backEnd.describe();
    if (description !== described) {
      capabilities = toCapabilities(backEnd, description);
      described = capabilities.description;
    }
    return capabilities?.description ?? description;
  };

  const invoke = async <C extends RootCallName>(name: C, request: RootRequest<C>): Promise<RootResponse<C>> => {
    const method = backEnd[name] as ((request: RootRequest<C>) => Promise<RootResponse<C>> | RootResponse<C>) | undefined;
    if (capabilities === undefined) await describe();
    if (method === undefined || !capabilities?.powers.has(name))
      throw new RootFault('unsupported', `this root does not serve ${String(name)}`, 'See the powers in its capability report.');
    if (typeof request !== 'object' || request === null) throw new RootFault('invalid-argument', 'the request is missing');
    const checked = REQUEST_CHECKS[name](request, capabilities);
    if (name === 'importKey') await checkSlowly(checked as RootRequest<'importKey'>);
    const pending = method(checked);
    return checkResponse(name, checked, pending instanceof Promise ? await pending : pending);
  };

  return {
    describe,
    health: async () => {
      if (closed) return { state: 'unavailable', detail: 'The root is closed.' };
      try {
        return await backEnd.health();
      } catch (error) {
        return { state: 'unavailable', detail: error instanceof RootFault ? withNext(error) : 'The health check of the root failed.' };
      }
    },
    call: async (name, request) => {
      if (closed) throw new RootFault('unavailable', 'the root is closed');
      try {
        return await invoke(name, request);
      } catch (error) {
        throw error instanceof RootFault ? error : toFault(name, error);
      }
    },
    close: async () => {
      if (closed) return;
      closed = true;
      await backEnd.close();
    },
  };
};

/** What takes too long for the checks that every call runs through. */
const checkSlowly = async ({ binding, format, material }: RootRequest<'importKey'>): Promise<void> => {
  const spec = KEY_SPECS[binding.spec];
  if (spec.family === 'rsa' && format === 'pkcs8') await checkRsaPrivateKey(spec, material);
};

const withNext = (fault: RootFault): string => (fault.next === undefined ? fault.message : `${fault.message}. ${fault.next}`);

/** The original message is dropped: a library may have put arguments into it. */
const toFault = (call: string, error: unknown): RootFault => {
  const code = (error as { readonly code?: unknown } | null)?.code;
  const detail = typeof code === 'string' && /^[A-Z0-9_]{1,64}$/.test(code) ? ` (${code})` : '';
  return new RootFault(
    'internal',
    `the back end failed unexpectedly in ${call}${detail}`,
    'Report this with the back end and its version.',
  );
};

/** A power is both reported and implemented, or it is neither. */
const toCapabilities = (backEnd: BackEnd, reported: RootDescription): Capabilities => {
  const powers = new Set(reported.powers.filter((power) => backEnd[power] !== undefined));
  const description = powers.size === reported.powers.length ? reported : { ...reported, powers: [...powers] };
  return {
    description,
    powers,
    algorithms: new Map(reported.algorithms.map((line) => [line.algorithm, { specs: new Set(line.specs), multiPart: line.multiPart }])),
    specs: new Map(reported.specs.map((line) => [line.spec, { generate: line.generate, import: line.import }])),
    hashes: new Set(reported.hashes),
  };
};

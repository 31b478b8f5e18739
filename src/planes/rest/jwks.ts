import { KEY_SPECS, type KeySpec } from '@aegis/rot-spi/vocabulary';
import type { Caller, GuardedService, ManagedObject, OperationRequest, Result } from '../../domain/index.js';
import { WireRefusal } from './problem.js';
import { toKid } from './public-key.js';
import { toBase64 } from './schema-kinds.js';
import { toJwk } from './views.js';

/**
 * /.well-known/jwks.json: the public keys that were published on purpose, by the tag `publish=jwks`, in one tenant.
 *
 * It is unauthenticated by nature, so the plane asks as the internal component `jwks`, which needs `locate` and
 * `get-public-key` and nothing else; what it may see is the guard's to decide. The set is kept for a while, so that
 * strangers can't make the service work: at most one round of calls per period, whoever asks.
 */
const JWKS_TAG = { name: 'publish', value: 'jwks' } as const;
const KEEP_MS = 30_000;
const KEEP_REFUSAL_MS = 2_000;
const MAX_KEYS = 200;
/** The newest versions of each key: enough for what was signed before a rotation. */
const MAX_VERSIONS = 5;

/** JWA name where key and usage leave only one (RFC 7518 §3.1, RFC 8037 §3.1, RFC 8812 §3.2). */
const ALGORITHM_BY_SPEC: Partial<Record<KeySpec, string>> = {
  'ec-p256': 'ES256',
  'ec-p384': 'ES384',
  'ec-p521': 'ES512',
  'ec-secp256k1': 'ES256K',
  ed25519: 'EdDSA',
  ed448: 'EdDSA',
};

function jwkFacts(object: ManagedObject): Record<string, string> {
  const signs = object.usage.includes('sign') || object.usage.includes('verify');
  const others = object.usage.some((u) => u === 'encrypt' || u === 'decrypt' || u === 'wrap' || u === 'unwrap' || u === 'agree');
  if (signs === others) return {};
  if (!signs) return { use: 'enc' };
  const alg = object.spec === undefined ? undefined : ALGORITHM_BY_SPEC[object.spec];
  return { use: 'sig', ...(alg === undefined ? {} : { alg }) };
}

const successOf = <T>(result: Result<T>): T => {
  if (!result.ok) throw new WireRefusal(result.fault);
  return result.value;
};

const isPair = (object: ManagedObject): boolean => object.spec !== undefined && KEY_SPECS[object.spec].shape === 'pair';

async function publishedKeys(service: GuardedService, caller: Caller): Promise<ManagedObject[]> {
  const request: OperationRequest<'locate'> = {
    types: ['private-key', 'public-key'],
    // What a deactivated key signed can still be verified; a compromised one must not be trusted.
    states: ['active', 'deactivated'],
    tags: { [JWKS_TAG.name]: JWKS_TAG.value },
    limit: MAX_KEYS,
  };
  const { items } = successOf(await service('locate', request, caller));
  const pairs = items.filter(isPair);
  // Private halves first: when both halves carry the tag, the key is named after the private one.
  return [...pairs.filter((o) => o.type === 'private-key'), ...pairs.filter((o) => o.type === 'public-key')];
}

async function jwksOf(service: GuardedService, caller: Caller): Promise<string> {
  const seen = new Set<string>();
  const keys: Record<string, unknown>[] = [];
  for (const object of await publishedKeys(service, caller)) {
    for (let version = object.currentVersion; version > Math.max(0, object.currentVersion - MAX_VERSIONS); version--) {
      const result = await service('get-public-key', { key: object.id, version }, caller);
      if (!result.ok) {
        // A version or key destroyed in between is not published; anything else must not look like a shorter list.
        if (result.fault.code === 'not-found' || result.fault.code === 'destroyed') continue;
        throw new WireRefusal(result.fault);
      }
      const identity = toBase64(result.value.publicKey);
      if (seen.has(identity)) continue;
      seen.add(identity);
      const jwk = jwkOrNothing(result.value.publicKey);
      if (jwk !== undefined) keys.push({ kid: toKid(object.id, version), ...jwkFacts(object), ...jwk });
    }
  }
  return JSON.stringify({ keys });
}

/** Kinds of key without a JWK form (in this runtime) can't be in the set. */
function jwkOrNothing(publicKey: Uint8Array): Record<string, unknown> | undefined {
  try {
    return toJwk(publicKey);
  } catch {
    return undefined;
  }
}

export function makeJwks(service: GuardedService, tenant: string): (requestId: string) => Promise<string> {
  let kept: { readonly until: number; readonly answer: Promise<string> } | undefined;
  return (requestId) => {
    if (kept !== undefined && Date.now() < kept.until) return kept.answer;
    const caller: Caller = { plane: 'internal', credential: { kind: 'internal', component: 'jwks' }, requestId, source: 'local', tenant };
    const answer = jwksOf(service, caller);
    kept = { until: Date.now() + KEEP_MS, answer };
    answer.catch(() => {
      kept = { until: Date.now() + KEEP_REFUSAL_MS, answer };
    });
    return answer;
  };
}

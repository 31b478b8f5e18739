import {
  ALGORITHMS,
  type Algorithm,
  type AlgorithmKind,
  isAlgorithm,
  KEY_SPECS,
  type KeyFamily,
  type KeySpec,
} from '@aegis/rot-spi/vocabulary';
import { fail, type ManagedObject } from '../domain/index.js';
import { badField } from './field-rules.js';
import type { RootRegistry } from './root-registry.js';

type Purpose = Exclude<AlgorithmKind, 'derive' | 'kem'>;
type Candidates = Partial<Record<KeyFamily, readonly Algorithm[]>>;

/** In order of preference; the first that the key's root can do is the default. The answer always names it. */
const DEFAULTS: Readonly<Record<Purpose, Candidates>> = {
  cipher: {
    aes: ['aes-gcm'],
    chacha20: ['chacha20-poly1305'],
    des3: ['des3-cbc-pkcs5'],
    rsa: ['rsa-oaep-sha256', 'rsa-oaep-sha1'],
  },
  signature: {
    rsa: ['rsa-pss-sha256', 'rsa-pkcs1-sha256'],
    'ml-dsa': ['ml-dsa'],
    'slh-dsa': ['slh-dsa'],
  },
  mac: { aes: ['aes-cmac'] },
  wrap: {
    aes: ['aes-kwp', 'aes-kw'],
    rsa: ['rsa-oaep-sha256-wrap', 'rsa-oaep-sha1-wrap'],
  },
  agree: { ec: ['ecdh'], xdh: ['xdh'] },
};

/** ECDSA takes the hash of the curve's strength (SP 800-57 part 1 §5.6.2). */
const ECDSA: Partial<Record<KeySpec, Algorithm>> = {
  'ec-p256': 'ecdsa-sha256',
  'ec-p384': 'ecdsa-sha384',
  'ec-p521': 'ecdsa-sha512',
  'ec-secp256k1': 'ecdsa-sha256',
};

const candidates = (spec: KeySpec, purpose: Purpose): readonly Algorithm[] => {
  const { family, hash } = KEY_SPECS[spec];
  if (purpose === 'signature' && family === 'ec') return [ECDSA[spec] ?? 'ecdsa-sha256'];
  if (purpose === 'signature' && family === 'eddsa') return [spec as 'ed25519' | 'ed448'];
  const mac = `hmac-${hash}`;
  if (purpose === 'mac' && family === 'hmac' && isAlgorithm(mac)) return [mac];
  return DEFAULTS[purpose][family] ?? [];
};

const NOUN: Readonly<Record<AlgorithmKind, string>> = {
  cipher: 'encryption',
  signature: 'signature',
  mac: 'MAC',
  wrap: 'key wrapping',
  derive: 'key derivation',
  agree: 'key agreement',
  kem: 'encapsulation',
};

/** The named algorithm, checked against the key: right kind, right family, and for HMAC keys their own hash. */
export const checkAlgorithm = (algorithm: string, spec: KeySpec, kind: AlgorithmKind, field = 'algorithm'): Algorithm => {
  if (!isAlgorithm(algorithm)) {
    throw fail('unsupported-algorithm', 'No such algorithm.', { field, next: 'See `get-root` for the algorithms and their names.' });
  }
  const row = ALGORITHMS[algorithm];
  const { family, hash } = KEY_SPECS[spec];
  if (row.kind !== kind) throw badField(field, `${algorithm} is not a ${NOUN[kind]} algorithm.`, 'Choose another algorithm.');
  if (!row.families.includes(family))
    throw badField(field, `${algorithm} does not work with ${spec} keys.`, 'Choose another algorithm or key.');
  if (kind === 'mac' && family === 'hmac' && row.hash !== hash) {
    throw badField(field, `The key is bound to hmac-${hash}.`, 'Leave the algorithm out, or use a key of the other hash.');
  }
  return algorithm;
};

/** The algorithm of a call: named, or the default of the spec; in either case one that the key's root can do. */
export const chooseAlgorithm = async (
  roots: RootRegistry,
  object: Pick<ManagedObject, 'rootId'>,
  spec: KeySpec,
  kind: Purpose,
  named: Algorithm | undefined,
  field = 'algorithm',
): Promise<Algorithm> => {
  if (named !== undefined) {
    const algorithm = checkAlgorithm(named, spec, kind, field);
    await roots.requireAlgorithm(object.rootId, algorithm, spec);
    return algorithm;
  }
  const list = candidates(spec, kind);
  const first = list[0];
  if (first === undefined) {
    throw fail('unsupported-algorithm', `${spec} keys have no default ${NOUN[kind]} algorithm.`, {
      field,
      next: 'Name one, or use another key.',
    });
  }
  const description = await roots.describe(object.rootId);
  const able = list.find((a) => roots.supports(description, a, spec));
  if (able !== undefined) return able;
  await roots.requireAlgorithm(object.rootId, first, spec);
  return first;
};

/** AEAD = a cipher with an authentication tag. */
export const isAead = (algorithm: Algorithm): boolean =>
  ALGORITHMS[algorithm].kind === 'cipher' && ALGORITHMS[algorithm].tagLength !== undefined;

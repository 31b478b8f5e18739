import { createPrivateKey, createPublicKey, getFips, getHashes } from 'node:crypto';
import type { AlgorithmCapability, KeyBinding, SpecCapability } from '../contract.js';
import {
  ALGORITHM_NAMES,
  ALGORITHMS,
  type Algorithm,
  type AlgorithmRow,
  HASH_BYTES,
  HASHES,
  type HashName,
  KEY_SPEC_NAMES,
  KEY_SPECS,
} from '../vocabulary/index.js';
import { agreeSecret, decapsulateSecret, encapsulateSecret } from './agreement.js';
import { decryptSymmetric, encryptSymmetric, symmetricCipher } from './ciphers.js';
import { deriveBytes } from './derivations.js';
import type { KeyMaterial, Spec } from './key-material.js';
import { computeMac } from './macs.js';
import { generatePairOf, generateSecret, localProvenance } from './new-keys.js';
import { makeOpenedKey, type OpenedKey, privateOf, secretOf } from './opened-keys.js';
import { decryptRsa, encryptRsa } from './rsa-ciphers.js';
import { TEST_RSA_PKCS8 } from './self-test.js';
import { checkSignature, honoursContext, makeSignature } from './signatures.js';
import { unwrapMaterial, wrapMaterial } from './wraps.js';

/** What this runtime's OpenSSL can do, found by doing it once at start with throw-away keys. */
export interface Probed {
  readonly specs: readonly SpecCapability[];
  readonly algorithms: readonly AlgorithmCapability[];
  readonly hashes: readonly HashName[];
  readonly module: Readonly<Record<string, string>>;
  /** Families whose signatures honour a context string here. */
  readonly contexts: ReadonlySet<Algorithm>;
}

const PROBE_MESSAGE = Buffer.from('0123456789abcdef0123456789abcdef');
/** How long a slow generator (SLH-DSA) may take before "it has begun" is answer enough. */
const PROBE_WAIT_MS = 20;

const probeBinding = (spec: Spec): KeyBinding => ({
  objectId: 'probe',
  version: 1,
  tenant: 'probe',
  spec: spec.name,
  usage: [],
  exportable: false,
});

const openedOf = (spec: Spec, material: KeyMaterial): OpenedKey =>
  makeOpenedKey(probeBinding(spec), material, localProvenance(probeBinding(spec)));

/** All RSA sizes are one code path, so one size is tried (with a fixed key) and sizes that do not fit are computed. */
const testRsa = (): KeyMaterial => {
  const privateKey = createPrivateKey({ key: Buffer.from(TEST_RSA_PKCS8, 'base64'), format: 'der', type: 'pkcs8' });
  return { kind: 'pkcs8', privateKey, publicKey: createPublicKey(privateKey) };
};

const makeProbeKey = async (spec: Spec): Promise<OpenedKey | 'slow' | undefined> => {
  try {
    if (spec.shape !== 'pair') return openedOf(spec, generateSecret(spec, undefined));
    if (spec.family === 'rsa') return openedOf(spec, testRsa());
    const pair = generatePairOf(spec).then((material) => openedOf(spec, material));
    if (spec.family !== 'slh-dsa') return await pair;
    pair.catch(() => undefined);
    return await Promise.race([pair, new Promise<'slow'>((resolve) => setTimeout(resolve, PROBE_WAIT_MS, 'slow').unref())]);
  } catch {
    return undefined;
  }
};

const agrees = (a: Uint8Array, b: Uint8Array): boolean => Buffer.from(a).equals(Buffer.from(b));

const tryCipher = (key: OpenedKey, algorithm: Algorithm): boolean => {
  const { spec } = key;
  if (spec.family === 'rsa') {
    const plaintext = algorithm === 'rsa-raw' ? Buffer.concat([Buffer.alloc(1), Buffer.alloc(spec.bits / 8 - 1, 1)]) : PROBE_MESSAGE;
    if (key.material.kind !== 'pkcs8') return false;
    return agrees(
      decryptRsa(key.material.privateKey, algorithm, encryptRsa(key.material.publicKey, algorithm, plaintext, {}), {}),
      plaintext,
    );
  }
  const { ciphertext, iv, tag } = encryptSymmetric(secretOf(key), spec, algorithm, PROBE_MESSAGE, {});
  const parameters = { ...(iv === undefined ? {} : { iv }), ...(tag === undefined ? {} : { tag }) };
  return agrees(decryptSymmetric(secretOf(key), spec, algorithm, ciphertext, parameters), PROBE_MESSAGE);
};

const trySignature = async (key: OpenedKey, algorithm: Algorithm): Promise<boolean> => {
  if (key.material.kind !== 'pkcs8') return false;
  const signature = await makeSignature(key, algorithm, PROBE_MESSAGE, {});
  return checkSignature(key.material.publicKey, algorithm, PROBE_MESSAGE, signature, {});
};

const tryWrap = (key: OpenedKey, algorithm: Algorithm): boolean => {
  const rsa = key.material.kind === 'pkcs8';
  const outward = key.material.kind === 'pkcs8' ? key.material.publicKey : secretOf(key);
  const { wrapped, iv } = wrapMaterial(outward, key.spec, algorithm, PROBE_MESSAGE, {});
  return agrees(
    unwrapMaterial(rsa ? privateOf(key) : secretOf(key), key.spec, algorithm, wrapped, iv === undefined ? {} : { iv }),
    PROBE_MESSAGE,
  );
};

const tryDerive = async (key: OpenedKey, algorithm: Algorithm): Promise<boolean> => {
  const parameters = {
    ...(algorithm.startsWith('pbkdf2') ? { salt: PROBE_MESSAGE, iterations: 1 } : {}),
    ...(algorithm.startsWith('sp800') ? { fixedInput: PROBE_MESSAGE } : {}),
    ...(algorithm.endsWith('-derive') ? { data: PROBE_MESSAGE, hash: 'sha256' as const } : {}),
    ...(algorithm === 'encrypt-derive' ? { cipher: key.spec.family === 'aes' ? ('aes-ecb' as const) : ('des3-ecb' as const) } : {}),
  };
  return (await deriveBytes(secretOf(key), key.spec, algorithm, parameters, 32)).length === 32;
};

const tryKem = (key: OpenedKey): boolean => {
  if (key.material.kind !== 'pkcs8') return false;
  const { sharedKey, ciphertext } = encapsulateSecret(key.material.publicKey);
  return agrees(decapsulateSecret(key.material.privateKey, ciphertext), sharedKey);
};

const attempt = async (key: OpenedKey, row: AlgorithmRow & { readonly name: Algorithm }): Promise<boolean> => {
  try {
    if (row.kind === 'cipher') return tryCipher(key, row.name);
    if (row.kind === 'signature') return await trySignature(key, row.name);
    if (row.kind === 'mac') return computeMac(secretOf(key), row.name, PROBE_MESSAGE).length > 0;
    if (row.kind === 'wrap') return tryWrap(key, row.name);
    if (row.kind === 'derive') return await tryDerive(key, row.name);
    if (row.kind === 'agree')
      return key.material.kind === 'pkcs8' && agreeSecret(key.material.privateKey, key.material.publicKey).length > 0;
    return tryKem(key);
  } catch {
    return false;
  }
};

/** Sizes RSA leaves no room in: OAEP needs 2·hLen + 2 bytes (RFC 8017 §7.1.1), PSS hLen + sLen + 2 (§9.1.1). */
const rsaFits = (spec: Spec, row: AlgorithmRow): boolean => {
  const bytes = spec.bits / 8;
  const hashBytes = row.hash === undefined ? 0 : HASH_BYTES[row.hash];
  if (row.name.startsWith('rsa-pss')) return Math.ceil((spec.bits - 1) / 8) >= 2 * hashBytes + 2;
  if (row.name.startsWith('rsa-oaep') || row.name === 'rsa-aes-kwp') return bytes - 2 * hashBytes - 2 >= (row.kind === 'wrap' ? 32 : 1);
  return true;
};

/** Whether the table lets this key do it at all; what it excludes is `invalid-argument`, not a missing capability. */
const fits = (spec: Spec, row: AlgorithmRow): boolean =>
  row.families.includes(spec.family) &&
  (spec.family !== 'eddsa' || row.name === spec.name) &&
  (spec.family !== 'hmac' || row.kind !== 'mac' || row.hash === spec.hash) &&
  (spec.family !== 'rsa' || rsaFits(spec, row));

const ONE_PART_FAMILIES = new Set(['eddsa', 'ml-dsa', 'slh-dsa']);

const isMultiPart = (row: AlgorithmRow): boolean => {
  if (row.kind === 'mac') return true;
  if (row.kind === 'cipher') return !row.families.includes('rsa') && row.name !== 'aes-ccm';
  return row.kind === 'signature' && row.hash !== undefined && !row.families.some((family) => ONE_PART_FAMILIES.has(family));
};

const mechanismOf = (row: AlgorithmRow & { readonly name: Algorithm }, specs: readonly Spec[]): string => {
  const [spec] = specs;
  const cipher = spec === undefined ? undefined : symmetricCipher(row.name, spec);
  if (cipher !== undefined) return `OpenSSL ${cipher.openssl.replace(`-${spec?.bits}-`, '-*-')}`;
  if (row.name === 'aes-kw' || row.name === 'aes-kwp') return `OpenSSL id-aes*-wrap${row.name === 'aes-kwp' ? '-pad' : ''}`;
  if (row.name === 'aes-cmac') return 'SP 800-38B over OpenSSL aes-*-cbc';
  if (row.name === 'ecdsa-raw') return 'OpenSSL EC, digest by blinded reduction';
  if (row.name.startsWith('sp800-108')) return `SP 800-108 over OpenSSL ${row.hash === undefined ? 'aes-*-cbc' : `HMAC-${row.hash}`}`;
  if (row.name === 'one-time-pad') return 'exclusive or';
  if (row.name.startsWith('hkdf')) return `RFC 5869 over OpenSSL HMAC-${row.hash}`;
  return `OpenSSL ${row.name}`;
};

const toCapability = async (
  algorithm: Algorithm,
  keys: ReadonlyMap<Spec, OpenedKey | 'slow'>,
): Promise<AlgorithmCapability | undefined> => {
  const row = ALGORITHMS[algorithm] as AlgorithmRow & { readonly name: Algorithm };
  const specs: Spec[] = [];
  let rsa: boolean | undefined;
  for (const [spec, key] of keys) {
    if (!fits(spec, row)) continue;
    if (spec.family === 'rsa') rsa ??= key !== 'slow' && (await attempt(openedOf(KEY_SPECS['rsa-2048'] as Spec, key.material), row));
    if (key === 'slow' || (spec.family === 'rsa' ? rsa : await attempt(key, row))) specs.push(spec);
  }
  if (specs.length === 0) return undefined;
  return {
    algorithm,
    specs: specs.map((spec) => spec.name),
    multiPart: isMultiPart(row),
    approval: row.approval,
    mechanism: mechanismOf(row, specs),
  };
};

const toSpecCapability = (spec: Spec): SpecCapability => ({
  spec: spec.name,
  generate: spec.importOnly !== true,
  import: true,
  nonExtractable: true,
  approval: spec.approval,
  ...(spec.importOnly ? { note: 'import and use only' } : {}),
});

const contextsOf = (keys: ReadonlyMap<Spec, OpenedKey | 'slow'>): ReadonlySet<Algorithm> => {
  const found = new Set<Algorithm>();
  for (const [spec, key] of keys) {
    if (key === 'slow' || key.material.kind !== 'pkcs8' || !['ed448', 'ml-dsa-44'].includes(spec.name)) continue;
    if (honoursContext(key.material.privateKey, key.material.publicKey)) found.add(spec.family === 'eddsa' ? 'ed448' : 'ml-dsa');
  }
  if (found.has('ml-dsa')) found.add('slh-dsa');
  return found;
};

/** Runs the trial. Under 200 ms on Node.js 20. */
export const probe = async (): Promise<Probed> => {
  const keys = new Map<Spec, OpenedKey | 'slow'>();
  for (const name of KEY_SPEC_NAMES) {
    const spec = KEY_SPECS[name] as Spec;
    const key = await makeProbeKey(spec);
    if (key !== undefined) keys.set(spec, key);
  }
  const algorithms: AlgorithmCapability[] = [];
  for (const name of ALGORITHM_NAMES) {
    const line = await toCapability(name, keys);
    if (line !== undefined) algorithms.push(line);
  }
  const known = new Set(getHashes());
  return {
    specs: [...keys.keys()].map(toSpecCapability),
    algorithms,
    hashes: HASHES.filter((hash) => known.has(hash)),
    contexts: contextsOf(keys),
    module: {
      library: 'OpenSSL',
      'library version': process.versions.openssl ?? 'unknown',
      runtime: `Node.js ${process.versions.node}`,
      'FIPS provider': getFips() === 1 ? 'on' : 'off',
    },
  };
};

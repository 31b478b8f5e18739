import type { BoundKey, KeyBinding, MaterialFormat, NewKey, VerificationKey } from '../contract.js';
import { checkEcPrivateKey, checkEcPublicKey } from '../encoding/ec-keys.js';
import { checkEdwardsEncoding } from '../encoding/edwards-keys.js';
import { RootFault } from '../fault.js';
import { isKeySpec, KEY_SPECS, KEY_USAGES, type KeySpec, type KeySpecRow, type KeyUsage } from '../vocabulary/index.js';
import {
  checkBytes,
  checkInteger,
  checkRecord,
  checkText,
  invalid,
  MAX_MATERIAL_BYTES,
  MAX_OBJECT_ID_CHARACTERS,
  MAX_PUBLIC_KEY_BYTES,
  MAX_REFERENCE_BYTES,
  MAX_SECRET_BYTES,
  MAX_TENANT_CHARACTERS,
  unsupported,
} from './primitives.js';

const USAGES: ReadonlySet<string> = new Set(KEY_USAGES);
const MAX_VERSION = 0xffff_ffff;

const checkSpec = (value: unknown): KeySpecRow & { readonly name: KeySpec } => {
  if (typeof value !== 'string' || !isKeySpec(value)) throw unsupported('this key specification is not known');
  return KEY_SPECS[value] as KeySpecRow & { readonly name: KeySpec };
};

export const checkBinding = (binding: KeyBinding): KeySpecRow & { readonly name: KeySpec } => {
  checkRecord(binding, 'binding');
  checkText(binding.objectId, 'binding.objectId', MAX_OBJECT_ID_CHARACTERS);
  checkText(binding.tenant, 'binding.tenant', MAX_TENANT_CHARACTERS);
  checkInteger(binding.version, 'binding.version', 1, MAX_VERSION);
  if (typeof binding.exportable !== 'boolean') throw invalid('binding.exportable must be true or false');
  if (!Array.isArray(binding.usage)) throw invalid('binding.usage must be a list');
  for (const usage of binding.usage) if (!USAGES.has(usage)) throw invalid('binding.usage names an unknown usage');
  return checkSpec(binding.spec);
};

export const checkBoundKey = (key: BoundKey, name = 'key'): KeySpecRow & { readonly name: KeySpec } => {
  checkRecord(key, name);
  checkBytes(key.reference, `${name}.reference`, MAX_REFERENCE_BYTES, 1);
  return checkBinding(key.binding);
};

export const isBound = (key: VerificationKey): key is BoundKey => 'reference' in key;

/** What no library says of a public key, or says by ending the process. */
const checkPoint = (spec: KeySpecRow, spki: Uint8Array): void => {
  if (spec.family === 'ec') checkEcPublicKey(spec, spki);
  if (spec.family === 'eddsa') checkEdwardsEncoding(spec, spki);
};

export const checkPublicKey = (publicKey: unknown, spec: unknown, name = 'publicKey'): KeySpecRow & { readonly name: KeySpec } => {
  const row = checkSpec(spec);
  if (row.shape !== 'pair') throw invalid(`${name}: ${row.name} has no public key`);
  const bytes = checkBytes(publicKey, name, MAX_PUBLIC_KEY_BYTES, 1);
  checkPoint(row, bytes);
  return row;
};

export const checkVerificationKey = (key: VerificationKey, name = 'key'): KeySpecRow & { readonly name: KeySpec } => {
  checkRecord(key, name);
  return isBound(key) ? checkBoundKey(key, name) : checkPublicKey(key.publicKey, key.spec, `${name}.publicKey`);
};

/** A public key is nobody's secret, so only a bound key has a mask to obey. */
export const checkUsage = (key: VerificationKey, anyOf: readonly KeyUsage[]): void => {
  if (!isBound(key)) return;
  if (!anyOf.some((usage) => key.binding.usage.includes(usage)))
    throw new RootFault(
      'usage-denied',
      `this key's usage mask does not include ${anyOf.join(' or ')}`,
      'Use a key created for it; a usage mask never changes.',
    );
};

export const checkExportable = (key: BoundKey): void => {
  if (!key.binding.exportable)
    throw new RootFault(
      'not-exportable',
      'this key was created non-exportable',
      'Exportability is decided when a key is made; create a new key if it must leave the root.',
    );
};

/** Bytes of a key of this spec; undefined where the spec leaves the length open. */
export const keyBytes = (spec: KeySpecRow): number | undefined => {
  if (spec.variableLength) return undefined;
  if (spec.name === 'des3-112') return 16; // 8 bytes a DES key, parity included (SP 800-67 §3.2)
  if (spec.name === 'des3-168' || spec.name === 'des3-weak') return 24;
  return spec.bits / 8;
};

/** SP 800-67 r2 §3.3.2: the single keys of a bundle must differ, or 3DES is single DES. Parity bits do not count. */
const checkDes3 = (material: Uint8Array): void => {
  const part = (index: number): string =>
    Buffer.from(material.subarray(index * 8, index * 8 + 8).map((byte) => byte & 0xfe)).toString('latin1');
  if (part(0) === part(1) || (material.length === 24 && part(1) === part(2))) throw invalid('the single DES keys of the bundle are equal');
};

export const checkMaterial = (spec: KeySpecRow, format: MaterialFormat, material?: Uint8Array): void => {
  if (format !== 'raw' && format !== 'pkcs8' && format !== 'spki') throw invalid('format must be raw, pkcs8 or spki');
  if ((spec.shape === 'pair') !== (format !== 'raw')) throw invalid(`${spec.name} does not travel as ${format}`);
  if (material === undefined) return;
  checkBytes(material, 'material', MAX_MATERIAL_BYTES, 1);
  if (format === 'spki') checkPoint(spec, material);
  if (format === 'pkcs8' && spec.family === 'ec') checkEcPrivateKey(spec, material);
  if (format !== 'raw') return;
  const exact = keyBytes(spec);
  if (exact !== undefined && material.length !== exact) throw invalid(`${spec.name} needs ${exact} bytes, not ${material.length}`);
  if (material.length > MAX_SECRET_BYTES) throw new RootFault('limit-exceeded', `a secret may have at most ${MAX_SECRET_BYTES} bytes`);
  if (spec.family === 'des3' && spec.name !== 'des3-weak') checkDes3(material);
};

/** What derive, agree and decapsulate may make: a secret value whose length is known beforehand or left open. */
export const checkNewSecret = (newKey: NewKey): KeySpecRow & { readonly name: KeySpec } => {
  checkRecord(newKey, 'newKey');
  const spec = checkBinding(newKey.binding);
  if (spec.shape === 'pair') throw invalid(`${spec.name} cannot be made from a derived value`);
  checkNewLength(spec, newKey.length);
  return spec;
};

export const checkNewLength = (spec: KeySpecRow, length: number | undefined): void => {
  if (length === undefined) return;
  checkInteger(length, 'newKey.length', 1, MAX_SECRET_BYTES);
  const exact = keyBytes(spec);
  if (exact !== undefined && length !== exact) throw invalid(`${spec.name} has ${exact} bytes, not ${length}`);
};

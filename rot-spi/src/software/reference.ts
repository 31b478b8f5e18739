import { createCipheriv, createDecipheriv, randomFillSync } from 'node:crypto';
import type { KeyBinding, KeyProvenance } from '../contract.js';
import { RootFault } from '../fault.js';
import { toUsageMask } from '../vocabulary/index.js';
import { FINGERPRINT_BYTES } from './seal-file.js';
import type { SealRing } from './seal-ring.js';

/**
 * A software root's reference: the key itself, sealed.
 *
 *   0x01 | fingerprint 16 | generation u32 | salt 16 | nonce 12 | AES-256-GCM(sealed key) | tag 16
 *
 * Associated data: everything before the nonce and every field of the binding, each variable one with its length before
 * it, so no two bindings have the same encoding.
 */
const FORMAT = 1;
const SALT_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const GENERATION_AT = 1 + FINGERPRINT_BYTES;
const SALT_AT = GENERATION_AT + 4;
const NONCE_AT = SALT_AT + SALT_BYTES;
const SEALED_AT = NONCE_AT + NONCE_BYTES;
/** Sealed content: format of the material, provenance flags, material. */
const CONTENT_AT = 2;

const MATERIAL_KINDS = ['raw', 'pkcs8', 'spki'] as const;
type MaterialKind = (typeof MATERIAL_KINDS)[number];

export interface SealedKey {
  readonly kind: MaterialKind;
  readonly provenance: KeyProvenance;
  /** Owned by the caller, who zeroes it. */
  readonly material: Buffer;
}

const LOCAL = 1;
const ALWAYS_SENSITIVE = 2;
const NEVER_EXTRACTABLE = 4;

/** Canonical encoding of a binding. The usage list is a set, so its order does not matter. */
export const encodeBinding = (binding: KeyBinding): Buffer => {
  const texts = [binding.objectId, binding.tenant, binding.spec].map((text) => Buffer.from(text, 'utf8'));
  const bytes = Buffer.alloc(texts.reduce((sum, text) => sum + 2 + text.length, 9));
  let at = 0;
  for (const text of texts) {
    at = bytes.writeUInt16BE(text.length, at);
    at += text.copy(bytes, at);
  }
  at = bytes.writeUInt32BE(binding.version, at);
  at = bytes.writeUInt32BE(toUsageMask([...new Set(binding.usage)]), at);
  bytes.writeUInt8(binding.exportable ? 1 : 0, at);
  return bytes;
};

const toFlags = (provenance: KeyProvenance): number =>
  (provenance.local ? LOCAL : 0) |
  (provenance.alwaysSensitive ? ALWAYS_SENSITIVE : 0) |
  (provenance.neverExtractable ? NEVER_EXTRACTABLE : 0);

const fromFlags = (flags: number): KeyProvenance => ({
  local: (flags & LOCAL) !== 0,
  alwaysSensitive: (flags & ALWAYS_SENSITIVE) !== 0,
  neverExtractable: (flags & NEVER_EXTRACTABLE) !== 0,
});

const gone = (): RootFault =>
  new RootFault('sealed', 'the current sealing key is not loaded', 'Restart the root; its sealing key file must be readable.');

export const sealReference = (ring: SealRing, binding: KeyBinding, key: SealedKey): Buffer => {
  const head = Buffer.alloc(SEALED_AT);
  head.writeUInt8(FORMAT, 0);
  ring.fingerprint.copy(head, 1);
  head.writeUInt32BE(ring.generation(), GENERATION_AT);
  randomFillSync(head, SALT_AT);
  const tokenKey = ring.tokenKey(ring.generation(), head.subarray(SALT_AT, NONCE_AT));
  if (tokenKey === undefined) throw gone();
  const content = Buffer.concat([Buffer.from([MATERIAL_KINDS.indexOf(key.kind), toFlags(key.provenance)]), key.material]);
  try {
    const cipher = createCipheriv('aes-256-gcm', tokenKey, head.subarray(NONCE_AT), { authTagLength: TAG_BYTES });
    cipher.setAAD(Buffer.concat([head.subarray(0, NONCE_AT), encodeBinding(binding)]));
    return Buffer.concat([head, cipher.update(content), cipher.final(), cipher.getAuthTag()]);
  } finally {
    tokenKey.fill(0);
    content.fill(0);
  }
};

const broken = (): RootFault =>
  new RootFault(
    'reference-invalid',
    'the key reference does not open under this binding',
    'It was altered, belongs to another object, or an attribute bound to it was changed; restore the object from a backup.',
  );

export const generationOf = (reference: Buffer): number => reference.readUInt32BE(GENERATION_AT);

/** Which root made it, before any key is touched. */
const checkOrigin = (ring: SealRing, reference: Buffer): void => {
  if (reference.length < SEALED_AT + CONTENT_AT + 1 + TAG_BYTES || reference[0] !== FORMAT) throw broken();
  if (!reference.subarray(1, GENERATION_AT).equals(ring.fingerprint))
    throw new RootFault(
      'wrong-root',
      'the key reference was made by another root of trust',
      'Configure the root that made it, with its own sealing key file.',
    );
};

const missingGeneration = (generation: number): RootFault =>
  new RootFault(
    'reference-invalid',
    `the key reference names sealing key generation ${generation}, which this root does not have`,
    'If the sealing key file was restored from an older copy, restore the newest one.',
  );

export const openReference = (ring: SealRing, reference: Uint8Array, encodedBinding: Buffer): SealedKey => {
  const bytes = Buffer.from(reference.buffer, reference.byteOffset, reference.byteLength);
  checkOrigin(ring, bytes);
  const tokenKey = ring.tokenKey(generationOf(bytes), bytes.subarray(SALT_AT, NONCE_AT));
  if (tokenKey === undefined) throw missingGeneration(generationOf(bytes));
  try {
    const decipher = createDecipheriv('aes-256-gcm', tokenKey, bytes.subarray(NONCE_AT, SEALED_AT), { authTagLength: TAG_BYTES });
    decipher.setAAD(Buffer.concat([bytes.subarray(0, NONCE_AT), encodedBinding])).setAuthTag(bytes.subarray(-TAG_BYTES));
    const content = decipher.update(bytes.subarray(SEALED_AT, -TAG_BYTES));
    try {
      decipher.final();
    } catch {
      content.fill(0);
      throw broken();
    }
    const kind = MATERIAL_KINDS[content[0] ?? -1];
    if (kind === undefined) throw broken();
    return { kind, provenance: fromFlags(content[1] ?? 0), material: content.subarray(CONTENT_AT) };
  } finally {
    tokenKey.fill(0);
  }
};

import type { KeyBinding, KeyProvenance } from '../contract.js';
import { RootFault } from '../fault.js';

/**
 * A reference of this back end (version 1), big-endian:
 *
 *     1  version          1  kind            16  fingerprint of the binding key
 *     1  provenance       4  bits             4  CKA_KEY_TYPE
 *     token:   16 CKA_ID
 *     wrapped: 16 CKA_ID of the wrapping key, 4 mechanism, 2+n wrapped key
 *     2+n SubjectPublicKeyInfo (n = 0 for secrets)
 *     rest: MAC by the binding key over the canonical binding and everything before
 *
 * The public key is inside so that public operations need neither a token object nor a search.
 */
const VERSION = 1;
const KINDS = ['token', 'wrapped', 'public'] as const;
export const FINGERPRINT_BYTES = 16;
export const ID_BYTES = 16;
const HEADER_BYTES = 2 + FINGERPRINT_BYTES + 9;

interface ReferenceBase {
  readonly fingerprint: Buffer;
  readonly provenance: KeyProvenance;
  readonly bits: number;
  readonly keyType: number;
  readonly spki: Buffer;
}
export type KeyLocation =
  | { readonly kind: 'token'; readonly id: Buffer }
  | { readonly kind: 'wrapped'; readonly wrappingId: Buffer; readonly mechanism: number; readonly blob: Buffer }
  | { readonly kind: 'public' };
export type Reference = ReferenceBase & KeyLocation;
/** What a key store knows; the fingerprint comes with the seal. */
export type Unsealed = Omit<ReferenceBase, 'fingerprint'> & KeyLocation;

const toFlags = (provenance: KeyProvenance): number =>
  (provenance.local ? 1 : 0) | (provenance.alwaysSensitive ? 2 : 0) | (provenance.neverExtractable ? 4 : 0);
const fromFlags = (flags: number): KeyProvenance => ({
  local: (flags & 1) !== 0,
  alwaysSensitive: (flags & 2) !== 0,
  neverExtractable: (flags & 4) !== 0,
});

const withLength = (bytes: Buffer): Buffer => {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
};

const encodeLocation = (reference: KeyLocation): Buffer => {
  if (reference.kind === 'token') return reference.id;
  if (reference.kind === 'public') return Buffer.alloc(0);
  const mechanism = Buffer.alloc(4);
  mechanism.writeUInt32BE(reference.mechanism);
  return Buffer.concat([reference.wrappingId, mechanism, withLength(reference.blob)]);
};

/** Everything but the MAC. */
export const encodeBody = (reference: Reference): Buffer => {
  const header = Buffer.alloc(HEADER_BYTES);
  header[0] = VERSION;
  header[1] = KINDS.indexOf(reference.kind) + 1;
  reference.fingerprint.copy(header, 2);
  header[18] = toFlags(reference.provenance);
  header.writeUInt32BE(reference.bits, 19);
  header.writeUInt32BE(reference.keyType, 23);
  return Buffer.concat([header, encodeLocation(reference), withLength(reference.spki)]);
};

const broken = (): RootFault =>
  new RootFault(
    'reference-invalid',
    'the key reference is not one of this root, or it is damaged',
    'Restore the row from a backup; check who changed it.',
  );

/** Takes `count` bytes at a time; throws `reference-invalid` at the end. */
const reader = (bytes: Buffer) => {
  let at = 0;
  return {
    take: (count: number): Buffer => {
      if (at + count > bytes.length) throw broken();
      at += count;
      return bytes.subarray(at - count, at);
    },
    takeSized(): Buffer {
      return this.take(this.take(2).readUInt16BE());
    },
    position: () => at,
  };
};

export interface DecodedReference {
  readonly reference: Reference;
  readonly body: Buffer;
  readonly mac: Buffer;
}

/** Structure only: nothing is believed before the MAC has been checked. */
export const decodeReference = (bytes: Buffer): DecodedReference => {
  const from = reader(bytes);
  const header = from.take(HEADER_BYTES);
  const kind = KINDS[(header[1] ?? 0) - 1];
  if (header[0] !== VERSION || kind === undefined) throw broken();
  const base = {
    fingerprint: header.subarray(2, 2 + FINGERPRINT_BYTES),
    provenance: fromFlags(header[18] ?? 0),
    bits: header.readUInt32BE(19),
    keyType: header.readUInt32BE(23),
  };
  const location = decodeLocation(kind, from);
  const spki = from.takeSized();
  const end = from.position();
  return { reference: { ...base, ...location, spki }, body: bytes.subarray(0, end), mac: bytes.subarray(end) };
};

const decodeLocation = (kind: KeyLocation['kind'], from: ReturnType<typeof reader>): KeyLocation => {
  if (kind === 'public') return { kind };
  if (kind === 'token') return { kind, id: from.take(ID_BYTES) };
  return { kind, wrappingId: from.take(ID_BYTES), mechanism: from.take(4).readUInt32BE(), blob: from.takeSized() };
};

const DOMAIN = Buffer.from('aegis-pkcs11-binding-v1\0', 'ascii');

/** What the MAC covers: the binding in one form (usages sorted, JSON array so that no two bindings share a text) and the body. */
export const macInput = (binding: KeyBinding, body: Buffer): Buffer => {
  const { objectId, version, tenant, spec, usage, exportable } = binding;
  const text = Buffer.from(JSON.stringify([objectId, version, tenant, spec, [...new Set(usage)].sort(), exportable]), 'utf8');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(text.length);
  return Buffer.concat([DOMAIN, length, text, body]);
};

export const brokenReference = broken;

export const sameBinding = (a: KeyBinding, b: KeyBinding): boolean =>
  a === b ||
  (a.objectId === b.objectId &&
    a.version === b.version &&
    a.tenant === b.tenant &&
    a.spec === b.spec &&
    a.exportable === b.exportable &&
    a.usage.length === b.usage.length &&
    a.usage.every((usage, index) => usage === b.usage[index]));

import { CKA } from './wire/codes.js';

/**
 * PKCS#11 attributes that the algebra has no field for, kept under `pkcs11:…` on the object. Byte values are hex, text is
 * text where it can be shown as such.
 */
export const STORED = {
  label: 'pkcs11:label',
  id: 'pkcs11:id',
  session: 'pkcs11:session',
  node: 'pkcs11:node',
  private: 'pkcs11:private',
  sensitive: 'pkcs11:sensitive',
  modifiable: 'pkcs11:modifiable',
  copyable: 'pkcs11:copyable',
  destroyable: 'pkcs11:destroyable',
  allowed: 'pkcs11:allowed-mechanisms',
  mechanism: 'pkcs11:key-gen-mechanism',
  category: 'pkcs11:certificate-category',
  empty: 'pkcs11:empty',
  keyType: 'pkcs11:key-type',
} as const;

/** Byte-string attributes an application may set and change freely; nothing here interprets them. */
const FREE_BYTES: ReadonlyMap<number, string> = new Map([
  [CKA.APPLICATION, 'pkcs11:application'],
  [CKA.OBJECT_ID, 'pkcs11:object-id'],
  [CKA.SUBJECT, 'pkcs11:subject'],
  [CKA.START_DATE, 'pkcs11:start-date'],
  [CKA.END_DATE, 'pkcs11:end-date'],
  [CKA.URL, 'pkcs11:url'],
  [CKA.HASH_OF_SUBJECT_PUBLIC_KEY, 'pkcs11:hash-of-subject-public-key'],
  [CKA.HASH_OF_ISSUER_PUBLIC_KEY, 'pkcs11:hash-of-issuer-public-key'],
]);

/** Vendor attributes (CKA_VENDOR_DEFINED and above) are kept as they come. */
const VENDOR_DEFINED = 0x8000_0000;
export const storedName = (type: number): string | undefined =>
  FREE_BYTES.get(type) ?? (type >= VENDOR_DEFINED ? `pkcs11:x-${type.toString(16)}` : undefined);

const HEX = 'hex:';
/** Characters that text in an attribute may not hold: they would be refused or mislead (guard against a lying listing). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding control characters is the point
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffd]/u;

/** Label bytes → what is stored: the text itself where it is plain UTF-8, else hex; one form for one label, so that it can be searched. */
export const toStoredText = (bytes: Uint8Array): string => {
  const text = Buffer.from(bytes).toString('utf8');
  const plain = !UNSAFE.test(text) && !text.startsWith(HEX) && Buffer.compare(Buffer.from(text), bytes) === 0;
  return plain ? text : HEX + Buffer.from(bytes).toString('hex');
};
export const fromStoredText = (text: string): Uint8Array =>
  text.startsWith(HEX) ? Buffer.from(text.slice(HEX.length), 'hex') : Buffer.from(text);
export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
export const fromHex = (text: unknown): Uint8Array | undefined => (typeof text === 'string' ? Buffer.from(text, 'hex') : undefined);

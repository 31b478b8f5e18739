import { randomBytes, timingSafeEqual } from 'node:crypto';
import {
  bodyOf,
  DerError,
  type DerNode,
  type DerPart,
  der,
  oid,
  oidText,
  readAll,
  readDer,
  readSequence,
  sequence,
  smallInteger,
  TAG,
  unsigned,
  unsignedOf,
  writeDer,
} from './der.js';
import type { Wiper } from './key-model.js';
import { decryptWithPassword, encryptWithPassword, macOf, makeOpening, type Opening } from './pkcs12-encryption.js';

// PKCS#12 (RFC 7292): one private key and its certificates under a password.

const OID = {
  data: '1.2.840.113549.1.7.1',
  encryptedData: '1.2.840.113549.1.7.6',
  keyBag: '1.2.840.113549.1.12.10.1.1',
  shroudedKeyBag: '1.2.840.113549.1.12.10.1.2',
  certBag: '1.2.840.113549.1.12.10.1.3',
  x509Certificate: '1.2.840.113549.1.9.22.1',
  friendlyName: '1.2.840.113549.1.9.20',
  localKeyId: '1.2.840.113549.1.9.21',
  sha256: '2.16.840.1.101.3.4.2.1',
} as const;
const CONTEXT_0 = 0xa0;
const PRIMITIVE_0 = 0x80;

interface Bag {
  readonly kind: string;
  /** PKCS#8 or certificate DER. */
  readonly bytes: Uint8Array;
  readonly friendlyName?: string;
  readonly localKeyId?: string;
}
export interface Pkcs12 {
  readonly pkcs8: Uint8Array;
  readonly friendlyName?: string;
  /** The key's own certificate first, then the rest in the order of issuers as far as they follow. */
  readonly certificates: readonly { readonly der: Uint8Array; readonly friendlyName?: string }[];
}

const contentOf = (info: Uint8Array): { readonly type: string; readonly content: Uint8Array } => {
  const [type, content] = readSequence(info);
  return { type: oidText(bodyOf(type, TAG.oid)), content: bodyOf(content, CONTEXT_0) };
};

const attributesOf = (set: DerNode | undefined): Pick<Bag, 'friendlyName' | 'localKeyId'> => {
  let found: { friendlyName?: string; localKeyId?: string } = {};
  for (const attribute of set === undefined ? [] : readAll(set.body)) {
    const [type, values] = readSequence(attribute.whole);
    const name = oidText(bodyOf(type, TAG.oid));
    const value = readAll(bodyOf(values, TAG.set))[0];
    if (name === OID.friendlyName && value?.tag === TAG.bmpString) {
      found = { ...found, friendlyName: Buffer.from(value.body).swap16().toString('utf16le') };
    }
    if (name === OID.localKeyId && value?.tag === TAG.octetString)
      found = { ...found, localKeyId: Buffer.from(value.body).toString('hex') };
  }
  return found;
};

const bagsOf = (safe: Uint8Array, opening: Opening): readonly Bag[] =>
  readSequence(safe).flatMap(({ whole }): readonly Bag[] => {
    const [type, value, attributes] = readSequence(whole);
    const kind = oidText(bodyOf(type, TAG.oid));
    const inner = bodyOf(value, CONTEXT_0);
    const beside = attributesOf(attributes);
    if (kind === OID.keyBag) return [{ kind: 'key', bytes: inner, ...beside }];
    if (kind === OID.shroudedKeyBag) {
      const [algorithm, data] = readSequence(inner);
      return [{ kind: 'key', bytes: decryptWithPassword(algorithm, opening, bodyOf(data, TAG.octetString)), ...beside }];
    }
    if (kind !== OID.certBag) return [];
    const [certType, certValue] = readSequence(inner);
    if (oidText(bodyOf(certType, TAG.oid)) !== OID.x509Certificate) return [];
    return [{ kind: 'certificate', bytes: bodyOf(readDer(bodyOf(certValue, CONTEXT_0)), TAG.octetString), ...beside }];
  });

const safeOf = (info: Uint8Array, opening: Opening): readonly Bag[] => {
  const { type, content } = contentOf(info);
  if (type === OID.data) return bagsOf(bodyOf(readDer(content), TAG.octetString), opening);
  if (type !== OID.encryptedData) throw new DerError('a safe that is not protected by a password');
  const [, encrypted] = readSequence(content);
  const [, algorithm, data] = readSequence(encrypted?.whole ?? content);
  if (data?.tag !== PRIMITIVE_0) throw new DerError('an encoding that is not DER');
  return bagsOf(decryptWithPassword(algorithm, opening, data.body), opening);
};

const checkMac = (macData: DerNode | undefined, { password, spend }: Opening, content: Uint8Array): void => {
  if (macData === undefined) throw new DerError('no MAC');
  const [info, salt, count] = readSequence(macData.whole);
  const [algorithm, digest] = readSequence(info?.whole ?? macData.whole);
  const digestOid = oidText(bodyOf(readSequence(algorithm?.whole ?? macData.whole)[0], TAG.oid));
  const iterations = count === undefined ? 1 : unsignedOf(count).reduce((value, byte) => value * 256 + byte, 0);
  spend(iterations * 4);
  const expected = bodyOf(digest, TAG.octetString);
  const mac = macOf(digestOid, password, bodyOf(salt, TAG.octetString), iterations, content);
  if (mac.length !== expected.length || !timingSafeEqual(mac, expected)) throw new DerError('the password');
};

/** Issuer and subject of a certificate, as DER. */
const namesOf = (certificate: Uint8Array): { readonly issuer: string; readonly subject: string } => {
  const [tbs] = readSequence(certificate);
  const fields = readSequence(tbs?.whole ?? certificate);
  const offset = fields[0]?.tag === CONTEXT_0 ? 1 : 0;
  const hex = (node: DerNode | undefined): string => Buffer.from(node?.whole ?? []).toString('hex');
  return { issuer: hex(fields[offset + 2]), subject: hex(fields[offset + 4]) };
};

const chainFrom = (first: Bag, all: readonly Bag[]): readonly Bag[] => {
  const chain = [first];
  for (;;) {
    const { issuer, subject } = namesOf((chain.at(-1) as Bag).bytes);
    const next = issuer === subject ? undefined : all.find((bag) => !chain.includes(bag) && namesOf(bag.bytes).subject === issuer);
    if (next === undefined) return [...chain, ...all.filter((bag) => !chain.includes(bag))];
    chain.push(next);
  }
};

/**
 * The private key of that friendly name (any, where none is asked for) and its certificates.
 * @throws DerError for a wrong password, a damaged file, an algorithm nobody uses, or no such key
 */
export const readPkcs12 = (bytes: Uint8Array, password: Uint8Array, friendlyName: string | undefined, wiper: Wiper): Pkcs12 => {
  const [, auth, macData] = readSequence(bytes);
  const { type, content } = contentOf(auth?.whole ?? bytes);
  if (type !== OID.data) throw new DerError('a file that is not protected by a password');
  const safe = bodyOf(readDer(content), TAG.octetString);
  const opening = makeOpening(password, wiper);
  checkMac(macData, opening, safe);
  const bags = readSequence(safe).flatMap(({ whole }) => safeOf(whole, opening));
  // The names match without regard to case (RFC 2985 §5.5.1).
  const wanted = friendlyName?.toLowerCase();
  const key = bags.find((bag) => bag.kind === 'key' && (wanted === undefined || bag.friendlyName?.toLowerCase() === wanted));
  if (key === undefined) throw new DerError('no such private key');
  const certificates = bags.filter((bag) => bag.kind === 'certificate');
  const own = certificates.find((bag) => bag.localKeyId !== undefined && bag.localKeyId === key.localKeyId) ?? certificates[0];
  return {
    pkcs8: key.bytes,
    ...(key.friendlyName === undefined ? {} : { friendlyName: key.friendlyName }),
    certificates: (own === undefined ? [] : chainFrom(own, certificates)).map(({ bytes: one, friendlyName: name }) => ({
      der: one,
      ...(name === undefined ? {} : { friendlyName: name }),
    })),
  };
};

const bmp = (text: string): DerPart => {
  const bytes = Buffer.from(text, 'utf16le').swap16();
  return der(TAG.bmpString, bytes);
};
const attribute = (name: string, value: DerPart): DerPart => sequence(oid(name), der(TAG.set, value));
const bag = (kind: string, value: DerPart, attributes: readonly DerPart[]): DerPart =>
  sequence(oid(kind), der(CONTEXT_0, value), ...(attributes.length === 0 ? [] : [der(TAG.set, ...attributes)]));
const octets = (part: DerPart): DerPart => der(TAG.octetString, part);
const contentInfo = (part: DerPart): DerPart => sequence(oid(OID.data), der(CONTEXT_0, octets(part)));

const MAC_ITERATIONS = 10_000;

/** Key and certificates under the password; certificates in the order given, the key's own first. */
export const writePkcs12 = (
  pkcs8: Uint8Array,
  certificates: readonly Uint8Array[],
  password: Uint8Array,
  friendlyName: string,
): Uint8Array => {
  const keyId = attribute(OID.localKeyId, octets(Uint8Array.of(1)));
  const named = [attribute(OID.friendlyName, bmp(friendlyName)), keyId];
  const shrouded = encryptWithPassword(pkcs8, password);
  const keySafe = sequence(bag(OID.shroudedKeyBag, sequence(shrouded.algorithm, octets(shrouded.data)), named));
  const certificateBags = certificates.map((certificate, at) =>
    bag(OID.certBag, sequence(oid(OID.x509Certificate), der(CONTEXT_0, octets(certificate))), at === 0 ? named : []),
  );
  const infos = [contentInfo(keySafe), ...(certificateBags.length === 0 ? [] : [contentInfo(sequence(...certificateBags))])];
  const safe = writeDer(sequence(...infos));
  const salt = randomBytes(16);
  const mac = macOf(OID.sha256, password, salt, MAC_ITERATIONS, safe);
  const digestInfo = sequence(sequence(oid(OID.sha256), der(TAG.null)), octets(mac));
  const iterations = unsigned(Uint8Array.of(MAC_ITERATIONS >> 8, MAC_ITERATIONS & 0xff));
  return writeDer(sequence(smallInteger(3), contentInfo(safe), sequence(digestInfo, octets(salt), iterations)));
};

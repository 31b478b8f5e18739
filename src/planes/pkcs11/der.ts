/** Just enough DER (X.690) to take keys and certificates apart for their attributes, and to put imported keys together. */

export interface Element {
  readonly tag: number;
  /** Whole element, tag and length included. */
  readonly whole: Uint8Array;
  readonly content: Uint8Array;
}

/** The element at the start of `bytes`, or undefined where there is none. */
export const readElement = (bytes: Uint8Array): Element | undefined => {
  const tag = bytes[0];
  const first = bytes[1];
  if (tag === undefined || first === undefined) return undefined;
  const long = first >= 0x80 ? first - 0x80 : 0;
  if (long > 4 || bytes.length < 2 + long || first === 0x80) return undefined;
  let length = long === 0 ? first : 0;
  for (let n = 0; n < long; n += 1) length = length * 256 + (bytes[2 + n] ?? 0);
  const start = 2 + long;
  if (start + length > bytes.length) return undefined;
  return { tag, whole: bytes.subarray(0, start + length), content: bytes.subarray(start, start + length) };
};

/** The elements of a constructed content, as far as they can be read. */
const readChildren = (content: Uint8Array): readonly Element[] => {
  const children: Element[] = [];
  let rest = content;
  for (let child = readElement(rest); child !== undefined; child = readElement(rest)) {
    children.push(child);
    rest = rest.subarray(child.whole.length);
  }
  return children;
};

const element = (tag: number, ...contents: readonly Uint8Array[]): Buffer => {
  const content = Buffer.concat(contents);
  const length: number[] = [];
  for (let rest = content.length; rest > 0; rest = Math.floor(rest / 256)) length.unshift(rest % 256);
  const header = content.length < 0x80 ? [tag, content.length] : [tag, 0x80 + length.length, ...length];
  return Buffer.concat([Uint8Array.from(header), content]);
};

const withoutLeadingZeros = (bytes: Uint8Array): Uint8Array => {
  let at = 0;
  while (at < bytes.length - 1 && bytes[at] === 0) at += 1;
  return bytes.subarray(at);
};
/** Unsigned big-endian number as INTEGER. */
const integer = (bytes: Uint8Array): Buffer => {
  const minimal = bytes.length === 0 ? Uint8Array.of(0) : withoutLeadingZeros(bytes);
  return element(0x02, (minimal[0] ?? 0) >= 0x80 ? Buffer.concat([Uint8Array.of(0), minimal]) : minimal);
};
export const unsigned = withoutLeadingZeros;
const sequence = (...contents: readonly Uint8Array[]): Buffer => element(0x30, ...contents);
export const octets = (bytes: Uint8Array): Buffer => element(0x04, bytes);
const bits = (bytes: Uint8Array): Buffer => element(0x03, Uint8Array.of(0), bytes);

export interface CertificateParts {
  readonly serial: Uint8Array;
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly publicKey: Uint8Array;
}
/** Issuer, subject, serial and key of a certificate, each as its own DER (RFC 5280 §4.1). */
export const certificateParts = (der: Uint8Array): CertificateParts | undefined => {
  const tbs = readElement(readElement(der)?.content ?? new Uint8Array(0));
  const fields = readChildren(tbs?.content ?? new Uint8Array(0));
  const at = fields[0]?.tag === 0xa0 ? 1 : 0;
  const [serial, issuer, subject, publicKey] = [fields[at], fields[at + 2], fields[at + 4], fields[at + 5]];
  if (serial?.tag !== 0x02 || issuer?.tag !== 0x30 || subject?.tag !== 0x30 || publicKey?.tag !== 0x30) return undefined;
  return { serial: serial.whole, issuer: issuer.whole, subject: subject.whole, publicKey: publicKey.whole };
};

export interface PublicParts {
  /** RSA: modulus and exponent without sign byte. */
  readonly modulus?: Uint8Array;
  readonly exponent?: Uint8Array;
  /** Content of the BIT STRING: the point of EC keys, the raw key of the others. */
  readonly point: Uint8Array;
}
/** SubjectPublicKeyInfo → what PKCS#11 shows of it. */
export const publicParts = (spki: Uint8Array, rsa: boolean): PublicParts | undefined => {
  const [, key] = readChildren(readElement(spki)?.content ?? new Uint8Array(0));
  if (key?.tag !== 0x03) return undefined;
  const point = key.content.subarray(1);
  if (!rsa) return { point };
  const [modulus, exponent] = readChildren(readElement(point)?.content ?? new Uint8Array(0));
  if (modulus?.tag !== 0x02 || exponent?.tag !== 0x02) return undefined;
  return { point, modulus: unsigned(modulus.content), exponent: unsigned(exponent.content) };
};

const RSA_ALGORITHM = Buffer.from('300d06092a864886f70d0101010500', 'hex');
const EC_PUBLIC_KEY = Buffer.from('06072a8648ce3d0201', 'hex');

export const rsaSpki = (modulus: Uint8Array, exponent: Uint8Array): Buffer =>
  sequence(RSA_ALGORITHM, bits(sequence(integer(modulus), integer(exponent))));
export const ecSpki = (parameters: Uint8Array, point: Uint8Array): Buffer => sequence(sequence(EC_PUBLIC_KEY, parameters), bits(point));
/** Edwards and Montgomery keys (RFC 8410 §4). */
export const rawSpki = (oid: Uint8Array, key: Uint8Array): Buffer => sequence(sequence(oid), bits(key));

const VERSION_0 = integer(Uint8Array.of(0));
/** RSAPrivateKey in PKCS#8; the eight numbers in the order of RFC 8017 §A.1.2. */
export const rsaPkcs8 = (numbers: readonly Uint8Array[]): Buffer =>
  sequence(VERSION_0, RSA_ALGORITHM, octets(sequence(VERSION_0, ...numbers.map(integer))));
/** ECPrivateKey (RFC 5915) in PKCS#8. */
export const ecPkcs8 = (parameters: Uint8Array, scalar: Uint8Array): Buffer =>
  sequence(VERSION_0, sequence(EC_PUBLIC_KEY, parameters), octets(sequence(integer(Uint8Array.of(1)), octets(scalar))));
export const rawPkcs8 = (oid: Uint8Array, key: Uint8Array): Buffer => sequence(VERSION_0, sequence(oid), octets(octets(key)));

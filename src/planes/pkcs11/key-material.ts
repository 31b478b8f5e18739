import { createPrivateKey } from 'node:crypto';
import { KEY_SPECS, type KeySpec } from '@aegis/rot-spi/vocabulary';
import { ecPkcs8, ecSpki, rawPkcs8, rawSpki, readElement, rsaPkcs8, rsaSpki, unsigned } from './der.js';
import { curveOf } from './key-types.js';
import { rv } from './rv.js';
import type { Template } from './templates.js';
import { CKA, CKK } from './wire/codes.js';

/** Material in a template → the encodings the service takes in, and back for what may be read. */
export interface Material {
  readonly spec: KeySpec;
  readonly bytes: Uint8Array;
}

const RSA_NUMBERS = [
  CKA.MODULUS,
  CKA.PUBLIC_EXPONENT,
  CKA.PRIVATE_EXPONENT,
  CKA.PRIME_1,
  CKA.PRIME_2,
  CKA.EXPONENT_1,
  CKA.EXPONENT_2,
  CKA.COEFFICIENT,
];

const rsaSpecOf = (modulus: Uint8Array): KeySpec => {
  const minimal = unsigned(modulus);
  const bits = minimal.length * 8 - Math.clz32(minimal[0] ?? 0) + 24;
  const spec = `rsa-${bits}`;
  if (!(spec in KEY_SPECS)) throw rv('KEY_SIZE_RANGE');
  return spec as KeySpec;
};

const curveSpecOf = (template: Template): { readonly spec: KeySpec; readonly parameters: Uint8Array } => {
  const parameters = template.need(template.bytes(CKA.EC_PARAMS));
  const spec = curveOf(parameters);
  if (spec === undefined) throw rv('CURVE_NOT_SUPPORTED');
  return { spec, parameters };
};

const isRawCurve = (spec: KeySpec): boolean => KEY_SPECS[spec].family !== 'ec';
/** Curve OIDs of RFC 8410, also where the template named the curve as text. */
const oidOf = (spec: KeySpec, parameters: Uint8Array): Uint8Array =>
  parameters[0] === 0x06
    ? parameters
    : Buffer.from({ x25519: '06032b656e', x448: '06032b656f', ed25519: '06032b6570', ed448: '06032b6571' }[spec as string] ?? '', 'hex');

/** PKCS#8 of a private key given number by number. All eight RSA numbers are needed; tokens that compute them are rare. */
export const readPrivateMaterial = (template: Template, keyType: number): Material => {
  if (keyType === CKK.RSA) {
    const numbers = RSA_NUMBERS.map((type) => template.need(template.bytes(type)));
    return { spec: rsaSpecOf(numbers[0] as Uint8Array), bytes: rsaPkcs8(numbers) };
  }
  const { spec, parameters } = curveSpecOf(template);
  const scalar = template.need(template.bytes(CKA.VALUE));
  template.bytes(CKA.EC_POINT);
  if (isRawCurve(spec)) return { spec, bytes: rawPkcs8(oidOf(spec, parameters), scalar) };
  const length = Math.ceil(KEY_SPECS[spec].bits / 8);
  const value = unsigned(scalar);
  if (value.length > length) throw rv('ATTRIBUTE_VALUE_INVALID');
  return { spec, bytes: ecPkcs8(parameters, Buffer.concat([Buffer.alloc(length - value.length), value])) };
};

/** A point comes as DER OCTET STRING; some applications leave the wrapping out. */
const pointOf = (bytes: Uint8Array): Uint8Array => {
  const outer = readElement(bytes);
  return outer?.tag === 0x04 && outer.whole.length === bytes.length && outer.content.length > 0 ? outer.content : bytes;
};

export const readPublicMaterial = (template: Template, keyType: number): Material => {
  if (keyType === CKK.RSA) {
    const modulus = template.need(template.bytes(CKA.MODULUS));
    const exponent = template.need(template.bytes(CKA.PUBLIC_EXPONENT));
    template.ulong(CKA.MODULUS_BITS);
    return { spec: rsaSpecOf(modulus), bytes: rsaSpki(modulus, exponent) };
  }
  const { spec, parameters } = curveSpecOf(template);
  const point = pointOf(template.need(template.bytes(CKA.EC_POINT)));
  return { spec, bytes: isRawCurve(spec) ? rawSpki(oidOf(spec, parameters), point) : ecSpki(parameters, point) };
};

const JWK_NAMES: Readonly<Record<number, 'd' | 'p' | 'q' | 'dp' | 'dq' | 'qi'>> = {
  [CKA.PRIVATE_EXPONENT]: 'd',
  [CKA.PRIME_1]: 'p',
  [CKA.PRIME_2]: 'q',
  [CKA.EXPONENT_1]: 'dp',
  [CKA.EXPONENT_2]: 'dq',
  [CKA.COEFFICIENT]: 'qi',
  [CKA.VALUE]: 'd',
};
/** One number of an exported private key. The caller wipes the PKCS#8. */
export const privateNumber = (pkcs8: Uint8Array, type: number): Uint8Array | undefined => {
  const jwk = createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' }).export({ format: 'jwk' });
  const text = jwk[JWK_NAMES[type] ?? 'd'];
  return text === undefined ? undefined : Buffer.from(text, 'base64url');
};

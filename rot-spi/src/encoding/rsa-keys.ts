import { checkPrime, createPrivateKey, type KeyObject } from 'node:crypto';
import { RootFault } from '../fault.js';
import type { KeySpecRow } from '../vocabulary/index.js';
import { readPrivateKeyInfo } from './ec-keys.js';
import { invertModulo, modulo, toBigInt } from './modular.js';

/** rsaEncryption (RFC 8017 App. C), hex of the OID's content. */
export const RSA_ENCRYPTION = '2a864886f70d010101';

const malformed = (what: string): RootFault => new RootFault('invalid-argument', `the key material is not valid: ${what}`);

/** Miller-Rabin in the thread pool; 8 rounds over OpenSSL's own minimum. */
const isPrime = (value: bigint): Promise<boolean> =>
  new Promise((resolve, reject) =>
    checkPrime(value, { checks: 8 }, (error, prime) => (error === null || error === undefined ? resolve(prime) : reject(error))),
  );

const number = (text: string | undefined): bigint => toBigInt(Buffer.from(text ?? '', 'base64url'));

const parse = (spec: KeySpecRow, pkcs8: Uint8Array): KeyObject => {
  if (readPrivateKeyInfo(pkcs8).algorithm.oid !== RSA_ENCRYPTION) throw malformed(`it is not a private key for ${spec.name}`);
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: Buffer.from(pkcs8.buffer, pkcs8.byteOffset, pkcs8.byteLength), format: 'der', type: 'pkcs8' });
  } catch {
    throw malformed('it is not a PKCS#8 PrivateKeyInfo of a supported type');
  }
  const bits = key.asymmetricKeyDetails?.modulusLength;
  if (key.asymmetricKeyType !== 'rsa' || bits !== spec.bits) throw malformed(`the modulus has ${bits} bits, not ${spec.bits}`);
  return key;
};

/**
 * SP 800-56B r2 §6.4.1.2: a modulus of the wanted size, made of two primes, and exponents that fit it. Modules import
 * anything; a key with wrong CRT values signs wrongly and gives its primes away.
 */
export const checkRsaPrivateKey = async (spec: KeySpecRow, pkcs8: Uint8Array): Promise<void> => {
  const jwk = parse(spec, pkcs8).export({ format: 'jwk' });
  const [n, e, d, p, q] = [number(jwk.n), number(jwk.e), number(jwk.d), number(jwk.p), number(jwk.q)];
  if (p < 3n || q < 3n || p === q || p * q !== n) throw malformed('the primes do not make the modulus');
  if (modulo(e * d, p - 1n) !== 1n || modulo(e * d, q - 1n) !== 1n) throw malformed('the private exponent does not match');
  const crt = number(jwk.dp) === modulo(d, p - 1n) && number(jwk.dq) === modulo(d, q - 1n) && number(jwk.qi) === invertModulo(q, p);
  if (!crt) throw malformed('the CRT values do not match');
  const primes = await Promise.all([p, q].map(isPrime));
  if (primes.includes(false)) throw malformed('the modulus is not made of primes');
};

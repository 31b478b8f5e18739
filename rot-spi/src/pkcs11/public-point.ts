import { createECDH, createPublicKey, ECDH, randomBytes, verify } from 'node:crypto';
import { RootFault } from '../fault.js';
import { KEY_SPECS, type KeySpec } from '../vocabulary/index.js';
import { curveOf, pointToSpki } from './asymmetric.js';
import { CKA, CKD_NULL, CKK, CKM, CKO, PARAMS } from './constants.js';
import type { Cryptoki, Handle, Mechanism } from './cryptoki.js';
import { ecdsaToDer } from './der.js';
import { hashOf } from './mechanisms.js';
import type { Context } from './session-call.js';
import { readAttribute } from './templates.js';

export const ecdhMechanism = (peer: Buffer): Mechanism => ({
  mechanism: CKM.ECDH1_DERIVE,
  parameter: { type: PARAMS.EC_DH, kdf: CKD_NULL, publicData: peer },
});

/** Generator of a curve: the public key of the private value one. */
export const generatorOf = (spec: KeySpec): Buffer => {
  const one = Buffer.alloc(curveOf(spec).width);
  one[one.length - 1] = 1;
  const ecdh = createECDH(KEY_SPECS[spec].curve ?? '');
  ecdh.setPrivateKey(one);
  return ecdh.getPublicKey();
};

/**
 * Public key of a private EC key that a module unwrapped without telling its point. Agreeing with the generator yields the
 * x-coordinate of the public point, which is public; a signature then tells which of the two points with that x it is.
 * `key` must be a temporary object that may derive and sign.
 */
export const findPublicPoint = (context: Context, spec: KeySpec, key: Handle): Buffer => {
  const { cryptoki, anchor } = context.connection;
  const x = deriveX(cryptoki, anchor, spec, key);
  const message = randomBytes(32);
  cryptoki.C_SignInit(anchor, { mechanism: CKM.ECDSA }, key);
  const signature = ecdsaToDer(cryptoki.C_Sign(anchor, hashOf('sha256', message), Buffer.alloc(2 * curveOf(spec).width)));
  for (const prefix of [2, 3]) {
    const point = ECDH.convertKey(Buffer.concat([Buffer.of(prefix), x]), KEY_SPECS[spec].curve ?? '', undefined, undefined, 'uncompressed');
    const spki = pointToSpki(spec, Buffer.from(point as Buffer));
    if (verify('sha256', message, createPublicKey({ key: spki, format: 'der', type: 'spki' }), signature)) return spki;
  }
  throw new RootFault('internal', 'the module signs with another key than it agrees with');
};

const deriveX = (cryptoki: Cryptoki, session: Handle, spec: KeySpec, key: Handle): Buffer => {
  const { width } = curveOf(spec);
  const shared = cryptoki.C_DeriveKey(session, ecdhMechanism(generatorOf(spec)), key, [
    { type: CKA.CLASS, value: CKO.SECRET_KEY },
    { type: CKA.KEY_TYPE, value: CKK.GENERIC_SECRET },
    { type: CKA.TOKEN, value: false },
    { type: CKA.PRIVATE, value: true },
    { type: CKA.SENSITIVE, value: false },
    { type: CKA.EXTRACTABLE, value: true },
    { type: CKA.VALUE_LEN, value: width },
  ]);
  try {
    const value = readAttribute(cryptoki, session, shared, CKA.VALUE);
    if (value === undefined || value.length > width)
      throw new RootFault('unsupported', 'the module does not show the public point of an unwrapped key');
    return Buffer.concat([Buffer.alloc(width - value.length), value]);
  } finally {
    cryptoki.C_DestroyObject(session, shared);
  }
};

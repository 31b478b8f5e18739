import { type Modulus, makeModulus } from './modular.js';

/** Domain parameters of the short Weierstrass curves (SP 800-186 §3.2.1, SEC 2 §2.4.1) that prehashed ECDSA computes with. */
export interface Curve {
  /** OpenSSL's name. */
  readonly name: string;
  /** DER of the namedCurve OBJECT IDENTIFIER. */
  readonly oid: Buffer;
  readonly fieldBytes: number;
  readonly p: bigint;
  readonly a: bigint;
  readonly b: bigint;
  readonly order: Modulus;
  readonly orderBits: number;
  readonly jwkName: string;
}

const curve = (name: string, jwkName: string, oid: string, p: bigint, a: bigint, b: bigint, n: bigint): Curve => ({
  name,
  jwkName,
  oid: Buffer.from(oid, 'hex'),
  fieldBytes: Math.ceil(p.toString(2).length / 8),
  p,
  a: a < 0n ? a + p : a,
  b,
  order: makeModulus(n),
  orderBits: n.toString(2).length,
});

const P256 = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n;
const P384 = 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n;
const P521 = 2n ** 521n - 1n;
const K256 = 2n ** 256n - 2n ** 32n - 977n;

const CURVES: readonly Curve[] = [
  curve(
    'prime256v1',
    'P-256',
    '06082a8648ce3d030107',
    P256,
    -3n,
    0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
    0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  ),
  curve(
    'secp384r1',
    'P-384',
    '06052b81040022',
    P384,
    -3n,
    0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
    0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  ),
  curve(
    'secp521r1',
    'P-521',
    '06052b81040023',
    P521,
    -3n,
    0x0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00n,
    0x01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
  ),
  curve('secp256k1', 'secp256k1', '06052b8104000a', K256, 0n, 7n, 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n),
];

export const curveNamed = (name: string | undefined): Curve | undefined => CURVES.find((line) => line.name === name);

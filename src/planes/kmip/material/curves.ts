import type { KeySpec } from '@aegis/rot-spi/vocabulary';

/** Recommended Curve (KMIP 2.1 §11.45) and what others call it. */
export interface CurveRow {
  /** Name of the enumeration value. */
  readonly name: string;
  readonly oid: string;
  /** Field size in bits, the Cryptographic Length of its keys. */
  readonly bits: number;
  /** node:crypto's name, where it may know the curve. */
  readonly openssl: string;
  /** Where a root of trust works on it. */
  readonly spec?: KeySpec;
}

const row = (name: string, oid: string, bits: number, openssl: string, spec?: KeySpec): CurveRow => ({
  name,
  oid,
  bits,
  openssl,
  ...(spec === undefined ? {} : { spec }),
});
const brainpool = (bits: number, r1: number): readonly CurveRow[] => [
  row(`BRAINPOOLP${bits}R1`, `1.3.36.3.3.2.8.1.1.${r1}`, bits, `brainpoolP${bits}r1`),
  row(`BRAINPOOLP${bits}T1`, `1.3.36.3.3.2.8.1.1.${r1 + 1}`, bits, `brainpoolP${bits}t1`),
];

export const CURVES: readonly CurveRow[] = [
  row('P_192', '1.2.840.10045.3.1.1', 192, 'prime192v1'),
  row('P_224', '1.3.132.0.33', 224, 'secp224r1'),
  row('P_256', '1.2.840.10045.3.1.7', 256, 'prime256v1', 'ec-p256'),
  row('P_384', '1.3.132.0.34', 384, 'secp384r1', 'ec-p384'),
  row('P_521', '1.3.132.0.35', 521, 'secp521r1', 'ec-p521'),
  row('K_163', '1.3.132.0.1', 163, 'sect163k1'),
  row('B_163', '1.3.132.0.15', 163, 'sect163r2'),
  row('K_233', '1.3.132.0.26', 233, 'sect233k1'),
  row('B_233', '1.3.132.0.27', 233, 'sect233r1'),
  row('K_283', '1.3.132.0.16', 283, 'sect283k1'),
  row('B_283', '1.3.132.0.17', 283, 'sect283r1'),
  row('K_409', '1.3.132.0.36', 409, 'sect409k1'),
  row('B_409', '1.3.132.0.37', 409, 'sect409r1'),
  row('K_571', '1.3.132.0.38', 571, 'sect571k1'),
  row('B_571', '1.3.132.0.39', 571, 'sect571r1'),
  row('SECP112R1', '1.3.132.0.6', 112, 'secp112r1'),
  row('SECP112R2', '1.3.132.0.7', 112, 'secp112r2'),
  row('SECP128R1', '1.3.132.0.28', 128, 'secp128r1'),
  row('SECP128R2', '1.3.132.0.29', 128, 'secp128r2'),
  row('SECP160K1', '1.3.132.0.9', 160, 'secp160k1'),
  row('SECP160R1', '1.3.132.0.8', 160, 'secp160r1'),
  row('SECP160R2', '1.3.132.0.30', 160, 'secp160r2'),
  row('SECP192K1', '1.3.132.0.31', 192, 'secp192k1'),
  row('SECP224K1', '1.3.132.0.32', 224, 'secp224k1'),
  row('SECP256K1', '1.3.132.0.10', 256, 'secp256k1', 'ec-secp256k1'),
  row('SECT113R1', '1.3.132.0.4', 113, 'sect113r1'),
  row('SECT131R1', '1.3.132.0.22', 131, 'sect131r1'),
  row('SECT131R2', '1.3.132.0.23', 131, 'sect131r2'),
  row('SECT163R1', '1.3.132.0.2', 163, 'sect163r1'),
  row('SECT193R1', '1.3.132.0.24', 193, 'sect193r1'),
  row('SECT193R2', '1.3.132.0.25', 193, 'sect193r2'),
  row('SECT239K1', '1.3.132.0.3', 239, 'sect239k1'),
  row('ANSIX9P192V2', '1.2.840.10045.3.1.2', 192, 'prime192v2'),
  row('ANSIX9P192V3', '1.2.840.10045.3.1.3', 192, 'prime192v3'),
  row('ANSIX9P239V1', '1.2.840.10045.3.1.4', 239, 'prime239v1'),
  row('ANSIX9P239V2', '1.2.840.10045.3.1.5', 239, 'prime239v2'),
  row('ANSIX9P239V3', '1.2.840.10045.3.1.6', 239, 'prime239v3'),
  row('ANSIX9C2PNB163V1', '1.2.840.10045.3.0.1', 163, 'c2pnb163v1'),
  row('ANSIX9C2PNB163V2', '1.2.840.10045.3.0.2', 163, 'c2pnb163v2'),
  row('ANSIX9C2PNB163V3', '1.2.840.10045.3.0.3', 163, 'c2pnb163v3'),
  row('ANSIX9C2PNB176V1', '1.2.840.10045.3.0.4', 176, 'c2pnb176v1'),
  row('ANSIX9C2TNB191V1', '1.2.840.10045.3.0.5', 191, 'c2tnb191v1'),
  row('ANSIX9C2TNB191V2', '1.2.840.10045.3.0.6', 191, 'c2tnb191v2'),
  row('ANSIX9C2TNB191V3', '1.2.840.10045.3.0.7', 191, 'c2tnb191v3'),
  row('ANSIX9C2PNB208W1', '1.2.840.10045.3.0.10', 208, 'c2pnb208w1'),
  row('ANSIX9C2TNB239V1', '1.2.840.10045.3.0.11', 239, 'c2tnb239v1'),
  row('ANSIX9C2TNB239V2', '1.2.840.10045.3.0.12', 239, 'c2tnb239v2'),
  row('ANSIX9C2TNB239V3', '1.2.840.10045.3.0.13', 239, 'c2tnb239v3'),
  row('ANSIX9C2PNB272W1', '1.2.840.10045.3.0.16', 272, 'c2pnb272w1'),
  row('ANSIX9C2PNB304W1', '1.2.840.10045.3.0.17', 304, 'c2pnb304w1'),
  row('ANSIX9C2TNB359V1', '1.2.840.10045.3.0.18', 359, 'c2tnb359v1'),
  row('ANSIX9C2PNB368W1', '1.2.840.10045.3.0.19', 368, 'c2pnb368w1'),
  row('ANSIX9C2TNB431R1', '1.2.840.10045.3.0.20', 431, 'c2tnb431r1'),
  ...brainpool(160, 1),
  ...brainpool(192, 3),
  ...brainpool(224, 5),
  ...brainpool(256, 7),
  ...brainpool(320, 9),
  ...brainpool(384, 11),
  ...brainpool(512, 13),
];

const BY_NAME: ReadonlyMap<string, CurveRow> = new Map(CURVES.map((curve) => [curve.name, curve]));
const BY_OID: ReadonlyMap<string, CurveRow> = new Map(CURVES.map((curve) => [curve.oid, curve]));
export const curveNamed = (name: unknown): CurveRow | undefined => (typeof name === 'string' ? BY_NAME.get(name) : undefined);
export const curveOfOid = (dotted: string): CurveRow | undefined => BY_OID.get(dotted);

/** Edwards and Montgomery keys (RFC 8410): one OID for each, no parameters. KMIP 2.1 has their curves, 2.1 §11.12 the algorithms. */
export interface EdwardsRow {
  readonly spec: 'ed25519' | 'ed448' | 'x25519' | 'x448';
  readonly oid: string;
  /** Recommended Curve. */
  readonly curve: 'CURVE25519' | 'CURVE448';
  /** Bytes of the private seed and of the public point. */
  readonly bytes: number;
  readonly bits: number;
  /** Cryptographic Algorithm. */
  readonly algorithm: string;
}
export const EDWARDS: readonly EdwardsRow[] = [
  { spec: 'ed25519', oid: '1.3.101.112', curve: 'CURVE25519', bytes: 32, bits: 256, algorithm: 'Ed25519' },
  { spec: 'ed448', oid: '1.3.101.113', curve: 'CURVE448', bytes: 57, bits: 456, algorithm: 'Ed448' },
  { spec: 'x25519', oid: '1.3.101.110', curve: 'CURVE25519', bytes: 32, bits: 256, algorithm: 'ECDH' },
  { spec: 'x448', oid: '1.3.101.111', curve: 'CURVE448', bytes: 56, bits: 448, algorithm: 'ECDH' },
];
export const edwardsOfOid = (dotted: string): EdwardsRow | undefined => EDWARDS.find((one) => one.oid === dotted);
/** What a Recommended Curve with a Cryptographic Algorithm means: signing algorithms are Edwards keys, everything else Montgomery. */
export const edwardsOf = (curve: unknown, algorithm: unknown): EdwardsRow | undefined => {
  const signs = algorithm === 'Ed25519' || algorithm === 'Ed448' || algorithm === 'ECDSA';
  return EDWARDS.find((one) => one.curve === curve && one.spec.startsWith(signs ? 'ed' : 'x'));
};

/** Post-quantum keys (NIST OIDs, 2.16.840.1.101.3.4): read and written whole, no part of them has a KMIP structure. */
export const POST_QUANTUM: readonly { readonly oid: string; readonly algorithm: string; readonly spec?: KeySpec; readonly bits: number }[] =
  [
    { oid: '2.16.840.1.101.3.4.4.1', algorithm: 'ML_KEM_512', spec: 'ml-kem-512', bits: 512 },
    { oid: '2.16.840.1.101.3.4.4.2', algorithm: 'ML_KEM_768', spec: 'ml-kem-768', bits: 768 },
    { oid: '2.16.840.1.101.3.4.4.3', algorithm: 'ML_KEM_1024', spec: 'ml-kem-1024', bits: 1024 },
    { oid: '2.16.840.1.101.3.4.3.17', algorithm: 'ML_DSA_44', spec: 'ml-dsa-44', bits: 44 },
    { oid: '2.16.840.1.101.3.4.3.18', algorithm: 'ML_DSA_65', spec: 'ml-dsa-65', bits: 65 },
    { oid: '2.16.840.1.101.3.4.3.19', algorithm: 'ML_DSA_87', spec: 'ml-dsa-87', bits: 87 },
    { oid: '2.16.840.1.101.3.4.3.20', algorithm: 'SLH_DSA_SHA2_128s', spec: 'slh-dsa-sha2-128s', bits: 128 },
    { oid: '2.16.840.1.101.3.4.3.21', algorithm: 'SLH_DSA_SHA2_128f', spec: 'slh-dsa-sha2-128f', bits: 128 },
    { oid: '2.16.840.1.101.3.4.3.22', algorithm: 'SLH_DSA_SHA2_192s', spec: 'slh-dsa-sha2-192s', bits: 192 },
    { oid: '2.16.840.1.101.3.4.3.23', algorithm: 'SLH_DSA_SHA2_192f', bits: 192 },
    { oid: '2.16.840.1.101.3.4.3.24', algorithm: 'SLH_DSA_SHA2_256s', spec: 'slh-dsa-sha2-256s', bits: 256 },
    { oid: '2.16.840.1.101.3.4.3.25', algorithm: 'SLH_DSA_SHA2_256f', bits: 256 },
    { oid: '2.16.840.1.101.3.4.3.26', algorithm: 'SLH_DSA_SHAKE_128s', spec: 'slh-dsa-shake-128s', bits: 128 },
    { oid: '2.16.840.1.101.3.4.3.27', algorithm: 'SLH_DSA_SHAKE_128f', bits: 128 },
    { oid: '2.16.840.1.101.3.4.3.28', algorithm: 'SLH_DSA_SHAKE_192s', bits: 192 },
    { oid: '2.16.840.1.101.3.4.3.29', algorithm: 'SLH_DSA_SHAKE_192f', bits: 192 },
    { oid: '2.16.840.1.101.3.4.3.30', algorithm: 'SLH_DSA_SHAKE_256s', spec: 'slh-dsa-shake-256s', bits: 256 },
    { oid: '2.16.840.1.101.3.4.3.31', algorithm: 'SLH_DSA_SHAKE_256f', bits: 256 },
  ];

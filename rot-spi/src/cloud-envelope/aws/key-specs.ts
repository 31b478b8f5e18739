import type { AlgorithmCapability, SpecCapability } from '../../contract.js';
import { ALGORITHMS, type Algorithm, KEY_SPECS, type KeySpec } from '../../vocabulary/index.js';

/** AWS KMS key specs and algorithms against ours (API reference: CreateKey, Sign, Encrypt, GenerateMac). */
export const AWS_SPECS: Readonly<Partial<Record<KeySpec, string>>> = {
  'aes-256': 'SYMMETRIC_DEFAULT',
  'hmac-sha224': 'HMAC_224',
  'hmac-sha256': 'HMAC_256',
  'hmac-sha384': 'HMAC_384',
  'hmac-sha512': 'HMAC_512',
  'rsa-2048': 'RSA_2048',
  'rsa-3072': 'RSA_3072',
  'rsa-4096': 'RSA_4096',
  'ec-p256': 'ECC_NIST_P256',
  'ec-p384': 'ECC_NIST_P384',
  'ec-p521': 'ECC_NIST_P521',
  'ec-secp256k1': 'ECC_SECG_P256K1',
};
export const specOfAws = (name: string | undefined): KeySpec | undefined =>
  (Object.keys(AWS_SPECS) as KeySpec[]).find((spec) => AWS_SPECS[spec] === name);

const RSA_SPECS = ['rsa-2048', 'rsa-3072', 'rsa-4096'] as const;

interface AlgorithmRow {
  readonly algorithm: Algorithm;
  /** The API's own name. */
  readonly aws: string;
  readonly specs: readonly KeySpec[];
  readonly note?: string;
}
const row = (algorithm: Algorithm, aws: string, specs: readonly KeySpec[], note?: string): AlgorithmRow => ({
  algorithm,
  aws,
  specs,
  ...(note === undefined ? {} : { note }),
});

const ROWS: readonly AlgorithmRow[] = [
  row(
    'aes-gcm',
    'SYMMETRIC_DEFAULT',
    ['aes-256'],
    'AWS’ own ciphertext, cut in three: only AWS KMS opens it; AAD travels as encryption context',
  ),
  row('rsa-oaep-sha1', 'RSAES_OAEP_SHA_1', RSA_SPECS),
  row('rsa-oaep-sha256', 'RSAES_OAEP_SHA_256', RSA_SPECS),
  ...(['256', '384', '512'] as const).map((bits) => row(`rsa-pkcs1-sha${bits}`, `RSASSA_PKCS1_V1_5_SHA_${bits}`, RSA_SPECS)),
  ...(['256', '384', '512'] as const).map((bits) =>
    row(`rsa-pss-sha${bits}`, `RSASSA_PSS_SHA_${bits}`, RSA_SPECS, 'the salt is as long as the hash'),
  ),
  row('ecdsa-sha256', 'ECDSA_SHA_256', ['ec-p256', 'ec-secp256k1']),
  row('ecdsa-sha384', 'ECDSA_SHA_384', ['ec-p384']),
  row('ecdsa-sha512', 'ECDSA_SHA_512', ['ec-p521']),
  ...(['224', '256', '384', '512'] as const).map((bits) => row(`hmac-sha${bits}`, `HMAC_SHA_${bits}`, [`hmac-sha${bits}`])),
];

export const awsAlgorithm = (algorithm: Algorithm): string | undefined => ROWS.find((one) => one.algorithm === algorithm)?.aws;

export const AWS_ALGORITHMS: readonly AlgorithmCapability[] = ROWS.map(({ algorithm, aws, specs, note }) => ({
  algorithm,
  specs,
  multiPart: false,
  approval: ALGORITHMS[algorithm].approval,
  mechanism: `AWS KMS ${aws}`,
  ...(note === undefined ? {} : { note }),
}));

export const AWS_SPEC_CAPABILITIES: readonly SpecCapability[] = (Object.keys(AWS_SPECS) as KeySpec[]).map((spec) => ({
  spec,
  generate: true,
  import: true,
  nonExtractable: true,
  approval: KEY_SPECS[spec].approval,
}));

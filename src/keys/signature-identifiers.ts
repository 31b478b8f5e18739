import { type Algorithm, HASH_BYTES, type HashName } from '@aegis/rot-spi/vocabulary';
import * as asn1js from 'asn1js';
import { AlgorithmIdentifier, RSASSAPSSParams } from 'pkijs';
import { fail } from '../domain/index.js';

const HASH_OIDS: Partial<Record<HashName, string>> = {
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
};
const MGF1 = '1.2.840.113549.1.1.8';
const RSASSA_PSS = '1.2.840.113549.1.1.10';

const bare = (algorithmId: string) => () => new AlgorithmIdentifier({ algorithmId });
const withNull = (algorithmId: string) => () => new AlgorithmIdentifier({ algorithmId, algorithmParams: new asn1js.Null() });

/** RFC 4055 §3.1: every parameter explicit, salt as long as the hash. */
const pss = (hash: HashName) => () => {
  const hashAlgorithm = withNull(HASH_OIDS[hash] ?? '')();
  const parameters = new RSASSAPSSParams({
    hashAlgorithm,
    maskGenAlgorithm: new AlgorithmIdentifier({ algorithmId: MGF1, algorithmParams: hashAlgorithm.toSchema() }),
    saltLength: HASH_BYTES[hash],
  });
  return new AlgorithmIdentifier({ algorithmId: RSASSA_PSS, algorithmParams: parameters.toSchema() });
};

/** Algorithms a certificate or request may be signed with (RFC 4055, RFC 5758, RFC 8410). SHA-1 is not among them. */
const ROWS: Partial<Record<Algorithm, () => AlgorithmIdentifier>> = {
  'rsa-pkcs1-sha256': withNull('1.2.840.113549.1.1.11'),
  'rsa-pkcs1-sha384': withNull('1.2.840.113549.1.1.12'),
  'rsa-pkcs1-sha512': withNull('1.2.840.113549.1.1.13'),
  'rsa-pss-sha256': pss('sha256'),
  'rsa-pss-sha384': pss('sha384'),
  'rsa-pss-sha512': pss('sha512'),
  'ecdsa-sha256': bare('1.2.840.10045.4.3.2'),
  'ecdsa-sha384': bare('1.2.840.10045.4.3.3'),
  'ecdsa-sha512': bare('1.2.840.10045.4.3.4'),
  ed25519: bare('1.3.101.112'),
  ed448: bare('1.3.101.113'),
};

export const signatureIdentifier = (algorithm: Algorithm): AlgorithmIdentifier => {
  const make = ROWS[algorithm];
  if (make !== undefined) return make();
  throw fail('unsupported-algorithm', `Certificates are not signed with ${algorithm}.`, {
    field: 'algorithm',
    next: `Use one of ${Object.keys(ROWS).join(', ')}.`,
  });
};

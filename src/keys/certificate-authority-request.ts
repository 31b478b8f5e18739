import { constants, createPublicKey, type VerifyKeyObjectInput, verify } from 'node:crypto';
import * as asn1js from 'asn1js';
import { CertificationRequest, Extensions, GeneralNames, type RelativeDistinguishedNames } from 'pkijs';
import { badField, checkBytes } from './field-rules.js';
import { altNamesOf } from './subject-alt-names.js';
import { OID, toBuffer } from './x509.js';

/** What a signing request asks for, once its signature has shown that the asker holds the key. */
export interface ReadRequest {
  readonly spki: Uint8Array;
  readonly subject: RelativeDistinguishedNames;
  readonly subjectAltNames: readonly string[];
}

const MAX_REQUEST_BYTES = 65_536;
const MAX_NAME_PARTS = 32;
const MAX_VALUE_CHARS = 255;

interface Scheme {
  readonly hash: string | null;
  readonly pss?: true;
}
/** RFC 4055, RFC 5758, RFC 8410. SHA-1 is refused: a request is made today. */
const SCHEMES: Readonly<Record<string, Scheme>> = {
  '1.2.840.113549.1.1.11': { hash: 'sha256' },
  '1.2.840.113549.1.1.12': { hash: 'sha384' },
  '1.2.840.113549.1.1.13': { hash: 'sha512' },
  '1.2.840.10045.4.3.2': { hash: 'sha256' },
  '1.2.840.10045.4.3.3': { hash: 'sha384' },
  '1.2.840.10045.4.3.4': { hash: 'sha512' },
  '1.3.101.112': { hash: null },
  '1.3.101.113': { hash: null },
};
const PSS = '1.2.840.113549.1.1.10';
const HASHES: Readonly<Record<string, string>> = {
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
};

const NEXT = 'Make it anew, e.g. openssl req -new -key key.pem -sha256 -subj /CN=client -outform DER.';
const bad = (message: string) => badField('csr', message, NEXT);

const parse = (der: Uint8Array): CertificationRequest => {
  try {
    const parsed = asn1js.fromBER(toBuffer(der));
    if (parsed.offset !== der.length) throw new Error('trailing bytes');
    return new CertificationRequest({ schema: parsed.result });
  } catch {
    throw bad('Not a PKCS#10 certificate request in DER.');
  }
};

/** RFC 4055 §3.1: the hash is the first, explicitly tagged parameter. */
const schemeOf = (request: CertificationRequest): Scheme => {
  const { algorithmId, algorithmParams } = request.signatureAlgorithm;
  const scheme = Object.hasOwn(SCHEMES, algorithmId) ? SCHEMES[algorithmId] : undefined;
  if (scheme !== undefined) return scheme;
  if (algorithmId === PSS && algorithmParams instanceof asn1js.Sequence) {
    const [first] = algorithmParams.valueBlock.value;
    const inner = first instanceof asn1js.Constructed && first.idBlock.tagNumber === 0 ? first.valueBlock.value[0] : undefined;
    const oid = inner instanceof asn1js.Sequence ? inner.valueBlock.value[0] : undefined;
    const hash = oid instanceof asn1js.ObjectIdentifier ? HASHES[oid.valueBlock.toString()] : undefined;
    if (hash !== undefined) return { hash, pss: true };
  }
  throw bad('The request is signed with an algorithm that is not accepted.');
};

const holdsKey = (request: CertificationRequest, spki: Uint8Array): boolean => {
  const { hash, pss } = schemeOf(request);
  try {
    const key: VerifyKeyObjectInput = {
      key: createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' }),
      ...(pss === true ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO } : {}),
    };
    return verify(hash, request.tbsView, key, request.signatureValue.valueBlock.valueHexView);
  } catch {
    return false;
  }
};

/** Nothing in a name may forge a line where it is shown, or another name where it is compared. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that are refused
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff\p{Surrogate}]/u;
const checkSubject = (subject: RelativeDistinguishedNames): void => {
  if (subject.typesAndValues.length > MAX_NAME_PARTS) throw bad(`A subject has at most ${MAX_NAME_PARTS} parts.`);
  for (const { value } of subject.typesAndValues) {
    const text: unknown = value.valueBlock.value;
    if (typeof text !== 'string' || text === '' || text.length > MAX_VALUE_CHARS || UNPRINTABLE.test(text))
      throw bad('A part of its subject is empty, too long or not printable.');
  }
};

const requestedAltNames = (request: CertificationRequest): readonly string[] => {
  const wish = request.attributes?.find((attribute) => attribute.type === OID.extensionRequest)?.values[0];
  if (wish === undefined) return [];
  let names: GeneralNames | undefined;
  try {
    const extensions = new Extensions({ schema: wish });
    const extension = extensions.extensions.find((one) => one.extnID === OID.subjectAltName);
    if (extension === undefined) return [];
    names = new GeneralNames({ schema: asn1js.fromBER(toBuffer(extension.extnValue.valueBlock.valueHexView)).result });
  } catch {
    throw bad('Its requested extensions cannot be read.');
  }
  return altNamesOf(names);
};

/** Reads a PKCS#10 request and checks its signature (RFC 2986 §3: proof that the asker holds the private key). */
export const readRequest = (bytes: Uint8Array): ReadRequest => {
  const der = checkBytes(bytes, 'csr', MAX_REQUEST_BYTES, 1);
  const request = parse(der);
  const spki = new Uint8Array(request.subjectPublicKeyInfo.toSchema().toBER());
  if (!holdsKey(request, spki)) throw bad('Its signature does not match its key.');
  checkSubject(request.subject);
  return { spki, subject: request.subject, subjectAltNames: requestedAltNames(request) };
};

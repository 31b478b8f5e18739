import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import * as asn1js from 'asn1js';

/** Key kinds a client identity may have. Not every KMIP client takes elliptic curves, none refuses RSA-2048. */
export const REQUEST_KEYS = ['ec-p256', 'ec-p384', 'rsa-2048', 'rsa-3072', 'rsa-4096', 'ed25519'] as const;
export type RequestKey = (typeof REQUEST_KEYS)[number];

const makeKey = (kind: RequestKey): KeyObject => {
  if (kind === 'ed25519') return generateKeyPairSync('ed25519').privateKey;
  if (kind === 'ec-p256' || kind === 'ec-p384')
    return generateKeyPairSync('ec', { namedCurve: kind === 'ec-p256' ? 'prime256v1' : 'secp384r1' }).privateKey;
  return generateKeyPairSync('rsa', { modulusLength: Number(kind.slice(4)) }).privateKey;
};

interface Scheme {
  readonly oid: string;
  readonly hash: string | null;
}
const schemeOf = (key: KeyObject): Scheme => {
  const type = key.asymmetricKeyType;
  if (type === 'ed25519') return { oid: '1.3.101.112', hash: null };
  if (type === 'rsa') return { oid: '1.2.840.113549.1.1.11', hash: 'sha256' };
  const large = key.asymmetricKeyDetails?.namedCurve === 'secp384r1';
  return large ? { oid: '1.2.840.10045.4.3.3', hash: 'sha384' } : { oid: '1.2.840.10045.4.3.2', hash: 'sha256' };
};

export const toArrayBuffer = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer;

/**
 * PKCS#10 (RFC 2986) that proves possession of the key and says nothing else: subject and names go to the service beside it,
 * where they are checked.
 */
const requestFor = (privateKey: KeyObject, publicDer: Uint8Array): Uint8Array => {
  const { oid, hash } = schemeOf(privateKey);
  const info = new asn1js.Sequence({
    value: [
      new asn1js.Integer({ value: 0 }),
      new asn1js.Sequence({ value: [] }),
      asn1js.fromBER(toArrayBuffer(publicDer)).result,
      new asn1js.Constructed({ idBlock: { tagClass: 3, tagNumber: 0 }, value: [] }),
    ],
  });
  const signature = sign(hash, new Uint8Array(info.toBER()), privateKey);
  const algorithm = [new asn1js.ObjectIdentifier({ value: oid }), ...(oid.startsWith('1.2.840.113549') ? [new asn1js.Null()] : [])];
  const request = new asn1js.Sequence({
    value: [info, new asn1js.Sequence({ value: algorithm }), new asn1js.BitString({ valueHex: toArrayBuffer(signature) })],
  });
  return new Uint8Array(request.toBER());
};

export const toPem = (label: string, der: Uint8Array): string =>
  `-----BEGIN ${label}-----\n${(
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  ).join('\n')}\n-----END ${label}-----\n`;

export interface FreshIdentity {
  readonly key: KeyObject;
  /** PKCS#8, PEM. */
  readonly keyPem: string;
  /** DER. */
  readonly csr: Uint8Array;
}

/** A key made in this process, which the service never sees, and a request for its certificate. */
export function makeFreshIdentity(kind: RequestKey): FreshIdentity {
  const key = makeKey(kind);
  const keyPem = key.export({ format: 'pem', type: 'pkcs8' }) as string;
  const spki = publicDerOf(key);
  return { key, keyPem, csr: requestFor(key, spki) };
}

const publicDerOf = (key: KeyObject): Uint8Array => createPublicKey(key).export({ format: 'der', type: 'spki' });

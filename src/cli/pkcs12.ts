import { createCipheriv, createHash, createHmac, type KeyObject, pbkdf2Sync, randomBytes } from 'node:crypto';
import * as asn1js from 'asn1js';
import { toArrayBuffer } from './certificate-request.js';

/** PKCS#12 (RFC 7292) with today's algorithms: PBES2 of PBKDF2-HMAC-SHA-256 and AES-256-CBC, HMAC-SHA-256 over all of it. */

const ITERATIONS = 100_000;
const SALT_BYTES = 16;
const OID = {
  data: '1.2.840.113549.1.7.1',
  shroudedKeyBag: '1.2.840.113549.1.12.10.1.2',
  certificateBag: '1.2.840.113549.1.12.10.1.3',
  x509Certificate: '1.2.840.113549.1.9.22.1',
  friendlyName: '1.2.840.113549.1.9.20',
  localKeyId: '1.2.840.113549.1.9.21',
  pbes2: '1.2.840.113549.1.5.13',
  pbkdf2: '1.2.840.113549.1.5.12',
  hmacSha256: '1.2.840.113549.2.9',
  aes256Cbc: '2.16.840.1.101.3.4.1.42',
  sha256: '2.16.840.1.101.3.4.2.1',
} as const;

const oid = (value: string) => new asn1js.ObjectIdentifier({ value });
const octets = (bytes: Uint8Array) => new asn1js.OctetString({ valueHex: toArrayBuffer(bytes) });
const sequence = (...value: asn1js.BaseBlock[]) => new asn1js.Sequence({ value });
const set = (...value: asn1js.BaseBlock[]) => new asn1js.Set({ value });
const tagged = (...value: asn1js.BaseBlock[]) => new asn1js.Constructed({ idBlock: { tagClass: 3, tagNumber: 0 }, value });
const der = (block: asn1js.BaseBlock): Uint8Array => new Uint8Array(block.toBER());

/** EncryptedPrivateKeyInfo (RFC 5958 §3, RFC 8018 §6.2). */
const shroud = (pkcs8: Uint8Array, passphrase: string): asn1js.BaseBlock => {
  const salt = randomBytes(SALT_BYTES);
  const iv = randomBytes(16);
  const key = pbkdf2Sync(Buffer.from(passphrase, 'utf8'), salt, ITERATIONS, 32, 'sha256');
  const cipher = createCipheriv('aes-256-cbc', key, iv);
  const encrypted = Buffer.concat([cipher.update(pkcs8), cipher.final()]);
  key.fill(0);
  const derivation = sequence(
    oid(OID.pbkdf2),
    sequence(octets(salt), new asn1js.Integer({ value: ITERATIONS }), sequence(oid(OID.hmacSha256), new asn1js.Null())),
  );
  return sequence(sequence(oid(OID.pbes2), sequence(derivation, sequence(oid(OID.aes256Cbc), octets(iv)))), octets(encrypted));
};

/** BMPString, big-endian, closed by two zero bytes (RFC 7292 appendix B.1). */
const bmp = (text: string): Buffer => {
  const bytes = Buffer.from(`${text}\0`, 'utf16le');
  return bytes.swap16();
};

const BLOCK_BYTES = 64;
const filled = (bytes: Uint8Array): Buffer => {
  const length = BLOCK_BYTES * Math.ceil(bytes.length / BLOCK_BYTES);
  return Buffer.from(Array.from({ length }, (_, i) => bytes[i % bytes.length] ?? 0));
};

/** RFC 7292 appendix B.2 with ID 3 (MAC key) and SHA-256, whose 32 bytes are all that is needed: one round of it. */
const macKey = (passphrase: string, salt: Uint8Array): Buffer => {
  const diversifier = Buffer.alloc(BLOCK_BYTES, 3);
  let digest = createHash('sha256')
    .update(diversifier)
    .update(filled(salt))
    .update(filled(bmp(passphrase)))
    .digest();
  for (let i = 1; i < ITERATIONS; i += 1) digest = createHash('sha256').update(digest).digest();
  return digest;
};

const bag = (type: string, content: asn1js.BaseBlock, attributes: readonly asn1js.BaseBlock[]) =>
  sequence(oid(type), tagged(content), ...(attributes.length === 0 ? [] : [set(...attributes)]));
const contentInfo = (bytes: Uint8Array) => sequence(oid(OID.data), tagged(octets(bytes)));

const fromPem = (pem: string): Uint8Array[] =>
  (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map((one) =>
    Buffer.from(one.replace(/-----[^-]+-----|\s/g, ''), 'base64'),
  );

export interface Pkcs12Parts {
  readonly key: KeyObject;
  /** PEM: the certificate of the key first, then its authorities. */
  readonly certificates: readonly string[];
  /** Shown by the programs that import it. */
  readonly name: string;
  readonly passphrase: string;
}

export function toPkcs12({ key, certificates, name, passphrase }: Pkcs12Parts): Uint8Array {
  const chain = certificates.flatMap(fromPem);
  const id = createHash('sha1')
    .update(chain[0] ?? '')
    .digest();
  const marks = [
    sequence(oid(OID.friendlyName), set(new asn1js.BmpString({ value: name }))),
    sequence(oid(OID.localKeyId), set(octets(id))),
  ];
  const pkcs8 = key.export({ format: 'der', type: 'pkcs8' });
  const keys = der(sequence(bag(OID.shroudedKeyBag, shroud(pkcs8, passphrase), marks)));
  pkcs8.fill(0);
  const bags = chain.map((one, i) =>
    bag(OID.certificateBag, sequence(oid(OID.x509Certificate), tagged(octets(one))), i === 0 ? marks : []),
  );
  const safe = der(sequence(contentInfo(keys), contentInfo(der(sequence(...bags)))));
  const salt = randomBytes(SALT_BYTES);
  const mac = createHmac('sha256', macKey(passphrase, salt)).update(safe).digest();
  return der(
    sequence(
      new asn1js.Integer({ value: 3 }),
      contentInfo(safe),
      sequence(
        sequence(sequence(oid(OID.sha256), new asn1js.Null()), octets(mac)),
        octets(salt),
        new asn1js.Integer({ value: ITERATIONS }),
      ),
    ),
  );
}

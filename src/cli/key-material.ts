import {
  constants,
  createCipheriv,
  createPrivateKey,
  createPublicKey,
  type JsonWebKey,
  type KeyObject,
  publicEncrypt,
  randomBytes,
} from 'node:crypto';
import { isKeySpec, type KeySpec } from '@aegis/rot-spi/vocabulary';
import forge from 'node-forge';
import { CliError, EXIT } from './command.js';

/** Key material in the form the service imports. `bytes` is zeroed by the caller after wrapping. */
export interface KeyMaterial {
  readonly type: 'symmetric-key' | 'private-key' | 'public-key';
  readonly format: 'raw' | 'pkcs8' | 'spki';
  readonly bytes: Buffer;
  /** What the material itself says it is, where it says. */
  readonly spec: KeySpec | undefined;
}

export const MATERIAL_FORMATS = ['auto', 'pem', 'der', 'jwk', 'pkcs12', 'raw'] as const;
export type MaterialFormat = (typeof MATERIAL_FORMATS)[number];

const CURVES: Readonly<Record<string, KeySpec>> = {
  prime256v1: 'ec-p256',
  secp384r1: 'ec-p384',
  secp521r1: 'ec-p521',
  secp256k1: 'ec-secp256k1',
};

/** The specification a key object corresponds to. */
function specOf(key: KeyObject): KeySpec {
  const details = key.asymmetricKeyDetails ?? {};
  const type = key.asymmetricKeyType;
  if (type === 'rsa' || type === 'rsa-pss') return `rsa-${details.modulusLength}` as KeySpec;
  if (type === 'ec') {
    const spec = CURVES[details.namedCurve ?? ''];
    if (spec !== undefined) return spec;
  }
  // Edwards, Montgomery and post-quantum keys have the same names there and here.
  if (type !== undefined && isKeySpec(type)) return type;
  throw new CliError(
    `keys of type ${type ?? 'unknown'}${details.namedCurve === undefined ? '' : ` on ${details.namedCurve}`} are not supported`,
    EXIT.usage,
  );
}

const fromPrivate = (key: KeyObject): KeyMaterial => ({
  type: 'private-key',
  format: 'pkcs8',
  bytes: key.export({ format: 'der', type: 'pkcs8' }),
  spec: specOf(key),
});
const fromPublic = (key: KeyObject): KeyMaterial => ({
  type: 'public-key',
  format: 'spki',
  bytes: key.export({ format: 'der', type: 'spki' }),
  spec: specOf(key),
});

/** A raw key may begin with any byte, `{` included: only what is a JWK in whole is one. */
function isJwk(bytes: Buffer): boolean {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof value === 'object' && value !== null && 'kty' in value;
  } catch {
    return false;
  }
}

function guessFormat(bytes: Buffer): MaterialFormat {
  const text = bytes.subarray(0, 64).toString('latin1').trimStart();
  if (text.startsWith('-----BEGIN')) return 'pem';
  if (isJwk(bytes)) return 'jwk';
  // A DER SEQUENCE that spans the file; a raw key of 16, 24, 32 or 64 bytes would have to begin with just that length.
  if (bytes[0] === 0x30 && bytes.length > 40) return bytes.includes(Buffer.from('06092a864886f70d010701', 'hex')) ? 'pkcs12' : 'der';
  return 'raw';
}

const fromJwk = (bytes: Buffer): KeyMaterial => {
  const jwk = JSON.parse(bytes.toString('utf8')) as JsonWebKey & { k?: string };
  if (jwk.kty === 'oct' && typeof jwk.k === 'string')
    return { type: 'symmetric-key', format: 'raw', bytes: Buffer.from(jwk.k, 'base64url'), spec: undefined };
  // The private part is `d`, or `priv` in the AKP keys of ML-DSA, ML-KEM and SLH-DSA.
  return jwk['d'] === undefined && jwk['priv'] === undefined
    ? fromPublic(createPublicKey({ key: jwk, format: 'jwk' }))
    : fromPrivate(createPrivateKey({ key: jwk, format: 'jwk' }));
};

function fromPem(bytes: Buffer, passphrase: string | undefined): KeyMaterial {
  const text = bytes.toString('latin1');
  if (text.includes('PRIVATE KEY-----'))
    return fromPrivate(createPrivateKey({ key: bytes, format: 'pem', ...(passphrase === undefined ? {} : { passphrase }) }));
  return fromPublic(createPublicKey({ key: bytes, format: 'pem' }));
}

function fromDer(bytes: Buffer, passphrase: string | undefined): KeyMaterial {
  const secret = passphrase === undefined ? {} : { passphrase };
  for (const type of ['pkcs8', 'pkcs1', 'sec1'] as const) {
    try {
      return fromPrivate(createPrivateKey({ key: bytes, format: 'der', type, ...secret }));
    } catch {
      // Not this encoding; the next one may fit.
    }
  }
  return fromPublic(createPublicKey({ key: bytes, format: 'der', type: 'spki' }));
}

function fromPkcs12(bytes: Buffer, passphrase: string | undefined): KeyMaterial {
  const store = forge.pkcs12.pkcs12FromAsn1(forge.asn1.fromDer(forge.util.createBuffer(bytes.toString('binary'))), passphrase ?? '');
  const bags = [forge.pki.oids['pkcs8ShroudedKeyBag'], forge.pki.oids['keyBag']].flatMap((type) =>
    type === undefined ? [] : (store.getBags({ bagType: type })[type] ?? []),
  );
  const bag = bags[0];
  if (bag === undefined) throw new CliError('the PKCS#12 file holds no private key', EXIT.usage);
  if (bags.length > 1)
    throw new CliError(
      `the PKCS#12 file holds ${bags.length} private keys`,
      EXIT.usage,
      'Export the one to import into a file of its own.',
    );
  // RSA keys are parsed by forge; every other kind is left as ASN.1.
  const der =
    bag.key === undefined || bag.key === null
      ? forge.asn1.toDer(bag.asn1)
      : forge.asn1.toDer(forge.pki.wrapRsaPrivateKey(forge.pki.privateKeyToAsn1(bag.key)));
  return fromPrivate(createPrivateKey({ key: Buffer.from(der.getBytes(), 'binary'), format: 'der', type: 'pkcs8' }));
}

/** Reads key material of any supported file format. Throws CliError with what is wrong; never shows the material. */
export function parseMaterial(bytes: Buffer, format: MaterialFormat, passphrase: string | undefined): KeyMaterial {
  const actual = format === 'auto' ? guessFormat(bytes) : format;
  try {
    if (actual === 'pem') return fromPem(bytes, passphrase);
    if (actual === 'der') return fromDer(bytes, passphrase);
    if (actual === 'jwk') return fromJwk(bytes);
    if (actual === 'pkcs12') return fromPkcs12(bytes, passphrase);
    return { type: 'symmetric-key', format: 'raw', bytes: Buffer.from(bytes), spec: undefined };
  } catch (error) {
    if (error instanceof CliError) throw error;
    const encrypted = /passphrase|interrupted or cancelled|bad decrypt|MAC could not be verified|Invalid password/i.test(
      String((error as Error).message),
    );
    throw new CliError(
      encrypted ? 'the file is encrypted and the passphrase is missing or wrong' : `the file could not be read as ${actual}`,
      EXIT.usage,
      encrypted
        ? 'Give the passphrase in a file: --passphrase-file FILE.'
        : `Say what it is: --format ${MATERIAL_FORMATS.slice(1).join(' | ')}.`,
    );
  }
}

const aesKwp = (kek: Uint8Array, material: Uint8Array): Buffer => {
  const cipher = createCipheriv('id-aes256-wrap-pad', kek, Buffer.from('a65959a6', 'hex'));
  return Buffer.concat([cipher.update(material), cipher.final()]);
};
const oaep = (importKeyPem: string, hash: 'sha1' | 'sha256', material: Uint8Array): Buffer =>
  publicEncrypt({ key: importKeyPem, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: hash }, material);

/**
 * RSA-AES key wrap (PKCS#11 v3.0 §6.1.21, `rsa-aes-kwp`): a fresh AES-256 key, RSA-OAEP-SHA-256 wrapped, followed by the
 * material wrapped under it by AES-KWP (RFC 5649).
 */
export function wrapForImport(importKeyPem: string, material: Buffer): Buffer {
  const kek = randomBytes(32);
  try {
    return Buffer.concat([oaep(importKeyPem, 'sha256', kek), aesKwp(kek, material)]);
  } finally {
    kek.fill(0);
  }
}

/**
 * The same in two steps, for modules without RSA-AES key wrap (SoftHSM 2.6): a fresh AES-256 transport key goes in by
 * RSA-OAEP, the material follows under it by AES-KWP.
 */
export function wrapInTwoSteps(
  importKeyPem: string,
  hash: 'sha1' | 'sha256',
  material: Buffer,
): { readonly transport: Buffer; readonly wrapped: Buffer } {
  const transport = randomBytes(32);
  try {
    return { transport: oaep(importKeyPem, hash, transport), wrapped: aesKwp(transport, material) };
  } finally {
    transport.fill(0);
  }
}

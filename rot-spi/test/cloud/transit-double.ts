import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
} from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { SignParameters } from '../../src/contract.js';
import type { Spec } from '../../src/software/key-material.js';
import type { OpenedKey } from '../../src/software/opened-keys.js';
import { checkSignature, makeSignature } from '../../src/software/signatures.js';
import { unwrapMaterial } from '../../src/software/wraps.js';
import { type Algorithm, KEY_SPECS, type KeySpec } from '../../src/vocabulary/index.js';

/**
 * A strict double of Transit, written after OpenBao's own sources: unknown fields, a missing token, a trimmed version, a
 * deleted or disabled key are refused as there. What it is not: another implementation's proof. A real OpenBao is that.
 */

interface KeyVersion {
  readonly createdAt: string;
  readonly secret?: Buffer;
  readonly privateKey?: KeyObject;
}
interface TransitKey {
  type: string;
  exportable: boolean;
  imported: boolean;
  deletionAllowed: boolean;
  minDecryption: number;
  derived: boolean;
  versions: KeyVersion[];
}

const FIELDS: Readonly<Record<string, readonly string[]>> = {
  keys: ['type', 'exportable', 'key_size', 'derived'],
  config: ['deletion_allowed', 'min_decryption_version'],
  rotate: [],
  import: ['type', 'hash_function', 'ciphertext', 'exportable', 'allow_rotation'],
  encrypt: ['plaintext', 'key_version', 'associated_data'],
  decrypt: ['ciphertext', 'associated_data'],
  sign: ['input', 'key_version', 'hash_algorithm', 'prehashed', 'signature_algorithm', 'salt_length', 'marshaling_algorithm'],
  verify: [
    'input',
    'key_version',
    'hash_algorithm',
    'prehashed',
    'signature_algorithm',
    'salt_length',
    'marshaling_algorithm',
    'signature',
  ],
  hmac: ['input', 'key_version', 'algorithm'],
  random: ['format'],
};
const SYMMETRIC: Readonly<Record<string, number>> = { 'aes128-gcm96': 16, 'aes256-gcm96': 32, 'chacha20-poly1305': 32 };
const CURVES: Readonly<Record<string, string>> = { 'ecdsa-p256': 'prime256v1', 'ecdsa-p384': 'secp384r1', 'ecdsa-p521': 'secp521r1' };
const HASHES: Readonly<Record<string, string>> = {
  'sha2-224': 'sha224',
  'sha2-256': 'sha256',
  'sha2-384': 'sha384',
  'sha2-512': 'sha512',
  sha1: 'sha1',
};

class Refusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export interface TransitDouble {
  readonly address: string;
  readonly token: string;
  readonly keys: Map<string, TransitKey>;
  /** Requests seen, by path without the mount. */
  readonly seen: string[];
  /** Answers every request so until taken back. */
  fail?: { readonly status: number; readonly message: string; readonly retryAfter?: string; times?: number } | undefined;
  /** Requests get no answer at all. */
  silent: boolean;
  sealed: boolean;
  tokenValid: boolean;
  close(): Promise<void>;
}

const newVersion = (type: string, keySize?: number): KeyVersion => {
  const createdAt = new Date(Date.now() - Math.random() * 1e6).toISOString();
  if (type === 'hmac') return { createdAt, secret: randomBytes(keySize ?? 32) };
  const size = SYMMETRIC[type];
  if (size !== undefined) return { createdAt, secret: randomBytes(size) };
  const curve = CURVES[type];
  if (curve !== undefined) return { createdAt, privateKey: generateKeyPairSync('ec', { namedCurve: curve }).privateKey };
  if (type === 'ed25519') return { createdAt, privateKey: generateKeyPairSync('ed25519').privateKey };
  const bits = /^rsa-(\d{4})$/.exec(type)?.[1];
  if (bits !== undefined) return { createdAt, privateKey: generateKeyPairSync('rsa', { modulusLength: Number(bits) }).privateKey };
  throw new Refusal(400, `unknown key type ${type}`);
};

const publicText = (type: string, key: KeyObject): string => {
  const publicKey = createPublicKey(key as never);
  const der = publicKey.export({ format: 'der', type: 'spki' });
  return type === 'ed25519' ? der.subarray(-32).toString('base64') : (publicKey.export({ format: 'pem', type: 'spki' }) as string);
};

const describeKey = (name: string, key: TransitKey): Record<string, unknown> => ({
  name,
  type: key.type,
  derived: key.derived,
  deletion_allowed: key.deletionAllowed,
  exportable: key.exportable,
  imported_key: key.imported,
  latest_version: key.versions.length,
  min_decryption_version: key.minDecryption,
  ...(key.type === 'hmac' ? { key_size: key.versions[0]?.secret?.length } : {}),
  keys: Object.fromEntries(
    key.versions.map((one, index) => [
      String(index + 1),
      one.privateKey === undefined
        ? Math.floor(Date.parse(one.createdAt) / 1000)
        : { name: key.type, creation_time: one.createdAt, public_key: publicText(key.type, one.privateKey) },
    ]),
  ),
});

const aead = (type: string) =>
  type === 'chacha20-poly1305' ? 'chacha20-poly1305' : type === 'aes128-gcm96' ? 'aes-128-gcm' : 'aes-256-gcm';
const bytesOf = (value: unknown): Buffer => Buffer.from(typeof value === 'string' ? value : '', 'base64');

const parseValue = (key: TransitKey, value: unknown, what: string): { version: KeyVersion; number: number; bytes: Buffer } => {
  const match = /^vault:v(\d+):(.*)$/s.exec(String(value));
  if (match === null) throw new Refusal(400, `invalid ${what}: no prefix`);
  const number = Number(match[1]);
  const version = key.versions[number - 1];
  if (version === undefined || number < key.minDecryption)
    throw new Refusal(400, `${what} or signature version is disallowed by policy (too old)`);
  return { version, number, bytes: Buffer.from(match[2] ?? '', 'base64') };
};

const pick = (key: TransitKey, body: Record<string, unknown>): { version: KeyVersion; number: number } => {
  const number = Number(body['key_version'] ?? 0) || key.versions.length;
  const version = key.versions[number - 1];
  if (version === undefined) throw new Refusal(400, 'requested version for encryption is higher than the latest key version');
  return { version, number };
};

const SPECS: Readonly<Record<string, KeySpec>> = { 'ecdsa-p256': 'ec-p256', 'ecdsa-p384': 'ec-p384', 'ecdsa-p521': 'ec-p521' };

const algorithmOf = (key: TransitKey, body: Record<string, unknown>): { algorithm: Algorithm; parameters: SignParameters } => {
  if (key.type === 'ed25519') return { algorithm: 'ed25519', parameters: {} };
  const hash = HASHES[String(body['hash_algorithm'] ?? 'sha2-256')];
  if (hash === undefined) throw new Refusal(400, `invalid hash algorithm ${String(body['hash_algorithm'])}`);
  const prehashed = body['prehashed'] === true;
  if (!key.type.startsWith('rsa')) return { algorithm: (prehashed ? 'ecdsa-raw' : `ecdsa-${hash}`) as Algorithm, parameters: {} };
  if (body['signature_algorithm'] === 'pkcs1v15') return { algorithm: `rsa-pkcs1-${hash}` as Algorithm, parameters: { prehashed } };
  const salt = body['salt_length'];
  // Go's `auto` fills the modulus; a caller of ours never means that.
  if (salt === undefined || salt === 'auto') throw new Refusal(500, 'the salt length was left to Go');
  return {
    algorithm: `rsa-pss-${hash}` as Algorithm,
    parameters: { prehashed, ...(salt === 'hash' ? {} : { saltLength: Number(salt) }) },
  };
};

const openedOf = (key: TransitKey, version: KeyVersion): OpenedKey => {
  const { privateKey } = version;
  if (privateKey === undefined) throw new Refusal(400, `key type ${key.type} does not support signing`);
  return {
    spec: KEY_SPECS[SPECS[key.type] ?? (key.type as KeySpec)] as Spec,
    material: { kind: 'pkcs8', privateKey, publicKey: createPublicKey(privateKey as never) },
    scalar: () => Buffer.from(privateKey.export({ format: 'jwk' })['d'] as string, 'base64url'),
  } as unknown as OpenedKey;
};

export const startTransitDouble = async (): Promise<TransitDouble> => {
  const token = `hvs.${randomBytes(12).toString('hex')}`;
  const keys = new Map<string, TransitKey>();
  const wrapping = generateKeyPairSync('rsa', { modulusLength: 4096 });

  const need = (name: string): TransitKey => {
    const key = keys.get(name);
    if (key === undefined) throw new Refusal(400, 'encryption key not found');
    return key;
  };
  const make = (name: string, body: Record<string, unknown>): TransitKey => {
    const type = String(body['type'] ?? 'aes256-gcm96');
    const size = body['key_size'] as number | undefined;
    if (size !== undefined && (type !== 'hmac' || size < 32 || size > 512)) throw new Refusal(400, `invalid key_size ${size}`);
    const key: TransitKey = {
      type,
      exportable: body['exportable'] === true,
      derived: body['derived'] === true,
      imported: false,
      deletionAllowed: false,
      minDecryption: 1,
      versions: [newVersion(type, size)],
    };
    keys.set(name, key);
    return key;
  };
  const importKey = (name: string, body: Record<string, unknown>): void => {
    if (keys.has(name)) throw new Refusal(500, 'the import path cannot be used with an existing key');
    const type = String(body['type']);
    const material = unwrapMaterial(wrapping.privateKey, KEY_SPECS['rsa-4096'] as Spec, 'rsa-aes-kwp', bytesOf(body['ciphertext']), {});
    const createdAt = new Date().toISOString();
    const symmetric = type === 'hmac' || SYMMETRIC[type] !== undefined;
    const version: KeyVersion = symmetric
      ? { createdAt, secret: material }
      : { createdAt, privateKey: createPrivateKey({ key: material, format: 'der', type: 'pkcs8' }) };
    keys.set(name, {
      type,
      exportable: body['exportable'] === true,
      imported: true,
      derived: false,
      deletionAllowed: false,
      minDecryption: 1,
      versions: [version],
    });
  };
  const encrypt = (name: string, body: Record<string, unknown>): Record<string, unknown> => {
    // As in Transit: a key that is not there is made.
    const key = keys.get(name) ?? make(name, {});
    const { version, number } = pick(key, body);
    const plaintext = bytesOf(body['plaintext']);
    if (version.privateKey !== undefined) {
      const publicKey = createPublicKey(version.privateKey as never);
      const bytes = publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }, plaintext);
      return { ciphertext: `vault:v${number}:${bytes.toString('base64')}` };
    }
    if (key.type === 'hmac' || version.secret === undefined)
      throw new Refusal(400, `message encryption not supported for key type ${key.type}`);
    const iv = randomBytes(12);
    const cipher = createCipheriv(aead(key.type) as 'aes-256-gcm', version.secret, iv, { authTagLength: 16 });
    cipher.setAAD(bytesOf(body['associated_data']));
    const bytes = Buffer.concat([iv, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
    return { ciphertext: `vault:v${number}:${bytes.toString('base64')}`, key_version: number };
  };
  const decrypt = (name: string, body: Record<string, unknown>): Record<string, unknown> => {
    const key = need(name);
    const { version, bytes } = parseValue(key, body['ciphertext'], 'ciphertext');
    try {
      if (version.privateKey !== undefined) {
        const options = { key: version.privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' };
        return { plaintext: privateDecrypt(options, bytes).toString('base64') };
      }
      const decipher = createDecipheriv(aead(key.type) as 'aes-256-gcm', version.secret as Buffer, bytes.subarray(0, 12), {
        authTagLength: 16,
      });
      decipher.setAAD(bytesOf(body['associated_data'])).setAuthTag(bytes.subarray(-16));
      return { plaintext: Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString('base64') };
    } catch {
      throw new Refusal(400, 'cipher: message authentication failed');
    }
  };
  const exported = (key: TransitKey, number: number): string => {
    const version = key.versions[number - 1];
    if (!key.exportable || version === undefined) throw new Refusal(400, 'private key material is not exportable');
    if (version.secret !== undefined) return version.secret.toString('base64');
    const { privateKey } = version;
    if (key.type !== 'ed25519')
      return privateKey?.export({ format: 'pem', type: key.type.startsWith('rsa') ? 'pkcs1' : 'sec1' } as never) as unknown as string;
    const jwk = privateKey?.export({ format: 'jwk' }) ?? {};
    return Buffer.concat([jwk['d'], jwk['x']].map((part) => Buffer.from(part as string, 'base64url'))).toString('base64');
  };

  const act = async (method: string, path: string, body: Record<string, unknown>): Promise<unknown> => {
    const [verb = '', name = '', rest = '', extra = ''] = path.split('/').map(decodeURIComponent);
    const table = verb === 'keys' && rest !== '' ? rest : verb;
    const allowed = FIELDS[table];
    for (const field of Object.keys(body)) if (!allowed?.includes(field)) throw new Refusal(400, `unknown field ${field} of ${table}`);
    if (method === 'GET') {
      if (verb === 'wrapping_key') return { public_key: wrapping.publicKey.export({ format: 'pem', type: 'spki' }) };
      const key = keys.get(verb === 'export' ? rest : name);
      if (key === undefined) throw new Refusal(404, '');
      return verb === 'export' ? { keys: { [extra]: exported(key, Number(extra)) } } : describeKey(name, key);
    }
    if (method === 'DELETE') {
      if (!need(name).deletionAllowed) throw new Refusal(400, 'deletion is not allowed for this key');
      keys.delete(name);
      return undefined;
    }
    switch (table) {
      case 'keys':
        return describeKey(name, keys.get(name) ?? make(name, body));
      case 'config': {
        const key = need(name);
        if (typeof body['deletion_allowed'] === 'boolean') key.deletionAllowed = body['deletion_allowed'];
        if (typeof body['min_decryption_version'] === 'number') key.minDecryption = body['min_decryption_version'];
        return undefined;
      }
      case 'rotate':
        need(name).versions.push(newVersion(need(name).type));
        return undefined;
      case 'import':
        importKey(name, body);
        return undefined;
      case 'encrypt':
        return encrypt(name, body);
      case 'decrypt':
        return decrypt(name, body);
      case 'sign': {
        const key = need(name);
        const { version, number } = pick(key, body);
        const { algorithm, parameters } = algorithmOf(key, body);
        const signature = await makeSignature(openedOf(key, version), algorithm, bytesOf(body['input']), parameters);
        return { signature: `vault:v${number}:${signature.toString('base64')}`, key_version: number };
      }
      case 'verify': {
        const key = need(name);
        const { version, bytes } = parseValue(key, body['signature'], 'signature');
        const { algorithm, parameters } = algorithmOf(key, body);
        const { material } = openedOf(key, version);
        if (material.kind === 'raw') throw new Refusal(400, 'no signing key');
        // Go's ASN.1 reader refuses before anything is verified.
        if (key.type.startsWith('ecdsa') && bytes[0] !== 0x30) throw new Refusal(400, 'supplied signature is invalid');
        return { valid: checkSignature(material.publicKey, algorithm, bytesOf(body['input']), bytes, parameters) };
      }
      case 'hmac': {
        const key = need(name);
        const { version, number } = pick(key, body);
        const hash = HASHES[String(body['algorithm'] ?? 'sha2-256')];
        if (hash === undefined) throw new Refusal(400, 'unsupported algorithm');
        const mac = createHmac(hash, createSecretKey(version.secret ?? Buffer.alloc(32)))
          .update(bytesOf(body['input']))
          .digest();
        return { hmac: `vault:v${number}:${mac.toString('base64')}` };
      }
      case 'random':
        return { random_bytes: randomBytes(Number(name)).toString('base64') };
      default:
        throw new Refusal(404, 'unsupported path');
    }
  };

  const readJson = async (request: IncomingMessage): Promise<Record<string, unknown>> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString('utf8');
    return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
  };

  const double: TransitDouble = {
    address: '',
    token,
    keys,
    seen: [],
    silent: false,
    sealed: false,
    tokenValid: true,
    close: async () => undefined,
  };
  const server = createServer((request, response) => {
    const answer = (status: number, body: unknown, headers: Record<string, string> = {}): void => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(body === undefined ? '' : JSON.stringify(body));
    };
    const handle = async (): Promise<void> => {
      if (double.silent) return;
      const path = (request.url ?? '').replace(/^\/v1\//, '');
      const body = await readJson(request);
      double.seen.push(`${request.method} ${path}`);
      if (path.startsWith('sys/health')) return answer(200, { version: '2.0-double', sealed: double.sealed });
      if (double.sealed) return answer(503, { errors: ['Vault is sealed'] });
      const { fail } = double;
      if (fail !== undefined && (fail.times === undefined || fail.times > 0)) {
        if (fail.times !== undefined) fail.times -= 1;
        return answer(fail.status, { errors: [fail.message] }, fail.retryAfter === undefined ? {} : { 'retry-after': fail.retryAfter });
      }
      if (!double.tokenValid || request.headers['x-vault-token'] !== token) return answer(403, { errors: ['permission denied'] });
      if (path === 'auth/token/lookup-self') return answer(200, { data: { ttl: 0, renewable: false } });
      if (!path.startsWith('transit/')) return answer(404, { errors: ['no handler for route'] });
      const data = await act(request.method ?? 'GET', path.slice('transit/'.length), body);
      return data === undefined ? answer(204, undefined) : answer(200, { data });
    };
    handle().catch((error: unknown) => {
      if (error instanceof Refusal) answer(error.status, { errors: error.message === '' ? [] : [error.message] });
      else answer(500, { errors: [String(error)] });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  (double as { address: string }).address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  double.close = () =>
    new Promise((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    });
  return double;
};

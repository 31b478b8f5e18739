import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import type { VaultProviderConfig } from '../../config.js';
import { RootFault } from '../../fault.js';
import type { Spec } from '../../software/key-material.js';
import type { WrappedKek } from '../../software/seal-file.js';
import { wrapMaterial } from '../../software/wraps.js';
import { ALGORITHMS, KEY_SPECS, type KeySpec } from '../../vocabulary/index.js';
import type { CloudCipher, CloudKey, CloudKeyId, CloudKms, CloudSign, NewCloudKey } from '../kms.js';
import { makeVaultConnection, type VaultConnection } from './connection.js';
import { rowOfSpec, specOfType, TRANSIT_ALGORITHMS, TRANSIT_HASHES, TRANSIT_SPECS } from './key-types.js';

/** Vault's own limit on a request is 32 MiB; base64 and JSON come on top. */
const MAX_INPUT_BYTES = 16 * 1024 * 1024;
const GCM_IV_BYTES = 12;
const TAG_BYTES = 16;
/** keysutil.HmacMinKeySize and HmacMaxKeySize. */
const HMAC_BYTES = { min: 32, max: 512 } as const;
const VALUE = /^vault:v([1-9][0-9]{0,9}):([A-Za-z0-9+/]+={0,2})$/;
const NAME = /^[A-Za-z0-9]([A-Za-z0-9_.-]{0,253}[A-Za-z0-9])?$/;

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');

const wrongAnswer = (what: string): RootFault =>
  new RootFault('unavailable', `Vault answered without ${what}`, 'Check that the mount is a Transit engine and its version.');

/** `vault:v3:BASE64` → the bytes, and the version that made them. */
const parseValue = (value: unknown, what: string): { readonly version: string; readonly bytes: Buffer } => {
  const match = typeof value === 'string' ? VALUE.exec(value) : null;
  if (match?.[1] === undefined || match[2] === undefined) throw wrongAnswer(what);
  return { version: match[1], bytes: Buffer.from(match[2], 'base64') };
};

const pathOf = (name: string): string => {
  if (!NAME.test(name))
    throw new RootFault('invalid-argument', 'the key name is not one of Transit', 'Use letters, digits, dot, hyphen and underscore.');
  return encodeURIComponent(name);
};

/** PEM for ECDSA and RSA; the 32 bytes in base64 for Ed25519 (RFC 8410 §4). */
const ED25519_SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
const readPublicKey = (text: unknown, spec: KeySpec): Buffer => {
  if (typeof text !== 'string' || text === '') throw wrongAnswer('the public key');
  try {
    const key: KeyObject =
      spec === 'ed25519'
        ? createPublicKey({ key: Buffer.concat([ED25519_SPKI_PREFIX, Buffer.from(text, 'base64')]), format: 'der', type: 'spki' })
        : createPublicKey(text);
    return key.export({ format: 'der', type: 'spki' });
  } catch {
    throw wrongAnswer('a readable public key');
  }
};

const decryptionFailed = (): RootFault => new RootFault('decryption-failed', 'the ciphertext does not decrypt under this key');

/** Transit as a CloudKms: nothing is kept here but the connection. */
export const makeTransit = (
  config: VaultProviderConfig,
  connect: (config: VaultProviderConfig) => VaultConnection = makeVaultConnection,
): CloudKms => {
  const connection = connect(config);
  const mount = (config.mount ?? 'transit').replace(/^\/+|\/+$/g, '');
  const post = async (path: string, body: unknown): Promise<Record<string, unknown>> =>
    (await connection.call('POST', `${mount}/${path}`, body)) ?? {};

  const readKey = async (name: string): Promise<Record<string, unknown>> => {
    const data = await connection.call('GET', `${mount}/keys/${pathOf(name)}`);
    if (data === undefined)
      throw new RootFault(
        'key-not-found',
        `Transit has no key ${name}`,
        'It was deleted there; the objects that use it cannot be used any more.',
      );
    return data;
  };

  const toCloudKey = (data: Record<string, unknown>, name: string, version: string): CloudKey => {
    if (data['derived'] === true)
      throw new RootFault(
        'unsupported',
        `the key ${name} is a derived one`,
        'Keys with derivation need a context for each call; register one without.',
      );
    const keyBytes = Number(data['key_size'] ?? 0) || undefined;
    const spec = specOfType(String(data['type']), keyBytes);
    if (spec === undefined) throw new RootFault('unsupported', `keys of Transit type ${String(data['type']).slice(0, 40)} are not served`);
    const versions = (data['keys'] ?? {}) as Record<string, unknown>;
    const one = versions[version];
    // An hmac key lists no versions in older releases.
    if (one === undefined && spec.startsWith('hmac') === false)
      throw new RootFault('key-not-found', `version ${version} of the key ${name} is gone`, 'It was trimmed or deleted in Transit.');
    const facts = typeof one === 'object' && one !== null ? (one as Record<string, unknown>) : {};
    const minimum = Number(data['min_decryption_version'] ?? 0);
    const pair = KEY_SPECS[spec].shape === 'pair';
    return {
      id: { name, version },
      spec,
      state: data['soft_deleted'] === true ? 'pending-deletion' : Number(version) < minimum ? 'disabled' : 'enabled',
      identity: String(facts['creation_time'] ?? one ?? ''),
      exportable: data['exportable'] === true,
      imported: data['imported_key'] === true,
      ...(pair ? { publicKey: readPublicKey(facts['public_key'], spec) } : {}),
      ...(keyBytes === undefined ? {} : { bits: keyBytes * 8 }),
    };
  };

  const describeKey = async ({ name, version }: CloudKeyId): Promise<CloudKey> => toCloudKey(await readKey(name), name, version);
  /** `name` or `name/version`. */
  const findKey = async (ref: string): Promise<CloudKey> => {
    const [, name = ref, version] = /^(.+)\/([1-9][0-9]{0,9})$/.exec(ref) ?? [];
    const data = await readKey(name);
    return toCloudKey(data, name, version ?? String(data['latest_version']));
  };

  const keyBytesOf = ({ spec, bits }: NewCloudKey): number | undefined => {
    if (KEY_SPECS[spec].family !== 'hmac') return undefined;
    const bytes = (bits ?? Math.max(KEY_SPECS[spec].bits, HMAC_BYTES.min * 8)) / 8;
    if (bytes < HMAC_BYTES.min || bytes > HMAC_BYTES.max)
      throw new RootFault('unsupported', `Transit makes HMAC keys of ${HMAC_BYTES.min} to ${HMAC_BYTES.max} bytes`);
    return bytes;
  };

  const typeOf = (spec: KeySpec): string => {
    const row = rowOfSpec(spec);
    if (row === undefined) throw new RootFault('unsupported', `Transit has no ${spec} keys`);
    return row.type;
  };

  const signingBody = (request: CloudSign): Record<string, unknown> => {
    const { algorithm, data, prehashed, saltLength } = request;
    // Go's rsa.PSSSaltLengthAuto is 0: the longest salt when signing, any when verifying.
    if (saltLength === 0) throw new RootFault('unsupported', 'Transit cannot be asked for a PSS salt of no bytes');
    const { hash } = ALGORITHMS[algorithm];
    return {
      input: base64(data),
      key_version: Number(request.id.version),
      ...(hash === undefined ? {} : { hash_algorithm: TRANSIT_HASHES[hash] }),
      ...(prehashed || algorithm === 'ecdsa-raw' ? { prehashed: true } : {}),
      ...(algorithm.startsWith('rsa-pss')
        ? { signature_algorithm: 'pss', salt_length: saltLength === undefined ? 'hash' : String(saltLength) }
        : {}),
      ...(algorithm.startsWith('rsa-pkcs1') ? { signature_algorithm: 'pkcs1v15' } : {}),
      ...(algorithm.startsWith('ecdsa') ? { marshaling_algorithm: 'asn1' } : {}),
    };
  };

  const encryptBody = (request: CloudCipher & { readonly plaintext: Uint8Array }): Record<string, unknown> => ({
    plaintext: base64(request.plaintext),
    key_version: Number(request.id.version),
    ...(request.aad === undefined || request.aad.length === 0 ? {} : { associated_data: base64(request.aad) }),
  });

  const decryptValue = async (name: string, ciphertext: string, aad: Uint8Array | undefined): Promise<Buffer> => {
    const extra = aad === undefined || aad.length === 0 ? {} : { associated_data: base64(aad) };
    const { plaintext } = await post(`decrypt/${pathOf(name)}`, { ciphertext, ...extra }).catch((error: unknown) => {
      // Transit answers 400 for a tag that does not match; what it says of other things (no such key) names no ciphertext.
      if (error instanceof RootFault && error.code === 'invalid-argument' && /decrypt|authentication|ciphertext/i.test(error.message))
        throw decryptionFailed();
      throw error;
    });
    if (typeof plaintext !== 'string') throw wrongAnswer('a plaintext');
    return Buffer.from(plaintext, 'base64');
  };

  return {
    provider: 'vault',
    specs: TRANSIT_SPECS,
    algorithms: TRANSIT_ALGORITHMS,
    maxInput: MAX_INPUT_BYTES,
    facts: async () => {
      const { version, cluster_name: cluster } = await connection.health();
      return {
        provider: 'HashiCorp Vault or OpenBao, Transit',
        address: config.address,
        mount,
        ...(config.namespace === undefined ? {} : { namespace: config.namespace }),
        ...(typeof version === 'string' ? { version } : {}),
        ...(typeof cluster === 'string' ? { cluster } : {}),
      };
    },
    ping: async () => void (await connection.call('GET', 'auth/token/lookup-self')),
    close: async () => connection.close(),

    ensureSealingKey: async (key) => {
      if ((await connection.call('GET', `${mount}/keys/${pathOf(key)}`)) === undefined)
        await post(`keys/${pathOf(key)}`, { type: 'aes256-gcm96' });
    },
    wrapKek: async (key, kek, context): Promise<WrappedKek> => {
      await readKey(key); // encrypt would make a missing key, and with it a seal that nobody keeps
      const { ciphertext } = await post(`encrypt/${pathOf(key)}`, { plaintext: base64(kek), associated_data: base64(context) });
      const { version } = parseValue(ciphertext, 'a ciphertext');
      return { provider: 'vault', key, version, blob: Buffer.from(String(ciphertext), 'latin1').toString('hex') };
    },
    unwrapKek: async (wrapped, context) => decryptValue(wrapped.key, Buffer.from(wrapped.blob, 'hex').toString('latin1'), context),
    currentVersion: async (key) => String((await readKey(key))['latest_version']),

    describeKey,
    findKey,
    refOf: ({ name, version }) => `${name}/${version}`,
    createKey: async (request) => {
      const size = keyBytesOf(request);
      const body = { type: typeOf(request.spec), exportable: request.exportable, ...(size === undefined ? {} : { key_size: size }) };
      if ((await connection.call('GET', `${mount}/keys/${pathOf(request.name)}`)) !== undefined)
        throw new RootFault('invalid-argument', `Transit has a key ${request.name} already`);
      await post(`keys/${pathOf(request.name)}`, body);
      return findKey(request.name);
    },
    importKey: async (request) => {
      keyBytesOf({ ...request, bits: request.material.length * 8 });
      const { public_key: wrapping } = (await connection.call('GET', `${mount}/wrapping_key`)) ?? {};
      if (typeof wrapping !== 'string') throw wrongAnswer('its wrapping key');
      // Vault's import guide: a one-time AES-256 key under RSA-OAEP (SHA-256), then the material under AES-KWP.
      const { wrapped } = wrapMaterial(createPublicKey(wrapping), KEY_SPECS['rsa-4096'] as Spec, 'rsa-aes-kwp', request.material, {});
      await post(`keys/${pathOf(request.name)}/import`, {
        type: typeOf(request.spec),
        hash_function: 'SHA256',
        ciphertext: wrapped.toString('base64'),
        exportable: request.exportable,
        allow_rotation: false,
      });
      return findKey(request.name);
    },
    exportKey: async ({ name, version }, spec) => {
      const kind = rowOfSpec(spec)?.export ?? 'encryption-key';
      const data = await connection.call('GET', `${mount}/export/${kind}/${pathOf(name)}/${version}`);
      const text = ((data?.['keys'] ?? {}) as Record<string, unknown>)[version];
      if (typeof text !== 'string') throw new RootFault('key-not-found', `Transit does not export version ${version} of ${name}`);
      return toMaterial(text, spec);
    },
    destroyKey: async ({ name }) => {
      if ((await connection.call('GET', `${mount}/keys/${pathOf(name)}`)) === undefined) return;
      await post(`keys/${pathOf(name)}/config`, { deletion_allowed: true });
      await connection.call('DELETE', `${mount}/keys/${pathOf(name)}`);
    },

    encrypt: async (request) => {
      const { version, bytes } = parseValue(
        (await post(`encrypt/${pathOf(request.id.name)}`, encryptBody(request)))['ciphertext'],
        'a ciphertext',
      );
      if (version !== request.id.version) throw wrongAnswer(`a ciphertext of version ${request.id.version}`);
      if (KEY_SPECS[request.spec].family === 'rsa') return { ciphertext: bytes };
      if (bytes.length !== GCM_IV_BYTES + request.plaintext.length + TAG_BYTES) throw wrongAnswer('a ciphertext of the right size');
      return { iv: bytes.subarray(0, GCM_IV_BYTES), ciphertext: bytes.subarray(GCM_IV_BYTES, -TAG_BYTES), tag: bytes.subarray(-TAG_BYTES) };
    },
    decrypt: (request) => {
      const parts = request.iv === undefined ? [request.ciphertext] : [request.iv, request.ciphertext, request.tag ?? Buffer.alloc(0)];
      return decryptValue(request.id.name, `vault:v${request.id.version}:${Buffer.concat(parts).toString('base64')}`, request.aad);
    },
    sign: async (request) => parseSignature(await post(`sign/${pathOf(request.id.name)}`, signingBody(request)), request.id.version),
    verify: async (request) => {
      const signature = `vault:v${request.id.version}:${base64(request.signature)}`;
      try {
        return (await post(`verify/${pathOf(request.id.name)}`, { ...signingBody(request), signature }))['valid'] === true;
      } catch (error) {
        // A signature that is no DER or has the wrong length is refused with 400, not answered.
        if (error instanceof RootFault && error.code === 'invalid-argument' && /signature/i.test(error.message)) return false;
        throw error;
      }
    },
    mac: async ({ id, algorithm, data }) => {
      const { hash } = ALGORITHMS[algorithm];
      const body = {
        input: base64(data),
        key_version: Number(id.version),
        algorithm: hash === undefined ? undefined : TRANSIT_HASHES[hash],
      };
      const { version, bytes } = parseValue((await post(`hmac/${pathOf(id.name)}`, body))['hmac'], 'an HMAC');
      if (version !== id.version) throw wrongAnswer(`an HMAC of version ${id.version}`);
      return bytes;
    },
    random: async (length) => {
      if (length === 0) return Buffer.alloc(0);
      const { random_bytes: text } = await post(`random/${length}`, { format: 'base64' });
      const bytes = Buffer.from(typeof text === 'string' ? text : '', 'base64');
      if (bytes.length !== length) throw wrongAnswer('as much randomness as was asked for');
      return bytes;
    },
  };
};

const parseSignature = (data: Record<string, unknown>, wanted: string): Buffer => {
  const { version, bytes } = parseValue(data['signature'], 'a signature');
  if (version !== wanted) throw wrongAnswer(`a signature of version ${wanted}`);
  return bytes;
};

/** Exported symmetric keys are base64; private ones PEM (PKCS#1 and SEC 1), Ed25519 base64 of seed and public key. */
const ED25519_PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const toMaterial = (text: string, spec: KeySpec): Buffer => {
  if (KEY_SPECS[spec].shape !== 'pair') return Buffer.from(text, 'base64');
  if (spec === 'ed25519') return Buffer.concat([ED25519_PKCS8_PREFIX, Buffer.from(text, 'base64').subarray(0, 32)]);
  return createPrivateKey(text).export({ format: 'der', type: 'pkcs8' });
};

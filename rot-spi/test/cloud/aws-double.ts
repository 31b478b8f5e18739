import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
  randomUUID,
  timingSafeEqual,
} from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Spec } from '../../src/software/key-material.js';
import type { OpenedKey } from '../../src/software/opened-keys.js';
import { checkSignature, makeSignature } from '../../src/software/signatures.js';
import { unwrapMaterial } from '../../src/software/wraps.js';
import { type Algorithm, KEY_SPECS, type KeySpec } from '../../src/vocabulary/index.js';

/**
 * A strict double of AWS KMS for what moto does not check: Signature Version 4, key states, key usage, MessageType DIGEST, the limits on
 * sizes, import of key material. Written after the API reference; it proves what our code sends, not what AWS does.
 */

interface AwsKey {
  readonly arn: string;
  readonly spec: string;
  readonly usage: string;
  readonly origin: string;
  readonly createdAt: number;
  state: 'Enabled' | 'Disabled' | 'PendingDeletion' | 'PendingImport';
  secret?: Buffer;
  privateKey?: KeyObject;
  wrapping?: { readonly token: Buffer; readonly key: KeyObject; readonly algorithm: string };
}

export interface AwsDouble {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly keys: Map<string, AwsKey>;
  readonly aliases: Map<string, string>;
  readonly seen: string[];
  /** The next requests answer with this error. */
  fail: { readonly name: string; readonly status: number; times: number } | undefined;
  denied: boolean;
  close(): Promise<void>;
}

class AwsError extends Error {
  readonly status: number;
  constructor(name: string, message: string, status = 400) {
    super(message);
    this.name = name;
    this.status = status;
  }
}

const OUR_SPECS: Readonly<Record<string, KeySpec>> = {
  RSA_2048: 'rsa-2048',
  RSA_3072: 'rsa-3072',
  RSA_4096: 'rsa-4096',
  ECC_NIST_P256: 'ec-p256',
  ECC_NIST_P384: 'ec-p384',
  ECC_NIST_P521: 'ec-p521',
  ECC_SECG_P256K1: 'ec-secp256k1',
};
const SIGNING: Readonly<Record<string, readonly [Algorithm, RegExp]>> = {
  ECDSA_SHA_256: ['ecdsa-sha256', /P256/],
  ECDSA_SHA_384: ['ecdsa-sha384', /P384/],
  ECDSA_SHA_512: ['ecdsa-sha512', /P521/],
  ...Object.fromEntries(
    ['256', '384', '512'].flatMap((bits) => [
      [`RSASSA_PKCS1_V1_5_SHA_${bits}`, [`rsa-pkcs1-sha${bits}`, /RSA/]],
      [`RSASSA_PSS_SHA_${bits}`, [`rsa-pss-sha${bits}`, /RSA/]],
    ]),
  ),
};
const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text, 'utf8').digest();
const sha256 = (bytes: string | Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** Signature Version 4 (SigV4 reference, "create a signed request"). */
const checkSignatureV4 = (request: IncomingMessage, body: Buffer, double: AwsDouble): void => {
  const header = String(request.headers.authorization ?? '');
  const match =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/kms\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/.exec(
      header,
    );
  if (match === null) throw new AwsError('MissingAuthenticationToken', 'Request is missing Authentication Token');
  const [, id, date = '', region = '', signed = '', signature = ''] = match;
  if (id !== double.accessKeyId)
    throw new AwsError('UnrecognizedClientException', 'The security token included in the request is invalid.');
  const canonicalHeaders = signed
    .split(';')
    .map((name) => `${name}:${String(request.headers[name] ?? '').trim()}\n`)
    .join('');
  const canonical = [request.method, request.url, '', canonicalHeaders, signed, sha256(body)].join('\n');
  const scope = `${date}/${region}/kms/aws4_request`;
  const toSign = ['AWS4-HMAC-SHA256', request.headers['x-amz-date'], scope, sha256(canonical)].join('\n');
  const key = hmac(hmac(hmac(hmac(`AWS4${double.secretAccessKey}`, date), region), 'kms'), 'aws4_request');
  if (!timingSafeEqual(hmac(key, toSign), Buffer.from(signature, 'hex')))
    throw new AwsError('InvalidSignatureException', 'The request signature we calculated does not match the signature you provided.');
};

const b64 = (bytes: Buffer): string => bytes.toString('base64');
const bytesIn = (value: unknown, name: string, max: number): Buffer => {
  const bytes = Buffer.from(typeof value === 'string' ? value : '', 'base64');
  if (bytes.length < 1 || bytes.length > max)
    throw new AwsError('ValidationException', `Value at '${name}' failed to satisfy constraint: length ${bytes.length}`);
  return bytes;
};

const generate = (spec: string): Pick<AwsKey, 'secret' | 'privateKey'> => {
  if (spec === 'SYMMETRIC_DEFAULT') return { secret: randomBytes(32) };
  const macBits = /^HMAC_(\d+)$/.exec(spec)?.[1];
  if (macBits !== undefined) return { secret: randomBytes(Number(macBits) / 8) };
  const ours = OUR_SPECS[spec];
  if (ours === undefined) throw new AwsError('ValidationException', `KeySpec ${spec}`);
  const row = KEY_SPECS[ours];
  return {
    privateKey:
      row.family === 'rsa'
        ? generateKeyPairSync('rsa', { modulusLength: row.bits }).privateKey
        : generateKeyPairSync('ec', { namedCurve: row.curve ?? '' }).privateKey,
  };
};

const contextBytes = (context: unknown): Buffer =>
  Buffer.from(JSON.stringify(Object.entries((context ?? {}) as Record<string, string>).sort()));

export const startAwsDouble = async (): Promise<AwsDouble> => {
  const keys = new Map<string, AwsKey>();
  const aliases = new Map<string, string>();
  const need = (id: unknown, usage?: string): AwsKey => {
    const key = keys.get(aliases.get(String(id)) ?? String(id));
    if (key === undefined) throw new AwsError('NotFoundException', `Key '${String(id)}' does not exist`);
    if (usage === undefined) return key;
    if (key.state === 'Disabled') throw new AwsError('DisabledException', `${key.arn} is disabled.`);
    if (key.state !== 'Enabled') throw new AwsError('KMSInvalidStateException', `${key.arn} is ${key.state}.`);
    if (key.usage !== usage) throw new AwsError('InvalidKeyUsageException', `${key.arn} key usage is ${key.usage} which is not valid.`);
    return key;
  };
  const metadata = (key: AwsKey) => ({
    KeyMetadata: {
      KeyId: key.arn.split('/').at(-1),
      Arn: key.arn,
      CreationDate: key.createdAt,
      KeySpec: key.spec,
      KeyUsage: key.usage,
      KeyState: key.state,
      Enabled: key.state === 'Enabled',
      Origin: key.origin,
    },
  });
  const openedOf = (key: AwsKey): OpenedKey => {
    const { privateKey } = key;
    if (privateKey === undefined) throw new AwsError('InvalidKeyUsageException', 'symmetric');
    return {
      spec: KEY_SPECS[OUR_SPECS[key.spec] ?? 'rsa-2048'] as Spec,
      material: { kind: 'pkcs8', privateKey, publicKey: createPublicKey(privateKey as never) },
      scalar: () => Buffer.from(privateKey.export({ format: 'jwk' })['d'] as string, 'base64url'),
    } as unknown as OpenedKey;
  };
  const signing = (body: Record<string, unknown>) => {
    const key = need(body['KeyId'], 'SIGN_VERIFY');
    const [algorithm, fits] = SIGNING[String(body['SigningAlgorithm'])] ?? ['ecdsa-sha256', /^$/];
    if (!fits.test(key.spec))
      throw new AwsError(
        'InvalidKeyUsageException',
        `Algorithm ${String(body['SigningAlgorithm'])} is incompatible with key spec ${key.spec}.`,
      );
    const data = bytesIn(body['Message'], 'message', 4_096);
    const prehashed = body['MessageType'] === 'DIGEST';
    const size = Number(/(\d+)$/.exec(algorithm)?.[1]) / 8;
    if (prehashed && data.length !== size) throw new AwsError('ValidationException', 'Digest is invalid length for algorithm.');
    return { key, algorithm, data, prehashed };
  };

  const CALLS: Readonly<Record<string, (body: Record<string, unknown>) => unknown>> = {
    CreateKey: (body) => {
      for (const { TagKey, TagValue } of (body['Tags'] ?? []) as { TagKey: string; TagValue: string }[])
        if (!/^[\p{L}\p{Z}\p{N}_.:/=+\-@]{1,128}$/u.test(TagKey) || TagValue.length > 256) throw new AwsError('TagException', 'tag');
      const arn = `arn:aws:kms:eu-test-1:111122223333:key/${randomUUID()}`;
      const imported = body['Origin'] === 'EXTERNAL';
      const spec = String(body['KeySpec']);
      const key: AwsKey = {
        arn,
        spec,
        usage: String(body['KeyUsage']),
        origin: String(body['Origin']),
        createdAt: Date.now() / 1000,
        state: imported ? 'PendingImport' : 'Enabled',
        ...(imported ? {} : generate(spec)),
      };
      keys.set(arn, key);
      return metadata(key);
    },
    DescribeKey: (body) => metadata(need(body['KeyId'])),
    CreateAlias: (body) => {
      if (aliases.has(String(body['AliasName']))) throw new AwsError('AlreadyExistsException', 'alias');
      aliases.set(String(body['AliasName']), need(body['TargetKeyId']).arn);
      return {};
    },
    ListAliases: () => ({ Aliases: [], Truncated: false }),
    GetPublicKey: (body) => {
      const key = need(body['KeyId']);
      if (key.state !== 'Enabled' || key.privateKey === undefined) throw new AwsError('KMSInvalidStateException', 'state');
      return { PublicKey: b64(createPublicKey(key.privateKey as never).export({ format: 'der', type: 'spki' })), KeyId: key.arn };
    },
    GetParametersForImport: (body) => {
      const key = need(body['KeyId']);
      if (key.state !== 'PendingImport') throw new AwsError('KMSInvalidStateException', 'state');
      const pair = generateKeyPairSync('rsa', { modulusLength: 4096 });
      key.wrapping = { token: randomBytes(16), key: pair.privateKey, algorithm: String(body['WrappingAlgorithm']) };
      return {
        ImportToken: b64(key.wrapping.token),
        PublicKey: b64(pair.publicKey.export({ format: 'der', type: 'spki' })),
        KeyId: key.arn,
      };
    },
    ImportKeyMaterial: (body) => {
      const key = need(body['KeyId']);
      const { wrapping } = key;
      if (wrapping === undefined || b64(wrapping.token) !== body['ImportToken']) throw new AwsError('InvalidImportTokenException', 'token');
      const algorithm = wrapping.algorithm === 'RSA_AES_KEY_WRAP_SHA_256' ? 'rsa-aes-kwp' : 'rsa-oaep-sha256-wrap';
      const material = unwrapMaterial(
        wrapping.key,
        KEY_SPECS['rsa-4096'] as Spec,
        algorithm,
        bytesIn(body['EncryptedKeyMaterial'], 'material', 6_144),
        {},
      );
      if (OUR_SPECS[key.spec] === undefined) key.secret = material;
      else key.privateKey = createPrivateKey({ key: material, format: 'der', type: 'pkcs8' });
      if (key.spec === 'SYMMETRIC_DEFAULT' && material.length !== 32) throw new AwsError('IncorrectKeyMaterialException', 'length');
      if (key.spec.startsWith('HMAC') && material.length * 8 !== Number(key.spec.slice(5)))
        throw new AwsError('IncorrectKeyMaterialException', 'length');
      key.state = 'Enabled';
      return {};
    },
    ScheduleKeyDeletion: (body) => {
      const key = need(body['KeyId']);
      if (key.state === 'PendingDeletion') throw new AwsError('KMSInvalidStateException', `${key.arn} is pending deletion.`);
      key.state = 'PendingDeletion';
      return { KeyId: key.arn, KeyState: 'PendingDeletion' };
    },
    Encrypt: (body) => {
      const key = need(body['KeyId'], 'ENCRYPT_DECRYPT');
      const plaintext = bytesIn(body['Plaintext'], 'plaintext', 4_096);
      const algorithm = String(body['EncryptionAlgorithm'] ?? 'SYMMETRIC_DEFAULT');
      if ((algorithm === 'SYMMETRIC_DEFAULT') !== (key.spec === 'SYMMETRIC_DEFAULT'))
        throw new AwsError('InvalidKeyUsageException', 'algorithm');
      if (key.privateKey !== undefined) {
        const publicKey = createPublicKey(key.privateKey as never);
        const oaepHash = algorithm.endsWith('SHA_1') ? 'sha1' : 'sha256';
        return {
          CiphertextBlob: b64(publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash }, plaintext)),
          KeyId: key.arn,
        };
      }
      const iv = randomBytes(12);
      const cipher = createCipheriv('aes-256-gcm', key.secret as Buffer, iv).setAAD(contextBytes(body['EncryptionContext']));
      const sealed = Buffer.concat([cipher.update(plaintext), cipher.final()]);
      return { CiphertextBlob: b64(Buffer.concat([Buffer.from(key.arn.slice(-36)), sealed, iv, cipher.getAuthTag()])), KeyId: key.arn };
    },
    Decrypt: (body) => {
      const key = need(body['KeyId'], 'ENCRYPT_DECRYPT');
      const blob = bytesIn(body['CiphertextBlob'], 'ciphertextBlob', 6_144);
      try {
        if (key.privateKey !== undefined) {
          const oaepHash = String(body['EncryptionAlgorithm']).endsWith('SHA_1') ? 'sha1' : 'sha256';
          return {
            Plaintext: b64(privateDecrypt({ key: key.privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash }, blob)),
            KeyId: key.arn,
          };
        }
        if (blob.subarray(0, 36).toString() !== key.arn.slice(-36)) throw new AwsError('IncorrectKeyException', 'key');
        const decipher = createDecipheriv('aes-256-gcm', key.secret as Buffer, blob.subarray(-28, -16))
          .setAAD(contextBytes(body['EncryptionContext']))
          .setAuthTag(blob.subarray(-16));
        return { Plaintext: b64(Buffer.concat([decipher.update(blob.subarray(36, -28)), decipher.final()])), KeyId: key.arn };
      } catch (error) {
        throw error instanceof AwsError ? error : new AwsError('InvalidCiphertextException', '');
      }
    },
    Sign: async (body) => {
      const { key, algorithm, data, prehashed } = signing(body);
      return { Signature: b64(await makeSignature(openedOf(key), algorithm, data, { prehashed })), KeyId: key.arn };
    },
    Verify: (body) => {
      const { key, algorithm, data, prehashed } = signing(body);
      const { material } = openedOf(key);
      const signature = bytesIn(body['Signature'], 'signature', 6_144);
      if (material.kind === 'raw' || !checkSignature(material.publicKey, algorithm, data, signature, { prehashed }))
        throw new AwsError('KMSInvalidSignatureException', '');
      return { SignatureValid: true, KeyId: key.arn };
    },
    GenerateMac: (body) => {
      const key = need(body['KeyId'], 'GENERATE_VERIFY_MAC');
      const bits = /^HMAC_SHA_(\d+)$/.exec(String(body['MacAlgorithm']))?.[1];
      if (bits === undefined || key.spec !== `HMAC_${bits}`) throw new AwsError('InvalidKeyUsageException', 'algorithm');
      return {
        Mac: b64(
          createHmac(`sha${bits}`, key.secret as Buffer)
            .update(bytesIn(body['Message'], 'message', 4_096))
            .digest(),
        ),
        KeyId: key.arn,
      };
    },
    GenerateRandom: (body) => {
      const count = Number(body['NumberOfBytes']);
      if (!(count >= 1 && count <= 1_024)) throw new AwsError('ValidationException', 'numberOfBytes');
      return { Plaintext: b64(randomBytes(count)) };
    },
  };

  const double: AwsDouble = {
    endpoint: '',
    accessKeyId: `AKIA${randomBytes(8).toString('hex').toUpperCase()}`,
    secretAccessKey: randomBytes(20).toString('hex'),
    keys,
    aliases,
    seen: [],
    fail: undefined,
    denied: false,
    close: async () => undefined,
  };
  const server = createServer((request, response) => {
    const answer = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' });
      response.end(JSON.stringify(body));
    };
    const handle = async (): Promise<void> => {
      const chunks: Buffer[] = [];
      for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
      const body = Buffer.concat(chunks);
      const call = String(request.headers['x-amz-target'] ?? '').replace(/^TrentService\./, '');
      double.seen.push(call);
      checkSignatureV4(request, body, double);
      if (double.denied) throw new AwsError('AccessDeniedException', `User is not authorized to perform: kms:${call}`);
      const { fail } = double;
      if (fail !== undefined && fail.times > 0) {
        fail.times -= 1;
        throw new AwsError(fail.name, 'as asked', fail.status);
      }
      const run = CALLS[call];
      if (run === undefined) throw new AwsError('UnknownOperationException', call);
      answer(200, await run(JSON.parse(body.toString('utf8')) as Record<string, unknown>));
    };
    handle().catch((error: unknown) => {
      const named = error instanceof AwsError ? error : new AwsError('KMSInternalException', String(error), 500);
      answer(named.status, { __type: named.name, message: named.message });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  (double as { endpoint: string }).endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  double.close = () =>
    new Promise((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    });
  return double;
};

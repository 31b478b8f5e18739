import { createHash, createPublicKey } from 'node:crypto';
import type { KMSClient, KMSClientConfig } from '@aws-sdk/client-kms';
import type { AwsProviderConfig } from '../../config.js';
import { RootFault } from '../../fault.js';
import type { Spec } from '../../software/key-material.js';
import type { WrappedKek } from '../../software/seal-file.js';
import { wrapMaterial } from '../../software/wraps.js';
import { ALGORITHMS, type Algorithm, KEY_SPECS, type KeyUsage } from '../../vocabulary/index.js';
import { makeBreaker } from '../breaker.js';
import type { CloudKey, CloudKeyId, CloudKms, CloudSign, NewCloudKey } from '../kms.js';
import { withRetries } from '../retry.js';
import { toAwsFault } from './faults.js';
import { AWS_ALGORITHMS, AWS_SPEC_CAPABILITIES, AWS_SPECS, awsAlgorithm, specOfAws } from './key-specs.js';

type Sdk = typeof import('@aws-sdk/client-kms');

const PACKAGE = '@aws-sdk/client-kms';
const DEFAULT_TIMEOUT_MS = 5_000;
const DEFAULT_CONNECTIONS = 256;
const RETRIES = { attempts: 4, baseMs: 50, maxMs: 1_000, budgetMs: 7_000 } as const;
const BREAKER = { failures: 5, openMs: 2_000 } as const;
/** Encrypt, Sign with MessageType RAW and GenerateMac take no more. */
const MAX_MESSAGE_BYTES = 4_096;
/** Signatures over longer messages are made over their digest, so this bounds what is hashed here. */
const MAX_INPUT_BYTES = 33_554_432;
const MAX_RANDOM_BYTES = 1_024;
const DELETION_WINDOW_DAYS = 7;
const IV_BYTES = 12;
const TAG_BYTES = 16;
/** AWS keys have one version that anyone can name; rotation inside is AWS' own. */
const ONLY_VERSION = '1';
const SEAL_ALIAS = /^alias\/[A-Za-z0-9/_-]{1,250}$/;

const loadSdk = async (): Promise<Sdk> => {
  try {
    return await import('@aws-sdk/client-kms');
  } catch {
    throw new RootFault('unsupported', `the AWS SDK (${PACKAGE}) is not installed`, `Run: npm install ${PACKAGE}`);
  }
};

const LOOPBACK = /^http:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?\/?$/;
const checkEndpoint = (endpoint: string | undefined): void => {
  if (endpoint !== undefined && !endpoint.startsWith('https://') && !LOOPBACK.test(endpoint))
    throw new RootFault('sealed', `${endpoint} is not encrypted`, 'Use https; plain http is accepted on loopback only.');
};

const clientConfig = async (config: AwsProviderConfig): Promise<KMSClientConfig> => {
  checkEndpoint(config.endpoint);
  const timeout = config.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const connections = { maxSockets: config.connections ?? DEFAULT_CONNECTIONS, keepAlive: true };
  return {
    region: config.region,
    // Retries are ours: one policy and one breaker for every provider.
    maxAttempts: 1,
    requestHandler: { requestTimeout: timeout, connectionTimeout: timeout, httpsAgent: connections, httpAgent: connections },
    ...(config.endpoint === undefined ? {} : { endpoint: config.endpoint }),
    ...(config.profile === undefined ? {} : { profile: config.profile }),
  };
};

const wrongAnswer = (what: string): RootFault => new RootFault('unavailable', `AWS KMS answered without ${what}`);
const bytesOf = (value: Uint8Array | undefined, what: string): Buffer => {
  if (value === undefined || value.length === 0) throw wrongAnswer(what);
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
};

/** AWS keys do one thing: sign, encrypt or make MACs. */
const usageOf = ({ spec, usage }: NewCloudKey): string => {
  const { family } = KEY_SPECS[spec];
  if (family === 'aes') return 'ENCRYPT_DECRYPT';
  if (family === 'hmac') return 'GENERATE_VERIFY_MAC';
  const has = (...wanted: KeyUsage[]): boolean => wanted.some((one) => usage.includes(one));
  if (family === 'rsa' && has('encrypt', 'decrypt')) {
    if (has('sign', 'verify'))
      throw new RootFault('unsupported', 'an RSA key of AWS KMS either signs or encrypts', 'Make two keys, each with its own usage.');
    return 'ENCRYPT_DECRYPT';
  }
  return 'SIGN_VERIFY';
};

const contextOf = (aad: Uint8Array | undefined): Record<string, string> | undefined =>
  aad === undefined || aad.length === 0 ? undefined : { 'aegis-aad': Buffer.from(aad).toString('base64') };

/** Tags take letters, digits and a few signs (TagResource). */
const tagsOf = (labels: Readonly<Record<string, string>>): { TagKey: string; TagValue: string }[] =>
  Object.entries(labels).map(([TagKey, value]) => ({ TagKey, TagValue: value.replaceAll(/[^\p{L}\p{N} _.:/=+@-]/gu, '_').slice(0, 256) }));

const message = ({ algorithm, data, prehashed }: CloudSign): { Message: Uint8Array; MessageType: 'RAW' | 'DIGEST' } => {
  if (prehashed) return { Message: data, MessageType: 'DIGEST' };
  const { hash } = ALGORITHMS[algorithm];
  if (data.length <= MAX_MESSAGE_BYTES || hash === undefined) return { Message: data, MessageType: 'RAW' };
  return { Message: createHash(hash).update(data).digest(), MessageType: 'DIGEST' };
};

const nameOf = (algorithm: Algorithm): string => {
  const name = awsAlgorithm(algorithm);
  if (name === undefined) throw new RootFault('unsupported', `AWS KMS has no ${algorithm}`);
  return name;
};

const STATES: Readonly<Record<string, CloudKey['state']>> = { Enabled: 'enabled', PendingDeletion: 'pending-deletion' };

/** Loads the SDK and connects nothing yet. Throws `unsupported` with the command to run when it is not installed. */
export const openAwsKms = async (config: AwsProviderConfig): Promise<CloudKms> => {
  const sdk = await loadSdk();
  const client: KMSClient = new sdk.KMSClient(await clientConfig(config));
  const breaker = makeBreaker(BREAKER);
  /** One API call: outages are tried again, refusals become faults. */
  const ask = <T>(call: () => Promise<T>): Promise<T> =>
    breaker.run(() =>
      withRetries(
        () =>
          call().catch((error: unknown) => {
            throw toAwsFault(error);
          }),
        RETRIES,
      ),
    );

  const describe = async (name: string): Promise<CloudKey> => {
    const { KeyMetadata: facts } = await ask(() => client.send(new sdk.DescribeKeyCommand({ KeyId: name })));
    if (facts?.Arn === undefined) throw wrongAnswer('the key');
    const spec = specOfAws(facts.KeySpec ?? facts.CustomerMasterKeySpec);
    if (spec === undefined) throw new RootFault('unsupported', `keys of spec ${String(facts.KeySpec)} are not served`);
    const pair = KEY_SPECS[spec].shape === 'pair';
    const state = STATES[facts.KeyState ?? ''] ?? 'disabled';
    const publicKey =
      pair && state === 'enabled' ? (await ask(() => client.send(new sdk.GetPublicKeyCommand({ KeyId: facts.Arn })))).PublicKey : undefined;
    return {
      id: { name: facts.Arn, version: ONLY_VERSION },
      spec,
      state,
      identity: `${facts.Arn} ${facts.CreationDate?.toISOString() ?? ''}`,
      exportable: false,
      imported: facts.Origin === 'EXTERNAL',
      ...(publicKey === undefined ? {} : { publicKey: bytesOf(publicKey, 'the public key') }),
    };
  };

  const create = async (request: NewCloudKey, origin: 'AWS_KMS' | 'EXTERNAL'): Promise<string> => {
    if (request.exportable) throw new RootFault('unsupported', 'AWS KMS exports no keys', 'Make the key not exportable.');
    const KeySpec = AWS_SPECS[request.spec];
    if (KeySpec === undefined) throw new RootFault('unsupported', `AWS KMS has no ${request.spec} keys`);
    if (request.bits !== undefined && request.bits !== KEY_SPECS[request.spec].bits)
      throw new RootFault('unsupported', `${request.spec} keys of AWS KMS have ${KEY_SPECS[request.spec].bits} bits`);
    const command = new sdk.CreateKeyCommand({
      KeySpec: KeySpec as 'SYMMETRIC_DEFAULT',
      KeyUsage: usageOf(request) as 'SIGN_VERIFY',
      Origin: origin,
      Description: request.name,
      Tags: tagsOf(request.labels),
    });
    // Not tried again: a lost answer would leave a second key that costs money.
    const { KeyMetadata } = await breaker.run(() =>
      client.send(command).catch((error: unknown) => {
        const fault = toAwsFault(error);
        throw 'fault' in fault ? (fault as { fault: Error }).fault : fault;
      }),
    );
    if (KeyMetadata?.Arn === undefined) throw wrongAnswer('the new key');
    return KeyMetadata.Arn;
  };

  const sealed = async (key: string, plaintext: Uint8Array, context: Record<string, string> | undefined) =>
    ask(() =>
      client.send(
        new sdk.EncryptCommand({ KeyId: key, Plaintext: plaintext, ...(context === undefined ? {} : { EncryptionContext: context }) }),
      ),
    );
  const opened = async (
    key: string,
    blob: Uint8Array,
    context: Record<string, string> | undefined,
    algorithm?: string,
  ): Promise<Buffer> => {
    const { Plaintext } = await ask(() =>
      client.send(
        new sdk.DecryptCommand({
          KeyId: key,
          CiphertextBlob: blob,
          ...(context === undefined ? {} : { EncryptionContext: context }),
          ...(algorithm === undefined ? {} : { EncryptionAlgorithm: algorithm as 'SYMMETRIC_DEFAULT' }),
        }),
      ),
    );
    return bytesOf(Plaintext, 'a plaintext');
  };
  const sealContext = (context: Uint8Array): Record<string, string> => ({ 'aegis-root': Buffer.from(context).toString('hex') });

  /** For the seal, a key that is disabled, gone or another one closes the root; that is not a matter of one object. */
  const asSeal = async <T>(call: Promise<T>): Promise<T> =>
    call.catch((error: unknown) => {
      if (!(error instanceof RootFault) || error.code === 'unavailable') throw error;
      throw new RootFault('sealed', `the sealing key does not open the seal: ${error.message}`, error.next);
    });

  return {
    provider: 'aws',
    specs: AWS_SPEC_CAPABILITIES,
    algorithms: AWS_ALGORITHMS,
    maxInput: MAX_INPUT_BYTES,
    facts: async () => ({
      provider: 'AWS KMS',
      region: config.region,
      ...(config.endpoint === undefined ? {} : { endpoint: config.endpoint }),
    }),
    ping: async () => void (await ask(() => client.send(new sdk.ListAliasesCommand({ Limit: 1 })))),
    close: async () => client.destroy(),

    ensureSealingKey: async (key) => {
      const found = await describe(key).catch((error: unknown) => {
        if (error instanceof RootFault && error.code === 'key-not-found') return undefined;
        throw error;
      });
      if (found !== undefined) return;
      if (!SEAL_ALIAS.test(key))
        throw new RootFault(
          'sealed',
          `AWS KMS has no key ${key}`,
          'Give an alias (alias/aegis-seal) to have one made, or the ARN of one that exists.',
        );
      const arn = await create({ name: 'Aegis sealing key', spec: 'aes-256', exportable: false, usage: [], labels: {} }, 'AWS_KMS');
      await ask(() => client.send(new sdk.CreateAliasCommand({ AliasName: key, TargetKeyId: arn })));
    },
    wrapKek: async (key, kek, context): Promise<WrappedKek> => {
      const { CiphertextBlob, KeyId } = await asSeal(sealed(key, kek, sealContext(context)));
      const blob = bytesOf(CiphertextBlob, 'a ciphertext').toString('hex');
      return { provider: 'aws', key, blob, ...(KeyId === undefined ? {} : { version: KeyId }) };
    },
    unwrapKek: (wrapped, context) => asSeal(opened(wrapped.version ?? wrapped.key, Buffer.from(wrapped.blob, 'hex'), sealContext(context))),
    // An alias may be pointed at another key; AWS' own rotation inside a key needs nothing.
    currentVersion: async (key) => (await describe(key)).id.name,

    describeKey: ({ name }) => describe(name),
    findKey: describe,
    refOf: ({ name }: CloudKeyId) => name,
    createKey: async (request) => describe(await create(request, 'AWS_KMS')),
    importKey: async (request) => {
      const arn = await create({ ...request, ...(request.bits === undefined ? {} : { bits: request.bits }) }, 'EXTERNAL');
      const pair = KEY_SPECS[request.spec].shape === 'pair';
      const parameters = await ask(() =>
        client.send(
          new sdk.GetParametersForImportCommand({
            KeyId: arn,
            WrappingAlgorithm: pair ? 'RSA_AES_KEY_WRAP_SHA_256' : 'RSAES_OAEP_SHA_256',
            WrappingKeySpec: 'RSA_4096',
          }),
        ),
      );
      const publicKey = createPublicKey({ key: bytesOf(parameters.PublicKey, 'its wrapping key'), format: 'der', type: 'spki' });
      const algorithm = pair ? 'rsa-aes-kwp' : 'rsa-oaep-sha256-wrap';
      const { wrapped } = wrapMaterial(publicKey, KEY_SPECS['rsa-4096'] as Spec, algorithm, request.material, {});
      await ask(() =>
        client.send(
          new sdk.ImportKeyMaterialCommand({
            KeyId: arn,
            ImportToken: parameters.ImportToken,
            EncryptedKeyMaterial: wrapped,
            ExpirationModel: 'KEY_MATERIAL_DOES_NOT_EXPIRE',
          }),
        ),
      );
      return describe(arn);
    },
    exportKey: () => {
      throw new RootFault('unsupported', 'AWS KMS exports no keys');
    },
    destroyKey: async ({ name }) => {
      await ask(() => client.send(new sdk.ScheduleKeyDeletionCommand({ KeyId: name, PendingWindowInDays: DELETION_WINDOW_DAYS }))).catch(
        (error: unknown) => {
          // Gone, or on its way already.
          if (error instanceof RootFault && (error.code === 'key-not-found' || error.code === 'usage-denied')) return;
          throw error;
        },
      );
    },

    encrypt: async ({ id, spec, algorithm, plaintext, aad }) => {
      if (plaintext.length > MAX_MESSAGE_BYTES)
        throw new RootFault(
          'limit-exceeded',
          `AWS KMS encrypts at most ${MAX_MESSAGE_BYTES} bytes`,
          'Use a data key (generate-data-key) for more.',
        );
      if (plaintext.length === 0) throw new RootFault('unsupported', 'AWS KMS encrypts at least one byte');
      if (KEY_SPECS[spec].family === 'rsa') {
        const command = new sdk.EncryptCommand({
          KeyId: id.name,
          Plaintext: plaintext,
          EncryptionAlgorithm: nameOf(algorithm) as 'RSAES_OAEP_SHA_256',
        });
        return { ciphertext: bytesOf((await ask(() => client.send(command))).CiphertextBlob, 'a ciphertext') };
      }
      const blob = bytesOf((await sealed(id.name, plaintext, contextOf(aad))).CiphertextBlob, 'a ciphertext');
      // An opaque blob, cut in three so that it fits where IV, ciphertext and tag have a place each.
      return {
        ciphertext: blob.subarray(0, -IV_BYTES - TAG_BYTES),
        iv: blob.subarray(-IV_BYTES - TAG_BYTES, -TAG_BYTES),
        tag: blob.subarray(-TAG_BYTES),
      };
    },
    decrypt: ({ id, spec, algorithm, ciphertext, iv, tag, aad }) => {
      if (KEY_SPECS[spec].family === 'rsa') return opened(id.name, ciphertext, undefined, nameOf(algorithm));
      return opened(id.name, Buffer.concat([ciphertext, iv ?? Buffer.alloc(0), tag ?? Buffer.alloc(0)]), contextOf(aad));
    },
    sign: async (request) => {
      checkSalt(request);
      const command = new sdk.SignCommand({
        KeyId: request.id.name,
        SigningAlgorithm: nameOf(request.algorithm) as 'ECDSA_SHA_256',
        ...message(request),
      });
      return bytesOf((await ask(() => client.send(command))).Signature, 'a signature');
    },
    verify: async (request) => {
      checkSalt(request);
      if (request.signature.length === 0) return false;
      const command = new sdk.VerifyCommand({
        KeyId: request.id.name,
        SigningAlgorithm: nameOf(request.algorithm) as 'ECDSA_SHA_256',
        Signature: request.signature,
        ...message(request),
      });
      return ask(() =>
        client.send(command).then(
          ({ SignatureValid }) => SignatureValid === true,
          (error: unknown) => {
            if (error instanceof Error && error.name === 'KMSInvalidSignatureException') return false;
            throw error;
          },
        ),
      );
    },
    mac: async ({ id, algorithm, data }) => {
      if (data.length > MAX_MESSAGE_BYTES)
        throw new RootFault('limit-exceeded', `AWS KMS makes MACs over at most ${MAX_MESSAGE_BYTES} bytes`);
      if (data.length === 0) throw new RootFault('unsupported', 'AWS KMS makes MACs over at least one byte');
      const command = new sdk.GenerateMacCommand({ KeyId: id.name, MacAlgorithm: nameOf(algorithm) as 'HMAC_SHA_256', Message: data });
      return bytesOf((await ask(() => client.send(command))).Mac, 'a MAC');
    },
    random: async (length) => {
      const parts: Buffer[] = [];
      for (let left = length; left > 0; left -= MAX_RANDOM_BYTES) {
        const NumberOfBytes = Math.min(left, MAX_RANDOM_BYTES);
        parts.push(bytesOf((await ask(() => client.send(new sdk.GenerateRandomCommand({ NumberOfBytes })))).Plaintext, 'randomness'));
      }
      return Buffer.concat(parts);
    },
  };
};

const checkSalt = ({ algorithm, saltLength }: CloudSign): void => {
  const { hash } = ALGORITHMS[algorithm];
  if (saltLength === undefined || hash === undefined || saltLength === createHash(hash).digest().length) return;
  throw new RootFault('unsupported', 'the salt of AWS KMS is as long as the hash');
};

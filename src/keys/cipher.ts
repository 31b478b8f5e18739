import type { CipherParameters } from '@aegis/rot-spi';
import type { Algorithm, KeySpec } from '@aegis/rot-spi/vocabulary';
import {
  type AuthorizedCall,
  fail,
  type Handlers,
  type LoadedObject,
  type ManagedObject,
  type ObjectVersion,
  type OperationRequest,
  type Planned,
} from '../domain/index.js';
import { chooseAlgorithm } from './chosen-algorithm.js';
import {
  boundKey,
  otherOf,
  pinnedVersion,
  processVersion,
  protectVersion,
  requireSameRoot,
  requireUsage,
  specOf,
  targetOf,
  verificationKey,
} from './chosen-key.js';
import { checkPayload, cipherParameters, EXPANSION_BYTES, MAX_AAD_BYTES, MIN_TAG_BYTES, requireOwnIv } from './cipher-parameters.js';
import { badField, checkBytes } from './field-rules.js';
import { boundAad, headerFor, type Opening, openingOf, sealed } from './key-envelope.js';
import type { KeyParts } from './key-parts.js';
import type { UsageAccount } from './usage-accounting.js';

const encrypt =
  (parts: KeyParts, account: UsageAccount): Handlers['encrypt'] =>
  async (call) => {
    const loaded = targetOf(call);
    const { object } = loaded;
    const { request } = call;
    requireUsage(object, 'encrypt');
    const spec = specOf(object);
    const algorithm = await chooseAlgorithm(parts.roots, object, spec, 'cipher', request.algorithm);
    const version = protectVersion(loaded, pinnedVersion(request.version, request.key));
    const plaintext = await checkPayload(parts, object.rootId, request.plaintext, 'plaintext');
    const parameters = cipherParameters(algorithm, request);
    const used = account.consume(object, { payloadBytes: plaintext.length, algorithm });
    const key = verificationKey(object, version);
    const body =
      request.format === 'raw'
        ? await encryptRaw(parts, call, { key, algorithm, plaintext, parameters })
        : await encryptEnvelope(parts, object, version, { key, algorithm, plaintext, parameters });
    return {
      response: { objectId: object.id, version: version.version, algorithm, ...body },
      changes: used.changes,
      detail: { version: version.version, algorithm, bytes: plaintext.length },
      ...(used.settled === undefined ? {} : { afterCommit: async () => used.settled?.() }),
    };
  };

interface Work {
  readonly key: ReturnType<typeof verificationKey>;
  readonly algorithm: Algorithm;
  readonly plaintext: Uint8Array;
  readonly parameters: CipherParameters;
}
const encryptRaw = async (parts: KeyParts, call: AuthorizedCall<'encrypt'>, { parameters, ...work }: Work) => {
  const { object } = targetOf(call);
  if (parameters.iv !== undefined) requireOwnIv(object, call.plane);
  const made = await parts.roots.call(object.rootId, 'encrypt', { ...work, ...parameters });
  const iv = made.iv ?? parameters.iv;
  return {
    ciphertext: made.ciphertext,
    ...(iv === undefined ? {} : { iv }),
    ...(made.tag === undefined ? {} : { tag: made.tag }),
  };
};

const encryptEnvelope = async (parts: KeyParts, object: ManagedObject, version: ObjectVersion, { parameters, ...work }: Work) => {
  if (parameters.iv !== undefined)
    throw badField('iv', 'An envelope carries an IV chosen by the root of trust.', 'Leave iv out, or use format raw.');
  const header = headerFor(object, version, work.algorithm, parameters.tagLength);
  const made = await parts.roots.call(object.rootId, 'encrypt', {
    ...work,
    ...parameters,
    ...boundAad(header, work.algorithm, parameters.aad),
  });
  return { ciphertext: sealed(header, made) };
};

const rawOpening = async (parts: KeyParts, loaded: LoadedObject, request: OperationRequest<'decrypt'>, pinned: number | undefined) => {
  const { object } = loaded;
  const algorithm = await chooseAlgorithm(parts.roots, object, specOf(object), 'cipher', request.algorithm);
  const version = processVersion(loaded, pinned);
  // Without `tag`, its bytes are the last of the ciphertext (RFC 5116 §5.1); the root takes them off.
  const tag = request.tag === undefined ? undefined : checkBytes(request.tag, 'tag', 16, MIN_TAG_BYTES);
  const opening: Opening = {
    key: boundKey(object, version),
    algorithm,
    ciphertext: request.ciphertext,
    ...cipherParameters(algorithm, request),
    ...(tag === undefined ? {} : { tag, tagLength: tag.length }),
  };
  return { version, opening };
};

const decrypt =
  (parts: KeyParts): Handlers['decrypt'] =>
  async (call) => {
    const loaded = targetOf(call);
    const { object } = loaded;
    const { request } = call;
    requireUsage(object, 'decrypt');
    await checkPayload(parts, object.rootId, request.ciphertext, 'ciphertext', EXPANSION_BYTES);
    const pinned = pinnedVersion(request.version, request.key);
    const { version, opening } =
      request.format === 'raw'
        ? await rawOpening(parts, loaded, request, pinned)
        : openingOf(loaded, request.ciphertext, request.aad, pinned, request);
    const { plaintext } = await parts.roots.call(object.rootId, 'decrypt', opening);
    const { algorithm } = opening;
    return {
      response: { objectId: object.id, version: version.version, algorithm, plaintext },
      changes: [],
      detail: { version: version.version, algorithm },
    };
  };

/** Data keys: 16 bytes to 4 KiB. */
const MIN_DATA_KEY_BYTES = 16;
const MAX_DATA_KEY_BYTES = 4096;
const DATA_KEY_ALGORITHM: Partial<Record<string, 'aes-gcm'>> = { 'aes-128': 'aes-gcm', 'aes-192': 'aes-gcm', 'aes-256': 'aes-gcm' };

const generateDataKey =
  (parts: KeyParts, account: UsageAccount): Handlers['generate-data-key'] =>
  async (call) => {
    const loaded = targetOf(call);
    const { object } = loaded;
    const { request } = call;
    requireUsage(object, 'encrypt');
    const spec: KeySpec = specOf(object);
    const algorithm = DATA_KEY_ALGORITHM[spec];
    if (algorithm === undefined) throw fail('wrong-object-type', 'Data keys are made under AES keys.', { next: 'Use an AES key.' });
    const length = request.length ?? 32;
    if (!Number.isSafeInteger(length) || length < MIN_DATA_KEY_BYTES || length > MAX_DATA_KEY_BYTES) {
      throw badField('length', `Between ${MIN_DATA_KEY_BYTES} and ${MAX_DATA_KEY_BYTES} bytes.`, 'Use 32 for AES-256.');
    }
    const aad = request.aad === undefined ? undefined : checkBytes(request.aad, 'aad', MAX_AAD_BYTES);
    const version = protectVersion(loaded, pinnedVersion(request.version, request.key));
    const header = headerFor(object, version, algorithm, undefined);
    const used = account.consume(object, { payloadBytes: length, algorithm });
    const made = await parts.roots.call(object.rootId, 'generateDataKey', {
      key: boundKey(object, version),
      length,
      reveal: request.plaintext === true,
      ...boundAad(header, algorithm, aad),
    });
    return {
      response: {
        objectId: object.id,
        version: version.version,
        ciphertext: sealed(header, made),
        ...(request.plaintext === true && made.plaintext !== undefined ? { plaintext: made.plaintext } : {}),
      },
      changes: used.changes,
      detail: { version: version.version, bytes: length, revealed: request.plaintext === true },
      ...(used.settled === undefined ? {} : { afterCommit: async () => used.settled?.() }),
    };
  };

const reEncrypt =
  (parts: KeyParts, account: UsageAccount): Handlers['re-encrypt'] =>
  async (call): Promise<Planned<'re-encrypt'>> => {
    const from = targetOf(call);
    const to = otherOf(call, 'to');
    const { request } = call;
    requireUsage(from.object, 'decrypt');
    requireUsage(to.object, 'encrypt');
    requireSameRoot(from.object, to.object, 're-encryption keeps the plaintext inside one');
    await checkPayload(parts, from.object.rootId, request.ciphertext, 'ciphertext', EXPANSION_BYTES);
    const pinned = pinnedVersion(undefined, request.from);
    const { version, opening } = openingOf(from, request.ciphertext, request.fromAad, pinned);
    const algorithm = await chooseAlgorithm(parts.roots, to.object, specOf(to.object), 'cipher', undefined);
    const target = protectVersion(to, pinnedVersion(undefined, request.to));
    const header = headerFor(to.object, target, algorithm, undefined);
    const parameters = cipherParameters(algorithm, request.toAad === undefined ? {} : { aad: request.toAad });
    const used = account.consume(to.object, { payloadBytes: opening.ciphertext.length, algorithm });
    const made = await parts.roots.call(to.object.rootId, 'reEncrypt', {
      from: opening,
      to: { key: boundKey(to.object, target), algorithm, ...parameters, ...boundAad(header, algorithm, request.toAad) },
    });
    return {
      response: { objectId: to.object.id, version: target.version, algorithm, ciphertext: sealed(header, made) },
      changes: used.changes,
      detail: { fromVersion: version.version, to: to.object.id, version: target.version, algorithm },
      ...(used.settled === undefined ? {} : { afterCommit: async () => used.settled?.() }),
    };
  };

export const makeCipherHandlers = (
  parts: KeyParts,
  account: UsageAccount,
): Pick<Handlers, 'encrypt' | 'decrypt' | 'generate-data-key' | 're-encrypt'> => ({
  encrypt: encrypt(parts, account),
  decrypt: decrypt(parts),
  'generate-data-key': generateDataKey(parts, account),
  're-encrypt': reEncrypt(parts, account),
});

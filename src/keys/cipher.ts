import type { BoundKey, CipherParameters } from '@aegis/rot-spi';
import { ALGORITHMS, type Algorithm, type KeySpec } from '@aegis/rot-spi/vocabulary';
import {
  type AuthorizedCall,
  decodeEnvelope,
  type Envelope,
  encodeEnvelope,
  envelopeHeader,
  fail,
  type Handlers,
  isEnvelopeAlgorithm,
  joinBytes,
  type LoadedObject,
  type ManagedObject,
  type ObjectVersion,
  type OperationRequest,
  type PlaneName,
  type Planned,
} from '../domain/index.js';
import { checkAlgorithm, chooseAlgorithm, isAead } from './chosen-algorithm.js';
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
import { badField, checkBytes } from './field-rules.js';
import { CALLER_IV_ATTRIBUTE, type KeyParts } from './key-parts.js';
import { pairOf } from './pair.js';
import type { UsageAccount } from './usage-accounting.js';

const EMPTY = new Uint8Array(0);
/** Associated data is hashed once per call, bytes. */
const MAX_AAD_BYTES = 65_536;
const MAX_LABEL_BYTES = 4096;

interface CipherFields {
  readonly iv?: Uint8Array;
  readonly aad?: Uint8Array;
  readonly tagLength?: number;
  readonly label?: Uint8Array;
  readonly mgf1Hash?: CipherParameters['mgf1Hash'];
}

/** Planes whose protocol lets the client choose IVs; elsewhere the object must have been made for it. */
const IV_PLANES: readonly PlaneName[] = ['kmip', 'pkcs11', 'internal'];
export const requireOwnIv = (object: ManagedObject, plane: PlaneName): void => {
  if (IV_PLANES.includes(plane) || object.attributes[CALLER_IV_ATTRIBUTE] === true) return;
  // A repeated IV under AES-GCM gives the authentication key away (SP 800-38D §8).
  throw badField('iv', 'The root of trust chooses the IV.', `Leave iv out, or create the key with the attribute ${CALLER_IV_ATTRIBUTE}.`);
};

export const cipherParameters = (algorithm: Algorithm, fields: CipherFields): CipherParameters => {
  const { iv, aad, tagLength, label, mgf1Hash } = fields;
  if (aad !== undefined && aad.length > 0 && !isAead(algorithm)) {
    throw badField(
      'aad',
      `${algorithm} does not authenticate associated data.`,
      'Use an AEAD algorithm such as aes-gcm, or leave aad out.',
    );
  }
  if (label !== undefined && !algorithm.startsWith('rsa-oaep')) throw badField('label', 'Only RSA-OAEP has a label.', 'Leave it out.');
  if (tagLength !== undefined && !isAead(algorithm)) throw badField('tagLength', `${algorithm} has no tag.`, 'Leave it out.');
  return {
    ...(iv === undefined ? {} : { iv: checkBytes(iv, 'iv', 128) }),
    ...(aad === undefined ? {} : { aad: checkBytes(aad, 'aad', MAX_AAD_BYTES) }),
    ...(tagLength === undefined ? {} : { tagLength: checkTagLength(tagLength) }),
    ...(label === undefined ? {} : { label: checkBytes(label, 'label', MAX_LABEL_BYTES) }),
    ...(mgf1Hash === undefined ? {} : { mgf1Hash }),
  };
};
/** SP 800-38D §5.2.1.2: 96 bits and more; shorter tags need limits nobody here keeps, and whoever decrypts chooses the length. */
const MIN_TAG_BYTES = 12;
const checkTagLength = (bytes: number): number => {
  if (Number.isInteger(bytes) && bytes >= MIN_TAG_BYTES && bytes <= 16) return bytes;
  throw badField('tagLength', 'A tag has 12 to 16 bytes.', 'Leave tagLength out for 16.');
};

/** Largest input of one call to this root. */
export const checkPayload = async (parts: KeyParts, rootId: string, bytes: unknown, field: string, extraBytes = 0): Promise<Uint8Array> => {
  const { maxInput } = await parts.roots.describe(rootId);
  return checkBytes(bytes, field, maxInput + extraBytes);
};
/** Envelope header, IV, tag and padding on top of the largest plaintext, bytes. */
const EXPANSION_BYTES = 1024;

/** Object and version that an envelope names: the private half where the public one encrypts. */
const envelopeName = (object: ManagedObject): string => (object.type === 'public-key' ? (pairOf(object) ?? object.id) : object.id);

const headerFor = (object: ManagedObject, version: ObjectVersion, algorithm: Algorithm, tagLength: number | undefined): Uint8Array => {
  if (!isEnvelopeAlgorithm(algorithm)) throw badField('algorithm', `${algorithm} has no envelope.`, 'Use format raw.');
  const row = ALGORITHMS[algorithm];
  const tag = isAead(algorithm) ? (tagLength ?? row.tagLength ?? 0) : 0;
  return envelopeHeader(envelopeName(object), version.version, algorithm, row.ivLength ?? 0, tag);
};
/** What AEAD authenticates in an envelope: its header, then the caller's data. */
const boundAad = (header: Uint8Array, algorithm: Algorithm, aad: Uint8Array | undefined) =>
  isAead(algorithm) ? { aad: joinBytes(header.subarray(0, 28), aad ?? EMPTY) } : {};

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

const sealed = (header: Uint8Array, made: { ciphertext: Uint8Array; iv?: Uint8Array; tag?: Uint8Array }): Uint8Array => {
  const iv = made.iv ?? EMPTY;
  const tag = made.tag ?? EMPTY;
  if (header[26] !== iv.length || header[27] !== tag.length) {
    // The header was authenticated before the root chose; a root that chooses other lengths broke its contract.
    throw fail('internal', 'The root of trust returned an IV or tag of an unexpected length.', { next: 'See the server log.' });
  }
  return encodeEnvelope(header, iv, tag, made.ciphertext);
};

/** An envelope of ours, made under this very object. */
const openEnvelope = (object: ManagedObject, ciphertext: Uint8Array, field: string): { envelope: Envelope; header: Uint8Array } => {
  const envelope = decodeEnvelope(ciphertext);
  if (envelope === undefined) {
    throw badField(field, 'Not an Aegis envelope.', 'Send what encrypt returned, or use format raw with iv and tag.');
  }
  if (envelope.objectId !== object.id) {
    throw badField(field, 'The ciphertext was made under another key.', 'Leave the key out: the envelope names it.');
  }
  return { envelope, header: ciphertext.subarray(0, 28) };
};

/** Version an envelope names; a pinned one must be the same. */
const envelopeVersion = (loaded: LoadedObject, envelope: Envelope, pinned: number | undefined): ObjectVersion => {
  if (pinned !== undefined && pinned !== envelope.version) {
    throw badField('version', `The ciphertext was made with version ${envelope.version}.`, 'Leave the version out.');
  }
  return processVersion(loaded, envelope.version);
};

/**
 * The envelope's algorithm is the sender's claim. Where that algorithm authenticates nothing the claim could be an
 * attacker's: AES-GCM ciphertext relabelled as CTR would open, malleable. So those algorithms are used only when the
 * caller names them; RSA-OAEP stands for itself, a public key authenticates nobody anyway.
 */
const requireMeant = (algorithm: Algorithm, named: Algorithm | undefined): void => {
  if (named !== undefined && named !== algorithm) {
    throw badField('algorithm', `The ciphertext says ${algorithm}.`, 'Leave the algorithm out, or name the one that was used.');
  }
  if (named === undefined && !isAead(algorithm) && !algorithm.startsWith('rsa-oaep')) {
    throw badField(
      'algorithm',
      `The ciphertext says ${algorithm}, which authenticates nothing.`,
      `Name ${algorithm} to decrypt it all the same.`,
    );
  }
};

interface Opening extends CipherParameters {
  readonly key: BoundKey;
  readonly algorithm: Algorithm;
  readonly ciphertext: Uint8Array;
  readonly tag?: Uint8Array;
}
const openingOf = (
  loaded: LoadedObject,
  bytes: Uint8Array,
  aad: Uint8Array | undefined,
  pinned: number | undefined,
  fields: CipherFields & { readonly algorithm?: Algorithm } = {},
): { version: ObjectVersion; opening: Opening } => {
  const { object } = loaded;
  const { envelope, header } = openEnvelope(object, bytes, 'ciphertext');
  const algorithm = checkAlgorithm(envelope.algorithm, specOf(object), 'cipher', 'ciphertext');
  requireMeant(algorithm, fields.algorithm);
  if (isAead(algorithm) && (envelope.tag.length < MIN_TAG_BYTES || envelope.iv.length === 0)) {
    // A shortened tag would be a forgery made cheap; headers are only authenticated together with a whole tag.
    throw fail('decryption-failed', 'Decryption failed: wrong key, wrong associated data or damaged ciphertext.', {
      next: 'Check the ciphertext.',
    });
  }
  const { label, mgf1Hash } = fields;
  const parameters = cipherParameters(algorithm, {
    ...(aad === undefined ? {} : { aad }),
    ...(label === undefined ? {} : { label }),
    ...(mgf1Hash === undefined ? {} : { mgf1Hash }),
  });
  const version = envelopeVersion(loaded, envelope, pinned);
  return {
    version,
    opening: {
      key: boundKey(object, version),
      algorithm,
      ciphertext: envelope.ciphertext,
      ...parameters,
      ...(envelope.iv.length === 0 ? {} : { iv: envelope.iv }),
      ...(envelope.tag.length === 0 ? {} : { tag: envelope.tag, tagLength: envelope.tag.length }),
      ...boundAad(header, algorithm, aad),
    },
  };
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

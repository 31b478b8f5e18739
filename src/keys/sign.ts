import type { SignParameters } from '@aegis/rot-spi';
import { ALGORITHMS, type Algorithm, HASH_BYTES } from '@aegis/rot-spi/vocabulary';
import { type AuthorizedCall, FaultError, type Handlers, type LoadedObject, type ObjectVersion } from '../domain/index.js';
import { chooseAlgorithm } from './chosen-algorithm.js';
import { boundKey, pinnedVersion, protectVersion, requireUsage, specOf, targetOf, verificationKey, verifyVersions } from './chosen-key.js';
import { checkPayload } from './cipher-parameters.js';
import { badField, checkBytes } from './field-rules.js';
import type { KeyParts } from './key-parts.js';
import type { UsageAccount } from './usage-accounting.js';

type SignFields = SignParameters & { readonly algorithm?: Algorithm };

/** Largest signature of any listed algorithm is SLH-DSA's 49,856 bytes. */
const MAX_SIGNATURE_BYTES = 65_536;
const MAX_CONTEXT_BYTES = 255;
const MAX_MAC_BYTES = 128;

export const signParameters = (algorithm: Algorithm, fields: SignFields, data: Uint8Array | undefined): SignParameters => {
  const { prehashed, saltLength, anySalt, mgf1Hash, encoding, context } = fields;
  const { hash } = ALGORITHMS[algorithm];
  if (prehashed === true && hash === undefined) {
    throw badField('prehashed', `${algorithm} signs the message itself.`, 'Send the message.');
  }
  if (prehashed === true && hash !== undefined && data !== undefined && data.length !== HASH_BYTES[hash]) {
    throw badField(
      'data',
      `A ${hash} digest has ${HASH_BYTES[hash]} bytes, not ${data.length}.`,
      'Send the digest, or leave prehashed out.',
    );
  }
  if (encoding !== undefined && encoding !== 'der' && encoding !== 'p1363')
    throw badField('encoding', 'Unknown encoding.', 'Use der or p1363.');
  if (encoding === 'p1363' && !algorithm.startsWith('ecdsa')) throw badField('encoding', 'Only ECDSA has two encodings.', 'Leave it out.');
  if (saltLength !== undefined && !algorithm.startsWith('rsa-pss'))
    throw badField('saltLength', 'Only RSA-PSS has a salt.', 'Leave it out.');
  return {
    ...(prehashed === undefined ? {} : { prehashed }),
    ...(saltLength === undefined ? {} : { saltLength }),
    ...(anySalt === true && saltLength === undefined && algorithm.startsWith('rsa-pss') ? { anySalt } : {}),
    ...(mgf1Hash === undefined ? {} : { mgf1Hash }),
    ...(encoding === undefined || !algorithm.startsWith('ecdsa') ? {} : { encoding }),
    ...(context === undefined ? {} : { context: checkBytes(context, 'context', MAX_CONTEXT_BYTES) }),
  };
};

const sign =
  (parts: KeyParts, account: UsageAccount): Handlers['sign'] =>
  async (call) => {
    const loaded = targetOf(call);
    const { object } = loaded;
    const { request } = call;
    requireUsage(object, 'sign');
    const algorithm = await chooseAlgorithm(parts.roots, object, specOf(object), 'signature', request.algorithm);
    const version = protectVersion(loaded, pinnedVersion(request.version, request.key));
    const data = await checkPayload(parts, object.rootId, request.data, 'data');
    const parameters = signParameters(algorithm, request, data);
    const used = account.consume(object, { payloadBytes: data.length, algorithm });
    const { signature } = await parts.roots.call(object.rootId, 'sign', { key: boundKey(object, version), algorithm, data, ...parameters });
    return {
      response: { objectId: object.id, version: version.version, algorithm, signature },
      changes: used.changes,
      detail: { version: version.version, algorithm, bytes: data.length },
    };
  };

/**
 * Tries one version after the other. What makes one version unusable (its token object is gone, say) must not hide that
 * another one matches; if none matches, the first such fault is the answer rather than a confident "invalid".
 */
const firstMatch = async (
  versions: readonly ObjectVersion[],
  test: (version: ObjectVersion) => Promise<boolean>,
): Promise<ObjectVersion | undefined> => {
  let failure: unknown;
  for (const version of versions) {
    try {
      if (await test(version)) return version;
    } catch (error) {
      if (!(error instanceof FaultError) || error.fault.code !== 'root-rejected') throw error;
      failure ??= error;
    }
  }
  if (failure !== undefined) throw failure;
  return undefined;
};

const verdict = (loaded: LoadedObject, algorithm: Algorithm, matched: ObjectVersion | undefined) => ({
  response: {
    objectId: loaded.object.id,
    ...(matched === undefined ? {} : { version: matched.version }),
    algorithm,
    valid: matched !== undefined,
  },
  changes: [],
  detail: { algorithm, valid: matched !== undefined, ...(matched === undefined ? {} : { version: matched.version }) },
});

const verify =
  (parts: KeyParts): Handlers['verify'] =>
  async (call: AuthorizedCall<'verify'>) => {
    const loaded = targetOf(call);
    const { object } = loaded;
    const { request } = call;
    requireUsage(object, 'verify');
    const algorithm = await chooseAlgorithm(parts.roots, object, specOf(object), 'signature', request.algorithm);
    const data = await checkPayload(parts, object.rootId, request.data, 'data');
    const signature = checkBytes(request.signature, 'signature', MAX_SIGNATURE_BYTES);
    const parameters = signParameters(algorithm, request, data);
    const versions = verifyVersions(loaded, pinnedVersion(request.version, request.key));
    const matched = await firstMatch(versions, async (version) => {
      const key = verificationKey(object, version);
      const { valid } = await parts.roots.call(object.rootId, 'verify', { key, algorithm, data, signature, ...parameters });
      return valid;
    });
    return verdict(loaded, algorithm, matched);
  };

const mac =
  (parts: KeyParts, account: UsageAccount): Handlers['mac'] =>
  async (call) => {
    const loaded = targetOf(call);
    const { object } = loaded;
    const { request } = call;
    requireUsage(object, 'mac');
    const algorithm = await chooseAlgorithm(parts.roots, object, specOf(object), 'mac', request.algorithm);
    const version = protectVersion(loaded, pinnedVersion(request.version, request.key));
    const data = await checkPayload(parts, object.rootId, request.data, 'data');
    const used = account.consume(object, { payloadBytes: data.length, algorithm });
    const made = await parts.roots.call(object.rootId, 'mac', { key: boundKey(object, version), algorithm, data });
    return {
      response: { objectId: object.id, version: version.version, algorithm, mac: made.mac },
      changes: used.changes,
      detail: { version: version.version, algorithm, bytes: data.length },
    };
  };

/** FIPS 198-1 §5 with SP 800-107 §5.3.3: a truncated MAC keeps at least 32 bits. */
const MIN_MAC_BYTES = 4;
const macVerify =
  (parts: KeyParts): Handlers['mac-verify'] =>
  async (call) => {
    const loaded = targetOf(call);
    const { object } = loaded;
    const { request } = call;
    requireUsage(object, 'mac-verify');
    const algorithm = await chooseAlgorithm(parts.roots, object, specOf(object), 'mac', request.algorithm);
    const data = await checkPayload(parts, object.rootId, request.data, 'data');
    const given = checkBytes(request.mac, 'mac', MAX_MAC_BYTES, MIN_MAC_BYTES);
    const versions = verifyVersions(loaded, pinnedVersion(request.version, request.key));
    const matched = await firstMatch(versions, async (version) => {
      const key = boundKey(object, version);
      const { valid } = await parts.roots.call(object.rootId, 'macVerify', { key, algorithm, data, mac: given });
      return valid;
    });
    return verdict(loaded, algorithm, matched);
  };

export const makeSignHandlers = (parts: KeyParts, account: UsageAccount): Pick<Handlers, 'sign' | 'verify' | 'mac' | 'mac-verify'> => ({
  sign: sign(parts, account),
  verify: verify(parts),
  mac: mac(parts, account),
  'mac-verify': macVerify(parts),
});

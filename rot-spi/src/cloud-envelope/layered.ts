import { createPublicKey, randomBytes } from 'node:crypto';
import { isBound } from '../checks/keys.js';
import type { BackEnd, BoundKey, CreatedKey, KeyBinding, KeyProvenance, RootRequest, VerificationKey } from '../contract.js';
import { RootFault } from '../fault.js';
import { derToP1363, p1363ToDer } from '../software/ecdsa-encoding.js';
import { macMatches } from '../software/macs.js';
import { encodeBinding, openReference, sealReference } from '../software/reference.js';
import { encryptRsa } from '../software/rsa-ciphers.js';
import type { SealRing } from '../software/seal-ring.js';
import { checkSignature } from '../software/signatures.js';
import { ALGORITHMS, type Algorithm, HASH_BYTES, KEY_SPECS, type KeySpec } from '../vocabulary/index.js';
import type { CloudKey, CloudKeyId, CloudKms } from './kms.js';

/** What a layered reference holds, sealed and bound like a software key: which key of the provider, and whether we made it. */
interface HeldKey extends CloudKeyId {
  readonly identity: string;
  readonly made: boolean;
}

/** How long what the provider said about a key is believed, ms: a key disabled there stops here within it. */
const FACTS_TTL_MS = 30_000;
const MAX_FACTS = 10_000;
/** What every provider's AEAD has. */
const IV_BYTES = 12;
const TAG_BYTES = 16;
const SCALAR_BYTES: Readonly<Partial<Record<KeySpec, number>>> = { 'ec-p256': 32, 'ec-p384': 48, 'ec-p521': 66, 'ec-secp256k1': 32 };

const checkUsable = (key: CloudKey): void => {
  if (key.state === 'enabled') return;
  const what = key.state === 'disabled' ? 'has been disabled' : 'is to be deleted';
  throw new RootFault('usage-denied', `the key ${key.id.name} ${what} at the provider`, 'Enable it there, or use another key.');
};

const changed = (name: string): RootFault =>
  new RootFault(
    'reference-invalid',
    `the key ${name} of the provider is not the one that was registered`,
    'Somebody deleted it and made another of the same name; register the new one as a key of its own.',
  );

/** RFC 8017 §7.1.1: what OAEP has no room for is refused here, so that the provider's words need not be understood. */
const checkRsaRoom = (spec: KeySpec, { algorithm, plaintext }: RootRequest<'encrypt'>): void => {
  const { hash } = ALGORITHMS[algorithm];
  if (KEY_SPECS[spec].family !== 'rsa' || hash === undefined) return;
  const room = KEY_SPECS[spec].bits / 8 - 2 * HASH_BYTES[hash] - 2;
  if (plaintext.length > room) throw new RootFault('invalid-argument', `${algorithm} with ${spec} takes at most ${room} bytes`);
};
const checkRsaBlock = (spec: KeySpec, ciphertext: Uint8Array): void => {
  if (KEY_SPECS[spec].family === 'rsa' && ciphertext.length !== KEY_SPECS[spec].bits / 8)
    throw new RootFault('invalid-argument', 'the ciphertext does not have the size of the modulus');
};

/** An HMAC key has no hash of its own at the provider: the binding says which one. */
const isSameSpec = (theirs: KeySpec, ours: KeySpec): boolean =>
  theirs === ours || (KEY_SPECS[theirs].family === 'hmac' && KEY_SPECS[ours].family === 'hmac');

/** Every object version is a key of its own at the provider. The random part lets a lost answer be asked for again. */
const nameFor = (binding: KeyBinding): string =>
  `aegis-${binding.objectId.replaceAll(/[^A-Za-z0-9_.-]/g, '_')}-${binding.version}-${randomBytes(4).toString('hex')}`;

const provenanceOf = (key: CloudKey): KeyProvenance => ({
  local: !key.imported,
  alwaysSensitive: !key.exportable && !key.imported,
  neverExtractable: !key.exportable && !key.imported,
});

const publicParts = (key: VerificationKey): { readonly publicKey: Uint8Array; readonly spec: KeySpec } | undefined =>
  isBound(key) ? undefined : key;

/** The calls of a root whose keys stay at the provider. References are sealed by `ring`, so none can be forged or swapped. */
export const makeLayeredCalls = (kms: CloudKms, ring: SealRing): Omit<BackEnd, 'describe' | 'health' | 'close'> => {
  const facts = new Map<string, { readonly key: CloudKey; readonly at: number }>();
  const remember = (key: CloudKey): CloudKey => {
    if (facts.size >= MAX_FACTS) facts.delete(facts.keys().next().value ?? '');
    facts.set(`${key.id.name}/${key.id.version}`, { key, at: Date.now() });
    return key;
  };
  const factsOf = async (id: CloudKeyId): Promise<CloudKey> => {
    const have = facts.get(`${id.name}/${id.version}`);
    if (have !== undefined && Date.now() - have.at < FACTS_TTL_MS) return have.key;
    facts.delete(`${id.name}/${id.version}`);
    return remember(await kms.describeKey(id));
  };

  const held = ({ reference, binding }: BoundKey): HeldKey => {
    const { material } = openReference(ring, reference, encodeBinding(binding));
    return JSON.parse(material.toString('utf8')) as HeldKey;
  };
  const open = async (bound: BoundKey): Promise<CloudKey> => {
    const reference = held(bound);
    const key = await factsOf(reference);
    if (key.identity !== reference.identity || !isSameSpec(key.spec, bound.binding.spec)) throw changed(reference.name);
    checkUsable(key);
    return key;
  };
  const created = (binding: KeyBinding, key: CloudKey, made: boolean): CreatedKey => {
    remember(key);
    const provenance = provenanceOf(key);
    const content: HeldKey = { ...key.id, identity: key.identity, made };
    const material = Buffer.from(JSON.stringify(content));
    return {
      reference: sealReference(ring, binding, { kind: 'raw', provenance, material }),
      bits: key.bits ?? KEY_SPECS[binding.spec].bits,
      provenance,
      ...(key.publicKey === undefined ? {} : { publicKey: key.publicKey }),
    };
  };
  const on = async (bound: BoundKey, algorithm: Algorithm) => {
    const key = await open(bound);
    return { id: key.id, spec: key.spec, algorithm };
  };

  const refuseIv = (iv: Uint8Array | undefined): void => {
    if (iv !== undefined) throw new RootFault('unsupported', 'the provider makes the IV itself', 'Leave the IV out.');
  };
  const refuseOaepOptions = ({ label, mgf1Hash }: { readonly label?: Uint8Array; readonly mgf1Hash?: string }): void => {
    if ((label !== undefined && label.length > 0) || mgf1Hash !== undefined)
      throw new RootFault('unsupported', 'the provider has no OAEP label and no other mask generation hash');
  };

  const encrypt = async (request: RootRequest<'encrypt'>) => {
    const open = publicParts(request.key);
    if (open !== undefined) {
      const publicKey = createPublicKey({ key: Buffer.from(open.publicKey), format: 'der', type: 'spki' });
      return { ciphertext: encryptRsa(publicKey, request.algorithm, request.plaintext, request) };
    }
    refuseIv(request.iv);
    refuseOaepOptions(request);
    if (request.tagLength !== undefined && request.tagLength !== TAG_BYTES)
      throw new RootFault('unsupported', `the provider has tags of ${TAG_BYTES} bytes only`);
    checkRsaRoom((request.key as BoundKey).binding.spec, request);
    return kms.encrypt({ ...(await on(request.key as BoundKey, request.algorithm)), plaintext: request.plaintext, ...aadOf(request) });
  };
  const decrypt = async (request: RootRequest<'decrypt'>): Promise<Buffer> => {
    refuseOaepOptions(request);
    const { ciphertext, iv, tag } = request;
    if (iv !== undefined && iv.length !== IV_BYTES) throw new RootFault('unsupported', `the provider has IVs of ${IV_BYTES} bytes only`);
    if (tag !== undefined && tag.length !== TAG_BYTES)
      throw new RootFault('unsupported', `the provider has tags of ${TAG_BYTES} bytes only`);
    checkRsaBlock(request.key.binding.spec, ciphertext);
    return kms.decrypt({
      ...(await on(request.key, request.algorithm)),
      ciphertext,
      ...aadOf(request),
      ...(iv === undefined ? {} : { iv }),
      ...(tag === undefined ? {} : { tag }),
    });
  };
  const isEcdsa = (algorithm: Algorithm): boolean => algorithm.startsWith('ecdsa');

  return {
    generateKey: async ({ binding, bits }) => created(binding, await kms.createKey(newKey(binding, bits)), true),
    generateKeyPair: async ({ binding, publicExponent }) => {
      if (publicExponent !== undefined && publicExponent !== 65_537)
        throw new RootFault('unsupported', 'the provider uses the public exponent 65537');
      return created(binding, await kms.createKey(newKey(binding)), true);
    },
    importKey: async ({ binding, format, material }) => {
      if (format === 'spki') throw new RootFault('unsupported', 'a public key has no place at the provider');
      return created(
        binding,
        await kms.importKey({ ...newKey(binding, format === 'raw' ? material.length * 8 : undefined), material }),
        true,
      );
    },
    exportKey: async ({ key }) => {
      const material = await kms.exportKey((await open(key)).id, key.binding.spec);
      return { format: KEY_SPECS[key.binding.spec].shape === 'pair' ? 'pkcs8' : 'raw', material };
    },
    destroyKey: async ({ key }) => {
      const reference = held(key);
      facts.delete(`${reference.name}/${reference.version}`);
      // A key that was registered belongs to whoever made it there; only our reference to it ends.
      if (reference.made) await kms.destroyKey(reference);
      return {};
    },
    lookupKey: async ({ ref }) => {
      const key = remember(await kms.findKey(ref));
      checkUsable(key);
      return {
        ref: kms.refOf(key.id),
        spec: key.spec,
        bits: key.bits ?? KEY_SPECS[key.spec].bits,
        ...(key.publicKey === undefined ? {} : { publicKey: key.publicKey }),
      };
    },
    adoptKey: async ({ binding, ref }) => {
      const key = await kms.findKey(ref);
      const { name } = key.id;
      checkUsable(key);
      if (!isSameSpec(key.spec, binding.spec))
        throw new RootFault('invalid-argument', `the key ${name} is ${key.spec}, not ${binding.spec}`);
      if (binding.exportable && !key.exportable)
        throw new RootFault('not-exportable', `the provider does not export the key ${name}`, 'Register it as not exportable.');
      return created(binding, key, false);
    },
    encrypt,
    decrypt: async (request) => ({ plaintext: await decrypt(request) }),
    sign: async (request) => {
      refuseMgf(request);
      const signature = await kms.sign({ ...(await on(request.key, request.algorithm)), ...signOptions(request) });
      if (!isEcdsa(request.algorithm) || request.encoding !== 'p1363') return { signature };
      const fixed = derToP1363(signature, SCALAR_BYTES[request.key.binding.spec] ?? 0);
      if (fixed === undefined) throw new RootFault('unavailable', 'the provider answered with a signature that is no DER');
      return { signature: fixed };
    },
    verify: async (request) => {
      const open = publicParts(request.key);
      if (open !== undefined) {
        const publicKey = createPublicKey({ key: Buffer.from(open.publicKey), format: 'der', type: 'spki' });
        return { valid: checkSignature(publicKey, request.algorithm, request.data, request.signature, request) };
      }
      refuseMgf(request);
      const bound = request.key as BoundKey;
      const target = await on(bound, request.algorithm);
      const der = asDer(request, SCALAR_BYTES[bound.binding.spec] ?? 0);
      return { valid: der !== undefined && (await kms.verify({ ...target, ...signOptions(request), signature: der })) };
    },
    mac: async ({ key, algorithm, data }) => ({ mac: await kms.mac({ ...(await on(key, algorithm)), data }) }),
    macVerify: async ({ key, algorithm, data, mac }) => ({
      valid: macMatches(await kms.mac({ ...(await on(key, algorithm)), data }), mac),
    }),
    generateDataKey: async ({ key, length, reveal, aad }) => {
      const plaintext = randomBytes(length);
      const algorithm = KEY_SPECS[key.binding.spec].family === 'chacha20' ? 'chacha20-poly1305' : 'aes-gcm';
      const sealed = await kms.encrypt({ ...(await on(key, algorithm)), plaintext, ...aadOf({ aad }) });
      const { ciphertext, iv, tag } = sealed;
      if (iv === undefined || tag === undefined) throw new RootFault('unavailable', 'the provider answered without IV and tag');
      if (!reveal) plaintext.fill(0);
      return { ciphertext, iv, tag, ...(reveal ? { plaintext } : {}) };
    },
    reEncrypt: async ({ from, to }) => {
      const plaintext = await decrypt(from);
      try {
        return await encrypt({ ...to, plaintext });
      } finally {
        plaintext.fill(0);
      }
    },
    random: async ({ length }) => ({ bytes: await kms.random(length) }),
    evidence: async ({ key }) => {
      const facts = await open(key);
      return {
        provenance: provenanceOf(facts),
        asserted: {
          provider: kms.provider,
          key: facts.id.name,
          version: facts.id.version,
          state: facts.state,
          exportable: String(facts.exportable),
          imported: String(facts.imported),
        },
      };
    },
    rewrapReference: async ({ key }) => {
      const { material, provenance } = openReference(ring, key.reference, encodeBinding(key.binding));
      return { reference: sealReference(ring, key.binding, { kind: 'raw', provenance, material }) };
    },
    rotateSeal: async () => ({ generation: ring.rotate() }),
  };
};

const newKey = (binding: KeyBinding, bits?: number) => ({
  name: nameFor(binding),
  spec: binding.spec,
  exportable: binding.exportable,
  usage: binding.usage,
  labels: { 'aegis-object': binding.objectId, 'aegis-version': String(binding.version), 'aegis-tenant': binding.tenant },
  ...(bits === undefined ? {} : { bits }),
});

const aadOf = ({ aad }: { readonly aad?: Uint8Array | undefined }): { aad?: Uint8Array } => (aad === undefined ? {} : { aad });

const refuseMgf = ({ algorithm, mgf1Hash }: RootRequest<'sign'> | RootRequest<'verify'>): void => {
  if (mgf1Hash !== undefined && !algorithm.endsWith(mgf1Hash))
    throw new RootFault('unsupported', 'the provider masks with the hash of the signature only');
};

const signOptions = ({ data, prehashed, saltLength }: RootRequest<'sign'> | RootRequest<'verify'>) => ({
  data,
  ...(prehashed === undefined ? {} : { prehashed }),
  ...(saltLength === undefined ? {} : { saltLength }),
});

/**
 * ECDSA as DER, which providers speak; undefined when r‖s does not have the size of the curve, or is not the one encoding of two integers:
 * Go's reader lets a third one pass.
 */
const asDer = ({ algorithm, encoding, signature }: RootRequest<'verify'>, scalarBytes: number): Uint8Array | undefined => {
  if (!algorithm.startsWith('ecdsa')) return signature;
  if (encoding !== 'p1363') return derToP1363(signature, scalarBytes) === undefined ? undefined : signature;
  return signature.length === scalarBytes * 2 ? p1363ToDer(signature) : undefined;
};

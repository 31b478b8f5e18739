import { createSecretKey, hash, type KeyObject, randomBytes } from 'node:crypto';
import { isBound, keyBytes } from '../checks/keys.js';
import { unsupported } from '../checks/primitives.js';
import { dataField } from '../checks/requests.js';
import type {
  BoundKey,
  CreatedKey,
  DeriveParameters,
  NewKey,
  RootCallName,
  RootRequest,
  RootResponse,
  SignParameters,
  VerificationKey,
} from '../contract.js';
import { checkRsaPrivateKey } from '../encoding/rsa-keys.js';
import { RootFault } from '../fault.js';
import { type Algorithm, KEY_SPECS } from '../vocabulary/index.js';
import { agreeSecret, decapsulateSecret, encapsulateSecret } from './agreement.js';
import { decryptSymmetric, encryptSymmetric, undecryptable } from './ciphers.js';
import { deriveBytes, naturalLength } from './derivations.js';
import { checkPair, exportMaterial, type KeyMaterial, parseMaterial, type Spec } from './key-material.js';
import { computeMac, macMatches } from './macs.js';
import { type KeySource, makeMultiPart } from './multi-part.js';
import { derivedProvenance, FOREIGN, generatePairOf, generateSecret, localProvenance, sealNewKey, specOf, takeSecret } from './new-keys.js';
import { type OpenedKey, type OpenedKeys, privateOf, secretOf } from './opened-keys.js';
import type { PublicKeys } from './public-keys.js';
import { makeSeededRandom } from './random.js';
import { encodeBinding, generationOf, openReference, sealReference } from './reference.js';
import { decryptRsa, encryptRsa } from './rsa-ciphers.js';
import type { SealRing } from './seal-ring.js';
import { checkSignature, makeSignature } from './signatures.js';
import { makeSplitCalls, zeroingLater } from './split-calls.js';
import { unwrapMaterial, wrapMaterial } from './wraps.js';

export interface SoftwareParts {
  readonly ring: SealRing;
  readonly keys: OpenedKeys;
  readonly publicKeys: PublicKeys;
  /** Signature algorithms whose context string this runtime honours. */
  readonly contexts: ReadonlySet<Algorithm>;
}

export type SoftwareCalls = {
  readonly [C in Exclude<RootCallName, 'lookupKey' | 'adoptKey'>]: (request: RootRequest<C>) => Promise<RootResponse<C>> | RootResponse<C>;
} & {
  readonly close: () => void;
};

/** Wrapping without integrity must not tell a malformed key from wrong padding. */
const UNAUTHENTICATED_WRAPS: ReadonlySet<Algorithm> = new Set(['aes-cbc-pkcs5-wrap']);

/** Every call of the contract, over sealed references. What a request must look like was checked before (root.ts). */
export const makeSoftwareCalls = (parts: SoftwareParts): SoftwareCalls => {
  const { ring, keys, publicKeys } = parts;
  const open = (key: VerificationKey): OpenedKey => {
    if (!isBound(key)) throw new RootFault('invalid-argument', 'this call needs a bound key');
    return keys.open(key);
  };
  const publicOf = (key: VerificationKey): KeyObject => {
    if (!isBound(key)) return publicKeys.parse(KEY_SPECS[key.spec] as Spec, key.publicKey);
    const { material } = keys.open(key);
    if (material.kind === 'raw') throw new RootFault('invalid-argument', 'a secret key has no public half');
    return material.publicKey;
  };
  const source: KeySource = { open, publicKey: publicOf };
  const multiPart = makeMultiPart(source);
  const checkContext = (algorithm: Algorithm | undefined, parameters: SignParameters): void => {
    if (parameters.context === undefined || parameters.context.length === 0) return;
    if (algorithm === undefined || !parts.contexts.has(algorithm))
      throw unsupported(`this runtime has no context strings for ${algorithm}`, 'Run Aegis on Node.js 24.8 or later.');
  };

  return {
    ...makingCalls(ring, keys, publicKeys, publicOf),
    ...cipherCalls(keys, publicOf),
    ...signingCalls(keys, publicOf, checkContext),
    ...sealingCalls(ring, keys),
    ...makeSeededRandom(),
    digest: ({ hash: name, data }) => ({ digest: hash(name, data, 'buffer') }),
    beginOperation: (request) => {
      if (request.kind === 'sign' || request.kind === 'verify') checkContext(request.algorithm, request);
      return multiPart.begin(request);
    },
    updateOperation: multiPart.update,
    finishOperation: multiPart.finish,
    cancelOperation: multiPart.cancel,
    close: () => multiPart.close(),
  };
};

type PublicOf = (key: VerificationKey) => KeyObject;
type Calls<C extends RootCallName> = Pick<SoftwareCalls, Extract<C, keyof SoftwareCalls>>;

/** How many bytes a derived key needs: fixed by its spec, else asked for, else what the source naturally gives. */
const wantedBytes = (newKey: NewKey, natural: number): number => keyBytes(specOf(newKey.binding)) ?? newKey.length ?? natural;

const makingCalls = (
  ring: SealRing,
  keys: OpenedKeys,
  publicKeys: PublicKeys,
  publicOf: PublicOf,
): Calls<
  | 'generateKey'
  | 'generateKeyPair'
  | 'importKey'
  | 'exportKey'
  | 'wrapKey'
  | 'unwrapKey'
  | 'derive'
  | 'splitKey'
  | 'joinKey'
  | 'agree'
  | 'encapsulate'
  | 'decapsulate'
> => {
  const seal = (newKey: NewKey, bytes: Buffer, base: OpenedKey): CreatedKey =>
    sealNewKey(ring, newKey.binding, takeSecret(specOf(newKey.binding), bytes), derivedProvenance(base.provenance, newKey.binding));

  /** Leftmost bytes of a shared secret, or a key derived from it. */
  const sealShared = async (
    request: { readonly newKey: NewKey; readonly kdf?: Algorithm } & DeriveParameters,
    shared: Buffer,
    base: OpenedKey,
  ): Promise<CreatedKey> => {
    try {
      if (request.kdf !== undefined) {
        const length = wantedBytes(request.newKey, naturalLength(request.kdf, request));
        return seal(
          request.newKey,
          await deriveBytes(createSecretKey(shared), KEY_SPECS.secret as Spec, request.kdf, request, length),
          base,
        );
      }
      const length = wantedBytes(request.newKey, shared.length);
      if (length > shared.length)
        throw new RootFault(
          'invalid-argument',
          `the shared secret has ${shared.length} bytes; ${length} were asked for`,
          'Derive the key with a kdf.',
        );
      return seal(request.newKey, Buffer.from(shared.subarray(0, length)), base);
    } finally {
      shared.fill(0);
    }
  };

  return {
    ...makeSplitCalls(ring, keys, seal),
    generateKey: ({ binding, bits }) => sealNewKey(ring, binding, generateSecret(specOf(binding), bits), localProvenance(binding)),
    generateKeyPair: async ({ binding, publicExponent }) =>
      sealNewKey(ring, binding, await generatePairOf(specOf(binding), publicExponent), localProvenance(binding)),
    importKey: async ({ binding, format, material }) =>
      sealNewKey(ring, binding, await checkPair(specOf(binding), parseMaterial(specOf(binding), format, material)), FOREIGN),
    exportKey: ({ key }) => {
      const { material } = keys.open(key);
      return { format: material.kind, material: exportMaterial(material) };
    },
    wrapKey: (request) => {
      const wrapping = wrappingKeyOf(request.wrappingKey, keys, publicOf);
      const { material } = keys.open(request.key);
      if (material.kind === 'spki') throw new RootFault('invalid-argument', 'a public key is not wrapped: export it');
      const bytes = exportMaterial(material);
      try {
        return wrapMaterial(wrapping.key, wrapping.spec, request.algorithm, bytes, request);
      } finally {
        bytes.fill(0);
      }
    },
    unwrapKey: async (request) => {
      const opened = keys.open(request.unwrappingKey);
      const key = opened.material.kind === 'raw' ? opened.material.secret : privateOf(opened);
      const bytes = unwrapMaterial(key, opened.spec, request.algorithm, request.wrapped, request);
      try {
        return sealNewKey(ring, request.newKey.binding, await parseUnwrapped(request, bytes), FOREIGN);
      } finally {
        bytes.fill(0);
      }
    },
    derive: async (request) => {
      const base = keys.open(request.key);
      const derive = async (parameters: DeriveParameters): Promise<CreatedKey> => {
        const length = wantedBytes(request.newKey, naturalLength(request.algorithm, parameters));
        return seal(request.newKey, await deriveBytes(secretOf(base), base.spec, request.algorithm, parameters, length), base);
      };
      if (request.dataKey === undefined) return derive(request);
      const data = secretOf(keys.open(request.dataKey)).export();
      return zeroingLater(data, (bytes) => derive({ ...request, [dataField(request.algorithm)]: bytes }));
    },
    agree: (request) => {
      const base = keys.open(request.key);
      return sealShared(request, agreeSecret(privateOf(base), publicKeys.parse(base.spec, request.peerPublicKey)), base);
    },
    encapsulate: async (request) => {
      const { sharedKey, ciphertext } = encapsulateSecret(publicKeys.parse(KEY_SPECS[request.spec] as Spec, request.publicKey));
      const material = takeShared(request.newKey, sharedKey);
      return { ...sealNewKey(ring, request.newKey.binding, material, localProvenance(request.newKey.binding)), ciphertext };
    },
    decapsulate: (request) => {
      const base = keys.open(request.key);
      return sealShared(request, decapsulateSecret(privateOf(base), request.ciphertext), base);
    },
  };
};

const takeShared = (newKey: NewKey, shared: Buffer): KeyMaterial => {
  const length = wantedBytes(newKey, shared.length);
  try {
    if (length > shared.length)
      throw new RootFault('invalid-argument', `the shared secret has ${shared.length} bytes; ${length} were asked for`);
    return takeSecret(specOf(newKey.binding), Buffer.from(shared.subarray(0, length)));
  } finally {
    shared.fill(0);
  }
};

const parseUnwrapped = async (request: RootRequest<'unwrapKey'>, bytes: Buffer): Promise<KeyMaterial> => {
  const spec = specOf(request.newKey.binding);
  try {
    const exact = request.format === 'raw' ? (keyBytes(spec) ?? request.newKey.length) : undefined;
    if (bytes.length === 0 || (exact !== undefined && bytes.length !== exact))
      throw new RootFault('invalid-argument', `the unwrapped key does not have the size of ${spec.name}`);
    if (spec.family === 'rsa') await checkRsaPrivateKey(spec, bytes);
    return await checkPair(spec, parseMaterial(spec, request.format, bytes));
  } catch (error) {
    throw UNAUTHENTICATED_WRAPS.has(request.algorithm) ? undecryptable() : error;
  }
};

const wrappingKeyOf = (key: VerificationKey, keys: OpenedKeys, publicOf: PublicOf): { readonly key: KeyObject; readonly spec: Spec } => {
  if (!isBound(key)) return { key: publicOf(key), spec: KEY_SPECS[key.spec] as Spec };
  const opened = keys.open(key);
  return { key: opened.material.kind === 'raw' ? opened.material.secret : opened.material.publicKey, spec: opened.spec };
};

const cipherCalls = (
  keys: OpenedKeys,
  publicOf: PublicOf,
): Calls<'encrypt' | 'decrypt' | 'mac' | 'macVerify' | 'generateDataKey' | 'reEncrypt'> => {
  const encrypt = (request: RootRequest<'encrypt'>): RootResponse<'encrypt'> => {
    const spec = KEY_SPECS[isBound(request.key) ? request.key.binding.spec : request.key.spec] as Spec;
    if (spec.family === 'rsa') return { ciphertext: encryptRsa(publicOf(request.key), request.algorithm, request.plaintext, request) };
    const opened = keys.open(request.key as BoundKey);
    return encryptSymmetric(secretOf(opened), spec, request.algorithm, request.plaintext, request);
  };
  const decrypt = (request: RootRequest<'decrypt'>): Buffer => {
    const opened = keys.open(request.key);
    if (opened.spec.family === 'rsa') return decryptRsa(privateOf(opened), request.algorithm, request.ciphertext, request);
    return decryptSymmetric(secretOf(opened), opened.spec, request.algorithm, request.ciphertext, request);
  };
  return {
    encrypt,
    decrypt: (request) => ({ plaintext: decrypt(request) }),
    mac: ({ key, algorithm, data }) => ({ mac: computeMac(secretOf(keys.open(key)), algorithm, data) }),
    macVerify: ({ key, algorithm, data, mac }) => ({ valid: macMatches(computeMac(secretOf(keys.open(key)), algorithm, data), mac) }),
    generateDataKey: (request) => {
      const opened = keys.open(request.key);
      const plaintext = randomBytes(request.length);
      const algorithm = opened.spec.family === 'chacha20' ? 'chacha20-poly1305' : 'aes-gcm';
      const { ciphertext, iv, tag } = encryptSymmetric(
        secretOf(opened),
        opened.spec,
        algorithm,
        plaintext,
        request.aad === undefined ? {} : { aad: request.aad },
      );
      if (iv === undefined || tag === undefined) throw new RootFault('internal', 'the data key cipher gave no tag');
      if (request.reveal) return { ciphertext, iv, tag, plaintext };
      plaintext.fill(0);
      return { ciphertext, iv, tag };
    },
    reEncrypt: ({ from, to }) => {
      const plaintext = decrypt(from);
      try {
        return encrypt({ ...to, plaintext });
      } finally {
        plaintext.fill(0);
      }
    },
  };
};

const signingCalls = (
  keys: OpenedKeys,
  publicOf: PublicOf,
  checkContext: (algorithm: Algorithm, parameters: SignParameters) => void,
): Calls<'sign' | 'verify'> => ({
  sign: (request) => {
    checkContext(request.algorithm, request);
    const signature = makeSignature(keys.open(request.key), request.algorithm, request.data, request);
    return signature instanceof Promise ? signature.then((bytes) => ({ signature: bytes })) : { signature };
  },
  verify: (request) => {
    checkContext(request.algorithm, request);
    return { valid: checkSignature(publicOf(request.key), request.algorithm, request.data, request.signature, request) };
  },
});

const sealingCalls = (ring: SealRing, keys: OpenedKeys): Calls<'destroyKey' | 'evidence' | 'rewrapReference' | 'rotateSeal'> => ({
  /** The key is the reference: when its row is deleted the key is gone. Here only the opened copy is. */
  destroyKey: ({ key }) => {
    keys.forget(key);
    return {};
  },
  evidence: ({ key }) => {
    const { provenance, spec, material } = keys.open(key);
    return {
      provenance,
      asserted: {
        storage: 'sealed reference, AES-256-GCM',
        'sealing key generation': String(generationOf(Buffer.from(key.reference))),
        material: material.kind,
        specification: spec.name,
        exportable: String(key.binding.exportable),
      },
    };
  },
  rewrapReference: ({ key }) => {
    const sealed = openReference(ring, key.reference, encodeBinding(key.binding));
    try {
      return { reference: sealReference(ring, key.binding, sealed) };
    } finally {
      sealed.material.fill(0);
    }
  },
  rotateSeal: () => ({ generation: ring.rotate() }),
});

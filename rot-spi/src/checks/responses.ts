import type { RootCallName, RootRequest, RootResponse } from '../contract.js';
import { RootFault } from '../fault.js';
import { ALGORITHMS, HASH_BYTES, KEY_SPECS } from '../vocabulary/index.js';

const CREATED = ['reference', 'publicKey', 'bits', 'provenance', 'checkValue', 'digest'] as const;

/** Every field an answer may carry: whatever else a back end returns (material, above all) never leaves. */
const RESPONSE_FIELDS: { readonly [C in RootCallName]: readonly string[] } = {
  generateKey: CREATED,
  generateKeyPair: CREATED,
  importKey: CREATED,
  lookupKey: ['ref', 'spec', 'bits', 'publicKey'],
  adoptKey: CREATED,
  exportKey: ['format', 'material'],
  destroyKey: [],
  encrypt: ['ciphertext', 'iv', 'tag'],
  decrypt: ['plaintext'],
  sign: ['signature'],
  verify: ['valid'],
  mac: ['mac'],
  macVerify: ['valid'],
  wrapKey: ['wrapped', 'iv'],
  unwrapKey: CREATED,
  derive: CREATED,
  splitKey: ['parts'],
  joinKey: CREATED,
  agree: CREATED,
  encapsulate: [...CREATED, 'ciphertext'],
  decapsulate: CREATED,
  generateDataKey: ['ciphertext', 'iv', 'tag', 'plaintext'],
  reEncrypt: ['ciphertext', 'iv', 'tag'],
  random: ['bytes'],
  seedRandom: ['accepted'],
  digest: ['digest'],
  beginOperation: ['operation', 'iv'],
  updateOperation: ['output'],
  finishOperation: ['output', 'tag', 'valid'],
  cancelOperation: [],
  evidence: ['provenance', 'asserted'],
  rewrapReference: ['reference'],
  rotateSeal: ['generation'],
};

const broken = (call: RootCallName, what: string): RootFault =>
  new RootFault(
    'internal',
    `the back end's answer to ${call} breaks the contract: ${what}`,
    'Report this with the back end and its version.',
  );

const filled = (bytes: unknown): boolean => bytes instanceof Uint8Array && bytes.length > 0;

const checkCreated = (call: RootCallName, response: RootResponse<'generateKey'>, pair: boolean): void => {
  if (!filled(response.reference)) throw broken(call, 'no reference');
  if (pair !== filled(response.publicKey)) throw broken(call, pair ? 'no public key' : 'a public key of a secret');
  if (!Number.isSafeInteger(response.bits) || response.bits <= 0) throw broken(call, 'no size');
};

/** An IV the caller did not give must come back, with the length the table promises. */
const checkFreshIv = (call: RootCallName, request: { readonly algorithm?: string; readonly iv?: Uint8Array }, iv: unknown): void => {
  const row = request.algorithm === undefined ? undefined : ALGORITHMS[request.algorithm as keyof typeof ALGORITHMS];
  if (row?.ivLength === undefined || request.iv !== undefined) return;
  if (!(iv instanceof Uint8Array) || iv.length !== row.ivLength) throw broken(call, 'no fresh IV');
};

type ResponseCheck<C extends RootCallName> = (request: RootRequest<C>, response: RootResponse<C>) => void;

const CHECKS: { readonly [C in RootCallName]?: ResponseCheck<C> } = {
  generateKey: (_, response) => checkCreated('generateKey', response, false),
  generateKeyPair: (_, response) => checkCreated('generateKeyPair', response, true),
  importKey: (request, response) => checkCreated('importKey', response, KEY_SPECS[request.binding.spec].shape === 'pair'),
  adoptKey: (request, response) => checkCreated('adoptKey', response, KEY_SPECS[request.binding.spec].shape === 'pair'),
  unwrapKey: (request, response) => checkCreated('unwrapKey', response, KEY_SPECS[request.newKey.binding.spec].shape === 'pair'),
  derive: (_, response) => checkCreated('derive', response, false),
  splitKey: (request, response) => {
    if (!Array.isArray(response.parts) || response.parts.length !== request.newKeys.length)
      throw broken('splitKey', 'a wrong number of parts');
    for (const part of response.parts) {
      if (Object.keys(part).some((field) => !(CREATED as readonly string[]).includes(field)))
        throw broken('splitKey', 'an unexpected field');
      checkCreated('splitKey', part, false);
    }
  },
  joinKey: (request, response) => checkCreated('joinKey', response, KEY_SPECS[request.newKey.binding.spec].shape === 'pair'),
  agree: (_, response) => checkCreated('agree', response, false),
  encapsulate: (_, response) => checkCreated('encapsulate', response, false),
  decapsulate: (_, response) => checkCreated('decapsulate', response, false),
  encrypt: (request, response) => {
    checkFreshIv('encrypt', request, response.iv);
    const row = ALGORITHMS[request.algorithm];
    if (row.tagLength !== undefined && response.tag?.length !== (request.tagLength ?? row.tagLength)) throw broken('encrypt', 'no tag');
  },
  reEncrypt: (request, response) => {
    checkFreshIv('reEncrypt', request.to, response.iv);
    const row = ALGORITHMS[request.to.algorithm];
    if (row.tagLength !== undefined && response.tag?.length !== (request.to.tagLength ?? row.tagLength))
      throw broken('reEncrypt', 'no tag');
  },
  wrapKey: (request, response) => {
    checkFreshIv('wrapKey', request, response.iv);
    if (!filled(response.wrapped)) throw broken('wrapKey', 'nothing wrapped');
  },
  beginOperation: (request, response) => {
    if (request.kind === 'encrypt') checkFreshIv('beginOperation', request, response.iv);
    if (typeof response.operation !== 'string' || response.operation.length < 16) throw broken('beginOperation', 'a guessable id');
  },
  sign: (_, response) => {
    if (!filled(response.signature)) throw broken('sign', 'no signature');
  },
  verify: (_, response) => {
    if (typeof response.valid !== 'boolean') throw broken('verify', 'no verdict');
  },
  mac: (_, response) => {
    if (!filled(response.mac)) throw broken('mac', 'no MAC');
  },
  macVerify: (_, response) => {
    if (typeof response.valid !== 'boolean') throw broken('macVerify', 'no verdict');
  },
  generateDataKey: (request, response) => {
    if (request.reveal ? response.plaintext?.length !== request.length : response.plaintext !== undefined)
      throw broken('generateDataKey', 'the plain data key');
    // A cloud provider's ciphertext carries its own header.
    if (response.ciphertext.length < request.length || !filled(response.iv) || !filled(response.tag))
      throw broken('generateDataKey', 'a wrong size');
  },
  random: (request, response) => {
    if (response.bytes.length !== request.length) throw broken('random', 'a wrong size');
  },
  digest: (request, response) => {
    if (response.digest.length !== HASH_BYTES[request.hash]) throw broken('digest', 'a wrong size');
  },
  exportKey: (_, response) => {
    if (!filled(response.material)) throw broken('exportKey', 'no material');
  },
  rewrapReference: (_, response) => {
    if (!filled(response.reference)) throw broken('rewrapReference', 'no reference');
  },
};

export const checkResponse = <C extends RootCallName>(call: C, request: RootRequest<C>, response: RootResponse<C>): RootResponse<C> => {
  if (typeof response !== 'object' || response === null) throw broken(call, 'no answer');
  for (const field of Object.keys(response)) if (!RESPONSE_FIELDS[call].includes(field)) throw broken(call, 'an unexpected field');
  (CHECKS[call] as ResponseCheck<C> | undefined)?.(request, response);
  return response;
};

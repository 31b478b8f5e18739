import type { Fields } from '@aegis/kmip-ttlv';
import { ALGORITHMS, type Algorithm, type KeySpec } from '@aegis/rot-spi/vocabulary';
import {
  decodeEnvelope,
  type EnvelopeAlgorithm,
  encodeEnvelope,
  envelopeHeader,
  joinBytes,
  type OperationRequest,
  type OperationResponse,
} from '../../src/domain/index.js';
import { Inexpressible, Refusal } from './cases/behaviour-case.js';
import { type Ask, attributesOf, bytes, idOf, optional, otherHalf, type Translation } from './kmip-asking.js';
import { defaultAlgorithm, hashParameters, parametersOf, viewOf } from './kmip-words.js';

// The algebra’s use of keys as requests of KMIP.

const wrong = (field: string, message: string) => new Refusal({ code: 'invalid-field', field, message });
export const specOfKey = async (id: string, ask: Ask): Promise<KeySpec> => {
  const told = await attributesOf(id, ask, 'CryptographicAlgorithm', 'CryptographicLength', 'CryptographicDomainParameters');
  const { spec } = viewOf(told).object;
  // Whatever the object is: the operation itself is to be refused, and by the plane.
  return spec ?? 'aes-256';
};
type Use = Parameters<typeof defaultAlgorithm>[1];
const algorithmFor = async (asked: Algorithm | undefined, id: string, use: Use, ask: Ask): Promise<Algorithm> =>
  asked ?? defaultAlgorithm(await specOfKey(id, ask), use);

const isAead = (algorithm: Algorithm): boolean => ALGORITHMS[algorithm]?.tagLength !== undefined;

const encryptRaw = async (id: string, algorithm: Algorithm, request: Partial<OperationRequest<'encrypt'>>, ask: Ask) => {
  const made = await ask('Encrypt', {
    UniqueIdentifier: id,
    CryptographicParameters: { ...parametersOf(algorithm), ...optional('TagLength', request.tagLength) },
    Data: request.plaintext as Uint8Array,
    ...optional('IVCounterNonce', request.iv),
    ...optional('AuthenticatedEncryptionAdditionalData', request.aad),
  });
  const [iv, tag] = [made['IVCounterNonce'] ?? request.iv, made['AuthenticatedEncryptionTag']];
  return {
    ciphertext: bytes(made['Data']),
    ...(iv === undefined ? {} : { iv: bytes(iv) }),
    ...(tag === undefined ? {} : { tag: bytes(tag) }),
  };
};

/** KMIP has no envelope: the client keeps id, algorithm, IV and tag beside the ciphertext, in the service's own layout, and binds the header. */
export const encrypt: Translation<'encrypt'> = async (request, ask) => {
  if (request.iv !== undefined) throw new Inexpressible('key that lets no caller choose an IV');
  const named = await idOf(request.key, ask, request.version);
  const algorithm = await algorithmFor(request.algorithm, named, 'cipher', ask);
  if (request.format === 'raw') return { objectId: named, version: 1, algorithm, ...(await encryptRaw(named, algorithm, request, ask)) };
  // The envelope names the half that opens it.
  const id = algorithm.startsWith('rsa') ? await otherHalf(named, 'public-key', 'private-key', ask) : named;
  const facts = { objectId: id, version: 1, algorithm };
  const { ivLength = 0, tagLength = 0 } = ALGORITHMS[algorithm] ?? {};
  const header = () => envelopeHeader(id, 1, algorithm as EnvelopeAlgorithm, ivLength, request.tagLength ?? tagLength);
  const aad = isAead(algorithm) ? { aad: joinBytes(header(), request.aad ?? new Uint8Array()) } : {};
  const made = await encryptRaw(named, algorithm, { ...request, ...aad }, ask);
  return { ...facts, ciphertext: encodeEnvelope(header(), bytes(made.iv), bytes(made.tag), made.ciphertext) };
};

const decryptRaw = async (id: string, algorithm: Algorithm, request: Partial<OperationRequest<'decrypt'>>, ask: Ask) => {
  const { Data } = await ask('Decrypt', {
    UniqueIdentifier: id,
    CryptographicParameters: { ...parametersOf(algorithm), ...optional('TagLength', request.tagLength) },
    Data: request.ciphertext as Uint8Array,
    ...optional('IVCounterNonce', request.iv),
    ...optional('AuthenticatedEncryptionTag', request.tag),
    ...optional('AuthenticatedEncryptionAdditionalData', request.aad),
  });
  return { objectId: id, version: 1, algorithm, plaintext: bytes(Data) };
};

export const decrypt: Translation<'decrypt'> = async (request, ask) => {
  const key = request.key === undefined ? undefined : await idOf(request.key, ask, request.version);
  if (request.format === 'raw') {
    const id = key as string;
    return decryptRaw(id, await algorithmFor(request.algorithm, id, 'cipher', ask), request, ask);
  }
  const { ciphertext } = request;
  const envelope = decodeEnvelope(ciphertext);
  if (envelope === undefined) throw wrong('ciphertext', 'no envelope');
  const { objectId, algorithm, iv, tag, version } = envelope;
  const { ivLength = 0, tagLength = 0 } = ALGORITHMS[algorithm];
  if (iv.length !== ivLength || tag.length !== tagLength) throw wrong('ciphertext', 'no envelope');
  if (version !== 1 || (key !== undefined && key !== objectId)) throw wrong('ciphertext', 'of another key');
  // A client that opens what the envelope says without authentication can be made to: only by name.
  const bound = isAead(algorithm) || algorithm.startsWith('rsa-oaep');
  if (request.algorithm === undefined ? !bound : request.algorithm !== algorithm) throw wrong('algorithm', 'not the one asked for');
  const header = ciphertext.subarray(0, ciphertext.length - iv.length - tag.length - envelope.ciphertext.length);
  const aad = isAead(algorithm) ? { aad: joinBytes(header, request.aad ?? new Uint8Array()) } : {};
  const sealed = { ciphertext: envelope.ciphertext, ...(iv.length > 0 ? { iv } : {}), ...(tag.length > 0 ? { tag } : {}), ...aad };
  return decryptRaw(objectId, algorithm, sealed, ask);
};

const signed = (request: OperationRequest<'sign'>): Fields => {
  if (request.encoding === 'p1363') throw new Inexpressible('ECDSA signature as r and s: Signature Data is DER');
  return request.prehashed === true ? { DigestedData: request.data } : { Data: request.data };
};
export const sign: Translation<'sign'> = async (request, ask) => {
  const id = await idOf(request.key, ask, request.version);
  const algorithm = await algorithmFor(request.algorithm, id, 'signature', ask);
  const CryptographicParameters = parametersOf(algorithm);
  const { SignatureData } = await ask('Sign', { UniqueIdentifier: id, CryptographicParameters, ...signed(request) });
  return { objectId: id, version: 1, algorithm, signature: bytes(SignatureData) };
};
export const valid = (answer: Fields): { valid: boolean; version?: number } =>
  answer['ValidityIndicator'] === 'Valid' ? { valid: true, version: 1 } : { valid: false };
export const verify: Translation<'verify'> = async (request, ask) => {
  const id = await idOf(request.key, ask, request.version);
  const algorithm = await algorithmFor(request.algorithm, id, 'signature', ask);
  const CryptographicParameters = parametersOf(algorithm);
  const SignatureData = request.signature;
  const answer = await ask('SignatureVerify', { UniqueIdentifier: id, CryptographicParameters, ...signed(request), SignatureData });
  return { objectId: id, algorithm, ...valid(answer) };
};

const STREAMS: Readonly<Record<string, readonly [operation: string, use: Use | undefined]>> = {
  sign: ['Sign', 'signature'],
  verify: ['SignatureVerify', 'signature'],
  encrypt: ['Encrypt', 'cipher'],
  decrypt: ['Decrypt', 'cipher'],
  digest: ['Hash', undefined],
};
export const begin: Translation<'begin-operation'> = async (request, ask) => {
  const [operation, use] = STREAMS[request.kind] ?? [];
  if (operation === undefined) throw new Inexpressible('operation of a kind that does not exist');
  const id = request.key === undefined ? undefined : await idOf(request.key, ask);
  const algorithm = use === undefined || id === undefined ? undefined : await algorithmFor(request.algorithm, id, use, ask);
  const hash = request.hash === undefined ? undefined : hashParameters(request.hash);
  const begun = await ask(operation, {
    ...optional('UniqueIdentifier', id),
    ...optional('CryptographicParameters', algorithm === undefined ? hash : parametersOf(algorithm)),
    InitIndicator: true,
  });
  const correlation = Buffer.from(bytes(begun['CorrelationValue'])).toString('base64');
  const iv = begun['IVCounterNonce'] === undefined ? {} : { iv: bytes(begun['IVCounterNonce']) };
  return {
    operation: JSON.stringify([operation, correlation, request.hash]),
    objectId: id,
    version: 1,
    algorithm,
    ...iv,
  } as unknown as OperationResponse<'begin-operation'>;
};
export const part = async (request: OperationRequest<'finish-operation'>, last: boolean, ask: Ask): Promise<Fields> => {
  const [operation, correlation, hash] = JSON.parse(request.operation) as [string, string, string | null];
  return ask(operation, {
    // Hash has its parameters in every part.
    ...(hash === null ? {} : { CryptographicParameters: hashParameters(hash) }),
    CorrelationValue: bytes(Buffer.from(correlation, 'base64')),
    ...optional('Data', request.data),
    ...optional('SignatureData', request.signature),
    ...(last ? { FinalIndicator: true } : {}),
  });
};
export const finish: Translation<'finish-operation'> = async (request, ask) => {
  const answer = await part(request, true, ask);
  const verdict = answer['ValidityIndicator'] === undefined ? {} : valid(answer);
  return { output: bytes(answer['SignatureData'] ?? answer['Data']), ...verdict } as OperationResponse<'finish-operation'>;
};

export const mac = async (request: OperationRequest<'mac'>, ask: Ask): Promise<{ id: string; algorithm: Algorithm; payload: Fields }> => {
  const id = await idOf(request.key, ask);
  const algorithm = await algorithmFor(request.algorithm, id, 'mac', ask);
  return { id, algorithm, payload: { UniqueIdentifier: id, CryptographicParameters: parametersOf(algorithm), Data: request.data } };
};

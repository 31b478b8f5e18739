import { compareVersions, type KmipVersion } from '@aegis/kmip-ttlv';
import type { Algorithm } from '@aegis/rot-spi/vocabulary';
import { targetOf } from '../attributes/target.js';
import type { Fields, KmipCall, KmipHandler } from '../contract.js';
import { type CipherRequest, cipherFor, hasTag } from '../cryptography/ciphers.js';
import { callWithKey } from '../cryptography/key-facts.js';
import { bytesOf, givenParameters, neededBytes } from '../cryptography/payload-fields.js';
import { type Part, partOf, runPart } from '../cryptography/streams.js';

// Encrypt and Decrypt (KMIP 2.1 §6.1.17, §6.1.11), in one message and in streams.

/** Before 1.4 there is no field for the tag: it is the end of the data, as in RFC 5116 §5.1. */
const hasTagField = (version: KmipVersion): boolean => compareVersions(version, '1.4') >= 0;

/** `shown` is for the client, not for the key service. */
const withoutShown = ({ shown: _, ...request }: CipherRequest) => request;

const aadOf = (payload: Fields): { readonly aad?: Uint8Array } => {
  const aad = bytesOf(payload, 'AuthenticatedEncryptionAdditionalData');
  return aad === undefined || aad.length === 0 ? {} : { aad };
};

/** The IV that the server chose, as the client must give it to Decrypt. */
const chosenIv = (given: Uint8Array | undefined, choice: CipherRequest | undefined, made: Uint8Array | undefined): Fields => {
  if (given !== undefined && given.length > 0) return {};
  const iv = choice?.shown ?? (choice?.iv === undefined ? made : undefined);
  return iv === undefined ? {} : { IVCounterNonce: iv };
};

const withTag = (call: KmipCall, data: Uint8Array, tag: Uint8Array | undefined): Fields => {
  if (tag === undefined) return { Data: data };
  if (hasTagField(call.version)) return { Data: data, AuthenticatedEncryptionTag: tag };
  return { Data: Buffer.concat([data, tag]) };
};

const encryptWhole = async (payload: Fields, call: KmipCall): Promise<Fields> => {
  const key = await targetOf(payload, call);
  const iv = bytesOf(payload, 'IVCounterNonce');
  const request = { key, plaintext: neededBytes(payload, 'Data'), format: 'raw', ...aadOf(payload) } as const;
  let choice: CipherRequest | undefined;
  const made = await callWithKey(call, 'encrypt', request, givenParameters(payload), (facts) => {
    choice = cipherFor(facts, iv, 'encrypt');
    return withoutShown(choice);
  });
  return { UniqueIdentifier: key, ...withTag(call, made.ciphertext, made.tag), ...chosenIv(iv, choice, made.iv) };
};

/** Only what there is: a part whose output is still held back has no Data (TC-STREAM-ENC-1). */
const dataIfAny = (data: Uint8Array): Fields => (data.length === 0 ? {} : { Data: data });

const encryptPart = async (payload: Fields, call: KmipCall, part: Part): Promise<Fields> => {
  const key = await keyOfPart(payload, call, part);
  const iv = bytesOf(payload, 'IVCounterNonce');
  let choice: CipherRequest | undefined;
  const made = await runPart(call, part, {
    kind: 'encrypt',
    ...key,
    data: bytesOf(payload, 'Data'),
    begin: () =>
      callWithKey(call, 'begin-operation', { kind: 'encrypt', ...key, ...aadOf(payload) }, givenParameters(payload), (facts) => {
        choice = cipherFor(facts, iv, 'encrypt');
        return withoutShown(choice);
      }),
  });
  const output = made.tag !== undefined && !hasTagField(call.version) ? Buffer.concat([made.output, made.tag]) : made.output;
  return {
    ...ownerOf(made.objectId, key.key),
    ...dataIfAny(output),
    ...(part.first ? chosenIv(iv, choice, made.iv) : {}),
    ...(made.CorrelationValue === undefined ? {} : { CorrelationValue: made.CorrelationValue }),
    ...(made.tag === undefined || !hasTagField(call.version) ? {} : { AuthenticatedEncryptionTag: made.tag }),
  };
};

/** The key of a stream is named by its first part; a later one may repeat it. */
export const keyOfPart = async (payload: Fields, call: KmipCall, part: Part): Promise<{ readonly key?: string }> =>
  part.first || payload['UniqueIdentifier'] !== undefined ? { key: await targetOf(payload, call) } : {};

export const ownerOf = (objectId: string | undefined, key: string | undefined): Fields => {
  const id = objectId ?? key;
  return id === undefined ? {} : { UniqueIdentifier: id };
};

export const encrypt: KmipHandler = (payload, call) => {
  const part = partOf(payload);
  return part === undefined ? encryptWhole(payload, call) : encryptPart(payload, call, part);
};

/** Without the field, the tag is the last of the data; the key service takes it off. */
const tagOf = (payload: Fields): { readonly tag?: Uint8Array } => {
  const tag = bytesOf(payload, 'AuthenticatedEncryptionTag');
  return tag === undefined || tag.length === 0 ? {} : { tag };
};

const decryptWhole = async (payload: Fields, call: KmipCall): Promise<Fields> => {
  const key = await targetOf(payload, call);
  const iv = bytesOf(payload, 'IVCounterNonce');
  const tag = tagOf(payload);
  const request = { key, ciphertext: neededBytes(payload, 'Data'), format: 'raw', ...aadOf(payload) } as const;
  const { plaintext } = await callWithKey(call, 'decrypt', request, givenParameters(payload), (facts) => {
    const { shown: _, tagLength, ...choice } = cipherFor(facts, iv, 'decrypt');
    const separate = tag.tag !== undefined && hasTag(choice.algorithm);
    return { ...choice, ...(separate ? tag : tagLength === undefined ? {} : { tagLength }) };
  });
  return { UniqueIdentifier: key, Data: plaintext };
};

const DEFAULT_TAG_BYTES = 16;

/**
 * The tag of a stream: its own field with any part or, where no part had one, the end of the last piece. Only a last piece that is long
 * enough can hold it.
 */
const splitLast = (payload: Fields, algorithm: Algorithm | undefined, tagged: boolean): { data?: Uint8Array; tag?: Uint8Array } => {
  const data = bytesOf(payload, 'Data');
  if (data === undefined) return {};
  if (tagged || !hasTag(algorithm) || data.length < DEFAULT_TAG_BYTES) return { data };
  return { data: data.subarray(0, data.length - DEFAULT_TAG_BYTES), tag: data.subarray(data.length - DEFAULT_TAG_BYTES) };
};

const decryptPart = async (payload: Fields, call: KmipCall, part: Part): Promise<Fields> => {
  const key = await keyOfPart(payload, call, part);
  const iv = bytesOf(payload, 'IVCounterNonce');
  const { tag } = tagOf(payload);
  let algorithm: Algorithm | undefined;
  const begin = () =>
    callWithKey(
      call,
      'begin-operation',
      { kind: 'decrypt', ...key, ...aadOf(payload), ...(tag === undefined ? {} : { signature: tag }) },
      givenParameters(payload),
      (facts) => {
        const { shown: _, ...choice } = cipherFor(facts, iv, 'decrypt');
        algorithm = choice.algorithm;
        return { ...choice, ...(tag === undefined || !hasTag(algorithm) ? {} : { tagLength: tag.length }) };
      },
    );
  // Before 1.4 a stream's tag can only be the end of its last piece.
  const inData = part.last && !part.first && !hasTagField(call.version);
  const last = inData ? splitLast(payload, givenAlgorithm(payload), tag !== undefined) : { data: bytesOf(payload, 'Data'), tag };
  const made = await runPart(call, part, {
    kind: 'decrypt',
    ...key,
    data: last.data,
    ...(last.tag === undefined ? {} : { signature: last.tag }),
    begin,
  });
  return {
    ...ownerOf(made.objectId, key.key),
    ...dataIfAny(made.output),
    ...(made.CorrelationValue === undefined ? {} : { CorrelationValue: made.CorrelationValue }),
  };
};

/** Whether the parameters that a 1.3 client repeats on its last part name an authenticated mode. */
const givenAlgorithm = (payload: Fields): Algorithm | undefined => {
  const mode = givenParameters(payload)?.BlockCipherMode;
  return mode === 'GCM' || mode === 'CCM' ? 'aes-gcm' : undefined;
};

export const decrypt: KmipHandler = (payload, call) => {
  const part = partOf(payload);
  return part === undefined ? decryptWhole(payload, call) : decryptPart(payload, call, part);
};

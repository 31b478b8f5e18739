import { targetOf } from '../attributes/target.js';
import { type Fields, type KmipCall, type KmipHandler, refuse } from '../contract.js';
import { callWithKey } from '../cryptography/key-facts.js';
import { bytesOf, givenParameters, neededBytes } from '../cryptography/payload-fields.js';
import { OtherKindOfKey, signatureFor } from '../cryptography/signatures.js';
import { type Part, partOf, runPart } from '../cryptography/streams.js';
import { keyOfPart, ownerOf } from './crypto-ciphers.js';

// Sign and Signature Verify (KMIP 2.1 §6.1.55, §6.1.56), in one message and in streams.

interface Signed {
  readonly data: Uint8Array;
  /** Digested Data: the client made the digest. */
  readonly digest?: Uint8Array;
}

/** Data or Digested Data, one of the two (KMIP 1.4 §4.33). */
const signedOf = (payload: Fields): Signed => {
  const digest = bytesOf(payload, 'DigestedData');
  if (digest === undefined) return { data: neededBytes(payload, 'Data') };
  if (payload['Data'] !== undefined) throw refuse('InvalidField', 'Give Data or Digested Data, not both.');
  return { data: digest, digest };
};

const signWhole = async (payload: Fields, call: KmipCall): Promise<Fields> => {
  const key = await targetOf(payload, call);
  const { data, digest } = signedOf(payload);
  const { signature } = await callWithKey(call, 'sign', { key, data }, givenParameters(payload), (facts) => signatureFor(facts, digest));
  return { UniqueIdentifier: key, SignatureData: signature };
};

const wholeDataOnly = (payload: Fields): void => {
  if (payload['DigestedData'] !== undefined) throw refuse('InvalidField', 'A digest is signed in one part.');
};

const correlation = (value: Uint8Array | undefined): Fields => (value === undefined ? {} : { CorrelationValue: value });

const signPart = async (payload: Fields, call: KmipCall, part: Part): Promise<Fields> => {
  wholeDataOnly(payload);
  const key = await keyOfPart(payload, call, part);
  const made = await runPart(call, part, {
    kind: 'sign',
    ...key,
    data: bytesOf(payload, 'Data'),
    begin: () =>
      callWithKey(call, 'begin-operation', { kind: 'sign', ...key }, givenParameters(payload), (facts) => signatureFor(facts, undefined)),
  });
  return {
    ...ownerOf(made.objectId, key.key),
    ...(part.last ? { SignatureData: made.output } : {}),
    ...correlation(made.CorrelationValue),
  };
};

export const sign: KmipHandler = (payload, call) => {
  const part = partOf(payload);
  return part === undefined ? signWhole(payload, call) : signPart(payload, call, part);
};

export const validity = (valid: boolean | undefined): Fields => ({ ValidityIndicator: valid === true ? 'Valid' : 'Invalid' });

const verifyWhole = async (payload: Fields, call: KmipCall): Promise<Fields> => {
  const key = await targetOf(payload, call);
  const { data, digest } = signedOf(payload);
  const request = { key, data, signature: neededBytes(payload, 'SignatureData'), anySalt: true };
  try {
    const { valid } = await callWithKey(call, 'verify', request, givenParameters(payload), (facts) => signatureFor(facts, digest));
    return { UniqueIdentifier: key, ...validity(valid) };
  } catch (error) {
    if (error instanceof OtherKindOfKey) return { UniqueIdentifier: key, ...validity(false) };
    throw error;
  }
};

const verifyPart = async (payload: Fields, call: KmipCall, part: Part): Promise<Fields> => {
  wholeDataOnly(payload);
  const key = await keyOfPart(payload, call, part);
  const signature = bytesOf(payload, 'SignatureData');
  const made = await runPart(call, part, {
    kind: 'verify',
    ...key,
    data: bytesOf(payload, 'Data'),
    ...(signature === undefined ? {} : { signature }),
    begin: () =>
      callWithKey(
        call,
        'begin-operation',
        { kind: 'verify', ...key, anySalt: true, ...(signature === undefined ? {} : { signature }) },
        givenParameters(payload),
        (facts) => signatureFor(facts, undefined),
      ),
  });
  return {
    ...ownerOf(made.objectId, key.key),
    ...(part.last ? validity(made.valid) : {}),
    ...correlation(made.CorrelationValue),
  };
};

export const signatureVerify: KmipHandler = (payload, call) => {
  const part = partOf(payload);
  return part === undefined ? verifyWhole(payload, call) : verifyPart(payload, call, part);
};

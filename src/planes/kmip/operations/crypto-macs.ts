import { targetOf } from '../attributes/target.js';
import type { Fields, KmipCall, KmipHandler } from '../contract.js';
import { callWithKey } from '../cryptography/key-facts.js';
import { macFor } from '../cryptography/macs.js';
import { bytesOf, givenParameters, neededBytes } from '../cryptography/payload-fields.js';
import { type Part, partOf, runPart } from '../cryptography/streams.js';
import { keyOfPart, ownerOf } from './crypto-ciphers.js';
import { validity } from './crypto-signatures.js';

// MAC and MAC Verify (KMIP 2.1 §6.1.32, §6.1.33), in one message and in streams.

const correlation = (value: Uint8Array | undefined): Fields => (value === undefined ? {} : { CorrelationValue: value });

const macPart = async (payload: Fields, call: KmipCall, part: Part): Promise<Fields> => {
  const key = await keyOfPart(payload, call, part);
  const made = await runPart(call, part, {
    kind: 'mac',
    ...key,
    data: bytesOf(payload, 'Data'),
    begin: () => callWithKey(call, 'begin-operation', { kind: 'mac', ...key }, givenParameters(payload), macFor),
  });
  return {
    ...ownerOf(made.objectId, key.key),
    ...(part.last ? { MACData: made.output } : {}),
    ...correlation(made.CorrelationValue),
  };
};

export const mac: KmipHandler = async (payload, call) => {
  const part = partOf(payload);
  if (part !== undefined) return macPart(payload, call, part);
  const key = await targetOf(payload, call);
  const made = await callWithKey(call, 'mac', { key, data: neededBytes(payload, 'Data') }, givenParameters(payload), macFor);
  return { UniqueIdentifier: key, MACData: made.mac };
};

const macVerifyPart = async (payload: Fields, call: KmipCall, part: Part): Promise<Fields> => {
  const key = await keyOfPart(payload, call, part);
  const given = bytesOf(payload, 'MACData');
  const signature = given === undefined ? {} : { signature: given };
  const made = await runPart(call, part, {
    kind: 'macVerify',
    ...key,
    data: bytesOf(payload, 'Data'),
    ...signature,
    begin: () => callWithKey(call, 'begin-operation', { kind: 'macVerify', ...key, ...signature }, givenParameters(payload), macFor),
  });
  return {
    ...ownerOf(made.objectId, key.key),
    ...(part.last ? validity(made.valid) : {}),
    ...correlation(made.CorrelationValue),
  };
};

export const macVerify: KmipHandler = async (payload, call) => {
  const part = partOf(payload);
  if (part !== undefined) return macVerifyPart(payload, call, part);
  const key = await targetOf(payload, call);
  const request = { key, data: neededBytes(payload, 'Data'), mac: neededBytes(payload, 'MACData') };
  const { valid } = await callWithKey(call, 'mac-verify', request, givenParameters(payload), macFor);
  return { UniqueIdentifier: key, ...validity(valid) };
};

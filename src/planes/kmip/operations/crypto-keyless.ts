import type { HashName } from '@aegis/rot-spi/vocabulary';
import { type Fields, type KmipHandler, refuse } from '../contract.js';
import { hashNamed } from '../cryptography/hashes.js';
import { bytesOf, givenParameters, neededBytes } from '../cryptography/payload-fields.js';
import { partOf, runPart } from '../cryptography/streams.js';

// Hash, RNG Retrieve and RNG Seed (KMIP 2.1 §6.1.24, §6.1.49, §6.1.50): operations without a key.

const hashOf = (payload: Fields): HashName => {
  const hash = hashNamed(givenParameters(payload)?.HashingAlgorithm);
  // KMIP 2.1 §6.1.24: the Hashing Algorithm is required.
  if (hash === undefined) throw refuse('InvalidField', 'The Hashing Algorithm is missing.');
  return hash;
};

export const hash: KmipHandler = async (payload, call) => {
  const part = partOf(payload);
  if (part === undefined) {
    const { digest } = await call.call('digest', { hash: hashOf(payload), data: neededBytes(payload, 'Data') });
    return { Data: digest };
  }
  const made = await runPart(call, part, {
    kind: 'digest',
    data: bytesOf(payload, 'Data'),
    begin: () => call.call('begin-operation', { kind: 'digest', hash: hashOf(payload) }),
  });
  return {
    ...(part.last ? { Data: made.output } : {}),
    ...(made.CorrelationValue === undefined ? {} : { CorrelationValue: made.CorrelationValue }),
  };
};

export const rngRetrieve: KmipHandler = async (payload, call) => {
  const length = payload['DataLength'];
  if (typeof length !== 'number' || length < 0) throw refuse('InvalidField', 'Data Length must not be negative.');
  if (length === 0) throw refuse('InvalidField', 'Data Length must be at least 1.');
  const { bytes } = await call.call('random', { length });
  return { Data: bytes };
};

/** CS-RNG-O-1 to -4 are the four policies a server may have; one is set for the whole plane (kmip.rngSeed). */
export const rngSeed: KmipHandler = async (payload, call) => {
  const seed = neededBytes(payload, 'Data');
  const { rngSeed: setting } = call.settings;
  if (setting === 'refuse') throw refuse('PermissionDenied', 'This server takes no seed.');
  const used = setting === 'accept' ? seed.length : setting === 'partial' ? Math.floor(seed.length / 2) : 0;
  // Who may not seed is told so also where nothing of the seed is used.
  const { accepted } = await call.call('seed-random', { seed, use: used });
  return { DataLength: accepted };
};

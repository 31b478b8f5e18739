import type { Fields, Value } from '@aegis/kmip-ttlv';
import { fromUsageMask, toUsageMask } from '@aegis/rot-spi/vocabulary';
import { fail, type ManagedObject } from '../../../domain/index.js';
import { DEFAULT_LEASE_SECONDS } from '../attributes/of-object.js';
import { storedOne } from '../attributes/stored-values.js';
import { targetOf } from '../attributes/target.js';
import { type KmipCall, type KmipHandler, refuse } from '../contract.js';
import { refuseBy } from './lifecycle-create.js';

/** Longest lease, seconds: what the key service grants at most (30 days). */
const MAX_LEASE_SECONDS = 30 * 86_400;

const maskOf = (object: ManagedObject): number => {
  const told = storedOne(object.attributes, 'CryptographicUsageMask');
  return typeof told === 'number' ? told : toUsageMask(object.usage);
};
/** Unrestricted (from 2.0 on) allows every use. */
const allows = (object: ManagedObject, wanted: number): boolean => {
  const mask = maskOf(object);
  return fromUsageMask(mask).includes('unrestricted') || (mask & wanted) === wanted;
};

const amountOf = (value: Value | undefined): number | undefined => {
  if (value === undefined) return undefined;
  if (typeof value !== 'bigint' || value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER))
    throw refuse('InvalidField', 'Not a Usage Limits Count.');
  return Number(value);
};

/** Check (KMIP 2.1 §6.1.7, 1.4 §4.10): whether the object could be used so; nothing is used up. */
export const check: KmipHandler = async (payload, call) => {
  const key = await targetOf(payload, call);
  const mask = payload['CryptographicUsageMask'];
  const count = amountOf(payload['UsageLimitsCount']);
  const lease = payload['LeaseTime'];
  const { object } = await call.call('get-object', { key });
  if (object.archived) throw refuse('ObjectArchived', 'The object is archived.');
  if (object.type === 'template') throw refuseBy(call.version, 'IllegalOperation', 'IllegalObjectType', 'A template is not used.');
  const failed = (reason: string, message: string) => {
    // "the server empties the ID Placeholder and does not return the Unique Identifier" (KMIP 2.1 §6.1.7)
    call.setPlaceholder(undefined);
    return refuse(reason, message);
  };
  if (typeof mask === 'number' && !allows(object, mask))
    throw failed('IncompatibleCryptographicUsageMask', 'The object may not be used so.');
  if (count !== undefined && object.usageLimits !== undefined && count > object.usageLimits.remaining) {
    throw failed('UsageLimitExceeded', 'The usage limit leaves less than that.');
  }
  if (typeof lease === 'number' && lease > MAX_LEASE_SECONDS) throw failed('PermissionDenied', 'No lease is granted for that long.');
  return { UniqueIdentifier: key } as Fields;
};

/** States in which no client should go on with what it has of the object (Test Cases 1.1, 9.5). */
const NO_LEASE: readonly ManagedObject['state'][] = ['compromised', 'destroyed', 'destroyed-compromised'];

/** Obtain Lease (KMIP 2.1 §6.1.35, 1.4 §4.17). */
export const obtainLease: KmipHandler = async (payload, call) => {
  const key = await targetOf(payload, call);
  const lease = { key, lease: { seconds: DEFAULT_LEASE_SECONDS } };
  const { object } = await call.call('update-object', lease, ({ state }) => {
    if (NO_LEASE.includes(state))
      throw fail('permission-denied', `No lease is given on an object that is ${state}.`, { next: 'Use its replacement.' });
    return lease;
  });
  return {
    UniqueIdentifier: key,
    LeaseTime: DEFAULT_LEASE_SECONDS,
    LastChangeDate: BigInt(Math.floor(object.dates.lastChange / 1000)),
  };
};

/** Get Usage Allocation (KMIP 2.1 §6.1.23, 1.4 §4.18): taken from the same limit that the server's own operations use up. */
export const getUsageAllocation: KmipHandler = async (payload, call: KmipCall) => {
  const key = await targetOf(payload, call);
  const amount = amountOf(payload['UsageLimitsCount']);
  if (amount === undefined || amount === 0) throw refuse('InvalidMessage', 'Usage Limits Count is required.');
  const { object } = await call.call('get-object', { key });
  if (object.usageLimits === undefined) {
    throw refuseBy(call.version, 'IllegalOperation', 'InvalidField', 'The object has no Usage Limits.');
  }
  await call.call('update-object', { key, allocate: amount });
  return { UniqueIdentifier: key };
};

import type { KmipHandler } from '../contract.js';
import { check, getUsageAllocation, obtainLease } from './lifecycle-checks.js';
import { create, createKeyPair } from './lifecycle-create.js';
import { locate } from './lifecycle-locate.js';
import { reKey, reKeyKeyPair } from './lifecycle-rekey.js';
import { activate, archive, deactivate, destroy, obliterate, recover, revoke } from './lifecycle-states.js';

/** Create, Create Key Pair, Re-key, Activate, Revoke, Destroy, Archive, Recover, Locate, Check, leases, usage allocation. */
export const LIFECYCLE_HANDLERS: Readonly<Record<string, KmipHandler>> = {
  Create: create,
  CreateKeyPair: createKeyPair,
  ReKey: reKey,
  ReKeyKeyPair: reKeyKeyPair,
  Activate: activate,
  Revoke: revoke,
  Deactivate: deactivate,
  Destroy: destroy,
  Obliterate: obliterate,
  Archive: archive,
  Recover: recover,
  Locate: locate,
  Check: check,
  ObtainLease: obtainLease,
  GetUsageAllocation: getUsageAllocation,
};

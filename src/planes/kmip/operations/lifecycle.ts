import type { KmipHandler } from '../contract.js';

/** Create, Create Key Pair, Re-key, Activate, Revoke, Destroy, Archive, Recover, Locate, Check, leases, usage allocation. */
export const LIFECYCLE_HANDLERS: Readonly<Record<string, KmipHandler>> = {};

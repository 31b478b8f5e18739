import type { KmipHandler } from '../contract.js';

/** Query, Discover Versions, Ping, Login and the rest that touches no managed object. */
export const SERVICE_HANDLERS: Readonly<Record<string, KmipHandler>> = {};

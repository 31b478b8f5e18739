import type { KmipHandler } from '../contract.js';

/** Certify, Re-certify, Validate. */
export const CERTIFICATE_HANDLERS: Readonly<Record<string, KmipHandler>> = {};

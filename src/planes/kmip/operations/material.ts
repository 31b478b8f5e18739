import type { KmipHandler } from '../contract.js';

/** Register, Get, Import, Export, Put's object, split keys: whatever carries a key block. */
export const MATERIAL_HANDLERS: Readonly<Record<string, KmipHandler>> = {};

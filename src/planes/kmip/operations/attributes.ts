import type { KmipHandler } from '../contract.js';

/** Get Attributes, Get Attribute List, Add, Modify, Set, Adjust and Delete Attribute. */
export const ATTRIBUTE_HANDLERS: Readonly<Record<string, KmipHandler>> = {};

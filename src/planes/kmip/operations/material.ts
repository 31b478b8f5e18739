import type { KmipHandler } from '../contract.js';
import { get } from './get.js';
import { register } from './register.js';

/** Register, Get, Import, Export: whatever carries a key block. */
export const MATERIAL_HANDLERS: Readonly<Record<string, KmipHandler>> = { Register: register, Get: get };

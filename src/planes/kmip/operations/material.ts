import type { KmipHandler } from '../contract.js';
import { get } from './get.js';
import { register } from './register.js';
import { exportObject, importObject } from './transfer.js';

/** Register, Get, Import, Export: whatever carries a key block. */
export const MATERIAL_HANDLERS: Readonly<Record<string, KmipHandler>> = {
  Register: register,
  Get: get,
  Import: importObject,
  Export: exportObject,
};

import type { Command } from './command.js';
import { ACCESS_COMMANDS } from './commands/access.js';
import { CRYPTO_COMMANDS } from './commands/crypto.js';
import { KEY_COMMANDS } from './commands/keys.js';
import { MATERIAL_COMMANDS } from './commands/material.js';
import { RECORD_COMMANDS } from './commands/records.js';
import { SERVICE_COMMANDS } from './commands/service.js';

/** Every command, in the order help shows them. */
export const COMMANDS: readonly Command[] = [
  ...SERVICE_COMMANDS,
  ...KEY_COMMANDS,
  ...MATERIAL_COMMANDS,
  ...CRYPTO_COMMANDS,
  ...ACCESS_COMMANDS,
  ...RECORD_COMMANDS,
];

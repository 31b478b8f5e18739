import { CliError, type Command, EXIT } from './command.js';
import { ACCESS_COMMANDS } from './commands/access.js';
import { CERTIFICATE_COMMANDS } from './commands/certificates.js';
import { CRYPTO_COMMANDS } from './commands/crypto.js';
import { KEY_COMMANDS } from './commands/keys.js';
import { KMIP_COMMANDS } from './commands/kmip.js';
import { MATERIAL_COMMANDS } from './commands/material.js';
import { PKCS11_COMMANDS } from './commands/pkcs11.js';
import { RECORD_COMMANDS } from './commands/records.js';
import { SERVICE_COMMANDS } from './commands/service.js';
import { completionScript, type Shell } from './completion.js';

const completion: Command = {
  path: ['completion'],
  summary: 'Print a completion script.',
  arguments: [{ name: 'SHELL', summary: 'bash, zsh or fish.' }],
  example: 'source <(aegis completion bash)',
  run: async ({ args }, terminal) => {
    const [shell = ''] = args;
    if (!['bash', 'zsh', 'fish'].includes(shell))
      throw new CliError(`there is no completion for “${shell}”`, EXIT.usage, 'bash, zsh or fish');
    terminal.stdout.write(completionScript(shell as Shell, COMMANDS));
    return EXIT.ok;
  },
};

/** Every command, in the order help shows them. */
export const COMMANDS: readonly Command[] = [
  ...SERVICE_COMMANDS,
  ...KEY_COMMANDS,
  ...MATERIAL_COMMANDS,
  ...CRYPTO_COMMANDS,
  ...ACCESS_COMMANDS,
  ...CERTIFICATE_COMMANDS,
  ...KMIP_COMMANDS,
  ...PKCS11_COMMANDS,
  ...RECORD_COMMANDS,
  completion,
];

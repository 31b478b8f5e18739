// `npm start [-- --hsm …]`: sets a fresh clone up and runs the service in the foreground, in this very process, so that
// SIGINT and SIGTERM reach it.

import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, hasPkcs11, installDependencies, installSystemParts, projectRoot, rebuildPkcs11, requireNode, say } from './prepare.mjs';

requireNode();
const args = process.argv.slice(2);
try {
  if (args.includes('--hsm')) {
    installSystemParts(['compiler', 'softhsm']);
  }
  installDependencies();
  if (args.includes('--hsm') && !hasPkcs11()) rebuildPkcs11();
  build();
} catch (error) {
  say(`Set-up failed: ${error.message}`);
  process.exit(1);
}
process.argv = [process.execPath, join(projectRoot, 'dist', 'cli', 'main.js'), 'up', ...args];
await import(pathToFileURL(process.argv[1]).href);

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
// npm passes SIGINT and SIGTERM on (the script line says `exec`, or a shell in between would keep them); when npm is killed
// outright, nobody is left in the foreground, and a server that goes on unseen would keep the data directory from the next start.
const PARENT_CHECK_MS = 250;
if (process.env.npm_lifecycle_event === 'start') {
  const parent = process.ppid;
  setInterval(() => process.ppid === parent || process.kill(process.pid, 'SIGTERM'), PARENT_CHECK_MS).unref();
}
process.argv = [process.execPath, join(projectRoot, 'dist', 'cli', 'main.js'), 'up', ...args];
await import(pathToFileURL(process.argv[1]).href);

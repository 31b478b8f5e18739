// `npm run dev`: compiles on every change and restarts the service.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { build, installDependencies, projectRoot, requireNode } from './prepare.mjs';

requireNode();
installDependencies();
build();
const compiler = spawn(
  process.execPath,
  [join('node_modules', 'typescript', 'bin', 'tsc'), '-b', '--watch', '--preserveWatchOutput', 'kmip-ttlv', 'rot-spi', '.'],
  { cwd: projectRoot, stdio: 'inherit' },
);
const service = spawn(
  process.execPath,
  [
    '--watch-path=dist',
    '--watch-path=rot-spi/dist',
    '--watch-preserve-output',
    join('dist', 'cli', 'main.js'),
    'up',
    ...process.argv.slice(2),
  ],
  { cwd: projectRoot, stdio: 'inherit' },
);
const stop = () => {
  compiler.kill();
  service.kill();
};
process.on('SIGINT', stop);
process.on('SIGTERM', stop);
service.on('exit', (code) => {
  compiler.kill();
  process.exitCode = code ?? 0;
});

// Links node_modules/.bin/aegis to this package's own command, so that `npx aegis …` works in a clone (npm links the
// bins of dependencies, not the package's own).
import { chmodSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const bin = join(root, 'node_modules', '.bin');
const target = join(root, 'dist', 'cli', 'main.js');
if (existsSync(target)) {
  chmodSync(target, 0o755);
  mkdirSync(bin, { recursive: true });
  const link = join(bin, 'aegis');
  rmSync(link, { force: true });
  if (process.platform === 'win32') writeFileSync(`${link}.cmd`, `@node "${target}" %*\r\n`);
  else symlinkSync(join('..', '..', 'dist', 'cli', 'main.js'), link);
}

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findSoftHsm, provisionSoftHsm } from '../../softhsm/provision.mjs';
import type { Pkcs11RootConfig } from '../src/config.js';

/** Real tokens for the tests, each in a directory of its own. */
const require = createRequire(import.meta.url);
const hasBinding = (): boolean => {
  try {
    require('pkcs11js');
    return true;
  } catch {
    return false;
  }
};

const mustRun = process.env['AEGIS_NO_SKIP'] === '1';
const visibly = (missing: boolean, what: string, command: string): boolean => {
  if (!missing) return false;
  if (mustRun) throw new Error(`AEGIS_NO_SKIP=1 but ${what} is missing: ${command}`);
  process.stderr.write(`SKIPPED: ${what} is missing. Enable with: ${command}\n`);
  return true;
};
const noBinding = visibly(!hasBinding(), 'pkcs11js', 'apt-get install g++ make python3 && npm rebuild pkcs11js');
export const skipSoftHsm = noBinding || visibly(findSoftHsm() === undefined, 'SoftHSM2', 'apt-get install softhsm2');

const NSS_MODULES = [
  '/usr/lib/x86_64-linux-gnu/libsoftokn3.so',
  '/usr/lib/aarch64-linux-gnu/libsoftokn3.so',
  '/usr/lib/x86_64-linux-gnu/nss/libsoftokn3.so',
  '/usr/lib64/libsoftokn3.so',
];
const nssModule = NSS_MODULES.find((path) => existsSync(path));
const hasCertutil = (): boolean => {
  try {
    execFileSync('certutil', ['-H'], { stdio: 'ignore' });
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ENOENT';
  }
};
export const skipNss =
  noBinding || visibly(nssModule === undefined || !hasCertutil(), 'NSS softoken', 'apt-get install libnss3 libnss3-tools');

/** Removed again when the process ends: a module may write to its token until the last moment. */
export const newDirectory = (name: string): string => {
  const directory = mkdtempSync(join(tmpdir(), `aegis-pkcs11-${name}-`));
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
  return directory;
};

export const softHsmConfig = (
  directory: string,
  label = 'aegis',
  extra: Partial<Pick<Pkcs11RootConfig, 'storage' | 'cacheEntries' | 'sessions' | 'keepAliveMs'>> = {},
): Pkcs11RootConfig => ({ ...provisionSoftHsm(directory, { label }), ...extra });

/** An NSS database with a password; NSS calls its token by a fixed name. */
export const nssConfig = (directory: string, storage: Pkcs11RootConfig['storage']): Pkcs11RootConfig => {
  const pin = join(directory, 'password');
  if (!existsSync(pin)) {
    writeFileSync(pin, 'correct horse battery\n', { mode: 0o600 });
    execFileSync('certutil', ['-N', '-d', `sql:${directory}`, '-f', pin]);
  }
  return {
    id: 'nss',
    kind: 'pkcs11',
    module: nssModule ?? '',
    slot: { label: 'NSS Certificate DB' },
    pin: { file: pin },
    storage,
    libraryParameters: `configdir='sql:${directory}' certPrefix='' keyPrefix='' secmod='secmod.db' flags= updatedir='' updateCertPrefix='' updateKeyPrefix='' updateid='' updateTokenDescription=''`,
  };
};

#!/usr/bin/env node
/**
 * Makes a SoftHSM2 token for development and CI, once:
 *
 *   node softhsm/provision.mjs --dir DIR [--label aegis] [--pin-file FILE] [--storage token|wrapped]
 *
 * Prints the root configuration for it as JSON. Running it again changes nothing. No PIN appears in a command line: the token
 * is initialised through PKCS#11 itself (C_InitToken, C_InitPIN) in a child process that gets the PINs on its standard input.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const SELF = fileURLToPath(import.meta.url);
const TEMPLATE = new URL('./softhsm2.conf.template', import.meta.url);
const CHILD_TIMEOUT_MS = 60_000;
const MAX_LABEL_BYTES = 32; // CK_TOKEN_INFO.label
const MIN_PIN_BYTES = 4; // SoftHSM2
const MAX_PIN_BYTES = 255;
const GROUP_AND_OTHERS = 0o077;

const MODULE_PATHS = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib64/pkcs11/libsofthsm2.so',
  '/usr/lib64/softhsm/libsofthsm2.so',
  '/usr/lib64/libsofthsm2.so',
  '/usr/lib/libsofthsm2.so',
  '/usr/local/lib/softhsm/libsofthsm2.so',
  '/opt/homebrew/lib/softhsm/libsofthsm2.so',
  '/opt/local/lib/softhsm/libsofthsm2.so',
];

/** The module, from AEGIS_SOFTHSM_MODULE or the places where distributions put it; undefined when it is not installed. */
export const findSoftHsm = () => [process.env.AEGIS_SOFTHSM_MODULE, ...MODULE_PATHS].find((path) => path && existsSync(path));

/** What an operator reads; the command line prints it without a stack. */
export class ProvisionError extends Error {}

const needModule = () => {
  const module = findSoftHsm();
  if (module) return module;
  throw new ProvisionError(
    'SoftHSM2 is not installed. Install it (Debian, Ubuntu: apt-get install softhsm2; Fedora: dnf install softhsm; macOS: brew install softhsm), or set AEGIS_SOFTHSM_MODULE to libsofthsm2.so.',
  );
};

const privateDirectory = (path) => {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  chmodSync(path, 0o700);
};

/** Whole or not at all, 0600. */
const writePrivately = (path, text) => {
  const temporary = `${path}.${process.pid}.new`;
  writeFileSync(temporary, text, { mode: 0o600, flag: 'wx' });
  renameSync(temporary, path);
};

const readPin = (path) => {
  if ((statSync(path).mode & GROUP_AND_OTHERS) !== 0)
    throw new ProvisionError(`${path} can be read by other users. Run: chmod 600 ${path}`);
  const pin = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  const length = Buffer.byteLength(pin);
  if (length < MIN_PIN_BYTES || length > MAX_PIN_BYTES)
    throw new ProvisionError(`the PIN in ${path} has ${length} bytes; SoftHSM2 takes ${MIN_PIN_BYTES} to ${MAX_PIN_BYTES}`);
  return pin;
};

/** The PIN in the file, or a fresh one of 144 bits written to it. */
const pinIn = (path) => {
  if (!existsSync(path)) writePrivately(path, `${randomBytes(18).toString('base64url')}\n`);
  return readPin(path);
};

/** An operator's changes stay; only a store that is not there any more (a moved data directory) is put right. */
const writeConfiguration = (conf, tokens) => {
  if (!existsSync(conf)) {
    writePrivately(
      conf,
      readFileSync(TEMPLATE, 'utf8').replace('@TOKENS@', () => tokens),
    );
    return;
  }
  const text = readFileSync(conf, 'utf8');
  const named = /^\s*directories\.tokendir\s*=\s*(.*?)\s*$/m.exec(text)?.[1];
  if (named === undefined || existsSync(named)) return;
  writePrivately(
    conf,
    text.replace(/^\s*directories\.tokendir\s*=.*$/m, () => `directories.tokendir = ${tokens}`),
  );
};

const runChild = (module, conf, request) => {
  const child = spawnSync(process.execPath, [SELF, '--child'], {
    input: JSON.stringify({ module, ...request }),
    env: { ...process.env, SOFTHSM2_CONF: conf },
    encoding: 'utf8',
    timeout: CHILD_TIMEOUT_MS,
  });
  if (child.status === 0) return JSON.parse(child.stdout);
  const why = child.stderr.trim().split('\n').at(-1) || child.error?.message || `signal ${child.signal}`;
  throw new ProvisionError(`the token could not be made: ${why}`);
};

/**
 * Makes (or finds) the token `label` under `dir` and returns its Pkcs11RootConfig. Synchronous.
 * Options: label (default `aegis`), pinFile (default DIR/pin), storage (`token`), id (`softhsm`), hosts.
 */
export const provisionSoftHsm = (dir, options = {}) => {
  const label = options.label ?? 'aegis';
  if (label === '' || Buffer.byteLength(label) > MAX_LABEL_BYTES)
    throw new ProvisionError(`a token label has 1 to ${MAX_LABEL_BYTES} bytes`);
  const module = needModule();
  const root = resolve(dir);
  const tokens = join(root, 'tokens');
  const conf = join(root, 'softhsm2.conf');
  if (/[\r\n]/.test(root)) throw new ProvisionError('the directory name holds a line break');
  privateDirectory(root);
  privateDirectory(tokens);
  writeConfiguration(conf, tokens);
  const pinFile = resolve(options.pinFile ?? join(root, 'pin'));
  const known = existsSync(pinFile);
  const { created } = runChild(module, conf, { label, pin: pinIn(pinFile), soPin: pinIn(join(root, 'so-pin')) });
  if (!created && !known) {
    // The fresh PIN is not the token's: left there it would be tried against it.
    rmSync(pinFile);
    throw new ProvisionError(
      `the token "${label}" exists in ${tokens} but its PIN file ${pinFile} was missing. Restore the file, or delete ${root} to begin anew (its keys are lost then).`,
    );
  }
  return {
    id: options.id ?? 'softhsm',
    kind: 'pkcs11',
    module,
    slot: { label },
    pin: { file: pinFile },
    storage: options.storage ?? 'token',
    ...(options.hosts === undefined ? {} : { hosts: options.hosts }),
    environment: { SOFTHSM2_CONF: conf },
  };
};

const CKF_OS_LOCKING_OK = 2;

/** Runs with SOFTHSM2_CONF set, in a process of its own: a module reads its configuration once per process. */
const provisionHere = ({ module: path, label, pin, soPin }) => {
  const { Module, SessionFlag, TokenFlag, UserType } = createRequire(import.meta.url)('graphene-pk11');
  const module = Module.load(path, 'SoftHSM2');
  // Without flags SoftHSM switches its mutexes off.
  module.initialize({ flags: CKF_OS_LOCKING_OK });
  try {
    const tokens = () => {
      const slots = module.getSlots(true);
      return Array.from({ length: slots.length }, (_, index) => ({ slot: slots.items(index), token: slots.items(index).getToken() }));
    };
    const has = (token, flag) => (token.flags & flag) !== 0;
    const named = () => tokens().filter(({ token }) => has(token, TokenFlag.TOKEN_INITIALIZED) && token.label.trimEnd() === label);
    const before = named().at(0);
    if (before && has(before.token, TokenFlag.USER_PIN_INITIALIZED)) return { created: false };
    if (!before) {
      const free = tokens().find(({ token }) => !has(token, TokenFlag.TOKEN_INITIALIZED));
      if (!free) throw new Error('SoftHSM2 offers no free slot');
      // graphene's own initToken reads a label that pkcs11js 2 does not return, and throws once the token is made.
      module.lib.C_InitToken(free.slot.handle, soPin, label.padEnd(MAX_LABEL_BYTES));
    }
    // Also when an earlier run was interrupted right here.
    const [made] = named();
    if (!made) throw new Error('the new token does not show');
    const session = made.slot.open(SessionFlag.RW_SESSION | SessionFlag.SERIAL_SESSION);
    session.login(soPin, UserType.SO);
    session.initPin(pin);
    session.logout();
    return { created: true };
  } finally {
    module.finalize();
  }
};

const main = () => {
  const { values } = parseArgs({
    options: {
      dir: { type: 'string' },
      label: { type: 'string' },
      'pin-file': { type: 'string' },
      storage: { type: 'string' },
      child: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.child) {
    process.stdout.write(JSON.stringify(provisionHere(JSON.parse(readFileSync(0, 'utf8')))));
    return;
  }
  if (values.help || !values.dir) {
    process.stdout.write('Usage: node softhsm/provision.mjs --dir DIR [--label aegis] [--pin-file FILE] [--storage token|wrapped]\n');
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  if (values.storage !== undefined && values.storage !== 'token' && values.storage !== 'wrapped')
    throw new ProvisionError('--storage is token or wrapped');
  const config = provisionSoftHsm(values.dir, {
    ...(values.label === undefined ? {} : { label: values.label }),
    ...(values['pin-file'] === undefined ? {} : { pinFile: values['pin-file'] }),
    ...(values.storage === undefined ? {} : { storage: values.storage }),
  });
  process.stdout.write(`${JSON.stringify(config, null, 2)}\n`);
};

if (process.argv[1] !== undefined && resolve(process.argv[1]) === SELF) {
  try {
    main();
  } catch (error) {
    process.stderr.write(`${error instanceof ProvisionError ? error.message : (error?.message ?? error)}\n`);
    process.exitCode = 1;
  }
}

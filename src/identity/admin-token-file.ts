import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { parseToken, TOKEN_LENGTH } from './token.js';

/** The file on the operator's machine from which the command line takes its token: 0600, in the 0700 data directory. */
const ADMIN_TOKEN_FILE = 'admin-token';
const FORM = /^admin-token\.[0-9a-f]{16}\.tmp$/;
const MAX_FILE_BYTES = TOKEN_LENGTH + 16;

export const adminTokenPath = (dataDir: string): string => join(dataDir, ADMIN_TOKEN_FILE);

const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT';

const syncDirectory = async (dataDir: string): Promise<void> => {
  const directory = await open(dataDir, constants.O_RDONLY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
};

/**
 * The token in the file, if it is one that only the operator can have put there: a regular file of this user that nobody
 * else can read or write. Anything else is not used (and will be replaced), since others may know that token or have chosen it.
 */
export const readAdminToken = async (dataDir: string): Promise<string | undefined> => {
  const path = adminTokenPath(dataDir);
  try {
    const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const facts = await handle.stat();
      if (!facts.isFile() || (facts.mode & 0o077) !== 0 || facts.size > MAX_FILE_BYTES) return undefined;
      if (process.getuid !== undefined && facts.uid !== process.getuid()) return undefined;
      const text = (await handle.readFile('utf8')).trim();
      return parseToken(text) === undefined ? undefined : text;
    } finally {
      await handle.close();
    }
  } catch {
    return undefined;
  }
};

/** A token written beside its final place, durable, to be put there by `publish` (atomically) or taken away by `discard`. */
export interface PendingTokenFile {
  readonly path: string;
  publish(): Promise<void>;
  discard(): Promise<void>;
}

/** Leftovers of attempts that were killed hold tokens that were never valid. */
const removeLeftovers = async (dataDir: string): Promise<void> => {
  for (const name of await readdir(dataDir)) if (FORM.test(name)) await unlink(join(dataDir, name)).catch(() => undefined);
};

export const writePendingToken = async (dataDir: string, token: string): Promise<PendingTokenFile> => {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await removeLeftovers(dataDir);
  const temporary = join(dataDir, `${ADMIN_TOKEN_FILE}.${randomBytes(8).toString('hex')}.tmp`);
  const handle = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
  try {
    await handle.chmod(0o600);
    await handle.writeFile(`${token}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  return {
    path: adminTokenPath(dataDir),
    publish: async () => {
      await rename(temporary, adminTokenPath(dataDir));
      await syncDirectory(dataDir);
    },
    discard: async () => {
      await unlink(temporary).catch(() => undefined);
    },
  };
};

/** Removes the file, but only while it holds exactly this token. */
export const removeAdminToken = async (dataDir: string, token: string): Promise<void> => {
  if ((await readAdminToken(dataDir)) !== token) return;
  await unlink(adminTokenPath(dataDir)).catch((error: unknown) => {
    if (!isMissing(error)) throw error;
  });
};

/** Whether something that is not a plain file stands in the place (a directory, a device): then a rename would fail late. */
export const checkPlace = async (dataDir: string): Promise<void> => {
  const facts = await lstat(adminTokenPath(dataDir)).catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
  if (facts?.isDirectory() === true)
    throw new Error(`${adminTokenPath(dataDir)} is a directory; the admin token goes there. Move it away and start again.`);
};

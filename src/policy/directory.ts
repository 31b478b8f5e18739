import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MAX_DOCUMENT_BYTES } from './document.js';
import type { SourceDocument } from './document-set.js';

/**
 * Policy documents from a directory, for the tenant `default`. Editors and configuration tools write files in steps, and
 * half a document may well be a valid one: a change counts once two polls in a row saw the same file, and so does a removal.
 */
export interface PolicyDirectory {
  /** Reads what has settled. Rejects when the directory itself can't be read: whoever asks then keeps what it has. */
  poll(): Promise<readonly SourceDocument[]>;
}

const TENANT = 'default';
const FILE_FORM = /^([a-z0-9][a-z0-9._-]{0,62})\.(?:ya?ml|json)$/;
const MAX_FILES = 1000;

interface Seen {
  readonly stamp: string;
  readonly document: SourceDocument;
}
interface Candidate {
  readonly name: string;
  readonly path: string;
  readonly stamp: string;
}

/** Reads at most the limit and one byte more, so that an oversized file is refused by its size and not by memory. */
const readBounded = async (path: string): Promise<string> => {
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.allocUnsafe(MAX_DOCUMENT_BYTES + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length);
      if (bytesRead === 0) break;
      length += bytesRead;
      if (length === buffer.length) break;
    }
    return buffer.toString('utf8', 0, length);
  } finally {
    await file.close();
  }
};

/** What there is, by document name; two files of one name are an error of the directory. */
const list = async (directory: string): Promise<readonly Candidate[]> => {
  const found = new Map<string, Candidate>();
  for (const entry of await readdir(directory)) {
    const name = FILE_FORM.exec(entry)?.[1];
    if (name === undefined) continue;
    if (found.has(name)) throw new Error(`two files are named ${name}`);
    if (found.size >= MAX_FILES) throw new Error(`more than ${MAX_FILES} policy files`);
    const path = join(directory, entry);
    const status = await stat(path);
    // Opening a pipe would wait for its writer.
    if (!status.isFile()) continue;
    const { mtimeMs, size, ino, ctimeMs } = status;
    found.set(name, { name: `file.${name}`, path, stamp: `${entry}:${mtimeMs}:${ctimeMs}:${size}:${ino}` });
  }
  return [...found.values()];
};

export const makePolicyDirectory = (directory: string): PolicyDirectory => {
  const loaded = new Map<string, Seen>();
  /** Stamps of the poll before, to tell a settled file from one being written. */
  let before: ReadonlyMap<string, string> | undefined;
  let version = 0;

  const take = async (candidate: Candidate): Promise<void> => {
    const source = await readBounded(candidate.path);
    version += 1;
    const document: SourceDocument = { tenant: TENANT, name: candidate.name, version, mode: 'enforce', source };
    loaded.set(candidate.name, { stamp: candidate.stamp, document });
  };

  return {
    poll: async () => {
      const candidates = await list(directory);
      const now = new Map(candidates.map((c) => [c.name, c.stamp]));
      const first = before === undefined;
      for (const candidate of candidates) {
        const settled = first || before?.get(candidate.name) === candidate.stamp;
        if (settled && loaded.get(candidate.name)?.stamp !== candidate.stamp) await take(candidate);
      }
      for (const name of loaded.keys()) {
        if (!now.has(name) && before?.has(name) === false) loaded.delete(name);
      }
      before = now;
      return [...loaded.values()].map((seen) => seen.document);
    },
  };
};

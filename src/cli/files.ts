import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, createWriteStream, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { CliError, EXIT, type Terminal } from './command.js';

/** A file or `-`/absent = standard input, as a stream with its size where known. */
export function openInput(
  path: string | undefined,
  terminal: Terminal,
): { readonly stream: AsyncIterable<Uint8Array>; readonly bytes: number | undefined } {
  if (path === undefined || path === '-') return { stream: terminal.stdin, bytes: undefined };
  try {
    const info = statSync(path);
    if (info.isDirectory()) throw new CliError(`${path} is a directory`, EXIT.usage);
    return { stream: createReadStream(path, { highWaterMark: 256 * 1024 }), bytes: info.isFile() ? info.size : undefined };
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(
      `${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'error'})`,
      EXIT.usage,
      'Check the path and its permissions.',
    );
  }
}

/** Reads at most `limit` bytes. */
export async function readInput(path: string | undefined, terminal: Terminal, limit: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of openInput(path, terminal).stream) {
    size += part.byteLength;
    if (size > limit) throw new CliError(`${path ?? 'standard input'} is larger than ${limit} bytes`, EXIT.usage);
    parts.push(part);
  }
  return Buffer.concat(parts, size);
}

/**
 * Writes a stream to a file or `-`/absent = standard output. A file appears whole or not at all: it is written beside its
 * place and renamed at the end, so that a failure (a tampered ciphertext, a full disk) leaves no half a plaintext.
 */
export async function writeOutput(
  path: string | undefined,
  terminal: Terminal,
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  mode = 0o644,
): Promise<void> {
  if (path === undefined || path === '-') {
    for await (const part of source) if (!terminal.stdout.write(part)) await once(terminal.stdout, 'drain');
    return;
  }
  const temporary = `${path}.${randomBytes(6).toString('hex')}.partial`;
  const out = createWriteStream(temporary, { mode, flags: 'wx' });
  const failed = once(out, 'error').then(([error]) => Promise.reject(error));
  failed.catch(() => undefined);
  try {
    for await (const part of source) if (!out.write(part)) await Promise.race([once(out, 'drain'), failed]);
    await Promise.race([new Promise<void>((resolve) => out.end(resolve)), failed]);
    renameSync(temporary, path);
  } catch (error) {
    out.destroy();
    rmSync(temporary, { force: true });
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== undefined && ['ENOENT', 'EACCES', 'ENOSPC', 'EISDIR', 'EROFS'].includes(code))
      throw new CliError(`${path} cannot be written (${code})`, EXIT.failure);
    throw error;
  }
}

/** Asks on the terminal without echo. */
export async function promptSecret(terminal: Terminal, text: string): Promise<string> {
  const { stdin, stderr } = terminal;
  if (stdin.isTTY !== true) throw new CliError('there is no terminal to ask on', EXIT.usage, 'Give the secret in a file.');
  stderr.write(text);
  stdin.setRawMode(true);
  stdin.resume();
  try {
    return await new Promise<string>((resolve, reject) => {
      let secret = '';
      const onData = (chunk: Buffer | string): void => {
        for (const character of String(chunk)) {
          if (character === '\r' || character === '\n' || character === '\u0004') {
            stdin.off('data', onData);
            resolve(secret);
            return;
          }
          if (character === '\u0003') {
            stdin.off('data', onData);
            reject(new CliError('interrupted', EXIT.failure));
            return;
          }
          secret = character === '\u007f' ? secret.slice(0, -1) : secret + character;
        }
      };
      stdin.on('data', onData);
    });
  } finally {
    stdin.setRawMode(false);
    stdin.pause();
    stderr.write('\n');
  }
}

/** Writes a file that only its owner can read and that was not there before: a key is never written over another. */
export function writeNewSecret(path: string, content: string | Uint8Array): void {
  try {
    writeFileSync(path, content, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'error';
    throw new CliError(
      code === 'EEXIST' ? `${path} exists already` : `${path} cannot be written (${code})`,
      EXIT.usage,
      'Choose another file.',
    );
  }
}

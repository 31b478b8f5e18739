import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { ReadStream } from 'node:tty';
import type { SecretSource } from './config.js';
import { RootFault } from './fault.js';
import { Secret } from './secret.js';

/** Longest PIN or passphrase accepted, bytes. */
const MAX_SECRET_BYTES = 4096;
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const BACKSPACE = 0x7f;
const CONTROL_C = 0x03;
const CONTROL_D = 0x04;
const GROUP_AND_OTHERS = 0o077;

const notEmpty = (bytes: Buffer, where: string): Secret => {
  if (bytes.length === 0)
    throw new RootFault('sealed', `the secret from ${where} is empty`, 'Put the PIN or passphrase there and start again.');
  return Secret.take(bytes);
};

/** One trailing newline (LF or CR LF) is an editor's, not the secret's. */
const withoutNewline = (bytes: Buffer): Buffer => {
  if (bytes.at(-1) !== NEWLINE) return bytes;
  return bytes.subarray(0, bytes.at(-2) === CARRIAGE_RETURN ? -2 : -1);
};

const openSecretFile = (path: string): number => {
  try {
    return openSync(path, 'r');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new RootFault('sealed', `cannot read the secret file ${path} (${code})`, 'Create it with mode 0600, owned by the service user.');
  }
};

const readSecretFile = (path: string): Secret => {
  const descriptor = openSecretFile(path);
  const buffer = Buffer.alloc(MAX_SECRET_BYTES + 2);
  try {
    const facts = fstatSync(descriptor);
    if (facts.isFile() && (facts.mode & GROUP_AND_OTHERS) !== 0)
      throw new RootFault('sealed', `the secret file ${path} can be read by other users`, `Run: chmod 600 ${path}`);
    let length = 0;
    for (let got = -1; got !== 0 && length < buffer.length; length += got)
      got = readSync(descriptor, buffer, length, buffer.length - length, null);
    const secret = withoutNewline(buffer.subarray(0, length));
    if (secret.length > MAX_SECRET_BYTES) throw new RootFault('sealed', `the secret file ${path} is longer than ${MAX_SECRET_BYTES} bytes`);
    return notEmpty(secret, `file ${path}`);
  } finally {
    buffer.fill(0);
    closeSync(descriptor);
  }
};

/** Reads a line from the controlling terminal without echo. */
const promptSecret = (text: string): Promise<Secret> =>
  new Promise((resolve, reject) => {
    let terminal: ReadStream;
    let output: number;
    try {
      terminal = new ReadStream(openSync('/dev/tty', 'r'));
      output = openSync('/dev/tty', 'w');
    } catch {
      const next = 'Start it in a terminal, or configure the secret as { "file": … } or { "env": … }.';
      reject(new RootFault('sealed', 'there is no terminal to ask for the secret on', next));
      return;
    }
    const line = Buffer.alloc(MAX_SECRET_BYTES);
    let length = 0;
    const finish = (settle: () => void): void => {
      terminal.setRawMode(false);
      terminal.destroy();
      writeSync(output, '\n');
      closeSync(output);
      settle();
      line.fill(0);
    };
    writeSync(output, `${text}: `);
    terminal.setRawMode(true);
    terminal.on('error', () => finish(() => reject(new RootFault('sealed', 'the terminal went away while asking for the secret'))));
    terminal.on('data', (chunk: Buffer) => {
      for (const byte of chunk) {
        if (byte === NEWLINE || byte === CARRIAGE_RETURN || byte === CONTROL_D) {
          finish(() =>
            length === 0
              ? reject(new RootFault('sealed', 'no secret was typed'))
              : resolve(notEmpty(line.subarray(0, length), 'the terminal')),
          );
          break;
        }
        if (byte === CONTROL_C) {
          finish(() => reject(new RootFault('sealed', 'asking for the secret was interrupted')));
          break;
        }
        if (byte === BACKSPACE) length = Math.max(0, length - 1);
        else if (length < MAX_SECRET_BYTES) line[length++] = byte;
      }
      chunk.fill(0);
    });
  });

/**
 * Fetches a PIN or passphrase as opaque bytes. Throws RootFault `sealed` when it is absent, empty, longer than 4,096
 * bytes, or in a file that other users can read.
 */
export const readSecretSource = async (source: SecretSource): Promise<Secret> => {
  if ('file' in source) return readSecretFile(source.file);
  if ('prompt' in source) return promptSecret(source.prompt);
  const value = process.env[source.env];
  if (value === undefined)
    throw new RootFault(
      'sealed',
      `the environment variable ${source.env} is not set`,
      'Set it for the service, or configure the secret as { "file": … }.',
    );
  return notEmpty(Buffer.from(value, 'utf8'), `environment variable ${source.env}`);
};

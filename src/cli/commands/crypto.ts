import { createHash } from 'node:crypto';
import { type HashName, isKeySpec, KEY_SPECS, type KeySpec } from '@aegis/rot-spi/vocabulary';
import { segment } from '../api-command.js';
import { callApi } from '../client.js';
import { CliError, type Command, EXIT, type Invocation, type Terminal } from '../command.js';
import { DATA_KEY_AAD, decryptFile, encryptFile, FileFormatError } from '../file-envelope.js';
import { openInput, readInput, writeOutput } from '../files.js';
import { makeProgress, printJson } from '../output.js';
import { openSession, type Session } from '../session.js';

const MIB = 1024 * 1024;
/** Algorithms that sign the whole message take it in one request. */
const MAX_WHOLE_MESSAGE_BYTES = MIB;
const MAX_SIGNATURE_BYTES = 64 * 1024;

const KEY = { name: 'key', value: 'KEY', required: true, summary: 'Id or alias of the key.' } as const;
const IN = { name: 'in', value: 'FILE', summary: 'Input. Default: standard input.' } as const;
const OUT = { name: 'out', value: 'FILE', summary: 'Output. Default: standard output.' } as const;
const ALGORITHM = { name: 'algorithm', value: 'ALGORITHM', summary: 'Default by the key, e.g. ecdsa-sha256 for ec-p256.' } as const;

/** Default signature algorithm of a key, the same as the service's. */
const DEFAULT_SIGNATURE: Partial<Record<KeySpec, string>> = {
  'ec-p256': 'ecdsa-sha256',
  'ec-p384': 'ecdsa-sha384',
  'ec-p521': 'ecdsa-sha512',
  'ec-secp256k1': 'ecdsa-sha256',
  'rsa-1024': 'rsa-pss-sha256',
  'rsa-2048': 'rsa-pss-sha256',
  'rsa-3072': 'rsa-pss-sha256',
  'rsa-4096': 'rsa-pss-sha256',
};

/** Hash that the algorithm applies to the message, so that a file can be hashed here and only its digest travel. */
function hashOf(algorithm: string): HashName | undefined {
  const match = /^(?:ecdsa|rsa-pkcs1|rsa-pss)-(sha3-\d+|sha\d+)$/.exec(algorithm);
  return match?.[1] as HashName | undefined;
}

async function algorithmFor(session: Session, key: string, asked: string | undefined): Promise<string | undefined> {
  if (asked !== undefined) return asked;
  const { body } = await callApi(session, 'GET', `/v1/keys/${segment(key)}`);
  const spec = (body as { spec?: string }).spec;
  return spec !== undefined && isKeySpec(spec)
    ? (DEFAULT_SIGNATURE[spec] ?? (KEY_SPECS[spec].family === 'eddsa' ? spec : undefined))
    : undefined;
}

/** What to sign or verify: the digest of the input where the algorithm hashes first, else the input itself. */
async function toSign(invocation: Invocation, terminal: Terminal, algorithm: string | undefined): Promise<Record<string, string>> {
  const hash = algorithm === undefined ? undefined : hashOf(algorithm);
  const path = invocation.text['in'];
  if (hash === undefined) {
    const message = await readInput(path, terminal, MAX_WHOLE_MESSAGE_BYTES);
    return { message: message.toString('base64') };
  }
  const { stream, bytes } = openInput(path, terminal);
  const progress = makeProgress(terminal, 'hashing', bytes);
  const digest = createHash(hash);
  for await (const part of stream) {
    digest.update(part);
    progress.advance(part.byteLength);
  }
  progress.done();
  return { digest: digest.digest('base64') };
}

const sign: Command = {
  path: ['sign'],
  summary: 'Sign a file or pipe of any size with a key in the root.',
  options: [
    KEY,
    IN,
    OUT,
    ALGORITHM,
    { name: 'encoding', value: 'ENCODING', choices: ['der', 'p1363'], summary: 'ECDSA signature encoding. Default der.' },
  ],
  details:
    'The file is hashed here and only its digest travels, except for Ed25519, Ed448, ML-DSA and SLH-DSA, which sign the whole message (up to 1 MiB).',
  example: 'aegis sign --key invoice --in FILE --out FILE.sig',
  run: async (invocation, terminal) => {
    const session = openSession(invocation, terminal);
    const key = invocation.text['key'] ?? '';
    const algorithm = await algorithmFor(session, key, invocation.text['algorithm']);
    const body = {
      ...(await toSign(invocation, terminal, algorithm)),
      ...(algorithm === undefined ? {} : { algorithm }),
      ...(invocation.text['encoding'] === undefined ? {} : { encoding: invocation.text['encoding'] }),
    };
    const answer = (await callApi(session, 'POST', `/v1/keys/${segment(key)}/sign`, { body })).body as { signature: string };
    const out = invocation.text['out'];
    if (invocation.switches.has('json')) printJson(terminal, answer);
    if (out !== undefined || !invocation.switches.has('json')) await writeOutput(out, terminal, [Buffer.from(answer.signature, 'base64')]);
    return EXIT.ok;
  },
};

const verify: Command = {
  path: ['verify'],
  summary: 'Verify a signature over a file or pipe. Exit code 9 when it does not match.',
  options: [
    KEY,
    IN,
    { name: 'signature', value: 'FILE', required: true, summary: 'Signature to check.' },
    ALGORITHM,
    { name: 'encoding', value: 'ENCODING', choices: ['der', 'p1363'], summary: 'ECDSA signature encoding. Default der.' },
  ],
  example: 'aegis verify --key invoice --in FILE --signature FILE.sig',
  run: async (invocation, terminal) => {
    const session = openSession(invocation, terminal);
    const key = invocation.text['key'] ?? '';
    const signature = await readInput(invocation.text['signature'], terminal, MAX_SIGNATURE_BYTES);
    const algorithm = await algorithmFor(session, key, invocation.text['algorithm']);
    const body = {
      ...(await toSign(invocation, terminal, algorithm)),
      signature: signature.toString('base64'),
      ...(algorithm === undefined ? {} : { algorithm }),
      ...(invocation.text['encoding'] === undefined ? {} : { encoding: invocation.text['encoding'] }),
    };
    const answer = (await callApi(session, 'POST', `/v1/keys/${segment(key)}/verify`, { body })).body as {
      valid: boolean;
      keyVersion?: number;
    };
    if (invocation.switches.has('json')) printJson(terminal, answer);
    else terminal.stdout.write(answer.valid ? `valid (key version ${answer.keyVersion ?? '?'})\n` : 'NOT valid\n');
    return answer.valid ? EXIT.ok : EXIT.verificationFailed;
  },
};

const encrypt: Command = {
  path: ['encrypt'],
  summary: 'Encrypt a file or pipe of any size (envelope: a fresh data key, wrapped by the key in the root).',
  options: [KEY, IN, OUT],
  details: 'The format is described in docs/formats.md. The file names its key, so `aegis decrypt` needs none.',
  example: 'aegis encrypt --key vault-key --in FILE --out FILE.enc',
  run: async (invocation, terminal) => {
    const session = openSession(invocation, terminal);
    const key = invocation.text['key'] ?? '';
    const { stream, bytes } = openInput(invocation.text['in'], terminal);
    const { body } = await callApi(session, 'POST', `/v1/keys/${segment(key)}/generate-data-key`, {
      body: { length: 32, plaintext: true, aad: DATA_KEY_AAD.toString('base64') },
    });
    const { keyId, keyVersion, ciphertext, plaintext } = body as {
      keyId: string;
      keyVersion: number;
      ciphertext: string;
      plaintext: string;
    };
    const progress = makeProgress(terminal, 'encrypting', bytes);
    const chunks = encryptFile(stream, { keyId, keyVersion, dataKey: ciphertext }, Buffer.from(plaintext, 'base64'));
    await writeOutput(invocation.text['out'], terminal, watched(chunks, progress));
    progress.done();
    return EXIT.ok;
  },
};

const decrypt: Command = {
  path: ['decrypt'],
  summary: 'Decrypt a file or pipe made by `aegis encrypt`.',
  options: [IN, OUT],
  details:
    'With --out the file appears only when it is whole and authentic. On a pipe each chunk is authentic when it appears, and a non-zero exit code says that the end is missing.',
  example: 'aegis decrypt --in FILE.enc --out FILE.dec',
  run: async (invocation, terminal) => {
    const session = openSession(invocation, terminal);
    const { stream, bytes } = openInput(invocation.text['in'], terminal);
    const progress = makeProgress(terminal, 'decrypting', bytes);
    const chunks = decryptFile(stream, async (header) => {
      const { body } = await callApi(session, 'POST', '/v1/decrypt', {
        body: { ciphertext: header.dataKey, aad: DATA_KEY_AAD.toString('base64') },
      });
      return Buffer.from((body as { plaintext: string }).plaintext, 'base64');
    });
    try {
      await writeOutput(invocation.text['out'], terminal, watched(chunks, progress), 0o600);
    } catch (error) {
      if (error instanceof FileFormatError)
        throw new CliError(error.message, EXIT.verificationFailed, 'Check that this is the whole file as `aegis encrypt` wrote it.');
      throw error;
    } finally {
      progress.done();
    }
    return EXIT.ok;
  },
};

async function* watched(chunks: AsyncIterable<Buffer>, progress: ReturnType<typeof makeProgress>): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) {
    progress.advance(chunk.length);
    yield chunk;
  }
}

const random: Command = {
  path: ['random'],
  summary: 'Random bytes from a root of trust.',
  arguments: [{ name: 'BYTES', summary: '1 to 1048576.' }],
  options: [
    OUT,
    { name: 'root', value: 'ROOT', summary: 'Root of trust. Default by configuration.' },
    { name: 'format', value: 'FORMAT', choices: ['hex', 'base64', 'raw'], summary: 'Default hex.' },
  ],
  run: async (invocation, terminal) => {
    const length = Number(invocation.args[0]);
    if (!Number.isInteger(length) || length < 1 || length > MIB) throw new CliError('BYTES must be from 1 to 1048576', EXIT.usage);
    const root = invocation.text['root'];
    const { body } = await callApi(openSession(invocation, terminal), 'POST', '/v1/random', {
      body: { length, ...(root === undefined ? {} : { root }) },
    });
    if (invocation.switches.has('json')) {
      printJson(terminal, body);
      return EXIT.ok;
    }
    const bytes = Buffer.from((body as { bytes: string }).bytes, 'base64');
    const format = invocation.text['format'] ?? 'hex';
    await writeOutput(
      invocation.text['out'],
      terminal,
      [format === 'raw' ? bytes : Buffer.from(`${bytes.toString(format as 'hex' | 'base64')}\n`)],
      0o600,
    );
    return EXIT.ok;
  },
};

const mac: Command = {
  path: ['mac'],
  summary: 'Make a message authentication code over a file or pipe (up to 1 MiB).',
  options: [KEY, IN, OUT, { name: 'algorithm', value: 'ALGORITHM', summary: 'Default by the key, e.g. hmac-sha256.' }],
  example: 'aegis mac --key mac-key --in FILE --out FILE.mac',
  run: async (invocation, terminal) => {
    const { text, switches } = invocation;
    const message = await readInput(text['in'], terminal, MAX_WHOLE_MESSAGE_BYTES);
    const body = { message: message.toString('base64'), ...(text['algorithm'] === undefined ? {} : { algorithm: text['algorithm'] }) };
    const answer = (await callApi(openSession(invocation, terminal), 'POST', `/v1/keys/${segment(text['key'])}/mac`, { body })).body as {
      mac: string;
    };
    if (switches.has('json')) printJson(terminal, answer);
    else await writeOutput(text['out'], terminal, [Buffer.from(answer.mac, 'base64')]);
    return EXIT.ok;
  },
};

const macVerify: Command = {
  path: ['mac-verify'],
  summary: 'Verify a message authentication code. Exit code 9 when it does not match.',
  options: [
    KEY,
    IN,
    { name: 'mac', value: 'FILE', required: true, summary: 'Code to check.' },
    { name: 'algorithm', value: 'ALGORITHM', summary: 'Default by the key.' },
  ],
  example: 'aegis mac-verify --key mac-key --in FILE --mac FILE.mac',
  run: async (invocation, terminal) => {
    const { text, switches } = invocation;
    const message = await readInput(text['in'], terminal, MAX_WHOLE_MESSAGE_BYTES);
    const code = await readInput(text['mac'], terminal, MAX_SIGNATURE_BYTES);
    const body = {
      message: message.toString('base64'),
      mac: code.toString('base64'),
      ...(text['algorithm'] === undefined ? {} : { algorithm: text['algorithm'] }),
    };
    const answer = (await callApi(openSession(invocation, terminal), 'POST', `/v1/keys/${segment(text['key'])}/mac-verify`, { body }))
      .body as { valid: boolean };
    if (switches.has('json')) printJson(terminal, answer);
    else terminal.stdout.write(answer.valid ? 'valid\n' : 'NOT valid\n');
    return answer.valid ? EXIT.ok : EXIT.verificationFailed;
  },
};

export const CRYPTO_COMMANDS: readonly Command[] = [sign, verify, encrypt, decrypt, mac, macVerify, random];

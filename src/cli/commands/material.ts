import { KEY_SPEC_NAMES, type KeySpec } from '@aegis/rot-spi/vocabulary';
import { segment } from '../api-command.js';
import { callApi } from '../client.js';
import { CliError, type Command, EXIT, type Terminal } from '../command.js';
import { promptSecret, readInput, writeOutput } from '../files.js';
import { type KeyMaterial, MATERIAL_FORMATS, type MaterialFormat, parseMaterial, wrapForImport, wrapInTwoSteps } from '../key-material.js';
import { printJson, printRecord } from '../output.js';
import { openSession, readSecretFile, type Session } from '../session.js';
import { NEW_KEY_OPTIONS, newKeyBody } from './keys.js';

const MAX_MATERIAL_BYTES = 256 * 1024;

/** A raw symmetric key of an AES length is AES unless said otherwise. */
const AES_BY_BYTES: Readonly<Record<number, KeySpec>> = { 16: 'aes-128', 24: 'aes-192', 32: 'aes-256' };

function specFor(material: KeyMaterial, asked: string | undefined): string {
  if (asked !== undefined && material.spec !== undefined && asked !== material.spec)
    throw new CliError(`the file holds a key of specification ${material.spec}, not ${asked}`, EXIT.usage);
  const spec = asked ?? material.spec ?? AES_BY_BYTES[material.bytes.length];
  if (spec === undefined)
    throw new CliError('the file does not say what kind of key it is', EXIT.usage, 'Add --spec, e.g. --spec hmac-sha256.');
  return spec;
}

const post = async (session: Session, path: string, body: unknown): Promise<Record<string, unknown>> =>
  (await callApi(session, 'POST', path, { body })).body as Record<string, unknown>;

async function importWrapped(session: Session, material: KeyMaterial, spec: string, body: Record<string, unknown>): Promise<unknown> {
  const root = body['root'];
  const { id, publicKey, algorithms } = (await post(session, '/v1/import-wrapping-keys', root === undefined ? {} : { root })) as {
    id: string;
    publicKey: string;
    algorithms: string[];
  };
  const request = { ...body, type: material.type, spec, format: material.format };
  if (algorithms.includes('rsa-aes-kwp')) {
    const wrapped = wrapForImport(publicKey, material.bytes).toString('base64');
    return post(session, '/v1/keys/import', { ...request, wrappingKey: id, wrapAlgorithm: 'rsa-aes-kwp', wrapped });
  }
  const hash = (['sha256', 'sha1'] as const).find((h) => algorithms.includes(`rsa-oaep-${h}-wrap`));
  if (hash === undefined)
    throw new CliError(
      'this root of trust takes no wrapped keys',
      EXIT.failure,
      `It offers: ${algorithms.join(', ') || 'nothing'}. Import into another root.`,
    );
  return importInTwoSteps(session, request, { id, publicKey, hash }, material);
}

/** The transport key lives in the root for the moment of the import and is destroyed whatever becomes of it. */
async function importInTwoSteps(
  session: Session,
  request: Record<string, unknown>,
  key: { id: string; publicKey: string; hash: 'sha1' | 'sha256' },
  material: KeyMaterial,
): Promise<unknown> {
  const { transport, wrapped } = wrapInTwoSteps(key.publicKey, key.hash, material.bytes);
  const made = await post(session, '/v1/keys/import', {
    ...(request['root'] === undefined ? {} : { root: request['root'] }),
    type: 'symmetric-key',
    spec: 'aes-256',
    format: 'raw',
    usage: ['unwrap'],
    activate: true,
    description: 'transport of one import',
    wrappingKey: key.id,
    wrapAlgorithm: `rsa-oaep-${key.hash}-wrap`,
    wrapped: transport.toString('base64'),
  });
  const at = `/v1/keys/${segment(String(made['id']))}`;
  try {
    return await post(session, '/v1/keys/import', {
      ...request,
      wrappingKey: made['id'],
      wrapAlgorithm: 'aes-kwp',
      wrapped: wrapped.toString('base64'),
    });
  } finally {
    await post(session, `${at}/revoke`, { reason: 'cessation-of-operation' });
    await post(session, `${at}/destroy`, {});
  }
}

const importKey: Command = {
  path: ['key', 'import'],
  summary: 'Import a key. It is wrapped here for the root of trust and never travels in clear.',
  arguments: [
    { name: 'NAME', summary: 'Alias of the new key.' },
    { name: 'FILE', summary: 'PEM, DER, JWK, encrypted PKCS#8, PKCS#12 or raw bytes; `-` = standard input.' },
  ],
  options: [
    { name: 'format', value: 'FORMAT', choices: MATERIAL_FORMATS, summary: 'Default auto.' },
    { name: 'passphrase-file', value: 'FILE', summary: 'Passphrase of an encrypted file.' },
    { name: 'ask-passphrase', summary: 'Ask for the passphrase on the terminal.' },
    { name: 'spec', value: 'SPEC', choices: KEY_SPEC_NAMES, summary: 'Needed where the file does not say (HMAC keys, raw bytes).' },
    ...NEW_KEY_OPTIONS,
  ],
  example: 'aegis key import payroll key.pem --passphrase-file pass.txt --activate',
  run: async (invocation, terminal) => {
    const { args, text, switches } = invocation;
    const file = await readInput(args[1], terminal, MAX_MATERIAL_BYTES);
    const passphrase =
      text['passphrase-file'] !== undefined
        ? readSecretFile(text['passphrase-file'])
        : switches.has('ask-passphrase')
          ? await promptSecret(terminal, 'Passphrase: ')
          : undefined;
    const material = parseMaterial(file, (text['format'] ?? 'auto') as MaterialFormat, passphrase);
    try {
      const spec = specFor(material, text['spec']);
      const session = openSession(invocation, terminal);
      const body = newKeyBody(invocation, args[0]);
      const answer =
        material.type === 'public-key'
          ? (
              await callApi(session, 'POST', '/v1/objects/register', {
                body: { ...body, type: 'public-key', spec, format: 'spki', material: material.bytes.toString('base64') },
              })
            ).body
          : await importWrapped(session, material, spec, body);
      show(answer, switches.has('json'), terminal);
    } finally {
      material.bytes.fill(0);
      file.fill(0);
    }
    return EXIT.ok;
  },
};

function show(answer: unknown, json: boolean, terminal: Terminal): void {
  if (json) printJson(terminal, answer);
  else {
    const { id, name, spec, state, root } = answer as Record<string, unknown>;
    printRecord(terminal, { id, name, spec, state, root });
  }
}

const exportKey: Command = {
  path: ['key', 'export'],
  summary: 'Export an exportable key, in clear to a file of yours or wrapped under another key.',
  arguments: [{ name: 'KEY', summary: 'Id or alias of the key.' }],
  options: [
    { name: 'out', value: 'FILE', required: true, summary: 'File to write (0600).' },
    { name: 'version', value: 'N', summary: 'Key version. Default: the current one.' },
    { name: 'wrapping-key', value: 'KEY', summary: 'Wrap it under this key.' },
    { name: 'wrap-algorithm', value: 'ALGORITHM', summary: 'Default aes-kwp, or rsa-aes-kwp under RSA.' },
  ],
  details: 'Secret keys are written as raw bytes, private keys as PKCS#8 DER. Every export is audited.',
  run: async (invocation, terminal) => {
    const { args, text, switches } = invocation;
    const body = {
      ...(text['version'] === undefined ? {} : { version: Number(text['version']) }),
      ...(text['wrapping-key'] === undefined ? {} : { wrappingKey: text['wrapping-key'] }),
      ...(text['wrap-algorithm'] === undefined ? {} : { wrapAlgorithm: text['wrap-algorithm'] }),
    };
    const answer = (await callApi(openSession(invocation, terminal), 'POST', `/v1/keys/${segment(args[0])}/export`, { body })).body as {
      material: string;
      format: string;
      keyVersion?: number;
    };
    const bytes = Buffer.from(answer.material, 'base64');
    await writeOutput(text['out'], terminal, [bytes], 0o600);
    bytes.fill(0);
    const { material: _, ...rest } = answer;
    if (switches.has('json')) printJson(terminal, rest);
    else terminal.stderr.write(`${answer.format} key written to ${text['out']}\n`);
    return EXIT.ok;
  },
};

const wrapKey: Command = {
  path: ['key', 'wrap'],
  summary: 'Wrap an exportable key under another key, inside the root.',
  arguments: [{ name: 'KEY', summary: 'Key to wrap.' }],
  options: [
    { name: 'wrapping-key', value: 'KEY', required: true, summary: 'Key to wrap it under.' },
    { name: 'algorithm', value: 'ALGORITHM', summary: 'Default by the wrapping key.' },
    { name: 'out', value: 'FILE', summary: 'Default: standard output.' },
  ],
  run: async (invocation, terminal) => {
    const { args, text, switches } = invocation;
    const body = { key: args[0], ...(text['algorithm'] === undefined ? {} : { algorithm: text['algorithm'] }) };
    const { body: answer } = await callApi(openSession(invocation, terminal), 'POST', `/v1/keys/${segment(text['wrapping-key'])}/wrap`, {
      body,
    });
    if (switches.has('json')) printJson(terminal, answer);
    else await writeOutput(text['out'], terminal, [Buffer.from((answer as { wrapped: string }).wrapped, 'base64')], 0o600);
    return EXIT.ok;
  },
};

const unwrapKey: Command = {
  path: ['key', 'unwrap'],
  summary: 'Make a key of wrapped material, unwrapped inside the root.',
  arguments: [{ name: 'NAME', summary: 'Alias of the new key.' }],
  options: [
    { name: 'wrapping-key', value: 'KEY', required: true, summary: 'Key it is wrapped under.' },
    { name: 'spec', value: 'SPEC', required: true, choices: KEY_SPEC_NAMES, summary: 'What it is.' },
    { name: 'algorithm', value: 'ALGORITHM', summary: 'Default by the wrapping key.' },
    { name: 'in', value: 'FILE', summary: 'Wrapped material. Default: standard input.' },
    ...NEW_KEY_OPTIONS,
  ],
  run: async (invocation, terminal) => {
    const { args, text, switches } = invocation;
    const wrapped = await readInput(text['in'], terminal, MAX_MATERIAL_BYTES);
    const { root: _, ...body } = newKeyBody(invocation, args[0]);
    const request = {
      ...body,
      spec: text['spec'],
      wrapped: wrapped.toString('base64'),
      ...(text['algorithm'] === undefined ? {} : { algorithm: text['algorithm'] }),
    };
    const answer = await callApi(openSession(invocation, terminal), 'POST', `/v1/keys/${segment(text['wrapping-key'])}/unwrap`, {
      body: request,
    });
    show(answer.body, switches.has('json'), terminal);
    return EXIT.ok;
  },
};

const deriveKey: Command = {
  path: ['key', 'derive'],
  summary: 'Derive a new key from a key, inside the root.',
  arguments: [{ name: 'KEY', summary: 'Key to derive from.' }],
  options: [
    { name: 'name', value: 'NAME', summary: 'Alias of the new key.' },
    { name: 'spec', value: 'SPEC', required: true, choices: KEY_SPEC_NAMES, summary: 'What the new key is.' },
    { name: 'algorithm', value: 'ALGORITHM', required: true, summary: 'e.g. hkdf-sha256, sp800-108-counter-hmac-sha256.' },
    { name: 'info', value: 'TEXT', summary: 'Context that makes this key another than the next.' },
    { name: 'salt', value: 'TEXT', summary: 'Salt, where the algorithm has one.' },
    ...NEW_KEY_OPTIONS,
  ],
  run: async (invocation, terminal) => {
    const { args, text, switches } = invocation;
    const { root: _, ...made } = newKeyBody(invocation, text['name']);
    const encoded = (option: string): Record<string, string> =>
      text[option] === undefined ? {} : { [option]: Buffer.from(text[option] ?? '', 'utf8').toString('base64') };
    const body = { ...made, spec: text['spec'], algorithm: text['algorithm'], ...encoded('info'), ...encoded('salt') };
    const answer = await callApi(openSession(invocation, terminal), 'POST', `/v1/keys/${segment(args[0])}/derive`, { body });
    show(answer.body, switches.has('json'), terminal);
    return EXIT.ok;
  },
};

const importWrappingKey: Command = {
  path: ['key', 'import-wrapping-key'],
  summary: 'Make a key in the root whose only use is to unwrap imports, and print its public half.',
  options: [
    { name: 'root', value: 'ROOT', summary: 'Root of trust. Default by configuration.' },
    { name: 'spec', value: 'SPEC', choices: ['rsa-2048', 'rsa-3072', 'rsa-4096'], summary: 'Default rsa-3072.' },
  ],
  details:
    'Wrap a key with it by RSA-AES key wrap (or RSA-OAEP) where the key is, then send it to POST /v1/keys/import. `aegis key import` does all of that.',
  run: async (invocation, terminal) => {
    const { text, switches } = invocation;
    const body = {
      ...(text['root'] === undefined ? {} : { root: text['root'] }),
      ...(text['spec'] === undefined ? {} : { spec: text['spec'] }),
    };
    const answer = (await callApi(openSession(invocation, terminal), 'POST', '/v1/import-wrapping-keys', { body })).body as {
      id: string;
      publicKey: string;
      algorithms: string[];
    };
    if (switches.has('json')) printJson(terminal, answer);
    else {
      terminal.stderr.write(`${answer.id}  ${answer.algorithms.join(', ')}\n`);
      terminal.stdout.write(answer.publicKey);
    }
    return EXIT.ok;
  },
};

export const MATERIAL_COMMANDS: readonly Command[] = [importKey, exportKey, wrapKey, unwrapKey, deriveKey, importWrappingKey];

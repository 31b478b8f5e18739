import { spawnSync } from 'node:child_process';
import * as crypto from 'node:crypto';
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { parseDuration, parsePairs } from '../../src/cli/api-command.js';
import { CliError } from '../../src/cli/command.js';
import { completionScript } from '../../src/cli/completion.js';
import { decryptFile, encryptFile, FileFormatError } from '../../src/cli/file-envelope.js';
import { parseMaterial, wrapForImport } from '../../src/cli/key-material.js';
import { printable } from '../../src/cli/output.js';
import { findCommand, nearest, parseInvocation } from '../../src/cli/parse.js';
import { COMMANDS } from '../../src/cli/registry.js';
import { ROUTES } from '../../src/planes/rest/index.js';

const work = mkdtempSync(join(tmpdir(), 'aegis-cli-'));
afterAll(() => rmSync(work, { recursive: true }));

async function* inParts(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (let i = 0; at < bytes.length; i += 1) {
    const size = Math.max(1, sizes[i % sizes.length] ?? 1);
    yield bytes.subarray(at, at + size);
    at += size;
  }
}
const collect = async (source: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts);
};

describe('encrypted files', () => {
  const header = { keyId: 'k', keyVersion: 1, dataKey: 'AAAA' };
  const seal = (key: Buffer, plaintext: Buffer, sizes = [70_000]): Promise<Buffer> =>
    collect(encryptFile(inParts(plaintext, sizes), header, Buffer.from(key)));
  const open = (key: Buffer, sealed: Buffer, sizes = [50_000]): Promise<Buffer> =>
    collect(decryptFile(inParts(sealed, sizes), async () => Buffer.from(key)));

  test('round trip at every size around the chunk’s, however the stream is cut', async () => {
    const key = randomBytes(32);
    for (const size of [0, 1, 65_535, 65_536, 65_537, 131_072, 131_073, 400_000]) {
      const plaintext = randomBytes(size);
      for (const cut of [[1_000_000], [17, 4_096], [65_536]]) {
        const sealed = await seal(key, plaintext, cut);
        expect((await open(key, sealed, cut)).equals(plaintext), `${size} cut by ${cut}`).toBe(true);
      }
    }
  });

  test('any changed bit, any cut, any swap or repeat of chunks is refused', async () => {
    const key = randomBytes(32);
    const plaintext = randomBytes(200_000);
    const sealed = await seal(key, plaintext);
    const start = 12 + sealed.readUInt32BE(8);
    const chunk = 65_536 + 16;
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: sealed.length - 1 }), fc.integer({ min: 0, max: 7 }), async (at, bit) => {
        const changed = Buffer.from(sealed);
        changed[at] = (changed[at] ?? 0) ^ (1 << bit);
        await expect(open(key, changed)).rejects.toThrow(FileFormatError);
      }),
      { numRuns: 60 },
    );
    for (const cut of [0, 5, 11, start - 1, start, start + 1, start + chunk, start + 2 * chunk, sealed.length - 1])
      await expect(open(key, sealed.subarray(0, cut)), `cut at ${cut}`).rejects.toThrow(FileFormatError);
    const [first, second] = [sealed.subarray(start, start + chunk), sealed.subarray(start + chunk, start + 2 * chunk)];
    const rest = sealed.subarray(start + 2 * chunk);
    await expect(open(key, Buffer.concat([sealed.subarray(0, start), second, first, rest]))).rejects.toThrow(FileFormatError);
    await expect(open(key, Buffer.concat([sealed.subarray(0, start), first, first, second, rest]))).rejects.toThrow(FileFormatError);
    await expect(open(key, Buffer.concat([sealed, Buffer.from([0])]))).rejects.toThrow(FileFormatError);
    await expect(open(randomBytes(32), sealed)).rejects.toThrow(FileFormatError);
  });

  test('a header that claims to be huge is refused before it is read', async () => {
    const bomb = Buffer.concat([Buffer.from('AEGISF01'), Buffer.from('ffffffff', 'hex')]);
    await expect(open(randomBytes(32), bomb)).rejects.toThrow(/damaged/);
  });
});

describe('key material', () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const pkcs8 = privateKey.export({ format: 'der', type: 'pkcs8' });
  const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

  test('PEM, DER, JWK, SEC 1 and encrypted PKCS#8 of one key are the same key', () => {
    const forms: [Buffer, string | undefined][] = [
      [Buffer.from(privateKey.export({ format: 'pem', type: 'pkcs8' })), undefined],
      [Buffer.from(privateKey.export({ format: 'pem', type: 'sec1' })), undefined],
      [pkcs8, undefined],
      [privateKey.export({ format: 'der', type: 'sec1' }), undefined],
      [Buffer.from(JSON.stringify(privateKey.export({ format: 'jwk' }))), undefined],
      [Buffer.from(privateKey.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'secret' })), 'secret'],
    ];
    for (const [bytes, passphrase] of forms) {
      const material = parseMaterial(bytes, 'auto', passphrase);
      expect(material).toMatchObject({ type: 'private-key', format: 'pkcs8', spec: 'ec-p256' });
      expect(digest(material.bytes)).toBe(digest(pkcs8));
    }
  });

  test('PKCS#12 made by openssl, RSA and EC', () => {
    for (const args of [['rsa:2048'], ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']]) {
      const [key, cert, p12, pass] = ['k.pem', 'c.pem', 'k.p12', 'pass'].map((n) => join(work, n)) as [string, string, string, string];
      writeFileSync(pass, 'hunter22\n');
      const made = spawnSync('openssl', [
        'req',
        '-x509',
        '-newkey',
        ...args,
        '-nodes',
        '-keyout',
        key,
        '-out',
        cert,
        '-subj',
        '/CN=t',
        '-days',
        '1',
      ]);
      expect(made.status, made.stderr.toString()).toBe(0);
      expect(
        spawnSync('openssl', [
          'pkcs12',
          '-export',
          '-inkey',
          key,
          '-in',
          cert,
          '-out',
          p12,
          '-passout',
          `file:${pass}`,
          '-legacy',
          '-macalg',
          'sha1',
        ]).status,
      ).toBe(0);
      const fromP12 = parseMaterial(readFileSync(p12), 'auto', 'hunter22');
      const fromPem = parseMaterial(readFileSync(key), 'auto', undefined);
      expect(fromP12.spec).toBe(fromPem.spec);
      expect(digest(fromP12.bytes)).toBe(digest(fromPem.bytes));
      expect(() => parseMaterial(readFileSync(p12), 'auto', 'wrong')).toThrow(/passphrase/);
    }
  });

  test('post-quantum private keys are recognised as such where the runtime has them, as PEM, DER and JWK, else refused', () => {
    // OneAsymmetricKey with the seed alone (RFC 9881 §6, RFC 9935 §6).
    const heads = {
      'ml-dsa-65': '3034020100300b060960864801650304031204228020',
      'ml-kem-768': '3054020100300b060960864801650304040204428040',
    };
    for (const [spec, head] of Object.entries(heads)) {
      const der = Buffer.concat([Buffer.from(head, 'hex'), Buffer.alloc(spec === 'ml-dsa-65' ? 32 : 64, 7)]);
      const pem = Buffer.from(`-----BEGIN PRIVATE KEY-----\n${der.toString('base64')}\n-----END PRIVATE KEY-----\n`);
      if (!('encapsulate' in crypto)) {
        for (const file of [der, pem]) expect(() => parseMaterial(file, 'auto', undefined)).toThrow(CliError);
        continue;
      }
      const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
      const jwk = Buffer.from(JSON.stringify(key.export({ format: 'jwk' })));
      for (const file of [der, pem, jwk]) {
        const material = parseMaterial(file, 'auto', undefined);
        expect(material).toMatchObject({ type: 'private-key', format: 'pkcs8', spec });
        expect(createPrivateKey({ key: material.bytes, format: 'der', type: 'pkcs8' }).equals(key)).toBe(true);
      }
      const publicPem = Buffer.from(createPublicKey(key).export({ format: 'pem', type: 'spki' }));
      expect(parseMaterial(publicPem, 'auto', undefined)).toMatchObject({ type: 'public-key', format: 'spki', spec });
    }
  });

  test('raw bytes are raw whatever they begin with', () => {
    for (const start of ['{', ' {', '0', '-', '\u0000']) {
      const raw = Buffer.concat([Buffer.from(start), randomBytes(32)]).subarray(0, 32);
      expect(parseMaterial(raw, 'auto', undefined)).toMatchObject({ type: 'symmetric-key', format: 'raw' });
    }
  });

  test('an encrypted key without its passphrase, and rubbish, are refused without showing anything of them', () => {
    const encrypted = Buffer.from(privateKey.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'secret' }));
    expect(() => parseMaterial(encrypted, 'auto', undefined)).toThrow(/passphrase/);
    expect(() => parseMaterial(encrypted, 'auto', 'wrong')).toThrow(/passphrase/);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom('pem', 'der', 'jwk', 'pkcs12'), (bytes, format) => {
        try {
          parseMaterial(Buffer.from(bytes), format as 'pem', undefined);
        } catch (error) {
          expect(error).toBeInstanceOf(CliError);
        }
      }),
    );
  });

  test('what is wrapped for import is opened by openssl as RFC 5649 says', () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const material = randomBytes(45);
    const wrapped = wrapForImport(rsa.publicKey.export({ format: 'pem', type: 'spki' }).toString(), material);
    const [pem, kek, out] = ['rsa.pem', 'kek', 'kek.out'].map((n) => join(work, n)) as [string, string, string];
    writeFileSync(pem, rsa.privateKey.export({ format: 'pem', type: 'pkcs8' }));
    writeFileSync(kek, wrapped.subarray(0, 256));
    const opened = spawnSync('openssl', [
      'pkeyutl',
      '-decrypt',
      '-inkey',
      pem,
      '-in',
      kek,
      '-out',
      out,
      '-pkeyopt',
      'rsa_padding_mode:oaep',
      '-pkeyopt',
      'rsa_oaep_md:sha256',
      '-pkeyopt',
      'rsa_mgf1_md:sha256',
    ]);
    expect(opened.status, opened.stderr.toString()).toBe(0);
    writeFileSync(kek, wrapped.subarray(256));
    const plain = spawnSync('openssl', [
      'enc',
      '-d',
      '-id-aes256-wrap-pad',
      '-K',
      readFileSync(out).toString('hex'),
      '-iv',
      'a65959a6',
      '-in',
      kek,
    ]);
    expect(plain.stdout.equals(material)).toBe(true);
  });
});

describe('the table of commands', () => {
  test('paths are unique, words are lower case, every option says what it is', () => {
    const paths = COMMANDS.map((c) => c.path.join(' '));
    expect(new Set(paths).size).toBe(paths.length);
    for (const command of COMMANDS) {
      expect(command.path.join(' ')).toMatch(/^[a-z0-9-]+( [a-z0-9-]+)*$/);
      expect(command.summary).toMatch(/\.$/);
      const names = (command.options ?? []).map((o) => o.name);
      expect(new Set(names).size).toBe(names.length);
      for (const option of command.options ?? []) expect(option.summary, `${command.path.join(' ')} --${option.name}`).toMatch(/[.)…]$/);
    }
  });

  test('every command is found by its own words, and its example parses', () => {
    for (const command of COMMANDS) {
      expect(findCommand(COMMANDS, [...command.path, 'more'])).toBe(command);
      if (command.example === undefined || command.example.includes('<(')) continue;
      const words = command.example.replace(/ > .*/, '').split(' ').slice(1);
      expect(() => parseInvocation(command, words.slice(command.path.length))).not.toThrow();
    }
  });

  test('every command that the REST reference names exists and parses as written there', () => {
    for (const route of ROUTES) {
      if (route.cli === undefined) continue;
      const words = route.cli.split(' ').slice(1);
      const command = findCommand(COMMANDS, words);
      expect(command, route.cli).toBeDefined();
      if (command !== undefined) expect(() => parseInvocation(command, words.slice(command.path.length)), route.cli).not.toThrow();
    }
  });

  test('secrets are never options: no command takes one in argv', () => {
    for (const command of COMMANDS)
      for (const option of command.options ?? []) expect(option.name).not.toMatch(/^(token|pin|password|passphrase|secret|key-share)$/);
  });

  test('mistakes are named with the nearest word', () => {
    const create = COMMANDS.find((c) => c.path.join(' ') === 'key create');
    if (create === undefined) throw new Error('no key create');
    expect(() => parseInvocation(create, ['a', '--spce', 'x'])).toThrow(/--spec/);
    expect(() => parseInvocation(create, ['a', '--spec', 'ec-p255'])).toThrow(/did you mean ec-p256/);
    expect(() => parseInvocation(create, ['a', '--spec'])).toThrow(/needs a value/);
    expect(() => parseInvocation(create, ['--spec', 'ec-p256'])).toThrow(/NAME/);
    expect(() => parseInvocation(create, ['a'])).toThrow(/--spec SPEC is required/);
    expect(parseInvocation(create, ['--spec=ec-p256', '--usage', 'sign,verify', '--usage=derive', '--', '-odd']).lists['usage']).toEqual([
      'sign',
      'verify',
      'derive',
    ]);
    expect(nearest('rotat', ['rotate', 'revoke'])).toBe('rotate');
  });

  test('completion scripts are accepted by their shells and know every command', () => {
    const script = completionScript('bash', COMMANDS);
    expect(spawnSync('bash', ['-n'], { input: script }).stderr.toString()).toBe('');
    const complete = (line: string): string[] => {
      const words = line.split(' ');
      const probe = `${script}\nCOMP_WORDS=(${words.map((w) => `"${w}"`).join(' ')})\nCOMP_CWORD=${words.length - 1}\n_aegis\nprintf '%s\\n' "\${COMPREPLY[@]}"`;
      return spawnSync('bash', ['-c', probe], { encoding: 'utf8', cwd: work }).stdout.trim().split('\n');
    };
    expect(complete('aegis key cr')).toEqual(['create']);
    expect(complete('aegis key create x --sp')).toContain('--spec');
    expect(complete('aegis key revoke x --reason key-')).toEqual(['key-compromise']);
    for (const command of COMMANDS) expect(script).toContain(command.path.join(' '));
  });

  test('durations and pairs', () => {
    expect(parseDuration('90d', 'x')).toBe(7_776_000_000);
    for (const bad of ['90', 'd', '1.5h', '-1d', '1d2h']) expect(() => parseDuration(bad, 'x')).toThrow(CliError);
    expect(parsePairs(['a=b=c', 'd='], 'tag')).toEqual({ a: 'b=c', d: '' });
    expect(() => parsePairs(['=x'], 'tag')).toThrow(CliError);
  });

  test('control characters in what others named do not reach the terminal', () => {
    expect(printable('a\u001b[31mb\u0007\u009b')).toBe('a\\x1b[31mb\\x07\\x9b');
  });
});

import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BoundKey, CreatedKey, KeyBinding, RootOfTrust } from '../src/contract.js';
import { ALL_USAGES } from '../src/contract-suite/session.js';
import { openSoftwareRoot } from '../src/software/index.js';
import type { Algorithm, KeySpec } from '../src/vocabulary/index.js';

/** The openssl command line as the other side, both ways: what one makes the other takes. */
const version = spawnSync('openssl', ['version'], { encoding: 'utf8' }).stdout ?? '';
const missing = !/^OpenSSL (3|4)\./.test(version) && process.env['AEGIS_NO_SKIP'] !== '1';
if (missing) console.warn('openssl 3 is absent; to run these tests: apt-get install openssl');

const directory = mkdtempSync(join(tmpdir(), 'aegis-openssl-'));
let root: RootOfTrust;
beforeAll(async () => {
  root = await openSoftwareRoot({ id: 's', kind: 'software', seal: { kind: 'key-file', path: join(directory, 'seal.key'), create: true } });
});
afterAll(async () => {
  await root.close();
  rmSync(directory, { recursive: true, force: true });
});

let count = 0;
const next = (): number => {
  count += 1;
  return count;
};
const file = (content: Uint8Array | string): string => {
  const path = join(directory, `${next()}`);
  writeFileSync(path, content, { mode: 0o600 });
  return path;
};
const openssl = (...args: string[]): Buffer => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
const verifies = (...args: string[]): boolean => spawnSync('openssl', args, { stdio: 'ignore' }).status === 0;

type Made = BoundKey & { readonly created: CreatedKey };
const bindingOf = (spec: KeySpec): KeyBinding => ({
  objectId: `o${next()}`,
  version: 1,
  tenant: 't',
  spec,
  usage: ALL_USAGES,
  exportable: true,
});
const make = async (spec: KeySpec): Promise<Made> => {
  const binding = bindingOf(spec);
  const created = await root.call('generateKeyPair', { binding });
  return { reference: created.reference, binding, created };
};
const publicFile = (key: Made): string => file(openssl('pkey', '-pubin', '-inform', 'DER', '-in', file(key.created.publicKey ?? '')));
const privateFile = async (key: Made): Promise<string> =>
  file(openssl('pkey', '-inform', 'DER', '-in', file((await root.call('exportKey', { key })).material)));

const message = Buffer.from('a message of some length, signed on one side and checked on the other');
const digestOf = (hash: string): Buffer => createHash(hash).update(message).digest();

const HASHED: readonly (readonly [KeySpec, Algorithm, string, readonly string[]])[] = [
  ...(['ec-p256', 'ec-p384', 'ec-p521', 'ec-secp256k1'] as const).flatMap((spec) =>
    (['sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'sha3-256'] as const).map((hash) => [spec, `ecdsa-${hash}`, hash, []] as const),
  ),
  ...(['sha1', 'sha256', 'sha512', 'sha3-384'] as const).flatMap((hash) => [
    ['rsa-2048', `rsa-pkcs1-${hash}`, hash, []] as const,
    ['rsa-2048', `rsa-pss-${hash}`, hash, ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:digest']] as const,
  ]),
  ['rsa-3072', 'rsa-pss-sha384', 'sha384', ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:digest']],
];

describe.skipIf(missing)(`the openssl command line (${version.trim()})`, () => {
  const keys = new Map<KeySpec, Promise<Made>>();
  const keyOf = (spec: KeySpec): Promise<Made> => {
    const made = keys.get(spec) ?? make(spec);
    keys.set(spec, made);
    return made;
  };

  test.each(HASHED)(
    '%s %s: openssl dgst and pkeyutl take ours, we take theirs, of messages and of digests',
    async (spec, algorithm, hash, options) => {
      const key = await keyOf(spec);
      const [pub, priv, data, digest] = [publicFile(key), await privateFile(key), file(message), file(digestOf(hash))];
      const whole = await root.call('sign', { key, algorithm, data: message });
      const prehashed = await root.call('sign', { key, algorithm, data: digestOf(hash), prehashed: true });
      const pkeyopt = [...options.map((text) => (text === '-sigopt' ? '-pkeyopt' : text)), '-pkeyopt', `digest:${hash}`];
      for (const { signature } of [whole, prehashed]) {
        expect(verifies('dgst', `-${hash}`, ...options, '-verify', pub, '-signature', file(signature), data)).toBe(true);
        expect(verifies('pkeyutl', '-verify', '-pubin', '-inkey', pub, '-in', digest, '-sigfile', file(signature), ...pkeyopt)).toBe(true);
        const wrong = file(Buffer.concat([message, Buffer.from('!')]));
        expect(verifies('dgst', `-${hash}`, ...options, '-verify', pub, '-signature', file(signature), wrong)).toBe(false);
      }
      const theirs = [
        openssl('dgst', `-${hash}`, ...options, '-sign', priv, data),
        openssl('pkeyutl', '-sign', '-inkey', priv, '-in', digest, ...pkeyopt),
      ];
      const verifier = { publicKey: key.created.publicKey ?? Buffer.alloc(0), spec };
      for (const signature of theirs) {
        expect((await root.call('verify', { key: verifier, algorithm, data: message, signature })).valid).toBe(true);
        expect((await root.call('verify', { key, algorithm, data: digestOf(hash), prehashed: true, signature })).valid).toBe(true);
        expect((await root.call('verify', { key, algorithm, data: Buffer.from('other'), signature })).valid).toBe(false);
      }
    },
  );

  test.each(['ed25519', 'ed448'] as const)('%s both ways', async (spec) => {
    const key = await keyOf(spec);
    const [pub, priv, data] = [publicFile(key), await privateFile(key), file(message)];
    const { signature } = await root.call('sign', { key, algorithm: spec, data: message });
    expect(verifies('pkeyutl', '-verify', '-rawin', '-pubin', '-inkey', pub, '-in', data, '-sigfile', file(signature))).toBe(true);
    const theirs = openssl('pkeyutl', '-sign', '-rawin', '-inkey', priv, '-in', data);
    expect((await root.call('verify', { key, algorithm: spec, data: message, signature: theirs })).valid).toBe(true);
  });

  test.each([
    ['rsa-pss-sha256', 'sha256', { saltLength: 0 }, ['rsa_pss_saltlen:0']],
    ['rsa-pss-sha256', 'sha256', { saltLength: 222 }, ['rsa_pss_saltlen:222']],
    ['rsa-pss-sha256', 'sha256', { mgf1Hash: 'sha1' }, ['rsa_pss_saltlen:32', 'rsa_mgf1_md:sha1']],
    ['rsa-pss-sha512', 'sha512', { mgf1Hash: 'sha256', saltLength: 20 }, ['rsa_pss_saltlen:20', 'rsa_mgf1_md:sha256']],
  ] as const)('%s with %o', async (algorithm, hash, parameters, options) => {
    const key = await keyOf('rsa-2048');
    const [pub, priv, data] = [publicFile(key), await privateFile(key), file(message)];
    const sigopt = ['rsa_padding_mode:pss', ...options].flatMap((option) => ['-sigopt', option]);
    const { signature } = await root.call('sign', { key, algorithm, data: message, ...parameters });
    expect(verifies('dgst', `-${hash}`, ...sigopt, '-verify', pub, '-signature', file(signature), data)).toBe(true);
    const theirs = openssl('dgst', `-${hash}`, ...sigopt, '-sign', priv, data);
    expect((await root.call('verify', { key, algorithm, data: message, signature: theirs, ...parameters })).valid).toBe(true);
    expect((await root.call('verify', { key, algorithm, data: message, signature: theirs })).valid).toBe(false);
  });

  test.each([
    ['rsa-oaep-sha1', {}, ['rsa_oaep_md:sha1']],
    ['rsa-oaep-sha256', {}, ['rsa_oaep_md:sha256']],
    ['rsa-oaep-sha512', {}, ['rsa_oaep_md:sha512']],
    ['rsa-oaep-sha256', { mgf1Hash: 'sha1' }, ['rsa_oaep_md:sha256', 'rsa_mgf1_md:sha1']],
    [
      'rsa-oaep-sha384',
      { mgf1Hash: 'sha256', label: Buffer.from('label') },
      ['rsa_oaep_md:sha384', 'rsa_mgf1_md:sha256', 'rsa_oaep_label:6c6162656c'],
    ],
    ['rsa-oaep-sha256', { label: Buffer.from('label') }, ['rsa_oaep_md:sha256', 'rsa_oaep_label:6c6162656c']],
  ] as const)('%s with %o', async (algorithm, parameters, options) => {
    const key = await keyOf('rsa-2048');
    const [pub, priv] = [publicFile(key), await privateFile(key)];
    const pkeyopt = ['rsa_padding_mode:oaep', ...options].flatMap((option) => ['-pkeyopt', option]);
    for (const plaintext of [message.subarray(0, 32), Buffer.alloc(0), Buffer.from([0, 0, 1])]) {
      const { ciphertext } = await root.call('encrypt', { key, algorithm, plaintext, ...parameters });
      expect(openssl('pkeyutl', '-decrypt', '-inkey', priv, '-in', file(ciphertext), ...pkeyopt).equals(plaintext)).toBe(true);
      const theirs = openssl('pkeyutl', '-encrypt', '-pubin', '-inkey', pub, '-in', file(plaintext), ...pkeyopt);
      const opened = await root.call('decrypt', { key, algorithm, ciphertext: theirs, ...parameters });
      expect(Buffer.from(opened.plaintext).equals(plaintext)).toBe(true);
    }
  });

  test('rsa-pkcs1 encryption both ways, at every length', async () => {
    const key = await keyOf('rsa-2048');
    const [pub, priv] = [publicFile(key), await privateFile(key)];
    for (const length of [0, 1, 100, 245]) {
      const plaintext = Buffer.alloc(length, 7);
      const { ciphertext } = await root.call('encrypt', { key, algorithm: 'rsa-pkcs1', plaintext });
      expect(openssl('pkeyutl', '-decrypt', '-inkey', priv, '-in', file(ciphertext)).equals(plaintext)).toBe(true);
      const theirs = openssl('pkeyutl', '-encrypt', '-pubin', '-inkey', pub, '-in', file(plaintext));
      expect(
        Buffer.from((await root.call('decrypt', { key, algorithm: 'rsa-pkcs1', ciphertext: theirs })).plaintext).equals(plaintext),
      ).toBe(true);
    }
  });

  test.each(['ec-p256', 'ec-p384', 'ec-p521', 'ec-secp256k1', 'x25519', 'x448'] as const)('%s agreement', async (spec) => {
    const [mine, theirs] = [await keyOf(spec), await make(spec)];
    const secret = openssl('pkeyutl', '-derive', '-inkey', await privateFile(theirs), '-peerkey', publicFile(mine));
    const binding = { ...bindingOf('secret'), exportable: true };
    const algorithm = spec.startsWith('ec-') ? 'ecdh' : 'xdh';
    const { reference } = await root.call('agree', {
      key: mine,
      algorithm,
      peerPublicKey: theirs.created.publicKey ?? Buffer.alloc(0),
      newKey: { binding },
    });
    expect(Buffer.from((await root.call('exportKey', { key: { reference, binding } })).material).equals(secret)).toBe(true);
  });

  test.each([
    ['ec-p256', ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'], 'ecdsa-sha256'],
    ['ec-p521', ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-521'], 'ecdsa-sha512'],
    ['rsa-2048', ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-pkeyopt', 'rsa_keygen_pubexp:3'], 'rsa-pss-sha256'],
    ['ed25519', ['-algorithm', 'ED25519'], 'ed25519'],
    ['ed448', ['-algorithm', 'ED448'], 'ed448'],
  ] as const)('%s made by openssl genpkey is imported and signs', async (spec, args, algorithm) => {
    const path = join(directory, `gen-${spec}`);
    openssl('genpkey', ...args, '-out', path);
    const binding = bindingOf(spec);
    const created = await root.call('importKey', {
      binding,
      format: 'pkcs8',
      material: openssl('pkcs8', '-topk8', '-nocrypt', '-outform', 'DER', '-in', path),
    });
    expect(Buffer.from(created.publicKey ?? '').equals(openssl('pkey', '-in', path, '-pubout', '-outform', 'DER'))).toBe(true);
    const { signature } = await root.call('sign', { key: { reference: created.reference, binding }, algorithm, data: message });
    const key = { publicKey: created.publicKey ?? Buffer.alloc(0), spec };
    expect((await root.call('verify', { key, algorithm, data: message, signature })).valid).toBe(true);
  });

  test('a compressed EC point is the same key', async () => {
    const key = await keyOf('ec-p384');
    const compressed = openssl(
      'ec',
      '-pubin',
      '-inform',
      'DER',
      '-in',
      file(key.created.publicKey ?? ''),
      '-conv_form',
      'compressed',
      '-outform',
      'DER',
      '-pubout',
    );
    const { signature } = await root.call('sign', { key, algorithm: 'ecdsa-sha384', data: message });
    const request = { key: { publicKey: compressed, spec: 'ec-p384' }, algorithm: 'ecdsa-sha384', data: message, signature } as const;
    expect((await root.call('verify', request)).valid).toBe(true);
    const imported = await root.call('importKey', { binding: bindingOf('ec-p384'), format: 'spki', material: compressed });
    expect(Buffer.from(imported.publicKey ?? '').equals(Buffer.from(key.created.publicKey ?? ''))).toBe(true);
  });

  test('explicit curve parameters are refused, also ones that name the generator of an attacker (CVE-2020-0601)', async () => {
    const path = join(directory, 'explicit');
    openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-pkeyopt', 'ec_param_enc:explicit', '-out', path);
    const pkcs8 = openssl('pkcs8', '-topk8', '-nocrypt', '-outform', 'DER', '-in', path);
    const spki = readFileSync(file(openssl('pkey', '-in', path, '-pubout', '-outform', 'DER')));
    for (const [format, material] of [
      ['pkcs8', pkcs8],
      ['spki', spki],
    ] as const)
      await expect(root.call('importKey', { binding: bindingOf('ec-p256'), format, material })).rejects.toMatchObject({
        code: 'invalid-argument',
      });
  });
});

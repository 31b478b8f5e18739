import { execFileSync } from 'node:child_process';
import { createPrivateKey, createPublicKey, ECDH, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Fields } from '@aegis/kmip-ttlv';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KmipRefusal } from '../../src/planes/kmip/contract.js';
import { readPkcs8, readSpki, writePkcs8, writeSpki } from '../../src/planes/kmip/material/asn1-keys.js';
import { CURVES, EDWARDS } from '../../src/planes/kmip/material/curves.js';
import { DerError, oidBytes, oidText } from '../../src/planes/kmip/material/der.js';
import { compressed, type FormatHints, type KeyFormat, readMaterial, writeMaterial } from '../../src/planes/kmip/material/formats.js';
import { factsOf, type KeyModel, makeWiper } from '../../src/planes/kmip/material/key-model.js';
import { decodeKeyValue, encodeKeyValue } from '../../src/planes/kmip/material/key-value.js';
import { readPkcs12, writePkcs12 } from '../../src/planes/kmip/material/pkcs12.js';
import { decryptRc2Cbc } from '../../src/planes/kmip/material/rc2.js';

const wiper = makeWiper();
const pkcs8 = (key: KeyObject): Uint8Array => new Uint8Array(key.export({ format: 'der', type: 'pkcs8' }));
const spki = (key: KeyObject): Uint8Array => new Uint8Array(key.export({ format: 'der', type: 'spki' }));
const hex = (bytes: unknown): string => Buffer.from(bytes as Uint8Array).toString('hex');
const openssl = (args: readonly string[], input: Uint8Array): Buffer =>
  execFileSync('openssl', [...args], { input, stdio: ['pipe', 'pipe', 'ignore'] });

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const dsa = generateKeyPairSync('dsa', { modulusLength: 1024, divisorLength: 160 });
const dh = (generateKeyPairSync as unknown as (type: string, options: object) => { privateKey: KeyObject; publicKey: KeyObject })('dh', {
  group: 'modp14',
});
const pairOn = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve });
const edwards = (name: string) => (generateKeyPairSync as unknown as (n: string) => { privateKey: KeyObject; publicKey: KeyObject })(name);

/** Through a format and back: the same key. */
const through = (model: KeyModel, format: KeyFormat, hints: FormatHints): KeyModel => {
  const written = writeMaterial(format, model);
  if (written === undefined) throw new Error(`no ${format}`);
  const read = readMaterial(format, written, hints, wiper);
  if (read === undefined) throw new Error(`${format} is not read`);
  return read;
};

describe('private keys', () => {
  test.each(['PKCS_1', 'PKCS_8', 'TransparentRSAPrivateKey'])('RSA goes through %s unchanged', (format) => {
    const model = readPkcs8(pkcs8(rsa.privateKey));
    expect(hex(writePkcs8(through(model, format, { side: 'private' })))).toBe(hex(pkcs8(rsa.privateKey)));
  });

  test('PKCS#1 is what OpenSSL writes, and it reads what is written here', () => {
    const model = readPkcs8(pkcs8(rsa.privateKey));
    const written = writeMaterial('PKCS_1', model) as Uint8Array;
    expect(hex(written)).toBe(hex(rsa.privateKey.export({ format: 'der', type: 'pkcs1' })));
    expect(openssl(['rsa', '-inform', 'DER', '-check', '-noout'], written).toString()).toContain('RSA key ok');
  });

  test.each([
    ['the private exponent', ['PrivateExponent', 'PublicExponent']],
    ['its primes', ['P', 'Q', 'PublicExponent']],
    ['one prime', ['P', 'PublicExponent']],
    ['the other prime and no public exponent', ['Q']],
    ['its CRT exponents', ['PrimeExponentP', 'PrimeExponentQ', 'PublicExponent']],
  ])('RSA given by %s alone is completed to the same key', (_, names) => {
    const whole = writeMaterial('TransparentRSAPrivateKey', readPkcs8(pkcs8(rsa.privateKey))) as Fields;
    const parts = Object.fromEntries(['Modulus', ...names].map((name) => [name, whole[name]])) as Fields;
    const model = readMaterial('TransparentRSAPrivateKey', parts, { side: 'private' }, wiper);
    const made = createPrivateKey({ key: Buffer.from(writePkcs8(model as KeyModel) as Uint8Array), format: 'der', type: 'pkcs8' });
    expect(hex(spki(createPublicKey(made)))).toBe(hex(spki(rsa.publicKey)));
    expect(openssl(['rsa', '-inform', 'DER', '-check', '-noout'], pkcs8(made)).toString()).toContain('RSA key ok');
  });

  test('numbers that are no key are refused before they keep anybody busy', () => {
    const noise = (bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, at) => (at * 151 + 1) | 1);
    const startedAt = performance.now();
    for (const parts of [
      { Modulus: noise(512), PrivateExponent: noise(512), PublicExponent: Uint8Array.of(1, 0, 1) },
      { Modulus: noise(512), PrimeExponentP: noise(256), PublicExponent: Uint8Array.of(1, 0, 1) },
      { Modulus: noise(2048), PrivateExponent: noise(2048), PublicExponent: Uint8Array.of(1, 0, 1) },
      { Modulus: noise(512), PrivateExponent: noise(512), PublicExponent: noise(512) },
    ]) {
      expect(() => readMaterial('TransparentRSAPrivateKey', parts as Fields, { side: 'private' }, wiper)).toThrow(KmipRefusal);
    }
    expect(performance.now() - startedAt).toBeLessThan(15_000);
  });

  test('RSA numbers that do not belong together are refused', () => {
    const whole = writeMaterial('TransparentRSAPrivateKey', readPkcs8(pkcs8(rsa.privateKey))) as Record<string, Uint8Array>;
    const wrong = {
      Modulus: whole['Modulus'],
      P: Uint8Array.of(0, 0, 0, 0, 0, 0, 1, 1),
      PublicExponent: whole['PublicExponent'],
    } as Fields;
    expect(() => readMaterial('TransparentRSAPrivateKey', wrong, { side: 'private' }, wiper)).toThrow(KmipRefusal);
  });

  test.each(['prime256v1', 'secp384r1', 'secp521r1', 'secp256k1', 'secp224r1', 'brainpoolP256r1', 'sect283k1'])('EC on %s', (name) => {
    const { privateKey, publicKey } = pairOn(name);
    const model = readPkcs8(pkcs8(privateKey));
    for (const format of ['PKCS_8', 'ECPrivateKey']) {
      expect(hex(writePkcs8(through(model, format, { side: 'private' })))).toBe(hex(pkcs8(privateKey)));
    }
    expect(hex(writeMaterial('ECPrivateKey', model))).toBe(hex(privateKey.export({ format: 'der', type: 'sec1' })));
    // A structure has the number alone; OpenSSL computes the point.
    const alone = through(model, 'TransparentECPrivateKey', { side: 'private', algorithm: 'EC' });
    const made = createPrivateKey({ key: Buffer.from(writePkcs8(alone) as Uint8Array), format: 'der', type: 'pkcs8' });
    expect(hex(spki(createPublicKey(made)))).toBe(hex(spki(publicKey)));
  });

  test.each(['ed25519', 'ed448', 'x25519', 'x448'])('%s', (name) => {
    const { privateKey, publicKey } = edwards(name);
    const algorithm = EDWARDS.find(({ spec }) => spec === name)?.algorithm;
    const model = readPkcs8(pkcs8(privateKey));
    expect(factsOf(model).spec).toBe(name);
    expect(hex(writePkcs8(through(model, 'TransparentECPrivateKey', { side: 'private', algorithm })))).toBe(hex(pkcs8(privateKey)));
    expect(hex(writeSpki(through(readSpki(spki(publicKey)), 'TransparentECPublicKey', { side: 'public', algorithm })))).toBe(
      hex(spki(publicKey)),
    );
  });

  test('an Edwards seed may be given raw', () => {
    const { privateKey } = edwards('ed25519');
    const model = through(readPkcs8(pkcs8(privateKey)), 'Raw', { side: 'private', algorithm: 'Ed25519' });
    expect(hex(writePkcs8(model))).toBe(hex(pkcs8(privateKey)));
  });

  test('DSA and DH go through their structures unchanged', () => {
    for (const [key, format] of [
      [dsa, 'TransparentDSAPrivateKey'],
      [dh, 'TransparentDHPrivateKey'],
    ] as const) {
      const model = readPkcs8(pkcs8(key.privateKey));
      const made = createPrivateKey({
        key: Buffer.from(writePkcs8(through(model, format, { side: 'private' })) as Uint8Array),
        format: 'der',
        type: 'pkcs8',
      });
      expect(hex(spki(createPublicKey(made)))).toBe(hex(spki(key.publicKey)));
    }
  });

  test('a key is not read as another kind of object', () => {
    const model = readPkcs8(pkcs8(rsa.privateKey));
    expect(readMaterial('PKCS_8', writePkcs8(model) as Uint8Array, { side: 'public' }, wiper)).toBeUndefined();
    const structure = writeMaterial('TransparentRSAPrivateKey', model) as Fields;
    expect(() => readMaterial('TransparentRSAPrivateKey', structure, { side: 'public' }, wiper)).toThrow(KmipRefusal);
  });
});

describe('public keys', () => {
  test.each(['PKCS_1', 'X_509', 'TransparentRSAPublicKey'])('RSA goes through %s unchanged', (format) => {
    const model = readSpki(spki(rsa.publicKey));
    expect(hex(writeSpki(through(model, format, { side: 'public' })))).toBe(hex(spki(rsa.publicKey)));
  });

  test('DSA and DH go through their structures unchanged', () => {
    const dsaModel = through(readSpki(spki(dsa.publicKey)), 'TransparentDSAPublicKey', { side: 'public' });
    expect(hex(writeSpki(dsaModel))).toBe(hex(spki(dsa.publicKey)));
    const dhModel = through(readSpki(spki(dh.publicKey)), 'TransparentDHPublicKey', { side: 'public' });
    expect(
      openssl(['pkey', '-pubin', '-inform', 'DER', '-pubout', '-outform', 'DER'], writeSpki(dhModel) as Uint8Array).length,
    ).toBeGreaterThan(256);
  });

  test('a point is compressed and uncompressed as OpenSSL does it', () => {
    const { publicKey } = pairOn('prime256v1');
    const model = readSpki(spki(publicKey)) as Extract<KeyModel, { kind: 'ec-public' }>;
    const small = compressed(model, 'ECPublicKeyTypeX9_62CompressedPrime') as typeof model;
    expect(hex(small.point)).toBe(hex(ECDH.convertKey(model.point, 'prime256v1', undefined, undefined, 'compressed')));
    expect(hex(writeSpki(compressed(small, 'ECPublicKeyTypeUncompressed')))).toBe(hex(spki(publicKey)));
    expect(() => compressed(model, 'ECPublicKeyTypeX9_62CompressedChar2')).toThrow(KmipRefusal);
    expect(() => compressed(readSpki(spki(rsa.publicKey)), 'ECPublicKeyTypeUncompressed')).toThrow(KmipRefusal);
  });
});

describe('what comes from outside', () => {
  test('every curve has one OID and one name', () => {
    expect(new Set(CURVES.map(({ oid }) => oid)).size).toBe(CURVES.length);
    expect(new Set(CURVES.map(({ name }) => name)).size).toBe(CURVES.length);
    for (const { oid } of CURVES) expect(oidText(oidBytes(oid))).toBe(oid);
  });

  test('no bytes make the readers do anything but refuse', () => {
    const valid = [pkcs8(rsa.privateKey), pkcs8(pairOn('prime256v1').privateKey), spki(rsa.publicKey)];
    fc.assert(
      fc.property(fc.constantFrom(...valid), fc.nat(), fc.integer({ min: 0, max: 255 }), fc.nat(40), (whole, at, byte, cut) => {
        const bytes = new Uint8Array(whole.subarray(0, whole.length - (cut > 20 ? cut : 0)));
        bytes[at % bytes.length] = byte;
        for (const read of [readPkcs8, readSpki]) {
          try {
            read(bytes);
          } catch (error) {
            if (!(error instanceof DerError)) throw error;
          }
        }
      }),
      { numRuns: 3000 },
    );
  });

  test('a length that announces more than there is allocates nothing', () => {
    expect(() => readPkcs8(Uint8Array.of(0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x02))).toThrow(DerError);
  });
});

test('a Key Value goes through TTLV with its attributes', () => {
  const keyValue: Fields = { KeyMaterial: new Uint8Array(16).fill(7), Attributes: [{ name: 'CryptographicLength', value: 128 }] };
  for (const version of ['1.0', '1.4', '2.1'] as const) {
    const bytes = encodeKeyValue(keyValue, version);
    expect(hex(bytes.subarray(0, 3))).toBe('420045');
    const back = decodeKeyValue(bytes, version);
    expect(hex(back['KeyMaterial'])).toBe('07'.repeat(16));
    expect(back['Attributes']).toMatchObject([{ name: 'CryptographicLength', value: 128 }]);
  }
  expect(() => decodeKeyValue(new Uint8Array(24), '2.1')).toThrow(KmipRefusal);
});

describe('PKCS#12', () => {
  const password = Buffer.from('pässword');
  const key = pkcs8(rsa.privateKey);

  test('OpenSSL opens what is written', () => {
    const file = writePkcs12(key, [], password, 'alias');
    const pem = openssl(['pkcs12', '-nodes', '-nocerts', '-passin', `pass:${password}`], file).toString();
    expect(pem).toContain('friendlyName: alias');
    expect(hex(pkcs8(createPrivateKey(pem)))).toBe(hex(key));
  });

  test.each([
    ['AES', ['-keypbe', 'AES-256-CBC', '-certpbe', 'AES-128-CBC']],
    ['triple DES', ['-keypbe', 'PBE-SHA1-3DES', '-certpbe', 'PBE-SHA1-3DES', '-macalg', 'sha1']],
    ['RC2', ['-legacy', '-keypbe', 'PBE-SHA1-RC2-128', '-certpbe', 'PBE-SHA1-RC2-40', '-macalg', 'sha1']],
  ])('what OpenSSL writes with %s is read', (_, options) => {
    const pem = rsa.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
    const dir = mkdtempSync(join(tmpdir(), 'aegis-p12-'));
    writeFileSync(join(dir, 'key.pem'), pem, { mode: 0o600 });
    const request = ['req', '-x509', '-new', '-key', join(dir, 'key.pem'), '-subj', '/CN=p12', '-days', '2'];
    const certificate = openssl(request, new Uint8Array()).toString();
    rmSync(dir, { recursive: true });
    const file = openssl(
      ['pkcs12', '-export', '-name', 'Alias', '-passout', `pass:${password}`, ...options],
      Buffer.from(pem + certificate),
    );
    const read = readPkcs12(file, password, 'alias', wiper);
    expect(hex(read.pkcs8)).toBe(hex(key));
    expect(read.friendlyName).toBe('Alias');
    expect(read.certificates).toHaveLength(1);
    expect(() => readPkcs12(file, Buffer.from('wrong'), undefined, wiper)).toThrow('the password');
    expect(() => readPkcs12(file, password, 'another', wiper)).toThrow('no such private key');
  });

  test('a file that asks for endless work is refused', () => {
    const file = writePkcs12(key, [], password, 'alias');
    const at = Buffer.from(file).lastIndexOf(Buffer.from('02022710', 'hex'));
    const greedy = Buffer.concat([
      file.subarray(0, at),
      Buffer.from('0202ffff', 'hex').subarray(0, 2),
      Buffer.from('7fff', 'hex'),
      file.subarray(at + 4),
    ]);
    expect(() => readPkcs12(greedy, password, undefined, wiper)).toThrow(DerError);
  });

  test('RC2 gives the published plaintext (RFC 2268 §5)', () => {
    const key16 = Buffer.from('88bca90e90875a7f0f79c384627bafb2', 'hex');
    const plain = decryptRc2Cbc(key16, 128, new Uint8Array(8), Buffer.from('2269552ab0f85ca6', 'hex'));
    expect(hex(plain)).toBe('0000000000000000');
  });
});

test('a wiper overwrites what it was given', () => {
  const own = makeWiper();
  const bytes = own.take(Uint8Array.of(1, 2, 3));
  own.wipe();
  expect([...bytes]).toEqual([0, 0, 0]);
});

import { createHash, createPrivateKey, createPublicKey, createSecretKey, sign, verify } from 'node:crypto';
import { RootFault } from '../fault.js';
import { KEY_SPECS } from '../vocabulary/index.js';
import { decryptSymmetric, encryptSymmetric } from './ciphers.js';
import type { Spec } from './key-material.js';
import { computeMac } from './macs.js';
import { unwrapMaterial, wrapMaterial } from './wraps.js';

/** A public test key: made for the known-answer test and for nothing else. It protects nothing. */
export const TEST_RSA_PKCS8 =
  'MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQCzpt84EA/eWY3XnWX/4Nj1JAdMTIKOG1z/PMJU2GFojIIU6P7ziN3oF30dToSqphYuL0Am2cE/Z/SmFOCdEF8b0DShnfnrzgd8bUGUEuF7w/mj4lbKiZ+V5SOBnv+YL6jXhQM1NQ0b1gHYh1JtkPVRWZP4QhI4HiDamZmlRkxHOSuWUUEy25zlSGxzZDhV7IzT44boaee32PgoF68nllUVEzrzRvE0fKm9R57bLapqNy5uYxKD844OSXEwIn5ObasAKjAetwA1gA6/8g/CGYTPPT9QMcKpI9BBVq+foJDRqlYXAHthHuFj6oCLys660D2nkJeK2rU/vtb7QyEUAukBAgMBAAECggEACDeCLyjA6Q0UiT+YOjdZBQFUWh+HuyMyQjRPuRy6e9MtYfJ0MsRYTfTBErWUKM/25L7hgsVj6tgA3xXGXjiw+O8xcRDuLORcAEto+/JPIN+KS/4etR3NUEhOMvAIRbgsU0swpd7aziKgK/yofv1p0wIzW9/9wFZUb1smJWKNO5akrlGK0jaIYPlBBN4bNZAwSQasTRxS+OJsCsJENEtSEN9u9e8EoQpSDIvCdcbvuCUBgH6ay7/DIKmy4YHNwprnu16b/fdSojvldpXStYsVImjaNfwunu+wzRwgqJdol+vITacLKMOZQ/iffjr3jw+HySQUL/GN1c91C6fO154ioQKBgQDgCq6m/gl4y2AnjTmGzqPqG7IsH2PYPH7Atkd59GFs0WOCMDkioImcHbRVWlfJrKH6O+H2+Jink0QH/54flHX01+rPVY8BUwEOx4IZOsWCYuuv5ILX1Vsi8FJiVNuYVmwbT2dBqd9nmsrozz1vMIky6+Nw1NFDNX89EQMzKNF9WQKBgQDNRzUENtchHIsi2uH3CIJsubvPYYCxu4r9I/vEaw8gs0R3x8uy0QSYoW2Jrn414cZtVTZPp1HxgQ6WkH73euzLL5sdRF44Dudj2kPef6jX+k4BcxR0RpVp/feNwPapBu7IxS12Bx8wt1N6oElowu+O4cdByEr4ONq1Rw3h7P0L6QKBgQDPSZLmdsyUsra4YXYEQFRwWkezgyeB/hbYfs4LDAzH/cOvxKZYX2hyxRkAj6IBunPzbkxXkRLMmPis3diTJ20rqEpcorC5bO7hmb3JUhND2/pst2RIBeNYpDnVOOYkQHGtov3KRz2oQhPS60vQAHwwXQgGcSFcqbab7Y2kW/PXoQKBgAKT7VeDNMpmqFyksQfAJJsm7fPZvpr8xu8M36GE0qjPd4GlkapKM6uTA2QiO9WDY1GGK2tup3nH7B357I5BDe4zR9hjPmen0EIRwJ5vrfggXZBpGI2pQUEWfmBaVv6iZqdAyqRbzIl5E+RLVQCqygVaUn1B/acGV8DFBqiaqEbZAoGBAJSXrcdGIohG9p8gRyK26SxNnGKLqyZt65Yj5qz6VfK9/M2fXLbCiAkUW5WjPwORzuhWLTElJfBH4lJDSWVKcWSW3XBpmiPWY3vm0cP2umK0Xp+X6PRqKo1NxGOwElf8POrW8e6b1EkuOT3j+izRpxFjsihvJRzSX5fc/jAVuOwM';
const TEST_EC_PKCS8 =
  'MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgOVkzXZDOteU5qeZaZBubSF8oyVeVkB20KuW5ZHsV85yhRANCAARCi1F0AqEpzSYUGEci4PKwWh19WUjOSGfqtGN0xL8vpYa9Dv82GkcYhs963DIp6h4O2lqts8wCO35Z7Vl0eMh3';
const MESSAGE = Buffer.from('aegis known answer');
/** Made with the openssl command line. */
const RSA_SIGNATURE =
  'ac01ccdadbb286b199386c1a603e16b1e1d922ec45f1570c68fb1ce418211bce3f655419baa75624997a4bf24faf48e44a6434ed036cc851c8f19e558c0910b1f7cf802b2509cc10ce7c5aae3bfe325297c76842168deca68e7426c78a9ed8cee3fc0916e9893ca92fe273e8cc67df0a1e06bad66516c19d25b12681b2c4fd29033cfad1f2db90ec89a099feaf357e700dbdfef97ed3845ce1234ffd772ce54404012653308b750c156a3b1a5562dc9782e1c34005da9f44938fdd2bf6a5b2370ebd740acdfb24054d9bd8964487e28d8f7493d886ef85e8518c2993abd1e3a4a2a82a41ca07eabbc0bc5633e6c38ca5793d120a1697ad007658df6319b158b1';
const EC_SIGNATURE =
  '304502203494afcf804fee97fa8bdbec69ca39dd7c01bdf1ca8077bbc12a56992632b0d0022100b459428c48005b00c023afd3da9fc6e12f7e2ff1234d5855d2616fcb43caa829';

const hex = (text: string): Buffer => Buffer.from(text, 'hex');
const AES_128 = KEY_SPECS['aes-128'] as Spec;

const same = (what: string, got: Uint8Array, wanted: string): void => {
  if (!Buffer.from(got).equals(hex(wanted))) throw failed(what);
};
const failed = (what: string): RootFault =>
  new RootFault(
    'unavailable',
    `the known-answer test of ${what} failed`,
    'Do not use this machine for keys: its OpenSSL or its memory is broken.',
  );

/** Test case 3 of the GCM specification (McGrew, Viega). */
const testGcm = (): void => {
  const key = createSecretKey(hex('feffe9928665731c6d6a8f9467308308'));
  const plaintext = hex(
    'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255',
  );
  const iv = hex('cafebabefacedbaddecaf888');
  const { ciphertext, tag } = encryptSymmetric(key, AES_128, 'aes-gcm', plaintext, { iv });
  same(
    'AES-GCM',
    ciphertext,
    '42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985',
  );
  same('AES-GCM', tag ?? Buffer.alloc(0), '4d5c2af327cd64a62cf35abd2ba6fab4');
  same(
    'AES-GCM',
    decryptSymmetric(key, AES_128, 'aes-gcm', ciphertext, { iv, ...(tag === undefined ? {} : { tag }) }),
    plaintext.toString('hex'),
  );
};

/** SP 800-38B App. D.1, RFC 4231 §4.3, FIPS 180-4 "abc", RFC 3394 §4.1. */
const testSymmetric = (): void => {
  same(
    'AES-CMAC',
    computeMac(createSecretKey(hex('2b7e151628aed2a6abf7158809cf4f3c')), 'aes-cmac', hex('6bc1bee22e409f96e93d7e117393172a')),
    '070a16b46b4d4144f79bdd9dd04a287c',
  );
  same(
    'HMAC-SHA-256',
    computeMac(createSecretKey(Buffer.from('Jefe')), 'hmac-sha256', Buffer.from('what do ya want for nothing?')),
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
  );
  same('SHA-256', createHash('sha256').update('abc').digest(), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  const kek = createSecretKey(hex('000102030405060708090a0b0c0d0e0f'));
  const { wrapped } = wrapMaterial(kek, AES_128, 'aes-kw', hex('00112233445566778899aabbccddeeff'), {});
  same('AES-KW', wrapped, '1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5');
  same('AES-KW', unwrapMaterial(kek, AES_128, 'aes-kw', wrapped, {}), '00112233445566778899aabbccddeeff');
};

const testSignatures = (): void => {
  const rsa = createPrivateKey({ key: Buffer.from(TEST_RSA_PKCS8, 'base64'), format: 'der', type: 'pkcs8' });
  same('RSA', sign('sha256', MESSAGE, rsa), RSA_SIGNATURE);
  const ec = createPrivateKey({ key: Buffer.from(TEST_EC_PKCS8, 'base64'), format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(ec);
  if (!verify('sha256', MESSAGE, publicKey, hex(EC_SIGNATURE))) throw failed('ECDSA verification');
  if (!verify('sha256', MESSAGE, publicKey, sign('sha256', MESSAGE, ec))) throw failed('ECDSA signing');
};

/** Known answers of one algorithm of each kind. Throws RootFault `unavailable`. A few milliseconds. */
export const runSelfTest = (): void => {
  testGcm();
  testSymmetric();
  testSignatures();
};

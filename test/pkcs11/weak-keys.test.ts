import { afterAll, beforeAll, expect, test } from 'vitest';
import { CKA, CKK, CKM, CKR } from '../../src/planes/pkcs11/wire/codes.js';
import { openTestRoot } from '../keys/test-roots.js';
import { openPlane, type TestPlane } from './plane.js';
import { attribute, ProtocolClient } from './protocol-client.js';

let plane: TestPlane;
beforeAll(async () => {
  plane = await openPlane(await openTestRoot());
});
afterAll(async () => {
  await plane.close();
});

test('RSA-1024 is made for a session only, never as a token object and never over another wire', async () => {
  const client = await ProtocolClient.open(plane.path, 0);
  await client.initialize();
  const { token } = plane.token();
  const session = await client.session(token);
  const bits = [attribute(CKA.MODULUS_BITS, 1024)];
  const pair = (template: readonly ReturnType<typeof attribute>[]) =>
    client.rv('C_GenerateKeyPair', session, { type: CKM.RSA_PKCS_KEY_PAIR_GEN }, bits, template);
  expect(await pair([])).toBe(0);
  expect(await pair([attribute(CKA.TOKEN, true)])).toBe(CKR.KEY_SIZE_RANGE);
  const caller = { plane: 'rest', credential: { kind: 'bearer', token }, requestId: 'r', source: 'local' } as const;
  const made = await plane.service('create-key-pair', { spec: 'rsa-1024', shortLived: true }, caller);
  expect(made.ok ? 'made' : made.fault).toMatchObject({ code: 'invalid-field', field: 'shortLived' });
  client.end();
});

test('a single DES key is kept as what it is, and enciphers nothing', async () => {
  const client = await ProtocolClient.open(plane.path, 0);
  await client.initialize();
  const session = await client.session(plane.token().token);
  const [key] = await client.call<[number]>('C_GenerateKey', session, { type: CKM.DES_KEY_GEN }, [attribute(CKA.ENCRYPT, true)]);
  const [attributes] = await client.call<[{ value: unknown }[]]>('C_GetAttributeValue', session, key, [
    { type: CKA.KEY_TYPE, capacity: 8 },
  ]);
  expect(attributes[0]?.value).toBe(CKK.DES);
  expect(await client.rv('C_EncryptInit', session, { type: 0x121 }, key)).toBe(CKR.MECHANISM_INVALID);
  expect(await client.rv('C_EncryptInit', session, { type: CKM.DES3_ECB }, key)).toBe(CKR.KEY_TYPE_INCONSISTENT);
  client.end();
});

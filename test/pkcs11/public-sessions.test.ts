import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { CKA, CKK, CKM, CKO, CKR } from '../../src/planes/pkcs11/wire/codes.js';
import { makePolicyEngine } from '../../src/policy/engine.js';
import { openTestRoot } from '../keys/test-roots.js';
import { ask, key, makeStore, person } from '../policy/fixture.js';
import { openPlane, type TestPlane } from './plane.js';
import { attribute, ProtocolClient } from './protocol-client.js';

/** PKCS#11 v2.40 usage guide §2.4: a public session reads and writes public session objects, and nothing that is private. */

const clients: ProtocolClient[] = [];
let plane: TestPlane;
beforeAll(async () => {
  plane = await openPlane(await openTestRoot(), { publicSessions: true });
});
afterEach(() => {
  for (const client of clients.splice(0)) client.end();
});
afterAll(() => plane.close());

const open = async (): Promise<{ client: ProtocolClient; session: number }> => {
  const client = await ProtocolClient.open(plane.path, 2);
  clients.push(client);
  await client.initialize();
  return { client, session: await client.session() };
};
const AES = { type: CKM.AES_KEY_GEN };
const size = attribute(CKA.VALUE_LEN, 16);
const makeKey = async (client: ProtocolClient, session: number): Promise<number> => {
  const [handle] = await client.call<[number]>('C_GenerateKey', session, AES, [size, attribute(CKA.LABEL, Buffer.from('temporary'))]);
  return handle;
};
const find = async (client: ProtocolClient, session: number): Promise<readonly number[]> => {
  await client.call('C_FindObjectsInit', session, []);
  const [page] = await client.call<[{ values: number[] }]>('C_FindObjects', session, 100);
  await client.call('C_FindObjectsFinal', session);
  return page.values;
};

describe('a session without login', () => {
  test('makes, finds and uses a public session key, which ends with the session', async () => {
    const { client, session } = await open();
    const handle = await makeKey(client, session);
    expect(await find(client, session)).toEqual([handle]);
    await client.call('C_EncryptInit', session, { type: CKM.AES_ECB }, handle);
    const sealed = await client.output('C_Encrypt', session, Buffer.alloc(16));
    await client.call('C_DecryptInit', session, { type: CKM.AES_ECB }, handle);
    expect(Buffer.from(await client.output('C_Decrypt', session, sealed))).toEqual(Buffer.alloc(16));
    expect(await client.rv('C_CloseSession', session)).toBe(CKR.OK);
    const next = await client.session();
    expect(await find(client, next)).toEqual([]);
    expect(await client.rv('C_EncryptInit', next, { type: CKM.AES_ECB }, handle)).toBe(CKR.KEY_HANDLE_INVALID);
  });

  test('makes nothing private and nothing that lasts', async () => {
    const { client, session } = await open();
    for (const flag of [CKA.TOKEN, CKA.PRIVATE])
      expect(await client.rv('C_GenerateKey', session, AES, [size, attribute(flag, true)])).toBe(CKR.USER_NOT_LOGGED_IN);
    for (const flag of [CKA.TOKEN, CKA.PRIVATE])
      expect(
        await client.rv('C_CreateObject', session, [
          ...[attribute(CKA.CLASS, CKO.SECRET_KEY), attribute(CKA.KEY_TYPE, CKK.AES), attribute(CKA.VALUE, Buffer.alloc(16))],
          ...[attribute(CKA.ENCRYPT, true), attribute(flag, true)],
        ]),
      ).toBe(CKR.USER_NOT_LOGGED_IN);
  });

  test('sees nothing of a principal, and another connection nothing of it', async () => {
    const owner = await open();
    expect(await owner.client.rv('C_Login', owner.session, 1, Buffer.from(plane.token().token))).toBe(CKR.OK);
    await owner.client.call('C_GenerateKey', owner.session, AES, [size, attribute(CKA.TOKEN, true), attribute(CKA.PRIVATE, false)]);
    await owner.client.call('C_GenerateKey', owner.session, AES, [size, attribute(CKA.PRIVATE, false)]);
    const [one, two] = [await open(), await open()];
    const handle = await makeKey(one.client, one.session);
    expect(await find(one.client, one.session)).toEqual([handle]);
    expect(await find(two.client, two.session)).toEqual([]);
    expect(await two.client.rv('C_EncryptInit', two.session, { type: CKM.AES_ECB }, handle)).toBe(CKR.KEY_HANDLE_INVALID);
    // What the principal made is out of reach once it has logged out, on its own connection too.
    const made = await find(owner.client, owner.session);
    await owner.client.call('C_Logout', owner.session);
    expect(await find(owner.client, owner.session)).toEqual([]);
    for (const old of made) {
      await owner.client.rv('C_EncryptInit', owner.session, { type: CKM.AES_ECB }, old);
      expect(await owner.client.rv('C_Encrypt', owner.session, Buffer.alloc(16), 64)).not.toBe(CKR.OK);
      await owner.client.rv('C_SessionCancel', owner.session, 0x100);
    }
  });

  test('has no more than 64 of them', async () => {
    const { client, session } = await open();
    for (let n = 0; n < 64; n += 1) await makeKey(client, session);
    expect(await client.rv('C_GenerateKey', session, AES, [size])).toBe(CKR.HOST_MEMORY);
    const [first] = await find(client, session);
    await client.call('C_DestroyObject', session, first);
    expect(await makeKey(client, session)).toBeGreaterThan(0);
  });
});

test('the built-in policy lets the component use what it owns, and nothing of anybody else', async () => {
  const engine = await makePolicyEngine({ store: makeStore() });
  const component = person('pkcs11', { id: 'system:pkcs11', kind: 'service' });
  for (const operation of ['encrypt', 'sign', 'export-key', 'wrap', 'unwrap', 'update-object'] as const) {
    const of = (owner: string) =>
      engine.decide(
        ask(component, operation, {
          ...{ plane: 'internal', object: key('k', { owner }) },
          authentication: { method: 'internal', credentialId: 'system:pkcs11' },
        }),
      ).effect;
    expect(of('system:pkcs11'), operation).toBe('allow');
    expect(of('id-owner'), operation).toBe('deny');
  }
});

import { createHash, createPublicKey, createVerify, verify as nodeVerify } from 'node:crypto';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { CALLS } from '../../src/planes/pkcs11/calls.js';
import { CKA, CKK, CKM, CKO, CKR } from '../../src/planes/pkcs11/wire/codes.js';
import { openTestRoot } from '../keys/test-roots.js';
import { openPlane, type TestPlane } from './plane.js';
import { attribute, type Output, ProtocolClient } from './protocol-client.js';

const utf8 = (text: string) => Buffer.from(text);
const P256 = Buffer.from('06082a8648ce3d030107', 'hex');
const clients: ProtocolClient[] = [];
let plane: TestPlane;

const open = async (generation: 0 | 1 | 2 = 2, reserved = ''): Promise<ProtocolClient> => {
  const client = await ProtocolClient.open(plane.path, generation);
  clients.push(client);
  await client.initialize(reserved);
  return client;
};
const loggedIn = async (generation: 0 | 1 | 2 = 2) => {
  const client = await open(generation);
  const { token, principal, id } = plane.token();
  return { client, session: await client.session(token), principal, tokenId: id, token };
};

type Template = readonly ReturnType<typeof attribute>[];
const ecPair = async (
  client: ProtocolClient,
  session: number,
  pub: Template = [],
  priv: Template = [],
): Promise<{ publicKey: number; privateKey: number }> => {
  const [publicKey, privateKey] = await client.call<[number, number]>(
    'C_GenerateKeyPair',
    session,
    { type: CKM.EC_KEY_PAIR_GEN },
    [attribute(CKA.EC_PARAMS, P256), attribute(CKA.VERIFY, true), ...pub],
    [attribute(CKA.SIGN, true), ...priv],
  );
  return { publicKey, privateKey };
};
const get = async (client: ProtocolClient, session: number, object: number, type: number): Promise<unknown> => {
  const [attributes] = await client.call<[{ value: unknown; available: boolean }[], number]>('C_GetAttributeValue', session, object, [
    { type, capacity: 4096 },
  ]);
  return attributes[0]?.available === true ? attributes[0].value : undefined;
};
const find = async (client: ProtocolClient, session: number, template: Template): Promise<readonly number[]> => {
  await client.call('C_FindObjectsInit', session, template);
  const found: number[] = [];
  for (;;) {
    const [page] = await client.call<[{ values: number[] }]>('C_FindObjects', session, 3);
    if (page.values.length === 0) break;
    found.push(...page.values);
  }
  await client.call('C_FindObjectsFinal', session);
  return found;
};
const spkiOf = async (client: ProtocolClient, session: number, publicKey: number) =>
  createPublicKey({
    key: Buffer.from((await get(client, session, publicKey, CKA.PUBLIC_KEY_INFO)) as Uint8Array),
    format: 'der',
    type: 'spki',
  });

beforeAll(async () => {
  plane = await openPlane(await openTestRoot());
});
afterEach(() => {
  for (const client of clients.splice(0)) client.end();
});
afterAll(async () => {
  await plane.close();
});

describe('identity', () => {
  test('a token, a PIN in any spelling, and nothing else log in', async () => {
    const client = await open();
    const { token, principal } = plane.token();
    const pin = await plane.pin(principal);
    const [session] = await client.call<[number]>('C_OpenSession', 1, 6);
    for (const secret of [token, pin, pin.toLowerCase(), `${pin.slice(0, 4)}-${pin.slice(4, 8)}-${pin.slice(8)}`]) {
      await client.call('C_Login', session, 1, utf8(secret));
      expect(await client.rv('C_Login', session, 1, utf8(secret))).toBe(CKR.USER_ALREADY_LOGGED_IN);
      await client.call('C_Logout', session);
    }
    for (const wrong of [`${token}x`, 'ABCDEFGHJKMN', '1234', ''])
      expect(await client.rv('C_Login', session, 1, utf8(wrong)), wrong).toBe(CKR.PIN_INCORRECT);
  });

  test('a PIN opens only its own tenant, is no API token, and ends when revoked', async () => {
    const { principal } = plane.token('admin', 'default');
    const pin = await plane.pin(principal);
    const client = await open();
    const other = await client.session(undefined, 2);
    expect(await client.rv('C_Login', other, 1, utf8(pin)), 'slot 2 is tenant acme').toBe(CKR.PIN_INCORRECT);
    const bearer = await plane.service(
      'whoami',
      {},
      { plane: 'rest', credential: { kind: 'bearer', token: pin }, requestId: 'r', source: 'x' },
    );
    expect(bearer.ok).toBe(false);
    const rest = await plane.service(
      'whoami',
      {},
      { plane: 'rest', credential: { kind: 'pin', tenant: 'default', pin }, requestId: 'r', source: 'x' },
    );
    expect(rest.ok, 'PINs are for PKCS#11').toBe(false);
    const session = await client.session(pin);
    const { privateKey } = await ecPair(client, session);
    for (const token of plane.identity.state.tokens.values())
      if (token.principalId === principal.id) plane.identity.state.tokens.set(token.id, { ...token, revokedAt: Date.now() });
    expect(await client.rv('C_SignInit', session, { type: CKM.ECDSA }, privateKey)).toBe(0);
    expect(await client.rv('C_Sign', session, Buffer.alloc(32, 1), 100), 'revoked while logged in').toBe(CKR.USER_NOT_LOGGED_IN);
  });

  test('guesses are slowed down and then refused on the connection, whatever comes', async () => {
    const client = await open();
    const { token } = plane.token();
    const [session] = await client.call<[number]>('C_OpenSession', 1, 6);
    const guesses = Array.from({ length: 7 }, async (_, at) => {
      const began = Date.now();
      await client.rv('C_Login', session, 1, utf8(`WRNGWRNGWR${at}A`));
      return Date.now() - began;
    });
    const times = await Promise.all(guesses);
    expect(times.at(-1), 'the calls of one session queue, each failure waits longer').toBeGreaterThan(1_000);
    for (let n = 0; n < 3; n += 1) await client.rv('C_Login', session, 1, utf8(`WRNGWRNGWR${n}B`));
    expect(await client.rv('C_Login', session, 1, utf8(token)), 'this connection has had its tries').toBe(CKR.PIN_LOCKED);
    expect(await (await loggedIn()).session, 'another one has not').toBeGreaterThan(0);
  }, 30_000);

  test('without identity nothing is seen or used, but random bytes and digests are given', async () => {
    const { client: owner, session: own } = await loggedIn();
    await ecPair(owner, own, [attribute(CKA.TOKEN, true)], [attribute(CKA.TOKEN, true), attribute(CKA.LABEL, utf8('hidden'))]);
    const client = await open();
    const session = await client.session();
    expect(await find(client, session, [])).toEqual([]);
    expect(await client.rv('C_GenerateKey', session, { type: CKM.AES_KEY_GEN }, [attribute(CKA.VALUE_LEN, 16)])).toBe(
      CKR.USER_NOT_LOGGED_IN,
    );
    const [random] = await client.call<[Output]>('C_GenerateRandom', session, 64);
    expect(new Set(random.bytes).size).toBeGreaterThan(20);
    await client.call('C_DigestInit', session, { type: CKM.SHA256 });
    expect(Buffer.from(await client.output('C_Digest', session, utf8('abc')))).toEqual(createHash('sha256').update('abc').digest());
  });

  test('the reserved string of C_Initialize chooses the tenant and brings a token', async () => {
    const { token } = plane.token('admin', 'acme');
    const client = await open(2, `tenant=acme token=${token}`);
    const [slots] = await client.call<[{ values: number[] }]>('C_GetSlotList', 1, 10);
    expect(slots.values).toEqual([2]);
    const [label, , , , flags] = await client.call<[string, string, string, string, number]>('C_GetTokenInfo', 2);
    expect(label).toBe('aegis-acme');
    expect(flags & 0x4, 'no login is asked for').toBe(0);
    const session = await client.session(undefined, 2);
    await ecPair(client, session);
    const stranger = await ProtocolClient.open(plane.path);
    clients.push(stranger);
    const args = [utf8('PRIVATE-GNOME-KEYRING-PKCS11-PROTOCOL-V-1'), 1, utf8('tenant=nobody\0')];
    expect(await stranger.rv('C_Initialize', ...args)).toBe(CKR.ARGUMENTS_BAD);
  });

  test('what policy refuses is refused here, and every call is in the record', async () => {
    const client = await open();
    const { token, principal } = plane.token('auditor');
    const session = await client.session(token);
    expect(await client.rv('C_GenerateKey', session, { type: CKM.AES_KEY_GEN }, [attribute(CKA.VALUE_LEN, 16)])).toBe(
      CKR.ACTION_PROHIBITED,
    );
    const record = plane.store.records.at(-1);
    expect(record).toMatchObject({ operation: 'create-key', plane: 'pkcs11', outcome: 'refused', actor: { id: principal.id } });
  });

  test('a scope limits a login as it limits the token elsewhere', async () => {
    const client = await open();
    const { token } = plane.token('admin', 'default', ['service:whoami', 'keys:list', 'keys:read']);
    const session = await client.session(token);
    expect(await client.rv('C_GenerateKey', session, { type: CKM.AES_KEY_GEN }, [attribute(CKA.VALUE_LEN, 16)])).toBe(
      CKR.ACTION_PROHIBITED,
    );
    expect(await client.rv('C_FindObjectsInit', session, [])).toBe(0);
  });
});

describe('objects', () => {
  test('a pair made over another wire is there, with one CKA_ID and one label for both halves', async () => {
    const { client, session, token } = await loggedIn();
    const caller = { plane: 'rest', credential: { kind: 'bearer', token }, requestId: 'r', source: 'local' } as const;
    const made = await plane.service('create-key-pair', { spec: 'ec-p256', names: ['from-rest'], activate: true }, caller);
    if (!made.ok) throw new Error(made.fault.message);
    const found = await find(client, session, [attribute(CKA.LABEL, utf8('from-rest'))]);
    expect(found).toHaveLength(2);
    const id = (await get(client, session, found[0] ?? 0, CKA.ID)) as Uint8Array;
    expect(Buffer.from(id).toString('hex')).toBe(made.value.object.id.replaceAll('-', ''));
    expect(new Set(await find(client, session, [attribute(CKA.ID, id)]))).toEqual(new Set(found));
    const privates = await find(client, session, [attribute(CKA.ID, id), attribute(CKA.CLASS, CKO.PRIVATE_KEY)]);
    expect(privates).toHaveLength(1);
    expect(await find(client, session, [attribute(CKA.UNIQUE_ID, utf8(made.value.object.id))])).toEqual(privates);
  });

  test('what a private key says of itself is the truth of its root', async () => {
    const { client, session } = await loggedIn();
    const { privateKey, publicKey } = await ecPair(client, session);
    const said = async (...types: number[]) => Promise.all(types.map((type) => get(client, session, privateKey, type)));
    expect(await said(CKA.SENSITIVE, CKA.EXTRACTABLE, CKA.ALWAYS_SENSITIVE, CKA.NEVER_EXTRACTABLE, CKA.LOCAL)).toEqual([
      true,
      false,
      true,
      true,
      true,
    ]);
    const [attributes, rv] = await client.call<[{ available: boolean }[], number]>('C_GetAttributeValue', session, privateKey, [
      { type: CKA.VALUE, capacity: 100 },
    ]);
    expect([attributes[0]?.available, rv]).toEqual([false, CKR.ATTRIBUTE_SENSITIVE]);
    const value = Buffer.alloc(32, 3);
    const [imported] = await client.call<[number]>('C_CreateObject', session, [
      attribute(CKA.CLASS, CKO.SECRET_KEY),
      attribute(CKA.KEY_TYPE, CKK.AES),
      attribute(CKA.VALUE, value),
      attribute(CKA.SENSITIVE, false),
      attribute(CKA.EXTRACTABLE, true),
    ]);
    const of = async (...types: number[]) => Promise.all(types.map((type) => get(client, session, imported, type)));
    expect(await of(CKA.SENSITIVE, CKA.EXTRACTABLE, CKA.ALWAYS_SENSITIVE, CKA.NEVER_EXTRACTABLE, CKA.LOCAL)).toEqual([
      false,
      true,
      false,
      false,
      false,
    ]);
    expect(await get(client, session, imported, CKA.VALUE)).toEqual(value);
    await client.call('C_SetAttributeValue', session, imported, [attribute(CKA.SENSITIVE, true)]);
    expect(await get(client, session, imported, CKA.VALUE)).toBeUndefined();
    expect(await client.rv('C_SetAttributeValue', session, imported, [attribute(CKA.SENSITIVE, false)])).toBe(CKR.ATTRIBUTE_READ_ONLY);
    expect(await get(client, session, publicKey, CKA.EC_POINT)).toHaveLength(67);
  });

  test('C_GetAttributeValue keeps order, says each problem, and never leaves its request', async () => {
    const { client, session } = await loggedIn();
    const { privateKey } = await ecPair(client, session, [], [attribute(CKA.LABEL, utf8('ec1'))]);
    const wanted = [
      { type: CKA.LABEL, capacity: 64 },
      { type: CKA.KEY_TYPE, capacity: 8 },
      { type: CKA.VALUE, capacity: 512 },
      { type: CKA.EC_PARAMS, capacity: 0 },
      { type: CKA.START_DATE, capacity: 8 },
      { type: CKA.MODULUS, capacity: 300 },
      { type: CKA.LABEL, capacity: 1 },
    ];
    const [attributes, rv] = await client.call<[{ type: number; value: unknown; available: boolean }[], number]>(
      'C_GetAttributeValue',
      session,
      privateKey,
      wanted,
    );
    expect(attributes.map((one) => one.type)).toEqual(wanted.map((one) => one.type));
    expect(attributes.map((one) => one.available)).toEqual([true, true, false, true, true, false, false]);
    expect(rv).toBe(CKR.BUFFER_TOO_SMALL);
    expect(attributes[3]?.value).toEqual(P256);
    const old = await loggedIn(0);
    const key = await ecPair(old.client, old.session);
    expect(await old.client.rv('C_GetAttributeValue', old.session, key.privateKey, [{ type: CKA.WRAP_TEMPLATE, capacity: 0 }])).toBe(
      CKR.ATTRIBUTE_TYPE_INVALID,
    );
  });

  test('a session object is nobody else’s, and ends with its session, its login and its connection', async () => {
    const first = await loggedIn();
    const caller = { plane: 'rest', credential: { kind: 'bearer', token: first.token }, requestId: 'r', source: 'local' } as const;
    const id = utf8('mine');
    const stateOf = async (handle: number) => {
      const unique = Buffer.from((await get(first.client, first.session, handle, CKA.UNIQUE_ID)) as Uint8Array).toString();
      return async () => {
        const loaded = await plane.service('get-object', { key: unique }, caller);
        return loaded.ok ? loaded.value.object.state : loaded.fault.code;
      };
    };
    const { privateKey } = await ecPair(first.client, first.session, [], [attribute(CKA.ID, id)]);
    const state = await stateOf(privateKey);
    const second = await open();
    const other = await second.session(first.token);
    expect(await find(first.client, first.session, [attribute(CKA.ID, id)])).toHaveLength(1);
    expect(await find(second, other, [attribute(CKA.ID, id)])).toEqual([]);
    const sibling = await first.client.session();
    expect(await find(first.client, sibling, [attribute(CKA.ID, id)]), 'the application’s other sessions see it').toHaveLength(1);
    await first.client.call('C_CloseSession', first.session);
    expect(await state()).toBe('destroyed');
    expect(await first.client.rv('C_SignInit', sibling, { type: CKM.ECDSA }, privateKey)).toBe(CKR.KEY_HANDLE_INVALID);

    const third = await loggedIn();
    const pair = await ecPair(third.client, third.session);
    const unique = Buffer.from((await get(third.client, third.session, pair.privateKey, CKA.UNIQUE_ID)) as Uint8Array).toString();
    third.client.end();
    await expect.poll(async () => plane.store.objects.get(unique)?.state, { timeout: 5_000 }).toBe('destroyed');
  });

  test('token objects stay, need a writable session, and are destroyed for good', async () => {
    const { client, session, token } = await loggedIn();
    const reader = await client.session(undefined, 1, 4);
    expect(
      await client.rv('C_GenerateKey', reader, { type: CKM.AES_KEY_GEN }, [attribute(CKA.VALUE_LEN, 16), attribute(CKA.TOKEN, true)]),
    ).toBe(CKR.SESSION_READ_ONLY);
    const { privateKey } = await ecPair(
      client,
      session,
      [attribute(CKA.TOKEN, true)],
      [attribute(CKA.TOKEN, true), attribute(CKA.LABEL, utf8('durable'))],
    );
    client.end();
    const again = await open();
    const second = await again.session(token);
    const [found] = await find(again, second, [attribute(CKA.LABEL, utf8('durable')), attribute(CKA.CLASS, CKO.PRIVATE_KEY)]);
    expect(found).toBeGreaterThan(0);
    await again.call('C_DestroyObject', second, found);
    expect(await again.rv('C_DestroyObject', second, found)).toBe(CKR.OBJECT_HANDLE_INVALID);
    expect(await find(again, second, [attribute(CKA.LABEL, utf8('durable')), attribute(CKA.CLASS, CKO.PRIVATE_KEY)])).toEqual([]);
    expect(privateKey).toBeGreaterThan(0);
  });

  test('data objects and their copies, down to an empty one', async () => {
    const { client, session } = await loggedIn();
    const base = [
      attribute(CKA.CLASS, CKO.DATA),
      attribute(CKA.APPLICATION, utf8('app')),
      attribute(CKA.VALUE, Buffer.from('deadbeef', 'hex')),
      attribute(CKA.LABEL, utf8('Old')),
    ];
    const [one] = await client.call<[number]>('C_CreateObject', session, base);
    const [two] = await client.call<[number]>('C_CopyObject', session, one, []);
    await client.call('C_SetAttributeValue', session, one, [attribute(CKA.LABEL, utf8('New'))]);
    expect(await Promise.all([one, two].map((handle) => get(client, session, handle, CKA.LABEL)))).toEqual([utf8('New'), utf8('Old')]);
    const [three] = await client.call<[number]>('C_CopyObject', session, one, [attribute(CKA.VALUE, Buffer.from('facefeed', 'hex'))]);
    expect(await get(client, session, three, CKA.VALUE)).toEqual(Buffer.from('facefeed', 'hex'));
    expect(new Set(await find(client, session, [attribute(CKA.APPLICATION, utf8('app'))]))).toEqual(new Set([one, two, three]));
    expect(await client.rv('C_CopyObject', session, one, [attribute(CKA.CLASS, CKO.PUBLIC_KEY)])).toBe(CKR.ATTRIBUTE_READ_ONLY);
    const [none] = await client.call<[number]>('C_CreateObject', session, [
      attribute(CKA.CLASS, CKO.DATA),
      attribute(CKA.VALUE, Buffer.alloc(0)),
    ]);
    expect(await get(client, session, none, CKA.VALUE)).toHaveLength(0);
    const { privateKey } = await ecPair(client, session);
    expect(await client.rv('C_CopyObject', session, privateKey, []), 'keys stay in their root').toBe(CKR.ACTION_PROHIBITED);
  });

  test('templates that make no sense are refused by name', async () => {
    const { client, session } = await loggedIn();
    const aes = { type: CKM.AES_KEY_GEN };
    const rvOf = (template: Template) => client.rv('C_GenerateKey', session, aes, template);
    expect(await rvOf([])).toBe(CKR.TEMPLATE_INCOMPLETE);
    expect(await rvOf([attribute(CKA.VALUE_LEN, 17)])).toBe(CKR.KEY_SIZE_RANGE);
    expect(await rvOf([attribute(CKA.VALUE_LEN, 16), attribute(CKA.VALUE_LEN, 16)])).toBe(CKR.TEMPLATE_INCONSISTENT);
    expect(await rvOf([attribute(CKA.VALUE_LEN, 16), attribute(CKA.CLASS, CKO.PRIVATE_KEY)])).toBe(CKR.TEMPLATE_INCONSISTENT);
    expect(await rvOf([attribute(CKA.VALUE_LEN, 16), { type: CKA.TOKEN, value: undefined, available: false }])).toBe(
      CKR.ATTRIBUTE_VALUE_INVALID,
    );
    expect(await rvOf([attribute(CKA.VALUE_LEN, 16), attribute(CKA.MODULUS, Buffer.from('aa'))])).toBe(CKR.TEMPLATE_INCONSISTENT);
    expect(await rvOf([attribute(CKA.VALUE_LEN, 16), attribute(999, Buffer.from('aa'))])).toBe(CKR.ATTRIBUTE_TYPE_INVALID);
    expect(await client.rv('C_CreateObject', session, [attribute(CKA.VALUE, Buffer.from('aa'))])).toBe(CKR.TEMPLATE_INCOMPLETE);
  });
});

describe('cryptography', () => {
  for (const generation of [0, 1, 2] as const)
    test(`client generation ${generation}: ECDSA over a digest, with size query and short buffer, as node:crypto verifies`, async () => {
      const { client, session } = await loggedIn(generation);
      const { privateKey, publicKey } = await ecPair(client, session);
      const digest = createHash('sha256').update('pay').digest();
      await client.call('C_SignInit', session, { type: CKM.ECDSA }, privateKey);
      expect(await client.rv('C_SignInit', session, { type: CKM.ECDSA }, privateKey)).toBe(CKR.OPERATION_ACTIVE);
      const [size] = await client.call<[Output]>('C_Sign', session, digest, 0);
      const [short] = await client.call<[Output]>('C_Sign', session, digest, 10);
      const [made] = await client.call<[Output]>('C_Sign', session, digest, 300);
      expect([size.valid, size.needed, short.valid, short.needed, made.valid]).toEqual([false, 64, false, 64, true]);
      const key = await spkiOf(client, session, publicKey);
      expect(nodeVerify('sha256', utf8('pay'), { key, dsaEncoding: 'ieee-p1363' }, made.bytes)).toBe(true);
      expect(await client.rv('C_Sign', session, digest, 300)).toBe(CKR.OPERATION_NOT_INITIALIZED);
      await client.call('C_VerifyInit', session, { type: CKM.ECDSA }, publicKey);
      await client.call('C_Verify', session, digest, made.bytes);
      await client.call('C_VerifyInit', session, { type: CKM.ECDSA }, publicKey);
      expect(await client.rv('C_Verify', session, Buffer.alloc(32, 9), made.bytes)).toBe(CKR.SIGNATURE_INVALID);
      await client.call('C_VerifyInit', session, { type: CKM.ECDSA }, publicKey);
      expect(await client.rv('C_Verify', session, digest, made.bytes.subarray(1))).toBe(CKR.SIGNATURE_LEN_RANGE);
    });

  const ulongs = (...values: number[]) => Buffer.concat(values.map((value) => Buffer.from(value.toString(16).padStart(16, '0'), 'hex')));
  const rsaPair = (client: ProtocolClient, session: number) =>
    client.call<[number, number]>(
      'C_GenerateKeyPair',
      session,
      { type: CKM.RSA_PKCS_KEY_PAIR_GEN },
      [attribute(CKA.MODULUS_BITS, 2048), attribute(CKA.PUBLIC_EXPONENT, Buffer.of(1, 0, 1))],
      [],
    );

  test('RSA in every scheme a client passes: PKCS#1 with a DigestInfo, hashed in parts, PSS, OAEP, wrapped keys', async () => {
    const { client, session } = await loggedIn(2);
    const [publicKey, privateKey] = await rsaPair(client, session);
    const key = await spkiOf(client, session, publicKey);
    const message = Buffer.alloc(1_000_000, 0x61);
    const digest = createHash('sha256').update(message).digest();
    await client.call('C_SignInit', session, { type: CKM.RSA_PKCS }, privateKey);
    const info = Buffer.concat([Buffer.from('3031300d060960864801650304020105000420', 'hex'), digest]);
    const raw = await client.output('C_Sign', session, info);
    expect(createVerify('sha256').update(message).verify(key, raw)).toBe(true);
    await client.call('C_SignInit', session, { type: CKM.SHA256_RSA_PKCS }, privateKey);
    for (let at = 0; at < message.length; at += 100_000) await client.call('C_SignUpdate', session, message.subarray(at, at + 100_000));
    expect(Buffer.from(await client.output('C_SignFinal', session)), 'deterministic').toEqual(Buffer.from(raw));
    const pss = { type: CKM.RSA_PKCS_PSS, record: ulongs(CKM.SHA256, 2, 32) };
    await client.call('C_SignInit', session, pss, privateKey);
    const signature = await client.output('C_Sign', session, digest);
    expect(nodeVerify('sha256', message, { key, padding: 6, saltLength: 32 }, signature)).toBe(true);
    await client.call('C_SignInit', session, pss, privateKey);
    expect(await client.rv('C_Sign', session, digest.subarray(1), 256)).toBe(CKR.DATA_LEN_RANGE);
    expect(await client.rv('C_SignInit', session, { type: CKM.RSA_PKCS_PSS, record: ulongs(CKM.SHA256, 99, 32) }, privateKey)).toBe(
      CKR.MECHANISM_PARAM_INVALID,
    );
    const oaep = { type: CKM.RSA_PKCS_OAEP, record: Buffer.concat([ulongs(CKM.SHA_1, 1, 1), Buffer.alloc(4, 0xff)]) };
    await client.call('C_EncryptInit', session, oaep, publicKey);
    const sealed = await client.output('C_Encrypt', session, utf8('secret'));
    await client.call('C_DecryptInit', session, oaep, privateKey);
    const [small] = await client.call<[Output]>('C_Decrypt', session, sealed, 2);
    expect([small.valid, small.needed], 'the operation goes on').toEqual([false, 6]);
    const [opened] = await client.call<[Output]>('C_Decrypt', session, sealed, 6);
    expect(Buffer.from(opened.bytes).toString()).toBe('secret');
    const [aes] = await client.call<[number]>('C_GenerateKey', session, { type: CKM.AES_KEY_GEN }, [
      attribute(CKA.VALUE_LEN, 16),
      attribute(CKA.EXTRACTABLE, true),
      attribute(CKA.SENSITIVE, false),
    ]);
    for (const mechanism of [oaep, { type: CKM.RSA_PKCS }]) {
      const [asked] = await client.call<[Output]>('C_WrapKey', session, mechanism, publicKey, aes, 0);
      const [wrapped] = await client.call<[Output]>('C_WrapKey', session, mechanism, publicKey, aes, asked.needed);
      const template = [
        attribute(CKA.CLASS, CKO.SECRET_KEY),
        attribute(CKA.KEY_TYPE, CKK.AES),
        attribute(CKA.VALUE_LEN, 16),
        attribute(CKA.EXTRACTABLE, true),
        attribute(CKA.SENSITIVE, false),
      ];
      const [again] = await client.call<[number]>('C_UnwrapKey', session, mechanism, privateKey, wrapped.bytes, template);
      expect(await get(client, session, again, CKA.VALUE)).toEqual(await get(client, session, aes, CKA.VALUE));
    }
    expect(await client.rv('C_WrapKey', session, oaep, publicKey, privateKey, 300)).toBe(CKR.KEY_UNEXTRACTABLE);
  }, 30_000);

  test('AES in one part and in parts gives the same, GCM keeps its tag to the end', async () => {
    const { client, session } = await loggedIn(2);
    const [key] = await client.call<[number]>('C_GenerateKey', session, { type: CKM.AES_KEY_GEN }, [attribute(CKA.VALUE_LEN, 32)]);
    const iv = Buffer.concat([Buffer.of(0, 0, 0, 16), Buffer.alloc(16, 5)]);
    const gcm = Buffer.concat([Buffer.of(0, 0, 0, 12), Buffer.alloc(12, 6), ulongs(96), Buffer.of(0, 0, 0, 3), utf8('aad'), ulongs(128)]);
    const data = Buffer.alloc(100, 0x41);
    for (const [name, mechanism] of [
      ['cbc-pad', { type: CKM.AES_CBC_PAD, record: iv }],
      ['ctr', { type: CKM.AES_CTR, record: Buffer.concat([ulongs(128), iv]) }],
      ['gcm', { type: CKM.AES_GCM, record: gcm }],
    ] as const) {
      await client.call('C_EncryptInit', session, mechanism, key);
      const whole = await client.output('C_Encrypt', session, data);
      const stream = async (
        init: 'C_EncryptInit' | 'C_DecryptInit',
        update: 'C_EncryptUpdate' | 'C_DecryptUpdate',
        final: 'C_EncryptFinal' | 'C_DecryptFinal',
        input: Uint8Array,
      ) => {
        await client.call(init, session, mechanism, key);
        const parts: Uint8Array[] = [];
        for (let at = 0; at < input.length; at += 33)
          parts.push((await client.call<[Output]>(update, session, input.subarray(at, at + 33), 200))[0].bytes);
        parts.push((await client.call<[Output]>(final, session, 200))[0].bytes);
        return Buffer.concat(parts);
      };
      expect((await stream('C_EncryptInit', 'C_EncryptUpdate', 'C_EncryptFinal', data)).equals(whole), name).toBe(true);
      expect((await stream('C_DecryptInit', 'C_DecryptUpdate', 'C_DecryptFinal', whole)).equals(data), name).toBe(true);
      await client.call('C_DecryptInit', session, mechanism, key);
      expect(Buffer.from(await client.output('C_Decrypt', session, whole)).equals(data), name).toBe(true);
    }
    await client.call('C_EncryptInit', session, { type: CKM.AES_GCM, record: gcm }, key);
    const sealed = Buffer.from(await client.output('C_Encrypt', session, data));
    sealed[3] = (sealed[3] ?? 0) ^ 1;
    await client.call('C_DecryptInit', session, { type: CKM.AES_GCM, record: gcm }, key);
    expect(await client.rv('C_Decrypt', session, sealed, 200)).toBe(CKR.ENCRYPTED_DATA_INVALID);
    expect(await client.rv('C_Decrypt', session, sealed, 200), 'a failure ends the operation').toBe(CKR.OPERATION_NOT_INITIALIZED);
  });

  test('client 0.24.1 ends an ECB operation with a buffer of length 0, which looks like a size query', async () => {
    const { client, session } = await loggedIn(0);
    const [key] = await client.call<[number]>('C_GenerateKey', session, { type: CKM.AES_KEY_GEN }, [attribute(CKA.VALUE_LEN, 32)]);
    for (let round = 0; round < 2; round += 1) {
      await client.call('C_EncryptInit', session, { type: CKM.AES_ECB }, key);
      await client.call('C_EncryptUpdate', session, Buffer.alloc(32, 1), 64);
      const [end] = await client.call<[Output]>('C_EncryptFinal', session, 0);
      expect([end.valid, end.bytes.length]).toEqual([true, 0]);
    }
    const [repeat] = await client.call<[Output]>('C_EncryptFinal', session, 64);
    expect(repeat.bytes).toHaveLength(0);
    expect(await client.rv('C_EncryptFinal', session, 64)).toBe(CKR.OPERATION_NOT_INITIALIZED);
  });

  test('MACs with generic secrets, whole, cut and in parts', async () => {
    const { client, session } = await loggedIn(2);
    const [key] = await client.call<[number]>('C_CreateObject', session, [
      attribute(CKA.CLASS, CKO.SECRET_KEY),
      attribute(CKA.KEY_TYPE, CKK.GENERIC_SECRET),
      attribute(CKA.VALUE, Buffer.alloc(20, 0x0b)),
      attribute(CKA.SIGN, true),
      attribute(CKA.VERIFY, true),
    ]);
    await client.call('C_SignInit', session, { type: CKM.SHA256_HMAC }, key);
    const mac = Buffer.from(await client.output('C_Sign', session, utf8('Hi There')));
    expect(mac.toString('hex'), 'RFC 4231 test case 1').toBe('b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7');
    await client.call('C_SignInit', session, { type: CKM.SHA256_HMAC_GENERAL, record: ulongs(16) }, key);
    expect(Buffer.from(await client.output('C_Sign', session, utf8('Hi There')))).toEqual(mac.subarray(0, 16));
    await client.call('C_VerifyInit', session, { type: CKM.SHA256_HMAC }, key);
    await client.call('C_VerifyUpdate', session, utf8('Hi '));
    await client.call('C_VerifyUpdate', session, utf8('There'));
    await client.call('C_VerifyFinal', session, mac);
    expect(await client.rv('C_SignInit', session, { type: CKM.ECDSA }, key)).toBe(CKR.KEY_TYPE_INCONSISTENT);
  });

  test('ECDH gives both sides the same secret', async () => {
    const { client, session } = await loggedIn(2);
    const derive = [attribute(CKA.DERIVE, true)];
    const [a, b] = [await ecPair(client, session, [], derive), await ecPair(client, session, [], derive)];
    const secret = async (own: number, peer: number) => {
      const point = Buffer.from((await get(client, session, peer, CKA.EC_POINT)) as Uint8Array).subarray(2);
      const record = Buffer.concat([ulongs(1), Buffer.alloc(4, 0xff), Buffer.of(0, 0, 0, point.length), point]);
      const template = [
        attribute(CKA.CLASS, CKO.SECRET_KEY),
        attribute(CKA.KEY_TYPE, CKK.GENERIC_SECRET),
        attribute(CKA.EXTRACTABLE, true),
        attribute(CKA.SENSITIVE, false),
      ];
      const body = await client.exchange(
        ProtocolClient.request('C_DeriveKey2', [session, { type: CKM.ECDH1_DERIVE, record }, own, template], 2),
      );
      expect(body.subarray(8, 11).toString()).toBe('uPu');
      return get(client, session, Number(body.readBigUInt64BE(body.length - 8)), CKA.VALUE);
    };
    const shared = await secret(a.privateKey, b.publicKey);
    expect(shared).toHaveLength(32);
    expect(await secret(b.privateKey, a.publicKey)).toEqual(shared);
  });

  test('a key is what its template made it: usage, allowed mechanisms, class', async () => {
    const { client, session } = await loggedIn(2);
    const { privateKey, publicKey } = await ecPair(client, session);
    expect(await client.rv('C_DecryptInit', session, { type: CKM.RSA_PKCS }, privateKey)).toBe(CKR.KEY_TYPE_INCONSISTENT);
    expect(await client.rv('C_SignInit', session, { type: CKM.ECDSA }, publicKey)).toBe(CKR.KEY_TYPE_INCONSISTENT);
    const [aes] = await client.call<[number]>('C_GenerateKey', session, { type: CKM.AES_KEY_GEN }, [
      attribute(CKA.VALUE_LEN, 16),
      attribute(CKA.ENCRYPT, true),
      attribute(CKA.ALLOWED_MECHANISMS, [CKM.AES_ECB]),
    ]);
    const iv = Buffer.concat([Buffer.of(0, 0, 0, 16), Buffer.alloc(16)]);
    expect(await client.rv('C_EncryptInit', session, { type: CKM.AES_CBC, record: iv }, aes)).toBe(CKR.MECHANISM_INVALID);
    expect(await client.rv('C_DecryptInit', session, { type: CKM.AES_ECB }, aes)).toBe(CKR.KEY_FUNCTION_NOT_PERMITTED);
    expect(await client.rv('C_EncryptInit', session, { type: CKM.AES_ECB }, aes)).toBe(0);
    expect(await client.rv('C_EncryptInit', session, undefined, 0), 'a NULL mechanism cancels').toBe(0);
    expect(await client.rv('C_Encrypt', session, Buffer.alloc(16), 16)).toBe(CKR.OPERATION_NOT_INITIALIZED);
  });
});

describe('the connection', () => {
  test('16 threads on one connection: every answer finds its question, slow ones delay nobody', async () => {
    const { client, session: owner } = await loggedIn(1);
    const { privateKey, publicKey } = await ecPair(client, owner);
    const key = await spkiOf(client, owner, publicKey);
    const blocked = client.rv('C_WaitForSlotEvent', 0);
    await Promise.all(
      Array.from({ length: 16 }, async (_, thread) => {
        const session = await client.session();
        for (let n = 0; n < 10; n += 1) {
          const message = utf8(`${thread}/${n}`);
          await client.call('C_SignInit', session, { type: CKM.ECDSA }, privateKey);
          const [made] = await client.call<[Output]>('C_Sign', session, createHash('sha256').update(message).digest(), 64);
          expect(nodeVerify('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, made.bytes)).toBe(true);
        }
      }),
    );
    expect(await Promise.race([blocked, sleep(20, 'still waiting')])).toBe('still waiting');
    expect(await client.rv('C_WaitForSlotEvent', 1)).toBe(CKR.NO_EVENT);
  });

  test('200 clients at once', async () => {
    const { token } = plane.token();
    const many = await Promise.all(Array.from({ length: 200 }, () => open()));
    const sessions = await Promise.all(many.map((client) => client.session(token)));
    const infos = await Promise.all(many.map((client, at) => client.call('C_GetSessionInfo', sessions[at])));
    expect(infos.every(([slot, state]) => slot === 1 && state === 3)).toBe(true);
    expect(plane.server.status().clients.length).toBeGreaterThanOrEqual(200);
    for (const client of many) client.end();
    await expect.poll(() => plane.server.status().clients.length, { timeout: 10_000 }).toBeLessThan(20);
  });

  test('a client that dies in the middle of making a key leaves nothing behind', async () => {
    const before = new Set(plane.store.objects.keys());
    const { client, session } = await loggedIn();
    for (let n = 0; n < 5; n += 1) void client.rv('C_GenerateKey', session, { type: CKM.AES_KEY_GEN }, [attribute(CKA.VALUE_LEN, 16)]);
    await sleep(1);
    client.end();
    await sleep(50);
    await expect
      .poll(
        () => [...plane.store.objects.values()].filter((object) => !before.has(object.id)).every((object) => object.state === 'destroyed'),
        { timeout: 5_000 },
      )
      .toBe(true);
  });

  test('sessions, logins and handles outlive a restart of the service; calls wait for it; the client notices nothing', async () => {
    const { client, session, token } = await loggedIn();
    const { privateKey, publicKey } = await ecPair(client, session, [attribute(CKA.TOKEN, true)], [attribute(CKA.TOKEN, true)]);
    const digest = createHash('sha256').update('x').digest();
    const sign = async (): Promise<number> =>
      (await client.rv('C_SignInit', session, { type: CKM.ECDSA }, privateKey)) || client.rv('C_Sign', session, digest, 64);
    for (const orderly of [true, false]) {
      await plane.restart(orderly);
      expect(await sign(), orderly ? 'after an orderly stop' : 'after a crash').toBe(0);
    }
    expect((await client.call('C_GetSessionInfo', session))[1], 'still logged in').toBe(3);
    expect(await get(client, session, publicKey, CKA.VERIFY)).toBe(true);
    await client.call('C_SignInit', session, { type: CKM.ECDSA }, privateKey);
    await plane.restart(true);
    expect(await client.rv('C_Sign', session, digest, 64), 'begun before an orderly restart').toBe(0);
    await client.call('C_Logout', session);
    await plane.restart(true);
    expect((await client.call('C_GetSessionInfo', session))[1], 'a logout is not undone by a restart').toBe(2);
    const waiting = plane.server.stop().then(() => sleep(300));
    const during = client.rv('C_Login', session, 1, utf8(token));
    await waiting;
    await plane.restart(false).catch(() => undefined);
    expect(await during).toBe(0);
  }, 20_000);

  test('a session object made before a restart is still its session’s, and one of nobody is ended', async () => {
    const { client, session } = await loggedIn();
    const { privateKey } = await ecPair(client, session);
    const unique = Buffer.from((await get(client, session, privateKey, CKA.UNIQUE_ID)) as Uint8Array).toString();
    await plane.restart(false);
    expect(await client.rv('C_SignInit', session, { type: CKM.ECDSA }, privateKey)).toBe(0);
    await client.call('C_CloseSession', session);
    expect(plane.store.objects.get(unique)?.state).toBe('destroyed');
  });

  test('a client that sends much and reads nothing is not read on, and others go on', async () => {
    const greedy = await ProtocolClient.open(plane.path);
    clients.push(greedy);
    await greedy.initialize();
    const session = await greedy.session();
    await greedy.call('C_DigestInit', session, { type: CKM.SHA256 });
    const update = ProtocolClient.request('C_DigestUpdate', [session, Buffer.alloc(4 * 1024 * 1024)], 2);
    const before = process.memoryUsage().rss;
    const sent = Array.from({ length: 40 }, () => greedy.exchange(update));
    const other = await loggedIn();
    expect((await other.client.call('C_GetSessionInfo', other.session))[0]).toBe(1);
    // Client, door and service share this process: three copies of what is under way, never of all that is sent.
    await Promise.all(sent);
    expect(process.memoryUsage().rss - before).toBeLessThan(700 * 1024 * 1024);
  }, 60_000);

  test('whatever bytes arrive, the plane answers or waits, and goes on', async () => {
    const { client, session } = await loggedIn();
    let seed = 7;
    const next = (below: number): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed % below;
    };
    const raw = connect(plane.path);
    raw.on('error', () => undefined);
    raw.write(Uint8Array.of(2));
    raw.on('data', () => undefined);
    for (let n = 0; n < 1_500; n += 1) {
      const row = CALLS[next(CALLS.length)];
      if (row === undefined || ['C_WaitForSlotEvent'].includes(row.name)) continue;
      const body = Buffer.alloc(8 + row.request.length + next(80));
      body.writeUInt32BE(row.id, 0);
      body.writeUInt32BE(row.request.length, 4);
      body.write(row.request, 8);
      for (let at = 8 + row.request.length; at < body.length; at += 1) body[at] = next(4) === 0 ? next(256) : next(3);
      const frame = Buffer.alloc(12 + body.length);
      frame.writeUInt32BE(n, 0);
      frame.writeUInt32BE(next(20) === 0 ? 5_000 : 0, 4);
      frame.writeUInt32BE(body.length, 8);
      body.copy(frame, 12);
      raw.write(frame);
    }
    raw.write(Buffer.alloc(5_000, 0xff));
    await sleep(200);
    expect((await client.call('C_GetSessionInfo', session))[0]).toBe(1);
    raw.destroy();
    // A body of the right call that is wrong inside gets the error of §12.4, and the connection stays.
    const body = await client.exchange(Buffer.from('0000000d0000000175' + '00', 'hex'));
    expect(body.readUInt32BE(0)).toBe(0);
    expect(body.readUInt32BE(body.length - 4)).toBe(CKR.DEVICE_ERROR);
    const unknown = await client.exchange(Buffer.from('000003e800000000', 'hex'));
    expect(unknown.readUInt32BE(unknown.length - 4)).toBe(CKR.FUNCTION_NOT_SUPPORTED);
    expect(plane.problems.filter((one) => JSON.stringify(one).includes('failed inside'))).toEqual([]);
  });
});

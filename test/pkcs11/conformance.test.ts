import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CKA, CKM, CKO, CKR, type CkrName } from '../../src/planes/pkcs11/wire/codes.js';
import { discard } from '../service/running-service.js';
import { CLIENT_MODULE, openProgramRun, type ProgramRun, skipWithout } from './programs.js';

/**
 * What PKCS#11 v2.40 asks of every token, call by call, through the stock client of the distribution. A row is a session and
 * the calls made in it; a step is a call, its arguments (see native/conformance.py), the return values that are right, and
 * the length and bytes it must give.
 */

type Arg = number | null | Readonly<Record<string, unknown>>;
interface Step {
  readonly call: string;
  readonly args: readonly Arg[];
  readonly rv: readonly CkrName[];
  readonly length?: number;
  readonly bytes?: string;
}
interface Row {
  readonly clause: string;
  readonly name: string;
  readonly session: 'none' | 'ro' | 'rw';
  readonly login?: false;
  readonly steps: readonly Step[];
}

const S = { s: 1 };
const NOWHERE = 99_999;
const step = (call: string, args: readonly Arg[], rv: CkrName | readonly CkrName[], gives: Pick<Step, 'length' | 'bytes'> = {}): Step => ({
  ...{ call, args, rv: typeof rv === 'string' ? [rv] : rv },
  ...gives,
});
const v = (name: string): Arg => ({ var: name });
const mech = (type: number): Arg => ({ mech: type });
const data = (bytes: Uint8Array): Arg => ({ data: Buffer.from(bytes).toString('hex') });
type AttributeRow = readonly [type: number, form: 'bool' | 'ulong' | 'hex', value: unknown];
const template = (...rows: readonly AttributeRow[]): Arg => ({ template: rows });
const text = (value: string): string => Buffer.from(value).toString('hex');
const yes = (type: number) => [type, 'bool', true] as const;
const no = (type: number) => [type, 'bool', false] as const;

const OK: CkrName = 'OK';
const MESSAGE = Buffer.alloc(64, 0x5a);
const ONE = MESSAGE.subarray(0, 16);

const aes = (name: string, ...rows: readonly AttributeRow[]): Step =>
  step('C_GenerateKey', [S, mech(CKM.AES_KEY_GEN), template([CKA.VALUE_LEN, 'ulong', 16], ...rows), { handle: name }], OK);
const cipherKey = aes('key', yes(CKA.ENCRYPT), yes(CKA.DECRYPT));
const rsa = (publicUse: number, privateUse: number): Step =>
  step(
    'C_GenerateKeyPair',
    [
      ...[S, mech(CKM.RSA_PKCS_KEY_PAIR_GEN)],
      template(yes(publicUse), [CKA.MODULUS_BITS, 'ulong', 2048], [CKA.PUBLIC_EXPONENT, 'hex', '00010001']),
      template(yes(privateUse), yes(CKA.SENSITIVE)),
      ...[{ handle: 'public' }, { handle: 'private' }],
    ],
    OK,
  );
const dataObject = (label: string, name: string): Step =>
  step(
    'C_CreateObject',
    [
      S,
      template(
        [CKA.CLASS, 'ulong', CKO.DATA],
        no(CKA.TOKEN),
        [CKA.LABEL, 'hex', text(label)],
        [CKA.APPLICATION, 'hex', text('conformance')],
        [CKA.VALUE, 'hex', 'deadbeef'],
      ),
      { handle: name },
    ],
    OK,
  );
const read = (object: string, type: number, rv: CkrName, gives: Pick<Step, 'length' | 'bytes'> = {}, room = 512): Step =>
  step('C_GetAttributeValue', [S, v(object), { room: [type, room] }], rv, gives);

const sessions: readonly Row[] = [
  {
    clause: '§5.6',
    name: 'sessions are serial, of a slot that is there, and end once',
    session: 'none',
    steps: [
      step('C_OpenSession', [v('slot'), 0, null, null, { handle: 'a' }], 'SESSION_PARALLEL_NOT_SUPPORTED'),
      step('C_OpenSession', [88_888, 4, null, null, { handle: 'a' }], 'SLOT_ID_INVALID'),
      step('C_OpenSession', [v('slot'), 4, null, null, { handle: 'a' }], OK),
      step('C_CloseSession', [v('a')], OK),
      step('C_CloseSession', [v('a')], 'SESSION_HANDLE_INVALID'),
      step('C_CloseAllSessions', [88_888], 'SLOT_ID_INVALID'),
      step('C_CloseAllSessions', [v('slot')], OK),
    ],
  },
  {
    clause: '§5.6.1',
    name: 'no read-only session opens while the security officer is in',
    session: 'rw',
    login: false,
    steps: [
      step('C_Login', [S, 0, { pin: 1 }], OK),
      step('C_Login', [S, 1, { pin: 1 }], 'USER_ANOTHER_ALREADY_LOGGED_IN'),
      step('C_OpenSession', [v('slot'), 4, null, null, { handle: 'a' }], 'SESSION_READ_WRITE_SO_EXISTS'),
      step('C_Logout', [S], OK),
      step('C_Logout', [S], 'USER_NOT_LOGGED_IN'),
    ],
  },
  {
    clause: '§5.6.8',
    name: 'a user logs in once, not as an unknown kind, and the security officer not beside a read-only session',
    session: 'ro',
    steps: [
      step('C_Login', [S, 1, { pin: 1 }], 'USER_ALREADY_LOGGED_IN'),
      step('C_Login', [S, 99, { pin: 1 }], 'USER_TYPE_INVALID'),
      step('C_Login', [NOWHERE, 1, { pin: 1 }], 'SESSION_HANDLE_INVALID'),
      step('C_Logout', [S], OK),
      step('C_Login', [S, 0, { pin: 1 }], 'SESSION_READ_ONLY_EXISTS'),
    ],
  },
  {
    clause: '§3.2',
    name: 'a wrong PIN shows in the flags of the token until a right one comes',
    session: 'ro',
    login: false,
    steps: [
      step('C_Login', [S, 1, data(Buffer.from('simply wrong'))], 'PIN_INCORRECT'),
      step('C_GetTokenInfo', [v('slot'), { token: 1 }], OK, { length: 0x1046d }),
      step('C_Login', [S, 1, { pin: 1 }], OK),
      step('C_GetTokenInfo', [v('slot'), { token: 1 }], OK, { length: 0x46d }),
    ],
  },
  {
    clause: '§5.6.5',
    name: 'operation state is not supported, and neither are PINs set through the token',
    session: 'rw',
    steps: [
      step('C_GetOperationState', [S, { size: 1 }], 'FUNCTION_NOT_SUPPORTED'),
      step('C_GetOperationState', [NOWHERE, { size: 1 }], 'SESSION_HANDLE_INVALID'),
      step('C_InitPIN', [S, data(ONE)], 'FUNCTION_NOT_SUPPORTED'),
      step('C_SetPIN', [S, data(ONE), data(ONE)], 'FUNCTION_NOT_SUPPORTED'),
    ],
  },
  {
    clause: '§5.14',
    name: 'random bytes are seeded and given in a session that is there',
    session: 'ro',
    steps: [
      step('C_SeedRandom', [S, data(ONE)], OK),
      step('C_SeedRandom', [NOWHERE, data(ONE)], 'SESSION_HANDLE_INVALID'),
      step('C_GenerateRandom', [NOWHERE, data(ONE)], 'SESSION_HANDLE_INVALID'),
      step('C_GenerateRandom', [S, data(ONE)], OK),
    ],
  },
];

const objects: readonly Row[] = [
  {
    clause: '§5.7',
    name: 'an object is created, copied, changed and destroyed; the copy is its own',
    session: 'rw',
    steps: [
      dataObject('before', 'one'),
      step('C_CopyObject', [S, v('one'), template([CKA.VALUE, 'hex', 'cafe']), { handle: 'two' }], OK),
      step('C_SetAttributeValue', [S, v('one'), template([CKA.LABEL, 'hex', text('after')])], OK),
      read('one', CKA.LABEL, OK, { bytes: text('after') }),
      read('two', CKA.LABEL, OK, { bytes: text('before') }),
      read('two', CKA.VALUE, OK, { bytes: 'cafe' }),
      read('one', CKA.LABEL, 'BUFFER_TOO_SMALL', {}, 1),
      read('one', CKA.CERTIFICATE_TYPE, 'ATTRIBUTE_TYPE_INVALID'),
      step('C_CopyObject', [S, v('one'), template([CKA.CLASS, 'ulong', CKO.PUBLIC_KEY]), { handle: 'no' }], 'ATTRIBUTE_READ_ONLY'),
      step('C_SetAttributeValue', [S, v('one'), template([CKA.CLASS, 'ulong', CKO.PUBLIC_KEY])], 'ATTRIBUTE_READ_ONLY'),
      step('C_DestroyObject', [S, v('one')], OK),
      step('C_DestroyObject', [S, v('one')], 'OBJECT_HANDLE_INVALID'),
      read('two', CKA.LABEL, OK, { bytes: text('before') }),
    ],
  },
  {
    clause: '§5.7.7',
    name: 'a search begins before it finds, finds what matches, and has no room of nothing',
    session: 'rw',
    steps: [
      dataObject('searched', 'one'),
      step('C_FindObjects', [S, { found: 5 }], 'OPERATION_NOT_INITIALIZED'),
      step('C_FindObjectsInit', [S, template([CKA.LABEL, 'hex', text('searched')], [CKA.APPLICATION, 'hex', text('conformance')])], OK),
      step('C_FindObjectsInit', [S, template()], 'OPERATION_ACTIVE'),
      step('C_FindObjects', [S, null, 1, { handle: 'count' }], 'ARGUMENTS_BAD'),
      step('C_FindObjects', [S, { found: 5 }], OK, { length: 1 }),
      step('C_FindObjects', [S, { found: 5 }], OK, { length: 0 }),
      step('C_FindObjectsFinal', [S], OK),
      step('C_FindObjectsFinal', [S], 'OPERATION_NOT_INITIALIZED'),
      step('C_FindObjectsInit', [S, template([CKA.LABEL, 'hex', text('searched, not')])], OK),
      step('C_FindObjects', [S, { found: 5 }], OK, { length: 0 }),
    ],
  },
  {
    clause: '§4.1.1',
    name: 'a template says enough, and no token object is made in a read-only session',
    session: 'ro',
    steps: [
      step('C_CreateObject', [S, template(), { handle: 'x' }], 'TEMPLATE_INCOMPLETE'),
      step('C_CreateObject', [S, template([CKA.VALUE, 'hex', '00']), { handle: 'x' }], 'TEMPLATE_INCOMPLETE'),
      step(
        'C_CreateObject',
        [S, template([CKA.CLASS, 'ulong', CKO.DATA], yes(CKA.TOKEN), [CKA.VALUE, 'hex', '00']), { handle: 'x' }],
        'SESSION_READ_ONLY',
      ),
    ],
  },
  {
    clause: '§4.9',
    name: 'what has become sensitive stays so, and what cannot leave never can',
    session: 'rw',
    steps: [
      aes('key', yes(CKA.EXTRACTABLE), no(CKA.SENSITIVE)),
      read('key', CKA.VALUE, OK, { length: 16 }),
      step('C_SetAttributeValue', [S, v('key'), template(yes(CKA.SENSITIVE))], OK),
      step('C_SetAttributeValue', [S, v('key'), template(no(CKA.SENSITIVE))], 'ATTRIBUTE_READ_ONLY'),
      read('key', CKA.VALUE, 'ATTRIBUTE_SENSITIVE'),
      aes('kept', no(CKA.EXTRACTABLE), no(CKA.SENSITIVE)),
      read('kept', CKA.VALUE, 'ATTRIBUTE_SENSITIVE'),
      step('C_SetAttributeValue', [S, v('kept'), template(yes(CKA.EXTRACTABLE))], 'ATTRIBUTE_READ_ONLY'),
    ],
  },
];

const ended = (call: string, args: readonly Arg[]): Step => step(call, args, 'OPERATION_NOT_INITIALIZED');
const cipherRows = (name: 'Encrypt' | 'Decrypt', short: CkrName): readonly Row[] => {
  const [init, whole, update, final] = [`C_${name}Init`, `C_${name}`, `C_${name}Update`, `C_${name}Final`] as const;
  const begin = step(init, [S, mech(CKM.AES_ECB), v('key')], OK);
  const row = (clause: string, title: string, steps: readonly Step[]): Row => ({
    ...{ clause, name: `${name}: ${title}`, session: 'ro' },
    steps: [cipherKey, ...steps],
  });
  return [
    row('§5.2', 'a size query and a small buffer leave the operation as it was', [
      begin,
      step(whole, [S, data(MESSAGE), { size: 1 }], OK, { length: 64 }),
      step(whole, [S, data(MESSAGE), { out: 63 }], 'BUFFER_TOO_SMALL', { length: 64 }),
      step(whole, [S, data(MESSAGE), { out: 64 }], OK, { length: 64 }),
      ended(whole, [S, data(MESSAGE), { out: 64 }]),
    ]),
    row('§5.8', 'a single-part call after parts ends the operation', [
      begin,
      step(update, [S, data(ONE), { out: 64 }], OK, { length: 16 }),
      step(whole, [S, data(ONE), { out: 64 }], 'OPERATION_ACTIVE'),
      ended(final, [S, { out: 64 }]),
    ]),
    row('§5.8', 'parts after the size of a single-part call end the operation', [
      begin,
      step(whole, [S, data(ONE), { size: 1 }], OK),
      step(update, [S, data(ONE), { out: 64 }], 'OPERATION_ACTIVE'),
      ended(whole, [S, data(ONE), { out: 64 }]),
    ]),
    row('§5.8', 'an end without parts gives nothing', [begin, step(final, [S, { out: 64 }], OK, { length: 0 })]),
    row('§5.8', 'half a block is refused and ends the operation', [
      begin,
      step(whole, [S, data(MESSAGE.subarray(0, 15)), { out: 64 }], short),
      ended(whole, [S, data(MESSAGE), { out: 64 }]),
    ]),
    row('§5.8.1', 'Init says what is wrong: mechanism, key, kind of key, use, and that one is running', [
      step(init, [S, mech(999), v('key')], 'MECHANISM_INVALID'),
      step(init, [S, mech(CKM.AES_ECB), 77_777], 'KEY_HANDLE_INVALID'),
      step(init, [S, mech(CKM.RSA_PKCS), v('key')], 'KEY_TYPE_INCONSISTENT'),
      step(init, [NOWHERE, mech(CKM.AES_ECB), v('key')], 'SESSION_HANDLE_INVALID'),
      aes('other', yes(CKA.WRAP)),
      step(init, [S, mech(CKM.AES_ECB), v('other')], 'KEY_FUNCTION_NOT_PERMITTED'),
      begin,
      step(init, [S, mech(CKM.AES_ECB), v('key')], 'OPERATION_ACTIVE'),
    ]),
  ];
};

const DIGESTS = [
  ['md5', CKM.MD5],
  ['sha1', CKM.SHA_1],
  ['sha256', CKM.SHA256],
  ['sha384', CKM.SHA384],
  ['sha512', CKM.SHA512],
] as const;
const digestRows: readonly Row[] = DIGESTS.flatMap(([name, type]): Row[] => {
  const right = createHash(name).update(MESSAGE).digest('hex');
  const begin = step('C_DigestInit', [S, mech(type)], OK);
  const row = (title: string, steps: readonly Step[]): Row => ({ clause: '§5.10', name: `${name}: ${title}`, session: 'ro', steps });
  return [
    row('whole and in parts, after a size query and a small buffer', [
      begin,
      step('C_Digest', [S, data(MESSAGE), { size: 1 }], OK, { length: right.length / 2 }),
      step('C_Digest', [S, data(MESSAGE), { out: 2 }], 'BUFFER_TOO_SMALL', { length: right.length / 2 }),
      step('C_Digest', [S, data(MESSAGE), { out: 128 }], OK, { bytes: right }),
      ended('C_DigestUpdate', [S, data(ONE)]),
      begin,
      step('C_DigestInit', [S, mech(type)], 'OPERATION_ACTIVE'),
      ...[0, 1, 2, 3].map((at) => step('C_DigestUpdate', [S, data(MESSAGE.subarray(at * 16, at * 16 + 16))], OK)),
      step('C_DigestFinal', [S, { size: 1 }], OK, { length: right.length / 2 }),
      step('C_DigestFinal', [S, { out: 128 }], OK, { bytes: right }),
    ]),
    row('the single-part call does not end parts, but the operation', [
      begin,
      step('C_DigestUpdate', [S, data(ONE)], OK),
      step('C_Digest', [S, data(ONE), { out: 128 }], 'OPERATION_ACTIVE'),
      ended('C_DigestFinal', [S, { out: 128 }]),
    ]),
    row('Final does not end a single-part call, but the operation', [
      begin,
      step('C_Digest', [S, data(ONE), { size: 1 }], OK),
      step('C_DigestFinal', [S, { out: 128 }], 'OPERATION_ACTIVE'),
      ended('C_Digest', [S, data(ONE), { out: 128 }]),
    ]),
    row('keys are not digested, and handles are looked at first', [
      cipherKey,
      begin,
      step('C_DigestKey', [S, 77_777], 'KEY_HANDLE_INVALID'),
      step('C_DigestKey', [S, v('key')], 'KEY_INDIGESTIBLE'),
    ]),
  ];
});

const SIGNATURES = [
  ['RSA_PKCS', CKM.RSA_PKCS],
  ['SHA1_RSA_PKCS', CKM.SHA1_RSA_PKCS],
  ['SHA256_RSA_PKCS', CKM.SHA256_RSA_PKCS],
  ['SHA512_RSA_PKCS', CKM.SHA512_RSA_PKCS],
] as const;
const signingRows: readonly Row[] = SIGNATURES.map(([name, type]) => ({
  clause: '§5.11, §5.12',
  name: `${name}: verified as signed, other data and lengths refused`,
  session: 'ro',
  steps: [
    rsa(CKA.VERIFY, CKA.SIGN),
    step('C_SignInit', [S, mech(type), v('private')], OK),
    step('C_Sign', [S, data(MESSAGE), { size: 1 }], OK, { length: 256 }),
    step('C_Sign', [S, data(MESSAGE), { out: 256 }], OK, { length: 256 }),
    step('C_VerifyInit', [S, mech(type), v('public')], OK),
    step('C_Verify', [S, data(MESSAGE), { last: 'output' }], OK),
    step('C_VerifyInit', [S, mech(type), v('public')], OK),
    step('C_Verify', [S, data(ONE), { last: 'output' }], 'SIGNATURE_INVALID'),
    step('C_VerifyInit', [S, mech(type), v('public')], OK),
    // Not below the modulus: still a wrong signature, not an error of another kind.
    step('C_Verify', [S, data(MESSAGE), data(Buffer.alloc(256, 0xff))], 'SIGNATURE_INVALID'),
    step('C_VerifyInit', [S, mech(type), v('public')], OK),
    step('C_Verify', [S, data(MESSAGE), data(Buffer.alloc(4))], 'SIGNATURE_LEN_RANGE'),
    ended('C_Verify', [S, data(MESSAGE), data(Buffer.alloc(256))]),
    ...[CKA.PRIVATE_EXPONENT, CKA.PRIME_1, CKA.PRIME_2].map((part) => read('private', part, 'ATTRIBUTE_SENSITIVE')),
    read('public', CKA.PUBLIC_EXPONENT, OK, { bytes: '010001' }),
  ],
}));

const wrapping: readonly Row[] = [
  {
    clause: '§5.13.3',
    name: 'a key that cannot leave is not wrapped, whatever the mechanism; handles are told apart',
    session: 'ro',
    steps: [
      aes('kept', yes(CKA.SENSITIVE)),
      aes('wrapper', yes(CKA.WRAP), yes(CKA.DECRYPT)),
      rsa(CKA.WRAP, CKA.UNWRAP),
      step('C_WrapKey', [S, mech(CKM.AES_ECB), v('wrapper'), v('kept'), { out: 512 }], 'KEY_UNEXTRACTABLE'),
      step('C_WrapKey', [S, mech(CKM.RSA_PKCS), v('public'), v('kept'), { out: 512 }], 'KEY_UNEXTRACTABLE'),
      step('C_WrapKey', [S, mech(CKM.RSA_PKCS), v('public'), 77_777, { out: 512 }], 'KEY_HANDLE_INVALID'),
      step('C_WrapKey', [S, mech(CKM.RSA_PKCS), 77_777, v('kept'), { out: 512 }], 'WRAPPING_KEY_HANDLE_INVALID'),
    ],
  },
  {
    clause: '§5.13.4',
    name: 'a wrapped key comes back as it was',
    session: 'ro',
    steps: [
      step(
        'C_CreateObject',
        [
          S,
          template(
            [CKA.CLASS, 'ulong', CKO.SECRET_KEY],
            [CKA.KEY_TYPE, 'ulong', 0x1f],
            [CKA.VALUE, 'hex', '5a'.repeat(16)],
            yes(CKA.EXTRACTABLE),
            yes(CKA.ENCRYPT),
          ),
          { handle: 'given' },
        ],
        OK,
      ),
      read('given', CKA.LOCAL, OK, { bytes: '00' }),
      read('given', CKA.ALWAYS_SENSITIVE, OK, { bytes: '00' }),
      read('given', CKA.NEVER_EXTRACTABLE, OK, { bytes: '00' }),
      read('given', CKA.KEY_GEN_MECHANISM, OK, { bytes: 'ff'.repeat(8) }),
      rsa(CKA.WRAP, CKA.UNWRAP),
      step('C_WrapKey', [S, mech(CKM.RSA_PKCS), v('public'), v('given'), { size: 1 }], OK, { length: 256 }),
      step('C_WrapKey', [S, mech(CKM.RSA_PKCS), v('public'), v('given'), { out: 1 }], 'BUFFER_TOO_SMALL', { length: 256 }),
      step('C_WrapKey', [S, mech(CKM.RSA_PKCS), v('public'), v('given'), { out: 256 }], OK, { length: 256 }),
      step(
        'C_UnwrapKey',
        [
          ...[S, mech(CKM.RSA_PKCS), v('private'), { last: 'output' }],
          template(
            [CKA.CLASS, 'ulong', CKO.SECRET_KEY],
            [CKA.KEY_TYPE, 'ulong', 0x1f],
            yes(CKA.EXTRACTABLE),
            no(CKA.SENSITIVE),
            yes(CKA.ENCRYPT),
          ),
          { handle: 'back' },
        ],
        OK,
      ),
      read('back', CKA.VALUE, OK, { bytes: '5a'.repeat(16) }),
    ],
  },
];

const ROWS: readonly Row[] = [
  ...sessions,
  ...objects,
  ...cipherRows('Encrypt', 'DATA_LEN_RANGE'),
  ...cipherRows('Decrypt', 'ENCRYPTED_DATA_LEN_RANGE'),
  ...digestRows,
  ...signingRows,
  ...wrapping,
];

type Answer = readonly [rv: number, length: number | null, bytes: string | null];
const CKR_NAMES: Readonly<Record<number, string>> = Object.fromEntries(Object.entries(CKR).map(([name, value]) => [value, name]));
const PYTHON = '/usr/bin/python3';

describe.skipIf(skipWithout([PYTHON]))('PKCS#11 v2.40, clause by clause, through the stock client', () => {
  let run: ProgramRun;
  let answers: readonly (readonly Answer[])[];
  beforeAll(async () => {
    run = await openProgramRun('software');
    const pin = { data: Buffer.from(run.pin).toString('hex') };
    const cases = ROWS.map(({ session, login, steps }) => ({
      ...{ session, login: login !== false },
      steps: steps.map(({ call, args }) => [
        call,
        args.map((arg) => (typeof arg === 'object' && arg !== null && 'pin' in arg ? pin : arg)),
      ]),
    }));
    const said = run.run(PYTHON, [join(import.meta.dirname, 'native', 'conformance.py')], {
      input: JSON.stringify({ module: CLIENT_MODULE, pin: run.pin, cases }),
    });
    // The client itself grumbles on stderr about NULL arguments.
    if (said.status !== 0) throw new Error(said.stderr.toString());
    answers = JSON.parse(said.stdout.toString()) as typeof answers;
  }, 180_000);
  afterAll(async () => {
    await discard(run?.service);
  });

  test.each(ROWS.map((row, at) => ({ ...row, at })))('$clause $name', ({ at, steps }) => {
    const got = (answers[at] ?? []).map(([code, length, bytes], n) => {
      const { call, rv, length: wanted, bytes: content } = steps[n] as Step;
      const name = CKR_NAMES[code] ?? code.toString(16);
      return [
        `${n} ${call}`,
        rv.includes(name as CkrName) ? rv : name,
        ...(wanted === undefined ? [] : [length]),
        ...(content === undefined ? [] : [bytes]),
      ];
    });
    expect(got).toEqual(
      steps.map(({ call, rv, length, bytes }, n) => [
        `${n} ${call}`,
        rv,
        ...(length === undefined ? [] : [length]),
        ...(bytes === undefined ? [] : [bytes]),
      ]),
    );
  });
});

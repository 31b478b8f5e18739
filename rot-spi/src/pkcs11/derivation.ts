import type { CreatedKey, KeyBinding, RootRequest } from '../contract.js';
import { RootFault } from '../fault.js';
import { type Algorithm, KEY_SPECS } from '../vocabulary/index.js';
import { canonicalSpki, curveOf, pointFromSpki } from './asymmetric.js';
import { CKA, CKK, CKM, CKO, PARAMS } from './constants.js';
import type { Handle, Mechanism, Template } from './cryptoki.js';
import { valueBytes } from './making.js';
import { ulong } from './mechanisms.js';
import { ecdhMechanism } from './public-point.js';
import { type Context, initialise, toInput } from './session-call.js';

/** Length of the key to be made, bytes; `whole` where the derivation has a length of its own and the caller names none. */
const newLength = (binding: KeyBinding, length: number | undefined, whole?: number): number => {
  const row = KEY_SPECS[binding.spec];
  if (row.variableLength !== true) return valueBytes(binding.spec);
  const chosen = length ?? (row.bits > 0 ? row.bits / 8 : whole);
  if (chosen === undefined) throw new RootFault('invalid-argument', `${binding.spec} needs newKey.length`);
  return chosen;
};

const deriveInto = (context: Context, binding: KeyBinding, mechanism: Mechanism, base: Handle, length: number): CreatedKey => {
  const { connection, keys } = context;
  const { cryptoki, anchor } = connection;
  const placement = keys.placement(binding, length);
  const sized: Template = placement.keyType === CKK.DES2 || placement.keyType === CKK.DES3 ? [] : [{ type: CKA.VALUE_LEN, value: length }];
  let handle: Handle | undefined;
  initialise(() => {
    handle = cryptoki.C_DeriveKey(anchor, mechanism, base, [...keys.templateOf({ ...placement, valueLater: true }), ...sized]);
  });
  if (handle === undefined) throw new RootFault('internal', 'the module derived nothing');
  return keys.keep(placement, handle, {
    bits: KEY_SPECS[binding.spec].variableLength === true ? length * 8 : KEY_SPECS[binding.spec].bits,
  });
};

/** A whole shared secret or derived value, as a session object that can only be derived from. */
export const wholeSecretTemplate = (length: number): Template => [
  { type: CKA.CLASS, value: CKO.SECRET_KEY },
  { type: CKA.KEY_TYPE, value: CKK.GENERIC_SECRET },
  { type: CKA.TOKEN, value: false },
  { type: CKA.PRIVATE, value: true },
  { type: CKA.SENSITIVE, value: true },
  { type: CKA.EXTRACTABLE, value: false },
  { type: CKA.ENCRYPT, value: false },
  { type: CKA.DECRYPT, value: false },
  { type: CKA.SIGN, value: false },
  { type: CKA.VERIFY, value: false },
  { type: CKA.WRAP, value: false },
  { type: CKA.UNWRAP, value: false },
  { type: CKA.DERIVE, value: true },
  { type: CKA.VALUE_LEN, value: length },
];

/** CKM_EXTRACT_KEY_FROM_KEY from bit 0: the leftmost bytes (v2.40 §2.31.5). ECDH1_DERIVE itself would keep the rightmost ones. */
export const LEFTMOST: Mechanism = { mechanism: CKM.EXTRACT_KEY_FROM_KEY, parameter: ulong(0) };

export const agree = (context: Context, request: RootRequest<'agree'>): Promise<CreatedKey> => {
  const { connection, keys, plans } = context;
  const { newKey } = request;
  const { spec } = request.key.binding;
  if (request.kdf !== undefined) throw new RootFault('unsupported', `this root does not derive with ${request.kdf} from a shared secret`);
  const peer = pointFromSpki(canonicalSpki(request.peerPublicKey, spec));
  const { width } = curveOf(spec);
  return connection.run(
    () => {
      const key = keys.openSecret(request.key);
      const length = newLength(newKey.binding, newKey.length, width);
      if (length > width) throw new RootFault('invalid-argument', `the shared secret has ${width} bytes, ${length} are asked for`);
      if (length === width) return deriveInto(context, newKey.binding, ecdhMechanism(peer), key.handle, length);
      if (plans.algorithms.get('ecdh')?.variant !== 1)
        throw new RootFault(
          'unsupported',
          `this module takes no shorter key out of a shared secret of ${width} bytes`,
          'Ask for a secret of that length.',
        );
      const { cryptoki, anchor } = connection;
      const whole = cryptoki.C_DeriveKey(anchor, ecdhMechanism(peer), key.handle, wholeSecretTemplate(width));
      try {
        return deriveInto(context, newKey.binding, LEFTMOST, whole, length);
      } finally {
        cryptoki.C_DestroyObject(anchor, whole);
      }
    },
    { repeatable: false, stale: () => keys.forget(request.key) },
  );
};

/** KMIP's ENCRYPT derivation with CBC is CKM_…_CBC_ENCRYPT_DATA (v2.40 §2.14); the ECB forms hold a pointer pkcs11js cannot pass. */
interface EncryptData {
  readonly mechanism: number;
  readonly type: number;
  readonly blockBytes: number;
}
const ENCRYPT_DATA: Readonly<Partial<Record<Algorithm, EncryptData>>> = {
  'aes-cbc': { mechanism: CKM.AES_CBC_ENCRYPT_DATA, type: PARAMS.AES_CBC, blockBytes: 16 },
  'des3-cbc': { mechanism: CKM.DES3_CBC_ENCRYPT_DATA, type: PARAMS.DES_CBC_ENCRYPT_DATA, blockBytes: 8 },
};
export const ENCRYPT_DATA_CIPHERS = Object.keys(ENCRYPT_DATA) as readonly Algorithm[];

export const encryptDataMechanism = (cipher: Algorithm, iv: Uint8Array, data: Uint8Array): Mechanism => {
  const row = ENCRYPT_DATA[cipher];
  if (row === undefined)
    throw new RootFault('unsupported', `PKCS#11 derives with ${ENCRYPT_DATA_CIPHERS.join(' and ')} only, not with ${cipher}`);
  return { mechanism: row.mechanism, parameter: { type: row.type, iv: Buffer.from(iv), data: toInput(data) } };
};

export const derive = (context: Context, request: RootRequest<'derive'>): Promise<CreatedKey> => {
  const { connection, keys } = context;
  const { algorithm, newKey, cipher, iv, data } = request;
  if (algorithm !== 'encrypt-derive' || cipher === undefined || data === undefined)
    throw new RootFault('unsupported', `this back end derives by encrypt-derive only, not by ${algorithm}`);
  const mechanism = encryptDataMechanism(cipher, iv ?? new Uint8Array(), data);
  const blockBytes = ENCRYPT_DATA[cipher]?.blockBytes ?? 1;
  return connection.run(
    () => {
      const key = keys.openSecret(request.key);
      const length = newLength(newKey.binding, newKey.length, data.length);
      if (data.length === 0 || data.length % blockBytes !== 0 || length > data.length)
        throw new RootFault('invalid-argument', `encrypt-derive needs whole blocks and at least ${length} bytes of data`);
      return deriveInto(context, newKey.binding, mechanism, key.handle, length);
    },
    { repeatable: false, stale: () => keys.forget(request.key) },
  );
};

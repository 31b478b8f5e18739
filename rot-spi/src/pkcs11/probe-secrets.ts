import { createCipheriv, createHmac, randomBytes } from 'node:crypto';
import type { KeyBinding } from '../contract.js';
import { ALGORITHM_NAMES, ALGORITHMS, type Algorithm, KEY_SPEC_NAMES, KEY_SPECS, type KeySpec } from '../vocabulary/index.js';
import { CKA, CKK, CKM } from './constants.js';
import type { Handle, Template } from './cryptoki.js';
import { ENCRYPT_DATA_CIPHERS, encryptDataMechanism, wholeSecretTemplate } from './derivation.js';
import { openWrapped, transportTemplate, valueBytes } from './making.js';
import { cipherMechanism, cipherMechanismOf, hmacMechanism } from './mechanisms.js';
import type { AlgorithmPlan, SpecPlan, WrapCipher } from './plans.js';
import { macMechanism } from './signature.js';
import { readAttribute, secretTemplate } from './templates.js';
import type { Trial } from './trial.js';

/** A trial key's binding: never sealed into a reference, only there to fill templates. */
const trialUsage = (spec: KeySpec): KeyBinding['usage'] =>
  spec === 'secret' ? [...KEY_SPECS[spec].usages, 'mac', 'mac-verify'] : KEY_SPECS[spec].usages;

export const trialBinding = (spec: KeySpec, usage: KeyBinding['usage'] = trialUsage(spec)): KeyBinding => ({
  objectId: 'probe',
  version: 1,
  tenant: 'probe',
  spec,
  usage,
  exportable: true,
});

export interface Kek {
  readonly handle: Handle;
  /** Known when the module takes plain keys. */
  readonly value: Buffer | undefined;
}
/** A key-encryption key for the trials, of known value if the module allows. */
export const makeKek = (trial: Trial): Kek | undefined => {
  const value = randomBytes(32);
  const known = trial.create(transportTemplate(value));
  if (known !== undefined) return { handle: known, value };
  const generated = trial.generate(CKM.AES_KEY_GEN, transportTemplate());
  return generated === undefined ? undefined : { handle: generated, value: undefined };
};

/** Best first: KWP is the standard one for any length; KW_PAD is KWP in SoftHSM and PKCS#7 padding in NSS. */
const WRAP_CANDIDATES = [CKM.AES_KEY_WRAP_KWP, CKM.AES_KEY_WRAP_PAD, CKM.AES_KEY_WRAP] as const;
const CIPHERS: readonly WrapCipher[] = ['id-aes256-wrap-pad', 'id-aes256-wrap'];

export interface WrapFinding {
  readonly mechanism: number;
  readonly cipher: WrapCipher | undefined;
}
/** The first mechanism that wraps the key and gives it back, with the standard cipher it turned out to be. */
export const findWrap = (
  trial: Trial,
  kek: Kek | undefined,
  key: Handle,
  unwrapTemplate: Template,
  matches: (material: Buffer) => boolean,
  works: (unwrapped: Handle) => boolean,
): WrapFinding | undefined => {
  if (kek === undefined) return undefined;
  let roundTrip: WrapFinding | undefined;
  for (const mechanism of WRAP_CANDIDATES.filter((candidate) => trial.has(candidate))) {
    const blob = trial.wrap({ mechanism }, kek.handle, key);
    if (blob === undefined) continue;
    const again = trial.unwrap({ mechanism }, kek.handle, blob, unwrapTemplate);
    if (again === undefined || !works(again)) continue;
    const cipher = kek.value === undefined ? undefined : CIPHERS.find((name) => opensAs(name, kek.value, blob, matches));
    if (cipher !== undefined) return { mechanism, cipher };
    roundTrip ??= { mechanism, cipher };
  }
  return roundTrip;
};
const opensAs = (name: WrapCipher, kek: Buffer | undefined, blob: Buffer, matches: (material: Buffer) => boolean): boolean => {
  try {
    return kek !== undefined && matches(openWrapped(name, kek, blob));
  } catch {
    return false;
  }
};

const SECRET_TYPES: readonly (readonly [family: string, spec: KeySpec | undefined, keyType: number, generate: number])[] = [
  ['aes', undefined, CKK.AES, CKM.AES_KEY_GEN],
  ['des3', 'des3-112', CKK.DES2, CKM.DES2_KEY_GEN],
  ['des3', 'des3-168', CKK.DES3, CKM.DES3_KEY_GEN],
  ['hmac', undefined, CKK.GENERIC_SECRET, CKM.GENERIC_SECRET_KEY_GEN],
  ['secret', undefined, CKK.GENERIC_SECRET, CKM.GENERIC_SECRET_KEY_GEN],
];

export interface SecretTrialKey {
  readonly handle: Handle;
  /** Known when imported. */
  readonly value: Buffer | undefined;
}
export interface SecretFindings {
  readonly specs: SpecPlan[];
  readonly keys: ReadonlyMap<KeySpec, SecretTrialKey>;
}

const trialLength = (spec: KeySpec): number => (KEY_SPECS[spec].bits === 0 ? 33 : valueBytes(spec));

export const probeSecretSpecs = (trial: Trial, kek: Kek | undefined): SecretFindings => {
  const specs: SpecPlan[] = [];
  const keys = new Map<KeySpec, SecretTrialKey>();
  /** By key type and length: `hmac-sha512` and 64 bytes of `secret` are the same thing to a module. */
  const wraps = new Map<string, ReturnType<typeof probeSecretWrap>>();
  for (const spec of KEY_SPEC_NAMES) {
    const { family } = KEY_SPECS[spec];
    const row = SECRET_TYPES.find(([name, only]) => name === family && (only === undefined || only === spec));
    if (row === undefined) continue;
    const [, , keyType, generate] = row;
    const template = (extractable: boolean): Template =>
      secretTemplate({ binding: trialBinding(spec), keyType, token: false, extractable, sensitive: true, valueLater: !extractable });
    const sized = keyType === CKK.DES2 || keyType === CKK.DES3 ? [] : [{ type: CKA.VALUE_LEN, value: trialLength(spec) }];
    const made = trial.has(generate) ? trial.generate(generate, [...template(true), ...sized]) : undefined;
    const value = oddParity(randomBytes(trialLength(spec)), family === 'des3');
    const imported = trial.create([...template(true), { type: CKA.VALUE, value }]);
    const key = imported ?? made;
    if (key === undefined) continue;
    keys.set(spec, { handle: key, value: imported === undefined ? undefined : value });
    const wrapKey = `${keyType} ${family === 'aes' || family === 'des3' ? spec : family}`;
    if (!wraps.has(wrapKey)) wraps.set(wrapKey, probeSecretWrap(trial, kek, spec, keyType, keys.get(spec)));
    specs.push({ spec, keyType, import: imported !== undefined, ...(made === undefined ? {} : { generate }), ...wraps.get(wrapKey) });
  }
  return { specs, keys };
};

/** Zero bytes behind a value are padding of a module that wraps whole blocks only; anything else is another value. */
const isPadded = (material: Buffer, value: Buffer): boolean =>
  material.subarray(0, value.length).equals(value) && material.subarray(value.length).every((byte) => byte === 0);

const probeSecretWrap = (
  trial: Trial,
  kek: Kek | undefined,
  spec: KeySpec,
  keyType: number,
  key: SecretTrialKey | undefined,
): Pick<SpecPlan, 'wrap' | 'wrapsWholeBlocks' | 'exportVia'> => {
  if (key === undefined) return {};
  const placement = { binding: trialBinding(spec), keyType, token: false, extractable: true };
  const gives = (): boolean => readsValue(trial, spec, keyType);
  const find = (tried: SecretTrialKey): WrapFinding | undefined => {
    const { value } = tried;
    const template = secretTemplate({ ...placement, sensitive: value === undefined, valueLater: true });
    const same = (again: Handle): boolean =>
      value === undefined || readAttribute(trial.cryptoki, trial.objects, again, CKA.VALUE)?.equals(value) === true;
    return findWrap(trial, kek, tried.handle, template, (material) => value === undefined || isPadded(material, value), same);
  };
  const exact = find(key);
  if (exact !== undefined) return toWrapPlan(exact, key.value !== undefined, gives);
  const value = randomBytes(32);
  const handle = trial.create([...secretTemplate({ ...placement, sensitive: true }), { type: CKA.VALUE, value }]);
  const blocks = handle === undefined ? undefined : find({ handle, value });
  return { ...toWrapPlan(blocks, true, gives), ...(blocks === undefined ? {} : { wrapsWholeBlocks: true }) };
};

export const toWrapPlan = (
  finding: WrapFinding | undefined,
  provable: boolean,
  readsValue: () => boolean,
): Pick<SpecPlan, 'wrap' | 'exportVia'> => {
  const wrap = finding === undefined ? {} : { wrap: finding.mechanism };
  if (provable && finding?.cipher !== undefined)
    return { ...wrap, exportVia: { kind: 'wrap', mechanism: finding.mechanism, cipher: finding.cipher } };
  return readsValue() ? { ...wrap, exportVia: { kind: 'value' } } : wrap;
};

const readsValue = (trial: Trial, spec: KeySpec, keyType: number): boolean => {
  const value = oddParity(randomBytes(trialLength(spec)), KEY_SPECS[spec].family === 'des3');
  const key = trial.create([
    ...secretTemplate({ binding: trialBinding(spec), keyType, token: false, extractable: true, sensitive: false }),
    { type: CKA.VALUE, value },
  ]);
  return key !== undefined && readAttribute(trial.cryptoki, trial.objects, key, CKA.VALUE)?.equals(value) === true;
};

/** DES keys carry odd parity, and a module may correct or demand it (SP 800-67 §3.2). */
const oddParity = (value: Buffer, apply: boolean): Buffer => {
  if (!apply) return value;
  return value.map((byte) => {
    let ones = 0;
    for (let bits = byte >> 1; bits > 0; bits >>= 1) ones += bits & 1;
    return (byte & 0xfe) | (ones % 2 === 0 ? 1 : 0);
  }) as Buffer;
};

const OPENSSL: Readonly<Partial<Record<Algorithm, (spec: KeySpec) => string>>> = {
  'aes-gcm': (spec) => `${spec}-gcm`,
  'aes-cbc': (spec) => `${spec}-cbc`,
  'aes-cbc-pkcs5': (spec) => `${spec}-cbc`,
  'aes-ctr': (spec) => `${spec}-ctr`,
  'aes-ecb': (spec) => `${spec}-ecb`,
  'aes-cfb128': (spec) => `${spec}-cfb`,
  'aes-cfb8': (spec) => `${spec}-cfb8`,
  'aes-ofb': (spec) => `${spec}-ofb`,
  'des3-cbc': () => 'des-ede3-cbc',
  'des3-cbc-pkcs5': () => 'des-ede3-cbc',
  'des3-ecb': () => 'des-ede3',
};
const PLAIN = Buffer.from('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'hex');
const AAD = Buffer.from('aegis');

/** What OpenSSL makes of the same key, IV and input. */
const expectedCiphertext = (algorithm: Algorithm, spec: KeySpec, key: Buffer, iv: Buffer, plain: Buffer): Buffer | undefined => {
  const name = OPENSSL[algorithm]?.(spec);
  if (name === undefined) return undefined;
  const whole = spec === 'des3-112' ? Buffer.concat([key, key.subarray(0, 8)]) : key;
  try {
    const cipher = createCipheriv(name === 'des-ede3' ? 'des-ede3-ecb' : name, whole, iv.length === 0 ? null : iv) as ReturnType<
      typeof createCipheriv
    > & {
      setAAD?: (aad: Buffer) => void;
      getAuthTag?: () => Buffer;
    };
    if (algorithm === 'aes-gcm') cipher.setAAD?.(AAD);
    if (!algorithm.includes('pkcs5')) cipher.setAutoPadding(false);
    const body = Buffer.concat([cipher.update(plain), cipher.final()]);
    return algorithm === 'aes-gcm' ? Buffer.concat([body, cipher.getAuthTag?.() ?? Buffer.alloc(0)]) : body;
  } catch {
    return undefined;
  }
};

const cipherWorks = (trial: Trial, algorithm: Algorithm, spec: KeySpec, key: SecretTrialKey): { readonly streams: boolean } | undefined => {
  const row = ALGORITHMS[algorithm];
  const iv = randomBytes(row.ivLength ?? 0);
  const mechanism = cipherMechanism(algorithm, iv, row.tagLength === undefined ? {} : { aad: AAD }, row.tagLength ?? 0);
  const sealed = trial.encrypt(mechanism, key.handle, PLAIN);
  if (sealed === undefined || !trial.decrypt(mechanism, key.handle, sealed)?.equals(PLAIN)) return undefined;
  const expected = key.value === undefined ? undefined : expectedCiphertext(algorithm, spec, key.value, iv, PLAIN);
  if (expected !== undefined && !expected.equals(sealed)) return undefined;
  const streams =
    trial.streamsEncrypt(mechanism, key.handle, [PLAIN.subarray(0, 5), PLAIN.subarray(5)], sealed) &&
    (row.tagLength !== undefined || trial.streamsDecrypt(mechanism, key.handle, [sealed.subarray(0, 7), sealed.subarray(7)], PLAIN));
  return { streams };
};

export const probeCiphers = (trial: Trial, keys: SecretFindings['keys']): AlgorithmPlan[] =>
  ALGORITHM_NAMES.flatMap((algorithm) => {
    const row = ALGORITHMS[algorithm];
    const mechanism = cipherMechanismOf(algorithm);
    if (row.kind !== 'cipher' || row.families[0] === 'rsa' || !trial.has(mechanism)) return [];
    const found = [...keys].flatMap(([spec, key]) => {
      const works = row.families.includes(KEY_SPECS[spec].family) ? cipherWorks(trial, algorithm, spec, key) : undefined;
      return works === undefined ? [] : [{ spec, ...works }];
    });
    if (found.length === 0) return [];
    const streams = found.every((one) => one.streams);
    const note = streams ? {} : { note: 'parts are collected and done at once' };
    return [{ algorithm, mechanism, specs: found.map(({ spec }) => spec), streams, ...note }];
  });

/** SP 800-38B examples: CMAC of one block, by key length. */
const CMAC_MESSAGE = Buffer.from('6bc1bee22e409f96e93d7e117393172a', 'hex');
const CMAC_VECTORS: Readonly<Record<string, readonly [key: string, mac: string]>> = {
  'aes-128': ['2b7e151628aed2a6abf7158809cf4f3c', '070a16b46b4d4144f79bdd9dd04a287c'],
  'aes-192': ['8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b', '9e99a7bf31e710900662f65e617c5184'],
  'aes-256': ['603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4', '28a7023f452e8f82bd4bf28d8c37c35c'],
};

const cmacWorks = (trial: Trial, spec: KeySpec, key: SecretTrialKey): boolean => {
  const vector = CMAC_VECTORS[spec];
  if (vector === undefined) return false;
  if (key.value === undefined) return trial.sign({ mechanism: CKM.AES_CMAC }, key.handle, CMAC_MESSAGE)?.length === 16;
  const template = secretTemplate({ binding: trialBinding(spec), keyType: CKK.AES, token: false, extractable: false, sensitive: true });
  const known = trial.create([...template, { type: CKA.VALUE, value: Buffer.from(vector[0], 'hex') }]);
  return known !== undefined && trial.sign({ mechanism: CKM.AES_CMAC }, known, CMAC_MESSAGE)?.toString('hex') === vector[1];
};

/** SoftHSM takes no HMAC key shorter than the digest. Zeros behind it change nothing (RFC 2104 §2), so such a key is imported with them. */
export const refusesShortHmac = (trial: Trial): boolean => {
  const template = secretTemplate({
    binding: trialBinding('hmac-sha256'),
    keyType: CKK.GENERIC_SECRET,
    token: false,
    extractable: false,
    sensitive: true,
  });
  const short = trial.create([...template, { type: CKA.VALUE, value: randomBytes(16) }]);
  return short !== undefined && trial.sign({ mechanism: CKM.SHA256_HMAC }, short, PLAIN) === undefined;
};

const hmacWorks = (trial: Trial, algorithm: Algorithm, key: SecretTrialKey): boolean => {
  const { hash } = ALGORITHMS[algorithm];
  if (hash === undefined) return false;
  const made = trial.sign(macMechanism(algorithm), key.handle, PLAIN);
  if (made === undefined) return false;
  return key.value === undefined ? made.length > 0 : made.equals(createHmac(hash, key.value).update(PLAIN).digest());
};

export const probeMacs = (trial: Trial, keys: SecretFindings['keys']): AlgorithmPlan[] =>
  ALGORITHM_NAMES.flatMap((algorithm) => {
    const row = ALGORITHMS[algorithm];
    const mechanism = algorithm === 'aes-cmac' ? CKM.AES_CMAC : row.hash === undefined ? undefined : hmacMechanism(row.hash);
    if (row.kind !== 'mac' || !trial.has(mechanism)) return [];
    const specs = [...keys].flatMap(([spec, key]) => {
      const { family, hash } = KEY_SPECS[spec];
      if (!row.families.includes(family) || (family === 'hmac' && hash !== row.hash)) return [];
      return (algorithm === 'aes-cmac' ? cmacWorks(trial, spec, key) : hmacWorks(trial, algorithm, key)) ? [spec] : [];
    });
    const [first] = specs;
    const key = first === undefined ? undefined : keys.get(first);
    if (key === undefined) return [];
    const whole = trial.sign({ mechanism }, key.handle, PLAIN);
    const streams =
      whole !== undefined &&
      trial.streamsSign({ mechanism }, key.handle, [PLAIN.subarray(0, 3), PLAIN.subarray(3)])?.equals(whole) === true;
    return [{ algorithm, mechanism, specs, streams, ...(streams ? {} : { note: 'parts are collected and done at once' }) }];
  });

/** `variant` of aes-kwp: SoftHSM 2.6 pads the value with zeros before RFC 5649 does, so only whole blocks come out right. */
export const WHOLE_BLOCKS = 1;

/** AES key wrapping as the standards have it, by comparison with OpenSSL: numbers alone do not tell (see WRAP_CANDIDATES). */
export const probeAesWraps = (trial: Trial, keys: SecretFindings['keys']): AlgorithmPlan[] => {
  const target = keys.get('secret') ?? keys.get('hmac-sha256');
  const block = keys.get('aes-256');
  const wrapping = (['aes-128', 'aes-192', 'aes-256'] as const).flatMap((spec) => {
    const key = keys.get(spec);
    return key?.value === undefined ? [] : [{ spec, handle: key.handle, value: key.value }];
  });
  const find = (
    algorithm: Algorithm,
    suffix: string,
    iv: string,
    key: SecretTrialKey | undefined,
    keyType: number,
    spec: KeySpec,
  ): AlgorithmPlan[] => {
    if (key?.value === undefined) return [];
    const template = secretTemplate({
      binding: trialBinding(spec),
      keyType,
      token: false,
      extractable: false,
      sensitive: true,
      valueLater: true,
    });
    for (const mechanism of [CKM.AES_KEY_WRAP, CKM.AES_KEY_WRAP_KWP, CKM.AES_KEY_WRAP_PAD].filter((one) => trial.has(one))) {
      const specs = wrapping.flatMap((kek) => {
        const cipher = createCipheriv(`id-${kek.spec.replace('-', '')}-wrap${suffix}`, kek.value, Buffer.from(iv, 'hex'));
        const expected = Buffer.concat([cipher.update(key.value ?? Buffer.alloc(0)), cipher.final()]);
        const same = trial.wrap({ mechanism }, kek.handle, key.handle)?.equals(expected) === true;
        return same && trial.unwrap({ mechanism }, kek.handle, expected, template) !== undefined ? [kek.spec] : [];
      });
      if (specs.length > 0) return [{ algorithm, mechanism, specs, streams: false }];
    }
    return [];
  };
  const kwp = (key: SecretTrialKey | undefined, keyType: number, spec: KeySpec) => find('aes-kwp', '-pad', 'a65959a6', key, keyType, spec);
  const anyLength = kwp(target, CKK.GENERIC_SECRET, 'secret');
  const wholeBlocks = kwp(block, CKK.AES, 'aes-256').map((plan) => ({
    ...plan,
    variant: WHOLE_BLOCKS,
    note: 'wraps values of whole 8-byte blocks; private keys carry zero bytes behind their PKCS#8',
  }));
  return [
    ...find('aes-kw', '', 'a6a6a6a6a6a6a6a6', block, CKK.AES, 'aes-256'),
    ...(anyLength.length > 0 ? anyLength : wholeBlocks),
    ...probeModeWraps(trial, wrapping, block),
  ];
};

const probeModeWraps = (
  trial: Trial,
  wrapping: readonly { readonly spec: KeySpec; readonly handle: Handle; readonly value: Buffer }[],
  target: SecretTrialKey | undefined,
): AlgorithmPlan[] =>
  (['aes-gcm-wrap', 'aes-cbc-pkcs5-wrap'] as const).flatMap((algorithm) => {
    const number = cipherMechanismOf(algorithm);
    const { value } = target ?? {};
    if (target === undefined || value === undefined || !trial.has(number)) return [];
    const template = secretTemplate({
      binding: trialBinding('aes-256'),
      keyType: CKK.AES,
      token: false,
      extractable: false,
      sensitive: true,
      valueLater: true,
    });
    const specs = wrapping.flatMap((kek) => {
      const row = ALGORITHMS[algorithm];
      const iv = randomBytes(row.ivLength ?? 0);
      const gcm = algorithm === 'aes-gcm-wrap';
      const mechanism = cipherMechanism(algorithm, iv, gcm ? { aad: AAD } : {}, row.tagLength ?? 0);
      const expected = expectedCiphertext(gcm ? 'aes-gcm' : 'aes-cbc-pkcs5', kek.spec, kek.value, iv, value);
      const blob = trial.wrap(mechanism, kek.handle, target.handle);
      if (blob === undefined || expected === undefined || !blob.equals(expected)) return [];
      if (trial.unwrap(mechanism, kek.handle, blob, template) === undefined) return [];
      // A module that unwraps a forged blob would make the tag pointless.
      const forged = Buffer.from(blob);
      forged[0] = (forged[0] ?? 0) ^ 1;
      return gcm && trial.unwrap(mechanism, kek.handle, forged, template) !== undefined ? [] : [kek.spec];
    });
    return specs.length === 0 ? [] : [{ algorithm, mechanism: number, specs, streams: false }];
  });

/** KMIP's ENCRYPT derivation, against what CBC gives for the same key. */
export const probeEncryptDerive = (trial: Trial, keys: SecretFindings['keys']): AlgorithmPlan[] => {
  const specs = [...keys].flatMap(([spec, key]) => {
    const cipher = ENCRYPT_DATA_CIPHERS.find((name) => ALGORITHMS[name].families.includes(KEY_SPECS[spec].family));
    if (cipher === undefined || key.value === undefined) return [];
    const iv = randomBytes(ALGORITHMS[cipher].ivLength ?? 0);
    const mechanism = encryptDataMechanism(cipher, iv, PLAIN);
    if (!trial.has(mechanism.mechanism)) return [];
    const expected = expectedCiphertext(cipher, spec, key.value, iv, PLAIN)?.subarray(0, 24);
    const made = trial.derive(mechanism, key.handle, visible(wholeSecretTemplate(24)));
    if (made === undefined || expected === undefined) return [];
    return readAttribute(trial.cryptoki, trial.objects, made, CKA.VALUE)?.equals(expected) === true ? [spec] : [];
  });
  if (specs.length === 0) return [];
  return [
    {
      algorithm: 'encrypt-derive',
      mechanism: CKM.AES_CBC_ENCRYPT_DATA,
      specs,
      streams: false,
      note: `with ${ENCRYPT_DATA_CIPHERS.join(', ')}`,
    },
  ];
};

/** For comparison only: a trial secret whose value may be read. */
export const visible = (template: Template): Template =>
  template.map((attribute) => {
    if (attribute.type === CKA.SENSITIVE) return { type: CKA.SENSITIVE, value: false };
    return attribute.type === CKA.EXTRACTABLE ? { type: CKA.EXTRACTABLE, value: true } : attribute;
  });

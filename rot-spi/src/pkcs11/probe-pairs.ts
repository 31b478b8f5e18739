import {
  constants,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  publicEncrypt,
  randomBytes,
  verify as verifyOutside,
} from 'node:crypto';
import { ALGORITHM_NAMES, ALGORITHMS, type Algorithm, HASH_BYTES, KEY_SPEC_NAMES, KEY_SPECS, type KeySpec } from '../vocabulary/index.js';
import { curveOf, normalisePkcs8, pointFromSpki, printableCurve, readPkcs8, valueToPkcs8 } from './asymmetric.js';
import { CKA, CKK, CKM } from './constants.js';
import type { Handle, KeyPairHandles, Mechanism, Template } from './cryptoki.js';
import { tlv } from './der.js';
import { LEFTMOST, wholeSecretTemplate } from './derivation.js';
import { privateAttributes, readSpki } from './making.js';
import { cipherMechanism, cipherMechanismOf, hashOf, signatureMechanism, toDigestInput } from './mechanisms.js';
import type { AlgorithmPlan, SpecPlan } from './plans.js';
import { findWrap, type Kek, toWrapPlan, trialBinding, visible } from './probe-secrets.js';
import { ecdhMechanism } from './public-point.js';
import { encodeSignature } from './signature.js';
import { newPublicTemplate, privateTemplate, publicTemplate, readAttribute } from './templates.js';
import type { Trial } from './trial.js';

const EXPONENT = 65_537;
const MESSAGE = Buffer.from('aegis probe: sign me');

interface PairRow {
  readonly keyType: number;
  readonly generate: number;
}
const pairRow = (spec: KeySpec): PairRow | undefined => {
  const { family } = KEY_SPECS[spec];
  if (family === 'rsa') return { keyType: CKK.RSA, generate: CKM.RSA_PKCS_KEY_PAIR_GEN };
  if (family === 'ec') return { keyType: CKK.EC, generate: CKM.EC_KEY_PAIR_GEN };
  if (family === 'eddsa') return { keyType: CKK.EC_EDWARDS, generate: CKM.EC_EDWARDS_KEY_PAIR_GEN };
  if (family === 'xdh') return { keyType: CKK.EC_MONTGOMERY, generate: CKM.EC_MONTGOMERY_KEY_PAIR_GEN };
  return undefined;
};

export interface PairTrialKey extends KeyPairHandles {
  readonly spki: Buffer;
  readonly outside: KeyObject;
}
export interface PairFindings {
  readonly specs: SpecPlan[];
  readonly keys: ReadonlyMap<KeySpec, PairTrialKey>;
}

const trialPrivate = (spec: KeySpec, keyType: number, extractable: boolean, sensitive = true): Template =>
  privateTemplate({ binding: trialBinding(spec), keyType, token: false, extractable, sensitive, valueLater: !extractable });

const makePair = (trial: Trial, spec: KeySpec, row: PairRow, curveParams: Buffer | undefined): PairTrialKey | undefined => {
  const pair = trial.attempt(() =>
    trial.cryptoki.C_GenerateKeyPair(
      trial.objects,
      { mechanism: row.generate },
      newPublicTemplate(spec, EXPONENT, curveParams, false),
      trialPrivate(spec, row.keyType, true),
    ),
  );
  if (pair === undefined) return undefined;
  return trial.attempt(() => {
    const spki = readSpki(trial.cryptoki, trial.objects, pair.publicKey, spec);
    return spki === undefined ? undefined : { ...pair, spki, outside: createPublicKey({ key: spki, format: 'der', type: 'spki' }) };
  });
};

/** A pair made outside and brought in, as a key import would. */
const importPair = (trial: Trial, spec: KeySpec, plan: SpecPlan): PairTrialKey | undefined =>
  trial.attempt(() => {
    const { family, curve, bits } = KEY_SPECS[spec];
    const outside =
      family === 'rsa'
        ? generateKeyPairSync('rsa', { modulusLength: bits })
        : family === 'ec'
          ? generateKeyPairSync('ec', { namedCurve: curve ?? '' })
          : generateKeyPairSync(curve as 'ed25519');
    const parts = readPkcs8(outside.privateKey.export({ format: 'der', type: 'pkcs8' }), spec);
    const attributes = privateAttributes(parts, plan);
    const privateKey = trial.cryptoki.C_CreateObject(trial.objects, [...trialPrivate(spec, plan.keyType, true), ...attributes]);
    const publicKey = trial.cryptoki.C_CreateObject(trial.objects, publicTemplate(spec, parts.spki, plan.curveParams));
    return { privateKey, publicKey, spki: parts.spki, outside: outside.publicKey };
  });

/** Proof that a private key object works and belongs to the public key. */
const works = (trial: Trial, spec: KeySpec, key: Handle, outside: KeyObject): boolean => {
  const { family } = KEY_SPECS[spec];
  if (family === 'xdh') return true;
  const algorithm: Algorithm = family === 'rsa' ? 'rsa-pkcs1-sha256' : family === 'ec' ? 'ecdsa-sha256' : (spec as 'ed25519' | 'ed448');
  return [0, 1].some((variant) => signsDigest(trial, algorithm, spec, key, outside, variant));
};

const signsDigest = (trial: Trial, algorithm: Algorithm, spec: KeySpec, key: Handle, outside: KeyObject, variant: number): boolean => {
  const { hash } = ALGORITHMS[algorithm];
  const input = hash === undefined ? MESSAGE : toDigestInput(algorithm, spec, hashOf(hash, MESSAGE));
  const signature = trial.sign(signatureMechanism(algorithm, hash !== undefined, {}, variant), key, input);
  return signature !== undefined && verifies(algorithm, outside, signature);
};

/** OpenSSL's opinion of a signature the module made. */
const verifies = (algorithm: Algorithm, outside: KeyObject, signature: Buffer): boolean => {
  const { hash } = ALGORITHMS[algorithm];
  const key = algorithm.startsWith('rsa-pss')
    ? { key: outside, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: hash === undefined ? 0 : HASH_BYTES[hash] }
    : { key: outside };
  try {
    return verifyOutside(hash ?? null, MESSAGE, key, encodeSignature(algorithm, signature, 'der'));
  } catch {
    return false;
  }
};

const curveForms = (spec: KeySpec): readonly (Buffer | undefined)[] => {
  const { family } = KEY_SPECS[spec];
  if (family === 'rsa') return [undefined];
  const { params } = curveOf(spec);
  return family === 'ec' ? [params] : [params, printableCurve(spec)];
};

/** Generating RSA 3072 and 4096 takes seconds: the module's own range decides those, and a trial of 2048. */
const tooSlowToTry = (spec: KeySpec): boolean => spec === 'rsa-3072' || spec === 'rsa-4096';

export const probePairSpecs = (trial: Trial, kek: Kek | undefined): PairFindings => {
  const specs: SpecPlan[] = [];
  const keys = new Map<KeySpec, PairTrialKey>();
  for (const spec of KEY_SPEC_NAMES) {
    const row = pairRow(spec);
    if (row === undefined || KEY_SPECS[spec].family === 'rsa' || !trial.has(row.generate)) continue;
    for (const curveParams of curveForms(spec)) {
      const found = probeSpec(trial, kek, spec, row, curveParams);
      if (found === undefined) continue;
      specs.push(found.plan);
      keys.set(spec, found.key);
      break;
    }
  }
  probeRsa(trial, kek, specs, keys);
  return { specs, keys };
};

const probeSpec = (
  trial: Trial,
  kek: Kek | undefined,
  spec: KeySpec,
  row: PairRow,
  curveParams: Buffer | undefined,
): { readonly plan: SpecPlan; readonly key: PairTrialKey } | undefined => {
  const made = trial.has(row.generate) ? makePair(trial, spec, row, curveParams) : undefined;
  const generates = made !== undefined && works(trial, spec, made.privateKey, made.outside);
  const base: SpecPlan = {
    spec,
    keyType: row.keyType,
    import: false,
    ...(generates ? { generate: row.generate } : {}),
    ...(curveParams === undefined ? {} : { curveParams }),
  };
  // RSA is tried with the pair the module made, given out and taken back: making another outside would cost as much again.
  const imported = KEY_SPECS[spec].family === 'rsa' && generates ? undefined : importPair(trial, spec, base);
  const imports = imported !== undefined && works(trial, spec, imported.privateKey, imported.outside);
  const key = generates ? made : imports ? imported : undefined;
  if (key === undefined) return undefined;
  const wrapPlan = probePairWrap(trial, kek, spec, base, key);
  const plan = { ...base, ...wrapPlan.plan, import: imports || reimports(trial, spec, base, key, wrapPlan.pkcs8) };
  wrapPlan.pkcs8?.fill(0);
  return { plan, key };
};

const reimports = (trial: Trial, spec: KeySpec, plan: SpecPlan, key: PairTrialKey, pkcs8: Buffer | undefined): boolean =>
  pkcs8 !== undefined &&
  trial.attempt(() => {
    const parts = readPkcs8(pkcs8, spec);
    const template = [...trialPrivate(spec, plan.keyType, false), ...privateAttributes(parts, plan)];
    return works(trial, spec, trial.cryptoki.C_CreateObject(trial.objects, template), key.outside);
  }) === true;

const probePairWrap = (
  trial: Trial,
  kek: Kek | undefined,
  spec: KeySpec,
  plan: SpecPlan,
  key: PairTrialKey,
): { readonly plan: Partial<SpecPlan>; readonly pkcs8: Buffer | undefined } => {
  let pkcs8: Buffer | undefined;
  const isPkcs8 = (material: Buffer): boolean => {
    try {
      pkcs8 = normalisePkcs8(material, spec);
      return true;
    } catch {
      return false;
    }
  };
  const template = trialPrivate(spec, plan.keyType, false);
  const good = (unwrapped: Handle): boolean => works(trial, spec, unwrapped, key.outside);
  const plain = findWrap(trial, kek, key.privateKey, template, isPkcs8, good);
  const ec = KEY_SPECS[spec].family !== 'rsa';
  const point = ec ? [...template, { type: CKA.NSS_DB, value: tlv(0x04, pointFromSpki(key.spki)) }] : template;
  const finding = plain ?? (ec ? findWrap(trial, kek, key.privateKey, point, isPkcs8, good) : undefined);
  const needsPoint = plain === undefined && finding !== undefined ? { needsPoint: true } : {};
  return { plan: { ...toWrapPlan(finding, true, () => givesValue(trial, spec, plan)), ...needsPoint }, pkcs8 };
};

/** Edwards keys that a module does not wrap (SoftHSM) can still leave as a value, if made not sensitive. */
const givesValue = (trial: Trial, spec: KeySpec, plan: SpecPlan): boolean => {
  if (KEY_SPECS[spec].family === 'rsa' || plan.generate === undefined) return false;
  return (
    trial.attempt(() => {
      const { publicKey, privateKey } = trial.cryptoki.C_GenerateKeyPair(
        trial.objects,
        { mechanism: plan.generate ?? 0 },
        newPublicTemplate(spec, EXPONENT, plan.curveParams, false),
        trialPrivate(spec, plan.keyType, true, false),
      );
      const value = readAttribute(trial.cryptoki, trial.objects, privateKey, CKA.VALUE);
      const spki = readSpki(trial.cryptoki, trial.objects, publicKey, spec);
      return value !== undefined && spki !== undefined && readPkcs8(valueToPkcs8(spec, value), spec).spki.equals(spki);
    }) === true
  );
};

const probeRsa = (trial: Trial, kek: Kek | undefined, specs: SpecPlan[], keys: Map<KeySpec, PairTrialKey>): void => {
  const row = pairRow('rsa-2048');
  if (row === undefined || !trial.has(CKM.RSA_PKCS)) return;
  const found = probeSpec(trial, kek, 'rsa-2048', row, undefined);
  if (found === undefined) return;
  specs.push(found.plan);
  keys.set('rsa-2048', found.key);
  const { generate, ...others } = found.plan;
  const made = trial.range(CKM.RSA_PKCS_KEY_PAIR_GEN);
  const used = trial.range(CKM.RSA_PKCS);
  const within = (range: typeof made, bits: number): boolean =>
    range !== undefined && bits >= range.min && (range.max === 0 || bits <= range.max);
  for (const spec of KEY_SPEC_NAMES.filter(tooSlowToTry)) {
    const generates = generate !== undefined && within(made, KEY_SPECS[spec].bits) ? { generate } : {};
    if (within(used, KEY_SPECS[spec].bits)) specs.push({ ...others, spec, ...generates });
  }
  if (found.plan.import && importPair(trial, 'rsa-1024', { ...found.plan, spec: 'rsa-1024' }) !== undefined)
    specs.push({ ...others, spec: 'rsa-1024' });
};

const specsOfFamily = (findings: PairFindings, algorithm: Algorithm): readonly KeySpec[] => {
  const { families } = ALGORITHMS[algorithm];
  return findings.specs.map(({ spec }) => spec).filter((spec) => families.includes(KEY_SPECS[spec].family) && fits(algorithm, spec));
};
/** Two digests and two bytes must fit an RSA modulus (RFC 8017 §7.1.1, §9.1.1), with a key of 32 bytes between where one is wrapped. */
const fits = (algorithm: Algorithm, spec: KeySpec): boolean => {
  const { hash, kind, families } = ALGORITHMS[algorithm];
  if (families[0] !== 'rsa' || hash === undefined || algorithm.startsWith('rsa-pkcs1')) return true;
  const room = KEY_SPECS[spec].bits / 8 - 2 * HASH_BYTES[hash] - 2;
  return room >= (kind === 'signature' ? 0 : kind === 'wrap' ? 32 : 1);
};

interface SignatureFinding {
  readonly spec: KeySpec;
  readonly inside: boolean;
  readonly digest: boolean;
  readonly streams: boolean;
  readonly variant: number;
}

const trySignature = (trial: Trial, algorithm: Algorithm, spec: KeySpec, key: PairTrialKey): SignatureFinding | undefined => {
  const { hash } = ALGORITHMS[algorithm];
  const accepts = (mechanism: Mechanism, input: Buffer): boolean => {
    const signature = trial.sign(mechanism, key.privateKey, input);
    return (
      signature !== undefined && verifies(algorithm, key.outside, signature) && trial.verify(mechanism, key.publicKey, input, signature)
    );
  };
  if (hash === undefined) {
    const variant = [0, 1].find((form) => accepts(signatureMechanism(algorithm, false, {}, form), MESSAGE));
    return variant === undefined ? undefined : { spec, inside: true, digest: false, streams: false, variant };
  }
  const finished = signatureMechanismOrNone(algorithm, true);
  const digest =
    trial.has(finished?.mechanism) && finished !== undefined && accepts(finished, toDigestInput(algorithm, spec, hashOf(hash, MESSAGE)));
  const whole = signatureMechanismOrNone(algorithm, false);
  const inside = trial.has(whole?.mechanism) && whole !== undefined && accepts(whole, MESSAGE);
  if (!inside && !digest) return undefined;
  const streamed =
    inside && whole !== undefined ? trial.streamsSign(whole, key.privateKey, [MESSAGE.subarray(0, 4), MESSAGE.subarray(4)]) : undefined;
  return { spec, inside, digest, streams: streamed !== undefined && verifies(algorithm, key.outside, streamed), variant: 0 };
};

const signatureMechanismOrNone = (algorithm: Algorithm, digest: boolean): Mechanism | undefined => {
  try {
    return signatureMechanism(algorithm, digest, {});
  } catch {
    return undefined;
  }
};

const RAW = new Set<Algorithm>(['ecdsa-raw', 'rsa-pkcs1-raw']);

export const probeSignatures = (trial: Trial, findings: PairFindings): AlgorithmPlan[] =>
  ALGORITHM_NAMES.flatMap((algorithm) => {
    if (ALGORITHMS[algorithm].kind !== 'signature') return [];
    if (RAW.has(algorithm)) return probeRawSignature(trial, findings, algorithm);
    const tried = [...findings.keys].flatMap(([spec, key]) => {
      const fits =
        ALGORITHMS[algorithm].families.includes(KEY_SPECS[spec].family) && (KEY_SPECS[spec].family !== 'eddsa' || spec === algorithm);
      const found = fits ? trySignature(trial, algorithm, spec, key) : undefined;
      return found === undefined ? [] : [found];
    });
    const [first] = tried;
    if (first === undefined) return [];
    const inside = tried.every((one) => one.inside);
    const digest = tried.every((one) => one.digest);
    if (!inside && !digest) return [];
    const mechanism = signatureMechanism(algorithm, !inside && digest, {}, first.variant).mechanism;
    return [
      {
        algorithm,
        mechanism,
        // Trials ran on one RSA size; all sizes share the mechanism.
        specs: ALGORITHMS[algorithm].families.includes('rsa') ? specsOfFamily(findings, algorithm) : tried.map(({ spec }) => spec),
        streams: tried.every((one) => one.streams),
        hashesInside: inside,
        signsDigest: digest,
        variant: first.variant,
        ...(inside ? {} : { note: 'hashed in the root host (public data), signed in the module' }),
      },
    ];
  });

const probeRawSignature = (trial: Trial, findings: PairFindings, algorithm: Algorithm): AlgorithmPlan[] => {
  const hashed: Algorithm = algorithm === 'ecdsa-raw' ? 'ecdsa-sha256' : 'rsa-pkcs1-sha256';
  const specs = [...findings.keys].flatMap(([spec, key]) =>
    ALGORITHMS[algorithm].families.includes(KEY_SPECS[spec].family) && signsDigest(trial, hashed, spec, key.privateKey, key.outside, 0)
      ? [spec]
      : [],
  );
  if (specs.length === 0) return [];
  const { mechanism } = signatureMechanism(algorithm, false, {});
  return [
    {
      algorithm,
      mechanism,
      specs: algorithm === 'rsa-pkcs1-raw' ? specsOfFamily(findings, algorithm) : specs,
      streams: false,
      hashesInside: true,
      signsDigest: true,
    },
  ];
};

const OAEP_PLAIN = Buffer.from('00112233445566778899aabbccddeeff', 'hex');

/** RSA encryption: made outside and opened inside, made inside and opened inside. */
const rsaCipherWorks = (trial: Trial, algorithm: Algorithm, key: PairTrialKey): boolean => {
  const { hash } = ALGORITHMS[algorithm];
  const mechanism = cipherMechanism(algorithm, Buffer.alloc(0), {}, 0);
  const raw = algorithm === 'rsa-raw';
  const plain = raw ? Buffer.concat([Buffer.alloc(240), OAEP_PLAIN]) : OAEP_PLAIN;
  const options =
    hash !== undefined
      ? { key: key.outside, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: hash }
      : { key: key.outside, padding: raw ? constants.RSA_NO_PADDING : constants.RSA_PKCS1_PADDING };
  const outside = trial.attempt(() => publicEncrypt(options, plain));
  if (outside === undefined || !trial.decrypt(mechanism, key.privateKey, outside)?.equals(plain)) return false;
  const inside = trial.encrypt(mechanism, key.publicKey, plain);
  return inside !== undefined && trial.decrypt(mechanism, key.privateKey, inside)?.equals(plain) === true;
};

export const probeRsaCiphers = (trial: Trial, findings: PairFindings): AlgorithmPlan[] => {
  const key = findings.keys.get('rsa-2048');
  if (key === undefined) return [];
  return ALGORITHM_NAMES.flatMap((algorithm) => {
    const row = ALGORITHMS[algorithm];
    const mechanism = cipherMechanismOf(algorithm);
    if (row.kind !== 'cipher' || row.families[0] !== 'rsa' || !trial.has(mechanism) || !rsaCipherWorks(trial, algorithm, key)) return [];
    return [{ algorithm, mechanism, specs: specsOfFamily(findings, algorithm), streams: false }];
  });
};

export const probeRsaWraps = (trial: Trial, findings: PairFindings, kwp: AlgorithmPlan | undefined): AlgorithmPlan[] => {
  const key = findings.keys.get('rsa-2048');
  if (key === undefined || !trial.has(CKM.RSA_PKCS_OAEP)) return [];
  const plans = (['rsa-pkcs1-wrap', 'rsa-oaep-sha1-wrap', 'rsa-oaep-sha256-wrap'] as const).flatMap((algorithm): AlgorithmPlan[] => {
    const mechanism = cipherMechanism(algorithm, Buffer.alloc(0), {}, 0);
    const value = randomBytes(32);
    const template = wholeSecretTemplate(32).filter(({ type }) => type !== CKA.VALUE_LEN);
    const target = trial.create([...visible(template), { type: CKA.VALUE, value }]);
    const blob = target === undefined ? undefined : trial.wrap(mechanism, key.publicKey, target);
    const again = blob === undefined ? undefined : trial.unwrap(mechanism, key.privateKey, blob, visible(template));
    if (again === undefined || !readAttribute(trial.cryptoki, trial.objects, again, CKA.VALUE)?.equals(value)) return [];
    return [{ algorithm, mechanism: mechanism.mechanism, specs: specsOfFamily(findings, algorithm), streams: false }];
  });
  if (kwp === undefined || !plans.some(({ algorithm }) => algorithm === 'rsa-oaep-sha256-wrap')) return plans;
  return [
    ...plans,
    {
      algorithm: 'rsa-aes-kwp',
      mechanism: CKM.RSA_PKCS_OAEP,
      specs: specsOfFamily(findings, 'rsa-aes-kwp'),
      streams: false,
      note: 'as OAEP and KWP, both in the module',
    },
  ];
};

/** ECDH against OpenSSL's own; `variant` 1 when the leftmost bytes of the secret can be taken inside the module. */
export const probeAgreement = (trial: Trial, findings: PairFindings): AlgorithmPlan[] => {
  if (!trial.has(CKM.ECDH1_DERIVE)) return [];
  let leftmost = trial.has(LEFTMOST.mechanism);
  const specs = [...findings.keys].flatMap(([spec, key]) => {
    if (KEY_SPECS[spec].family !== 'ec') return [];
    const { width } = curveOf(spec);
    const peer = generateKeyPairSync('ec', { namedCurve: KEY_SPECS[spec].curve ?? '' });
    const point = pointFromSpki(peer.publicKey.export({ format: 'der', type: 'spki' }));
    const expected = diffieHellman({ privateKey: peer.privateKey, publicKey: key.outside });
    const made = trial.derive(ecdhMechanism(point), key.privateKey, visible(wholeSecretTemplate(width)));
    const value = made === undefined ? undefined : readAttribute(trial.cryptoki, trial.objects, made, CKA.VALUE);
    if (made === undefined || value === undefined || !value.equals(expected)) return [];
    const left = trial.derive(LEFTMOST, made, visible(wholeSecretTemplate(16)));
    leftmost &&=
      left !== undefined && readAttribute(trial.cryptoki, trial.objects, left, CKA.VALUE)?.equals(expected.subarray(0, 16)) === true;
    return [spec];
  });
  if (specs.length === 0) return [];
  const note = leftmost ? {} : { note: 'whole shared secrets only: this module takes the last bytes for a shorter key' };
  return [{ algorithm: 'ecdh', mechanism: CKM.ECDH1_DERIVE, specs, streams: false, variant: leftmost ? 1 : 0, ...note }];
};

import { createHash } from 'node:crypto';
import { readFileSync, realpathSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pkcs11RootConfig } from '../config.js';
import type { AlgorithmCapability, BackEnd, RootCallName, RootDescription, RootHealth, RootOfTrust, SpecCapability } from '../contract.js';
import { RootFault } from '../fault.js';
import { toRoot } from '../root.js';
import { ALGORITHMS, type Algorithm, KEY_SPECS } from '../vocabulary/index.js';
import { Anchors } from './anchors.js';
import { decrypt, encrypt, generateDataKey, reEncrypt } from './cipher.js';
import { ckrOf } from './ck-error.js';
import { Connection, toOpenFault } from './connection.js';
import { CKR, mechanismName } from './constants.js';
import type { CryptokiSource } from './cryptoki.js';
import { agree, derive } from './derivation.js';
import { KeyStore } from './key-store.js';
import { destroyKey, evidence, exportKey, generateKey, generateKeyPair, importKey, rewrapReference } from './making.js';
import { HASH_MECHANISMS } from './mechanisms.js';
import { MAX_INPUT_BYTES, Multipart } from './multipart.js';
import type { AlgorithmPlan, Plans, SpecPlan } from './plans.js';
import { probe } from './probe.js';
import { type Context, perform, random, toInput } from './session-call.js';
import { mac, macVerify, sign, verify } from './signature.js';
import { trimmed, trimmedInfo } from './slot.js';
import { unwrapKey, wrapKey } from './wrapping.js';

const RANDOM_CHUNK_BYTES = 1_024;
const DIGEST_BYTES = 64;

type Calls = { readonly [C in RootCallName]?: BackEnd[C] };

const randomBytesOf = (context: Context, length: number): Buffer => {
  const { cryptoki, anchor } = context.connection;
  const parts: Buffer[] = [];
  // Some modules give little at once (Google: 1,024 bytes).
  for (let left = length; left > 0; left -= RANDOM_CHUNK_BYTES) parts.push(random(cryptoki, anchor, Math.min(left, RANDOM_CHUNK_BYTES)));
  return Buffer.concat(parts);
};

const makeCalls = (context: Context, multipart: Multipart): Calls => {
  const { connection, plans } = context;
  return {
    generateKey: (request) => generateKey(context, request),
    generateKeyPair: (request) => generateKeyPair(context, request),
    importKey: (request) => importKey(context, request),
    exportKey: (request) => exportKey(context, request),
    destroyKey: (request) => destroyKey(context, request),
    encrypt: (request) => encrypt(context, request),
    decrypt: (request) => decrypt(context, request),
    sign: (request) => sign(context, request),
    verify: (request) => verify(context, request),
    mac: (request) => mac(context, request),
    macVerify: (request) => macVerify(context, request),
    wrapKey: (request) => wrapKey(context, request),
    unwrapKey: (request) => unwrapKey(context, request),
    derive: (request) => derive(context, request),
    agree: (request) => agree(context, request),
    generateDataKey: (request) => generateDataKey(context, request),
    reEncrypt: (request) => reEncrypt(context, request),
    random: ({ length }) => connection.run(() => ({ bytes: randomBytesOf(context, length) }), { repeatable: true }),
    ...(plans.seeds
      ? {
          seedRandom: ({ seed }) =>
            connection.run(
              () => {
                connection.cryptoki.C_SeedRandom(connection.anchor, toInput(seed));
                return { accepted: seed.length };
              },
              { repeatable: true },
            ),
        }
      : {}),
    digest: ({ hash, data }) =>
      connection.run(
        async () => {
          const { cryptoki } = connection;
          const input = toInput(data);
          const digest = await perform(context, undefined, -1, {
            init: (session) => cryptoki.C_DigestInit(session, { mechanism: HASH_MECHANISMS[hash].digest }),
            now: (session, out) => cryptoki.C_Digest(session, input, out),
            later: async (session, out) => cryptoki.C_Digest(session, input, out),
            holds: [input],
            inputBytes: 0,
            outputBytes: DIGEST_BYTES,
          });
          return { digest };
        },
        { repeatable: true },
      ),
    beginOperation: (request) => multipart.begin(request),
    updateOperation: (request) => multipart.update(request),
    finishOperation: (request) => multipart.finish(request),
    cancelOperation: (request) => multipart.cancel(request),
    evidence: (request) => evidence(context, request),
    rewrapReference: (request) => rewrapReference(context, request),
  };
};

const isServed = (name: RootCallName, plans: Plans): boolean => {
  const kinds = new Set([...plans.algorithms.keys()].map((algorithm) => ALGORITHMS[algorithm].kind));
  const plan = [...plans.specs.values()];
  const rules: Partial<Record<RootCallName, boolean>> = {
    generateKey: plan.some(({ spec, generate }) => generate !== undefined && KEY_SPECS[spec].shape !== 'pair'),
    generateKeyPair: plan.some(({ spec, generate }) => generate !== undefined && KEY_SPECS[spec].shape === 'pair'),
    importKey: plan.some((one) => one.import),
    exportKey: plan.some(({ exportVia }) => exportVia !== undefined),
    encrypt: kinds.has('cipher'),
    decrypt: kinds.has('cipher'),
    reEncrypt: kinds.has('cipher'),
    sign: kinds.has('signature'),
    verify: kinds.has('signature'),
    mac: kinds.has('mac'),
    macVerify: kinds.has('mac'),
    wrapKey: kinds.has('wrap'),
    unwrapKey: kinds.has('wrap'),
    derive: kinds.has('derive'),
    agree: kinds.has('agree'),
    generateDataKey: plans.algorithms.has('aes-gcm'),
    digest: plans.hashes.length > 0,
  };
  return rules[name] ?? true;
};

/** Why some keys are token objects although `storage` is `wrapped`. */
const staysInside = (plan: SpecPlan): string | undefined => {
  if (plan.wrap === undefined) return 'kept as a token object: the module does not wrap such keys';
  if (plan.wrapsWholeBlocks === true && KEY_SPECS[plan.spec].variableLength === true)
    return 'lengths that are no multiple of 8 bytes are kept as token objects: the module wraps whole blocks only';
  return undefined;
};

const toSpecCapability = (plan: SpecPlan, storage: Pkcs11RootConfig['storage']): SpecCapability => ({
  spec: plan.spec,
  generate: plan.generate !== undefined && KEY_SPECS[plan.spec].importOnly !== true,
  import: plan.import,
  nonExtractable: true,
  approval: KEY_SPECS[plan.spec].approval,
  ...noteOf(storage === 'wrapped' ? staysInside(plan) : undefined),
});

const noteOf = (note: string | undefined): { readonly note?: string } => (note === undefined ? {} : { note });

/** An RSA block, a finished digest and a PureEdDSA message are one part by nature. */
const isPartable = (algorithm: Algorithm): boolean => {
  const { kind, families, hash } = ALGORITHMS[algorithm];
  return kind === 'mac' || (kind === 'signature' && hash !== undefined) || (kind === 'cipher' && families[0] !== 'rsa');
};

const toAlgorithmCapability = (plan: AlgorithmPlan): AlgorithmCapability => ({
  algorithm: plan.algorithm,
  specs: plan.specs,
  multiPart: isPartable(plan.algorithm),
  approval: ALGORITHMS[plan.algorithm].approval,
  mechanism: mechanismName(plan.mechanism),
  ...noteOf(plan.note),
});

const fileHash = (path: string): string => {
  try {
    return createHash('sha256')
      .update(readFileSync(realpathSync(path)))
      .digest('hex');
  } catch {
    // A name that the loader found on its own path.
    return 'unknown';
  }
};

const version = ({ major, minor }: { readonly major: number; readonly minor: number }): string => `${major}.${minor}`;

const moduleFacts = (connection: Connection): Record<string, string> => {
  const info = connection.cryptoki.C_GetInfo();
  const { token } = connection.found;
  const { label, serial, manufacturer, model } = trimmedInfo(token);
  const facts = {
    library: connection.config.module,
    librarySha256: fileHash(connection.config.module),
    libraryManufacturer: trimmed(info.manufacturerID),
    libraryDescription: trimmed(info.libraryDescription),
    libraryVersion: version(info.libraryVersion),
    cryptokiVersion: version(info.cryptokiVersion),
    tokenLabel: label,
    tokenManufacturer: manufacturer,
    tokenModel: model,
    tokenSerial: serial,
    tokenFirmware: version(token.firmwareVersion),
    storage: connection.config.storage,
  };
  return /softhsm/i.test(`${facts.libraryManufacturer} ${manufacturer} ${model}`) ? { ...facts, note: 'TEST TOKEN, no validation' } : facts;
};

const describeRoot = (context: Context, calls: Calls): RootDescription => {
  const { connection, anchors, plans } = context;
  const { config } = connection;
  const specs = [...plans.specs.values()];
  return {
    id: config.id,
    kind: 'pkcs11',
    fingerprint: anchors.fingerprint.toString('hex'),
    powers: (Object.keys(calls) as RootCallName[]).filter((name) => isServed(name, plans)),
    specs: specs.map((plan) => toSpecCapability(plan, config.storage)),
    algorithms: [...plans.algorithms.values()].map(toAlgorithmCapability),
    hashes: plans.hashes,
    maxInput: MAX_INPUT_BYTES,
    module: moduleFacts(connection),
    external: config.storage === 'token' || specs.some((plan) => staysInside(plan) !== undefined),
  };
};

const healthOf = async (context: Context): Promise<RootHealth> => {
  const { connection, anchors } = context;
  const start = process.hrtime.bigint();
  try {
    await connection.run(
      () => {
        connection.ping();
        anchors.check();
      },
      { repeatable: true },
    );
  } catch (error) {
    const fault = error instanceof RootFault ? error : new RootFault('unavailable', 'the token does not answer');
    return { state: 'unavailable', detail: fault.next === undefined ? fault.message : `${fault.message}. ${fault.next}` };
  }
  return { state: 'ready', latencyMs: Number(process.hrtime.bigint() - start) / 1e6 };
};

/** SoftHSM answers CKR_GENERAL_ERROR to who reads a token object while another process writes it: worth another look. */
const OPEN_RETRIES_MS = [100, 300, 900];

/** A root over the module that `source` makes: pkcs11js, or a stand-in that fails on purpose. */
export const openPkcs11RootWith = async (config: Pkcs11RootConfig, source: CryptokiSource): Promise<RootOfTrust> => {
  // Opening again logs in again: only with a PIN the token has just accepted, and without asking a person twice.
  const waits = 'prompt' in config.pin ? [] : OPEN_RETRIES_MS;
  for (let attempt = 0; ; attempt += 1) {
    const connection = await Connection.open(config, source);
    try {
      return await openOver(connection);
    } catch (error) {
      await connection.close();
      const waitMs = waits[attempt];
      if (waitMs === undefined || ckrOf(error) !== CKR.GENERAL_ERROR) throw toOpenFault(error);
      await sleep(waitMs);
    }
  }
};

const openOver = async (connection: Connection): Promise<RootOfTrust> => {
  const anchors = await Anchors.open(connection);
  const plans = probe(connection);
  const keys = new KeyStore(connection, anchors, plans.specs);
  const context: Context = { connection, anchors, keys, plans };
  const reloadAnchors = connection.onOpen;
  connection.onOpen = () => {
    keys.abandon();
    reloadAnchors?.();
  };
  const multipart = new Multipart(context);
  const calls = makeCalls(context, multipart);
  const description = describeRoot(context, calls);
  connection.startKeepAlive();
  return toRoot({
    ...calls,
    describe: async () => description,
    health: () => healthOf(context),
    close: async () => {
      multipart.close();
      await connection.close();
    },
  });
};

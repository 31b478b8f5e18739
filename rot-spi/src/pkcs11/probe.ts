import { createHash } from 'node:crypto';
import { HASHES, type HashName, type KeySpec } from '../vocabulary/index.js';
import type { Connection } from './connection.js';
import { CKK, CKM } from './constants.js';
import { HASH_MECHANISMS, hashOf, signatureMechanism, toDigestInput } from './mechanisms.js';
import type { AlgorithmPlan, Plans } from './plans.js';
import { type PairFindings, probeAgreement, probePairSpecs, probeRsaCiphers, probeRsaWraps, probeSignatures } from './probe-pairs.js';
import {
  makeKek,
  probeAesWraps,
  probeCiphers,
  probeEncryptDerive,
  probeMacs,
  probeSecretSpecs,
  refusesShortHmac,
  type SecretFindings,
} from './probe-secrets.js';
import { Trial } from './trial.js';

/** Above this a call leaves the event loop. */
const SLOW_MS = 1;
const TIMINGS = 5;
const SAMPLE = Buffer.alloc(256, 7);

const probeHashes = (trial: Trial): HashName[] =>
  HASHES.filter((hash) => {
    const mechanism = HASH_MECHANISMS[hash].digest;
    if (!trial.has(mechanism)) return false;
    const digest = trial.attempt((session) => {
      trial.cryptoki.C_DigestInit(session, { mechanism });
      return Buffer.from(trial.cryptoki.C_Digest(session, SAMPLE, Buffer.alloc(64)));
    });
    return digest?.equals(createHash(hash).update(SAMPLE).digest()) === true;
  });

const medianMs = (run: () => unknown): number => {
  const times: number[] = [];
  for (let i = 0; i < TIMINGS; i += 1) {
    const start = process.hrtime.bigint();
    run();
    times.push(Number(process.hrtime.bigint() - start) / 1e6);
  }
  return times.sort((a, b) => a - b)[Math.floor(TIMINGS / 2)] ?? 0;
};

const probeSlow = (trial: Trial, secrets: SecretFindings, pairs: PairFindings): ReadonlySet<number> => {
  const slow = new Set<number>();
  const digest = hashOf('sha256', SAMPLE);
  const ec = pairs.keys.get('ec-p256');
  if (ec !== undefined && medianMs(() => trial.sign({ mechanism: CKM.ECDSA }, ec.privateKey, digest)) >= SLOW_MS)
    slow.add(CKK.EC).add(CKK.EC_EDWARDS);
  const rsa = pairs.keys.get('rsa-2048');
  if (rsa !== undefined) {
    const input = toDigestInput('rsa-pkcs1-sha256', 'rsa-2048', digest);
    const mechanism = signatureMechanism('rsa-pkcs1-sha256', true, {});
    if (medianMs(() => trial.sign(mechanism, rsa.privateKey, input)) >= SLOW_MS) slow.add(CKK.RSA);
  }
  const aes = secrets.keys.get('aes-256');
  if (aes !== undefined && medianMs(() => trial.encrypt({ mechanism: CKM.AES_ECB }, aes.handle, SAMPLE)) >= SLOW_MS)
    slow.add(CKK.AES).add(CKK.GENERIC_SECRET).add(CKK.DES2).add(CKK.DES3);
  return slow;
};

/**
 * What the module really does: its mechanism list says what is worth trying, an operation on a session object checked
 * against OpenSSL says whether it works. Modules list mechanisms they lack, and disagree about what a number means.
 */
export const probe = (connection: Connection): Plans => {
  const trial = new Trial(connection);
  try {
    const kek = makeKek(trial);
    const hashes = probeHashes(trial);
    const secrets = probeSecretSpecs(trial, kek);
    const pairs = probePairSpecs(trial, kek);
    const aesWraps = probeAesWraps(trial, secrets.keys);
    const algorithms: AlgorithmPlan[] = [
      ...probeCiphers(trial, secrets.keys),
      ...probeRsaCiphers(trial, pairs),
      ...probeSignatures(trial, pairs),
      ...probeMacs(trial, secrets.keys),
      ...aesWraps,
      ...probeRsaWraps(
        trial,
        pairs,
        aesWraps.find(({ algorithm }) => algorithm === 'aes-kwp'),
      ),
      ...probeAgreement(trial, pairs),
      ...probeEncryptDerive(trial, secrets.keys),
    ];
    const seeds = trial.attempt((session) => {
      trial.cryptoki.C_SeedRandom(session, Buffer.alloc(32, 5));
      return true;
    });
    connection.ping();
    return {
      specs: new Map([...secrets.specs, ...pairs.specs].map((plan): [KeySpec, typeof plan] => [plan.spec, plan])),
      algorithms: new Map(algorithms.map((plan) => [plan.algorithm, plan])),
      hashes,
      seeds: seeds === true,
      padsShortHmac: trial.has(CKM.SHA256_HMAC) && refusesShortHmac(trial),
      slow: probeSlow(trial, secrets, pairs),
    };
  } finally {
    trial.close();
  }
};

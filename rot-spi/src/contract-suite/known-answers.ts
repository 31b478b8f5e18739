import type { BoundKey } from '../contract.js';
import type { Algorithm, KeySpec } from '../vocabulary/index.js';
import { hex, type Session, toHex } from './session.js';
import type { ContractRunner } from './target.js';
import {
  AGREEMENT_VECTORS,
  CIPHER_VECTORS,
  DECRYPTION_VECTORS,
  DERIVE_VECTORS,
  DIGEST_VECTORS,
  MAC_VECTORS,
  SIGNATURE_VECTORS,
  WRAP_VECTORS,
} from './vectors.js';

const bytes = <K extends string>(name: K, text: string | undefined): { readonly [N in K]?: Buffer } =>
  (text === undefined ? {} : { [name]: hex(text) }) as { readonly [N in K]?: Buffer };

/** 32 bytes: some services take no shorter one, though FIPS 198-1 does. */
const MODERN_HMAC_KEY_HEX = 64;

export const defineKnownAnswers = (session: Session, { describe, test, expect }: ContractRunner): void => {
  /** True when the vector can run; where it cannot, the gap must be in the target's list. */
  const ready = async (algorithm: Algorithm, spec: KeySpec): Promise<boolean> => {
    const description = await session.describe();
    const held = description.specs.find((line) => line.spec === spec);
    if (held?.import && description.powers.includes('importKey') && (await session.supports(algorithm, spec))) return true;
    const reasons = [`spec:${spec}`, `import:${spec}`, 'power:importKey', `algorithm:${algorithm}`, `algorithm:${algorithm}@${spec}`];
    expect(
      reasons.some((what) => session.isListed(what)),
      `${algorithm} on ${spec} cannot be tried and no gap says why`,
    ).toBe(true);
    return false;
  };
  const raw = (spec: KeySpec, key: string): Promise<BoundKey> => session.imported(session.binding(spec), 'raw', hex(key));

  describe('known answers: ciphers', () => {
    for (const vector of CIPHER_VECTORS) {
      test(`${vector.algorithm}: ${vector.id}`, async () => {
        if (!(await ready(vector.algorithm, vector.spec))) return;
        await session.attempt(vector.parameter, async () => {
          const key = await raw(vector.spec, vector.key);
          const { algorithm } = vector;
          const tagLength = vector.tagLength === undefined ? {} : { tagLength: vector.tagLength };
          const parameters = { ...bytes('iv', vector.iv), ...(vector.aad ? bytes('aad', vector.aad) : {}), ...tagLength };
          await session.attempt(vector.iv === undefined ? undefined : 'caller-iv', async () => {
            const sealed = await session.call('encrypt', { key, algorithm, plaintext: hex(vector.plaintext), ...parameters });
            expect(toHex(sealed.ciphertext)).toBe(vector.ciphertext);
            expect(toHex(sealed.tag)).toBe(vector.tag ?? 'absent');
          });
          const opened = await session.call('decrypt', {
            key,
            algorithm,
            ciphertext: hex(vector.ciphertext),
            ...bytes('tag', vector.tag),
            ...parameters,
          });
          expect(toHex(opened.plaintext)).toBe(vector.plaintext);
        });
      });
    }
    for (const vector of DECRYPTION_VECTORS) {
      test(`${vector.algorithm}: decrypts ${vector.id}`, async () => {
        if (!(await ready(vector.algorithm, vector.spec))) return;
        await session.attempt(vector.parameter, async () => {
          const key = await session.imported(session.binding(vector.spec), 'pkcs8', hex(vector.privateKey));
          const mgf1Hash = vector.mgf1Hash === undefined ? {} : { mgf1Hash: vector.mgf1Hash };
          const request = {
            key,
            algorithm: vector.algorithm,
            ciphertext: hex(vector.ciphertext),
            ...mgf1Hash,
            ...bytes('label', vector.label),
          };
          expect(toHex((await session.call('decrypt', request)).plaintext)).toBe(vector.plaintext);
        });
      });
    }
  });

  describe('known answers: MACs and digests', () => {
    for (const vector of MAC_VECTORS) {
      test(`${vector.algorithm}: ${vector.id}`, async () => {
        if (!(await ready(vector.algorithm, vector.spec))) return;
        const short = vector.key.length < MODERN_HMAC_KEY_HEX ? 'hmac-key-under-256-bits' : undefined;
        await session.attempt(vector.parameter ?? short, async () => {
          const key = await raw(vector.spec, vector.key);
          const request = { key, algorithm: vector.algorithm, data: hex(vector.data) };
          expect(toHex((await session.call('mac', request)).mac)).toBe(vector.mac);
          expect((await session.call('macVerify', { ...request, mac: hex(vector.mac) })).valid).toBe(true);
        });
      });
    }
    for (const vector of DIGEST_VECTORS) {
      test(`digest: ${vector.id}`, async () => {
        const { hashes, powers } = await session.describe();
        if (!powers.includes('digest') || !hashes.includes(vector.hash)) {
          await session.refused('unsupported', () => session.call('digest', { hash: vector.hash, data: hex(vector.data) }));
          return;
        }
        expect(toHex((await session.call('digest', { hash: vector.hash, data: hex(vector.data) })).digest)).toBe(vector.digest);
      });
    }
  });

  describe('known answers: key wrapping', () => {
    for (const vector of WRAP_VECTORS) {
      test(`${vector.algorithm}: ${vector.id}`, async () => {
        if (!(await ready(vector.algorithm, vector.spec))) return;
        const wrappingKey = await raw(vector.spec, vector.key);
        const binding = session.binding('secret', { exportable: true });
        const key = await session.imported(binding, 'raw', hex(vector.material));
        // SoftHSM 2.6 pads before KWP does, so it cannot wrap a value of any other length.
        const wholeBlocks = (vector.material.length / 2) % 8 === 0;
        await session.attempt(wholeBlocks ? vector.parameter : 'kwp-any-length', async () => {
          const { wrapped } = await session.call('wrapKey', { wrappingKey, algorithm: vector.algorithm, key });
          expect(toHex(wrapped)).toBe(vector.wrapped);
        });
        const again = session.binding('secret', { exportable: true });
        const request = {
          unwrappingKey: wrappingKey,
          algorithm: vector.algorithm,
          wrapped: hex(vector.wrapped),
          format: 'raw',
          newKey: { binding: again },
        } as const;
        const { reference } = await session.call('unwrapKey', request);
        expect(toHex((await session.call('exportKey', { key: { reference, binding: again } })).material)).toBe(vector.material);
      });
    }
  });

  describe('known answers: derivation and agreement', () => {
    for (const vector of DERIVE_VECTORS) {
      const spec = vector.spec ?? 'secret';
      test(`${vector.algorithm}: ${vector.id}`, async () => {
        if (!(await ready(vector.algorithm, spec))) return;
        const parameter = vector.cipher?.includes('ecb') ? 'encrypt-derive-ecb' : vector.parameter;
        await session.attempt(parameter, async () => {
          const key = await raw(spec, vector.key);
          const binding = session.binding('secret', { exportable: true });
          const { salt, info, fixedInput, data, iv, iterations, hash, cipher } = vector;
          const request = {
            key,
            algorithm: vector.algorithm,
            newKey: { binding, length: vector.length },
            ...bytes('salt', salt),
            ...bytes('info', info),
            ...bytes('fixedInput', fixedInput),
            ...bytes('data', data),
            ...bytes('iv', iv),
            ...(iterations === undefined ? {} : { iterations }),
            ...(hash === undefined ? {} : { hash }),
            ...(cipher === undefined ? {} : { cipher }),
          };
          const { reference, bits } = await session.call('derive', request);
          expect(bits).toBe(vector.length * 8);
          expect(toHex((await session.call('exportKey', { key: { reference, binding } })).material)).toBe(vector.output);
        });
      });
    }
    for (const vector of AGREEMENT_VECTORS) {
      test(`${vector.algorithm}: ${vector.id}`, async () => {
        if (!(await ready(vector.algorithm, vector.spec))) return;
        const key = await session.imported(session.binding(vector.spec), 'pkcs8', hex(vector.privateKey));
        const binding = session.binding('secret', { exportable: true });
        const { reference } = await session.call('agree', {
          key,
          algorithm: vector.algorithm,
          peerPublicKey: hex(vector.peerPublicKey),
          newKey: { binding },
        });
        expect(toHex((await session.call('exportKey', { key: { reference, binding } })).material)).toBe(vector.secret);
        const short = session.binding('aes-128', { exportable: true });
        // PKCS#11 modules take the last bytes, not the first (v2.40 §2.3.6), unless they can extract from the whole.
        await session.attempt('agree-shorter-key', async () => {
          const cut = await session.call('agree', {
            key,
            algorithm: vector.algorithm,
            peerPublicKey: hex(vector.peerPublicKey),
            newKey: { binding: short },
          });
          expect(toHex((await session.call('exportKey', { key: { reference: cut.reference, binding: short } })).material)).toBe(
            vector.secret.slice(0, 32),
          );
        });
      });
    }
  });

  describe('known answers: signatures', () => {
    for (const vector of SIGNATURE_VECTORS) {
      const { algorithm, spec } = vector;
      const mgf1Hash = vector.mgf1Hash === undefined ? {} : { mgf1Hash: vector.mgf1Hash };
      const parameters = { ...mgf1Hash, ...(vector.saltLength === undefined ? {} : { saltLength: vector.saltLength }) };
      test(`${algorithm}: ${vector.id}`, async () => {
        if (!(await ready(algorithm, spec))) return;
        await session.attempt(vector.parameter, async () => {
          const base = { key: { publicKey: hex(vector.publicKey), spec }, algorithm, data: hex(vector.data), ...parameters };
          expect((await session.call('verify', { ...base, signature: hex(vector.signature) })).valid).toBe(true);
          expect(
            (await session.call('verify', { ...base, data: Buffer.concat([base.data, hex('00')]), signature: hex(vector.signature) }))
              .valid,
          ).toBe(false);
          const bound = await session.imported(session.binding(spec), 'pkcs8', hex(vector.privateKey));
          expect(toHex(bound.created.publicKey)).toBe(vector.publicKey);
          const { signature } = await session.call('sign', { ...base, key: bound });
          if (vector.deterministic) expect(toHex(signature)).toBe(vector.signature);
          expect((await session.call('verify', { ...base, signature })).valid).toBe(true);
        });
      });
      if (vector.fixed === undefined) continue;
      const fixed = vector.fixed;
      test(`${algorithm}: ${vector.id} as r‖s`, async () => {
        if (!(await ready(algorithm, spec))) return;
        const request = { key: { publicKey: hex(vector.publicKey), spec }, algorithm, data: hex(vector.data), encoding: 'p1363' } as const;
        expect((await session.call('verify', { ...request, signature: hex(fixed) })).valid).toBe(true);
        expect((await session.call('verify', { ...request, signature: hex(vector.signature) })).valid).toBe(false);
      });
    }
  });
};

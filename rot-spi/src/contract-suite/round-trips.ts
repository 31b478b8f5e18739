import type { BoundKey, RootRequest, VerificationKey } from '../contract.js';
import { ALGORITHM_NAMES, type Algorithm, HASH_BYTES, type KeySpec } from '../vocabulary/index.js';
import { hex, pattern, type Row, rowOf, type Session, specRow, toHex } from './session.js';
import type { ContractRunner } from './target.js';

type Key = Awaited<ReturnType<Session['key']>>;

const publicHalf = (key: Key): VerificationKey => ({ publicKey: key.created.publicKey ?? new Uint8Array(), spec: key.binding.spec });

/** A generated secret has this many bytes; a pad encrypts no more. */
const PAD_BYTES = 32;

/** Sizes around block borders; whole blocks only where the mode has no padding; what fits for RSA. */
const sizesFor = (row: Row, spec: KeySpec): readonly number[] => {
  const { family, bits } = specRow(spec);
  if (row.name === 'rsa-raw') return [];
  if (row.name === 'one-time-pad') return [0, 1, PAD_BYTES];
  if (row.name === 'rsa-pkcs1') return [0, 1, 32, bits / 8 - 11];
  if (family === 'rsa' && row.hash !== undefined) return [0, 1, bits / 8 - 2 * HASH_BYTES[row.hash] - 2];
  if (row.blockLength !== undefined) return [row.blockLength, row.blockLength * 5, 4096];
  return [1, 15, 16, 17, 1000, 4096, ...(row.tagLength === undefined ? [] : [0])];
};

const deriveParameters = (algorithm: Algorithm, spec: KeySpec, seed: number): Partial<RootRequest<'derive'>> => {
  const data = pattern(64 + seed * 16);
  if (algorithm.startsWith('hkdf')) return { salt: pattern(20), info: data };
  if (algorithm.startsWith('pbkdf2')) return { salt: data, iterations: 10 };
  if (algorithm.startsWith('sp800')) return { fixedInput: data };
  if (algorithm !== 'encrypt-derive') return { hash: 'sha256', data };
  return specRow(spec).family === 'aes' ? { cipher: 'aes-cbc', iv: pattern(16), data } : { cipher: 'des3-cbc', iv: pattern(8), data };
};

export const defineRoundTrips = (session: Session, { describe, test, expect }: ContractRunner): void => {
  const roundTrip = async (key: Key, algorithm: Algorithm, plaintext: Buffer, from: VerificationKey): Promise<void> => {
    const row = rowOf(algorithm);
    const aad = row.tagLength === undefined ? {} : { aad: pattern(37) };
    const one = await session.call('encrypt', { key: from, algorithm, plaintext, ...aad });
    const where = `${algorithm} on ${key.binding.spec}, ${plaintext.length} bytes`;
    expect(one.iv?.length, `${where}: fresh IV`).toBe(row.ivLength);
    const parameters = { ...aad, ...(one.iv === undefined ? {} : { iv: one.iv }) };
    const tag = one.tag === undefined ? {} : { tag: one.tag };
    expect(
      toHex((await session.call('decrypt', { key, algorithm, ciphertext: one.ciphertext, ...tag, ...parameters })).plaintext),
      where,
    ).toBe(toHex(plaintext));
    if (one.tag !== undefined) {
      const joined = Buffer.concat([one.ciphertext, one.tag]);
      expect(
        toHex((await session.call('decrypt', { key, algorithm, ciphertext: joined, ...parameters })).plaintext),
        `${where}, tag appended`,
      ).toBe(toHex(plaintext));
    }
    if (row.ivLength === undefined) return;
    const two = await session.call('encrypt', { key: from, algorithm, plaintext, ...aad });
    expect(toHex(two.iv) === toHex(one.iv), `${where}: IVs repeat`).toBe(false);
    if (session.isListed('parameter:caller-iv')) return;
    const again = await session.call('encrypt', { key: from, algorithm, plaintext, ...parameters });
    expect(toHex(again.ciphertext), `${where}: same IV, same ciphertext`).toBe(toHex(one.ciphertext));
  };

  const cipherTrip = async (key: Key, algorithm: Algorithm): Promise<void> => {
    const { spec } = key.binding;
    for (const size of sizesFor(rowOf(algorithm), spec)) {
      await roundTrip(key, algorithm, pattern(size), key);
      if (specRow(spec).shape === 'pair') await roundTrip(key, algorithm, pattern(size), publicHalf(key));
    }
    if (algorithm !== 'rsa-raw') return;
    const block = pattern(specRow(spec).bits / 8);
    block[0] = 0;
    await roundTrip(key, algorithm, block, publicHalf(key));
  };

  /** Parts of odd sizes give what one part gives. */
  const cipherParts = async (key: Key, algorithm: Algorithm): Promise<void> => {
    const plaintext = pattern(algorithm === 'one-time-pad' ? PAD_BYTES : rowOf(algorithm).blockLength === undefined ? 1001 : 960);
    const aad = rowOf(algorithm).tagLength === undefined ? {} : { aad: pattern(9) };
    const begun = await session.call('beginOperation', { kind: 'encrypt', key, algorithm, ...aad });
    const parameters = { ...aad, ...(begun.iv === undefined ? {} : { iv: begun.iv }) };
    const { output, tag } = await inParts(begun.operation, plaintext);
    const whole = await session.call('encrypt', { key, algorithm, plaintext, ...parameters });
    expect(toHex(output), `${algorithm} in parts`).toBe(toHex(whole.ciphertext));
    expect(toHex(tag), `${algorithm} tag in parts`).toBe(toHex(whole.tag));
    const opening = await session.call('beginOperation', { kind: 'decrypt', key, algorithm, ...parameters });
    const opened = await inParts(opening.operation, whole.ciphertext, whole.tag);
    expect(toHex(opened.output), `${algorithm} decrypted in parts`).toBe(toHex(plaintext));
  };

  const inParts = async (
    operation: string,
    data: Uint8Array,
    signature?: Uint8Array,
  ): Promise<{ output: Buffer; tag?: Uint8Array; valid?: boolean }> => {
    const outputs: Uint8Array[] = [];
    let at = 0;
    for (const size of [1, 0, 16, 33, 200]) {
      outputs.push((await session.call('updateOperation', { operation, data: data.subarray(at, at + size) })).output);
      at += size;
    }
    const last = await session.call('finishOperation', {
      operation,
      data: data.subarray(at),
      ...(signature === undefined ? {} : { signature }),
    });
    await session.refused('operation-unknown', () => session.call('updateOperation', { operation, data: new Uint8Array(1) }));
    return { ...last, output: Buffer.concat([...outputs, last.output]) };
  };

  const signatureTrip = async (key: Key, algorithm: Algorithm): Promise<void> => {
    const row = rowOf(algorithm);
    const data = pattern(algorithm === 'ecdsa-raw' ? 32 : algorithm === 'rsa-pkcs1-raw' ? 51 : 300);
    const where = `${algorithm} on ${key.binding.spec}`;
    const { signature } = await session.call('sign', { key, algorithm, data });
    for (const verifier of [key, publicHalf(key)]) {
      const request = { key: verifier, algorithm, data, signature };
      expect((await session.call('verify', request)).valid, where).toBe(true);
      expect((await session.call('verify', { ...request, data: pattern(data.length).reverse() })).valid, `${where}: other data`).toBe(
        false,
      );
    }
    if (row.hash !== undefined) await prehashedTrip(key, algorithm, data, signature);
    if (row.name.startsWith('ecdsa')) await encodingTrip(key, algorithm, data, signature);
  };

  /** Signing a digest and signing its message are one thing, in both directions. */
  const prehashedTrip = async (key: Key, algorithm: Algorithm, data: Buffer, signature: Uint8Array): Promise<void> => {
    const { hash } = rowOf(algorithm);
    if (hash === undefined || !(await session.has('digest')) || !(await session.describe()).hashes.includes(hash)) return;
    const { digest } = await session.call('digest', { hash, data });
    await session.attempt('prehashed', async () => {
      const made = await session.call('sign', { key, algorithm, data: digest, prehashed: true });
      const verifier = publicHalf(key);
      expect(
        (await session.call('verify', { key: verifier, algorithm, data, signature: made.signature })).valid,
        `${algorithm} signed as a digest`,
      ).toBe(true);
      expect(
        (await session.call('verify', { key: verifier, algorithm, data: digest, prehashed: true, signature })).valid,
        `${algorithm} verified as a digest`,
      ).toBe(true);
      expect(
        (await session.call('verify', { key: verifier, algorithm, data: hex('00'.repeat(digest.length)), prehashed: true, signature }))
          .valid,
        'zero digest',
      ).toBe(false);
    });
  };

  const encodingTrip = async (key: Key, algorithm: Algorithm, data: Buffer, der: Uint8Array): Promise<void> => {
    const { signature } = await session.call('sign', { key, algorithm, data, encoding: 'p1363' });
    expect(signature.length, 'r‖s').toBe(2 * Math.ceil(specRow(key.binding.spec).bits / 8));
    const request = { key: publicHalf(key), algorithm, data };
    expect((await session.call('verify', { ...request, signature, encoding: 'p1363' })).valid).toBe(true);
    expect((await session.call('verify', { ...request, signature })).valid, 'r‖s read as DER').toBe(false);
    expect((await session.call('verify', { ...request, signature: der, encoding: 'p1363' })).valid, 'DER read as r‖s').toBe(false);
  };

  const signatureParts = async (key: Key, algorithm: Algorithm): Promise<void> => {
    const data = pattern(700);
    const { operation } = await session.call('beginOperation', { kind: 'sign', key, algorithm });
    const { output } = await inParts(operation, data);
    expect(
      (await session.call('verify', { key: publicHalf(key), algorithm, data, signature: output })).valid,
      `${algorithm} signed in parts`,
    ).toBe(true);
    for (const [sent, valid] of [
      [data, true],
      [pattern(701), false],
    ] as const) {
      const checking = await session.call('beginOperation', { kind: 'verify', key, algorithm });
      expect((await inParts(checking.operation, sent, output)).valid, `${algorithm} verified in parts`).toBe(valid);
    }
  };

  const macTrip = async (key: Key, algorithm: Algorithm): Promise<void> => {
    for (const size of [0, 1, 16, 65, 1000]) {
      const data = pattern(size);
      const { mac } = await session.call('mac', { key, algorithm, data });
      const request = { key, algorithm, data };
      expect((await session.call('macVerify', { ...request, mac })).valid, `${algorithm}, ${size} bytes`).toBe(true);
      expect((await session.call('macVerify', { ...request, mac: mac.subarray(0, 8) })).valid, 'leftmost bytes').toBe(true);
      expect((await session.call('macVerify', { ...request, mac: mac.subarray(1) })).valid, 'other bytes').toBe(false);
      expect((await session.call('macVerify', { ...request, mac: mac.subarray(0, 3) })).valid, 'fewer than four bytes').toBe(false);
      expect((await session.call('macVerify', { ...request, data: pattern(size + 1), mac })).valid, 'other data').toBe(false);
    }
  };

  const macParts = async (key: Key, algorithm: Algorithm): Promise<void> => {
    const data = pattern(500);
    const { operation } = await session.call('beginOperation', { kind: 'mac', key, algorithm });
    const { output } = await inParts(operation, data);
    expect(toHex(output), `${algorithm} in parts`).toBe(toHex((await session.call('mac', { key, algorithm, data })).mac));
    for (const [mac, valid] of [
      [output, true],
      [Buffer.from(output).reverse(), false],
    ] as const) {
      const checking = await session.call('beginOperation', { kind: 'macVerify', key, algorithm });
      expect((await inParts(checking.operation, data, mac)).valid, `${algorithm} checked in parts`).toBe(valid);
    }
  };

  /** The unwrapped key must do what the wrapped one does. */
  const wrapTrip = async (wrappingKey: Key, algorithm: Algorithm): Promise<void> => {
    const target = (await session.supports('aes-gcm', 'aes-256')) ? ('aes-gcm' as const) : ('aes-cbc' as const);
    const key = await session.key('aes-256', { exportable: true });
    const wrappers: readonly VerificationKey[] =
      specRow(wrappingKey.binding.spec).shape === 'pair' ? [wrappingKey, publicHalf(wrappingKey)] : [wrappingKey];
    for (const wrapper of wrappers) {
      const { wrapped, iv } = await session.call('wrapKey', { wrappingKey: wrapper, algorithm, key });
      expect(iv?.length, `${algorithm}: fresh IV`).toBe(rowOf(algorithm).ivLength);
      const binding = session.binding('aes-256');
      const { reference, provenance } = await session.call('unwrapKey', {
        unwrappingKey: wrappingKey,
        algorithm,
        wrapped,
        format: 'raw',
        newKey: { binding },
        ...(iv === undefined ? {} : { iv }),
      });
      expect(provenance.local || provenance.neverExtractable, 'an unwrapped key claims to be made here').toBe(false);
      const sealed = await session.call('encrypt', { key, algorithm: target, plaintext: pattern(48) });
      const opened = await session.call('decrypt', { ...sealed, key: { reference, binding }, algorithm: target });
      expect(toHex(opened.plaintext), `${algorithm} on ${wrappingKey.binding.spec}`).toBe(toHex(pattern(48)));
    }
  };

  const wrapPrivateKey = async (wrappingKey: Key, algorithm: Algorithm): Promise<void> => {
    const key = await session.key('ec-p256', { exportable: true });
    const { wrapped, iv } = await session.call('wrapKey', { wrappingKey, algorithm, key });
    const binding = session.binding('ec-p256');
    const parameters = iv === undefined ? {} : { iv };
    const made = await session.call('unwrapKey', {
      unwrappingKey: wrappingKey,
      algorithm,
      wrapped,
      format: 'pkcs8',
      newKey: { binding },
      ...parameters,
    });
    expect(toHex(made.publicKey), `${algorithm} of a private key`).toBe(toHex(key.created.publicKey));
    const { signature } = await session.call('sign', {
      key: { reference: made.reference, binding },
      algorithm: 'ecdsa-sha256',
      data: pattern(10),
    });
    expect((await session.call('verify', { key: publicHalf(key), algorithm: 'ecdsa-sha256', data: pattern(10), signature })).valid).toBe(
      true,
    );
  };

  /** A value of its own for what a derived key is, without exporting it. */
  const fingerprintOf = async (key: BoundKey): Promise<string> => {
    const { ciphertext } = await session.call('encrypt', { key, algorithm: 'aes-cbc', plaintext: pattern(32), iv: pattern(16) });
    return toHex(ciphertext);
  };

  const deriveTrip = async (key: Key, algorithm: Algorithm): Promise<void> => {
    const made: string[] = [];
    for (const seed of [0, 0, 1]) {
      const binding = session.binding('aes-256');
      const parameters = deriveParameters(algorithm, key.binding.spec, seed);
      const { reference, bits } = await session.call('derive', { key, algorithm, newKey: { binding }, ...parameters });
      expect(bits).toBe(256);
      made.push(await fingerprintOf({ reference, binding }));
    }
    expect(made[0], `${algorithm} on ${key.binding.spec} repeats`).toBe(made[1]);
    // CBC without a difference in the first blocks derives the same leftmost bytes, as it must.
    if (algorithm !== 'encrypt-derive') expect(made[0] === made[2], `${algorithm}: other input, same key`).toBe(false);
  };

  const agreeTrip = async (key: Key, algorithm: Algorithm): Promise<void> => {
    const { spec } = key.binding;
    const peer = await session.key(spec, { version: 2 });
    const kdfs = (await session.supports('hkdf-sha256', 'secret')) ? ([undefined, 'hkdf-sha256'] as const) : ([undefined] as const);
    for (const kdf of kdfs) {
      const shorter = kdf === undefined && specRow(spec).bits > specRow('aes-256').bits;
      await session.attempt(shorter ? 'agree-shorter-key' : undefined, async () => {
        const made: string[] = [];
        for (const [own, other] of [
          [key, peer],
          [peer, key],
        ] as const) {
          const binding = session.binding('aes-256');
          const newKey = { binding };
          const request = { key: own, algorithm, newKey, peerPublicKey: other.created.publicKey ?? new Uint8Array() };
          const { reference } = await session.call('agree', kdf === undefined ? request : { ...request, kdf, info: pattern(8) });
          made.push(await fingerprintOf({ reference, binding }));
        }
        expect(made[0], `${algorithm} on ${spec}`).toBe(made[1]);
      });
    }
  };

  const kemTrip = async (key: Key): Promise<void> => {
    const mine = session.binding('aes-256');
    const theirs = session.binding('aes-256');
    const sent = await session.call('encapsulate', {
      publicKey: key.created.publicKey ?? new Uint8Array(),
      spec: key.binding.spec,
      newKey: { binding: theirs },
    });
    const got = await session.call('decapsulate', { key, ciphertext: sent.ciphertext, newKey: { binding: mine } });
    const [a, b] = [
      await fingerprintOf({ reference: sent.reference, binding: theirs }),
      await fingerprintOf({ reference: got.reference, binding: mine }),
    ];
    expect(a, `ml-kem on ${key.binding.spec}`).toBe(b);
  };

  const single = async (key: Key, row: Row): Promise<void> => {
    if (row.kind === 'cipher') await cipherTrip(key, row.name);
    if (row.kind === 'signature') await signatureTrip(key, row.name);
    if (row.kind === 'mac') await macTrip(key, row.name);
    if (row.kind === 'wrap') await wrapTrip(key, row.name);
    if (row.kind === 'wrap' && ['aes-kwp', 'aes-gcm-wrap', 'rsa-aes-kwp'].includes(row.name)) await wrapPrivateKey(key, row.name);
    if (row.kind === 'derive') await deriveTrip(key, row.name);
    if (row.kind === 'agree') await agreeTrip(key, row.name);
    if (row.kind === 'kem') await kemTrip(key);
  };

  describe('round trips', () => {
    for (const algorithm of ALGORITHM_NAMES) {
      const row = rowOf(algorithm);
      test(`${algorithm} with every reported specification`, async () => {
        const line = (await session.describe()).algorithms.find((candidate) => candidate.algorithm === algorithm);
        if (line === undefined) {
          expect(session.isListed(`algorithm:${algorithm}`), `${algorithm} is absent and no gap says why`).toBe(true);
          return;
        }
        for (const spec of line.specs) await single(await session.key(spec), row);
      });
      if (row.kind !== 'cipher' && row.kind !== 'signature' && row.kind !== 'mac') continue;
      test(`${algorithm} in parts`, async () => {
        const line = (await session.describe()).algorithms.find((candidate) => candidate.algorithm === algorithm);
        for (const spec of line?.specs ?? []) {
          const key = await session.key(spec);
          const kind = row.kind === 'cipher' ? 'encrypt' : row.kind === 'signature' ? 'sign' : 'mac';
          if (!line?.multiPart || !(await session.has('beginOperation'))) {
            await session.refused('unsupported', () => session.call('beginOperation', { kind, key, algorithm }));
          } else if (kind === 'encrypt') await cipherParts(key, algorithm);
          else if (kind === 'sign') await signatureParts(key, algorithm);
          else await macParts(key, algorithm);
        }
      });
    }

    test('data keys: fresh, of the asked size, opened by decrypt, revealed only when asked', async () => {
      if (!(await session.has('generateDataKey')))
        return session.refused('unsupported', () => session.call('generateDataKey', {} as never)).then(() => undefined);
      const key = await session.key('aes-256');
      for (const length of [16, 32, 64]) {
        const made = await session.call('generateDataKey', { key, length, reveal: true, aad: pattern(5) });
        const { ciphertext, iv, tag } = made;
        const opened = await session.call('decrypt', { key, algorithm: 'aes-gcm', ciphertext, iv, tag, aad: pattern(5) });
        expect(toHex(opened.plaintext)).toBe(toHex(made.plaintext));
        const hidden = await session.call('generateDataKey', { key, length, reveal: false });
        expect('plaintext' in hidden, 'a data key that nobody asked to see').toBe(false);
        expect((await session.call('decrypt', { ...hidden, key, algorithm: 'aes-gcm' })).plaintext.length).toBe(length);
      }
    });

    test('re-encryption: the second key opens it, the first does not', async () => {
      if (!(await session.has('reEncrypt')))
        return session.refused('unsupported', () => session.call('reEncrypt', {} as never)).then(() => undefined);
      const [old, fresh] = [await session.key('aes-256'), await session.key('aes-128')];
      const sealed = await session.call('encrypt', { key: old, algorithm: 'aes-gcm', plaintext: pattern(100), aad: pattern(3) });
      const moved = await session.call('reEncrypt', {
        from: { key: old, algorithm: 'aes-gcm', ...sealed, aad: pattern(3) },
        to: { key: fresh, algorithm: 'aes-gcm', aad: pattern(4) },
      });
      expect('plaintext' in moved).toBe(false);
      const opened = await session.call('decrypt', { key: fresh, algorithm: 'aes-gcm', ...moved, aad: pattern(4) });
      expect(toHex(opened.plaintext)).toBe(toHex(pattern(100)));
      await session.refused('decryption-failed', () =>
        session.call('decrypt', { key: old, algorithm: 'aes-gcm', ...moved, aad: pattern(4) }),
      );
    });

    test('digests in parts', async () => {
      const { hashes } = await session.describe();
      for (const hash of hashes) {
        if (!(await session.has('beginOperation'))) return;
        const { operation } = await session.call('beginOperation', { kind: 'digest', hash });
        const { output } = await inParts(operation, pattern(900));
        expect(toHex(output), hash).toBe(toHex((await session.call('digest', { hash, data: pattern(900) })).digest));
      }
    });

    test('randomness: the asked length, never the same', async () => {
      const seen = new Set<string>();
      for (const length of [1, 16, 32, 1000, 65_536]) {
        for (let count = 0; count < 3; count += 1) {
          const { bytes } = await session.call('random', { length });
          expect(bytes.length).toBe(length);
          if (length >= 16) seen.add(toHex(bytes));
        }
      }
      expect(seen.size).toBe(12);
      expect((await session.call('random', { length: 0 })).bytes.length).toBe(0);
    });
  });
};

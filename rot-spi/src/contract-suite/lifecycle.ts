import { RootFault } from '../fault.js';
import { pattern, type Session, toHex } from './session.js';
import type { ContractRunner } from './target.js';

export const defineLifecycle = (session: Session, { describe, test, expect }: ContractRunner): void => {
  describe('life of keys and of the root', () => {
    test('created keys say what they are', async () => {
      const secret = await session.key('aes-256');
      expect(secret.created.bits).toBe(256);
      expect(secret.created.publicKey).toBe(undefined);
      expect(secret.created.provenance.local).toBe(true);
      const pair = await session.key('ec-p256');
      expect(pair.created.bits).toBe(256);
      expect((pair.created.publicKey?.length ?? 0) > 80).toBe(true);
      for (const { created } of [secret, pair]) {
        const hidden = Object.keys(created).filter(
          (field) => !['reference', 'publicKey', 'bits', 'provenance', 'checkValue', 'digest'].includes(field),
        );
        expect(hidden, 'fields that nobody asked for').toEqual([]);
      }
    });

    test('equal material has equal check values, and other material others', async () => {
      if (!(await session.imports('aes-256'))) return;
      const values: string[] = [];
      for (const material of [pattern(32), pattern(32), pattern(33).subarray(1)]) {
        const { created } = await session.imported(session.binding('aes-256'), 'raw', material);
        if (created.checkValue === undefined) return;
        expect(created.checkValue.length).toBe(3);
        values.push(toHex(created.checkValue));
      }
      expect(values[0]).toBe(values[1]);
      expect(values[0] === values[2]).toBe(false);
    });

    test('a digest is the SHA-256 of what is exported, and nothing that stays inside or can be guessed has one', async () => {
      const known = '630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd';
      if (!(await session.imports('aes-256')) || !(await session.has('exportKey'))) return;
      const material = () => Uint8Array.from({ length: 32 }, (_, index) => index);
      const { created } = await session.imported(session.binding('aes-256', { exportable: true }), 'raw', material());
      if (created.digest !== undefined) expect(toHex(created.digest)).toBe(known);
      const inside = await session.imported(session.binding('aes-256', { exportable: false }), 'raw', material());
      expect(inside.created.digest).toBe(undefined);
      if (!(await session.imports('secret'))) return;
      const guessable = await session.imported(session.binding('secret', { exportable: true }), 'raw', material());
      expect(guessable.created.digest).toBe(undefined);
    });

    test('evidence agrees with what creation said, and names no key bytes', async () => {
      if (!(await session.has('evidence')))
        return session.refused('unsupported', () => session.call('evidence', {} as never)).then(() => undefined);
      const key = await session.key('aes-256');
      const { provenance, asserted } = await session.call('evidence', { key });
      expect(provenance).toEqual(key.created.provenance);
      expect(Object.keys(asserted).length > 0).toBe(true);
      for (const value of Object.values(asserted)) expect(typeof value).toBe('string');
    });

    test('destroying is idempotent, and what is gone is gone by name', async () => {
      const binding = session.binding('aes-256');
      const { reference } = await session.call('generateKey', { binding });
      const key = { reference, binding };
      const algorithm = await session.cipher();
      const use = () => session.call('encrypt', { key, algorithm, plaintext: pattern(16) });
      await use();
      await session.call('destroyKey', { key });
      await session.call('destroyKey', { key });
      // A root may hold some keys itself and hand out others wrapped; what it handed out the caller still has.
      const after = await use().then(
        () => 'still opens',
        (error: unknown) => (error instanceof RootFault ? error.code : String(error)),
      );
      const allowed = (await session.describe()).external ? ['key-not-found', 'still opens'] : ['still opens'];
      expect(allowed.includes(after), after).toBe(true);
    });

    test('many calls at once get their own answers', async () => {
      const key = await session.key('aes-256');
      const algorithm = (await session.supports('aes-ctr', 'aes-256')) ? 'aes-ctr' : 'aes-gcm';
      const one = async (index: number): Promise<boolean> => {
        const plaintext = pattern(100 + index);
        const opened = await session.call('decrypt', { key, algorithm, ...(await session.call('encrypt', { key, algorithm, plaintext })) });
        return toHex(opened.plaintext) === toHex(plaintext);
      };
      const answers = await Promise.all(Array.from({ length: 200 }, (_, index) => one(index)));
      expect(answers.filter(Boolean).length).toBe(200);
    });

    test('no fault quotes key material, payload or reference', async () => {
      const key = await session.key('aes-256');
      const secretText = 'the-payload-that-must-not-show';
      const payload = Buffer.from(secretText);
      const attempts: readonly (() => Promise<unknown>)[] = [
        () => session.call('encrypt', { key, algorithm: 'aes-cbc', plaintext: payload }),
        () => session.call('decrypt', { key, algorithm: 'aes-gcm', ciphertext: payload, iv: pattern(12), tag: pattern(16) }),
        () => session.call('importKey', { binding: session.binding('aes-256'), format: 'raw', material: payload }),
        () => session.call('importKey', { binding: session.binding('ec-p256'), format: 'pkcs8', material: payload }),
        () =>
          session.call('verify', {
            key: { publicKey: payload, spec: 'ec-p256' },
            algorithm: 'ecdsa-sha256',
            data: payload,
            signature: payload,
          }),
      ];
      for (const attempt of attempts) {
        const fault: unknown = await attempt().then(
          () => undefined,
          (error: unknown) => error,
        );
        expect(fault instanceof RootFault, 'a fault').toBe(true);
        const said = `${(fault as RootFault).message} ${(fault as RootFault).next} ${(fault as Error).stack}`;
        for (const form of [secretText, payload.toString('hex'), payload.toString('base64'), toHex(key.reference)])
          expect(said.includes(form), 'a fault quotes what it was given').toBe(false);
      }
    });

    test('it is ready, and says how quickly', async () => {
      const health = await (await session.root()).health();
      expect(health.detail).toBe(undefined);
      expect(health.state).toBe('ready');
      expect(health.latencyMs === undefined || health.latencyMs < 5_000).toBe(true);
    });

    test('a closed root refuses as unavailable, and closing twice is harmless', async () => {
      const root = await session.root();
      await session.close();
      await root.close();
      await session.refused('unavailable', () => root.call('random', { length: 16 }));
      expect((await root.health()).state).toBe('unavailable');
    });
  });
};

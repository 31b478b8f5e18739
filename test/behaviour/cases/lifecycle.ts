import { expect } from 'vitest';
import { type BehaviourCase, refusalOf, utf8 } from './behaviour-case.js';

const AES = { generate: ['aes-256'], algorithms: [['aes-gcm', 'aes-256']] } as const;
const EC = { generate: ['ec-p256'], algorithms: [['ecdsa-sha256', 'ec-p256']] } as const;

export const lifecycleCases: readonly BehaviourCase[] = [
  {
    name: 'goes from pre-active over active and deactivated to destroyed, and refuses what each state forbids',
    needs: AES,
    run: async ({ alice }) => {
      const { object } = await alice('create-key', { spec: 'aes-256' });
      const key = object.id;
      const encrypt = () => alice('encrypt', { key, plaintext: utf8('x') });
      expect((await refusalOf(encrypt())).code).toBe('wrong-state');
      expect((await alice('activate', { key })).object.state).toBe('active');
      const { ciphertext } = await encrypt();
      expect((await refusalOf(alice('activate', { key }))).code).toBe('wrong-state');
      expect(await refusalOf(alice('destroy', { key, pendingMs: 0 }))).toMatchObject({
        code: 'wrong-state',
        next: expect.stringContaining('Revoke'),
      });
      const revoked = await alice('revoke', { key, reason: 'cessation-of-operation', message: 'no longer needed' });
      expect(revoked.object).toMatchObject({
        state: 'deactivated',
        revocation: { reason: 'cessation-of-operation', message: 'no longer needed' },
      });
      expect((await refusalOf(encrypt())).code).toBe('wrong-state');
      expect(Buffer.from((await alice('decrypt', { ciphertext })).plaintext).toString()).toBe('x');
      const destroyed = await alice('destroy', { key, pendingMs: 0 });
      expect(destroyed.object.state).toBe('destroyed');
      expect(destroyed.versions.every((v) => v.state === 'destroyed')).toBe(true);
      expect((await refusalOf(alice('decrypt', { ciphertext }))).code).toBe('destroyed');
      expect((await alice('get-object', { key })).object.state).toBe('destroyed');
    },
  },
  {
    name: 'records a compromise with its date, from active and after destruction',
    needs: EC,
    run: async ({ alice }) => {
      const { object } = await alice('create-key-pair', { spec: 'ec-p256', activate: true });
      const { signature } = await alice('sign', { key: object.id, data: utf8('m') });
      // Whole seconds: what every wire can say.
      const at = Math.floor(Date.now() / 1000) * 1000 - 60_000;
      const revoked = await alice('revoke', { key: object.id, reason: 'key-compromise', compromisedAt: at });
      expect(revoked.object).toMatchObject({ state: 'compromised', dates: { compromiseOccurrence: at } });
      expect((await refusalOf(alice('sign', { key: object.id, data: utf8('m') }))).code).toBe('wrong-state');
      expect((await alice('verify', { key: object.id, data: utf8('m'), signature })).valid).toBe(true);
      expect((await refusalOf(alice('revoke', { key: object.id, reason: 'superseded' }))).code).toBe('wrong-state');
      expect((await alice('destroy', { key: object.id, pendingMs: 0 })).object.state).toBe('destroyed-compromised');
      const other = await alice('create-key', { spec: 'aes-256' });
      await alice('destroy', { key: other.object.id, pendingMs: 0 });
      expect((await refusalOf(alice('revoke', { key: other.object.id, reason: 'superseded' }))).code).toBe('destroyed');
      expect((await alice('revoke', { key: other.object.id, reason: 'key-compromise' })).object.state).toBe('destroyed-compromised');
    },
  },
  {
    name: 'makes no new version of what is compromised or destroyed',
    needs: EC,
    run: async ({ alice }) => {
      const { object } = await alice('create-key-pair', { spec: 'ec-p256', activate: true });
      await alice('revoke', { key: object.id, reason: 'key-compromise' });
      expect((await refusalOf(alice('rotate', { key: object.id }))).code).toBe('wrong-state');
      const other = await alice('create-key', { spec: 'aes-256' });
      await alice('destroy', { key: other.object.id, pendingMs: 0 });
      expect((await refusalOf(alice('rotate', { key: other.object.id }))).code).toBe('destroyed');
    },
  },
  {
    name: 'refuses revocations that say nothing sensible',
    needs: AES,
    run: async ({ alice }) => {
      const { object } = await alice('create-key', { spec: 'aes-256', activate: true });
      expect((await refusalOf(alice('revoke', { key: object.id, reason: 'bored' as never }))).field).toBe('reason');
      expect((await refusalOf(alice('revoke', { key: object.id, reason: 'superseded', compromisedAt: 1 }))).field).toBe('compromisedAt');
      const future = Date.now() + 3_600_000;
      expect((await refusalOf(alice('revoke', { key: object.id, reason: 'key-compromise', compromisedAt: future }))).field).toBe(
        'compromisedAt',
      );
      const fresh = await alice('create-key', { spec: 'aes-256' });
      expect((await refusalOf(alice('revoke', { key: fresh.object.id, reason: 'superseded' }))).code).toBe('wrong-state');
    },
  },
  {
    name: 'waits with a destroy, and lets it be cancelled',
    needs: AES,
    run: async ({ alice }) => {
      const { object } = await alice('create-key', { spec: 'aes-256' });
      const key = object.id;
      expect((await refusalOf(alice('cancel-destroy', { key }))).code).toBe('wrong-state');
      const pending = await alice('destroy', { key, pendingMs: 3_600_000 });
      expect(pending.object.state).toBe('pre-active');
      expect(pending.object.dates.destroyDue).toBeGreaterThan(pending.object.dates.created);
      expect((await refusalOf(alice('activate', { key }))).code).toBe('wrong-state');
      expect((await refusalOf(alice('rotate', { key }))).code).toBe('wrong-state');
      const saved = await alice('cancel-destroy', { key });
      expect(saved.object.dates).not.toHaveProperty('destroyDue');
      expect((await alice('activate', { key })).object.state).toBe('active');
      expect((await refusalOf(alice('destroy', { key, pendingMs: -1 }))).code).toBe('wrong-state');
    },
  },
  {
    name: 'archives and recovers; an archived object only reads',
    needs: AES,
    run: async ({ alice }) => {
      const { object } = await alice('create-key', { spec: 'aes-256', activate: true });
      const key = object.id;
      expect((await alice('archive', { key })).object.archived).toBe(true);
      expect((await alice('archive', { key })).object.archived).toBe(true);
      expect((await refusalOf(alice('encrypt', { key, plaintext: utf8('x') }))).code).toBe('archived');
      expect((await refusalOf(alice('update-object', { key, tags: { team: 'pay' } }))).code).toBe('archived');
      expect((await alice('get-object', { key })).object.archived).toBe(true);
      const back = await alice('recover', { key });
      expect(back.object.archived).toBe(false);
      expect(back.object.dates).not.toHaveProperty('archive');
      await alice('encrypt', { key, plaintext: utf8('x') });
    },
  },
  {
    name: 'counts a limited key down to nothing and then refuses',
    needs: AES,
    run: async ({ alice }) => {
      const { object } = await alice('create-key', { spec: 'aes-256', activate: true, usageLimits: { unit: 'object', total: 3 } });
      const key = object.id;
      const made = [];
      for (let i = 0; i < 3; i += 1) made.push(await alice('encrypt', { key, plaintext: utf8('x') }));
      expect((await refusalOf(alice('encrypt', { key, plaintext: utf8('x') }))).code).toBe('usage-limit-reached');
      expect((await alice('get-object', { key })).object.usageLimits?.remaining).toBe(0);
      await alice('decrypt', { ciphertext: (made[0] as { ciphertext: Uint8Array }).ciphertext });
      expect((await refusalOf(alice('update-object', { key, usageLimits: { unit: 'object', total: 100 } }))).code).toBe(
        'attribute-read-only',
      );
      expect((await refusalOf(alice('update-object', { key, usageLimits: null }))).code).toBe('attribute-read-only');
    },
  },
  {
    name: 'never exceeds a limit when everybody comes at once',
    needs: AES,
    run: async ({ alice, bob }) => {
      const { object } = await alice('create-key', { spec: 'aes-256', activate: true, usageLimits: { unit: 'object', total: 7 } });
      const calls = Array.from({ length: 20 }, (_, i) =>
        (i % 2 === 0 ? alice : bob)('encrypt', { key: object.id, plaintext: utf8('x') }).then(
          () => true,
          () => false,
        ),
      );
      expect((await Promise.all(calls)).filter(Boolean)).toHaveLength(7);
      expect((await alice('get-object', { key: object.id })).object.usageLimits?.remaining).toBe(0);
    },
  },
  {
    name: 'counts bytes where the limit is in bytes',
    needs: AES,
    run: async ({ alice }) => {
      const { object } = await alice('create-key', { spec: 'aes-256', activate: true, usageLimits: { unit: 'byte', total: 100 } });
      await alice('encrypt', { key: object.id, plaintext: new Uint8Array(60) });
      expect((await refusalOf(alice('encrypt', { key: object.id, plaintext: new Uint8Array(41) }))).code).toBe('usage-limit-reached');
      await alice('encrypt', { key: object.id, plaintext: new Uint8Array(40) });
    },
  },
  {
    name: 'keeps process-start and protect-stop dates',
    needs: AES,
    run: async ({ alice }) => {
      const now = Date.now();
      const later = await alice('create-key', {
        spec: 'aes-256',
        activate: true,
        dates: { activation: now - 1000, processStart: now + 3_600_000 },
      });
      expect((await refusalOf(alice('encrypt', { key: later.object.id, plaintext: utf8('x') }))).code).toBe('outside-validity');
      const over = await alice('create-key', { spec: 'aes-256', dates: { activation: now - 2000, protectStop: now - 1000 } });
      expect(over.object.state).toBe('active');
      expect((await refusalOf(alice('encrypt', { key: over.object.id, plaintext: utf8('x') }))).code).toBe('outside-validity');
    },
  },
];

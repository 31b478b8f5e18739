import * as crypto from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { defineContractSuite, type ExpectedGap } from '../dist/contract-suite/index.js';
import { openHostedRoot } from '../dist/host/index.js';

/** The suite that every back end must pass, once more with the process boundary and two hosts between. */
const directory = mkdtempSync(join(tmpdir(), 'aegis-host-contract-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const open = async (name: string) => {
  const root = await openHostedRoot({
    id: 'software',
    kind: 'software',
    hosts: 2,
    seal: { kind: 'key-file', path: join(directory, name), create: true },
  });
  while (root.hosts().some(({ state }) => state !== 'ready')) await new Promise((resolve) => setTimeout(resolve, 10));
  return root;
};

const GAPS: readonly ExpectedGap[] = [
  ...['power:lookupKey', 'power:adoptKey'].map((what) => ({ what, reason: 'keys of a software root are nowhere else' })),
  ...('encapsulate' in crypto
    ? []
    : ['spec:ml-*', 'spec:slh-*', 'algorithm:ml-*', 'algorithm:slh-*', 'power:encapsulate', 'power:decapsulate'].map((what) => ({
        what,
        reason: 'node:crypto has no ML-KEM, ML-DSA or SLH-DSA before 24.7',
      }))),
];

defineContractSuite(
  { name: 'software behind two hosts', open: () => open('seal.key'), reopenOther: () => open('other.key'), expectUnsupported: GAPS },
  { describe, test, expect },
);

describe('seal rotation behind two hosts', () => {
  test('every host seals under the new generation at once, and old references still open', async () => {
    const root = await open('rotated.key');
    try {
      const make = async (objectId: string) => {
        const binding = { objectId, version: 1, tenant: 't', spec: 'aes-256', usage: ['encrypt', 'decrypt'], exportable: false } as const;
        return { binding, reference: (await root.call('generateKey', { binding })).reference };
      };
      const old = await make('old');
      const before = root.hosts().map(({ pid }) => pid);
      const { generation } = await root.call('rotateSeal', {});
      expect((await root.describe()).sealGeneration).toBe(generation);
      // Told, not replaced: no call in flight and no multi-part operation is lost over it.
      expect(root.hosts().map(({ pid }) => pid)).toEqual(before);
      // Many at once reach both hosts; a reference under the old generation would change when re-sealed to the new one.
      const again = await Promise.all(Array.from({ length: 40 }, () => root.call('rewrapReference', { key: old })));
      const generationOf = (reference: Uint8Array): string => Buffer.from(reference).toString('hex');
      expect(again.every(({ reference }) => generationOf(reference) !== generationOf(old.reference))).toBe(true);
      for (const { reference } of again) {
        const sealed = await root.call('encrypt', { key: { ...old, reference }, algorithm: 'aes-gcm', plaintext: new Uint8Array(3) });
        expect(await root.call('decrypt', { key: old, algorithm: 'aes-gcm', ...sealed })).toEqual({ plaintext: new Uint8Array(3) });
      }
    } finally {
      await root.close();
    }
  });
});

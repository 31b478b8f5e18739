import { afterAll, beforeAll, expect, test } from 'vitest';
import { type KmipTarget, startKmipTarget } from './kmip-target.js';

let target: KmipTarget;
beforeAll(async () => {
  target = await startKmipTarget();
}, 120_000);
afterAll(() => target?.stop());

test('a client with a certificate asks and is answered, in every version that has the operation', async () => {
  for (const version of ['1.1', '1.2', '1.3', '1.4', '2.0', '2.1', '3.0'] as const) {
    const client = await target.connect('alice', version);
    expect(await client.discoverVersions()).toEqual(['3.0', '2.1', '2.0', '1.4', '1.3', '1.2', '1.1', '1.0']);
    await client.close();
  }
});

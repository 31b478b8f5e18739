import { HASHES } from '@aegis/rot-spi/vocabulary';
import type { Handlers } from '../domain/index.js';
import { fail } from '../domain/index.js';
import { checkPayload } from './cipher-parameters.js';
import { badField, checkBytes } from './field-rules.js';
import type { KeyParts } from './key-parts.js';

/** Largest run of random bytes given at once. */
const MAX_RANDOM_BYTES = 1024 * 1024;
const MAX_SEED_BYTES = 4096;

/** What needs a root but no key. */
export const makeKeylessHandlers = (parts: KeyParts): Pick<Handlers, 'random' | 'seed-random' | 'digest'> => ({
  random: async ({ request }) => {
    const { length } = request;
    if (!Number.isSafeInteger(length) || length < 1 || length > MAX_RANDOM_BYTES) {
      throw badField('length', `Between 1 and ${MAX_RANDOM_BYTES} bytes.`, 'Ask several times for more.');
    }
    const root = await parts.roots.withPower('random', request.root);
    const { bytes } = await parts.roots.call(root, 'random', { length });
    return { response: { bytes }, changes: [], detail: { root, bytes: length } };
  },
  'seed-random': async ({ request }) => {
    const seed = checkBytes(request.seed, 'seed', MAX_SEED_BYTES, 1);
    const { use = seed.length } = request;
    if (!Number.isSafeInteger(use) || use < 0 || use > seed.length)
      throw badField('use', `Between 0 and ${seed.length} bytes.`, 'Correct it.');
    if (use === 0) return { response: { accepted: 0 }, changes: [], detail: { bytes: 0 } };
    const root = await parts.roots.withPower('seedRandom', request.root);
    const { accepted } = await parts.roots.call(root, 'seedRandom', { seed: seed.subarray(0, use) });
    return { response: { accepted }, changes: [], detail: { root, bytes: use } };
  },
  digest: async ({ request }) => {
    if (!HASHES.includes(request.hash)) {
      throw fail('unsupported-algorithm', 'No such hash.', { field: 'hash', next: `Choose from ${HASHES.join(', ')}.` });
    }
    const root = await parts.roots.withPower('digest');
    const data = await checkPayload(parts, root, request.data, 'data');
    const { hashes } = await parts.roots.describe(root);
    if (!hashes.includes(request.hash)) {
      throw fail('unsupported-algorithm', `Root "${root}" has no ${request.hash}.`, {
        field: 'hash',
        next: `It has ${hashes.join(', ')}.`,
      });
    }
    const { digest } = await parts.roots.call(root, 'digest', { hash: request.hash, data });
    return { response: { digest }, changes: [], detail: { root, algorithm: request.hash, bytes: data.length } };
  },
});

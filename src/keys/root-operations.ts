import { fail, type Handlers } from '../domain/index.js';
import type { KeyParts } from './key-parts.js';
import { putResealState, type ResealState, readResealState } from './reseal.js';

const rotateSeal =
  (parts: KeyParts): Handlers['rotate-seal'] =>
  async ({ request, now }) => {
    const { root } = request;
    const { powers, sealGeneration = 0 } = await parts.roots.describe(root);
    if (!powers.includes('rotateSeal')) {
      throw fail('unsupported-operation', `Root "${root}" has no sealing key of its own to rotate.`, {
        field: 'root',
        next: 'Only software roots have one; an HSM’s keys are rotated with its vendor’s tools.',
      });
    }
    const running = await readResealState(parts.settings, root);
    if (running?.state === 'running' && running.generation >= sealGeneration) {
      // Asking again while references are still moving reports how far it is, and does not start another generation.
      return { response: { root, generation: running.generation, rewrapped: running.rewrapped }, changes: [], detail: { running: true } };
    }
    const { generation } = await parts.roots.call(root, 'rotateSeal', {});
    parts.roots.forget(root);
    const state: ResealState = { root, generation, state: 'running', startedAt: now, rewrapped: 0, failed: 0 };
    // If this commit fails the root is already a generation further; the scheduler notices that by itself and reseals.
    return {
      response: { root, generation, rewrapped: 0 },
      changes: [putResealState(state)],
      resource: { type: 'root', id: root },
      detail: { generation },
    };
  };

export const makeRootHandlers = (parts: KeyParts): Pick<Handlers, 'list-roots' | 'get-root' | 'rotate-seal'> => ({
  'list-roots': async () => ({ response: { roots: await Promise.all(parts.roots.ids().map((id) => parts.roots.view(id))) }, changes: [] }),
  'get-root': async ({ request }) => ({ response: await parts.roots.view(request.id), changes: [] }),
  'rotate-seal': rotateSeal(parts),
});

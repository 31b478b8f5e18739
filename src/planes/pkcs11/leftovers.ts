import type { OperationName, OperationRequest } from '../../domain/index.js';
import type { Pkcs11Parts } from './contract.js';
import { sessionOf } from './object-view.js';
import { STORED } from './stored-attributes.js';

/** Clients that outlived a restart come back within this time; session objects of those that do not are ended, ms. */
const GRACE_MS = 60_000;
const PAGE = 200;

export interface Leftovers {
  stop(): void;
  /** Ends session objects of this node that no live connection owns; answers how many. */
  sweep(): Promise<number>;
}

/** Session objects whose server or client died without closing them. */
export const makeLeftovers = (
  parts: Pkcs11Parts,
  tenants: readonly string[],
  live: () => readonly string[],
  graceMs = GRACE_MS,
): Leftovers => {
  let n = 0;
  const run = <O extends OperationName>(tenant: string, operation: O, request: OperationRequest<O>) => {
    n += 1;
    return parts.service(operation, request, {
      plane: 'internal',
      credential: { kind: 'internal', component: 'pkcs11' },
      requestId: `p11-leftovers-${n}`,
      source: 'local',
      tenant,
    });
  };
  const sweepTenant = async (tenant: string): Promise<number> => {
    let ended = 0;
    let cursor: string | undefined;
    do {
      const page = await run(tenant, 'locate', {
        attributes: { [STORED.node]: parts.nodeId },
        states: ['pre-active', 'active', 'deactivated', 'compromised'],
        limit: PAGE,
        ...(cursor === undefined ? {} : { cursor }),
      });
      if (!page.ok) return ended;
      for (const object of page.value.items) {
        const owner = sessionOf(object)?.split('/')[0];
        if (owner === undefined || live().includes(owner)) continue;
        await run(tenant, 'revoke', { key: object.id, reason: 'cessation-of-operation' });
        if ((await run(tenant, 'destroy', { key: object.id, pendingMs: 0 })).ok) ended += 1;
      }
      cursor = page.value.next;
    } while (cursor !== undefined);
    return ended;
  };
  const sweep = async (): Promise<number> => {
    let ended = 0;
    for (const tenant of tenants) ended += await sweepTenant(tenant);
    if (ended > 0) parts.log({ objects: ended }, 'ended PKCS#11 session objects that nobody owns any more');
    return ended;
  };
  const timer = setTimeout(() => void sweep().catch((error: unknown) => parts.log({ err: error }, 'PKCS#11 leftovers')), graceMs);
  timer.unref();
  return { stop: () => clearTimeout(timer), sweep };
};

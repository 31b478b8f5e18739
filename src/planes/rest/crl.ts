import type { Caller, GuardedService } from '../../domain/index.js';
import { WireRefusal } from './problem.js';

/**
 * The revocation list that anybody may fetch: whoever checks a certificate has no credential here. It is made through the
 * guard by the component `crl`, and kept for a while, so that strangers cannot make the service sign at their pace.
 */
const KEEP_MS = 30_000;
const KEEP_REFUSAL_MS = 5_000;
/** Lists kept at a time; an authority is made once in years. */
const MAX_KEPT = 64;
const AUTHORITY = /^[0-9a-f-]{36}$/;

interface Kept {
  readonly until: number;
  readonly answer: Promise<Buffer>;
}

export function makeCrlPage(service: GuardedService, tenant: string): (authority: unknown, requestId: string) => Promise<Buffer> {
  const kept = new Map<string, Kept>();
  const make = async (authority: string, requestId: string): Promise<Buffer> => {
    const caller: Caller = { plane: 'internal', credential: { kind: 'internal', component: 'crl' }, requestId, source: 'local', tenant };
    const result = await service('get-crl', authority === '' ? {} : { authority }, caller);
    if (!result.ok) throw new WireRefusal(result.fault);
    return Buffer.from(result.value.crl);
  };
  return (asked, requestId) => {
    const authority = asked ?? '';
    if (typeof authority !== 'string' || (authority !== '' && !AUTHORITY.test(authority)))
      throw new WireRefusal({ code: 'invalid-field', message: 'Not the id of an authority', field: 'authority', next: 'Leave it out.' });
    const now = Date.now();
    const found = kept.get(authority);
    if (found !== undefined && now < found.until) return found.answer;
    const answer = make(authority, requestId);
    kept.delete(authority);
    kept.set(authority, { until: now + KEEP_MS, answer });
    const [oldest] = kept.keys();
    if (kept.size > MAX_KEPT && oldest !== undefined) kept.delete(oldest);
    answer.catch(() => kept.set(authority, { until: Date.now() + KEEP_REFUSAL_MS, answer }));
    return answer;
  };
}

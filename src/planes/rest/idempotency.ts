import { createHash, createHmac } from 'node:crypto';
import type { Caller, GuardedService } from '../../domain/index.js';
import type { IdempotencyPort } from './ports.js';
import { type WireFault, WireRefusal } from './problem.js';

/**
 * Idempotency-Key on creating requests: the same key with the same request gets the first answer again. Only successful
 * answers are kept, and only those of rows marked for it, which never hold a secret.
 */
const KEY = /^[\x21-\x7e]{1,255}$/;

export interface StoredAnswer {
  readonly headers: Readonly<Record<string, string>>;
  /** JSON text as it was sent. */
  readonly body: string;
}
export interface Claim {
  readonly complete: (status: number, answer: StoredAnswer) => Promise<void>;
  readonly release: () => Promise<void>;
}
export type ClaimOutcome =
  | { readonly kind: 'run'; readonly claim: Claim }
  | { readonly kind: 'replay'; readonly status: number; readonly answer: StoredAnswer };

export function parseIdempotencyKey(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  if (typeof header === 'string' && KEY.test(header)) return header;
  throw new WireRefusal({
    code: 'invalid-field',
    message: 'Idempotency-Key must be 1 to 255 printable characters without spaces',
    field: 'Idempotency-Key',
    next: 'Send a fresh UUID per request you may repeat.',
  });
}

/** Scope of a key: the credential, by hash. Undefined without one; the guard will refuse such a caller anyway. */
function scopeOf(caller: Caller): { id: string; secret: string } | undefined {
  const { credential } = caller;
  const secret = credential.kind === 'bearer' ? credential.token : credential.kind === 'certificate' ? credential.fingerprint : undefined;
  if (secret === undefined) return undefined;
  return { id: createHash('sha256').update(`${credential.kind}:${secret}`).digest('hex'), secret };
}

/** Keyed by the token, so that the stored hash of a request that holds a weak secret cannot be searched. */
const hashRequest = (secret: string, text: string): Uint8Array => createHmac('sha256', secret).update(text).digest();

const REFUSALS: Readonly<Record<'busy' | 'mismatch', WireFault>> = {
  busy: {
    code: 'conflict',
    message: 'A request with this Idempotency-Key is still running, or ended without an answer',
    field: 'Idempotency-Key',
    next: 'Wait and send the same request again.',
    retryAfterMs: 1_000,
  },
  mismatch: {
    code: 'idempotency-mismatch',
    message: 'This Idempotency-Key was used for another request',
    field: 'Idempotency-Key',
    next: 'Use a new key for a new request.',
  },
};

/** Codes of whoami's refusal that still say: this credential is good. */
const KNOWN_CALLER: ReadonlySet<string> = new Set(['permission-denied', 'step-up-required']);

/** A replay never passes the guard with the operation itself, so the guard is asked whether the credential still stands. */
async function assertStillKnown(service: GuardedService, caller: Caller): Promise<void> {
  const result = await service('whoami', {}, caller);
  if (!result.ok && !KNOWN_CALLER.has(result.fault.code)) throw new WireRefusal(result.fault);
}

export async function claimKey(
  port: IdempotencyPort,
  service: GuardedService,
  caller: Caller,
  key: string,
  /** The request as sent: method, path, preconditions, body. */
  text: string,
  ttlMs: number,
): Promise<ClaimOutcome | undefined> {
  const scope = scopeOf(caller);
  if (scope === undefined) return undefined;
  const tenant = caller.tenant ?? 'default';
  const outcome = await port.claim(tenant, scope.id, key, hashRequest(scope.secret, text), ttlMs);
  if (outcome.kind === 'fresh') {
    return {
      kind: 'run',
      claim: {
        complete: (status, answer) => port.complete(tenant, scope.id, key, status, JSON.stringify(answer)),
        release: () => port.release(tenant, scope.id, key),
      },
    };
  }
  await assertStillKnown(service, caller);
  if (outcome.kind === 'done') return { kind: 'replay', status: outcome.status, answer: JSON.parse(outcome.body) as StoredAnswer };
  throw new WireRefusal(REFUSALS[outcome.kind]);
}

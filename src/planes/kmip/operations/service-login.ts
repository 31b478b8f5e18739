import type { Fields, Value } from '@aegis/kmip-ttlv';
import { type KmipCall, type KmipHandler, refuse } from '../contract.js';
import { type OperationScope, scopeOf } from '../operation-scopes.js';

// Login, Delegated Login and Logout (KMIP 2.1 §6.1.30, §6.1.12, §6.1.31): a ticket is an API token of the caller, as the guard knows it.

const DEFAULT_LEASE_SECONDS = 3_600;
const MAX_LEASE_SECONDS = 86_400;
const TOKEN_ID_LENGTH = 16;

/** An Interval in seconds, or the time it ends; 0 asks for as long as the server gives. */
function leaseSeconds(value: Value | undefined, now: number): number {
  if (value === undefined) return DEFAULT_LEASE_SECONDS;
  const seconds = typeof value === 'bigint' ? Number(value) - Math.floor(now / 1_000) : leaseOf(value);
  if (!Number.isSafeInteger(seconds) || seconds < 0)
    throw refuse('InvalidField', 'Lease Time is an Interval, or a Date Time in the future.');
  return seconds === 0 ? MAX_LEASE_SECONDS : Math.min(seconds, MAX_LEASE_SECONDS);
}
const leaseOf = (value: Value): number => {
  if (typeof value === 'number') return value;
  const inner = (value as { value?: unknown }).value;
  return typeof inner === 'number' ? inner : Number.NaN;
};

function requestCount(value: Value | undefined): number | undefined {
  if (value === undefined) return undefined;
  const count = Number(value);
  if (!Number.isSafeInteger(count) || count < 1) throw refuse('InvalidField', 'Request Count is at least 1.');
  return count;
}

async function issue(payload: Fields, call: KmipCall, scope: readonly string[] | undefined): Promise<Fields> {
  // Limits on what may be encrypted with a ticket have no counter here; granting the ticket without them would be more than was asked for.
  if (payload['UsageLimits'] !== undefined)
    throw refuse('FeatureNotSupported', 'Tickets with Usage Limits are not supported; use Request Count.');
  const seconds = leaseSeconds(payload['LeaseTime'], call.now);
  const count = requestCount(payload['RequestCount']);
  const { principal } = await call.call('whoami', {});
  const issued = await call.call('issue-token', {
    principalId: principal.id,
    name: scope === undefined ? 'kmip-login' : 'kmip-delegated-login',
    ttlMs: seconds * 1_000,
    ...(scope === undefined ? {} : { scope }),
  });
  const value = call.plane.tickets.issue(issued.token, count, call.now + seconds * 1_000);
  return { Ticket: { TicketType: 'Login', TicketValue: value } };
}

/** "If any field is omitted, then that aspect is unrestricted" (KMIP 2.1 §7.34); what the scope of a token cannot say is refused. */
function scopeOfRight(right: Fields): readonly string[] {
  if (right['UsageLimits'] !== undefined || right['ObjectGroups'] !== undefined)
    throw refuse('FeatureNotSupported', 'Rights by Usage Limits or Object Groups are not supported; name operations and objects.');
  const operations = (right['Operations'] as Fields | undefined)?.['Operation'] as readonly (string | number)[] | undefined;
  const objects = (right['Objects'] as Fields | undefined)?.['UniqueIdentifier'] as readonly string[] | undefined;
  const scopes: readonly OperationScope[] =
    operations === undefined ? [{ action: '*', onObject: true }] : operations.flatMap((name) => scopeOf(name));
  const withObjects = scopes.flatMap(({ action, onObject }) =>
    objects === undefined || !onObject ? [action] : objects.map((id) => `${action}@${id}`),
  );
  return [...new Set(withObjects)];
}

const delegatedLogin: KmipHandler = (payload, call) => {
  const rights = ((payload['Rights'] as Fields | undefined)?.['Right'] ?? []) as readonly Fields[];
  const scope = [...new Set(rights.flatMap(scopeOfRight))];
  if (scope.length === 0) throw refuse('InvalidField', 'Rights grant nothing; name at least one operation.');
  return issue(payload, call, [...scope, 'service:whoami', 'service:read-creation-rules']);
};

const logout: KmipHandler = async (payload, call) => {
  const value = (payload['Ticket'] as Fields | undefined)?.['TicketValue'] as Uint8Array | undefined;
  const token = value === undefined ? undefined : call.plane.tickets.open(value, false);
  const id = token?.split('_', 2)[1];
  if (value === undefined || id?.length !== TOKEN_ID_LENGTH) throw refuse('InvalidTicket', 'No such ticket.');
  await call.call('revoke-token', { id });
  call.plane.tickets.forget(value);
  return {};
};

export const LOGIN_HANDLERS: Readonly<Record<string, KmipHandler>> = {
  Login: (payload, call) => issue(payload, call, undefined),
  DelegatedLogin: delegatedLogin,
  Logout: logout,
};

import type { Fault } from './fault.js';
import { ACTIONS } from './operations.js';
import { ok, type Result, refuse } from './result.js';

/**
 * Token scope: what a credential is limited to, beyond its principal's own rights. An entry is `ACTION` or
 * `ACTION@RESOURCE`; ACTION is `*`, `namespace:*` or an action of the operations table; RESOURCE is an object id or name,
 * exact or ending in `*` (prefix). A scoped credential may do what at least one entry allows; no entry, nothing.
 */
const MAX_SCOPE_ENTRIES = 64;
const RESOURCE = /^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}\*?$|^\*$/;
const KNOWN_ACTIONS: ReadonlySet<string> = new Set(ACTIONS);
const NAMESPACES: ReadonlySet<string> = new Set(ACTIONS.map((action) => `${action.slice(0, action.indexOf(':'))}:*`));

interface ScopeEntry {
  readonly action: string;
  readonly resource: string | undefined;
}

const splitEntry = (entry: string): ScopeEntry => {
  const at = entry.indexOf('@');
  return at < 0 ? { action: entry, resource: undefined } : { action: entry.slice(0, at), resource: entry.slice(at + 1) };
};

/** Validates a scope as a caller gave it; `field` is the dotted path for the fault. An empty scope is refused. */
export const parseScope = (scope: readonly string[], field = 'scope'): Result<readonly string[]> => {
  const bad = (path: string, message: string): Result<never> => refuse<Fault>({ code: 'invalid-field', message, field: path });
  if (scope.length === 0) return bad(field, 'A scope needs at least one entry; leave it out for the principal’s own rights.');
  if (scope.length > MAX_SCOPE_ENTRIES) return bad(field, `A scope has at most ${MAX_SCOPE_ENTRIES} entries.`);
  for (const [index, text] of scope.entries()) {
    const path = `${field}.${index}`;
    if (typeof text !== 'string' || text.length > 256) return bad(path, 'A scope entry is a string of at most 256 characters.');
    const entry = splitEntry(text);
    if (entry.action !== '*' && !KNOWN_ACTIONS.has(entry.action) && !NAMESPACES.has(entry.action))
      return bad(path, 'Unknown action; use `*`, a namespace such as `keys:*`, or an action such as `keys:sign`.');
    if (entry.resource !== undefined && !RESOURCE.test(entry.resource))
      return bad(path, 'The part after `@` is an object id or name, or a prefix ending in `*`.');
  }
  return ok([...new Set(scope)]);
};

const actionCovers = (pattern: string, action: string): boolean =>
  pattern === '*' || pattern === action || (pattern.endsWith(':*') && action.startsWith(pattern.slice(0, -1)));

const resourceCovers = (pattern: string, resource: string): boolean =>
  pattern === resource || (pattern.endsWith('*') && resource.startsWith(pattern.slice(0, -1)));

/** Whether a scope lets `action` through; `resources` are the ids and names the target goes by, empty where there is no target. */
export const scopeAllows = (scope: readonly string[], action: string, resources: readonly string[]): boolean =>
  scope.some((text) => {
    const { action: pattern, resource } = splitEntry(text);
    return actionCovers(pattern, action) && (resource === undefined || resources.some((name) => resourceCovers(resource, name)));
  });

/** Whether everything `inner` allows is allowed by `outer`: entry by entry, each under one entry of the other. */
export const scopeWithin = (inner: readonly string[], outer: readonly string[]): boolean =>
  inner.every((text) => {
    const narrow = splitEntry(text);
    return outer.some((candidate) => {
      const wide = splitEntry(candidate);
      if (!actionCovers(wide.action, narrow.action)) return false;
      return wide.resource === undefined || (narrow.resource !== undefined && resourceCovers(wide.resource, narrow.resource));
    });
  });

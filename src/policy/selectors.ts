import { KEY_SPEC_NAMES } from '@aegis/rot-spi/vocabulary';
import { ACTIONS, ROLES } from '../domain/index.js';

/**
 * The three selector languages of a statement. Every selector is a key of an index or a prefix of one, so that a decision
 * looks statements up and never scans them; that is why `*` is allowed alone or at the end only.
 */
export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string };
const good = <T>(value: T): Parsed<T> => ({ ok: true, value });
const bad = (reason: string): Parsed<never> => ({ ok: false, reason });

const MAX_SELECTOR_LENGTH = 300;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters in a policy are a mistake or an attempt.
const CONTROL = /[\u0000-\u001f\u007f]/;

const split = (selector: string): readonly [kind: string, value: string] => {
  const at = selector.indexOf(':');
  return at < 0 ? [selector, ''] : [selector.slice(0, at), selector.slice(at + 1)];
};
const plausible = (selector: string): string | undefined => {
  if (selector.length > MAX_SELECTOR_LENGTH) return `is longer than ${MAX_SELECTOR_LENGTH} characters`;
  return CONTROL.test(selector) ? 'holds control characters' : undefined;
};

// --- principals ---

const KINDS_BY_PREFIX: Readonly<Record<string, string>> = { user: 'human', service: 'service', agent: 'agent' };
const PRINCIPAL_FORMS = '`*`, `role:…`, `user:…`, `service:…`, `agent:…`, `kind:…`, `id:…`, `tag:name=value` or `parent:…`';

/** The key a principal selector is filed under; see principalKeys in principal-keys.ts for what a caller looks up. */
export const parsePrincipal = (selector: string, builtin: boolean): Parsed<string> => {
  const problem = plausible(selector);
  if (problem !== undefined) return bad(problem);
  if (selector === '*') return good('*');
  const [kind, value] = split(selector);
  if (value === '') return bad(`must be one of ${PRINCIPAL_FORMS}`);
  if (kind === 'kind')
    return ['human', 'service', 'agent'].includes(value) ? good(selector) : bad('knows the kinds human, service and agent');
  if (kind === 'role') {
    return (ROLES as readonly string[]).includes(value) ? good(selector) : bad(`knows the roles ${ROLES.join(', ')}`);
  }
  if (kind === 'tag') return tagKey(value);
  const kindOfName = KINDS_BY_PREFIX[kind];
  if (kindOfName !== undefined && value === '*') return good(`kind:${kindOfName}`);
  if (kind === 'system' && !builtin) return bad('`system:` is for the built-in document only');
  if (kindOfName === undefined && !['id', 'parent', 'system'].includes(kind)) return bad(`must be one of ${PRINCIPAL_FORMS}`);
  if (value !== '*' && value.includes('*')) return bad('takes a whole name or `*`');
  if (value === '*' && kind === 'id') return bad('takes a whole id');
  return good(selector);
};

/** `name=value` or `name=*` (the tag is there, whatever its value). */
const tagKey = (value: string): Parsed<string> => {
  const at = value.indexOf('=');
  const name = value.slice(0, at);
  const content = value.slice(at + 1);
  if (at < 1 || content === '') return bad('takes `tag:name=value` or `tag:name=*`');
  if (name.includes('*') || (content !== '*' && content.includes('*'))) return bad('takes `*` only as the whole value');
  return good(`tag:${value}`);
};

// --- actions ---

const NAMESPACES: ReadonlySet<string> = new Set(ACTIONS.map((a) => split(a)[0]));
const VERBS: ReadonlySet<string> = new Set(ACTIONS.map((a) => split(a)[1]));
const ACTION_SET: ReadonlySet<string> = new Set(ACTIONS);

const closest = (word: string, known: Iterable<string>): string => {
  let best = '';
  let bestDistance = 4;
  for (const candidate of known) {
    const distance = editDistance(word, candidate, bestDistance);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best === '' ? '' : `; did you mean \`${best}\`?`;
};
export const suggestion = closest;

/** Levenshtein distance, given up at `limit`. Inputs are bounded by the selector length. */
const editDistance = (a: string, b: string, limit: number): number => {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const swap = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next[j] = Math.min(swap, (row[j] as number) + 1, (next[j - 1] as number) + 1);
    }
    row = next;
  }
  return row[b.length] as number;
};

/** `*`, `namespace:*`, `*:verb` or an action of the operations table. */
export const parseAction = (selector: string): Parsed<string> => {
  if (selector === '*' || ACTION_SET.has(selector)) return good(selector);
  const problem = plausible(selector);
  if (problem !== undefined) return bad(problem);
  const [namespace, verb] = split(selector);
  if (verb === '*' && NAMESPACES.has(namespace)) return good(selector);
  if (namespace === '*' && VERBS.has(verb)) return good(selector);
  return bad(`is not an action${closest(selector, ACTIONS)}`);
};

/** Every pattern an action is filed under. */
export const actionPatterns = (action: string): readonly string[] => {
  const [namespace, verb] = split(action);
  return [action, `${namespace}:*`, `*:${verb}`, '*'];
};

// --- resources ---

export type ResourceSelector =
  | { readonly kind: 'any' | 'tenant' | 'any-key' | 'any-root' }
  | { readonly kind: 'id' | 'name' | 'name-prefix' | 'tag' | 'spec' | 'spec-prefix' | 'root'; readonly value: string };
const RESOURCE_FORMS = '`*`, `tenant`, `key:…`, `id:…`, `tag:name=value`, `spec:…` or `root:…`';

const named = (exact: 'name' | 'spec', value: string): Parsed<ResourceSelector> => {
  const star = value.indexOf('*');
  if (star < 0) return good({ kind: exact, value });
  if (star !== value.length - 1) return bad('takes `*` at the end only');
  return good({ kind: `${exact}-prefix`, value: value.slice(0, -1) });
};

export const parseResource = (selector: string): Parsed<ResourceSelector> => {
  const problem = plausible(selector);
  if (problem !== undefined) return bad(problem);
  if (selector === '*') return good({ kind: 'any' });
  if (selector === 'tenant') return good({ kind: 'tenant' });
  const [kind, value] = split(selector);
  if (value === '') return bad(`must be one of ${RESOURCE_FORMS}`);
  switch (kind) {
    case 'key':
      return value === '*' ? good({ kind: 'any-key' }) : named('name', value);
    case 'id':
      return value.includes('*') ? bad('takes a whole id') : good({ kind: 'id', value });
    case 'tag': {
      const tag = tagKey(value);
      return tag.ok ? good({ kind: 'tag', value }) : tag;
    }
    case 'spec': {
      const spec = named('spec', value);
      if (!spec.ok || !('value' in spec.value)) return spec;
      const { kind: form, value: name } = spec.value;
      const known = KEY_SPEC_NAMES.some((s) => (form === 'spec' ? s === name : s.startsWith(name)));
      return known ? spec : bad(`is not a key specification${closest(name, KEY_SPEC_NAMES)}`);
    }
    case 'root':
      if (value === '*') return good({ kind: 'any-root' });
      return value.includes('*') ? bad('takes a whole root id or `*`') : good({ kind: 'root', value });
    default:
      return bad(`must be one of ${RESOURCE_FORMS}`);
  }
};

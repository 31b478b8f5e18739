import { WireRefusal } from './problem.js';

/**
 * What is checked on the text of a JSON body before it is parsed, and on its strings after: bounds that a schema cannot
 * give for free-form parts (`attributes`).
 */

/** Depth of nesting, without parsing; strings are skipped in one step each. */
export function nestingExceeds(json: string, maxDepth: number): boolean {
  if (json.length <= maxDepth * 2) return false;
  let depth = 0;
  for (let i = 0; i < json.length; i++) {
    const c = json.charCodeAt(i);
    if (c === 0x22 /* " */) {
      i = endOfString(json, i + 1);
    } else if (c === 0x7b /* { */ || c === 0x5b /* [ */) {
      depth += 1;
      if (depth > maxDepth) return true;
    } else if (c === 0x7d /* } */ || c === 0x5d /* ] */) {
      depth -= 1;
    }
  }
  return false;
}

/** Index of the closing quote, or past the end. */
function endOfString(json: string, from: number): number {
  let at = json.indexOf('"', from);
  while (at !== -1) {
    let slashes = 0;
    while (json.charCodeAt(at - 1 - slashes) === 0x5c) slashes += 1;
    if (slashes % 2 === 0) return at;
    at = json.indexOf('"', at + 1);
  }
  return json.length;
}

/** U+0000 and lone surrogates: PostgreSQL can store neither in text nor in jsonb. */
const LONE_SURROGATE = /\p{Cs}/u;
const MAYBE_ESCAPED = /\\u(?:0000|[dD][89a-fA-F])/;

export const isStorable = (value: string): boolean => !value.includes('\0') && !LONE_SURROGATE.test(value);

function findUnstorable(value: unknown, path: string): string | undefined {
  if (typeof value === 'string') return isStorable(value) ? undefined : path;
  if (typeof value !== 'object' || value === null) return undefined;
  for (const [name, item] of Object.entries(value)) {
    if (!isStorable(name)) return path;
    const found = findUnstorable(item, path === '' ? name : `${path}.${name}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Refuses text that cannot be stored. Almost always one scan of the source: such characters only come escaped. */
export function assertStorable(json: string, value: unknown): void {
  if (!MAYBE_ESCAPED.test(json)) return;
  const field = findUnstorable(value, '');
  if (field === undefined) return;
  throw new WireRefusal({
    code: 'invalid-field',
    message: 'The text holds U+0000 or half of a surrogate pair',
    ...(field === '' ? {} : { field: field.slice(0, 256) }),
    next: 'Send well-formed Unicode text; use base64 for bytes.',
  });
}

/** An id is a UUID (RFC 9562 §4), lower or upper case. */
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
export const isObjectId = (ref: string): boolean => UUID.test(ref);

const VERSIONED = /^(.+)@([1-9][0-9]{0,8})$/su;

/**
 * `id`, `alias`, `id@3` or `alias@3` → what to look up and the version pinned. Names ending in `@digits` are refused at
 * creation, so this is never ambiguous.
 */
export const parseObjectRef = (ref: string): { readonly ref: string; readonly version?: number } => {
  const match = VERSIONED.exec(ref);
  return match?.[1] === undefined ? { ref } : { ref: match[1], version: Number(match[2]) };
};

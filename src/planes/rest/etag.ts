/** Strong entity tags over revisions (RFC 9110 §8.8.3). */
export const toETag = (revision: number): string => `"${revision}"`;

/** If-Match → the revision it names; `any` for `*`; undefined for anything that no revision of ours can match strongly. */
export function parseIfMatch(header: string): number | 'any' | undefined {
  const value = header.trim();
  if (value === '*') return 'any';
  const match = /^"(\d{1,15})"$/.exec(value);
  return match === null ? undefined : Number(match[1]);
}

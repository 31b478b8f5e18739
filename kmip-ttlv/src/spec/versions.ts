// The protocol versions, oldest first: the order is what `since` and `until` compare by.

/** The protocol versions that the tables know; 3.0 is a draft of the committee. */
export const KMIP_VERSIONS = ['1.0', '1.1', '1.2', '1.3', '1.4', '2.0', '2.1', '3.0'] as const;
export type KmipVersion = (typeof KMIP_VERSIONS)[number];

const ordinals: ReadonlyMap<string, number> = new Map(KMIP_VERSIONS.map((version, ordinal) => [version, ordinal]));

/** The version of a Protocol Version structure, or undefined when the tables do not know it. */
export function versionOf(major: number, minor: number): KmipVersion | undefined {
  const text = `${major}.${minor}`;
  return ordinals.has(text) ? (text as KmipVersion) : undefined;
}

/** Major and minor number of a version, as the Protocol Version structure carries them. */
export function versionNumbers(version: KmipVersion): { major: number; minor: number } {
  return { major: Number(version[0]), minor: Number(version[2]) };
}

/** Negative, zero or positive as `a` is older than, the same as or newer than `b`. */
export function compareVersions(a: KmipVersion, b: KmipVersion): number {
  return (ordinals.get(a) as number) - (ordinals.get(b) as number);
}

/** What every row of the tables says about its life: the first version that has it and the last one, when it was dropped. */
export type Lifetime = { readonly since: KmipVersion; readonly until?: KmipVersion };

/** True when the row exists in the version. */
export function livesIn(row: Lifetime, version: KmipVersion): boolean {
  return compareVersions(row.since, version) <= 0 && (row.until === undefined || compareVersions(version, row.until) <= 0);
}

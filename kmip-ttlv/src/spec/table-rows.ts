import type { Lifetime } from './versions.js';

/** A tag: `name` is the normalised name of the text forms, `text` the words of the standard. */
export type TagRow = Lifetime & { readonly code: number; readonly name: string; readonly text: string };

/** One value of an enumeration or one bit of a mask. */
export type ValueRow = Lifetime & { readonly value: number; readonly name: string; readonly text: string };

/** An enumeration and the tags whose items carry it. */
export type EnumerationRow = { readonly name: string; readonly tags: readonly string[]; readonly values: readonly ValueRow[] };

/** A mask; its tag has the same name. */
export type MaskRow = { readonly name: string; readonly values: readonly ValueRow[] };

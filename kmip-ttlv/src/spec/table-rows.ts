import type { ItemTypeName } from './item-types.js';
import type { KmipVersion, Lifetime } from './versions.js';

/** A tag: `name` is the normalised name of the text forms, `text` the words of the standard; `types` what items with it may be, the usual one first. */
export type TagRow = Lifetime & {
  readonly code: number;
  readonly name: string;
  readonly text: string;
  readonly types: readonly ItemTypeName[];
};

/** From `since` on, items with the tag have these types instead. */
export type TypeChangeRow = { readonly tag: string; readonly since: KmipVersion; readonly types: readonly ItemTypeName[] };

/** One value of an enumeration or one bit of a mask. */
export type ValueRow = Lifetime & { readonly value: number; readonly name: string; readonly text: string };

/** An enumeration and the tags whose items carry it. */
export type EnumerationRow = { readonly name: string; readonly tags: readonly string[]; readonly values: readonly ValueRow[] };

/** A mask; its tag has the same name. */
export type MaskRow = { readonly name: string; readonly values: readonly ValueRow[] };

/** A field of a structure or payload: the tag's name, and whether a message must have it and may repeat it. */
export type FieldRow = {
  readonly name: string;
  readonly required?: true;
  readonly repeated?: true;
  readonly since?: KmipVersion;
  readonly until?: KmipVersion;
};

export type StructureRow = { readonly name: string; readonly fields: readonly FieldRow[] };

/** An operation: who sends its request, and the fields of both payloads in order. */
export type OperationRow = Lifetime & {
  readonly code: number;
  readonly name: string;
  readonly text: string;
  readonly from: 'client' | 'server';
  /** Set where the other side may send it too. */
  readonly alsoFrom?: 'server';
  readonly request: readonly FieldRow[];
  readonly response: readonly FieldRow[];
};

/** When an attribute may be changed or deleted. */
export type ChangeRule =
  | 'no'
  | 'yes'
  /** Only while the object is Pre-Active. */
  | 'preActive'
  | 'preActiveOrActive'
  /** Pre-Active or Active, and the Process Start Date has not been reached. */
  | 'beforeProcessStart'
  | 'beforeProtectStop'
  /** As long as Get Usage Allocation has not been performed. */
  | 'beforeUsageAllocation'
  | 'whenAbsent'
  /** Application Specific Information whose Application Data the client left out. */
  | 'whenDataOmitted';

export type AttributeRow = Lifetime & {
  readonly name: string;
  /** The attribute always has a value once the object exists. */
  readonly always: boolean;
  readonly multiple: boolean;
  readonly setBy: readonly ('client' | 'server')[];
  readonly server: ChangeRule;
  readonly client: ChangeRule;
  readonly delete: ChangeRule;
  /** The standard's words on the object types that have it. */
  readonly appliesTo: string;
  readonly implicitlySetBy: readonly string[];
};

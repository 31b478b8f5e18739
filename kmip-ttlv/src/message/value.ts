import type { ATTRIBUTES } from '../spec/attributes.js';
import type { ENUMERATIONS } from '../spec/enumerations.js';
import type { ItemTypeName } from '../spec/item-types.js';
import type { OPERATIONS } from '../spec/operations.js';
import type { STRUCTURES } from '../spec/structures.js';
import type { TAGS, TYPE_CHANGES } from '../spec/tags.js';
import type { KmipVersion } from '../spec/versions.js';
import type { Item } from '../tree/item.js';

// The typed form, its static types derived from the tables.

export type OperationName = (typeof OPERATIONS)[number]['name'];
export type AttributeName = (typeof ATTRIBUTES)[number]['name'];

/** A value whose type cannot be told from its JavaScript type alone: a Unique Identifier of type Enumeration, say. */
export type Variant = { readonly type: ItemTypeName; readonly value: string | number | bigint };

/**
 * A value of the typed form: enumerations are names (numbers when the tables have no name), masks and integers numbers, LongInteger and dates
 * bigint (dates in seconds, extended ones in microseconds, since 1970), Big Integers and byte strings Uint8Array, structures objects.
 */
export type Value =
  | string
  | number
  | bigint
  | boolean
  | Uint8Array
  | Fields
  | Variant
  | KmipAttribute
  | AttributeReference
  | readonly Value[]
  | Item;
/** The fields of a structure by tag name; `$extra` holds the items that the tables do not expect there, which survive a round trip. */
export type Fields = { readonly [name: string]: Value | undefined; readonly $extra?: readonly Item[] | undefined };

/** An attribute of the standard, in every era by its tag's name. `index` is the 1.x Attribute Index. */
export type StandardAttribute = {
  readonly name: string;
  readonly vendor?: undefined;
  readonly index?: number | undefined;
  readonly value?: Value | undefined;
};
/**
 * A custom (1.x: `x-…` and `y-…`, vendor `x` and `y`) or vendor attribute. The value stays an item, because only its type says how to write it;
 * vendor is empty for a 1.x name that is neither the standard's nor custom.
 */
export type VendorAttribute = {
  readonly name: string;
  readonly vendor: string;
  readonly index?: number | undefined;
  readonly value?: Item | undefined;
};
export type KmipAttribute = StandardAttribute | VendorAttribute;
/** Names an attribute without its value. `linkType` is set by the era module, where 3.0 has an attribute for each type of Link. */
export type AttributeReference = {
  readonly name: string;
  readonly vendor?: string | undefined;
  readonly index?: number | undefined;
  readonly linkType?: string | undefined;
};

/** A decoded message. The header and items are what the version has; see the era module for one model of all versions. */
export type Message = {
  readonly kind: 'request' | 'response';
  readonly version: KmipVersion;
  readonly header: Fields;
  readonly items: readonly BatchItem[];
};

/** One batch item. `operation` is a number when the version does not know it; a response to an unreadable request has none. */
export type BatchItem = {
  readonly operation?: string | number | undefined;
  /** Unique Batch Item ID. */
  readonly id?: Uint8Array | undefined;
  readonly payload?: Fields | undefined;
  /** The other fields: Result Status, Result Reason, Message Extension… */
  readonly fields: Fields;
};

type Tags = { readonly [R in (typeof TAGS)[number] as R['name']]: R['types'][number] };
type Changes = { readonly [R in (typeof TYPE_CHANGES)[number] as R['tag']]: R['types'][number] };
type Structures = { readonly [R in (typeof STRUCTURES)[number] as R['name']]: R['fields'][number] };
type Enumerations = { readonly [R in (typeof ENUMERATIONS)[number] as R['tags'][number]]: R['values'][number]['name'] };
type Operations = { readonly [R in (typeof OPERATIONS)[number] as R['name']]: R };

type Native<T> = T extends 'Integer' | 'Interval'
  ? number
  : T extends 'LongInteger' | 'DateTime' | 'DateTimeExtended'
    ? bigint
    : T extends 'Boolean'
      ? boolean
      : T extends 'BigInteger' | 'ByteString'
        ? Uint8Array
        : T extends 'TextString' | 'Identifier' | 'Reference' | 'NameReference'
          ? string
          : never;
type NameOf<N> = N extends keyof Enumerations ? Enumerations[N] : never;
type TypesOf<N> = (N extends keyof Tags ? Tags[N] : never) | (N extends keyof Changes ? Changes[N] : never);
type Inner<N> = N extends keyof Structures ? FieldsOf<Structures[N]> : Fields;
type Plain<N, T> = Native<T> | (T extends 'Structure' ? Inner<N> : never) | (T extends 'Enumeration' ? NameOf<N> | number : never);
type OneValue<N> = N extends 'Attribute' | 'NewAttribute' | 'CurrentAttribute'
  ? KmipAttribute
  : N extends 'Attributes' | 'CommonAttributes' | 'PrivateKeyAttributes' | 'PublicKeyAttributes'
    ? readonly KmipAttribute[]
    : N extends 'AttributeReference'
      ? AttributeReference
      : N extends keyof Changes
        ? Plain<N, TypesOf<N>> | Variant
        : Plain<N, TypesOf<N>>;
type FieldsOf<R> = { readonly [F in R as F extends { name: infer N extends string } ? N : never]?: FieldType<F> | undefined } & {
  readonly $extra?: readonly Item[] | undefined;
};
type FieldType<F> = F extends { name: infer N; repeated: true }
  ? readonly OneValue<N>[]
  : F extends { name: infer N }
    ? OneValue<N>
    : never;

/** The fields of a structure of the tables, of any version: `StructureFields<'KeyBlock'>`. */
export type StructureFields<N extends keyof Structures> = FieldsOf<Structures[N]>;
/** The request payload of an operation, of any version. */
export type RequestPayload<O extends OperationName> = FieldsOf<Operations[O]['request'][number]>;
/** The response payload of an operation, of any version. */
export type ResponsePayload<O extends OperationName> = FieldsOf<Operations[O]['response'][number]>;

import type { Fields } from '@aegis/kmip-ttlv';
import type { ManagedObject } from '../../../domain/index.js';
import { defaultFormat } from '../attributes/of-object.js';
import { fromJson, toJson } from '../attributes/stored-values.js';
import type { KeyFormat } from './formats.js';

/** What is kept beside an object about the key block it came in, so that Get can answer as it was registered. */
export interface StoredBlock {
  readonly format: KeyFormat;
  readonly compression?: string | number;
  readonly algorithm?: string | number;
  /** Cryptographic Length, bits. */
  readonly length?: number;
  /** Recommended Curve that the request named beside the key. */
  readonly curve?: string | number;
  /**
   * What the root of trust holds: the key itself (`key`: raw, PKCS#8 or SubjectPublicKeyInfo), the Key Material as it came
   * (`bytes`), the whole Key Value in TTLV (`ttlv`: a structure nobody here can use), or a Key Value that is wrapped (`wrapped`).
   */
  readonly holds: 'key' | 'bytes' | 'ttlv' | 'wrapped' | 'nothing';
  /** Key Wrapping Data of a wrapped one. */
  readonly wrapping?: Fields;
  /** Fields of the object beside its key block: Secret Data Type, PGP Key Version, the numbers of a split key. */
  readonly beside?: Fields;
}

const KEY = 'kmip:~block';

/** As an entry of the object's attributes. */
export const keptBlock = (block: StoredBlock): Readonly<Record<string, unknown>> => ({ [KEY]: toJson(block as unknown as Fields) });

/** The block an object came in, or what one made here would have come in. */
export const blockOf = (object: ManagedObject): StoredBlock => {
  const kept = object.attributes[KEY];
  if (typeof kept === 'object' && kept !== null) return fromJson(kept as never) as unknown as StoredBlock;
  return { format: defaultFormat(object) ?? 'Raw', holds: object.spec === undefined ? 'bytes' : 'key' };
};

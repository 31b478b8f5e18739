import type { KeySpec } from '@aegis/rot-spi/vocabulary';
import type { CurveRow, EdwardsRow } from './curves.js';
import { POST_QUANTUM } from './curves.js';

/**
 * A key between two encodings. Numbers are big-endian without leading zeros and, like every other byte array here, views of what
 * was read wherever that is possible; whoever made a fresh one hands it to the {@link Wiper} that the caller empties at the end.
 */
export type KeyModel =
  | { readonly kind: 'symmetric'; readonly key: Uint8Array }
  | {
      readonly kind: 'rsa-private';
      readonly n: Uint8Array;
      readonly e: Uint8Array;
      readonly d: Uint8Array;
      readonly p: Uint8Array;
      readonly q: Uint8Array;
      readonly dp: Uint8Array;
      readonly dq: Uint8Array;
      readonly qi: Uint8Array;
    }
  | { readonly kind: 'rsa-public'; readonly n: Uint8Array; readonly e: Uint8Array }
  | { readonly kind: 'ec-private'; readonly curve: CurveRow; readonly d: Uint8Array; readonly point?: Uint8Array }
  | { readonly kind: 'ec-public'; readonly curve: CurveRow; readonly point: Uint8Array }
  | { readonly kind: 'edwards-private'; readonly row: EdwardsRow; readonly seed: Uint8Array }
  | { readonly kind: 'edwards-public'; readonly row: EdwardsRow; readonly point: Uint8Array }
  | { readonly kind: 'dsa-private'; readonly p: Uint8Array; readonly q: Uint8Array; readonly g: Uint8Array; readonly x: Uint8Array }
  | { readonly kind: 'dsa-public'; readonly p: Uint8Array; readonly q: Uint8Array; readonly g: Uint8Array; readonly y: Uint8Array }
  | ({ readonly kind: 'dh-private'; readonly x: Uint8Array } & DhGroup)
  | ({ readonly kind: 'dh-public'; readonly y: Uint8Array } & DhGroup)
  /** A PrivateKeyInfo or SubjectPublicKeyInfo of an algorithm that is only passed on. */
  | { readonly kind: 'other-private'; readonly oid: string; readonly pkcs8: Uint8Array }
  | { readonly kind: 'other-public'; readonly oid: string; readonly spki: Uint8Array };

export interface DhGroup {
  readonly p: Uint8Array;
  readonly g: Uint8Array;
  readonly q?: Uint8Array;
  readonly j?: Uint8Array;
}

/** Keeps the secret buffers of one conversion, to overwrite them when it is over. */
export interface Wiper {
  /** Remembers the buffer and returns it. */
  take(bytes: Uint8Array): Uint8Array;
  wipe(): void;
}
export const makeWiper = (): Wiper => {
  const taken: Uint8Array[] = [];
  return {
    take: (bytes) => {
      taken.push(bytes);
      return bytes;
    },
    wipe: () => {
      for (const bytes of taken.splice(0)) bytes.fill(0);
    },
  };
};

export const isPrivate = (model: KeyModel): boolean => model.kind.endsWith('-private');

/** Bits of a number without leading zeros. */
const bitsOf = (bytes: Uint8Array): number => (bytes.length === 0 ? 0 : bytes.length * 8 - Math.clz32(bytes[0] as number) + 24);

/** What the Key Block says of a key: Cryptographic Algorithm and Length (KMIP 2.1 §3.1), and the spec of a root that can use it. */
export interface ModelFacts {
  readonly algorithm?: string;
  readonly length?: number;
  readonly spec?: KeySpec;
}

const RSA_SPECS: Readonly<Record<number, KeySpec>> = { 1024: 'rsa-1024', 2048: 'rsa-2048', 3072: 'rsa-3072', 4096: 'rsa-4096' };
const specField = (spec: KeySpec | undefined) => (spec === undefined ? {} : { spec });

export const factsOf = (model: KeyModel): ModelFacts => {
  switch (model.kind) {
    case 'symmetric':
      return { length: model.key.length * 8 };
    case 'rsa-private':
    case 'rsa-public': {
      const length = bitsOf(model.n);
      return { algorithm: 'RSA', length, ...specField(RSA_SPECS[length]) };
    }
    case 'ec-private':
    case 'ec-public':
      return { algorithm: 'EC', length: model.curve.bits, ...specField(model.curve.spec) };
    case 'edwards-private':
    case 'edwards-public':
      return { algorithm: model.row.algorithm, length: model.row.bits, spec: model.row.spec };
    case 'dsa-private':
    case 'dsa-public':
      return { algorithm: 'DSA', length: bitsOf(model.p) };
    case 'dh-private':
    case 'dh-public':
      return { algorithm: 'DH', length: bitsOf(model.p) };
    default: {
      const row = POST_QUANTUM.find((one) => one.oid === model.oid);
      return row === undefined ? {} : { algorithm: row.algorithm, length: row.bits, ...specField(row.spec) };
    }
  }
};

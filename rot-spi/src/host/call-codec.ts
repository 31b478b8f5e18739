import { createHash } from 'node:crypto';
import type { BoundKey, RootCallName, RootDescription, RootHealth, VerificationKey } from '../contract.js';
import { ROOT_FAULT_CODES, RootFault, type RootFaultCode } from '../fault.js';
import { ALGORITHM_NAMES, HASHES, KEY_SPEC_NAMES, KEY_USAGES, SPLIT_METHODS } from '../vocabulary/index.js';
import { type ByteReader, type ByteWriter, isBytes, WireError } from './bytes.js';
import {
  ALGORITHM_CAPABILITY_FIELDS,
  BINDING_FIELDS,
  CALL_NAMES,
  CALLS,
  CREATED,
  DESCRIPTION_FIELDS,
  HEALTH_FIELDS,
  KEY_PART_FIELDS,
  NEW_KEY_FIELDS,
  PROVENANCE_FIELDS,
  SPEC_CAPABILITY_FIELDS,
} from './call-tables.js';

/** Compiles the field tables into writers and readers. */

/** How a bound key is put into a frame and taken out again; the two ends differ (key-slots.ts). */
export interface KeyPorts {
  write(writer: ByteWriter, key: BoundKey): void;
  read(reader: ByteReader): BoundKey;
}

interface Codec {
  /** Throws RootFault for a value the field can't hold. */
  readonly write: (writer: ByteWriter, value: unknown, keys: KeyPorts) => void;
  readonly read: (reader: ByteReader, keys: KeyPorts) => unknown;
}

interface Field extends Codec {
  readonly name: string;
  /** 0 = always there, else its bit in the presence mask. */
  readonly bit: number;
}

/** A compiled table: an object of these fields. */
export interface Shape<T = unknown> {
  write(writer: ByteWriter, value: T, keys: KeyPorts): void;
  read(reader: ByteReader, keys: KeyPorts): T;
}

type Table = { readonly [name: string]: string | Table };

const MAX_SMALL_ITEMS = 4096;
const invalid = (what: string) => new RootFault('invalid-argument', what);

const oneOf = (names: readonly string[], refusal: RootFaultCode, what: string): Codec => {
  const indexes = new Map(names.map((name, index) => [name, index]));
  return {
    write: (writer, value) => {
      const index = indexes.get(value as string);
      if (index === undefined) throw new RootFault(refusal, `unknown ${what}`);
      writer.varint(index);
    },
    read: (reader) => {
      const name = names[reader.varint()];
      if (name === undefined) throw new WireError(`unknown ${what}`);
      return name;
    },
  };
};

const listOf = (item: Codec): Codec => ({
  write: (writer, value, keys) => {
    if (!Array.isArray(value) || value.length > MAX_SMALL_ITEMS) throw invalid('expected a short list');
    writer.varint(value.length);
    for (const one of value) item.write(writer, one, keys);
  },
  read: (reader, keys) => {
    const count = reader.varint();
    // Every item takes a byte or more, so a count is never believed beyond what is there.
    if (count > MAX_SMALL_ITEMS) throw new WireError('list too long');
    reader.need(count);
    const items: unknown[] = [];
    for (let left = count; left > 0; left--) items.push(item.read(reader, keys));
    return items;
  },
});

const uint: Codec = {
  write: (writer, value) => {
    if (!Number.isSafeInteger(value) || (value as number) < 0) throw invalid('expected a whole number, not negative');
    writer.varint(value as number);
  },
  read: (reader) => reader.varint(),
};

const flag: Codec = {
  write: (writer, value) => {
    if (typeof value !== 'boolean') throw invalid('expected true or false');
    writer.u8(value ? 1 : 0);
  },
  read: (reader) => reader.flag(),
};

const bytes: Codec = {
  write: (writer, value) => {
    if (!isBytes(value)) throw invalid('expected bytes');
    writer.bytes(value);
  },
  read: (reader) => reader.bytes(),
};

const text: Codec = {
  write: (writer, value) => {
    if (typeof value !== 'string') throw invalid('expected text');
    writer.text(value);
  },
  read: (reader) => reader.text(),
};

const real: Codec = {
  write: (writer, value) => {
    if (typeof value !== 'number') throw invalid('expected a number');
    writer.f64(value);
  },
  read: (reader) => reader.f64(),
};

const texts: Codec = {
  write: (writer, value) => {
    const entries = Object.entries((value ?? {}) as Record<string, unknown>);
    if (entries.length > MAX_SMALL_ITEMS) throw invalid('too many entries');
    writer.varint(entries.length);
    for (const [name, entry] of entries) {
      if (name === '__proto__' || typeof entry !== 'string') throw invalid('expected texts by name');
      writer.text(name);
      writer.text(entry);
    }
  },
  read: (reader) => {
    const count = reader.varint();
    if (count > MAX_SMALL_ITEMS) throw new WireError('too many entries');
    reader.need(count * 2);
    const result: Record<string, string> = {};
    for (let left = count; left > 0; left--) {
      const name = reader.text();
      if (name === '__proto__') throw new WireError('name not allowed');
      result[name] = reader.text();
    }
    return result;
  },
};

const isBoundKey = (value: unknown): value is BoundKey => {
  const key = value as Partial<BoundKey> | null | undefined;
  return typeof key === 'object' && key !== null && isBytes(key.reference) && typeof key.binding === 'object' && key.binding !== null;
};

const boundKey: Codec = {
  write: (writer, value, keys) => {
    if (!isBoundKey(value)) throw invalid('expected a reference with its binding');
    keys.write(writer, value);
  },
  read: (reader, keys) => keys.read(reader),
};

const algorithm = oneOf(ALGORITHM_NAMES, 'unsupported', 'algorithm');
const spec = oneOf(KEY_SPEC_NAMES, 'unsupported', 'key specification');
const hash = oneOf(HASHES, 'unsupported', 'hash');
const approval = oneOf(['approved', 'legacy', 'not-approved'], 'invalid-argument', 'approval');

const verificationKey: Codec = {
  write: (writer, value, keys) => {
    const bound = isBoundKey(value);
    writer.u8(bound ? 0 : 1);
    if (bound) return keys.write(writer, value);
    const { publicKey, spec: name } = (value ?? {}) as { publicKey?: unknown; spec?: unknown };
    bytes.write(writer, publicKey, keys);
    spec.write(writer, name, keys);
  },
  read: (reader, keys) => {
    if (!reader.flag()) return keys.read(reader) satisfies VerificationKey;
    return { publicKey: reader.bytes(), spec: spec.read(reader, keys) };
  },
};

const compileField = (name: string, kind: string | Table, bit: number): Field => {
  const codec = typeof kind === 'string' ? CODECS[bit === 0 ? kind : kind.slice(0, -1)] : compile(kind);
  if (codec === undefined) throw new TypeError(`no codec for ${name}: ${String(kind)}`);
  return { name, bit, write: codec.write, read: codec.read };
};

const compileFields = (table: Table): Field[] => {
  let bits = 0;
  return Object.entries(table).map(([name, kind]) =>
    compileField(name, kind, typeof kind === 'string' && kind.endsWith('?') ? 1 << bits++ : 0),
  );
};

const writeField = (writer: ByteWriter, field: Field, value: unknown, keys: KeyPorts): void => {
  try {
    field.write(writer, value, keys);
  } catch (error) {
    if (error instanceof RootFault && error.code !== 'limit-exceeded') throw new RootFault(error.code, `${field.name}: ${error.message}`);
    throw error;
  }
};

const compile = (table: Table): Codec => {
  const fields = compileFields(table);
  const optional = fields.filter((field) => field.bit !== 0);
  const known = optional.reduce((mask, field) => mask | field.bit, 0);
  return {
    write: (writer, value, keys) => {
      if (typeof value !== 'object' || value === null) throw invalid('expected an object');
      const source = value as Record<string, unknown>;
      let mask = 0;
      for (const field of optional) if (source[field.name] !== undefined) mask |= field.bit;
      if (known !== 0) writer.varint(mask);
      for (const field of fields) {
        if (field.bit === 0 || (mask & field.bit) !== 0) writeField(writer, field, source[field.name], keys);
      }
    },
    read: (reader, keys) => {
      const mask = known === 0 ? 0 : reader.varint();
      if (mask > known) throw new WireError('unknown field');
      const result: Record<string, unknown> = {};
      for (const field of fields) {
        if (field.bit === 0 || (mask & field.bit) !== 0) result[field.name] = field.read(reader, keys);
      }
      return result;
    },
  };
};

const CODECS: { readonly [kind: string]: Codec } = (() => {
  const codecs: Record<string, Codec> = Object.assign(Object.create(null), {
    bytes,
    text,
    uint,
    real,
    flag,
    texts,
    algorithm,
    spec,
    hash,
    approval,
    key: boundKey,
    verificationKey,
    specs: listOf(spec),
    hashes: listOf(hash),
    usages: listOf(oneOf(KEY_USAGES, 'invalid-argument', 'usage')),
    powers: listOf(oneOf(CALL_NAMES, 'invalid-argument', 'call')),
    format: oneOf(['raw', 'pkcs8', 'spki'], 'invalid-argument', 'material format'),
    signatureEncoding: oneOf(['der', 'p1363'], 'invalid-argument', 'signature encoding'),
    operationKind: oneOf(
      ['encrypt', 'decrypt', 'sign', 'verify', 'mac', 'macVerify', 'digest'],
      'invalid-argument',
      'kind of multi-part operation',
    ),
    splitMethod: oneOf(SPLIT_METHODS, 'invalid-argument', 'method of splitting'),
    rootKind: oneOf(['software', 'pkcs11', 'cloud-envelope'], 'invalid-argument', 'kind of root'),
    healthState: oneOf(['ready', 'degraded', 'unavailable'], 'invalid-argument', 'health'),
  } satisfies Record<string, Codec>);
  return codecs;
})();

const addCodec = (kind: string, table: object, wrap: (codec: Codec) => Codec = (codec) => codec): Codec => {
  const codec = wrap(compile(table as Table));
  (CODECS as Record<string, Codec>)[kind] = codec;
  return codec;
};

// Each may use the ones before it.
const binding = addCodec('binding', BINDING_FIELDS);
addCodec('provenance', PROVENANCE_FIELDS);
addCodec('newKey', NEW_KEY_FIELDS);
addCodec('newKeys', NEW_KEY_FIELDS, listOf);
addCodec('keyParts', KEY_PART_FIELDS, listOf);
addCodec('createdKeys', CREATED, listOf);
addCodec('specCapabilities', SPEC_CAPABILITY_FIELDS, listOf);
addCodec('algorithmCapabilities', ALGORITHM_CAPABILITY_FIELDS, listOf);

export const BINDING = binding as Shape<BoundKey['binding']>;
export const DESCRIPTION = compile(DESCRIPTION_FIELDS as unknown as Table) as Shape<RootDescription>;
export const HEALTH = compile(HEALTH_FIELDS as unknown as Table) as Shape<RootHealth>;

export interface CallCodec {
  readonly name: RootCallName;
  readonly request: Shape;
  readonly response: Shape;
}

/** By the call's number on the wire. */
export const CALL_CODECS: readonly CallCodec[] = CALL_NAMES.map((name) => ({
  name,
  request: compile(CALLS[name].request as unknown as Table) as Shape,
  response: compile(CALLS[name].response as unknown as Table) as Shape,
}));

const MAX_MESSAGE_CHARACTERS = 2000;
const shorten = (message: string): string => message.slice(0, MAX_MESSAGE_CHARACTERS).replace(/\p{Surrogate}/gu, '?');

const faultCode = oneOf(ROOT_FAULT_CODES, 'internal', 'fault code');

/** Faults cross as code, message and next step; never a stack, which could quote a value. */
export const FAULT = {
  write: (writer: ByteWriter, fault: RootFault, keys: KeyPorts): void => {
    faultCode.write(writer, fault.code, keys);
    writer.text(shorten(fault.message));
    writer.text(shorten(fault.next ?? ''));
  },
  read: (reader: ByteReader, keys: KeyPorts): RootFault => {
    const code = faultCode.read(reader, keys) as RootFaultCode;
    const message = reader.text();
    return new RootFault(code, message, reader.text() || undefined);
  },
};

/** Anything thrown → a fault that may be shown. Of an unknown error only its symbolic code is repeated. */
export const toFault = (error: unknown): RootFault => {
  if (error instanceof RootFault) return error;
  const code = (error as { code?: unknown } | null | undefined)?.code;
  const shown = typeof code === 'string' && /^[A-Z][A-Z0-9_]{2,60}$/.test(code) ? ` (${code})` : '';
  return new RootFault('internal', `the root of trust failed${shown}`, 'see the service log; report it if it repeats');
};

/** Proof that both ends were built from the same tables; a host of another build is refused. */
export const TABLE_DIGEST: string = createHash('sha256')
  .update(
    JSON.stringify([
      1,
      CALLS,
      DESCRIPTION_FIELDS,
      HEALTH_FIELDS,
      BINDING_FIELDS,
      PROVENANCE_FIELDS,
      NEW_KEY_FIELDS,
      KEY_PART_FIELDS,
      SPLIT_METHODS,
      SPEC_CAPABILITY_FIELDS,
      ALGORITHM_CAPABILITY_FIELDS,
      ALGORITHM_NAMES,
      KEY_SPEC_NAMES,
      HASHES,
      KEY_USAGES,
      ROOT_FAULT_CODES,
    ]),
  )
  .digest('hex');

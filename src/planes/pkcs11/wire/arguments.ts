import { type Attribute, type Generation, readAttributes, readWanted, type WantedAttribute, writeAttribute } from './attributes.js';
import { ByteReader, ByteWriter, ULONG_BYTES, WireError } from './bytes.js';
import { type Mechanism, readMechanism } from './mechanism-encodings.js';

/** Space of an output buffer. `asksSize`: the caller passed NULL (or, up to client 0.24.1, a buffer of length 0). */
export interface Space {
  readonly capacity: number;
  readonly asksSize: boolean;
}

/** Argument by signature letter. A NULL byte array is `undefined`. */
interface ArgumentKinds {
  y: number;
  u: number;
  z: Uint8Array | undefined;
  s: Uint8Array | undefined;
  ay: Uint8Array | undefined;
  fy: Space;
  fu: Space;
  aA: readonly Attribute[];
  fA: readonly WantedAttribute[];
  M: Mechanism | undefined;
}
export type ArgumentLetter = keyof ArgumentKinds;

/** `uMaA` → ['u', 'M', 'aA']. */
export const lettersOf = (signature: string): readonly ArgumentLetter[] =>
  (signature.match(/[af][yuA]|[yuvszMP]/g) ?? []) as unknown as readonly ArgumentLetter[];

const NULL_LENGTH = 0xffff_ffff;

const readSpace = (reader: ByteReader): Space => {
  const capacity = reader.u32();
  return capacity === NULL_LENGTH ? { capacity: 0, asksSize: false } : { capacity, asksSize: capacity === 0 };
};

const readByteArray = (reader: ByteReader): Uint8Array | undefined => {
  const valid = reader.byte();
  if (valid > 1) throw new WireError('a valid flag is neither 0 nor 1');
  if (valid === 1) return reader.string();
  reader.u32();
  return undefined;
};

/** Clients of byte 1 differ in how they ask for templates; what consumes the body exactly is right. */
const readWantedOf = (reader: ByteReader, generation: Generation): readonly WantedAttribute[] => {
  if (generation !== 1) return readWanted(reader, generation === 0 ? 'never' : 'with-buffer');
  const start = reader.position;
  try {
    const wanted = readWanted(reader, 'always');
    if (reader.left === 0) return wanted;
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
  }
  reader.moveTo(start);
  return readWanted(reader, 'never');
};

/** What must follow the mechanism, where the signature fixes its length. */
const tailOf = (letters: readonly ArgumentLetter[], at: number): number | undefined => {
  const rest = letters.slice(at + 1);
  return rest.every((letter) => letter === 'u') ? rest.length * ULONG_BYTES : undefined;
};

const readArgument = (reader: ByteReader, letters: readonly ArgumentLetter[], at: number, generation: Generation): unknown => {
  switch (letters[at]) {
    case 'y':
      return reader.byte();
    case 'u':
      return reader.ulong();
    case 'z':
    case 's':
      return reader.string();
    case 'ay':
      return readByteArray(reader);
    case 'fy':
    case 'fu':
      return readSpace(reader);
    case 'aA':
      return readAttributes(reader, generation);
    case 'fA':
      return readWantedOf(reader, generation);
    case 'M':
      return readMechanism(reader, generation, tailOf(letters, at));
    default:
      throw new WireError(`no argument is written ${String(letters[at])}`);
  }
};

export interface RequestHead {
  readonly call: number;
  readonly signature: string;
  /** Where the arguments begin. */
  readonly reader: ByteReader;
}
const MAX_SIGNATURE_BYTES = 32;

export const readHead = (body: Buffer): RequestHead => {
  const reader = new ByteReader(body);
  const call = reader.u32();
  const length = reader.u32();
  if (length > MAX_SIGNATURE_BYTES) throw new WireError('the signature is too long');
  return { call, signature: reader.take(length).toString('latin1'), reader };
};

/** The arguments of a call, in order; the body must be consumed to its last byte. */
export const readArguments = (reader: ByteReader, letters: readonly ArgumentLetter[], generation: Generation): unknown[] => {
  const values: unknown[] = [];
  for (let at = 0; at < letters.length; at += 1) values.push(readArgument(reader, letters, at, generation));
  if (reader.left > 0) throw new WireError(`${reader.left} bytes too many`);
  return values;
};

/** Body of a response: call, signature, and what `write` adds. */
export const toResponse = (call: number, signature: string, write?: (writer: ByteWriter) => void): Buffer => {
  const writer = new ByteWriter(64);
  writer.u32(call).u32(signature.length);
  for (let at = 0; at < signature.length; at += 1) writer.byte(signature.charCodeAt(at));
  write?.(writer);
  return writer.done();
};

/** Output of one buffer by the rules of §8: whole where it fits, else the length wanted; an empty output is always given. */
export const writeOutput = (writer: ByteWriter, output: Uint8Array): void => {
  writer.byte(1).string(output);
};
export const writeNeeded = (writer: ByteWriter, needed: number): void => {
  writer.byte(0).u32(needed);
};
/** Array of ulongs: never values for a size query (the client would compare with an uninitialised count). */
export const writeUlongs = (writer: ByteWriter, values: readonly number[], space: Space): void => {
  if (values.length > space.capacity) {
    writer.byte(0).u32(values.length);
    return;
  }
  writer.byte(1).u32(values.length);
  for (const value of values) writer.ulong(value);
};
/** Fixed-width, space-padded UTF-8; cut between characters. */
export const writePadded = (writer: ByteWriter, text: string, width: number): void => {
  let bytes = Buffer.from(text);
  for (let cut = text.length; bytes.length > width; cut -= 1) bytes = Buffer.from(text.slice(0, cut));
  writer
    .u32(width)
    .raw(bytes)
    .raw(Buffer.alloc(width - bytes.length, 0x20));
};
export { writeAttribute };

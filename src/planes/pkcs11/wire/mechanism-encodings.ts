import type { Generation } from './attributes.js';
import { type ByteReader, WireError } from './bytes.js';

/**
 * Which mechanisms each client generation passes, and how it writes their parameters. The client's own two lists decide
 * (p11-kit rpc-message.c): what is in neither is refused before anything is sent.
 */
export type ParameterRecord = 'pss' | 'oaep' | 'ecdh' | 'iv16' | 'iv8' | 'ctr' | 'gcm' | 'mac-general' | 'dh';

export type MechanismParameter =
  | { readonly record: 'pss'; readonly hash: number; readonly mgf: number; readonly saltLength: number }
  | { readonly record: 'oaep'; readonly hash: number; readonly mgf: number; readonly source: number; readonly label: Uint8Array }
  | { readonly record: 'ecdh'; readonly kdf: number; readonly shared: Uint8Array; readonly publicData: Uint8Array }
  | { readonly record: 'iv16' | 'iv8'; readonly iv: Uint8Array }
  | { readonly record: 'ctr'; readonly counterBits: number; readonly iv: Uint8Array }
  | { readonly record: 'gcm'; readonly iv: Uint8Array; readonly ivBits: number; readonly aad: Uint8Array; readonly tagBits: number }
  | { readonly record: 'mac-general'; readonly length: number }
  | { readonly record: 'dh'; readonly publicData: Uint8Array };

export interface Mechanism {
  readonly type: number;
  readonly parameter: MechanismParameter | undefined;
  /** A parameter was there that this plane has no record for: the mechanism cannot be used. */
  readonly unread: boolean;
}

interface RecordRow {
  readonly record: ParameterRecord;
  /** First generation that passes it with its parameter. */
  readonly since: Generation;
}
const rows = (record: ParameterRecord, since: Generation, types: readonly number[]): (readonly [number, RecordRow])[] =>
  types.map((type) => [type, { record, since }] as const);

/** Parametrised types. */
export const PARAMETER_RECORDS: ReadonlyMap<number, RecordRow> = new Map([
  ...rows('pss', 0, [0xd]),
  ...rows('oaep', 0, [0x9]),
  ...rows('pss', 1, [0xe, 0x43, 0x44, 0x45, 0x47]),
  ...rows('ecdh', 1, [0x1050]),
  ...rows('iv16', 1, [0x1082, 0x1085, 0x1089, 0x2104, 0x2105, 0x2106, 0x2107, 0x2108]),
  ...rows('ctr', 1, [0x1086]),
  ...rows('gcm', 1, [0x1087]),
  ...rows('iv8', 1, [0x122, 0x125, 0x133, 0x136, 0x150, 0x152, 0x153]),
  ...rows('mac-general', 1, [0x222, 0x257, 0x252, 0x262, 0x272, 0x4a, 0x4e, 0x1084, 0x108b, 0x135, 0x137]),
  ...rows('dh', 1, [0x21]),
]);

/** Types without parameter that every client passes (0.24.1 and older lists), and those that came with 0.25.0. */
const PLAIN_OLD = [
  ...[0x0, 0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0x8, 0xa, 0xb, 0xc, 0x10, 0x11, 0x12, 0x20, 0x30, 0x40, 0x41, 0x42],
  ...[0x100, 0x101, 0x103, 0x110, 0x111, 0x120, 0x121, 0x123, 0x130, 0x131, 0x132, 0x134, 0x140, 0x141, 0x143],
  ...[0x200, 0x201, 0x210, 0x211, 0x220, 0x221, 0x230, 0x231, 0x240, 0x241, 0x250, 0x251, 0x260, 0x261, 0x270, 0x271],
  ...[0x300, 0x301, 0x303, 0x310, 0x311, 0x313, 0x320, 0x321, 0x330, 0x331, 0x333, 0x340, 0x341, 0x343, 0x350],
  ...[0x370, 0x374, 0x380, 0x381, 0x400, 0x1000, 0x1008, 0x1010, 0x1020, 0x1030, 0x1036, 0x1060, 0x1065],
  ...[0x1040, 0x1041, 0x1042, 0x1070, 0x1080, 0x1081, 0x1083, 0x2000, 0x2001, 0x2002],
];
const PLAIN_0_25 = [
  ...[0x255, 0x256, 0x46, 0x1043, 0x1044, 0x1045, 0x1046, 0x108a, 0x138],
  ...[0x48, 0x49, 0x4b, 0x4c, 0x4d, 0x4f, 0x50, 0x51, 0x53, 0x392, 0x393, 0x394, 0x395, 0x396],
];
const PLAIN: ReadonlyMap<number, Generation> = new Map([
  ...PLAIN_OLD.map((type) => [type, 0] as const),
  ...PLAIN_0_25.map((type) => [type, 1] as const),
]);

/** First generation of client that lets a mechanism through, or undefined where none does. */
export const passedSince = (type: number): Generation | undefined => PARAMETER_RECORDS.get(type)?.since ?? PLAIN.get(type);
export const isPassed = (type: number, generation: Generation): boolean => {
  const since = passedSince(type);
  return since !== undefined && since <= generation;
};

const NULL_MECHANISM = 0xffff_ffff;
const NO_PARAMETER = 0xffff_ffff;

/**
 * Reads a mechanism; `undefined` is a NULL mechanism (cancel through *Init). `tail` is the number of bytes that must follow,
 * where the call fixes it: it tells a type this plane does not know from its parameter.
 */
export const readMechanism = (reader: ByteReader, generation: Generation, tail: number | undefined): Mechanism | undefined => {
  const type = reader.u32();
  if (type === NULL_MECHANISM) return undefined;
  // Clients 0.25.0 to 0.25.2 write a NULL mechanism as a bare 0.
  if (generation === 1 && type === 0 && tail !== undefined && reader.left === tail) return undefined;
  const row = PARAMETER_RECORDS.get(type);
  if (row !== undefined && (generation > 0 || row.since === 0)) return readParametrised(reader, type, row.record, generation);
  const rest = tail === undefined ? undefined : reader.left - tail;
  if (rest !== undefined && rest < 0) throw new WireError('the mechanism is cut short');
  if (rest === undefined) return readPlain(reader, type, generation);
  return readUnknown(reader, type, rest);
};

const readPlain = (reader: ByteReader, type: number, generation: Generation): Mechanism => {
  if (generation < 2 && reader.u32() !== NO_PARAMETER) throw new WireError('a parameter of an unknown kind');
  return { type, parameter: undefined, unread: false };
};

const readUnknown = (reader: ByteReader, type: number, rest: number): Mechanism => {
  const parameter = reader.take(rest);
  const none = rest === 0 || (rest === 4 && parameter.readUInt32BE() === NO_PARAMETER) || (rest === 1 && parameter[0] === 0);
  return { type, parameter: undefined, unread: !none };
};

const readParametrised = (reader: ByteReader, type: number, record: ParameterRecord, generation: Generation): Mechanism => {
  if (generation === 2) {
    const present = reader.byte();
    if (present > 1) throw new WireError('a presence flag is neither 0 nor 1');
    if (present === 0) return { type, parameter: undefined, unread: false };
  }
  return { type, parameter: READERS[record](reader), unread: false };
};

const bytes = (reader: ByteReader): Uint8Array => reader.string() ?? new Uint8Array(0);

const READERS: Readonly<Record<ParameterRecord, (reader: ByteReader) => MechanismParameter>> = {
  pss: (r) => ({ record: 'pss', hash: r.ulong(), mgf: r.ulong(), saltLength: r.ulong() }),
  oaep: (r) => ({ record: 'oaep', hash: r.ulong(), mgf: r.ulong(), source: r.ulong(), label: bytes(r) }),
  ecdh: (r) => ({ record: 'ecdh', kdf: r.ulong(), shared: bytes(r), publicData: bytes(r) }),
  iv16: (r) => ({ record: 'iv16', iv: bytes(r) }),
  iv8: (r) => ({ record: 'iv8', iv: bytes(r) }),
  ctr: (r) => ({ record: 'ctr', counterBits: r.ulong(), iv: bytes(r) }),
  gcm: (r) => ({ record: 'gcm', iv: bytes(r), ivBits: r.ulong(), aad: bytes(r), tagBits: r.ulong() }),
  'mac-general': (r) => ({ record: 'mac-general', length: r.ulong() }),
  dh: (r) => ({ record: 'dh', publicData: bytes(r) }),
};

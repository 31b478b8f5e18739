import { connect, type Socket } from 'node:net';
import { CALLS, type CallName, callById } from '../../src/planes/pkcs11/calls.js';
import { type ArgumentLetter, lettersOf } from '../../src/planes/pkcs11/wire/arguments.js';
import { type Attribute, attributeClass, readAttributes, writeAttribute } from '../../src/planes/pkcs11/wire/attributes.js';
import { ByteReader, ByteWriter } from '../../src/planes/pkcs11/wire/bytes.js';
import { FrameReader } from '../../src/planes/pkcs11/wire/frames.js';

/** Return value other than CKR_OK. */
export class CkError extends Error {
  readonly rv: number;
  constructor(call: string, rv: number) {
    super(`${call}: 0x${rv.toString(16)}`);
    this.rv = rv;
  }
}

/** A mechanism parameter, already in the form of its record (§6.5). */
interface ClientMechanism {
  readonly type: number;
  readonly record?: Uint8Array;
}
const NULL_BUFFER = 0;

const writeMechanism = (w: ByteWriter, generation: number, mechanism: ClientMechanism | undefined, parametrised: boolean): void => {
  if (mechanism === undefined) {
    w.u32(0xffff_ffff);
    return;
  }
  w.u32(mechanism.type);
  if (!parametrised) {
    if (generation < 2) w.u32(0xffff_ffff);
    return;
  }
  if (generation === 2) w.byte(mechanism.record === undefined ? 0 : 1);
  if (mechanism.record !== undefined) w.raw(mechanism.record);
};

const writeArgument = (w: ByteWriter, letter: ArgumentLetter, value: unknown, generation: number): void => {
  switch (letter) {
    case 'y':
      w.byte(value as number);
      break;
    case 'u':
      w.ulong(value as number);
      break;
    case 'ay':
      if (value === undefined) w.byte(generation === 0 ? 0 : 1).u32(generation === 0 ? 0 : 0xffff_ffff);
      else w.byte(1).string(value as Uint8Array);
      break;
    case 'fy':
    case 'fu':
      w.u32(value as number);
      break;
    case 'z':
    case 's':
      w.string(value as Uint8Array);
      break;
    case 'aA': {
      const attributes = value as readonly Attribute[];
      w.u32(attributes.length);
      for (const one of attributes) writeAttribute(w, one.type, one.available ? { value: one.value } : undefined);
      break;
    }
    case 'fA': {
      const wanted = value as readonly { type: number; capacity: number }[];
      w.u32(wanted.length);
      for (const { type, capacity } of wanted) {
        w.u32(type).u32(capacity);
        if (attributeClass(type) === 'attributes' && generation === 1) w.u32(0);
      }
      break;
    }
    case 'M':
      writeMechanism(w, generation, value as ClientMechanism | undefined, (value as ClientMechanism | undefined)?.record !== undefined);
      break;
  }
};

export interface Output {
  /** False: only the length that is needed. */
  readonly valid: boolean;
  readonly bytes: Uint8Array;
  readonly needed: number;
}

const readResult = (reader: ByteReader, letter: string, generation: number): unknown => {
  switch (letter) {
    case 'u':
      return reader.ulong();
    case 'v':
      return [reader.byte(), reader.byte()];
    case 's':
      return Buffer.from(reader.string() ?? [])
        .toString()
        .trimEnd();
    case 'ay': {
      const valid = reader.byte() === 1;
      if (!valid) return { valid, bytes: new Uint8Array(0), needed: reader.u32() } satisfies Output;
      const bytes = reader.string() ?? new Uint8Array(0);
      return { valid, bytes: Uint8Array.from(bytes), needed: bytes.length } satisfies Output;
    }
    case 'au': {
      const valid = reader.byte() === 1;
      const count = reader.u32();
      return { valid, count, values: valid ? Array.from({ length: count }, () => reader.ulong()) : [] };
    }
    case 'aA':
      return readAttributes(reader, generation as 0 | 1 | 2);
    default:
      return undefined;
  }
};

/** Speaks the protocol as a p11-kit client of a generation does: frames, correlation, any order of answers. */
export class ProtocolClient {
  readonly socket: Socket;
  readonly generation: 0 | 1 | 2;
  readonly #waiting = new Map<number, (body: Buffer) => void>();
  #code = 16;
  #version: ((byte: number) => void) | undefined;
  /** Resolves when the server closes. */
  readonly closed: Promise<void>;

  private constructor(socket: Socket, generation: 0 | 1 | 2) {
    this.socket = socket;
    this.generation = generation;
    const reader = new FrameReader({
      frame: ({ code, body }) => {
        const done = this.#waiting.get(code);
        this.#waiting.delete(code);
        done?.(Buffer.from(body));
      },
      tooLarge: () => undefined,
    });
    socket.on('data', (chunk: Buffer) => {
      let rest = chunk;
      if (this.#version !== undefined) {
        this.#version(chunk[0] ?? -1);
        this.#version = undefined;
        rest = chunk.subarray(1);
      }
      reader.push(rest);
    });
    socket.on('error', () => undefined);
    this.closed = new Promise((resolve) => socket.on('close', () => resolve()));
  }

  static async open(path: string, generation: 0 | 1 | 2 = 2): Promise<ProtocolClient> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    const client = new ProtocolClient(socket, generation);
    const answered = new Promise<number>((resolve) => {
      client.#version = resolve;
    });
    socket.write(Uint8Array.of(generation));
    if ((await answered) !== generation) throw new Error('another version was answered');
    return client;
  }

  /** Sends a body and answers the body of the response. */
  exchange(body: Uint8Array, given?: number): Promise<Buffer> {
    this.#code += 1;
    const code = given ?? this.#code;
    return new Promise((resolve) => {
      this.#waiting.set(code, resolve);
      const options = Buffer.from('client');
      const writer = new ByteWriter(32 + body.length);
      writer.u32(code).u32(options.length).u32(body.length).raw(options).raw(body);
      this.socket.write(Buffer.from(writer.done()));
    });
  }

  static request(name: CallName, args: readonly unknown[], generation: number): Buffer {
    const row = CALLS.find((one) => one.name === name);
    if (row === undefined) throw new Error(name);
    const writer = new ByteWriter();
    writer.u32(row.id).string(Buffer.from(row.request));
    lettersOf(row.request).forEach((letter, at) => {
      writeArgument(writer, letter, args[at], generation);
    });
    return Buffer.from(writer.done());
  }

  /** The results of a call in the order of its response signature; throws CkError. */
  async call<T extends readonly unknown[] = readonly unknown[]>(name: CallName, ...args: unknown[]): Promise<T> {
    const body = await this.exchange(ProtocolClient.request(name, args, this.generation));
    const reader = new ByteReader(body);
    const id = reader.u32();
    const signature = reader.string()?.toString() ?? '';
    if (id === 0) throw new CkError(name, reader.ulong());
    const row = callById(id);
    if (row?.name !== name || row.response !== signature) throw new Error(`${name} was answered by ${id} ${signature}`);
    const results = (signature.match(/[af][yuA]|[yuvszP]/g) ?? []).map((letter) => readResult(reader, letter, this.generation));
    if (reader.left > 0) throw new Error(`${name}: ${reader.left} bytes too many`);
    return results as unknown as T;
  }

  async rv(name: CallName, ...args: unknown[]): Promise<number> {
    try {
      await this.call(name, ...args);
      return 0;
    } catch (error) {
      if (error instanceof CkError) return error.rv;
      throw error;
    }
  }

  async initialize(reserved = ''): Promise<void> {
    await this.call(
      'C_Initialize',
      Buffer.from('PRIVATE-GNOME-KEYRING-PKCS11-PROTOCOL-V-1'),
      reserved === '' ? 0 : 1,
      Buffer.from(`${reserved}\0`),
    );
  }

  async session(pin?: string, slot = 1, flags = 6): Promise<number> {
    const [session] = await this.call<[number]>('C_OpenSession', slot, flags);
    if (pin !== undefined) await this.call('C_Login', session, 1, Buffer.from(pin));
    return session;
  }

  /** Both steps of an output: size, then the bytes. */
  async output(name: CallName, ...args: unknown[]): Promise<Uint8Array> {
    const [asked] = await this.call<[Output]>(name, ...args, NULL_BUFFER);
    const [given] = await this.call<[Output]>(name, ...args, Math.max(asked.needed, 1));
    return given.bytes;
  }

  end(): void {
    this.socket.destroy();
  }
}

export const attribute = (type: number, value: Attribute['value']): Attribute => ({ type, value, available: true });

import { FRAME_HEADER_BYTES } from '../wire/frames.js';

/**
 * Between the door, which owns the sockets, and the service behind it: one connection for each client, begun with one line
 * of JSON, then the client's frames as they are; and one connection for the door itself, JSON lines both ways. Frames from
 * the service with code 0, which no client uses, are for the door.
 */
export const DOOR_PROTOCOL = 1;

/** First line of a client's connection. */
export interface ClientHello {
  readonly kind: 'client';
  readonly protocol: number;
  readonly socket: string;
  readonly generation: number;
  readonly id: string;
  /** What the service asked to be told again after a restart: sealed, base64. */
  readonly records: readonly string[];
}
/** First line of the door's own connection. */
export interface DoorHello {
  readonly kind: 'door';
  readonly protocol: number;
  readonly pid: number;
}
export interface DoorSocket {
  readonly name: string;
  readonly path: string;
  /** Octal file mode. */
  readonly mode: number;
  readonly gid?: number;
}
/** First line of `aegis pkcs11 status`: answered with one line of JSON. */
export interface StatusHello {
  readonly kind: 'status';
  readonly protocol: number;
}
/** From the service to the door. */
export type DoorOrder =
  | { readonly order: 'listen'; readonly sockets: readonly DoorSocket[] }
  /** The service ends in order: the door ends too, as soon as nobody is connected. */
  | { readonly order: 'service-stopping' }
  | { readonly order: 'end' };
/** From the door to the service. */
export type DoorReport =
  | { readonly report: 'listening'; readonly paths: readonly string[] }
  | { readonly report: 'problem'; readonly path: string; readonly message: string }
  | { readonly report: 'clients'; readonly clients: number };

/** Control frames, by number in the options. */
export const CONTROL = {
  /** The service knows the connection; frames may come. */
  ready: 1,
  /** Keep this sealed record after the others. */
  remember: 2,
  /** Forget all records; the next ones say everything again. */
  reset: 3,
  /** The service ends: send nothing more, and say so by ending your side; what was sent too late comes back as `again`. */
  leaving: 7,
  /** The service ends and has not looked at this request, whose frame is the body: it is for the next start. */
  again: 6,
  /** Random bytes for one session (8 bytes handle, then the bytes), which the guard has given to it; for a second at most. */
  random: 5,
} as const;

export const toControl = (type: number, body: Uint8Array = new Uint8Array(0)): Buffer => {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + 4 + body.length);
  frame.writeUInt32BE(0, 0);
  frame.writeUInt32BE(4, 4);
  frame.writeUInt32BE(body.length, 8);
  frame.writeUInt32BE(type, FRAME_HEADER_BYTES);
  frame.set(body, FRAME_HEADER_BYTES + 4);
  return frame;
};
export const controlType = (frame: Buffer): number => (frame.length < FRAME_HEADER_BYTES + 4 ? 0 : frame.readUInt32BE(FRAME_HEADER_BYTES));

/** Longest first line, bytes: records of a client that knows many objects. */
export const MAX_HELLO_BYTES = 64 * 1024 * 1024;

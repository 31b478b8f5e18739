import { DEFAULT_LIMITS } from './item.js';
import { messageLength } from './read-ttlv.js';

const HEADER_BYTES = 8;
const FIRST_BYTES = 512;

/** Cuts a byte stream into messages. */
export type FrameReader = {
  /**
   * Takes the next bytes and gives the messages that are now whole, each a view of the chunk or of a buffer of its own.
   * @throws CodecError when what follows is not a message or is too large; the stream cannot be read further then
   */
  push(chunk: Uint8Array): Uint8Array[];
  /** Bytes of an unfinished message that are held. */
  readonly pendingBytes: number;
};

/**
 * A frame reader that holds at most one unfinished message of at most `maxBytes`. Its buffer grows with what has arrived, never with what a length field
 * announces, so that many connections that announce much and send little cost little.
 */
export function makeFrameReader(maxBytes: number = DEFAULT_LIMITS.maxBytes): FrameReader {
  let held = new Uint8Array(0);
  let used = 0;
  const hold = (bytes: Uint8Array): void => {
    if (used + bytes.length > held.length) {
      const grown = new Uint8Array(Math.max(FIRST_BYTES, held.length * 2, used + bytes.length));
      grown.set(held.subarray(0, used));
      held.fill(0);
      held = grown;
    }
    held.set(bytes, used);
    used += bytes.length;
  };
  /** Completes the held message from the chunk; gives the bytes taken. */
  const complete = (chunk: Uint8Array, messages: Uint8Array[]): number => {
    const header = Math.min(Math.max(HEADER_BYTES - used, 0), chunk.length);
    hold(chunk.subarray(0, header));
    const length = messageLength(held.subarray(0, used), maxBytes);
    if (length === undefined) return header;
    const body = Math.min(length - used, chunk.length - header);
    hold(chunk.subarray(header, header + body));
    if (used === length) {
      messages.push(held.subarray(0, length));
      held = new Uint8Array(0);
      used = 0;
    }
    return header + body;
  };
  return {
    get pendingBytes() {
      return used;
    },
    push(chunk) {
      const messages: Uint8Array[] = [];
      let at = 0;
      while (at < chunk.length) {
        const rest = chunk.subarray(at);
        const length = used === 0 ? messageLength(rest, maxBytes) : undefined;
        if (length !== undefined && length <= rest.length) {
          messages.push(rest.subarray(0, length));
          at += length;
        } else at += complete(rest, messages);
      }
      return messages;
    },
  };
}

import type { Fields } from '@aegis/kmip-ttlv';
import type { Credential } from '../../domain/index.js';
import type { KmipConnection } from './contract.js';
import { isRecognised } from './recognise.js';

// Clients poll what the server can do by the thousand, with the same bytes each time. While the guard's recognition of the connection's
// certificate is fresh, the answer is the one given before with the time of now; nothing of it depends on objects, tenants or earlier calls.

const MEMORY = 'repeated';
const MAX_REQUEST_BYTES = 1_024;
const MAX_ANSWER_BYTES = 8_192;
/** Of the header's Time Stamp: after the headers of message and header, and the Protocol Version of 40 bytes. */
const TIME_STAMP_AT = 56;
const TIME_STAMP = Buffer.from('4200920900000008', 'hex');

interface Kept {
  readonly request: Buffer;
  readonly answer: Uint8Array;
}
type Client = Pick<KmipConnection, 'memory'> & { credential(): Credential };

const repeatable = new WeakSet<Fields>();

/** Says of a response payload that every caller who is recognised gets the same. */
export const markRepeatable = (payload: Fields): void => void repeatable.add(payload);

/** The answer to a request whose very bytes were answered before on this connection; undefined when it is to be worked out. */
export function repeatedAnswer(request: Uint8Array, client: Client, now: number): Uint8Array | undefined {
  const kept = client.memory.get(MEMORY) as Kept | undefined;
  if (kept === undefined || kept.request.length !== request.length || !kept.request.equals(request)) return undefined;
  if (!isRecognised(client, client.credential(), now)) return undefined;
  const answer = kept.answer.slice();
  new DataView(answer.buffer).setBigInt64(TIME_STAMP_AT + TIME_STAMP.length, BigInt(Math.floor(now / 1_000)));
  return answer;
}

/** Keeps the answer to a request of one item without credentials of its own, where only the time in it will differ. */
export function keepAnswer(request: Uint8Array, answer: Uint8Array, payload: Fields | undefined, client: Client): void {
  if (payload === undefined || !repeatable.has(payload)) return;
  if (request.length > MAX_REQUEST_BYTES || answer.length > MAX_ANSWER_BYTES) return;
  if (!TIME_STAMP.equals(answer.subarray(TIME_STAMP_AT, TIME_STAMP_AT + TIME_STAMP.length))) return;
  // Both are overwritten once they are done with.
  client.memory.set(MEMORY, { request: Buffer.from(request), answer: answer.slice() } satisfies Kept);
}

import {
  type BatchItem,
  CodecError,
  childrenOf,
  compareVersions,
  type Fields,
  type Item,
  type KmipVersion,
  type Limits,
  liftMessage,
  type Message,
  protocolVersionOf,
  type RequestOptions,
  readMessage,
  requestOptions,
  structure,
  writeTtlv,
} from '@aegis/kmip-ttlv';
import { type Caller, type Credential, FaultError } from '../../domain/index.js';
import { type BatchContext, type BatchParts, failureFields, type RequestItem } from './batch.js';
import { type KmipConnection, KmipRefusal } from './contract.js';
import { credentialOf } from './credentials.js';
import { messageOf, reasonOf } from './faults.js';
import type { KmipLimits } from './limits.js';
import { keepAnswer, repeatedAnswer } from './repeated-answers.js';
import { runItems } from './run-items.js';
import { answerVersion, type Encoding, readItem, refusalMessage, salvageVersion, writeItem, writeResponse } from './wire.js';

/** One client on one connection, as the exchange sees it. */
export interface KmipSession extends KmipConnection {
  readonly source: string;
  /** What the connection proves at this moment: its certificate, or nothing. */
  credential(): Credential;
  nextRequestId(): string;
}

export interface ExchangeParts extends BatchParts {
  readonly limits: KmipLimits;
  readonly clock?: () => number;
  /** Tags and types of every message, never values; for `aegis kmip trace`. */
  readonly trace?: (direction: 'request' | 'response', item: Item) => void;
}

/** The answer's bytes; undefined when nothing in the input can be answered and the connection is to be closed. */
export type Exchange = (
  bytes: Uint8Array,
  encoding: Encoding,
  session: KmipSession,
  signal?: AbortSignal,
) => Promise<Uint8Array | undefined>;

export function makeExchange(parts: ExchangeParts): Exchange {
  const limits: Limits = { maxBytes: parts.limits.messageBytes, maxDepth: parts.limits.depth, maxItems: parts.limits.items };
  const offered = parts.plane.versions;
  const clock = parts.clock ?? Date.now;

  // The Client Correlation Value stays with the request; only responses of clients to servers carry it (KMIP 2.1 §9.9).
  const header = (now: number): Fields => ({ TimeStamp: BigInt(Math.floor(now / 1_000)) });
  const send = (message: Message, encoding: Encoding): Uint8Array => {
    const item = writeResponse(message);
    parts.trace?.('response', item);
    return writeItem(item, encoding);
  };
  const refuseAll = (version: KmipVersion, reason: string, text: string, encoding: Encoding): Uint8Array =>
    send(refusalMessage(version, header(clock()), reason, text), encoding);

  return async (bytes, encoding, session, signal) => {
    const startedAt = performance.now();
    const again = encoding === 'ttlv' && parts.trace === undefined ? repeatedAnswer(bytes, session, clock()) : undefined;
    if (again !== undefined) {
      parts.onItem?.('Query', 'success', performance.now() - startedAt);
      return again;
    }
    let tree: Item;
    try {
      tree = readItem(bytes, encoding, limits);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      const asked = encoding === 'ttlv' ? salvageVersion(bytes, limits) : undefined;
      if (asked === undefined) return undefined;
      return refuseAll(answerVersion(asked, offered), 'InvalidMessage', `The message cannot be read: ${error.reason}.`, encoding);
    }
    parts.trace?.('request', tree);
    const asked = protocolVersionOf(tree);
    if (asked === undefined) return undefined;
    const version = answerVersion(asked, offered);
    if (version !== `${asked.major}.${asked.minor}`)
      return refuseAll(version, 'UnsupportedProtocolVersion', 'The server does not speak this protocol version.', encoding);
    let request: { message: Message; items: readonly RequestItem[] };
    try {
      request = readItems(tree);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      return refuseAll(version, 'InvalidMessage', `${error.path}: ${error.reason}`, encoding);
    }
    const { message, items } = request;
    const options = requestOptions(message);
    const now = clock();
    const requestId = session.nextRequestId();
    // "SHOULD be provided by the server" (KMIP 2.1 §9.10); PyKMIP, which speaks the versions before, cannot read a response that has one.
    const answerHeader: Fields = {
      ...header(now),
      ...(compareVersions(version, '2.1') < 0 ? {} : { ServerCorrelationValue: requestId }),
    };
    let answered: readonly BatchItem[];
    try {
      checkHeader(message, items, parts.limits);
      const caller: Caller = {
        plane: 'kmip',
        credential: credentialOf(session.credential(), options, parts.plane.tickets),
        requestId,
        source: session.source,
        ...(signal === undefined ? {} : { signal }),
      };
      const context: BatchContext = { version, options, caller, connection: session, now };
      answered = await runItems(parts, context, items);
      Object.assign(answerHeader, await serverProof(parts, options, caller));
    } catch (error) {
      answered = [{ fields: refusedFields(error, version) }];
    }
    const answer = sized({ kind: 'response', version, header: answerHeader, items: answered }, options, items, encoding, send, parts);
    const single = items.length === 1 && options.credentials.length === 0 && answerHeader['ServerCorrelationValue'] === undefined;
    if (encoding === 'ttlv' && single) keepAnswer(bytes, answer, answered[0]?.payload, session);
    return answer;
  };
}

/** A client that proved itself with a hashed password is proved to that the server knows it too (KMIP 2.1 §8.2). */
async function serverProof(parts: ExchangeParts, options: RequestOptions, caller: Caller): Promise<Fields> {
  if (!options.credentials.some((one) => one['CredentialType'] === 'HashedPassword')) return {};
  const who = await parts.service('whoami', {}, caller);
  return who.ok && who.value.serverProof !== undefined ? { ServerHashedPassword: who.value.serverProof } : {};
}

/** A refusal of the request as a whole. @throws anything that is none */
function refusedFields(error: unknown, version: KmipVersion): Fields {
  if (error instanceof KmipRefusal) return failureFields(error.status, error.reason, error.message);
  if (error instanceof FaultError)
    return failureFields('OperationFailed', reasonOf(error.fault.code, undefined, version), messageOf(error.fault));
  throw error;
}

/** Reads the message, or, where an item is malformed, the others one by one, so that each is answered by itself. */
function readItems(tree: Item): { message: Message; items: readonly RequestItem[] } {
  try {
    const message = liftMessage(readMessage(tree));
    if (message.kind !== 'request') throw new CodecError('BadMessage', 'not a request');
    return { message, items: message.items };
  } catch (error) {
    if (!(error instanceof CodecError) || !error.path.startsWith('RequestMessage/BatchItem')) throw error;
  }
  const [head, ...rest] = childrenOf(tree);
  const message = liftMessage(readMessage(structure(tree.tag, [head as Item])));
  const items = rest.map((item): RequestItem => {
    try {
      return liftMessage(readMessage(structure(tree.tag, [head as Item, item]))).items[0] as RequestItem;
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      return { ...partsOf(tree, head as Item, item), unreadable: error };
    }
  });
  return { message, items };
}

/** Operation and id of an item whose payload cannot be read, so that its refusal still names them. */
function partsOf(tree: Item, head: Item, item: Item): RequestItem {
  const kept = childrenOf(item).filter((child) => child.tag === OPERATION || child.tag === UNIQUE_BATCH_ITEM_ID);
  try {
    const bare = readMessage(structure(tree.tag, [head, structure(item.tag, kept)]), { lax: true }).items[0];
    return {
      fields: {},
      ...(bare?.operation === undefined ? {} : { operation: bare.operation }),
      ...(bare?.id === undefined ? {} : { id: bare.id }),
    };
  } catch {
    return { fields: {} };
  }
}
const OPERATION = 0x42005c;
const UNIQUE_BATCH_ITEM_ID = 0x420093;

function checkHeader(message: Message, items: readonly RequestItem[], limits: KmipLimits): void {
  const count = message.header['BatchCount'];
  if (count !== undefined && count !== items.length)
    throw new KmipRefusal('InvalidMessage', `Batch Count is not the number of batch items, which is ${items.length}.`);
  if (items.length === 0) throw new KmipRefusal('InvalidMessage', 'The request has no batch item.');
  if (items.length > limits.batchItems)
    throw new KmipRefusal('ServerLimitExceeded', `A request has at most ${limits.batchItems} batch items.`);
}

/** Maximum Response Size counts the TTLV form whatever the encoding (server-notes 4); what is larger is answered Response Too Large. */
function sized(
  message: Message,
  options: RequestOptions,
  items: readonly RequestItem[],
  encoding: Encoding,
  send: (message: Message, encoding: Encoding) => Uint8Array,
  parts: ExchangeParts,
): Uint8Array {
  const limit = options.maximumResponseSizeBytes;
  const tooLarge = (): Uint8Array => {
    const [first] = items;
    const item: BatchItem = {
      ...(first?.operation === undefined ? {} : { operation: first.operation }),
      ...(first?.id === undefined ? {} : { id: first.id }),
      fields: failureFields('OperationFailed', 'ResponseTooLarge', 'The response is larger than Maximum Response Size.'),
    };
    return send({ ...message, items: [item] }, encoding);
  };
  if (limit === undefined) return write(message, items, encoding, send, parts);
  if (encoding === 'ttlv') {
    const bytes = write(message, items, encoding, send, parts);
    return bytes.length <= limit ? bytes : tooLarge();
  }
  return writeTtlv(writeResponse(message)).length <= limit ? write(message, items, encoding, send, parts) : tooLarge();
}

/** Writes the response; an item whose payload the version cannot express fails alone. */
function write(
  message: Message,
  items: readonly RequestItem[],
  encoding: Encoding,
  send: (message: Message, encoding: Encoding) => Uint8Array,
  parts: ExchangeParts,
): Uint8Array {
  try {
    return send(message, encoding);
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    parts.onProblem('response', error);
  }
  const writable = message.items.map((item, i) => {
    try {
      writeResponse({ ...message, items: [item] });
      return item;
    } catch {
      const operation = items[i]?.operation;
      return {
        ...(operation === undefined ? {} : { operation }),
        ...(item.id === undefined ? {} : { id: item.id }),
        fields: failureFields('OperationFailed', 'GeneralFailure', 'The answer has no form in this protocol version.'),
      };
    }
  });
  return send({ ...message, items: writable }, encoding);
}

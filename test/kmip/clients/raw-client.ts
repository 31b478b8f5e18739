import { connect, type TLSSocket } from 'node:tls';
import {
  childOf,
  childrenOf,
  enumerationOfTag,
  enumerationValue,
  type Item,
  ItemType,
  type KmipVersion,
  knownTag,
  makeFrameReader,
  readMessage,
  readTtlv,
  showTag,
  type TagName,
  versionNumbers,
  writeMessage,
  writeTtlv,
} from '@aegis/kmip-ttlv';
import { expect } from 'vitest';
import type { KmipTarget, KmipUser } from '../kmip-target.js';

// Messages exactly as a product sends them: items written one by one, in its order, with its quirks, past every convenience of our own client.

export const struct = (tag: TagName, ...value: readonly (Item | undefined)[]): Item => ({
  tag: knownTag(tag),
  type: ItemType.Structure,
  value: value.filter((item) => item !== undefined),
});
export const int = (tag: TagName, value: number): Item => ({ tag: knownTag(tag), type: ItemType.Integer, value });
export const text = (tag: TagName, value: string): Item => ({ tag: knownTag(tag), type: ItemType.TextString, value });
export const bytes = (tag: TagName, value: Uint8Array): Item => ({ tag: knownTag(tag), type: ItemType.ByteString, value });
export const bool = (tag: TagName, value: boolean): Item => ({ tag: knownTag(tag), type: ItemType.Boolean, value });
export const date = (tag: TagName, seconds: number): Item => ({ tag: knownTag(tag), type: ItemType.DateTime, value: BigInt(seconds) });
/** An enumeration by its name, or by the number a client sends. */
export const choice = (tag: TagName, name: string | number): Item => ({
  tag: knownTag(tag),
  type: ItemType.Enumeration,
  value: typeof name === 'number' ? name : valueNamed(tag, name),
});
function valueNamed(tag: TagName, name: string): number {
  const enumeration = enumerationOfTag(knownTag(tag));
  const value = enumeration === undefined ? undefined : enumerationValue(enumeration.name, name);
  if (value === undefined) throw new Error(`${tag} has no value ${name}`);
  return value;
}

/** A 1.x attribute; `index` is written before the value, as the standard's order is. */
export const attribute = (name: string, value: Item | readonly Item[] | undefined, index?: number): Item =>
  struct(
    'Attribute',
    text('AttributeName', name),
    index === undefined ? undefined : int('AttributeIndex', index),
    value === undefined
      ? undefined
      : Array.isArray(value)
        ? struct('AttributeValue', ...value)
        : { ...(value as Item), tag: knownTag('AttributeValue') },
  );
export const name = (value: string, index?: number): Item =>
  attribute('Name', [text('NameValue', value), choice('NameType', 'UninterpretedTextString')], index);
export const aes = (bits: number, mask?: number, index?: number): Item[] => [
  attribute('Cryptographic Algorithm', choice('CryptographicAlgorithm', 'AES'), index),
  attribute('Cryptographic Length', int('CryptographicLength', bits), index),
  ...(mask === undefined ? [] : [attribute('Cryptographic Usage Mask', int('CryptographicUsageMask', mask), index)]),
];
export const id = (value: string): Item => text('UniqueIdentifier', value);

interface RawBatchItem {
  readonly operation: string;
  readonly id?: Uint8Array;
  readonly payload: readonly Item[];
}
export interface RawRequest {
  readonly version: KmipVersion;
  /** Header fields between the protocol version and the batch count, in the client's order. */
  readonly header?: readonly Item[];
  readonly items: readonly RawBatchItem[];
}

export function toRequest({ version, header = [], items }: RawRequest): Item {
  const { major, minor } = versionNumbers(version);
  return struct(
    'RequestMessage',
    struct(
      'RequestHeader',
      struct('ProtocolVersion', int('ProtocolVersionMajor', major), int('ProtocolVersionMinor', minor)),
      ...header,
      int('BatchCount', items.length),
    ),
    ...items.map((item) =>
      struct(
        'BatchItem',
        choice('Operation', item.operation),
        item.id === undefined ? undefined : bytes('UniqueBatchItemID', item.id),
        struct('RequestPayload', ...item.payload),
      ),
    ),
  );
}

/** One answered batch item. */
export interface RawResult {
  readonly operation: string | number | undefined;
  readonly status: string;
  readonly reason: string | undefined;
  readonly id: string | undefined;
  readonly payload: Item;
  readonly bytes: number;
}

/** A connection that sends raw requests, and holds every answer against the tables of the request's version. */
export class RawClient {
  readonly socket: TLSSocket;
  private readonly answers: Uint8Array[] = [];
  private closed = false;
  private wake: () => void = () => undefined;

  private constructor(socket: TLSSocket) {
    this.socket = socket;
    const frames = makeFrameReader(1 << 20);
    socket.on('data', (chunk: Buffer) => {
      this.answers.push(...frames.push(chunk).map((one) => one.slice()));
      this.wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
      this.wake();
    });
  }

  static open(target: KmipTarget, user: KmipUser | { cert: string; key: string } = 'alice', more: object = {}): Promise<RawClient> {
    const identity = typeof user === 'string' ? target.tls(user) : { ...user, ca: target.authority.cert };
    return new Promise((resolve, reject) => {
      const socket = connect({ host: target.host, port: target.port, servername: 'localhost', ...identity, ...more }, () =>
        resolve(new RawClient(socket)),
      );
      socket.once('error', reject);
    });
  }

  send(...requests: readonly RawRequest[]): void {
    this.socket.write(Buffer.concat(requests.map((one) => writeTtlv(toRequest(one)))));
  }

  /** The next answer. It must be what the version's tables say, in their order, with nothing newer in it. */
  async receive(version: KmipVersion, timeoutMs = 20_000): Promise<RawResult[]> {
    const deadline = Date.now() + timeoutMs;
    while (this.answers.length === 0 && !this.closed && Date.now() < deadline)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, deadline - Date.now());
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    const answer = this.answers.shift();
    if (answer === undefined) throw new Error(this.closed ? 'the server closed the connection' : `no answer within ${timeoutMs} ms`);
    return readResults(answer, version);
  }

  async ask(request: RawRequest): Promise<RawResult[]> {
    this.send(request);
    return this.receive(request.version);
  }

  /** One operation that must succeed; its response payload. */
  async must(version: KmipVersion, operation: string, payload: readonly Item[], header: readonly Item[] = []): Promise<Item> {
    const [result] = await this.ask({ version, header, items: [{ operation, payload }] });
    expect(result, `${operation} ${version}`).toMatchObject({ status: 'Success', operation });
    return (result as RawResult).payload;
  }

  /** One operation that must fail; its Result Reason. */
  async refused(
    version: KmipVersion,
    operation: string,
    payload: readonly Item[],
    header: readonly Item[] = [],
  ): Promise<string | undefined> {
    const [result] = await this.ask({ version, header, items: [{ operation, payload }] });
    expect(result?.status, `${operation} ${version}`).toBe('OperationFailed');
    return result?.reason;
  }

  close(): void {
    this.socket.destroy();
  }
}

/** An answer read strictly as the version it answers in. */
export function readResults(answer: Uint8Array, version: KmipVersion): RawResult[] {
  const item = readTtlv(answer);
  const message = readMessage(item, { strict: true });
  expect(message.version).toBe(version);
  expect(writeMessage(message), 'the answer has only what its version has, in the order of the standard').toEqual(item);
  expect(message.header.BatchCount ?? message.items.length).toBe(message.items.length);
  const batch = childrenOf(item).filter((child) => child.tag === knownTag('BatchItem'));
  return message.items.map((one, i) => ({
    operation: one.operation,
    status: String(one.fields.ResultStatus),
    reason: one.fields.ResultReason === undefined ? undefined : String(one.fields.ResultReason),
    id: one.id === undefined ? undefined : Buffer.from(one.id).toString('hex'),
    payload: childOf(batch[i] as Item, knownTag('ResponsePayload')) ?? struct('ResponsePayload'),
    bytes: answer.length,
  }));
}

/** The value below a path of tags; undefined where something on the way is missing. */
export function at(item: Item, ...path: readonly TagName[]): Item['value'] | undefined {
  let here: Item | undefined = item;
  for (const tag of path) here = here === undefined ? undefined : childOf(here, knownTag(tag));
  return here?.value;
}
export const all = (item: Item, tag: TagName): Item[] => childrenOf(item).filter((child) => child.tag === knownTag(tag));
export const idOf = (payload: Item): string => {
  const value = at(payload, 'UniqueIdentifier');
  expect(typeof value).toBe('string');
  // Nothing a client keeps in a fixed field: 36 characters are safe everywhere.
  expect((value as string).length).toBeLessThanOrEqual(36);
  return value as string;
};
export const idsOf = (payload: Item): string[] => all(payload, 'UniqueIdentifier').map((item) => item.value as string);
/** The value of a 1.x attribute in a response, its inner items as an object of tag names. */
export function attributeIn(payload: Item, wanted: string): unknown {
  const found = all(payload, 'Attribute').find((item) => at(item, 'AttributeName') === wanted);
  const value = found === undefined ? undefined : childOf(found, knownTag('AttributeValue'));
  if (value === undefined) return undefined;
  return value.type === ItemType.Structure
    ? Object.fromEntries(childrenOf(value).map((item) => [showTag(item.tag), item.value]))
    : value.value;
}
export const now = (): number => Math.floor(Date.now() / 1000);

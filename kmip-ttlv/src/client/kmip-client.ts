import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { liftMessage } from '../era/lift.js';
import { lowerMessage } from '../era/lower.js';
import { readMessage } from '../message/read-message.js';
import type { Fields, Message, OperationName, RequestPayload, ResponsePayload } from '../message/value.js';
import { writeMessage } from '../message/write-message.js';
import type { KmipVersion } from '../spec/versions.js';
import { CodecError } from '../tree/codec-error.js';
import { makeFrameReader } from '../tree/frame-reader.js';
import { DEFAULT_LIMITS, type Limits } from '../tree/item.js';
import { readTtlv } from '../tree/read-ttlv.js';
import { writeTtlv } from '../tree/write-ttlv.js';

const KMIP_PORT = 5696;
const TIMEOUT_MS = 30_000;

export type KmipClientOptions = {
  readonly host: string;
  /** 5696 unless given. */
  readonly port?: number;
  /** The protocol version of the requests; 2.1 unless given. */
  readonly version?: KmipVersion;
  /** `ca`, `cert` and `key` in PEM for mutual TLS, and what else Node's tls.connect takes. The server's certificate is verified unless this says otherwise. */
  readonly tls: ConnectionOptions;
  /** How long connecting and each request may take; 30,000 unless given. A request that takes longer closes the connection, as answers come in order. */
  readonly timeoutMs?: number;
  readonly limits?: Limits;
  /** Header fields of every request, such as Authentication or Maximum Response Size. */
  readonly header?: Fields;
};

/** One item of a batch: the operation and its payload in the neutral form (the field names of 2.x, in every version). */
export type BatchRequest = { [O in OperationName]: { readonly operation: O; readonly payload: RequestPayload<O> } }[OperationName];
/** What the server answered to one item. */
export type BatchResult = {
  readonly operation: string | number | undefined;
  readonly status: string | number;
  readonly reason?: string | number | undefined;
  readonly message?: string | undefined;
  readonly payload: Fields;
};

/** A server's refusal of an operation. */
export class KmipRefusal extends Error {
  override readonly name = 'KmipRefusal';
  readonly operation: string;
  /** Result Status: `OperationFailed`, `OperationPending` or `OperationUndone`. */
  readonly status: string | number;
  /** Result Reason, such as `ItemNotFound`. */
  readonly reason: string | number | undefined;
  constructor(operation: string, result: BatchResult) {
    super(`${operation}: ${result.reason ?? result.status}${result.message === undefined ? '' : ` (${result.message})`}`);
    this.operation = operation;
    this.status = result.status;
    this.reason = result.reason;
  }
}

type Waiting = { resolve(bytes: Uint8Array): void; reject(error: Error): void; timer: NodeJS.Timeout };

/** One connection to a KMIP server. Requests may be sent without waiting for earlier answers; answers come in order. */
export class KmipClient {
  readonly version: KmipVersion;
  private readonly socket: TLSSocket;
  private readonly options: KmipClientOptions;
  private readonly waiting: Waiting[] = [];
  private failure: Error | undefined;

  private constructor(socket: TLSSocket, options: KmipClientOptions) {
    this.version = options.version ?? '2.1';
    this.socket = socket;
    this.options = options;
    const frames = makeFrameReader(options.limits?.maxBytes ?? DEFAULT_LIMITS.maxBytes);
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const message of frames.push(chunk)) this.answer(message);
      } catch (error) {
        this.fail(error as Error);
      }
    });
    socket.on('error', (error) => this.fail(error));
    socket.on('close', () => this.fail(new Error('the server closed the connection')));
  }

  /** Connects and finishes the TLS handshake. */
  static connect(options: KmipClientOptions): Promise<KmipClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port: options.port ?? KMIP_PORT, host: options.host, ...options.tls });
      const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
      const timer = setTimeout(() => socket.destroy(new Error(`no TLS connection to ${options.host} within ${timeoutMs} ms`)), timeoutMs);
      const refused = (error: Error): void => {
        clearTimeout(timer);
        reject(error);
      };
      socket.once('error', refused);
      socket.once('secureConnect', () => {
        clearTimeout(timer);
        socket.off('error', refused);
        socket.setNoDelay(true);
        resolve(new KmipClient(socket, options));
      });
    });
  }

  /**
   * One operation; payloads are in the neutral form.
   * @throws KmipRefusal when the server refuses
   */
  async request<O extends OperationName>(operation: O, payload: RequestPayload<O>): Promise<ResponsePayload<O>> {
    const [result] = await this.batch([{ operation, payload } as BatchRequest]);
    if (result === undefined) throw new CodecError('BadMessage', 'the response has no item', 'ResponseMessage');
    if (result.status !== 'Success') throw new KmipRefusal(operation, result);
    return result.payload as ResponsePayload<O>;
  }

  /** Several operations in one message. A refusal of one is a result, not an error. */
  async batch(items: readonly BatchRequest[], header: Fields = {}): Promise<BatchResult[]> {
    const many = items.length > 1;
    const response = await this.send({
      kind: 'request',
      version: this.version,
      header: { ...this.options.header, ...header },
      items: items.map(({ operation, payload }, i) => ({
        operation,
        payload: payload as Fields,
        fields: {},
        // Required when there is more than one item (KMIP 1.4 §6.4).
        ...(many ? { id: Uint8Array.of(i >>> 8, i & 0xff) } : {}),
      })),
    });
    return response.items.map((item) => ({
      operation: item.operation,
      status: item.fields['ResultStatus'] as string | number,
      reason: item.fields['ResultReason'] as string | number | undefined,
      message: item.fields['ResultMessage'] as string | undefined,
      payload: item.payload ?? {},
    }));
  }

  /** The versions that the server speaks and this package knows how to write, the server's favourite first. */
  async discoverVersions(): Promise<string[]> {
    const response = await this.request('DiscoverVersions', {});
    return (response.ProtocolVersion ?? []).map((one) => `${one.ProtocolVersionMajor}.${one.ProtocolVersionMinor}`);
  }

  /** Sends a neutral message and gives the neutral response. */
  async send(message: Message): Promise<Message> {
    const bytes = await this.exchange(writeTtlv(writeMessage(lowerMessage(message))));
    return liftMessage(readMessage(readTtlv(bytes, this.options.limits)));
  }

  /** Sends the bytes of one message and gives the bytes of its answer. */
  exchange(bytes: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.failure !== undefined) {
        reject(this.failure);
        return;
      }
      const timeoutMs = this.options.timeoutMs ?? TIMEOUT_MS;
      const timer = setTimeout(() => this.fail(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
      this.waiting.push({ resolve, reject, timer });
      this.socket.write(bytes);
    });
  }

  /** Ends the connection; requests still waiting are rejected. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.socket.destroyed) {
        resolve();
        return;
      }
      this.socket.once('close', () => resolve());
      this.socket.end();
    });
  }

  private answer(message: Uint8Array): void {
    const next = this.waiting.shift();
    if (next === undefined) throw new CodecError('BadMessage', 'the server sent a message that nobody asked for');
    clearTimeout(next.timer);
    next.resolve(message);
  }

  private fail(error: Error): void {
    this.failure ??= error;
    this.socket.destroy();
    for (const one of this.waiting.splice(0)) {
      clearTimeout(one.timer);
      one.reject(this.failure);
    }
  }
}

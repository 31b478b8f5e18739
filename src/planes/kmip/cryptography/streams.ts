import type { MultiPartKind, OperationRequest } from '../../../domain/index.js';
import { type Fields, type KmipCall, refuse } from '../contract.js';
import { bytesOf, flagOf } from './payload-fields.js';

// Streams of data by Correlation Value, Init Indicator and Final Indicator (KMIP 1.3 §4.29, 2.1 §6.1.17): the key service's multi-part
// operations. A Correlation Value is the operation's id: unguessable, the caller's own, expiring, one of a bounded number.

/** What a request says about the stream it belongs to; nothing for a single-part request. */
export interface Part {
  readonly first: boolean;
  readonly last: boolean;
  /** The operation that this part continues; absent on the first. */
  readonly operation?: string;
}

/** Longest Correlation Value read, bytes; ours have 24. */
const MAX_CORRELATION_BYTES = 64;

/** @throws KmipRefusal */
export const partOf = (payload: Fields): Part | undefined => {
  const correlation = bytesOf(payload, 'CorrelationValue');
  const first = flagOf(payload, 'InitIndicator');
  const last = flagOf(payload, 'FinalIndicator');
  if (correlation === undefined) return first ? { first, last } : undefined;
  if (first) throw refuse('InvalidField', 'An initial part has no Correlation Value: the server chooses it.');
  if (correlation.length === 0 || correlation.length > MAX_CORRELATION_BYTES) throw refuse('InvalidCorrelationValue', 'No such stream.');
  return { first, last, operation: Buffer.from(correlation).toString('latin1') };
};

export interface PartResult {
  readonly output: Uint8Array;
  /** Key of the stream, where it has one. */
  readonly objectId?: string;
  readonly iv?: Uint8Array;
  readonly tag?: Uint8Array;
  readonly valid?: boolean;
  /** To be sent with the next part; absent on the last. */
  readonly CorrelationValue?: Uint8Array;
}

interface Run {
  readonly kind: MultiPartKind;
  /** The key that the request names: a part may not continue a stream of another one. */
  readonly key?: string;
  readonly data: Uint8Array | undefined;
  /** Signature, MAC or tag to check; it may come with any part. */
  readonly signature?: Uint8Array;
  readonly begin: () => Promise<{ readonly operation: string; readonly iv?: Uint8Array; readonly objectId?: string }>;
}

const EMPTY = new Uint8Array();

/** Runs one part of a stream. */
export const runPart = async (call: KmipCall, part: Part, run: Run): Promise<PartResult> => {
  const begun = part.operation === undefined ? await run.begin() : undefined;
  const operation = begun?.operation ?? part.operation ?? '';
  const expected: Pick<OperationRequest<'update-operation'>, 'kind' | 'key'> = {
    kind: run.kind,
    ...(run.key === undefined ? {} : { key: run.key }),
  };
  const iv = begun?.iv === undefined ? {} : { iv: begun.iv };
  const { data, signature } = run;
  if (part.last) {
    const made = await call.call('finish-operation', {
      operation,
      ...expected,
      ...(data === undefined ? {} : { data }),
      ...(signature === undefined ? {} : { signature }),
    });
    return { ...iv, ...made };
  }
  const CorrelationValue = Buffer.from(operation, 'latin1');
  const owner = begun?.objectId === undefined ? {} : { objectId: begun.objectId };
  if (begun !== undefined && (data === undefined || data.length === 0)) return { output: EMPTY, ...owner, ...iv, CorrelationValue };
  const made = await call.call('update-operation', {
    operation,
    ...expected,
    data: data ?? EMPTY,
    // The first part's went with `begin`.
    ...(signature === undefined || begun !== undefined ? {} : { signature }),
  });
  return { ...made, ...iv, CorrelationValue };
};

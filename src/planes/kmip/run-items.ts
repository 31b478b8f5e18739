import type { BatchItem } from '@aegis/kmip-ttlv';
import { FaultError } from '../../domain/index.js';
import { Batch, type BatchContext, type BatchParts, failureFields, type RequestItem } from './batch.js';

// Whether the items of a request are answered now or later (KMIP 1.4 §6.7, 2.1 §9.2).

/** Operations about asynchronous requests are never asynchronous themselves, nor what only asks what the server can. */
const ALWAYS_NOW: ReadonlySet<string> = new Set([
  ...['Poll', 'Cancel', 'Process', 'QueryAsynchronousRequests', 'Query', 'DiscoverVersions', 'Ping', 'Login', 'DelegatedLogin'],
  ...['Logout', 'SetEndpointRole', 'Interop'],
]);
/** A client that can wait is answered at once when the answer is there within this time. */
const PATIENCE_MS = 2_000;
const LATER = Symbol('later');

const mayWait = (items: readonly RequestItem[]): boolean =>
  items.every((item) => typeof item.operation === 'string' && item.unreadable === undefined && !ALWAYS_NOW.has(item.operation));

/** Runs a request's items: synchronously, or in the background where the client insists, or may wait and it takes long. */
export async function runItems(parts: BatchParts, context: BatchContext, given: readonly RequestItem[]): Promise<readonly BatchItem[]> {
  const { asynchronous } = context.options;
  if (asynchronous === 'Prohibited' || !mayWait(given)) return new Batch(parts, context, given.length).run(given);
  // The bytes of the request are overwritten once it is answered.
  const items = structuredClone(given);
  // The connection may be gone when the work is done.
  const { signal: _, ...caller } = context.caller;
  const detached = { ...context, caller };
  if (asynchronous === 'Mandatory') return submit(parts, context, items, () => new Batch(parts, detached, items.length).run(items));
  const running = new Batch(parts, detached, items.length).run(items);
  const first = await Promise.race([running, new Promise<typeof LATER>((resolve) => setTimeout(resolve, PATIENCE_MS, LATER).unref())]);
  return first === LATER ? submit(parts, context, items, () => running) : first;
}

/** Puts the request in line; the items are answered with Operation Pending. */
async function submit(
  parts: BatchParts,
  context: BatchContext,
  items: readonly RequestItem[],
  run: () => Promise<readonly BatchItem[]>,
): Promise<BatchItem[]> {
  const who = await parts.service('whoami', {}, context.caller);
  if (!who.ok) throw new FaultError(who.fault);
  const { principal } = who.value;
  let answers: Promise<readonly BatchItem[]> | undefined;
  const answerOf = async (index: number): Promise<BatchItem> => {
    answers ??= run();
    const answer = (await answers)[index];
    return (
      answer ?? {
        fields: failureFields('OperationFailed', 'GeneralFailure', 'An earlier item of the batch failed; this one was not processed.'),
      }
    );
  };
  const correlations = parts.plane.asynchronous.submit(
    `${principal.tenant}/${principal.id}`,
    items.map((item) => String(item.operation)),
    answerOf,
  );
  return items.map((item, i) => ({
    ...(item.operation === undefined ? {} : { operation: item.operation }),
    ...(item.id === undefined ? {} : { id: item.id }),
    fields: { ResultStatus: 'OperationPending', AsynchronousCorrelationValue: correlations[i] as Uint8Array },
  }));
}

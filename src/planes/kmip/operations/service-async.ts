import type { BatchItem, Fields } from '@aegis/kmip-ttlv';
import { type KmipCall, type KmipHandler, KmipOutcome, refuse } from '../contract.js';

// Poll, Cancel, Process and Query Asynchronous Requests. A request belongs to the principal that made it.

/** Who an asynchronous request belongs to. */
async function ownerOf(call: Pick<KmipCall, 'call'>): Promise<string> {
  const { principal } = await call.call('whoami', {});
  return `${principal.tenant}/${principal.id}`;
}

const correlationOf = (payload: Fields): Uint8Array => payload['AsynchronousCorrelationValue'] as Uint8Array;
const unknownRequest = () => refuse('InvalidAsynchronousCorrelationValue', 'No such asynchronous request.');

const pending = (operation: string, correlation: Uint8Array): BatchItem => ({
  operation,
  fields: { ResultStatus: 'OperationPending', AsynchronousCorrelationValue: correlation },
});

/** "This response SHALL be identical to the response that would have been sent if the operation had completed synchronously." */
const poll: KmipHandler = async (payload, call) => {
  const owner = await ownerOf(call);
  const correlation = correlationOf(payload);
  const found = call.plane.asynchronous.find(owner, correlation);
  if (found === undefined) throw unknownRequest();
  if (found.answer === undefined) throw new KmipOutcome(pending(found.operation, found.correlation));
  call.plane.asynchronous.obtained(owner, correlation);
  throw new KmipOutcome(found.answer.operation === undefined ? { ...found.answer, operation: found.operation } : found.answer);
};

const cancel: KmipHandler = async (payload, call) => {
  const correlation = correlationOf(payload);
  const result = call.plane.asynchronous.cancel(await ownerOf(call), correlation);
  return { AsynchronousCorrelationValue: Uint8Array.from(correlation), CancellationResult: result };
};

/** KMIP 2.1 §6.1.39: the next Poll is not answered with Pending. */
const process: KmipHandler = async (payload, call) => {
  const owner = await ownerOf(call);
  const correlation = correlationOf(payload);
  if (call.plane.asynchronous.find(owner, correlation) === undefined) throw unknownRequest();
  await call.plane.asynchronous.completed(owner, correlation);
  return {};
};

const queryAsynchronousRequests: KmipHandler = async (payload, call) => {
  const owner = await ownerOf(call);
  const values = (payload['AsynchronousCorrelationValues'] as Fields | undefined)?.['AsynchronousCorrelationValue'] as
    | readonly Uint8Array[]
    | undefined;
  const operations = (payload['Operations'] as Fields | undefined)?.['Operation'] as readonly string[] | undefined;
  const found = call.plane.asynchronous
    .list(owner)
    .filter((one) => values === undefined || values.some((value) => Buffer.compare(value, one.correlation) === 0))
    .filter((one) => operations === undefined || operations.includes(one.operation));
  return {
    AsynchronousRequest: found.map((one) => ({
      AsynchronousCorrelationValue: one.correlation,
      Operation: one.operation,
      // Date Time Extended: microseconds.
      SubmissionDate: BigInt(one.submittedAt) * 1_000n,
      ProcessingStage: one.stage,
    })),
  };
};

export const ASYNC_HANDLERS: Readonly<Record<string, KmipHandler>> = {
  Poll: poll,
  Cancel: cancel,
  Process: process,
  QueryAsynchronousRequests: queryAsynchronousRequests,
};

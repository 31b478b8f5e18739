import {
  type BatchItem,
  CodecError,
  type Fields,
  type KmipVersion,
  livesIn,
  type OperationName,
  operationRow,
  type RequestOptions,
  reasonIn,
  type Value,
} from '@aegis/kmip-ttlv';
import { type Caller, FaultError, type GuardedService } from '../../domain/index.js';
import { type KmipCall, type KmipConnection, KmipOutcome, type KmipPlane, KmipRefusal, type KmipSettings, refuse } from './contract.js';
import { messageOf, reasonOf } from './faults.js';
import { dataOf, type ItemTrace, identifiersOf, placeholderAfter, resolveIdentifiers } from './placeholder.js';
import { makeUndo, type Undo } from './undo.js';

/** What runs a batch, whatever wire brought it. */
export interface BatchParts {
  readonly service: GuardedService;
  readonly plane: KmipPlane;
  readonly settings: KmipSettings;
  /** Rewrites a payload before its handler sees it (Set Defaults), or refuses it (Set Constraints). */
  readonly prepare?: (payload: Fields, call: KmipCall) => Promise<Fields>;
  /** Errors nobody else sees; never holds values. */
  readonly onProblem: (operation: string, error: unknown) => void;
  readonly onItem?: (operation: string, outcome: string, durationMs: number) => void;
}

/** One request's facts that every item of it shares. */
export interface BatchContext {
  readonly version: KmipVersion;
  readonly options: RequestOptions;
  readonly caller: Caller;
  readonly connection: KmipConnection;
  readonly now: number;
}

/** A request item as it was read, or why it could not be. */
export interface RequestItem extends BatchItem {
  readonly unreadable?: CodecError;
}

export interface ItemAnswer {
  readonly item: BatchItem;
  readonly failed: boolean;
}

const PLAIN: Readonly<Record<string, string>> = {
  '’': "'",
  '‘': "'",
  '“': '"',
  '”': '"',
  '–': '-',
  '—': '-',
  '…': '...',
  '≥': '>=',
  '≤': '<=',
  ' ': ' ',
};
/** Old clients (PyKMIP among them) read Text Strings byte by byte and fall over anything outside ASCII. */
const toPlainText = (message: string): string => message.replaceAll(/[^ -~]/gu, (character) => PLAIN[character] ?? '?');

export const failureFields = (status: KmipRefusal['status'], reason: string, message: string): Fields => ({
  ResultStatus: status,
  ResultReason: reason,
  ...(message === '' ? {} : { ResultMessage: toPlainText(message) }),
});

const UNREADABLE_REASONS: Partial<Record<CodecError['code'], string>> = {
  MissingField: 'InvalidMessage',
  BadMessage: 'InvalidMessage',
  NotInVersion: 'InvalidMessage',
};

/** Result of an item that failed, from what was thrown. Values of the request are in none of the texts. */
function toFailure(error: unknown, operation: string | undefined, context: BatchContext, parts: BatchParts): Fields {
  if (error instanceof KmipRefusal) return failureFields(error.status, error.reason, error.message);
  if (error instanceof FaultError)
    return failureFields('OperationFailed', reasonOf(error.fault.code, operation, context.version), messageOf(error.fault));
  if (error instanceof CodecError)
    return failureFields('OperationFailed', UNREADABLE_REASONS[error.code] ?? 'InvalidMessage', `${error.path}: ${error.reason}`);
  parts.onProblem(operation ?? 'unknown', error);
  return failureFields('OperationFailed', reasonIn('InternalServerError', context.version), 'The operation failed inside the server.');
}

/** A polled item as it was or would have been answered, under the id of the Poll. */
function toOutcome(polled: BatchItem, base: { readonly id?: Uint8Array }): ItemAnswer {
  const { id: _, ...item } = polled;
  const status = polled.fields['ResultStatus'];
  return {
    item: { ...item, ...(base.id === undefined ? {} : { id: base.id }) },
    failed: status !== 'Success' && status !== 'OperationPending',
  };
}

/** Runs the items of one request in order. State that lives as long as the batch: ID Placeholder, identifiers, undo. */
export class Batch {
  private readonly trace: ItemTrace[] = [];
  private placeholder: string | undefined;
  private readonly undo: Undo | undefined;
  private readonly parts: BatchParts;
  private readonly context: BatchContext;

  constructor(parts: BatchParts, context: BatchContext, items: number) {
    this.parts = parts;
    this.context = context;
    this.undo = items > 1 && context.options.batchErrorContinuation === 'Undo' ? makeUndo(parts.service, context.caller) : undefined;
  }

  /** All items; answers those that ran (KMIP 1.4 §9.1.3.2.30: responses to items not processed are not returned). */
  async run(items: readonly RequestItem[]): Promise<BatchItem[]> {
    const answers: ItemAnswer[] = [];
    const goOn = this.context.options.batchErrorContinuation === 'Continue';
    for (const item of items) {
      const answer = await this.one(item);
      answers.push(answer);
      if (answer.failed && !goOn) return this.undo === undefined ? answers.map((one) => one.item) : this.undone(answers, this.undo);
    }
    for (const problem of (await this.undo?.commit()) ?? []) this.parts.onProblem('commit', problem);
    return answers.map((one) => one.item);
  }

  /** One item of the batch; never throws. */
  async one(item: RequestItem): Promise<ItemAnswer> {
    const operation = typeof item.operation === 'string' ? item.operation : undefined;
    const startedAt = performance.now();
    const base = {
      ...(item.operation === undefined ? {} : { operation: item.operation }),
      ...(item.id === undefined ? {} : { id: item.id }),
    };
    try {
      const payload = await this.handle(operation, item);
      this.parts.onItem?.(operation ?? 'unknown', 'success', performance.now() - startedAt);
      return { item: { ...base, fields: { ResultStatus: 'Success' }, payload }, failed: false };
    } catch (error) {
      if (error instanceof KmipOutcome) return toOutcome(error.item, base);
      const fields = toFailure(error, operation, this.context, this.parts);
      this.parts.onItem?.(operation ?? 'unknown', String(fields['ResultReason']), performance.now() - startedAt);
      return { item: { ...base, fields }, failed: true };
    }
  }

  private async handle(operation: string | undefined, item: RequestItem): Promise<Fields> {
    if (item.unreadable !== undefined) throw item.unreadable;
    checkExtensions(item.fields['MessageExtension']);
    const row = operation === undefined ? undefined : operationRow(operation);
    const handler = operation === undefined ? undefined : this.parts.plane.handlers.get(operation);
    if (operation === undefined || row === undefined || handler === undefined || !livesIn(row, this.context.version))
      throw refuse('OperationNotSupported', 'This server has no such operation in this protocol version.');
    const call = this.makeCall(operation as OperationName);
    const resolved = resolveIdentifiers(item.payload ?? {}, this.trace, this.placeholder);
    const payload = this.parts.prepare === undefined ? resolved : await this.parts.prepare(resolved, call);
    const answer = await handler(payload, call);
    this.placeholder = placeholderAfter(operation, answer, this.placeholder);
    this.trace.push({ operation, ids: identifiersOf(answer), ...dataOf(answer) });
    this.parts.plane.notifications.happened(operation, payload, answer, this.context.caller);
    return answer;
  }

  private makeCall(operation: OperationName): KmipCall {
    const { version, options, caller, connection, now } = this.context;
    const { service, settings, plane } = this.parts;
    const { undo } = this;
    return {
      version,
      operation,
      options,
      caller,
      connection,
      settings,
      plane,
      now,
      call: async (name, request, refine) => {
        const run = async () => {
          const result = await service(name, request, caller, refine);
          if (!result.ok) throw new FaultError(result.fault);
          return result.value;
        };
        return undo === undefined ? run() : undo.around(name, request, run);
      },
      placeholder: () => this.placeholder,
      setPlaceholder: (id) => {
        this.placeholder = id;
      },
      undoWanted: false,
      onUndo: (step) => undo?.add(step),
    };
  }

  /** Takes back, last first, what the items before the failed one did (KMIP 2.1 §8.3, Operation Undone). */
  private async undone(answers: readonly ItemAnswer[], undo: Undo): Promise<BatchItem[]> {
    const problems = await undo.rollback();
    for (const problem of problems) this.parts.onProblem('undo', problem);
    return answers.map(({ item, failed }) => {
      if (failed) return item;
      // The payload stays: it says which objects it was about (BL-M-2-21).
      if (problems.length === 0) return { ...item, fields: { ResultStatus: 'OperationUndone' } };
      const fields = failureFields(
        'OperationFailed',
        'GeneralFailure',
        'A later item of the batch failed, and this one could not be undone entirely.',
      );
      return { ...item, fields, payload: undefined };
    });
  }
}

/** A critical extension that the server does not know fails the item; others are ignored (KMIP 1.4 §6.16). It knows none. */
function checkExtensions(extensions: Value | undefined): void {
  for (const extension of (extensions ?? []) as readonly Fields[]) {
    if (extension['CriticalityIndicator'] === true)
      throw refuse('UnknownMessageExtension', 'The message extension is critical and this server does not know it.');
  }
}

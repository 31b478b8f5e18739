import type { BatchItem, Fields, KmipAttribute, OperationName as KmipOperation, KmipVersion, RequestOptions } from '@aegis/kmip-ttlv';
import type { Caller, OperationName, OperationRequest, OperationResponse, ProtectionLevel, Refine } from '../../domain/index.js';
import type { AsyncRequests } from './async-requests.js';
import type { CreationRules } from './creation-rules.js';
import type { Notifications } from './notifications.js';
import type { Tickets } from './tickets.js';

// What a KMIP operation is to the plane: one row of KMIP_HANDLERS, from a neutral request payload to a neutral response payload.

/** What the operator sets for the whole plane and handlers go by. */
export interface KmipSettings {
  /** What RNG Seed does with the seed (KMIP 1.4 §4.36): takes all of it, takes a part, ignores it (Success, 0 bytes), or refuses. */
  readonly rngSeed: 'accept' | 'partial' | 'ignore' | 'refuse';
  /**
   * RNG Parameters of the generator that the roots of trust make keys with, told as Random Number Generator of new objects (KMIP 1.4
   * §3.44). Absent: OpenSSL's CTR_DRBG with AES-256 for software roots, Unspecified for others.
   */
  readonly randomNumberGenerator?: Fields;
  /** Interop (KMIP 2.1 §6.1.26) is for tests and "SHALL NOT be available in a production server". */
  readonly interop: boolean;
}

/** Facts about the server that Query tells; from the composition root. */
export interface KmipFacts {
  readonly version: string;
  /** Stable name of this node. */
  readonly node: string;
  /** Kinds of protection that the configured roots of trust give. */
  readonly protection: readonly ProtectionLevel[];
}

/** What the plane keeps beyond one connection. */
export interface KmipPlane {
  facts(): KmipFacts;
  readonly handlers: ReadonlyMap<string, KmipHandler>;
  readonly versions: readonly KmipVersion[];
  readonly asynchronous: AsyncRequests;
  readonly tickets: Tickets;
  readonly rules: CreationRules;
  readonly notifications: Notifications;
  /** Requests in progress, for Query's Server Load. */
  load(): number;
}

/** State of one client connection: nothing in it outlives the connection, nothing in it is believed without the guard. */
export interface KmipConnection {
  /** Set Endpoint Role (KMIP 2.1 §6.1.56): `server` once the peer asked to serve. */
  role: 'client' | 'server';
  /** The transport lets the server send requests too (TLS, not HTTPS). */
  readonly exchangesRoles: boolean;
  /** Sends a request to a peer that serves and gives its answer; answers come in order. */
  ask?(bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array>;
  /** What the plane remembers about the connection for a moment, by name; lost with it. */
  readonly memory: Map<string, unknown>;
}

/** One batch item being run. */
export interface KmipCall {
  readonly version: KmipVersion;
  readonly operation: KmipOperation;
  /** The header, lifted. */
  readonly options: RequestOptions;
  readonly caller: Caller;
  readonly connection: KmipConnection;
  readonly settings: KmipSettings;
  /** What the plane keeps beyond one connection. */
  readonly plane: KmipPlane;
  /** Time of the request, ms since 1970; one reading for the whole batch, so that dates agree. */
  readonly now: number;
  /**
   * The one way to the key service: through the guard. Throws FaultError with the guard's fault; the batch turns it into
   * Result Status and Result Reason by PROJECTIONS (and the overrides of kmip/faults.ts).
   *
   * `refine` is handed to the guard (GuardedService): it completes the request once the guard has loaded the key, where KMIP leaves
   * the choice of an algorithm to the key's own attributes. Policy sees the completed request.
   */
  call<O extends OperationName>(operation: O, request: OperationRequest<O>, refine?: Refine<O>): Promise<OperationResponse<O>>;
  /**
   * ID Placeholder (KMIP 2.1 §5.21, 1.4 §4): last object made or found in this batch. The batch sets it from the response payload of
   * the operations that the standard lists, and replaces the Enumeration and Integer forms of a Unique Identifier by text, before a handler runs.
   */
  placeholder(): string | undefined;
  setPlaceholder(id: string | undefined): void;
  /**
   * Registers how to undo what this item did, for Batch Error Continuation Option Undo. Run in reverse order when a later
   * item fails. Only asked for when the batch wants it (`undoWanted`). What goes through `call` the batch undoes itself, so that
   * handlers register only effects that the guard did not see: there are none so far, and `undoWanted` is false for them.
   */
  readonly undoWanted: boolean;
  onUndo(undo: () => Promise<void>): void;
}

/** Answers the response payload in the neutral form (2.x field names, attribute lists); the era module lowers it. */
export type KmipHandler = (payload: Fields, call: KmipCall) => Promise<Fields>;

/** A refusal with a KMIP reason of its own, where no fault of the domain says it: thrown by handlers, answered by the batch. */
export class KmipRefusal extends Error {
  readonly reason: string;
  readonly status: 'OperationFailed' | 'OperationUndone' | 'OperationPending';
  constructor(reason: string, message: string, status: KmipRefusal['status'] = 'OperationFailed') {
    super(message);
    this.name = 'KmipRefusal';
    this.reason = reason;
    this.status = status;
  }
}

/** A whole batch item as the answer, thrown by Poll: the response is that of the request polled, not Poll's own. */
export class KmipOutcome extends Error {
  readonly item: BatchItem;
  constructor(item: BatchItem) {
    super('outcome');
    this.name = 'KmipOutcome';
    this.item = item;
  }
}

/** `reason` is a Result Reason name of the newest version; reasonIn() lowers it for older ones. */
export const refuse = (reason: string, message: string): KmipRefusal => new KmipRefusal(reason, message);

export type { Fields, KmipAttribute, KmipVersion };

import type { Algorithm } from '@aegis/rot-spi/vocabulary';
import type { Credential, GuardedService, ManagedObject, OperationName, OperationRequest, OperationResponse } from '../../domain/index.js';
import type { MechanismRow } from './mechanisms.js';
import type { FaultOverrides } from './rv.js';
import type { Generation } from './wire/attributes.js';
import type { ByteWriter } from './wire/bytes.js';
import type { Mechanism } from './wire/mechanism-encodings.js';

// The parts a call is handled with: what the plane stands on, one connection, one session, one object as a client sees it.

/** One socket: who may be behind it and what it shows. */
export interface SocketSettings {
  readonly name: string;
  /** Tenants served, one token each, in slot order. */
  readonly tenants: readonly string[];
  /** Identity of whoever can open the socket; without it, calls need C_Login or the reserved string. */
  readonly principal?: { readonly tenant: string; readonly id: string };
  /** Whether a session without login may have public session objects (public-sessions.ts). */
  readonly publicSessions?: boolean;
}

export interface Pkcs11Parts {
  readonly service: GuardedService;
  readonly clock: () => number;
  /** Node that session objects are marked with, so that what a crash leaves is found again. */
  readonly nodeId: string;
  readonly version: { readonly major: number; readonly minor: number };
  /** Whether a root of trust here (or this one) can do an algorithm; mechanism list and *Init say so. */
  readonly canDo: (algorithm: Algorithm, rootId?: string) => boolean;
  readonly log: (event: Readonly<Record<string, unknown>>, message: string) => void;
}

export interface Slot {
  readonly id: number;
  readonly tenant: string;
  login: Login | undefined;
}
export interface Login {
  readonly userType: 'user' | 'so';
  readonly credential: Credential;
}

/** An object as this connection knows it. The view is what the guard last let this principal see, for a moment. */
export interface KnownObject {
  readonly handle: number;
  readonly objectId: string;
  readonly slot: Slot;
  /** Session that the object lives and dies with. */
  readonly session: number | undefined;
  view:
    | { readonly object: ManagedObject; readonly publicKey: Uint8Array | undefined; readonly full: boolean; readonly at: number }
    | undefined;
}

export interface Session {
  readonly handle: number;
  readonly slot: Slot;
  readonly writable: boolean;
  readonly operations: Map<OperationKind, ActiveOperation>;
  /** When random bytes were last asked for, ms. */
  randomAt: number;
  /** Bytes handed to the door at that time. */
  randomStock: number;
  /** Calls of one session run one after the other. */
  tail: Promise<void>;
  closed: boolean;
  /** Operations that were begun before a restart and had no data yet: begun again before the next call. */
  pending: PendingOperation[];
}
interface PendingOperation {
  readonly kind: Exclude<OperationKind, 'find'>;
  readonly mechanism: Mechanism;
  readonly key: number | undefined;
}
export type OperationKind = 'encrypt' | 'decrypt' | 'sign' | 'verify' | 'digest' | 'find' | 'message-sign' | 'message-verify';
export type ActiveOperation = KeyOperation | FindOperation;

export interface FindOperation {
  readonly kind: 'find';
  /** Answers at most `max` further handles. */
  next(max: number): Promise<readonly number[]>;
}

/** A cryptographic operation between *Init and its end. */
export interface KeyOperation {
  readonly kind: Exclude<OperationKind, 'find'>;
  readonly row: MechanismRow;
  readonly mechanism: Mechanism;
  readonly key: KnownObject | undefined;
  /** Single-part until the first Update. */
  parts: boolean;
  /** The size of a single-part output was asked for: what follows is that call again. */
  whole: boolean;
  /** Data kept back: until there is enough to send on, or until it is known which bytes are the tag. */
  held: Uint8Array[];
  heldBytes: number;
  /** Multi-part operation of the service, once the data did not fit one call. */
  remote: string | undefined;
  /** An output that did not fit the caller's buffer, for the call that repeats the input. */
  ready: { readonly input: Uint8Array; readonly output: Uint8Array } | undefined;
  /** Finished with an empty output while it was unclear whether the caller asked for the size only (client ≤ 0.24.1). */
  drained: boolean;
}

export interface ConnectionState {
  readonly id: string;
  readonly generation: Generation;
  readonly socket: SocketSettings;
  initialised: boolean;
  readonly slots: Slot[];
  /** Identity from the C_Initialize reserved string. */
  reserved: { readonly tenant: string; readonly credential: Credential } | undefined;
  readonly sessions: Map<number, Session>;
  readonly objects: Map<number, KnownObject>;
  readonly handles: Map<string, number>;
  nextHandle: number;
  nextSession: number;
  nextRequest: number;
  failedLogins: number;
  closed: boolean;
}

/** Writes the arguments of a response, after call and signature. */
export type Reply = (writer: ByteWriter) => void;

export interface CallContext {
  readonly parts: Pkcs11Parts;
  readonly connection: ConnectionState;
  /** Notes a change that outlives the service process: see restoration.ts. */
  readonly remember: (event: MemoryEvent) => void;
  /** Random bytes the guard gave this session beyond what was asked for, so that the next requests need no call each. */
  readonly offerRandom: (session: number, bytes: Uint8Array) => void;
  /** The one way to the key service: through the guard, as who the slot's login says. Throws Rv. */
  call<O extends OperationName>(
    slot: Slot,
    operation: O,
    request: OperationRequest<O>,
    overrides?: FaultOverrides,
  ): Promise<OperationResponse<O>>;
  /** Random bytes and digests in a session without identity: as the plane's own component. */
  callPublic<O extends 'random' | 'seed-random' | 'digest' | 'begin-operation' | 'update-operation' | 'finish-operation'>(
    slot: Slot,
    operation: O,
    request: OperationRequest<O>,
    overrides?: FaultOverrides,
  ): Promise<OperationResponse<O>>;
  /** Whether an object was made without a login: see public-sessions.ts. */
  isPublicSessionObject(objectId: string): boolean;
  /** Ends a session object or what a dead connection left: as the plane's own component, which may always clean up. */
  reap(tenant: string, objectId: string): Promise<void>;
}

export type Handler = (context: CallContext, args: readonly unknown[]) => Promise<Reply | undefined> | Reply | undefined;

/** What a restarted service must know again. Handles only, never secrets. */
export type MemoryEvent =
  | { readonly e: 'init'; readonly tenant?: string; readonly tokenId?: string }
  | { readonly e: 'open'; readonly session: number; readonly slot: number; readonly writable: boolean }
  | { readonly e: 'close'; readonly session: number }
  | { readonly e: 'login'; readonly slot: number; readonly tokenId: string; readonly so: boolean }
  | { readonly e: 'logout'; readonly slot: number }
  | { readonly e: 'objects'; readonly list: readonly (readonly [handle: number, objectId: string, slot: number, session: number | null])[] }
  | { readonly e: 'forget'; readonly handle: number }
  | {
      readonly e: 'operation';
      readonly session: number;
      readonly kind: PendingOperation['kind'];
      readonly type: number;
      /** Bytes as `hex:…`. */
      readonly parameter: Readonly<Record<string, string | number>> | null;
      readonly key: number | null;
    }
  | { readonly e: 'next'; readonly session: number; readonly handle: number };

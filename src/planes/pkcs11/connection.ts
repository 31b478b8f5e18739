import type { Caller, Credential, OperationName, OperationRequest, OperationResponse, Result } from '../../domain/index.js';
import { type CallName, type CallRow, callById } from './calls.js';
import type { CallContext, ConnectionState, MemoryEvent, Pkcs11Parts, Reply, Session, SocketSettings } from './contract.js';
import { HANDLERS } from './handlers.js';
import { credentialOf } from './identity.js';
import { beginPending } from './operations/key-operations.js';
import { makePublicSessions } from './public-sessions.js';
import { Rv, rv, toRv } from './rv.js';
import { closeConnection } from './sessions.js';
import { type ArgumentLetter, lettersOf, readArguments, readHead, toResponse } from './wire/arguments.js';
import type { Generation } from './wire/attributes.js';
import { WireError } from './wire/bytes.js';
import { CKR } from './wire/codes.js';
import { toErrorFrame, toFrame } from './wire/frames.js';

/** One client connection: requests in, responses out in whatever order they are ready, calls of one session one by one. */

export interface ConnectionOptions {
  readonly parts: Pkcs11Parts;
  readonly socket: SocketSettings;
  readonly generation: Generation;
  /** Unguessable and the same after a restart of the service. */
  readonly id: string;
  readonly send: (frame: Buffer) => void;
  readonly remember: (event: MemoryEvent) => void;
  readonly offerRandom: (session: number, bytes: Uint8Array) => void;
}
export interface Connection {
  readonly state: ConnectionState;
  readonly context: CallContext;
  /** Bytes of the requests that are not answered. */
  readonly heldBytes: () => number;
  /** Calls begun and not answered. */
  readonly outstanding: () => number;
  /** The same without calls that wait for something that never comes (C_WaitForSlotEvent). */
  readonly busy: () => number;
  readonly calls: () => number;
  /** Answers one request; never throws, never closes. */
  receive(code: number, body: Buffer): void;
  /** The client is gone: ends its sessions and session objects. */
  close(): Promise<void>;
}

const newState = ({ id, generation, socket }: ConnectionOptions): ConnectionState => ({
  id,
  generation,
  socket,
  initialised: false,
  slots: [],
  reserved: undefined,
  sessions: new Map(),
  objects: new Map(),
  handles: new Map(),
  nextHandle: 1,
  nextSession: 1,
  nextRequest: 1,
  failedLogins: 0,
  closed: false,
});

type Row = CallRow & { readonly name: CallName };
const COMPONENT: Credential = { kind: 'internal', component: 'pkcs11' };

const makeContext = (options: ConnectionOptions, connection: ConnectionState): CallContext => {
  const { parts } = options;
  const run = async <O extends OperationName>(
    operation: O,
    request: OperationRequest<O>,
    caller: Partial<Caller>,
  ): Promise<Result<OperationResponse<O>>> => {
    const number = connection.nextRequest;
    connection.nextRequest += 1;
    return parts.service(operation, request, {
      plane: 'pkcs11',
      credential: { kind: 'none' },
      requestId: `p11-${connection.id.slice(0, 8)}-${number}`,
      source: `pkcs11/${connection.socket.name}`,
      ...caller,
    });
  };
  const value = <T>(result: Result<T>, overrides: Parameters<CallContext['call']>[3]): T => {
    if (!result.ok) throw toRv(result.fault, overrides);
    return result.value;
  };
  const asComponent = <O extends OperationName>(tenant: string, operation: O, request: OperationRequest<O>) =>
    run(operation, request, { plane: 'internal', credential: COMPONENT, source: 'local', tenant });
  const publicSessions = makePublicSessions(connection);
  const context: CallContext = {
    parts,
    connection,
    remember: options.remember,
    offerRandom: options.offerRandom,
    isPublicSessionObject: (objectId) => publicSessions.holds(objectId),
    call: async (slot, operation, request, overrides) => {
      const credential = credentialOf(connection, slot);
      const isPublic =
        publicSessions.uses(operation, request) ||
        (credential.kind === 'none' && connection.socket.publicSessions === true && publicSessions.makes(operation, request));
      if (!isPublic) return value(await run(operation, request, { credential }), overrides);
      const made = value(await run(operation, request, { plane: 'internal', credential: COMPONENT, tenant: slot.tenant }), overrides);
      publicSessions.note(operation, made);
      return made;
    },
    callPublic: async (slot, operation, request, overrides) => {
      const credential = credentialOf(connection, slot);
      const result =
        credential.kind === 'none' ? await asComponent(slot.tenant, operation, request) : await run(operation, request, { credential });
      return value(result, overrides);
    },
    reap: async (tenant, key) => {
      publicSessions.forget(key);
      await asComponent(tenant, 'revoke', { key, reason: 'cessation-of-operation' });
      const gone = await asComponent(tenant, 'destroy', { key, pendingMs: 0 });
      if (!gone.ok && gone.fault.code !== 'not-found' && gone.fault.code !== 'destroyed')
        parts.log({ object: key, fault: gone.fault.code }, 'a PKCS#11 session object could not be destroyed; the next start tries again');
    },
  };
  return context;
};

const LETTERS: ReadonlyMap<string, readonly ArgumentLetter[]> = new Map();
const letters = (signature: string): readonly ArgumentLetter[] => {
  const known = LETTERS.get(signature);
  if (known !== undefined) return known;
  const parsed = lettersOf(signature);
  (LETTERS as Map<string, readonly ArgumentLetter[]>).set(signature, parsed);
  return parsed;
};

/** Calls whose first argument is a session; the others are about the library or a slot. */
const WITHOUT_SESSION: ReadonlySet<CallName> = new Set([
  ...(['C_Initialize', 'C_Finalize', 'C_GetInfo', 'C_GetSlotList', 'C_GetSlotInfo', 'C_GetTokenInfo', 'C_GetMechanismList'] as const),
  ...(['C_GetMechanismInfo', 'C_InitToken', 'C_InitToken2', 'C_OpenSession', 'C_CloseAllSessions', 'C_WaitForSlotEvent'] as const),
]);

const rvOf = (options: ConnectionOptions, name: string, error: unknown): number => {
  if (error instanceof Rv) return error.rv;
  if (error instanceof WireError) return CKR.DEVICE_ERROR;
  options.parts.log({ call: name, err: error }, 'a PKCS#11 call failed inside the plane');
  return CKR.GENERAL_ERROR;
};

/** Queues work behind the session's earlier calls; another session's calls do not wait. */
const inTurn = (session: Session | undefined, work: () => Promise<void>): Promise<void> => {
  if (session === undefined) return work();
  const next = session.tail.then(work, work);
  session.tail = next;
  return next;
};

export const makeConnection = (options: ConnectionOptions): Connection => {
  const state = newState(options);
  const context = makeContext(options, state);
  let outstanding = 0;
  let heldBytes = 0;
  let waiting = 0;
  let calls = 0;

  const answer = async (code: number, row: Row, args: readonly unknown[], session: Session | undefined): Promise<void> => {
    let frame: Buffer;
    try {
      if (session !== undefined && session.pending.length > 0) await beginPending(context, session);
      const reply: Reply | undefined = await HANDLERS[row.name](context, args);
      frame = toFrame(code, toResponse(row.id, row.response, reply));
    } catch (error) {
      frame = toErrorFrame(code, rvOf(options, row.name, error));
    }
    outstanding -= 1;
    if (row.name === 'C_WaitForSlotEvent') waiting -= 1;
    options.send(frame);
  };

  /** The call and its arguments, or why they cannot be had. */
  const read = (body: Buffer): { readonly row: Row; readonly args: unknown[] } => {
    const head = readHead(body);
    const row = callById(head.call);
    if (row === undefined) throw rv(head.call === 0 ? 'DEVICE_ERROR' : 'FUNCTION_NOT_SUPPORTED');
    if (head.signature !== row.request) throw new WireError(`${row.name} is written ${row.request}`);
    return { row, args: readArguments(head.reader, letters(row.request), state.generation) };
  };

  const receive = (code: number, body: Buffer): void => {
    calls += 1;
    let request: ReturnType<typeof read>;
    try {
      request = read(body);
    } catch (error) {
      options.send(toErrorFrame(code, rvOf(options, 'unreadable', error)));
      return;
    }
    const { row, args } = request;
    const session = WITHOUT_SESSION.has(row.name) ? undefined : state.sessions.get(args[0] as number);
    outstanding += 1;
    heldBytes += body.length;
    if (row.name === 'C_WaitForSlotEvent') waiting += 1;
    void inTurn(session, async () => {
      await answer(code, row, args, session);
      heldBytes -= body.length;
    });
  };

  return {
    state,
    context,
    outstanding: () => outstanding,
    heldBytes: () => heldBytes,
    busy: () => outstanding - waiting,
    calls: () => calls,
    receive,
    close: async () => {
      state.closed = true;
      // What is being worked on ends first, so that a session object made right now is seen and ended too.
      await Promise.all([...state.sessions.values()].map((session: Session) => session.tail));
      await closeConnection(context);
    },
  };
};

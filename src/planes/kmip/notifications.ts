import {
  type Fields,
  type KmipAttribute,
  type KmipVersion,
  liftMessage,
  lowerMessage,
  readMessage,
  readTtlv,
  writeMessage,
  writeTtlv,
} from '@aegis/kmip-ttlv';
import { type Caller, FaultError, type GuardedService } from '../../domain/index.js';
import type { KmipCall, KmipConnection, KmipHandler } from './contract.js';

// Requests of the server to a client that has taken the server's role on its connection (KMIP 2.1 §6.2, §6.1.54): Notify when an object of its
// tenant was changed through this plane, Put when a new object took the place of one. What a client is told is read with its own rights.

/** What a batch item did to an object. */
export interface ObjectEvent {
  readonly operation: string;
  readonly id: string;
  /** The object that this one replaces. */
  readonly replaces?: string;
  readonly caller: Caller;
}

export interface Notifications {
  /** The connection of the call wants to be told. */
  listen(call: KmipCall): Promise<void>;
  leave(connection: KmipConnection): void;
  /** Called after an item succeeded; never delays the answer. */
  happened(operation: string, request: Fields, response: Fields, caller: Caller): void;
  listeners(): number;
}

interface Listener {
  readonly connection: KmipConnection;
  readonly tenant: string;
  readonly version: KmipVersion;
  readonly call: KmipCall;
  queued: number;
  last: Promise<void>;
}

const CHANGES: ReadonlySet<string> = new Set([
  ...['Activate', 'Revoke', 'Deactivate', 'Destroy', 'Obliterate', 'Archive', 'Recover', 'AddAttribute', 'ModifyAttribute', 'SetAttribute'],
  ...['AdjustAttribute', 'DeleteAttribute'],
]);
const REPLACES: ReadonlySet<string> = new Set(['ReKey', 'ReCertify']);
const TOLD = ['LastChangeDate', 'State'] as const;
/** Events that wait for one client; one that reads slower is told of fewer. */
const MAX_QUEUED = 100;
const ANSWER_MS = 30_000;
const OBJECT_FIELDS = [
  ...['Certificate', 'SymmetricKey', 'PublicKey', 'PrivateKey', 'SplitKey', 'SecretData', 'OpaqueObject', 'PGPKey', 'CertificateRequest'],
] as const;

export interface NotificationParts {
  readonly service: GuardedService;
  readonly handlers: ReadonlyMap<string, KmipHandler>;
  readonly nextRequestId: () => string;
  readonly onProblem: (where: string, error: unknown) => void;
}

export function makeNotifications(parts: NotificationParts): Notifications {
  const listeners = new Map<KmipConnection, Listener>();

  const tenantOf = async (caller: Caller): Promise<string | undefined> => {
    const who = await parts.service('whoami', {}, caller);
    return who.ok ? who.value.principal.tenant : undefined;
  };
  /** The listener's own rights, at this moment. */
  const callOf = ({ call }: Listener): KmipCall => {
    const { signal: _, ...rest } = call.caller;
    const caller: Caller = { ...rest, requestId: parts.nextRequestId() };
    return {
      ...call,
      caller,
      now: Date.now(),
      call: async (operation, request, refine) => {
        const result = await parts.service(operation, request, caller, refine);
        if (!result.ok) throw new FaultError(result.fault);
        return result.value;
      },
    };
  };
  const run = async (name: string, payload: Fields, call: KmipCall): Promise<Fields | undefined> =>
    parts.handlers.get(name)?.(payload, { ...call, operation: name as KmipCall['operation'] });

  const notifyPayload = async (event: ObjectEvent, call: KmipCall): Promise<Fields | undefined> => {
    const found = await run('GetAttributes', { UniqueIdentifier: event.id, AttributeReference: TOLD.map((name) => ({ name })) }, call);
    return found === undefined
      ? undefined
      : { UniqueIdentifier: event.id, Attributes: (found['Attributes'] ?? []) as readonly KmipAttribute[] };
  };
  const putPayload = async (event: ObjectEvent, call: KmipCall): Promise<Fields | undefined> => {
    const got = await run('Get', { UniqueIdentifier: event.id }, call);
    if (got === undefined) return undefined;
    const object = Object.fromEntries(OBJECT_FIELDS.flatMap((name) => (got[name] === undefined ? [] : [[name, got[name]]]))) as Fields;
    return { UniqueIdentifier: event.id, PutFunction: 'Replace', ReplacedUniqueIdentifier: event.replaces, ...object };
  };

  const tell = async (listener: Listener, event: ObjectEvent): Promise<void> => {
    const call = callOf(listener);
    const operation = event.replaces === undefined ? 'Notify' : 'Put';
    // An object that the client may not read is not there for it.
    const payload = await (operation === 'Notify' ? notifyPayload(event, call) : putPayload(event, call)).catch(() => undefined);
    if (payload === undefined || listener.connection.ask === undefined) return;
    const message = {
      kind: 'request',
      version: listener.version,
      header: { ServerCorrelationValue: call.caller.requestId },
      items: [{ operation, payload, fields: {} }],
    } as const;
    const answer = await listener.connection.ask(writeTtlv(writeMessage(lowerMessage(message))), ANSWER_MS);
    liftMessage(readMessage(readTtlv(answer)));
  };

  const deliver = async (event: ObjectEvent): Promise<void> => {
    const tenant = await tenantOf({ ...event.caller, requestId: parts.nextRequestId() });
    for (const listener of listeners.values()) {
      if (listener.tenant !== tenant || listener.queued >= MAX_QUEUED) continue;
      listener.queued += 1;
      listener.last = listener.last
        .then(() => tell(listener, event))
        .catch((error: unknown) => parts.onProblem('notify', error))
        .finally(() => {
          listener.queued -= 1;
        });
    }
  };

  return {
    async listen(call) {
      const tenant = await tenantOf(call.caller);
      if (tenant === undefined) return;
      listeners.set(call.connection, {
        connection: call.connection,
        tenant,
        version: call.version,
        call,
        queued: 0,
        last: Promise.resolve(),
      });
    },
    leave: (connection) => void listeners.delete(connection),
    happened(operation, request, response, caller) {
      if (listeners.size === 0) return;
      const id = response['UniqueIdentifier'] ?? request['UniqueIdentifier'];
      if (typeof id !== 'string') return;
      const replaced = request['UniqueIdentifier'];
      const { signal: _, ...lasting } = caller;
      if (REPLACES.has(operation) && typeof replaced === 'string') void deliver({ operation, id, replaces: replaced, caller: lasting });
      else if (CHANGES.has(operation)) void deliver({ operation, id, caller: lasting });
    },
    listeners: () => listeners.size,
  };
}

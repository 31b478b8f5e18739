import type { OperationName, OperationRequest, OperationResponse } from '../../domain/index.js';
import type { ConnectionState } from './contract.js';
import { rv } from './rv.js';
import { STORED } from './stored-attributes.js';

/**
 * Public session objects in a session that nobody has logged in to. PKCS#11 v2.40 §2.4 of the usage guide gives every session
 * read and write access to them, and the standard's conformance suites work on nothing else. They are made, used and ended as
 * the plane's own component, so that the guard judges and records each call; they live in one connection, are never durable,
 * never private, and nothing that belongs to a principal can be reached this way.
 */

/** Such objects one connection may have at a time: enough for an application's own temporary keys, no store for strangers. */
const MAX_PUBLIC_OBJECTS = 64;

/** Uses of an object named by `key`. Ending one goes another way (reap). */
const USES: ReadonlySet<OperationName> = new Set([
  ...(['get-object', 'update-object', 'export-key', 'begin-operation'] as const),
  ...(['encrypt', 'decrypt', 'sign', 'verify', 'mac', 'mac-verify'] as const),
]);
const PARTS: ReadonlySet<OperationName> = new Set(['update-operation', 'finish-operation', 'cancel-operation']);
const PUBLIC_TYPES: readonly unknown[] = ['public-key', 'certificate', 'opaque-object'];

type Fields = Readonly<Record<string, unknown>>;
const record = (value: unknown): Fields => (typeof value === 'object' && value !== null ? (value as Fields) : {});

export interface PublicSessions {
  /** Whether this call uses nothing but what was made so in this connection. */
  uses<O extends OperationName>(operation: O, request: OperationRequest<O>): boolean;
  /** Whether this call makes a public session object of this connection, and nothing else. */
  makes<O extends OperationName>(operation: O, request: OperationRequest<O>): boolean;
  /** Notes what such a call made. */
  note<O extends OperationName>(operation: O, response: OperationResponse<O>): void;
  /** Whether the object was made without a login. */
  holds(objectId: string): boolean;
  forget(objectId: string): void;
}

export const makePublicSessions = (connection: Pick<ConnectionState, 'id'>): PublicSessions => {
  const objects = new Set<string>();
  const operations = new Set<string>();
  const holds = (id: unknown): boolean => typeof id === 'string' && objects.has(id);

  const isPublicSessionObject = (attributes: unknown, isPublicType: boolean): boolean => {
    const { [STORED.session]: mark, [STORED.private]: isPrivate } = record(attributes);
    return typeof mark === 'string' && mark.startsWith(`${connection.id}/`) && (isPublicType ? isPrivate !== true : isPrivate === false);
  };
  const makes = (operation: OperationName, request: Fields): boolean => {
    if (operation === 'register') return isPublicSessionObject(request['attributes'], PUBLIC_TYPES.includes(request['type']));
    if (operation === 'create-key') return isPublicSessionObject(request['attributes'], false);
    if (operation === 'create-key-pair')
      return isPublicSessionObject(request['attributes'], false) && isPublicSessionObject(record(request['publicKey'])['attributes'], true);
    return operation === 'unwrap' && holds(request['unwrappingKey']) && isPublicSessionObject(request['attributes'], false);
  };
  return {
    uses: (operation, request) => {
      const fields = request as Fields;
      if (USES.has(operation)) return holds(fields['key']);
      if (PARTS.has(operation)) return typeof fields['operation'] === 'string' && operations.has(fields['operation']);
      return operation === 'wrap' && holds(fields['key']) && holds(fields['wrappingKey']);
    },
    makes: (operation, request) => {
      if (!makes(operation, request as Fields)) return false;
      if (objects.size >= MAX_PUBLIC_OBJECTS) throw rv('HOST_MEMORY');
      return true;
    },
    note: (operation, response) => {
      const fields = response as Fields;
      if (operation === 'begin-operation') operations.add(String(fields['operation']));
      if (!['register', 'create-key', 'create-key-pair', 'unwrap'].includes(operation)) return;
      objects.add(String(record(fields['object'])['id']));
      if (typeof fields['publicKeyId'] === 'string') objects.add(fields['publicKeyId']);
    },
    holds,
    forget: (id) => void objects.delete(id),
  };
};

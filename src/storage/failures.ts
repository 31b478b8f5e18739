import { type Fault, FaultError } from '../domain/index.js';

/** SQLSTATE of a PostgreSQL error; errno names like ECONNRESET are not (they are longer or begin with E). */
export const sqlState = (error: unknown): string | undefined => {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' && /^[0-9A-DF-Z][0-9A-Z]{4}$/.test(code) ? code : undefined;
};

/**
 * True when the session ended: no answer from the server, or the server said that it ends the session (class 08, 57P0x).
 * A statement that was running may or may not have taken effect.
 */
export const isConnectionLoss = (error: unknown): boolean => {
  if (!(error instanceof Error) || error instanceof FaultError) return false;
  const state = sqlState(error);
  if (state !== undefined) return /^08|^57P0/.test(state);
  const code = (error as { code?: unknown }).code;
  return (typeof code === 'string' && /^E[A-Z0-9]+$/.test(code)) || DRIVER_LOSS.test(error.message);
};

/** What pg and pg-pool say, without any code, when a connection ended or never came about. */
const DRIVER_LOSS =
  /^Connection terminated|^Query read timeout|^timeout exceeded|^timeout expired|^Client has encountered a connection error|^Client was closed|^Cannot use a pool after calling end/;

/** Serialization failure and deadlock: rolled back, worth repeating as it is. */
export const isTransient = (error: unknown): boolean => ['40001', '40P01'].includes(sqlState(error) ?? '');

const unavailable = (error: unknown): Pick<Fault, 'message' | 'next'> => {
  switch (sqlState(error)) {
    case '53100':
      return { message: 'The database has no space left.', next: 'Free space on the database volume; the service goes on by itself.' };
    case '57014':
    case '55P03':
      return { message: 'The database did not answer in time.', next: 'Repeat the call later; a narrower question is answered faster.' };
    case '25006':
      return {
        message: 'The database accepts no changes (a standby?).',
        next: 'Repeat the call later, and let AEGIS_DATABASE_URL name the primary.',
      };
    default:
      return { message: 'The database is not available.', next: 'Repeat the call later; the service goes on by itself.' };
  }
};

/** What a caller is told when the database failed; the cause keeps the SQLSTATE for whoever must tell "rolled back" from "unknown". */
export const toStorageFault = (error: unknown): FaultError => {
  if (error instanceof FaultError) return error;
  const state = sqlState(error);
  if ((state === undefined && !isConnectionLoss(error)) || state?.startsWith('42') === true)
    return new FaultError({ code: 'internal', message: 'The store failed.', next: 'Look at the log of the server.' }, { cause: error });
  if (state?.startsWith('22') === true)
    return new FaultError(
      { code: 'invalid-request', message: 'The request holds a value that can not be stored or compared.' },
      { cause: error },
    );
  return new FaultError({ code: 'storage-unavailable', ...unavailable(error), retryAfterMs: 1000 }, { cause: error });
};

const UNIQUE: Readonly<Record<string, Fault>> = {
  object_name_pkey: {
    code: 'already-exists',
    message: 'An object with this name exists.',
    field: 'names',
    next: 'Choose another name, or rename the other object.',
  },
  object_pkey: { code: 'already-exists', message: 'An object with this id exists.', next: 'Repeat the call.' },
  principal_tenant_name_key: {
    code: 'already-exists',
    message: 'A principal with this name exists.',
    field: 'name',
    next: 'Choose another name.',
  },
  certificate_binding_once: {
    code: 'already-exists',
    message: 'This certificate condition already leads to another principal.',
    field: 'certificate',
    next: 'Remove it there first.',
  },
};

/** The fault of one call when its own data is what the database refuses; undefined for everything else. */
export const toItemFault = (error: unknown): Fault | undefined => {
  const state = sqlState(error);
  const constraint = String((error as { constraint?: unknown }).constraint ?? '');
  if (state === '23505')
    return (
      UNIQUE[constraint] ?? { code: 'conflict', message: 'Somebody else changed this at the same time.', next: 'Read it again and repeat.' }
    );
  if (state === '23503') return { code: 'not-found', message: 'What this refers to does not exist.' };
  if (state !== undefined && /^(22|23|54)/.test(state))
    return {
      code: 'invalid-request',
      message: 'The database can not store a value of this request (a zero character, or too long).',
      next: 'Check names, tags and attributes.',
    };
  return undefined;
};

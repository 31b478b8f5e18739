import type { OperationRequest } from '../../../domain/index.js';
import type { CallName } from '../calls.js';
import type { CallContext, Handler, KeyOperation, Reply, Session } from '../contract.js';
import { isMultiPart } from '../mechanisms.js';
import { type FaultOverrides, rv } from '../rv.js';
import { finished, sessionOf } from '../sessions.js';
import { type Space, writeNeeded, writeOutput } from '../wire/arguments.js';
import type { Mechanism } from '../wire/mechanism-encodings.js';
import { digestLength, macLength, signatureLength, signFields } from './cipher-parameters.js';
import {
  begin,
  CHUNK_BYTES,
  type CryptoKind,
  EMPTY,
  hold,
  objectOf,
  operationOf,
  orEnd,
  pieces,
  requireAlgorithm,
  requireSingle,
  takeHeld,
} from './key-operations.js';

/** Sign, verify and MAC, in one part or many, and the message calls of version 3.0 as far as they carry no message parameter. */

const canSign = (row: { signature?: unknown; mac?: unknown }): boolean => row.signature !== undefined || row.mac !== undefined;

const init =
  (kind: CryptoKind): Handler =>
  async (context, args) => {
    const [handle, mechanism, key] = args as [number, Mechanism | undefined, number];
    const session = sessionOf(context.connection, handle);
    const operation = await begin(context, session, { kind, mechanism, key, can: canSign });
    if (operation === undefined) return undefined;
    try {
      checkParameters(context, operation);
    } catch (error) {
      finished(session, operation);
      throw error;
    }
    return undefined;
  };

const checkParameters = (context: CallContext, operation: KeyOperation): void => {
  const { row, mechanism } = operation;
  if (row.mac !== undefined) macLength(row, mechanism.parameter);
  else requireAlgorithm(context, operation, signFields(row, mechanism.parameter).algorithm);
};

/** What a raw signature takes is checked here only where the return value has a name of its own. */
const checkData = ({ row, mechanism, key }: KeyOperation, data: Uint8Array): void => {
  const exact = digestLength(row, mechanism.parameter);
  if (exact !== undefined && data.length !== exact) throw rv('DATA_LEN_RANGE');
  if (row.signature?.input !== 'digest' || exact !== undefined) return;
  if (row.signature.algorithm === 'ecdsa-raw' && (data.length === 0 || data.length > 64)) throw rv('DATA_LEN_RANGE');
  if (row.signature.algorithm === 'rsa-pkcs1-raw' && key?.view !== undefined) {
    const room = signatureLength(row, undefined, key.view.object) - 11;
    if (data.length > room) throw rv('DATA_LEN_RANGE');
  }
};

const DATA_FAULTS: FaultOverrides = {
  'invalid-field': 'DATA_INVALID',
  'not-found': 'KEY_HANDLE_INVALID',
  destroyed: 'KEY_HANDLE_INVALID',
  'root-rejected': 'DEVICE_ERROR',
};

const kindOf = (operation: KeyOperation): 'sign' | 'verify' | 'mac' | 'macVerify' => {
  const verifies = operation.kind === 'verify' || operation.kind === 'message-verify';
  if (operation.row.mac !== undefined) return verifies ? 'macVerify' : 'mac';
  return verifies ? 'verify' : 'sign';
};

type Begin = OperationRequest<'begin-operation'>;
const beginFields = (operation: KeyOperation): Begin => {
  const key = operation.key?.objectId ?? '';
  const kind = kindOf(operation);
  if (operation.row.mac !== undefined) return { kind, key, algorithm: operation.row.mac.algorithm };
  return { kind, key, ...signFields(operation.row, operation.mechanism.parameter) };
};

/** Takes data in; what one call cannot hold goes on to the service part by part. */
const feed = async (context: CallContext, session: Session, operation: KeyOperation, data: Uint8Array): Promise<void> => {
  for (const piece of pieces(data)) {
    hold(operation, piece);
    if (operation.heldBytes < CHUNK_BYTES) continue;
    operation.remote ??= (await context.call(session.slot, 'begin-operation', beginFields(operation), DATA_FAULTS)).operation;
    await context.call(session.slot, 'update-operation', { operation: operation.remote, data: takeHeld(operation) }, DATA_FAULTS);
  }
};

const remoteFinish = (context: CallContext, session: Session, operation: KeyOperation, signature?: Uint8Array) =>
  context.call(
    session.slot,
    'finish-operation',
    {
      operation: operation.remote ?? '',
      ...(operation.heldBytes === 0 ? {} : { data: takeHeld(operation) }),
      ...(signature === undefined ? {} : { signature: Uint8Array.from(signature) }),
    },
    DATA_FAULTS,
  );

/** Signs what was fed, or what is given where it fits one call. */
const produce = async (context: CallContext, session: Session, operation: KeyOperation): Promise<Uint8Array> => {
  const { row, mechanism } = operation;
  const key = operation.key?.objectId ?? '';
  if (operation.remote !== undefined) {
    const { output } = await remoteFinish(context, session, operation);
    operation.remote = undefined;
    return row.mac === undefined ? output : output.subarray(0, macLength(row, mechanism.parameter));
  }
  const data = takeHeld(operation);
  if (row.mac !== undefined) {
    const { mac } = await context.call(session.slot, 'mac', { key, algorithm: row.mac.algorithm, data }, DATA_FAULTS);
    return mac.subarray(0, macLength(row, mechanism.parameter));
  }
  return (await context.call(session.slot, 'sign', { key, data, ...signFields(row, mechanism.parameter) }, DATA_FAULTS)).signature;
};

const check = async (context: CallContext, session: Session, operation: KeyOperation, signature: Uint8Array): Promise<boolean> => {
  const { row, mechanism } = operation;
  const key = operation.key?.objectId ?? '';
  if (operation.remote !== undefined) {
    const { valid } = await remoteFinish(context, session, operation, signature);
    operation.remote = undefined;
    return valid === true;
  }
  const data = takeHeld(operation);
  const given = Uint8Array.from(signature);
  if (row.mac !== undefined)
    return (await context.call(session.slot, 'mac-verify', { key, algorithm: row.mac.algorithm, data, mac: given }, DATA_FAULTS)).valid;
  return (await context.call(session.slot, 'verify', { key, data, signature: given, ...signFields(row, mechanism.parameter) }, DATA_FAULTS))
    .valid;
};

const needed = (operation: KeyOperation): number => signatureLength(operation.row, operation.mechanism.parameter, objectOf(operation));

const answerSignature = async (
  context: CallContext,
  session: Session,
  operation: KeyOperation,
  data: Uint8Array,
  space: Space,
): Promise<Reply> => {
  const length = needed(operation);
  if (space.capacity < length) return (w) => writeNeeded(w, length);
  const signature = await orEnd(context, session, operation, async () => {
    if (!operation.parts) checkData(operation, data);
    await feed(context, session, operation, data);
    return produce(context, session, operation);
  });
  if (operation.kind === 'sign') finished(session, operation);
  return (w) => writeOutput(w, signature);
};

const sign =
  (kind: CryptoKind): Handler =>
  async (context, args) => {
    const [handle, data, space] = args as [number, Uint8Array | undefined, Space];
    const session = sessionOf(context.connection, handle);
    const operation = operationOf(session, kind);
    await requireSingle(context, session, operation);
    return answerSignature(context, session, operation, data ?? EMPTY, space);
  };

const update =
  (kind: CryptoKind): Handler =>
  async (context, args) => {
    const [handle, data] = args as [number, Uint8Array | undefined];
    const session = sessionOf(context.connection, handle);
    const operation = operationOf(session, kind);
    await orEnd(context, session, operation, async () => {
      // Raw signatures take one digest; parts of it would be something else.
      if (!isMultiPart(operation.row)) throw rv('OPERATION_NOT_INITIALIZED');
      operation.parts = true;
      await feed(context, session, operation, data ?? EMPTY);
    });
    return undefined;
  };

const signFinal: Handler = (context, args) => {
  const [handle, space] = args as [number, Space];
  const session = sessionOf(context.connection, handle);
  const operation = operationOf(session, 'sign');
  operation.parts = true;
  return answerSignature(context, session, operation, EMPTY, space);
};

const checkLength = (operation: KeyOperation, signature: Uint8Array): void => {
  if (signature.length !== needed(operation)) throw rv('SIGNATURE_LEN_RANGE');
};
const answerVerdict = (
  context: CallContext,
  session: Session,
  operation: KeyOperation,
  data: Uint8Array,
  signature: Uint8Array | undefined,
): Promise<undefined> =>
  orEnd(context, session, operation, async () => {
    if (signature === undefined) throw rv('ARGUMENTS_BAD');
    checkLength(operation, signature);
    if (!operation.parts) checkData(operation, data);
    await feed(context, session, operation, data);
    const valid = await check(context, session, operation, signature);
    if (operation.kind === 'verify') finished(session, operation);
    if (!valid) throw rv('SIGNATURE_INVALID');
    return undefined;
  });

const verify: Handler = async (context, args) => {
  const [handle, data, signature] = args as [number, Uint8Array | undefined, Uint8Array | undefined];
  const session = sessionOf(context.connection, handle);
  const operation = operationOf(session, 'verify');
  await requireSingle(context, session, operation);
  return answerVerdict(context, session, operation, data ?? EMPTY, signature);
};
const verifyFinal: Handler = (context, args) => {
  const [handle, signature] = args as [number, Uint8Array | undefined];
  const session = sessionOf(context.connection, handle);
  const operation = operationOf(session, 'verify');
  operation.parts = true;
  return answerVerdict(context, session, operation, EMPTY, signature);
};

/** Recovering signatures: nothing in the algebra gives a message back out of a signature. */
const noRecovery: Handler = (context, args) => {
  sessionOf(context.connection, args[0]);
  throw rv('FUNCTION_NOT_SUPPORTED');
};

/** One message of a series. Its parameter would be memory of the client; none of these mechanisms has one. */
const signMessage: Handler = (context, args) => {
  const [handle, , data, space] = args as [number, unknown, Uint8Array | undefined, Space];
  const session = sessionOf(context.connection, handle);
  return answerSignature(context, session, operationOf(session, 'message-sign'), data ?? EMPTY, space);
};
const verifyMessage: Handler = async (context, args) => {
  const [handle, , data, signature] = args as [number, unknown, Uint8Array | undefined, Uint8Array | undefined];
  const session = sessionOf(context.connection, handle);
  const operation = operationOf(session, 'message-verify');
  if (signature === undefined) throw rv('ARGUMENTS_BAD');
  checkLength(operation, signature);
  checkData(operation, data ?? EMPTY);
  await feed(context, session, operation, data ?? EMPTY);
  if (!(await check(context, session, operation, signature))) throw rv('SIGNATURE_INVALID');
  return undefined;
};
const messageFinal =
  (kind: CryptoKind): Handler =>
  (context, args) => {
    const session = sessionOf(context.connection, args[0]);
    finished(session, operationOf(session, kind));
    return undefined;
  };

export const SIGNING_HANDLERS = {
  C_SignInit: init('sign'),
  C_Sign: sign('sign'),
  C_SignUpdate: update('sign'),
  C_SignFinal: signFinal,
  C_SignRecoverInit: noRecovery,
  C_SignRecover: noRecovery,
  C_VerifyInit: init('verify'),
  C_Verify: verify,
  C_VerifyUpdate: update('verify'),
  C_VerifyFinal: verifyFinal,
  C_VerifyRecoverInit: noRecovery,
  C_VerifyRecover: noRecovery,
  C_MessageSignInit: init('message-sign'),
  C_SignMessage: signMessage,
  C_MessageSignFinal: messageFinal('message-sign'),
  C_MessageVerifyInit: init('message-verify'),
  C_VerifyMessage: verifyMessage,
  C_MessageVerifyFinal: messageFinal('message-verify'),
} satisfies Partial<Record<CallName, Handler>>;

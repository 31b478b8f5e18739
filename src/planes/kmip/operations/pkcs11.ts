import { randomBytes } from 'node:crypto';
import { ENUMERATIONS } from '@aegis/kmip-ttlv';
import { type Fields, type KmipCall, type KmipHandler, type KmipPlane, refuse } from '../contract.js';
import { bytesOf } from '../cryptography/payload-fields.js';

// PKCS#11 (KMIP 2.1 §6.1.37): Cryptoki functions over KMIP. Served are those of the Baseline (PKCS11-M-1): initialise, information,
// finalise. What Cryptoki can do with keys KMIP does in its own words; a client that asks here is told so by the return code.

/** The one interface: PKCS#11's own, v3.0 (PKCS#11 v3.0 §5.4.4). */
const INTERFACE = 'PKCS 11';
const FUNCTIONS: ReadonlySet<unknown> = new Set(
  ENUMERATIONS.find(({ name }) => name === 'PKCS_11Function')?.values.map(({ name }) => name),
);

/** A client between C_Initialize and C_Finalize. */
interface Session {
  readonly tenant: string;
  readonly principal: string;
  touchedAt: number;
}
const MAX_SESSIONS = 1024;
const MAX_SESSIONS_PER_PRINCIPAL = 32;
const IDLE_MS = 600_000;

/** Sessions of a plane; gone with it. */
const sessionsOf = new WeakMap<KmipPlane, Map<string, Session>>();

const openSessions = (call: KmipCall): Map<string, Session> => {
  const sessions = sessionsOf.get(call.plane) ?? new Map<string, Session>();
  sessionsOf.set(call.plane, sessions);
  for (const [id, session] of sessions) if (call.now - session.touchedAt > IDLE_MS) sessions.delete(id);
  return sessions;
};

interface Who {
  readonly tenant: string;
  readonly principal: string;
}
const caller = async (call: KmipCall): Promise<Who> => {
  const { principal } = await call.call('whoami', {});
  return { tenant: principal.tenant, principal: principal.id };
};

const isOf = (session: Session, who: Who): boolean => session.tenant === who.tenant && session.principal === who.principal;

interface Answer {
  readonly code: string;
  readonly output?: Uint8Array;
  readonly correlation?: Uint8Array;
}

const initialize = (call: KmipCall, who: Who, input: Uint8Array | undefined): Answer => {
  // One byte: whether the client's library may be used by several threads. It changes nothing here.
  if (input !== undefined && input.length > 1) throw refuse('PKCS_11CodecError', 'C_Initialize takes one byte.');
  const sessions = openSessions(call);
  const own = [...sessions.values()].filter((session) => isOf(session, who)).length;
  if (sessions.size >= MAX_SESSIONS || own >= MAX_SESSIONS_PER_PRINCIPAL) return { code: 'SESSION_COUNT' };
  const id = randomBytes(18);
  sessions.set(id.toString('hex'), { ...who, touchedAt: call.now });
  return { code: 'OK', correlation: id };
};

const padded = (text: string): Buffer => Buffer.from(text.padEnd(32, ' '), 'utf8').subarray(0, 32);

/** CK_INFO (PKCS#11 v3.0 §3.1) as PKCS11-M-1 has it: version 2.40, manufacturer, 8 bytes of flags, description, version. */
const info = (): Buffer =>
  Buffer.concat([Buffer.from([2, 40]), padded('Aegis'), Buffer.alloc(8), padded('Aegis KMIP'), Buffer.from([1, 0])]);

/** A session is named by its Correlation Value; another's is not there. */
const inSession = (
  call: KmipCall,
  who: Who,
  correlation: Uint8Array | undefined,
  input: Uint8Array | undefined,
  run: (id: string) => Answer,
): Answer => {
  const id = Buffer.from(correlation ?? []).toString('hex');
  const session = openSessions(call).get(id);
  if (session === undefined || !isOf(session, who)) return { code: 'CRYPTOKI_NOT_INITIALIZED' };
  if (input !== undefined && input.length > 0) throw refuse('PKCS_11CodecError', 'The function takes no parameters.');
  session.touchedAt = call.now;
  return run(id);
};

const perform = async (name: string, payload: Fields, call: KmipCall): Promise<Answer> => {
  const who = await caller(call);
  const input = bytesOf(payload, 'PKCS_11InputParameters');
  const correlation = bytesOf(payload, 'CorrelationValue');
  const again = correlation === undefined || call.version !== '3.0' ? {} : { correlation };
  switch (name) {
    case 'C_Initialize':
      return initialize(call, who, input);
    case 'C_GetInfo':
      return inSession(call, who, correlation, input, () => ({ code: 'OK', output: info(), ...again }));
    case 'C_Finalize':
      return inSession(call, who, correlation, input, (id) => {
        openSessions(call).delete(id);
        return { code: 'OK', ...again };
      });
    default:
      return { code: 'FUNCTION_NOT_SUPPORTED', ...again };
  }
};

export const pkcs11: KmipHandler = async (payload, call) => {
  const name = payload['PKCS_11Function'];
  const wanted = payload['PKCS_11Interface'];
  if (wanted !== undefined && wanted !== INTERFACE) throw refuse('PKCS_11InvalidInterface', `The interface is "${INTERFACE}".`);
  if (typeof name !== 'string' || !FUNCTIONS.has(name)) throw refuse('PKCS_11InvalidFunction', 'The interface has no such function.');
  const { code, output, correlation } = await perform(name, payload, call);
  return {
    ...(wanted === undefined ? {} : { PKCS_11Interface: wanted }),
    PKCS_11Function: name,
    ...(correlation === undefined ? {} : { CorrelationValue: correlation }),
    ...(output === undefined ? {} : { PKCS_11OutputParameters: output }),
    PKCS_11ReturnCode: code,
  };
};

import { compareVersions, type KmipVersion } from '@aegis/kmip-ttlv';
import type { Fault, FaultCode } from '../../domain/index.js';
import { PROJECTIONS } from '../projections.js';

// Fault → Result Reason. PROJECTIONS says what a fault is in general; the rows here say where an operation or a version calls it otherwise.

interface ReasonOverride {
  readonly fault: FaultCode;
  /** Absent: every operation. */
  readonly operations?: ReadonlySet<string>;
  readonly since?: KmipVersion;
  readonly until?: KmipVersion;
  readonly reason: string;
}

const CRYPTOGRAPHY: ReadonlySet<string> = new Set(['Encrypt', 'Decrypt', 'Sign', 'SignatureVerify', 'MAC', 'MACVerify']);

const KEYED_CRYPTOGRAPHY: ReadonlySet<string> = new Set([...CRYPTOGRAPHY, 'DeriveKey', 'CreateSplitKey', 'JoinSplitKey']);

const OVERRIDES: readonly ReasonOverride[] = [
  // BL-M-4-21 and BL-M-4-30: an object that Get does not find is Object Not Found; the other operations keep Item Not Found (BL-M-20-30).
  { fault: 'not-found', operations: new Set(['Get', 'Export']), since: '2.0', reason: 'ObjectNotFound' },
  // CS-BC-M-7: spent usage limits refuse a cryptographic operation with Permission Denied in every version.
  { fault: 'usage-limit-reached', operations: CRYPTOGRAPHY, reason: 'PermissionDenied' },
  // BL-M-8-21: a name that is taken; 1.x has Invalid Field for it.
  { fault: 'already-exists', since: '2.0', reason: 'NonUniqueNameAttribute' },
  // KMIP 2.1 §6.1.17, §6.1.14: parameters that the standard has and the key's root of trust does not.
  { fault: 'unsupported-algorithm', operations: KEYED_CRYPTOGRAPHY, since: '2.0', reason: 'UnsupportedCryptographicParameters' },
  { fault: 'unsupported-operation', operations: KEYED_CRYPTOGRAPHY, reason: 'FeatureNotSupported' },
  { fault: 'payload-too-large', since: '2.0', reason: 'ServerLimitExceeded' },
  { fault: 'quota-exceeded', since: '2.0', reason: 'ServerLimitExceeded' },
  { fault: 'overloaded', since: '2.0', reason: 'ServerLimitExceeded' },
  { fault: 'internal', since: '2.0', reason: 'InternalServerError' },
];

const applies = (row: ReasonOverride, code: FaultCode, operation: string | undefined, version: KmipVersion): boolean =>
  row.fault === code &&
  (row.operations === undefined || (operation !== undefined && row.operations.has(operation))) &&
  (row.since === undefined || compareVersions(version, row.since) >= 0) &&
  (row.until === undefined || compareVersions(version, row.until) <= 0);

/** Result Reason of a fault, by name of the newest version; writing the message lowers it for the version. */
export function reasonOf(code: FaultCode, operation: string | undefined, version: KmipVersion): string {
  return OVERRIDES.find((row) => applies(row, code, operation, version))?.reason ?? PROJECTIONS[code].kmip;
}

/** Result Message: what the fault says, and the next step. */
export const messageOf = (fault: Fault): string => (fault.next === undefined ? fault.message : `${fault.message} ${fault.next}`);

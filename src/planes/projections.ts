import type { FaultCode } from '../domain/index.js';

/** One row per fault, one column per plane; the compiler refuses a fault without a row. KMIP and CKR columns are used by their planes as they arrive. */
export interface Projection {
  /** RFC 9457 status and title; `type` is `urn:aegis:problem:<code>`. */
  readonly http: number;
  readonly title: string;
  /** KMIP 1.4 §9.1.3.2.29 Result Reason name. */
  readonly kmip: string;
  /** PKCS#11 return value name. */
  readonly ckr: string;
  /** CLI exit code. */
  readonly exit: number;
}

const p = (http: number, title: string, kmip: string, ckr: string, exit: number): Projection => ({ http, title, kmip, ckr, exit });

/** Exit codes: 1 failure, 2 usage, 3 not authenticated, 4 denied, 5 not found, 6 conflict, 7 state, 8 unavailable, 9 verification failed. */
export const PROJECTIONS = {
  unauthenticated: p(401, 'Not authenticated', 'AuthenticationNotSuccessful', 'CKR_USER_NOT_LOGGED_IN', 3),
  'credential-expired': p(401, 'Credential expired', 'AuthenticationNotSuccessful', 'CKR_PIN_EXPIRED', 3),
  'credential-revoked': p(401, 'Credential revoked', 'AuthenticationNotSuccessful', 'CKR_PIN_INCORRECT', 3),
  'permission-denied': p(403, 'Permission denied', 'PermissionDenied', 'CKR_ACTION_PROHIBITED', 4),
  'step-up-required': p(403, 'Step-up required', 'PermissionDenied', 'CKR_ACTION_PROHIBITED', 4),
  'rate-limited': p(429, 'Rate limit reached', 'PermissionDenied', 'CKR_FUNCTION_FAILED', 4),
  'quota-exceeded': p(429, 'Quota exhausted', 'PermissionDenied', 'CKR_FUNCTION_FAILED', 4),
  'invalid-request': p(400, 'Invalid request', 'InvalidMessage', 'CKR_ARGUMENTS_BAD', 2),
  'invalid-field': p(400, 'Invalid field', 'InvalidField', 'CKR_ATTRIBUTE_VALUE_INVALID', 2),
  'payload-too-large': p(413, 'Payload too large', 'InvalidField', 'CKR_DATA_LEN_RANGE', 2),
  'unsupported-algorithm': p(422, 'Unsupported algorithm', 'CryptographicFailure', 'CKR_MECHANISM_INVALID', 2),
  'unsupported-operation': p(501, 'Unsupported operation', 'OperationNotSupported', 'CKR_FUNCTION_NOT_SUPPORTED', 2),
  'idempotency-mismatch': p(422, 'Idempotency key reused for another request', 'InvalidMessage', 'CKR_ARGUMENTS_BAD', 6),
  'not-found': p(404, 'Not found', 'ItemNotFound', 'CKR_OBJECT_HANDLE_INVALID', 5),
  'already-exists': p(409, 'Already exists', 'InvalidField', 'CKR_ATTRIBUTE_VALUE_INVALID', 6),
  conflict: p(409, 'Changed by someone else', 'GeneralFailure', 'CKR_FUNCTION_FAILED', 6),
  'precondition-required': p(412, 'Precondition failed', 'GeneralFailure', 'CKR_FUNCTION_FAILED', 6),
  'wrong-state': p(409, 'Wrong lifecycle state', 'WrongKeyLifecycleState', 'CKR_KEY_FUNCTION_NOT_PERMITTED', 7),
  destroyed: p(410, 'Destroyed', 'ObjectDestroyed', 'CKR_OBJECT_HANDLE_INVALID', 7),
  archived: p(409, 'Archived', 'ObjectArchived', 'CKR_KEY_FUNCTION_NOT_PERMITTED', 7),
  'usage-denied': p(409, 'Usage not allowed for this key', 'IncompatibleCryptographicUsageMask', 'CKR_KEY_FUNCTION_NOT_PERMITTED', 7),
  'outside-validity': p(409, 'Outside the key’s validity dates', 'WrongKeyLifecycleState', 'CKR_KEY_FUNCTION_NOT_PERMITTED', 7),
  'usage-limit-reached': p(409, 'Usage limit reached', 'UsageLimitExceeded', 'CKR_KEY_FUNCTION_NOT_PERMITTED', 7),
  'not-exportable': p(403, 'Not exportable', 'NotExtractable', 'CKR_KEY_UNEXTRACTABLE', 4),
  'not-extractable-sensitive': p(403, 'Sensitive', 'Sensitive', 'CKR_ATTRIBUTE_SENSITIVE', 4),
  'attribute-read-only': p(409, 'Attribute is read-only', 'AttributeReadOnly', 'CKR_ATTRIBUTE_READ_ONLY', 7),
  'attribute-not-found': p(404, 'Attribute not found', 'AttributeNotFound', 'CKR_ATTRIBUTE_TYPE_INVALID', 5),
  'wrong-object-type': p(409, 'Wrong object type', 'InvalidObjectType', 'CKR_KEY_TYPE_INCONSISTENT', 7),
  'decryption-failed': p(422, 'Decryption failed', 'CryptographicFailure', 'CKR_ENCRYPTED_DATA_INVALID', 9),
  'operation-unknown': p(404, 'Unknown operation', 'InvalidCorrelationValue', 'CKR_OPERATION_NOT_INITIALIZED', 5),
  'root-unavailable': p(503, 'Root of trust unavailable', 'GeneralFailure', 'CKR_DEVICE_ERROR', 8),
  'root-sealed': p(503, 'Root of trust sealed', 'GeneralFailure', 'CKR_DEVICE_ERROR', 8),
  'root-rejected': p(502, 'Root of trust refused', 'GeneralFailure', 'CKR_DEVICE_ERROR', 8),
  'storage-unavailable': p(503, 'Storage unavailable', 'GeneralFailure', 'CKR_DEVICE_ERROR', 8),
  'audit-unavailable': p(503, 'Audit unavailable', 'GeneralFailure', 'CKR_DEVICE_ERROR', 8),
  overloaded: p(503, 'Overloaded', 'GeneralFailure', 'CKR_HOST_MEMORY', 8),
  timeout: p(504, 'Timed out', 'GeneralFailure', 'CKR_DEVICE_ERROR', 8),
  'shutting-down': p(503, 'Shutting down', 'GeneralFailure', 'CKR_DEVICE_ERROR', 8),
  internal: p(500, 'Internal error', 'GeneralFailure', 'CKR_GENERAL_ERROR', 1),
} as const satisfies Record<FaultCode, Projection>;

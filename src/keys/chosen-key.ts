import type { BoundKey, VerificationKey } from '@aegis/rot-spi';
import { KEY_SPECS, type KeySpec, type KeyUsage } from '@aegis/rot-spi/vocabulary';
import {
  type AuthorizedCall,
  admission,
  CERTIFICATE_ATTRIBUTES,
  fail,
  type LifecycleGroup,
  type LoadedObject,
  type ManagedObject,
  type ObjectVersion,
  OPERATION_TABLE,
  type OperationName,
  parseObjectRef,
} from '../domain/index.js';
import { IMPORT_KEY_ATTRIBUTE } from './key-parts.js';
import { bindingOf } from './new-object.js';

/**
 * The second line behind the guard: a handler never trusts that someone else looked at the lifecycle. It costs a few
 * comparisons, and it means that a stage left out by mistake refuses instead of opening.
 */
const admitted = (object: ManagedObject, group: LifecycleGroup, archivedAllowed: boolean, now: number): void => {
  const refusal = admission(object, group, archivedAllowed, now);
  if (refusal !== undefined) throw refusal;
};

type AnyCall = Pick<AuthorizedCall<OperationName>, 'operation' | 'target' | 'others' | 'now' | 'tenant' | 'principal' | 'authentication'>;

/** An import-wrapping key unwraps imports until it expires, and does nothing else, whatever its usage mask says. */
const IMPORT_KEY_OPERATIONS: readonly OperationName[] = [
  'import-key',
  'get-object',
  'get-public-key',
  'key-evidence',
  'revoke',
  'archive',
  'recover',
  'destroy',
  'cancel-destroy',
];
export const isImportKey = (object: ManagedObject): boolean => object.attributes[IMPORT_KEY_ATTRIBUTE] === true;
const importKeyStays = (object: ManagedObject, operation: OperationName): void => {
  if (!isImportKey(object) || IMPORT_KEY_OPERATIONS.includes(operation)) return;
  throw fail('usage-denied', 'An import-wrapping key only unwraps imports.', { next: 'Use import-key, or another key.' });
};

/**
 * The key of an authority signs what the authority's own operations build, and nothing else: whoever could have it sign bytes
 * of his choosing could make certificates that nobody issued. Nor does it change: its certificate names this very key.
 */
const AUTHORITY_KEY_OPERATIONS: readonly OperationName[] = [
  'get-object',
  'get-public-key',
  'key-evidence',
  'update-object',
  'revoke',
  'archive',
  'recover',
  'destroy',
  'cancel-destroy',
  'verify',
];
export const isAuthorityKey = (object: ManagedObject): boolean =>
  object.type === 'private-key' && object.attributes[CERTIFICATE_ATTRIBUTES.authority] === true;
const authorityKeyStays = (object: ManagedObject, operation: OperationName): void => {
  if (!isAuthorityKey(object) || AUTHORITY_KEY_OPERATIONS.includes(operation)) return;
  throw fail('usage-denied', 'The key of a certificate authority only signs certificates and revocation lists.', {
    next: 'Use issue-certificate, or another key.',
  });
};

/** What of an object of the service's own anybody may do whom policy lets: look at it, and use its public half. */
const LOOKING: readonly OperationName[] = ['get-object', 'get-public-key', 'key-evidence', 'export-key', 'verify'];
/**
 * Authorities, and certificates that stand for principals, belong to nobody's own keys: a role that may do everything with
 * keys (a storage array's) must not be able to revoke the certificate of its neighbour. Operations on certificates have their
 * own actions in policy.
 */
const serviceObjectStays = (object: ManagedObject, call: AnyCall): void => {
  if (object.attributes[CERTIFICATE_ATTRIBUTES.service] !== true) return;
  if (LOOKING.includes(call.operation) || OPERATION_TABLE[call.operation].action.startsWith('certificates:')) return;
  if (call.authentication.method === 'internal' || call.principal.roles.includes('admin')) return;
  throw fail('permission-denied', 'The object belongs to the service’s own certificates.', { next: 'Ask an administrator.' });
};

/** The call's target, admitted once more for the operation (or the group) at hand. */
export const targetOf = (call: AnyCall, group?: LifecycleGroup): LoadedObject => {
  const { target } = call;
  if (target === undefined || target.object.tenant !== call.tenant)
    throw fail('not-found', 'No such object.', { next: 'Check the id or name.' });
  const row = OPERATION_TABLE[call.operation];
  admitted(target.object, group ?? row.lifecycle, row.archivedAllowed, call.now);
  importKeyStays(target.object, call.operation);
  authorityKeyStays(target.object, call.operation);
  serviceObjectStays(target.object, call);
  return target;
};

/** An object of the row's `alsoUses`. */
export const otherOf = (call: AnyCall, field: string): LoadedObject => {
  const other = call.others[field];
  if (other === undefined || other.object.tenant !== call.tenant) {
    throw fail('not-found', 'No such object.', { field, next: 'Check the id or name.' });
  }
  // `parts.0` is the first item of the row's field `parts`.
  const named = field.replace(/\.[0-9]+$/, '');
  const row = OPERATION_TABLE[call.operation].alsoUses?.find((u) => u.field === named);
  admitted(other.object, row?.lifecycle ?? 'protect', false, call.now);
  importKeyStays(other.object, call.operation);
  authorityKeyStays(other.object, call.operation);
  serviceObjectStays(other.object, call);
  return other;
};

export const requireUsage = (object: ManagedObject, usage: KeyUsage): void => {
  if (object.usage.includes(usage)) return;
  throw fail('usage-denied', `The key may not ${usage}; its usages are: ${object.usage.join(', ') || 'none'}.`, {
    next: 'Use a key created with this usage.',
  });
};

export const specOf = (object: ManagedObject): KeySpec => {
  if (object.spec !== undefined) return object.spec;
  throw fail('wrong-object-type', `A ${object.type} is not a key.`, { next: 'Use a key.' });
};

/** Version asked for by field or by `name@3`; both must agree. */
export const pinnedVersion = (version: number | undefined, ref: string | undefined): number | undefined => {
  const named = ref === undefined ? undefined : parseObjectRef(ref).version;
  if (version !== undefined && (!Number.isSafeInteger(version) || version < 1)) {
    throw fail('invalid-field', 'A version is a whole number from 1.', { field: 'version', next: 'Correct it, or leave it out.' });
  }
  if (version !== undefined && named !== undefined && version !== named) {
    throw fail('invalid-field', 'The reference names another version.', { field: 'version', next: 'Give the version once.' });
  }
  return version ?? named;
};

const findVersion = ({ object, versions }: LoadedObject, number: number): ObjectVersion => {
  const version = versions.find((v) => v.version === number);
  if (version === undefined) {
    throw fail('not-found', `The object has no version ${number}; its current version is ${object.currentVersion}.`, {
      field: 'version',
      next: 'Use an existing version.',
    });
  }
  if (version.state === 'destroyed') throw fail('destroyed', `Version ${number} is destroyed.`, { next: 'Use another version.' });
  return version;
};

/** The version that protects: the current one; pinning an older one is refused, not ignored. */
export const protectVersion = (loaded: LoadedObject, pinned: number | undefined): ObjectVersion => {
  const current = loaded.object.currentVersion;
  if (pinned !== undefined && pinned !== current) {
    findVersion(loaded, pinned);
    throw fail('wrong-state', `Version ${pinned} is superseded; only version ${current} protects.`, {
      field: 'version',
      next: 'Leave the version out.',
    });
  }
  return findVersion(loaded, current);
};

/** The version that processes: the pinned one, else the current one. */
export const processVersion = (loaded: LoadedObject, pinned: number | undefined): ObjectVersion =>
  findVersion(loaded, pinned ?? loaded.object.currentVersion);

/** Older versions tried by one verification; more would let a caller multiply its work. */
const MAX_VERSIONS_TRIED = 16;
/** The pinned version alone, or the current one and then superseded ones, newest first, bounded. */
export const verifyVersions = (loaded: LoadedObject, pinned: number | undefined): readonly ObjectVersion[] => {
  if (pinned !== undefined) return [findVersion(loaded, pinned)];
  const living = loaded.versions.filter((v) => v.state !== 'destroyed').sort((a, b) => b.version - a.version);
  const current = living.filter((v) => v.version === loaded.object.currentVersion);
  return [...current, ...living.filter((v) => v.version !== loaded.object.currentVersion)].slice(0, MAX_VERSIONS_TRIED);
};

/** Key in its root, for what only the secret half can do. */
export const boundKey = (object: ManagedObject, version: ObjectVersion): BoundKey => {
  if (version.reference.length === 0) {
    throw fail('wrong-object-type', `A ${object.type} has no secret part.`, { next: 'Use the private or symmetric key.' });
  }
  return { reference: version.reference, binding: bindingOf(object, version.version) };
};

/** Key for what the public half can do: the bound key where there is one (its root vouches for it), else the public bytes. */
export const verificationKey = (object: ManagedObject, version: ObjectVersion): VerificationKey => {
  if (version.reference.length > 0) return boundKey(object, version);
  if (version.publicKey !== undefined) return { publicKey: version.publicKey, spec: specOf(object) };
  throw fail('wrong-object-type', `A ${object.type} is not a key.`, { next: 'Use a key.' });
};

export const isPair = (spec: KeySpec): boolean => KEY_SPECS[spec].shape === 'pair';

/** Different roots never exchange keys in clear, and nothing passes through this process instead. */
export const requireSameRoot = (a: ManagedObject, b: ManagedObject, what: string): void => {
  if (a.rootId === b.rootId) return;
  throw fail('unsupported-operation', `The keys live in different roots of trust ("${a.rootId}" and "${b.rootId}"): ${what}.`, {
    next: 'Use two keys of the same root, or export wrapped and import with an import-wrapping key.',
  });
};

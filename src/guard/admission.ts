import type { KeyUsage } from '@aegis/rot-spi/vocabulary';
import {
  admission,
  type Fault,
  type LifecycleGroup,
  type ManagedObject,
  OPERATION_TABLE,
  type OperationName,
  type OperationRow,
} from '../domain/index.js';

/**
 * Whether an object may take part in an operation at all, whoever asks: tenant, lifecycle, archive, dates, usage mask. One
 * place for every plane, before the operation runs. Pure: the tables are the domain's.
 */

/** Usages the operations table leaves open because the object is not the one the operation is named after. */
const ROLE_USAGE: Readonly<Record<string, KeyUsage>> = {
  /** `alsoUses` of export-key and wrap. */
  'keys:wrap': 'wrap',
  /** `alsoUses` of re-encrypt. */
  'keys:encrypt': 'encrypt',
  /** `alsoUses` of derive: the secret that is the derivation data (KMIP 1.4 §4.6). */
  'keys:derive': 'derive',
  /** The target of import-key is the key that unwraps (KMIP 1.4 §2.1.6 key wrapping). */
  'keys:import': 'unwrap',
};

export interface Requirement {
  readonly lifecycle: LifecycleGroup;
  readonly usage: KeyUsage | undefined;
  /** Allows it as well as `usage`. */
  readonly orUsage?: KeyUsage;
  readonly archivedAllowed: boolean;
}

/** What a row requires of its target. */
const ownRequirement = (row: OperationRow): Requirement => ({
  lifecycle: row.lifecycle,
  usage: row.usage ?? (row.target === undefined ? undefined : ROLE_USAGE[row.action]),
  ...(row.orUsage === undefined ? {} : { orUsage: row.orUsage }),
  archivedAllowed: row.archivedAllowed,
});

const OWN = Object.fromEntries(Object.entries(OPERATION_TABLE).map(([name, row]) => [name, ownRequirement(row)])) as Readonly<
  Record<OperationName, Requirement>
>;
export const targetRequirement = (operation: OperationName): Requirement => OWN[operation];

const OTHERS = Object.fromEntries(
  Object.entries(OPERATION_TABLE).flatMap(([name, row]) =>
    (row.alsoUses ?? []).map(({ field, action, lifecycle }) => [
      `${name}.${field}`,
      { lifecycle, usage: ROLE_USAGE[action], archivedAllowed: false } satisfies Requirement,
    ]),
  ),
) as Readonly<Record<string, Requirement>>;
export const otherRequirement = (operation: OperationName, field: string): Requirement | undefined =>
  OTHERS[`${operation}.${field.replace(/\.[0-9]+$/, '')}`];

const displayName = (object: ManagedObject): string => object.names[0] ?? object.id;

/** The fault that keeps this object out, or nothing. */
export const admit = (object: ManagedObject, requirement: Requirement, tenant: string, now: number): Fault | undefined => {
  // Unreachable while the loader honours its tenant argument; checked because everything else rests on it.
  if (object.tenant !== tenant) return { code: 'not-found', message: 'No such object.' };
  const refusal = admission(object, requirement.lifecycle, requirement.archivedAllowed, now);
  if (refusal !== undefined) return refusal.fault;
  const { usage, orUsage } = requirement;
  if (usage !== undefined && !object.usage.includes(usage) && !(orUsage !== undefined && object.usage.includes(orUsage))) {
    return {
      code: 'usage-denied',
      message: `\`${displayName(object)}\` is not made for ${usage}; its usages are: ${object.usage.join(', ') || 'none'}.`,
      next: `Use a key created with usage ${usage}.`,
    };
  }
  return undefined;
};

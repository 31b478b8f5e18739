import type { LifecycleState } from './managed-object.js';
import type { OperationName } from './operations.js';

/** What the lifecycle says to an operation on an object in a state. */
export type LifecycleVerdict = 'allow' | 'wrong-state' | 'destroyed';

/**
 * Groups of operations that the lifecycle treats alike; each operation row names its group (operations.ts), so that the
 * table is total over state × group and, through the rows, over state × operation.
 *
 * - `protect`: applies protection (sign, encrypt, wrap, mac, derive, agree) — active only (SP 800-57 part 1 §7.3).
 * - `process`: processes what was protected (verify, decrypt, unwrap, mac-verify) — active, deactivated, compromised.
 */
export const LIFECYCLE_GROUPS = [
  'none',
  'read',
  'export',
  'annotate',
  'activate',
  'protect',
  'process',
  'rotate',
  'revoke',
  'archive',
  'destroy',
  'cancel-destroy',
] as const;
export type LifecycleGroup = (typeof LIFECYCLE_GROUPS)[number];

const A = 'allow';
const W = 'wrong-state';
const D = 'destroyed';

/** state × group, total by construction. */
export const LIFECYCLE: Readonly<Record<LifecycleState, Readonly<Record<LifecycleGroup, LifecycleVerdict>>>> = {
  'pre-active': {
    none: A,
    read: A,
    export: A,
    annotate: A,
    activate: A,
    protect: W,
    process: W,
    rotate: A,
    revoke: A,
    archive: A,
    destroy: A,
    'cancel-destroy': A,
  },
  active: {
    none: A,
    read: A,
    export: A,
    annotate: A,
    activate: W,
    protect: A,
    process: A,
    rotate: A,
    revoke: A,
    archive: A,
    destroy: W,
    'cancel-destroy': A,
  },
  deactivated: {
    none: A,
    read: A,
    export: A,
    annotate: A,
    activate: W,
    protect: W,
    process: A,
    rotate: W,
    revoke: A,
    archive: A,
    destroy: A,
    'cancel-destroy': A,
  },
  compromised: {
    none: A,
    read: A,
    export: A,
    annotate: A,
    activate: W,
    protect: W,
    process: A,
    rotate: A,
    revoke: A,
    archive: A,
    destroy: A,
    'cancel-destroy': A,
  },
  destroyed: {
    none: A,
    read: A,
    export: D,
    annotate: D,
    activate: D,
    protect: D,
    process: D,
    rotate: D,
    revoke: A,
    archive: D,
    destroy: D,
    'cancel-destroy': D,
  },
  'destroyed-compromised': {
    none: A,
    read: A,
    export: D,
    annotate: D,
    activate: D,
    protect: D,
    process: D,
    rotate: D,
    revoke: D,
    archive: D,
    destroy: D,
    'cancel-destroy': D,
  },
};

export const lifecycleVerdict = (state: LifecycleState, group: LifecycleGroup): LifecycleVerdict => LIFECYCLE[state][group];
export type { OperationName };

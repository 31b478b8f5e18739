import { type FaultError, fail } from './fault.js';
import { type LifecycleGroup, lifecycleVerdict } from './lifecycle.js';
import type { LifecycleState, ManagedObject } from './managed-object.js';

/**
 * Dates take effect at their instant, not when some job gets round to them. Whoever judges an object — the guard before
 * a handler runs, a handler, a view — uses `effectiveState` (or `admission`, which contains it), never `object.state`
 * alone. The scheduler only materialises in the row what is already true here (KMIP 1.4 §3.22, transitions 4 and 6).
 */
export const effectiveState = (object: Pick<ManagedObject, 'state' | 'dates'>, now: number): LifecycleState => {
  const { activation, deactivation, destroyDue } = object.dates;
  let state = object.state;
  // What waits to be destroyed does not come to life meanwhile: an active object could not be destroyed when due.
  if (state === 'pre-active' && destroyDue === undefined && activation !== undefined && activation <= now) state = 'active';
  if (state === 'active' && deactivation !== undefined && deactivation <= now) state = 'deactivated';
  return state;
};

/** The object with its effective state written in; the same object when nothing changed. */
export const materialise = (object: ManagedObject, now: number): ManagedObject => {
  const state = effectiveState(object, now);
  return state === object.state ? object : { ...object, state };
};

const groupVerb: Readonly<Record<LifecycleGroup, string>> = {
  none: 'used',
  read: 'read',
  export: 'exported',
  annotate: 'changed',
  activate: 'activated',
  protect: 'used to protect data',
  process: 'used to process data',
  rotate: 'rotated',
  revoke: 'revoked',
  archive: 'archived or recovered',
  destroy: 'destroyed',
  'cancel-destroy': 'saved from destruction',
};

const nextStep = (state: LifecycleState, group: LifecycleGroup): string => {
  if (state === 'pre-active') return 'Activate it first.';
  if (group === 'destroy' && state === 'active') return 'Revoke it first, then destroy it.';
  if (group === 'activate') return 'Nothing to do, or create a replacement with re-key.';
  return 'Create a replacement with re-key, or use another key.';
};

/**
 * Whether the lifecycle, the archive flag and the validity dates admit an operation of this group now; the fault, or
 * nothing. `archivedAllowed` comes from the operation's row. KMIP 1.4 §3.25, §3.26: Process Start bounds processing and
 * protection from below, Protect Stop bounds protection from above.
 */
export const admission = (object: ManagedObject, group: LifecycleGroup, archivedAllowed: boolean, now: number): FaultError | undefined => {
  if (group === 'none') return undefined;
  const state = effectiveState(object, now);
  const verdict = lifecycleVerdict(state, group);
  if (verdict === 'destroyed')
    return fail('destroyed', `The object is ${state}.`, { next: 'Use another object; destroyed material never returns.' });
  if (verdict === 'wrong-state') {
    return fail('wrong-state', `An object that is ${state} cannot be ${groupVerb[group]}.`, { next: nextStep(state, group) });
  }
  if (object.archived && !archivedAllowed && group !== 'read') {
    return fail('archived', 'The object is archived.', { next: 'Recover it first.' });
  }
  return dateRefusal(object, group, now);
};

const dateRefusal = (object: ManagedObject, group: LifecycleGroup, now: number): FaultError | undefined => {
  const { processStart, protectStop, destroyDue } = object.dates;
  // The pending window is over: only the destroy itself, reading and a compromise report are left.
  if (destroyDue !== undefined && destroyDue <= now && group !== 'read' && group !== 'destroy' && group !== 'revoke') {
    return fail('destroyed', 'The object’s pending destruction is due.', { next: 'Use another object.' });
  }
  if (destroyDue !== undefined && group === 'activate') {
    return fail('wrong-state', 'The object is scheduled for destruction.', { next: 'Cancel the destruction first.' });
  }
  if ((group === 'protect' || group === 'process') && processStart !== undefined && now < processStart) {
    return fail('outside-validity', `The object may be used from ${new Date(processStart).toISOString()}.`, {
      next: 'Wait, or change its process-start date.',
    });
  }
  if (group === 'protect' && protectStop !== undefined && now >= protectStop) {
    return fail('outside-validity', `The object stopped protecting data at ${new Date(protectStop).toISOString()}.`, {
      next: 'Rotate or re-key it.',
    });
  }
  return undefined;
};

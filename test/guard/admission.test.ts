import { describe, expect, it } from 'vitest';
import {
  LIFECYCLE_GROUPS,
  LIFECYCLE_STATES,
  type LifecycleGroup,
  type LifecycleState,
  lifecycleVerdict,
  type ManagedObject,
  OPERATION_NAMES,
  OPERATION_TABLE,
} from '../../src/domain/index.js';
import { admit, otherRequirement, type Requirement, targetRequirement } from '../../src/guard/admission.js';
import { makeObject, NOW, TENANT } from './harness.js';

const need = (lifecycle: LifecycleGroup, over: Partial<Requirement> = {}): Requirement => ({
  lifecycle,
  usage: undefined,
  archivedAllowed: false,
  ...over,
});
const code = (object: ManagedObject, requirement: Requirement, now = NOW): string =>
  admit(object, requirement, TENANT, now)?.code ?? 'admitted';
const dated = (dates: Partial<ManagedObject['dates']>, state: LifecycleState = 'active'): ManagedObject =>
  makeObject({ state, dates: { created: 0, lastChange: 0, ...dates } });

describe('admission', () => {
  it('follows the lifecycle table for every state × group', () => {
    for (const state of LIFECYCLE_STATES) {
      for (const group of LIFECYCLE_GROUPS) {
        const verdict = lifecycleVerdict(state, group);
        expect(code(makeObject({ state }), need(group)), `${state} × ${group}`).toBe(verdict === 'allow' ? 'admitted' : verdict);
      }
    }
  });

  it('follows the table for every state × operation, on targets and on further objects', () => {
    for (const state of LIFECYCLE_STATES) {
      for (const name of OPERATION_NAMES) {
        const row = OPERATION_TABLE[name];
        const object = makeObject({ state });
        const verdict = lifecycleVerdict(state, row.lifecycle);
        expect(code(object, targetRequirement(name)), `${state} × ${name}`).toBe(verdict === 'allow' ? 'admitted' : verdict);
        for (const { field, lifecycle } of row.alsoUses ?? []) {
          const requirement = otherRequirement(name, field);
          const other = lifecycleVerdict(state, lifecycle);
          expect(requirement, `${name}.${field}`).toBeDefined();
          expect(code(object, requirement as Requirement), `${state} × ${name}.${field}`).toBe(other === 'allow' ? 'admitted' : other);
        }
      }
    }
  });

  it('refuses archived objects except where the row allows them', () => {
    for (const name of OPERATION_NAMES) {
      const row = OPERATION_TABLE[name];
      if (row.target === undefined || row.lifecycle === 'none') continue;
      const state = LIFECYCLE_STATES.find((s) => lifecycleVerdict(s, row.lifecycle) === 'allow') as LifecycleState;
      expect(code(makeObject({ state, archived: true }), targetRequirement(name)), name).toBe(
        row.archivedAllowed ? 'admitted' : 'archived',
      );
    }
  });

  it('requires the usage of the row, of import’s unwrapping key, and of wrapping and re-encryption keys', () => {
    for (const name of OPERATION_NAMES) {
      const row = OPERATION_TABLE[name];
      const usage = name === 'import-key' ? 'unwrap' : row.usage;
      expect(targetRequirement(name).usage, name).toBe(usage);
      if (usage === undefined) continue;
      const state = LIFECYCLE_STATES.find((s) => lifecycleVerdict(s, row.lifecycle) === 'allow') as LifecycleState;
      expect(code(makeObject({ state, usage: [] }), targetRequirement(name)), name).toBe('usage-denied');
      expect(code(makeObject({ state, usage: [usage] }), targetRequirement(name)), name).toBe('admitted');
    }
    expect(otherRequirement('wrap', 'wrappingKey')?.usage).toBe('wrap');
    expect(otherRequirement('export-key', 'wrappingKey')?.usage).toBe('wrap');
    expect(otherRequirement('re-encrypt', 'to')?.usage).toBe('encrypt');
    expect(otherRequirement('sign', 'wrappingKey')).toBeUndefined();
  });

  it('honours process start and protect stop to the millisecond', () => {
    for (const group of LIFECYCLE_GROUPS) {
      const starts = group === 'process' || group === 'protect';
      expect(code(dated({ processStart: NOW + 1 }), need(group)) === 'outside-validity', `start × ${group}`).toBe(starts);
      expect(code(dated({ processStart: NOW }), need(group))).not.toBe('outside-validity');
      expect(code(dated({ protectStop: NOW }), need(group)) === 'outside-validity', `stop × ${group}`).toBe(group === 'protect');
      expect(code(dated({ protectStop: NOW + 1 }), need(group))).not.toBe('outside-validity');
    }
  });

  it('lets activation and deactivation dates take effect on time, whatever the stored state says', () => {
    expect(code(dated({ activation: NOW + 1 }, 'pre-active'), need('protect'))).toBe('wrong-state');
    expect(code(dated({ activation: NOW }, 'pre-active'), need('protect'))).toBe('admitted');
    expect(code(dated({ deactivation: NOW + 1 }), need('protect'))).toBe('admitted');
    expect(code(dated({ deactivation: NOW }), need('protect'))).toBe('wrong-state');
    expect(code(dated({ deactivation: NOW }), need('process'))).toBe('admitted');
    expect(code(dated({ activation: NOW - 2, deactivation: NOW - 1 }, 'pre-active'), need('protect'))).toBe('wrong-state');
    expect(code(dated({ activation: NOW - 1 }, 'destroyed'), need('protect'))).toBe('destroyed');
  });

  it('treats a destruction that is due as done', () => {
    expect(code(dated({ destroyDue: NOW }, 'deactivated'), need('process'))).toBe('destroyed');
    expect(code(dated({ destroyDue: NOW }, 'deactivated'), need('cancel-destroy'))).toBe('destroyed');
    expect(code(dated({ destroyDue: NOW }, 'deactivated'), need('destroy'))).toBe('admitted');
    expect(code(dated({ destroyDue: NOW + 1 }, 'deactivated'), need('cancel-destroy'))).toBe('admitted');
  });

  it('refuses another tenant’s object as if it were not there', () => {
    expect(code(makeObject({ tenant: 'globex' }), need('read'))).toBe('not-found');
  });

  it('says what state it is in and what to do next', () => {
    for (const state of LIFECYCLE_STATES) {
      for (const group of LIFECYCLE_GROUPS) {
        const fault = admit(makeObject({ state }), need(group), TENANT, NOW);
        if (fault === undefined) continue;
        expect(fault.message).toContain(state);
        expect(fault.next?.length ?? 0).toBeGreaterThan(5);
      }
    }
    const usage = admit(makeObject({ usage: ['sign'] }), need('process', { usage: 'decrypt' }), TENANT, NOW);
    expect(usage?.message).toContain('decrypt');
    expect(usage?.message).toContain('sign');
  });
});

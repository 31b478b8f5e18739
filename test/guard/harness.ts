import {
  type Authentication,
  type Caller,
  type Change,
  type Fault,
  type Handlers,
  type LoadedObject,
  type ManagedObject,
  OPERATION_NAMES,
  type OperationName,
  type Planned,
  type PolicyDecision,
  type Principal,
  toKeyHandle,
} from '../../src/domain/index.js';
import { makeGuard } from '../../src/guard/guard.js';
import type { AuditDraft, GuardParts, PolicyQuestion } from '../../src/guard/ports.js';

export const NOW = 1_800_000_000_000;
export const TENANT = 'acme';

export const human: Principal = {
  kind: 'human',
  id: 'p-alice',
  tenant: TENANT,
  name: 'alice',
  roles: ['operator'],
  tags: {},
  disabled: false,
  createdAt: 0,
  revision: 1,
};
export const authentication: Authentication = { method: 'token', credentialId: 't-1' };

export const makeObject = (over: Partial<ManagedObject> = {}): ManagedObject => ({
  id: toKeyHandle('11111111-1111-4111-8111-111111111111'),
  tenant: TENANT,
  type: 'private-key',
  spec: 'ec-p256',
  usage: ['sign', 'verify', 'encrypt', 'decrypt', 'mac', 'mac-verify', 'wrap', 'unwrap', 'derive', 'agree'],
  state: 'active',
  archived: false,
  exportable: true,
  protection: 'software',
  rootId: 'software',
  currentVersion: 1,
  names: ['invoice'],
  tags: {},
  dates: { created: 0, lastChange: 0 },
  uses: 0,
  links: [],
  owner: 'p-alice',
  attributes: {},
  revision: 7,
  ...over,
});
export const loaded = (object: ManagedObject): LoadedObject => ({ object, versions: [] });

export const caller = (over: Partial<Caller> = {}): Caller => ({
  plane: 'rest',
  credential: { kind: 'bearer', token: 'secret-token' },
  requestId: 'r-1',
  source: '10.0.0.1',
  ...over,
});

/** What happened in a run, in order. */
export interface Trace {
  readonly events: string[];
  readonly intents: AuditDraft[];
  readonly records: { readonly record: AuditDraft; readonly changes: readonly Change[] }[];
  /** Changes that took. */
  readonly committed: Change[];
  readonly problems: { stage: string; error: unknown }[];
  readonly questions: PolicyQuestion[];
}

export interface Bench {
  readonly trace: Trace;
  readonly parts: GuardParts;
  readonly guard: ReturnType<typeof makeGuard>;
}

export const CHANGE: Change = { kind: 'put-setting', tenant: TENANT, name: 'x', value: 1 };
const ALLOW: PolicyDecision = { effect: 'allow', statement: 'test/allow', reason: 'test' };

/** A guard over fakes that all say yes; `over` replaces parts. */
export const makeBench = (
  over: (trace: Trace) => Partial<GuardParts> = () => ({}),
  objects: readonly ManagedObject[] = [makeObject()],
  plan: (trace: Trace, operation: OperationName) => Planned = () => ({ response: {} as never, changes: [CHANGE] }),
): Bench => {
  const trace: Trace = { events: [], intents: [], records: [], committed: [], problems: [], questions: [] };
  const handlers = Object.fromEntries(
    OPERATION_NAMES.map((name) => [
      name,
      async () => {
        trace.events.push('operation');
        return plan(trace, name);
      },
    ]),
  ) as unknown as Handlers;
  const parts: GuardParts = {
    identifier: {
      identify: async () => {
        trace.events.push('identity');
        return { principal: human, authentication };
      },
    },
    policy: {
      decide: (question) => {
        trace.events.push('policy');
        trace.questions.push(question);
        return ALLOW;
      },
      limit: () => undefined,
    },
    objects: {
      load: async (_tenant, ref) => {
        const object = objects.find((o) => o.id === ref || o.names.includes(ref));
        return object === undefined ? undefined : loaded(object);
      },
    },
    handlers,
    journal: {
      intent: async (record) => {
        trace.events.push('intent');
        trace.intents.push(record);
      },
      commit: async (record, changes): Promise<Fault | undefined> => {
        trace.events.push('commit');
        trace.records.push({ record, changes });
        trace.committed.push(...changes);
        return undefined;
      },
    },
    detectors: [],
    responders: [],
    clock: () => NOW,
    serving: () => undefined,
    onProblem: (problem) => {
      trace.problems.push(problem);
    },
    ...over(trace),
  };
  return { trace, parts, guard: makeGuard(parts) };
};

/** A request that names what the row's target and others need. */
export const requestFor = (name: OperationName): Record<string, unknown> => ({
  key: 'invoice',
  from: 'invoice',
  to: 'invoice',
  wrappingKey: 'invoice',
  unwrappingKey: 'invoice',
  parts: ['invoice'],
  kind: name === 'create-principal' ? 'human' : 'sign',
});

export const settleSoon = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

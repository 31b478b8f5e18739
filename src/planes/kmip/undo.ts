import {
  type Caller,
  FaultError,
  type GuardedService,
  type ManagedObject,
  type ObjectView,
  type OperationName,
  type OperationRequest,
  type OperationResponse,
} from '../../domain/index.js';
import { refuse } from './contract.js';

/** Takes back what a batch did. */
export interface Undo {
  /** Runs a call and remembers how to take it back. */
  around<O extends OperationName>(
    operation: O,
    request: OperationRequest<O>,
    run: () => Promise<OperationResponse<O>>,
  ): Promise<OperationResponse<O>>;
  add(step: () => Promise<void>): void;
  /** The batch succeeded: what was held back happens now; answers what went wrong. */
  commit(): Promise<unknown[]>;
  /** Runs every step, last first; answers what went wrong. */
  rollback(): Promise<unknown[]>;
}

/**
 * How each operation that changes something is taken back.
 * - `unmake`: the objects it made are destroyed without a trace
 * - `restore`: the object named by `key`, and those it links to, become what they were
 * - `hold`: done only when the batch has succeeded
 * - `own`: a way of its own, below
 * - `keep`: leaves nothing that could be taken back (entropy, a line in the audit trail, a stream)
 * - `refuse`: cannot be taken back, so that a batch which may be undone does not do it at all
 */
type Way = 'unmake' | 'restore' | 'unmake-and-restore' | 'hold' | 'own' | 'keep' | 'refuse';

export const UNDO_WAYS: Readonly<Partial<Record<OperationName, Way>>> = {
  'create-key': 'unmake',
  'create-key-pair': 'unmake',
  register: 'unmake',
  'import-key': 'unmake',
  unwrap: 'unmake',
  // The base gets a link to what was made from it.
  derive: 'unmake-and-restore',
  agree: 'unmake-and-restore',
  encapsulate: 'unmake-and-restore',
  decapsulate: 'unmake-and-restore',
  'split-key': 'unmake',
  'join-key': 'unmake',
  'issue-certificate': 'unmake',
  're-key': 'unmake-and-restore',
  'renew-certificate': 'unmake-and-restore',
  'update-object': 'restore',
  activate: 'restore',
  revoke: 'restore',
  archive: 'restore',
  recover: 'restore',
  'cancel-destroy': 'restore',
  destroy: 'hold',
  'set-creation-rules': 'own',
  'create-principal': 'own',
  'issue-token': 'own',
  // Of a principal that is made in the same batch, and goes with it.
  'set-login': 'keep',
  'log-message': 'keep',
  'seed-random': 'keep',
  'update-operation': 'keep',
  'finish-operation': 'keep',
  'cancel-operation': 'keep',
  'restore-object': 'keep',
  rotate: 'refuse',
  'adopt-key': 'refuse',
  'create-import-wrapping-key': 'refuse',
  'create-authority': 'refuse',
  'revoke-certificate': 'refuse',
  'update-principal': 'refuse',
  'delete-principal': 'refuse',
  'revoke-token': 'refuse',
  'put-policy': 'refuse',
  'delete-policy': 'refuse',
  'rollback-policy': 'refuse',
  'rotate-seal': 'refuse',
};

/** Destroyed material does not return: within a batch that may be undone a destroy is only scheduled, and done when the batch succeeds. */
const HELD_BACK_MS = 60 * 60_000;

const madeIds = (response: unknown): string[] => {
  const { object, items, publicKeyId, id } = response as Record<string, unknown>;
  const own = (object as ManagedObject | undefined)?.id ?? id;
  const many = ((items ?? []) as readonly ObjectView[]).map((one) => one.object.id);
  return [own, publicKeyId, ...many].filter((one): one is string => typeof one === 'string');
};

const cannotUndo = () => refuse('FeatureNotSupported', 'This cannot be undone: send it in a batch of its own, or without Undo.');

export function makeUndo(service: GuardedService, caller: Caller): Undo {
  const steps: (() => Promise<void>)[] = [];
  const heldBack: (() => Promise<unknown>)[] = [];

  const call = async <O extends OperationName>(operation: O, request: OperationRequest<O>): Promise<OperationResponse<O>> => {
    const result = await service(operation, request, caller);
    if (!result.ok) throw new FaultError(result.fault);
    return result.value;
  };
  const view = (key: string): Promise<ObjectView> => call('get-object', { key });

  /** The object and those it links to, whose links and names a change may rewrite. */
  const snapshot = async (key: string): Promise<ManagedObject[]> => {
    const { object } = await view(key);
    const linked = await Promise.all(
      object.links.map((link) =>
        view(link.target).then(
          (one) => one.object,
          () => undefined,
        ),
      ),
    );
    return [object, ...linked.filter((one): one is ManagedObject => one !== undefined)];
  };
  const restore = async (before: ManagedObject): Promise<void> => {
    const { object } = await view(before.id);
    if (object.revision === before.revision) return;
    await call('restore-object', { key: object.id, revision: object.revision, snapshot: before });
  };
  const unmake = async (id: string): Promise<void> => {
    const { object } = await view(id);
    if (object.state === 'destroyed' || object.state === 'destroyed-compromised') return;
    if (object.state === 'active') await call('restore-object', { key: id, revision: object.revision, created: true });
    await call('destroy', { key: id, pendingMs: 0, obliterate: true });
  };

  const destroy = async (request: OperationRequest<'destroy'>): Promise<ObjectView> => {
    const [before] = await snapshot(request.key);
    const answer = await call('destroy', { key: request.key, pendingMs: HELD_BACK_MS });
    steps.push(() => restore(before as ManagedObject));
    heldBack.push(() => call('destroy', { ...request, key: answer.object.id }));
    return answer;
  };
  const rules = async (): Promise<void> => {
    const before = await call('get-creation-rules', {});
    steps.push(async () => {
      await call('set-creation-rules', { constraints: before.constraints ?? null, defaults: before.defaults ?? null });
    });
  };

  return {
    async around(operation, request, run) {
      const way = UNDO_WAYS[operation];
      const { key, replaces } = request as { key?: unknown; replaces?: unknown };
      if (way === 'refuse' || replaces !== undefined) throw cannotUndo();
      if (way === 'hold') return (await destroy(request as OperationRequest<'destroy'>)) as never;
      if (operation === 'set-creation-rules') await rules();
      const before = (way === 'restore' || way === 'unmake-and-restore') && typeof key === 'string' ? await snapshot(key) : [];
      const answer = await run();
      for (const object of before) steps.push(() => restore(object));
      if (way === 'unmake' || way === 'unmake-and-restore') for (const id of madeIds(answer)) steps.push(() => unmake(id));
      const made = (answer as { id?: string } | undefined)?.id;
      if (operation === 'create-principal' && made !== undefined)
        steps.push(async () => void (await call('delete-principal', { id: made })));
      if (operation === 'issue-token' && made !== undefined) steps.push(async () => void (await call('revoke-token', { id: made })));
      return answer;
    },
    add: (step) => void steps.push(step),
    commit: () => runAll(heldBack),
    rollback: () => runAll(steps.reverse()),
  };
}

async function runAll(steps: readonly (() => Promise<unknown>)[]): Promise<unknown[]> {
  const problems: unknown[] = [];
  for (const step of steps) await step().catch((error: unknown) => problems.push(error));
  return problems;
}

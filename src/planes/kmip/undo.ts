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

/** Takes back what a batch did. */
export interface Undo {
  /** Runs a call and remembers how to take it back. */
  around<O extends OperationName>(
    operation: O,
    request: OperationRequest<O>,
    run: (request: OperationRequest<O>) => Promise<OperationResponse<O>>,
  ): Promise<OperationResponse<O>>;
  add(step: () => Promise<void>): void;
  /** The batch succeeded: what was held back happens now; answers what went wrong. */
  commit(): Promise<unknown[]>;
  /** Runs every step, last first; answers what went wrong. */
  rollback(): Promise<unknown[]>;
}

/** Operations that make an object whose view they answer. */
const MAKERS: ReadonlySet<OperationName> = new Set<OperationName>([
  ...(['create-key', 'create-key-pair', 'register', 'import-key', 'unwrap', 'derive', 'agree', 'encapsulate', 'decapsulate'] as const),
  ...(['re-key', 'issue-certificate', 'renew-certificate', 'split-key', 'join-key'] as const),
]);
/** Operations that change the object named by `key`, and possibly ones linked to it. */
const CHANGERS: ReadonlySet<OperationName> = new Set<OperationName>([
  ...(['update-object', 'activate', 'revoke', 'archive', 'recover', 're-key', 'renew-certificate', 'cancel-destroy'] as const),
  // The base gets a link.
  ...(['derive', 'agree'] as const),
]);

/** Destroyed material does not return: within a batch that may be undone a destroy is only scheduled, and done when the batch succeeds. */
const HELD_BACK_MS = 60 * 60_000;

const madeIds = (response: unknown): string[] => {
  const { object, objectId, publicKeyId, certificateId, id, items } = response as Record<string, unknown>;
  // A split key's parts.
  if (Array.isArray(items)) return items.flatMap(madeIds);
  const own = (object as ManagedObject | undefined)?.id ?? objectId ?? id;
  return [own, publicKeyId, certificateId].filter((one): one is string => typeof one === 'string');
};

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
      if (operation === 'destroy') return (await destroy(request as OperationRequest<'destroy'>)) as never;
      if (operation === 'set-creation-rules') await rules();
      const { key } = request as { key?: unknown };
      const before = CHANGERS.has(operation) && typeof key === 'string' ? await snapshot(key) : [];
      const answer = await run(request);
      for (const object of before) steps.push(() => restore(object));
      if (MAKERS.has(operation)) for (const id of madeIds(answer)) steps.push(() => unmake(id));
      if (operation === 'create-principal')
        steps.push(async () => void (await call('delete-principal', { id: (answer as { id: string }).id })));
      if (operation === 'issue-token') steps.push(async () => void (await call('revoke-token', { id: (answer as { id: string }).id })));
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

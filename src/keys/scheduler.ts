import {
  type Caller,
  effectiveState,
  type Fault,
  FaultError,
  type GuardedService,
  type LoadedObject,
  type OperationName,
  type OperationRequest,
} from '../domain/index.js';
import type { ClusterStore, ObjectStore, SettingStore } from '../storage/ports.js';
import { bindingOf, nextObject, resourceOf, updateObject, updateVersion, without } from './new-object.js';
import { type JobJournal, jobRecord, readResealState, resealPage } from './reseal.js';
import type { RootRegistry } from './root-registry.js';

export interface SchedulerParts {
  /** Every transition runs through the guard as the internal caller `scheduler`, and is audited like any other. */
  readonly service: GuardedService;
  readonly objects: Pick<ObjectStore, 'due' | 'versionsOfRoot'>;
  readonly roots: RootRegistry;
  readonly settings: SettingStore;
  /** For what has no operation of its own: pages of a reseal, confirmation of a root destroy. */
  readonly journal: JobJournal;
  readonly cluster: Pick<ClusterStore, 'exclusively'>;
  readonly clock: () => number;
  /** Time between two rounds, ms. Default 1,000. */
  readonly intervalMs?: number;
  readonly log?: (event: { readonly what: string; readonly object?: string; readonly fault?: string; readonly detail?: string }) => void;
}

export interface Scheduler {
  start(): void;
  /** Waits for the round in progress. */
  stop(): Promise<void>;
  /** One round; false when another node has the duty or nothing was due. */
  tick(): Promise<boolean>;
}

/** Objects taken up in one round. */
const BATCH = 200;
/** Pages of a reseal per round, so that dates stay on time beside it. */
const RESEAL_PAGES_PER_ROUND = 5;
const MIN_RETRY_MS = 1_000;
const MAX_RETRY_MS = 300_000;

type Step =
  | { readonly kind: 'call'; readonly operation: 'destroy' | 'rotate' | 'update-object' }
  | { readonly kind: 'materialise-archived' }
  | { readonly kind: 'confirm-root-destroy' };

/** The one thing to do next with an object; dates first, then rotation. */
const nextStep = ({ object, versions }: LoadedObject, now: number): Step | undefined => {
  const destroyed = object.state === 'destroyed' || object.state === 'destroyed-compromised';
  const { destroyDue } = object.dates;
  if (destroyed) return destroyDue === undefined ? undefined : { kind: 'confirm-root-destroy' };
  if (destroyDue !== undefined && destroyDue <= now) return { kind: 'call', operation: 'destroy' };
  const state = effectiveState(object, now);
  if (state !== object.state) return object.archived ? { kind: 'materialise-archived' } : { kind: 'call', operation: 'update-object' };
  if (state !== 'active' || object.archived || object.rotation === undefined || destroyDue !== undefined) return undefined;
  const { everyMs, afterUses } = object.rotation;
  const current = versions.find((v) => v.version === object.currentVersion);
  const old = everyMs !== undefined && current !== undefined && current.createdAt + everyMs <= now;
  const worn = afterUses !== undefined && object.uses >= afterUses;
  return old || worn ? { kind: 'call', operation: 'rotate' } : undefined;
};

export const makeScheduler = (parts: SchedulerParts): Scheduler => {
  const { service, objects, roots, settings, journal, cluster, clock, intervalMs = 1_000, log } = parts;
  /** Objects whose last attempt failed: not before this time, and how long the pause was. */
  const paused = new Map<string, { until: number; pauseMs: number }>();
  let timer: NodeJS.Timeout | undefined;
  let round: Promise<boolean> | undefined;
  let stopped = false;

  const pause = (id: string, fault: Fault): void => {
    const pauseMs = Math.min((paused.get(id)?.pauseMs ?? MIN_RETRY_MS / 2) * 2, MAX_RETRY_MS);
    paused.set(id, { until: clock() + pauseMs, pauseMs });
    log?.({ what: 'due work failed', object: id, fault: fault.code, detail: fault.message });
  };

  const callService = async <O extends OperationName>(
    tenant: string,
    operation: O,
    request: OperationRequest<O>,
  ): Promise<Fault | undefined> => {
    const caller: Caller = {
      plane: 'internal',
      credential: { kind: 'internal', component: 'scheduler' },
      requestId: `scheduler-${clock()}`,
      source: 'local',
      tenant,
    };
    const result = await service(operation, request, caller);
    return result.ok ? undefined : result.fault;
  };

  const dueCall = (loaded: LoadedObject, operation: 'destroy' | 'rotate' | 'update-object'): Promise<Fault | undefined> => {
    const { tenant, id } = loaded.object;
    if (operation === 'destroy') return callService(tenant, 'destroy', { key: id, pendingMs: 0 });
    if (operation === 'rotate') return callService(tenant, 'rotate', { key: id });
    // An update without fields writes in what its dates say.
    return callService(tenant, 'update-object', { key: id });
  };

  /** An archived object takes no updates, but its dates pass all the same. */
  const materialiseArchived = async ({ object }: LoadedObject): Promise<Fault | undefined> => {
    const now = clock();
    const state = effectiveState(object, now);
    const record = jobRecord('update-object', 'keys:update', now, 'success', {
      tenant: object.tenant,
      resource: resourceOf(object),
      detail: { from: object.state, to: state },
    });
    return journal.commit(record, [updateObject(object, nextObject(object, { state }, now))]);
  };

  /** The root is asked again (destroying is idempotent); only its word clears the reference and the marker. */
  const confirmRootDestroy = async ({ object, versions }: LoadedObject): Promise<Fault | undefined> => {
    const now = clock();
    const held = versions.filter((v) => v.reference.length > 0);
    for (const { rootId, reference, version } of held) {
      await roots.call(rootId, 'destroyKey', { key: { reference, binding: bindingOf(object, version) } });
    }
    const record = jobRecord('destroy', 'keys:destroy', now, 'success', {
      tenant: object.tenant,
      resource: resourceOf(object),
      detail: { phase: 'root-confirmed', versions: held.length },
    });
    const after = nextObject(object, { dates: without(object.dates, 'destroyDue') }, now);
    return journal.commit(record, [updateObject(object, after), ...held.map((v) => updateVersion(v, { reference: new Uint8Array(0) }))]);
  };

  const work = async (loaded: LoadedObject): Promise<boolean> => {
    const { id } = loaded.object;
    const now = clock();
    if ((paused.get(id)?.until ?? 0) > now) return false;
    const step = nextStep(loaded, now);
    if (step === undefined) {
      paused.delete(id);
      return false;
    }
    try {
      const fault =
        step.kind === 'call'
          ? await dueCall(loaded, step.operation)
          : step.kind === 'materialise-archived'
            ? await materialiseArchived(loaded)
            : await confirmRootDestroy(loaded);
      if (fault === undefined) paused.delete(id);
      else pause(id, fault);
      return fault === undefined;
    } catch (error) {
      pause(id, error instanceof FaultError ? error.fault : { code: 'internal', message: String(error) });
      return false;
    }
  };

  /**
   * A root whose seal is ahead of its last finished reseal has references to move — whether an operator asked on this
   * node, on another, or the process died before it could write the job down.
   */
  const reseal = async (): Promise<boolean> => {
    let moved = false;
    for (const id of roots.ids()) {
      try {
        moved = (await resealRoot(id)) || moved;
      } catch (error) {
        log?.({ what: 'reseal paused', object: id, detail: error instanceof Error ? error.message : String(error) });
      }
    }
    return moved;
  };

  const resealRoot = async (id: string): Promise<boolean> => {
    const { powers, sealGeneration } = await roots.describe(id);
    if (sealGeneration === undefined || !powers.includes('rewrapReference')) return false;
    const stored = await readResealState(settings, id);
    // The first generation needs no moving: everything was made under it.
    const behind = sealGeneration > (stored?.generation ?? 1);
    if (!behind && stored?.state !== 'running') return false;
    let state =
      behind || stored === undefined
        ? { root: id, generation: sealGeneration, state: 'running' as const, startedAt: clock(), rewrapped: 0, failed: 0 }
        : stored;
    const resealParts = { objects, roots, settings, journal, clock };
    for (let page = 0; page < RESEAL_PAGES_PER_ROUND && state.state === 'running' && !stopped; page += 1) {
      state = (await resealPage(resealParts, state)) as typeof state;
    }
    if (state.state !== 'running') log?.({ what: 'reseal finished', object: id, detail: JSON.stringify(state) });
    return true;
  };

  const dueObjects = async (): Promise<boolean> => {
    // Objects that wait for their next attempt stay at the head of the list; room is made for those behind them.
    const loaded = await objects.due(clock(), BATCH + Math.min(paused.size, 10_000));
    let done = false;
    for (const one of loaded) {
      if (stopped) break;
      done = (await work(one)) || done;
    }
    if (loaded.length === 0) paused.clear();
    return done;
  };

  const tick = async (): Promise<boolean> =>
    (await cluster.exclusively('scheduler', async () => {
      const done = await dueObjects();
      return (await reseal()) || done;
    })) ?? false;

  const loop = (delayMs: number): void => {
    timer = setTimeout(async () => {
      round = tick().catch((error: unknown) => {
        log?.({ what: 'round failed', detail: error instanceof Error ? error.message : String(error) });
        return false;
      });
      const busy = await round;
      if (!stopped) loop(busy ? Math.min(intervalMs, BUSY_INTERVAL_MS) : intervalMs);
    }, delayMs);
    timer.unref();
  };

  return {
    start: () => {
      stopped = false;
      if (timer === undefined) loop(0);
    },
    stop: async () => {
      stopped = true;
      clearTimeout(timer);
      timer = undefined;
      await round;
    },
    tick,
  };
};
/** With more work waiting, the next round follows soon, ms. */
const BUSY_INTERVAL_MS = 50;

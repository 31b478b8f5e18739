import {
  type AuditRecord,
  type Change,
  type Fault,
  type LoadedObject,
  type LocateFilter,
  type ManagedObject,
  type ObjectVersion,
  parseObjectRef,
} from '../../src/domain/index.js';
import type { ObjectStore, SettingStore } from '../../src/storage/ports.js';

type Draft = Omit<AuditRecord, 'id' | 'node' | 'chain'>;

/**
 * The store's contract (storage/ports.ts, domain/change.ts) in memory: one commit is all or nothing, revisions are
 * optimistic locks, names are unique in the tenant, counters are the store's own. Rows are copied in and out, so that
 * a test notices a handler that changes what it was given.
 */
export class MemoryStore implements Pick<ObjectStore, 'load' | 'locate' | 'count' | 'due' | 'versionsOfRoot'>, SettingStore {
  readonly objects = new Map<string, ManagedObject>();
  readonly versions = new Map<string, ObjectVersion[]>();
  readonly settings = new Map<string, unknown>();
  readonly records: Draft[] = [];
  readonly intents: Draft[] = [];
  /** Answers instead of committing, once each. */
  readonly failures: (Fault | Error)[] = [];
  /** Pause of every commit, ms, so that concurrent calls overlap. */
  delayMs = 0;

  loaded(object: ManagedObject): LoadedObject {
    return structuredClone({ object, versions: this.versions.get(object.id) ?? [] });
  }

  async load(tenant: string, ref: string): Promise<LoadedObject | undefined> {
    const name = parseObjectRef(ref).ref;
    const byId = this.objects.get(name);
    const found = byId?.tenant === tenant ? byId : [...this.objects.values()].find((o) => o.tenant === tenant && o.names.includes(name));
    return found === undefined ? undefined : this.loaded(found);
  }

  async locate(tenant: string, filter: LocateFilter, page: { limit: number }) {
    const items = [...this.objects.values()].filter(
      (o) =>
        o.tenant === tenant &&
        (filter.name === undefined || o.names.includes(filter.name)) &&
        (filter.types === undefined || filter.types.includes(o.type)) &&
        (filter.states === undefined || filter.states.includes(o.state)) &&
        Object.entries(filter.attributes ?? {}).every(([name, value]) => o.attributes[name] === value),
    );
    return { items: structuredClone(items.slice(0, page.limit)) };
  }

  async count(tenant: string): Promise<number> {
    return [...this.objects.values()].filter((o) => o.tenant === tenant).length;
  }

  async due(now: number, limit: number): Promise<readonly LoadedObject[]> {
    return [...this.objects.values()]
      .filter((o) => this.dueAt(o) <= now)
      .slice(0, limit)
      .map((o) => this.loaded(o));
  }

  private dueAt(o: ManagedObject): number {
    const never = Number.POSITIVE_INFINITY;
    const current = this.versions.get(o.id)?.find((v) => v.version === o.currentVersion);
    const { rotation } = o;
    return Math.min(
      o.dates.destroyDue ?? never,
      o.state === 'pre-active' ? (o.dates.activation ?? never) : never,
      o.state === 'active' ? (o.dates.deactivation ?? never) : never,
      o.state === 'active' && rotation?.everyMs !== undefined && current !== undefined ? current.createdAt + rotation.everyMs : never,
      o.state === 'active' && rotation?.afterUses !== undefined && o.uses >= rotation.afterUses ? 0 : never,
    );
  }

  async versionsOfRoot(rootId: string, after: { objectId: string; version: number } | undefined, limit: number) {
    const key = (id: string, n: number) => `${id}/${String(n).padStart(9, '0')}`;
    return [...this.versions.values()]
      .flat()
      .filter((v) => v.rootId === rootId && (after === undefined || key(v.objectId, v.version) > key(after.objectId, after.version)))
      .sort((a, b) => (key(a.objectId, a.version) < key(b.objectId, b.version) ? -1 : 1))
      .slice(0, limit)
      .map((version) => structuredClone({ object: this.objects.get(version.objectId) as ManagedObject, version }));
  }

  async setting(tenant: string, name: string): Promise<unknown> {
    return this.settings.get(`${tenant}/${name}`);
  }

  async intent(record: Draft): Promise<void> {
    this.intents.push(record);
  }

  async commit(record: Draft, changes: readonly Change[]): Promise<Fault | undefined> {
    if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs));
    const failure = changes.length > 0 ? this.failures.shift() : undefined;
    if (failure instanceof Error) throw failure;
    const fault = failure ?? this.apply(changes);
    this.records.push(fault === undefined ? record : { ...record, outcome: 'failed', fault: fault.code });
    return fault;
  }

  private apply(changes: readonly Change[]): Fault | undefined {
    // Rows are replaced, never changed in place, so the maps alone are enough to go back to.
    const before = { objects: new Map(this.objects), versions: new Map(this.versions), settings: new Map(this.settings) };
    for (const change of changes) {
      const fault = this.applyOne(structuredClone(change));
      if (fault === undefined) continue;
      for (const part of ['objects', 'versions', 'settings'] as const) {
        this[part].clear();
        for (const [k, v] of before[part]) this[part].set(k, v as never);
      }
      return fault;
    }
    return undefined;
  }

  private taken(object: ManagedObject): boolean {
    return [...this.objects.values()].some(
      (o) => o.id !== object.id && o.tenant === object.tenant && o.names.some((n) => object.names.includes(n)),
    );
  }

  private applyOne(change: Change): Fault | undefined {
    const conflict: Fault = { code: 'conflict', message: 'changed meanwhile' };
    switch (change.kind) {
      case 'insert-object': {
        if (this.objects.has(change.object.id)) return { code: 'already-exists', message: 'id taken' };
        if (this.taken(change.object)) return { code: 'already-exists', message: 'name taken' };
        this.objects.set(change.object.id, change.object);
        this.versions.set(change.object.id, [...change.versions]);
        return undefined;
      }
      case 'update-object': {
        const old = this.objects.get(change.object.id);
        if (old === undefined || old.revision !== change.expect) return conflict;
        if (this.taken(change.object)) return { code: 'already-exists', message: 'name taken' };
        const { usageLimits: given, ...rest } = change.object;
        const limits = change.usage === 'limits' ? given : old.usageLimits;
        this.objects.set(rest.id, {
          ...rest,
          uses: change.usage === 'uses' ? rest.uses : old.uses,
          revision: change.expect + 1,
          ...(limits === undefined ? {} : { usageLimits: limits }),
        });
        return undefined;
      }
      case 'insert-version': {
        const list = this.versions.get(change.version.objectId) ?? [];
        if (list.some((v) => v.version === change.version.version)) return conflict;
        this.versions.set(change.version.objectId, [...list, change.version]);
        return undefined;
      }
      case 'update-version': {
        const list = this.versions.get(change.version.objectId) ?? [];
        const old = list.find((v) => v.version === change.version.version);
        if (old === undefined || old.revision !== change.expect) return conflict;
        this.versions.set(
          change.version.objectId,
          list.map((v) => (v === old ? { ...change.version, revision: change.expect + 1 } : v)),
        );
        return undefined;
      }
      case 'consume-usage': {
        const old = this.objects.get(change.objectId);
        if (old === undefined || old.tenant !== change.tenant) return { code: 'not-found', message: 'no object' };
        const limits = old.usageLimits;
        if (change.limited && limits !== undefined && limits.remaining < change.amount) {
          return { code: 'usage-limit-reached', message: 'used up' };
        }
        this.objects.set(old.id, {
          ...old,
          uses: old.uses + (change.uses ?? 1),
          ...(change.limited && limits !== undefined ? { usageLimits: { ...limits, remaining: limits.remaining - change.amount } } : {}),
        });
        return undefined;
      }
      case 'put-setting':
        this.settings.set(`${change.tenant}/${change.name}`, change.value);
        return undefined;
      default:
        throw new Error(`memory store: ${change.kind} is not part of the key service`);
    }
  }
}

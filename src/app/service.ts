import { randomUUID } from 'node:crypto';
import type { HostedRoot } from '@aegis/rot-spi/host';
import type { Logger } from 'pino';
import { auditHealth, makeAuditHandlers, makeJournal, makeSequencer, type RunningJournal } from '../audit/index.js';
import { type AuditHealth, type Fault, fail, type GuardedService, type RootView, type ServiceStatus } from '../domain/index.js';
import { makeGuard } from '../guard/index.js';
import { bootstrapAdmin, makeIdentifier, makeIdentityHandlers } from '../identity/index.js';
import { makeKeyHandlers } from '../keys/key-handlers.js';
import { makeRootRegistry, type RootRegistry } from '../keys/root-registry.js';
import { makeScheduler } from '../keys/scheduler.js';
import { makePolicyEngine, makePolicyHandlers, type RunningPolicyEngine } from '../policy/index.js';
import { openStorage, type Storage } from '../storage/index.js';
import type { CheckSeals } from '../storage/ports.js';
import { makeBackupHandler } from './backup.js';
import { makeCheckpointSigning } from './checkpoint-key.js';
import type { Config } from './config/load.js';
import { nodeIdOf, pinIn } from './data-directory.js';
import { type DatabaseServer, startDatabase } from './database.js';
import { effectiveEverywhere } from './effective-everywhere.js';
import { envelopeTargetOf, makeFacts } from './guard-facts.js';
import { type Metrics, makeMetrics } from './metrics.js';
import { openRecordSeals, type RecordSeals } from './record-seals.js';
import { openRoots } from './roots.js';
import { StartError } from './start-error.js';
import { VERSION } from './version.js';

const JOURNAL_CLOSE_MS = 8_000;

/** Everything that runs behind the planes. */
export interface Core {
  readonly service: GuardedService;
  readonly storage: Storage;
  readonly registry: RootRegistry;
  readonly roots: ReadonlyMap<string, HostedRoot>;
  readonly metrics: Metrics;
  readonly nodeId: string;
  readonly databaseKind: 'embedded' | 'external';
  /** On the very first start: the admin token, to be printed once. */
  readonly firstToken: string | undefined;
  readiness(): Promise<{ ready: boolean; checks: { name: string; state: string; detail?: string }[] }>;
  /** Addresses of the planes, for `status`. */
  setPlanes(planes: ServiceStatus['planes']): void;
  /** Refuses new calls, finishes those in progress, closes everything. */
  stop(): Promise<void>;
}

interface Closing {
  readonly name: string;
  readonly close: () => Promise<void>;
}

/** Opens database, roots, engines and guard, in that order; on failure closes what was opened, in reverse. */
export async function openCore(config: Config, log: Logger): Promise<Core> {
  const opened: Closing[] = [];
  try {
    return await assemble(config, log, opened);
  } catch (error) {
    await closeAll(opened, log);
    throw error;
  }
}

async function closeAll(opened: readonly Closing[], log: Logger): Promise<void> {
  for (const { name, close } of [...opened].reverse()) {
    await close().catch((error: unknown) => log.warn({ part: name, error: (error as Error).message }, 'could not be closed in order'));
  }
}

async function connect(
  config: Config,
  log: Logger,
  nodeId: string,
  opened: Closing[],
  checkSeals: CheckSeals,
): Promise<{ database: DatabaseServer; storage: Storage }> {
  const database = await startDatabase(config.databaseUrl, config.dataDir, log).catch((error: unknown) => {
    throw new StartError(
      `the private database could not be started: ${(error as Error).message}`,
      'Mend what it says, or use a database of your own with AEGIS_DATABASE_URL.',
    );
  });
  opened.push({ name: 'database', close: () => database.stop() });
  const storage = await openStorage({ connection: database.connection, kind: database.kind, nodeId, log, checkSeals }).catch(
    (error: unknown) => {
      throw new StartError(
        `the database cannot be used: ${(error as Error).message}`,
        database.kind === 'external'
          ? 'Check AEGIS_DATABASE_URL (or database.url), that PostgreSQL ≥ 14 runs there, and that its user may create tables.'
          : `Look at the log in ${config.dataDir}/postgres.`,
      );
    },
  );
  opened.push({ name: 'storage', close: () => storage.close() });
  return { database, storage };
}

async function assemble(config: Config, log: Logger, opened: Closing[]): Promise<Core> {
  const clock = Date.now;
  const startedAt = clock();
  const nodeId = nodeIdOf(config.dataDir, config.nodeId);
  const metrics = makeMetrics(VERSION);
  let seals: RecordSeals | undefined;
  const { database, storage } = await connect(config, log, nodeId, opened, async (loaded, stored) => {
    if (seals === undefined) throw fail('storage-unavailable', 'The service is still starting.');
    return seals.check(loaded, stored);
  });
  const roots = await openRoots(config.roots, log, metrics);
  opened.push({ name: 'roots', close: async () => void (await Promise.all([...roots.values()].map((root) => root.close()))) });
  const registry = makeRootRegistry({ roots, defaultRoot: config.defaultRoot, hostsOf: (id) => roots.get(id)?.hosts().length ?? 0 });

  const journal = makeJournal({
    store: storage.journal,
    audit: storage.audit,
    nodeId,
    bootId: randomUUID(),
    clock,
    maxPending: config.auditMaxPending,
  });
  opened.push({ name: 'journal', close: () => journal.close(JOURNAL_CLOSE_MS) });
  seals = await openRecordSeals({
    ...{ registry, settings: storage.settings, store: storage.seals, journal, cluster: storage.cluster, clock, log },
    pin: pinIn(config.dataDir, 'record-seal-key'),
  });
  const sealing = seals.sealing(journal);
  const sequencer = makeSequencer({
    audit: storage.audit,
    cluster: storage.cluster,
    sign: makeCheckpointSigning({ settings: storage.settings, journal, registry, clock }),
    checkpointEveryMs: config.checkpointEveryMs,
  });
  opened.push({
    name: 'sequencer',
    async close() {
      // The last records of this start are signed for before it ends.
      await sequencer.round(true).catch(() => false);
      await sequencer.stop();
    },
  });

  const policy = await makePolicyEngine({
    store: storage.policies,
    cluster: storage.cluster,
    settings: storage.settings,
    journal,
    nodeId,
    clock,
    ...(config.policyDirectory === undefined ? {} : { directory: config.policyDirectory }),
    onProblem: (problem: unknown) => log.error({ problem }, 'policy document'),
  });
  opened.push({ name: 'policy', close: () => policy.close() });

  const health = (): Promise<AuditHealth> => auditHealth({ audit: storage.audit, journal, sequencer });
  const state = { planes: [] as ServiceStatus['planes'], stopping: false };
  const rootViews = (): Promise<RootView[]> => Promise.all(registry.ids().map((id) => registry.view(id)));
  const databaseHealth = () => storage.health();

  const service = makeGuard({
    identifier: makeIdentifier({ store: storage.identity, settings: storage.settings }),
    policy,
    objects: storage.objects,
    // The embedded database has one node only: there is nobody else to wait for.
    journal:
      database.kind === 'embedded'
        ? sealing
        : effectiveEverywhere(sealing, storage.cluster, (operation) =>
            log.warn({ operation }, 'a node has not shown in time that it knows of a change; it is durable, and that node loses its lease'),
          ),
    clock,
    targetOf: envelopeTargetOf,
    facts: makeFacts(storage),
    defaultRoot: () => config.defaultRoot,
    detectors: [],
    responders: [],
    serving: () => servingFault(state.stopping, storage),
    onProblem: ({ stage, requestId, operation, error }) => log.error({ stage, requestId, operation, err: error }, 'a stage failed'),
    onOutcome: metrics.observe,
    handlers: {
      ...makeKeyHandlers({
        objects: storage.objects,
        roots: registry,
        settings: storage.settings,
        principals: storage.identity,
        defaults: { destroyPendingMs: config.destroyPendingMs },
        clock,
      }),
      ...makeIdentityHandlers({ store: storage.identity, settings: storage.settings }),
      ...makePolicyHandlers({ engine: policy, store: storage.policies, identity: storage.identity, objects: storage.objects, clock }),
      ...makeAuditHandlers({ audit: storage.audit, journal, sequencer }),
      'create-backup': makeBackupHandler(database),
      status: async (call) => {
        const [views, audit, db] = await Promise.all([rootViews(), health(), databaseHealth()]);
        return {
          response: {
            version: VERSION,
            node: nodeId,
            startedAt,
            database: db,
            roots: views.map(({ description: _, ...view }) => view),
            audit,
            policies: policy.status(call.tenant),
            planes: state.planes,
          },
          changes: [],
        };
      },
    },
  });

  const scheduler = makeScheduler({
    service,
    objects: storage.objects,
    roots: registry,
    settings: storage.settings,
    journal: sealing,
    cluster: storage.cluster,
    clock,
    log: (event) => log.info(event, 'scheduler'),
  });
  opened.push({ name: 'scheduler', close: () => scheduler.stop() });
  watchGauges(metrics, registry, journal, storage);

  const firstToken = await bootstrapAdmin({ storage, journal, dataDir: config.dataDir, clock });
  sequencer.start();
  scheduler.start();
  return {
    service,
    storage,
    registry,
    roots,
    metrics,
    nodeId,
    databaseKind: database.kind,
    firstToken: firstToken?.token,
    readiness: makeReadiness(storage, registry, health, policy),
    setPlanes: (planes) => {
      state.planes = planes;
    },
    async stop() {
      state.stopping = true;
      await closeAll(opened, log);
    },
  };
}

function servingFault(stopping: boolean, storage: Storage): Fault | undefined {
  if (stopping)
    return {
      code: 'shutting-down',
      message: 'The service is shutting down.',
      next: 'Send the request to another node, or again in a moment.',
    };
  if (!storage.cluster.isLive())
    return {
      code: 'storage-unavailable',
      message: 'This node has lost its lease on the database.',
      next: 'It serves again by itself once the database answers.',
    };
  return undefined;
}

type Check = { name: string; state: string; detail?: string };

/** Ready when a call could succeed: database up, lease held, audit durable, policy loaded, and the default root answering. */
function makeReadiness(
  storage: Storage,
  registry: RootRegistry,
  health: () => Promise<AuditHealth>,
  policy: RunningPolicyEngine,
): Core['readiness'] {
  const check = (name: string, state: string, detail: string | undefined): Check => ({
    name,
    state,
    ...(detail === undefined ? {} : { detail }),
  });
  return async () => {
    const [database, audit, ...views] = await Promise.all([storage.health(), health(), ...registry.ids().map((id) => registry.view(id))]);
    const policies = policy.status();
    const checks: Check[] = [
      check('database', database.state, database.detail),
      check('lease', storage.cluster.isLive() ? 'up' : 'down', undefined),
      check('audit', audit.state === 'failing' ? 'down' : audit.state === 'degraded' ? 'degraded' : 'up', audit.detail),
      check('policy', policies.problem === undefined ? 'up' : 'degraded', policies.problem),
      ...views.map((view) =>
        check(
          `root ${view.id}`,
          view.state === 'ready' ? 'up' : view.state === 'degraded' ? 'degraded' : view.isDefault ? 'down' : 'degraded',
          view.detail,
        ),
      ),
    ];
    return { ready: checks.every((c) => c.state !== 'down'), checks };
  };
}

function watchGauges(metrics: Metrics, registry: RootRegistry, journal: RunningJournal, storage: Storage): void {
  metrics.watch('aegis_audit_pending', 'Calls whose record is not durable yet.', [], () => [
    { labels: {}, value: journal.health().pending },
  ]);
  metrics.watch('aegis_node_live', '1 while this node holds its lease on the database.', [], () => [
    { labels: {}, value: storage.cluster.isLive() ? 1 : 0 },
  ]);
  metrics.watch('aegis_cluster_epoch', 'Epoch of the last change seen.', [], () => [{ labels: {}, value: storage.cluster.epoch() }]);
  metrics.watch('aegis_roots', 'Configured roots of trust.', [], () => [{ labels: {}, value: registry.ids().length }]);
}

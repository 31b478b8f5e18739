import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import type { Logger } from 'pino';
import { startEmbeddedPostgres } from '../storage/index.js';

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;

export interface DatabaseServer {
  readonly kind: 'embedded' | 'external';
  readonly connection: pg.PoolConfig | string;
  stop(): Promise<void>;
}

/**
 * The database to use: the configured one, or a private server that is started here and started again, with back-off, if it
 * ends by itself. Its socket stays the same, so that storage's pools find it again.
 */
export async function startDatabase(databaseUrl: string | undefined, dataDir: string, log: Logger): Promise<DatabaseServer> {
  if (databaseUrl !== undefined) return { kind: 'external', connection: databaseUrl, stop: () => Promise.resolve() };
  let stopping = false;
  let current = await startEmbeddedPostgres({ dataDir, log });
  let restarting: Promise<void> | undefined;

  const restart = async (reason: string): Promise<void> => {
    log.error({ reason }, 'the private PostgreSQL ended; starting it again');
    for (let pause = FIRST_PAUSE_MS; !stopping; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      try {
        current = await startEmbeddedPostgres({ dataDir, log });
        current.onExit(watch);
        log.info('the private PostgreSQL runs again');
        return;
      } catch (error) {
        log.error({ error: (error as Error).message, retryInMs: pause }, 'the private PostgreSQL could not be started');
        await sleep(pause);
      }
    }
  };
  const watch = (reason: string): void => {
    if (!stopping) restarting = restart(reason);
  };
  current.onExit(watch);
  return {
    kind: 'embedded',
    connection: current.connection,
    async stop() {
      stopping = true;
      await restarting;
      await current.stop();
    },
  };
}

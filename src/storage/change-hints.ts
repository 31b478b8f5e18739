import type pg from 'pg';
import type { Database } from './database.js';
import type { StorageLog } from './log.js';

/**
 * Tells the other nodes that there is something to look for, so that they need not sleep their pause out. Only a hint: what
 * counts is in `change_log`, and one that is lost costs nothing but the rest of a pause.
 */
export interface ChangeHints {
  /** Listens on this connection. */
  attach(client: pg.Client): Promise<void>;
  /** Tells the others, soon; of many changes at once they are told once. */
  send(): void;
  /** Until the time is over, another node hints, or `wake` is called; at once when one has hinted since the last rest. */
  rest(ms: number): Promise<void>;
  wake(): void;
}

const CHANNEL = 'aegis_changes';

export const makeChangeHints = (options: {
  readonly database: Pick<Database, 'run'>;
  readonly bootId: string;
  readonly log: StorageLog;
}): ChangeHints => {
  const { database, bootId, log } = options;
  let heard = false;
  let sending = false;
  let end: (() => void) | undefined;
  return {
    async attach(client) {
      client.on('notification', ({ payload }) => {
        if (payload === bootId) return;
        heard = true;
        end?.();
      });
      // A pooler in between may not have it; then the pauses are all there is.
      await client.query(`LISTEN ${CHANNEL}`).catch(() => undefined);
    },
    send() {
      if (sending) return;
      sending = true;
      // Outside the transaction of the change: a notification inside makes all commits wait for one another.
      database
        .run({ name: 'hint-changes', text: `SELECT pg_notify('${CHANNEL}', $1)` }, [bootId])
        .catch((error: unknown) => log.debug({ error: (error as Error).message }, 'the other nodes were not told of a change'))
        .finally(() => {
          sending = false;
        });
    },
    async rest(ms) {
      if (!heard)
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, ms);
          end = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      end = undefined;
      heard = false;
    },
    wake: () => end?.(),
  };
};

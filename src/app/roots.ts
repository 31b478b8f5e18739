import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { RootConfig } from '@aegis/rot-spi';
import { type HostedRoot, openHostedRoot } from '@aegis/rot-spi/host';
import type { Logger } from 'pino';
import type { RootSettings } from './config/schema.js';
import { writeFileDurably } from './data-directory.js';
import type { Metrics } from './metrics.js';
import { StartError } from './start-error.js';

const toRootConfig = (id: string, settings: RootSettings): RootConfig => ({ id, ...settings }) as RootConfig;

/**
 * Opens every configured root in processes of its own. A root that is not available now is kept and heals by itself; the
 * others work meanwhile.
 */
export async function openRoots(
  settings: Readonly<Record<string, RootSettings>>,
  log: Logger,
  metrics: Metrics,
): Promise<Map<string, HostedRoot>> {
  const entries = await Promise.all(
    Object.entries(settings).map(async ([id, one]) => {
      const root = await openHostedRoot(toRootConfig(id, one), {
        lazy: true,
        onEvent: (event) => {
          metrics.hostEvent(event.root, event.kind);
          const fields = {
            root: event.root,
            host: event.host,
            event: event.kind,
            ...(event.detail === undefined ? {} : { detail: event.detail }),
          };
          if (event.kind === 'died' || event.kind === 'hung' || event.kind === 'restarting') log.warn(fields, 'root of trust host');
          else log.debug(fields, 'root of trust host');
        },
      });
      return [id, root] as const;
    }),
  );
  return new Map(entries);
}

/** Makes a SoftHSM2 token in the data directory and keeps its settings there, so that later starts find the root too. */
export async function provisionSoftHsmRoot(dataDir: string): Promise<RootSettings> {
  const directory = join(dataDir, 'roots');
  const file = join(directory, 'softhsm.json');
  const script = fileURLToPath(new URL('../../softhsm/provision.mjs', import.meta.url));
  if (!existsSync(script)) throw new StartError(`${script} is missing`, 'Install Aegis completely (the folder softhsm is part of it).');
  const { provisionSoftHsm } = (await import(pathToFileURL(script).href)) as {
    provisionSoftHsm: (dir: string, options?: { label?: string }) => Promise<RootConfig>;
  };
  let config: RootConfig;
  try {
    config = await provisionSoftHsm(join(dataDir, 'softhsm'), { label: 'aegis' });
  } catch (error) {
    throw new StartError(
      `the SoftHSM2 token could not be made: ${(error as Error).message}`,
      'Install SoftHSM2 (apt-get install softhsm2) and a C++ compiler for the PKCS#11 binding, then run the command again.',
    );
  }
  const { id: _, ...settings } = config;
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const text = `${JSON.stringify(settings, undefined, 2)}\n`;
  if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileDurably(directory, 'softhsm.json', text);
  return settings as RootSettings;
}

import { fstatSync } from 'node:fs';
import { type ConnectOpts, Socket, type SocketConstructorOpts } from 'node:net';
import { Worker } from 'node:worker_threads';
import type { RootConfig } from '../config.js';
import type { RootOfTrust } from '../contract.js';
import { type Hello, serveRoot } from './serve.js';

/** The connection that the server left open for this process: a socket pair's end, never a listening socket. */
const CONNECTION_FD = 3;
const READ_BUFFER_BYTES = 65_536;

/**
 * Signals a terminal sends to the whole group, or that would make Node open a debugger (SIGUSR1) with which another
 * process of the same user could read keys. The server alone ends a host.
 */
const IGNORED_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGPIPE'] as const;

const exitNow = (code: number, reason: string): void => {
  if (code !== 0) process.stderr.write(`${process.title}: ${reason}\n`);
  process.exit(code);
};

/** Runs beside the root: if the server dies while a vendor module hangs in a call, this process must die all the same. */
const watchServer = (hello: Hello): void => {
  const worker = new Worker(new URL('./watch-server.js', import.meta.url), {
    workerData: { serverPid: hello.serverPid },
    env: {},
    stdin: false,
    resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 8 },
  });
  // The end of the connection still tells of the server's; only a module that hangs at that moment would go unnoticed.
  worker.on('error', () => process.stderr.write(`${process.title}: the watch over the server failed\n`));
  worker.unref();
};

/** Turns this process into the host of one root. */
export const runHost = (open: (config: RootConfig) => Promise<RootOfTrust>): void => {
  process.title = 'aegis-root';
  for (const signal of IGNORED_SIGNALS) process.on(signal, () => undefined);
  // A stack or message may quote a value; the name says enough to find the place.
  const failed = (error: unknown): void => exitNow(1, `failed: ${error instanceof Error ? error.name : 'unknown error'}`);
  process.on('uncaughtException', failed);
  process.on('unhandledRejection', failed);
  if (!isConnection()) {
    exitNow(64, 'this program is started by the Aegis server and serves nothing by itself');
    return;
  }
  let take: ((chunk: Buffer) => void) | undefined;
  const buffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);
  // One buffer for all reads, zeroed after each: nothing received stays behind in memory nobody owns.
  const onread: NonNullable<ConnectOpts['onread']> = {
    buffer,
    callback: (count) => {
      take?.(buffer.subarray(0, count));
      return true;
    },
  };
  const options: SocketConstructorOpts & ConnectOpts = { fd: CONNECTION_FD, readable: true, writable: true, onread };
  const socket = new Socket(options);
  take = serveRoot(socket, {
    open,
    greeted: (hello) => {
      process.title = `aegis-root ${String(hello.config.id).slice(0, 60)}`;
      watchServer(hello);
    },
    ended: exitNow,
  });
};

const isConnection = (): boolean => {
  try {
    return fstatSync(CONNECTION_FD).isSocket();
  } catch {
    return false;
  }
};

import { randomBytes } from 'node:crypto';
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { type Connection, makeConnection } from './connection.js';
import type { Pkcs11Parts, SocketSettings } from './contract.js';
import {
  type ClientHello,
  CONTROL,
  DOOR_PROTOCOL,
  type DoorHello,
  type DoorOrder,
  type DoorReport,
  type DoorSocket,
  MAX_HELLO_BYTES,
  type StatusHello,
  toControl,
} from './door/protocol.js';
import { makeLeftovers } from './leftovers.js';
import { freshOperations, makeMemory, restore } from './restoration.js';
import type { Generation } from './wire/attributes.js';
import { CKR } from './wire/codes.js';
import { FrameReader, toErrorFrame } from './wire/frames.js';

/** The service's side of the door: takes its connections, answers the calls of each. */

export interface Pkcs11ServerOptions {
  readonly parts: Pkcs11Parts;
  /** Socket on which the door finds the service; in a directory only this user enters. */
  readonly innerPath: string;
  readonly sockets: readonly (SocketSettings & DoorSocket)[];
  /** 32 bytes: seals what the door keeps for a restart. */
  readonly sealKey: Uint8Array;
}

interface Pkcs11Status {
  readonly door: { readonly pid: number } | undefined;
  readonly sockets: readonly {
    readonly name: string;
    readonly path: string;
    readonly tenants: readonly string[];
    readonly bound: boolean;
  }[];
  readonly clients: readonly { readonly socket: string; readonly generation: number; readonly sessions: number; readonly calls: number }[];
}
export interface Pkcs11Server {
  status(): Pkcs11Status;
  /** Resolves once a door is connected and listens on every socket; rejects with what it reports. */
  untilListening(timeoutMs: number): Promise<void>;
  /**
   * Finishes calls in progress, lets the door go or wait, and ends; sessions stay with the door for the next start.
   * `abruptly`: breaks off as a killed process does.
   */
  stop(how?: 'in-order' | 'abruptly'): Promise<void>;
}

/** Requests of one client being worked on; more wait in the socket. */
const MAX_OUTSTANDING = 512;
/** Bytes of one client's requests in work, and of answers it does not read, before its socket is not read on. */
const MAX_HELD_BYTES = 32 * 1024 * 1024;
const STOP_WAIT_MS = 5_000;
const POLL_MS = 20;

interface DoorLink {
  readonly socket: Socket;
  readonly pid: number;
}

/** First line, then the rest of what came with it. */
const readHello = (socket: Socket, done: (line: string, rest: Buffer) => void): void => {
  let held: Buffer[] = [];
  let length = 0;
  const onData = (chunk: Buffer): void => {
    const end = chunk.indexOf(0x0a);
    length += chunk.length;
    if (end < 0) {
      held.push(chunk);
      if (length > MAX_HELLO_BYTES) socket.destroy();
      return;
    }
    socket.off('data', onData);
    const line = Buffer.concat([...held, chunk.subarray(0, end)]).toString();
    held = [];
    done(line, chunk.subarray(end + 1));
  };
  socket.on('data', onData);
};

const KINDS = ['client', 'door', 'status'];
const parseHello = (line: string): ClientHello | DoorHello | StatusHello | undefined => {
  try {
    const hello = JSON.parse(line) as ClientHello | DoorHello | StatusHello;
    return hello.protocol === DOOR_PROTOCOL && KINDS.includes(hello.kind) ? hello : undefined;
  } catch {
    return undefined;
  }
};

export const makePkcs11Server = async (options: Pkcs11ServerOptions): Promise<Pkcs11Server> => {
  const { parts, sockets, innerPath } = options;
  const clients = new Map<Socket, Connection>();
  const open = new Set<Socket>();
  let door: DoorLink | undefined;
  let listening: ReadonlySet<string> = new Set();
  let problem: string | undefined;
  let stopping = false;

  const order = (socket: Socket, message: DoorOrder): void => void socket.write(`${JSON.stringify(message)}\n`);

  const onReport = (report: DoorReport): void => {
    if (report.report === 'listening') listening = new Set(report.paths);
    if (report.report === 'problem') {
      problem = `${report.path}: ${report.message}`;
      parts.log({ path: report.path, reason: report.message }, 'the PKCS#11 door cannot listen');
    }
  };

  const acceptDoor = (socket: Socket, hello: DoorHello, rest: Buffer): void => {
    door = { socket, pid: hello.pid };
    let text = rest.toString();
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const line = text.slice(0, end);
        text = text.slice(end + 1);
        try {
          onReport(JSON.parse(line) as DoorReport);
        } catch {
          parts.log({}, 'the PKCS#11 door said something unreadable');
        }
      }
    });
    socket.on('end', () => socket.end());
    socket.on('close', () => {
      if (door?.socket === socket) door = undefined;
    });
    order(socket, {
      order: 'listen',
      sockets: sockets.map(({ name, path, mode, gid }) => ({ name, path, mode, ...(gid === undefined ? {} : { gid }) })),
    });
  };

  const acceptClient = (socket: Socket, hello: ClientHello, rest: Buffer): void => {
    const settings = sockets.find((one) => one.name === hello.socket);
    if (settings === undefined || ![0, 1, 2].includes(hello.generation) || !/^[A-Za-z0-9_-]{16,64}$/.test(hello.id)) {
      socket.destroy();
      return;
    }
    const connection = openClient(options, socket, hello, settings);
    clients.set(socket, connection);
    const reader = new FrameReader({
      frame: ({ code, bytes, body }) => {
        if (stopping) {
          socket.write(toControl(CONTROL.again, bytes));
          return;
        }
        connection.receive(code, body);
        if (isFull(socket, connection, 1)) holdBack(socket, connection);
      },
      tooLarge: (code) => void socket.write(toErrorFrame(code, CKR.DATA_LEN_RANGE)),
    });
    socket.on('data', (chunk: Buffer) => reader.push(chunk));
    socket.on('end', () => {
      if (!stopping) socket.end();
    });
    socket.on('close', () => {
      clients.delete(socket);
      // A service that ends leaves the sessions to the next start; a client that ends takes them with it.
      if (!stopping)
        connection.close().catch((error: unknown) => parts.log({ err: error }, 'a PKCS#11 connection could not be closed in order'));
    });
    socket.write(toControl(CONTROL.ready));
    if (rest.length > 0) reader.push(rest);
  };

  const status = (): Pkcs11Status => ({
    door: door === undefined ? undefined : { pid: door.pid },
    sockets: sockets.map(({ name, path, tenants, principal }) => ({ name, path, tenants, bound: principal !== undefined })),
    clients: [...clients.values()].map((one) => ({
      socket: one.state.socket.name,
      generation: one.state.generation,
      sessions: one.state.sessions.size,
      calls: one.calls(),
    })),
  });

  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => open.delete(socket));
    socket.on('end', () => {
      if (!clients.has(socket)) socket.end();
    });
    readHello(socket, (line, rest) => {
      const hello = parseHello(line);
      if (hello === undefined || stopping) socket.destroy();
      else if (hello.kind === 'status') socket.end(`${JSON.stringify(status())}\n`);
      else if (hello.kind === 'door') acceptDoor(socket, hello, rest);
      else acceptClient(socket, hello, rest);
    });
  });
  await listen(server, innerPath);
  const leftovers = makeLeftovers(parts, [...new Set(sockets.flatMap((one) => one.tenants))], () =>
    [...clients.values()].map((one) => one.state.id),
  );

  const leaveInOrder = async (): Promise<void> => {
    if (door !== undefined) order(door.socket, { order: 'service-stopping' });
    for (const socket of clients.keys()) socket.write(toControl(CONTROL.leaving));
    const deadline = Date.now() + STOP_WAIT_MS;
    const working = () => [...clients].some(([socket, one]) => !socket.readableEnded || one.busy() > 0);
    while (Date.now() < deadline && working()) await pause(POLL_MS);
    for (const { state, context } of clients.values()) for (const event of freshOperations(state)) context.remember(event);
    await Promise.all(
      [...open].map((socket) => new Promise<void>((resolve) => socket.end(() => resolve()) && setTimeout(resolve, POLL_MS))),
    );
  };

  return {
    status,
    untilListening: async (timeoutMs) => {
      const deadline = Date.now() + timeoutMs;
      while (!sockets.every((one) => listening.has(one.path))) {
        if (problem !== undefined) throw new Error(problem);
        if (Date.now() > deadline) throw new Error('the door did not come up in time');
        await pause(POLL_MS);
      }
    },
    stop: async (how = 'in-order') => {
      stopping = true;
      leftovers.stop();
      if (how === 'in-order') await leaveInOrder();
      for (const socket of open) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      rmSync(innerPath, { force: true });
    },
  };
};

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const isFull = (socket: Socket, connection: Connection, share: number): boolean =>
  connection.outstanding() > MAX_OUTSTANDING * share ||
  connection.heldBytes() > MAX_HELD_BYTES * share ||
  socket.writableLength > MAX_HELD_BYTES * share;

const holdBack = (socket: Socket, connection: Connection): void => {
  if (socket.isPaused()) return;
  socket.pause();
  const look = setInterval(() => {
    if (!socket.destroyed && isFull(socket, connection, 0.5)) return;
    clearInterval(look);
    socket.resume();
  }, POLL_MS);
};

const openClient = (options: Pkcs11ServerOptions, socket: Socket, hello: ClientHello, settings: SocketSettings): Connection => {
  const { sealKey, parts } = options;
  let note: ReturnType<typeof makeMemory>['note'] = () => undefined;
  const connection = makeConnection({
    parts,
    socket: settings,
    generation: hello.generation as Generation,
    id: hello.id,
    send: (frame) => {
      if (!socket.destroyed) socket.write(frame);
    },
    remember: (event) => note(event),
    offerRandom: (session, bytes) => {
      const handle = Buffer.alloc(8);
      handle.writeBigUInt64BE(BigInt(session));
      if (!socket.destroyed) socket.write(toControl(CONTROL.random, Buffer.concat([handle, bytes])));
    },
  });
  const records = hello.records.map((record) => Buffer.from(record, 'base64'));
  const from = restore(sealKey, connection.state, records);
  const output = {
    remember: (record: Buffer) => void (socket.destroyed || socket.write(toControl(CONTROL.remember, record))),
    reset: () => void (socket.destroyed || socket.write(toControl(CONTROL.reset))),
  };
  if (from === undefined) {
    parts.log({ client: hello.id.slice(0, 8) }, 'what the PKCS#11 door kept of a client could not be read; its sessions are gone');
    output.reset();
    // The application thinks it is initialised; it is told that its sessions are gone, which it knows how to mend.
    connection.state.initialised = true;
  }
  note = makeMemory(sealKey, () => connection.state, output, from ?? { epoch: randomBytes(4).readUInt32BE(0) >>> 1, sequence: 0 }).note;
  return connection;
};

const listen = (server: Server, path: string): Promise<void> => {
  rmSync(path, { force: true });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      chmodSync(path, 0o600);
      resolve();
    });
  });
};

import { Door } from './door.js';

// The door's process: `node door-main.js INNER_SOCKET`. Everything else it is told over that socket.
const [, , innerPath] = process.argv;
if (innerPath === undefined || innerPath === '') {
  process.stderr.write('usage: door-main INNER_SOCKET (started by `aegis serve`)\n');
  process.exit(2);
}
// Sockets are made for their owner only; wider modes are set when asked for.
process.umask(0o177);
const door = new Door({ innerPath, onEnd: () => process.exit(0) });
process.on('SIGTERM', () => door.end());
// Ctrl-C in the terminal of the service is not meant for the door.
process.on('SIGINT', () => undefined);
process.on('SIGHUP', () => undefined);

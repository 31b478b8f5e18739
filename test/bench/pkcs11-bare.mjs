// What the PKCS#11 plane is measured against: a Node server that cuts the same frames and answers each with a constant.
import { createServer } from 'node:net';

const frame = (code, hex) => {
  const body = Buffer.from(hex, 'hex');
  const out = Buffer.alloc(12 + body.length);
  out.writeUInt32BE(code, 0);
  out.writeUInt32BE(body.length, 8);
  body.copy(out, 12);
  return out;
};
const INFO = `0000000d0000000475757575${'0000000000000001'.repeat(4)}`;
const RANDOM = `000000400000000261790100000010${'ab'.repeat(16)}`;

const server = createServer((socket) => {
  let version = true;
  let held = Buffer.alloc(0);
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => {
    let rest = chunk;
    if (version) {
      version = false;
      socket.write(chunk.subarray(0, 1));
      rest = chunk.subarray(1);
    }
    held = held.length === 0 ? rest : Buffer.concat([held, rest]);
    while (held.length >= 12) {
      const options = held.readUInt32BE(4);
      const end = 12 + options + held.readUInt32BE(8);
      if (held.length < end) break;
      const call = held.readUInt32BE(12 + options);
      socket.write(frame(held.readUInt32BE(0), call === 64 ? RANDOM : INFO));
      held = held.subarray(end);
    }
  });
});
server.listen(process.argv[2], () => process.send('ready'));
process.on('disconnect', () => process.exit(0));

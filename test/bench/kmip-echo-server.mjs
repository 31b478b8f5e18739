// What the KMIP plane's transport is measured against: a bare Node TLS server with the same mutual TLS that answers each message of one size with
// fixed bytes of another. argv: a JSON file with key, cert, ca (PEM) and answerBytes by request length.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:tls';

const { key, cert, ca, answers } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const byLength = new Map(Object.entries(answers).map(([length, bytes]) => [Number(length), Buffer.from(bytes, 'base64')]));
const server = createServer({ key, cert, ca, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.2' }, (socket) => {
  let held = Buffer.alloc(0);
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    while (held.length >= 8 && held.length >= 8 + held.readUInt32BE(4)) {
      const length = 8 + held.readUInt32BE(4);
      held = held.subarray(length);
      socket.write(byLength.get(length));
    }
  });
});
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));
process.on('disconnect', () => process.exit(0));

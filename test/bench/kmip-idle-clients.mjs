// Opens idle mutual-TLS connections and tells when all are there. argv: a JSON file with host, port, tls and count.
import { readFileSync } from 'node:fs';
import { connect } from 'node:tls';

const { host, port, tls, count } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const sockets = [];
const open = () =>
  new Promise((resolve, reject) => {
    const socket = connect({ host, port, ...tls }, () => resolve(socket));
    socket.on('error', reject);
  });
for (let i = 0; i < count; i += 20) sockets.push(...(await Promise.all(Array.from({ length: Math.min(20, count - i) }, open))));
process.send({ open: sockets.filter((socket) => !socket.destroyed).length });
process.on('message', () => process.send({ open: sockets.filter((socket) => !socket.destroyed).length }));
process.on('disconnect', () => process.exit(0));

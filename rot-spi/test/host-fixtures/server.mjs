// A stand-in for the server: opens a hosted root, says its hosts' pids, and then does what it is told on stdin.
import { makeHostedRoot } from '../../dist/host/hosted-root.js';

const [behaviour] = process.argv.slice(2);
const root = await makeHostedRoot({
  entry: new URL('./fault-host.mjs', import.meta.url),
  config: { id: 'child', kind: 'software', hosts: 2, seal: { kind: 'key-file', path: '/nonexistent' } },
  options: { callTimeoutMs: 60_000 },
});
while (root.hosts().some(({ state }) => state !== 'ready')) await new Promise((resolve) => setTimeout(resolve, 10));
if (behaviour === 'hanging') {
  const key = {
    reference: new Uint8Array([1]),
    binding: { objectId: 'o', version: 1, tenant: 't', spec: 'hmac-sha256', usage: ['mac'], exportable: false },
  };
  for (let count = 0; count < 2; count++) {
    root.call('mac', { key, algorithm: 'hmac-sha256', data: Buffer.from('hang ') }).catch(() => undefined);
  }
}
// Late enough for the calls to have reached the hosts.
if (behaviour === 'hanging') await new Promise((resolve) => setTimeout(resolve, 300));
process.stdout.write(
  `${root
    .hosts()
    .map(({ pid }) => pid)
    .join(' ')}\n`,
);
process.stdin.on('data', async (line) => {
  const word = String(line).trim();
  if (word === 'exit') process.exit(0);
  if (word === 'close') {
    await root.close();
    process.exit(0);
  }
});

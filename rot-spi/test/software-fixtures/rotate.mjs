// Rotates the sealing key of a software root again and again, and says so after each: the parent kills it at any point.
// argv: key file, how often. Needs the built package (npx tsc -b rot-spi).
import { openSoftwareRoot } from '../../dist/software/index.js';

const [path, times] = process.argv.slice(2);
const root = await openSoftwareRoot({ id: 'child', kind: 'software', seal: { kind: 'key-file', path, create: true } });
const binding = { objectId: 'child', version: 1, tenant: 't', spec: 'aes-128', usage: ['encrypt'], exportable: false };
const rotate = async () => {
  for (;;) {
    try {
      return await root.call('rotateSeal', {});
    } catch (error) {
      if (error.code !== 'unavailable') throw error; // another process holds the lock
      await new Promise((resolve) => setTimeout(resolve, 1 + Math.random() * 5));
    }
  }
};
process.stdout.write(`ready ${(await root.describe()).fingerprint}\n`);
for (let count = 0; count < Number(times); count += 1) {
  const { generation } = await rotate();
  const { reference } = await root.call('generateKey', { binding });
  process.stdout.write(`${generation} ${Buffer.from(reference).toString('hex')}\n`);
}
await root.close();

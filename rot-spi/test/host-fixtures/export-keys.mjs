// Opens the same software root in this process and prints the true bytes of its exportable keys: `name hex` lines.
// argv: sealing key file; standard input: the memory server's report.
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { openSoftwareRoot } from '../../dist/software/index.js';

const [path] = process.argv.slice(2);
const { keys } = JSON.parse(readFileSync(0, 'utf8'));
const root = await openSoftwareRoot({ id: 'software', kind: 'software', seal: { kind: 'key-file', path } });
for (const { binding, reference } of keys) {
  const key = { binding, reference: new Uint8Array(Buffer.from(reference, 'base64')) };
  const { format, material } = await root.call('exportKey', { key });
  const name = `${binding.objectId}/${binding.spec}`;
  if (format === 'raw') {
    process.stdout.write(`${name}/value ${Buffer.from(material).toString('hex')}\n`);
    continue;
  }
  const jwk = createPrivateKey({ key: Buffer.from(material), format: 'der', type: 'pkcs8' }).export({ format: 'jwk' });
  for (const part of ['d', 'p', 'q', 'dp', 'dq', 'qi']) {
    if (jwk[part] !== undefined) process.stdout.write(`${name}/${part} ${Buffer.from(jwk[part], 'base64url').toString('hex')}\n`);
  }
}
await root.close();

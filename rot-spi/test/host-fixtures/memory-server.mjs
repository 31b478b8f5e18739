// A stand-in for the server: makes keys in a hosted software root, uses them thousands of times, and says their
// references (never their bytes, which it never has). argv: sealing key file.
import { randomFillSync } from 'node:crypto';
import { openHostedRoot } from '../../dist/host/index.js';

const [path] = process.argv.slice(2);
const root = await openHostedRoot({ id: 'software', kind: 'software', hosts: 2, seal: { kind: 'key-file', path, create: true } });
while (root.hosts().some(({ state }) => state !== 'ready')) await new Promise((resolve) => setTimeout(resolve, 10));

const keys = [];
const remember = (binding, { reference }) => {
  const key = { binding, reference };
  keys.push(key);
  return key;
};
let made = 0;
const bind = (spec, usage, exportable = true) => ({ objectId: `key-${made++}`, version: 1, tenant: 'bank', spec, usage, exportable });
const make = async (call, spec, usage, extra = {}) => {
  const binding = bind(spec, usage);
  return remember(binding, await root.call(call, { binding, ...extra }));
};
const many = (count, job) => Promise.all(Array.from({ length: count }, job));
const times = async (count, job) => {
  const lanes = 64;
  await many(lanes, async () => {
    for (let turn = 0; turn < count / lanes; turn++) await job(turn);
  });
};

const aes = await many(20, () => make('generateKey', 'aes-256', ['encrypt', 'decrypt', 'wrap', 'unwrap', 'mac', 'derive']));
const hmac = await many(20, () => make('generateKey', 'hmac-sha256', ['mac', 'mac-verify', 'derive']));
const ec = await many(20, () => make('generateKeyPair', 'ec-p256', ['sign', 'verify', 'agree']));
const rsa = await many(3, () => make('generateKeyPair', 'rsa-2048', ['sign', 'verify', 'decrypt', 'encrypt']));
const ed = await many(5, () => make('generateKeyPair', 'ed25519', ['sign', 'verify']));

const pick = (list, turn) => list[turn % list.length];
const data = new Uint8Array(64).fill(3);
await times(4000, (turn) => root.call('sign', { key: pick(ec, turn), algorithm: 'ecdsa-sha256', data }));
await times(2000, (turn) => root.call('sign', { key: pick(ed, turn), algorithm: 'ed25519', data }));
await times(600, (turn) => root.call('sign', { key: pick(rsa, turn), algorithm: 'rsa-pss-sha256', data }));
await times(4000, (turn) => root.call('mac', { key: pick(hmac, turn), algorithm: 'hmac-sha256', data }));
await times(4000, async (turn) => {
  const key = pick(aes, turn);
  const sealed = await root.call('encrypt', { key, algorithm: 'aes-gcm', plaintext: data });
  await root.call('decrypt', { key, algorithm: 'aes-gcm', ...sealed });
});
for (let index = 0; index < 20; index++) {
  const [key, wrappingKey] = [pick(hmac, index), pick(aes, index)];
  const { wrapped } = await root.call('wrapKey', { wrappingKey, algorithm: 'aes-kwp', key });
  const binding = bind('hmac-sha256', ['mac']);
  const newKey = { binding };
  remember(binding, await root.call('unwrapKey', { unwrappingKey: wrappingKey, algorithm: 'aes-kwp', wrapped, format: 'raw', newKey }));
  const derived = bind('aes-256', ['encrypt']);
  remember(derived, await root.call('derive', { key: wrappingKey, algorithm: 'hkdf-sha256', newKey: { binding: derived }, info: data }));
  await root.call('generateDataKey', { key: wrappingKey, length: 32, reveal: false });
}
await root.call('rotateSeal', {});
for (const key of keys.slice(0, 20)) key.reference = (await root.call('rewrapReference', { key })).reference;
await times(2000, (turn) => root.call('sign', { key: pick(ec, turn), algorithm: 'ecdsa-sha256', data }));
await times(1000, (turn) => root.call('encrypt', { key: pick(aes, turn), algorithm: 'aes-gcm', plaintext: data }));

// An import: these bytes are here for a moment. The caller overwrites its copy; nothing else may keep one, and no later call
// comes to overwrite what would have been kept.
for (let index = 0; index < 5; index++) {
  const material = new Uint8Array(32);
  randomFillSync(material);
  const binding = bind('aes-256', ['encrypt', 'decrypt']);
  remember(binding, await root.call('importKey', { binding, format: 'raw', material }));
  material.fill(0);
}

const report = {
  hosts: root.hosts().map(({ pid }) => pid),
  keys: keys.map(({ binding, reference }) => ({ binding, reference: Buffer.from(reference).toString('base64') })),
};
process.stdout.write(`${JSON.stringify(report)}\n`);
process.stdin.on('data', () => root.close().then(() => process.exit(0)));

// A host with a back end that misbehaves when the request tells it to. Only tests start it; the product has no such hooks.
import { createHash, createHmac } from 'node:crypto';
import { appendFileSync, readFileSync, writeSync } from 'node:fs';
import { RootFault } from '../../dist/fault.js';
import { runHost } from '../../dist/host/run-host.js';

const POWERS = [
  'generateKey',
  'generateKeyPair',
  'mac',
  'macVerify',
  'sign',
  'random',
  'digest',
  'destroyKey',
  'seedRandom',
  'rotateSeal',
  'rewrapReference',
  'evidence',
  'exportKey',
];
const MULTI_PART = ['beginOperation', 'updateOperation', 'finishOperation', 'cancelOperation'];
const text = (bytes) => Buffer.from(bytes).toString('latin1');
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const block = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** What a `mac` call does when its data begins with one of these words. */
const MISCHIEF = {
  exit: () => process.exit(3),
  crash: () => process.kill(process.pid, 'SIGSEGV'),
  hang: () => block(3_600_000),
  never: () => new Promise(() => undefined),
  garbage: () => {
    writeSync(3, Buffer.from('ff00ff00ff00ff00ff00ff00', 'hex'));
    return sleep(50);
  },
  bomb: () => {
    writeSync(3, Buffer.from('7fffffff0000000112', 'hex'));
    return sleep(50);
  },
  twice: () => {
    // A well-formed fault frame for a call nobody made.
    writeSync(3, Buffer.from([0, 0, 0, 8, 0x7f, 0, 0, 0, 19, 12, 0, 0]));
    return sleep(50);
  },
  throw: () => {
    throw Object.assign(new Error('the PIN is 1234 and the key is deadbeef'), { code: 'ERR_MODULE_BROKE' });
  },
  fault: () => {
    throw new RootFault('key-not-found', 'the token object is gone', 'restore the token');
  },
  shapeless: () => ({ mac: 'not bytes' }),
  huge: () => ({ mac: new Uint8Array(5_000_000) }),
};

/** @param {{ fake: { start?: string, stateFile?: string, log?: string, external?: boolean } }} config */
const open = async (config) => {
  const { fake = {} } = config;
  if (fake.log) appendFileSync(fake.log, `open ${process.pid}\n`);
  const state = fake.stateFile ? readFileSync(fake.stateFile, 'utf8').trim() : (fake.start ?? 'ok');
  if (state === 'exit') process.exit(9);
  if (state === 'hang') block(3_600_000);
  if (state === 'garbage') writeSync(3, Buffer.from('0000000500000000ee', 'hex'));
  if (state === 'throw') throw new Error('secret details');
  if (['pin-rejected', 'sealed', 'unavailable'].includes(state)) throw new RootFault(state, `cannot open: ${state}`, 'do something');
  let generation = 1;
  const operations = new Map();
  let started = 0;
  const description = () => ({
    id: config.id,
    kind: 'software',
    fingerprint: 'ab12',
    powers: [...POWERS, ...MULTI_PART],
    specs: [{ spec: 'aes-256', generate: true, import: true, nonExtractable: true, approval: 'approved' }],
    algorithms: [{ algorithm: 'hmac-sha256', specs: ['hmac-sha256'], multiPart: true, approval: 'approved', mechanism: 'fake' }],
    hashes: ['sha256'],
    maxInput: 1_000_000,
    module: {
      pid: String(process.pid),
      title: process.title,
      environment: Object.keys(process.env).sort().join(','),
      argv: process.argv.join(' '),
      flags: process.execArgv.join(' '),
      coreLimit: /Max core file size\s+(\S+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? '',
    },
    external: fake.external === true,
    sealGeneration: generation,
  });
  const mac = (key, data) => new Uint8Array(createHmac('sha256', key.reference).update(key.binding.objectId).update(data).digest());
  const calls = {
    mac: async ({ key, data }) => {
      const word = text(data.subarray(0, 64)).split(' ')[0];
      if (word === 'slow') await sleep(Number(text(data).split(' ')[1]));
      else if (Object.hasOwn(MISCHIEF, word)) {
        const answer = await MISCHIEF[word]();
        if (answer !== undefined) return answer;
      }
      return { mac: mac(key, data) };
    },
    macVerify: async ({ key, data, mac: given }) => ({ valid: Buffer.from(mac(key, data)).equals(Buffer.from(given)) }),
    sign: async ({ key, data }) => ({ signature: mac(key, data) }),
    digest: async ({ data }) => ({ digest: new Uint8Array(createHash('sha256').update(data).digest()) }),
    random: async ({ length }) => ({ bytes: new Uint8Array(length).fill(7) }),
    seedRandom: async ({ seed }) => {
      if (text(seed) === 'slow') await sleep(400);
      return { accepted: seed.length };
    },
    exportKey: async ({ key }) => ({ format: 'raw', material: key.reference }),
    destroyKey: async () => ({}),
    generateKey: async ({ binding }) => {
      if (fake.log) appendFileSync(fake.log, `generate ${binding.objectId}\n`);
      if (binding.objectId === 'exit') process.exit(3);
      if (binding.objectId === 'slow') await sleep(400);
      return {
        reference: new Uint8Array([generation, ...Buffer.from(binding.objectId)]),
        bits: 256,
        provenance: { local: true, alwaysSensitive: true, neverExtractable: !binding.exportable },
      };
    },
    generateKeyPair: async () => {
      await sleep(400);
      return { reference: new Uint8Array([1]), bits: 256, provenance: { local: true, alwaysSensitive: true, neverExtractable: true } };
    },
    rotateSeal: async () => ({ generation: ++generation }),
    rewrapReference: async ({ key }) => {
      if (!fake.deaf) generation = Math.max(generation, key.reference[0]);
      return { reference: new Uint8Array([generation, ...key.reference.subarray(1)]) };
    },
    evidence: async ({ key }) => ({
      provenance: { local: true, alwaysSensitive: false, neverExtractable: false },
      asserted: {
        objectId: key.binding.objectId,
        pid: String(process.pid),
        same: String(seen.has(key)),
        binding: JSON.stringify(key.binding),
        known: String(seen.add(key).size),
      },
    }),
    beginOperation: async () => {
      const operation = `op-${++started}`;
      operations.set(operation, []);
      return { operation };
    },
    updateOperation: async ({ operation, data }) => {
      if (!operations.has(operation)) throw new RootFault('operation-unknown', 'no such operation');
      operations.get(operation).push(Buffer.from(data));
      return { output: new Uint8Array(0) };
    },
    finishOperation: async ({ operation, data }) => {
      if (!operations.has(operation)) throw new RootFault('operation-unknown', 'no such operation');
      const output = new Uint8Array(Buffer.concat([...operations.get(operation), Buffer.from(data ?? [])]));
      operations.delete(operation);
      return { output };
    },
    cancelOperation: async ({ operation }) => {
      operations.delete(operation);
      return {};
    },
  };
  const seen = new Set();
  return {
    describe: async () => description(),
    health: async () => {
      if (fake.healthFile) return JSON.parse(readFileSync(fake.healthFile, 'utf8'));
      return { state: 'ready', latencyMs: 0.5 };
    },
    call: async (name, request) => {
      if (!Object.hasOwn(calls, name)) throw new RootFault('unsupported', `no ${name}`);
      return calls[name](request);
    },
    close: async () => {
      if (fake.log) appendFileSync(fake.log, `close ${process.pid}\n`);
      if (fake.start === 'slow-close') block(3_600_000);
    },
  };
};

runHost(open);

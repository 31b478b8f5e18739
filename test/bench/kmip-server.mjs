// The KMIP plane over mutual TLS with durable audit on: beside PyKMIP's server in one run, against a bare Node TLS server that answers with messages of
// the same sizes, and what a thousand idle connections cost.
import { fork } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { lowerMessage, readTtlv, writeMessage, writeTtlv } from '@aegis/kmip-ttlv';
import { KmipClient } from '@aegis/kmip-ttlv/client';
import { atLeast, atMost } from './figure.mjs';
import { load, makeCertificates, pykmipPresent, startEcho, startPykmip } from './kmip-peers.mjs';
import { startService } from './service.mjs';

const SECONDS = Number(process.env.AEGIS_BENCH_SECONDS ?? '8') / 4;
const VERSION = '1.2';
const IDLE = 1_000;

const encode = (operation, payload) =>
  writeTtlv(writeMessage(lowerMessage({ kind: 'request', version: VERSION, header: {}, items: [{ operation, payload, fields: {} }] })));
const symmetric = [
  { name: 'CryptographicAlgorithm', value: 'AES' },
  { name: 'CryptographicLength', value: 256 },
  { name: 'CryptographicUsageMask', value: 0x0c },
];
const createPayload = { ObjectType: 'SymmetricKey', Attributes: symmetric };
const RESULT_SUCCESS = Buffer.from('42007f05000000040000000000000000', 'hex');
/** Whether the answer has Result Status Success: told from its bytes, so that the load generator stays cheap. */
const succeeded = (answer) => Buffer.from(answer.buffer, answer.byteOffset, answer.length).includes(RESULT_SUCCESS);

/** The three requests of the comparison, on a key of that server. */
async function prepare(open) {
  const client = await open();
  const { UniqueIdentifier: id } = await client.request('Create', createPayload);
  await client.request('Activate', { UniqueIdentifier: id });
  const encrypt = {
    UniqueIdentifier: id,
    CryptographicParameters: { BlockCipherMode: 'CBC', PaddingMethod: 'PKCS5', CryptographicAlgorithm: 'AES' },
    Data: new Uint8Array(1_024).fill(7),
    IVCounterNonce: new Uint8Array(16).fill(9),
  };
  await client.close();
  return {
    Get: encode('Get', { UniqueIdentifier: id }),
    'Encrypt 1 KiB': encode('Encrypt', encrypt),
    Create: encode('Create', createPayload),
  };
}

async function besidePykmip(openOurs, certificates) {
  if (!pykmipPresent()) {
    process.stdout.write("PyKMIP's server is absent; install it with: apt-get install python3-pykmip\n");
    return [];
  }
  const pykmip = await startPykmip(certificates);
  try {
    const openTheirs = () =>
      KmipClient.connect({ host: '127.0.0.1', port: pykmip.port, version: VERSION, tls: { ...certificates.tls, maxVersion: 'TLSv1.2' } });
    const [ours, theirs] = [await prepare(openOurs), await prepare(openTheirs)];
    const figures = [];
    for (const connections of [1, 8])
      for (const name of Object.keys(ours)) {
        const send = (bytes) => async (client) => succeeded(await client.exchange(bytes));
        await load(openOurs, connections, 0.5, send(ours[name]));
        const slow = await load(openTheirs, connections, SECONDS, send(theirs[name]));
        const fast = await load(openOurs, connections, SECONDS, send(ours[name]));
        figures.push(
          atLeast(
            `KMIP ${name}, ${connections} connection${connections === 1 ? '' : 's'}, beside PyKMIP`,
            fast / slow,
            20,
            'times',
            `Aegis ${Math.round(fast)}/s, PyKMIP ${Math.round(slow)}/s`,
          ),
        );
      }
    return figures;
  } finally {
    await pykmip.stop();
  }
}

async function againstBareTls(openOurs, certificates) {
  const { Get } = await prepare(openOurs);
  const Query = encode('Query', { QueryFunction: ['QueryOperations', 'QueryObjects', 'QueryServerInformation'] });
  const client = await openOurs();
  const answers = {};
  for (const bytes of [Get, Query]) answers[bytes.length] = Buffer.from(await client.exchange(bytes)).toString('base64');
  await client.close();
  const echo = await startEcho(certificates, answers);
  try {
    const openEcho = () => KmipClient.connect({ host: '127.0.0.1', port: echo.port, version: VERSION, tls: certificates.tls });
    const figures = [];
    for (const [name, bytes] of [
      ['Query', Query],
      ['Get', Get],
    ]) {
      const send = async (one) => succeeded(await one.exchange(bytes));
      const rates = { bare: [], ours: [] };
      await load(openOurs, 8, 0.5, send);
      await load(openEcho, 8, 0.5, send);
      for (let round = 0; round < 2; round += 1) {
        rates.bare.push(await load(openEcho, 8, SECONDS, send));
        rates.ours.push(await load(openOurs, 8, SECONDS, send));
      }
      const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
      const detail = `bare ${Math.round(mean(rates.bare))}/s, Aegis ${Math.round(mean(rates.ours))}/s, 8 connections`;
      figures.push(atLeast(`KMIP ${name} against a bare TLS server`, (100 * mean(rates.ours)) / mean(rates.bare), 50, '%', detail));
    }
    return figures;
  } finally {
    echo.stop();
  }
}

async function idleConnections(service, address, tls, dir) {
  await sleep(1_000);
  const before = service.rssMiB();
  const file = join(dir, 'idle.json');
  writeFileSync(file, JSON.stringify({ ...address, tls, count: IDLE }), { mode: 0o600 });
  const child = fork(new URL('./kmip-idle-clients.mjs', import.meta.url).pathname, [file]);
  const { open } = await new Promise((resolve, reject) => {
    child.once('message', resolve);
    child.once('exit', () => reject(new Error('the idle clients ended')));
  });
  await sleep(3_000);
  const after = service.rssMiB();
  child.removeAllListeners('exit');
  child.disconnect();
  return [
    atMost(`${IDLE} idle mutual-TLS connections`, after - before, 100, 'MiB', `${open} open, server ${Math.round(before)} MiB before`),
  ];
}

/** Where the service's KMIP plane listens, as it wrote it down for the command line. */
function kmipAddress(service) {
  const { kmip } = JSON.parse(readFileSync(join(service.dataDir, 'service.json'), 'utf8'));
  const address = kmip.map((one) => /^(.*):(\d+)$/.exec(one.address)).find((match) => match !== null && !/^https?:/.test(match[1]));
  if (address === undefined) throw new Error(`the service serves no KMIP: ${JSON.stringify(kmip)}`);
  return { host: '127.0.0.1', port: Number(address[2]) };
}

/** @returns {Promise<import('./figure.mjs').Figure[]>} */
export async function run() {
  const certificates = makeCertificates();
  const service = await startService();
  try {
    const address = kmipAddress(service);
    const read = (name) => readFileSync(join(service.dataDir, 'kmip', name), 'utf8');
    const tls = { ca: read('ca.pem'), cert: read('client.pem'), key: read('client-key.pem'), servername: 'localhost' };
    const open = (more = {}) => KmipClient.connect({ ...address, version: VERSION, tls: { ...tls, ...more } });
    const probe = await open();
    readTtlv(await probe.exchange(encode('DiscoverVersions', {})));
    await probe.close();
    return [
      ...(await idleConnections(service, address, tls, certificates.dir)),
      ...(await againstBareTls(open, certificates)),
      // PyKMIP's server speaks TLS 1.2, so both do here.
      ...(await besidePykmip(() => open({ maxVersion: 'TLSv1.2' }), certificates)),
    ];
  } finally {
    await service.stop();
    certificates.remove();
  }
}

// REST ECDSA P-256 signature, software root, durable audit, embedded PostgreSQL, 32 connections, against a bare fastify route.
import { fork } from 'node:child_process';
import autocannon from 'autocannon';
import { atLeast, atMost } from './figure.mjs';
import { startService } from './service.mjs';

const SECONDS = Number(process.env.AEGIS_BENCH_SECONDS ?? '8');
const message = Buffer.alloc(64, 7).toString('base64');

const load = (url, body, headers, duration) =>
  new Promise((resolve, reject) =>
    autocannon(
      {
        url,
        method: 'POST',
        connections: 32,
        duration,
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
      },
      (error, result) => (error ? reject(error) : resolve(result)),
    ),
  );

/** @returns {Promise<import('./figure.mjs').Figure[]>} */
export async function run() {
  const bare = fork(new URL('./bare-server.mjs', import.meta.url).pathname);
  const { port } = await new Promise((resolve) => bare.once('message', resolve));
  const service = await startService();
  try {
    await service.call('POST', '/v1/keys', { spec: 'ec-p256', names: ['bench'], activate: true });
    const target = `${service.url}/v1/keys/bench/sign`;
    const body = { message, algorithm: 'ecdsa-sha256' };
    const headers = { authorization: `Bearer ${service.token}` };
    await load(target, body, headers, 2);
    await load(`http://127.0.0.1:${port}/sign`, { message }, {}, 2);
    // Alternate, so that drift of the machine hits both.
    const rates = { bare: [], ours: [] };
    const p99 = [];
    let failures = 0;
    for (let round = 0; round < 2; round += 1) {
      rates.bare.push((await load(`http://127.0.0.1:${port}/sign`, { message }, {}, SECONDS / 2)).requests.average);
      const ours = await load(target, body, headers, SECONDS / 2);
      rates.ours.push(ours.requests.average);
      p99.push(ours.latency.p99);
      failures += ours.non2xx + ours.errors;
    }
    const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
    const detail = `bare ${Math.round(mean(rates.bare))}/s, Aegis ${Math.round(mean(rates.ours))}/s, failures ${failures}`;
    return [
      atLeast('REST ECDSA P-256 sign against bare fastify', (100 * mean(rates.ours)) / mean(rates.bare), 50, '%', detail),
      atMost('REST sign p99', Math.max(...p99), 50, 'ms'),
    ];
  } finally {
    bare.disconnect();
    await service.stop();
  }
}

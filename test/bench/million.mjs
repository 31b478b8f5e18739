// A million keys: get by id, locate by name, start-up and memory, against the same service with none.
import { join } from 'node:path';
import { openSoftwareRoot } from '@aegis/rot-spi/software';
import pg from 'pg';
import { objectSealText, versionSealText } from '../../dist/app/record-seals.js';
import { openStorage, startEmbeddedPostgres } from '../../dist/storage/index.js';
import { atMost, percentile } from './figure.mjs';
import { startService } from './service.mjs';

const KEYS = Number(process.env.AEGIS_BENCH_KEYS ?? '1000000');
const CALLS = 2_000;
const WARM_UP = 500;
const idOf = (n) => `${n.toString(16).padStart(8, '0')}-0000-4000-8000-000000000000`;
/** What is read by id: the record seals of these rows are made, as the service would have made them. */
const sample = Array.from({ length: WARM_UP + CALLS }, () => 1 + Math.floor(Math.random() * KEYS));
const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** Rows as `create-key` leaves them, copied from one real key; references do not open, which reading never tries. */
async function fill(dataDir) {
  const postgres = await startEmbeddedPostgres({ dataDir, log: silent });
  const client = new pg.Client(postgres.connection);
  await client.connect();
  try {
    const columns = async (table, replaced) => {
      const { rows } = await client.query(
        `SELECT column_name FROM information_schema.columns WHERE table_name = $1 AND is_generated = 'NEVER' ORDER BY ordinal_position`,
        [table],
      );
      const names = rows.map((r) => r.column_name);
      return { names: names.join(', '), values: names.map((n) => replaced[n] ?? `t.${n}`).join(', ') };
    };
    const id = `lpad(to_hex(g), 8, '0') || '-0000-4000-8000-000000000000'`;
    const object = await columns('object', { id, names: `ARRAY['key-' || g]`, created: 't.created + g', seal: 'NULL' });
    await client.query(
      `INSERT INTO object (${object.names}) SELECT ${object.values} FROM (SELECT * FROM object WHERE names = ARRAY['template']) t, generate_series(1, $1::int) g`,
      [KEYS],
    );
    const name = await columns('object_name', { object_id: id, name: `'key-' || g` });
    await client.query(
      `INSERT INTO object_name (${name.names}) SELECT ${name.values} FROM (SELECT * FROM object_name WHERE name = 'template') t, generate_series(1, $1::int) g`,
      [KEYS],
    );
    const version = await columns('object_version', { object_id: id, seal: 'NULL' });
    await client.query(
      `INSERT INTO object_version (${version.names}) SELECT ${version.values} FROM (SELECT v.* FROM object_version v JOIN object_name n ON n.object_id = v.object_id WHERE n.name = 'template') t, generate_series(1, $1::int) g`,
      [KEYS],
    );
    // What autovacuum and the checkpointer would do in the minutes after such a load, before anything is measured.
    await client.query('VACUUM (ANALYZE) object, object_name, object_version');
    const { rows } = await client.query(`SELECT value FROM setting WHERE name = 'record-seal-key'`);
    await sealSample(postgres.connection, dataDir, rows[0].value);
  } finally {
    await client.end();
    const administrator = new pg.Client(postgres.administration);
    await administrator.connect();
    await administrator.query('CHECKPOINT');
    await administrator.end();
    await postgres.stop();
  }
}

async function sealSample(connection, dataDir, { reference, binding }) {
  const root = await openSoftwareRoot({
    id: 'software',
    kind: 'software',
    seal: { kind: 'key-file', path: join(dataDir, 'software-root.key') },
  });
  const storage = await openStorage({ connection, kind: 'embedded', nodeId: 'bench', log: silent });
  const key = { reference: Buffer.from(reference, 'base64'), binding };
  const seal = async (data) => (await root.call('mac', { key, algorithm: 'hmac-sha256', data })).mac;
  for (const id of new Set(sample.map(idOf))) {
    const loaded = await storage.objects.load('default', id);
    const versions = await Promise.all(loaded.versions.map((version) => seal(versionSealText(version))));
    await storage.seals.seal(loaded, { object: await seal(objectSealText(loaded.object)), versions });
  }
  await storage.close();
  await root.close();
}

async function timed(service, path) {
  const times = [];
  for (let i = 0; i < CALLS; i += 1) {
    const started = performance.now();
    await service.call('GET', path(sample[WARM_UP + i]));
    times.push(performance.now() - started);
  }
  return times.sort((a, b) => a - b);
}

/** @returns {Promise<import('./figure.mjs').Figure[]>} */
export async function run() {
  const first = await startService();
  await first.call('POST', '/v1/keys', { spec: 'aes-256', names: ['template'], activate: true });
  await first.stop({ keep: true });
  const empty = await startService({ dataDir: first.dataDir });
  const emptyStartMs = empty.startMs;
  await empty.stop({ keep: true });
  await fill(first.dataDir);
  const service = await startService({ dataDir: first.dataDir });
  try {
    // A service that just started compiles its code on the first calls; the figures are of one that runs.
    for (const n of sample.slice(0, WARM_UP)) await service.call('GET', `/v1/keys/${idOf(n)}`);
    const get = await timed(service, (n) => `/v1/keys/${idOf(n)}`);
    const locate = await timed(service, (n) => `/v1/keys?name=key-${n}`);
    return [
      atMost(`get by id among ${KEYS} keys, p99`, percentile(get, 0.99), 5, 'ms', `p50 ${percentile(get, 0.5).toFixed(2)} ms`),
      atMost(`locate by name among ${KEYS} keys, p99`, percentile(locate, 0.99), 10, 'ms', `p50 ${percentile(locate, 0.5).toFixed(2)} ms`),
      atMost(
        'start with a million keys against an empty one',
        service.startMs / emptyStartMs,
        1.5,
        '×',
        `${Math.round(service.startMs)} ms against ${Math.round(emptyStartMs)} ms; noise of the machine is most of it`,
      ),
      atMost('memory of the server', service.rssMiB(), 300, 'MiB'),
    ];
  } finally {
    await service.stop();
  }
}

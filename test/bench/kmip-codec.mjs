// How fast the KMIP codec is: reading and writing the official 2.1 messages as TTLV, beside JSON.parse and JSON.stringify of the same messages in the
// JSON encoding, within one run.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { readMessage, readTtlv, readXml, writeJson, writeMessage, writeTtlv } from '@aegis/kmip-ttlv';
import { atLeast, showFigure } from './figure.mjs';

const ROUNDS = 7;
const ROUND_MS = 400;
const vectors = join(resolve(process.env.AEGIS_VECTORS ?? join(import.meta.dirname, '../../../shared')), 'kmip/vectors/v2.1');

function xmlFiles(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? xmlFiles(join(folder, entry.name)) : entry.name.endsWith('.xml') ? [join(folder, entry.name)] : [],
  );
}

function officialItems() {
  return xmlFiles(vectors).flatMap((file) => {
    const text = readFileSync(file, 'utf8')
      .replace(/(type="DateTime"\s+value=")\$[A-Z_0-9]*(?:[+-]\d+)?/g, '$12026-01-02T03:04:05+00:00')
      .replace(/(type="ByteString"\s+value=")\$[A-Za-z_0-9]*/g, '$1a1b2c3')
      .replace(/(type="(?:Integer|LongInteger|Interval)"\s+value=")\$[A-Z_0-9]*/g, '$17');
    return (text.match(/<(RequestMessage|ResponseMessage)>[\s\S]*?<\/\1>/g) ?? []).map((xml) => readXml(xml));
  });
}

/** Messages a second, over whole passes of the list for at least ROUND_MS. */
function rate(list, step) {
  const started = performance.now();
  let count = 0;
  do {
    for (const one of list) step(one);
    count += list.length;
  } while (performance.now() - started < ROUND_MS);
  return count / ((performance.now() - started) / 1000);
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** @returns {Promise<import('./figure.mjs').Figure[]>} */
export async function run() {
  if (!existsSync(vectors)) {
    if (process.env.AEGIS_NO_SKIP === '1')
      throw new Error(`no official messages in ${vectors}; set AEGIS_VECTORS to the folder that holds kmip/vectors`);
    console.log(`KMIP codec bench skipped: no official messages in ${vectors}; set AEGIS_VECTORS to the folder that holds kmip/vectors`);
    return [];
  }
  const items = officialItems();
  const bytes = items.map((item) => writeTtlv(item).slice());
  const json = items.map((item) => writeJson(item));
  let sink = 0;
  const steps = {
    ttlv: () => rate(bytes, (one) => (sink += writeTtlv(readTtlv(one)).length)),
    json: () => rate(json, (one) => (sink += JSON.stringify(JSON.parse(one)).length)),
    typed: () => rate(bytes, (one) => (sink += writeTtlv(writeMessage(readMessage(readTtlv(one)))).length)),
  };
  const rates = { ttlv: [], json: [], typed: [] };
  for (const step of Object.values(steps)) step();
  // The three take turns, so that a busy machine slows all of them.
  for (let round = 0; round < ROUNDS; round++) for (const [name, step] of Object.entries(steps)) rates[name].push(step());
  const ratio = (name) => median(rates[name].map((value, i) => value / rates.json[i]));
  const ttlv = Math.round(median(rates.ttlv));
  const parse = Math.round(median(rates.json));
  const typed = Math.round(median(rates.typed));
  const sizes = `${items.length} messages, ${Math.round(bytes.reduce((sum, one) => sum + one.length, 0) / bytes.length)} bytes on average`;
  if (sink === 0) throw new Error('nothing was encoded');
  return [
    atLeast(
      'KMIP TTLV decode and encode, against JSON.parse and JSON.stringify',
      ratio('ttlv'),
      1,
      'x',
      `${ttlv}/s against ${parse}/s; ${sizes}`,
    ),
    atLeast('the same through typed messages', ratio('typed'), 1, 'x', `${typed}/s; names, types and required fields checked`),
  ];
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) for (const figure of await run()) console.log(showFigure(figure));

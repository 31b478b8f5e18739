// The process boundary as figures: runs host.mjs and reads its results.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { atLeast } from './figure.mjs';

/** @returns {Promise<import('./figure.mjs').Figure[]>} */
export async function run() {
  const script = new URL('./host.mjs', import.meta.url).pathname;
  // It exits 1 when a target is missed; the figures are printed all the same.
  const { stdout } = await promisify(execFile)(process.execPath, [script, '--json', '--seconds', '1']).catch((error) => error);
  const { results } = JSON.parse(stdout);
  return results
    .filter(({ target }) => target !== undefined)
    .map(({ name, callers, target, ratio, local, hosted, serverCpuUs }) =>
      atLeast(
        `${name} through a root host, ${callers} in flight`,
        ratio * 100,
        target * 100,
        '%',
        `in process ${Math.round(local)}/s, through the host ${Math.round(hosted)}/s, server CPU ${serverCpuUs.toFixed(1)} µs a call`,
      ),
    );
}

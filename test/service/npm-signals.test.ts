import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';

/** The script line of `npm start` as it stands, around a program that only tells what reaches it. */
const scripts = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).scripts as Record<string, string>;

const PROGRAM = `
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => setTimeout(() => { console.log('ended on ' + signal); process.exit(0); }, 300));
setTimeout(() => { console.log('nothing came'); process.exit(1); }, 20_000);
console.log('ready ' + process.argv.slice(2).join(' '));
`;

it.each(['SIGTERM', 'SIGINT'] as const)(
  'npm start passes %s on, and ends only when the server has ended',
  async (signal) => {
    const directory = mkdtempSync(join(tmpdir(), 'aegis-npm-'));
    try {
      mkdirSync(join(directory, 'src', 'setup'), { recursive: true });
      writeFileSync(join(directory, 'package.json'), JSON.stringify({ name: 'signals', scripts: { start: scripts['start'] } }));
      writeFileSync(join(directory, 'src', 'setup', 'start.mjs'), PROGRAM);
      const npm = spawn('npm', ['start', '--', '--hsm'], { cwd: directory, stdio: ['ignore', 'pipe', 'inherit'] });
      let printed = '';
      npm.stdout.on('data', (part) => {
        printed += part;
        if (String(part).includes('ready --hsm')) npm.kill(signal);
      });
      await new Promise((resolve) => npm.on('exit', resolve));
      expect(printed).toContain(`ended on ${signal}`);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  },
  30_000,
);

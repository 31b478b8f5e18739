import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parsePolicy } from '../../src/policy/document.js';

// Large documents are read in a thread, which Node can only start from built code.
const BUILT = new URL('../../dist/policy/parse-document.js', import.meta.url);
const HOW = 'npm run build';
const missing = !existsSync(BUILT);

describe('large documents', () => {
  it.skipIf(missing && process.env['AEGIS_NO_SKIP'] !== '1')(
    `are read beside the event loop (needs \`${HOW}\`)`,
    async () => {
      const { parseDocumentText } = (await import(BUILT.href)) as typeof import('../../src/policy/parse-document.js');
      const statement = (i: number) => ({
        id: `s${i}`,
        effect: 'allow',
        principals: [`user:u${i}`],
        actions: ['keys:sign'],
        resources: [`key:k${i}`],
      });
      const good = JSON.stringify({ statements: Array.from({ length: 6000 }, (_, i) => statement(i)) });
      let longest = 0;
      let last = performance.now();
      const beat = setInterval(() => {
        longest = Math.max(longest, performance.now() - last);
        last = performance.now();
      }, 5);
      const bad = 'a: b: '.repeat(60_000);
      const [read, hostile] = await Promise.all([parseDocumentText(good), parseDocumentText(bad)]);
      clearInterval(beat);
      expect(read.problems).toEqual([]);
      expect(read.statements).toHaveLength(6000);
      expect(hostile.statements).toEqual([]);
      expect(hostile.problems.length).toBeGreaterThan(0);
      const start = performance.now();
      parsePolicy(bad);
      expect(longest).toBeLessThan(0.6 * (performance.now() - start));
      const late = await parseDocumentText(bad, 1);
      expect(late.problems[0]?.reason).toMatch(/took longer than/);
    },
    120_000,
  );
});

// `npm test [-- vitest arguments]`: sets a fresh clone up and passes the whole suite. The last line is
// `N passed, N failed, N skipped`. With AEGIS_NO_SKIP=1 (CI) a skipped test is a failure.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  build,
  hasPkcs11,
  installDependencies,
  installSystemParts,
  projectRoot,
  rebuildPkcs11,
  requireNode,
  SYSTEM_PARTS,
  say,
} from './prepare.mjs';

requireNode();
const noSkip = process.env.AEGIS_NO_SKIP === '1';
try {
  const first = Object.keys(SYSTEM_PARTS).filter((name) => name !== 'postgresql');
  installSystemParts(first);
  installDependencies();
  installSystemParts(['postgresql']);
  if (!hasPkcs11() && SYSTEM_PARTS.compiler.present()) rebuildPkcs11();
  build();
} catch (error) {
  say(`Set-up failed: ${error.message}`);
  process.stdout.write('0 passed, 1 failed\n');
  process.exit(1);
}

const scratch = mkdtempSync(join(tmpdir(), 'aegis-test-'));
const report = join(scratch, 'report.json');
const result = spawnSync(
  process.execPath,
  [
    join('node_modules', 'vitest', 'vitest.mjs'),
    'run',
    '--config',
    'test/config/vitest.config.ts',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
    ...process.argv.slice(2),
  ],
  { cwd: projectRoot, stdio: ['ignore', 'inherit', 'inherit'] },
);

let passed = 0;
let failed = 0;
let skipped = 0;
try {
  const summary = JSON.parse(readFileSync(report, 'utf8'));
  passed = summary.numPassedTests;
  skipped = summary.numPendingTests + (summary.numTodoTests ?? 0);
  // A file that fails to load has no failed test of its own; it is a failure all the same.
  const brokenFiles = summary.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.every((t) => t.status !== 'failed'),
  ).length;
  failed = summary.numFailedTests + brokenFiles;
  for (const file of summary.testResults)
    for (const test of file.assertionResults) if (test.status === 'pending' || test.status === 'skipped') say(`skipped: ${test.fullName}`);
} catch (error) {
  say(`No test report: ${error.message}`);
  failed = 1;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
if (noSkip && skipped > 0) {
  say(`${skipped} tests were skipped although AEGIS_NO_SKIP=1 forbids it.`);
  failed += skipped;
}
if (result.status !== 0 && failed === 0) failed = 1;
process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
process.exit(failed === 0 ? 0 : 1);

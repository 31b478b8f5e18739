// `npm run lint`: format and lint rules, import rules, unused code, types of the tests, publishable packages, generated docs.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { build, installDependencies, projectRoot, requireNode, say } from './prepare.mjs';

requireNode();
installDependencies();
build();
const bin = (name) => join('node_modules', '.bin', name);
const CHECKS = [
  [
    'format and rules',
    bin('biome'),
    ['check', '--config-path=test/config/biome-rules.json', '--error-on-warnings', '--max-diagnostics=40', '.'],
  ],
  ['import rules', bin('depcruise'), ['--config', 'test/config/dependency-cruiser.cjs', 'src', 'rot-spi/src', 'kmip-ttlv/src']],
  ['unused code', bin('knip'), ['--config', 'test/config/knip.json', '--exclude', 'types,duplicates', '--no-config-hints']],
  ['types of the tests', bin('tsc'), ['-p', 'test/config/tsconfig.json']],
  ['package rot-spi', bin('publint'), ['--strict', 'rot-spi']],
  ['package kmip-ttlv', bin('publint'), ['--strict', 'kmip-ttlv']],
  ['generated docs', process.execPath, [join('src', 'setup', 'docs.mjs'), '--check']],
];
let failures = 0;
for (const [name, command, args] of CHECKS) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: projectRoot, encoding: 'utf8' });
  if (status === 0) {
    say(`ok    ${name}`);
  } else {
    failures += 1;
    say(`FAIL  ${name}\n${stdout ?? ''}${stderr ?? ''}`);
  }
}
process.exit(failures === 0 ? 0 : 1);

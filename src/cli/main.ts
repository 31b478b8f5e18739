#!/usr/bin/env node
import { CliError, type Command, EXIT, GLOBAL_OPTIONS, type Terminal } from './command.js';
import { printable } from './output.js';
import { findCommand, nearest, parseInvocation, usageLine } from './parse.js';
import { COMMANDS } from './registry.js';

const terminal: Terminal = { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr, env: process.env };

function overview(words: readonly string[]): string {
  const group = words.filter((w) => !w.startsWith('-'));
  const rows = COMMANDS.filter((c) => group.every((w, i) => c.path[i] === w));
  const shown = rows.length > 0 ? rows : COMMANDS;
  const width = Math.max(...shown.map((c) => c.path.join(' ').length));
  return `aegis: an HSM-backed key service.\n\n${shown.map((c) => `  aegis ${c.path.join(' ').padEnd(width)}  ${c.summary}`).join('\n')}\n\nHelp on one command: aegis COMMAND --help\n`;
}

function help(command: Command): string {
  const optionText = (o: { name: string; short?: string; value?: string }): string =>
    `${o.short === undefined ? '    ' : `-${o.short}, `}--${o.name}${o.value === undefined ? '' : ` ${o.value}`}`;
  const lines = [usageLine(command), '', command.summary];
  if (command.details !== undefined) lines.push('', command.details);
  if ((command.arguments ?? []).length > 0) lines.push('', ...(command.arguments ?? []).map((a) => `  ${a.name.padEnd(28)}  ${a.summary}`));
  const list = (
    rows: readonly { name: string; short?: string; value?: string; summary: string; choices?: readonly string[] }[],
  ): string[] =>
    rows.map((o) => `  ${optionText(o).padEnd(28)}  ${o.summary}${o.choices === undefined ? '' : ` (${o.choices.join(', ')})`}`);
  if ((command.options ?? []).length > 0) lines.push('', 'Options', ...list(command.options ?? []));
  lines.push('', 'For every command', ...list(GLOBAL_OPTIONS));
  if (command.example !== undefined) lines.push('', 'Example', `  ${command.example}`);
  return `${lines.join('\n')}\n`;
}

async function run(words: readonly string[]): Promise<number> {
  if (words.length === 0 || words[0] === 'help' || words[0] === '--help' || words[0] === '-h') {
    terminal.stdout.write(overview(words.slice(1)));
    return EXIT.ok;
  }
  const command = findCommand(COMMANDS, words);
  if (command === undefined) {
    const leading = words.filter((w) => !w.startsWith('-'));
    if (COMMANDS.some((c) => c.path[0] === leading[0])) {
      terminal.stderr.write(overview(leading.slice(0, 1)));
      return words.includes('--help') || words.includes('-h') ? EXIT.ok : EXIT.usage;
    }
    const guess =
      nearest(
        leading.slice(0, 2).join(' '),
        COMMANDS.map((c) => c.path.join(' ')),
      ) ?? nearest(leading[0] ?? '', [...new Set(COMMANDS.map((c) => c.path[0] ?? ''))]);
    throw new CliError(
      `there is no command “${printable(leading.join(' '))}”${guess === undefined ? '' : `; did you mean \`aegis ${guess}\`?`}`,
      EXIT.usage,
      'aegis help',
    );
  }
  const invocation = parseInvocation(command, words.slice(command.path.length));
  if (invocation.switches.has('help')) {
    terminal.stdout.write(help(command));
    return EXIT.ok;
  }
  return command.run(invocation, terminal);
}

// A reader that goes away (`aegis audit list | head`) is not an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.ok);
  throw error;
});

try {
  process.exitCode = await run(process.argv.slice(2));
} catch (error) {
  const known = error instanceof CliError;
  const json = process.argv.includes('--json');
  const message = error instanceof Error ? error.message : String(error);
  if (json)
    process.stderr.write(`${JSON.stringify({ error: message, ...(known && error.next !== undefined ? { next: error.next } : {}) })}\n`);
  else
    process.stderr.write(`aegis: ${printable(message)}\n${known && error.next !== undefined ? `       ${printable(error.next)}\n` : ''}`);
  if (!known && process.env['AEGIS_DEBUG'] === '1' && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  process.exitCode = known ? error.exitCode : EXIT.failure;
}

import type { Terminal } from './command.js';

/** Control characters of names and messages that came from elsewhere must not drive the terminal. */
export const printable = (text: string): string =>
  text.replace(/[^\P{Cc}\t\n]/gu, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);

export function printJson(terminal: Terminal, value: unknown): void {
  terminal.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
}

const cell = (value: unknown): string => {
  if (value === undefined || value === null) return '';
  if (Array.isArray(value)) return value.map(cell).join(',');
  if (typeof value === 'object')
    return Object.entries(value)
      .map(([k, v]) => `${k}=${cell(v)}`)
      .join(',');
  return printable(String(value)).replaceAll('\n', ' ');
};

/** Columns aligned by the widest cell; header in capitals. */
export function printTable(terminal: Terminal, columns: readonly string[], rows: readonly Readonly<Record<string, unknown>>[]): void {
  const lines = [columns.map((c) => c.toUpperCase()), ...rows.map((row) => columns.map((c) => cell(row[c])))];
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => (line[i] ?? '').length)));
  for (const line of lines)
    terminal.stdout.write(
      `${line
        .map((text, i) => (i === line.length - 1 ? text : text.padEnd(widths[i] ?? 0)))
        .join('  ')
        .trimEnd()}\n`,
    );
}

/** One record as `name: value` lines. */
export function printRecord(terminal: Terminal, record: Readonly<Record<string, unknown>>): void {
  const entries = Object.entries(record).filter(([, v]) => v !== undefined && v !== null && !(Array.isArray(v) && v.length === 0));
  const width = Math.max(0, ...entries.map(([k]) => k.length));
  for (const [name, value] of entries) {
    const text = typeof value === 'string' && value.includes('\n') ? `\n${printable(value).replace(/^/gm, '  ')}` : cell(value);
    terminal.stdout.write(`${name.padEnd(width)}  ${text}\n`);
  }
}

/** Progress of long work on standard error, only where a person watches. */
export function makeProgress(terminal: Terminal, label: string, totalBytes?: number): { advance(bytes: number): void; done(): void } {
  const visible = terminal.stderr.isTTY === true;
  let seen = 0;
  let lastMs = 0;
  const show = (): void => {
    const amount =
      totalBytes === undefined || totalBytes === 0 ? `${(seen / 1_048_576).toFixed(1)} MiB` : `${Math.floor((seen / totalBytes) * 100)} %`;
    terminal.stderr.write(`\r${label} ${amount}   `);
  };
  return {
    advance(bytes) {
      seen += bytes;
      const now = Date.now();
      if (visible && now - lastMs > 100) {
        lastMs = now;
        show();
      }
    },
    done() {
      if (visible) terminal.stderr.write('\r\u001b[K');
    },
  };
}

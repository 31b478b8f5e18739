import { callApi } from './client.js';
import { CliError, type Command, EXIT, type Invocation, type Terminal } from './command.js';
import { printJson, printRecord, printTable } from './output.js';
import { openSession } from './session.js';

/** How a command shows what the service answered, for people; `--json` prints the answer as it came. */
export type View =
  | { readonly kind: 'record'; readonly fields?: readonly string[] }
  | { readonly kind: 'table'; readonly columns: readonly string[]; readonly items?: string }
  | { readonly kind: 'text'; readonly of: (body: Record<string, unknown>) => string };

export interface ApiCommand extends Omit<Command, 'run'> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path, from the arguments and options. */
  readonly to: (invocation: Invocation) => string;
  readonly body?: (invocation: Invocation, terminal: Terminal) => unknown;
  readonly headers?: (invocation: Invocation) => Record<string, string>;
  readonly view: View;
}

export const segment = (text: string | undefined): string => encodeURIComponent(text ?? '');

/** Query string of the given pairs; absent values are left out. */
export function query(pairs: Readonly<Record<string, string | number | readonly string[] | undefined>>): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(pairs)) {
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) parameters.append(name, String(one));
  }
  const text = parameters.toString();
  return text === '' ? '' : `?${text}`;
}

/** `a=b` pairs → record. */
export function parsePairs(pairs: readonly string[] | undefined, option: string): Record<string, string> | undefined {
  if (pairs === undefined) return undefined;
  const record: Record<string, string> = {};
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    if (at < 1) throw new CliError(`--${option}: “${pair}” is not NAME=VALUE`, EXIT.usage);
    record[pair.slice(0, at)] = pair.slice(at + 1);
  }
  return record;
}

const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
  y: 365 * 86_400_000,
};

/** `90d`, `12h`, `30m`, `1y` → milliseconds. */
export function parseDuration(text: string | undefined, option: string): number | undefined {
  if (text === undefined) return undefined;
  const match = /^(\d{1,9})(ms|s|m|h|d|w|y)$/.exec(text);
  const unit = match === null ? undefined : UNITS_MS[match[2] ?? ''];
  if (match === null || unit === undefined)
    throw new CliError(`--${option}: “${text}” is not a duration such as 30m, 12h, 90d or 1y`, EXIT.usage);
  return Number(match[1]) * unit;
}

/** RFC 3339 date or a duration ago (`24h`) → RFC 3339. */
export function parseWhen(text: string | undefined, option: string): string | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,9}(ms|s|m|h|d|w|y)$/.test(text)) return new Date(Date.now() - (parseDuration(text, option) ?? 0)).toISOString();
  const date = new Date(text);
  if (Number.isNaN(date.getTime()))
    throw new CliError(`--${option}: “${text}” is neither a date such as 2026-01-31T12:00:00Z nor a time ago such as 24h`, EXIT.usage);
  return date.toISOString();
}

function show(view: View, body: unknown, terminal: Terminal): void {
  if (body === undefined) return;
  const record = body as Record<string, unknown>;
  if (view.kind === 'text') {
    terminal.stdout.write(`${view.of(record)}\n`);
  } else if (view.kind === 'table') {
    const items = (view.items === undefined ? record['items'] : record[view.items]) as Record<string, unknown>[] | undefined;
    printTable(terminal, view.columns, items ?? []);
    if (typeof record['next'] === 'string') terminal.stderr.write(`More: add --cursor ${record['next']}\n`);
  } else {
    const fields = view.fields;
    printRecord(terminal, fields === undefined ? record : Object.fromEntries(fields.map((f) => [f, record[f]])));
  }
}

/** Makes a command of a row: one call, shown. */
export function fromApi(row: ApiCommand): Command {
  return {
    ...row,
    run: async (invocation, terminal) => {
      const session = openSession(invocation, terminal);
      const body = row.body?.(invocation, terminal);
      const headers = row.headers?.(invocation);
      const answer = await callApi(session, row.method, row.to(invocation), {
        ...(body === undefined ? {} : { body }),
        ...(headers === undefined ? {} : { headers }),
      });
      if (invocation.switches.has('json')) printJson(terminal, answer.body ?? {});
      else show(row.view, answer.body, terminal);
      return EXIT.ok;
    },
  };
}

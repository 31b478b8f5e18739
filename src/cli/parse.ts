import { CliError, type Command, EXIT, GLOBAL_OPTIONS, type Invocation, type OptionRow } from './command.js';

/** Edit distance small enough to be a typo: used to suggest the nearest word. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = 3;
  for (const candidate of candidates) {
    const distance = editDistance(word, candidate);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      row.push(Math.min((previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    previous = row;
  }
  return previous[b.length] ?? 0;
}

/** Longest command path that the leading words spell. */
export function findCommand(commands: readonly Command[], words: readonly string[]): Command | undefined {
  let found: Command | undefined;
  for (const command of commands) {
    if (command.path.length > words.length || (found !== undefined && command.path.length <= found.path.length)) continue;
    if (command.path.every((word, i) => word === words[i])) found = command;
  }
  return found;
}

const findOption = (command: Command, word: string): OptionRow | undefined => {
  const all = [...(command.options ?? []), ...GLOBAL_OPTIONS];
  return word.startsWith('--') ? all.find((o) => o.name === word.slice(2)) : all.find((o) => o.short === word.slice(1));
};

interface Collected {
  readonly args: string[];
  readonly text: Record<string, string>;
  readonly lists: Record<string, string[]>;
  readonly switches: Set<string>;
}

function takeOption(command: Command, words: readonly string[], index: number, into: Collected): number {
  const word = words[index] ?? '';
  const equals = word.startsWith('--') ? word.indexOf('=') : -1;
  const name = equals === -1 ? word : word.slice(0, equals);
  const option = findOption(command, name);
  if (option === undefined) {
    const names = [...(command.options ?? []), ...GLOBAL_OPTIONS].map((o) => `--${o.name}`);
    const guess = nearest(name, names);
    throw new CliError(
      `aegis ${command.path.join(' ')} has no option ${name}${guess === undefined ? '' : `; did you mean ${guess}?`}`,
      EXIT.usage,
      `aegis ${command.path.join(' ')} --help`,
    );
  }
  if (option.value === undefined) {
    if (equals !== -1) throw new CliError(`--${option.name} takes no value`, EXIT.usage);
    into.switches.add(option.name);
    return index;
  }
  const value = equals === -1 ? words[index + 1] : word.slice(equals + 1);
  if (value === undefined) throw new CliError(`--${option.name} needs a value: ${option.value}`, EXIT.usage);
  const values = option.many ? value.split(',').filter((v) => v !== '') : [value];
  for (const one of values) {
    if (option.choices !== undefined && !option.choices.includes(one)) {
      const guess = nearest(one, option.choices);
      throw new CliError(
        `--${option.name}: “${one}” is not one of ${option.choices.join(', ')}${guess === undefined ? '' : `; did you mean ${guess}?`}`,
        EXIT.usage,
      );
    }
  }
  if (option.many) into.lists[option.name] = [...(into.lists[option.name] ?? []), ...values];
  else into.text[option.name] = value;
  return equals === -1 ? index + 1 : index;
}

/** Splits the words after the command into arguments and options; every mistake is named. */
export function parseInvocation(command: Command, words: readonly string[]): Invocation {
  const into: Collected = { args: [], text: {}, lists: {}, switches: new Set() };
  let literal = false;
  for (let i = 0; i < words.length; i += 1) {
    const word = words[i] ?? '';
    if (literal || word === '-' || !word.startsWith('-')) into.args.push(word);
    else if (word === '--') literal = true;
    else i = takeOption(command, words, i, into);
  }
  if (into.switches.has('help')) return into;
  const rows = command.arguments ?? [];
  const required = rows.filter((r) => r.optional !== true);
  if (into.args.length < required.length) {
    throw new CliError(
      `aegis ${command.path.join(' ')} needs ${required[into.args.length]?.name ?? 'an argument'}`,
      EXIT.usage,
      usageLine(command),
    );
  }
  if (into.args.length > rows.length) throw new CliError(`unexpected argument “${into.args[rows.length]}”`, EXIT.usage, usageLine(command));
  for (const option of command.options ?? []) {
    if (option.required === true && into.text[option.name] === undefined && into.lists[option.name] === undefined) {
      throw new CliError(`--${option.name} ${option.value ?? ''} is required`, EXIT.usage, usageLine(command));
    }
  }
  return into;
}

export function usageLine(command: Command): string {
  const args = (command.arguments ?? []).map((a) => (a.optional === true ? `[${a.name}]` : a.name));
  const options = (command.options ?? []).map((o) => {
    const text = `--${o.name}${o.value === undefined ? '' : ` ${o.value}`}`;
    return o.required === true ? text : `[${text}]`;
  });
  return ['aegis', ...command.path, ...args, ...options].join(' ');
}

import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument } from 'yaml';
import type { PolicyEffect, PolicyProblem } from '../domain/index.js';
import { LIMIT_DIMENSIONS, type Limit, type LimitDimension, parseQuota, parseRate } from './limits.js';
import { type Parsed, parseAction, parsePrincipal, parseResource, type ResourceSelector, suggestion } from './selectors.js';

/**
 * A policy document as text → statements, or every problem with its line. Nothing is guessed: an unknown key, an alias, a
 * tag, a wrong type or an unreadable limit makes the document invalid as a whole. Conditions are only located here; they
 * are compiled by compile.ts.
 */
export const MAX_DOCUMENT_BYTES = 1024 * 1024;
export const MAX_STATEMENTS = 20_000;
const MAX_PROBLEMS = 100;
const MAX_LIST = 1000;
const MAX_LIMITS = 8;
const ID_FORM = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** Plain data, so that it can cross from a worker. */
export interface ParsedStatement {
  readonly id: string;
  readonly effect: PolicyEffect;
  /** Index keys (selectors.ts). */
  readonly principals: readonly string[];
  readonly actions: readonly string[];
  readonly resources: readonly ResourceSelector[];
  readonly when?: { readonly source: string; readonly line: number; readonly column: number };
  readonly limits: readonly Limit[];
  readonly line: number;
}
export interface ParsedDocument {
  readonly statements: readonly ParsedStatement[];
  readonly problems: readonly PolicyProblem[];
}

interface Place {
  readonly line: number;
  readonly column: number;
}

/** Collects problems with their places; stops collecting when there are more than anyone reads. */
class Report {
  readonly problems: PolicyProblem[] = [];
  readonly #lines: LineCounter;
  constructor(lines: LineCounter) {
    this.#lines = lines;
  }
  place(node: unknown): Place {
    const offset = (node as { range?: readonly number[] } | null | undefined)?.range?.[0];
    return offset === undefined ? { line: 1, column: 1 } : this.at(offset);
  }
  at(offset: number): Place {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }
  add(node: unknown, path: string, reason: string): void {
    this.addAt(this.place(node), path, reason);
  }
  addAt(place: Place, path: string, reason: string): void {
    if (this.problems.length < MAX_PROBLEMS) this.problems.push({ ...place, path, reason });
  }
  get full(): boolean {
    return this.problems.length >= MAX_PROBLEMS;
  }
}

/** Keys of a mapping, each known and at most once. The yaml package's own check of that is quadratic, so it is off. */
const readMap = (report: Report, node: unknown, path: string, known: readonly string[]): ReadonlyMap<string, Node> | undefined => {
  if (!isMap(node)) {
    report.add(node, path, isAlias(node) ? 'uses an alias; write the value out' : `must be a mapping with ${known.join(', ')}`);
    return undefined;
  }
  refuseDecoration(report, node, path);
  const fields = new Map<string, Node>();
  for (const { key, value } of node.items as Pair<unknown, unknown>[]) {
    if (report.full) return undefined;
    const name = isScalar(key) && typeof key.value === 'string' ? key.value : undefined;
    const at = path === '' ? '' : `${path}.`;
    if (name === undefined || !known.includes(name)) {
      const shown = name === undefined ? 'this key' : `key \`${name.slice(0, 60)}\``;
      report.add(key, `${at}${name?.slice(0, 60) ?? '?'}`, `unknown ${shown}${name === undefined ? '' : suggestion(name, known)}`);
    } else if (fields.has(name)) report.add(key, `${at}${name}`, `\`${name}\` is given twice`);
    else fields.set(name, value as Node);
  }
  return fields;
};

/** Tags and anchors have no meaning here and hide one. */
const refuseDecoration = (
  report: Report,
  node: { tag?: string | undefined; anchor?: string | undefined; range?: unknown },
  path: string,
): void => {
  if (node.anchor !== undefined) report.add(node, path, 'uses an anchor; write values out');
};

const readText = (report: Report, node: unknown, path: string): string | undefined => {
  if (isScalar(node) && typeof node.value === 'string' && node.value !== '') {
    refuseDecoration(report, node, path);
    return node.value;
  }
  report.add(node, path, isAlias(node) ? 'uses an alias; write the value out' : 'must be text');
  return undefined;
};

const readList = <T>(
  report: Report,
  node: unknown,
  path: string,
  read: (item: Node, path: string) => T | undefined,
  max: number = MAX_LIST,
): T[] => {
  if (!isSeq(node)) {
    report.add(node, path, isAlias(node) ? 'uses an alias; write the value out' : 'must be a list');
    return [];
  }
  refuseDecoration(report, node, path);
  if (node.items.length === 0) report.add(node, path, 'is empty: the statement could never match');
  if (node.items.length > max) {
    report.add(node, path, `has more than ${max} entries`);
    return [];
  }
  const values: T[] = [];
  for (const [index, item] of node.items.entries()) {
    if (report.full) break;
    const value = read(item as Node, `${path}.${index}`);
    if (value !== undefined) values.push(value);
  }
  return values;
};

const readSelectors = <T>(report: Report, node: unknown, path: string, parse: (text: string) => Parsed<T>): T[] =>
  readList(report, node, path, (item, itemPath) => {
    const text = readText(report, item, itemPath);
    if (text === undefined) return undefined;
    const parsed = parse(text);
    if (parsed.ok) return parsed.value;
    report.add(item, itemPath, `\`${text.slice(0, 80)}\` ${parsed.reason}`);
    return undefined;
  });

const readDimensions = (report: Report, node: unknown, path: string): readonly LimitDimension[] => {
  const read = (item: unknown, itemPath: string): LimitDimension | undefined => {
    const text = readText(report, item, itemPath);
    if (text === undefined || (LIMIT_DIMENSIONS as readonly string[]).includes(text)) return text as LimitDimension | undefined;
    report.add(item, itemPath, `knows ${LIMIT_DIMENSIONS.join(', ')}`);
    return undefined;
  };
  if (node === undefined) return ['principal'];
  if (isSeq(node)) return [...new Set(readList(report, node, path, read, LIMIT_DIMENSIONS.length))].sort();
  const one = read(node, path);
  return one === undefined ? [] : [one];
};

const readLimit = (report: Report, node: unknown, path: string): Limit | undefined => {
  const fields = readMap(report, node, path, ['rate', 'quota', 'per']);
  if (fields === undefined) return undefined;
  const rate = fields.get('rate');
  const quota = fields.get('quota');
  const per = readDimensions(report, fields.get('per'), `${path}.per`);
  if ((rate === undefined) === (quota === undefined)) {
    report.add(node, path, 'takes exactly one of `rate` and `quota`');
    return undefined;
  }
  const name = rate === undefined ? 'quota' : 'rate';
  const text = readText(report, rate ?? quota, `${path}.${name}`);
  if (text === undefined) return undefined;
  const parsed = name === 'rate' ? parseRate(text) : parseQuota(text);
  if (!parsed.ok) {
    report.add(rate ?? quota, `${path}.${name}`, `\`${text.slice(0, 80)}\` ${parsed.reason}`);
    return undefined;
  }
  return { kind: name, ...parsed.value, per, text } as Limit;
};

const STATEMENT_KEYS = ['id', 'effect', 'principals', 'actions', 'resources', 'when', 'limits', 'description'] as const;
const EFFECTS: readonly string[] = ['allow', 'deny', 'step-up'];

const readCondition = (report: Report, node: Node | undefined, path: string): ParsedStatement['when'] => {
  if (node === undefined) return undefined;
  const source = readText(report, node, path);
  if (source === undefined) return undefined;
  const place = report.place(node);
  // Inside quotes the expression starts one column later; in a block scalar on the next line, at its indentation.
  const type = isScalar(node) ? node.type : undefined;
  if (type === 'BLOCK_FOLDED' || type === 'BLOCK_LITERAL') return { source, line: place.line + 1, column: 1 };
  return { source, line: place.line, column: place.column + (type === 'PLAIN' ? 0 : 1) };
};

const readStatement = (report: Report, node: Node, path: string, ids: Set<string>, builtin: boolean): ParsedStatement | undefined => {
  const fields = readMap(report, node, path, STATEMENT_KEYS);
  if (fields === undefined) return undefined;
  const before = report.problems.length;
  const required = (name: (typeof STATEMENT_KEYS)[number]): Node | undefined => {
    const value = fields.get(name);
    if (value === undefined) report.add(node, path, `lacks \`${name}\``);
    return value;
  };
  const idNode = required('id');
  const id = idNode === undefined ? undefined : readText(report, idNode, `${path}.id`);
  if (id !== undefined && !ID_FORM.test(id)) report.add(idNode, `${path}.id`, 'takes letters, digits, `.`, `_` and `-`, at most 128');
  if (id !== undefined && ids.has(id)) report.add(idNode, `${path}.id`, `\`${id.slice(0, 60)}\` is the id of an earlier statement`);
  if (id !== undefined) ids.add(id);
  const effectNode = required('effect');
  const effect = effectNode === undefined ? undefined : readText(report, effectNode, `${path}.effect`);
  if (effect !== undefined && !EFFECTS.includes(effect)) report.add(effectNode, `${path}.effect`, 'must be allow, deny or step-up');
  const listOf = <T>(name: 'principals' | 'actions' | 'resources', parse: (text: string) => Parsed<T>): T[] => {
    const value = required(name);
    return value === undefined ? [] : readSelectors(report, value, `${path}.${name}`, parse);
  };
  const principals = listOf('principals', (text) => parsePrincipal(text, builtin));
  const actions = listOf('actions', parseAction);
  const resources = listOf('resources', parseResource);
  const when = readCondition(report, fields.get('when'), `${path}.when`);
  const limitsNode = fields.get('limits');
  const limits =
    limitsNode === undefined ? [] : readList(report, limitsNode, `${path}.limits`, (item, at) => readLimit(report, item, at), MAX_LIMITS);
  if (limitsNode !== undefined && effect !== 'allow') report.add(limitsNode, `${path}.limits`, 'limits belong to allow statements');
  if (fields.has('description')) readText(report, fields.get('description'), `${path}.description`);
  if (report.problems.length > before || id === undefined || effect === undefined) return undefined;
  const { line } = report.place(node);
  return {
    id,
    effect: effect as PolicyEffect,
    principals: [...new Set(principals)],
    actions: [...new Set(actions)],
    resources,
    limits,
    line,
    ...(when === undefined ? {} : { when }),
  };
};

const readStatements = (report: Report, root: unknown, builtin: boolean): ParsedStatement[] => {
  const fields = readMap(report, root, '', ['version', 'statements', 'description']);
  if (fields === undefined) return [];
  const version = fields.get('version');
  // Left out it means 1; a document of a later language is refused, not half understood.
  if (version !== undefined && !(isScalar(version) && version.value === 1)) report.add(version, 'version', 'must be 1');
  if (fields.has('description')) readText(report, fields.get('description'), 'description');
  const list = fields.get('statements');
  if (!isSeq(list)) {
    report.add(list ?? root, 'statements', 'must be a list of statements');
    return [];
  }
  refuseDecoration(report, list, 'statements');
  if (list.items.length > MAX_STATEMENTS) {
    report.add(list, 'statements', `has more than ${MAX_STATEMENTS} statements; split the document`);
    return [];
  }
  const ids = new Set<string>();
  const statements: ParsedStatement[] = [];
  for (const [index, item] of list.items.entries()) {
    if (report.full) break;
    const statement = readStatement(report, item as Node, `statements.${index}`, ids, builtin);
    if (statement !== undefined) statements.push(statement);
  }
  return statements;
};

/** Reads a document. Synchronous; for large sources see parse-document.ts, which keeps it off the server's thread. */
export const parsePolicy = (source: string, builtin = false): ParsedDocument => {
  const lines = new LineCounter();
  const report = new Report(lines);
  const refused = (reason: string): ParsedDocument => ({ statements: [], problems: [{ line: 1, path: '', reason }] });
  if (Buffer.byteLength(source) > MAX_DOCUMENT_BYTES) return refused(`the document is larger than ${MAX_DOCUMENT_BYTES} bytes; split it`);
  try {
    // `core`, no merge keys, no custom tags: the JSON-like subset of YAML 1.2 (§10.3).
    const document = parseDocument(source, {
      version: '1.2',
      schema: 'core',
      strict: true,
      uniqueKeys: false,
      merge: false,
      prettyErrors: false,
      stringKeys: true,
      lineCounter: lines,
    });
    for (const error of [...document.errors, ...document.warnings]) {
      if (!report.full) report.addAt(report.at(error.pos[0]), '', `not YAML or JSON: ${error.message.slice(0, 200)}`);
    }
    if (report.problems.length > 0) return { statements: [], problems: report.problems };
    const statements = readStatements(report, document.contents, builtin);
    return { statements: report.problems.length > 0 ? [] : statements, problems: report.problems };
  } catch (error) {
    return refused(error instanceof RangeError ? 'the document is nested too deeply' : 'the document cannot be read');
  }
};

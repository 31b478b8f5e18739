import { type ManagedObject, OPERATION_NAMES, OPERATION_TABLE, REQUEST_FIELDS } from '../domain/index.js';
import type { PolicyQuestion } from '../guard/ports.js';
import type { Rule } from './compile.js';
import { actionPatterns, type ResourceSelector } from './selectors.js';

/**
 * Statements by action pattern, then principal key, then resource: a decision makes some dozens of hash look-ups whether
 * there are ten statements or twenty thousand.
 */
export interface Cell {
  readonly deny: Rule[];
  readonly 'step-up': Rule[];
  readonly allow: Rule[];
  /** Those of `allow` that have limits: all of them bind, not only the first that matches. */
  readonly limited: Rule[];
}

/** Names ending in `*`, by prefix; looked up once per distinct prefix length. */
class PrefixMap {
  readonly #cells = new Map<string, Cell>();
  #lengths: number[] = [];
  cell(prefix: string): Cell {
    let cell = this.#cells.get(prefix);
    if (cell === undefined) {
      cell = emptyCell();
      this.#cells.set(prefix, cell);
      if (!this.#lengths.includes(prefix.length)) this.#lengths = [...this.#lengths, prefix.length].sort((a, b) => a - b);
    }
    return cell;
  }
  collect(name: string, into: Cell[]): void {
    for (const length of this.#lengths) {
      if (length > name.length) return;
      const cell = this.#cells.get(name.slice(0, length));
      if (cell !== undefined) into.push(cell);
    }
  }
}

const emptyCell = (): Cell => ({ deny: [], 'step-up': [], allow: [], limited: [] });

/** Where the resource part of one (action, principal) is filed; maps exist once used. */
interface ResourceCells {
  any: Cell | undefined;
  tenant: Cell | undefined;
  anyKey: Cell | undefined;
  anyRoot: Cell | undefined;
  id: Map<string, Cell> | undefined;
  name: Map<string, Cell> | undefined;
  tag: Map<string, Cell> | undefined;
  spec: Map<string, Cell> | undefined;
  root: Map<string, Cell> | undefined;
  namePrefix: PrefixMap | undefined;
  specPrefix: PrefixMap | undefined;
}

const emptyResources = (): ResourceCells => ({
  any: undefined,
  tenant: undefined,
  anyKey: undefined,
  anyRoot: undefined,
  id: undefined,
  name: undefined,
  tag: undefined,
  spec: undefined,
  root: undefined,
  namePrefix: undefined,
  specPrefix: undefined,
});

const inMap = (map: Map<string, Cell>, key: string): Cell => {
  let cell = map.get(key);
  if (cell === undefined) {
    cell = emptyCell();
    map.set(key, cell);
  }
  return cell;
};

const cellFor = (cells: ResourceCells, selector: ResourceSelector): Cell => {
  switch (selector.kind) {
    case 'any':
      cells.any ??= emptyCell();
      return cells.any;
    case 'tenant':
      cells.tenant ??= emptyCell();
      return cells.tenant;
    case 'any-key':
      cells.anyKey ??= emptyCell();
      return cells.anyKey;
    case 'any-root':
      cells.anyRoot ??= emptyCell();
      return cells.anyRoot;
    case 'name-prefix':
      cells.namePrefix ??= new PrefixMap();
      return cells.namePrefix.cell(selector.value);
    case 'spec-prefix':
      cells.specPrefix ??= new PrefixMap();
      return cells.specPrefix.cell(selector.value);
    default: {
      const { kind, value } = selector;
      const map = cells[kind] ?? new Map<string, Cell>();
      cells[kind] = map;
      return inMap(map, value);
    }
  }
};

/** Operations that make an object: what they ask for is judged like an object that has it. */
const createsObject = (operation: PolicyQuestion['operation']): boolean =>
  Object.hasOwn(OPERATION_TABLE, operation) &&
  OPERATION_TABLE[operation].target === undefined &&
  OPERATION_TABLE[operation].action.startsWith('keys:');
export const isCreation = ({ object, operation, action }: PolicyQuestion): boolean =>
  object === undefined && createsObject(operation) && action !== 'keys:list';

/** Operations that use one object and make another (unwrap, derive, re-key …). */
const makesAnother = ({ operation, action }: PolicyQuestion): boolean =>
  MAKERS.has(operation) && OPERATION_TABLE[operation].action === action;
const MAKERS: ReadonlySet<string> = new Set(
  OPERATION_NAMES.filter((name) => OPERATION_TABLE[name].target !== undefined && REQUEST_FIELDS[name].includes('spec')),
);

/** What is made is no resource that could grant anything here, but what restricts making it applies. */
const collectProduct = (cells: ResourceCells, question: PolicyQuestion, used: ManagedObject, into: Cell[]): void => {
  const product: Cell[] = [];
  const { request } = question;
  collectDraft(cells, { ...request, root: request['root'] ?? used.rootId, spec: request['spec'] ?? used.spec }, product);
  for (const { deny, 'step-up': stepUp } of product) {
    if (deny.length + stepUp.length > 0) into.push({ deny, 'step-up': stepUp, allow: [], limited: [] });
  }
};

/** Which cells a question's resource falls into. */
const collectResource = (cells: ResourceCells, question: PolicyQuestion, into: Cell[]): void => {
  const { object } = question;
  if (cells.any !== undefined) into.push(cells.any);
  if (object !== undefined) {
    if (cells.anyKey !== undefined) into.push(cells.anyKey);
    if (cells.anyRoot !== undefined) into.push(cells.anyRoot);
    const byId = cells.id?.get(object.id);
    if (byId !== undefined) into.push(byId);
    collectAttributes(cells, object.names, object.tags, object.spec, object.rootId, into);
    if (makesAnother(question)) collectProduct(cells, question, object, into);
    return;
  }
  if (question.action.startsWith('keys:')) {
    if (cells.anyKey !== undefined) into.push(cells.anyKey);
    const creates = isCreation(question);
    if ((creates || question.action === 'keys:list') && cells.tenant !== undefined) into.push(cells.tenant);
    if (creates) collectDraft(cells, question.request, into);
    return;
  }
  if (cells.tenant !== undefined) into.push(cells.tenant);
  const { root, id } = question.request;
  const named = question.operation === 'get-root' ? id : root;
  if (typeof named === 'string') collectAttributes(cells, [], {}, undefined, named, into);
  if (typeof named === 'string' && cells.anyRoot !== undefined) into.push(cells.anyRoot);
};

const collectAttributes = (
  cells: ResourceCells,
  names: readonly string[],
  tags: Readonly<Record<string, string>>,
  spec: string | undefined,
  root: string | undefined,
  into: Cell[],
): void => {
  if (cells.name !== undefined || cells.namePrefix !== undefined) {
    for (const name of names) {
      const cell = cells.name?.get(name);
      if (cell !== undefined) into.push(cell);
      cells.namePrefix?.collect(name, into);
    }
  }
  if (cells.tag !== undefined) {
    for (const name of Object.keys(tags)) {
      const exact = cells.tag.get(`${name}=${tags[name]}`);
      if (exact !== undefined) into.push(exact);
      const present = cells.tag.get(`${name}=*`);
      if (present !== undefined) into.push(present);
    }
  }
  if (spec !== undefined) {
    const cell = cells.spec?.get(spec);
    if (cell !== undefined) into.push(cell);
    cells.specPrefix?.collect(spec, into);
  }
  const ofRoot = root === undefined ? undefined : cells.root?.get(root);
  if (ofRoot !== undefined) into.push(ofRoot);
};

const texts = (value: unknown): readonly string[] => (Array.isArray(value) ? value.filter((v) => typeof v === 'string') : []);
const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
const NO_TAGS: Readonly<Record<string, string>> = {};

/** All statements about one name, as one cell. */
const namedCell = (cells: ResourceCells, name: string): Cell[] => {
  const found: Cell[] = [];
  collectAttributes(cells, [name], NO_TAGS, undefined, undefined, found);
  return [
    {
      deny: found.flatMap((c) => c.deny),
      'step-up': found.flatMap((c) => c['step-up']),
      allow: found.flatMap((c) => c.allow),
      limited: found.flatMap((c) => c.limited),
    },
  ];
};

/** Several names at once: what restricts one of them restricts all, what grants must grant each of them. */
const bothCells = ([a]: Cell[], [b]: Cell[]): Cell[] =>
  a === undefined || b === undefined
    ? []
    : [
        {
          deny: [...a.deny, ...b.deny],
          'step-up': [...a['step-up'], ...b['step-up']],
          allow: a.allow.filter((rule) => b.allow.includes(rule)),
          limited: a.limited.filter((rule) => b.limited.includes(rule)),
        },
      ];

/** An object about to be made. Where its root isn't known, every statement about some root that restricts applies. */
const collectDraft = (cells: ResourceCells, request: Readonly<Record<string, unknown>>, into: Cell[]): void => {
  if (cells.anyRoot !== undefined) into.push(cells.anyRoot);
  const tags = typeof request['tags'] === 'object' && request['tags'] !== null ? (request['tags'] as Record<string, string>) : NO_TAGS;
  const root = text(request['root']);
  const names = texts(request['names']);
  if (names.length < 2) collectAttributes(cells, names, tags, text(request['spec']), root, into);
  else {
    collectAttributes(cells, [], tags, text(request['spec']), root, into);
    into.push(...names.map((name) => namedCell(cells, name)).reduce(bothCells));
  }
  if (root === undefined && cells.root !== undefined) {
    for (const { deny, 'step-up': stepUp } of cells.root.values()) into.push({ deny, 'step-up': stepUp, allow: [], limited: [] });
  }
};

export interface StatementIndex {
  readonly size: number;
  /** Cells whose statements name this action, one of these principals and this resource. */
  collect(question: PolicyQuestion, principalKeys: readonly string[], into: Cell[]): void;
}

type PrincipalMap = Map<string, ResourceCells>;

const file = (buckets: Map<string, PrincipalMap>, rule: Rule): void => {
  for (const action of rule.actions) {
    let principals = buckets.get(action);
    if (principals === undefined) {
      principals = new Map();
      buckets.set(action, principals);
    }
    for (const principal of rule.principals) {
      let cells = principals.get(principal);
      if (cells === undefined) {
        cells = emptyResources();
        principals.set(principal, cells);
      }
      for (const resource of rule.resources) {
        const cell = cellFor(cells, resource);
        cell[rule.effect].push(rule);
        if (rule.limits.length > 0) cell.limited.push(rule);
      }
    }
  }
};

export const makeStatementIndex = (rules: readonly Rule[]): StatementIndex => {
  const buckets = new Map<string, PrincipalMap>();
  for (const rule of rules) file(buckets, rule);
  const byAction = new Map<string, readonly PrincipalMap[]>();
  const bucketsOf = (action: string): readonly PrincipalMap[] => {
    let found = byAction.get(action);
    if (found === undefined) {
      found = actionPatterns(action).flatMap((pattern) => buckets.get(pattern) ?? []);
      // The actions of the table are few; anything else is not worth remembering.
      if (byAction.size < 1000) byAction.set(action, found);
    }
    return found;
  };
  return {
    size: rules.length,
    collect: (question, principalKeys, into) => {
      const found = bucketsOf(question.action);
      for (let b = 0; b < found.length; b += 1) {
        const principals = found[b] as PrincipalMap;
        for (let k = 0; k < principalKeys.length; k += 1) {
          const cells = principals.get(principalKeys[k] as string);
          if (cells !== undefined) collectResource(cells, question, into);
        }
      }
    },
  };
};

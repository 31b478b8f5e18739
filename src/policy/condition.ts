import { type CelFunc, CelScalar, celEnv, celFunc, isCelError, parse, plan } from '@bufbuild/cel';
import { REQUEST_FIELD_TYPES } from '../domain/index.js';
import { suggestion } from './selectors.js';

/**
 * Conditions: CEL (https://github.com/google/cel-spec) checked and planned once, when a document is loaded. The checks make
 * what a condition can cost bounded and a typing mistake an error of the document instead of a surprise of a decision.
 */
const MAX_CONDITION_LENGTH = 2048;
const MAX_NODES = 400;
const MAX_PATTERN_LENGTH = 256;

/** `undefined` as outcome means the evaluation failed; who asks decides what that means (allow: no; deny, step-up: yes). */
export interface Condition {
  readonly source: string;
  evaluate(binding: object): { readonly value: boolean | undefined; readonly error?: string };
}
export interface ConditionProblem {
  readonly reason: string;
  /** Character offset in the expression, where known. */
  readonly offset?: number;
}

/** Variables and, where fixed, their fields. `tags` is open. */
const PRINCIPAL_FIELDS = ['id', 'name', 'kind', 'tenant', 'roles', 'tags', 'purpose', 'parentId'] as const;
const VARIABLES: Readonly<Record<string, readonly string[] | 'open' | 'scalar'>> = {
  principal: PRINCIPAL_FIELDS,
  parent: PRINCIPAL_FIELDS,
  authentication: ['method', 'credentialId', 'expiresAt', 'scope'],
  resource: [
    'id',
    'type',
    'name',
    'names',
    'tags',
    'spec',
    'state',
    'root',
    'protection',
    'exportable',
    'owner',
    'usage',
    'archived',
    'group',
  ],
  request: Object.keys(REQUEST_FIELD_TYPES),
  action: 'scalar',
  operation: 'scalar',
  tenant: 'scalar',
  plane: 'scalar',
  source: 'scalar',
  now: 'scalar',
};
export const CONDITION_VARIABLES = VARIABLES;

const TYPE_NAMES: ReadonlySet<string> = new Set(['bool', 'bytes', 'double', 'int', 'list', 'map', 'null_type', 'string', 'type', 'uint']);
/** Functions whose answer is a boolean, in the parser's own names. */
const BOOLEAN_FUNCTIONS: ReadonlySet<string> = new Set([
  '_==_',
  '_!=_',
  '_<_',
  '_<=_',
  '_>_',
  '_>=_',
  '!_',
  '_&&_',
  '_||_',
  '@in',
  'startsWith',
  'endsWith',
  'contains',
  'matches',
  'bool',
  'inNetwork',
]);
/** Resolved by the planner itself rather than the function table. */
const PLANNED_FUNCTIONS: ReadonlySet<string> = new Set(['_&&_', '_||_', '_?_:_', '_[_]', '@not_strictly_false', '__not_strictly_false__']);

/** IPv4 or IPv6 address → its bits and width, or nothing. IPv4-mapped IPv6 (RFC 4291 §2.5.5.2) counts as IPv4. */
export const parseAddress = (text: string): { readonly bits: bigint; readonly width: 32 | 128 } | undefined => {
  const v4 = /^(?:::ffff:)?(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/i.exec(text);
  if (v4 !== null) {
    const parts = v4.slice(1).map(Number);
    if (parts.some((p) => p > 255)) return undefined;
    return { bits: parts.reduce((n, p) => (n << 8n) | BigInt(p), 0n), width: 32 };
  }
  if (!/^[0-9a-f:]{2,39}$/i.test(text) || text.split('::').length > 2) return undefined;
  const [head = '', tail] = text.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const gap = 8 - left.length - right.length;
  if (tail === undefined ? gap !== 0 : gap < 1) return undefined;
  const groups = [...left, ...Array.from({ length: gap }, () => '0'), ...right];
  if (groups.some((g) => !/^[0-9a-f]{1,4}$/i.test(g))) return undefined;
  return { bits: groups.reduce((n, g) => (n << 16n) | BigInt(`0x${g}`), 0n), width: 128 };
};

/** A network in CIDR notation (RFC 4632 §3.1). Throws on other text. */
const parseNetwork = (network: string): { readonly bits: bigint; readonly width: 32 | 128; readonly length: number } => {
  const [base = '', length = '', more] = network.split('/');
  const net = parseAddress(base);
  if (net === undefined || more !== undefined || !/^\d{1,3}$/.test(length) || Number(length) > net.width)
    throw new Error(`not a network: ${network.slice(0, 60)}`);
  return { ...net, length: Number(length) };
};

/** Whether an address lies in a network. Throws on text that is neither. */
const inNetwork = (address: string, network: string): boolean => {
  const net = parseNetwork(network);
  const host = parseAddress(address);
  if (host === undefined) throw new Error(`not an address: ${address.slice(0, 60)}`);
  const shift = BigInt(net.width - net.length);
  return host.width === net.width && host.bits >> shift === net.bits >> shift;
};

const FUNCTIONS: CelFunc[] = [celFunc('inNetwork', [CelScalar.STRING, CelScalar.STRING], CelScalar.BOOL, inNetwork)];
const ENVIRONMENT = celEnv({ funcs: FUNCTIONS });

type Expression = ReturnType<typeof parse>['expr'];
type Positions = Readonly<Record<string, number>>;

class Refusal extends Error {
  readonly offset: number | undefined;
  constructor(reason: string, offset: number | undefined) {
    super(reason);
    this.offset = offset;
  }
}

/** Walks the syntax tree once, counting and checking. */
const makeChecker = (positions: Positions) => {
  let nodes = 0;
  const stop = (expression: Expression, reason: string): never => {
    throw new Refusal(reason, positions[String(expression.id)]);
  };
  const walk = (expression: Expression | undefined, locals: readonly string[], inLoop: boolean): void => {
    if (expression === undefined) return;
    nodes += 1;
    if (nodes > MAX_NODES) stop(expression, `is too long: more than ${MAX_NODES} parts; split it over several statements`);
    const { exprKind } = expression;
    switch (exprKind.case) {
      case 'identExpr':
        checkName(expression, exprKind.value.name, locals);
        return;
      case 'selectExpr':
        checkField(expression, exprKind.value.operand, exprKind.value.field, locals);
        walk(exprKind.value.operand, locals, inLoop);
        return;
      case 'callExpr':
        checkCall(expression, exprKind.value.function, exprKind.value.args, exprKind.value.target !== undefined);
        walk(exprKind.value.target, locals, inLoop);
        for (const arg of exprKind.value.args) walk(arg, locals, inLoop);
        return;
      case 'listExpr':
        for (const element of exprKind.value.elements) walk(element, locals, inLoop);
        return;
      case 'structExpr':
        if (exprKind.value.messageName !== '') stop(expression, `knows no message type \`${exprKind.value.messageName}\``);
        for (const entry of exprKind.value.entries) {
          if (entry.keyKind.case === 'mapKey') walk(entry.keyKind.value, locals, inLoop);
          walk(entry.value, locals, inLoop);
        }
        return;
      case 'comprehensionExpr': {
        // One level: the work of a condition is then at most (size of one list) × (size of the expression).
        if (inLoop) stop(expression, 'nests `all`, `exists`, `map` or `filter` inside one another; write several statements instead');
        const { iterVar, accuVar, iterRange, accuInit, loopCondition, loopStep, result } = exprKind.value;
        walk(iterRange, locals, inLoop);
        walk(accuInit, locals, inLoop);
        const inner = [...locals, iterVar, accuVar];
        for (const part of [loopCondition, loopStep, result]) walk(part, inner, true);
        return;
      }
      case 'constExpr':
        return;
      default:
        stop(expression, 'is not an expression');
    }
  };
  const checkName = (expression: Expression, name: string, locals: readonly string[]): void => {
    if (locals.includes(name) || Object.hasOwn(VARIABLES, name) || TYPE_NAMES.has(name)) return;
    stop(expression, `knows no \`${name}\`${suggestion(name, Object.keys(VARIABLES))}`);
  };
  const checkField = (expression: Expression, operand: Expression | undefined, field: string, locals: readonly string[]): void => {
    if (operand?.exprKind.case !== 'identExpr') return;
    const variable = operand.exprKind.value.name;
    const fields = locals.includes(variable) || !Object.hasOwn(VARIABLES, variable) ? undefined : VARIABLES[variable];
    if (fields === 'scalar') stop(expression, `\`${variable}\` has no fields`);
    if (Array.isArray(fields) && !fields.includes(field))
      stop(expression, `\`${variable}\` has no field \`${field}\`${suggestion(field, fields)}`);
  };
  const checkCall = (expression: Expression, name: string, args: readonly Expression[], isMethod: boolean): void => {
    if (!PLANNED_FUNCTIONS.has(name) && ENVIRONMENT.funcs.find(name) === undefined) stop(expression, `knows no function \`${name}\``);
    if (name === 'matches') checkPattern(expression, args[isMethod ? 0 : 1]);
    if (name === 'inNetwork') checkNetwork(expression, args[1]);
    if (args.length > 0 && !isMethod && args.every((a) => a.exprKind.case === 'constExpr') && !PLANNED_FUNCTIONS.has(name)) {
      const value = plan(ENVIRONMENT, expression)({});
      if (isCelError(value)) stop(expression, `can never be evaluated: ${value.message}`);
    }
  };
  const checkNetwork = (expression: Expression, network: Expression | undefined): void => {
    const constant = network?.exprKind.case === 'constExpr' ? network.exprKind.value.constantKind : undefined;
    if (constant?.case !== 'stringValue') return;
    try {
      parseNetwork(constant.value);
    } catch (error) {
      stop(expression, `can never be evaluated: ${(error as Error).message}`);
    }
  };
  /** A pattern from a request would let callers choose what is compiled, once per decision. */
  const checkPattern = (expression: Expression, pattern: Expression | undefined): void => {
    const constant = pattern?.exprKind.case === 'constExpr' ? pattern.exprKind.value.constantKind : undefined;
    if (constant?.case !== 'stringValue') {
      stop(expression, '`matches` takes a literal pattern');
      return;
    }
    if (constant.value.length > MAX_PATTERN_LENGTH) stop(expression, `has a pattern longer than ${MAX_PATTERN_LENGTH} characters`);
    const tried = plan(ENVIRONMENT, parse('"".matches(p)'))({ p: constant.value });
    if (isCelError(tried)) stop(expression, `has a broken pattern: ${tried.message}`);
  };
  return { walk };
};

/** What the whole expression certainly isn't, if not a boolean. */
const notBoolean = (expression: Expression): boolean => {
  const { exprKind } = expression;
  switch (exprKind.case) {
    case 'constExpr':
      return exprKind.value.constantKind.case !== 'boolValue';
    case 'listExpr':
    case 'structExpr':
      return true;
    case 'identExpr':
      return true;
    case 'callExpr':
      if (exprKind.value.function === '_?_:_') return exprKind.value.args.slice(1).some(notBoolean);
      return !BOOLEAN_FUNCTIONS.has(exprKind.value.function) && exprKind.value.function !== '_[_]';
    case 'comprehensionExpr':
      // `map` and `filter` fold into a list.
      return exprKind.value.accuInit?.exprKind.case === 'listExpr';
    default:
      return false;
  }
};

const located = (error: unknown): ConditionProblem => {
  if (error instanceof Refusal) return { reason: error.message, ...(error.offset === undefined ? {} : { offset: error.offset }) };
  if (error instanceof RangeError) return { reason: 'is nested too deeply' };
  const location = (error as { location?: { start?: { offset?: unknown } } }).location?.start?.offset;
  const message = error instanceof Error ? error.message.replace(/^<input>:\d+:\d+: /, '') : 'cannot be read';
  return { reason: `does not parse: ${message.slice(0, 200)}`, ...(typeof location === 'number' ? { offset: location } : {}) };
};

/** The same text is planned once, for as long as some document holds it: documents repeat their conditions. */
const PLANNED = new Map<string, WeakRef<Condition>>();
const FORGOTTEN = new FinalizationRegistry<string>((source) => {
  if (PLANNED.get(source)?.deref() === undefined) PLANNED.delete(source);
});

const planned = (source: string): Condition => {
  const tree = parse(source);
  makeChecker(tree.sourceInfo?.positions ?? {}).walk(tree.expr, [], false);
  if (notBoolean(tree.expr)) throw new Refusal('is not a yes-or-no question', 0);
  const run = plan(ENVIRONMENT, tree);
  return {
    source,
    evaluate: (binding) => {
      const value = run(binding as never);
      if (typeof value === 'boolean') return { value };
      return { value: undefined, error: isCelError(value) ? value.message.slice(0, 200) : 'the condition is not a boolean' };
    },
  };
};

/** Parses, checks and plans a condition. */
export const compileCondition = (
  source: string,
): { readonly condition: Condition; readonly problem?: never } | { readonly condition?: never; readonly problem: ConditionProblem } => {
  if (source.length > MAX_CONDITION_LENGTH) return { problem: { reason: `is longer than ${MAX_CONDITION_LENGTH} characters` } };
  const known = PLANNED.get(source)?.deref();
  if (known !== undefined) return { condition: known };
  try {
    const condition = planned(source);
    PLANNED.set(source, new WeakRef(condition));
    FORGOTTEN.register(condition, source);
    return { condition };
  } catch (error) {
    return { problem: located(error) };
  }
};

const toTimestamp = plan(ENVIRONMENT, parse('timestamp(x)'));
/** Milliseconds since the epoch as a CEL timestamp. */
export const celTimestamp = (ms: number): unknown => toTimestamp({ x: new Date(ms).toISOString() });

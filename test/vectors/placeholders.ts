import { childrenOf, type Item, ItemType, readXml, showTag } from '@aegis/kmip-ttlv';

// `$UNIQUE_IDENTIFIER_0`, `$NOW-3600`, `$SIGNATURE_DATA`…: bound on their first use in a response, substituted in later requests.

const PLACEHOLDER = /^\$[A-Z][A-Z_]*(?:_\d+)?$/;
const NOW = /^\$NOW([+-]\d+)?$/;
/** Stands for `$NOW` in an expected response: 9000-01-01 plus the offset, a date that no case uses. */
const NOW_SECONDS = 221_845_392_000n;
const NOW_REACH_SECONDS = 100_000_000n;

/** What the placeholders of one chain of cases stand for. */
export interface Bindings {
  readonly values: Map<string, string | Uint8Array>;
  /** Outputs that are random, by the hex the official file happens to show. */
  readonly literals: Map<string, string>;
  /** Byte strings of the responses, by the placeholder's name of their tag (`DATA`), in order: some cases name `$DATA_0` only where they use it. */
  readonly outputs: Map<string, Uint8Array[]>;
  /** Dates that the case's requests state: the server must give them back, where others are its own clock's. */
  readonly stated: Set<bigint>;
  /** Seconds since 1970, one reading for the case. */
  readonly now: number;
}

export const makeBindings = (): Bindings => ({
  values: new Map(),
  literals: new Map(),
  outputs: new Map(),
  stated: new Set(),
  now: Math.floor(Date.now() / 1000),
});

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const isoOf = (seconds: number): string => new Date(seconds * 1000).toISOString().replace('.000Z', '+00:00');
const escapeXml = (text: string): string =>
  text.replace(/[&<>"]/g, (one) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[one] as string);

const VALUE = /type="([A-Za-z]+)"(\s+)value="(\$[^"]*)"/g;

/** The request with everything filled in. @throws Error for a placeholder that nothing bound */
export function fillRequest(xml: string, bindings: Bindings): string {
  const filled = xml.replace(VALUE, (_, type: string, space: string, name: string) => {
    const value = boundValue(name, bindings);
    const text = typeof value === 'string' ? escapeXml(value) : hexOf(value);
    return `type="${type}"${space}value="${text}"`;
  });
  return filled.replace(/type="ByteString"(\s+)value="([0-9a-fA-F]{16,})"/g, (all, space: string, hex: string) => {
    const actual = bindings.literals.get(hex.toLowerCase());
    return actual === undefined ? all : `type="ByteString"${space}value="${actual}"`;
  });
}

function boundValue(name: string, bindings: Bindings): string | Uint8Array {
  const now = NOW.exec(name);
  if (now !== null) return isoOf(bindings.now + Number(now[1] ?? 0));
  const value = bindings.values.get(name) ?? outputNamed(name, bindings);
  if (value === undefined) throw new Error(`the request uses ${name}, which no earlier response bound`);
  return value;
}

function outputNamed(name: string, bindings: Bindings): Uint8Array | undefined {
  const [, tag, index] = /^\$([A-Z_]+?)(?:_(\d+))?$/.exec(name) ?? [];
  const seen = bindings.outputs.get(tag ?? '') ?? [];
  return index === undefined ? seen.at(-1) : seen[Number(index)];
}

/** Remembers the dates that a request states. */
export function noteDates(item: Item, bindings: Bindings): void {
  for (const child of childrenOf(item)) noteDates(child, bindings);
  if (item.type === ItemType.DateTime || item.type === ItemType.DateTimeExtended) bindings.stated.add(item.value as bigint);
}

/** Remembers the byte strings of a response. */
export function noteOutputs(item: Item, bindings: Bindings): void {
  for (const child of childrenOf(item)) noteOutputs(child, bindings);
  if (item.type !== ItemType.ByteString) return;
  const name = showTag(item.tag)
    .replace(/([a-z0-9])([A-Z])|([A-Z])(?=[A-Z][a-z])/g, '$1$3_$2')
    .toUpperCase();
  bindings.outputs.set(name, [...(bindings.outputs.get(name) ?? []), (item.value as Uint8Array).slice()]);
}

/** The expected response as an item tree in which placeholders are recognisable values. */
export function readExpected(xml: string): Item {
  return readXml(
    xml.replace(VALUE, (all, type: string, space: string, name: string) => {
      const now = NOW.exec(name);
      if (now !== null) return `type="${type}"${space}value="0x${(NOW_SECONDS + BigInt(now[1] ?? 0)).toString(16).padStart(16, '0')}"`;
      if (!PLACEHOLDER.test(name)) throw new Error(`not a placeholder: ${name}`);
      return type === 'ByteString' ? `type="ByteString"${space}value="${Buffer.from(name, 'latin1').toString('hex')}"` : all;
    }),
  );
}

/** The offset of an expected `$NOW`, in seconds, or undefined when the expected date is a date. */
export function nowOffset(item: Item): number | undefined {
  if (item.type !== ItemType.DateTime && item.type !== ItemType.DateTimeExtended) return undefined;
  const offset = (item.value as bigint) - NOW_SECONDS;
  return offset > -NOW_REACH_SECONDS && offset < NOW_REACH_SECONDS ? Number(offset) : undefined;
}

/** The name of the placeholder an expected item stands for. */
export function placeholderOf(item: Item): string | undefined {
  const text =
    typeof item.value === 'string'
      ? item.value
      : item.value instanceof Uint8Array && item.value.length < 64
        ? Buffer.from(item.value).toString('latin1')
        : undefined;
  return text !== undefined && PLACEHOLDER.test(text) ? text : undefined;
}

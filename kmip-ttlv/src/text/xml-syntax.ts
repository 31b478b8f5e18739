import { CodecError } from '../tree/codec-error.js';

// The part of XML 1.0 that KMIP messages use: elements, attributes, character references, comments, the XML declaration. No DOCTYPE, so no entities to
// expand and nothing external to fetch.

/** What the scanner reports, in document order. */
export type XmlHandler = {
  open(name: string, attributes: ReadonlyMap<string, string>, at: number): void;
  close(name: string, at: number): void;
};

const NAME = /[A-Za-z_][\w.:-]*/y;
const SPACE = /[ \t\r\n]*/y;
const NAMED: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
const MAX_ATTRIBUTES = 16;

/** Scans a document and reports its elements. Character data other than white space is refused, as no KMIP element has any. */
export function scanXml(text: string, handler: XmlHandler): void {
  let at = text.charCodeAt(0) === 0xfeff ? 1 : 0;
  const open: string[] = [];
  let roots = 0;
  const fail = (reason: string, where: number = at): never => {
    throw new CodecError('BadSyntax', reason, '', where);
  };
  const sticky = (pattern: RegExp): string => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0] ?? '';
    at += found.length;
    return found;
  };
  const skipTo = (end: string, from: number): void => {
    const stop = text.indexOf(end, from);
    if (stop < 0) fail('the document ends inside a comment or declaration');
    at = stop + end.length;
  };
  const element = (): void => {
    const start = at++;
    const name = sticky(NAME) || fail('an element has a name');
    const attributes = new Map<string, string>();
    for (;;) {
      const space = sticky(SPACE);
      if (text.startsWith('/>', at) || text[at] === '>') break;
      if (space === '') fail('attributes are separated by white space');
      const attribute = sticky(NAME) || fail('an attribute has a name');
      sticky(SPACE);
      if (text[at++] !== '=') fail('an attribute has a value');
      sticky(SPACE);
      const quote = text[at];
      if (quote !== '"' && quote !== "'") fail('an attribute value is quoted');
      const stop = text.indexOf(quote as string, at + 1);
      if (stop < 0) fail('the document ends inside an attribute value');
      if (attributes.has(attribute)) fail('an attribute appears once');
      if (attributes.size >= MAX_ATTRIBUTES) throw new CodecError('TooManyItems', `more than ${MAX_ATTRIBUTES} attributes`, '', at);
      attributes.set(attribute, attributeText(text.slice(at + 1, stop), at));
      at = stop + 1;
    }
    if (open.length === 0 && roots++ > 0) throw new CodecError('TrailingBytes', 'a document has one root element', '', start);
    handler.open(name, attributes, start);
    if (text[at] === '/') {
      at += 2;
      handler.close(name, start);
    } else {
      at++;
      open.push(name);
    }
  };
  while (at < text.length) {
    sticky(SPACE);
    if (at >= text.length) break;
    if (text[at] !== '<') fail('a KMIP element has no character data');
    if (text.startsWith('<!--', at)) skipTo('-->', at + 4);
    else if (text.startsWith('<?', at)) skipTo('?>', at + 2);
    else if (text.startsWith('</', at)) {
      at += 2;
      const name = sticky(NAME);
      sticky(SPACE);
      if (text[at++] !== '>' || open.pop() !== name) fail('an end tag matches its start tag');
      handler.close(name, at);
    } else if (text.startsWith('<!', at)) fail('a KMIP document has no DOCTYPE and no CDATA');
    else element();
  }
  if (open.length > 0) throw new CodecError('Truncated', 'the document ends before its root element', '', at);
  if (roots === 0) throw new CodecError('Truncated', 'the document has no element', '', at);
}

function attributeText(raw: string, at: number): string {
  if (raw.includes('<')) throw new CodecError('BadSyntax', 'an attribute value has no <', '', at);
  // Attribute value normalisation (XML 1.0 §3.3.3): literal white space is a space; a character reference is itself.
  const spaced = raw.replace(/\r\n|[\r\n\t]/g, ' ');
  return spaced.includes('&') ? spaced.replace(/&([^;&]{0,12})(;?)/g, (_, body: string, end: string) => reference(body, end, at)) : spaced;
}

function reference(body: string, end: string, at: number): string {
  if (end === ';' && Object.hasOwn(NAMED, body)) return NAMED[body] as string;
  const match = end === ';' ? /^#(?:x([0-9a-fA-F]{1,6})|(\d{1,7}))$/.exec(body) : null;
  const code = match === null ? -1 : match[1] === undefined ? Number(match[2]) : Number.parseInt(match[1], 16);
  if (!isXmlCharacter(code)) throw new CodecError('BadSyntax', 'a reference names a character', '', at);
  return String.fromCodePoint(code);
}

const isXmlCharacter = (code: number): boolean =>
  code === 9 ||
  code === 10 ||
  code === 13 ||
  (code >= 0x20 && code <= 0xd7ff) ||
  (code >= 0xe000 && code <= 0xfffd) ||
  (code >= 0x10000 && code <= 0x10ffff);

/** An attribute value, escaped; undefined when XML cannot carry one of its characters. */
export function escapeXml(text: string): string | undefined {
  for (const character of text) if (!isXmlCharacter(character.codePointAt(0) as number)) return undefined;
  return text.replace(/[&<>"'\t\n\r]/g, (character) => ESCAPES[character] as string);
}
const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
  '\t': '&#9;',
  '\n': '&#10;',
  '\r': '&#13;',
};

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

// The official OASIS material is not part of the project; it is read from AEGIS_VECTORS (default: ../shared beside the project).
const root = resolve(process.env['AEGIS_VECTORS'] ?? join(import.meta.dirname, '../../../shared'));
const vectorsFolder = join(root, 'kmip', 'vectors');
export const vectorsPresent = existsSync(vectorsFolder);
/** Skipping is allowed unless AEGIS_NO_SKIP=1, when the tests run and fail on the absent folder. */
export const skipVectors = !vectorsPresent && process.env['AEGIS_NO_SKIP'] !== '1';
if (!vectorsPresent)
  console.log(`KMIP vectors are absent; run with AEGIS_VECTORS=<folder that holds kmip/vectors> (looked in ${vectorsFolder})`);

export type HexMessage = { name: string; ttlv: string; wellFormed: boolean };

export function hexMessages(file: string): HexMessage[] {
  const lines = readFileSync(join(vectorsFolder, file), 'utf8').trim().split('\n');
  return lines.map((line, i) => {
    const row = JSON.parse(line) as { section?: string; name?: string; kind: string; ttlv: string; well_formed: boolean };
    return { name: `${i + 1} ${row.section ?? row.name} ${row.kind}`, ttlv: row.ttlv, wellFormed: row.well_formed };
  });
}

export type OfficialMessage = { name: string; kind: string; xml: string; ttlv: string; json?: string };

export function officialMessages(): OfficialMessage[] {
  const cases = JSON.parse(readFileSync(join(vectorsFolder, 'msgenc-official-bytes.json'), 'utf8')) as {
    name: string;
    messages: OfficialMessage[];
  }[];
  return cases.flatMap((one) => one.messages.map((message, i) => ({ ...message, name: `${one.name} ${i + 1} ${message.kind}` })));
}

export type XmlCase = { file: string; version: string; messages: string[] };

function xmlFiles(folder: string): string[] {
  return readdirSync(join(vectorsFolder, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === 'document' ? [] : xmlFiles(path);
    return entry.name.endsWith('.xml') ? [path] : [];
  });
}

// Placeholders of the cases, given values of their type so that a message can be encoded.
function fill(text: string): string {
  return text
    .replace(/(type="DateTime"\s+value=")\$[A-Z_0-9]*(?:[+-]\d+)?/g, '$12026-01-02T03:04:05+00:00')
    .replace(/(type="ByteString"\s+value=")\$[A-Za-z_0-9]*/g, '$1a1b2c3')
    .replace(/(type="(?:Integer|LongInteger|Interval)"\s+value=")\$[A-Z_0-9]*/g, '$17');
}

/** Every XML case; its messages with the placeholders filled in. */
export function xmlCases(): XmlCase[] {
  return ['v1.0', 'v1.1', 'v1.2', 'v1.4', 'v2.1', 'v3.0'].flatMap((version) =>
    xmlFiles(version).map((file) => {
      const text = fill(readFileSync(join(vectorsFolder, file), 'utf8'));
      const messages = text.match(/<(RequestMessage|ResponseMessage)>[\s\S]*?<\/\1>/g) ?? [];
      return { file, version: version.slice(1), messages };
    }),
  );
}

export const fromHex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));
export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

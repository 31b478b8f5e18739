import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

// Traffic of stock p11-kit clients, not part of the project: read from AEGIS_VECTORS (default: ../shared beside the project).
const folder = join(resolve(process.env.AEGIS_VECTORS ?? join(import.meta.dirname, '../../../shared')), 'pkcs11', 'captures');
const present = existsSync(folder);
export const skipCaptures = !present && process.env.AEGIS_NO_SKIP !== '1';
if (!present) console.log(`PKCS#11 captures are absent; run with AEGIS_VECTORS=<folder that holds pkcs11/captures> (looked in ${folder})`);

interface Captured {
  readonly fromClient: boolean;
  readonly code: number;
  readonly call: number;
  readonly frame: Buffer;
  readonly body: Buffer;
}
export interface Capture {
  readonly file: string;
  /** Version byte the client sent. */
  readonly generation: 0 | 1 | 2;
  readonly frames: readonly Captured[];
}

const LINE = /^#\d+ ([CS])>[CS] code=(\d+) opt=\S* call=(\d+) .*hdr=([0-9a-f]*) opts=([0-9a-f]*) body=([0-9a-f]*)/;
const readCapture = (file: string): Capture => {
  const lines = readFileSync(join(folder, file), 'utf8').split('\n');
  const version = lines.map((line) => /C>S VERSION (\d\d)/.exec(line)?.[1]).find((one) => one !== undefined);
  const frames = lines.flatMap((line): Captured[] => {
    const [, side, code, call, hdr, opts, body] = LINE.exec(line) ?? [];
    if (side === undefined) return [];
    const frame = Buffer.from(`${hdr}${opts}${body}`, 'hex');
    return [{ fromClient: side === 'C', code: Number(code), call: Number(call), frame, body: Buffer.from(body ?? '', 'hex') }];
  });
  return { file, generation: Number(version) as 0 | 1 | 2, frames };
};

const FILES = ['t2-0.24.1.log', 't2-0.25.5.log', 't2-0.26.4.log', 'tee-0.25.5.log', 'tee-0.26.4.log', 'tee-0241.log', 'tee-proof.log'];
export const captures = (): readonly Capture[] => (present ? FILES.filter((file) => existsSync(join(folder, file))).map(readCapture) : []);

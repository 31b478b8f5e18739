export interface Needle {
  readonly name: string;
  readonly form: string;
  readonly bytes: Buffer;
}
export interface MemoryReport {
  readonly pid: number;
  readonly bytesSearched: number;
  readonly found: { readonly name: string; readonly form: string; readonly count: number; readonly where: string[] }[];
}
export function toNeedles(name: string, secret: Uint8Array): Needle[];
export function parseNeedles(text: string): Needle[];
export function scanProcess(pid: number, needles: readonly Needle[], options?: { readonly freeze?: boolean }): MemoryReport;

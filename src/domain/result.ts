import type { Fault } from './fault.js';

export type Result<T, F = Fault> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly fault: F };
export const ok = <T>(value: T): Result<T, never> => ({ ok: true, value });
export const refuse = <F>(fault: F): Result<never, F> => ({ ok: false, fault });

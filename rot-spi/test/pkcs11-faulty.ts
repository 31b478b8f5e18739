import { type Cryptoki, type CryptokiSource, pkcs11jsSource } from '../src/pkcs11/cryptoki.js';

type Call = keyof Cryptoki;
interface Plan {
  readonly call: Call;
  readonly rv: number;
  left: number;
}

/** A real module with faults put between it and the back end, at the interface of pkcs11js. */
export interface FaultyModule {
  readonly source: CryptokiSource;
  /** The next `times` calls of `call` fail with `rv`. */
  fail(call: Call, rv: number, times?: number): void;
  heal(): void;
  /** How often a function was called. */
  count(call: Call): number;
  /** Makes every call of a function take this long, without blocking where it is asynchronous. */
  delay(call: Call, ms: number): void;
}

const busyWait = (ms: number): void => {
  const until = performance.now() + ms;
  while (performance.now() < until);
};

export const faultyModule = (): FaultyModule => {
  let plans: Plan[] = [];
  const counts = new Map<Call, number>();
  const delays = new Map<Call, number>();
  const wrap = (module: Cryptoki): Cryptoki =>
    new Proxy(module, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]): unknown => {
          const call = name as Call;
          counts.set(call, (counts.get(call) ?? 0) + 1);
          const plan = plans.find((one) => one.call === call && one.left > 0);
          const later = call.endsWith('Async');
          if (plan !== undefined) {
            plan.left -= 1;
            const error = Object.assign(new Error(`CKR_INJECTED:${plan.rv}`), { code: plan.rv });
            if (later) return Promise.reject(error);
            throw error;
          }
          const ms = delays.get(call) ?? 0;
          if (ms > 0 && !later) busyWait(ms);
          const result: unknown = (value as (...rest: unknown[]) => unknown).apply(target, args);
          return ms > 0 && later ? new Promise((done) => setTimeout(done, ms)).then(() => result) : result;
        };
      },
    });
  return {
    source: () => wrap(pkcs11jsSource()),
    fail: (call, rv, times = 1) => {
      plans.push({ call, rv, left: times });
    },
    heal: () => {
      plans = [];
      delays.clear();
    },
    count: (call) => counts.get(call) ?? 0,
    delay: (call, ms) => {
      delays.set(call, ms);
    },
  };
};

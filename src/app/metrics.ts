import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** Prometheus metrics; every label comes from a closed table, so that their number is bounded. */
export interface Metrics {
  readonly observe: (
    operation: string,
    plane: string,
    outcome: string,
    fault: string | undefined,
    durationUs: number,
    rootId: string | undefined,
  ) => void;
  /** One item of a KMIP batch. */
  readonly kmipItem: (operation: string, outcome: string, durationMs: number) => void;
  readonly hostEvent: (root: string, kind: string) => void;
  /** Values read at scrape time. */
  readonly watch: (
    name: string,
    help: string,
    labels: readonly string[],
    read: () => Iterable<{ labels: Record<string, string>; value: number }>,
  ) => void;
  readonly text: () => Promise<string>;
}

export function makeMetrics(version: string): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'aegis_' });
  const info = new Gauge({
    name: 'aegis_build_info',
    help: 'Version of the running service.',
    labelNames: ['version', 'node'],
    registers: [registry],
  });
  info.set({ version, node: process.versions.node }, 1);
  const calls = new Counter({
    name: 'aegis_operations_total',
    help: 'Guarded calls by operation, plane, outcome, fault and root.',
    labelNames: ['operation', 'plane', 'outcome', 'fault', 'root'],
    registers: [registry],
  });
  const seconds = new Histogram({
    name: 'aegis_operation_duration_seconds',
    help: 'Time from the plane to the durable answer.',
    labelNames: ['operation', 'plane'],
    buckets: [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  });
  const hosts = new Counter({
    name: 'aegis_root_host_events_total',
    help: 'Root-of-trust host starts, deaths and restarts.',
    labelNames: ['root', 'event'],
    registers: [registry],
  });
  const kmipItems = new Counter({
    name: 'aegis_kmip_items_total',
    help: 'Batch items of KMIP requests by operation and outcome (success or Result Reason).',
    labelNames: ['operation', 'outcome'],
    registers: [registry],
  });
  const kmipSeconds = new Histogram({
    name: 'aegis_kmip_item_duration_seconds',
    help: 'Time of one batch item of a KMIP request.',
    labelNames: ['operation'],
    buckets: [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  });
  // Label sets are few and repeat on every call: the resolved children are kept.
  const counters = new Map<string, Counter.Internal>();
  const timers = new Map<string, Histogram.Internal<string>>();
  return {
    observe(operation, plane, outcome, fault = '', durationUs, root = '') {
      const key = `${operation}|${plane}|${outcome}|${fault}|${root}`;
      let counter = counters.get(key);
      if (counter === undefined) {
        counter = calls.labels(operation, plane, outcome, fault, root);
        counters.set(key, counter);
      }
      counter.inc();
      const timerKey = `${operation}|${plane}`;
      let timer = timers.get(timerKey);
      if (timer === undefined) {
        timer = seconds.labels(operation, plane);
        timers.set(timerKey, timer);
      }
      timer.observe(durationUs / 1_000_000);
    },
    kmipItem(operation, outcome, durationMs) {
      kmipItems.inc({ operation, outcome });
      kmipSeconds.observe({ operation }, durationMs / 1_000);
    },
    hostEvent: (root, kind) => hosts.inc({ root, event: kind }),
    watch(name, help, labels, read) {
      const gauge: Gauge = new Gauge({
        name,
        help,
        labelNames: [...labels],
        registers: [registry],
        collect() {
          gauge.reset();
          for (const { labels: values, value } of read()) gauge.set(values, value);
        },
      });
    },
    text: () => registry.metrics(),
  };
}

import type { HostOptions, RootConfig } from '../config.js';
import { type HostedRoot, makeHostedRoot } from './hosted-root.js';

export type { HostStatus } from './host-seats.js';
export type { HostedRoot } from './hosted-root.js';

/** From src (tests run by a loader) as well as from dist, hosts always run the compiled program. */
const HOST_ENTRY = new URL('../../dist/host/host-main.js', import.meta.url);

/**
 * Opens a root of trust in processes of its own (`config.hosts` of them). Resolves when the first is ready; rejects with
 * the root's fault (`pin-rejected`, `sealed`, `unavailable` …). With `options.lazy` it always resolves, and a root that
 * can't be opened now is tried again with back-off, except after `pin-rejected` or `sealed`, where `retry()` must ask.
 *
 * A host that dies or misses the time limit is killed and replaced; its calls fail as `unavailable`, or are asked once
 * of another host where that can't do anything twice. Multi-part operations die with their host (`operation-unknown`).
 */
export const openHostedRoot = (config: RootConfig, options: HostOptions = {}): Promise<HostedRoot> =>
  makeHostedRoot({ config, entry: HOST_ENTRY, options });

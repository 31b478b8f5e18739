import type { IncomingMessage } from 'node:http';

/**
 * Defence against DNS rebinding: a web page that makes its own name resolve to 127.0.0.1 still sends that name in Host.
 * A connection that came to a loopback address may only ask for a loopback name or one the operator configured.
 */
const LOOPBACK_NAMES: readonly string[] = ['localhost', '127.0.0.1', '[::1]'];

const isLoopback = (address: string | undefined): boolean =>
  // Not known (in-process calls): treated as loopback, the stricter way.
  address === undefined || address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.');

/** Host header → name without port (RFC 9110 §7.2). */
function hostName(host: string): string {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:]+)(?::\d{1,5})?$/.exec(host);
  return (match?.[1] ?? '').toLowerCase().replace(/\.$/, '');
}

/** Answers whether the request may be served under the name it asks for. */
export function makeHostCheck(allowed: readonly string[]): (request: IncomingMessage) => boolean {
  const names = new Set([...LOOPBACK_NAMES, ...allowed.map((name) => name.toLowerCase())]);
  // The few Host values that occur are remembered whole; bounded, since a client chooses them.
  const known = new Set<string>();
  return (request) => {
    const host = request.headers.host;
    if (host !== undefined && known.has(host)) return true;
    if (!isLoopback(request.socket.localAddress)) return true;
    if (host === undefined || !names.has(hostName(host))) return false;
    if (known.size < 64) known.add(host);
    return true;
  };
}

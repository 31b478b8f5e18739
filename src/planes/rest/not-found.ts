import type { FastifyReply, FastifyRequest } from 'fastify';
import { PAGES } from './page-rows.js';
import { NOTHING_HERE, type WireFault } from './problem.js';
import { ROUTES } from './routes/table.js';

/** Path patterns of the whole table, for 405: which methods a path that exists takes. */
const PATHS: readonly (readonly [RegExp, string])[] = [
  ...ROUTES,
  ...PAGES.map((p) => ({ path: p.path, method: 'GET', answer: { kind: 'raw' } })),
].flatMap(({ path, method, answer }) => {
  const pattern = new RegExp(`^${path.replaceAll('.', '\\.').replace(/\{\w+\}/g, '[^/]+')}/?$`);
  return method === 'GET' && answer.kind !== 'stream'
    ? [[pattern, 'GET'] as const, [pattern, 'HEAD'] as const]
    : [[pattern, method] as const];
});

/** No route took the request: 405 with Allow where the path exists, 404 elsewhere. */
export function notFound(request: FastifyRequest, reply: FastifyReply): WireFault {
  const path = request.url.split('?', 1)[0] ?? '';
  const methods = [...new Set(PATHS.filter(([pattern]) => pattern.test(path)).map(([, method]) => method))];
  if (methods.length === 0 || methods.includes(request.method)) return NOTHING_HERE;
  void reply.header('allow', methods.join(', '));
  return { code: 'method-not-allowed', message: 'This path does not take that method', next: `Use ${methods.join(' or ')}.` };
}

import { officialCases } from './official-cases.js';
import { describeCases } from './official-plane.js';

for (const encoding of ['xml', 'json'] as const)
  describeCases(`KMIP 2.1 in ${encoding.toUpperCase()} over HTTPS`, () => officialCases('2.1'), encoding);

import { officialCases } from './official-cases.js';
import { describeCases } from './official-plane.js';

for (const version of ['1.0', '1.1', '1.2'] as const) describeCases(`KMIP ${version}`, () => officialCases(version));

import { describeCases } from './official-plane.js';
import { transposedCases } from './transpose.js';

for (const version of ['1.3', '2.0'] as const) describeCases(`KMIP ${version}, transposed`, () => transposedCases(version));

import { officialCases } from './official-cases.js';
import { describeCases } from './official-plane.js';

describeCases('KMIP 1.4', () => officialCases('1.4'));

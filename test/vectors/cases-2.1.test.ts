import { officialCases } from './official-cases.js';
import { describeCases } from './official-plane.js';

describeCases('KMIP 2.1', () => officialCases('2.1'));

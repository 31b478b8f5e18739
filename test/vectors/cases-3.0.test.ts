import { officialCases } from './official-cases.js';
import { describeCases } from './official-plane.js';

describeCases('KMIP 3.0', () => officialCases('3.0'));

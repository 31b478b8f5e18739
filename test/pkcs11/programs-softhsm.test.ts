import { missing, softHsmPresent } from '../service/running-service.js';
import { runProgramCases } from './program-cases.js';

if (!softHsmPresent()) console.log('skipped: sudo apt-get install softhsm2');
runProgramCases('programs on SoftHSM2', 'softhsm', missing(softHsmPresent()));

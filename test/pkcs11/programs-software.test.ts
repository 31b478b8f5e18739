import { runProgramCases } from './program-cases.js';

runProgramCases('programs on the software root', 'software', false);

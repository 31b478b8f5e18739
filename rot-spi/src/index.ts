export * from './config.js';
export * from './contract.js';
export * from './fault.js';
export * from './vocabulary/index.js';

export * from './algorithms.js';
export * from './key-specs.js';

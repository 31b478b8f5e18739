// One measured figure and what was promised of it. Ratios are taken within one run, because machines are noisy.
/** @typedef {{ name: string, value: number, unit: string, target: string, holds: boolean, detail?: string }} Figure */

/** @returns {Figure} */
export const atLeast = (name, value, bound, unit, detail) => ({
  name,
  value,
  unit,
  target: `at least ${bound} ${unit}`,
  holds: value >= bound,
  ...(detail === undefined ? {} : { detail }),
});
/** @returns {Figure} */
export const atMost = (name, value, bound, unit, detail) => ({
  name,
  value,
  unit,
  target: `at most ${bound} ${unit}`,
  holds: value <= bound,
  ...(detail === undefined ? {} : { detail }),
});

const rounded = (value) => (Math.abs(value) >= 100 ? Math.round(value) : Math.round(value * 100) / 100);
export const showFigure = (f) =>
  `${f.holds ? 'holds ' : 'MISSES'}  ${f.name}: ${rounded(f.value)} ${f.unit} (${f.target})${f.detail === undefined ? '' : `  [${f.detail}]`}`;

export function percentile(sorted, p) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))];
}

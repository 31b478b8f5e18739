/** Edit distance (Damerau–Levenshtein, adjacent transpositions), bounded by the caller's short words. */
function distance(a: string, b: string): number {
  const width = b.length + 1;
  const rows: number[][] = [Array.from({ length: width }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j < width; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      const above = rows[i - 1] ?? [];
      let best = Math.min((above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (above[j - 1] ?? 0) + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, (rows[i - 2]?.[j - 2] ?? 0) + 1);
      row.push(best);
    }
    rows.push(row);
  }
  return rows[a.length]?.[b.length] ?? 0;
}

const MAX_LENGTH = 40;

/** The known word nearest to a mistyped one, or undefined when none is near. */
export function closest(word: string, known: readonly string[]): string | undefined {
  if (word.length === 0 || word.length > MAX_LENGTH) return undefined;
  const lower = word.toLowerCase().replaceAll('_', '-');
  const ranked = known
    .filter((k) => k.length <= MAX_LENGTH)
    .map((k) => ({ k, d: distance(lower, k.toLowerCase()) }))
    .sort((x, y) => x.d - y.d)[0];
  return ranked !== undefined && ranked.d <= Math.max(1, Math.floor(word.length / 3)) ? ranked.k : undefined;
}

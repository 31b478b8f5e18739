import { describe, expect, it } from 'vitest';
import { makeGathering } from '../../src/audit/gathering.js';

describe('a group', () => {
  it('of a lone caller never waits', () => {
    const gathering = makeGathering();
    for (let call = 0; call < 100; call += 1) {
      expect(gathering.goal(1)).toBe(1);
      gathering.answered(1);
    }
  });

  it('waits for the crowd that was there a moment ago, and no longer once most of it is back', () => {
    const gathering = makeGathering();
    gathering.answered(32);
    expect(gathering.goal(4)).toBe(28);
    expect(gathering.goal(28)).toBe(28);
    expect(gathering.goal(31)).toBe(31);
  });

  it('forgets a crowd that has gone', () => {
    const gathering = makeGathering();
    gathering.answered(64);
    let groups = 0;
    while (gathering.goal(1) > 1) {
      groups += 1;
      gathering.answered(1);
    }
    expect(groups).toBeLessThan(40);
  });

  it('waits less and less often where waiting brings nothing, and again as soon as it does', () => {
    const gathering = makeGathering();
    let waits = 0;
    for (let group = 0; group < 1000; group += 1) {
      gathering.answered(32);
      if (gathering.goal(4) === 4) continue;
      waits += 1;
      gathering.waited(false, 4, 4);
    }
    expect(waits).toBeLessThan(30);
    while (gathering.goal(4) === 4) gathering.answered(32);
    gathering.waited(true, 4, 28);
    gathering.answered(32);
    expect(gathering.goal(4)).toBe(28);
  });
});

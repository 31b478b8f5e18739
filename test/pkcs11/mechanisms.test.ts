import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { algorithmsOf, isMultiPart, MECHANISMS, mechanismFlags, offeredMechanisms } from '../../src/planes/pkcs11/mechanisms.js';
import { CKF, CKM } from '../../src/planes/pkcs11/wire/codes.js';
import { isPassed, passedSince } from '../../src/planes/pkcs11/wire/mechanism-encodings.js';

describe('the table of mechanisms', () => {
  test('has only what some released client passes, each once, each with a use', () => {
    expect(new Set(MECHANISMS.map((row) => row.type)).size).toBe(MECHANISMS.length);
    for (const row of MECHANISMS) {
      expect(passedSince(row.type), row.name).toBeDefined();
      expect(mechanismFlags(row) % CKF.EC_F_P, row.name).toBeGreaterThan(0);
      expect(row.sizes[0], row.name).toBeLessThanOrEqual(row.sizes[1]);
    }
  });

  test('the oldest client is offered no mechanism it would hide, and all it passes', () => {
    const offered = offeredMechanisms(0, () => true).map((row) => row.name);
    for (const name of ['AES_CBC', 'AES_GCM', 'ECDSA_SHA256', 'SHA256_RSA_PKCS_PSS', 'ECDH1_DERIVE', 'AES_CMAC'] as const) {
      expect(offered, name).not.toContain(name);
      expect(isPassed(CKM[name], 1), name).toBe(true);
    }
    for (const name of ['RSA_PKCS', 'RSA_PKCS_PSS', 'RSA_PKCS_OAEP', 'ECDSA', 'AES_ECB', 'SHA256_HMAC'] as const)
      expect(offered).toContain(name);
  });

  test('what no root can do is not offered', () => {
    const names = offeredMechanisms(2, (row) => !algorithmsOf(row).some((algorithm) => algorithm.startsWith('rsa'))).map((row) => row.name);
    expect(names).toContain('ECDSA');
    expect(names).not.toContain('RSA_PKCS');
  });

  test('a signature over a digest has one part', () => {
    for (const row of MECHANISMS) if (row.signature?.input === 'digest') expect(isMultiPart(row), row.name).toBe(false);
  });

  test('the page of mechanisms has a line for each', () => {
    const page = readFileSync(join(import.meta.dirname, '../../docs/pkcs11/mechanisms.md'), 'utf8');
    for (const row of MECHANISMS) expect(page).toContain(`\`CKM_${row.name}\``);
  });
});

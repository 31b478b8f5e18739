import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Algorithm, KeySpec } from '@aegis/rot-spi/vocabulary';
import { expect } from 'vitest';
import { type BehaviourCase, refusalOf, utf8 } from './behaviour-case.js';

/** openssl is the judge here: what it does not accept, nobody will. */
const openssl = (der: Uint8Array, ...args: string[]): string => {
  const dir = mkdtempSync(join(tmpdir(), 'aegis-x509-'));
  try {
    const file = join(dir, 'in.der');
    writeFileSync(file, der);
    return execFileSync('openssl', [...args, '-inform', 'DER', '-in', file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } finally {
    rmSync(dir, { recursive: true });
  }
};
const verifySelfSigned = (der: Uint8Array): string => {
  const dir = mkdtempSync(join(tmpdir(), 'aegis-x509-'));
  try {
    const file = join(dir, 'cert.pem');
    const base64 = Buffer.from(der)
      .toString('base64')
      .replace(/(.{64})/g, '$1\n');
    writeFileSync(file, `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`);
    return execFileSync('openssl', ['verify', '-check_ss_sig', '-x509_strict', '-CAfile', file, file], { encoding: 'utf8' });
  } finally {
    rmSync(dir, { recursive: true });
  }
};

const SUBJECT = 'CN=api.example.com,OU=Pay\\, Inc,O=Bücher GmbH,C=DE';
const ALT = [
  'dns:api.example.com',
  'dns:*.example.com',
  'ip:192.0.2.7',
  'ip:2001:db8::7',
  'email:ops@example.com',
  'uri:spiffe://example.com/api',
];

const certifies = (spec: KeySpec, algorithm: Algorithm): BehaviourCase => ({
  name: `makes requests and certificates with ${algorithm} under ${spec} that openssl accepts`,
  needs: { generate: [spec], algorithms: [[algorithm, spec]] },
  run: async ({ alice }) => {
    const { object } = await alice('create-key-pair', { spec, activate: true });
    const { csr } = await alice('create-csr', { key: object.id, subject: SUBJECT, subjectAltNames: ALT, algorithm });
    expect(() => openssl(csr, 'req', '-verify', '-noout')).not.toThrow();
    const text = openssl(csr, 'req', '-text', '-noout', '-nameopt', 'utf8,sep_comma_plus');
    expect(text).toContain('CN=api.example.com');
    expect(text).toContain('Bücher');
    for (const part of [
      'DNS:api.example.com',
      'DNS:*.example.com',
      'IP Address:192.0.2.7',
      '2001:DB8',
      'email:ops@example.com',
      'URI:spiffe://example.com/api',
    ]) {
      expect(text.toUpperCase(), part).toContain(part.toUpperCase());
    }
    const signed = await alice('self-sign', { key: object.id, subject: SUBJECT, subjectAltNames: ALT, days: 90, ca: true, algorithm });
    expect(verifySelfSigned(signed.certificate)).toContain(': OK');
    const shown = openssl(signed.certificate, 'x509', '-text', '-noout');
    expect(shown).toContain('CA:TRUE');
    expect(shown).toMatch(/Key Usage: critical/);
    expect(openssl(signed.certificate, 'x509', '-subject', '-noout', '-nameopt', 'RFC2253')).toContain('CN=api.example.com');
  },
});

export const certificateCases: readonly BehaviourCase[] = [
  certifies('ec-p256', 'ecdsa-sha256'),
  certifies('ec-p384', 'ecdsa-sha384'),
  certifies('ed25519', 'ed25519'),
  certifies('rsa-2048', 'rsa-pkcs1-sha256'),
  certifies('rsa-2048', 'rsa-pss-sha256'),
  {
    name: 'registers a self-signed certificate beside its key, linked both ways',
    needs: { generate: ['ec-p256'], algorithms: [['ecdsa-sha256', 'ec-p256']] },
    run: async ({ alice }) => {
      const { object } = await alice('create-key-pair', { spec: 'ec-p256', activate: true });
      const signed = await alice('self-sign', { key: object.id, subject: 'CN=linked', days: 10, register: true });
      const kept = await alice('get-object', { key: signed.certificateId as string });
      expect(kept.object).toMatchObject({ type: 'certificate', state: 'active' });
      expect(kept.object.links).toContainEqual({ type: 'private-key', target: object.id });
      expect((await alice('get-object', { key: object.id })).object.links).toContainEqual({
        type: 'certificate',
        target: signed.certificateId,
      });
      const { signature } = await alice('sign', { key: object.id, data: utf8('m') });
      expect((await alice('verify', { key: signed.certificateId as string, data: utf8('m'), signature })).valid).toBe(true);
    },
  },
  {
    name: 'refuses subjects and names it cannot write down faithfully',
    needs: { generate: ['ec-p256'], algorithms: [['ecdsa-sha256', 'ec-p256']] },
    run: async ({ alice }) => {
      const { object } = await alice('create-key-pair', { spec: 'ec-p256', activate: true });
      const subjects = ['', 'no equals', 'CN=', 'XX=1', 'CN=a\u0000b', 'C=Germany', `CN=${'x'.repeat(65)}`, 'CN=a\\zb', 'CN=\\ff'];
      for (const subject of subjects) {
        expect((await refusalOf(alice('create-csr', { key: object.id, subject }))).field, subject).toBe('subject');
      }
      for (const alt of ['dns:-bad-', 'ip:300.1.1.1', 'dns:a b', 'email:nobody', 'uri:/x', 'dns:']) {
        expect((await refusalOf(alice('create-csr', { key: object.id, subject: 'CN=x', subjectAltNames: [alt] }))).field, alt).toBe(
          'subjectAltNames.0',
        );
      }
      for (const days of [0, 1.5, 100_000]) {
        expect((await refusalOf(alice('self-sign', { key: object.id, subject: 'CN=x', days }))).field).toBe('days');
      }
      expect((await refusalOf(alice('create-csr', { key: object.id, subject: 'CN=x', algorithm: 'ecdsa-sha1' }))).code).toBe(
        'unsupported-algorithm',
      );
    },
  },
];

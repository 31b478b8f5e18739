import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A certificate of a test and its key, PEM. */
export interface TestCertificate {
  readonly cert: string;
  readonly key: string;
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string;
}
export interface TestAuthority extends TestCertificate {
  issue(name: string, options?: IssueOptions): TestCertificate;
}
export interface IssueOptions {
  /** Extended key usage; default clientAuth. */
  readonly eku?: 'clientAuth' | 'serverAuth' | 'none';
  readonly days?: number;
  readonly san?: string;
}

const openssl = (cwd: string, ...args: string[]): void => {
  const result = spawnSync('openssl', args, { cwd });
  if (result.status !== 0) throw new Error(`openssl ${args[0]}: ${result.stderr.toString()}`);
};

const readPair = (dir: string, name: string): TestCertificate => {
  const cert = readFileSync(join(dir, `${name}.pem`), 'utf8');
  const key = readFileSync(join(dir, `${name}.key`), 'utf8');
  return { cert, key, fingerprint: new X509Certificate(cert).fingerprint256.replaceAll(':', '').toLowerCase() };
};

const inTemporaryDirectory = <T>(work: (dir: string) => T): T => {
  const dir = mkdtempSync(join(tmpdir(), 'aegis-kmip-ca-'));
  try {
    return work(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
};

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** An authority of a test, made with the openssl command. */
export function makeTestAuthority(name = 'Test CA'): TestAuthority {
  const authority = inTemporaryDirectory((dir) => {
    openssl(dir, 'req', '-x509', ...NEW_KEY, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '30', '-subj', `/CN=${name}`);
    return readPair(dir, 'ca');
  });
  return {
    ...authority,
    issue: (subject, options = {}) =>
      inTemporaryDirectory((dir) => {
        writeFileSync(join(dir, 'ca.pem'), authority.cert);
        writeFileSync(join(dir, 'ca.key'), authority.key, { mode: 0o600 });
        const lines = [
          'basicConstraints=CA:FALSE',
          ...(options.eku === 'none' ? [] : [`extendedKeyUsage=${options.eku ?? 'clientAuth'}`]),
          ...(options.san === undefined ? [] : [`subjectAltName=${options.san}`]),
        ];
        writeFileSync(join(dir, 'ext.cnf'), `${lines.join('\n')}\n`);
        openssl(dir, 'req', ...NEW_KEY, '-keyout', 'leaf.key', '-out', 'leaf.csr', '-subj', `/O=Aegis test/CN=${subject}`);
        openssl(
          dir,
          ...['x509', '-req', '-in', 'leaf.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial'],
          ...['-out', 'leaf.pem', '-days', String(options.days ?? 30), '-extfile', 'ext.cnf'],
        );
        return readPair(dir, 'leaf');
      }),
  };
}

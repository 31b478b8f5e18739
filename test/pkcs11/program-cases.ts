import { spawn } from 'node:child_process';
import { createHash, createPublicKey, verify, X509Certificate } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { aegisOk, discard, freePort } from '../service/running-service.js';
import { CLIENT_MODULE, needs, openProgramRun, type ProgramRun, skipWithout } from './programs.js';

/** What people run against a PKCS#11 token, each over the distribution's own client. */

const JAVA = `
import java.security.*; import java.security.spec.*; import java.util.*; import javax.crypto.*; import javax.crypto.spec.*;
public class Probe {
  static void check(String name, boolean good) { System.out.println(name + " " + good); if (!good) System.exit(1); }
  public static void main(String[] args) throws Exception {
    Provider p = Security.getProvider("SunPKCS11").configure("--name=Aegis\\nlibrary=" + args[0] + "\\nslotListIndex=0\\n");
    Security.addProvider(p);
    KeyStore ks = KeyStore.getInstance("PKCS11", p);
    ks.load(null, args[1].toCharArray());
    byte[] text = "pay 10 to bob".getBytes();
    for (String kind : new String[] {"EC", "RSA"}) {
      KeyPairGenerator g = KeyPairGenerator.getInstance(kind, p);
      if (kind.equals("EC")) g.initialize(new ECGenParameterSpec("secp256r1")); else g.initialize(2048);
      KeyPair pair = g.generateKeyPair();
      for (String name : kind.equals("EC") ? new String[] {"SHA256withECDSA"} : new String[] {"SHA256withRSA", "RSASSA-PSS"}) {
        Signature s = Signature.getInstance(name, p);
        AlgorithmParameterSpec pss = new PSSParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, 32, 1);
        if (name.equals("RSASSA-PSS")) s.setParameter(pss);
        s.initSign(pair.getPrivate()); s.update(text); byte[] sig = s.sign();
        Signature v = Signature.getInstance(name, p);
        if (name.equals("RSASSA-PSS")) v.setParameter(pss);
        v.initVerify(pair.getPublic()); v.update(text); check(name, v.verify(sig));
      }
    }
    KeyGenerator k = KeyGenerator.getInstance("AES", p); k.init(256); SecretKey aes = k.generateKey();
    Cipher c = Cipher.getInstance("AES/ECB/NoPadding", p);
    c.init(Cipher.ENCRYPT_MODE, aes); byte[] sealed = c.doFinal(new byte[64]);
    c.init(Cipher.DECRYPT_MODE, aes); check("AES", Arrays.equals(c.doFinal(sealed), new byte[64]));
    check("digest", MessageDigest.getInstance("SHA-256", p).digest(text).length == 32);
    PrivateKey stored = (PrivateKey) ks.getKey("javakey", null);
    Signature s = Signature.getInstance("SHA256withECDSA", p);
    s.initSign(stored); s.update(text); byte[] sig = s.sign();
    s.initVerify(ks.getCertificate("javakey")); s.update(text); check("KeyStore", s.verify(sig));
  }
}`;

const engineConfig = (run: ProgramRun): string => {
  const path = run.path('engine.cnf');
  const lines = [
    ...['openssl_conf = init', '[init]', 'engines = engines', '[engines]', 'pkcs11 = pkcs11', '[pkcs11]', 'engine_id = pkcs11'],
    ...['dynamic_path = /usr/lib/x86_64-linux-gnu/engines-3/pkcs11.so', `MODULE_PATH = ${CLIENT_MODULE}`, `PIN = ${run.pin}`, 'init = 0'],
    ...['[req]', 'distinguished_name = dn', '[dn]'],
  ];
  writeFileSync(path, `${lines.join('\n')}\n`, { mode: 0o600 });
  return path;
};

const spki = (run: ProgramRun, id: string) => {
  run.tool('--read-object', '--type', 'pubkey', '--id', id, '--output-file', run.path(`pub-${id}.der`));
  return createPublicKey({ key: readFileSync(run.path(`pub-${id}.der`)), format: 'der', type: 'spki' });
};

export const runProgramCases = (title: string, root: 'software' | 'softhsm', skip: boolean): void => {
  describe.skipIf(skip)(title, () => {
    let run: ProgramRun;
    beforeAll(async () => {
      run = await openProgramRun(root);
      writeFileSync(run.path('text'), 'pay 10 to bob\n');
      writeFileSync(run.path('digest'), createHash('sha256').update('pay 10 to bob\n').digest());
    }, 180_000);
    afterAll(async () => {
      await discard(run?.service);
    });
    const uri = (object: string) => `pkcs11:token=aegis;object=${object};type=private`;
    const keypair = (type: string, label: string, id: string, ...more: string[]) =>
      run.tool('--keypairgen', '--key-type', type, '--label', label, '--id', id, ...more);

    test.skipIf(skipWithout(needs.pkcs11Tool))(
      'pkcs11-tool: keys, signatures in every scheme the client passes, ciphers, wrapping, certificates, --test',
      () => {
        expect(run.ok('pkcs11-tool', ['--module', CLIENT_MODULE, '--list-slots'])).toContain('token label        : aegis');
        keypair('EC:prime256v1', 'ec', '01');
        keypair('rsa:2048', 'rsa', '02');
        const listed = run.tool('--list-objects');
        expect(listed).toContain('sensitive, always sensitive, never extractable, local');
        const sign = (mechanism: string, id: string, input: string, ...more: string[]) => {
          run.tool(
            '--sign',
            '--mechanism',
            mechanism,
            '--id',
            id,
            '--input-file',
            run.path(input),
            '--output-file',
            run.path('sig'),
            ...more,
          );
          run.tool(
            '--verify',
            '--mechanism',
            mechanism,
            '--id',
            id,
            '--input-file',
            run.path(input),
            '--signature-file',
            run.path('sig'),
            ...more,
          );
          return readFileSync(run.path('sig'));
        };
        const message = readFileSync(run.path('text'));
        const ec = sign('ECDSA', '01', 'digest');
        expect(verify('sha256', message, { key: spki(run, '01'), dsaEncoding: 'ieee-p1363' }, ec)).toBe(true);
        for (const mechanism of ['SHA256-RSA-PKCS', 'SHA384-RSA-PKCS', 'SHA512-RSA-PKCS']) sign(mechanism, '02', 'text');
        sign('RSA-PKCS', '02', 'digest');
        const pss = sign('RSA-PKCS-PSS', '02', 'digest', '--hash-algorithm', 'SHA256', '--mgf', 'MGF1-SHA256');
        expect(verify('sha256', message, { key: spki(run, '02'), padding: 6, saltLength: 32 }, pss)).toBe(true);
        run.tool('--keygen', '--key-type', 'AES:32', '--label', 'aes', '--id', '03', '--usage-decrypt');
        writeFileSync(run.path('plain'), Buffer.alloc(64, 7));
        run.tool(
          '--encrypt',
          '--mechanism',
          'AES-ECB',
          '--id',
          '03',
          '--input-file',
          run.path('plain'),
          '--output-file',
          run.path('sealed'),
        );
        run.tool(
          '--decrypt',
          '--mechanism',
          'AES-ECB',
          '--id',
          '03',
          '--input-file',
          run.path('sealed'),
          '--output-file',
          run.path('opened'),
        );
        expect(readFileSync(run.path('opened'))).toEqual(readFileSync(run.path('plain')));
        run.tool('--keygen', '--key-type', 'AES:16', '--label', 'inner', '--id', '04', '--extractable');
        keypair('rsa:2048', 'outer', '05', '--usage-wrap', '--usage-decrypt');
        run.tool('--wrap', '--mechanism', 'RSA-PKCS', '--id', '05', '--application-id', '04', '--output-file', run.path('wrapped'));
        const again = run.tool(
          '--unwrap',
          '--mechanism',
          'RSA-PKCS',
          '--id',
          '05',
          '-i',
          run.path('wrapped'),
          '--key-type',
          'AES:',
          '--application-id',
          '06',
        );
        expect(again).toContain('ID:         06');
        run.ok('openssl', [
          'req',
          '-x509',
          '-newkey',
          'rsa:2048',
          '-nodes',
          '-keyout',
          'own.pem',
          '-out',
          'own.crt',
          '-days',
          '9',
          '-subj',
          '/CN=own',
        ]);
        run.ok('openssl', ['x509', '-in', 'own.crt', '-outform', 'der', '-out', 'own.der']);
        run.tool('--write-object', run.path('own.der'), '--type', 'cert', '--label', 'own', '--id', '07');
        run.tool('--read-object', '--type', 'cert', '--id', '07', '--output-file', run.path('back.der'));
        expect(readFileSync(run.path('back.der'))).toEqual(readFileSync(run.path('own.der')));
        expect(run.tool('--test')).toContain('No errors');
        run.tool('--delete-object', '--type', 'cert', '--id', '07');
        expect(run.tool('--list-objects', '--type', 'cert')).not.toContain('own');
      },
      240_000,
    );

    test.skipIf(skipWithout(needs.p11tool))(
      'p11tool: lists by URI, generates, signs',
      () => {
        const tool = (...args: string[]) =>
          run.ok('p11tool', ['--provider', CLIENT_MODULE, '--login', '--batch', `--set-pin=${run.pin}`, ...args]);
        tool('--generate-privkey=ecdsa', '--curve=secp256r1', '--label=gnutls', 'pkcs11:token=aegis');
        expect(tool('--list-all', 'pkcs11:token=aegis;object=gnutls')).toContain('Private key (EC/ECDSA-SECP256R1)');
        expect(tool('--test-sign', uri('gnutls'))).toMatch(/Verifying against private key parameters\.\.\. ok/);
      },
      120_000,
    );

    test.skipIf(skipWithout(needs.openssl))(
      'OpenSSL: request, certificate, CMS, and a TLS server whose key is here',
      async () => {
        keypair('rsa:2048', 'tls', '21');
        const env = { OPENSSL_CONF: engineConfig(run) };
        const openssl = (...args: string[]) => run.ok('openssl', args, { env });
        const key = ['-engine', 'pkcs11', '-keyform', 'engine'];
        openssl('req', '-new', ...key, '-key', uri('tls'), '-subj', '/CN=tls', '-out', 'tls.csr');
        expect(run.ok('openssl', ['req', '-in', 'tls.csr', '-verify', '-noout'])).toContain('verify OK');
        openssl(
          'req',
          '-new',
          '-x509',
          '-days',
          '9',
          ...key,
          '-key',
          uri('tls'),
          '-subj',
          '/CN=localhost',
          '-addext',
          'subjectAltName=DNS:localhost',
          '-out',
          'tls.crt',
        );
        const certificate = new X509Certificate(readFileSync(run.path('tls.crt')));
        expect(certificate.verify(certificate.publicKey)).toBe(true);
        openssl(
          'cms',
          '-sign',
          '-nodetach',
          '-in',
          'text',
          '-signer',
          'tls.crt',
          ...key,
          '-inkey',
          uri('tls'),
          '-outform',
          'pem',
          '-out',
          'cms.pem',
        );
        run.ok('openssl', [
          'cms',
          '-verify',
          '-inform',
          'pem',
          '-in',
          'cms.pem',
          '-CAfile',
          'tls.crt',
          '-purpose',
          'any',
          '-out',
          'cms.text',
        ]);
        expect(readFileSync(run.path('cms.text'), 'utf8')).toContain('pay 10 to bob');
        const port = await freePort();
        const server = spawn('openssl', ['s_server', '-accept', String(port), '-cert', 'tls.crt', ...key, '-key', uri('tls'), '-quiet'], {
          cwd: run.folder,
          env: { ...run.env, ...env },
          stdio: 'ignore',
        });
        try {
          await expect.poll(() => handshake(port, readFileSync(run.path('tls.crt'))), { timeout: 20_000 }).toBe('TLSv1.3');
        } finally {
          server.kill();
        }
      },
      120_000,
    );

    test.skipIf(skipWithout(needs.nginx))(
      'nginx serves HTTPS with a key that never leaves Aegis',
      async () => {
        keypair('EC:prime256v1', 'web', '22');
        const env = { OPENSSL_CONF: engineConfig(run) };
        run.ok(
          'openssl',
          [
            'req',
            '-new',
            '-x509',
            '-days',
            '9',
            '-engine',
            'pkcs11',
            '-keyform',
            'engine',
            '-key',
            uri('web'),
            '-subj',
            '/CN=localhost',
            '-addext',
            'subjectAltName=DNS:localhost',
            '-out',
            'web.crt',
          ],
          { env },
        );
        const port = await freePort();
        const text = [
          ...['daemon off;', 'master_process off;', `pid ${run.path('nginx.pid')};`, `error_log ${run.path('nginx.log')};`],
          ...[
            'ssl_engine pkcs11;',
            'events {}',
            'http {',
            'access_log off;',
            `client_body_temp_path ${run.folder};`,
            `proxy_temp_path ${run.folder};`,
          ],
          ...[`fastcgi_temp_path ${run.folder};`, `uwsgi_temp_path ${run.folder};`, `scgi_temp_path ${run.folder};`],
          ...['server {', `listen 127.0.0.1:${port} ssl;`, `ssl_certificate ${run.path('web.crt')};`],
          ...[`ssl_certificate_key "engine:pkcs11:${uri('web')}";`, 'location / { return 200 "from a key in Aegis"; }', '} }'],
        ];
        writeFileSync(run.path('nginx.conf'), text.join('\n'));
        const server = spawn('/usr/sbin/nginx', ['-c', run.path('nginx.conf'), '-p', run.folder], {
          env: { ...run.env, ...env },
          stdio: 'ignore',
        });
        try {
          await expect.poll(() => handshake(port, readFileSync(run.path('web.crt'))), { timeout: 20_000 }).toMatch(/TLSv1\.[23]/);
        } finally {
          server.kill();
        }
      },
      120_000,
    );

    test.skipIf(skipWithout(needs.ssh))(
      'OpenSSH: ssh-keygen -D, and a login at sshd with a key in the agent',
      async () => {
        keypair('EC:prime256v1', 'ssh', '31');
        writeFileSync(run.path('askpass'), `#!/bin/sh\necho ${run.pin}\n`, { mode: 0o700 });
        const ask = { SSH_ASKPASS: run.path('askpass'), SSH_ASKPASS_REQUIRE: 'force', DISPLAY: ':0' };
        const keys = run.ok('ssh-keygen', ['-D', CLIENT_MODULE], { env: ask });
        expect(keys).toMatch(/^ecdsa-sha2-nistp256 /m);
        mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
        run.ok('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', 'host']);
        writeFileSync(
          run.path('authorized'),
          keys
            .split('\n')
            .filter((line) => line.startsWith('ecdsa') || line.startsWith('ssh-rsa'))
            .join('\n'),
          { mode: 0o600 },
        );
        chmodSync(run.folder, 0o700);
        const port = await freePort();
        const options = [
          `Port=${port}`,
          'ListenAddress=127.0.0.1',
          `HostKey=${run.path('host')}`,
          `AuthorizedKeysFile=${run.path('authorized')}`,
          `PidFile=${run.path('sshd.pid')}`,
          'StrictModes=no',
          'UsePAM=no',
          'PasswordAuthentication=no',
          'PermitRootLogin=prohibit-password',
        ];
        const sshd = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', '/dev/null', ...options.flatMap((one) => ['-o', one])], {
          stdio: 'ignore',
        });
        const socket = run.path('agent');
        const agent = spawn('ssh-agent', ['-D', '-a', socket, '-P', '/usr/lib/*'], { env: run.env, stdio: 'ignore' });
        try {
          await sleep(1_000);
          const env = { ...ask, SSH_AUTH_SOCK: socket };
          run.ok('ssh-add', ['-s', CLIENT_MODULE], { env });
          const target = [`${userInfo().username}@127.0.0.1`, 'echo', 'in', 'with', 'aegis'];
          const known = [
            '-o',
            'StrictHostKeyChecking=no',
            '-o',
            `UserKnownHostsFile=${run.path('known')}`,
            '-o',
            'PreferredAuthentications=publickey',
            '-o',
            'IdentityFile=none',
          ];
          expect(run.ok('ssh', ['-F', '/dev/null', '-p', String(port), ...known, ...target], { env })).toContain('in with aegis');
        } finally {
          agent.kill();
          sshd.kill();
        }
      },
      120_000,
    );

    test.skipIf(skipWithout(needs.nss))(
      'NSS: certutil makes a key and its certificate in the token, lists and requests',
      () => {
        mkdirSync(run.path('nss'));
        writeFileSync(run.path('pw'), '\n');
        writeFileSync(run.path('pin'), `${run.pin}\n`, { mode: 0o600 });
        writeFileSync(run.path('noise'), Buffer.alloc(64, 9));
        const database = ['-d', 'sql:nss'];
        run.ok('certutil', ['-N', ...database, '-f', 'pw']);
        run.ok('modutil', ['-dbdir', 'sql:nss', '-add', 'aegis', '-libfile', CLIENT_MODULE, '-force']);
        const token = [...database, '-h', 'aegis', '-f', 'pin'];
        run.ok('certutil', ['-S', ...token, '-n', 'nss', '-s', 'CN=nss', '-x', '-t', 'u,u,u', '-k', 'ec', '-q', 'nistp256', '-z', 'noise']);
        expect(run.ok('certutil', ['-K', ...token])).toContain('aegis:nss');
        run.ok('certutil', ['-R', ...token, '-s', 'CN=request', '-k', 'rsa', '-g', '2048', '-z', 'noise', '-o', 'request.der']);
        expect(run.ok('openssl', ['req', '-inform', 'der', '-in', 'request.der', '-verify', '-noout'])).toContain('verify OK');
      },
      180_000,
    );

    test.skipIf(skipWithout(needs.java))(
      'Java: KeyStore, ECDSA, RSA, RSASSA-PSS, AES through SunPKCS11',
      () => {
        keypair('EC:prime256v1', 'javakey', '41');
        aegisOk(run.service, ['key', 'list']);
        const env = { OPENSSL_CONF: engineConfig(run) };
        run.ok(
          'openssl',
          [
            'req',
            '-new',
            '-x509',
            '-days',
            '9',
            '-engine',
            'pkcs11',
            '-keyform',
            'engine',
            '-key',
            uri('javakey'),
            '-subj',
            '/CN=java',
            '-out',
            'java.crt',
          ],
          { env },
        );
        run.ok('openssl', ['x509', '-in', 'java.crt', '-outform', 'der', '-out', 'java.der']);
        run.tool('--write-object', run.path('java.der'), '--type', 'cert', '--label', 'javakey', '--id', '41');
        writeFileSync(run.path('Probe.java'), JAVA);
        run.ok('javac', ['Probe.java']);
        const said = run.ok('java', ['-cp', run.folder, 'Probe', CLIENT_MODULE, run.pin]);
        for (const line of ['SHA256withECDSA', 'SHA256withRSA', 'RSASSA-PSS', 'AES', 'KeyStore']) expect(said).toContain(`${line} true`);
      },
      240_000,
    );
  });
};

/** TLS version of a handshake that trusts exactly this certificate, or what went wrong. */
const handshake = (port: number, ca: Buffer): Promise<string> =>
  new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', ca });
    socket.on('secureConnect', () => {
      resolve(socket.getProtocol() ?? 'none');
      socket.destroy();
    });
    socket.on('error', (error) => resolve(error.message));
  });

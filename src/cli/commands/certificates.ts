import { CERTIFICATE_PURPOSES, CERTIFICATE_STATES, REVOCATION_REASONS } from '../../domain/index.js';
import { fromApi, parseDuration, parsePairs, query, segment } from '../api-command.js';
import { makeFreshIdentity, REQUEST_KEYS, type RequestKey, toPem } from '../certificate-request.js';
import { callApi } from '../client.js';
import { CliError, type Command, EXIT, type Invocation, type OptionRow, type Terminal } from '../command.js';
import { promptSecret, readInput, writeNewSecret, writeOutput } from '../files.js';
import { printJson, printRecord } from '../output.js';
import { toPkcs12 } from '../pkcs12.js';
import { openSession, readSecretFile, type Session } from '../session.js';

const MAX_REQUEST_BYTES = 256 * 1024;
const DAY_MS = 86_400_000;

const CERTIFICATE = { name: 'CERTIFICATE', summary: 'Id or name of the certificate.' } as const;
const AUTHORITY: OptionRow = { name: 'authority', value: 'CA', summary: 'Authority, by id or name. Default: the newest active one.' };
const PAGE: readonly OptionRow[] = [
  { name: 'limit', value: 'N', summary: 'Page size.' },
  { name: 'cursor', value: 'CURSOR', summary: 'Where the last page ended.' },
];
const KEY_ALGORITHM: OptionRow = {
  name: 'key-algorithm',
  value: 'KIND',
  choices: REQUEST_KEYS,
  summary: 'Kind of the new key. Default ec-p256; rsa-2048 for devices that know nothing newer.',
};
/** What a certificate says; shared by issue, sign-csr and renew. */
const CONTENT: readonly OptionRow[] = [
  { name: 'san', value: 'NAME,…', many: true, summary: 'dns:host, ip:192.0.2.1, email:a@b or uri:spiffe://…' },
  { name: 'validity', value: 'DURATION', summary: 'Life time in whole days, e.g. 90d or 1y. Default 365d.' },
  { name: 'purpose', value: 'USE,…', many: true, choices: CERTIFICATE_PURPOSES, summary: 'Extended key usage. Default client.' },
  AUTHORITY,
];
const OBJECT: readonly OptionRow[] = [
  { name: 'name', value: 'NAME', summary: 'Alias of the certificate in Aegis.' },
  { name: 'tag', value: 'NAME=VALUE,…', many: true, summary: 'Tags.' },
];
const HOLDER: readonly OptionRow[] = [
  { name: 'principal', value: 'ID', summary: 'Whoever presents the certificate is this principal, until it is revoked.' },
  { name: 'for', value: 'NAME', summary: 'The same for a service principal by name; made where there is none.' },
  { name: 'role', value: 'ROLE', summary: 'Role of the principal that --for makes. Default kmip-client.' },
];

const given = (record: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));

const daysOf = (text: string | undefined): number | undefined => {
  const ms = parseDuration(text, 'validity');
  if (ms === undefined) return undefined;
  if (ms < DAY_MS || ms % DAY_MS !== 0) throw new CliError('--validity: whole days, at least one', EXIT.usage, 'For example 90d or 1y.');
  return ms / DAY_MS;
};

const contentOf = ({ text, lists }: Invocation): Record<string, unknown> =>
  given({
    subject: text['subject'] ?? (text['cn'] === undefined ? undefined : `CN=${escapeValue(text['cn'])}`),
    subjectAltNames: lists['san'],
    days: daysOf(text['validity']),
    purposes: lists['purpose'],
    authority: text['authority'],
    name: text['name'],
    tags: parsePairs(lists['tag'], 'tag'),
  });

/** RFC 4514 §2.4. */
const escapeValue = (value: string): string => value.replace(/[\\",;<>+=#]/g, '\\$&').replace(/^ | $/g, '\\ ');

type Body = Record<string, unknown>;
const post = async (session: Session, path: string, body: Body): Promise<Body> =>
  (await callApi(session, 'POST', path, { body })).body as Body;

/** The principal of this name, made where there is none. */
async function principalNamed(session: Session, name: string, role: string): Promise<string> {
  let cursor: string | undefined;
  do {
    const { body } = await callApi(session, 'GET', `/v1/principals${query({ kind: 'service', limit: 1000, cursor })}`);
    const page = body as { items: { id: string; name: string }[]; next?: string };
    const found = page.items.find((principal) => principal.name === name);
    if (found !== undefined) return found.id;
    cursor = page.next;
  } while (cursor !== undefined);
  return String((await post(session, '/v1/principals', { kind: 'service', name, roles: [role] }))['id']);
}

async function holderOf({ text }: Invocation, session: Session): Promise<Body> {
  if (text['principal'] !== undefined && text['for'] !== undefined)
    throw new CliError('--principal and --for name the same thing', EXIT.usage, 'Give one of them.');
  if (text['for'] === undefined) return given({ principalId: text['principal'] });
  return { principalId: await principalNamed(session, text['for'], text['role'] ?? 'kmip-client') };
}

const SHOWN = ['id', 'state', 'subject', 'subjectAltNames', 'serial', 'fingerprint', 'purposes', 'notBefore', 'notAfter', 'principalId'];
function show(answer: Body, invocation: Invocation, terminal: Terminal, files: Body): void {
  if (invocation.switches.has('json')) printJson(terminal, { ...answer, ...(Object.keys(files).length === 0 ? {} : { files }) });
  else printRecord(terminal, { ...Object.fromEntries(SHOWN.map((name) => [name, answer[name]])), ...files });
}

const certificateOf = (answer: Body): string => {
  const pem = answer['certificate'];
  if (typeof pem !== 'string') throw new CliError('the service answered no certificate', EXIT.failure);
  return pem;
};
const put = (path: string, pem: string, terminal: Terminal): Promise<void> => writeOutput(path, terminal, [Buffer.from(pem)], 0o600);

/** The issuer, and then every other active authority of the tenant: one of them may have issued the server's certificate. */
async function authoritiesOf(session: Session, issuer: unknown): Promise<string[]> {
  const { body } = await callApi(session, 'GET', '/v1/certificates/authorities');
  const { items } = body as { items: { id: string; state: string; certificate: string }[] };
  const own = items.filter((item) => item.id === issuer);
  return [...own, ...items.filter((item) => item.id !== issuer && item.state === 'active')].map((item) => item.certificate);
}

const passphraseOf = async ({ text }: Invocation, terminal: Terminal): Promise<string> => {
  const file = text['passphrase-file'];
  if (file !== undefined) return readSecretFile(file);
  const first = await promptSecret(terminal, 'Passphrase of the PKCS#12 file: ');
  if (first === '') throw new CliError('a PKCS#12 file with a private key needs a passphrase', EXIT.usage);
  if ((await promptSecret(terminal, 'Once more: ')) !== first) throw new CliError('the two passphrases differ', EXIT.usage);
  return first;
};

const issue: Command = {
  path: ['cert', 'issue'],
  summary: 'Make a key here, have its certificate issued, and write both (PEM, or PKCS#12).',
  arguments: [{ name: 'CN', summary: 'Common name of the subject.' }],
  options: [
    { name: 'out', value: 'PREFIX', summary: 'Writes PREFIX.pem, PREFIX-key.pem and PREFIX-ca.pem (0600). Default: the common name.' },
    { name: 'pkcs12', value: 'FILE', summary: 'Write one PKCS#12 file instead; the passphrase is asked for.' },
    { name: 'passphrase-file', value: 'FILE', summary: 'Passphrase of the PKCS#12 file.' },
    { name: 'subject', value: 'NAME', summary: 'Whole subject (RFC 4514) instead of the common name alone.' },
    KEY_ALGORITHM,
    ...CONTENT,
    ...HOLDER,
    ...OBJECT,
  ],
  details:
    'The private key is made by this command and never leaves this machine: the service sees a signing request only. Files are written 0600 and never overwritten.',
  example: 'aegis cert issue array-7 --for array-7 --san dns:array-7.bank.example --validity 1y',
  run: async (invocation, terminal) => {
    const { args, text } = invocation;
    const cn = args[0] ?? '';
    const prefix = text['out'] ?? (/^[\w.-]{1,64}$/.test(cn) ? cn : 'client');
    const session = openSession(invocation, terminal);
    const passphrase = text['pkcs12'] === undefined ? undefined : await passphraseOf(invocation, terminal);
    const fresh = makeFreshIdentity((text['key-algorithm'] ?? 'ec-p256') as RequestKey);
    const keyFile = text['pkcs12'] === undefined ? `${prefix}-key.pem` : undefined;
    // Before anything is issued: a key that cannot be kept makes the certificate worthless.
    if (keyFile !== undefined) writeNewSecret(keyFile, fresh.keyPem);
    const answer = await post(session, '/v1/certificates', {
      ...contentOf({ ...invocation, text: { ...text, cn } }),
      ...(await holderOf(invocation, session)),
      csr: toPem('CERTIFICATE REQUEST', fresh.csr),
    });
    const authorities = await authoritiesOf(session, answer['authority']);
    if (text['pkcs12'] !== undefined) {
      const bytes = toPkcs12({
        key: fresh.key,
        certificates: [certificateOf(answer), ...authorities.slice(0, 1)],
        name: cn,
        passphrase: passphrase ?? '',
      });
      writeNewSecret(text['pkcs12'], bytes);
      show(answer, invocation, terminal, { pkcs12: text['pkcs12'] });
      return EXIT.ok;
    }
    await put(`${prefix}.pem`, certificateOf(answer), terminal);
    await put(`${prefix}-ca.pem`, authorities.join(''), terminal);
    show(answer, invocation, terminal, { certificateFile: `${prefix}.pem`, keyFile, caFile: `${prefix}-ca.pem` });
    return EXIT.ok;
  },
};

/** Also what the service runs, as a process of its own, for the keys of its first start. */
const request: Command = {
  path: ['cert', 'request'],
  summary: 'Make a key and a signing request (PKCS#10) here, without any service.',
  options: [
    { name: 'key-out', value: 'FILE', required: true, summary: 'File for the private key (0600); never overwritten.' },
    { name: 'out', value: 'FILE', summary: 'File for the request. Default: standard output.' },
    KEY_ALGORITHM,
  ],
  details: 'The request proves possession of the key and names nobody: subject and names are given when it is signed.',
  example: 'aegis cert request --key-out array-7-key.pem --out array-7.csr',
  run: async ({ text }, terminal) => {
    const fresh = makeFreshIdentity((text['key-algorithm'] ?? 'ec-p256') as RequestKey);
    writeNewSecret(text['key-out'] ?? '', fresh.keyPem);
    await writeOutput(text['out'], terminal, [Buffer.from(toPem('CERTIFICATE REQUEST', fresh.csr))]);
    return EXIT.ok;
  },
};

const signCsr: Command = {
  path: ['cert', 'sign-csr'],
  summary: 'Have the certificate of a signing request issued (PEM or DER), as devices make them.',
  arguments: [{ name: 'FILE', summary: 'The request; `-` = standard input.' }],
  options: [
    { name: 'out', value: 'FILE', summary: 'File for the certificate. Default: standard output.' },
    { name: 'subject', value: 'NAME', summary: 'Subject (RFC 4514) instead of the one in the request.' },
    ...CONTENT,
    ...HOLDER,
    ...OBJECT,
  ],
  example: 'aegis cert sign-csr vcenter.csr --for vcenter --out vcenter.pem',
  run: async (invocation, terminal) => {
    const bytes = await readInput(invocation.args[0], terminal, MAX_REQUEST_BYTES);
    const session = openSession(invocation, terminal);
    const csr = bytes[0] === 0x30 ? toPem('CERTIFICATE REQUEST', bytes) : bytes.toString('latin1');
    const answer = await post(session, '/v1/certificates', { ...contentOf(invocation), ...(await holderOf(invocation, session)), csr });
    const { out } = invocation.text;
    if (out !== undefined) await put(out, certificateOf(answer), terminal);
    if (out === undefined && !invocation.switches.has('json')) terminal.stdout.write(certificateOf(answer));
    else show(answer, invocation, terminal, given({ certificateFile: out }));
    return EXIT.ok;
  },
};

const renew: Command = {
  path: ['cert', 'renew'],
  summary: 'Issue a successor with the same names and principal, for a new key made here or the same key.',
  arguments: [CERTIFICATE],
  options: [
    {
      name: 'out',
      value: 'PREFIX',
      summary: 'Writes PREFIX.pem and PREFIX-key.pem (0600); with --same-key the certificate alone.',
      required: true,
    },
    { name: 'same-key', summary: 'Certify the same key again.' },
    { name: 'csr', value: 'FILE', summary: 'Certify the key of this request.' },
    {
      name: 'revoke-old',
      summary: 'Revoke the old certificate at once. Default: it stays valid until it ends, so that clients can change over.',
    },
    { name: 'subject', value: 'NAME', summary: 'Another subject (RFC 4514).' },
    KEY_ALGORITHM,
    ...CONTENT,
  ],
  example: 'aegis cert renew array-7 --out array-7-2027',
  run: async (invocation, terminal) => {
    const { args, text, switches } = invocation;
    const prefix = text['out'] ?? '';
    const session = openSession(invocation, terminal);
    const files: Body = { certificateFile: `${prefix}.pem` };
    let csr: string | undefined;
    if (text['csr'] !== undefined) {
      const bytes = await readInput(text['csr'], terminal, MAX_REQUEST_BYTES);
      csr = bytes[0] === 0x30 ? toPem('CERTIFICATE REQUEST', bytes) : bytes.toString('latin1');
    } else if (!switches.has('same-key')) {
      const fresh = makeFreshIdentity((text['key-algorithm'] ?? 'ec-p256') as RequestKey);
      writeNewSecret(`${prefix}-key.pem`, fresh.keyPem);
      files['keyFile'] = `${prefix}-key.pem`;
      csr = toPem('CERTIFICATE REQUEST', fresh.csr);
    }
    const answer = await post(session, `/v1/certificates/${segment(args[0])}/renew`, {
      ...contentOf(invocation),
      ...given({ csr, revokeOld: switches.has('revoke-old') ? true : undefined }),
    });
    await put(`${prefix}.pem`, certificateOf(answer), terminal);
    show(answer, invocation, terminal, files);
    return EXIT.ok;
  },
};

const get: Command = {
  path: ['cert', 'get'],
  summary: 'Show a certificate issued here.',
  arguments: [CERTIFICATE],
  options: [{ name: 'out', value: 'FILE', summary: 'Write the certificate (PEM) to this file.' }],
  run: async (invocation, terminal) => {
    const session = openSession(invocation, terminal);
    const answer = (await callApi(session, 'GET', `/v1/certificates/${segment(invocation.args[0])}`)).body as Body;
    const { out } = invocation.text;
    if (out !== undefined) await put(out, certificateOf(answer), terminal);
    if (invocation.switches.has('json')) printJson(terminal, answer);
    else printRecord(terminal, answer);
    return EXIT.ok;
  },
};

const list = fromApi({
  path: ['cert', 'list'],
  summary: 'List certificates issued here, newest first.',
  options: [
    { name: 'state', value: 'STATE', choices: CERTIFICATE_STATES, summary: 'Only these.' },
    { name: 'principal', value: 'ID', summary: 'Only those of this principal.' },
    AUTHORITY,
    ...PAGE,
  ],
  method: 'GET',
  to: ({ text }) =>
    `/v1/certificates${query({ state: text['state'], principalId: text['principal'], authority: text['authority'], limit: text['limit'], cursor: text['cursor'] })}`,
  view: { kind: 'table', columns: ['id', 'state', 'subject', 'notAfter', 'principalId', 'serial'] },
});

const revoke = fromApi({
  path: ['cert', 'revoke'],
  summary: 'Revoke a certificate: from now on it stands for nobody.',
  arguments: [CERTIFICATE],
  options: [
    { name: 'reason', value: 'REASON', choices: REVOCATION_REASONS, summary: 'Default unspecified.' },
    { name: 'message', value: 'TEXT', summary: 'Why, for the record.' },
  ],
  example: 'aegis cert revoke array-7 --reason key-compromise',
  method: 'POST',
  to: ({ args }) => `/v1/certificates/${segment(args[0])}/revoke`,
  body: ({ text }) => given({ reason: text['reason'], message: text['message'] }),
  view: { kind: 'record', fields: ['id', 'state', 'subject', 'serial', 'revocation'] },
});

const crl: Command = {
  path: ['cert', 'crl'],
  summary: 'Fetch the certificate revocation list of an authority (PEM, or DER with --der).',
  options: [
    AUTHORITY,
    { name: 'out', value: 'FILE', summary: 'Default: standard output.' },
    { name: 'der', summary: 'DER instead of PEM.' },
  ],
  example: 'aegis cert crl --out crl.pem',
  run: async (invocation, terminal) => {
    const { text, switches } = invocation;
    const { body } = await callApi(
      openSession(invocation, terminal),
      'GET',
      `/v1/certificates/crl${query({ authority: text['authority'] })}`,
      {
        accept: switches.has('json') ? 'application/json' : 'application/pkix-crl',
      },
    );
    if (switches.has('json')) printJson(terminal, body);
    else
      await writeOutput(text['out'], terminal, [switches.has('der') ? (body as Buffer) : Buffer.from(toPem('X509 CRL', body as Buffer))]);
    return EXIT.ok;
  },
};

const caList = fromApi({
  path: ['cert', 'ca', 'list'],
  summary: 'List the certificate authorities of the tenant.',
  method: 'GET',
  to: () => '/v1/certificates/authorities',
  view: { kind: 'table', columns: ['id', 'isDefault', 'state', 'subject', 'spec', 'root', 'notAfter'] },
});

const caCreate = fromApi({
  path: ['cert', 'ca', 'create'],
  summary: 'Make a certificate authority whose key lives in a root of trust. It issues from now on.',
  options: [
    { name: 'subject', value: 'NAME', required: true, summary: 'RFC 4514, e.g. "CN=Bank KMIP CA,O=Bank".' },
    { name: 'spec', value: 'SPEC', summary: 'Default rsa-3072; ec-p256, ec-p384, rsa-4096, ed25519.' },
    { name: 'root', value: 'ROOT', summary: 'Root of trust. Default by configuration.' },
    { name: 'validity', value: 'DURATION', summary: 'Life time in whole days. Default 10 years.' },
    { name: 'name', value: 'NAME', summary: 'Alias of the key.' },
  ],
  method: 'POST',
  to: () => '/v1/certificates/authorities',
  body: ({ text }) =>
    given({ subject: text['subject'], spec: text['spec'], root: text['root'], days: daysOf(text['validity']), name: text['name'] }),
  view: { kind: 'record', fields: ['id', 'certificateId', 'subject', 'spec', 'root', 'notAfter', 'fingerprint'] },
});

const ca: Command = {
  path: ['cert', 'ca'],
  summary: 'Print the certificates of the active authorities (PEM): what clients verify the service and each other with.',
  options: [{ name: 'out', value: 'FILE', summary: 'Default: standard output.' }],
  run: async (invocation, terminal) => {
    const { body } = await callApi(openSession(invocation, terminal), 'GET', '/v1/certificates/authorities');
    const { items } = body as { items: { state: string; certificate: string }[] };
    if (invocation.switches.has('json')) printJson(terminal, body);
    else {
      const pem = items.filter((item) => item.state === 'active').map((item) => item.certificate);
      await writeOutput(invocation.text['out'], terminal, [Buffer.from(pem.join(''))]);
    }
    return EXIT.ok;
  },
};

export const CERTIFICATE_COMMANDS: readonly Command[] = [issue, request, signCsr, list, get, revoke, renew, crl, ca, caList, caCreate];

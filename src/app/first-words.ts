/** What `npm start` prints when the service is ready: what runs where, and commands to try that work as written. */
export interface FirstWords {
  readonly url: string;
  readonly dataDir: string;
  readonly database: string;
  readonly roots: readonly { readonly id: string; readonly state: string; readonly detail?: string | undefined }[];
  readonly defaultRoot: string;
  readonly kmip?:
    | { readonly addresses: readonly { readonly name: string; readonly address: string }[]; readonly problem: string | undefined }
    | undefined;
  readonly pkcs11?:
    | { readonly addresses: readonly { readonly name: string; readonly address: string }[]; readonly problem: string | undefined }
    | undefined;
  /** Only on the very first start: shown once, here, and never again. */
  readonly token: string | undefined;
}

export function firstWords({ url, dataDir, database, roots, defaultRoot, token, kmip, pkcs11 }: FirstWords): string {
  const rootOption = roots.some((r) => r.id === 'softhsm') && defaultRoot !== 'softhsm' ? ' --root softhsm' : '';
  const lines = [
    '',
    `Aegis is ready at ${url}   (interactive API docs: ${url}/docs)`,
    ...(kmip?.addresses ?? []).map((plane) => `  ${plane.name.padEnd(10)} ${plane.address}`),
    ...(kmip?.problem === undefined ? [] : [`  kmip       not served: ${kmip.problem}. Choose another with AEGIS_KMIP_PORT.`]),
    ...(pkcs11?.addresses ?? []).map((plane) => `  ${plane.name.padEnd(10)} ${plane.address}`),
    ...(pkcs11?.problem === undefined ? [] : [`  pkcs11     not served: ${pkcs11.problem}. Choose another path with AEGIS_PKCS11_SOCKET.`]),
    `  data       ${dataDir}`,
    `  database   ${database}`,
    ...roots.map(
      (r) => `  root       ${r.id}: ${r.state}${r.id === defaultRoot ? ' (default)' : ''}${r.detail === undefined ? '' : ` — ${r.detail}`}`,
    ),
    '',
    ...(token === undefined
      ? [`  The admin token is in ${dataDir}/admin-token.`]
      : ['  Admin token, shown this once (and kept, readable by you only, in the data directory as admin-token):', `  ${token}`]),
    '',
    'Try, in a second shell in this directory:',
    `  npx aegis key create invoice --spec ec-p256 --usage sign,verify --activate${rootOption}`,
    '  npx aegis sign --key invoice --in README.md --out README.sig',
    '  npx aegis key public invoice --format pem > pub.pem',
    '  openssl dgst -sha256 -verify pub.pem -signature README.sig README.md',
    '  npx aegis audit list',
    ...(pkcs11 === undefined || pkcs11.addresses.length === 0
      ? []
      : ['  eval "$(npx aegis pkcs11 env)" && pkcs11-tool --module "$PKCS11_MODULE" --list-slots']),
    ...kmipWords(kmip?.addresses ?? [], dataDir),
    '',
    'Stop with Ctrl-C; the next start uses the same data.',
    '',
  ];
  return `${lines.join('\n')}\n`;
}

/** Two proofs of the KMIP endpoint: a client of ours, and one that is not. */
function kmipWords(addresses: readonly { readonly name: string; readonly address: string }[], dataDir: string): string[] {
  const kmip = addresses.find(({ name }) => name === 'kmip');
  if (kmip === undefined) return [];
  const at = `${dataDir}/kmip`;
  const endpoint = kmip.address.replace(/^kmip:\/\//, '');
  const port = endpoint.slice(endpoint.lastIndexOf(':') + 1);
  return [
    '',
    `KMIP, with the client certificates in ${at} (client of tenant default, client2 of tenant second):`,
    `  npx aegis kmip ping${port === '5696' ? '' : ` --port ${port}`}`,
    `  openssl s_client -connect ${endpoint} -CAfile ${at}/ca.pem -cert ${at}/client.pem -key ${at}/client-key.pem -brief </dev/null`,
  ];
}

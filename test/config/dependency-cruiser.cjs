// Who may import whom (docs/architecture.md). A plane never meets storage or a back end; only app wires concrete things.
const from = (path, pathNot) => (pathNot === undefined ? { path } : { path, pathNot });
const rule = (name, comment, fromPath, to) => ({ name, comment, severity: 'error', from: fromPath, to });
const engines = '^src/(identity|policy|risk|audit|detection|response)/';
module.exports = {
  forbidden: [
    rule('no-circular', 'a cycle has no order', {}, { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } }),
    rule('packages-stand-alone', 'kmip-ttlv and rot-spi import nothing from src', from('^(kmip-ttlv|rot-spi)/'), { path: '^src/' }),
    rule('kmip-ttlv-is-pure', 'no I/O, no crypto, no dependency', from('^kmip-ttlv/src/', '^kmip-ttlv/src/client/'), { dependencyTypes: ['core', 'npm'] }),
    rule('domain-imports-nothing', 'only the vocabulary of rot-spi (ADR 0001)', from('^src/domain/'), { pathNot: '^(src/domain/|rot-spi/(src|dist)/vocabulary/)' }),
    rule('guard-imports-domain', 'the guard declares ports', from('^src/guard/'), { path: '^src/(?!domain/|guard/)' }),
    rule('engines-know-ports-only', 'engines import domain and port types', from(engines), { path: '^src/(keys|planes|app|cli|storage/(?!ports\\.ts))' }),
    rule('keys-know-ports-only', 'keys imports domain, storage ports and the rot-spi contract', from('^src/keys/'), { path: '^(src/(planes|app|cli|identity|policy|audit|storage/(?!ports\\.ts)|guard/(?!ports\\.ts))|rot-spi/(src|dist)/(software|pkcs11|host)/)' }),
    rule('planes-translate', 'a plane imports domain, projections and its wire library', from('^src/planes/'), { path: '^(src/(?!domain/|planes/)|rot-spi/(src|dist)/(software|pkcs11|host)/)' }),
    rule('planes-do-not-meet', 'never another plane', from('^src/planes/([^/]+)/'), { path: '^src/planes/[^/]+/', pathNot: '^src/planes/$1/' }),
    rule('storage-below', 'storage imports domain', from('^src/storage/'), { path: '^src/(?!domain/|storage/)' }),
    rule('only-back-ends-open-secrets', 'secret access is for back ends', from('^', '^rot-spi/src/(software|pkcs11|cloud-envelope|contract-suite)/|^rot-spi/src/secret(-source|-access)?\\.ts$'), { path: '^rot-spi/src/secret-access\\.ts$' }),
    rule('only-app-wires', 'nobody imports the composition root but the command line', from('^src/(?!app/|cli/)'), { path: '^src/app/' }),
  ],
  options: {
    doNotFollow: { path: ['node_modules', '/dist/'] },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'types', 'default'], extensions: ['.ts', '.mjs', '.js', '.json'] },
  },
};

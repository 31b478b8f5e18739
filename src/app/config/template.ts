/** What `aegis config template` writes: every setting with its default, commented. A test loads it. */
export const CONFIG_TEMPLATE = `# Aegis configuration. Relative paths mean: relative to the data directory.
# Check it with \`aegis config validate\`; what is in force shows \`aegis config show\`.

#rest:
#  host: 127.0.0.1
#  port: 8420
#  # Names, besides localhost, that clients may use in the Host header.
#  hostNames: [aegis.example.org]
#  tls:
#    certificate: tls/server.pem
#    key: tls/server-key.pem
#    clientCa: tls/clients-ca.pem
#    clientCertificates: optional   # off | optional | required

#kmip:
#  host: 127.0.0.1
#  port: 5696
#  httpsPort: 5697
#  # Names under which clients reach this server, for the certificate that Aegis issues itself.
#  names: [kmip.example.org]
#  # Or certificate and authorities of your own:
#  tls:
#    certificate: tls/kmip.pem
#    key: tls/kmip-key.pem
#    clientCa: tls/kmip-clients-ca.pem
#  clientCertificates: required   # required | optional (username and password instead)
#  clientEku: if-present          # required | if-present | ignored

#database:
#  # The URL holds a password: keep it in a file or the environment.
#  url: { file: /etc/aegis/database-url }

#defaultRoot: software
#roots:
#  software:
#    kind: software
#    seal: { kind: key-file, path: software-root.key, create: true }
#  luna:
#    kind: pkcs11
#    module: /usr/safenet/lunaclient/lib/libCryptoki2_64.so
#    slot: { label: aegis }
#    pin: { file: /etc/aegis/luna-pin }
#    storage: wrapped
#    hosts: 2

#policies:
#  directory: /etc/aegis/policies

#keys:
#  destroyPendingMs: 604800000   # seven days

#audit:
#  checkpointEveryMs: 60000

#log:
#  level: info
`;

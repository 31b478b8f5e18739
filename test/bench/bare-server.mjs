// What the REST plane is measured against: fastify, one route, the same node:crypto signature, and nothing else.
import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';
import fastify from 'fastify';

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const key = createPrivateKey(privateKey.export({ format: 'pem', type: 'pkcs8' }));
const server = fastify({ logger: false });
server.post('/sign', (request) => ({ signature: sign('sha256', Buffer.from(request.body.message, 'base64'), key).toString('base64') }));
await server.listen({ host: '127.0.0.1', port: 0 });
process.send({ port: server.server.address().port });
process.on('disconnect', () => process.exit(0));

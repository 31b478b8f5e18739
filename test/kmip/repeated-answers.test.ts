import { lowerMessage, readMessage, readTtlv, writeMessage, writeTtlv } from '@aegis/kmip-ttlv';
import { expect, test } from 'vitest';
import type { KmipCall } from '../../src/planes/kmip/contract.js';
import { recognise } from '../../src/planes/kmip/recognise.js';
import { keepAnswer, markRepeatable, repeatedAnswer } from '../../src/planes/kmip/repeated-answers.js';

const NOW = 1_700_000_000_000;
const certificate = (fingerprint: string) => ({ kind: 'certificate', fingerprint, subject: 'CN=x', subjectAltNames: [] }) as const;
const payload = { ObjectType: ['SymmetricKey'] };
const answerAt = (nowMs: number, version: '1.2' | '2.1' = '1.2') =>
  writeTtlv(
    writeMessage(
      lowerMessage({
        kind: 'response',
        version,
        header: { TimeStamp: BigInt(nowMs / 1_000) },
        items: [{ operation: 'Query', fields: { ResultStatus: 'Success' }, payload }],
      }),
    ),
  );

/** A connection whose certificate the guard recognised at NOW; how often it was asked. */
async function recognised() {
  const asked: string[] = [];
  const client = { memory: new Map<string, unknown>(), credential: () => certificate('aa') };
  const at = (now: number) =>
    recognise({
      connection: client,
      caller: { credential: client.credential() },
      now,
      call: async (name: string) => void asked.push(name),
    } as unknown as KmipCall);
  await at(NOW);
  return { client, asked, at };
}

test('the same bytes get the same answer with the time of now, whatever became of the buffers', async () => {
  const { client } = await recognised();
  markRepeatable(payload);
  const request = Uint8Array.from({ length: 64 }, (_, i) => i);
  const sent = answerAt(NOW);
  keepAnswer(request, sent, payload, client);
  const again = request.slice();
  request.fill(0);
  sent.fill(0);
  const answer = repeatedAnswer(again, client, NOW + 900) as Uint8Array;
  expect(Buffer.from(answer)).toEqual(Buffer.from(answerAt(NOW)));
  answer.fill(0);
  const later = repeatedAnswer(again, client, NOW + 999) as Uint8Array;
  expect(readMessage(readTtlv(later)).items[0]?.payload).toEqual(payload);
  expect(
    repeatedAnswer(
      Uint8Array.from(again, (byte) => byte ^ 1),
      client,
      NOW + 900,
    ),
  ).toBeUndefined();
});

test('nothing is answered from memory once the guard has to be asked, nor to another certificate', async () => {
  const { client, asked, at } = await recognised();
  markRepeatable(payload);
  const request = new Uint8Array(64);
  keepAnswer(request, answerAt(NOW), payload, client);
  expect(repeatedAnswer(request, client, NOW + 1_000)).toBeUndefined();
  expect(repeatedAnswer(request, { ...client, credential: () => certificate('bb') }, NOW + 1)).toBeUndefined();
  expect(repeatedAnswer(request, { ...client, credential: () => ({ kind: 'bearer', token: '' }) }, NOW + 1)).toBeUndefined();
  await at(NOW + 2_000);
  expect(asked).toEqual(['whoami', 'whoami']);
  const answer = repeatedAnswer(request, client, NOW + 2_500) as Uint8Array;
  expect(readMessage(readTtlv(answer)).header['TimeStamp']).toBe(BigInt((NOW + 2_000) / 1_000));
});

test('only what was marked is kept', async () => {
  const { client } = await recognised();
  keepAnswer(new Uint8Array(64), answerAt(NOW), { ...payload }, client);
  markRepeatable(payload);
  keepAnswer(new Uint8Array(2_000), answerAt(NOW), payload, client);
  keepAnswer(new Uint8Array(64), new Uint8Array(200), payload, client);
  expect(repeatedAnswer(new Uint8Array(64), client, NOW)).toBeUndefined();
  expect(repeatedAnswer(new Uint8Array(2_000), client, NOW)).toBeUndefined();
});

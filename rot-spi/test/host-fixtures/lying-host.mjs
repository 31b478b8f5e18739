// A host that greets properly and then answers calls with damaged frames. Only tests start it.
import { Socket } from 'node:net';
import { ByteWriter } from '../../dist/host/bytes.js';
import { DESCRIPTION } from '../../dist/host/call-codec.js';
import { FRAME, FrameSplitter } from '../../dist/host/frames.js';
import { NO_KEYS } from '../../dist/host/key-slots.js';
import { readValue } from '../../dist/host/values.js';

const frame = (call, kind, fill) => {
  const writer = new ByteWriter(64);
  writer.limit = 1_000_000;
  writer.u32(0);
  writer.u32(call);
  writer.u8(kind);
  fill(writer);
  writer.putU32(0, writer.length - 4);
  return Buffer.from(writer.buffer.subarray(0, writer.length));
};
const random = (below) => Math.floor(Math.random() * below);
const damage = (bytes) => {
  const changed = Buffer.from(bytes);
  for (let left = 1 + random(3); left > 0; left--) changed[random(changed.length)] = random(256);
  if (random(4) === 0) return changed.subarray(0, random(changed.length));
  if (random(6) === 0) return Buffer.concat([changed, Buffer.from([1, 2, 3, 4, 5, 6])]);
  return changed;
};

const socket = new Socket({ fd: 3, readable: true, writable: true });
socket.on('error', () => process.exit(0));
socket.on('close', () => process.exit(0));
let truthful = 0;
const splitter = new FrameSplitter(1_000_000, (call, kind, reader) => {
  if (kind === FRAME.hello) {
    const { config } = readValue(reader);
    truthful = config.fake.truthful;
    const description = {
      id: 'lying',
      kind: 'software',
      fingerprint: '00',
      powers: ['digest'],
      specs: [],
      algorithms: [],
      hashes: [],
      maxInput: 1,
      module: { a: 'b' },
      external: false,
    };
    const ready = frame(0, FRAME.ready, (writer) => DESCRIPTION.write(writer, description, NO_KEYS));
    socket.write(config.fake.damagedStart ? damage(ready) : ready);
    return;
  }
  if (kind === FRAME.stop) process.exit(0);
  const number = reader.u8();
  // A digest of nothing but 0x5a is what the test expects to get, whole, or a fault.
  const answer = frame(call, FRAME.result, (writer) => {
    writer.u8(number);
    writer.bytes(new Uint8Array(32).fill(0x5a));
  });
  socket.write(truthful-- > 0 ? answer : damage(answer));
});
socket.on('data', (chunk) => splitter.push(chunk));

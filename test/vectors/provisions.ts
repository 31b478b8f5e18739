import { type Item, readXml, showTag, versionNumbers, writeXml } from '@aegis/kmip-ttlv';
import type { CaseVersion } from './official-cases.js';
import type { VectorConnection, VectorSettings } from './vector-plane.js';

// What a case takes for granted about the server or the tenant, by family: policies of the server, users that exist, objects that are there.

export interface Provision {
  readonly settings?: VectorSettings;
  prepare?(connection: VectorConnection, version: CaseVersion): Promise<void>;
}

/** The pad of TC-OTP: 010203040506 becomes fd912d102dbb. */
const ONE_TIME_PAD = 'fc932e1428bd';

const registerPad = (keyValue: string) => async (connection: VectorConnection, version: CaseVersion) => {
  const { major, minor } = versionNumbers(version);
  const attribute = (name: string, value: string): string =>
    `<Attribute><AttributeName type="TextString" value="${name}"/>${value}</Attribute>`;
  const answer = await connection.exchange(
    readXml(`<RequestMessage><RequestHeader><ProtocolVersion><ProtocolVersionMajor type="Integer" value="${major}"/>
      <ProtocolVersionMinor type="Integer" value="${minor}"/></ProtocolVersion><BatchCount type="Integer" value="1"/></RequestHeader>
      <BatchItem><Operation type="Enumeration" value="Register"/><RequestPayload><ObjectType type="Enumeration" value="SecretData"/><TemplateAttribute>
      ${attribute('Cryptographic Algorithm', '<AttributeValue type="Enumeration" value="OneTimePad"/>')}
      ${attribute('Cryptographic Usage Mask', '<AttributeValue type="Integer" value="Encrypt Decrypt"/>')}
      ${attribute('Activation Date', '<AttributeValue type="DateTime" value="2020-01-01T00:00:00+00:00"/>')}
      ${attribute('Name', '<AttributeValue><NameValue type="TextString" value="one-time-pad-1"/><NameType type="Enumeration" value="UninterpretedTextString"/></AttributeValue>')}
      ${keyValue === '' ? attribute('Key Value Location', '<AttributeValue><KeyValueLocationValue type="TextString" value="vault"/><KeyValueLocationType type="Enumeration" value="UninterpretedTextString"/></AttributeValue>') : ''}
      </TemplateAttribute><SecretData><SecretDataType type="Enumeration" value="Password"/><KeyBlock><KeyFormatType type="Enumeration" value="Opaque"/>
      ${keyValue}</KeyBlock></SecretData></RequestPayload></BatchItem></RequestMessage>`),
  );
  expectSuccess(answer);
};

function expectSuccess(answer: Item): void {
  const text = writeXml(answer);
  if (!/ResultStatus type="Enumeration" value="Success"/.test(text)) throw new Error(`preparing failed (${showTag(answer.tag)}): ${text}`);
}

const withMaterial = registerPad(`<KeyValue><KeyMaterial type="ByteString" value="${ONE_TIME_PAD}"/></KeyValue>`);
const administrator: Provision = { settings: { users: [{ name: 'administrator', password: 'password' }] } };

/** The generator that the recorded server's keys came from (KMIP 1.4 §3.44): told by the operator, as of any root of trust. */
const ansi: Provision = { settings: { ansiGenerator: true } };

export const PROVISIONS: Readonly<Record<string, Provision>> = {
  // One pad, in the custody that each case shows: used, known only by its attributes, or not to be read.
  'TC-OTP-1': { prepare: withMaterial },
  'TC-OTP-2': { prepare: withMaterial },
  'TC-OTP-3': { prepare: registerPad('') },
  'TC-OTP-4': { prepare: withMaterial, settings: { mayExport: false } },
  'TC-OTP-5': { prepare: withMaterial },
  'AKLC-M-1': ansi,
  'AKLC-M-2': ansi,
  'AKLC-M-3': ansi,
  'AKLC-O-1': ansi,
  'SKLC-M-1': ansi,
  'SKLC-M-2': ansi,
  'SKLC-M-3': ansi,
  'SKLC-O-1': ansi,
  'TL-M-2': ansi,
  'TL-M-3': ansi,
  'TC-RNG-ATTR-2': ansi,
  // Client registration: an operator gave the new client a user and a password to be used once (Test Cases 1.4, TC-CREG).
  'TC-CREG-2': { settings: { users: [{ name: 'one-time-user', password: 'one-time-password' }] } },
  'BL-M-15': administrator,
  'BL-M-16': administrator,
  'BL-M-17': administrator,
  'BL-M-18': administrator,
  'BL-M-19': administrator,
  'BL-M-21': administrator,
  // Four policies of a server for RNG Seed (Profiles 2.1 §5.11): all of the seed, part of it, none, refused.
  'CS-RNG-O-1': { settings: { rngSeed: 'accept' } },
  'CS-RNG-O-2': { settings: { rngSeed: 'partial' } },
  'CS-RNG-O-3': { settings: { rngSeed: 'ignore' } },
  'CS-RNG-O-4': { settings: { rngSeed: 'refuse' } },
};

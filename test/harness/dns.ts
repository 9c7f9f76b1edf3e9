import { createSocket } from 'node:dgram';

/** A DNS server with a few names, like that of a network of containers. */
export interface TestDns {
  readonly port: number;
  /** The IPv4 addresses of each name; may be changed while it runs. */
  readonly addresses: Map<string, readonly string[]>;
  stop(): Promise<void>;
}

const A = 1;
const HEADER_BYTES = 12;

export async function startDns(): Promise<TestDns> {
  const addresses = new Map<string, readonly string[]>();
  const socket = createSocket('udp4');
  socket.on('message', (query, { port, address }) => socket.send(answer(query, addresses), port, address));
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return {
    port: socket.address().port,
    addresses,
    stop: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

/** To one question, as RFC 1035 has it. */
function answer(query: Buffer, addresses: ReadonlyMap<string, readonly string[]>): Buffer {
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (let length = query[at] as number; length > 0; length = query[at] as number) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  const type = query.readUInt16BE(at + 1);
  const question = query.subarray(HEADER_BYTES, at + 5);
  const listed = addresses.get(labels.join('.'));
  const found = type === A ? (listed ?? []) : [];
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(query.readUInt16BE(0), 0);
  // An answer, with authority; "no such name" where there is none.
  header.writeUInt16BE(listed ? 0x8580 : 0x8583, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(found.length, 6);
  const records = found.map((address) => {
    const record = Buffer.from([0xc0, HEADER_BYTES, 0, A, 0, 1, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    for (const [i, part] of address.split('.').entries()) record[12 + i] = Number(part);
    return record;
  });
  return Buffer.concat([header, question, ...records]);
}

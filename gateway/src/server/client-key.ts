import { isIPv6 } from 'node:net';

const IPV4_IN_IPV6 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

/**
 * A key for the client at an address, by which new operations are planned in turn. An IPv6 client has a whole network of 64 bits
 * to choose its addresses from, so the network is the client.
 */
export function clientKey(address: string): string {
  const [, embedded] = IPV4_IN_IPV6.exec(address) ?? [];
  if (embedded) return embedded;
  if (!isIPv6(address)) return address;
  const [head = '', tail = ''] = address.split('%')[0]?.split('::') ?? [];
  const groups = head === '' ? [] : head.split(':');
  const after = tail === '' ? 0 : tail.split(':').length;
  // `::` stands for as many zeros as are missing.
  if (address.includes('::')) while (groups.length < 8 - after) groups.push('0');
  const all = tail === '' ? groups : [...groups, ...tail.split(':')];
  return all
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}

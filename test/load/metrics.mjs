// What the gateway and the services count, read from their metrics.
const LOCAL_SERVICES = ['http://localhost:4001', 'http://localhost:4002', 'http://localhost:4003'];

/** Figures so far; null where a service's metrics cannot be reached. */
export async function readFigures(url, serviceUrls = LOCAL_SERVICES) {
  const gateway = await read(url);
  const services = await Promise.all(serviceUrls.map(read));
  const reachable = services.filter((text) => text !== null);
  return {
    requests: sum(gateway, 'http_request_duration_seconds_count', 'route="/graphql"'),
    fetches: sum(gateway, 'gateway_subgraph_fetch_duration_seconds_count'),
    hits: sum(gateway, 'gateway_cache_reads_total', 'outcome="hit"'),
    misses: sum(gateway, 'gateway_cache_reads_total', 'outcome="miss"'),
    statements:
      reachable.length === 0 ? null : reachable.reduce((all, text) => all + sum(text, 'sql_statements_total'), 0),
    lagSeconds:
      reachable.length === 0 ? null : Math.max(0, ...reachable.flatMap((text) => values(text, 'copy_lag_seconds'))),
  };
}

async function read(url) {
  try {
    const response = await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(3000) });
    return response.ok ? await response.text() : null;
  } catch {
    return null;
  }
}

function values(text, name, label = '') {
  return (text ?? '').split('\n').flatMap((line) => {
    const isIt = (line.startsWith(`${name}{`) || line.startsWith(`${name} `)) && line.includes(label);
    return isIt ? [Number(line.slice(line.lastIndexOf(' ') + 1))] : [];
  });
}

function sum(text, name, label) {
  return text === null ? null : values(text, name, label).reduce((all, value) => all + value, 0);
}

// Asks a graph. Cheaper than fetch: the load runs on the cores that it measures.
import http from 'node:http';

/** @param connections most connections that are kept alive, for each address */
export function askOf(connections) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  return (url, operation, given = {}) => {
    const body = JSON.stringify(operation);
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), ...given };
    return new Promise((resolve, reject) => {
      const request = http.request(`${url}/graphql`, { agent, method: 'POST', headers }, (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('end', () => {
          try {
            resolve(JSON.parse(Buffer.concat(chunks)));
          } catch (error) {
            reject(error);
          }
        });
        response.on('error', reject);
      });
      request.on('error', reject);
      request.end(body);
    });
  };
}

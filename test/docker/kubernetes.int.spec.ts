import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { settings as gateway, readConfig as readGateway } from '@tributary/gateway';
import { definition as orders } from '@tributary/orders';
import { definition as products } from '@tributary/products';
import { setUpSettings } from '@tributary/subgraph';
import { definition as users } from '@tributary/users';
import { expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';

// The example for Kubernetes cannot be applied here; what it says of Tributary can be held against Tributary.

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const SETTINGS = { ...gateway, ...users.settings, ...products.settings, ...orders.settings, ...setUpSettings };
const KNOWN = new Set(Object.keys(SETTINGS));

const READERS: Readonly<Record<string, (env: NodeJS.ProcessEnv) => unknown>> = {
  gateway: readGateway,
  users: users.readConfig,
};

interface Container {
  readonly args: readonly string[];
  readonly env?: readonly { readonly name: string }[];
  readonly readinessProbe?: { readonly httpGet: { readonly port: number } };
}
interface Resource {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec: {
    readonly ports: readonly { readonly port: number; readonly targetPort?: number }[];
    readonly template: {
      readonly spec: {
        readonly enableServiceLinks?: boolean;
        readonly initContainers?: readonly Container[];
        readonly containers: readonly Container[];
      };
    };
  };
}

const documents = parseAllDocuments(readFileSync(`${PROJECT}docker/kubernetes.yaml`, 'utf8'));
const resources = documents.map((document) => document.toJS() as Resource);
const ofKind = (kind: string) => resources.filter((resource) => resource.kind === kind);

test('it is YAML, and sets only variables that the programs read', () => {
  expect(documents.flatMap(({ errors }) => errors)).toEqual([]);
  const deployments = ofKind('Deployment').map(({ spec }) => spec.template.spec);
  const containers = deployments.flatMap(({ initContainers = [], containers: main }) => [...initContainers, ...main]);
  const names = [
    ...ofKind('ConfigMap').flatMap(({ data = {} }) => Object.keys(data)),
    ...containers.flatMap(({ env = [] }) => env.map(({ name }) => name)),
  ];
  expect(names.filter((name) => !KNOWN.has(name))).toEqual([]);
  for (const { args } of containers) expect(existsSync(PROJECT + args[0]), args[0]).toBe(true);
});

test('it sets variables to values that the programs accept', () => {
  const values = ofKind('ConfigMap').flatMap(({ data = {} }) => Object.entries(data));
  const refused = values.filter(([name, value]) => !SETTINGS[name as keyof typeof SETTINGS].safeParse(value).success);
  expect(refused).toEqual([]);
});

test('services lead to the ports that are probed', () => {
  for (const { metadata, spec } of ofKind('Deployment')) {
    const service = ofKind('Service').find(({ metadata: { name } }) => name === metadata.name);
    const [port] = service?.spec.ports ?? [];
    expect(port?.targetPort ?? port?.port).toBe(spec.template.spec.containers[0]?.readinessProbe?.httpGet.port);
  }
});

test('programs accept all variables that a pod has, those of Kubernetes for its services among them', () => {
  const links = ofKind('Service').flatMap(({ metadata: { name }, spec: { ports } }) => [
    [`${name.toUpperCase()}_SERVICE_HOST`, '10.96.0.10'],
    [`${name.toUpperCase()}_PORT`, `tcp://10.96.0.10:${ports[0]?.port}`],
  ]);
  const common = ofKind('ConfigMap').flatMap(({ data = {} }) => Object.entries(data));
  for (const { metadata, spec } of ofKind('Deployment')) {
    const { enableServiceLinks = true, containers } = spec.template.spec;
    const secrets = (containers[0]?.env ?? []).map(({ name }) => [name, 'postgres://a-secret-of-32-letters@host/db']);
    const env = Object.fromEntries([...(enableServiceLinks ? links : []), ...common, ...secrets]);
    expect(() => READERS[metadata.name]?.(env), metadata.name).not.toThrow();
  }
});

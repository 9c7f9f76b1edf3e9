export interface ServiceFolder {
  readonly name: string;
  readonly port: number | undefined;
}
export declare const RESERVED: readonly string[];
export declare function isServiceName(name: string): boolean;
export declare function readFolderNames(): string[];
export declare function readServiceFolders(): ServiceFolder[];
export declare function variableOf(name: string, suffix: 'PORT' | 'URL' | 'DATABASE_URL'): string;
export declare function portKeyOf(name: string): `${string}Port`;

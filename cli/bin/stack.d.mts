export declare const NOTE: string;
export declare function namesStack(env?: NodeJS.ProcessEnv): boolean;
export declare function missingStack(dataDir: string, env?: NodeJS.ProcessEnv): string | null;
export declare function noStack(dataDir: string): string;

export declare const TURBO_ENVIRONMENT: Readonly<Record<string, string>>;
export declare function turboProgram(): string;

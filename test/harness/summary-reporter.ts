import type { Reporter, TestCase, TestModule } from 'vitest/node';

/** Ends a run with a plain count, and names what was left out and why. */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const inState = (state: string) => tests.filter((test) => test.result().state === state);
    const skipped = inState('skipped');
    for (const test of skipped) process.stdout.write(`left out: ${test.fullName} (${noteOf(test)})\n`);
    const broken = modules.filter(
      (module) => module.state() === 'failed' && [...module.children.allTests('failed')].length === 0,
    );
    const failed = inState('failed').length + broken.length + errors.length;
    process.stdout.write(`\n${inState('passed').length} passed, ${failed} failed, ${skipped.length} skipped\n`);
  }
}

function noteOf(test: TestCase): string {
  const result = test.result();
  return (result.state === 'skipped' && result.note) || 'no reason given';
}

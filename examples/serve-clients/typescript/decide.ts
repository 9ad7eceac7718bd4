// Asks a server for each planner input on standard input, one a line, and prints the answers:
//   node dist/decide.js [--plan] URL < inputs.jsonl
import { createInterface } from "node:readline";
import { Client } from "./planner.js";

const [url, mode] = process.argv.slice(2).reverse();
if (url === undefined || (mode !== undefined && mode !== "--plan")) {
  console.error("usage: decide [--plan] URL < inputs.jsonl");
  process.exit(2);
}
const client = new Client(url);
try {
  for await (const line of createInterface({ input: process.stdin })) {
    const input = JSON.parse(line) as object;
    console.log(JSON.stringify(mode === undefined ? await client.decide(input) : await client.plan(input)));
  }
} catch (problem) {
  console.error("error:", problem instanceof Error ? problem.message : problem);
  process.exitCode = 1;
} finally {
  client.close();
}

// Proves the port on a bundle: BUNDLE=path/to/bundle node --test   (or: node planner.test.mjs path/to/bundle)
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { encode, figures, jobTypeIndex, Planner } from "./planner.mjs";
import { arm, draw } from "./rollout.mjs";

const BUNDLE = process.env.BUNDLE ?? process.argv[2];
if (!BUNDLE) throw new Error("name a bundle: BUNDLE=path/to/bundle node --test");
const TOLERANCE = 1e-5; // what the exporter promises between Python and ONNX

const planner = await Planner.load(BUNDLE, { threshold: 0 }); // golden rows are what the graph says, before a threshold

function close(found, expected, what) {
  assert.equal(found.length, expected.length, what);
  const scale = what.startsWith("expected_") ? Math.max(1, ...expected.map(Math.abs)) : 1;
  for (const [i, value] of expected.entries()) {
    assert.ok(Math.abs(found[i] - value) <= TOLERANCE * scale, `${what}[${i}]: found ${found[i]}, expected ${value}`);
  }
}

/** A copy of the bundle, altered by `change`. */
function altered(t, change) {
  const copy = join(mkdtempSync(join(tmpdir(), "bundle-")), "bundle");
  t.after(() => rmSync(resolve(copy, ".."), { recursive: true }));
  cpSync(BUNDLE, copy, { recursive: true });
  change(copy);
  return copy;
}

test("there are golden rows, and the width follows from encoder.json", () => {
  assert.equal(planner.golden.length, 16);
  const { history_slots: slots, tag_buckets: tags, fail_code_buckets: codes, log_figures: log } = planner.config;
  assert.equal(planner.dIn, 28 + tags + slots * (76 + codes) + 32 + 14 + 25 + (log ? 19 : 0));
});

for (const [i, row] of planner.golden.entries()) {
  test(`golden row ${i}: features and job type`, () => {
    assert.deepEqual(encode(row.planner_input, planner.config), row.indices);
    assert.deepEqual(figures(row.planner_input, planner.config).map(Math.fround), row.figures ?? []);
    assert.equal(jobTypeIndex(row.planner_input.job_type), row.job_type);
  });

  test(`golden row ${i}: every output of the graph`, async () => {
    const outputs = await planner.infer(row.planner_input);
    assert.deepEqual(Object.keys(outputs).sort(), Object.keys(row.outputs).sort());
    for (const [name, expected] of Object.entries(row.outputs)) {
      close([...outputs[name].data].map(Number), [expected].flat(), name);
    }
    assert.equal(Number(outputs.action.data[0]), row.outputs.action);
  });

  test(`golden row ${i}: the decision`, async () => {
    const action = await planner.decide(row.planner_input);
    assert.deepEqual({ swarm_id: action.swarm_id, budgets: action.budgets }, row.action);
    close([action.confidence], [row.outputs.confidence], "confidence");
    assert.equal(action.abstain_to_default, false);
  });
}

test("rollout: arm and draw of every golden row, and every arm is among them", () => {
  const vectors = planner.golden.map((row) => row.rollout);
  for (const vector of vectors) {
    assert.equal(arm(vector.issue_id, vector), vector.arm);
    assert.equal(draw(vector.issue_id, vector.input_hash, vector), vector.draw); // to the last bit
  }
  assert.deepEqual([...new Set(vectors.map((vector) => vector.arm))].sort(), ["baseline", "explore", "model"]);
});

test("rollout: with share, a part of the issues is the rules', always the same", async () => {
  const half = await Planner.load(BUNDLE, { threshold: 0, share: 0.5, salt: "autumn" });
  for (const { planner_input: input } of planner.golden) {
    const action = await half.decide(input), own = await planner.decide(input);
    const kept = arm(input.issue.issue_id, { share: 0.5, salt: "autumn" }) === "model";
    if (kept) assert.deepEqual(action.budgets, own.budgets);
    assert.equal(/^arm_baseline: /.test(action.reason ?? ""), !kept);
  }
  const odd = await Planner.load(BUNDLE, { threshold: 0, share: 1.5 });
  await assert.rejects(odd.decide(planner.golden[0].planner_input), /share is 1.5/);
});

test("a threshold nothing reaches: the heuristic decides and says why", async () => {
  const cautious = await Planner.load(BUNDLE, { threshold: 1.01 });
  const input = structuredClone(planner.golden[0].planner_input);
  Object.assign(input, { job_type: "code" });
  Object.assign(input.issue, { dk_risk: "low", dk_size: "L" });
  Object.assign(input.action_space, { max_minutes_bins: [45, 120] }); // without 60; 45 is as near as 120, and less
  const action = await cautious.decide(input);
  assert.match(action.reason, /^(low_confidence|no_overlap): /);
  assert.deepEqual(action.budgets, { max_candidates_bin: 2, max_minutes_bin: 45, max_iterations_bin: "NA" });
});

for (const name of ["model.onnx", "encoder.json", "golden.jsonl"]) {
  test(`one changed bit in ${name} is refused`, async (t) => {
    const copy = altered(t, (dir) => {
      const data = readFileSync(join(dir, name));
      data[data.length >> 1] ^= 1;
      writeFileSync(join(dir, name), data);
    });
    await assert.rejects(Planner.load(copy), new RegExp(`${name} was altered`));
  });
}

test("a manifest with another hash, or with another file, is refused", async (t) => {
  const edit = (change) => altered(t, (dir) => {
    const manifest = JSON.parse(readFileSync(join(dir, "manifest.json")));
    change(manifest.files);
    writeFileSync(join(dir, "manifest.json"), JSON.stringify(manifest));
  });
  const other = edit((files) => { files["model.onnx"] = "0".repeat(64); });
  await assert.rejects(Planner.load(other), /manifest.json was altered/);
  const outside = edit((files) => { files["../secret"] = "0".repeat(64); });
  await assert.rejects(Planner.load(outside), /not a swarm_planner/);
});

test("a link in place of a file is refused", async (t) => {
  const copy = altered(t, (dir) => {
    rmSync(join(dir, "config.json"));
    symlinkSync(resolve(BUNDLE, "config.json"), join(dir, "config.json"));
  });
  await assert.rejects(Planner.load(copy), /config.json is not a plain file/);
});

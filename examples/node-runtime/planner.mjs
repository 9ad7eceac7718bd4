// A planner bundle served from Node.js: verify the files, encode the input, run the graph, decide.
// Written from SPEC sections 3, 4, 5 and 9; the bundle's golden.jsonl proves it (planner.test.mjs).
// As a program: node planner.mjs BUNDLE < inputs.jsonl > actions.jsonl
import { createHash } from "node:crypto";
import { lstatSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import * as ort from "onnxruntime-web";
import { arm } from "./rollout.mjs";

ort.env.wasm.numThreads = 1; // a decision is too small to share between threads

const SCHEMA = "swarm_planner.bundle.v1", SWARMS = ["serial_handoff", "speculate_vote"];
const FILES = ["action_space.json", "calibration.json", "config.json", "encoder.json", "golden.jsonl", "metadata.json",
  "model.onnx", "validation_report.json"];
const FIELDS = ["swarm_id", "max_candidates_bin", "max_minutes_bin", "max_iterations_bin"];
const HEADS = FIELDS.map((field) => `${field}s`); // the lists of an action space
const BINS = [SWARMS, [1, 2, 3, "NA"], [15, 30, 45, 60, 120, "NA"], [1, 2, 3, 5, "NA"]];
const RULES = [
  { if: { swarm_id: "serial_handoff" }, then: { max_candidates_bin: 1 } },
  { if: { job_type: "code" }, then: { max_iterations_bin: "NA" } },
  { if: { job_type: "fab-world" }, then: { max_candidates_bin_not: "NA" } },
];
const JOB_TYPES = ["code", "fab-world", "fab-asset"], DOMAINS = ["code", "fab_world", "fab_asset"];
const PRIORITIES = ["P0", "P1", "P2", "P3"], RISKS = ["low", "medium", "high", "critical"];
const SIZES = ["XS", "S", "M", "L", "XL"], STATUSES = ["success", "failed", "timeout"];
const GATES = ["test", "typecheck", "lint", "build", "format", "security", "coverage", "review", "e2e", "integration",
  "performance", "docs", "fab-realism", "godot", "asset-only", "godot-config"];
const WORKCELLS = { 0: 0, "1-2": 2, "3-5": 5, "6+": Infinity }, QUEUE = { 0: 0, "1-5": 5, "6-20": 20, "20+": Infinity };
const HOURS = ["night", "morning", "afternoon", "evening"], BUDGETS = ["low", "medium", "high", "unlimited"];
const TOOLS = ["codex", "claude", "crush", "opencode"];
const DAY = 86_400_000, MIN_MASS = 1e-6, ISSUE = 28, RUN = 76, REST = 71; // widths without the buckets

const sha256 = (data) => createHash("sha256").update(data).digest("hex");
const int = (v) => (typeof v === "string" && /^-?[0-9]{1,18}$/.test(v) ? Number(v) : v); // real trackers write "3"
const key = (bin) => (bin === "NA" ? Infinity : bin); // numbers ascending, NA last
const level = (value, edges) => edges.filter((edge) => value >= edge).length;
const shift = (offset, place) => (place < 0 ? -1 : offset + place); // -1, not found, sets no bit

function bucket(text, buckets) {
  if (!text.isWellFormed()) throw new Error(`planner_input: ${JSON.stringify(text)} is no valid Unicode`);
  return parseInt(sha256(text).slice(0, 8), 16) % buckets;
}

function known(list, value) { // the position of a value that the contract limits to a list
  if (!list.includes(value)) throw new Error(`planner_input: found ${JSON.stringify(value)}, expected one of ${list}`);
  return list.indexOf(value);
}

function nameCode(name) { // 11 features: the ten bits of the bucket, high bit first, or the null flag
  return name == null ? [10] : [...Array(10).keys()].filter((bit) => (bucket(name, 1024) >> (9 - bit)) & 1);
}

function nearestBin(value, bins) { // the lower on a tie; null, no limit, is NA
  const distances = bins.slice(0, -1).map((bin) => Math.abs(bin - value));
  return value == null ? bins.length - 1 : distances.indexOf(Math.min(...distances));
}

function countBin(value, bins) { // by its label or by a bare count; null comes last
  const count = /^[0-9]+$/.test(value) ? Number(value) : value;
  const fits = ([label, top]) => count === label || (count >= 0 && count <= top);
  return value == null ? 4 : Object.entries(bins).findIndex(fits);
}

function milliseconds(timestamp) { // Date.parse cuts what is below a millisecond, the specification's encoder rounds it
  const [, date, clock, fraction, zone] = /^([0-9-]+)[T ]([0-9:]+)(\.[0-9]+)?(Z|[+-][0-9:]+)$/i.exec(timestamp) ?? [];
  const time = Date.parse(`${date}T${clock}${zone?.toUpperCase()}`) + Math.round(Number(fraction ?? 0) * 1000);
  if (Number.isNaN(time)) throw new Error(`planner_input: found created_at ${timestamp}, expected RFC 3339`);
  return time;
}
export const jobTypeIndex = (jobType) => (JOB_TYPES.includes(jobType) ? JOB_TYPES.indexOf(jobType) : 3); // 3: other

/** Positions of the features that are on, ascending; `config` is the bundle's encoder.json. */
export function encode(input, config) {
  const on = new Set(), { issue, system_state: state } = input;
  let base = 0;
  const put = (...places) => places.forEach((place) => place >= 0 && on.add(base + place));
  put(known(PRIORITIES, issue.dk_priority), 4 + known(RISKS, issue.dk_risk), 8 + known(SIZES, issue.dk_size),
    13 + Math.min(int(issue.dk_attempts), 3), ...nameCode(issue.dk_tool_hint).map((bit) => 17 + bit),
    ...issue.tags.slice(0, 8).map((tag) => ISSUE + bucket(tag, config.tag_buckets)));
  base = ISSUE + config.tag_buckets;
  const end = base + config.history_slots * (RUN + config.fail_code_buckets), now = milliseconds(input.created_at);
  for (const run of input.history.last_n_similar_runs.slice(0, config.history_slots)) {
    const { action_executed: did, outcome, cost_usd_est: cost } = run;
    put(JOB_TYPES.indexOf(run.job_type), 3 + known(DOMAINS, run.domain),
      did.swarm_id == null ? 8 : shift(6, SWARMS.indexOf(did.swarm_id)), 24 + known(STATUSES, outcome.status),
      9 + nearestBin(int(did.max_candidates), BINS[1]), 13 + nearestBin(int(did.max_minutes), BINS[2]),
      19 + nearestBin(int(did.max_iterations), BINS[3]),
      ...outcome.fail_codes.slice(0, 5).map((code) => 27 + bucket(code, config.fail_code_buckets)));
    base += 27 + config.fail_code_buckets;
    GATES.forEach((name, i) => { // "test:unit" and "test:api" are one gate, passed if both did
      const gates = outcome.gates.filter((gate) => gate.name.split(":")[0] === name);
      if (gates.length) put(2 * i, gates.every((gate) => gate.passed) ? 2 * i + 1 : -1);
    });
    put(32 + level(int(run.runtime.duration_ms), [1, 5, 15, 30, 60].map((minutes) => minutes * 60_000)),
      38 + (cost == null ? 5 : level(cost, [0.01, 0.1, 1, 10])),
      44 + level(now - int(run.started_ms), [DAY, 7 * DAY, 30 * DAY]), 48);
    base += RUN - 27;
  }
  base = end; // empty slots are zero
  BINS.forEach((bins, h) => {
    const given = h ? input.action_space[HEADS[h]].map(int) : input.action_space.swarm_ids;
    put(...bins.map((bin, i) => (given.includes(bin) ? 8 * h + i : -1)));
  });
  base += 32;
  const { swarm_id: swarm, objective_id: goal } = input.universe_defaults;
  put(swarm == null ? 2 : SWARMS.indexOf(swarm), ...nameCode(goal).map((bit) => 3 + bit));
  base += 14;
  if (state != null) {
    put(countBin(state.active_workcells_bin, WORKCELLS), shift(5, countBin(state.queue_depth_bin, QUEUE)),
      state.hour_bucket == null ? 14 : shift(10, HOURS.indexOf(state.hour_bucket)),
      state.budget_remaining_bin == null ? 19 : shift(15, BUDGETS.indexOf(state.budget_remaining_bin)),
      ...TOOLS.map((tool, i) => (state.available_toolchains?.includes(tool) ? 20 + i : -1)), 24);
  }
  return [...on].sort((a, b) => a - b);
}

/** The numbers behind them, where `config` asks for any; an input without knows nothing. */
export function figures({ log_figures: x }, config) {
  const parts = (x) => [x.known, ...[x.passed, x.minutes].flatMap((r) => [...r.overall, ...r.tags, ...r.tool])];
  return !config.log_figures ? [] : x == null ? Array(19).fill(0) : parts(x);
}

function obeys(action, jobType, rules) {
  const values = { job_type: jobType, ...Object.fromEntries(FIELDS.map((field, h) => [field, action[h]])) };
  const applies = ([name, value]) => values[name] === value;
  const holds = ([name, bin]) => name.endsWith("_not") !== (values[name.replace("_not", "")] === int(bin));
  return rules.every(({ if: condition, then }) =>
    !Object.entries(condition ?? {}).every(applies) || Object.entries(then ?? {}).every(holds));
}

function validActions(jobType, space, rules) { // by swarm, candidates, minutes, iterations
  const lists = HEADS.map((head, h) => (h ? space[head].map(int).sort((a, b) => key(a) - key(b) || 0) : space[head]));
  return lists.reduce((rows, list) => rows.flatMap((row) => [...new Set(list)].map((bin) => [...row, bin])), [[]])
    .filter((action) => obeys(action, jobType, rules));
}

function heuristic({ issue, job_type: jobType }, allowed) { // the default rules, then the nearest allowed action
  const size = SIZES.indexOf(issue.dk_size), count = RISKS.indexOf(issue.dk_risk) >= 2 ? 3 : size >= 3 ? 2 : 1;
  const wanted = [SWARMS[+(count > 1)], count, BINS[2][size], jobType === "code" ? "NA" : [1, 2, 3, 5, 5][size]];
  const scales = [1, 2, 3].map((h) => [...new Set([...allowed, wanted].map((a) => key(a[h])))].sort((a, b) => a - b));
  const steps = (a, h) => Math.abs(scales[h - 1].indexOf(key(a[h])) - scales[h - 1].indexOf(key(wanted[h])));
  const cost = (a) => [Number(a[0] !== wanted[0]), steps(a, 1) + steps(a, 2) + steps(a, 3), ...a.slice(1).map(key)];
  const compare = (x, y) => cost(x).map((v, i) => (v === cost(y)[i] ? 0 : v - cost(y)[i])).find((d) => d) ?? 0;
  return [...allowed].sort(compare)[0];
}

export class Planner {
  /** Verify every file against the manifest, then open the model; nothing of an altered bundle is used. */
  static async load(dir, { threshold, share = 1, salt = "" } = {}) {
    const read = (name) => {
      if (!lstatSync(join(dir, name)).isFile()) throw new Error(`${dir}: ${name} is not a plain file`);
      return readFileSync(join(dir, name));
    };
    const { schema_version: schema, files, digest } = JSON.parse(read("manifest.json"));
    const names = Object.keys(files).sort(), required = names.filter((name) => name !== "model_indices.onnx");
    if (schema !== SCHEMA || `${required}` !== `${FILES}`) throw new Error(`${dir}: not a ${SCHEMA}`);
    const list = JSON.stringify([SCHEMA, Object.fromEntries(names.map((name) => [name, files[name]]))]);
    if (sha256(list) !== digest) throw new Error(`${dir}: manifest.json was altered`);
    const content = Object.fromEntries(names.map((name) => [name, read(name)])); // read once: what is hashed is used
    for (const name of names) if (sha256(content[name]) !== files[name]) throw new Error(`${dir}: ${name} was altered`);
    const json = (name) => JSON.parse(content[name]), planner = new Planner(), config = json("encoder.json");
    return Object.assign(planner, {
      config, share, salt,
      dIn: ISSUE + config.tag_buckets + config.history_slots * (RUN + config.fail_code_buckets) + REST
        + figures({}, config).length,
      classes: validActions("other", json("action_space.json"), RULES).map((a) => `${a}`), // of action_probs
      threshold: threshold ?? json("calibration.json").threshold ?? 0,
      model: { checkpoint_id: digest.slice(0, 16), version: String(json("metadata.json").version) },
      golden: content["golden.jsonl"].toString().trim().split("\n").map((line) => JSON.parse(line)),
      session: await ort.InferenceSession.create(content["model.onnx"], { logSeverityLevel: 3 }),
    });
  }

  /** All outputs of the graph for one input. */
  infer(input) {
    const features = new ort.Tensor("float32", new Float32Array(this.dIn), [1, this.dIn]);
    for (const position of encode(input, this.config)) features.data[position] = 1;
    const numbers = figures(input, this.config);
    features.data.set(numbers, this.dIn - numbers.length);
    const job = new ort.Tensor("int64", [BigInt(jobTypeIndex(input.job_type))], [1]);
    return this.session.run({ input: features, job_type: job });
  }

  /** The planner_action.v1: the most probable action that the request allows, or the heuristic's and why. */
  async decide(input) {
    const own = validActions(input.job_type, input.action_space, input.action_space.validity_rules);
    const strict = own.filter((action) => obeys(action, input.job_type, RULES)), allowed = strict.length ? strict : own;
    if (!allowed.length) throw new Error("planner_input: its bins and validity rules leave no action");
    const { data } = (await this.infer(input)).action_probs;
    const p = allowed.map((action) => data[this.classes.indexOf(`${action}`)] ?? 0);
    const mass = p.reduce((sum, value) => sum + value, 0), confidence = Math.min(Math.max(...p) / mass, 1);
    const reason = !(mass >= MIN_MASS) ? `no_overlap: ${mass} of the probability is on them`
      : confidence < this.threshold ? `low_confidence: ${confidence.toFixed(4)} < ${this.threshold.toFixed(4)}`
      : arm(input.issue.issue_id, this) === "baseline" ? `arm_baseline: share is ${this.share}` : null;
    const action = reason ? heuristic(input, allowed) : allowed[p.indexOf(Math.max(...p))];
    return { schema_version: "cyntra.planner_action.v1", created_at: new Date().toISOString(), swarm_id: action[0],
      budgets: Object.fromEntries(FIELDS.slice(1).map((field, h) => [field, action[h + 1]])),
      ...(mass >= MIN_MASS ? { confidence } : {}), abstain_to_default: reason !== null, reason, model: this.model };
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const planner = await Planner.load(process.argv[2] ?? "");
  for await (const line of createInterface(process.stdin))
    if (line.trim()) console.log(JSON.stringify(await planner.decide(JSON.parse(line))));
}

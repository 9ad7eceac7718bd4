// Asks a running `planner serve` how to run an issue. Node's own modules only.
import * as http from "node:http";

export type Bin = number | "NA";

/** A planner_action.v1; `reason` is null where the model decided. */
export interface Action {
  schema_version: string;
  created_at: string;
  swarm_id: string;
  budgets: { max_candidates_bin: Bin; max_minutes_bin: Bin; max_iterations_bin: Bin };
  abstain_to_default: boolean;
  reason: string | null;
  input_hash: string;
  confidence?: number;
  model?: Record<string, string>;
}

/** A decision with what belongs into a manifest and into a log of runs; a limit of null is none. */
export interface Plan {
  action: Action;
  executed: {
    swarm_id_executed: string;
    max_candidates_executed: number | null;
    timeout_seconds_executed: number | null;
    max_iterations_executed: number | null;
    fallback_reason: string | null;
  };
  prediction: Action | null;
  arm: "baseline" | "model" | "explore";
  propensity: number;
  propensities: Record<string, number>;
  decision_id: string;
  expected: Record<"action" | "baseline", { passed: number; minutes: number; cost_usd: number } | null> | null;
}

/** What the server says of a request that it does not answer. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, said: string) {
    super(`${said} (HTTP ${status})`);
    this.status = status;
  }
}

interface Answer {
  status: number;
  retryAfter: number;
  body: string;
}

/** Asks one server, over connections that it keeps. */
export class Client {
  private readonly place: http.RequestOptions;
  private readonly agent = new http.Agent({ keepAlive: true });
  private readonly tries: number;

  /** For "http://127.0.0.1:8337" or "unix:/run/planner.sock", as the server prints it. */
  constructor(url: string, tries = 5) {
    this.tries = tries;
    if (url.startsWith("unix:")) {
      this.place = { socketPath: url.slice("unix:".length) };
    } else {
      const { hostname, port } = new URL(url);
      this.place = { hostname: hostname.replace(/^\[|\]$/g, ""), port };
    }
  }

  /** The action to execute for one planner_input.v1. */
  async decide(input: object): Promise<Action> {
    return (await this.post("/v1/decide", input)) as Action;
  }

  /** The same with all that belongs to it. */
  async plan(input: object): Promise<Plan> {
    return (await this.post("/v1/plan", input)) as Plan;
  }

  /** The actions of up to 256 inputs, all or none. */
  async decideBatch(inputs: object[]): Promise<Action[]> {
    return ((await this.post("/v1/decide_batch", { inputs })) as { actions: Action[] }).actions;
  }

  /** Let go of the connections. */
  close(): void {
    this.agent.destroy();
  }

  private async post(path: string, document: object): Promise<unknown> {
    const body = JSON.stringify(document);
    for (let attempt = 1; ; attempt++) {
      let wait = 0.1;
      try {
        const answer = await this.once(path, body);
        if (answer.status === 200) return JSON.parse(answer.body);
        wait = answer.retryAfter;
        throw new Refused(answer.status, said(answer.body));
      } catch (problem) {
        // Another try helps where the server is busy (it says so) or not there, and nowhere else.
        if (problem instanceof SyntaxError || wait === 0 || attempt >= this.tries) throw problem;
      }
      await new Promise((resolve) => setTimeout(resolve, wait * 1000));
    }
  }

  private once(path: string, body: string): Promise<Answer> {
    const headers = { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };
    const options = { ...this.place, agent: this.agent, path, method: "POST", headers, timeout: 10_000 };
    return new Promise((resolve, reject) => {
      const request = http.request(options, (response) => {
        const parts: Buffer[] = [];
        response.on("data", (part: Buffer) => parts.push(part));
        response.on("error", reject);
        response.on("end", () => {
          const retryAfter = Number(response.headers["retry-after"] ?? 0) || 0;
          resolve({ status: response.statusCode ?? 0, retryAfter, body: Buffer.concat(parts).toString() });
        });
      });
      request.on("error", reject);
      request.on("timeout", () => request.destroy(new Error("no answer within 10 s")));
      request.end(body);
    });
  }
}

function said(body: string): string {
  try {
    return String((JSON.parse(body) as { error: unknown }).error);
  } catch {
    return body; // what is no JSON is told as it is
  }
}

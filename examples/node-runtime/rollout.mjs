// Which issues a model decides, as docs/rollout.md specifies it; golden.jsonl has vectors that prove it.
import { createHash } from "node:crypto";

function hashed(...parts) { // each text as its length in bytes, a colon, and its bytes
  const hash = createHash("sha256");
  for (const part of parts) {
    if (!part.isWellFormed()) throw new Error(`rollout: ${JSON.stringify(part)} is no valid Unicode`);
    hash.update(`${Buffer.byteLength(part)}:`).update(part);
  }
  return hash.digest();
}

function fraction(digest, at) { // the first 53 bits of eight bytes, big-endian
  return (digest.readUInt32BE(at) * 2 ** 21 + (digest.readUInt32BE(at + 4) >>> 11)) / 2 ** 53;
}

/** "baseline", "model" or "explore": the arm of an issue, for all its inputs. */
export function arm(issueId, { share = 1, explore = 0, salt = "" } = {}) {
  for (const [name, value] of Object.entries({ share, explore })) {
    if (!(value >= 0 && value <= 1)) throw new Error(`rollout: ${name} is ${value}, expected a number in [0, 1]`);
  }
  const digest = hashed("swarm_planner.arm.v1", salt, issueId);
  if (fraction(digest, 0) >= share) return "baseline";
  return fraction(digest, 8) < explore ? "explore" : "model";
}

/** A number in [0, 1) for one input of an issue; floor(draw * n) picks one of n actions. */
export function draw(issueId, inputHash, { salt = "" } = {}) {
  return fraction(hashed("swarm_planner.draw.v1", salt, issueId, inputHash), 0);
}

// The configured nodes: how far each is, how it is followed, which version it runs and what that means.
import { read } from "./daemon.js";
import { identifier, make, span, table } from "./dom.js";
import { changeLink, replayOf } from "./shapes.js";

export async function nodes(view) {
  const [found, running] = await Promise.all([read("/v1/nodes"), read("/v1/changes?limit=100&state=replaying")]);
  const replays = new Map();
  for (const change of running.changes) for (const member of change.progress) if (member.verdict === "replaying") replays.set(member.enclave_key, [change, member]);
  const rows = found.nodes.map((node) => ({
    dataset: { node: node.name },
    cells: [
      node.name,
      node.answers ? span("answers", "good") : span(`away: ${node.trouble}`, "bad"),
      node.head === null ? "" : [String(node.head), lag(node), ...replaying(node, replays)],
      node.subscribed ? span("live", "good") : span("polled", "warn"),
      node.milliseconds === null ? "" : `${node.milliseconds} ms`,
      [node.besu_version || span("not known", "quiet"), node.validator ? " (validator)" : ""],
      node.enclave_keys.map((key) => [identifier(key), " "]),
    ],
  }));
  const notes = new Map();
  for (const node of found.nodes) for (const note of node.notes) notes.set(note, [...(notes.get(note) ?? []), node.name]);
  view.show(
    make("h2", {}, "Nodes"),
    table("Nodes", ["Node", "Now", "Head", "Heads come", "Answers in", "Besu", "Enclave keys"], rows, "No node is configured."),
    notes.size ? make("h3", {}, "What their versions mean") : null,
    make("ul", {}, [...notes].map(([note, names]) => make("li", {}, note, span(` (${names.join(", ")})`, "quiet")))),
  );
}

/** Return what a node replays that is behind for it, and until when. */
function replaying(node, replays) {
  const found = node.enclave_keys.map((key) => replays.get(key)).filter(Boolean);
  return found.map(([change, member]) => make("div", { class: "quiet note" }, replayOf(member), " (", changeLink(change.change_id), ")"));
}

function lag(node) {
  if (!node.behind) return "";
  return node.behind > 0 ? span(` ${node.behind} behind`, "warn") : span(` ${-node.behind} ahead of the others`, "warn");
}

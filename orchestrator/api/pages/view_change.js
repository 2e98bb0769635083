// One change, as the page of a run: where it stands and why, each step with what it took, attempts, members, events.
import { cancel, retry } from "./actions.js";
import { eventsOf, read } from "./daemon.js";
import { facts, identifier, make, span, table } from "./dom.js";
import { replayRate } from "./replay_rate.js";
import { changeLink, groupLink, progressOf, reasonOf, state, words } from "./shapes.js";
import { ago, duration } from "./times.js";

export async function change(view, id) {
  const one = await read(`/v1/changes/${encodeURIComponent(id)}`);
  view.about = { change: one.change_id, group: one.privacy_group_id };
  const link = `${location.origin}/#/changes/${encodeURIComponent(id)}`;
  view.show(
    make("h2", {}, words(one.kind), " ", state(one.state)),
    one.reason || one.waits_for
      ? make("section", {}, make("h3", {}, one.waits_for && !one.ended ? "Waits for" : "Why"), reasonOf(one.waits_for ?? one.reason))
      : null,
    make("p", { class: "actions" }, retry(view, one), cancel(view, one)),
    facts([
      ["Group", groupLink(one.privacy_group_id)],
      ["Members", one.members.map((member) => [identifier(member), " "])],
      ["Accepted", ago(one.created_at)],
      ["Deadline", one.deadline ? ago(one.deadline) : ""],
      ["Account", make("span", { class: "id" }, one.account)],
      ["Request", make("span", { class: "id" }, one.request_id)],
      ["Change", [make("span", { class: "id" }, one.change_id), " ", make("a", { href: link }, "link to this page")]],
      ["Shares the lock of", one.lead_id && one.lead_id !== one.change_id ? changeLink(one.lead_id) : ""],
      ["Lock", one.lock_block === null ? "" : `held since block ${one.lock_block}`],
      ["Tries", one.tries ? `queued again ${one.tries} times${one.not_before ? ", next " : ""}` : ""],
    ]),
    one.progress.length ? make("section", {}, make("h3", {}, "Members"), one.ended ? null : progressOf(one), members(one)) : null,
    replayRate(view, one),
    make("section", {}, make("h3", {}, "Steps"), steps(one)),
    one.attempts.length ? make("section", {}, make("h3", {}, "Transactions"), attempts(one)) : null,
    one.effect ? make("section", {}, make("h3", {}, "Effect"), effect(one.effect)) : null,
    events(view, one.change_id),
  );
}

function steps(one) {
  const rows = one.history.map((entry, place) => {
    const next = one.history[place + 1];
    const until = next ? new Date(next.at) : one.ended ? new Date(entry.at) : new Date();
    const seconds = (until - new Date(entry.at)) / 1000;
    const moved = entry.from_state !== entry.to_state;
    return { cells: [
      ago(entry.at), moved ? [words(entry.from_state), " → ", state(entry.to_state)] : span(words(entry.to_state), "quiet"),
      words(entry.fact.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase()), entry.detail, duration(seconds)] };
  });
  return table("Steps", ["When", "State", "What was seen", "Detail", "Until the next"], rows, "Nothing happened yet.");
}

function attempts(one) {
  const rows = one.attempts.map((attempt) => ({ cells: [
    words(attempt.action), attempt.node, String(attempt.private_nonce), `${attempt.since_block}${attempt.sent_block ? `, sent at ${attempt.sent_block}` : ""}`,
    attempt.pmt_hashes.map((hash) => [identifier(hash), " "]), words(attempt.status)] }));
  return table("Transactions", ["Action", "Through", "Private nonce", "Block", "Marker", "Status"], rows, "");
}

function members(one) {
  const rows = one.progress.map((entry) => ({ cells: [
    identifier(entry.enclave_key), words(entry.verdict), entry.head === null ? "does not answer" : `block ${entry.head}`,
    entry.in_sync_through === null ? "" : `through block ${entry.in_sync_through}`,
    entry.blocks_per_second ? `${entry.blocks_per_second.toFixed(1)} blocks/s` : "", ago(entry.moved_at)] }));
  return table("Members' verdicts", ["Member", "Verdict", "Its node", "Seen equal", "Rate", "Moved"], rows, "");
}

function effect(found) {
  return facts([
    ["Block", [String(found.block_number), " ", identifier(found.block_hash)]],
    ["Members then", found.participants.map((member) => [identifier(member), " "])],
    ["Version", identifier(found.version)],
    ["State root", identifier(found.state_root)],
  ]);
}

function events(view, id) {
  const shown = make("pre", { tabindex: 0 });
  const details = make("details", { open: view.eventsOpen }, make("summary", {}, "Raw events"), shown);
  const fill = async () => {
    view.eventsOpen = details.open;
    if (!details.open || shown.textContent) return;
    shown.textContent = "reading…";
    const found = await eventsOf(id);
    shown.textContent = found.map((event) => JSON.stringify(event, null, 1)).join("\n") || "none are kept any more";
  };
  details.addEventListener("toggle", fill);
  return details;
}

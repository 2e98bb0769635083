// Pieces that several views show: a change's state, its progress, who is a member, what needs a person.
import { command, identifier, make, named, prose, span } from "./dom.js";
import { pathId } from "./daemon.js";
import { ago, clock, duration } from "./times.js";

const TONE = { succeeded: "good", failed: "bad", parked: "bad", cancelled: "quiet", queued: "quiet" };
const VERDICT = { in_sync: "good", replaying: "", unobserved: "quiet" };
const URGENCY = { broken: "bad", stuck: "bad", waiting: "warn", told: "quiet" };
const URGENT = { broken: "act now", stuck: "decide", waiting: "waiting", told: "to know" };

export const words = (text) => text.replaceAll("_", " ");
export const state = (name) => make("span", { class: `pill ${TONE[name] ?? "busy"}` }, words(name));
export const changeLink = (id, text) => make("a", { href: `#/changes/${encodeURIComponent(id)}`, class: "id", title: id }, text ?? id.slice(-8));
export const groupLink = (id) => identifier(id, `#/groups/${pathId(id)}`);

/** Return what a replay will still take, as a range until that is narrow. */
function timeLeft({ left, moved_at: since }) {
  const seconds = [left.low_seconds, left.likely_seconds, left.high_seconds];
  const [low, likely, high] = seconds.map(duration);
  // From when it last moved: that is what the estimate was made at.
  const [early, about, late] = seconds.map((more) => clock(since, more));
  const narrow = left.high_seconds <= 1.6 * left.low_seconds;
  const until = narrow || early === late ? `until about ${about}` : `until ${early}, or as late as ${late}`;
  return `${left.slower ? "slower now: " : ""}${narrow ? `about ${likely}` : `${low} to ${high}`} left, ${until}`;
}

/** Return how far a node that replays is, and until when, in words. */
export function replayOf(member) {
  const weighted = member.transactions_total > 0;
  const far = weighted ? `${member.transactions_replayed} of ${member.transactions_total} transactions` : `${member.blocks_replayed} of ${member.blocks_total} blocks`;
  return `replays, ${far}${member.left ? `, ${timeLeft(member)}` : ""}`;
}

/** Return how far each member of a change is. */
export function progressOf(change) {
  const newest = Math.max(0, ...change.progress.map((member) => member.head ?? 0));
  return make("ul", { class: "plain" }, change.progress.map((member) => {
    // Blocks hold different numbers of transactions, and these are what takes the time.
    const weighted = member.transactions_total > 0;
    const total = weighted ? member.transactions_total : member.blocks_total;
    const done = weighted ? member.transactions_replayed : member.blocks_replayed;
    const parts = [identifier(member.enclave_key), " ", span(words(member.verdict), VERDICT[member.verdict] ?? "bad")];
    if (member.verdict === "replaying" && total > 0) {
      parts.unshift(make("progress", { max: total, value: done, "aria-label": `replayed by ${member.enclave_key}` }), " ");
    }
    const behind = member.head === null ? 0 : newest - member.head;
    if (member.verdict !== "in_sync" && behind > 0) parts.push(span(`, ${behind} ${behind === 1 ? "block" : "blocks"} behind`, "warn"));
    if (member.blocks_total > 0) parts.push(span(`, ${member.blocks_replayed} of ${member.blocks_total} blocks`, "quiet"));
    if (weighted) parts.push(span(`, ${done} of ${total} transactions`, "quiet"));
    if (member.left) parts.push(span(`, ${timeLeft(member)}`, "quiet"));
    return make("li", {}, parts);
  }));
}

/** Return why something waits, failed or is parked, and what to do. */
export function reasonOf(reason) {
  if (!reason) return null;
  return make("div", { class: "reason" },
    make("p", {}, span(`${words(reason.slug)}`, reason.judgement === "retry" ? "warn" : "bad"), reason.detail ? [": ", named(reason.detail)] : ""),
    make("p", { class: "quiet" }, prose(reason.remedy)),
    commandsOf(reason.commands ?? [], reason.slug));
}

const unfolded = new Set();

/** Return commands to type; many are folded, and stay as somebody left them when the view is drawn again. */
function commandsOf(commands, about) {
  if (commands.length <= 2) return commands.map(command);
  const details = make("details", { class: "commands", open: unfolded.has(about) },
    make("summary", {}, `${commands.length} commands to type, in this order`), commands.map(command));
  details.addEventListener("toggle", () => (details.open ? unfolded.add(about) : unfolded.delete(about)));
  return details;
}

/** Return one row for a table of changes. */
export function changeRow(change) {
  const why = change.reason ?? change.waits_for;
  return {
    dataset: { change: change.change_id, state: change.state },
    cells: [
      changeLink(change.change_id),
      [words(change.kind), " ", change.members.map((member) => [identifier(member), " "])],
      groupLink(change.privacy_group_id),
      state(change.state),
      ago(change.created_at),
      [progressOf(change), why ? span([words(why.slug), why.detail ? [": ", named(why.detail)] : ""], "quiet") : null],
    ],
  };
}
export const CHANGE_COLUMNS = ["Change", "Asked", "Group", "State", "Accepted", "How far, and why"];

/** Return one thing that needs a person. */
export function need(one) {
  const about = [
    one.change_id ? ["change ", changeLink(one.change_id)] : null,
    one.privacy_group_id ? ["group ", groupLink(one.privacy_group_id)] : null,
    one.node ? ["node ", make("a", { href: "#/nodes" }, one.node)] : null,
  ].filter(Boolean).flatMap((part, place) => (place ? [", ", ...part] : part));
  return make("li", { class: `need ${URGENCY[one.urgency]}`, dataset: { slug: one.slug, urgency: one.urgency } },
    make("p", {}, make("strong", { class: `pill ${URGENCY[one.urgency]}` }, URGENT[one.urgency]), " ", named(one.what)),
    make("p", { class: "quiet" }, about, about.length && one.since ? ", since " : "", one.since ? ago(one.since) : ""),
    make("p", {}, prose(one.remedy)),
    commandsOf(one.commands, `${one.slug} ${one.change_id ?? one.privacy_group_id ?? one.node}`));
}

/** Return whether a group is locked, and whether its members agree. */
export function standingOf(group) {
  const locked = group.locked === null ? span("not seen now", "warn") : group.locked ? span("locked", "warn") : span("open", "quiet");
  // A node shows nothing of a group until it has replayed it: while a change is under way that is no difference.
  const differing = group.unfinished?.length ? span("not in sync yet", "warn") : span("members differ", "bad");
  const agreeing = group.in_sync === null ? null : group.in_sync ? span("in sync", "good") : differing;
  return agreeing ? [agreeing, ", ", locked] : [locked];
}

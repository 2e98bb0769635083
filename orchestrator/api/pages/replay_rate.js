// How fast each new member's node replays: what the change's events told, and what was seen since the page is open.
import { drawing } from "./charts.js";
import { eventsOf } from "./daemon.js";
import { make, names, short } from "./dom.js";

const MOST_MEMBERS = 4;
const MOST_POINTS = 500;

/** Return the charts of a change's replays; null for one that has none. */
export function replayRate(view, change) {
  const replays = change.progress.filter((entry) => entry.blocks_total > 0 && change.members.includes(entry.enclave_key));
  if (replays.length === 0) return null;
  view.rates ??= new Map();
  for (const entry of change.progress) note(view.rates, entry.enclave_key, entry.moved_at, entry.blocks_per_second);
  if (!view.told) {
    view.told = true;
    eventsOf(change.change_id).then((events) => {
      for (const event of events) {
        for (const entry of event.data.progress ?? []) note(view.rates, entry.member, event.time, entry.blocks_per_second);
      }
      if (events.length) view.again(false);
    });
  }
  return make("section", {}, make("h3", {}, "Replay"), make("div", { class: "charts" },
    replays.slice(0, MOST_MEMBERS).map(({ enclave_key: key }) =>
      drawing(`${names.get(key) ?? short(key)}: blocks a second`, view.rates.get(key) ?? []))));
}

function note(rates, member, time, value) {
  if (value === null || value === undefined) return;
  const points = rates.get(member) ?? [];
  const at = Date.parse(time);
  if (!points.some((point) => point.at === at)) points.push({ at, value });
  points.sort((one, other) => one.at - other.at);
  rates.set(member, points.slice(-MOST_POINTS));
}

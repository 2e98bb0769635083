// The overview: what needs a person, what is going on, how the daemon does, and the way to any group.
import { chart, sample } from "./charts.js";
import { read } from "./daemon.js";
import { make, table } from "./dom.js";
import { CHANGE_COLUMNS, changeRow, need } from "./shapes.js";
import { ago } from "./times.js";
import { groupFinder } from "./view_groups.js";

const AT_WORK = ["preflight", "locking", "adding", "removing", "creating", "unlocking", "verifying", "replaying", "queued"];

export async function overview(view) {
  const states = AT_WORK.map((name) => `&state=${name}`).join("");
  const [attention, running] = await Promise.all([
    read("/v1/attention"), read(`/v1/changes?limit=20&count=true${states}`), sample(),
  ]);
  const needs = attention.needs.length
    ? make("ul", { class: "plain", id: "needs" }, attention.needs.map(need))
    : make("p", { class: "good", id: "needs" }, "Nothing needs you.");
  view.show(
    make("section", { "aria-labelledby": "h-needs" },
      make("h2", { id: "h-needs" }, attention.total ? `Needs you (${attention.total})` : "Needs you"),
      needs,
      make("p", { class: "quiet" }, "looked at ", ago(attention.at))),
    make("section", { "aria-labelledby": "h-running" },
      make("h2", { id: "h-running" }, `At work (${running.total ?? running.changes.length})`),
      table("Changes at work", CHANGE_COLUMNS, running.changes.map(changeRow), "No change is at work or waits."),
      make("p", {}, make("a", { href: "#/changes" }, "all changes"))),
    await groupFinder(view),
    make("section", { "aria-labelledby": "h-figures" },
      make("h2", { id: "h-figures" }, "Figures since this page is open"), make("div", { class: "charts" }, chart())),
  );
}

// All changes, newest first, by pages; found by the id of the request, the beginning of their own, or a state.
import { read } from "./daemon.js";
import { make, table } from "./dom.js";
import { CHANGE_COLUMNS, changeRow, words } from "./shapes.js";

const STATES = ["queued", "preflight", "creating", "locking", "adding", "removing", "unlocking", "verifying", "replaying", "parked", "succeeded", "failed", "cancelled"];
const chosen = { state: "", id: "", request: "" };

export async function changes(view) {
  const filter = Object.entries(chosen).map(([name, value]) => (value ? `&${name}=${encodeURIComponent(value)}` : "")).join("");
  const page = await read(`/v1/changes?limit=50&count=true${filter}`);
  const rows = page.changes.map(changeRow);
  const list = make("div", {});
  const more = make("button", { type: "button" }, "more");
  let next = page.next;
  const draw = () => {
    list.replaceChildren(
      table("Changes", CHANGE_COLUMNS, rows, "No change is like that."),
      make("p", { class: "quiet" }, `showing ${rows.length} of ${page.total}`));
    more.hidden = next === null;
  };
  more.addEventListener("click", async () => {
    view.rest = true; // what was turned to stays until the view is left
    const following = await read(`/v1/changes?limit=50&before=${encodeURIComponent(next)}${filter}`);
    rows.push(...following.changes.map(changeRow));
    next = following.next;
    draw();
  });
  draw();
  const state = make("select", { id: "state", onchange: () => { chosen.state = state.value; view.again(); } },
    make("option", { value: "" }, "any state"),
    STATES.map((name) => make("option", { value: name, selected: chosen.state === name }, words(name))));
  const id = make("input", { id: "id", type: "search", value: chosen.id, pattern: "[A-Za-z0-9_\\-]*", maxlength: 64,
    onchange: () => { if (id.checkValidity()) { chosen.id = id.value; view.again(); } } });
  const request = make("input", { id: "request", type: "search", value: chosen.request, maxlength: 256,
    onchange: () => { chosen.request = request.value.trim(); view.again(); } });
  view.show(
    make("h2", {}, "Changes"),
    make("form", { class: "filters", onsubmit: (event) => event.preventDefault() },
      make("label", { for: "request" }, "Request ", request),
      make("label", { for: "id" }, "Change begins with ", id), make("label", { for: "state" }, "State ", state)),
    list, more);
}

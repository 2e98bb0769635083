// The groups, by pages, found by a name or the beginning of an id; those that only the nodes know are among them.
import { read } from "./daemon.js";
import { identifier, make, names, span, table } from "./dom.js";
import { groupLink, standingOf } from "./shapes.js";

const COLUMNS = ["Group", "Members", "State", "Version", "Block"];
const KEPT_MS = 20_000;
let sought = "";
let drawn = null;

const row = (group) => ({
  dataset: { group: group.privacy_group_id },
  cells: [
    [groupLink(group.privacy_group_id), group.managed ? null : span(" not managed yet", "quiet")],
    group.participants.map((key) => [identifier(key), " "]),
    standingOf(group),
    group.version ? identifier(group.version) : "",
    String(group.block_number ?? ""),
  ],
});

/** Return the list of groups; what was read a moment ago is kept: each look at it asks the nodes about every group shown. */
export async function groupFinder(view) {
  if (drawn === null || drawn.view !== view || Date.now() - drawn.at > KEPT_MS) {
    drawn = { view, at: Date.now(), section: await find(view) };
  }
  return drawn.section;
}

async function find(view) {
  const list = make("div", { id: "groups" });
  const more = make("button", { type: "button", hidden: true }, "more");
  let rows = [];
  let next = null;
  let total = 0;
  const draw = () => {
    list.replaceChildren(
      table("Groups", COLUMNS, rows, sought ? "No group is called or begins like that." : "No group is known yet: ask for create_group, or let a node list some."),
      rows.length ? make("p", { class: "quiet" }, `showing ${rows.length} of ${total}`) : "");
    more.hidden = next === null;
  };
  const turn = async (after) => {
    const named = [...names].find(([id, name]) => name === sought && id.length === 44)?.[0];
    const prefix = named ?? sought;
    const query = `${prefix ? `&id=${encodeURIComponent(prefix)}` : ""}${after ? `&after=${encodeURIComponent(after)}` : ""}`;
    const page = await read(`/v1/groups?limit=25${query}`);
    rows = after ? [...rows, ...page.groups.map(row)] : page.groups.map(row);
    next = page.next;
    total = page.total;
    draw();
  };
  const box = make("input", { id: "find", type: "search", value: sought, maxlength: 44, autocomplete: "off",
    onchange: async () => {
      sought = box.value.trim();
      try { await turn(); } catch (error) { list.replaceChildren(make("p", { class: "bad" }, error.message)); }
    } });
  more.addEventListener("click", async () => { view.rest = true; await turn(next); });
  await turn();
  return make("section", { "aria-labelledby": "h-groups" },
    make("h2", { id: "h-groups" }, "Groups"),
    make("form", { class: "filters", onsubmit: (event) => event.preventDefault() },
      make("label", { for: "find" }, "Name, or id begins with ", box)),
    list, more);
}

export async function groups(view) {
  view.show(await groupFinder(view));
}

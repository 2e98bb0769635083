// One group: how each member stands, what was asked for, and asking for more.
import { asking } from "./actions.js";
import { read } from "./daemon.js";
import { facts, identifier, make, names, span, table } from "./dom.js";
import { CHANGE_COLUMNS, changeRow, need, standingOf } from "./shapes.js";

export async function group(view, path) {
  const [one, made, attention] = await Promise.all([
    read(`/v1/groups/${path}`), read(`/v1/changes?group=${path}&limit=20&count=true`), read("/v1/attention"),
  ]);
  view.about = { group: one.privacy_group_id };
  const needs = attention.needs.filter((item) => item.privacy_group_id === one.privacy_group_id);
  const read_at = new Date().toLocaleTimeString();
  view.show(
    make("h2", {}, "Group ", names.get(one.privacy_group_id) ?? ""),
    needs.length ? make("ul", { class: "plain" }, needs.map(need)) : null,
    facts([
      ["Id", make("span", { class: "id" }, one.privacy_group_id)],
      ["State", standingOf(one)],
      ["Version", one.version ? identifier(one.version) : ""],
      ["Compared", one.block_number === null ? "no node shows it now" : `at ${read_at}, block ${one.block_number}`],
    ]),
    make("p", { class: "actions" }, make("button", { type: "button", onclick: () => view.again() }, "compare now")),
    make("section", {}, make("h3", {}, "Members"), standing(one, needs.some((item) => item.slug === "addition_repeated"))),
    asking(view, one),
    make("section", {}, make("h3", {}, `Changes (${made.total})`),
      table("Changes of this group", CHANGE_COLUMNS, made.changes.map(changeRow), "No change was asked for.")),
  );
}

function standing(one, parted) {
  const roots = new Map(); // in the order in which members show them
  for (const member of one.members) if (member.state_root) roots.set(member.state_root, (roots.get(member.state_root) ?? 0) + 1);
  const most = Math.max(0, ...roots.values());
  const rows = one.members.map((member) => {
    const seen = member.exists === null ? span("not seen from here", "quiet")
      : !member.exists ? span("has no such group", "bad")
      // Those that an addition parted may be more than the others: their number says nothing of who is right.
      : parted && roots.size > 1 ? span(`state ${[...roots.keys()].indexOf(member.state_root) + 1} of ${roots.size}`, "warn")
      : roots.get(member.state_root) === most ? span("agrees", roots.size > 1 && most * 2 <= one.members.length ? "warn" : "good")
      : span("differs", "bad");
    return { cells: [identifier(member.enclave_key), member.node ?? "another organisation's", seen,
      member.head === null ? "" : String(member.head), member.state_root ? identifier(member.state_root) : ""] };
  });
  return table("Members", ["Member", "Node", "State", "Head", "State root"], rows, "No node shows the group now.");
}

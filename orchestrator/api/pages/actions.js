// What an operator can do from here: each shows what would happen first, and asks for a reason where it breaks a lock.
import { pathId, read, send } from "./daemon.js";
import { identifier, make, names, notice, prose, span } from "./dom.js";

async function doing(view, button, work) {
  button.disabled = true;
  try {
    await work();
    view.again();
  } catch (error) {
    const more = error.status === 403 || error.status === 401 ? "you may not: " : "";
    notice(`${more}${error.message}`, "bad");
  } finally {
    button.disabled = false;
  }
}

export function retry(view, change) {
  if (change.state !== "parked") return null;
  const button = make("button", { type: "button", class: "main" }, "retry");
  button.addEventListener("click", () => doing(view, button, async () => {
    await send("POST", `/v1/changes/${encodeURIComponent(change.change_id)}/retry`);
    notice("queued again");
  }));
  return button;
}

export function cancel(view, change) {
  if (change.ended) return null;
  const reason = make("input", { id: "reason", required: true, maxlength: 200, autocomplete: "off" });
  const button = make("button", { type: "submit" }, "cancel it");
  const held = change.lock_block === null ? "" : "The group is locked for it: what was sent is taken back first, and the group is unlocked. ";
  return make("details", {}, make("summary", {}, "cancel…"),
    make("form", { onsubmit: (event) => {
      event.preventDefault();
      doing(view, button, async () => {
        await send("POST", `/v1/changes/${encodeURIComponent(change.change_id)}/cancel`, { reason: reason.value });
        notice("cancelled, or being undone");
      });
    } }, make("p", {}, held, "What was done already stays done."), make("label", { for: "reason" }, "Why ", reason), " ", button));
}

const KINDS = [["add_members", "add"], ["remove_members", "remove"], ["set_members", "set exactly"], ["unlock_group", "unlock"], ["cure_group", "cure"]];

/** Return the form that asks for a change of a group. */
export function asking(view, group) {
  const kind = make("select", { id: "kind" }, KINDS.map(([value, text]) => make("option", { value }, text)));
  const members = make("input", { id: "members", list: "known", autocomplete: "off" });
  const known = make("datalist", { id: "known" }, [...names].filter(([key]) => key !== group.privacy_group_id).map(([, name]) => make("option", { value: name })));
  const reason = make("input", { id: "why", maxlength: 200, autocomplete: "off" });
  const why = make("label", { for: "why", hidden: true }, "Why ", reason);
  const transaction = make("input", { id: "transaction", pattern: "0x[0-9a-fA-F]{64}", autocomplete: "off" });
  const which = make("label", { for: "transaction", hidden: true }, "Transaction that some executed and others refused ", transaction);
  const plan = make("div", { class: "plan", "aria-live": "polite" });
  const look = make("button", { type: "submit" }, "show what would happen");
  kind.addEventListener("change", () => {
    const curing = kind.value === "cure_group";
    const unlocking = kind.value === "unlock_group";
    why.hidden = !unlocking && !curing;
    reason.required = unlocking || curing;
    which.hidden = !curing;
    transaction.required = curing;
    members.disabled = unlocking;
    plan.replaceChildren();
  });
  members.addEventListener("input", () => plan.replaceChildren());
  const form = make("form", { onsubmit: (event) => {
    event.preventDefault();
    doing({ again: () => {} }, look, () => show());
  } }, make("label", { for: "kind" }, "What ", kind), " ", make("label", { for: "members" }, "Members: names or enclave keys, with spaces between ", members), known, " ", which, " ", why, " ", look);

  async function show() {
    const wanted = kind.value === "unlock_group" ? [] : chosen(members.value);
    if (kind.value !== "unlock_group" && wanted.length === 0) throw new Error("name at least one member");
    const { told, unsafe } = await forecast(group, kind.value, wanted);
    // What is unsafe is not done when it is asked for: it waits or is parked, and that should be meant.
    const yes = unsafe ? "ask all the same: it waits or is parked" : `yes, ${KINDS.find(([value]) => value === kind.value)[1]}`;
    const button = make("button", { type: "button", class: unsafe ? "" : "main" }, yes);
    button.addEventListener("click", () => doing(view, button, async () => {
      const asked = await send("POST", "/v1/changes", { kind: kind.value, privacy_group_id: group.privacy_group_id, ...(wanted.length ? { members: wanted } : {}), ...(reason.required ? { reason: reason.value } : {}), ...(transaction.required ? { transaction: transaction.value } : {}) });
      notice("accepted");
      location.hash = `#/changes/${encodeURIComponent(asked.change_id)}`;
    }));
    plan.replaceChildren(...told, button);
  }
  return make("section", { "aria-labelledby": "h-ask" }, make("h3", { id: "h-ask" }, "Ask for a change"), form, plan);
}

function chosen(text) {
  const keys = new Map([...names].map(([key, name]) => [name, key]));
  return text.split(/[\s,]+/).filter(Boolean).map((word) => keys.get(word) ?? word);
}

/** Return whether members could be added again after their removal, in paragraphs; not knowing it prevents nothing. */
async function wayBack(group, leaving) {
  const query = leaving.map((key) => `members=${encodeURIComponent(key)}`).join("&");
  try {
    const found = await read(`/v1/groups/${pathId(group.privacy_group_id)}/forecast/removal?${query}`);
    const said = [make("p", { class: found.outlook === "safe" ? "quiet" : "warn" }, "To add them again later: ", prose(found.verdict))];
    if (found.closed_block !== null) {
      said.push(make("p", { class: "warn" }, `No node can replay block ${found.closed_block} of the group: a key on another node, or a node whose data was deleted, can't come in their place.`));
    }
    return said;
  } catch (error) {
    if (error.status === 401) throw error;
    return [make("p", { class: "warn" }, `Whether they could be added again is not known: ${error.message}`)];
  }
}

/** Return what would happen, in paragraphs, and whether it would do harm. */
async function forecast(group, kind, wanted) {
  const said = [];
  let unsafe = false;
  const present = new Set(group.participants);
  const coming = kind === "remove_members" || kind === "unlock_group" ? [] : wanted.filter((key) => !present.has(key));
  const going = kind === "remove_members" ? wanted : kind === "set_members" ? group.participants.filter((key) => !wanted.includes(key)) : [];
  if (kind === "unlock_group") {
    said.push(make("p", { class: "warn" }, "Unlocks the group, whoever locked it. A client that still works under that lock is cut off in the middle: be sure that it is gone."));
  }
  if (kind === "cure_group") {
    for (const key of wanted) said.push(make("p", {}, "removes and adds again ", identifier(key)));
    said.push(make("p", { class: "warn" }, "Through a member's node that refused the transaction; whether these members executed it, and whether they can come back, is looked at before anything is removed."));
    return { told: said, unsafe };
  }
  for (const key of going) said.push(make("p", {}, "removes ", identifier(key), present.has(key) ? ": its node keeps what it has seen so far" : " (is no member)"));
  for (const key of coming) said.push(make("p", {}, "adds ", identifier(key)));
  if (coming.length) {
    const query = coming.map((key) => `members=${encodeURIComponent(key)}`).join("&");
    const found = await read(`/v1/groups/${pathId(group.privacy_group_id)}/forecast?${query}`);
    const tone = { safe: "good", unsafe: "bad", unknown: "warn" }[found.outlook];
    unsafe = found.outlook === "unsafe";
    said.push(make("p", {}, span(`forecast: ${found.outlook}: `, tone), found.verdict));
    for (const member of found.members) {
      said.push(make("p", { class: "quiet" }, identifier(member.enclave_key), ` replays ${member.blocks_to_replay} blocks, ${member.transactions_to_replay} transactions`));
    }
    for (const way of found.returns ?? []) {
      said.push(make("p", { class: "warn" }, identifier(way.enclave_key), ` ${way.certain ? "can't" : "may not"} return to group `, identifier(way.privacy_group_id), ` after it: ${way.detail}`));
    }
  }
  const leaving = going.filter((key) => present.has(key));
  if (leaving.length) said.push(...(await wayBack(group, leaving)));
  if (said.length === 0) said.push(make("p", {}, "Nothing would change: the group is so already."));
  return { told: said, unsafe };
}

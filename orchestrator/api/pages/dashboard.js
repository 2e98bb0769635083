"use strict";

// Everything that is shown comes through textContent: nothing that others wrote becomes markup.
const SHOWN_CHANGES = 100;
const SHOWN_EVENTS = 200;
const KINDS = ["accepted", "started", "progressed", "succeeded", "failed", "parked", "cancelled"];
const GROUP_NEWS = ["locking", "locked", "unlocked", "members_changed", "diverged", "converged", "joining", "joined", "unextendable", "guarded", "addition_repeated"];
const TYPES = [
  ...KINDS.map((name) => `membership.change.${name}.v1`),
  ...GROUP_NEWS.map((name) => `membership.group.${name}.v1`),
  "membership.request.rejected.v1",
];
const TONE = { succeeded: "good", failed: "bad", parked: "warn", cancelled: "quiet", queued: "quiet" };

const changes = new Map();
const groups = new Map();
const due = new Map();

const place = (id) => document.getElementById(id);

function element(name, text, tone) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (tone) made.className = tone;
  return made;
}

function short(id) {
  return id.length > 14 ? `${id.slice(0, 12)}…` : id;
}

function identifier(id) {
  const made = element("span", short(id), "id");
  made.title = id;
  return made;
}

function row(...cells) {
  const made = document.createElement("tr");
  for (const cell of cells) {
    const td = document.createElement("td");
    td.append(...[cell].flat());
    made.append(td);
  }
  return made;
}

function progressOf(change) {
  const list = document.createElement("ul");
  for (const member of change.progress) {
    const item = document.createElement("li");
    const total = member.blocks_total;
    if (total > 0) {
      const bar = document.createElement("progress");
      bar.max = total;
      bar.value = member.blocks_replayed;
      bar.setAttribute("aria-label", `blocks replayed by ${member.enclave_key}`);
      item.append(bar, " ");
    }
    let counted = total > 0 ? ` ${member.blocks_replayed} of ${total} blocks` : "";
    if (member.remaining_seconds) counted += `, about ${Math.round(member.remaining_seconds)} s left`;
    const tone = { in_sync: "good", replaying: "", unobserved: "quiet" }[member.verdict] ?? "warn";
    item.append(identifier(member.enclave_key), " ", element("span", member.verdict.replace("_", " ") + counted, tone));
    list.append(item);
  }
  if (change.reason) list.append(element("li", change.reason.message, change.state === "failed" ? "bad" : "warn"));
  return list;
}

function showChanges() {
  const newest = [...changes.values()].sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
  for (const old of newest.splice(SHOWN_CHANGES)) changes.delete(old.change_id);
  const rows = newest.map((change) => {
    const asked = `${change.kind.replace("_", " ")} (${change.members.length})`;
    const made = row(
      identifier(change.change_id),
      [asked, element("div", new Date(change.created_at).toLocaleString(), "quiet")],
      identifier(change.privacy_group_id),
      element("span", change.state, TONE[change.state] ?? ""),
      progressOf(change),
    );
    made.dataset.change = change.change_id;
    made.dataset.state = change.state;
    return made;
  });
  if (rows.length) place("changes").replaceChildren(...rows);
}

function showGroups() {
  const rows = [...groups.values()].map((group) => {
    const members = document.createElement("ul");
    for (const key of group.participants) {
      const item = document.createElement("li");
      item.append(identifier(key));
      members.append(item);
    }
    const locked = group.locked === null ? ["not seen", "quiet"] : group.locked ? ["locked", "warn"] : ["open", "good"];
    const state = [element("span", ...locked)];
    if (group.in_sync !== null) {
      state.push(", ", element("span", group.in_sync ? "in sync" : "members differ", group.in_sync ? "good" : "bad"));
    }
    const made = row(
      identifier(group.privacy_group_id), members, state, identifier(group.version), String(group.block_number ?? ""),
    );
    made.dataset.group = group.privacy_group_id;
    return made;
  });
  if (rows.length) place("groups").replaceChildren(...rows);
}

function showEvent(event) {
  const log = place("log");
  const what = event.type.replace(/^membership\.|\.v1$/g, "");
  const item = element("li");
  const when = event.time ? new Date(event.time).toLocaleTimeString() : "";
  item.append(element("span", `${when} `, "quiet"), what, " ");
  if (event.subject) item.append(identifier(event.subject));
  log.prepend(item);
  while (log.children.length > SHOWN_EVENTS) log.lastElementChild.remove();
}

async function read(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

// Many events can arrive together: each thing is read at most four times a second.
function soon(key, task) {
  if (due.has(key)) return;
  due.set(key, setTimeout(async () => {
    due.delete(key);
    try { await task(); } catch (error) { console.warn(String(error)); }
  }, 250));
}

function readChange(id) {
  soon(`change ${id}`, async () => {
    changes.set(id, await read(`/v1/changes/${encodeURIComponent(id)}`));
    showChanges();
  });
}

function readGroup(id) {
  soon(`group ${id}`, async () => {
    const pathId = id.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    groups.set(id, await read(`/v1/groups/${pathId}`));
    showGroups();
  });
}

async function readAll() {
  for (const change of (await read(`/v1/changes?limit=${SHOWN_CHANGES}`)).changes) changes.set(change.change_id, change);
  showChanges();
  for (const group of (await read("/v1/groups?limit=200")).groups) groups.set(group.privacy_group_id, group);
  showGroups();
}

const RECONNECT_MS = 2000;

function listen() {
  const source = new EventSource("/v1/events");
  const say = (text, tone) => {
    place("connection").textContent = text;
    place("connection").className = tone;
  };
  source.onopen = () => {
    say("live", "good");
    soon("all", readAll);
  };
  source.onerror = () => {
    say("disconnected, trying again…", "warn");
    // A proxy that answers for a daemon that is away ends an EventSource for good; everything is read again when open.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, RECONNECT_MS);
  };
  for (const type of TYPES) {
    source.addEventListener(type, (message) => {
      const event = JSON.parse(message.data);
      showEvent(event);
      const changeId = event.data?.change_id ?? event.change_id ?? event.changeid;
      if (changeId) readChange(changeId);
      if (event.subject && (type.startsWith("membership.group.") || type.endsWith("succeeded.v1"))) readGroup(event.subject);
    });
  }
}

listen();

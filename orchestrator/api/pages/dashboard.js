// The page: which view is shown, how it keeps up, and whether what it shows is new.
import { listen, read, send, silence } from "./daemon.js";
import { make, names } from "./dom.js";
import { duration } from "./times.js";
import { change } from "./view_change.js";
import { changes } from "./view_changes.js";
import { group } from "./view_group.js";
import { groups } from "./view_groups.js";
import { nodes } from "./view_nodes.js";
import { overview } from "./view_overview.js";

const ROUTES = [
  [/^#?\/?$/, overview], [/^#\/changes$/, changes], [/^#\/changes\/([A-Za-z0-9_-]{1,64})$/, change],
  [/^#\/groups$/, groups], [/^#\/groups\/([A-Za-z0-9_-]{43})$/, group], [/^#\/nodes$/, nodes],
];
const SOON_MS = 500;
const REFRESH_MS = 10_000;
const OLD_SECONDS = 15;
const PRESS_MS = 1000;

let shown = null;
let timer = null;
let pressedUntil = 0;

/** One visit of a view: it draws by `show`, and is asked to draw again when something happened. */
class View {
  constructor(draw, parts) {
    Object.assign(this, { draw, parts, about: {}, rest: false, drawing: false, asked: false, missed: false, wanted: false });
  }

  /** Draw again: because somebody `asked`, or by itself, which waits for whoever has something in hand. */
  async again(asked = true) {
    if (this.drawing) { this.missed = true; this.wanted ||= asked; return; }
    this.drawing = true;
    do {
      Object.assign(this, { asked, missed: false, wanted: false });
      try {
        await this.draw(this, ...this.parts);
      } catch (error) {
        if (shown === this) this.fail(error);
      }
      asked = true;
    } while (this.wanted && shown === this);
    this.drawing = false;
    if (this.missed && shown === this) soon();
  }

  show(...children) {
    if (shown !== this) return;
    // Something may have been taken in hand while this was read.
    if (!this.asked && (this.rest || busy())) { this.missed = true; return; }
    const main = document.getElementById("main");
    const place = main.querySelector("#stack") ?? make("div", { id: "stack" });
    place.replaceChildren(...children.filter(Boolean));
    main.replaceChildren(place);
    this.drawn = true;
  }

  fail(error) {
    const text = error.status === 404 ? error.message : `can't be read now: ${error.message}`;
    if (!this.drawn || error.status) this.show(make("p", { class: "bad", role: "alert" }, text));
  }
}

/** Whether somebody types, chooses, presses or waits: what they have in hand is not taken away by a new drawing. */
function busy() {
  const main = document.getElementById("main");
  const held = main.contains(document.activeElement) && /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
  const typed = [...main.querySelectorAll("form:not(.filters) input")].some((input) => input.value !== input.defaultValue);
  // A click on what is drawn anew between press and release is lost. A release outside of the window is not heard of.
  return held || typed || Date.now() < pressedUntil
    || main.querySelector(".plan button, .actions details[open], details[open] pre, button:disabled") !== null;
}

function soon(delay = SOON_MS) {
  if (timer !== null) return;
  timer = setTimeout(() => {
    timer = null;
    if (!shown || shown.rest) return;
    if (busy()) soon(); else shown.again(false);
  }, delay);
}

function route() {
  const found = ROUTES.map(([pattern, draw]) => [pattern.exec(location.hash), draw]).find(([match]) => match);
  const [match, draw] = found ?? [[], overview];
  shown = new View(draw, match.slice(1));
  document.getElementById("main").replaceChildren(make("p", { class: "quiet" }, "loading…"));
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.getAttribute("href") === (location.hash || "#/").split("/").slice(0, 2).join("/");
    if (here) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  shown.again();
}

async function learnNames() {
  try {
    const known = await read("/v1/names");
    for (const node of known.nodes) for (const [place, key] of node.enclave_keys.entries()) names.set(key, place ? `${node.name}/${place + 1}` : node.name);
    for (const named of known.groups) names.set(named.privacy_group_id, named.name);
  } catch { /* ids are shown instead */ }
}

async function showCaller() {
  const caller = await read("/v1/session");
  if (!caller.name) return;
  document.getElementById("caller-name").textContent = `${caller.name} (${caller.role})`;
  document.getElementById("sign-out").onclick = async () => {
    await send("DELETE", "/v1/session");
    location.reload();
  };
  document.getElementById("caller").hidden = false;
}

function tellAge() {
  const stale = document.getElementById("stale");
  const seconds = silence();
  stale.hidden = seconds < OLD_SECONDS;
  if (!stale.hidden) stale.textContent = `The daemon has not answered for ${duration(seconds)}: what is shown is as old as that.`;
}

function say(connected) {
  const place = document.getElementById("connection");
  place.textContent = connected ? "live" : "disconnected, trying again…";
  place.className = connected ? "good" : "warn";
}

document.addEventListener("pointerdown", () => { pressedUntil = Date.now() + PRESS_MS; });
for (const release of ["pointerup", "pointercancel"]) document.addEventListener(release, () => { pressedUntil = 0; });
window.addEventListener("hashchange", () => { route(); document.getElementById("main").focus(); });
setInterval(tellAge, 1000);
setInterval(() => soon(), REFRESH_MS);
showCaller().catch(() => { /* who it is matters less than what there is */ });
learnNames().then(() => {
  route();
  listen(
    (event) => {
      const { group: about } = shown.about;
      if (!about || !event.subject || event.subject === about) soon();
    },
    (connected) => { say(connected); if (connected) learnNames().then(() => soon()); },
  );
});

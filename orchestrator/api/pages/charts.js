// Small charts of the daemon's own metrics, sampled while this page is open; with a table for those who don't see them.
import { make } from "./dom.js";

const KEPT = 60;
const EVERY_MS = 5000;
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 240;
const HEIGHT = 48;

const FIGURES = [
  ["Changes that ended, a minute", (now, before) => rate(now, before, "orchestrator_changes_total", 60)],
  ["Steps, a minute", (now, before) => rate(now, before, "orchestrator_transitions_total", 60)],
  ["Proofs (succeeded), a minute", (now, before) => rate(now, before, "orchestrator_changes_total", 60, 'state="succeeded"')],
  ["Lanes at work", (now) => sum(now, "orchestrator_lanes")],
  ["Blocks a lock was held, on average", (now, before) => mean(now, before, "orchestrator_lock_blocks")],
  ["Oldest unpublished event, s", (now) => sum(now, "orchestrator_oldest_unpublished_seconds")],
];

const samples = [];

function parse(text) {
  const values = [];
  for (const line of text.split("\n")) {
    const found = /^([a-z_]+)(\{[^}]*\})? ([0-9.eE+-]+)$/.exec(line);
    if (found) values.push([found[1], found[2] ?? "", Number(found[3])]);
  }
  return { at: Date.now(), values };
}

const sum = (sampled, name, label = "") =>
  sampled.values.filter(([known, labels]) => known === name && labels.includes(label)).reduce((all, [, , value]) => all + value, 0);

function rate(now, before, name, seconds, label = "") {
  return before ? ((sum(now, name, label) - sum(before, name, label)) * seconds * 1000) / (now.at - before.at) : null;
}

function mean(now, before, name) {
  if (!before) return null;
  const count = sum(now, `${name}_count`) - sum(before, `${name}_count`);
  return count > 0 ? (sum(now, `${name}_sum`) - sum(before, `${name}_sum`)) / count : null;
}

/** Read the metrics, unless that was done just now. */
export async function sample() {
  if (samples.length && Date.now() - samples.at(-1).at < EVERY_MS) return;
  try {
    const response = await fetch("/metrics", { headers: { Accept: "text/plain" } });
    if (response.ok) samples.push(parse(await response.text()));
    if (samples.length > KEPT) samples.shift();
  } catch { /* the banner tells that the daemon is away */ }
}

/** Return the charts. */
export function chart() {
  return FIGURES.map(([title, figure]) =>
    drawing(title, samples.map((now, place) => ({ at: now.at, value: figure(now, samples[place - 1]) })).filter(({ value }) => value !== null)));
}

/** Return one chart of points ({at, value}), oldest first: bars with their numbers on hover, and the same as a table. */
export function drawing(title, points) {
  const kept = points.slice(-KEPT);
  const last = kept.at(-1)?.value;
  const said = last === undefined ? "nothing yet" : round(last);
  return make("figure", {}, make("figcaption", {}, title, make("strong", {}, said)), bars(title, kept), reading(title, kept));
}

const round = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(1));

function bars(title, points) {
  const drawn = document.createElementNS(SVG, "svg");
  drawn.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  drawn.setAttribute("role", "img");
  drawn.setAttribute("aria-label", `${title}: ${points.length} values, see the table`);
  const top = Math.max(1, ...points.map(({ value }) => value));
  const width = WIDTH / KEPT;
  points.forEach(({ at, value }, place) => {
    const bar = document.createElementNS(SVG, "rect");
    const height = Math.max(1, (value / top) * (HEIGHT - 2));
    for (const [name, number] of Object.entries({ x: place * width, y: HEIGHT - height, width: width - 1, height })) {
      bar.setAttribute(name, String(number));
    }
    const hover = document.createElementNS(SVG, "title");
    hover.textContent = `${new Date(at).toLocaleTimeString()}: ${round(value)}`;
    bar.append(hover);
    drawn.append(bar);
  });
  return drawn;
}

function reading(title, points) {
  return make("table", { class: "unseen" }, make("caption", {}, title),
    make("tbody", {}, points.slice(-10).map(({ at, value }) => make("tr", {}, make("td", {}, new Date(at).toLocaleTimeString()), make("td", {}, round(value))))));
}

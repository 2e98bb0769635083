// Times as people read them: how long ago, with the exact time to be read beside it.
import { make } from "./dom.js";

const STEPS = [[60, "s", 1], [3600, "min", 60], [86400, "h", 3600], [Infinity, "d", 86400]];

/** Return a duration in seconds in its largest unit. */
export function duration(seconds) {
  if (seconds > 0 && seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.max(0, Math.round(seconds));
  const [, unit, size] = STEPS.find(([bound]) => whole < bound);
  return `${Math.floor(whole / size)} ${unit}`;
}

/** Return which time it is so many seconds after another, by this machine's clock. */
export function clock(text, seconds) {
  return new Date(new Date(text).getTime() + seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
}

/** Return how long ago a time is; it goes on by itself while it is shown. */
export function ago(text) {
  if (!text) return "";
  const made = make("time", { datetime: text, title: new Date(text).toLocaleString() });
  made.textContent = say(text);
  return made;
}

function say(text) {
  const seconds = (Date.now() - new Date(text).getTime()) / 1000;
  return seconds < -1 ? `in ${duration(Math.ceil(-seconds))}` : `${duration(Math.floor(seconds))} ago`;
}

setInterval(() => {
  for (const shown of document.querySelectorAll("time[datetime]")) {
    const text = say(shown.getAttribute("datetime"));
    if (shown.textContent !== text) shown.textContent = text;
  }
}, 1000);

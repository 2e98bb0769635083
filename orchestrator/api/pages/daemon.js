// Talking to the daemon: reading, asking, and hearing what happens. Knows how old the picture is.

const RECONNECT_MS = 2000;
const OPEN_MS = 10_000;
const QUIET_MS = 1500;
const CHANGE_NEWS = ["accepted", "started", "progressed", "succeeded", "failed", "parked", "cancelled"];
const GROUP_NEWS = ["locking", "locked", "unlocked", "members_changed", "diverged", "converged", "joining", "joined", "unextendable", "guarded", "addition_repeated", "addition_unexpected"];
export const TYPES = [
  ...CHANGE_NEWS.map((name) => `membership.change.${name}.v1`),
  ...GROUP_NEWS.map((name) => `membership.group.${name}.v1`),
  "membership.request.rejected.v1",
  "membership.node.standing_still.v1",
  "membership.node.moving.v1",
  "membership.node.ahead.v1",
];

let answeredAt = Date.now();

/** Seconds since the daemon answered last. */
export const silence = () => (Date.now() - answeredAt) / 1000;

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `the daemon answered ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

async function ask(path, options) {
  const response = await fetch(path, { ...options, headers: { Accept: "application/json", ...options?.headers } });
  answeredAt = Date.now();
  if (response.ok) return response.status === 204 ? null : response.json();
  if (response.status === 401) location.reload(); // the token ended: the same address shows where to sign in
  let problem = {};
  try { problem = await response.json(); } catch { /* a proxy that answers for the daemon sends no document */ }
  throw new Refused(response.status, problem);
}

export const read = (path) => ask(path);

/** Ask for something that changes something; a key makes sending it again safe. */
export function send(method, path, body) {
  const headers = { "Idempotency-Key": `page-${crypto.randomUUID()}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  return ask(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
}

export const pathId = (group) => group.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

/** Hear all status events, for ever: `onEvent(event)`, and `onState(connected)` whenever that changes. */
export function listen(onEvent, onState) {
  const source = new EventSource("/v1/events");
  source.onopen = () => { answeredAt = Date.now(); onState(true); };
  source.onerror = () => {
    onState(false);
    // A proxy that answers for a daemon that is away ends an EventSource for good; everything is read again when open.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => listen(onEvent, onState), RECONNECT_MS);
  };
  for (const type of TYPES) {
    source.addEventListener(type, (message) => {
      answeredAt = Date.now();
      onEvent(JSON.parse(message.data));
    });
  }
}

/** Return the kept events of a change, oldest first: those that come before the open stream is quiet for a while. */
export function eventsOf(changeId) {
  return new Promise((resolve) => {
    const found = [];
    const source = new EventSource(`/v1/events?change=${encodeURIComponent(changeId)}&last_event_id=0`);
    let quiet = setTimeout(done, OPEN_MS);
    function done() { clearTimeout(quiet); source.close(); resolve(found); }
    function wait() { clearTimeout(quiet); quiet = setTimeout(done, QUIET_MS); }
    source.onopen = wait;
    source.onerror = done;
    for (const type of TYPES) {
      source.addEventListener(type, (message) => {
        found.push(JSON.parse(message.data));
        if (found.length >= 500) done(); else wait();
      });
    }
  });
}

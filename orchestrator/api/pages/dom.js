// Building what is shown. Everything comes in through textContent: nothing that others wrote becomes markup.

/** Return an element with attributes and children; a child is an element, text, or a list of these. */
export function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "dataset") Object.assign(made.dataset, value);
    else if (key === "class") made.className = value;
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

export const span = (text, tone) => make("span", { class: tone }, text);

export function short(id) {
  return id.length > 14 ? `${id.slice(0, 12)}…` : id;
}

/** Return an id in short, with the whole of it to be read and copied. */
export function identifier(id, href) {
  const name = names.get(id);
  const text = name ?? short(id);
  const look = { class: name ? "name" : "id", title: id };
  return href ? make("a", { ...look, href }, text) : make("span", look, text);
}

/** Return text in which keys and ids that have a name are shown by it. */
export function named(text) {
  return text.split(/([A-Za-z0-9+/]{43}=)/).map((part, place) => (place % 2 && names.has(part) ? identifier(part) : part));
}

/** What people call groups and members, by id. */
export const names = new Map();

/** Return a table whose rows become cards on a narrow screen: each cell knows its column. */
export function table(caption, columns, rows, empty) {
  if (rows.length === 0) return make("p", { class: "quiet" }, empty);
  const body = rows.map(({ cells, dataset }) =>
    make("tr", { dataset }, cells.map((cell, place) => make("td", { "data-label": columns[place] }, make("div", {}, cell)))),
  );
  return make(
    "table", {},
    make("caption", { class: "unseen" }, caption),
    make("thead", {}, make("tr", {}, columns.map((column) => make("th", { scope: "col" }, column)))),
    make("tbody", {}, body),
  );
}

/** Return terms with what is to be said of each; what is empty is left out. */
export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return make("dl", {}, known.map(([term, value]) => make("div", {}, make("dt", {}, term), make("dd", {}, value))));
}

/** Return a command with a button that copies it. */
export function command(text) {
  const button = make("button", { type: "button", class: "small", "aria-label": `copy ${text}` }, "copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "copied";
    } catch {
      button.textContent = "not allowed";
    }
    setTimeout(() => { button.textContent = "copy"; }, 2000);
  });
  return make("div", { class: "command" }, make("code", {}, text), button);
}

/** Return text in which what stands between backticks is something to type. */
export function prose(text) {
  return text.split("`").map((part, place) => (place % 2 ? make("code", {}, part) : part));
}

export function notice(text, tone = "") {
  const made = make("p", { class: `notice ${tone}` }, text);
  document.getElementById("notices").append(made);
  setTimeout(() => made.remove(), 8000);
}

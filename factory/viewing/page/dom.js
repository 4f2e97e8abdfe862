// Elements without markup: whatever a record holds ends up as a text node.

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

export function shape(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

const MOST_MARKS = 500; // in one text
export const $ = (id) => document.getElementById(id);
export const count = (number) => Number(number).toLocaleString("en-GB");
export const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
export const digits = (number) => String(Number(Number(number).toPrecision(4)));

// Where a text shows what was searched for.
export function marked(text, query) {
  const wanted = query.toLowerCase(), small = text.toLowerCase();
  if (!wanted || small.length !== text.length) return [text];
  const parts = [];
  let at = 0, found = small.indexOf(wanted);
  while (found >= 0 && parts.length < 2 * MOST_MARKS) {
    parts.push(text.slice(at, found), make("mark", {}, text.slice(found, found + wanted.length)));
    at = found + wanted.length;
    found = small.indexOf(wanted, at);
  }
  return [...parts, text.slice(at)];
}

const SHORT = { kept: "kept", rejected: "rejected", "on the way": "way", "source row": "source" };
export const chip = (state) => make("span", { class: `chip ${SHORT[state] ?? ""}` }, state);

export async function ask(name, query = {}) {
  const parameters = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  return answered(await fetch(`/api/${name}?${parameters}`));
}

export async function tell(name, value) {
  return answered(await fetch(`/api/${name}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) }));
}

async function answered(response) {
  const said = await response.json();
  if (!response.ok) throw new Error(said.error);
  return said;
}

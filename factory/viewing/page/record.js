// One record: fields, verdict beside the nearest text, lineage as a tree, prompts and completions.
import { $, ask, chip, count, digits, make, marked, plural } from "./dom.js";

const MOST_WORDS = 700;

export function shown(told, { query, open, close, mark, writable }) {
  const record = $("record");
  const parts = [head(told, close, mark, writable), verdict(told), fields(told, query), lineage(told, open), children(told, open), exchanges(told), provenance(told)];
  record.replaceChildren(...parts.filter(Boolean));
}

function head(told, close, mark, writable) {
  const said = told.mark?.mark;
  const buttons = ["good", "bad"].map((name) =>
    make("button", { class: `mark ${name}`, "aria-pressed": String(said === name), disabled: !writable, title: writable ? `Mark ${name} (${name[0]})` : "Start factory view with --marks to mark records", onclick: () => mark(told, said === name ? null : name) }, name));
  const note = make("input", { class: "note", type: "text", maxlength: 2000, placeholder: "note", "aria-label": "Note", value: told.mark?.note ?? "" });
  note.addEventListener("change", () => mark(told, said ?? "good", note.value));
  return make("div", {}, make("div", { class: "head" },
    make("button", { id: "close", onclick: close, title: "Back to the list (Esc)" }, "‹ back"), chip(told.state), make("code", { class: "id" }, told.id), make("span", { class: "grow" }), ...(writable || said ? buttons : [])),
    writable && said ? note : said && told.mark.note ? make("p", { class: "dim" }, `Note: ${told.mark.note}`) : null);
}

function verdict(told) {
  const said = told.verdict;
  if (!said) return null;
  const numbers = [said.score !== null ? `score ${digits(said.score)}` : "", said.threshold !== null ? `threshold ${digits(said.threshold)}` : ""].filter(Boolean).join(", ");
  const box = make("div", { class: "box verdict" }, make("b", {}, `${said.rule}: ${said.reason}`), ` in ${told.step}`, numbers ? make("div", { class: "dim" }, numbers) : null);
  const own = said.evidence ? nearestField(told.fields, said.evidence) : null;
  const twin = own && ["too_similar", "copy_of_ground", "in_benchmark", "duplicate", "identical", "too_close"].some((one) => said.reason.includes(one));
  if (twin) {
    const [left, right] = compared(own.text, said.evidence);
    box.append(make("div", { class: "sides" },
      make("div", {}, make("h3", {}, `this record: ${own.name}`), make("pre", { class: "value" }, ...left)),
      make("div", {}, make("h3", {}, "nearest text"), make("pre", { class: "value" }, ...right))));
  } else if (said.evidence) box.append(make("h3", {}, "evidence"), make("pre", { class: "value" }, said.evidence));
  return make("section", {}, make("h2", {}, "Verdict"), box);
}

const words = (text) => text.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];

function nearestField(fields, text) {
  const wanted = new Set(words(text.toLowerCase()));
  let best = null, most = 0;
  for (const field of fields) {
    const own = new Set(words(field.text.toLowerCase()).filter((word) => word.trim()));
    const shared = [...own].filter((word) => wanted.has(word)).length / Math.max(1, own.size);
    if (shared > most) [best, most] = [field, shared];
  }
  return best;
}

// Both texts, with the words that only one of them has.
export function compared(one, other) {
  const left = words(one), right = words(other);
  if (left.length > MOST_WORDS || right.length > MOST_WORDS) return [[one], [other]];
  const rows = left.length + 1, width = right.length + 1, table = new Uint16Array(rows * width);
  for (let i = left.length - 1; i >= 0; i--)
    for (let j = right.length - 1; j >= 0; j--)
      table[i * width + j] = left[i] === right[j] ? table[(i + 1) * width + j + 1] + 1 : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
  const sides = [[], []];
  const put = (side, tag, text) => {
    const last = sides[side].at(-1);
    if (last?.tag === tag) last.text += text;
    else sides[side].push({ tag, text });
  };
  let i = 0, j = 0;
  while (i < left.length || j < right.length) {
    if (i < left.length && j < right.length && left[i] === right[j]) { put(0, "", left[i++]); put(1, "", right[j++]); }
    else if (j >= right.length || (i < left.length && table[(i + 1) * width + j] >= table[i * width + j + 1])) put(0, "del", left[i++]);
    else put(1, "ins", right[j++]);
  }
  return sides.map((side) => side.map((part) => (part.tag ? make(part.tag, {}, part.text) : part.text)));
}

function fields(told, query) {
  const section = make("section", { "aria-label": "Fields" });
  for (const field of told.fields)
    section.append(make("h3", {}, field.name), field.kind === "null" ? make("span", { class: "dim" }, "null") : field.text === "" ? make("span", { class: "dim" }, "empty") : make("pre", { class: "value", "data-field": field.name }, ...marked(field.text, query)));
  return section;
}

function lineage(told, open) {
  const ancestors = told.ancestors;
  if (ancestors.length < 2 && !told.unknown_parents) return null;
  const byRow = new Map(ancestors.map((one) => [one.row, one]));
  const drawn = new Set();
  const branch = (one) => {
    const again = drawn.has(one.row);
    drawn.add(one.row);
    const item = make("li", {}, again ? make("span", { class: "dim" }, `${short(one)} (above)`) : entry(one, open, one.row === ancestors[0].row));
    if (!again && one.parents.length) item.append(make("ul", {}, ...one.parents.map((row) => branch(byRow.get(row)))));
    return item;
  };
  const section = make("section", {}, make("h2", {}, `Lineage: made from ${plural(ancestors.length - 1 + told.more_ancestors, "record")}`), make("ul", { class: "tree", id: "tree" }, branch(ancestors[0])));
  if (told.more_ancestors) section.append(make("p", { class: "dim" }, `${count(told.more_ancestors)} more; open a record to go on from there.`));
  if (told.unknown_parents) section.append(make("p", { class: "dim" }, `${plural(told.unknown_parents, "parent")} cannot be shown (yet): the directory does not hold them.`));
  return section;
}

const short = (one) => one.text.slice(0, 60) || one.key;

function entry(one, open, self) {
  const what = `${one.step}${one.state === "rejected" ? ` (${one.reason})` : ""}`;
  if (self) return make("b", {}, "this record");
  return make("button", { class: "link", "data-key": one.key, onclick: () => open(one.key) }, make("span", { class: "dim" }, `${what}  `), one.text);
}

function children(told, open) {
  if (!told.children.length) return null;
  const section = make("section", {}, make("h2", {}, `Made from this: ${plural(told.children.length + told.more_children, "record")}`), make("ul", { class: "links" }, ...told.children.map((one) => make("li", {}, entry(one, open, false)))));
  if (told.more_children) section.append(make("p", { class: "dim" }, `${count(told.more_children)} more`));
  return section;
}

function exchanges(told) {
  if (told.lost_exchanges) return make("p", { class: "dim" }, "The journal is not here, so the prompts cannot be shown.");
  if (!told.exchanges.length) return null;
  const parts = told.exchanges.map((one, place) => {
    const asked = one.asked.flatMap((message) => [make("h3", {}, message.role), make("pre", { class: "box" }, message.text)]);
    return make("details", { open: place === told.exchanges.length - 1 }, make("summary", {}, `request ${place + 1}: ${count(one.tokens[0])} + ${count(one.tokens[1])} tokens, ended by ${one.finish}, temperature ${one.temperature}`), ...asked, make("h3", {}, "completion"), make("pre", { class: "box" }, one.answer));
  });
  return make("section", {}, make("h2", {}, "Prompts and completions"), ...parts);
}

function provenance(told) {
  const list = make("dl", { class: "pairs" });
  for (const [name, value] of Object.entries(told.provenance)) {
    const text = Array.isArray(value) ? value.join(" ") : value ?? "";
    if (text !== "") list.append(make("dt", {}, name), make("dd", {}, String(text)));
  }
  return make("details", {}, make("summary", {}, "Provenance"), list);
}

export const fetched = (key, of = "") => ask("record", key.length === 16 ? { key, of } : { id: key, of });

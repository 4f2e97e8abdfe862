// Two runs: what enters, leaves, changes and stays, and what had turned it away.
import { $, ask, chip, count, make } from "./dom.js";
import { compared } from "./record.js";

const NAMES = { leave: "leave", enter: "enter", changed: "changed", stay: "stay" };
let stamp = "";

export async function shown(state, { open, hash, set }) {
  const side = hash.side in NAMES ? hash.side : "leave";
  const offset = Number(hash.offset) || 0;
  const found = await ask("compare", { side, offset });
  const fresh = JSON.stringify([found, state.folder]);
  if (fresh === stamp && $("sides")) return;
  stamp = fresh;
  if (found.working) {
    $("compare").replaceChildren(make("p", { class: "empty" }, "Both runs are being read …"));
    return;
  }
  const buttons = Object.entries(NAMES).map(([one, name]) => make("button", { "aria-pressed": String(one === side), "data-side": one, onclick: () => set({ side: one, offset: "" }) }, `${name} `, make("span", {}, `(${count(found.counts[one])})`)));
  const last = offset + found.rows.length;
  const pager = make("span", { class: "pager" },
    make("button", { disabled: !offset, onclick: () => set({ offset: Math.max(0, offset - 50) || "" }) }, "‹ previous"),
    make("button", { disabled: last >= found.total, onclick: () => set({ offset: last }) }, "next ›"));
  const rows = found.rows.map((one) => {
    const of = side === "leave" ? "" : "other";
    const [before, after] = one.before === undefined ? [null, [one.text]] : compared(one.before, one.text);
    return make("li", { class: "row", tabindex: 0, onclick: () => open(one.key, of), onkeydown: (event) => event.key === "Enter" && open(one.key, of) },
      make("div", { class: "top" }, chip(one.state), one.step, one.told ? make("b", {}, one.told) : ""),
      before ? make("div", { class: "words" }, ...before) : null, make("div", { class: "words" }, ...after));
  });
  $("compare").replaceChildren(
    make("p", {}, make("b", {}, state.folder), " against ", make("b", {}, state.other.folder), ": rows are the same where they were made from the same rows by the same requests."),
    make("div", { class: "rules", id: "sides", role: "group", "aria-label": "Sides" }, ...buttons),
    why(found, side, state),
    make("div", { class: "bar" }, make("span", {}, found.total ? `${count(offset + 1)} to ${count(last)} of ${count(found.total)}` : "no rows"), pager),
    make("ul", { class: "links", id: "compared" }, ...rows));
}

function why(found, side, state) {
  const reasons = found.why[side];
  if (!reasons?.length) return "";
  const rows = reasons.slice(0, 12).map(([reason, number]) => make("tr", {}, make("td", { class: "n" }, count(number)), make("td", {}, reason || "never made there")));
  return make("div", {}, make("h3", {}, side === "leave" ? `turned away in ${state.other.folder} by` : `had been turned away in ${state.folder} by`), make("table", {}, make("tbody", {}, ...rows)), reasons.length > 12 ? make("p", { class: "dim" }, `and ${reasons.length - 12} more reasons`) : "");
}

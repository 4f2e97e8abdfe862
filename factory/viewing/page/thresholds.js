// A rule, its scores, a slider, and what stands on either side of it.
import { $, ask, chip, count, digits, make, plural, shape } from "./dom.js";

const HIGH = 170, HEAD = 16, FOOT = 18;
let rules = null, stamp = "", current = "", asked = 0, drawn = "";

export async function shown(state, { open, hash, set }) {
  const now = JSON.stringify([state.generation, state.indexing]);
  if (rules === null || stamp !== now) {
    const found = (await ask("rules")).rules;
    if (JSON.stringify(found) !== JSON.stringify(rules)) current = "";
    [rules, stamp] = [found, now];
  }
  if (!rules.length) {
    $("thresholds").replaceChildren(make("p", { class: "empty" }, "No rule of this run has turned a row away by a score or compares texts, so there is no threshold to move."));
    return;
  }
  const rule = rules.find((one) => one.key === hash.rule) ?? rules[0];
  const at = hash.at === undefined || hash.at === "" || Number.isNaN(Number(hash.at)) ? rule.threshold : Number(hash.at);
  if (current !== rule.key || !$("slider")) frame(rule, { open, set });
  current = rule.key;
  await update(rule, at, { open, set });
}

function frame(rule, { open, set }) {
  drawn = "";
  const buttons = rules.map((one) => make("button", { "aria-pressed": String(one.key === rule.key), onclick: () => set({ rule: one.key, at: "" }) },
    `${one.step}: ${one.rule} ${one.reason} `, make("span", {}, `(${count(one.rejected)})`)));
  const slider = make("input", { id: "slider", type: "range", "aria-label": `Threshold of ${rule.rule}: ${rule.reason}` });
  const number = make("input", { id: "at", type: "number", step: "any", class: "short", "aria-label": "Threshold" });
  const move = (value) => update(rule, Number(value), { open, set }, true);
  slider.addEventListener("input", () => move(slider.value));
  number.addEventListener("change", () => number.value !== "" && move(number.value));
  const back = make("button", { onclick: () => move(rule.threshold) }, `as in the run: ${digits(rule.threshold)}`);
  $("thresholds").replaceChildren(
    make("div", { class: "rules", role: "group", "aria-label": "Rules" }, ...buttons),
    make("div", { class: "figure" }, make("div", { id: "histogram" }), slider,
      make("div", { class: "bar" }, make("label", {}, "threshold ", number), back,
        make("span", {}, make("span", { class: "key" }, "kept in the run "), " ", make("span", { class: "key r" }, "rejected")))),
    make("div", { class: "figures", id: "what-if", role: "status", "aria-live": "polite" }),
    make("p", { id: "honest", class: "dim" }),
    make("div", { class: "sides" },
      make("section", {}, make("h2", {}, "Just kept"), make("ul", { class: "links", id: "passing" })),
      make("section", {}, make("h2", {}, "Just rejected"), make("ul", { class: "links", id: "failing" }))));
}

async function update(rule, at, { open, set }, moved = false) {
  const mine = ++asked;
  if (moved) set({ rule: rule.key, at: at === rule.threshold ? "" : String(at) }, true);
  const found = await ask("threshold", { rule: rule.key, at });
  if (mine !== asked || !$("slider")) return;
  const { edges, whole } = found.histogram;
  const slider = $("slider");
  slider.min = edges[0];
  slider.max = edges.at(-1);
  slider.step = whole ? 0.5 : (edges.at(-1) - edges[0]) / 1000;
  if (document.activeElement !== slider || !moved) slider.value = at;
  if (document.activeElement !== $("at")) $("at").value = digits(at);
  picture(found, rule, at);
  figures(found);
  $("honest").replaceChildren(...honest(found, rule));
  for (const side of ["passing", "failing"]) border(side, found[side], open);
  if (found.working) setTimeout(() => mine === asked && update(rule, at, { open, set }), 400);
}

function figures(found) {
  const total = found.kept + found.rejected;
  const one = (name, text, id) => make("div", {}, make("b", { id }, text), name);
  const parts = [one("rejected rows let in", count(found.entering), "entering"),
    one("kept rows turned away", found.leaving === null ? "not known" : count(found.leaving), "leaving")];
  if (found.known) parts.push(one("kept at this threshold", count(found.kept), "kept-now"), one("of the rows shown here", total ? `${(100 * found.kept / total).toFixed(1)} %` : "-", "share"));
  else parts.push(one("still rejected", count(found.rejected), "rejected-now"));
  $("what-if").replaceChildren(...parts);
}

function honest(found, rule) {
  const parts = [found.note, " Counts are of this rule alone: what it lets in may be turned away by a later one"];
  parts.push(rule.reason.includes("similar") ? ", and which rows are alike depends on which others are kept. " : ". ");
  if (rule.varied) parts.push("Rows were compared with different thresholds (one for each class, for instance). ");
  if (found.command) parts.push("The exact result: ", make("code", {}, found.command));
  else if (rule.method === "self_instruct") parts.push("Instructions that self_instruct accepts are shown in its later prompts, so another threshold needs a new run.");
  else parts.push("'factory refilter' cannot set this one; change the recipe.");
  return parts;
}

function picture(found, rule, at) {
  const { edges, kept, rejected } = found.histogram;
  const low = edges[0], span = edges.at(-1) - low, wide = Math.max(240, $("histogram").clientWidth);
  const x = (value) => (Math.min(Math.max(value, low), low + span) - low) / span * wide;
  const stamp = JSON.stringify([rule.key, found.histogram, found.known, wide]);
  if (stamp !== drawn) {
    drawn = stamp;
    const most = Math.max(1, ...kept.map((number, place) => number + rejected[place]));
    const svg = shape("svg", { viewBox: `0 ${-HEAD} ${wide} ${HEAD + HIGH + FOOT}`, role: "img", "aria-label": `Scores of ${plural(found.was.kept, "kept row")} and ${plural(found.was.rejected, "rejected row")}` });
    kept.forEach((number, place) => {
      const left = x(edges[place]) + 1, width = Math.max(1, x(edges[place + 1]) - left - 1);
      const up = number / most * (HIGH - 2), more = rejected[place] / most * (HIGH - 2);
      if (number) svg.append(shape("rect", { class: "k", x: left, y: HIGH - up, width, height: up }));
      if (rejected[place]) svg.append(shape("rect", { class: "r", x: left, y: HIGH - up - more, width, height: more }));
    });
    for (const tick of ticks(low, low + span, found.histogram.whole)) svg.append(shape("text", { x: x(tick), y: HIGH + 14, "text-anchor": "middle" }, digits(tick)));
    svg.append(shape("text", { x: wide, y: -5, "text-anchor": "end" }, `highest bar: ${count(most)}`));
    svg.append(shape("line", { class: "was", x1: x(rule.threshold), x2: x(rule.threshold), y1: 0, y2: HIGH }), shape("line", { class: "at", id: "line", x1: 0, x2: 0, y1: 0, y2: HIGH }));
    $("histogram").replaceChildren(svg);
  }
  for (const end of ["x1", "x2"]) $("line").setAttribute(end, x(at));
}

// Round numbers inside the range.
function ticks(low, high, whole) {
  const rough = (high - low) / 8, power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max([1, 2, 5, 10].find((one) => one * power >= rough) * power, whole ? 1 : 0);
  const found = [];
  for (let place = Math.ceil(low / step + 0.2); place * step <= high - 0.2 * step; place++) found.push(place * step);
  return found;
}

function border(side, rows, open) {
  $(side).replaceChildren(...rows.map((one) => make("li", { class: "row", tabindex: 0, onclick: () => open(one.key), onkeydown: (event) => event.key === "Enter" && open(one.key) },
    make("div", { class: "top" }, make("b", {}, digits(one.score)), chip(one.state), one.step), make("div", { class: "words" }, one.text))));
  if (!rows.length) $(side).append(make("li", { class: "dim" }, "none"));
}

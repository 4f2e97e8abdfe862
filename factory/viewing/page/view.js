// The page: what the address says is shown, and every two seconds what has changed.
import { $, ask, chip, count, digits, make, marked, plural, tell } from "./dom.js";
import * as record from "./record.js";
import * as thresholds from "./thresholds.js";
import * as compare from "./compare.js";

const EVERY_MS = 2000, PAGE = 50, FILTERS = ["q", "step", "reason", "mark", "measure", "low", "high", "sort"];
const STATES = ["kept", "rejected", "on the way", "source row"];
let state = null, hash = {}, rows = [], selected = 0, stamp = "", listed = "", asked = 0, opened = "", undo = [], failed = "";

// --- the address ---------------------------------------------------------------------------------

if (location.search) history.replaceState(null, "", location.pathname + location.hash); // the token is a cookie now

function read() {
  hash = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  hash.tab = ["thresholds", "compare"].includes(hash.tab) ? hash.tab : "records";
}

function set(changes, quiet = false) {
  const next = { ...hash, ...changes };
  const kept = Object.entries(next).filter(([name, value]) => value !== "" && value !== null && value !== undefined && !(name === "tab" && value === "records"));
  const text = `#${new URLSearchParams(kept)}`;
  if (quiet) {
    history.replaceState(null, "", text);
    read();
  } else if (text !== (location.hash || "#")) location.hash = text;
}

const filter = (changes) => set({ ...changes, offset: "", key: "" });

// --- the frame -----------------------------------------------------------------------------------

function frame() {
  $("name").textContent = state.name;
  document.title = `${state.name} · factory view`;
  $("status").textContent = state.status;
  $("status").className = `chip ${state.status}`;
  const facts = [state.model, state.answers !== null ? `${plural(state.answers, "answer")} in the journal` : "", state.marks.good || state.marks.bad ? `${count(state.marks.good)} good, ${count(state.marks.bad)} bad` : ""];
  $("facts").textContent = facts.filter(Boolean).join(" · ");
  const other = state.other?.not_private ? ` ${state.other.folder}: ${state.other.not_private}` : "";
  banner("private", state.not_private || other ? `NOT PRIVATE: ${state.not_private}${other}` : "");
  banner("message", state.message);
  const broken = state.marks_broken ? [`marks.jsonl: ${plural(state.marks_broken, "line")} cannot be read and are passed over.`] : [];
  banner("problems", [...state.problems, ...(state.other?.problems ?? []), ...broken, failed].filter(Boolean).join(" "));
  const { read: got, rows: all, done } = state.indexing;
  banner("progress", done ? "" : `Reading records: ${count(got)}${all ? ` of ${count(all)}` : ""} …`);
  $("tab-compare").hidden = !state.other;
  $("marks-export").hidden = !(state.marks.good || state.marks.bad);
  for (const tab of ["records", "thresholds", "compare"]) {
    $(tab).hidden = hash.tab !== tab;
    $(`tab-${tab}`).setAttribute("aria-selected", String(hash.tab === tab));
  }
  filters();
}

function banner(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
  $(id).hidden = !text;
}

function filters() {
  const total = state.counts.states.reduce((sum, number) => sum + number, 0);
  const choices = [["all", "", total], ...STATES.map((name, place) => [name === "source row" ? "source rows" : name, name, state.counts.states[place]])];
  const wanted = hash.state ?? "kept";
  const buttons = choices.map(([name, value, number]) => make("button", { type: "button", "data-state": value, "aria-pressed": String(wanted === (value || "all")), onclick: () => filter({ state: value || "all" }) }, `${name} `, make("span", {}, count(number))));
  if ($("states").textContent !== buttons.map((one) => one.textContent).join("") || $("states").querySelector("[aria-pressed=true]")?.dataset.state !== (wanted === "all" ? "" : wanted)) {
    const had = $("states").contains(document.activeElement) ? document.activeElement.dataset.state : null;
    $("states").replaceChildren(...buttons);
    if (had !== null) buttons.find((one) => one.dataset.state === had)?.focus();
  }
  options("step", [["", "all"], ...Object.entries(state.counts.steps).map(([name, number]) => [name, `${name} (${count(number)})`])]);
  options("reason", [["", "all"], ...Object.entries(state.counts.reasons).map(([name, number]) => [name, `${name} (${count(number)})`])]);
  options("measure", [["", "score of the verdict"], ...state.measures.map((name) => [name, name])]);
  const active = FILTERS.slice(1).filter((name) => hash[name]).length;
  $("active").textContent = active ? `${active} set` : "";
  for (const name of FILTERS) if (document.activeElement !== $(name) && $(name).value !== (hash[name] ?? "")) $(name).value = hash[name] ?? (name === "sort" ? "order" : "");
}

function options(id, entries) {
  const text = JSON.stringify(entries);
  if ($(id).dataset.entries === text) return;
  $(id).dataset.entries = text;
  $(id).replaceChildren(...entries.map(([value, name]) => make("option", { value }, name)));
  $(id).value = hash[id] ?? "";
}

// --- the list ------------------------------------------------------------------------------------

const wanted = () => ({ ...Object.fromEntries(FILTERS.map((name) => [name, hash[name]])), state: hash.state === "all" ? "" : hash.state ?? "kept", offset: hash.offset });

async function list() {
  const mine = ++asked;
  let found;
  do {
    try {
      found = await ask("records", wanted());
    } catch (error) {
      if (mine === asked) problem(error);
      return;
    }
    if (mine !== asked) return;
    draw(found);
  } while (!found.done && (found.rows.length < PAGE || hash.sort));
  if (!found.done) rest(mine, found);
}

// The page is full; what is not read yet is only counted.
async function rest(mine, found) {
  while (!found.done && mine === asked) {
    found = await ask("records", { ...wanted(), offset: found.total });
    if (mine === asked) told({ ...found, rows, offset: Number(hash.offset) || 0 });
  }
}

function told(found) {
  const last = found.offset + found.rows.length;
  const range = found.total ? `${count(found.offset + 1)} to ${count(last)} of ${count(found.total)}` : "nothing found";
  $("found").textContent = found.done ? range : `${found.total ? range : "searching"} … ${Math.round(100 * found.share)} % read`;
  $("previous").disabled = !found.offset;
  $("next").disabled = found.done && last >= found.total;
}

function draw(found) {
  problem(null);
  told(found);
  const text = JSON.stringify([found.rows, hash.q]);
  if (text === listed) {
    const place = rows.findIndex((one) => one.key === hash.key);
    if (place >= 0) pick(place);
    return;
  }
  listed = text;
  const scroll = $("list").scrollTop, key = rows[selected]?.key;
  rows = found.rows;
  selected = Math.max(0, rows.findIndex((one) => one.key === (hash.key || key)));
  const query = hash.q ?? "";
  $("list").replaceChildren(...rows.map((one, place) => make("li", { class: "row", role: "option", id: `row-${place}`, "data-key": one.key, "aria-selected": String(place === selected), onclick: () => { pick(place); open(one.key); } },
    make("div", { class: "top" }, chip(one.state), one.step, one.reason ? make("b", {}, one.reason) : null, one.score !== null ? `score ${digits(one.score)}` : null, one.value !== undefined && one.value !== null ? `${hash.measure} ${digits(one.value)}` : null, one.mark ? make("b", { class: `mark ${one.mark}` }, one.mark) : null),
    make("div", { class: "words" }, ...(one.text ? marked(one.text, query) : [make("span", { class: "dim" }, "no text")])))));
  if (!rows.length && found.done) $("list").append(make("li", { class: "empty", role: "presentation" }, state.indexing.done ? "No record is like that." : "Nothing is read yet."));
  $("list").scrollTop = scroll;
  pick(selected, false);
}

function pick(place, scroll = true) {
  selected = Math.min(Math.max(place, 0), rows.length - 1);
  for (const [other, one] of [...$("list").querySelectorAll(".row")].entries()) one.setAttribute("aria-selected", String(other === selected));
  if (selected >= 0) $("list").setAttribute("aria-activedescendant", `row-${selected}`);
  if (scroll) $(`row-${selected}`)?.scrollIntoView({ block: "nearest" });
}

function turn(by) {
  const offset = Number(hash.offset) || 0;
  if (by > 0 ? $("next").disabled : $("previous").disabled) return;
  listed = "";
  $("list").scrollTop = 0;
  rows = [];
  selected = 0;
  set({ offset: Math.max(0, offset + by * PAGE) || "", key: "" });
}

function problem(error) {
  failed = error ? error.message : "";
  if (state) banner("problems", [...state.problems, failed].filter(Boolean).join(" "));
  else if (error) banner("problems", failed);
}

// --- the record ----------------------------------------------------------------------------------

const open = (key, of = "") => set({ tab: "records", key, of });
const close = () => set({ key: "", of: "" });

async function openRecord(force = false) {
  const name = `${hash.of ?? ""}/${hash.key ?? ""}`;
  if (!hash.key) {
    $("record").hidden = true;
    opened = "";
    return;
  }
  if (name === opened && !force) return;
  const again = name === opened;
  try {
    const found = await record.fetched(hash.key, hash.of ?? "");
    if (name !== `${hash.of ?? ""}/${hash.key ?? ""}`) return;
    const scroll = $("record").scrollTop;
    opened = name;
    record.shown(found, { query: hash.q ?? "", open: (key) => open(key, hash.of ?? ""), close, mark, writable: state.marks_writable && !hash.of });
    $("record").dataset.id = found.id;
    $("record").dataset.mark = found.mark?.mark ?? "";
    $("record").dataset.note = found.mark?.note ?? "";
    $("record").hidden = false;
    $("record").scrollTop = again ? scroll : 0;
    if (!again) $("record").focus({ preventScroll: true });
    pick(rows.findIndex((one) => one.key === hash.key) >= 0 ? rows.findIndex((one) => one.key === hash.key) : selected, false);
  } catch (error) {
    problem(error);
  }
}

async function mark(told, name, note = told.mark?.note ?? "") {
  try {
    await tell("marks", { id: told.id, mark: name, note: name ? note : "" });
    undo.push(told);
    problem(null);
    await refresh(true);
  } catch (error) {
    problem(error);
  }
}

async function markSelected(name) {
  const key = hash.key || rows[selected]?.key;
  if (!key) return;
  if (!state.marks_writable) return problem(new Error("This page is read-only; start 'factory view' with --marks to mark records."));
  const found = await record.fetched(key);
  await mark(found, name);
  if (!hash.key) pick(selected + 1);
}

async function takeBack() {
  const before = undo.pop();
  if (!before) return;
  await tell("marks", { id: before.id, mark: before.mark?.mark ?? null, note: before.mark?.note ?? "" });
  await refresh(true);
}

// --- keys ----------------------------------------------------------------------------------------

const KEYS = {
  "/": () => { set({ tab: "records" }); $("q").focus(); $("q").select(); },
  j: () => pick(selected + 1), k: () => pick(selected - 1), ArrowDown: () => pick(selected + 1), ArrowUp: () => pick(selected - 1),
  Enter: () => rows[selected] && open(rows[selected].key),
  n: () => turn(1), p: () => turn(-1),
  g: () => markSelected("good"), b: () => markSelected("bad"), u: takeBack,
  "?": () => $("help").showModal(),
  1: () => set({ tab: "records" }), 2: () => set({ tab: "thresholds" }), 3: () => state.other && set({ tab: "compare" }),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  const target = event.target, writing = target.matches("input, select, textarea");
  if (event.key === "Escape") {
    if (writing) { target.blur(); $("list").focus(); } else if (hash.key) { close(); $("list").focus(); }
    return;
  }
  if (writing) {
    if (target === $("q") && ["ArrowDown", "Enter"].includes(event.key)) {
      event.preventDefault();
      clearTimeout(typing);
      filter({ q: $("q").value });
      $("list").focus();
    }
    return;
  }
  const records = hash.tab === "records";
  if (["j", "k", "Enter", "ArrowDown", "ArrowUp", "n", "p"].includes(event.key) && !records) return;
  if (["Enter", "ArrowDown", "ArrowUp"].includes(event.key) && (target.closest("#record") || target.matches("button, a, summary"))) return;
  const action = KEYS[event.key];
  if (!action || !state) return;
  event.preventDefault();
  action();
  if (hash.key && ["j", "k"].includes(event.key)) open(rows[selected]?.key ?? hash.key);
});

const narrow = matchMedia("(max-width: 820px)");
const fold = () => { $("more").open = !narrow.matches; };
narrow.addEventListener("change", fold);
fold();

let typing = 0;
$("q").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => filter({ q: $("q").value }), 120); });
$("filters").addEventListener("submit", (event) => event.preventDefault());
for (const name of FILTERS.slice(1)) $(name).addEventListener("change", () => filter({ [name]: name === "sort" && $(name).value === "order" ? "" : $(name).value }));
$("clear").addEventListener("click", () => filter({ ...Object.fromEntries(FILTERS.map((name) => [name, ""])), state: "" }));
$("previous").addEventListener("click", () => turn(-1));
$("next").addEventListener("click", () => turn(1));
$("help-button").addEventListener("click", () => $("help").showModal());
$("skip").addEventListener("click", (event) => { event.preventDefault(); $("list").focus(); });
for (const tab of $("tabs").querySelectorAll("[data-tab]")) tab.addEventListener("click", () => set({ tab: tab.dataset.tab, key: "", of: "", offset: "" }));
addEventListener("hashchange", () => { read(); show(); });

// --- what is shown, and shown again --------------------------------------------------------------

async function show(force = false) {
  frame();
  try {
    if (hash.tab === "thresholds") await thresholds.shown(state, { open, hash, set });
    else if (hash.tab === "compare" && state.other) await compare.shown(state, { open, hash, set });
    else await Promise.all([list(), openRecord(force)]);
  } catch (error) {
    problem(error);
  }
}

async function refresh(force = false) {
  try {
    state = await ask("run");
  } catch (error) {
    banner("problems", `${error instanceof TypeError ? "'factory view' does not answer; it may have been stopped." : error.message}`);
    return;
  }
  const next = JSON.stringify(state);
  if (next === stamp && !force) return;
  stamp = next;
  await show(force);
}

async function poll() {
  await refresh();
  setTimeout(poll, state && !state.indexing.done ? 300 : EVERY_MS);
}

read();
poll();

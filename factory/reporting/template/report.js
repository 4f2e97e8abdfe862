"use strict";
(() => {
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  // Where a page may not store anything (some browsers under file://), the choice lasts as long as the page.
  const remembered = () => {
    try {
      return window.localStorage.getItem("factory-report-theme");
    } catch (error) {
      return null;
    }
  };
  const remember = (theme) => {
    try {
      window.localStorage.setItem("factory-report-theme", theme);
    } catch (error) {
      return;
    }
  };

  const button = document.getElementById("theme");
  const current = () => root.dataset.theme || (dark.matches ? "dark" : "light");
  const label = () => {
    button.textContent = current() === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Change to the ${current() === "dark" ? "light" : "dark"} colours`);
  };
  const chosen = remembered();
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
  button.addEventListener("click", () => {
    root.dataset.theme = current() === "dark" ? "light" : "dark";
    remember(root.dataset.theme);
    label();
  });
  dark.addEventListener("change", label);
  label();
  button.hidden = false;

  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
  };
  const compare = (one, other) => {
    if (typeof one === "number" && typeof other === "number") return one - other;
    return String(one).localeCompare(String(other), "en");
  };
  for (const head of document.querySelectorAll("th > button.sort")) {
    head.addEventListener("click", () => {
      const cell = head.parentElement;
      const body = cell.closest("table").tBodies[0];
      const down = cell.getAttribute("aria-sort") === "descending";
      const sign = down ? 1 : -1;
      for (const other of cell.parentElement.cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", down ? "ascending" : "descending");
      const column = cell.cellIndex;
      const rows = [...body.rows].sort((a, b) => sign * compare(value(a, column), value(b, column)));
      body.append(...rows);
    });
  }

  const figures = JSON.parse(document.getElementById("figures").textContent).panels;
  const steps = (figures["Nearest neighbours"] || { steps: [] }).steps;
  for (const slider of document.querySelectorAll("input[data-step]")) {
    const step = steps[Number(slider.dataset.step)];
    const output = document.getElementById(`passed${slider.dataset.step}`);
    slider.addEventListener("input", () => {
      const limit = Number(slider.value);
      const count = (group) => group.weight * group.scores.filter((score) => score <= limit).length;
      const passed = Math.round(step.groups.reduce((sum, group) => sum + count(group), 0));
      output.textContent = `${limit.toFixed(2)}: ${passed.toLocaleString("en")} of ${step.total.toLocaleString("en")} pass`;
    });
  }

  // What is folded is on paper too, but for prompts and answers of the lineage; it is folded again afterwards.
  let unfolded = [];
  window.addEventListener("beforeprint", () => {
    unfolded = [...document.querySelectorAll("details:not([open]):not(.tree details)")];
    for (const each of unfolded) each.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const each of unfolded) each.open = false;
  });
})();

// Tables that sort by a click on a heading. Published rows take part; cells with nothing known stay last.
(function () {
  "use strict";

  function keyOf(cell) {
    const key = cell.dataset.sort;
    return key === "" ? null : isNaN(key) ? key.toLowerCase() : Number(key);
  }

  function compare(a, b, sign) {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    return sign * String(a).localeCompare(String(b), undefined, { numeric: true });
  }

  function sortBy(table, column) {
    const heads = [...table.tHead.rows[0].cells];
    const head = heads[column];
    const body = table.tBodies[0];
    // Numbers start with the highest, names with the first.
    const numeric = [...body.rows].some((row) => typeof keyOf(row.cells[column]) === "number");
    const first = numeric ? "descending" : "ascending";
    const second = numeric ? "ascending" : "descending";
    const order = head.getAttribute("aria-sort") === first ? second : first;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const rows = [...body.rows];
    rows.sort((a, b) => compare(keyOf(a.cells[column]), keyOf(b.cells[column]), sign));
    body.append(...rows);
  }

  document.querySelectorAll("table.sortable").forEach((table) => {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => sortBy(table, column));
    });
  });
})();

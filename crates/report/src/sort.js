"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const numeric = head.classList.contains("n");
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      const value = (row) => {
        const text = row.cells[column].textContent;
        return numeric ? parseFloat(text.replace("∞", "Infinity")) : text;
      };
      const compare = (a, b) => {
        if (!numeric) return (ascending ? 1 : -1) * a.localeCompare(b, "en", { numeric: true });
        // What is not a number comes last either way.
        if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b);
        // Equal values first: two infinities have no difference.
        return a === b ? 0 : (ascending ? 1 : -1) * (a - b);
      };
      const rows = [...table.tBodies[0].rows].map((row) => [value(row), row]);
      rows.sort((a, b) => compare(a[0], b[0]));
      table.tBodies[0].append(...rows.map((pair) => pair[1]));
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    });
  });
}

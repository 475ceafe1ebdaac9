"use strict";
(function () {
  /* Rows to sort and to filter: a table of images has a body for each. */
  function items(table) {
    return table.classList.contains("images") ? Array.from(table.tBodies) : Array.from(table.tBodies[0].rows);
  }
  function valueOf(item, column) {
    const row = item.tagName === "TBODY" ? item.rows[0] : item;
    const cell = row.cells[column];
    return "value" in cell.dataset ? cell.dataset.value : cell.textContent.trim();
  }
  function compare(a, b, sign) {
    if (a === "" || b === "") { return (a === "") - (b === ""); } /* what is missing comes last */
    const x = Number(a), y = Number(b);
    return sign * (isNaN(x) || isNaN(y) ? a.localeCompare(b, undefined, { numeric: true }) : x - y);
  }
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach(function (head, column) {
      const button = head.querySelector("button");
      if (!button) { return; }
      button.addEventListener("click", function () {
        const rising = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach(function (each) { each.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", rising ? "ascending" : "descending");
        const rows = items(table);
        const sorted = rows.map(function (item) { return [valueOf(item, column), item]; });
        sorted.sort(function (a, b) { return compare(a[0], b[0], rising ? 1 : -1); });
        for (const pair of sorted) { pair[1].parentNode.appendChild(pair[1]); }
      });
    });
  }
  for (const filter of document.querySelectorAll(".filter")) {
    const table = document.getElementById(filter.dataset.for);
    const input = filter.querySelector("input"), select = filter.querySelector("select");
    const output = filter.querySelector("output");
    const update = function () {
      const words = input.value.toLowerCase(), kind = select.value;
      let count = 0;
      const all = items(table);
      for (const item of all) {
        const text = item.rows[0].cells[0].textContent + " " + item.rows[0].cells[1].textContent;
        const fits = text.toLowerCase().includes(words) && (!kind || Number(item.dataset[kind]) > 0);
        item.hidden = !fits;
        count += fits;
      }
      output.textContent = count + " of " + all.length + (all.length === 1 ? " image" : " images");
    };
    input.addEventListener("input", update);
    select.addEventListener("change", update);
    filter.hidden = false;
    update();
  }
})();

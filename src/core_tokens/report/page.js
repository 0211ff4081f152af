(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const FIRST = 200; // so many rows are shown before one asks for more

  for (const place of document.querySelectorAll("[data-picture]")) {
    const spec = data.pictures[place.dataset.picture][place.dataset.side];
    if (spec) {
      window.vegaEmbed(place, spec).then((drawn) => { place.drawn = drawn; place.dataset.drawn = "yes"; });
    } else {
      place.textContent = "Nothing to draw.";
    }
  }

  document.getElementById("theme").addEventListener("click", () => {
    const now = document.documentElement.dataset.theme
      || (window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    window.setTheme(now === "dark" ? "light" : "dark");
  });

  const NAMES = {
    distance_ulp: "ulp", distance_steps: "steps", distance_l2: "L2", population: "tokens alike",
  };
  const isText = (name) => name === "text" || name === "class";

  function tokens(table) {
    const rows = data.tables[table.dataset.table][table.dataset.side];
    const names = rows[0];
    const known = rows.slice(1).some((row) => row[names.indexOf("class")] !== "");
    const columns = names.map((name, at) => ({ name, at })).filter(({ name }) => known || !isText(name));
    const search = document.querySelector(
      `input[data-table="${table.dataset.table}"][data-side="${table.dataset.side}"]`);
    const found = search.closest("p").querySelector("output");
    let order = null, downwards = false, shown = FIRST;

    const head = table.createTHead().insertRow();
    for (const { name, at } of columns) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.className = isText(name) ? "" : "number";
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = NAMES[name] || name;
      button.addEventListener("click", () => {
        downwards = order === at ? !downwards : false;
        order = at;
        for (const other of head.cells) other.removeAttribute("aria-sort");
        cell.setAttribute("aria-sort", downwards ? "descending" : "ascending");
        fill();
      });
      cell.append(button);
      head.append(cell);
    }
    const body = table.createTBody();

    function fill() {
      const wanted = search.value.trim().toLowerCase();
      const texts = columns.filter(({ name }) => name === "token" || isText(name)).map(({ at }) => at);
      const matching = rows.slice(1).filter(
        (row) => !wanted || texts.some((at) => row[at].toLowerCase().includes(wanted)));
      if (order !== null) {
        const sign = downwards ? -1 : 1, text = isText(names[order]);
        matching.sort((a, b) => sign * (text
          ? (a[order] < b[order] ? -1 : a[order] > b[order] ? 1 : 0) : a[order] - b[order]));
      }
      found.textContent = wanted ? `${matching.length.toLocaleString("en")} found` : "";
      body.replaceChildren(...matching.slice(0, shown).map((row) => {
        const line = document.createElement("tr");
        for (const { name, at } of columns) {
          const cell = line.insertCell();
          cell.className = isText(name) ? name : "number";
          cell.textContent = row[at];
        }
        return line;
      }));
      if (matching.length > shown) {
        const cell = body.insertRow().insertCell();
        cell.colSpan = columns.length;
        cell.className = "more";
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = `Show all ${matching.length.toLocaleString("en")}`;
        button.addEventListener("click", () => { shown = Infinity; fill(); });
        cell.append(button);
      }
    }
    search.addEventListener("input", () => { shown = FIRST; fill(); });
    fill();
  }
  document.querySelectorAll("table.tokens").forEach(tokens);
})();

/* Draws Vega-Lite specifications at the width and in the colours of the page, and again when either
   changes. Needs window.vegaEmbed and window.pageConfigs, the configurations "light" and "dark". */
(() => {
  "use strict";
  const embed = window.vegaEmbed;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const drawn = new Map();

  const theme = () => document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");

  function fitted(spec, available) {
    const config = window.pageConfigs[theme()];
    const layout = { top: { direction: "vertical", anchor: "start", margin: 4 } }; // below each other
    const copy = { ...spec, config: { ...config, legend: { ...config.legend, layout } } };
    const width = Math.max(240, Math.min(640, available));
    if (copy.spec) {
      copy.spec = { ...copy.spec, width: width - 90 };
    } else {
      copy.width = width;
      copy.autosize = { type: "fit-x", contains: "padding" };
    }
    return copy;
  }

  async function draw(element, spec) {
    const width = element.clientWidth;
    const last = drawn.get(element);
    drawn.set(element, { spec, width });
    if (last && last.view) last.view.finalize();
    const many = spec.data && Array.isArray(spec.data.values) && spec.data.values.length > 3000;
    const { view } = await embed(element, fitted(spec, width), {
      actions: false,
      renderer: many ? "canvas" : "svg", // a page with so many nodes would be slow
      tooltip: { theme: theme() },
    });
    drawn.set(element, { spec, width, view });
    return { view, spec };
  }

  function again(onlyIfResized) {
    for (const [element, last] of [...drawn]) {
      if (!onlyIfResized || element.clientWidth !== last.width) draw(element, last.spec);
    }
  }

  window.vegaEmbed = (where, spec) => {
    const element = typeof where === "string" ? document.querySelector(where) : where;
    if (spec.data) return draw(element, spec);
    element.hidden = true; // DVC has no data for it
    return Promise.resolve({ spec });
  };
  window.setTheme = (name) => {
    document.documentElement.dataset.theme = name;
    again(false);
  };
  dark.addEventListener("change", () => again(false));
  let waiting;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => again(true), 150);
  });
})();

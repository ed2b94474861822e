// A table that says data-chart is drawn above itself with uPlot: first column x, the others y; a cell's data-low and
// data-high are drawn as a band. The table stays what is read aloud, and what is there without JavaScript.
(() => {
  const COLOURS = ["--accent", "--ai", "--good", "--warn"];
  const HEIGHT = 230;

  function read(table) {
    const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
    const used = [...table.tHead.rows[0].cells].flatMap((cell, column) => ("y" in cell.dataset ? [column] : []));
    const rows = [...table.tBodies[0].rows].reverse();
    const number = (text) => (text === undefined || text === "" ? null : Number(text));
    const x = rows.map((row, place) => number(row.dataset.x) ?? place);
    const series = used.map((column) => ({
      name: names[column],
      value: rows.map((row) => number(row.cells[column].dataset.value)),
      low: rows.map((row) => number(row.cells[column].dataset.low)),
      high: rows.map((row) => number(row.cells[column].dataset.high)),
    }));
    return { x, labels: rows.map((row) => row.cells[0].textContent.trim()), series };
  }

  function draw(table) {
    const { x, labels, series } = read(table);
    if (x.length < 2) return;
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const data = [x];
    const lines = [{ label: table.dataset.xlabel ?? "", value: (_, at) => (table.dataset.named ? labels[x.indexOf(at)] ?? "" : at) }];
    const bands = [];
    series.forEach((one, place) => {
      const stroke = colour(COLOURS[place % COLOURS.length]);
      data.push(one.value);
      lines.push({ label: one.name, stroke, width: 2, spanGaps: true, points: { size: 7, fill: stroke } });
      if (one.low.some((value) => value !== null)) {
        bands.push({ series: [data.length + 1, data.length], fill: `color-mix(in srgb, ${stroke} 16%, transparent)` });
        for (const [edge, values] of [["low", one.low], ["high", one.high]]) {
          data.push(values);
          lines.push({ label: `${one.name}, ${edge}`, stroke: "transparent", points: { show: false }, spanGaps: true });
        }
      }
    });
    if ("diagonal" in table.dataset) {
      data.push(x);
      lines.push({ label: table.dataset.diagonal || "chance", stroke: colour("--none"), dash: [5, 5], points: { show: false } });
    }
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    const figure = document.createElement("div");
    figure.className = "chart";
    figure.setAttribute("aria-hidden", "true");
    (table.closest("details") ?? table.closest(".scroll") ?? table).before(figure);
    const unit = table.dataset.unit === "share";
    const plot = new uPlot({
      width: figure.clientWidth, height: HEIGHT, series: lines, bands,
      scales: { x: { time: false }, y: unit ? { range: (_, low, high) => [Math.max(0, Math.min(low, 0.5)), Math.max(1, high)] } : {} },
      axes: [
        { ...axis, ...(table.dataset.named ? { splits: () => x, values: (_, at) => at.map((one) => labels[x.indexOf(one)] ?? "") } : {}) },
        axis,
      ],
      cursor: { y: false },
      legend: { show: series.length > 1 || !unit },
    }, data, figure);
    new ResizeObserver(() => plot.setSize({ width: figure.clientWidth, height: HEIGHT })).observe(figure);
  }

  function drawAll() {
    for (const old of document.querySelectorAll(".chart")) old.remove();
    for (const table of document.querySelectorAll("table[data-chart]")) draw(table);
  }
  addEventListener("DOMContentLoaded", drawAll);
  addEventListener("htmx:after:swap", (event) => { if (document.querySelector("table[data-chart]") && event.target.querySelector?.("table[data-chart]")) drawAll(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();

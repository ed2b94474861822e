// A table that says data-chart is drawn above itself with uPlot: first column x, the others y; a cell's data-low and
// data-high are drawn as a band. The table stays what is read aloud, and what is there without JavaScript.
// data-days: x counts days since 1970; data-marks: JSON of {x, name}, each drawn as an upright line.
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
    const lines = [{}];
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
    const axis = { stroke: colour("--soft"), font: "12px system-ui, sans-serif", grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    const figure = document.createElement("div");
    figure.className = "chart";
    figure.setAttribute("aria-hidden", "true");
    figure.append(legend(series, colour, table.dataset.diagonal));
    (table.closest("details") ?? table.closest(".scroll") ?? table).before(figure);
    const unit = table.dataset.unit === "share";
    const marks = JSON.parse(table.dataset.marks || "[]");
    const xAxis = {};
    if ("named" in table.dataset) Object.assign(xAxis, { splits: () => x, values: (_, at) => at.map((one) => labels[x.indexOf(one)] ?? "") });
    else Object.assign(xAxis, { label: table.dataset.xlabel, labelFont: "12px system-ui, sans-serif", labelSize: 20 });
    if ("days" in table.dataset) Object.assign(xAxis, { incrs: [1, 2, 5, 10, 30], values: (_, at) => at.map((day) => new Date(day * 864e5).toISOString().slice(5, 10)) });
    const ends = "days" in table.dataset ? { range: (_, low, high) => [Math.floor(low), Math.ceil(Math.max(high, ...marks.map((mark) => mark.x)))] } : {};
    const plot = new uPlot({
      width: figure.clientWidth, height: HEIGHT, series: lines, bands,
      scales: { x: { time: false, ...ends }, y: unit ? { range: (_, low, high) => [Math.max(0, Math.min(low, 0.5)), Math.max(1, high)] } : {} },
      axes: [
        { ...axis, ...xAxis },
        axis,
      ],
      padding: "named" in table.dataset ? [null, 50, null, null] : [null, null, null, null],
      cursor: { show: false },
      legend: { show: false },
      hooks: { draw: [(plot) => marks.forEach((mark, place) => drawMark(plot, mark, place % 4, colour("--soft"), colour("--ink")))] },
    }, data, figure);
    new ResizeObserver(() => plot.setSize({ width: figure.clientWidth, height: HEIGHT })).observe(figure);
  }

  function drawMark(plot, { x, name }, line, stroke, ink) { // names of marks that lie close stand below each other
    const { ctx, bbox } = plot;
    const left = plot.valToPos(x, "x", true);
    ctx.save();
    ctx.strokeStyle = stroke;
    ctx.fillStyle = ink;
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(left, bbox.top);
    ctx.lineTo(left, bbox.top + bbox.height);
    ctx.stroke();
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.textBaseline = "top";
    const isAtEnd = left + ctx.measureText(name).width + 8 * devicePixelRatio > bbox.left + bbox.width;
    ctx.textAlign = isAtEnd ? "right" : "left";
    ctx.fillText(name, left + (isAtEnd ? -4 : 4) * devicePixelRatio, bbox.top + (2 + 13 * line) * devicePixelRatio);
    ctx.restore();
  }

  function legend(series, colour, diagonal) {
    const list = document.createElement("div");
    list.className = "legend";
    const names = series.map((one, place) => [one.name, colour(COLOURS[place % COLOURS.length])]);
    if (diagonal) names.push([diagonal, colour("--none")]);
    for (const [name, stroke] of names) {
      const sign = document.createElement("span");
      sign.className = "dot";
      sign.style.background = stroke;
      const entry = document.createElement("span");
      entry.className = "tag";
      entry.append(sign, name);
      list.append(entry);
    }
    return list;
  }

  function drawAll() {
    for (const old of document.querySelectorAll(".chart")) old.remove();
    for (const table of document.querySelectorAll("table[data-chart]")) draw(table);
  }
  addEventListener("DOMContentLoaded", drawAll);
  addEventListener("htmx:after:swap", (event) => { if (document.querySelector("table[data-chart]") && event.target.querySelector?.("table[data-chart]")) drawAll(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();

"use strict";
(() => {
  const started = performance.now();
  const root = document.documentElement;
  // What went wrong stands where a test and a reader's report can find it.
  window.addEventListener("error", (event) => { root.dataset.error = event.message; });

  const MOST = 40; // categories of one chart before "show all"
  const PAPER = 660; // pixels across a printed page, A4 or letter
  const SHAPES = ["circle", "triangle", "rect", "rectRot", "star", "crossRot", "rectRounded", "cross"];
  const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3]];
  // Okabe and Ito's colours, which colour-blind people can tell apart, darker or lighter where contrast needs it.
  const LIGHT = ["#0072b2", "#d55e00", "#007a5a", "#b0517f", "#9a6700", "#2b83ba", "#444444", "#6a51a3"];
  const DARK = ["#5db8f2", "#ff8a3d", "#2ecfa3", "#e39bc3", "#f0b429", "#8fd0f7", "#d0d0d0", "#b8a5e3"];
  const VERDICTS = {
    pass: [0, "circle"], improved: [2, "triangle"], regressed: [1, "rectRot"], inconclusive: [4, "crossRot"],
    incomparable: [6, "rect"], missing: [7, "cross"],
  };
  const SI = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"]];
  const SORTED = new Set(["variant", "benchmark", "driver"]);

  const data = JSON.parse(document.getElementById("report-data").textContent);
  const charts = data.charts.map(decoded);
  const waiting = new Set(); // charts that are drawn when they come near, or later
  let pending = 0;
  const drawn = new Map(); // name of a chart to its Chart
  const filters = {};
  let printing = false;

  // --- data -----------------------------------------------------------------------------------------------------

  function decoded(chart) {
    const levels = chart.columns.map((column) => column.levels);
    const rows = chart.rows.map((row) => row.map((cell, index) =>
      levels[index] && cell !== null ? levels[index][cell] : cell));
    const places = new Map(chart.columns.map((column, index) => [column.name, index]));
    return { ...chart, rows, places, chosen: null, all: false };
  }

  function value(chart, row, key) {
    const name = chart[key];
    return name === undefined ? null : row[chart.places.get(name)];
  }

  function unit(chart, key) {
    return chart.columns[chart.places.get(chart[key])];
  }

  function unique(values) {
    return [...new Set(values.filter((item) => item !== null))];
  }

  function filtered(chart) {
    return chart.rows.filter((row) => Object.entries(filters).every(([name, wanted]) => {
      const place = chart.places.get(name);
      return !wanted || place === undefined || row[place] === wanted;
    }));
  }

  function shown(chart) {
    const rows = filtered(chart);
    return chart.choose ? rows.filter((row) => value(chart, row, "choose") === chart.chosen) : rows;
  }

  function formatted(number, ofUnit) {
    if (number === null || number === undefined) return "–";
    if (typeof number === "boolean") return number ? "yes" : "no";
    if (typeof number !== "number") return String(number);
    if (ofUnit === "%") return `${Number((number * 100).toPrecision(3))} %`;
    if (number === 0 || !ofUnit) return String(Number(number.toPrecision(4)));
    const [scale, prefix] = SI.find(([size]) => Math.abs(number) >= size) || SI[SI.length - 1];
    return `${Number((number / scale).toPrecision(3))} ${prefix}${ofUnit}`;
  }

  function csv(chart) {
    const quoted = (cell) => {
      const text = cell === null ? "" : String(cell);
      return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const lines = [chart.columns.map((column) => column.name), ...chart.rows];
    return lines.map((line) => line.map(quoted).join(",")).join("\n") + "\n";
  }

  // --- look -----------------------------------------------------------------------------------------------------

  const PRINTED = { "--ink": "#000000", "--soft": "#333333", "--line": "#999999" };

  function css(name) {
    return printing ? PRINTED[name] : getComputedStyle(root).getPropertyValue(name).trim();
  }

  function isDark() {
    return !printing && matchMedia("(prefers-color-scheme: dark)").matches;
  }

  function look(chart, name, index) {
    const palette = isDark() ? DARK : LIGHT;
    const [place, shape] = chart.series === "verdict" && VERDICTS[name] ? VERDICTS[name]
      : [index % palette.length, chart.kind === "bars" ? "rect" : SHAPES[index % SHAPES.length]];
    return {
      borderColor: palette[place], backgroundColor: palette[place], pointStyle: shape,
      borderDash: DASHES[Math.floor(index / palette.length) % DASHES.length],
    };
  }

  function short(text, width) {
    const most = Math.max(8, Math.floor(width * 0.4 / 7));
    return text.length > most ? `${text.slice(0, Math.ceil(most / 2) - 1)}…${text.slice(-Math.floor(most / 2))}` : text;
  }

  // --- what Chart.js does not draw --------------------------------------------------------------------------------

  const extras = {
    id: "extras",
    afterDatasetsDraw(drawing) {
      const { ctx, chartArea, scales, $source: source } = drawing;
      ctx.save();
      ctx.beginPath();
      ctx.rect(chartArea.left, chartArea.top, chartArea.width, chartArea.height);
      ctx.clip();
      ctx.lineWidth = 1.25;
      drawing.data.datasets.forEach((set, index) => {
        if (!drawing.isDatasetVisible(index)) return;
        ctx.strokeStyle = set.borderColor;
        for (const point of set.data) {
          if (point === null || typeof point !== "object") continue;
          const x = scales.x.getPixelForValue(point.x), y = scales.y.getPixelForValue(point.y);
          if (usable(point.xLow, scales.x) && usable(point.xHigh, scales.x)) {
            segment(ctx, scales.x.getPixelForValue(point.xLow), y, scales.x.getPixelForValue(point.xHigh), y);
          }
          if (usable(point.yLow, scales.y) && usable(point.yHigh, scales.y)) {
            segment(ctx, x, scales.y.getPixelForValue(point.yLow), x, scales.y.getPixelForValue(point.yHigh));
          }
          if (usable(point.limit, scales.x)) {
            const limit = scales.x.getPixelForValue(point.limit);
            ctx.lineWidth = 3;
            segment(ctx, limit, y - 8, limit, y + 8);
            ctx.lineWidth = 1.25;
          }
        }
      });
      ctx.strokeStyle = ctx.fillStyle = css("--soft");
      ctx.font = "12px system-ui, sans-serif";
      ctx.setLineDash([4, 3]);
      source.rules.forEach(([place, label], index) => {
        if (!usable(place, scales.x)) return;
        const x = scales.x.getPixelForValue(place);
        segment(ctx, x, chartArea.top, x, chartArea.bottom);
        if (source.rules.length > 4) return;
        const right = x > (chartArea.left + chartArea.right) / 2;
        ctx.textAlign = right ? "right" : "left";
        ctx.fillText(label, right ? x - 4 : x + 4, chartArea.top + 12 + 14 * index);
      });
      ctx.restore();
    },
  };

  function usable(number, scale) {
    return typeof number === "number" && (scale.type !== "logarithmic" || number > 0);
  }

  function segment(ctx, x1, y1, x2, y2) {
    ctx.beginPath();
    ctx.moveTo(x1, y1);
    ctx.lineTo(x2, y2);
    ctx.stroke();
  }

  // --- charts ---------------------------------------------------------------------------------------------------

  function grouped(chart, rows) {
    const groups = new Map();
    for (const row of rows) {
      const name = chart.series ? value(chart, row, "series") ?? "–" : "";
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(row);
    }
    return groups;
  }

  function point(chart, row, y) {
    return {
      x: value(chart, row, "x"), y: y === undefined ? value(chart, row, "y") : y,
      xLow: value(chart, row, "x_low"), xHigh: value(chart, row, "x_high"),
      yLow: value(chart, row, "y_low"), yHigh: value(chart, row, "y_high"),
      limit: value(chart, row, "limit"), marked: value(chart, row, "mark") === true, row,
    };
  }

  function positive(chart, rows) {
    return rows.filter((row) => chart.log.every((axis) => !(value(chart, row, axis) <= 0)));
  }

  function scatterSets(chart, rows, place, line) {
    const groups = grouped(chart, positive(chart, rows));
    return [...groups].map(([name, members], index) => {
      const points = members.map((row) => point(chart, row, place && place(row, index, groups.size)));
      return {
        label: name, data: points, showLine: line, ...look(chart, name, index), borderWidth: 2,
        pointRadius: points.map((item) => (item.marked ? 8 : line ? 3 : 5)), pointHoverRadius: 8,
      };
    });
  }

  // Whether some line holds several series, which are then drawn one below the other.
  function crowded(chart, rows) {
    const lines = new Map();
    for (const row of rows) {
      const name = value(chart, row, "y");
      lines.set(name, (lines.get(name) ?? new Set()).add(value(chart, row, "series")));
    }
    return [...lines.values()].some((found) => found.size > 1);
  }

  function categories(chart, rows) {
    const names = unique(rows.map((row) => value(chart, row, "y")));
    if (!SORTED.has(chart.y)) return names;
    const sums = new Map();
    for (const row of rows) {
      const name = value(chart, row, "y"), x = value(chart, row, "x");
      sums.set(name, chart.kind === "bars" ? (sums.get(name) ?? 0) + x : Math.min(sums.get(name) ?? Infinity, x));
    }
    // What got worse comes first among verdicts; elsewhere what costs least.
    const sign = chart.series === "verdict" ? -1 : 1;
    return names.sort((a, b) => sign * (sums.get(a) - sums.get(b)));
  }

  // From where to where an axis goes: whiskers, limits and rules count, as far as they do not dwarf the values.
  function extent(chart, rows, key) {
    const finite = (values) => values.filter((item) => typeof item === "number");
    const values = finite(rows.map((row) => value(chart, row, key)));
    // The last bin of a histogram ends behind the place where it begins.
    if (chart.kind === "histogram" && key === "x") values.push(...finite(rows.map((row) => row[chart.places.get("to_tokens")])));
    const ends = finite(rows.flatMap((row) => [`${key}_low`, `${key}_high`, key === "x" ? "limit" : ""]
      .map((name) => (name ? value(chart, row, name) : null))));
    const rules = key === "x" ? finite(chart.rules.map(([place]) => place)) : [];
    let low = values.reduce((a, b) => Math.min(a, b), Infinity), high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const log = chart.log.includes(key) && low > 0 && high / low >= 8;
    const span = high - low || Math.abs(high) || 1;
    // Where most whiskers are long, they are what there is to see.
    const reach = Math.max(2 * span, 1.2 * middle(rows.map((row) => length(chart, row, key))));
    const least = log ? low / 30 : low - reach, most = log ? high * 30 : high + reach;
    for (const end of [...ends, ...rules]) {
      const kept = rules.includes(end) && !log ? end : Math.min(Math.max(end, least), most);
      low = Math.min(low, kept);
      high = Math.max(high, kept);
    }
    if (log) return { log, min: low / 1.15, max: high * 1.15 };
    const pad = (high - low || Math.abs(high) || 1) * 0.05;
    // A verdict of no change lies at 0, and is to be seen whole.
    const fromZero = key === "x" && chart.kind === "intervals" && chart.series !== "verdict" && low >= 0
      && unit(chart, key).unit !== "";
    return { log, min: fromZero ? 0 : low - pad, max: high + pad };
  }

  function length(chart, row, key) {
    const [place, low, high] = ["", "_low", "_high"].map((end) => value(chart, row, key + end));
    return low === null || high === null ? null : Math.max(place - low, high - place);
  }

  function middle(values) {
    const sorted = values.filter((item) => item !== null).sort((a, b) => a - b);
    return sorted.length ? sorted[Math.floor(sorted.length / 2)] : 0;
  }

  function numberAxis(chart, rows, key) {
    const column = unit(chart, key);
    // Upright titles are short of room: what stands in brackets goes on a line of its own.
    const name = { title: { display: true, text: key === "y" ? column.title.split(/ (?=\()/) : column.title } };
    const text = (number) => formatted(number, column.unit);
    if (chart.kind === "bars" || (chart.kind === "histogram" && key === "y")) {
      return { type: "linear", beginAtZero: true, ...name, ticks: { callback: text, maxRotation: 50 } };
    }
    const { log, min, max } = extent(chart, rows, key);
    const round = (number) => [1, 2, 5].some((lead) =>
      Math.abs(number / 10 ** Math.floor(Math.log10(number) + 1e-9) - lead) < 1e-6);
    return {
      type: log ? "logarithmic" : "linear", min, max, ...name,
      ticks: { callback: (number) => (log && !round(number) ? "" : text(number)), maxRotation: 50, includeBounds: false },
    };
  }

  function configuration(chart, rows, width) {
    let sets, labels, y = ["bars", "intervals"].includes(chart.kind) ? null : numberAxis(chart, rows, "y");
    if (chart.kind === "bars" || chart.kind === "intervals") {
      labels = categories(chart, rows);
      chart.count = labels.length;
      if (!chart.all) labels = labels.slice(0, MOST);
      const places = new Map(labels.map((name, index) => [name, index]));
      const kept = rows.filter((row) => places.has(value(chart, row, "y")));
      if (chart.kind === "bars") {
        sets = [...grouped(chart, kept)].map(([name, members], index) => {
          const sums = labels.map(() => null);
          for (const row of members) {
            const place = places.get(value(chart, row, "y"));
            sums[place] = (sums[place] ?? 0) + value(chart, row, "x");
          }
          return { label: name, data: sums, ...look(chart, name, index), borderDash: [], maxBarThickness: 18 };
        });
        y = { type: "category", stacked: true, ticks: { autoSkip: false, callback: (index) => short(labels[index], width) } };
      } else {
        const apart = chart.apart = crowded(chart, kept);
        sets = scatterSets(chart, kept, (row, index, count) =>
          places.get(value(chart, row, "y")) + (apart ? (index - (count - 1) / 2) * Math.min(0.2, 0.7 / count) : 0), false);
        y = {
          type: "linear", reverse: true, min: -0.5, max: labels.length - 0.5, grid: { display: true },
          afterBuildTicks: (axis) => { axis.ticks = labels.map((_, index) => ({ value: index })); },
          ticks: { autoSkip: false, callback: (index) => short(String(labels[index] ?? ""), width) },
        };
      }
    } else if (chart.kind === "histogram") {
      const to = chart.places.get("to_tokens");
      sets = scatterSets(chart, rows, undefined, true).map((set) => {
        const last = set.data[set.data.length - 1];
        // A bin's count holds until the next bin begins; the last one ends at its upper edge.
        return { ...set, stepped: "before", pointRadius: 0, data: [...set.data, { ...last, x: last.row[to], y: 0 }] };
      });
    } else {
      sets = scatterSets(chart, rows, undefined, chart.kind === "lines");
    }
    if (chart.front) {
      const points = positive(chart, rows).filter((row) => value(chart, row, "front") === true)
        .map((row) => ({ x: value(chart, row, "x"), y: value(chart, row, "y") })).sort((a, b) => a.x - b.x);
      sets.push({
        label: "Pareto front", data: points, showLine: true, pointRadius: 0, pointHitRadius: 0, borderWidth: 2,
        borderColor: css("--soft"), backgroundColor: css("--soft"), borderDash: [6, 4], front: true, pointStyle: "line",
      });
    }
    return {
      type: chart.kind === "bars" ? "bar" : "scatter",
      data: chart.kind === "bars" ? { labels, datasets: sets } : { datasets: sets },
      options: {
        responsive: true, maintainAspectRatio: false, animation: false, indexAxis: chart.kind === "bars" ? "y" : "x",
        scales: { x: { ...numberAxis(chart, rows, "x"), stacked: chart.kind === "bars" }, y },
        plugins: {
          legend: {
            display: hasLegend(sets), position: "bottom", labels: { usePointStyle: true, boxHeight: 7, boxWidth: 12 },
          },
          tooltip: {
            filter: (item) => !item.dataset.front,
            callbacks: { title: (items) => title(chart, items, labels), label: (item) => label(chart, item) },
          },
        },
        onClick: (_, elements, drawing) => clicked(chart, elements, drawing, labels),
      },
      plugins: [extras],
    };
  }

  function hasLegend(sets) {
    return sets.length > 1 && sets.length <= 14;
  }

  // What the picture needs: a line for each category, lines of the legend, and the axis.
  function height(chart, made, width) {
    const sets = made.data.datasets;
    const wide = hasLegend(sets) ? sets.reduce((sum, set) => sum + 40 + 7 * set.label.length, 0) : 0;
    const legend = 20 * Math.ceil(wide / width);
    if (chart.kind !== "bars" && chart.kind !== "intervals") return 330 + legend;
    const lines = Math.min(chart.count, chart.all ? chart.count : MOST);
    return lines * (chart.apart ? Math.min(12 + 9 * sets.length, 90) : 22) + 80 + legend;
  }

  function title(chart, items, labels) {
    if (!items.length) return "";
    const { raw, dataIndex } = items[0];
    if (chart.kind === "bars") return labels[dataIndex];
    const name = chart.places.get("variant") ?? chart.places.get("benchmark") ?? chart.places.get("effect");
    return name === undefined || !raw.row ? "" : raw.row[name] ?? "";
  }

  function label(chart, item) {
    if (chart.kind === "bars") return `${item.dataset.label}: ${formatted(item.raw, unit(chart, "x").unit)}`;
    const parts = ["x", "y"].filter((key) => key === "x" || chart.kind !== "intervals").map((key) => {
      const column = unit(chart, key);
      const [low, high] = [value(chart, item.raw.row, `${key}_low`), value(chart, item.raw.row, `${key}_high`)];
      const ends = low === null || high === null ? "" : ` (${formatted(low, column.unit)} … ${formatted(high, column.unit)})`;
      return `${column.title}: ${formatted(item.raw[key], column.unit)}${ends}`;
    });
    return item.dataset.label ? [item.dataset.label, ...parts] : parts;
  }

  function clicked(chart, elements, drawing, labels) {
    if (!elements.length) return;
    const { datasetIndex, index } = elements[0];
    const raw = drawing.data.datasets[datasetIndex].data[index];
    const place = chart.places.get("variant");
    if (chart.kind === "bars" && chart.y === "variant") showRounds(labels[index]);
    else if (place !== undefined && raw && raw.row) showRounds(raw.row[place]);
  }

  function figureOf(chart) {
    return document.getElementById(`chart-${chart.name}`);
  }

  // Everything but the picture, which then has its room; null where nothing is left to draw.
  function prepared(chart, width) {
    const figure = figureOf(chart);
    const box = figure.querySelector(".canvas");
    if (chart.choose) choose(chart, figure);
    const rows = shown(chart);
    figure.querySelector(".nothing").hidden = rows.length > 0;
    box.hidden = rows.length === 0;
    const made = rows.length ? configuration(chart, rows, width) : null;
    if (made) box.style.height = `${height(chart, made, width)}px`;
    more(chart, figure);
    if (figure.querySelector("details").open) table(chart, figure);
    return made;
  }

  function draw(chart, width = room()) {
    waiting.delete(chart);
    const made = prepared(chart, width);
    drawn.get(chart.name)?.destroy();
    drawn.delete(chart.name);
    if (made) {
      const canvas = figureOf(chart).querySelector("canvas");
      drawn.set(chart.name, new Chart(canvas, { ...made, plugins: [sourceOf(chart), ...made.plugins] }));
    }
  }

  // Pixels across that every picture has.
  function room() {
    return printing ? PAPER : document.getElementById("content").clientWidth - 32;
  }

  // Far from what is seen: such charts are drawn when they come nearer.
  function isFar(chart) {
    const { top, bottom } = figureOf(chart).getBoundingClientRect();
    return top > 2 * innerHeight || bottom < -innerHeight;
  }

  // The chart's own data, for `extras`, before it draws for the first time.
  function sourceOf(chart) {
    return { id: "source", beforeInit(drawing) { drawing.$source = chart; } };
  }

  function choose(chart, figure) {
    const options = unique(filtered(chart).map((row) => value(chart, row, "choose")));
    if (!options.includes(chart.chosen)) chart.chosen = options[0] ?? null;
    let select = figure.querySelector("select");
    if (!select) {
      const name = document.createElement("label");
      select = document.createElement("select");
      select.addEventListener("change", () => { chart.chosen = select.value; draw(chart); });
      name.append(`${unit(chart, "choose").title} `, select);
      figure.querySelector(".controls").append(name);
    }
    select.replaceChildren(...options.map((text) => {
      const option = document.createElement("option");
      option.value = option.textContent = text;
      option.selected = text === chart.chosen;
      return option;
    }));
    select.disabled = options.length < 2;
  }

  function more(chart, figure) {
    let button = figure.querySelector("button.more");
    if (!(chart.count > MOST)) {
      button?.remove();
      return;
    }
    if (!button) {
      button = document.createElement("button");
      button.type = "button";
      button.className = "more";
      button.addEventListener("click", () => { chart.all = !chart.all; draw(chart); });
      figure.querySelector(".controls").append(button);
    }
    button.textContent = chart.all ? `show ${MOST} of ${chart.count}` : `show all ${chart.count}`;
  }

  function table(chart, figure) {
    const made = document.createElement("table");
    const head = made.createTHead().insertRow();
    for (const column of chart.columns) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = column.title;
      head.append(cell);
    }
    const body = made.createTBody();
    for (const row of shown(chart)) {
      const line = body.insertRow();
      row.forEach((item, index) => {
        const cell = line.insertCell();
        cell.textContent = formatted(item, chart.columns[index].unit);
        if (typeof item === "number") cell.className = "number";
      });
    }
    figure.querySelector(".table").replaceChildren(made);
  }

  // The rest, one at a time while nothing else is to be done, so that a page that is saved or photographed is whole.
  function drawWaiting() {
    clearTimeout(pending);
    const [next] = waiting;
    if (next === undefined) return;
    pending = setTimeout(() => {
      if (waiting.has(next)) draw(next);
      drawWaiting();
    }, 50);
  }

  function drawAll() {
    Chart.defaults.color = css("--ink");
    Chart.defaults.borderColor = css("--line");
    Chart.defaults.font.family = "system-ui, sans-serif";
    const width = room();
    // All places are asked for before any is changed, so that the page is laid out once.
    const far = new Set(printing ? [] : charts.filter(isFar));
    for (const chart of charts) {
      if (far.has(chart)) {
        waiting.add(chart);
        prepared(chart, width);
      } else draw(chart, width);
    }
    drawWaiting();
  }

  // --- rounds ---------------------------------------------------------------------------------------------------

  let roundsDrawing = null;

  function showRounds(variant) {
    const found = Object.hasOwn(data.rounds, variant) ? data.rounds[variant] : null;
    const dialog = document.getElementById("rounds");
    if (!found || !dialog) return;
    dialog.querySelector("h2").textContent = variant;
    const source = unique(found.map((item) => item.source)).join(" and ");
    const chart = decoded({
      name: "rounds", kind: "lines", rules: [], log: [], x: "round", y: "energy_j", series: "work",
      columns: [{ name: "work", title: "work", unit: "" }, { name: "round", title: "round", unit: "" },
        { name: "energy_j", title: `energy per request (${source})`, unit: "J" }],
      rows: found.flatMap((item) => item.energy_j.map((energy, index) => [item.work, 1 + index * item.step, energy]))
        .filter((row) => row[2] !== null),
    });
    dialog.querySelector(".note").textContent = found.map((item) =>
      `${item.work}: ${item.rounds} rounds${item.step > 1 ? `, every ${item.step}th shown` : ""}`).join("; ");
    if (typeof dialog.showModal === "function") dialog.showModal(); else dialog.setAttribute("open", "");
    roundsDrawing?.destroy();
    const made = configuration(chart, chart.rows, 600);
    roundsDrawing = new Chart(dialog.querySelector("canvas"), { ...made, plugins: [sourceOf(chart), ...made.plugins] });
    table(chart, dialog);
  }

  // --- controls -------------------------------------------------------------------------------------------------

  function weigh(group, weight) {
    const body = group.querySelector("tbody");
    group.querySelector("output").textContent = weight.toFixed(3);
    const scored = [...body.rows].map((row) => ({
      row, r: row.dataset.phi ? weight * Number(row.dataset.phi) + (1 - weight) * Number(row.dataset.rho) : null,
    }));
    scored.sort((a, b) => (b.r ?? -1) - (a.r ?? -1));
    scored.forEach(({ row, r }, index) => {
      row.querySelector(".place").textContent = r === null ? "–" : String(index + 1);
      row.querySelector(".r").textContent = r === null ? "–" : r.toFixed(3);
      body.append(row);
    });
  }

  function connect() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    for (const group of document.querySelectorAll(".ranking")) {
      const input = group.querySelector("input[type=range]");
      if (!input) continue;
      if (wanted.has("w")) input.value = wanted.get("w");
      input.addEventListener("input", () => weigh(group, Number(input.value)));
      for (const button of group.querySelectorAll("button[data-w]")) {
        button.addEventListener("click", () => { input.value = button.dataset.w; weigh(group, Number(input.value)); });
      }
      weigh(group, Number(input.value));
    }
    for (const select of document.querySelectorAll(".filters select")) {
      if (wanted.has(select.name)) select.value = wanted.get(select.name);
      filters[select.name] = select.value;
      select.addEventListener("change", () => { filters[select.name] = select.value; narrow(); drawAll(); });
    }
    const nearby = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        const chart = charts.find((item) => figureOf(item) === target);
        if (isIntersecting && waiting.has(chart)) draw(chart);
      }
    }, { rootMargin: "100% 0px" });
    for (const chart of charts) {
      const figure = figureOf(chart);
      nearby.observe(figure);
      figure.querySelector("details").addEventListener("toggle", () => {
        if (figure.querySelector("details").open) table(chart, figure);
      });
      const link = figure.querySelector("a.csv");
      const fill = () => { link.href = `data:text/csv;charset=utf-8,${encodeURIComponent(csv(chart))}`; };
      for (const kind of ["focus", "pointerenter", "click"]) link.addEventListener(kind, fill);
    }
    for (const button of document.querySelectorAll("button.variant")) {
      button.addEventListener("click", () => showRounds(button.dataset.variant));
    }
    document.querySelector("#rounds button.close")?.addEventListener("click", () => {
      document.getElementById("rounds").close();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
    addEventListener("beforeprint", () => {
      printing = true;
      drawAll();
      for (const drawing of drawn.values()) drawing.resize(PAPER, drawing.height);
    });
    addEventListener("afterprint", () => { printing = false; drawAll(); });
  }

  function narrow() {
    for (const row of document.querySelectorAll(".ranking tbody tr")) {
      row.hidden = Boolean(filters.model) && row.dataset.model !== filters.model;
    }
  }

  connect();
  narrow();
  drawAll();
  root.dataset.charts = String(drawn.size);
  root.dataset.rendered = String(Math.round(performance.now() - started)); // milliseconds
  root.dataset.ready = String(Math.round(performance.now())); // the same, since the page was opened
})();

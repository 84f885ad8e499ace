// Draws the table inside of each [data-curves] as curves, with uPlot: log scale, smoothing, a legend that hides and
// shows, and both as files. The table stays, for whoever reads it, and for who has no script.
const HEIGHT = 300, COLOURS = 8, DASHES = [[], [6, 3], [2, 3]];
const drawn = new Map();  // id -> {chart, log, smooth, hidden}: what was chosen outlives a renewal
const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function read(table) {
  const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => {
    const text = cell.textContent.trim();
    return text === "" || Number.isNaN(Number(text)) ? null : Number(text);
  }));
  return { names, columns: names.map((_, place) => rows.map((row) => row[place])) };
}

// An exponential moving average that begins without a bias to 0; gaps stay gaps.
function smoothed(values, weight) {
  if (!weight) return values;
  let sum = 0, mass = 0;
  return values.map((value) => {
    if (value === null) return null;
    sum = sum * weight + value * (1 - weight);
    mass = mass * weight + (1 - weight);
    return sum / mass;
  });
}

function element(name, more = {}, ...inside) {
  const made = Object.assign(document.createElement(name), more);
  made.append(...inside);
  return made;
}

function save(name, blob) {
  const href = URL.createObjectURL(blob);
  element("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 1000);
}

function csv({ names, columns }) {
  const quoted = (text) => `"${(/^[=+\-@\t\r]/.test(text) ? "'" : "") + text.replaceAll('"', '""')}"`;
  const lines = columns[0].map((_, row) => columns.map((column) => column[row] ?? "").join(","));
  return [names.map(quoted).join(","), ...lines].join("\r\n") + "\r\n";
}

// The canvas has no title and no legend: both are drawn under and over it.
function png(title, chart, names) {
  const scale = devicePixelRatio || 1, source = chart.ctx.canvas, line = 20 * scale, shown = chart.series.slice(1);
  const canvas = element("canvas", { width: source.width, height: source.height + line * (2 + shown.length) });
  const context = canvas.getContext("2d");
  context.fillStyle = token("--raised");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(source, 0, line * 1.5);
  context.font = `${14 * scale}px sans-serif`;
  context.fillStyle = token("--ink");
  context.fillText(title, 8 * scale, line);
  let y = source.height + line * 2;
  shown.forEach((series, place) => {
    if (!series.show) return;
    context.fillStyle = colour(place);
    context.fillRect(8 * scale, y - 9 * scale, 18 * scale, 4 * scale);
    context.fillStyle = token("--ink");
    context.fillText(names[place + 1], 34 * scale, y);
    y += line;
  });
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

const colour = (place) => token(`--curve-${(place % COLOURS) + 1}`);

// uPlot's legend hides and shows curves for a mouse; this does for a keyboard.
function operable(label, series) {
  Object.assign(label, { tabIndex: 0, role: "button", ariaPressed: String(series.show) });
  label.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    label.click();
  });
  label.addEventListener("click", () => queueMicrotask(() => { label.ariaPressed = String(series.show); }));
}

function draw(host) {
  const table = host.querySelector("table:not(.u-legend)");  // the legend of what was drawn before is one, too
  if (!table?.tHead || !window.uPlot) return;
  const figures = read(table), title = host.dataset.title || table.caption.textContent.trim();
  if (!figures.columns[0]?.length) return;
  const kept = drawn.get(host.id) ?? { log: "log" in host.dataset, smooth: 0, hidden: new Set(), chart: null, seen: null };
  kept.chart?.destroy();
  kept.seen?.disconnect();
  host.querySelectorAll(":scope > .controls, :scope > .chart").forEach((one) => one.remove());
  const place = element("div", { className: "chart" });
  const positive = figures.columns.slice(1).flat().every((value) => value === null || value > 0);
  const log = element("input", { type: "checkbox", checked: kept.log && positive, disabled: !positive });
  const smooth = element("input", { type: "range", min: 0, max: 0.95, step: 0.05, value: kept.smooth });
  const button = (word) => element("button", { type: "button", className: "quiet", textContent: word });
  const asPng = button("PNG"), asCsv = button("CSV");
  asPng.ariaLabel = `Download ${title} as PNG`;
  asCsv.ariaLabel = `Download ${title} as CSV`;
  const controls = element("div", { className: "controls" },
    element("strong", { textContent: title }),
    element("label", {}, log, positive ? "log scale" : "log scale (only of what is above 0)"),
    element("label", {}, "smoothing", smooth), asPng, asCsv);
  host.prepend(controls, place);

  const width = () => Math.max(240, place.clientWidth);
  const axis = { stroke: token("--soft"), grid: { stroke: token("--line"), width: 1 }, ticks: { stroke: token("--line") } };
  function build() {
    kept.chart?.destroy();
    const columns = [figures.columns[0], ...figures.columns.slice(1).map((one) => smoothed(one, kept.smooth))];
    const series = figures.names.slice(1).map((label, index) => ({
      label, stroke: colour(index), width: 2, dash: DASHES[Math.floor(index / COLOURS) % DASHES.length],
      show: !kept.hidden.has(label), points: { show: columns[0].length < 40 }, spanGaps: false,
      value: (_, value) => (value === null ? "–" : String(value)),
    }));
    kept.chart = new uPlot({
      width: width(), height: HEIGHT, scales: { x: { time: false }, y: kept.log && positive ? { distr: 3 } : {} },
      axes: [{ ...axis, label: figures.names[0], labelSize: 18, size: 34, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] }, { ...axis, size: 64 }],
      series: [{ label: figures.names[0] }, ...series], legend: { live: true }, cursor: { drag: { x: true, y: false } },
      hooks: { setSeries: [(chart) => { kept.hidden = new Set(chart.series.slice(1).filter((one) => !one.show).map((one) => one.label)); }] },
    }, columns, place);
    const canvas = kept.chart.ctx.canvas;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${title} over ${figures.names[0]}; the table below has the same figures`);
    place.querySelectorAll(".u-series .u-label").forEach((label, index) => { if (index) operable(label, kept.chart.series[index]); });
  }
  log.addEventListener("change", () => { kept.log = log.checked; build(); });
  smooth.addEventListener("input", () => { kept.smooth = Number(smooth.value); build(); });
  asCsv.addEventListener("click", () => save(`${title}.csv`, new Blob([csv(figures)], { type: "text/csv" })));
  asPng.addEventListener("click", async () => save(`${title}.png`, await png(title, kept.chart, figures.names)));
  build();
  kept.seen = new ResizeObserver(() => {
    if (kept.chart.width !== width()) kept.chart.setSize({ width: width(), height: HEIGHT });
  });
  kept.seen.observe(place);
  if (host.id) drawn.set(host.id, kept);
}

const all = (root) => root.querySelectorAll("[data-curves]").forEach(draw);
all(document);
document.addEventListener("renewed", (event) => all(event.target));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => all(document));

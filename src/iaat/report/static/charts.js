// Charts in the colours of the theme, each with a sentence that says the same and a table of its data.

// ---- Colours: those of the style sheet in the current theme ----

const swatch = document.body.appendChild(element("span", { hidden: true }));
function color(name) {
  swatch.style.color = `var(--${name})`;
  return getComputedStyle(swatch).color;
}
const series = (number) => (number % 7 === 6 ? color("ink") : color(`series-${number % 7}`));
const marker = (number) => ({ color: series(number), symbol: symbols[number % symbols.length], size: 9 });
const line = (number) => ({ color: series(number), dash: dashes[number % dashes.length], width: 2 });
const faded = (number, alpha) => series(number).replace("rgb(", "rgba(").replace(")", `, ${alpha})`);
const ramp = () => [[0, color("low")], [1, color("high")]];

// ---- Charts ----

const charts = new Set();
// Set by page.js.
// biome-ignore lint/style/useConst: page.js assigns it.
let printing = false;

function themed(layout, height) {
  const axis = {
    gridcolor: color("line"), linecolor: color("faint"), zeroline: false, automargin: true, fixedrange: true,
    tickfont: { color: color("muted"), size: 12 },
  };
  const axes = { xaxis: layout.xaxis ?? {}, yaxis: layout.yaxis ?? {} };
  for (const [name, own] of Object.entries(axes)) {
    axes[name] = { ...axis, ...own, title: { text: own.title ?? "", font: { color: color("muted"), size: 12.5 },
      standoff: 10 } };
  }
  return {
    autosize: true, height, dragmode: false, hovermode: "closest", uirevision: "kept",
    ...(printing ? { autosize: false, width: 660 } : {}),
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 56, r: 16, t: 12, b: 48 },
    font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: color("ink") },
    legend: { orientation: "h", y: -0.22, x: 0, yanchor: "top", font: { size: 12 }, itemclick: "toggle" },
    hoverlabel: { bgcolor: color("raised"), bordercolor: color("faint"), font: { color: color("ink") }, namelength: -1,
      align: "left" },
    ...layout, ...axes,
  };
}

// Compiling Plotly takes longer than all else on the page, so it waits for the first chart that comes near.
function loadPlotly() {
  if (!("Plotly" in window)) document.head.append(element("script", { textContent: find("plotly").textContent }));
}

const nearing = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) target.dispatchEvent(new Event(isIntersecting ? "near" : "far"));
}, { rootMargin: "60% 0px" });

/** Add a chart to a host. Its title and sentence are there at once, its picture when it comes near the window; while it is
 * far away the picture stays as it was.
 * @param {HTMLElement} host
 * @param {() => Chart | null} make Gives what the chart shows now; null for nothing.
 * @param {{ wide?: boolean, controls?: HTMLElement | null, onpaint?: (plot: PlotElement) => void }} options
 *   `onpaint` is called once, when the picture is there. */
function chart(host, make, { wide = false, controls = null, onpaint } = {}) {
  const title = element("h3");
  const plot = /** @type {PlotElement} */ (element("div", { className: "plot", role: "img" }));
  const alt = element("p", { className: "alt" });
  const rows = element("div");
  const details = element("details", { ontoggle: fill }, element("summary", {}, "Data"), rows);
  const box = element("figure", { className: wide ? "chart wide" : "chart" },
    element("figcaption", {}, title), plot, controls, alt, details);
  /** @type {Chart | null} */
  let made = null;
  let near = false;
  let stale = true;
  host.append(box);

  function fill() {
    if (!details.open || made === null) return;
    const { title: name, columns, rows: cells } = made;
    rows.replaceChildren(
      button("Download CSV", () => download(name, columns, cells)), " ",
      button("Save picture (SVG)", () => Plotly.downloadImage(plot, { format: "svg", filename: fileName(name) })),
      table(`${name}.`, columns, cells));
  }

  function draw(all = false) {
    made = make();
    box.hidden = made === null;
    if (made === null) return;
    title.textContent = title.title = made.title;
    alt.textContent = made.alt;
    plot.ariaLabel = `${made.title}. ${made.alt}`;
    plot.style.minHeight = `${made.height ?? 340}px`;
    stale = !(near || printing || (all && plot.layout));
    if (!stale) paint(made);
    fill();
  }

  function paint({ data, layout = {}, height = 340 }) {
    const first = !plot.layout;
    loadPlotly();
    Plotly.react(plot, data, themed(layout, height), { displayModeBar: false });
    if (first) onpaint?.(plot);
  }

  plot.addEventListener("near", () => {
    near = true;
    if (stale) draw();
  });
  plot.addEventListener("far", () => { near = false; });
  nearing.observe(plot);
  const observer = new ResizeObserver(() => plot.layout?.autosize && plot.offsetWidth && Plotly.Plots.resize(plot));
  const entry = { plot, draw, observer };
  charts.add(entry);
  draw();
  observer.observe(plot);
  return entry;
}

function redrawAll() {
  for (const entry of charts) {
    if (entry.plot.isConnected) entry.draw(true);
    else forget(entry);
  }
}

function forget(entry) {
  entry.observer.disconnect();
  nearing.unobserve(entry.plot);
  if (entry.plot.layout) Plotly.purge(entry.plot);
  charts.delete(entry);
}

const figuresIn = (host) => host.appendChild(element("div", { className: "figures" }));
const hover = "%{text}<extra></extra>";

/** The part of a layout that lets a range of x be chosen by dragging, and shows the one that is.
 * @param {(number | null)[] | null} range Its ends; null for one that is open, or for none.
 * @param {number} most The end of the axis.
 * @param {number} top The upper end of the y axis: Plotly takes the height of a range for values of the axis,
 *   whatever its reference. */
function brush(range, most, top) {
  const line = { color: color("accent"), width: 1, dash: "dot" };
  const [low, high] = range ?? [null, null];
  return { dragmode: "select", selectdirection: "h", uirevision: Math.random(), newselection: { line },
    selections: known(low) || known(high) ? [{ type: "rect", xref: "x", yref: "y", line, y0: 0, y1: top,
      x0: Math.max(low ?? 0, 0), x1: Math.min(high ?? most, most) }] : [] };
}

/** Call a function with the range that was chosen by dragging over a chart, to the digits that are shown of the images'
 * radii; its ends are null if it was taken back. */
function onBrush(plot, most, call) {
  const { digits } = unitOf(imageNorm);
  plot.on("plotly_selected", (event) => {
    if (!event?.range?.x) return;
    const [low, high] = [...event.range.x].sort((a, b) => a - b);
    call({ low: Number(fixed(Math.max(0, low), digits)),
      high: Number((Math.min(most, high) + 0.5 / 10 ** digits).toFixed(digits)) });
  });
  plot.on("plotly_deselect", () => call({ low: null, high: null }));
}

/** A heat map for Plotly; `text` is what its cells say under the pointer.
 * @param {Record<string, any>} options */
function heat({ z, x, y, text, scale = ramp(), range, bar, barLength = 1, ...more }) {
  return {
    type: "heatmap", z, x, y, text, hovertemplate: hover, colorscale: scale, xgap: 1, ygap: 1,
    zmin: range?.[0], zmax: range?.[1], hoverongaps: false, textfont: { color: color("ink") },
    colorbar: { thickness: 10, len: barLength, outlinewidth: 0, tickfont: { color: color("muted"), size: 11 },
      title: { text: bar, side: "right", font: { color: color("muted"), size: 12 } } },
    ...more,
  };
}

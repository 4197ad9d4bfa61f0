// Charts that follow the theme, each with a sentence that says the same and a table of its data.

// ---- Colours: the style sheet's, as they are in the theme of the moment ----

const probe = document.body.appendChild(element("span", { hidden: true }));
function color(name) {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}
const series = (number) => (number % 7 === 6 ? color("ink") : color(`series-${number % 7}`));
const marker = (number) => ({ color: series(number), symbol: symbols[number % symbols.length], size: 9 });
const line = (number) => ({ color: series(number), dash: dashes[number % dashes.length], width: 2 });
const faded = (number, alpha) => series(number).replace("rgb(", "rgba(").replace(")", `, ${alpha})`);
const ramp = () => [[0, color("low")], [1, color("high")]];

// ---- Charts ----

const charts = new Set();
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

/**
 * Add a chart to a host. `make` gives what it shows now, or null for nothing: title, alt (one sentence that says the
 * same), data and layout for Plotly, columns and rows of its table.
 */
function chart(host, make, { wide = false, controls = null } = {}) {
  const title = element("h3");
  const plot = element("div", { className: "plot", role: "img" });
  const alt = element("p", { className: "alt" });
  const rows = element("div");
  const details = element("details", { ontoggle: fill }, element("summary", {}, "Data"), rows);
  const box = element("figure", { className: wide ? "chart wide" : "chart" },
    element("figcaption", {}, title), plot, controls, alt, details);
  let made = null;
  host.append(box);

  function fill() {
    if (!details.open || made === null) return;
    rows.replaceChildren(
      button("Download CSV", () => download(made.title, made.columns, made.rows)), " ",
      button("Save picture (SVG)", () => Plotly.downloadImage(plot, { format: "svg", filename: fileName(made.title) })),
      table(`${made.title}.`, made.columns, made.rows));
  }

  function draw() {
    made = make();
    box.hidden = made === null;
    if (made === null) return;
    title.textContent = title.title = made.title;
    alt.textContent = made.alt;
    plot.ariaLabel = `${made.title}. ${made.alt}`;
    Plotly.react(plot, made.data, themed(made.layout ?? {}, made.height ?? 340), { displayModeBar: false });
    fill();
  }

  const watch = new ResizeObserver(() => plot.layout?.autosize && plot.offsetWidth && Plotly.Plots.resize(plot));
  const entry = { plot, draw, watch };
  charts.add(entry);
  draw();
  watch.observe(plot);
  return entry;
}

function redrawAll() {
  for (const entry of charts) {
    if (entry.plot.isConnected) entry.draw();
    else forget(entry);
  }
}

function forget(entry) {
  entry.watch.disconnect();
  Plotly.purge(entry.plot);
  charts.delete(entry);
}

const figuresIn = (host) => host.appendChild(element("div", { className: "figures" }));
const hover = "%{text}<extra></extra>";

function heat({ z, x, y, text: words, scale, range, bar, barLength = 1, ...more }) {
  return {
    type: "heatmap", z, x, y, text: words, hovertemplate: hover, colorscale: scale ?? ramp(), xgap: 1, ygap: 1,
    zmin: range?.[0], zmax: range?.[1], hoverongaps: false, textfont: { color: color("ink") },
    colorbar: { thickness: 10, len: barLength, outlinewidth: 0, tickfont: { color: color("muted"), size: 11 },
      title: { text: bar, side: "right", font: { color: color("muted"), size: 12 } } },
    ...more,
  };
}

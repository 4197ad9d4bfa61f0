// Radii of the runs.

function radii(host) {
  const chooser = find("radii-run");
  const figures = figuresIn(host);
  const first = runs.findIndex((run, number) => Object.keys(run.quantiles).length || of(number));
  const shown = () => chosen.run ?? first;
  /** @returns {any} */
  function of(number) {
    return content.radii.find((part) => part.run === number);
  }

  const ends = () => of(shown()).edges;
  // Whether the run is the one of gallery and wall, so that their filters mean its images.
  const ofImages = () => Boolean(wall) && shown() === wall.run;

  const slider = element("input", { type: "range", min: 0, step: 1 });
  const output = element("output");
  const play = button("Play", () => (timer === null ? start() : stop()));
  const controls = element("div", { className: "controls" }, element("label", {}, "Epoch", slider), output, play);
  let timer = null;
  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }
  function start() {
    if (Number(slider.value) >= Number(slider.max)) {
      slider.value = 0;
      toEpoch();
    }
    play.textContent = "Pause";
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      toEpoch();
      if (Number(slider.value) >= Number(slider.max)) stop();
    }, Math.max(60, 4000 / (Number(slider.max) + 1)));
  }
  function toEpoch() {
    const { epochs } = of(shown());
    select({ epoch: Number(slider.value) === epochs.length - 1 ? null : epochs[Number(slider.value)] }, false);
  }
  function reset() {
    const { epochs } = of(shown()) ?? { epochs: [0] };
    const { epoch } = chosen;
    slider.max = epochs.length - 1;
    slider.value = known(epoch) ? Math.max(0, epochs.findLastIndex((one) => one <= epoch)) : slider.max;
    if (chooser) chooser.value = shown();
  }
  reset();
  const entries = first < 0 ? [] : [
    chart(figures, histogram, { controls, onpaint: (plot) => onBrush(plot, ends().at(-1), (range) =>
      ofImages() && select({ ...range, at: known(range.low) ? chosen.epoch : null })) }), chart(figures, bands), chart(figures, boxes), chart(figures, norms),
  ];
  slider.addEventListener("input", toEpoch);
  chooser?.addEventListener("change", () => {
    stop();
    select({ run: Number(chooser.value) === first ? null : Number(chooser.value), epoch: null });
  });
  follow((changed) => {
    reset();
    if (changed.has("run")) for (const entry of entries) entry.draw();
    else if (["epoch", ...filterNames].some((name) => changed.has(name))) entries[0]?.draw();
  });
  if (content.stability.length) chart(figures, stability);

  /** How many of the chosen images are in each bin after an epoch; null where no filter is set. */
  function countChosen(edges, epoch) {
    if (!ofImages() || !filterText()) return null;
    const steps = stepsAfter(wallPlace(epoch));
    const { of } = matching();
    const counts = new Array(edges.length - 1).fill(0);
    const scale = counts.length / (edges.at(-1) - edges[0]);
    for (let k = 0; k < of.length; k += 1) {
      if (of[k]) counts[Math.min(counts.length - 1, Math.max(0, Math.floor((steps[k] * wall.step - edges[0]) * scale)))] += 1;
    }
    return counts;
  }

  function histogram() {
    const part = of(shown());
    if (!part?.epochs.length) return null;
    const place = Number(slider.value);
    const { norm } = runs[shown()];
    const middle = part.edges.slice(1).map((edge, k) => (edge + part.edges[k]) / 2);
    const width = part.edges.slice(1).map((edge, k) => edge - part.edges[k]);
    const counts = part.counts[place];
    const most = counts.indexOf(Math.max(...counts));
    const range = (k) => lengthRange(Math.max(0, part.edges[k]), part.edges[k + 1], norm);
    const labels = (of, epoch) => of.map((count, k) => `${range(k)}: ${plural(count, "image")} after epoch ${epoch}`);
    output.textContent = `after epoch ${part.epochs[place]}`;
    slider.ariaValueText = output.textContent;
    const last = part.counts[part.counts.length - 1];
    const filtered = countChosen(part.edges, part.epochs[place]);
    const top = 1.05 * Math.max(...counts, ...last);
    const steady = { selected: { marker: { opacity: 1 } }, unselected: { marker: { opacity: 1 } } };
    return {
      title: "Radii of the images",
      alt: `After epoch ${part.epochs[place]} of ${part.epochs.at(-1)} most images, ${counts[most]} of ${counts.reduce((a, b) => a + b, 0)} in one bin, have radii of ${range(most)}.${filtered ? ` ${filtered.reduce((a, b) => a + b, 0)} are chosen by the filters.` : ""}`,
      data: [
        { type: "bar", x: middle, y: counts, width, marker: { color: filtered ? color("faint") : series(0), line: { width: 0 } },
          ...steady, name: "this epoch", text: labels(counts, part.epochs[place]), textposition: "none", hovertemplate: hover },
        ...(filtered ? [{ type: "bar", x: middle, y: filtered, width, marker: { color: series(0), line: { width: 0 } },
          ...steady, name: "chosen by the filters", hoverinfo: "skip" }] : []),
        { type: "scatter", mode: "lines", visible: last !== counts, x: middle, y: last,
          line: { shape: "hvh", color: color("ink"), width: 1, dash: "dot" }, name: "last epoch", hoverinfo: "skip" },
      ],
      layout: { bargap: 0, barmode: "overlay",
        ...(ofImages() && (chosen.at ?? null) === chosen.epoch ? brush([chosen.low, chosen.high], part.edges.at(-1), top)
          : ofImages() ? brush(null, 0, top) : {}),
        xaxis: { title: inUnit("radius", norm), range: [part.edges[0], part.edges.at(-1)] },
        yaxis: { title: "images", range: [0, top] } },
      columns: [columnName("from", norm), columnName("to", norm), ...part.epochs.map((epoch) => `epoch ${epoch}`)],
      rows: middle.map((_, k) => [part.edges[k], part.edges[k + 1], ...part.counts.map((row) => row[k])]),
    };
  }

  function bands() {
    const { quantiles, curves, norm } = runs[shown()];
    const levels = ["5", "25", "50", "75", "95"];
    if (!levels.every((level) => quantiles[level]?.length)) return null;
    const epochs = quantiles["50"].map((_, k) => k + 1);
    const edge = (level, more) => ({ type: "scatter", mode: "lines", x: epochs, y: quantiles[level], line: { width: 0 },
      hoverinfo: "skip", showlegend: false, ...more });
    const mean = curves.radius_mean;
    return {
      title: "Radii over the training",
      alt: `The median radius goes from ${lengthText(quantiles["50"].find(known), norm)} to ${lengthText(lastKnown(quantiles["50"]), norm)} in ${plural(epochs.length, "epoch")}; at the end 90 % of the images lie between ${lengthText(lastKnown(quantiles["5"]), norm)} and ${lengthText(lastKnown(quantiles["95"]), norm)}.`,
      data: [
        edge("5"), edge("95", { fill: "tonexty", fillcolor: faded(0, 0.15), name: "5 to 95 %", showlegend: true }),
        edge("25"), edge("75", { fill: "tonexty", fillcolor: faded(0, 0.3), name: "25 to 75 %", showlegend: true }),
        { type: "scatter", mode: "lines", x: epochs, y: quantiles["50"], line: { color: series(0), width: 2.5 },
          name: "median", hovertemplate: `epoch %{x}: median ${hoverLength(norm)}<extra></extra>` },
        ...(mean ? [{ type: "scatter", mode: "lines", x: epochs, y: mean,
          line: { color: series(1), width: 2, dash: "dash" }, name: "mean",
          hovertemplate: `epoch %{x}: mean ${hoverLength(norm)}<extra></extra>` }] : []),
      ],
      layout: { xaxis: { title: "epoch" }, yaxis: { title: inUnit("radius", norm), rangemode: "tozero" } },
      columns: ["epoch", ...levels.map((level) => `${level} %`), "mean"],
      rows: epochs.map((epoch, k) => [epoch, ...levels.map((level) => quantiles[level][k]), mean?.[k] ?? null]),
    };
  }

  function boxes() {
    const all = (of(shown())?.by_class ?? []).flatMap((values, number) => (values ? [{ number, values }] : []));
    if (!all.length) return null;
    const sorted = [...all].sort((a, b) => a.values["50"] - b.values["50"]);
    const [low, high] = [sorted[0], sorted[sorted.length - 1]];
    const drawn = sorted.length > 40 ? [...sorted.slice(0, 15), ...sorted.slice(-15)] : sorted;
    const at = drawn.map((_, k) => drawn.length - 1 - k);
    const values = (level) => drawn.map((entry) => entry.values[level]);
    const { norm } = runs[shown()];
    return {
      title: "Radii by class",
      alt: `${className(low.number)} has the smallest median radius, ${lengthText(low.values["50"], norm)}, and ${className(high.number)} the largest, ${lengthText(high.values["50"], norm)}; boxes hold half of a class, whiskers 90 %.${sorted.length > 40 ? " The 15 classes at either end are drawn." : ""}`,
      data: [{
        type: "box", orientation: "h", y: at, lowerfence: values("5"), q1: values("25"), median: values("50"),
        q3: values("75"), upperfence: values("95"),
        line: { color: series(0), width: 1.5 }, fillcolor: faded(0, 0.2), whiskerwidth: 0.5, hoverinfo: "x", name: "",
      }],
      height: 90 + 25 * drawn.length,
      layout: { showlegend: false, xaxis: { title: inUnit("radius", norm), rangemode: "tozero" },
        yaxis: { tickvals: at, ticktext: drawn.map((entry) => label(className(entry.number), 22)), showgrid: false } },
      columns: ["class", "5 %", "25 %", "50 %", "75 %", "95 %"],
      rows: all.map((entry) => [className(entry.number), ...["5", "25", "50", "75", "95"].map(
        (level) => entry.values[level])]),
    };
  }

  function norms() {
    const pairs = of(shown())?.norms;
    if (!pairs?.radius?.length) return null;
    const { norm } = runs[shown()];
    const searched = lengthText(pairs.searched, pairs.norm);
    const group = (adversarial, name, color, symbol) => {
      const places = pairs.smallest.flatMap((size, k) => (known(size) === adversarial ? [k] : []));
      const y = places.map((k) => pairs.smallest[k] ?? pairs.searched);
      return {
        type: "scatter", mode: "markers", name: `${name} (${places.length})`, x: places.map((k) => pairs.radius[k]),
        y, marker: { color, symbol, size: 6, opacity: 0.6 },
        text: places.map(
          (k) => `radius ${lengthText(pairs.radius[k], norm)}<br>${adversarial ? `adversarial at ${lengthText(pairs.smallest[k], pairs.norm)}` : `robust up to ${searched}`}`), hovertemplate: hover,
      };
    };
    const data = [group(true, "adversarial", series(0), "circle"),
      group(false, `robust up to ${searched}`, series(1), "triangle-up-open")].filter(
      (trace) => trace.x.length);
    return {
      title: "Radius against the smallest adversarial norm",
      alt: `Over ${plural(pairs.radius.length, "image")} the rank correlation of radius and smallest measured norm is ${fixed(pairs.correlation)}.`,
      data, layout: { showlegend: true, xaxis: { title: inUnit("radius", norm), rangemode: "tozero" },
        yaxis: { title: inUnit("smallest adversarial norm", pairs.norm), rangemode: "tozero" } },
      columns: ["index", columnName("radius", norm), columnName("norm", pairs.norm)],
      rows: pairs.radius.map((radius, k) => [pairs.index?.[k] ?? k, radius, pairs.smallest[k]]),
    };
  }

  function stability() {
    const numbers = [...new Set(content.stability.flatMap((pair) => [pair.first, pair.second]))].sort((a, b) => a - b);
    const pairOf = (a, b) => content.stability.find((pair) => (pair.first === a && pair.second === b) ||
      (pair.first === b && pair.second === a));
    const z = numbers.map((a) => numbers.map((b) => (a === b ? null : pairOf(a, b)?.correlation ?? null)));
    const least = content.stability.reduce((a, b) => (b.correlation < a.correlation ? b : a));
    const names = numbers.map((number) => label(runs[number].name, 18));
    return {
      title: "Rank correlation of radii between runs",
      alt: `Spearman's rank correlation of last radii is lowest, ${fixed(least.correlation)} over ${least.n} images, between ${runs[least.first].name} and ${runs[least.second].name}.`,
      data: [heat({
        z, x: numbers.map((_, k) => k), y: numbers.map((_, k) => k), range: [0, 1], bar: "rank correlation",
        texttemplate: "%{z:.2f}",
        text: numbers.map(
          (a) => numbers.map(
          (b) => `${runLabel(a)}<br>${runLabel(b)}<br>${fixed(pairOf(a, b)?.correlation)} over ${pairOf(a, b)?.n ?? missing} images`)),
      })],
      height: Math.max(260, 120 + 60 * numbers.length),
      layout: { xaxis: { tickvals: numbers.map((_, k) => k), ticktext: names, showgrid: false, tickangle: 40 },
        yaxis: { tickvals: numbers.map((_, k) => k), ticktext: names, showgrid: false, autorange: "reversed" } },
      columns: ["first", "second", "correlation", "n"],
      rows: content.stability.map((pair) => [runs[pair.first].name, runs[pair.second].name, pair.correlation, pair.n]),
    };
  }
}

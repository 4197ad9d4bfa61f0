// Results of the runs: trade-off, loss surfaces, corruptions, training.

// ---- Trade-off ----

function tradeoff(host) {
  const figures = figuresIn(host);
  const suites = [...new Set(content.verdicts.map((verdict) => verdict.suite))];
  const chooser = find("tradeoff-suite");
  const robust = (verdict) => Object.values(verdict.attacks).at(-1);
  const attacked = content.verdicts.filter((verdict) => known(robust(verdict)));
  if (attacked.length) {
    const entry = chart(figures, () => points(suites[Number(chooser?.value ?? 0)]));
    chooser?.addEventListener("change", entry.draw);
  }
  if (content.curves.length) chart(figures, curves);

  function points(suite) {
    const shown = attacked.filter((verdict) => verdict.suite === suite);
    if (!shown.length) return null;
    const bars = (verdict, key, value) => {
      const [low, high] = verdict.interval95[key] ?? [value, value];
      return { type: "data", symmetric: false, array: [100 * (high - value)], arrayminus: [100 * (value - low)],
        thickness: 1, width: 3, color: faded(verdict.run, 0.55) };
    };
    /** @type {Record<string, any>[]} */
    const data = shown.map((verdict) => {
      const last = Object.keys(verdict.attacks).at(-1);
      return {
        type: "scatter", mode: "markers", x: [100 * verdict.clean], y: [100 * robust(verdict)],
        error_x: bars(verdict, "clean", verdict.clean), error_y: bars(verdict, last, robust(verdict)),
        marker: { ...marker(verdict.run), size: 11, symbol: symbols[verdict.run % symbols.length] + (
          verdict.checkpoint === "best" ? "" : "-open") },
        name: runLabel(verdict.run), legendgroup: verdict.run, hovertemplate: hover,
        showlegend: shown.find((other) => other.run === verdict.run) === verdict,
        text: [`${runLabel(verdict.run)}<br>${safe(verdict.checkpoint)} checkpoint<br>clean ${percent(verdict.clean)}<br>${safe(last)} ${percent(robust(verdict))}`],
      };
    });
    const path = (of, name, dash, tone) => ({
      type: "scatter", mode: "lines", x: of.map((verdict) => 100 * verdict.clean),
      y: of.map((verdict) => 100 * robust(verdict)),
      name, line: { color: color(tone), dash, width: 1.5 }, hoverinfo: "skip",
    });
    const byClean = [...shown].sort((a, b) => b.clean - a.clean || robust(b) - robust(a));
    const frontier = byClean.filter((verdict, place) => byClean.slice(0, place)
      .every((other) => robust(other) < robust(verdict)));
    const references = [["pgd_at", "one radius for all (PGD-AT)", "dot"], ["trades", "TRADES", "dashdot"]];
    for (const [method, name, dash] of references) {
      const kept = shown.some((verdict) => verdict.checkpoint === "best") ? "best" : shown[0].checkpoint;
      const of = byClean.filter((verdict) => runs[verdict.run].method === method && verdict.checkpoint === kept);
      if (of.length > 1) data.unshift(path(of, name, dash, "ink"));
    }
    if (frontier.length > 1) data.unshift(path(frontier, "Pareto frontier", "solid", "muted"));
    const top = frontier[frontier.length - 1];
    return {
      title: `Clean against robust accuracy, ${shown[0].worst_case}`,
      alt: `Of ${plural(shown.length, "evaluation")} the most robust is ${runs[top.run].name} (${top.checkpoint}) with ${percent(robust(top))} in the ${shown[0].worst_case} and ${percent(top.clean)} clean; the most accurate is ${runs[byClean[0].run].name} (${byClean[0].checkpoint}) with ${percent(byClean[0].clean)} clean and ${percent(robust(byClean[0]))}. Bars are 95 % intervals; open symbols are last checkpoints.`,
      data, height: 380 + 20 * data.filter((trace) => trace.showlegend !== false).length,
      layout: {
        xaxis: { title: "clean accuracy (%)", fixedrange: false },
        yaxis: { title: "robust accuracy, worst case (%)", fixedrange: false },
        dragmode: matchMedia("(pointer: fine)").matches ? "zoom" : false, legend: legend(),
      },
      columns: ["run", "checkpoint", "suite", "n", "clean", "last attack", "robust", "on the frontier"],
      rows: shown.map((verdict) => [runs[verdict.run].name, verdict.checkpoint, suite, verdict.n, verdict.clean,
        Object.keys(verdict.attacks).at(-1), robust(verdict), frontier.includes(verdict) ? "yes" : "no"]),
    };
  }

  function curves() {
    const best = content.curves.reduce((a, b) => (b.expected > a.expected ? b : a));
    return {
      title: "Accuracy against the radius of the attack",
      alt: `${runs[best.run].name} (${best.checkpoint}) has the highest expected robustness, ${fixed(best.expected, 3)}: the mean of its accuracies up to ${px(best.radius_px.at(-1))}.`,
      data: content.curves.map((curve) => ({
        type: "scatter", mode: "lines+markers", x: curve.radius_px, y: curve.accuracy.map((fraction) => 100 * fraction),
        line: { ...line(curve.run), width: curve.checkpoint === "best" ? 2 : 1.2 },
        marker: { ...marker(curve.run), size: 6 },
        name: `${runLabel(curve.run)}, ${safe(curve.checkpoint)}: ${fixed(curve.expected, 3)}`,
        text: curve.radius_px.map(
          (radius, k) => `${runLabel(curve.run)}, ${safe(curve.checkpoint)}<br>${percent(curve.accuracy[k])} at ${px(radius)}`), hovertemplate: hover,
      })),
      height: 380 + 22 * content.curves.length,
      layout: { xaxis: { title: "radius (px)", rangemode: "tozero" },
        yaxis: { title: "accuracy (%)", rangemode: "tozero" },
        legend: { ...legend(), title: { text: "Expected robustness of", font: { size: 12, color: color("muted") } } } },
      columns: ["run", "checkpoint", "radius_px", "accuracy"],
      rows: content.curves.flatMap((curve) => curve.radius_px.map(
        (radius, k) => [runs[curve.run].name, curve.checkpoint, radius, curve.accuracy[k]])),
    };
  }
}

const legend = () => ({ orientation: "v", tracegroupgap: 0, y: -0.2, x: 0, yanchor: "top", font: { size: 12 } });

// ---- Loss surfaces, corruptions, training ----

function surfaces(host) {
  const chooser = find("surface-image");
  const part = () => content.surfaces[Number(chooser.value)];
  const about = host.appendChild(element("div", { className: "about" }));
  const figures = figuresIn(host);
  figures.classList.add("three");
  const numbers = [...new Set(content.surfaces.flatMap((one) => Object.keys(one.losses)))];
  const entries = numbers.map((key) => chart(figures, () => surface(part(), key)));
  const showImage = () => about.replaceChildren(part().image ? picture(
    part().image, `Image ${part().index}`, `Image ${part().index}, `, text(className(part().label))) : "");
  showImage();
  chooser.addEventListener("change", () => {
    showImage();
    for (const entry of entries) entry.draw();
  });

  function surface(one, key) {
    const losses = one.losses[key];
    if (!losses) return null;
    const { offsets_px: offsets, radius_px: radius } = one;
    const ticks = [-4, -3, -2, -1, 0, 1, 2, 3, 4].map((times) => times * radius)
      .filter((tick) => Math.abs(tick) <= offsets.at(-1) + 1e-6);
    const flat = Object.values(one.losses).flat(2).filter(known);
    const predicted = one.predictions[key];
    const found = [...new Set(predicted.flat())];
    const fraction = predicted.flat().filter((number) => number === one.label).length / predicted.flat().length;
    const edges = found.length < 2 ? [] : found.map((number) => ({
      type: "contour", x: offsets, y: offsets, z: predicted.map((row) => row.map((other) => Number(other === number))),
      showscale: false, hoverinfo: "skip", showlegend: false,
      contours: { start: 0.5, end: 0.5, size: 1, coloring: "none" },
      line: { color: "#ffffff", width: 1.5, smoothing: 0.6 },
    }));
    return {
      title: short(runs[Number(key)].name, 36),
      alt: `The loss goes from ${fixed(Math.min(...losses.flat().filter(known)))} to ${fixed(Math.max(...losses.flat().filter(known)))} within ${px(offsets.at(-1))}; ${percent(fraction)} of the window is predicted as ${className(one.label)}.`,
      data: [heat({
        z: losses, x: offsets, y: offsets, scale: "Cividis", range: [Math.min(...flat), Math.max(...flat)], bar: "loss",
        barLength: 0.75, xgap: 0, ygap: 0, zsmooth: "best",
        text: losses.map(
          (row, y) => row.map((loss, x) => `loss ${fixed(loss)}<br>predicted as ${label(className(predicted[y][x]))}`)),
      }), ...edges],
      height: 340,
      layout: {
        margin: { l: 50, r: 8, t: 8, b: 44 },
        xaxis: { title: "along the gradient (px)", showgrid: false, constrain: "domain", tickvals: ticks },
        yaxis: { title: "random direction (px)", showgrid: false, scaleanchor: "x", constrain: "domain",
          tickvals: ticks },
        shapes: [{ type: "rect", x0: -radius, x1: radius, y0: -radius, y1: radius,
          line: { color: "#ffffff", width: 1, dash: "dot" } }],
        annotations: found.map((number) => spot(predicted, number, offsets)),
      },
      columns: ["random_px", "gradient_px", "loss", "prediction"],
      rows: losses.flatMap((row, y) => row.map((loss, x) => [
        offsets[y], offsets[x], loss, className(predicted[y][x])])),
    };
  }

  // The label of a class, at the point of its region that is nearest to the region's mean.
  function spot(predicted, number, offsets) {
    const points = predicted.flatMap((row, y) => row.flatMap((other, x) => (other === number ? [[x, y]] : [])));
    const mean = [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
    const [x, y] = points.reduce((a, b) => (Math.hypot(b[0] - mean[0], b[1] - mean[1]) < Math.hypot(
      a[0] - mean[0], a[1] - mean[1]) ? b : a));
    const along = offsets[x] / offsets[offsets.length - 1];
    const xanchor = along > 0.75 ? "right" : along < -0.75 ? "left" : "center";
    return { x: offsets[x], y: offsets[y], xanchor, text: label(className(number), 14), showarrow: false,
      font: { color: "#ffffff", size: 11 }, bgcolor: "rgba(0,0,0,0.55)", borderpad: 2 };
  }
}

function corruptions(host) {
  const chooser = find("corruption-of");
  const parts = content.corruptions;
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const entry = chart(figuresIn(host), () => {
    const one = chooser ? parts[chooser.value === "" ? -1 : Number(chooser.value)] : parts[0];
    const names = one ? Object.keys(one.accuracy) : [...new Set(parts.flatMap((part) => Object.keys(part.accuracy)))];
    const columns = one ? Object.values(one.accuracy)[0].map((_, k) => `severity ${k + 1}`)
      : parts.map((part) => short(`${part.checkpoint}, ${runs[part.run].name}`, innerWidth < 640 ? 14 : 28));
    const z = names.map((name) => (one ? one.accuracy[name] : parts.map(
      (part) => (part.accuracy[name]?.length ? mean(part.accuracy[name]) : null))));
    const slanted = innerWidth < 640 || columns.length > 5;
    const means = names.map((_, k) => mean(z[k].filter(known)));
    const [worst, best] = [names[means.indexOf(Math.min(...means))], names[means.indexOf(Math.max(...means))]];
    return {
      title: one ? `Accuracy on corrupted images: ${runs[one.run].name}, ${one.checkpoint}`
        : "Accuracy on corrupted images, mean over severities",
      alt: `Mean accuracy is lowest on ${worst} (${percent(Math.min(...means))}) and highest on ${best} (${percent(Math.max(...means))}).`,
      data: [heat({
        z: z.map((row) => row.map((fraction) => (known(fraction) ? 100 * fraction : null))), x: columns.map((_, k) => k),
        y: names.map((_, k) => k), bar: "accuracy (%)", texttemplate: "%{z:.0f}",
        text: names.map((name, y) => columns.map((column, x) =>
          `${label(name)}<br>${label(column, 40)}<br>${percent(z[y][x])}`)), range: [0, 100],
      })],
      height: (slanted ? 230 : 130) + 24 * names.length,
      layout: { xaxis: { tickvals: columns.map((_, k) => k), ticktext: columns.map(safe), showgrid: false,
        tickangle: slanted ? -40 : 0 }, yaxis: { tickvals: names.map((_, k) => k),
        ticktext: names.map((name) => label(name)), autorange: "reversed", showgrid: false } },
      columns: ["corruption", ...columns], rows: names.map((name, k) => [name, ...z[k]]),
    };
  }, { wide: true });
  chooser?.addEventListener("change", entry.draw);
}

// Lowest and highest last value of a curve over many runs.
function range(key, numbers, fractions) {
  const end = (number) => lastKnown(runs[number].curves[key]);
  const ending = numbers.filter((number) => known(end(number))).sort((a, b) => end(a) - end(b));
  return [ending[0], ending.at(-1)].filter(known)
    .map((number, k) => `${k ? "highest" : "lowest"} in ${runs[number].name}, ${fractions ? percent(end(number)) : show(end(number))}`);
}

function training(host) {
  const kinds = {
    loss: ["Loss", "loss"], train_accuracy: ["Accuracy in training, under the training attack", "accuracy (%)"],
    validation_clean: ["Validation accuracy, clean", "accuracy (%)"],
    validation_robust: ["Validation accuracy, under attack", "accuracy (%)"], radius_mean_px: ["Mean radius", "radius (px)"],
    lr: ["Learning rate", "learning rate"],
  };
  const figures = figuresIn(host);
  for (const [key, [title, axis]] of Object.entries(kinds)) {
    const having = runs.flatMap((run, number) => (run.curves[key]?.some(known) ? [number] : []));
    if (!having.length) continue;
    const fractions = axis.includes("%");
    const scaled = (value) => (known(value) && fractions ? 100 * value : value);
    const ends = having.length > 4 ? range(key, having, fractions) : having.map(
      (number) => `${runs[number].name}: ${(fractions ? percent : show)(lastKnown(runs[number].curves[key]))}`);
    chart(figures, () => ({
      title, alt: `At the end: ${ends.join("; ")}.`,
      data: having.map((number) => ({
        type: "scatter", mode: "lines", x: runs[number].curves[key].map((_, k) => k + 1),
        y: runs[number].curves[key].map(scaled), line: line(number), name: runLabel(number),
        text: runs[number].curves[key].map(
          (value, k) => `${runLabel(number)}<br>epoch ${k + 1}: ${show(scaled(value))}`), hovertemplate: hover,
      })),
      height: 320 + 20 * having.length,
      layout: { showlegend: having.length > 1, xaxis: { title: "epoch" }, yaxis: { title: axis }, legend: legend() },
      columns: ["epoch", ...having.map((number) => runs[number].name)],
      rows: Array.from({ length: Math.max(...having.map((number) => runs[number].curves[key].length)) },
        (_, k) => [k + 1, ...having.map((number) => runs[number].curves[key][k] ?? null)]),
    }));
  }
}

// Results of the runs: trade-off, loss surfaces, corruptions, training.

// ---- Trade-off ----

function tradeoff(host) {
  const figures = figuresIn(host);
  // The template has them in this order, too.
  const suiteOf = (row) => `${row.suite}, n = ${row.n}`;
  const suites = [...new Set(content.pooled.filter((row) => Object.keys(row.attacks).length).map(suiteOf))];
  const chooser = find("tradeoff-suite");
  const robust = (row) => Object.values(row.attacks).at(-1);
  if (suites.length) {
    const entry = chart(figures, () => points(suites[Number(chooser?.value ?? 0)]), { wide: !content.curves.length });
    chooser?.addEventListener("change", () => entry.draw());
  }
  const axes = curvesByAxis();
  for (const parts of axes) chart(figures, () => curves(parts));

  function points(suite) {
    const shown = content.pooled.filter((row) => suiteOf(row) === suite && known(robust(row)));
    if (!shown.length) return null;
    const bars = (value, row) => ({ type: "data", symmetric: false, array: [100 * (value.interval95[1] - value.mean)],
      arrayminus: [100 * (value.mean - value.interval95[0])], thickness: 1.2, width: 3, color: faded(recipes[row.recipe].series, 0.6) });
    /** @type {Record<string, any>[]} */
    const data = shown.flatMap((row) => {
      const recipe = recipes[row.recipe];
      const [clean, worst] = [row.clean, robust(row)];
      const name = label(recipe.name, 40);
      const focus = content.opening?.focus === row.recipe;
      const text = `${name}<br>${plural(row.evaluations.length, "seed")}, ${safe(row.checkpoint)} checkpoint<br>clean ${span(clean)}<br>robust ${span(worst)}`;
      const seeds = row.evaluations.length < 2 ? [] : [{
        type: "scatter", mode: "markers", legendgroup: name, showlegend: false, hovertemplate: hover,
        x: row.evaluations.map((place) => 100 * content.evaluations[place].clean),
        y: row.evaluations.map((place) => 100 * robust(content.evaluations[place])),
        marker: { ...marker(recipe.series), size: 5, opacity: 0.5 },
        text: row.evaluations.map((place) => runLabel(content.evaluations[place].run)),
      }];
      return [...seeds, {
        type: "scatter", mode: "markers", x: [100 * clean.mean], y: [100 * worst.mean], error_x: bars(clean, row),
        error_y: bars(worst, row), marker: { ...marker(recipe.series), size: focus ? 15 : 11 }, name, legendgroup: name,
        hovertemplate: hover, text: [text],
      }];
    });
    const path = (of, name, dash, tone) => ({
      type: "scatter", mode: "lines", x: of.map((row) => 100 * row.clean.mean), y: of.map((row) => 100 * robust(row).mean),
      name, line: { color: color(tone), dash, width: 1.5 }, hoverinfo: "skip",
    });
    const byClean = [...shown].sort((a, b) => b.clean.mean - a.clean.mean || robust(b).mean - robust(a).mean);
    /** @type {[(recipe: RecipePart) => boolean, string, string][]} */
    const references = [[(recipe) => recipe.uniform, "one radius for all (PGD-AT)", "dot"], [(recipe) => recipe.method === "trades", "TRADES", "dashdot"]];
    for (const [isOn, name, dash] of references) {
      const of = byClean.filter((row) => isOn(recipes[row.recipe]));
      if (of.length > 1) data.unshift(path(of, name, dash, "ink"));
    }
    const corners = byClean.filter((row) => row.on_frontier);
    if (corners.length > 1) data.unshift(path(corners, "frontier of differences that hold", "solid", "muted"));
    const top = byClean.reduce((a, b) => (robust(b).mean > robust(a).mean ? b : a));
    const ties = shown.filter((row) => row.robust_against?.holds === false)
      .map((row) => `${recipes[row.recipe].name} ties with ${recipes[/** @type {number} */ (row.against)].name} in robust accuracy`);
    const ends = (value) => value.interval95.map((end) => 100 * end);
    // A recipe of another checkpoint has a suite name of its own; its evaluations keep the common one.
    const suites = new Set(shown.flatMap((row) => row.evaluations.map((place) => suiteOf(content.evaluations[place]))));
    const recipesShown = new Set(shown.map((row) => row.recipe));
    return {
      title: `Clean against robust accuracy, ${shown[0].worst_case}`,
      alt: `Of ${plural(shown.length, "recipe")} the most robust on average is ${recipes[top.recipe].name} with ${percent(robust(top).mean)} in the ${shown[0].worst_case} and ${percent(top.clean.mean)} clean; the most accurate is ${recipes[byClean[0].recipe].name} with ${percent(byClean[0].clean.mean)} clean and ${percent(robust(byClean[0]).mean)}.${ties.length ? ` ${ties.join("; ")}.` : ""} Bars are 95 % intervals, small marks are seeds.`,
      data, height: 380 + 20 * data.filter((trace) => trace.showlegend !== false).length,
      layout: {
        xaxis: { title: "clean accuracy (%)", fixedrange: false, range: padded(shown.flatMap((row) => ends(row.clean))) },
        yaxis: { title: "robust accuracy (%)", fixedrange: false, range: padded(shown.flatMap((row) => ends(robust(row)))) },
        dragmode: matchMedia("(pointer: fine)").matches ? "zoom" : false, legend: legend(),
      },
      columns: ["run", "checkpoint", "suite", "n", "clean", "last attack", "robust", "on the frontier"],
      rows: content.evaluations.filter((each) => suites.has(suiteOf(each)) && known(robust(each)) && recipesShown.has(recipeOf(each.run)))
        .map((each) => [runs[each.run].name, each.checkpoint, each.suite, each.n, each.clean,
          Object.keys(each.attacks).at(-1) ?? "", robust(each),
          shown.some((row) => row.on_frontier && recipes[row.recipe].runs.includes(each.run)) ? "yes" : "no"]),
    };
  }

  /** Curves of equal radii, norm and number of samples together: means over others do not compare. */
  function curvesByAxis() {
    const found = new Map();
    for (const curve of content.curves) {
      const key = JSON.stringify([curve.norm, curve.n, curve.radius]);
      found.set(key, [...(found.get(key) ?? []), curve]);
    }
    return /** @type {Accuracies[][]} */ ([...found.values()]);
  }

  /** @param {Accuracies[]} parts */
  function curves(parts) {
    const groups = byEvaluation(parts);
    const expected = ({ members }) => average(members.map((curve) => curve.expected));
    const best = groups.reduce((a, b) => (expected(b) > expected(a) ? b : a));
    const both = new Set(groups.map(({ key }) => key)).size > 1;
    const { norm } = parts[0];
    const end = lengthText(parts[0].radius.at(-1), norm);
    return {
      title: axes.length > 1 ? `Accuracy against the radius of the attack, up to ${end}, n = ${parts[0].n}`
        : "Accuracy against the radius of the attack",
      alt: `${recipes[best.recipe].name} (${best.key}) has the highest expected robustness, ${fixed(expected(best), 3)}: the mean of its accuracies up to ${end}${best.members.length > 1 ? ` and over ${best.members.length} seeds` : ""}.`,
      data: groups.flatMap(({ recipe, key, members }) => {
        const { series: number, name } = recipes[recipe];
        const whole = { ...line(number), width: members[0].checkpoint === "best" ? 2.2 : 1.3 };
        const seeds = members.length < 2 ? [] : members.map((curve) => ({
          type: "scatter", mode: "lines", x: curve.radius, y: curve.accuracy.map((value) => 100 * value), hoverinfo: "skip",
          line: { ...whole, width: 0.8, color: faded(number, 0.5) }, showlegend: false, legendgroup: `${recipe} ${key}` }));
        const mean = members[0].radius.map((_, k) => average(members.map((curve) => curve.accuracy[k]).filter(known)));
        return [...seeds, {
          type: "scatter", mode: "lines+markers", x: members[0].radius, y: mean.map((value) => 100 * value), line: whole,
          marker: { ...marker(number), size: 6 }, legendgroup: `${recipe} ${key}`,
          name: `${label(name, 40)}${both ? `, ${safe(key)}` : ""}: ${fixed(expected({ members }), 3)}`,
          text: members[0].radius.map((radius, k) => `${label(name, 40)}, ${safe(key)}<br>${percent(mean[k])} at ${lengthText(radius, norm)}`),
          hovertemplate: hover,
        }];
      }),
      height: 380 + 22 * groups.length,
      layout: { xaxis: { title: inUnit("radius", norm), rangemode: "tozero" },
        yaxis: { title: "accuracy (%)", rangemode: "tozero" },
        legend: { ...legend(), title: { text: "Expected robustness of", font: { size: 12, color: color("muted") } } } },
      columns: ["run", "checkpoint", "suite", "n", columnName("radius", norm), "accuracy"],
      rows: parts.flatMap((curve) => curve.radius.map(
        (radius, k) => [runs[curve.run].name, curve.checkpoint, curve.suite, curve.n, radius, curve.accuracy[k]])),
    };
  }
}

const span = (value) => `${percent(value.mean)} (${value.interval95.map((end) => fixed(100 * end, 1)).join(" to ")})`;
const average = (values) => values.reduce((a, b) => a + b, 0) / values.length;

// The range of an axis that shows all values with room around them, so that no bar is cut.
function padded(values, least = 4) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = Math.max(0.06 * (high - low), (least - (high - low)) / 2, 0.3);
  return [low - room, high + room];
}

const evaluationFacts = (part) =>
  [part.checkpoint, part.weights ? `${part.weights} weights` : "", part.suite, `n = ${part.n}`, part.source ?? "",
    part.severities ? `severities ${part.severities.join(", ")}` : ""];

/** Gives the names of what a part was measured on and with: the checkpoint, and what is not the same in all parts. */
function namesAmong(parts) {
  const facts = parts.map(evaluationFacts);
  const differs = facts[0]?.map((fact, k) => k === 0 || facts.some((other) => other[k] !== fact));
  return (part) => evaluationFacts(part).filter((fact, k) => fact && differs[k]).join(", ");
}

/** Parts that differ in the seeds of their runs alone together, under the names of what they were measured with.
 * @template {Accuracies | Corruptions} T
 * @param {T[]} parts */
function byEvaluation(parts) {
  const names = namesAmong(parts);
  return bySeeds(parts, (part) => JSON.stringify([...evaluationFacts(part), "radius" in part ? [part.norm, part.radius] : null]))
    .map((group) => ({ ...group, key: names(group.members[0]) }));
}

/** Parts of runs that differ in their seeds alone, and have the same key, together; of one run never two.
 * @template {{ run: number }} T
 * @param {T[]} parts
 * @param {(part: T) => string} keyOf
 * @returns {{ recipe: number, key: string, members: T[] }[]} */
function bySeeds(parts, keyOf) {
  const found = new Map();
  for (const part of parts) {
    const recipe = recipeOf(part.run);
    const key = keyOf(part);
    let name = `${recipe} ${key}`;
    while (found.get(name)?.members.some(({ run }) => run === part.run)) name += " again";
    if (!found.has(name)) found.set(name, { recipe, key, members: [] });
    found.get(name).members.push(part);
  }
  return [...found.values()];
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
    const { offsets, radius, norm } = one;
    const ticks = [-4, -3, -2, -1, 0, 1, 2, 3, 4].map((times) => times * radius)
      .filter((tick) => Math.abs(tick) <= offsets.at(-1) * (1 + 1e-3)); // both are rounded
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
      alt: `The loss goes from ${fixed(Math.min(...losses.flat().filter(known)))} to ${fixed(Math.max(...losses.flat().filter(known)))} within ${lengthText(offsets.at(-1), norm)}; ${percent(fraction)} of the window is predicted as ${className(one.label)}.`,
      data: [heat({
        z: losses, x: offsets, y: offsets, scale: "Cividis", range: [Math.min(...flat), Math.max(...flat)], bar: "loss",
        barLength: 0.75, xgap: 0, ygap: 0, zsmooth: "best",
        text: losses.map(
          (row, y) => row.map((loss, x) => `loss ${fixed(loss)}<br>predicted as ${label(className(predicted[y][x]))}`)),
      }), ...edges],
      height: 340,
      layout: {
        margin: { l: 50, r: 8, t: 8, b: 44 },
        xaxis: { title: inUnit("along the gradient", norm), showgrid: false, constrain: "domain", tickvals: ticks },
        yaxis: { title: inUnit("random direction", norm), showgrid: false, scaleanchor: "x", constrain: "domain",
          tickvals: ticks },
        shapes: [{ type: "rect", x0: -radius, x1: radius, y0: -radius, y1: radius,
          line: { color: "#ffffff", width: 1, dash: "dot" } }],
        annotations: found.map((number) => spot(predicted, number, offsets)),
      },
      columns: [columnName("random", norm), columnName("gradient", norm), "loss", "prediction"],
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
  const groups = byEvaluation(parts);
  const namesOf = namesAmong(parts);
  const entry = chart(figuresIn(host), () => {
    const one = chooser ? parts[chooser.value === "" ? -1 : Number(chooser.value)] : parts[0];
    const names = one ? Object.keys(one.accuracy) : [...new Set(parts.flatMap((part) => Object.keys(part.accuracy)))];
    const columns = one ? one.severities.map((severity) => `severity ${severity}`)
      : groups.map(({ recipe, key }) => short(`${key}, ${recipes[recipe].name}`, innerWidth < 640 ? 14 : 28));
    const z = names.map((name) => (one ? one.accuracy[name] : groups.map(({ members }) => {
      const values = members.flatMap((part) => part.accuracy[name] ?? []).filter(known);
      return values.length ? average(values) : null;
    })));
    const slanted = innerWidth < 640 || columns.length > 5;
    const means = names.map((_, k) => average(z[k].filter(known)));
    const [worst, best] = [names[means.indexOf(Math.min(...means))], names[means.indexOf(Math.max(...means))]];
    return {
      title: one ? `Accuracy on corrupted images: ${runs[one.run].name}, ${namesOf(one)}`
        : "Accuracy on corrupted images, mean over severities and seeds",
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
  chooser?.addEventListener("change", () => entry.draw());
}

function training(host) {
  const norms = [...new Set(runs.flatMap((run) => (run.curves.radius_mean?.some(known) ? [run.norm] : [])))];
  const radius = norms.map((norm) => ({ key: "radius_mean", title: norms.length > 1 ? inUnit("Mean radius", norm) : "Mean radius",
    axis: inUnit("radius", norm), norm }));
  /** @type {{ key: string, title: string, axis: string, norm?: string }[]} */
  const kinds = [
    { key: "loss", title: "Loss", axis: "loss" },
    { key: "train_accuracy", title: "Accuracy in training, under the training attack", axis: "accuracy (%)" },
    { key: "validation_clean", title: "Validation accuracy, clean", axis: "accuracy (%)" },
    { key: "validation_robust", title: "Validation accuracy, under attack", axis: "accuracy (%)" },
    ...radius, { key: "lr", title: "Learning rate", axis: "learning rate" },
  ];
  const figures = figuresIn(host);
  for (const { key, title, axis, norm } of kinds) {
    const having = runs.flatMap((run, number) =>
      (run.curves[key]?.some(known) && (norm ?? run.norm) === run.norm ? [number] : []));
    if (!having.length) continue;
    const fractions = axis.includes("%");
    const scaled = (value) => (known(value) && fractions ? 100 * value : value);
    const said = (value) => (norm ? lengthText(value, norm) : fractions ? percent(value) : show(value));
    const groups = bySeeds(having.map((number) => ({ run: number })), () => "");
    const means = groups.map(({ members }) => average(members.map(({ run }) => lastKnown(runs[run].curves[key]))));
    const ends = groups.map(({ recipe, members }, k) =>
      `${recipes[recipe].name} ${said(means[k])}${members.length > 1 ? ` (mean of ${members.length} seeds)` : ""}`);
    chart(figures, () => ({
      title, alt: `At the end: ${ends.slice(0, 6).join("; ")}${ends.length > 6 ? `; and ${ends.length - 6} more` : ""}.`,
      data: having.map((number) => {
        const { recipe, members } = /** @type {any} */ (groups.find((group) => group.members.some(({ run }) => run === number)));
        return {
          type: "scatter", mode: "lines", x: runs[number].curves[key].map((_, k) => k + 1),
          y: runs[number].curves[key].map(scaled), line: { ...line(recipes[recipe].series), width: members.length > 1 ? 1.4 : 2 },
          name: label(recipes[recipe].name, 40), legendgroup: String(recipe), showlegend: members[0].run === number,
          text: runs[number].curves[key].map(
            (value, k) => `${runLabel(number)}<br>epoch ${k + 1}: ${norm ? lengthText(value, norm) : show(scaled(value))}`), hovertemplate: hover,
        };
      }),
      height: 320 + 20 * groups.length,
      layout: { showlegend: groups.length > 1, xaxis: { title: "epoch" }, yaxis: { title: axis }, legend: legend() },
      columns: ["epoch", ...having.map((number) => runs[number].name)],
      rows: Array.from({ length: Math.max(...having.map((number) => runs[number].curves[key].length)) },
        (_, k) => [k + 1, ...having.map((number) => runs[number].curves[key][k] ?? null)]),
    }));
  }
}

// ---- Under attack ----

// The page scrolls to the images of a class; not every browser opens what they are folded into.
function attacked() {
  for (const link of /** @type {NodeListOf<HTMLAnchorElement>} */ (document.querySelectorAll("#classes a, #confusion a"))) {
    const [, label, to] = link.hash.split("-");
    link.addEventListener("click", () => showAttacked(find(`attacked-${label}`), to));
  }
}

/** Unfold the attacked images of a class: all of them, or those predicted as one class alone. */
function showAttacked(list, to) {
  const folded = list.closest("details");
  folded.open = true;
  folded.querySelector(".key")?.remove();
  const images = /** @type {NodeListOf<HTMLElement>} */ (list.querySelectorAll("li"));
  for (const image of images) image.hidden = known(to) && image.dataset.to !== to;
  if (!known(to)) return;
  const left = [...images].filter((image) => !image.hidden).length;
  list.before(element("p", { className: "key" }, `The ${left} predicted as ${className(Number(to))}. `,
    button(`Show all ${images.length}`, () => showAttacked(list, undefined))));
}

// One image in detail.

const dialog = find("detail");

function openDetail(list, at) {
  const opener = /** @type {HTMLElement | null} */ (document.activeElement);
  const title = element("h2", { id: "detail-title", tabIndex: -1, ariaLive: "polite" });
  const body = element("div", { className: "dialog-body" });
  const previous = button("← Previous", () => move(-1));
  const next = button("Next →", () => move(1));
  dialog.replaceChildren(element("div", { className: "dialog-head" }, title, previous, next,
    button("Close", () => dialog.close())), body);
  dialog.onkeydown = (event) => {
    if (event.key === "ArrowLeft") move(-1);
    else if (event.key === "ArrowRight") move(1);
  };
  dialog.onclick = (event) => event.target === dialog && dialog.close();
  dialog.onclose = () => {
    select({ image: null });
    dialog.replaceChildren();
    redrawAll();
    opener?.focus();
  };
  dialog.showModal();
  title.focus();
  move(0);

  function move(step) {
    if (!list[at + step] && list[at + step] !== 0) return;
    at += step;
    dialog.dataset.image = gallery.index[list[at]];
    select({ image: gallery.index[list[at]] }, step === 0);
    previous.disabled = at === 0;
    next.disabled = at === list.length - 1;
    title.replaceChildren(`Image ${gallery.index[list[at]]} `, element("small", {}, `${at + 1} of ${list.length}`));
    body.replaceChildren();
    fillDetail(body, list[at]);
    dialog.scrollTop = 0;
  }
}

function picture(uri, alt, ...caption) {
  return element("figure", { className: "picture" }, uri ? element("img", { src: uri, alt }) : null,
    element("figcaption", {}, ...caption));
}

function fillDetail(body, k) {
  const detail = gallery.details[String(k)];
  const name = sentence(k);
  const big = detail?.image ? element("img", { src: detail.image, alt: name }) : pictured ? sprite(k, 256) : null;
  const reason = reasonOf(k);
  if (reason.length) body.append(element("p", { className: "reason" }, ...reason));
  const list = element("dl", {}, ...facts(k).flatMap(([fact, value]) =>
    [element("dt", {}, fact), element("dd", {}, text(value))]));
  body.append(element("div", { className: "summary" }, big ? element("div", { className: "big" }, big) : null, list));
  const figures = figuresIn(body);
  chart(figures, () => historyOf(k));
  if (!detail) {
    body.append(element("p", { className: "muted" }, "This image has no details."));
    return;
  }
  chart(figures, () => readings(detail));
  const attempts = [{ attempt: detail.own, at: "own radius" }, { attempt: detail.uniform, at: "the evaluation's radius" }];
  const parts = attempts.flatMap(({ attempt, at }) => {
    if (attempt === null) return [];
    const outcome = attempt.succeeded ? ["misclassified as ", named(attempt.reading.prediction)] : ["robust"];
    const shown = picture(attempt.image, `Attacked at ${at}`, `Attacked at ${at}, ${px(attempt.radius_px)}: `,
      ...outcome, ` (${percent(attempt.reading.probabilities[0])})`);
    return attempt.perturbation ? [shown, picture(attempt.perturbation, `Perturbation at ${at}`,
      `Its perturbation, ×${show(Math.round(attempt.factor))}`)] : [shown];
  });
  const strip = detail.strip.map((attempt) => picture(attempt.image,
    `Towards ${className(attempt.target)} at ${px(attempt.radius_px)}`,
    `${px(attempt.radius_px)}: `, named(attempt.reading.prediction),
    ` (${percent(attempt.reading.probabilities[0])})`));
  const near = (neighbours) => neighbours.map((other) => picture(
    other.image, `Image ${other.index}`, `Image ${other.index}, `, named(other.label),
    `, distance ${show(other.distance)}`));
  const space = detail.space === "input" ? "between inputs" : "in the last layer before the logits";
  const group = (title, pictures) => pictures.length && body.append(
    element("h3", {}, ...title), element("div", { className: "strip" }, ...pictures));
  group(["Attacked"], parts);
  group(["Moved towards ", named(detail.confused)], strip);
  group(["Nearest of ", named(detail.label), `, ${space}`], near(detail.near_own));
  group(["Nearest of ", named(detail.confused), `, ${space}`], near(detail.near_confused));
}

function historyOf(k) {
  const { epochs } = wall;
  const radius = radiusHistory(k);
  return {
    title: "Radius over the training",
    alt: `From ${px(radius[0])} after epoch ${epochs[0]} to ${px(radius.at(-1))} after epoch ${epochs.at(-1)}, at most ${px(Math.max(...radius))}.`,
    data: [{ type: "scatter", mode: "lines+markers", x: epochs, y: radius,
      line: { color: series(0), width: 2, shape: "hv" }, marker: { size: 5, color: series(0) },
      hovertemplate: "epoch %{x}: %{y:.2f} px<extra></extra>" }],
    height: 280, layout: { showlegend: false, xaxis: { title: "epoch" },
      yaxis: { title: "radius (px)", rangemode: "tozero" } },
    columns: ["epoch", "radius_px"], rows: epochs.map((epoch, at) => [epoch, radius[at]]),
  };
}

function readings(detail) {
  const read = [["clean", detail.clean, 0, ""], ["attacked, own radius", detail.own?.reading, 4, "/"],
    ["attacked, evaluation's radius", detail.uniform.reading, 1, "x"]].filter(([, reading]) => reading);
  const shown = [...new Set([detail.label, detail.confused, ...read.flatMap(([, reading]) => reading.classes)])].slice(0, 7);
  const at = shown.map((_, k) => k);
  const probability = (reading, number) => {
    const place = reading.classes.indexOf(number);
    if (place >= 0) return reading.probabilities[place];
    return number === detail.label ? reading.label : number === detail.confused ? reading.confused : null;
  };
  const { clean } = detail;
  return {
    title: "Probabilities",
    alt: `Clean: ${className(clean.prediction)} with ${percent(clean.probabilities[0])}; ${read.slice(1).map(([name, reading]) => `${name}: ${className(reading.prediction)} with ${percent(reading.probabilities[0])}`).join("; ")}.`,
    data: read.map(([name, reading, tone, pattern]) => ({
      type: "bar", orientation: "h", name, y: at, x: shown.map(
        (number) => { const value = probability(reading, number); return known(value) ? 100 * value : null; }),
      marker: { color: series(tone), pattern: { shape: pattern, fillmode: "overlay", fgcolor: color("page"),
        fgopacity: 0.8, size: 7, solidity: 0.2 } }, textposition: "none", hovertemplate: hover,
      text: shown.map((number) => `${label(className(number))}<br>${name}: ${percent(probability(reading, number))}`),
    })),
    height: 120 + 40 * shown.length,
    layout: { bargap: 0.25, xaxis: { title: "probability (%)", range: [0, 100] },
      yaxis: { tickvals: at, ticktext: shown.map((number) => label(className(number), 18)), autorange: "reversed",
      showgrid: false }, legend: { ...legend(), y: -0.2 } },
    columns: ["class", ...read.map(([name]) => name)],
    rows: shown.map((number) => [className(number), ...read.map(([, reading]) => probability(reading, number))]),
  };
}

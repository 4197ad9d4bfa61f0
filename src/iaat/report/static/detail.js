// One image in detail.

const dialog = find("detail");
/** What had the focus before the dialog opened.
 * @type {HTMLElement | null} */
let openedBy = null;

/** Open an image of a list, one step in the browser's history; arrow keys go on in the list.
 * @param {number[]} list Places of images.
 * @param {number} at Which of them.
 * @param {number | null} from The image that it was opened from as a neighbour. */
function openDetail(list, at, from = null) {
  const title = element("h2", { id: "detail-title", tabIndex: -1, ariaLive: "polite" });
  const body = element("div", { className: "dialog-body" });
  const previous = button("← Previous", () => move(-1));
  const next = button("Next →", () => move(1));
  const moves = known(from) ? [button(`← Image ${gallery.index[from]}`, () => history.back())] : [previous, next];
  dialog.replaceChildren(element("div", { className: "dialog-head" }, title, ...moves,
    button("Close", () => dialog.close())), body);
  dialog.onkeydown = (event) => {
    if (event.target.type === "range") return;
    if (event.key === "ArrowLeft") move(-1);
    else if (event.key === "ArrowRight") move(1);
  };
  dialog.onclick = (event) => event.target === dialog && dialog.close();
  dialog.onclose = onClosed;
  // How many steps lead back to the page without a dialog; an image that the address opened has none.
  const steps = dialog.open ? history.state?.opened && history.state.opened + 1 : 1;
  if (!dialog.open) {
    openedBy = /** @type {HTMLElement | null} */ (document.activeElement);
    dialog.showModal();
  }
  title.focus();
  move(0);

  function move(step) {
    if (!known(list[at + step])) return;
    at += step;
    dialog.dataset.image = gallery.index[list[at]];
    select({ image: gallery.index[list[at]] }, step === 0, steps ? { opened: steps } : null);
    previous.disabled = at === 0;
    next.disabled = at === list.length - 1;
    title.replaceChildren(`Image ${gallery.index[list[at]]} `, element("small", {}, known(from)
      ? `neighbour of image ${gallery.index[from]}` : `${at + 1} of ${list.length}`));
    body.replaceChildren();
    fillDetail(body, list[at]);
    dialog.scrollTop = 0;
  }
}

/** Take back the steps of the open images, so that none is left behind in the history. */
function onClosed() {
  dialog.replaceChildren();
  redrawAll();
  openedBy?.focus({ preventScroll: true });
  if (!known(chosen.image)) return;
  if (history.state?.opened) history.go(-history.state.opened);
  else select({ image: null }, false);
}

function fillDetail(body, k) {
  const detail = gallery.details[String(k)];
  const reason = reasonOf(k);
  if (reason.length) body.append(element("p", { className: "reason" }, ...reason));
  // That of a detail is lossless, as the sheets of many images are not.
  const big = detail?.image ? element("img", { src: detail.image, alt: sentence(k) }) : sprite(k, 256) ?? (pictured ? element("p", { className: "muted" }, "The page has no picture of it.") : null);
  const list = element("dl", {}, ...facts(k).flatMap(([fact, value]) =>
    [element("dt", {}, fact), element("dd", {}, text(value))]));
  if (big?.matches(".sprite")) Object.assign(big, { role: "img", ariaLabel: sentence(k) });
  body.append(element("div", { className: "summary" }, big ? element("div", { className: "big" }, big) : null, list));
  if (!detail) body.append(...howToCompute(k));
  else showFrames(body, detail);
  const figures = figuresIn(body);
  chart(figures, () => historyOf(k));
  if (!detail) return;
  chart(figures, () => probabilitiesOf(detail));
  const space = detail.space === "input" ? "between inputs" : "in the last layer before the logits";
  const group = (title, pictures) => pictures.length && body.append(
    element("h3", {}, ...title), element("div", { className: "strip" }, ...pictures));
  const strip = detail.strip.map((attempt, at) => {
    const canvas = detail.image ? element("canvas", { role: "img",
      ariaLabel: `Towards ${className(attempt.target)} at ${lengthText(attempt.radius, detail.norm)}` }) : null;
    if (canvas) pixelsOf(detail).then((pixels) => drawAttacked(canvas, pixels, detail.frames.length + at, attempt));
    return element("figure", { className: "picture" }, canvas, element("figcaption", {}, `${lengthText(attempt.radius, detail.norm)}: `,
      named(attempt.reading.prediction), ` (${percent(attempt.reading.probabilities[0])})`));
  });
  group(["Moved towards ", named(detail.confused)], strip);
  group(["Nearest of ", named(detail.label), `, ${space}`], detail.near_own.map((other) => neighbour(other, k)));
  group(["Nearest of ", named(detail.confused), `, ${space}`], detail.near_confused.map((other) => neighbour(other, k)));
}

/** A training sample near an image; it opens its own detail. */
function neighbour(other, from) {
  const k = gallery.index.indexOf(other.index);
  const caption = [`Image ${other.index}, `, named(other.label), `, distance ${show(other.distance)}`];
  if (k < 0) return element("div", { className: "picture" }, ...caption);
  const open = button(sprite(k, 128), () => openDetail([k], 0, from),
    { className: "picture", ariaLabel: `Open image ${other.index}: ${className(other.label)}, distance ${show(other.distance)}` });
  open.append(element("span", {}, ...caption));
  return open;
}

/** That the image has no details, and the command that computes them. */
function howToCompute(k) {
  const words = "This image has no details: attacks at growing radii, smallest adversarial norm, neighbours.";
  const command = gallery.compute.replaceAll("{index}", String(gallery.index[k]));
  return [element("p", { className: "muted" }, command ? `${words} This computes them:` : words),
    ...(command ? [element("pre", {}, element("code", {}, command))] : [])];
}

function historyOf(k) {
  const { epochs } = wall;
  const radius = radiusHistory(k);
  return {
    title: "Radius over the training",
    alt: `From ${lengthText(radius[0], imageNorm)} after epoch ${epochs[0]} to ${lengthText(radius.at(-1), imageNorm)} after epoch ${epochs.at(-1)}, at most ${lengthText(Math.max(...radius), imageNorm)}.`,
    data: [{ type: "scatter", mode: "lines+markers", x: epochs, y: radius,
      line: { color: series(0), width: 2, shape: "hv" }, marker: { size: 5, color: series(0) },
      hovertemplate: `epoch %{x}: ${hoverLength(imageNorm)}<extra></extra>` }],
    height: 280, layout: { showlegend: false, xaxis: { title: "epoch" },
      yaxis: { title: inUnit("radius", imageNorm), rangemode: "tozero" } },
    columns: ["epoch", columnName("radius", imageNorm)], rows: epochs.map((epoch, at) => [epoch, radius[at]]),
  };
}

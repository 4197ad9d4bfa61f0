// An attack on one image at growing radii: its pictures, and a slider through them.

// ---- Pictures: the clean image, and a sheet of its perturbations ----

/** The pixels of the clean image and of the sheet.
 * @param {DrawnDetail} detail */
async function pixelsOf(detail) {
  const [clean, sheet] = await Promise.all([detail.image, detail.sheet].map(async (src) => {
    const image = element("img", { src });
    await image.decode();
    const canvas = element("canvas", { width: image.naturalWidth, height: image.naturalHeight });
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  }));
  return { clean, sheet, columns: detail.columns };
}

/** Draw an attempt, and its perturbation if there is a canvas for it, by its place on the sheet.
 * iaat/report/detail_pictures.py says what the bytes mean. */
function drawAttacked(canvas, { clean, sheet, columns }, place, attempt, perturbation = null) {
  const { width, height } = clean;
  const [left, top] = [(place % columns) * width, Math.floor(place / columns) * height];
  const images = [canvas, perturbation].filter(known).map((one) => {
    Object.assign(one, { width, height });
    return [one.getContext("2d"), new ImageData(width, height)];
  });
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const [from, to] = [4 * ((top + y) * sheet.width + left + x), 4 * (y * width + x)];
      for (let tone = 0; tone < 4; tone += 1) {
        const byte = sheet.data[from + tone];
        const delta = attempt.size && tone < 3 ? (255 * (byte / 255 - 0.5)) / attempt.factor : 0;
        images[0][1].data[to + tone] = clean.data[to + tone] + delta; // rounded and clipped by its type
        if (images[1]) images[1][1].data[to + tone] = byte;
      }
    }
  }
  for (const [context, image] of images) context.putImageData(image, 0, 0);
}

// ---- The attack at growing radii ----

/** A slider that moves the attacked image, its perturbation and the probabilities through the radii.
 * @param {HTMLElement} body
 * @param {DrawnDetail} detail */
function showFrames(body, detail) {
  const { frames, norm } = detail;
  const last = frames.length - 1;
  const success = frames.findIndex((frame) => frame.succeeded);
  const slider = element("input", { type: "range", min: 0, max: last, step: 1, id: "attack-radius" });
  const output = element("output", { htmlFor: "attack-radius" });
  const canvases = detail.image ? [element("canvas", { role: "img" }), element("canvas", { role: "img" })] : [];
  const captions = canvases.map(() => element("figcaption"));
  const marks = /** @type {[string, string, number | null][]} */ ([["○", "own radius", detail.own_at], ["◆", "the evaluation's radius", detail.uniform_at],
    ["✗", success === 0 ? "misclassified without attack" : "smallest radius at which it succeeds", success]])
    .filter(([, , place]) => known(place) && place >= 0).map(([sign, words, place]) => ({ sign, words, place: Number(place) }));
  const at = (place) => `left: calc(0.5rem + (100% - 1rem) * ${place / Math.max(1, last)})`;
  const scale = element("div", { className: "ticks", ariaHidden: "true" }, ...frames.map((frame, place) => {
    const signs = marks.filter((mark) => mark.place === place).map(({ sign }) => sign).join("");
    return element("span", { style: at(place) }, element("b", {}, signs), place === detail.own_at && place !== detail.uniform_at
      && frame.radius ? "" : show(Number(fixed(frame.radius, unitOf(norm).digits))));
  }));
  const jumps = marks.map(({ sign, words, place }) => button(`${sign} ${words}${place ? `, ${lengthText(frames[place].radius, norm)}` : ""}`, () => go(place)));
  const classesShown = classesOf(detail);
  const bars = classesShown.map((number) => {
    const [fill, value] = [element("span", { className: "bar-fill" }), element("small")];
    const row = element("li", {}, element("span", { className: "bar-value" }, named(number), value),
      element("span", { className: "bar-track" }, fill));
    return { number, fill, value, row };
  });
  body.append(element("h3", {}, "Attacked"), element("div", { className: "frames" },
    ...canvases.map((canvas, k) => element("figure", { className: "picture" }, canvas, captions[k])),
    element("div", { className: "chances" }, element("p", { className: "alt" }, "Probabilities"),
      element("ul", {}, ...bars.map(({ row }) => row)))),
  element("div", { className: "attack" }, element("label", { htmlFor: "attack-radius" }, inUnit("Radius of the attack", norm)), output,
    element("div", { className: "track" }, slider, scale),
    element("div", { className: "controls" }, ...jumps,
      success < 0 ? element("span", { className: "muted" }, `No attack up to ${lengthText(frames[last].radius, norm)} succeeds.`) : null)));
  const pixels = detail.image ? pixelsOf(detail) : null;
  slider.oninput = () => go(Number(slider.value));
  go(detail.own_at ?? detail.uniform_at);

  async function go(place) {
    const frame = frames[place];
    const { prediction, probabilities } = frame.reading;
    const outcome = frame.succeeded ? "misclassified as" : place ? "robust," : "correct,";
    const [before, after] = [`${lengthText(frame.radius, norm)}: ${outcome} `, ` (${percent(probabilities[0])})`];
    slider.value = String(place);
    slider.setAttribute("aria-valuetext", before + className(prediction) + after);
    output.replaceChildren(before, named(prediction), after);
    for (const { number, fill, value } of bars) {
      const [most, exact] = probabilityOf(detail, frame.reading, number);
      fill.style.width = `${exact ? 100 * most : 0}%`;
      value.textContent = `${exact ? "" : "below "}${percent(most)}`;
    }
    if (!pixels) return;
    const top = px(127.5 / frame.factor); // of one pixel, whatever the norm
    captions[0].textContent = place ? `Attacked within ${lengthText(frame.radius, norm)}` : "Not attacked";
    captions[1].textContent = frame.size ? `Its perturbation, ×${show(Number(frame.factor.toPrecision(3)))}: white is +${top}, black −${top}, grey no change` : "No perturbation";
    canvases.forEach((canvas, k) => { canvas.ariaLabel = captions[k].textContent; });
    const found = await pixels;
    if (slider.value === String(place)) drawAttacked(canvases[0], found, place, frame, canvases[1]);
    canvases[0].dataset.frame = slider.value;
  }
}

/** Label, the class it is confused with, and the most probable others at any radius: at most 6. */
function classesOf(detail) {
  const most = new Map();
  for (const { reading } of detail.frames) {
    for (const [place, number] of reading.classes.entries()) {
      most.set(number, Math.max(most.get(number) ?? 0, reading.probabilities[place]));
    }
  }
  const others = [...most.keys()].sort((a, b) => most.get(b) - most.get(a));
  return [...new Set([detail.label, detail.confused, ...others])].slice(0, 6);
}

/** The probability of a class, and true; of a class that is not among the likeliest a bound above, and false. */
function probabilityOf(detail, reading, number) {
  const place = reading.classes.indexOf(number);
  if (place >= 0) return [reading.probabilities[place], true];
  if (number === detail.label) return [reading.label, true];
  return number === detail.confused ? [reading.confused, true] : [reading.probabilities.at(-1), false];
}

function probabilitiesOf(detail) {
  const { frames, norm } = detail;
  const radius = frames.map((frame) => frame.radius);
  const shown = classesOf(detail);
  const chance = (frame, number) => {
    const [value, exact] = probabilityOf(detail, frame.reading, number);
    return exact ? value : null;
  };
  const [clean, end] = [frames[0].reading, frames.at(-1).reading];
  return {
    title: "Probabilities under attack",
    alt: `Clean: ${className(clean.prediction)} with ${percent(clean.probabilities[0])}; attacked at ${lengthText(radius.at(-1), norm)}: ${className(end.prediction)} with ${percent(end.probabilities[0])}.`,
    data: shown.map((number, k) => ({
      type: "scatter", mode: "lines+markers", name: label(className(number), 24), x: radius, connectgaps: false,
      y: frames.map((frame) => (known(chance(frame, number)) ? 100 * chance(frame, number) : null)),
      marker: marker(k), line: line(k), hovertemplate: hover,
      text: frames.map((frame) => `${label(className(number))}<br>${lengthText(frame.radius, norm)}: ${percent(chance(frame, number))}`),
    })),
    height: 270 + 22 * shown.length, layout: { xaxis: { title: inUnit("radius of the attack", norm), rangemode: "tozero" },
      yaxis: { title: "probability (%)", range: [-2, 102] }, legend: legend() },
    columns: ["class", ...radius.map((one) => lengthText(one, norm))],
    rows: shown.map((number) => [className(number), ...frames.map((frame) => chance(frame, number))]),
  };
}

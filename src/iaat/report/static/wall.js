// The wall: all images on one canvas, by radius and class; they travel when the epoch changes.

// ---- Layout: where each image lies at zoom 1, in px of the canvas ----

const wallBins = 64;

/** Lay out images after an epoch: a row a class, and in it piles of square cells over the radius, as in a histogram.
 * A pile is centred on its radius and as wide as its images need; it ends half way to the next. Where its cells do not
 * fit it has smaller ones. `cell` is the side of the others; null for one that suits most images. */
function layOut(epoch, size, labels, cell) {
  const steps = stepsAfter(epoch);
  const perBin = wallBins / 2 ** wall.bits;
  const pile = Uint32Array.from(labels, (row, k) => row * wallBins + Math.floor(steps[k] * perBin));
  const counts = new Uint32Array(size.rows * wallBins);
  const rank = new Uint32Array(wall.n);
  for (let k = 0; k < wall.n; k += 1) {
    rank[k] = counts[pile[k]];
    counts[pile[k]] += 1;
  }
  const height = size.height / size.rows;
  const room = 0.88 * height;
  const bin = size.width / wallBins;
  const spans = spansOf(counts, bin);
  const fitting = Float32Array.from(counts, (count, one) => count && fittingSide(count, spans[2 * one + 1] - spans[2 * one], room));
  const most = cell ?? sideOfMost(fitting, counts);
  const places = { x: new Float32Array(wall.n), y: new Float32Array(wall.n), side: new Float32Array(wall.n), cell: most };
  for (let k = 0; k < wall.n; k += 1) {
    const one = pile[k];
    const side = Math.min(most, fitting[one]);
    const high = Math.max(1, Math.floor(room / side + 1e-6));
    const [start, end] = [spans[2 * one], spans[2 * one + 1]];
    const columns = Math.max(Math.ceil(counts[one] / high), Math.min(counts[one], Math.floor(bin / side)));
    const middle = ((one % wallBins) + 0.5) * bin;
    const left = Math.max(start, Math.min(middle - (columns * side) / 2, end - columns * side));
    places.side[k] = side;
    places.x[k] = left + ((rank[k] % columns) + 0.5) * side;
    places.y[k] = (labels[k] + 1) * height - 0.06 * height - (Math.floor(rank[k] / columns) + 0.5) * side;
  }
  return places;
}

/** Start and end of the room of each pile: half way to its neighbours in its row. */
function spansOf(counts, width) {
  const spans = new Float32Array(2 * counts.length);
  for (let row = 0; row < counts.length; row += wallBins) {
    let before = -1;
    for (let bin = 0; bin < wallBins; bin += 1) {
      if (!counts[row + bin]) continue;
      spans[2 * (row + bin)] = before < 0 ? 0 : ((before + bin + 1) / 2) * width;
      if (before >= 0) spans[2 * (row + before) + 1] = spans[2 * (row + bin)];
      before = bin;
    }
    if (before >= 0) spans[2 * (row + before) + 1] = wallBins * width;
  }
  return spans;
}

/** The largest side of which `count` squares fit a width and height. */
function fittingSide(count, width, height) {
  let side = Math.min(width, height, Math.sqrt((width * height) / count));
  while (Math.floor(width / side + 1e-6) * Math.floor(height / side + 1e-6) < count) side *= 0.98;
  return side;
}

/** The side of a pile that leaves a fifth of the images in piles with smaller ones, at most 28 px. */
function sideOfMost(fitting, counts) {
  const order = [...counts.keys()].filter((one) => counts[one]).sort((a, b) => fitting[a] - fitting[b]);
  let [smaller, at] = [0, 0];
  while (at < order.length - 1 && smaller + counts[order[at]] < 0.2 * wall.n) {
    smaller += counts[order[at]];
    at += 1;
  }
  return Math.min(28, fitting[order[at]] ?? 28);
}

/** Move places towards others: all of the way if `part` is 1. */
function mix(from, to, part, into) {
  for (const name of ["x", "y", "side"]) {
    const [a, b, out] = [from[name], to[name], into[name]];
    for (let k = 0; k < out.length; k += 1) out[k] = a[k] + (b[k] - a[k]) * part;
  }
}

// ---- Drawing ----

const thumbnailFrom = 6; // px of the window that a thumbnail has at least
const mostThumbnails = 3000;

/** A colour of the page as a pixel of image data. */
function pixel(name) {
  const [red, green, blue] = (color(name).match(/[\d.]+/g) ?? []).map(Number);
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

function niceStep(length) {
  const power = 10 ** Math.floor(Math.log10(Math.max(length, 1e-9)));
  return power * ([1, 2, 5].find((factor) => factor * power >= length) ?? 10);
}

/** The section of the wall. */
function showWall(host) {
  const labels = Uint16Array.from(gallery.label);
  const shapes = gallery.sheets.map((uri) => element("img", { src: uri, onload: () => schedule() }));
  const slider = element("input", { type: "range", min: 0, max: wall.epochs.length - 1, step: 1 });
  const output = element("output");
  const play = button("Play", () => (playing ? stop() : start()));
  const drag = button("Drag: choose", () => setMode(!panning), { ariaPressed: "false" });
  drag.title = "What dragging does: choose images in a box, or move the wall; with Shift it does the other";
  const controls = element("div", { className: "controls" },
    element("label", {}, "Epoch", slider), output, play, drag,
    button("+", () => zoom(1.6), { ariaLabel: "Zoom in" }), button("−", () => zoom(1 / 1.6), { ariaLabel: "Zoom out" }),
    button("Fit", fit));
  const canvas = element("canvas", { tabIndex: 0, role: "application", ariaLabel: "Wall of images by radius and class",
    "aria-describedby": "wall-keys" });
  canvas.setAttribute("aria-roledescription", "zoomable wall of images");
  const box = element("div", { className: "choice", hidden: true });
  const tip = element("div", { className: "tip", hidden: true });
  const frame = element("div", { className: "wall" }, canvas, box, tip);
  const now = element("p", { className: "key", role: "status" });
  const current = element("p", { className: "visually-hidden", role: "status" });
  const legendOf = (name, words) => element("span", {}, element("i", { style: `background: var(--${name})` }), words);
  host.append(controls);
  filterLine(host);
  host.append(frame, current, now, element("p", { className: "key swatches" }, legendOf("series-0", "classified correctly"),
    legendOf("serious", "misclassified"), legendOf("faint", "not chosen by the filters")),
    element("p", { className: "key", id: "wall-keys" },
      "Click an image to open it; drag a box to choose radii and classes for the whole page. Zoom: Ctrl and the wheel, a pinch, or the wheel after a click. ",
      "Keys: arrows go from image to image, Shift and arrows move the wall, + and − zoom, 0 fits, Enter opens, Escape clears the filters."));

  // ---- State ----

  const left = 86;
  const below = 26;
  const size = { width: 0, height: 0, rows: labels.reduce((a, b) => Math.max(a, b + 1), classes.length) };
  const view = { scale: 1, x: 0, y: 0 };
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const wrong = Uint8Array.from(labels, (_, k) => Number(misclassified(k)));
  /** @type {any} */
  let [image, points, tones, from, to, at] = [null, null, null, null, null, null];
  let [ratio, cell, begun, duration, waiting, panning, cursor] = [1, 0, 0, 0, false, false, -1];
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let playing;

  const shownPlace = () => wallPlace(chosen.epoch);
  const toX = (x) => left + x * view.scale - view.x;
  const toY = (y) => y * view.scale - view.y;
  const lengthPerX = () => ((2 ** wall.bits) * wall.step) / size.width;
  const stageWidth = () => canvas.clientWidth - left - 8;
  const stageHeight = () => canvas.clientHeight - below;

  function resize() {
    if (!canvas.clientWidth) return;
    ratio = Math.min(devicePixelRatio || 1, 2);
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    image = context.createImageData(canvas.width, canvas.height);
    points = new Uint32Array(image.data.buffer);
    const before = size.width;
    Object.assign(size, { width: stageWidth(), height: stageHeight() });
    if (before) Object.assign(view, { x: (view.x * size.width) / before });
    // The size of a cell is that of the last epoch, so that images keep theirs when they travel.
    cell = layOut(wall.epochs.length - 1, size, labels, null).cell;
    settle();
  }

  const layoutOf = (epoch) => layOut(epoch, size, labels, cell);
  function settle() {
    to = layoutOf(shownPlace());
    from = to;
    at = { ...to, x: to.x.slice(), y: to.y.slice(), side: to.side.slice() };
    duration = 0;
    clamp();
    recolor();
  }

  function travel() {
    if (!at) return;
    if (still.matches) return settle();
    from = { x: at.x.slice(), y: at.y.slice(), side: at.side.slice() };
    to = layoutOf(shownPlace());
    begun = performance.now();
    duration = playing ? Math.max(180, Math.min(700, 9000 / wall.epochs.length)) : 500;
    schedule();
  }

  function recolor() {
    tones = { page: pixel("page"), correct: pixel("series-0"), misclassified: pixel("serious"), off: pixel("faint"),
      ink: color("ink"), muted: color("muted"), line: color("line"), serious: color("serious"), accent: color("accent"),
      font: `12px ${getComputedStyle(canvas).fontFamily}` };
    schedule();
  }

  function clamp() {
    view.scale = Math.min(Math.max(view.scale, 1), Math.max(1, 96 / cell));
    view.x = Math.min(Math.max(view.x, 0), size.width * (view.scale - 1));
    view.y = Math.min(Math.max(view.y, 0), size.height * (view.scale - 1));
  }

  // ---- One frame ----

  function schedule() {
    if (waiting || !at) return;
    waiting = true;
    requestAnimationFrame(draw);
  }

  function draw(time) {
    waiting = false;
    const part = duration ? Math.min(1, Math.max(0, time - begun) / duration) : 1;
    if (duration) mix(from, to, part * part * (3 - 2 * part), at);
    if (part === 1) duration = 0;
    points.fill(tones.page);
    const { near, count } = drawPoints();
    context.putImageData(image, 0, 0);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    drawAxes();
    const pictures = drawThumbnails(near);
    drawCursor();
    say(count - pictures, pictures);
    if (duration) schedule();
  }

  /** Draw all images in view as squares of one colour; return those that are to be thumbnails on top. */
  function drawPoints() {
    const { of } = matching();
    const { width } = canvas;
    const [edge, floor] = [Math.ceil(left * ratio), Math.floor(stageHeight() * ratio)];
    const scale = view.scale * ratio;
    const shiftX = (left - view.x) * ratio;
    const shiftY = -view.y * ratio;
    const least = pictured ? thumbnailFrom * ratio : Infinity;
    const near = [];
    let count = 0;
    for (let k = 0; k < wall.n; k += 1) {
      const side = at.side[k] * scale;
      const x = at.x[k] * scale + shiftX;
      const y = at.y[k] * scale + shiftY;
      if (x + side < edge || x - side > width || y + side < 0 || y - side > floor) continue;
      count += 1;
      if (side >= least && k < gallery.pictured && of[k]) near.push(k);
      else square(x, y, side, of[k] ? (wrong[k] ? tones.misclassified : tones.correct) : tones.off, edge, floor, width);
    }
    if (near.length <= mostThumbnails) return { near, count };
    const distance = Float32Array.from(near, (k) => Math.hypot(toX(at.x[k]) - left - size.width / 2, toY(at.y[k]) - size.height / 2));
    const limit = distance.slice().sort()[mostThumbnails];
    near.forEach((k, place) => {
      if (distance[place] >= limit) square(at.x[k] * scale + shiftX, at.y[k] * scale + shiftY, at.side[k] * scale,
        wrong[k] ? tones.misclassified : tones.correct, edge, floor, width);
    });
    return { near: near.filter((_, place) => distance[place] < limit), count };
  }

  // Pixels are set by hand: `fill` costs more than the few pixels of a row.
  function square(x, y, side, tone, edge, floor, width) {
    const half = (side < 3 ? Math.max(side, 1) : side - 1) / 2;
    const x0 = Math.max(Math.round(x - half), edge);
    const y0 = Math.max(Math.round(y - half), 0);
    const x1 = Math.min(Math.max(x0 + 1, Math.round(x + half)), width);
    const y1 = Math.min(Math.max(y0 + 1, Math.round(y + half)), floor);
    for (let row = y0 * width; row < y1 * width; row += width) {
      for (let pixel = row + x0; pixel < row + x1; pixel += 1) points[pixel] = tone;
    }
  }

  function drawThumbnails(near) {
    const { columns, rows, width, height } = gallery;
    context.save();
    context.beginPath();
    context.rect(left, 0, stageWidth() + 8, stageHeight());
    context.clip();
    let drawn = 0;
    const marked = [];
    for (const k of near) {
      const sheet = shapes[Math.floor(k / (columns * rows))];
      const side = at.side[k] * view.scale;
      if (!sheet?.complete) continue;
      const inner = side - 1;
      const place = k % (columns * rows);
      const fitted = Math.min(inner / width, inner / height);
      const [w, h] = [width * fitted, height * fitted];
      if (!drawn) context.imageSmoothingEnabled = fitted < 1;
      context.drawImage(sheet, (place % columns) * width, Math.floor(place / columns) * height, width, height,
        toX(at.x[k]) - w / 2, toY(at.y[k]) - h / 2, w, h);
      drawn += 1;
      if (wrong[k]) marked.push(k);
    }
    context.fillStyle = tones.serious;
    for (const k of marked) {
      const side = at.side[k] * view.scale;
      context.fillRect(toX(at.x[k]) - (side - 1) / 2, toY(at.y[k]) + side / 2 - 2, side - 1, 2);
    }
    context.restore();
    return drawn;
  }

  function drawAxes() {
    const [width, floor] = [canvas.clientWidth, stageHeight()];
    const rowHeight = (size.height / size.rows) * view.scale;
    context.font = tones.font;
    context.strokeStyle = tones.line;
    context.lineWidth = 1;
    context.textBaseline = "middle";
    context.textAlign = "right";
    context.beginPath();
    const every = Math.max(1, Math.ceil(14 / rowHeight));
    const first = Math.max(0, Math.floor(view.y / rowHeight));
    context.fillStyle = tones.muted;
    for (let row = first; row < size.rows && row * rowHeight - view.y < floor; row += 1) {
      const top = row * rowHeight - view.y;
      if (rowHeight > 6) {
        context.moveTo(left, Math.round(top + rowHeight) + 0.5);
        context.lineTo(width, Math.round(top + rowHeight) + 0.5);
      }
      const middle = Math.min(Math.max(top + rowHeight / 2, 8), floor - 8);
      if (row % every === 0 && Math.abs(middle - top - rowHeight / 2) < rowHeight / 2) {
        context.fillText(short(className(row), 12), left - 8, middle, left - 12);
      }
    }
    const perX = lengthPerX() / view.scale;
    const step = niceStep(perX * 90);
    const begin = Math.ceil((view.x * perX) / step - 1e-9) * step;
    context.textAlign = "center";
    for (let value = begin; (value - view.x * perX) / perX <= stageWidth() + 1; value += step) {
      const x = Math.round(left + (value - view.x * perX) / perX) + 0.5;
      context.moveTo(x, floor);
      context.lineTo(x, floor + 4);
      context.fillText(String(Number(value.toPrecision(6))), x, floor + 14);
    }
    context.stroke();
    context.textAlign = "left";
    context.fillText(unitOf(imageNorm).name, 4, floor + 14);
  }

  function drawCursor() {
    if (cursor < 0) return;
    const side = Math.max(at.side[cursor] * view.scale, 6) + 4;
    context.strokeStyle = tones.ink;
    context.lineWidth = 2;
    context.strokeRect(toX(at.x[cursor]) - side / 2, toY(at.y[cursor]) - side / 2, side, side);
  }

  let said = "";
  function say(dots, pictures) {
    if (duration) return;
    canvas.dataset.points = dots;
    canvas.dataset.thumbnails = pictures;
    const closer = pictured && !pictures ? " Zoom in to see thumbnails." : "";
    const others = wall.n - gallery.pictured;
    const lacking = others && pictured ? ` ${others} of all ${wall.n} have no thumbnail in this page: --images ${wall.n} gives them one.` : "";
    const skipped = wall.left_out ? ` ${wall.left_out} epochs between those of the slider are left out.` : "";
    const text = `In view: ${plural(pictures, "thumbnail")}, ${plural(dots, "point")}.${closer}${lacking}${skipped}`;
    if (text !== said) now.textContent = text;
    said = text;
  }

  // ---- Epochs ----

  function stop() {
    clearInterval(playing);
    playing = undefined;
    play.textContent = "Play";
  }
  function start() {
    if (Number(slider.value) >= wall.epochs.length - 1) toEpoch(0);
    play.textContent = "Pause";
    const every = still.matches ? 900 : Math.max(200, Math.min(720, 9200 / wall.epochs.length));
    playing = setInterval(() => {
      toEpoch(Number(slider.value) + 1);
      if (Number(slider.value) >= wall.epochs.length - 1) stop();
    }, every);
  }
  const toEpoch = (place) => select({ epoch: place >= wall.epochs.length - 1 ? null : wall.epochs[place] }, false);
  slider.addEventListener("input", () => toEpoch(Number(slider.value)));
  function nameEpoch() {
    slider.value = shownPlace();
    output.textContent = `after epoch ${wall.epochs[shownPlace()]}`;
    slider.ariaValueText = output.textContent;
  }

  // ---- Zoom and pan ----

  function zoom(factor, x = left + size.width / 2, y = size.height / 2) {
    const before = view.scale;
    view.scale *= factor;
    view.scale = Math.min(Math.max(view.scale, 1), Math.max(1, 96 / cell));
    const grown = view.scale / before;
    view.x = (view.x + x - left) * grown - (x - left);
    view.y = (view.y + y) * grown - y;
    clamp();
    schedule();
  }
  function fit() {
    Object.assign(view, { scale: 1, x: 0, y: 0 });
    schedule();
  }
  function pan(x, y) {
    view.x += x;
    view.y += y;
    clamp();
    schedule();
  }
  function setMode(pans) {
    panning = pans;
    drag.textContent = pans ? "Drag: move" : "Drag: choose";
    drag.ariaPressed = String(pans);
    canvas.style.cursor = pans ? "grab" : "";
  }

  // ---- Pointer ----

  /** The image under a point of the canvas, or the nearest within 6 px; -1 for none. */
  function imageAt(x, y) {
    let [best, least] = [-1, Infinity];
    for (let k = 0; k < wall.n; k += 1) {
      const reach = Math.max((at.side[k] * view.scale) / 2, 4);
      const [dx, dy] = [Math.abs(toX(at.x[k]) - x), Math.abs(toY(at.y[k]) - y)];
      if (dx <= reach && dy <= reach && dx + dy < least) [best, least] = [k, dx + dy];
    }
    return best;
  }

  function open(k) {
    const list = chosenImages();
    if (matching().of[k]) openDetail(list, list.indexOf(k));
    else openDetail([k], 0);
  }

  const pointers = new Map();
  /** @type {{ x: number, y: number, moved: boolean, pans: boolean } | null} */
  let pressed = null;
  const local = (event) => {
    const bounds = canvas.getBoundingClientRect();
    return { x: event.clientX - bounds.left, y: event.clientY - bounds.top };
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    pointers.set(event.pointerId, local(event));
    canvas.setPointerCapture(event.pointerId);
    pressed = pointers.size === 1 ? { ...local(event), moved: false, pans: panning !== event.shiftKey } : null;
    box.hidden = true;
  });
  canvas.addEventListener("pointermove", (event) => {
    const point = local(event);
    const before = pointers.get(event.pointerId);
    if (!before) return showTip(point);
    pointers.set(event.pointerId, point);
    tip.hidden = true;
    if (pointers.size === 2) return pinch(event.pointerId, before, point);
    if (!pressed) return;
    pressed.moved ||= Math.hypot(point.x - pressed.x, point.y - pressed.y) > 4;
    if (!pressed.moved) return;
    if (pressed.pans) pan(before.x - point.x, before.y - point.y);
    else showBox(pressed, point);
  });
  const release = (event) => {
    const point = pointers.get(event.pointerId);
    pointers.delete(event.pointerId);
    const done = pressed;
    pressed = null;
    box.hidden = true;
    if (!done || event.type === "pointercancel") return;
    if (done.moved && !done.pans) chooseBox(done, point);
    else if (!done.moved && imageAt(point.x, point.y) >= 0) open(imageAt(point.x, point.y));
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });

  function pinch(id, before, point) {
    const [other] = [...pointers].filter(([key]) => key !== id).map(([, one]) => one);
    const apart = (one) => Math.max(8, Math.hypot(one.x - other.x, one.y - other.y));
    zoom(apart(point) / apart(before), (point.x + other.x) / 2, (point.y + other.y) / 2);
    pan((before.x - point.x) / 2, (before.y - point.y) / 2);
  }

  function showBox(start, point) {
    box.hidden = false;
    Object.assign(box.style, { left: `${Math.min(start.x, point.x)}px`, top: `${Math.min(start.y, point.y)}px`,
      width: `${Math.abs(point.x - start.x)}px`, height: `${Math.abs(point.y - start.y)}px` });
  }

  function chooseBox(a, b) {
    const inside = radiiIn(Math.min(a.x, b.x), Math.max(a.x, b.x), Math.min(a.y, b.y), Math.max(a.y, b.y));
    const radius = (x) => Math.max(0, ((x - left + view.x) / view.scale) * lengthPerX());
    const row = (y) => Math.min(size.rows - 1, Math.max(0, Math.floor(((y + view.y) / view.scale / size.height) * size.rows)));
    const rows = [row(a.y), row(b.y)].sort((one, other) => one - other);
    const all = rows[0] === 0 && rows[1] === size.rows - 1;
    const names = Array.from({ length: rows[1] - rows[0] + 1 }, (_, k) => rows[0] + k);
    const [low, high] = inside ?? [radius(a.x), radius(b.x)].sort((one, other) => one - other);
    const fine = 10 ** unitOf(imageNorm).digits;
    select({ low: Math.floor(fine * low) / fine, high: Math.ceil(fine * high) / fine, at: chosen.epoch, label: all ? "" : names.join(",") });
  }

  /** The smallest and largest radius of the images in a box, with half a step to either side, as the gallery has radii
   * that are not rounded to steps; null if there is none. */
  function radiiIn(x0, x1, y0, y1) {
    const steps = stepsAfter(shownPlace());
    let [low, high] = [Infinity, -Infinity];
    for (let k = 0; k < wall.n; k += 1) {
      const [x, y] = [toX(at.x[k]), toY(at.y[k])];
      if (x < x0 || x > x1 || y < y0 || y > y1) continue;
      low = Math.min(low, steps[k]);
      high = Math.max(high, steps[k]);
    }
    return low <= high ? [Math.max(0, (low - 0.5) * wall.step), (high + 0.5) * wall.step] : null;
  }

  function showTip(point) {
    const k = at ? imageAt(point.x, point.y) : -1;
    tip.hidden = k < 0;
    if (k < 0) return;
    tip.replaceChildren(...[pictured ? sprite(k, 64) : null, element("span", {}, sentence(k))].filter(known));
    const right = point.x > canvas.clientWidth / 2;
    Object.assign(tip.style, { top: `${Math.min(point.y + 14, canvas.clientHeight - 90)}px`, left: right ? "" : `${point.x + 14}px`,
      right: right ? `${canvas.clientWidth - point.x + 14}px` : "" });
  }

  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== canvas) return;
    event.preventDefault();
    const { x, y } = local(event);
    zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), x, y);
  }, { passive: false });

  // ---- Keys ----

  function step(dx, dy) {
    const { of } = matching();
    const [x, y] = cursor < 0 ? [left + size.width / 2, size.height / 2] : [toX(at.x[cursor]), toY(at.y[cursor])];
    let [best, least] = [-1, Infinity];
    for (let k = 0; k < wall.n; k += 1) {
      if (k === cursor || !of[k]) continue;
      const [along, aside] = dx ? [(toX(at.x[k]) - x) * dx, toY(at.y[k]) - y] : [(toY(at.y[k]) - y) * dy, toX(at.x[k]) - x];
      if (cursor >= 0 && along <= 0.01) continue;
      const far = Math.abs(along) + 3 * Math.abs(aside);
      if (far < least) [best, least] = [k, far];
    }
    if (best < 0) return;
    cursor = best;
    current.textContent = sentence(best);
    const [cx, cy] = [toX(at.x[best]), toY(at.y[best])];
    pan(cx < left + 20 ? cx - left - 60 : cx > left + size.width - 20 ? cx - left - size.width + 60 : 0,
      cy < 20 ? cy - 60 : cy > size.height - 20 ? cy - size.height + 60 : 0);
  }
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const acts = { "+": () => zoomAtCursor(1.4), "=": () => zoomAtCursor(1.4), "-": () => zoomAtCursor(1 / 1.4), 0: fit, Home: fit,
    Enter: () => cursor >= 0 && open(cursor), Escape: clearFilters };
  const zoomAtCursor = (factor) => (cursor < 0 ? zoom(factor) : zoom(factor, toX(at.x[cursor]), toY(at.y[cursor])));
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !at) return;
    const arrow = arrows[event.key];
    if (!arrow && !acts[event.key]) return;
    event.preventDefault();
    if (!arrow) acts[event.key]();
    else if (event.shiftKey) pan(80 * arrow[0], 80 * arrow[1]);
    else step(arrow[0], arrow[1]);
  });
  canvas.addEventListener("blur", () => {
    cursor = -1;
    schedule();
  });

  // ---- Begin when the wall comes near ----

  function begin() {
    if (at) return;
    nearing.unobserve(canvas);
    resize();
    observer.observe(canvas);
  }
  const observer = new ResizeObserver(() => {
    const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio];
    if (width && Math.abs(width - canvas.width) + Math.abs(height - canvas.height) > 2) resize();
  });
  canvas.addEventListener("near", begin);
  nearing.observe(canvas);
  charts.add({ plot: canvas, observer, draw: () => (printing && !at ? begin() : at && recolor()) });
  follow((changed) => {
    if (changed.has("epoch")) {
      nameEpoch();
      travel();
    } else if (filterNames.some((name) => changed.has(name))) schedule();
  });
  nameEpoch();
}

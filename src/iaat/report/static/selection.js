// What is chosen on the page, the same for all its charts, and in its address: filters, epoch, the open image.

// ---- All images: those of the gallery, then neighbours with thumbnails, then the others ----

// There whenever the gallery is.
const wall = /** @type {Wall} */ (content.wall);
const inGallery = gallery?.index.length ?? 0;

function numbers(text, bits) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let k = 0; k < raw.length; k += 1) bytes[k] = raw.charCodeAt(k);
  const kinds = { 8: Uint8Array, 16: Uint16Array, 32: Uint32Array };
  return new kinds[bits](bytes.buffer);
}

const unpacked = new Map();
/** Radii of all images after an epoch of the wall, in steps of `wall.step`. */
function stepsAfter(place) {
  if (!unpacked.has(place)) unpacked.set(place, numbers(wall.radii[place], wall.bits));
  return unpacked.get(place);
}
// The last epoch of the wall, or that at or before another.
const wallPlace = (epoch) =>
  known(epoch) ? Math.max(0, wall.epochs.findLastIndex((one) => one <= epoch)) : wall.epochs.length - 1;
const radiusHistory = (k) => wall.epochs.map((_, place) => stepsAfter(place)[k] * wall.step);

function addOthers() {
  const kinds = /** @type {const} */ (["", "label", "ambiguous"]);
  const [index, label, prediction] = [numbers(wall.index, 32), numbers(wall.label, 16), numbers(wall.prediction, 16)];
  const kind = numbers(wall.kind, 8);
  const last = stepsAfter(wall.epochs.length - 1);
  for (let k = inGallery; k < wall.n; k += 1) {
    gallery.index.push(index[k]);
    gallery.label.push(label[k]);
    gallery.prediction.push(prediction[k]);
    gallery.radius.push(last[k] * wall.step);
    gallery.kind.push(kinds[kind[k]]);
    gallery.suggested.push(prediction[k] === label[k] ? -1 : prediction[k]);
    gallery.rank.push(Infinity);
    gallery.path.push("");
  }
}
if (wall) addOthers();

// ---- What is chosen ----

/** @type {Chosen} */
const nothing = Object.freeze({ label: "", prediction: "", outcome: "", kind: "", low: null, high: null, at: null,
  sort: "smallest", page: 0, run: null, epoch: null, image: null });
const filterNames = ["label", "prediction", "outcome", "kind", "low", "high", "at"];
/** @type {Chosen} */
let chosen = nothing;
let place = "";
const followers = new Set();
/** Call a function with the names of what has changed, after each change. */
const follow = (call) => followers.add(call);

/** Change what is chosen.
 * @param {Partial<Chosen>} changes
 * @param {boolean} step Whether the browser's back button returns to what was chosen before.
 * @param {{ opened: number } | null} state Kept with a new step. */
function select(changes, step = true, state = null) {
  const first = [...filterNames, "sort"].some((name) => name in changes) ? { page: 0 } : {};
  apply({ ...chosen, ...first, ...changes });
  const address = addressOf(chosen);
  if (address === location.hash) return;
  if (step) history.pushState(state, "", address || location.pathname);
  else history.replaceState(history.state, "", address || location.pathname);
}

/** @param {Chosen} next */
function apply(next) {
  const changed = new Set(Object.keys(nothing).filter((name) => next[name] !== chosen[name]));
  chosen = next;
  if (filterNames.some((name) => changed.has(name))) mask = null;
  if (changed.size) for (const call of followers) call(changed);
}

const clearFilters = () => select(Object.fromEntries(filterNames.map((name) => [name, nothing[name]])));

/** Whether each image is one of those chosen, and how many are.
 * @type {{ of: Uint8Array, count: number } | null} */
let mask = null;
function matching() {
  if (mask) return mask;
  const { prediction, outcome, kind, low, high, at } = chosen;
  const labels = new Set(chosen.label.split(",").filter(Boolean).map(Number));
  const steps = known(at) ? stepsAfter(wallPlace(at)) : null;
  const of = Uint8Array.from(gallery.index, (_, k) => {
    const radius = steps ? steps[k] * wall.step : gallery.radius[k];
    return Number((!labels.size || labels.has(gallery.label[k])) &&
      (prediction === "" || gallery.prediction[k] === Number(prediction)) &&
      (outcome === "" || (gallery.prediction[k] >= 0 && misclassified(k) === (outcome === "misclassified"))) &&
      (kind === "" || gallery.kind[k] === (kind === "none" ? "" : kind)) &&
      (low === null || radius >= low) && (high === null || radius <= high));
  });
  mask = { of, count: of.reduce((sum, one) => sum + one, 0) };
  return mask;
}

// The images of the gallery come in the order of their radii, ties included.
const bySuspicion = (a, b) => gallery.rank[a] - gallery.rank[b] || a - b;
const orders = {
  smallest: (a, b) => gallery.radius[a] - gallery.radius[b],
  largest: (a, b) => gallery.radius[b] - gallery.radius[a] || b - a,
  suspicion: bySuspicion,
  index: (a, b) => gallery.index[a] - gallery.index[b],
};
/** Places of the chosen images in their order, of the first `count` alone. */
function chosenImages(count = gallery.index.length) {
  const { of } = matching();
  return Array.from({ length: count }, (_, k) => k).filter((k) => of[k]).sort(orders[chosen.sort]);
}

/** The filters as text for people; nothing where none is set. */
function filterText() {
  const { label: labels, prediction, outcome, kind, low, high, at } = chosen;
  const names = labels.split(",").filter(Boolean).map((number) => short(className(Number(number)), 24));
  const many = names.length > 4 ? `${names.length} classes` : names.join(", ");
  const after = known(at) ? ` after epoch ${at}` : "";
  const radius = known(low) && known(high) ? `radius ${lengthRange(low, high, imageNorm)}` : known(low)
    ? `radius from ${lengthText(low, imageNorm)}` : `radius up to ${lengthText(high, imageNorm)}`;
  const kinds = { label: "suspected of a label error", ambiguous: "suspected of being ambiguous", none: "no suspect" };
  return [many && `label ${many}`, prediction !== "" && `predicted ${short(className(Number(prediction)), 24)}`, outcome,
    kind && kinds[kind], (known(low) || known(high)) && radius + after].filter(Boolean).join("; ");
}

/** A line that says which images are chosen, with a button that clears the filters. */
function filterLine(host) {
  const words = element("span", { role: "status" });
  const clear = button("Clear filters", clearFilters);
  const show = () => {
    const filters = filterText();
    clear.hidden = !filters;
    words.textContent = filters ? `${matching().count} of ${gallery.index.length} images: ${filters}`
      : `All ${gallery.index.length} images`;
  };
  follow((changed) => filterNames.some((name) => changed.has(name)) && show());
  show();
  host.append(element("p", { className: "filtered" }, words, clear));
}

// ---- The address: `#section?label=3&low=2&image=17` ----

function addressOf(/** @type {Chosen} */ of) {
  const set = Object.entries(of).filter(([name, value]) => value !== nothing[name]);
  const query = new URLSearchParams(set.map(([name, value]) => [name, String(value)])).toString();
  return query || place ? `#${place}${query ? `?${query}` : ""}` : "";
}

const meanings = { label: /^\d+(,\d+)*$/, prediction: /^\d+$/, outcome: /^(correct|misclassified)$/,
  kind: /^(label|ambiguous|none)$/, sort: /^(smallest|largest|suspicion|index)$/ };

const counted = ["page", "run", "epoch", "at", "image"];
const isOne = (name, value) => Number.isFinite(value) && (!counted.includes(name) || (Number.isInteger(value) && value >= 0)) &&
  (name !== "run" || (value in runs && (content.radii.some(({ run }) => run === value) || Object.keys(runs[value].quantiles).length > 0)));

// What is no number or no name that the page knows is left out.
function chosenIn(query) {
  const given = new URLSearchParams(query);
  const next = { ...nothing };
  for (const name of Object.keys(nothing)) {
    const value = given.get(name);
    if (value === null || value === "") continue;
    if (meanings[name]?.test(value)) next[name] = value;
    else if (!meanings[name] && isOne(name, Number(value))) next[name] = Number(value);
  }
  return next;
}

function readAddress() {
  const [, section, query] = /^#([\w-]*)(?:\?(.*))?$/.exec(location.hash) ?? [null, "", ""];
  place = section;
  apply(chosenIn(query ?? ""));
}

/** Make links within the page keep what is chosen; a link with a query of its own sets that. */
function keepChosen(event) {
  const link = event.target.closest?.('a[href^="#"]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const [section, query] = link.getAttribute("href").slice(1).split("?");
  const target = find(section);
  target?.scrollIntoView();
  if (target?.tabIndex === -1 && target.hasAttribute("tabindex")) target.focus({ preventScroll: true });
  if (section !== "main") place = section;
  if (query !== undefined) apply(chosenIn(query));
  history.pushState(null, "", addressOf(chosen) || location.pathname);
}

async function copyLink() {
  const note = find("copied");
  try {
    await navigator.clipboard.writeText(location.href);
    note.textContent = "Link copied";
  } catch {
    note.textContent = "Copy it from the address bar";
  }
  setTimeout(() => { note.textContent = ""; }, 4000);
}

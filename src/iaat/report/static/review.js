// Review of suspects: a decision on each label, kept in the browser, saved as a table for `data.relabel`.

/** @typedef {{ decision: "keep" | "relabel" | "unsure", label: string, to: string }} Decision */

const decisionKeys = { k: "keep", r: "relabel", u: "unsure" };
const decisionNames = { keep: "kept", relabel: "relabelled", unsure: "unsure" };
/** Whether an image is an extra one, for which `data.relabel` takes no row. */
const isExtra = (k) => known(gallery.extra_from) && gallery.index[k] >= gallery.extra_from;
// A card on a page of twelve is as large as fits three in a row.
const cardsPerPage = 12;

const repeated = new Set(classes.filter((name, k) => classes.indexOf(name) !== k));
/** Classes as `data.relabel` reads them: by name, and by number where several share one. */
const inTable = classes.map((name, k) => (repeated.has(name) ? String(k) : name));
/** A class for people; several of one name have their numbers, too. */
const distinct = (number) => (repeated.has(classes[number]) ? `${className(number)} (${number})` : className(number));

/** Decisions by the index of the image, as the browser keeps them; nothing where it keeps none. */
function decisionStore() {
  // The seconds tell runs of one name apart, of other data or in other folders.
  const { folder, name, seconds } = runs[gallery.run];
  const key = `iaat review ${JSON.stringify([content.dataset, folder, name, gallery.total, seconds])}`;
  const stored = () => {
    const found = JSON.parse(localStorage.getItem(key) ?? "{}");
    return found !== null && typeof found === "object" ? found : {};
  };
  const isDecision = (value, k) => Object.hasOwn(decisionNames, value?.decision) && value.label === inTable[gallery.label[k]] &&
    (value.decision === "relabel" ? inTable.includes(value.to) && value.to !== value.label : value.to === "");
  return {
    /** Decisions by the place of the image. A label that is another one now was corrected since: what was decided on it
     * is of the past.
     * @returns {Map<number, Decision>} */
    read() {
      try {
        const found = stored();
        const decisions = new Map();
        for (let k = 0; k < inGallery; k += 1) {
          const value = found[gallery.index[k]];
          if (!isExtra(k) && isDecision(value, k)) decisions.set(k, value);
        }
        return decisions;
      } catch {
        return new Map();
      }
    },
    /** Keep the decision on one image, or that there is none; those of other pages of the run stay as they are.
     * @param {Decision | undefined} decision
     * @returns {boolean} Whether it is kept. */
    write(k, decision) {
      let all = {};
      try {
        all = stored();
      } catch {
        // What is damaged is written anew.
      }
      try {
        all[gallery.index[k]] = decision;
        localStorage.setItem(key, JSON.stringify(all));
        return true;
      } catch {
        return false;
      }
    },
  };
}

/** Neighbours of both classes of an image: what collect found, or what its details have. */
function neighboursOf(k) {
  const packed = gallery.neighbours;
  const row = packed ? packed.of.indexOf(k) : -1;
  if (packed && row >= 0) {
    const side = (places) => places.map((at) => ({ index: packed.index[at],
      picture: packed.sheets.length ? spriteOf(packed, "near", at, 64) : null }));
    return { own: side(packed.own[row]), other: side(packed.other[row]) };
  }
  const detail = gallery.details[String(k)];
  const side = (near) => near.map(({ index }) => ({ index, picture: pictured ? sprite(gallery.index.indexOf(index), 64) : null }));
  return detail && detail.confused === gallery.suggested[k] ? { own: side(detail.near_own), other: side(detail.near_confused) } : null;
}

function review(host) {
  const groups = { label: "Suspected label errors", ambiguous: "Ambiguous images" };
  const placesOf = (kind) => Array.from({ length: inGallery }, (_, k) => k).filter((k) => gallery.kind[k] === kind && !isExtra(k)).sort(bySuspicion);
  const kinds = Object.keys(groups).filter((kind) => placesOf(kind).length);
  const extra = Array.from({ length: inGallery }, (_, k) => k).filter((k) => gallery.kind[k] && isExtra(k)).length;
  if (extra) host.append(element("p", { className: "alt" },
    `${plural(extra, "suspect is an extra image", "suspects are extra images")} (data.extra), for which data.relabel takes no row: correct their labels there.`));
  if (!kinds.length) return;
  let list = placesOf(kinds[0]);
  let at = 0;
  let grid = false;
  let kept = true;
  const store = decisionStore();
  const decisions = store.read();
  /** @type {[number, Decision | undefined][]} */
  const past = [];
  /** The class each card would change to, as long as it is open. @type {Map<number, number>} */
  const wanted = new Map();

  const status = element("p", { className: "count", role: "status", ariaLive: "polite" });
  const bar = element("progress", { ariaLabel: "Images reviewed" });
  const warning = element("p", { className: "note" });
  const cards = element("div", { className: "review" });
  const pager = element("div", { className: "pager" });
  const undo = button("Undo", takeBack, { ariaKeyShortcuts: "Z" });
  const layout = button("", () => { grid = !grid; show(); });
  const save = button("Download relabel.csv", saveTable);
  const choice = element("select", { onchange: () => { list = placesOf(choice.value); at = 0; show(); } },
    ...kinds.map((kind) => element("option", { value: kind }, `${groups[kind]} (${placesOf(kind).length})`)));
  const panel = element("div", { id: "review", onkeydown: press }, element("h3", {}, "Review"),
    element("p", { className: "alt" }, "Is the label correct? ", ...keysOf({ K: "keeps it", R: "takes the new label", U: "leaves it unsure",
      Z: "undoes", "← →": "go on" }), gallery.relabel ? ` Then put the rows below those of ${gallery.relabel}, which this run needs as it is, in a new file, both.csv, and train on all corrections:`
      : " Then train on the corrected labels:"),
    element("pre", {}, element("code", {}, ...["iaat train RUN/recipe.yaml", `--data.relabel ${gallery.relabel ? "both" : "relabel"}.csv`, "--out NEW"].flatMap((part) => [element("span", {}, part), " "]))),
    element("div", { className: "controls" }, kinds.length > 1 ? element("label", {}, "Show ", choice) : null, layout, undo, save),
    status, bar, warning, cards, pager);
  const decisionOn = (k) => decisions.get(k);
  host.append(panel);
  // Whoever has scrolled to a card has focused nothing yet.
  document.addEventListener("keydown", (event) => {
    const { top, bottom } = cards.getBoundingClientRect();
    const inView = top < innerHeight && bottom > 0;
    const unfocused = event.target instanceof Element && event.target.matches("body, .bar nav a");
    if (inView && !grid && !dialog.open && unfocused) press(event);
  });
  show();

  function keysOf(keys) {
    return Object.entries(keys).flatMap(([key, means], k) => [k ? ", " : "", element("kbd", {}, key), ` ${means}`]).concat(".");
  }

  /** The class that an image would change to; -1 for none yet. */
  function newLabelOf(k) {
    const before = decisionOn(k);
    return wanted.get(k) ?? (before?.decision === "relabel" ? inTable.indexOf(before.to) : gallery.suggested[k]);
  }

  /** @param {"keep" | "relabel" | "unsure"} decision */
  function decide(k, decision) {
    const to = newLabelOf(k);
    if (decision === "relabel" && to < 0) {
      status.textContent = "Choose a new label first.";
      return;
    }
    past.push([k, decisionOn(k)]);
    decisions.set(k, { decision, label: inTable[gallery.label[k]], to: decision === "relabel" ? inTable[to] : "" });
    wanted.delete(k);
    keep(k);
    const place = list.indexOf(k);
    const open = [...list.keys()].map((step) => (place + 1 + step) % list.length).find((other) => !decisionOn(list[other]));
    at = open ?? place;
    show(true);
  }

  function takeBack() {
    const last = past.pop();
    if (!last) return;
    const [k, before] = last;
    if (before) decisions.set(k, before);
    else decisions.delete(k);
    keep(k);
    if (!list.includes(k)) {
      choice.value = gallery.kind[k];
      list = placesOf(choice.value);
    }
    at = list.indexOf(k);
    show(true);
  }

  function keep(k) {
    kept = store.write(k, decisions.get(k)) && kept;
  }

  function saveTable() {
    const rows = [...decisions].sort(([a], [b]) => bySuspicion(a, b)).map(([k, { decision, label, to }]) =>
      [gallery.index[k], ...(withFiles ? [gallery.path[k]] : []), label, to, decision]);
    download("relabel", ["index", ...(withFiles ? ["path"] : []), "label", "new_label", "decision"], rows);
  }

  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input")) return;
    const key = event.key.toLowerCase();
    const card = event.target.closest(".card");
    const k = card ? Number(card.dataset.place) : list[at];
    if (decisionKeys[key]) decide(k, decisionKeys[key]);
    else if (key === "z") takeBack();
    else if (key === "arrowright" || key === "arrowleft") go(list.indexOf(k) + (key === "arrowright" ? 1 : -1));
    else return;
    event.preventDefault();
  }

  function go(to) {
    if (to < 0 || to >= list.length) return;
    at = to;
    show(true);
  }

  /** Draw cards and counts; `focus` moves to the card in question. */
  function show(focus = false) {
    const done = list.filter(decisionOn);
    const count = (decision) => done.filter((k) => decisionOn(k)?.decision === decision).length;
    status.textContent = `${done.length} of ${list.length} reviewed: ${Object.entries(decisionNames).map(([decision, name]) => `${count(decision)} ${name}`).join(", ")}`;
    Object.assign(bar, { max: list.length, value: done.length });
    warning.hidden = kept;
    warning.textContent = "This browser keeps no decisions for the page: download relabel.csv before you close it.";
    undo.disabled = !past.length;
    save.disabled = !decisions.size;
    layout.textContent = grid ? "One at a time" : "Grid";
    const first = grid ? at - (at % cardsPerPage) : at;
    const visible = list.slice(first, first + (grid ? cardsPerPage : 1));
    cards.className = grid ? "review grid" : "review";
    cards.replaceChildren(...visible.map((k) => card(k)));
    const step = grid ? cardsPerPage : 1;
    fillPager(pager, first / step, Math.ceil(list.length / step), (page) => go(page * step),
      grid ? `${first + 1} to ${first + visible.length} of ${list.length}` : `${at + 1} of ${list.length}`);
    if (focus) cards.querySelector(`[data-place="${list[at]}"]`)?.focus({ preventScroll: !grid });
  }

  function card(k) {
    const decision = decisionOn(k);
    const own = gallery.label[k];
    const to = newLabelOf(k);
    const target = element("select", { ariaLabel: `New label of image ${gallery.index[k]}` },
      to < 0 ? element("option", { value: -1 }, "choose a class") : null,
      ...classes.flatMap((_, other) => (other === own ? [] : [element("option", { value: other, selected: other === to }, short(distinct(other), 30))])));
    const relabel = button("Relabel as", () => decide(k, "relabel"), { disabled: to < 0, ariaKeyShortcuts: "R" });
    target.addEventListener("change", () => {
      wanted.set(k, Number(target.value));
      relabel.disabled = Number(target.value) < 0;
    });
    const outcome = decision ? `Decided: ${decisionNames[decision.decision]}${decision.to ? ` as ${distinct(inTable.indexOf(decision.to))}` : ""}` : "Not decided";
    const reason = reasonOf(k);
    const title = [named(own), " → ", gallery.suggested[k] < 0 ? "?" : named(gallery.suggested[k])];
    return element("article", { className: "card", tabIndex: -1, "data-place": k, "data-decision": decision?.decision ?? "",
      ariaLabel: `${sentence(k)}. ${outcome}` },
      element("div", { className: "card-picture" }, pictured ? sprite(k, grid ? 128 : 224) : null),
      element("div", { className: "card-text" },
        element("h4", {}, ...title), element("p", { className: "alt" }, `Image ${gallery.index[k]}, ${rankOf(k)}, radius ${radiusOf(k)}`),
        reason.length && !grid ? element("p", {}, ...reason) : null,
        element("div", { className: "card-decision" }, button("Keep", () => decide(k, "keep"), { ariaKeyShortcuts: "K" }),
          button("Unsure", () => decide(k, "unsure"), { ariaKeyShortcuts: "U" }), element("span", {}, relabel, target)),
        element("p", { className: "outcome" }, outcome), nearOf(k)));
  }

  function nearOf(k) {
    const near = neighboursOf(k);
    if (!near) return grid ? null : element("p", { className: "alt" }, "Its neighbours were not computed.");
    const row = (label, side) => side.length ? element("div", { className: "near" }, element("p", {}, "Nearest of ", named(label)),
      element("div", {}, ...side.map(({ index, picture }) => element("span", { title: `Image ${index}`, role: "img", ariaLabel: `Image ${index}, ${className(label)}` }, picture ?? `#${index}`)))) : null;
    return element("div", {}, row(gallery.label[k], near.own), row(gallery.suggested[k], near.other));
  }
}

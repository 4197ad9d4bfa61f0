// Images: the gallery with its filters, and the suspects.

// ---- Images ----

const pictured = Boolean(gallery?.sheets.length);
const withFiles = Boolean(gallery?.path.some((path) => path));

function addSheets() {
  const sheets = { sheet: gallery.sheets, near: gallery.neighbours?.sheets ?? [] };
  const rules = Object.entries(sheets).flatMap(([name, uris]) =>
    uris.map((uri, k) => `.${name}-${k} { background-image: url(${JSON.stringify(uri)}); }`));
  document.head.append(element("style", {}, rules.join("\n")));
}

// Whole multiples keep the pixels of small images square.
const sprite = (k, side) => (k >= 0 && k < gallery.pictured ? spriteOf(gallery, "sheet", k, side) : null);
function spriteOf(packed, name, k, side) {
  const { columns, rows, width, height } = packed;
  const scale = Math.max(width, height) <= side ? Math.floor(side / Math.max(width, height))
    : side / Math.max(width, height);
  const sheet = Math.floor(k / (columns * rows));
  const place = k % (columns * rows);
  const [x, y] = [(place % columns) * width * scale, Math.floor(place / columns) * height * scale];
  return element("span", {
    className: `sprite ${name}-${sheet}`,
    style: `width:${width * scale}px;height:${height * scale}px;background-size:${columns * width * scale}px auto;background-position:-${x}px -${y}px`,
  });
}

/** Fill a pager: the buttons to the pages before and after one, from 0, and where that is; nothing for a single page. */
function fillPager(pager, page, pages, go, where = `Page ${page + 1} of ${pages}`) {
  const pressed = [...pager.children].indexOf(/** @type {Element} */ (document.activeElement));
  const buttons = [button("Previous", () => go(page - 1), { disabled: page === 0 }),
    button("Next", () => go(page + 1), { disabled: page + 1 >= pages })];
  pager.hidden = pages < 2;
  pager.replaceChildren(buttons[0], where, buttons[1]);
  // The button that was pressed is new: it keeps the focus, or the other has it at an end.
  if (pressed >= 0) (buttons[pressed].disabled ? buttons[1 - pressed] : buttons[pressed]).focus();
}

function showImages(host) {
  const form = find("filters");
  const perPage = matchMedia("(max-width: 40rem)").matches ? 60 : 120;
  const count = element("p", { className: "count", role: "status", ariaLive: "polite" });
  const place = element("div");
  const pager = element("div", { className: "pager" });
  const all = Array.from({ length: inGallery }, (_, k) => k);
  let shown = all;

  const most = Math.max(...all.map((k) => gallery.radius[k]), 1e-6);
  const bins = 40;
  const bin = (k) => Math.min(bins - 1, Math.floor((gallery.radius[k] / most) * bins));

  /** @returns {[number, number]} */
  const endsOf = (places) => {
    const radii = places.map((k) => gallery.radius[k]);
    return [Math.min(...radii), Math.max(...radii)];
  };

  function countInBins(places) {
    const counts = new Array(bins).fill(0);
    for (const k of places) counts[bin(k)] += 1;
    return counts;
  }

  function histogram() {
    const [whole, part] = [countInBins(all), countInBins(shown)];
    const x = whole.map((_, k) => ((k + 0.5) * most) / bins);
    const edges = whole.map((_, k) => [(k * most) / bins, ((k + 1) * most) / bins]);
    const bar = (y, name, tone) => ({ type: "bar", x, y, name, width: (0.92 * most) / bins, marker: { color: tone },
      selected: { marker: { opacity: 1 } }, unselected: { marker: { opacity: 1 } }, hovertemplate: hover, textposition: "none",
      text: edges.map(([from, to], k) => `${lengthRange(from, to, imageNorm)}<br>${part[k]} of ${whole[k]} shown`) });
    const top = 1.05 * Math.max(...whole);
    return {
      title: "Radii of the images shown; drag across it to choose a range",
      alt: shown.length
        ? `${shown.length} of ${all.length} images, with radii from ${lengthRange(...endsOf(shown), imageNorm)}.` : "No image is shown.",
      data: [bar(whole, "all", color("faint")), bar(part, "shown", color("accent"))],
      height: 190,
      layout: {
        ...brush(known(chosen.at) ? null : [chosen.low, chosen.high], most, top), barmode: "overlay",
        margin: { l: 56, r: 16, t: 8, b: 44 }, showlegend: false,
        xaxis: { title: inUnit("radius", imageNorm), range: [0, most] }, yaxis: { title: "images", range: [0, top] },
      },
      columns: [columnName("from", imageNorm), columnName("to", imageNorm), "all", "shown"],
      rows: edges.map(([from, to], k) => [from, to, whole[k], part[k]]),
    };
  }

  function list(visible) {
    const items = visible.map((k, at) => {
      const name = sentence(k);
      const mark = `${signs[gallery.kind[k]]}${misclassified(k) ? "✗" : ""}`;
      const open = button(sprite(k, 64), () => openDetail(shown, chosen.page * perPage + at),
        { className: "thumb", title: name, ariaLabel: name, tabIndex: at ? -1 : 0 });
      open.append(element("span", { "data-mark": mark }, fixed(gallery.radius[k], unitOf(imageNorm).digits)));
      return element("li", {}, open);
    });
    return element("ul", { className: "thumbs", onkeydown: rove, ariaLabel: "Images; arrow keys move among them" },
      ...items);
  }

  function rove(event) {
    const buttons = [...event.currentTarget.querySelectorAll(".thumb")];
    const at = buttons.indexOf(document.activeElement);
    const columns = buttons.filter((other) => other.offsetTop === buttons[0].offsetTop).length;
    const steps = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + columns, ArrowUp: at - columns, Home: 0,
      End: buttons.length - 1 };
    const next = buttons[steps[event.key]];
    if (!next) return;
    event.preventDefault();
    buttons[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  function turn() {
    const pages = Math.max(1, Math.ceil(shown.length / perPage));
    const page = Math.min(chosen.page, pages - 1);
    const visible = shown.slice(page * perPage, (page + 1) * perPage);
    place.replaceChildren(pictured ? list(visible) : imageTable("Images.", visible, shown));
    fillPager(pager, page, pages, (next) => select({ page: next }));
  }

  function update() {
    shown = chosenImages(inGallery);
    const others = matching().count - shown.length;
    count.textContent = `${shown.length} of ${plural(all.length, "image")} shown${others ? `; ${others} more on the wall alone` : ""}`;
    fillForm();
    turn();
    entry.draw();
  }

  function fillForm() {
    const fields = form.elements;
    if (chosen.label.includes(",") || fields.label.querySelector(".several")) {
      fields.label.querySelector(".several")?.remove();
      if (chosen.label.includes(",")) fields.label.append(element("option", { className: "several", value: chosen.label },
        `${chosen.label.split(",").length} classes`));
    }
    for (const name of ["label", "prediction", "outcome", "kind", "sort"]) fields[name].value = chosen[name];
    for (const name of ["low", "high"]) if (numberIn(name) !== chosen[name]) fields[name].value = chosen[name] ?? "";
  }

  const numberIn = (name) => (form.elements[name].value === "" ? null : form.elements[name].valueAsNumber);
  function readForm(step) {
    const { label, prediction, outcome, kind, sort } = /** @type {Record<string, string>} */ (Object.fromEntries(new FormData(form)));
    const [low, high] = ["low", "high"].map(numberIn);
    const at = low === chosen.low && high === chosen.high ? chosen.at : null;
    select({ label, prediction, outcome, kind, sort, low, high, at }, step);
  }

  const entry = chart(host, histogram, { wide: true, onpaint: (plot) => onBrush(plot, most, (range) => select({ ...range, at: null })) });
  form.addEventListener("input", (event) => event.target.type === "number" && readForm(false));
  form.addEventListener("change", (event) => event.target.type !== "number" && readForm(true));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    select({ ...Object.fromEntries(filterNames.map((name) => [name, nothing[name]])), sort: nothing.sort });
  });
  follow((changed) => {
    if ([...filterNames, "sort"].some((name) => changed.has(name))) update();
    else if (changed.has("page")) turn();
  });
  const key = pictured ? `Below each image its radius in ${unitOf(imageNorm).name}; ✗ misclassified, ⚠ suspected label error, ≈ ambiguous.` : "";
  host.append(count, element("p", { className: "key" }, key), place, pager);
  update();
}

const radiusColumn = inUnit("Radius", imageNorm);
const allColumns = ["Image", "Index", "Label", "Prediction", radiusColumn, "Suspected of", "Rank", "File"];

function imageTable(caption, places, list, wanted = allColumns) {
  const columns = wanted.filter((name) => name !== "File" || withFiles);
  const rows = places.map((k) => {
    const cells = {
      Image: button(pictured ? sprite(k, 48) : "Open", () => openDetail(list, list.indexOf(k)),
        { className: pictured ? "cell" : "", ariaLabel: `Open: ${sentence(k)}` }),
      Index: gallery.index[k], Label: className(gallery.label[k]), Prediction: className(gallery.prediction[k]),
      "May be": className(gallery.suggested[k]), [radiusColumn]: numeral(gallery.radius[k], unitOf(imageNorm).digits),
      "Suspected of": suspected[gallery.kind[k]] || missing,
      Rank: gallery.rank[k],
      File: gallery.path[k] || missing,
    };
    return columns.map((name) => cells[name]);
  });
  return table(caption, columns, rows, Infinity);
}

// ---- Suspects ----

const suspectsPerPage = 10;

function suspects(host) {
  review(host);
  const titles = { label: "Suspected label errors", ambiguous: "Ambiguous images" };
  for (const [kind, title] of Object.entries(titles)) {
    const places = gallery.kind.flatMap((own, k) => (own === kind ? [k] : []))
      .sort(bySuspicion);
    if (!places.length) continue;
    const body = element("div");
    const pager = element("div", { className: "pager" });
    const turn = (page) => {
      const some = places.slice(page * suspectsPerPage, (page + 1) * suspectsPerPage);
      const first = page * suspectsPerPage + 1;
      body.replaceChildren(imageTable(
        `The most suspect first; ${first} to ${first + some.length - 1} of ${places.length}.`, some, places,
        ["Image", "Rank", "Index", "Label", "May be", radiusColumn, "File"]));
      fillPager(pager, page, Math.ceil(places.length / suspectsPerPage), turn);
    };
    const save = button("Download CSV", () => download(title,
      ["rank", "index", "path", "label", "suggested", columnName("radius", imageNorm)],
      places.map((k) => [Number.isFinite(gallery.rank[k]) ? gallery.rank[k] : null, gallery.index[k], gallery.path[k],
        className(gallery.label[k]), gallery.suggested[k] < 0 ? "" : className(gallery.suggested[k]),
        gallery.radius[k]])));
    save.dataset.kind = kind;
    host.append(element("h3", {}, `${title} (${places.length})`), body, pager,
      element("div", { className: "controls" }, save));
    turn(0);
  }
}

// The content, text, elements, files: used by all other scripts.

/** @type {ReportContent} */
const content = JSON.parse(find("content").textContent);
const { runs, classes, recipes } = content;
const recipeOf = (run) => recipes.findIndex((recipe) => recipe.runs.includes(run));
// The sections that use it are there only if the report has images.
const gallery = /** @type {Gallery} */ (content.gallery);
const missing = "–";
// Units of lengths by their norm; iaat/units.py has the same. An L2 norm is on the [0, 1] scale, and no number of pixels.
const units = { linf: { name: "px", digits: 2 }, l2: { name: "L2", digits: 3 } };
const unitOf = (norm) => units[norm] ?? units.l2;
/** The norm of the radii of gallery and wall. */
const imageNorm = gallery ? runs[gallery.run].norm : "linf";
// In the order of iaat.analysis.style, so that a method looks alike in every picture.
const symbols = ["circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "triangle-left"];
const dashes = ["solid", "dash", "dot", "dashdot", "longdash"];

// ---- Text ----

/** Whether a value is there.
 * @template T
 * @param {T | null | undefined} value
 * @returns {value is T} */
const known = (value) => value !== null && value !== undefined;
const lastKnown = (series) => series.filter(known).at(-1);
const fixed = (value, digits = 2) => (known(value) ? value.toFixed(digits) : missing);
const px = (value) => (known(value) ? `${fixed(value)} px` : missing);
/** A length in a norm: `8.00 px`, in L2 `0.500`. */
const lengthText = (value, norm) => (norm === "linf" ? px(value) : fixed(value, unitOf(norm).digits));
const lengthRange = (from, to, norm) => `${fixed(from, unitOf(norm).digits)} to ${lengthText(to, norm)}`;
/** The name of an axis or a column with its unit: `radius (px)`, `radius (L2)`; of a file `radius_px`, `radius_l2`. */
const inUnit = (words, norm) => `${words} (${unitOf(norm).name})`;
const columnName = (word, norm) => `${word}_${unitOf(norm).name.toLowerCase()}`;
/** What Plotly writes for a length under the pointer. */
const hoverLength = (norm) => `%{y:.${unitOf(norm).digits}f}${norm === "linf" ? " px" : ""}`;
const percent = (fraction) => (known(fraction) ? `${fixed(100 * fraction, 1)} %` : missing);
const safe = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const className = (number) => (number < 0 ? missing : classes[number] ?? `class ${number}`);
const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

// Names of runs and files differ most at their ends, so the middle is left out.
function short(text, length = 26) {
  const letters = [...text];
  const tail = Math.floor(length / 2) - 1;
  return letters.length > length ? [...letters.slice(0, length - tail - 1), "…", ...letters.slice(-tail)].join("") : text;
}
const label = (text, length) => safe(short(text, length));
const runLabel = (number) => label(runs[number].name, 40);

function show(value) {
  if (!known(value)) return missing;
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}

// ---- Elements and files ----

/** An element of the page by its id; `null` only of a part of the page that is left out.
 * @param {string} id
 * @returns {any} */
function find(id) {
  return document.getElementById(id);
}

function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter(known));
  return node;
}
const button = (text, onclick, more = {}) => element("button", { type: "button", onclick, ...more }, text);
const numeral = (value, digits) => element("span", { className: "numeral" }, fixed(value, digits));
const text = (value) => element("bdi", {}, value);
const named = (number) => text(short(className(number), 48));

function table(caption, columns, rows, most = 200) {
  const cell = (value) =>
    value instanceof Node
      ? element("td", {}, value)
      : element("td", typeof value === "number" ? { className: "number" } : {}, text(show(value)));
  const isNumber = (value) => typeof value === "number" || value?.className === "numeral";
  const numeric = columns.map((_, position) => isNumber(rows[0]?.[position]));
  const head = columns.map((name, position) =>
    element("th", { scope: "col", className: numeric[position] ? "number" : "" }, text(name)));
  const more = rows.length > most ? `${caption} The first ${most} of ${rows.length} rows; the CSV has all.` : caption;
  const body = rows.slice(0, most).map((row) => element("tr", {}, ...row.map(cell)));
  return element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: caption },
    element("table", {}, element("caption", {}, more),
      element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body)));
}

// A spreadsheet takes text that begins with one of these for a formula.
function csv(columns, rows) {
  const cell = (value) => {
    if (!known(value)) return "";
    if (typeof value === "number") return String(value);
    const plain = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
  };
  return `${[columns, ...rows].map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}

const fileName = (title) => title.replace(/[^\w-]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 60).toLowerCase() || "data";

function download(title, columns, rows) {
  const url = URL.createObjectURL(new Blob(["\ufeff", csv(columns, rows)], { type: "text/csv;charset=utf-8" }));
  element("a", { href: url, download: `${fileName(title)}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// What the page says about one image, wherever it says it.

const signs = { label: "⚠", ambiguous: "≈", "": "" };
const suspected = { label: "a label error", ambiguous: "being ambiguous", "": "" };
const misclassified = (k) => gallery.prediction[k] >= 0 && gallery.prediction[k] !== gallery.label[k];

const radiusOf = (k) => lengthText(gallery.radius[k], imageNorm);
const rankOf = (k) => `rank ${gallery.rank[k].toLocaleString("en")} of ${gallery.total.toLocaleString("en")}`;

/** Class, prediction, radius and suspicion of an image, as one line. */
function sentence(k) {
  const guess = gallery.prediction[k] < 0 ? "" : `, predicted ${className(gallery.prediction[k])}`;
  const kind = suspected[gallery.kind[k]];
  return `Image ${gallery.index[k]}: ${className(gallery.label[k])}${guess}, radius ${radiusOf(k)}${kind ? `, suspected of ${kind}` : ""}`;
}

/** @type {Record<string, ArrayLike<number>>} */
const reasonColumns = {};
function reasonValue(name, k) {
  reasonColumns[name] ??= numbers(/** @type {Reasons} */ (wall.reasons)[name], 16);
  return reasonColumns[name][k];
}

/** Why the radius of an image is what it is: pieces of text and elements; nothing where nothing is known.
 * iaat/report/radius_reasons.py has the sentences. */
function reasonOf(k) {
  if (!wall.reasons) return [];
  const values = {
    label: () => text(className(gallery.label[k])), other: () => text(className(reasonValue("other", k))),
    mine: () => percent(reasonValue("mine", k) / 1000), theirs: () => percent(reasonValue("theirs", k) / 1000),
    epoch: () => String(reasonValue("epoch", k)), count: () => String(reasonValue("count", k)),
    last: () => radiusOf(k),
  };
  const template = wall.reasons.templates[reasonValue("template", k)];
  return template.split(/\{(\w+)\}/).map((part, at) => (at % 2 ? values[part]() : part));
}

/** Names and values of what is known of an image, for a list. */
function facts(k) {
  const detail = gallery.details[String(k)];
  return /** @type {([string, string] | null)[]} */ ([
    ["Label", className(gallery.label[k])], ["Prediction", className(gallery.prediction[k])],
    gallery.suggested[k] >= 0 ? ["May be", className(gallery.suggested[k])] : null,
    ["Radius", radiusOf(k)],
    detail ? ["Smallest adversarial norm", detail.smallest === null ? `none up to ${lengthText(detail.searched, detail.norm)}`
      : lengthText(detail.smallest, detail.norm)] : null,
    gallery.kind[k] ? ["Suspected of", suspected[gallery.kind[k]]] : null,
    Number.isFinite(gallery.rank[k]) ? ["Suspicion", rankOf(k)] : null,
    gallery.path[k] ? ["File", gallery.path[k]] : null,
  ]).filter(known);
}

function picture(uri, alt, ...caption) {
  return element("figure", { className: "picture" }, uri ? element("img", { src: uri, alt }) : null,
    element("figcaption", {}, ...caption));
}

// Theme, navigation, and the script that draws each section. The last script: it starts the others.

// ---- The page ----

function themes() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const print = matchMedia("print");
  const toggle = find("theme");
  const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  const nameToggle = () => (toggle.textContent = isDark() ? "Light" : "Dark");
  toggle.ariaLabel = "Switch between light and dark";
  toggle.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    nameToggle();
    redrawAll();
  });
  dark.addEventListener("change", () => {
    nameToggle();
    redrawAll();
  });
  print.addEventListener("change", () => {
    printing = print.matches;
    redrawAll();
  });
  nameToggle();
}

function markSection() {
  const anchors = /** @type {NodeListOf<HTMLAnchorElement>} */ (document.querySelectorAll(".bar nav a"));
  const links = new Map([...anchors].map((link) => [link.hash.slice(1), link]));
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      for (const link of anchors) link.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  for (const section of document.querySelectorAll("main > section")) observer.observe(section);
}

if (pictured) addSheets();
themes();
markSection();
addEventListener("popstate", readAddress);
document.addEventListener("click", keepChosen);
find("copy-link").addEventListener("click", copyLink);
readAddress();
const sections = { tradeoff, radii, attacked, wall: showWall, gallery: showImages, suspects, surfaces, corruptions, training };
for (const [key, build] of Object.entries(sections)) {
  const host = find(`${key}-body`);
  if (!host) continue;
  try {
    build(host);
  } catch (error) {
    host.append(element("p", { className: "error" }, `This section could not be drawn: ${/** @type {Error} */ (error).message}`));
    console.error(error);
  }
}

/** Open the image of the address, or close the one that is open. */
function showChosenImage() {
  const at = known(chosen.image) ? gallery.index.indexOf(chosen.image) : -1;
  if (at < 0 && known(chosen.image)) return select({ image: null }, false);
  if (at < 0 && dialog.open) dialog.close();
  if (at < 0 || (dialog.open && dialog.dataset.image === String(chosen.image))) return;
  const list = chosenImages(inGallery);
  if (list.includes(at)) openDetail(list, list.indexOf(at));
  else openDetail([at], 0);
}
if (gallery) {
  follow((changed) => changed.has("image") && showChosenImage());
  showChosenImage();
}
// The sections had no height when the browser looked for the one of the address.
if (place) find(place)?.scrollIntoView();

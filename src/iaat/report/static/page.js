// Theme, navigation, and which section is drawn by what. The last script: it starts the others.

// ---- The page ----

function themes() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const print = matchMedia("print");
  const toggle = find("theme");
  const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  const tell = () => (toggle.textContent = isDark() ? "Light" : "Dark");
  toggle.ariaLabel = "Switch between light and dark";
  toggle.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    tell();
    redrawAll();
  });
  dark.addEventListener("change", () => {
    tell();
    redrawAll();
  });
  print.addEventListener("change", () => {
    printing = print.matches;
    redrawAll();
  });
  tell();
}

function markSection() {
  const links = new Map([...document.querySelectorAll(".bar nav a")].map((link) => [link.hash.slice(1), link]));
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      links.forEach((link) => link.removeAttribute("aria-current"));
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  document.querySelectorAll("main > section").forEach((section) => watch.observe(section));
}

if (pictured) addSheets();
themes();
markSection();
const sections = { tradeoff, radii, gallery: showImages, suspects, surfaces, corruptions, training };
for (const [key, build] of Object.entries(sections)) {
  const host = find(`${key}-body`);
  if (!host) continue;
  try {
    build(host);
  } catch (error) {
    host.append(element("p", { className: "error" }, `This section could not be drawn: ${error.message}`));
    console.error(error);
  }
}

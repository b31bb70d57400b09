// What every page does: theme, keyboard, times in the reader's zone, and news of a run as it goes on.

function dark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

document.querySelector("[data-theme-toggle]")?.addEventListener("click", () => {
  const theme = dark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Storage may be forbidden; the choice then lasts as long as the page.
  }
  document.dispatchEvent(new Event("quintet:theme"));
});

// On a narrow screen the current tab may lie outside its strip.
const tab = document.querySelector(".tabs [aria-current]");
if (tab) tab.parentElement.scrollLeft = tab.offsetLeft - (tab.parentElement.clientWidth - tab.offsetWidth) / 2;

// --- keyboard ------------------------------------------------------------------------------------------------------

const keys = document.getElementById("keys");
document.querySelector("[data-keys]")?.addEventListener("click", () => keys.showModal());

// Where a page has several lists to step through, it is the one with the focus, else the first.
function regions() {
  return [...document.querySelectorAll("[data-steps]")].filter((region) => region.offsetParent !== null);
}

function steps() {
  const region = document.activeElement?.closest("[data-steps]") ?? regions()[0] ?? document;
  return [...region.querySelectorAll("[data-step]")].filter((step) => step.offsetParent !== null);
}

function cross(by) {
  const all = regions();
  const now = all.findIndex((region) => region.contains(document.activeElement));
  const next = all[Math.min(Math.max((now < 0 ? 0 : now) + by, 0), all.length - 1)];
  if (!next || all.length < 2) return;
  next.tabIndex = -1;
  next.focus({ preventScroll: true });
  move(0);
}

function move(by) {
  const all = steps();
  if (!all.length) return;
  let now = all.findIndex((step) => step.classList.contains("current"));
  if (now < 0) now = all.findIndex((step) => step.matches("[aria-current]"));
  const next = all[Math.min(Math.max(now < 0 ? (by >= 0 ? 0 : all.length - 1) : now + by, 0), all.length - 1)];
  for (const step of all) step.classList.toggle("current", step === next);
  const link = next.matches("a") ? next : next.querySelector("a");
  if (link) link.focus({ preventScroll: true });
  else {
    next.tabIndex = -1;
    next.focus({ preventScroll: true });
  }
  next.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || keys?.open) return;
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (typing) {
    if (event.key === "Escape") typing.blur();
    return;
  }
  const search = document.querySelector("[data-search]");
  if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "h") cross(-1);
  else if (event.key === "l") cross(1);
  else if (event.key === "/" && search) search.focus();
  else if (event.key === "?") keys.showModal();
  else return;
  event.preventDefault();
});

// --- times ---------------------------------------------------------------------------------------------------------

function localTimes(root) {
  for (const time of root.querySelectorAll?.("time[datetime]:not([data-local])") ?? []) {
    const at = new Date(time.dateTime);
    time.dataset.local = "";
    time.title = time.textContent;
    time.textContent = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  }
}
localTimes(document);
document.addEventListener("htmx:load", (event) => localTimes(event.detail.elt));

// --- live ----------------------------------------------------------------------------------------------------------

// Tells the page of each record as `quintet:record`, and at most once a second that there was news, as `quintet:news`:
// what shows a summary fetches itself anew then (`hx-trigger="quintet:news from:body"`).
const address = document.body.dataset.live;
if (address) {
  let last = 0;
  let waiting = null;
  const source = new EventSource(address);
  const tell = () => {
    waiting = null;
    document.body.dispatchEvent(new CustomEvent("quintet:news"));
  };
  source.addEventListener("record", (message) => {
    const record = JSON.parse(message.data);
    if (record.seq <= last) return;
    last = record.seq;
    document.body.dispatchEvent(new CustomEvent("quintet:record", { detail: record }));
    waiting ??= setTimeout(tell, 1000);
  });
  source.addEventListener("end", (message) => {
    source.close();
    document.getElementById("announce").textContent = `The run has ended: ${message.data}`;
    const badge = document.querySelector(".sub-title .badge");
    if (badge) {
      badge.textContent = message.data;
      badge.className = `badge status-${message.data}`;
    }
    document.body.dispatchEvent(new CustomEvent("quintet:end", { detail: message.data }));
    tell();
  });
  addEventListener("pagehide", () => source.close());
}

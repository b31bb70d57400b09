// The outline and the conversation beside it: which one is open, and how both grow while the run goes on.

const narrow = matchMedia("(max-width: 56rem)");
const pane = () => document.getElementById("conversation");
const outline = () => document.getElementById("outline");

// What scrolls is the outline itself: on a phone, its list.
function scroller() {
  return narrow.matches ? outline() : outline()?.closest(".outline");
}

function mark() {
  const open = pane()?.dataset;
  if (!open || !outline()) return;
  for (const line of outline().querySelectorAll("a[data-task]")) {
    const now = line.dataset.task === open.task && line.dataset.round === open.round;
    if (now) line.setAttribute("aria-current", "page");
    else line.removeAttribute("aria-current");
  }
}

function showCurrent() {
  const line = outline()?.querySelector("[aria-current]");
  const box = scroller();
  if (!line || !box) return;
  const by = line.getBoundingClientRect().top - box.getBoundingClientRect().top;
  if (by < 0 || by > box.clientHeight - 40) box.scrollTop += by - box.clientHeight / 2;
}

// A link to a record inside something folded opens it.
function unfold() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let at = target; at; at = at.parentElement) if (at.matches("details.told, details.round")) at.open = true;
  target?.scrollIntoView({ block: "nearest" });
}

function arrive() {
  if (narrow.matches) outline()?.closest("details")?.removeAttribute("open");
  mark();
  showCurrent();
  if (location.hash) unfold();
}

arrive();
addEventListener("hashchange", unfold);
document.addEventListener("htmx:historyRestore", arrive);

// What is fetched anew keeps what was unfolded in it, and the line, bubble or fold that one has come to.
const kept = new WeakMap();

document.addEventListener("htmx:beforeSwap", (event) => {
  const old = event.detail.target;
  const step = old.querySelector("[data-step].current");
  const { task, round } = step?.dataset ?? {};
  kept.set(event.detail.xhr, {
    step: step && (task ? `a[data-task="${task}"][data-round="${round}"]` : `[id="${step.id}"]`),
    focused: step?.contains(document.activeElement),
    fold: old.contains(document.activeElement) && document.activeElement.closest("details[id]")?.id,
    unfolded: [...old.querySelectorAll("details[open][id]")].map((one) => one.id),
  });
});

document.addEventListener("htmx:afterSettle", (event) => {
  const { step, focused, fold, unfolded } = kept.get(event.detail.xhr) ?? {};
  const now = step && document.querySelector(step);
  now?.classList.add("current");
  for (const id of unfolded ?? []) document.getElementById(id)?.setAttribute("open", "");
  const place = fold ? document.getElementById(fold)?.querySelector("summary") : focused && now;
  (place && place.matches("a, summary") ? place : place?.querySelector?.("a"))?.focus({ preventScroll: true });
  mark();
});

// --- live: only what changed is fetched ------------------------------------------------------------------------------

const changed = new Set();
document.body.addEventListener("quintet:record", (event) => {
  const { kind, round, task } = event.detail;
  if (task) changed.add(task);
  const rounds = document.querySelector(".outline select[name=round]");
  if (kind === "proposal" && rounds && ![...rounds.options].some((option) => option.value === String(round))) {
    rounds.insertBefore(new Option(round, round), rounds.querySelector("[value=evaluation]"));
  }
});
document.body.addEventListener("quintet:news", () => {
  if (!changed.size) return;
  for (const page of outline()?.querySelectorAll(".page") ?? []) {
    const shows = [...page.querySelectorAll("a[data-task]")].some((line) => changed.has(line.dataset.task));
    if (shows || "last" in page.dataset) page.dispatchEvent(new CustomEvent("quintet:stale"));
  }
  if (changed.has(pane()?.dataset.task)) pane().dispatchEvent(new CustomEvent("quintet:grown"));
  changed.clear();
});

// The pages Overview and Adapters: what moves while a run goes on, and commands to copy.
(() => {
  "use strict";

  // --- news --------------------------------------------------------------------------------------------------------

  // Told once a round was decided, or the run: what rests on decisions fetches itself anew then, and not each second.
  const DECIDING = new Set(["decision", "monitors", "rollback", "verification", "adapter"]);
  let waiting = null;
  function decided() {
    waiting = null;
    document.body.dispatchEvent(new CustomEvent("quintet:decided"));
  }
  document.body.addEventListener("quintet:record", (event) => {
    if (DECIDING.has(event.detail.kind)) waiting ??= setTimeout(decided, 1000);
  });
  document.body.addEventListener("quintet:end", () => {
    waiting ??= setTimeout(decided, 1000);
  });

  // The feed: text only, whatever a model said; the newest first, and none while it is being read.
  const PLAYERS = new Set(["proposer", "solver", "critic", "curator", "trainer", "evaluation"]);
  const feed = document.querySelector("[data-latest]");
  const played = feed ? JSON.parse(document.getElementById("played").textContent) : {};
  let held = [];

  function told(record) {
    const role = record.role ?? played[record.kind] ?? "";
    const parts = [
      [record.kind, "muted"],
      [role, PLAYERS.has(role) ? `role role-${role}` : ""],
      [record.preview ?? "", ""],
    ].map(([text, name]) => {
      const span = document.createElement("span");
      span.className = name;
      span.textContent = text;
      return span;
    });
    const link = document.createElement("a");
    link.href = feed.dataset.latest + encodeURIComponent(record.id);
    link.append(...parts);
    const line = document.createElement("li");
    line.append(link);
    return line;
  }

  function show() {
    if (!held.length || feed.matches(":hover, :focus-within")) return;
    const most = Number(feed.dataset.lines);
    feed.prepend(...held.slice(-most).reverse().map(told));
    held = [];
    while (feed.children.length > most) feed.lastElementChild.remove();
  }

  if (feed) {
    document.body.addEventListener("quintet:record", (event) => {
      held.push(event.detail);
      if (held.length > 1000) held = held.slice(-100);
    });
    document.body.addEventListener("quintet:news", show);
    for (const left of ["mouseleave", "focusout"]) feed.addEventListener(left, () => setTimeout(show, 0));
  }

  // --- what a reader has opened ----------------------------------------------------------------------------------

  // Stays open when its part of the page comes anew.
  const named = (details) => details.closest("figure, article")?.querySelector("figcaption, h2")?.textContent;
  let opened = new Set();
  document.addEventListener("htmx:beforeSwap", (event) => {
    opened = new Set([...event.detail.target.querySelectorAll("details[open]")].map(named));
  });
  document.addEventListener("htmx:afterSettle", () => {
    for (const details of document.querySelectorAll("details:not([open])")) {
      if (opened.has(named(details)) && named(details)) details.open = true;
    }
    opened = new Set();
  });

  // --- the loop ----------------------------------------------------------------------------------------------------

  // Where it is wider than the window: the node at work in the middle.
  const loop = document.querySelector("[data-loop]");
  const lit = loop?.querySelector(".is-now, .is-halted");
  if (lit && loop.scrollWidth > loop.clientWidth) {
    const [inner, outer] = [lit.getBoundingClientRect(), loop.getBoundingClientRect()];
    loop.scrollLeft += inner.left + inner.width / 2 - outer.left - outer.width / 2;
  }

  // --- copying -----------------------------------------------------------------------------------------------------

  function copyable(root) {
    // Only where a page may write to the clipboard: on this machine, or over https.
    if (!navigator.clipboard) return;
    for (const command of root.querySelectorAll?.("[data-copy]:not([data-copyable])") ?? []) {
      command.dataset.copyable = "";
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      button.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(command.textContent);
          button.textContent = "Copied";
        } catch {
          button.textContent = "Not copied";
        }
        setTimeout(() => (button.textContent = "Copy"), 1500);
      });
      command.after(button);
    }
  }
  copyable(document);
  document.addEventListener("htmx:load", (event) => copyable(event.detail.elt));
})();

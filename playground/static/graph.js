// A drawing wider than its place begins with what was chosen in the middle.
for (const graph of document.querySelectorAll(".graph")) {
  const chosen = graph.querySelector(".chosen .box");
  if (!chosen) continue;
  const [place, box] = [graph.getBoundingClientRect(), chosen.getBoundingClientRect()];
  graph.scrollLeft += box.left + box.width / 2 - (place.left + place.width / 2);
}

// The table of companies is one tab stop: arrow keys, Home and End move within it.
function rove(to) {
  const links = [...document.querySelectorAll(".matrix td a")];
  for (const link of links) link.tabIndex = -1;
  const stop = links.includes(to) ? to : links[0];
  if (stop) {
    stop.tabIndex = 0;
    stop.closest("table").setAttribute("role", "grid");
  }
}
function linksOf(cells) { return [...cells].map(cell => cell?.querySelector("a")).filter(Boolean); }
function moved(link, key, all) {
  const cell = link.closest("td"), row = cell.parentNode;
  const beside = linksOf(row.cells), rows = [...cell.closest("table").rows];
  const below = linksOf(rows.map(each => each.cells[cell.cellIndex]));
  const every = linksOf(rows.flatMap(each => [...each.cells]));
  const [at, column] = [beside.indexOf(link), below.indexOf(link)];
  switch (key) {
    case "ArrowRight": return beside[at + 1];
    case "ArrowLeft": return beside[at - 1];
    case "ArrowDown": return below[column + 1];
    case "ArrowUp": return below[column - 1];
    case "Home": return (all ? every : beside)[0];
    case "End": return (all ? every : beside).at(-1);
  }
}
document.addEventListener("keydown", event => {
  const link = event.target.closest?.(".matrix td a");
  const to = link && !event.altKey && !event.metaKey && moved(link, event.key, event.ctrlKey);
  if (!to) return;
  event.preventDefault();
  to.focus();
});
document.addEventListener("focusin", event => event.target.matches(".matrix td a") && rove(event.target));
rove();

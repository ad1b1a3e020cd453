const every = Number(document.body.dataset.every);
async function update() {
  if (!document.hidden) await read();
  setTimeout(update, every);
}
async function read() {
  try {
    const response = await fetch(location.href, {headers: {Accept: "text/html"}});
    if (response.ok) replace(new DOMParser().parseFromString(await response.text(), "text/html"));
    document.body.classList.toggle("away", !response.ok);
  } catch { document.body.classList.add("away"); }
}
// Only what changed is replaced, so that nothing flickers.
function replace(fresh) {
  document.title = fresh.title;
  const main = document.querySelector("main"), focused = document.activeElement;
  for (const part of fresh.querySelectorAll("main [id]")) {
    const shown = document.getElementById(part.id);
    if (part.id === "verdict" && shown) announce(shown, part);
    if (shown && shown.closest("section[id],footer") === shown && shown.outerHTML !== part.outerHTML) swap(shown, part, focused);
  }
  if (ids(main) !== ids(fresh.querySelector("main"))) main.replaceWith(fresh.querySelector("main"));
}
// A screen reader announces the verdict when its sentence changes, but not each minute of an age.
function announce(shown, part) {
  const live = shown.querySelector("h1").textContent === part.querySelector("h1").textContent ? "off" : "polite";
  for (const each of [shown, part]) each.setAttribute("aria-live", live);
}
function swap(shown, part, focused) {
  const where = shown.contains(focused) && focused.getAttribute("href");
  const scrolled = shown.querySelector(".scroll")?.scrollLeft;
  shown.className = part.className;
  shown.innerHTML = part.innerHTML;
  if (scrolled) shown.querySelector(".scroll").scrollLeft = scrolled;
  if (where) shown.querySelector(`a[href="${CSS.escape(where)}"]`)?.focus({preventScroll: true});
}
function ids(main) { return [...main.querySelectorAll("section[id]")].map(each => each.id).join(); }
setTimeout(update, every);

const lastRead = new Map();
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
    const html = part.outerHTML, is = shown && shown.closest("section[id],footer") === shown;
    if (is && html !== (lastRead.get(part.id) ?? shown.outerHTML)) swap(shown, part, focused);
    lastRead.set(part.id, html);
  }
  addAndRemove(main, fresh.querySelector("main"));
}
// What a reader is typing stays, because only the sections that come or go are touched.
function addAndRemove(main, fresh) {
  for (const part of [...main.children]) if (part.id && !fresh.querySelector(`#${part.id}`)) part.remove();
  let before;
  for (const part of [...fresh.children].filter(each => each.id)) {
    const shown = main.querySelector(`:scope > #${part.id}`);
    if (!shown) before.after(part);
    before = shown ?? part;
  }
}
// Return by what the counterpart of an element that has the focus is found.
function found(focused) {
  const [name, of] = [["href", ""], ["aria-label", ""], ["action", " button"]].find(([each]) => focused.closest(`[${each}]`)) ?? [];
  return name && `[${name}="${CSS.escape(focused.closest(`[${name}]`).getAttribute(name))}"]${of}`;
}
// A screen reader announces the verdict when its sentence changes, but not each minute of an age.
function announce(shown, part) {
  const live = shown.querySelector("h1").textContent === part.querySelector("h1").textContent ? "off" : "polite";
  for (const each of [shown, part]) each.setAttribute("aria-live", live);
}
function swap(shown, part, focused) {
  const where = shown.contains(focused) && found(focused);
  const stop = shown.querySelector(".matrix a[tabindex='0']")?.getAttribute("href");
  const scrolled = shown.querySelector(".scroll")?.scrollLeft;
  shown.className = part.className;
  shown.innerHTML = part.innerHTML;
  if (scrolled) shown.querySelector(".scroll").scrollLeft = scrolled;
  if (shown.querySelector(".matrix")) rove(shown.querySelector(`a[href="${CSS.escape(stop ?? "")}"]`));
  if (where) shown.querySelector(where)?.focus({preventScroll: true});
}
setTimeout(update, every);

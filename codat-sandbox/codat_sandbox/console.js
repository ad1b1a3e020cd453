// The page works without this: it keeps the place and what is chosen while the sandbox changes.
const key = each => `${each.form?.elements.connection?.value}/${each.name}`;
let quietUntil = 0;
async function show(response) {
  const fresh = new DOMParser().parseFromString(await (await response).text(), "text/html").querySelector("main");
  const chosen = new Map([...document.querySelectorAll("select")].map(each => [key(each), each.value]));
  for (const each of fresh.querySelectorAll("select")) if (chosen.has(key(each))) each.value = chosen.get(key(each));
  const label = document.activeElement.getAttribute("aria-label");
  document.querySelector("main").replaceWith(fresh);
  if (label) document.querySelector(`[aria-label="${CSS.escape(label)}"]`)?.focus({preventScroll: true});
}
document.addEventListener("submit", event => {
  if (event.target.method !== "post") return;
  event.preventDefault();
  quietUntil = Date.now() + 5000;  // what was done is read for a while
  show(fetch(location.href, {method: "POST", body: new URLSearchParams(new FormData(event.target, event.submitter))}));
});
setInterval(() => {
  if (document.hidden || Date.now() < quietUntil || document.activeElement.matches("select, input")) return;
  show(fetch(location.href)).catch(() => {});
}, 2000);

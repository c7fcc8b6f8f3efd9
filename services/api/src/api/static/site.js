// What the renters' pages do beyond links and forms: suggestions while a comune is typed, another row for a place,
// and a page that turns by itself when what it waits for has happened. Without this file everything else works.

const EVERY_MS = 2000;
const AFTER_TYPING_MS = 120;

// --- comuni ---

let asked = 0;

async function suggest(input) {
  const number = ++asked;
  const answer = await fetch(`/places?q=${encodeURIComponent(input.value)}`);
  if (!answer.ok || number !== asked) return;
  const names = await answer.json();
  document.getElementById("comuni").replaceChildren(...names.map((name) => new Option("", name)));
}

let typing;

document.addEventListener("input", ({ target }) => {
  if (!target.matches("[data-suggest]")) return;
  clearTimeout(typing);
  typing = setTimeout(() => suggest(target).catch(() => {}), AFTER_TYPING_MS);
});

// --- another row for a place ---

document.addEventListener("click", (event) => {
  const rows = document.querySelectorAll("[data-place]:has(select)");
  if (!event.target.closest("[data-more]") || rows.length === 0) return;
  event.preventDefault();
  const row = rows[rows.length - 1].cloneNode(true);
  const index = document.querySelectorAll("[data-place]").length;
  row.querySelectorAll(".fault").forEach((fault) => fault.remove());
  for (const each of row.querySelectorAll("input, select")) {
    const id = each.id.replace(/\d+$/, index);
    row.querySelector(`label[for="${each.id}"]`).htmlFor = id;
    each.id = id;
    each.removeAttribute("aria-invalid");
    if (each.matches("input")) each.value = "";
    else each.value = "comune";
  }
  rows[rows.length - 1].after(row);
  row.querySelector("[data-suggest]").focus();
});

// --- a page that waits ---

async function look(waiting) {
  const answer = await fetch(waiting.dataset.watch);
  if (!answer.ok || (await answer.json()).state === waiting.dataset.state) return false;
  const page = await (await fetch(location.href, { headers: { Accept: "text/html" } })).text();
  const fresh = new DOMParser().parseFromString(page, "text/html").getElementById(waiting.id);
  if (!fresh) return false;
  waiting.replaceWith(fresh);
  document.getElementById("news").textContent = fresh.querySelector("h2")?.textContent ?? "";
  watch(fresh);
  return true;
}

function watch(waiting) {
  if (!waiting?.dataset.watch) return;
  let timer;
  const again = async () => {
    clearTimeout(timer);
    if (!waiting.isConnected) return document.removeEventListener("visibilitychange", again);
    if (!document.hidden && (await look(waiting).catch(() => false))) return;
    timer = setTimeout(again, EVERY_MS);
  };
  document.addEventListener("visibilitychange", again); // back from WhatsApp: look at once
  timer = setTimeout(again, EVERY_MS);
}

watch(document.querySelector("[data-watch]"));

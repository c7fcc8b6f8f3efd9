// The phones as chats. What is shown is always read anew from the server; events only say which chats have changed.

const element = (id) => document.getElementById(id);
const phonePath = (number) => `/simulator/phones/${encodeURIComponent(number)}`;
const FORMAT = /(?<link>https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]])|(?<!\S)\*(?<bold>\S(?:[^*\n]*\S)?)\*(?!\S)/g;
const TICKS = { accepted: "○", scheduled: "○", queued: "○", sending: "○", sent: "✓", delivered: "✓✓", read: "✓✓" };

let open = null; // the number whose chat is shown
let settings = null;

async function call(path, method = "GET", value = undefined) {
  const response = await fetch(path, { method, body: value && JSON.stringify(value) });
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}

function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const time = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
const day = (at) => new Date(at).toLocaleDateString([], { weekday: "long", day: "numeric", month: "long" });
const isToday = (at) => new Date(at).toDateString() === new Date(settings.now).toDateString();
const title = (phone) => phone.name || phone.number;

function dress(face, phone) {
  face.textContent = phone.name ? phone.name.split(/\s+/).map((word) => word[0]).slice(0, 2).join("") : phone.number.slice(-2);
  face.style.setProperty("--hue", (Number(phone.number.slice(-4)) * 137.5) % 360); // neighbours get distant colours
}

// The list

function phoneButton(phone) {
  const button = make("button", "phone");
  button.type = "button";
  if (phone.number === open) button.setAttribute("aria-current", "true");
  const face = make("span", "face");
  face.setAttribute("aria-hidden", "true");
  dress(face, phone);
  const middle = make("span", "middle");
  middle.append(make("span", "name", title(phone)), make("span", "preview", phone.last?.body.replace(FORMAT, "$<link>$<bold>") ?? state(phone)));
  const side = make("span", "side");
  if (phone.last) side.append(make("span", "when", isToday(phone.last.at) ? time(phone.last.at) : day(phone.last.at)));
  if (phone.unread) {
    const unread = make("span", "unread", phone.unread);
    unread.setAttribute("aria-label", `${phone.unread} unread`);
    side.append(unread);
  }
  button.append(face, middle, side);
  button.addEventListener("click", () => { location.hash = phone.number; });
  return button;
}

async function showPhones() {
  const phones = await call("/simulator/phones");
  element("phones").replaceChildren(...phones.map((phone) => {
    const item = make("li");
    item.append(phoneButton(phone));
    return item;
  }));
  element("no-phones").hidden = phones.length > 0;
}

// The chat

function state(phone) {
  if (phone.blocked) return "has blocked this number";
  if (settings.sandbox && !phone.joined) return "has not joined the sandbox";
  if (!phone.window_open) return "24 hours are over: templates only";
  return `can be written to until ${isToday(phone.window_ends_at) ? "" : "tomorrow "}${time(phone.window_ends_at)}`;
}

/** A text as WhatsApp shows it: addresses are links, *starred* words are bold. */
function formatted(text) {
  const shown = make("div", "text");
  let end = 0;
  for (const found of text.matchAll(FORMAT)) {
    shown.append(text.slice(end, found.index), found.groups.link ? linkTo(found[0]) : make("b", "", found.groups.bold));
    end = found.index + found[0].length;
  }
  shown.append(text.slice(end));
  return shown;
}

function linkTo(address) {
  const link = make("a", "", address);
  link.href = address;
  link.target = "_blank";
  link.rel = "noopener noreferrer";
  return link;
}

function ticks(message) {
  if (message.error_code) return make("span", "failed", `not delivered (${message.error_code})`);
  const mark = make("span", `ticks ${message.status}`, TICKS[message.status] ?? message.status);
  mark.title = message.status;
  mark.setAttribute("role", "img");
  mark.setAttribute("aria-label", message.status);
  return mark;
}

function bubble(message) {
  const item = make("li", message.written_here ? "bubble written" : "bubble");
  const meta = make("div", "meta");
  meta.append(make("time", "", time(message.at)));
  if (!message.written_here) meta.append(ticks(message));
  item.append(formatted([message.body, ...message.media_urls].filter(Boolean).join("\n")), meta);
  if (message.buttons?.length) item.append(replies(message));
  return item;
}

/** The buttons below a template: a press answers the message with what the button carries. */
function replies(message) {
  const row = make("div", "replies");
  for (const { title, id } of message.buttons) {
    const button = make("button", "reply", title);
    button.type = "button";
    button.addEventListener("click", () => {
      call(`${phonePath(open)}/messages`, "POST", { body: title, button_payload: id, replied_to: message.sid });
    });
    row.append(button);
  }
  return row;
}

function bubbles(messages) {
  let previous = null;
  return messages.flatMap((message) => {
    const today = day(message.at);
    const shown = today === previous ? [bubble(message)] : [make("li", "day", today), bubble(message)];
    previous = today;
    return shown;
  });
}

async function showChat() {
  const number = open;
  document.body.classList.toggle("in-chat", number !== null);
  element("chat").hidden = number === null;
  element("empty").hidden = number !== null;
  if (number === null) return;
  const phone = await call(phonePath(number));
  if (number !== open) return; // another chat was opened in the meantime
  element("chat-name").textContent = title(phone);
  element("chat-state").textContent = state(phone);
  element("join").hidden = !settings.sandbox || phone.joined;
  dress(element("chat-face"), phone);
  const list = element("messages");
  const atEnd = list.dataset.number !== number || list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  list.dataset.number = number;
  list.replaceChildren(...bubbles(phone.messages));
  if (atEnd) list.scrollTop = list.scrollHeight;
  if (phone.unread && document.visibilityState === "visible") await call(`${phonePath(number)}/read`, "POST");
}

// What a person does

element("new-phone").addEventListener("submit", async (event) => {
  event.preventDefault();
  const number = element("new-number").value.trim();
  await call(phonePath(number), "PUT", {});
  event.target.reset();
  location.hash = number;
});

element("answer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = element("text").value;
  event.target.reset();
  element("messages").scrollTop = element("messages").scrollHeight;
  await call(`${phonePath(open)}/messages`, "POST", { body });
});

element("join").addEventListener("click", () => {
  call(`${phonePath(open)}/messages`, "POST", { body: `join ${settings.join_words}` });
});

element("back").addEventListener("click", () => { location.hash = ""; });

// What keeps it current

function openFromAddress() {
  const number = decodeURIComponent(location.hash.slice(1));
  open = /^\+[1-9]\d{6,14}$/.test(number) ? number : null;
  return Promise.all([showPhones(), showChat()]);
}

async function start() {
  settings = await call("/simulator");
  element("sandbox").textContent = settings.sandbox ? `${settings.number} · join ${settings.join_words}` : settings.number;
  addEventListener("hashchange", openFromAddress);
  document.addEventListener("visibilitychange", showChat);
  const events = new EventSource("/simulator/events");
  events.onopen = () => { element("offline").hidden = true; openFromAddress(); };
  events.onerror = () => { element("offline").hidden = false; };
  events.onmessage = (event) => {
    const changed = JSON.parse(event.data);
    showPhones();
    if (changed.includes(open)) showChat();
  };
}

start();

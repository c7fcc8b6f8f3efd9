"use strict";
// The watch page. The server sends what is there (`flow`, `newest`, `ahead`, `outage`); this file only shows it.

const byId = (id) => document.getElementById(id);
const count = new Intl.NumberFormat("en");
const euros = new Intl.NumberFormat("en", { style: "currency", currency: "EUR", maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

const MOODS = {
  delivered: "good", read: "good",
  undelivered: "bad", failed: "bad", rejected: "bad", canceled: "bad",
  in_doubt: "busy", waiting: "busy", queued: "busy", sending: "busy", accepted: "busy", scheduled: "busy",
};
const PURPOSES = {
  code: "Code to a phone", test: "Test message", linked: "Phone proven",
  stopped: "STOP confirmed", started: "START confirmed", paused: "Pause confirmed", pace: "Pace confirmed",
  details: "Details of a flat", why: "Why a flat was told", saved: "Flat kept", declined: "Flat declined",
  which: "Which flat is meant?", nothing_told: "No flat was told yet", help: "What can be written",
};
const REASONS = { new: "new", price_drop: "price drop", withdrawn: "withdrawn", returned: "returned" };
const RENT_UNITS = { month: "", square_metre_month: " / m²", year: " / year" };

/** An element with classes, text and children; text is never read as HTML. */
function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

function when(at) {
  const time = make("time", "", clock.format(new Date(at)));
  time.dateTime = at;
  return time;
}

const chip = (word, mood) => make("span", `chip ${mood ?? ""}`, word.replaceAll("_", " "));
const statusChip = (status) => chip(status, MOODS[status]);
const rentOf = (card) => (card.rent ? euros.format(card.rent.amount_cents / 100) + RENT_UNITS[card.rent.per] : "on request");

function factsOf(card) {
  const several = card.rooms > 1 || card.rooms_or_more;
  const rooms = card.rooms ? `${card.rooms}${card.rooms_or_more ? "+" : ""} ${several ? "rooms" : "room"}` : "";
  const area = card.area_m2 ? `${card.area_m2} m²` : "";
  return [card.comune_name, rooms, area, card.source].filter(Boolean).join(" · ");
}

// --- the flow ---

function showFlow({ stages, messages, progress }) {
  for (const stage of stages) showStage(stage);
  byId("tally").replaceChildren(
    ...Object.entries(messages).map(([status, number]) => make("li", "", chip(`${count.format(number)} ${status}`, MOODS[status]))),
  );
  byId("progress").replaceChildren(...progress.map(progressRow));
}

function showStage({ id, total, per_second, lag }) {
  const stage = document.querySelector(`[data-stage="${id}"]`);
  setText(stage, "total", count.format(total));
  setText(stage, "rate", `${per_second.toFixed(1)} / s`);
  if (lag !== null) {
    setText(stage, "lag", lag ? `${count.format(lag)} waiting` : "nothing waits");
    stage.querySelector(".lag").classList.toggle("hint", !lag);
  }
  stage.classList.toggle("flowing", per_second > 0);
}

function setText(parent, className, text) {
  const element = parent.querySelector(`.${className}`) ?? parent.appendChild(make("p", className));
  if (element.textContent !== text) element.textContent = text;
}

function progressRow({ service, topic, handled, lag }) {
  return make("tr", "", make("td", "", service), make("td", "", topic), make("td", "amount", count.format(handled)),
    make("td", "amount", lag ? chip(count.format(lag), "busy") : "0"));
}

// --- what runs out ---

const WANTING = { tier: "for a place in Meta’s tier", budget: "for money", window_may_open: "since they may write first" };
const day = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const money = (millionths, currency) => new Intl.NumberFormat("en", { style: "currency", currency }).format(millionths / 1e6);
const on = (at) => day.format(new Date(at));

function runsOut({ earliest, latest }, made_at, horizon) {
  if (!earliest) return `not used up ${horizon}`;
  if (earliest <= made_at) return "used up now";
  return `used up ${on(earliest)} at the earliest, ${latest ? `${on(latest)} at the latest` : `maybe not ${horizon}`}`;
}

function showAhead({ made_at, windows, tier, money: month, left_waiting }) {
  const closing = windows.last_closes_at
    ? `${count.format(windows.close_within_6_hours)} close within six hours, the last ${on(windows.last_closes_at)}` : "";
  const places = tier.limit === null ? "no limit" : `of ${count.format(tier.limit)}, ${runsOut(tier.used_up, made_at, "within a day")}`;
  const spent = month.limit === null ? "no limit" : `of ${money(month.limit, month.currency)}, ${runsOut(month.used_up, made_at, "this month")}`;
  const rows = [
    row("div", "Open windows", count.format(windows.open), closing, made_at),
    row("div", "Phones written to first in 24 hours", count.format(tier.used), places, made_at),
    row("div", "Spent this month", money(month.spent, month.currency), spent, made_at),
    ...left_waiting.map(({ reason, users, until }) => row("div", "Left waiting within a day", chip(count.format(users), "busy"),
      `${WANTING[reason] ?? reason}${until ? `, until ${on(until)} at the latest` : ""}`, made_at)),
  ];
  byId("ahead").replaceChildren(...rows.map((each) => make("li", "", each)));
}

// --- what is newest ---

const seen = { listings: null, matches: null, messages: null };

/** Show a list anew; items that were not there before light up, apart from the first time. */
function showFeed(name, items, keyOf, rowOf) {
  if (!items.length) return;
  const known = seen[name];
  const focused = document.activeElement?.dataset?.key;
  byId(name).replaceChildren(...items.map((item) => {
    const fresh = known && !known.has(keyOf(item));
    return make("li", fresh ? "fresh" : "", rowOf(item));
  }));
  seen[name] = new Set(items.map(keyOf));
  if (focused) document.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

function row(tag, title, figure, facts, at) {
  return make(tag, "row", make("span", "title", title), make("span", "figure", figure), make("span", "facts", facts), when(at));
}

function listingRow({ card, active, at }) {
  const element = row("div", card.title || card.comune_name || card.listing_id, rentOf(card), factsOf(card), at);
  element.classList.toggle("gone", !active);
  return element;
}

function matchRow({ card, reason, searches, at }) {
  const why = `${card.comune_name} ${rentOf(card)} for ${searches.map((name) => `“${name}”`).join(", ")}`;
  return row("div", card.title || card.comune_name, chip(REASONS[reason] ?? reason, `reason-${reason}`), why, at);
}

function messageRow(message) {
  const { message_id, status, flats, shown, title: first, purpose, at } = message;
  const more = flats > shown ? `, ${flats - shown} behind its link` : "";
  const facts = purpose ? "asked for by its reader" : `${flats} ${flats === 1 ? "flat" : "flats"}, ${shown} shown${more}`;
  const title = purpose ? PURPOSES[purpose] : (first ?? "a message") + (flats > 1 ? ` + ${flats - 1}` : "");
  const button = row("button", title, statusChip(status), facts, at);
  button.type = "button";
  button.dataset.key = message_id;
  button.addEventListener("click", () => tell(message_id));
  return button;
}

function showNewest({ listings, matches, messages }) {
  showFeed("listings", listings, (each) => `${each.listing_id} ${each.version}`, listingRow);
  showFeed("matches", matches, (each) => each.notification_id, matchRow);
  showFeed("messages", messages, (each) => `${each.message_id} ${each.status}`, messageRow);
}

// --- a message's story ---

async function tell(messageId) {
  const answer = await fetch(`/watch/messages/${messageId}`);
  if (!answer.ok) return live("off", "signed out: open the page with its key again");
  const story = await answer.json();
  byId("story-title").textContent = story.purpose ? PURPOSES[story.purpose] : "A message’s story";
  byId("story-body").replaceChildren(
    make("p", "", statusChip(story.status), " ", make("code", "hint", story.message_sid ?? "not with Twilio yet")),
    make("h3", "", "What happened"), make("ol", "timeline", ...stepsOf(story)),
  );
  byId("story").showModal();
}

function stepsOf({ flats, statuses }) {
  const steps = flats.flatMap((flat) => [
    flat.published_at && { at: flat.published_at, what: ["Listing published: ", flat.card.title || flat.card.listing_id, ` (version ${flat.card.version}, ${rentOf(flat.card)})`] },
    { at: flat.requested_at, what: matchedSentence(flat) },
  ]);
  for (const { status, at, reported_by, attempt, error } of statuses) {
    const by = reported_by === "callback" ? "Twilio called back: " : "The sender: ";
    const again = attempt > 1 ? ` (attempt ${attempt})` : "";
    steps.push({ at, bad: MOODS[status] === "bad", what: [by, statusChip(status), again, error ? ` ${error}` : ""] });
  }
  return steps.filter(Boolean).sort((one, other) => new Date(one.at) - new Date(other.at))
    .map(({ at, what, bad }) => make("li", bad ? "bad" : "", when(at), ...what));
}

function matchedSentence({ card, reason, searches, shown, previous_rent_cents }) {
  const names = searches.map(({ name, unknown }) => `“${name}”${unknown.length ? ` (not said: ${unknown.join(", ").replaceAll("_", " ")})` : ""}`);
  const drop = previous_rent_cents ? `, was ${euros.format(previous_rent_cents / 100)}` : "";
  return [chip(REASONS[reason] ?? reason, `reason-${reason}`), ` ${card.title || card.comune_name}: matched ${names.join(", ")}${drop}; `,
    shown ? "shown in the text" : "behind the message’s link"];
}

// --- the connection ---

function live(state, text) {
  const element = byId("live");
  element.className = `live ${state}`;
  if (element.textContent !== text) element.textContent = text;
}

const source = new EventSource("/watch/events");
source.addEventListener("open", () => live("on", "live"));
source.addEventListener("error", () => live("off", source.readyState === EventSource.CLOSED
  ? "signed out: open the page with its key again" : "connection lost, trying again"));
source.addEventListener("newest", (event) => showNewest(JSON.parse(event.data)));
source.addEventListener("ahead", (event) => showAhead(JSON.parse(event.data)));
source.addEventListener("outage", () => live("off", "Kafka does not answer"));
source.addEventListener("flow", (event) => {
  live("on", "live");
  showFlow(JSON.parse(event.data));
});
window.addEventListener("pagehide", () => source.close());

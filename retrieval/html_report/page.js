"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const PAGE = 50;
  const by = (id) => document.getElementById(id);
  const make = (tag, kind, text) => {
    const element = document.createElement(tag);
    if (kind) element.className = kind;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const add = (parent, ...children) => { parent.append(...children.filter(Boolean)); return parent; };
  const signed = (value) => (value > 0 ? "+" : value < 0 ? "\u2212" : "") + Math.abs(value).toFixed(3);
  const short = (value) => value === null ? "" : Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
  const gain = (query) => query.values[0] - query.values[1];
  const place = (rank) => rank === null ? "not found" : "rank " + rank;

  const chip = (token, kind, number) => {
    const element = make("span", "chip " + kind, token);
    if (number !== undefined) add(element, make("small", "", short(number)));
    return element;
  };
  const chips = (label, elements) => elements.length ? add(make("div", "chips"), make("span", "quiet", label), ...elements) : null;

  const hitItem = (hit, number) => {
    const [document_, score, grade, rank, baselineRank, matched, words, expansions] = hit;
    const [id, lang, text] = data.documents[document_];
    const item = make("li", grade > 0 ? "relevant" : "");
    const line = make("div", "place");
    if (number !== null) add(line, number + ". ");
    if (grade > 0) add(line, make("b", "", "relevant"), " ");
    const facts = [id, lang].filter(Boolean);
    if (score !== null) facts.push("score " + short(score));
    if (number === null) facts.push(data.system + ": " + place(rank), data.baseline + ": " + place(baselineRank));
    add(line, facts.join(" \u00b7 "));
    add(item, line, make("div", "snippet", text),
      chips("matched", matched.map(([token, part, own]) => chip(data.tokens[token], own ? "own" : "expansion", part))) ||
        make("div", "chips quiet", "no token of the query matches"),
      chips(data.baseline + " words", words.map((word) => chip(word, "word"))),
      chips("other expansions", expansions.map(([token, weight]) => chip(data.tokens[token], "expansion", weight))));
    return item;
  };
  const hitList = (title, hits, numbered) => {
    const column = make("div");
    const list = make("ol", "hits");
    hits.forEach((hit, number) => add(list, hitItem(hit, numbered ? number + 1 : null)));
    return add(column, make("h3", "", title), hits.length ? list : make("p", "quiet", "no hits"));
  };
  const table = (header, rows) => {
    const head = add(make("tr"), ...header.map((name, at) => make("th", at ? "" : "text", name)));
    const body = rows.map((row) => add(make("tr"), ...row.map((cell, at) => make("td", at ? "" : "text", cell))));
    return add(make("div", "scroll"), add(make("table"), add(make("thead"), head), add(make("tbody"), ...body)));
  };

  const fill = (body, query) => {
    if (body.childElementCount) return;
    if (!query.hits) { add(body, make("p", "quiet", "The hits of this query were left out to keep the file small.")); return; }
    add(body, add(make("p", "quiet"), query.id + " \u00b7 " + data.directions[query.direction]));
    add(body, chips("query weights", query.weights.map(([token, weight]) => chip(data.tokens[token], "plain", weight))) ||
      make("p", "quiet", "no token of the query is in the vocabulary"));
    const reasons = make("div", "systems");
    if (query.needed) {
      add(reasons, add(make("div"), make("h3", "", "Query tokens that the answer lacks"), table(
        ["token", "query weight", "before pruning", "rank"],
        query.needed.map(([token, own, weight, rank]) => [data.tokens[token], short(own),
          weight === null ? "not known" : rank === null ? "0" : short(weight), rank === null ? "" : rank.toLocaleString("en")]))));
    }
    if (query.contrast) {
      add(reasons, add(make("div"), make("h3", "", "First hit against the answer"), table(["token", "first hit scores more by"],
        query.contrast.map(([token, part]) => [data.tokens[token], signed(part)]))));
    }
    if (reasons.childElementCount) add(body, reasons);
    if (query.cut) add(body, make("p", "", "The answer is cut at " + query.cut[0] + " of " + query.cut[1] + " tokens. Not read: \u201c" + query.cut[2] + "\u201d"));
    add(body, hitList(query.answers.length > 1 ? "Answers" : "Answer", query.answers, false));
    add(body, add(make("div", "systems"), hitList(data.system, query.hits, true), hitList(data.baseline, query.baseline, true)));
  };

  const card = (query, eager) => {
    const details = make("details", "card");
    const difference = gain(query);
    const numbers = make("span", "numbers");
    add(numbers, query.values[0].toFixed(2) + " against " + query.values[1].toFixed(2) + " ",
      make("b", difference < 0 ? "bad" : difference > 0 ? "good" : "", signed(difference)));
    const summary = add(make("summary"), make("span", "query", query.text + " "), numbers,
      make("span", "why", data.directions[query.direction] + ": " + (query.reason || (difference !== 0 ? "" : query.values[0] > 0 ? "both do equally well" : "neither finds an answer"))));
    const body = make("div", "body");
    add(details, summary, body);
    details.query = query;
    if (eager) fill(body, query);
    details.addEventListener("toggle", () => { if (details.open) fill(body, query); });
    return details;
  };

  const lost = data.lost.map((at) => card(data.queries[at], true));
  const won = data.won.map((at) => card(data.queries[at], true));
  add(by("lost-cards"), ...lost);
  add(by("won-cards"), ...won);
  if (lost.length) {
    const query = data.queries[data.lost[0]];
    const link = make("a", "", "\u201c" + query.text + "\u201d");
    link.href = "#lost";
    link.addEventListener("click", (event) => {
      event.preventDefault();
      lost[0].open = true;
      lost[0].scrollIntoView();
      lost[0].firstElementChild.focus();
    });
    add(by("worst"), make("strong", "", "Worst lost query: "), link, " (" + data.directions[query.direction] + ", " +
      data.measure + " " + query.values[0].toFixed(2) + " against " + query.values[1].toFixed(2) + "). ", query.reason);
  }

  const words = by("words"), direction = by("direction"), order = by("order"), results = by("results"), more = by("more");
  data.directions.forEach((name, at) => { const option = make("option", "", name); option.value = String(at); direction.append(option); });
  const normal = (text) => text.normalize("NFC").toLowerCase();
  const haystacks = data.queries.map((query) => normal(query.text + " " + query.id));
  const orders = {
    lost: (a, b) => gain(a) - gain(b), won: (a, b) => gain(b) - gain(a),
    text: (a, b) => a.text < b.text ? -1 : a.text > b.text ? 1 : 0,
  };
  let matching = [], shown = 0;
  const showMore = () => {
    add(results, ...matching.slice(shown, shown + PAGE).map((query) => card(query, false)));
    shown = Math.min(matching.length, shown + PAGE);
    more.hidden = shown >= matching.length;
  };
  const search = () => {
    const terms = normal(words.value).split(/\s+/).filter(Boolean);
    matching = data.queries.filter((query, at) => terms.every((term) => haystacks[at].includes(term)) &&
      (direction.value === "" || query.direction === Number(direction.value))).sort(orders[order.value]);
    results.replaceChildren();
    shown = 0;
    by("count").textContent = matching.length.toLocaleString("en") + " of " + data.queries.length.toLocaleString("en") + " queries";
    showMore();
  };
  words.addEventListener("input", search);
  direction.addEventListener("change", search);
  order.addEventListener("change", search);
  more.addEventListener("click", showMore);
  by("search").addEventListener("submit", (event) => { event.preventDefault(); search(); });
  search();

  const dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  by("theme").addEventListener("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const typing = event.target.matches("input, select");
    if (event.key === "/" && !typing) { event.preventDefault(); words.focus(); words.scrollIntoView({ block: "center" }); return; }
    if (event.key === "Escape" && event.target === words) { words.value = ""; search(); return; }
    if (event.key === "ArrowDown" && event.target === words) { event.preventDefault(); results.querySelector("summary")?.focus(); return; }
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (step && event.target.matches("summary")) {
      const all = [...document.querySelectorAll("details.card > summary")];
      const next = all[all.indexOf(event.target) + step];
      if (next) { event.preventDefault(); next.focus(); }
    }
  });
  addEventListener("beforeprint", () => { document.querySelectorAll("#lost-cards details, #won-cards details").forEach((d) => { d.open = true; }); });
})();

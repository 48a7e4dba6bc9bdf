"use strict";
// The page of ponder-view. What a model wrote enters the document as text nodes only; no string is ever parsed as HTML.

const HEIGHT = 46; // of a row in the list, in pixels; page.css has the same
const DRAWN = 300; // lines of a tree unfolded at first
const BRANCHES = 60; // branches of a fork, and steps of a chain, drawn at once
const LINE = 300; // characters of a step in the tree; the inspector has all
const COLUMNS = 240, DOTS = 12000; // reports, and members of their populations, drawn in a genealogy
const TABS = ["tree", "genealogy", "traces"];
const SVG = "http://www.w3.org/2000/svg";
const state = { runs: [], a: 0, b: -1, shown: [], filter: "all", text: "", at: -1, tab: "tree", asked: 0 };
const waiting = new Map(); // "run/number" -> resolve
const kept = new Map(); // "run/number" -> question, the last ones opened

const byId = (id) => document.getElementById(id);

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  return fill(made, attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const whole = (value) => Math.round(value ?? 0).toLocaleString("en");
// Three digits; a log weight of minus infinity is stored as -1e30.
function short(value) {
  if (value === null || value === undefined) return "-";
  const size = Math.abs(value);
  if (size > 1e29) return value > 0 ? "∞" : "−∞";
  return size !== 0 && (size >= 1e6 || size < 1e-3) ? value.toExponential(2).replace("e+", "e") : String(Number(value.toPrecision(3)));
}
const percent = (share) => `${(100 * share).toFixed(1)} %`;

const MARKS = { right: "✓", wrong: "✗", failed: "!", open: "·" };
const mark = (kind) => el("span", { class: `mark ${kind}`, title: kind === "open" ? "not graded" : kind }, MARKS[kind]);
const judged = (correct) => (correct === null || correct === undefined ? "open" : correct ? "right" : "wrong");
const ended = (trace) => (trace.finished || trace.answer !== null ? judged(trace.correct) : "open");
const standingOf = (question) => (question.failed ? "failed" : !question.graded ? "open" : question.right ? "right" : "wrong");

// ---- the data: an index, and one file a question, each a script that calls one of these

window.ponder = {
  index(data) {
    state.runs = data.runs;
    state.runs.forEach((run, i) => {
      run.place = new Map(run.questions.map((question, at) => [question.id, at]));
      for (const chooser of document.querySelectorAll("aside select")) chooser.append(el("option", { value: i }, run.name));
    });
    byId("run-b").hidden = state.runs.length < 2;
    byId("run-b").querySelector("select").prepend(el("option", { value: -1 }, "none"));
    byId("run-b").querySelector("select").value = "-1";
    list();
    if (state.shown.length) open(0);
    else byId("main").replaceChildren(el("p", { class: "empty" }, "No question has finished yet."));
  },
  question(run, number, data) {
    const key = `${run}/${number}`;
    kept.set(key, data);
    if (kept.size > 24) kept.delete(kept.keys().next().value);
    waiting.get(key)?.(data);
    waiting.delete(key);
  },
};

function load(run, number) {
  const key = `${run}/${number}`;
  if (kept.has(key)) return Promise.resolve(kept.get(key));
  return new Promise((resolve, reject) => {
    waiting.set(key, resolve);
    const source = `data/r${run}/q${String(number).padStart(6, "0")}.js`;
    const script = el("script", { src: source, onerror: () => reject(new Error(`${source} is missing`)), onload: () => script.remove() });
    document.head.append(script);
  });
}

// ---- the list of questions

function filters() {
  const names = ["all", "right", "wrong", "failed"];
  if (state.runs[state.a].questions.some((question) => standingOf(question) === "open")) names.push("not graded");
  return state.b >= 0 ? [...names, "A right, B wrong", "A wrong, B right"] : names;
}

function passes(question, filter) {
  if (filter === "all") return true;
  const here = standingOf(question);
  if (!filter.startsWith("A ")) return here === (filter === "not graded" ? "open" : filter);
  const other = peer(question);
  if (!other || here === "open" || standingOf(other) === "open") return false;
  return filter === "A right, B wrong" ? here === "right" && standingOf(other) !== "right" : here !== "right" && standingOf(other) === "right";
}

function peer(question) {
  const run = state.runs[state.b];
  return run.questions[run.place.get(question.id)] ?? null;
}

function list() {
  const all = state.runs[state.a].questions;
  if (!filters().includes(state.filter)) state.filter = "all";
  const wanted = state.text.toLowerCase();
  state.shown = [];
  all.forEach((question, at) => {
    const found = !wanted || question.id.toLowerCase().includes(wanted) || question.prompt.toLowerCase().includes(wanted);
    if (found && passes(question, state.filter)) state.shown.push(at);
  });
  byId("filters").replaceChildren(...filters().map((name) => el("button", {
    type: "button",
    "aria-pressed": String(name === state.filter),
    "data-filter": name,
    onclick: () => { state.filter = name; list(); },
  }, `${name} ${whole(all.filter((question) => passes(question, name)).length)}`)));
  byId("count").textContent = `${whole(state.shown.length)} of ${whole(all.length)} questions`;
  byId("rows").style.height = `${state.shown.length * HEIGHT}px`;
  rows();
}

function rows() {
  const box = byId("list");
  const first = Math.max(0, Math.floor(box.scrollTop / HEIGHT) - 4);
  const last = Math.min(state.shown.length, first + Math.ceil(box.clientHeight / HEIGHT) + 8);
  const drawn = [];
  for (let i = first; i < last; i += 1) drawn.push(row(i));
  byId("rows").replaceChildren(...drawn);
}

function row(i) {
  const question = state.runs[state.a].questions[state.shown[i]];
  const other = state.b >= 0 ? peer(question) : null;
  const made = el("div", {
    class: `row${state.shown[i] === state.at ? " chosen" : ""}`, role: "option", "aria-selected": String(state.shown[i] === state.at),
    onclick: () => open(i),
  },
  el("div", { class: "id" }, mark(standingOf(question)), other ? mark(standingOf(other)) : null,
    el("b", {}, question.id), el("span", { class: "faint" }, `${whole(question.tokens)} tok.`)),
  el("small", {}, question.prompt));
  made.style.top = `${i * HEIGHT}px`;
  return made;
}

function move(by) {
  const here = state.shown.indexOf(state.at);
  const next = here < 0 ? 0 : Math.min(state.shown.length - 1, Math.max(0, here + by));
  if (state.shown.length) open(next);
}

function seen(i) {
  const box = byId("list");
  if (i * HEIGHT < box.scrollTop) box.scrollTop = i * HEIGHT;
  if ((i + 1) * HEIGHT > box.scrollTop + box.clientHeight) box.scrollTop = (i + 1) * HEIGHT - box.clientHeight;
  rows();
}

async function open(i) {
  state.at = state.shown[i];
  seen(i);
  await show();
}

async function show() {
  if (state.at < 0) return;
  const asked = (state.asked += 1);
  const question = state.runs[state.a].questions[state.at];
  const wanted = [[state.a, state.at]];
  if (state.b >= 0) wanted.push([state.b, state.runs[state.b].place.get(question.id) ?? -1]);
  const found = await Promise.all(wanted.map(([run, number]) => (number < 0 ? null : load(run, number).catch((error) => ({ lost: error.message })))));
  if (asked !== state.asked) return; // another question was opened meanwhile
  const main = byId("main");
  main.className = found.length > 1 ? "two" : "";
  main.replaceChildren(...found.map((data, side) => drawn(data, state.runs[wanted[side][0]], question.id)));
  main.dataset.shown = question.id;
}

// ---- one question of one run

function drawn(data, run, id) {
  try {
    return section(data, run, id);
  } catch (error) { // a row that no run of ours wrote: say so, and let the other questions be read
    return missing(id, `This row cannot be drawn: ${error.message}`);
  }
}

const missing = (id, why) => el("section", {}, el("h2", {}, id), el("p", { class: "error" }, why));

function section(data, run, id) {
  if (!data || data.lost) return missing(id, data ? data.lost : `${run.name} has no such question.`);
  const tree = grown(data);
  const made = el("section", {}, el("h2", {}, id),
    el("div", { class: "facts" }, fact("run", run.name), fact("search", run.search), fact("N", run.n), fact("verifier", run.verifier), fact("seconds", short(data.seconds))),
    el("div", { class: "text prompt" }, data.prompt ?? ""));
  if (data.error) made.append(el("p", { class: "error" }, `${data.error.type}: ${data.error.message}`));
  made.append(el("div", { class: "side" }, answers(data), votes(data), costs(data)));
  const below = el("div");
  const tabs = el("div", { class: "tabs", role: "tablist" });
  const draw = () => {
    tabs.replaceChildren(...TABS.map((name) => el("button", {
      type: "button", role: "tab", class: "tab", "aria-selected": String(name === state.tab), onclick: () => { state.tab = name; redraw(); },
    }, name)));
    below.replaceChildren({ tree: drawTree, genealogy: drawGenealogy, traces: drawTraces }[state.tab](data, tree));
  };
  made.redraw = draw;
  draw();
  made.append(tabs, below);
  return made;
}

function redraw() {
  for (const made of byId("main").children) made.redraw?.();
}

const fact = (name, value) => el("span", {}, `${name} `, el("b", {}, String(value ?? "-")));
const titled = (title, body) => el("div", {}, el("h3", {}, title), body);
const cell = (text, kind) => el("td", kind ? { class: kind } : {}, text);
const head = (...names) => el("tr", {}, names.map(([name, kind]) => el("th", kind ? { class: kind } : {}, name)));

function answers(data) {
  const lines = Object.entries(data.answers).map(([name, given]) => el("tr", { class: name === data.select ? "select" : "" }, cell(name === data.select ? `${name} (chosen)` : name),
    cell(given.answer ?? "none", "answer text"), el("td", {}, mark(data.gold_known === false ? "open" : judged(given.correct)))));
  return titled("answers", el("table", {}, head(["selector"], ["answer"], [""]), lines));
}

function votes(data) {
  const weights = shares(data.population.map(([, weight]) => weight));
  const found = new Map();
  data.population.forEach(([index], i) => {
    const trace = data.traces[index];
    const vote = found.get(trace.answer) ?? { count: 0, weight: 0, kind: ended(trace) };
    found.set(trace.answer, { ...vote, count: vote.count + 1, weight: vote.weight + weights[i] });
  });
  const sorted = [...found].sort((one, other) => other[1].weight - one[1].weight || other[1].count - one[1].count);
  const lines = sorted.slice(0, 12).map(([answer, vote]) => el("tr", {}, cell(answer ?? "none", "answer text"),
    cell(whole(vote.count), "number"), cell(percent(vote.weight), "number"), el("td", {}, mark(vote.kind))));
  if (sorted.length > 12) lines.push(el("tr", {}, cell(`and ${whole(sorted.length - 12)} more`, "faint")));
  const table = el("table", {}, head(["answer"], ["count", "number"], ["weight", "number"], [""]), lines);
  const begun = data.cost.policy?.samples ?? 0; // docs/rows.md: then the repeats are padding
  const padded = begun > 0 && begun < data.population.length ? el("p", { class: "note" }, `repeats are padding: ${whole(begun)} samples`) : null;
  return titled("votes", el("div", {}, table, padded));
}

function costs(data) {
  const bills = Object.entries(data.cost);
  if (Object.values(data.grading ?? {}).some((count) => count > 0)) bills.push(["grading", data.grading]);
  const counts = ["samples", "prompt_tokens", "new_tokens", "verifier_tokens", "verifier_calls"];
  const lines = bills.map(([role, cost]) => el("tr", {}, cell(role), counts.map((name) => cell(whole(cost[name]), "number")), cell(short(cost.flops), "number")));
  const names = ["samples", "prompt", "new", "verifier", "calls", "FLOPs"].map((name) => [name, "number"]);
  return titled("cost", el("table", {}, head(["tokens of"], ...names), lines));
}

// Log weights as shares of one.
function shares(logs) {
  const top = Math.max(...logs.map((log) => log ?? -Infinity));
  const raised = logs.map((log) => Math.exp((log ?? -Infinity) - (Number.isFinite(top) ? top : 0)));
  const sum = raised.reduce((total, one) => total + one, 0);
  return raised.map((one) => (sum > 0 ? one / sum : 1 / logs.length));
}

// ---- the tree: traces merged by their common steps

function grown(data) {
  const node = (text, parent, why) => ({ text, parent, why, children: new Map(), ends: [], copies: 0, weight: 0, order: Infinity, score: null, kept: false, alive: false });
  const root = node("", null, null);
  const paths = data.traces.map((trace, index) => {
    const path = [root];
    trace.steps.forEach((text, d) => {
      const here = path[d];
      if (!here.children.has(text)) here.children.set(text, node(text, here, trace.why[d]));
      const next = here.children.get(text);
      next.score = trace.scores[d] ?? (d === trace.steps.length - 1 ? trace.score : null) ?? next.score;
      next.alive ||= Boolean(trace.finished);
      path.push(next);
    });
    path[path.length - 1].ends.push(index);
    return path;
  });
  const end = (index) => paths[index][paths[index].length - 1];
  const weights = shares(data.population.map(([, weight]) => weight));
  data.population.forEach(([index], i) => {
    end(index).copies += 1;
    end(index).weight += weights[i];
    for (const one of paths[index]) one.kept = one.alive = true;
  });
  const columns = data.reports.map((report) => {
    const sized = shares(report.population.map(([, , weight]) => weight));
    return report.population.map(([index, depth], i) => ({ node: paths[index][Math.min(depth, paths[index].length - 1)], share: sized[i] }));
  });
  const final = data.population.map(([index], i) => ({ node: end(index), share: weights[i] }));
  const last = columns[columns.length - 1];
  if (!last || last.length !== final.length || last.some((one, i) => one.node !== final[i].node)) columns.push(final);
  columns.forEach((column, r) => column.forEach((member) => {
    for (let up = member.node; up && up.order > r + 1; up = up.parent) up.order = r + 1;
  }));
  return { root, columns, traces: data.traces, scale: scaled(data.traces) };
}

// Scores as parts of a bar, which runs from 0 to 1; where a score lies outside, down to the lowest or up to the highest.
function scaled(traces) {
  let low = 0, high = 1;
  for (const trace of traces) for (const score of [trace.score, ...trace.scores]) {
    if (score !== null && Math.abs(score) < 1e29) { low = Math.min(low, score); high = Math.max(high, score); }
  }
  return (score) => Math.min(1, Math.max(0, (score - low) / (high - low)));
}

function standing(node, traces) {
  const finished = node.ends.map((index) => traces[index]).find((trace) => trace.finished);
  if (finished) return judged(finished.correct);
  if (!node.alive) return "pruned";
  return node.copies && node.children.size === 0 ? "cut off" : "";
}

function badges(node, kind) {
  const told = [];
  if (kind in MARKS) told.push(mark(kind));
  else if (kind === "cut off" || (kind === "pruned" && node.children.size === 0)) told.push(el("span", { class: "badge" }, kind));
  if (node.copies) told.push(el("span", { class: "badge" }, `${node.copies > 1 ? `${node.copies} × ` : ""}${percent(node.weight)}`));
  if (node.why && node.why !== "stop") told.push(el("span", { class: "badge" }, node.why));
  return told;
}

function bar(score, scale) {
  if (score === null) return svg("svg", { class: "bar" });
  const width = (54 * scale(score)).toFixed(1);
  return svg("svg", { class: "bar" }, svg("title", {}, `score ${short(score)}`), svg("rect", { class: "ground", width: 54, height: 8, rx: 2 }), svg("rect", { class: "fill", width, height: 8, rx: 2 }));
}

function drawTree(data, tree) {
  const first = sortedChildren(tree.root);
  if (!first.length) return el("p", { class: "note" }, "No step was taken.");
  const inspector = el("div", { class: "inspector", hidden: true, "aria-live": "polite" });
  let left = DRAWN;
  // Some of many, and a button that draws the next ones in its own place.
  const some = (box, things, draw, name, from = 0) => {
    for (const thing of things.slice(from, from + BRANCHES)) draw(thing);
    const others = things.length - from - BRANCHES;
    if (others <= 0) return;
    const more = el("button", { type: "button", class: "rest", onclick: () => {
      more.remove();
      left = DRAWN;
      const before = box.childElementCount;
      some(box, things, draw, name, from + BRANCHES);
      (box.children[before].querySelector("button") ?? box.children[before]).focus();
    } }, `${whole(others)} more ${name}`);
    box.append(more);
  };
  const fork = (nodes, kind) => {
    const box = el("ul", { class: kind });
    some(box, nodes, (node) => box.append(branch(node)), "branches");
    return box;
  };
  // A chain of steps stays in line, however long; only a fork goes in.
  const branch = (top) => {
    const chain = [top];
    let children = sortedChildren(top);
    for (; children.length === 1; children = sortedChildren(children[0])) chain.push(children[0]);
    const box = el("li");
    some(box, chain, (node) => line(node, box, node === chain[chain.length - 1] ? children : []), "steps");
    return box;
  };
  const line = (node, box, children) => {
    left -= 1;
    const kind = standing(node, tree.traces), forks = children.length > 1;
    const sign = el("span", { class: "sign" });
    const made = el("button", { type: "button", class: `node ${kind.replace(" ", "-")}` }, sign,
      el("span", { class: "order", title: "first in this report" }, Number.isFinite(node.order) ? `#${node.order}` : ""),
      bar(node.score, tree.scale), el("span", { class: "text" }, node.text.trim().slice(0, LINE) || "(empty)"), badges(node, kind));
    let below = null;
    const unfold = (shown) => {
      if (shown && !below) { below = fork(children, "branch"); box.append(below); }
      if (below) below.hidden = !shown;
      made.setAttribute("aria-expanded", String(shown));
      sign.textContent = shown ? "▾" : "▸";
    };
    made.addEventListener("click", () => {
      inspect(inspector, node, made);
      if (forks) unfold(made.getAttribute("aria-expanded") !== "true");
    });
    box.append(made);
    if (forks) unfold(left > 0);
  };
  return el("div", { class: "tree" }, el("p", { class: "note" }, "Each line is a step; a fork goes in. #n: first seen in report n, the order of the search. Bar: the step's score. Per cent: weight in the final population. Faint: pruned."),
    el("div", { onkeydown: climb }, fork(first, "top")), inspector);
}

const sortedChildren = (node) => [...node.children.values()].sort((one, other) => one.order - other.order || Number(other.kept) - Number(one.kept));

// Arrows in the tree: up and down the lines, right unfolds, left folds.
function climb(event) {
  const here = event.target.closest("button");
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const shown = here?.getAttribute("aria-expanded");
  if (here && by) {
    const lines = [...event.currentTarget.querySelectorAll("button")].filter((line) => line.offsetParent !== null);
    lines[lines.indexOf(here) + by]?.focus();
  } else if ((event.key === "ArrowRight" && shown === "false") || (event.key === "ArrowLeft" && shown === "true")) here.click();
  else return;
  event.preventDefault();
}

// A step ends with the mark that divides steps, often two newlines: not worth two empty lines.
const shownStep = (text) => text.replace(/\n+$/, "") || "(empty)";

function inspect(box, node, chosen) {
  for (const one of box.parentElement.querySelectorAll(".node.chosen")) one.classList.remove("chosen");
  chosen?.classList.add("chosen");
  const path = [];
  for (let up = node; up.parent; up = up.parent) path.unshift(up);
  box.hidden = false;
  box.replaceChildren(...path.map((step) => el("div", { class: "step" }, el("span", { class: "faint" }, short(step.score)), el("div", { class: "text" }, shownStep(step.text)))));
  if (!path.length) box.append(el("span", { class: "note" }, "The question itself: no step yet."));
}

// ---- the genealogy: a column a report, a dot a member of its population, a line to its ancestor

function drawGenealogy(data, tree) {
  const most = Math.max(...tree.columns.map((column) => column.length));
  if (!most) return el("p", { class: "note" }, "This search reported no population.");
  const columns = tree.columns.slice(-Math.max(2, Math.min(COLUMNS, Math.floor(DOTS / most))));
  const left = tree.columns.length - columns.length;
  const space = byId("main").clientWidth / (state.b < 0 ? 1 : 2) - 110;
  const across = Math.max(26, Math.min(150, space / columns.length)), down = Math.max(5, Math.min(22, 560 / most));
  const top = 54, side = 30;
  const box = svg("svg", { class: "genealogy", width: Math.ceil(across * columns.length + 2 * side), height: Math.ceil(down * most + top + 8), role: "group", "aria-label": "genealogy of the population" });
  const lines = svg("g"), dots = svg("g"), inspector = el("div", { class: "inspector", hidden: true, "aria-live": "polite" });
  box.append(svg("text", { x: 8, y: 15 }, "report"), svg("text", { x: 8, y: 30 }, "ESS"), lines, dots);
  const at = (c, i) => [across * (c + 0.5) + side, down * (i + 0.5) + top];
  const drawn = columns.map((column, c) => {
    const size = 1 / column.reduce((sum, member) => sum + member.share ** 2, 0);
    [String(left + c + 1), column.length ? short(size) : "-"].forEach((text, i) => box.append(svg("text", { x: at(c, 0)[0], y: 15 * (i + 1), "text-anchor": "middle" }, text)));
    return column.map((member, i) => ({ ...member, c, i, ancestor: null, heirs: [], line: null, dot: null }));
  });
  drawn.forEach((column, c) => {
    const before = new Map();
    for (const member of drawn[c - 1] ?? []) {
      if (before.has(member.node)) before.get(member.node).push(member);
      else before.set(member.node, [member]);
    }
    for (const member of column) {
      for (let up = member.node; up && !member.ancestor; up = up.parent) {
        const same = before.get(up); // of equal ones the one in its own place: whoever was not resampled stays in line
        if (same) member.ancestor = same.find((one) => one.i === member.i) ?? same[0];
      }
      member.ancestor?.heirs.push(member);
    }
  });
  for (const member of drawn[drawn.length - 1]) for (let up = member; up && !up.kept; up = up.ancestor) up.kept = true;
  let current = drawn[drawn.length - 1][0] ?? drawn.flat()[0];
  const light = (member) => {
    for (const one of box.querySelectorAll(".lit")) one.classList.remove("lit");
    for (let up = member; up; up = up.ancestor) { up.dot.classList.add("lit"); up.line?.classList.add("lit"); }
    current.dot.setAttribute("tabindex", -1);
    current = member;
    current.dot.setAttribute("tabindex", 0);
    inspect(inspector, member.node, null);
  };
  drawn.flat().forEach((member) => {
    const [x, y] = at(member.c, member.i);
    if (member.ancestor) {
      const [fromX, fromY] = at(member.ancestor.c, member.ancestor.i);
      member.line = svg("line", { x1: fromX, y1: fromY, x2: x, y2: y, class: member.kept ? "kept" : "" });
      lines.append(member.line);
    }
    const kind = member.node.children.size === 0 ? standing(member.node, tree.traces) : "";
    const radius = Math.max(1.2, Math.min(0.9 * down, 0.26 * down * Math.sqrt(member.share * most)));
    member.dot = svg("circle", {
      cx: x, cy: y, r: radius.toFixed(2), tabindex: member === current ? 0 : -1, class: [member.kept ? "kept" : "", kind in MARKS ? kind : ""].join(" ").trim(),
      onmouseenter: () => light(member), onfocus: () => light(member), onclick: () => member.dot.focus(),
    }, svg("title", {}, `report ${left + member.c + 1}, weight ${percent(member.share)}, score ${short(member.node.score)}`));
    dots.append(member.dot);
  });
  box.addEventListener("keydown", (event) => {
    const column = drawn[current.c];
    const next = { ArrowLeft: current.ancestor, ArrowRight: current.heirs[0], ArrowUp: column[current.i - 1], ArrowDown: column[current.i + 1] };
    if (!(event.key in next)) return;
    event.preventDefault();
    next[event.key]?.dot.focus();
  });
  const cut = left ? ` The last ${whole(columns.length)} of ${whole(tree.columns.length)} reports.` : "";
  return el("div", {}, el("p", { class: "note" }, `A column a report, a dot a member of its population, its area the weight; lines lead to ancestors. Blue: has descendants at the end. Green, red: finished right, wrong. ESS: effective sample size.${cut}`),
    el("div", { class: "scroll" }, box), inspector);
}

// ---- the traces, one below the other

function drawTraces(data) {
  const weights = shares(data.population.map(([, weight]) => weight));
  const held = data.traces.map(() => ({ copies: 0, weight: 0 }));
  data.population.forEach(([index], i) => { held[index].copies += 1; held[index].weight += weights[i]; });
  const ordered = data.traces.map((trace, index) => index).sort((one, other) => held[other].weight - held[one].weight || one - other);
  const box = el("div", { class: "traces" });
  const page = (from) => {
    for (const index of ordered.slice(from, from + 100)) box.append(one(index));
    if (from + 100 < ordered.length) {
      const more = el("button", { type: "button", onclick: () => { more.remove(); page(from + 100); } }, `${whole(ordered.length - from - 100)} more`);
      box.append(more);
    }
  };
  const one = (index) => {
    const trace = data.traces[index], { copies, weight } = held[index];
    const why = trace.finished ? "finished" : trace.why[trace.why.length - 1] ?? "-";
    const cells = [[trace.answer ?? "no answer", "text"], [copies ? percent(weight) : "-", "number"], [copies ? whole(copies) : "-", "number"], [short(trace.score), "number"], [whole(trace.steps.length), "number"], [why, "faint"]];
    const made = el("details", { class: copies ? "" : "left-out" }, el("summary", {}, mark(ended(trace)), cells.map(([text, kind]) => el("span", { class: kind }, text))));
    made.addEventListener("toggle", () => {
      if (made.childElementCount > 1) return;
      made.append(...trace.steps.map((text, d) => el("div", { class: "step" }, el("span", { class: "faint" }, `${trace.scores[d] === undefined ? "" : short(trace.scores[d])} ${trace.why[d] === "stop" ? "" : trace.why[d] ?? ""}`), el("div", { class: "text" }, shownStep(text)))));
    });
    return made;
  };
  box.append(el("div", { class: "heads" }, ["", "answer", "weight", "copies", "score", "steps", "end"].map((name) => el("span", {}, name))));
  page(0);
  return box;
}

// ---- keys and choices

function against(run) {
  state.b = run === state.a ? -1 : run;
  byId("run-b").querySelector("select").value = String(state.b);
  list();
  show();
}

function start() {
  const [first, second] = document.querySelectorAll("aside select");
  first.addEventListener("change", () => {
    const id = state.runs[state.a].questions[state.at]?.id;
    state.a = Number(first.value);
    if (state.b === state.a) state.b = -1;
    second.value = String(state.b);
    state.at = state.runs[state.a].place.get(id) ?? -1;
    list();
    if (state.at < 0) move(0);
    else { seen(Math.max(0, state.shown.indexOf(state.at))); show(); }
  });
  second.addEventListener("change", () => against(Number(second.value)));
  byId("search").addEventListener("input", (event) => { state.text = event.target.value; byId("list").scrollTop = 0; list(); });
  byId("list").addEventListener("scroll", rows);
  window.addEventListener("resize", rows);
  byId("help-button").addEventListener("click", () => byId("help").showModal());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    const writing = event.target === byId("search");
    if (event.key === "Escape" && writing) { byId("search").blur(); return; }
    if (event.key === "Enter" && writing) { byId("search").blur(); if (state.shown.length) open(0); return; }
    if (writing || event.target.tagName === "SELECT") return;
    const inList = event.target === document.body || event.target === byId("list") || event.target === byId("main");
    const keys = {
      j: () => move(1),
      k: () => move(-1),
      "/": () => byId("search").focus(),
      f: () => { const names = filters(); state.filter = names[(names.indexOf(state.filter) + 1) % names.length]; byId("list").scrollTop = 0; list(); },
      t: () => { state.tab = TABS[(TABS.indexOf(state.tab) + 1) % TABS.length]; redraw(); },
      c: () => { if (state.runs.length > 1) against(state.b >= 0 ? -1 : state.runs.findIndex((_, run) => run !== state.a)); },
      "?": () => byId("help").showModal(),
    };
    if (inList) Object.assign(keys, { ArrowDown: keys.j, ArrowUp: keys.k });
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  });
}

start();

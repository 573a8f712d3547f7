"use strict";
// report.js: draws the measurements that the element #data holds. Names reach the document as text
// only. A row of a pair is [bytes, diff seconds, diff peak KiB, apply seconds, apply peak KiB].
(() => {
  const root = document.documentElement;
  window.addEventListener("error", (event) => { root.dataset.error = event.message; });
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const own = data.own;
  const peers = new Map(data.peers.map((peer) => [peer.peer, peer]));
  const measured = data.pairs.filter((pair) => pair.ratio !== null);

  // --- words and numbers -------------------------------------------------------------------------
  const grouped = (value) => Math.round(value).toLocaleString("en");
  const short = (value) => Number(value.toPrecision(3)).toString();
  function size(bytes) {
    if (bytes < 1000) return Math.round(bytes) + " B";
    const power = Math.min(3, Math.floor(Math.log(bytes) / Math.log(1024) + 0.02));
    return short(bytes / 1024 ** power) + [" B", " KiB", " MiB", " GiB"][power];
  }
  const percent = (ratio) => short(ratio * 100) + " %";
  const geometric = (values) => values.length
    ? Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length) : null;
  const plural = (count, word) => grouped(count) + " " + word + (count === 1 ? "" : "s");

  // --- elements ----------------------------------------------------------------------------------
  function make(name, attributes, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }
  function draw(parent, name, attributes, text) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  }
  function canvas(id, height, label) {
    const place = byId(id), width = Math.max(260, place.clientWidth);
    place.replaceChildren();
    const svg = draw(place, "svg", {
      viewBox: `0 0 ${width} ${height}`, height, role: "group", "aria-label": label });
    return { svg, width, height };
  }
  const tip = byId("tip");
  function showTip(text, x, y) {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(6, Math.min(x + 14, innerWidth - box.width - 6)) + "px";
    tip.style.top = (y + 18 + box.height > innerHeight
      ? Math.max(6, y - box.height - 12) : y + 18) + "px";
  }
  const hideTip = () => { tip.hidden = true; };
  // A mark tells `text` under the pointer and to the keyboard; arrow keys go to its neighbours.
  function marks(elements, texts) {
    elements.forEach((element, i) => {
      element.classList.add("mark");
      element.setAttribute("role", "img");
      element.setAttribute("aria-label", texts[i].replaceAll("\n", ", "));
      element.setAttribute("tabindex", i === 0 ? 0 : -1);
      element.addEventListener("mousemove", (e) => showTip(texts[i], e.clientX, e.clientY));
      element.addEventListener("mouseleave", hideTip);
      element.addEventListener("blur", hideTip);
      element.addEventListener("focus", () => {
        const box = element.getBoundingClientRect();
        showTip(texts[i], box.left + box.width / 2, box.top + box.height / 2);
      });
      element.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        const next = elements[i + (step || 0)];
        if (!step || !next) return;
        event.preventDefault();
        element.setAttribute("tabindex", -1);
        next.setAttribute("tabindex", 0);
        next.focus();
      });
    });
  }
  function legend(id, entries) {
    byId(id).replaceChildren(...entries.map(([look, text]) =>
      make("span", {}, make("i", { class: "swatch " + look }), make("b", {}, text))));
  }

  // --- logarithmic axes --------------------------------------------------------------------------
  // Ticks at 1, 2, 5 of each decade while they are few, else at decades; sizes at powers of two.
  function ticks(low, high, text) {
    const found = (base, steps) => {
      const values = [];
      const log = (value) => Math.log(value) / Math.log(base);
      for (let power = Math.floor(log(low)); power <= log(high); ++power) {
        for (const step of steps) {
          const value = step * base ** power;
          if (value >= low * 0.999 && value <= high * 1.001) values.push(value);
        }
      }
      return values;
    };
    const tries = text === size ? [[2, [1]], [4, [1]], [16, [1]]]
      : [[10, [1, 2, 5]], [10, [1, 3]], [10, [1]]];
    const all = tries.map((each) => found(...each));
    return all.find((each) => each.length <= 8) || all[2];
  }
  const scale = (low, high, begin, end) => (value) =>
    begin + (Math.log(value) - Math.log(low)) / (Math.log(high) - Math.log(low)) * (end - begin);
  function span(values, factor) {
    const low = Math.min(...values) / factor, high = Math.max(...values) * factor;
    return low > 0 && isFinite(low) ? [low, high] : [0.1, 10];
  }
  // Both axes of a plot with their grid; returns what places a point.
  function axes(plot, xs, ys, xText, yText, margin) {
    const { svg, width, height } = plot;
    const x = scale(...xs, margin.left, width - margin.right);
    const y = scale(...ys, height - margin.bottom, margin.top);
    for (const value of ticks(...ys, yText)) {
      draw(svg, "line", { class: "grid", x1: margin.left, x2: width - margin.right,
        y1: y(value), y2: y(value) });
      draw(svg, "text", { class: "tick", x: margin.left - 7, y: y(value) + 4,
        "text-anchor": "end" }, yText(value));
    }
    if (xText) {
      for (const value of ticks(...xs, xText)) {
        draw(svg, "line", { class: "grid", x1: x(value), x2: x(value), y1: margin.top,
          y2: height - margin.bottom });
        draw(svg, "text", { class: "tick", x: x(value), y: height - margin.bottom + 17,
          "text-anchor": "middle" }, xText(value));
      }
    }
    return { x, y };
  }
  const bytesOf = (pair, peer) => pair.rows[peer][0];

  function drawRatios() {
    const pairs = measured.slice().sort((a, b) => b.ratio - a.ratio);
    const plot = canvas("ratio", 340, "Ratio of each pair");
    const margin = { left: 52, right: 8, top: 12, bottom: 22 };
    const [low, high] = span([...pairs.map((pair) => pair.ratio), 1], 1.12);
    const { y } = axes(plot, [1, 10], [low, high], null, short, margin);
    const step = (plot.width - margin.left - margin.right) / Math.max(1, pairs.length);
    const bars = pairs.map((pair, i) => {
      const end = y(pair.ratio), begin = y(1);
      return draw(plot.svg, "rect", {
        class: pair.ratio < 1 ? "own" : "other", x: margin.left + i * step + step * 0.1,
        width: Math.max(0.6, step * 0.8), y: Math.min(begin, end),
        height: Math.max(1, Math.abs(begin - end)) });
    });
    draw(plot.svg, "line", { class: "one", x1: margin.left, x2: plot.width - margin.right,
      y1: y(1), y2: y(1) });
    draw(plot.svg, "text", { class: "tick", x: margin.left, y: plot.height - 5 },
      "worst pair");
    draw(plot.svg, "text", { class: "tick", x: plot.width - margin.right, y: plot.height - 5,
      "text-anchor": "end" }, "best pair");
    marks(bars, pairs.map((pair) => `${pair.id} (${pair.kind})\nbundle ${
      grouped(bytesOf(pair, own))}, best other ${grouped(bytesOf(pair, pair.best))} (${
      pair.best})\nratio ${pair.ratio.toFixed(3)}, new ${grouped(pair.new)}`));
    const lost = pairs.filter((pair) => pair.ratio >= 1).length;
    legend("ratio-legend", [["other", `${plural(lost, "pair")} where another tool is smaller`],
      ["own", `${plural(pairs.length - lost, "pair")} where the bundle is smaller`]]);
  }

  function drawKinds() {
    const kinds = new Map();
    for (const pair of measured) {
      kinds.set(pair.kind, [...(kinds.get(pair.kind) || []), pair]);
    }
    const rows = [...kinds].map(([kind, pairs]) => ({ kind, pairs,
      own: geometric(pairs.map((pair) => bytesOf(pair, own) / pair.new)),
      best: geometric(pairs.map((pair) => Math.max(1, bytesOf(pair, pair.best)) / pair.new)) }));
    rows.sort((a, b) => a.own / a.best - b.own / b.best);
    const line = 44, plot = canvas("kinds", rows.length * line + 8, "Size by kind");
    const left = Math.min(210, plot.width * 0.36), right = 62;
    const most = Math.max(...rows.flatMap((row) => [row.own, row.best]));
    const width = (value) => Math.max(1.5, value / most * (plot.width - left - right));
    const bars = [], texts = [];
    rows.forEach((row, i) => {
      const y = i * line + 6;
      draw(plot.svg, "text", { class: "label", x: left - 10, y: y + 14, "text-anchor": "end" },
        row.kind);
      draw(plot.svg, "text", { class: "tick", x: left - 10, y: y + 29, "text-anchor": "end" },
        plural(row.pairs.length, "pair"));
      [["own", row.own, "bundle"], ["other", row.best, "best other tool"]].forEach(
        ([look, value, name], k) => {
          bars.push(draw(plot.svg, "rect", { class: look, x: left, y: y + k * 17,
            width: width(value), height: 14, rx: 2 }));
          texts.push(`${row.kind}: ${name} ${percent(value)} of new\n${
            plural(row.pairs.length, "pair")}, bundle / best other ${
            (row.own / row.best).toFixed(3)}`);
          draw(plot.svg, "text", { class: "tick", x: left + width(value) + 6,
            y: y + k * 17 + 11 }, percent(value));
        });
    });
    marks(bars, texts);
    legend("kinds-legend", [["own", "bundle"], ["other", "best other tool of each pair"]]);
  }

  // A name beside each dot where it covers no dot and no other name, one for dots of one class on one
  // spot; one that is moved away has a line to its dot. Those that found no place at all stay out;
  // the mark still tells them.
  function nameDots(plot, dots, names) {
    const apart = (a, b) => a.left >= b.right || b.left >= a.right || a.top >= b.bottom ||
      b.top >= a.bottom;
    const taken = dots.map((dot) => {
      const [cx, cy, r] = ["cx", "cy", "r"].map((name) => Number(dot.getAttribute(name)));
      return { left: cx - r, right: cx + r, top: cy - r, bottom: cy + r, cx, cy };
    });
    const ways = [[1, 0], [-1, 0], [0, -1], [0, 1], [1, -1], [1, 1], [-1, -1], [-1, 1]];
    const places = [8, 15, 24, 34, 46, 60, 78, 100].flatMap((away) =>
      ways.map(([right, down]) => [right * away, down * away * 0.8, away]));
    const together = (i, k) => names[i][1] === names[k][1] &&
      Math.hypot(taken[i].cx - taken[k].cx, taken[i].cy - taken[k].cy) < 6;
    const named = new Set();
    dots.forEach((dot, i) => {
      if (named.has(i)) return;
      const same = dots.map((_, k) => k).filter((k) => !named.has(k) && together(i, k));
      same.forEach((k) => named.add(k));
      const { cx, cy } = taken[i];
      const text = draw(plot.svg, "text", { class: names[i][1] },
        names[i][0] + (same.length > 1 ? ` and ${same.length - 1} more` : ""));
      const { width, height } = text.getBBox();
      const boxes = places.map(([right, down, away]) => {
        const left = cx + right - (right < 0 ? width : right > 0 ? 0 : width / 2);
        const top = cy + down - (down < 0 ? height : down > 0 ? 0 : height / 2);
        return { left, top, right: left + width, bottom: top + height, away };
      });
      const box = boxes.find((each) => each.left >= 2 && each.right <= plot.width - 2 &&
        each.top >= 2 && each.bottom <= plot.height - 26 &&
        taken.every((other) => apart(each, other)));
      if (!box) {
        text.remove();
        return;
      }
      taken.push({ ...box, left: box.left - 5, right: box.right + 5 });
      text.setAttribute("x", box.left);
      text.setAttribute("y", box.top + height * 0.78);
      if (box.away > 8) {
        const near = (low, value, high) => Math.max(low, Math.min(value, high));
        plot.svg.insertBefore(draw(plot.svg, "line", { class: "lead", x1: cx, y1: cy,
          x2: near(box.left, cx, box.right), y2: near(box.top, cy, box.bottom) }), dots[0]);
      }
    });
  }

  const look = (peer) => peer.role === "tensorpatch" ? "own"
    : peer.role === "delta" ? "other" : "quiet";
  function drawTimes() {
    const key = byId("action").value;
    const shown = data.peers.filter((peer) => peer.placed.share && peer.placed[key] &&
      peer.pairs * 10 >= measured.length);
    const plot = canvas("time", 430, "Size against time");
    const margin = { left: 58, right: 96, top: 12, bottom: 30 };
    const { x, y } = axes(plot, span(shown.map((peer) => peer.placed[key]), 1.4),
      span(shown.map((peer) => peer.placed.share), 1.15), (value) => short(value) + " s", percent,
      margin);
    const dots = shown.map((peer) => draw(plot.svg, "circle", { class: look(peer),
      cx: x(peer.placed[key]), cy: y(peer.placed.share),
      r: peer.role === "tensorpatch" ? 6 : 4.5 }));
    nameDots(plot, dots, shown.map((peer) => [peer.peer,
      "label" + (peer.role === "tensorpatch" ? "" : " soft")]));
    marks(dots, shown.map((peer) => `${peer.peer}\n${percent(peer.placed.share)} of new, ${
      short(peer.placed[key])} s for a MiB\nover ${plural(peer.pairs, "pair")}`));
    legend("time-legend", [["own", "tensorpatch"], ["other", "patches of other tools"],
      ["quiet", "whole files, and published methods written for this page"]]);
  }

  function drawMemory() {
    const other = byId("peer").value;
    const pairs = measured.filter((pair) => pair.rows[other]);
    const plot = canvas("memory", 380, "Peak memory against model size");
    const margin = { left: 68, right: 16, top: 12, bottom: 30 };
    const points = pairs.flatMap((pair) => [own, other].flatMap((peer) => [[pair, peer, 2],
      [pair, peer, 4]])).filter(([pair, peer, k]) => pair.rows[peer][k] > 0);
    if (!points.length) return;
    const { x, y } = axes(plot, span(pairs.map((pair) => pair.new), 1.2),
      span(points.map(([pair, peer, k]) => pair.rows[peer][k] * 1024), 1.2), size, size, margin);
    const dots = points.map(([pair, peer, k]) => draw(plot.svg, "circle", {
      class: (peer === own ? "own" : "other") + (k === 4 ? " hollow" : ""), r: 4,
      cx: x(pair.new), cy: y(pair.rows[peer][k] * 1024) }));
    marks(dots, points.map(([pair, peer, k]) => `${peer}, ${k === 2 ? "to make" : "to apply"}: ${
      size(pair.rows[peer][k] * 1024)}\n${pair.id}, new ${size(pair.new)}`));
    legend("memory-legend", [["own", own], ["other", other]]);
  }

  function drawDamage() {
    const kinds = [["flips", "a bit flipped"], ["cuts", "the patch cut"],
      ["wrong_old", "another old file"]];
    const words = ["right", "refused", "crashed", "SILENT"];
    byId("damage-head").replaceChildren(...["peer", ...kinds.map((kind) => kind[1])].map(
      (text) => make("th", {}, make("button", { type: "button", disabled: "" }, text))));
    const tried = data.peers.filter((peer) => kinds.some(
      ([name]) => peer.damage[name].some((count) => count)));
    byId("damage").replaceChildren(...tried.map((peer) => make("tr", {},
      make("td", {}, peer.peer), ...kinds.map(([name]) => {
        const counts = peer.damage[name];
        const text = counts.map((count, i) => count ? `${count} ${words[i]}` : "")
          .filter((part) => part).reverse().join(", ") || "–";
        return make("td", counts[3] ? { class: "silent" } : {}, text);
      }))));
  }

  // --- the table ---------------------------------------------------------------------------------
  const columns = [["pair", (p) => p.id], ["kind", (p) => p.kind], ["format", (p) => p.format],
    ["new", (p) => p.new, grouped], ["bundle", (p) => bytesOf(p, own), grouped],
    ["best other", (p) => bytesOf(p, p.best), grouped], ["by", (p) => p.best],
    ["ratio", (p) => p.ratio, (value) => value.toFixed(3)]];
  const view = { column: 7, down: true };
  function drawTable() {
    const wanted = byId("filter").value.toLowerCase();
    const pairs = measured.filter((pair) =>
      `${pair.id} ${pair.kind} ${pair.format}`.toLowerCase().includes(wanted));
    const value = columns[view.column][1], sign = view.down ? -1 : 1;
    pairs.sort((a, b) => value(a) < value(b) ? -sign : value(a) > value(b) ? sign : 0);
    byId("row-count").textContent = `${grouped(pairs.length)} of ${
      plural(measured.length, "pair")}`;
    byId("head").replaceChildren(...columns.map(([title, , text], i) => {
      const head = make("th", text ? { class: "number" } : {});
      if (i === view.column) head.setAttribute("aria-sort", view.down ? "descending" : "ascending");
      const button = make("button", { type: "button" }, title);
      button.addEventListener("click", () => {
        view.down = i === view.column ? !view.down : Boolean(text);
        view.column = i;
        drawTable();
        byId("head").children[i].firstChild.focus();
      });
      head.append(button);
      return head;
    }));
    byId("rows").replaceChildren(...pairs.map((pair) => make("tr", {},
      ...columns.map(([, get, text]) => make("td", text ? { class: "number" } : {},
        text ? text(get(pair)) : get(pair) || "")))));
  }

  function drawCards() {
    const wins = measured.filter((pair) => pair.ratio < 1).length;
    const worst = measured.reduce((a, b) => a && a.ratio > b.ratio ? a : b, null);
    const mine = peers.get(own);
    const cards = [["Bundle / best other tool", geometric(measured.map((p) => p.ratio)),
      "geometric mean over " + plural(measured.length, "pair"), (v) => v.toFixed(3)],
    ["Smaller than all others", wins, `of ${plural(measured.length, "pair")}`, grouped],
    ["Worst pair", worst && worst.ratio, worst && worst.id, (v) => v.toFixed(2)],
    ["Bundle / new", mine && mine.of_new,
      plural(data.peers.length, "peer") + ", all results verified", percent]];
    byId("cards").replaceChildren(...cards.map(([title, value, more, text]) => make("div", {},
      make("dt", {}, title), make("dd", { class: "figure" }, value === null ? "–" : text(value)),
      make("dd", { class: "more" }, more || ""))));
  }

  byId("title").textContent = data.title;
  byId("subtitle").textContent = data.notes.find((note) => note.startsWith("machine")) || "";
  byId("notes").replaceChildren(...data.notes.map((note) => make("li", {}, note)));
  byId("peer").replaceChildren(...data.peers.filter((peer) => peer.role !== "tensorpatch")
    .map((peer) => make("option", {}, peer.peer)));
  byId("action").addEventListener("change", drawTimes);
  byId("peer").addEventListener("change", drawMemory);
  byId("filter").addEventListener("input", drawTable);
  function drawAll() {
    drawRatios();
    drawKinds();
    drawTimes();
    drawMemory();
  }
  drawCards();
  drawDamage();
  drawTable();
  drawAll();
  let width = innerWidth;
  window.addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    drawAll();
  });
  if (!root.dataset.error) root.dataset.drawn = "yes";
})();

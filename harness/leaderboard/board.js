"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const form = document.querySelector("form.controls"), table = document.getElementById("board");
  const [LEFT, TOP, WIDTH, HEIGHT] = data.plot, SVG = "http://www.w3.org/2000/svg";
  const LEVELS = {"verified": ["✓", 0], "consistent": ["○", 1], "not verified": ["–", 2]};
  const BOUND = {1: "≤ ", 2: ""};
  const DEFAULTS = {by: "overall", beside: "categories", class: "", level: "", find: "", sort: "rate", order: "up"};

  // --- building: text is always a text node

  function make(tag, content, attributes) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
    element.append(...(Array.isArray(content) ? content : content == null ? [] : [content]));
    return element;
  }

  function draw(tag, attributes, title) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (title) element.append(Object.assign(document.createElementNS(SVG, "title"), {textContent: title}));
    return element;
  }

  function digits(value) {
    if (value == null) return "–";
    if (value === 0) return "0";
    const rounded = +value.toPrecision(3);  // 999.5 has four digits by then, and would get an exponent
    if (Math.abs(rounded) >= 1000) return Math.round(value).toLocaleString("en-GB");
    return Math.abs(value) < 0.01 ? String(rounded) : value.toPrecision(3).replace(/\.$/, "");
  }

  function size(bytes) {
    if (!bytes) return "0";
    const unit = Math.min(Math.floor(Math.log10(+bytes.toPrecision(3)) / 3), 4);
    return digits(bytes / 1000 ** unit) + " " + ["B", "kB", "MB", "GB", "TB"][unit];
  }

  function safeLink(address) {
    try {
      const url = new URL(address);
      return url.protocol === "https:" && !url.username ? url.href : "";
    } catch (error) {
      return "";
    }
  }

  // --- state: it is what the address says, and nothing else

  function parse(query) {
    const given = new URLSearchParams(query), state = {...DEFAULTS};
    for (const name of Object.keys(DEFAULTS)) if (given.has(name)) state[name] = given.get(name).slice(0, 200);
    state.edition = data.editions.find((one) => one.name === given.get("edition")) || data.editions[0];
    if (!state.edition.views.some((view) => view.key === state.by)) state.by = DEFAULTS.by;
    const names = new Set(state.edition.rows.map((row) => row.codec));
    state.chosen = [...new Set(given.getAll("codec"))].filter((name) => names.has(name)).slice(0, data.styles.length);
    return state;
  }

  function written(state) {
    const query = new URLSearchParams();
    if (state.edition !== data.editions[0]) query.set("edition", state.edition.name);
    for (const [name, usual] of Object.entries(DEFAULTS)) if (state[name] !== usual) query.set(name, state[name]);
    for (const name of state.chosen) query.append("codec", name);
    return query.toString();
  }

  // A Space shows this page in a frame: the address that readers see and share is the parent's, and it is told.
  function share() {
    if (window.parent !== window) {
      const queryString = location.search.slice(1), hash = location.hash;
      window.parent.postMessage({queryString, hash}, "https://huggingface.co");
    }
  }

  function change(update) {
    Object.assign(state, update);
    const query = written(state);
    history.replaceState(null, "", (query ? "?" + query : location.pathname) + location.hash);
    share();
    show();
  }

  // --- columns

  function place(view) {
    return state.edition.views.findIndex((one) => one.key === view);
  }

  function rateColumn(key, name, at, main) {
    return {
      key, name, numeric: true, value: (row) => row.rates[at] ? row.rates[at][0] : null, main,
      cell: (row) => {
        const rate = row.rates[at];
        if (!rate) return "–";
        const [value, low, high, , , mark] = rate;
        const text = mark === 2 ? "never" : (BOUND[mark] || "") + digits(value);
        if (!main || low == null || high == null) return text;
        return [text, make("span", "[" + digits(low) + ", " + digits(high) + "]", {class: "interval"})];
      },
    };
  }

  function rankColumn(key, name, part, hint) {
    const at = place(state.by), value = (row) => row.rates[at] ? row.rates[at][part] : null;
    return {key, name, hint, numeric: true, value, cell: (row) => value(row) == null ? "–" : String(value(row))};
  }

  function columns() {
    const views = state.edition.views, main = views[place(state.by)];
    const prefix = {categories: "category:", kinds: "kind:", scenarios: "scenario:"}[state.beside];
    const beside = views.filter((view) => prefix && view.key.startsWith(prefix) && view !== main);
    const percent = "EBPFP@" + state.edition.percent;
    return [
      {key: "codec", name: "codec", head: true, value: (row) => row.codec, cell: codecCell},
      rateColumn("rate", main.key === "overall" ? percent : percent + ", " + main.label, place(state.by), true),
      rankColumn("rank", "rank", 3, "among all codecs that have the figure; a submission that is not replayed has none"),
      rankColumn("class-rank", "in class", 4, "among those that have learned from the same"),
      {key: "class", name: "learned from", value: (row) => row.class, cell: (row) => row.class},
      {key: "level", name: "checked", value: (row) => LEVELS[row.level][1], cell: levelCell},
      {key: "state", name: "state", numeric: true, value: (row) => row.state, cell: (row) => size(row.state)},
      {key: "encode", name: "encode MB/s", numeric: true, value: (row) => row.encode, cell: (row) => digits(row.encode)},
      {key: "decode", name: "decode MB/s", numeric: true, value: (row) => row.decode, cell: (row) => digits(row.decode)},
      {key: "code", name: "code", value: (row) => row.link, cell: codeCell, className: "code"},
      ...beside.map((view) => rateColumn(view.key, view.label, views.indexOf(view), false)),
    ];
  }

  function codecCell(row) {
    const box = make("input", null, {type: "checkbox"}), chosen = state.chosen.includes(row.codec);
    box.checked = chosen;
    box.disabled = !chosen && state.chosen.length >= data.styles.length;
    box.dataset.codec = row.codec;
    box.addEventListener("change", () => choose(row.codec, box.checked));
    const name = make("span", [row.codec, row.by ? make("span", [make("br"), row.by], {class: "soft"}) : ""]);
    return make("label", [box, name], {title: "show its curves"});
  }

  function levelCell(row) {
    const mark = make("span", LEVELS[row.level][0], {class: "mark", "aria-hidden": "true"});
    const words = row.level + (row.level === "not verified" || !row.unreplayed ? "" : ", not replayed" +
      (row.unreplayed < row.of ? " on " + row.unreplayed + " of " + row.of + " scenarios" : ""));
    return [mark, words, row.checked ? make("span", row.checked, {class: "interval"}) : ""];
  }

  function codeCell(row) {
    const href = safeLink(row.link), parts = [];
    if (href) {
      const host = new URL(href).hostname;
      const told = {href, rel: "noopener noreferrer nofollow ugc", target: "_blank", title: href,
        "aria-label": "code of " + row.codec + " at " + host};
      parts.push(make("a", host, told));
    }
    if (row.commit) parts.push(make("span", row.commit.slice(0, 10), {class: "interval", title: row.commit}));
    if (row.licence) parts.push(make("span", row.licence, {class: "interval"}));
    return parts.length ? parts : "–";
  }

  // --- the table

  function matching() {
    const words = state.find.toLowerCase().split(/\s+/).filter(Boolean), at = place(state.by);
    return state.edition.rows.filter((row) =>
      (!state.class || row.class === state.class) &&
      (!state.level || LEVELS[row.level][1] <= (LEVELS[state.level] || ["", 2])[1]) &&
      words.every((word) => [row.codec, row.by, row.licence].join(" ").toLowerCase().includes(word)) &&
      (row.rates[at] || state.by === "overall"));
  }

  function sorted(rows, column) {
    const sign = state.order === "down" ? -1 : 1;
    return rows.map((row, at) => [column.value(row), at, row]).sort((a, b) => {
      const absent = (a[0] == null || a[0] === "") - (b[0] == null || b[0] === "");
      if (absent || a[0] == null) return absent || a[1] - b[1];
      const order = typeof a[0] === "number" ? a[0] - b[0] : a[0].localeCompare(b[0]);
      return sign * order || a[1] - b[1];
    }).map((entry) => entry[2]);
  }

  function headCell(column) {
    const active = column.key === state.sort;
    const button = make("button", column.name, {type: "button", "data-sort": column.key});
    button.addEventListener("click", () => {
      change({sort: column.key, order: active && state.order === "up" ? "down" : "up"});
      table.tHead.querySelector("button[data-sort='" + CSS.escape(column.key) + "']").focus();
    });
    const told = {scope: "col", class: (column.numeric ? "number" : "") + (column.head ? " key" : ""),
      "aria-sort": active ? (state.order === "up" ? "ascending" : "descending") : "none"};
    if (column.hint) told.title = column.hint;
    return make("th", button, told);
  }

  function bodyRow(row, shown) {
    const cells = shown.map((column) => make(column.head ? "th" : "td", column.cell(row),
      {class: [column.numeric ? "number" : "", column.className || "", column.main ? "strong" : ""].join(" ").trim(),
        ...(column.head ? {scope: "row"} : {})}));
    return make("tr", cells, state.chosen.includes(row.codec) ? {class: "chosen"} : {});
  }

  function showTable() {
    const shown = columns(), column = shown.find((one) => one.key === state.sort) || shown[1];
    if (column.key !== state.sort) Object.assign(state, {sort: column.key, order: "up"});
    const rows = sorted(matching(), column), view = state.edition.views[place(state.by)];
    table.tHead.replaceChildren(make("tr", shown.map(headCell)));
    table.tBodies[0].replaceChildren(...rows.map((row) => bodyRow(row, shown)));
    if (!rows.length) {
      table.tBodies[0].append(make("tr", make("td", "No codec fits; reset what is asked for.", {colspan: shown.length})));
    }
    const counted = state.edition.scenarios.filter((scenario) => inView(scenario, state.by)).length;
    table.caption.textContent = state.edition.name + " edition, " + view.label + ", " + counted + " scenario" +
      (counted === 1 ? "" : "s");
    document.getElementById("status").textContent = rows.length + " of " + state.edition.rows.length + " codecs, sorted by " +
      column.name + (state.order === "up" ? ", ascending" : ", descending");
  }

  // --- the controls

  function showControls() {
    const place = document.getElementById("editions");
    place.replaceChildren(place.firstElementChild, ...data.editions.map((edition) => {
      const radio = make("input", null, {type: "radio", name: "edition", value: edition.name});
      radio.checked = edition === state.edition;
      return make("label", [radio, edition.name]);
    }));
    const groups = new Map();
    for (const view of state.edition.views) {
      if (!groups.has(view.group)) groups.set(view.group, view.group ? make("optgroup", null, {label: view.group}) : form.by);
    }
    form.by.replaceChildren(...[...groups.values()].filter((one) => one !== form.by));
    for (const view of state.edition.views) {
      const option = make("option", view.label, {value: view.key});
      if (view.group) groups.get(view.group).append(option);
      else form.by.prepend(option);
    }
    for (const name of ["by", "beside", "class", "level", "find"]) if (form[name].value !== state[name]) form[name].value = state[name];
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    change({...DEFAULTS, chosen: []});
    showControls();
  });
  form.addEventListener("input", (event) => {
    const {name, value} = event.target;
    if (name === "edition") {
      const edition = data.editions.find((one) => one.name === value), known = new Set(edition.rows.map((row) => row.codec));
      change({edition, by: DEFAULTS.by, sort: DEFAULTS.sort, order: DEFAULTS.order,
        chosen: state.chosen.filter((codec) => known.has(codec))});
      showControls();
      document.querySelector("#editions :checked").focus();
    } else if (name === "by") {
      change({by: value, sort: DEFAULTS.sort, order: DEFAULTS.order});
    } else {
      change({[name]: value});
    }
  });

  // --- curves

  function inView(scenario, key) {
    const [kind, ...rest] = key.split(":"), name = rest.join(":");
    if (kind === "category") return !scenario.variant && scenario.category === name;
    if (kind === "kind") return !scenario.variant && scenario.kind === name;
    return kind === "scenario" ? scenario.id === name : !scenario.variant;
  }

  function choose(codec, wanted) {
    change({chosen: wanted ? [...state.chosen, codec] : state.chosen.filter((name) => name !== codec)});
    const box = [...table.querySelectorAll("input[type=checkbox]")].find((one) => one.dataset.codec === codec);
    if (box) box.focus();
  }

  let curves = null;

  async function unpack() {
    const text = document.getElementById("packed-curves").textContent;
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    curves = await new Response(stream).json();
  }

  function curveOf(codec, at) {
    const row = state.edition.rows.findIndex((one) => one.codec === codec);
    const packed = curves.editions[data.editions.indexOf(state.edition)][row][at];
    if (!packed) return [];
    return packed[0].map((rate, n) => ({codec, rate, score: packed[1][n], label: curves.labels[packed[2][n]]}));
  }

  function bounded(share) {
    return Math.min(Math.max(share, -1), 2);
  }

  function series(points, style, axes) {
    const [low, high, bottom, top] = axes;
    const placed = points.map((point) => [
      LEFT + WIDTH * bounded(Math.log(point.rate / low) / Math.log(high / low)),
      TOP + HEIGHT * (1 - bounded((point.score - bottom) / (top - bottom))),
    ]);
    const group = draw("g", {class: "series c" + style.colour});
    const line = {points: placed.map(([x, y]) => x.toFixed(1) + "," + y.toFixed(1)).join(" ")};
    if (style.dash) line["stroke-dasharray"] = style.dash;
    if (placed.length > 1) group.append(draw("polyline", line));
    placed.forEach(([x, y], n) => {
      const {codec, label, rate, score} = points[n];
      const told = [codec, label].filter(Boolean).join(" ") + ": EBPFP " + digits(rate) + ", score " + digits(score);
      group.append(draw("path", {transform: "translate(" + x.toFixed(1) + " " + y.toFixed(1) + ")", d: style.marker}, told));
    });
    return group;
  }

  function figure(scenario, at) {
    const frame = document.getElementById("frame-" + scenario.frame).content.cloneNode(true), plot = frame.querySelector(".plot");
    state.chosen.forEach((codec, n) => {
      const points = curveOf(codec, at);
      if (points.length) plot.append(series(points, data.styles[n], scenario.axes));
    });
    frame.querySelector("svg").setAttribute("aria-label", "Score over rate, " + scenario.id + ": " + state.chosen.join(", "));
    return make("figure", [make("figcaption", scenario.id, {title: scenario.title}), frame]);
  }

  function swatch(style) {
    const drawing = draw("svg", {class: "swatch", viewBox: "0 0 28 14", "aria-hidden": "true"});
    const group = draw("g", {class: "series c" + style.colour}), line = {points: "1,7 27,7"};
    if (style.dash) line["stroke-dasharray"] = style.dash;
    group.append(draw("polyline", line), draw("path", {transform: "translate(14 7)", d: style.marker}));
    drawing.append(group);
    return drawing;
  }

  function legendEntry(codec, n) {
    const away = make("button", "×", {type: "button", "aria-label": "without " + codec});
    away.addEventListener("click", () => choose(codec, false));
    return make("li", [swatch(data.styles[n]), codec, away]);
  }

  function showCurves() {
    const shown = curves && state.chosen.length ? state.edition.scenarios.map((scenario, at) => [scenario, at])
      .filter(([scenario, at]) => inView(scenario, state.by) && state.chosen.some((codec) => curveOf(codec, at).length)) : [];
    document.getElementById("curves-note").textContent = state.chosen.length
      ? "The dashed line is the score of uncoded features, the dotted one that of the calibration mean. Point at a mark to see what it is."
      : "Choose codecs in the table, up to " + data.styles.length + ", to see their curves side by side.";
    document.getElementById("legend").replaceChildren(...state.chosen.map(legendEntry));
    document.getElementById("figures").replaceChildren(...shown.map(([scenario, at]) => figure(scenario, at)));
    const points = document.getElementById("points");
    points.hidden = !shown.length;
    points.querySelector("tbody").replaceChildren(...shown.flatMap(([scenario, at]) => state.chosen.flatMap((codec) =>
      curveOf(codec, at).map((point) => make("tr", [make("th", scenario.id, {scope: "row"}), make("td", codec),
        make("td", point.label), make("td", digits(point.rate), {class: "number"}),
        make("td", digits(point.score), {class: "number"})])))));
  }

  function show() {
    showTable();
    showCurves();
  }

  let state = parse(location.search);
  showControls();
  show();
  unpack().then(showCurves, () => {
    document.getElementById("curves-note").textContent = "This browser cannot unpack the curves; leaderboard.json holds them.";
  }).finally(() => document.getElementById("curves").setAttribute("aria-busy", "false"));
  window.addEventListener("hashchange", share);
  window.addEventListener("popstate", () => {
    state = parse(location.search);
    showControls();
    show();
  });
})();

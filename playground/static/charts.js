// Draws the charts of a page, each from the JSON beside it: points with their intervals, or stacked bars, round by round.
(() => {
  "use strict";

  const SHAPES = ["disc", "ring", "square", "diamond"];
  // Of the layers of bars, so that none is told from its neighbour by colour alone.
  const HATCHES = ["plain", "rising", "falling", "dots"];
  const HEIGHT = 150;
  const drawn = new Map();

  // --- words and numbers -------------------------------------------------------------------------------------------

  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
  const signed = (value, digits) => (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(digits);

  function duration(seconds) {
    if (seconds < 60) return `${seconds < 10 && seconds % 1 ? seconds.toFixed(1) : Math.round(seconds)} s`;
    const minutes = Math.round(seconds / 60);
    return minutes < 60 ? `${minutes} min` : `${(seconds / 3600).toFixed(1)} h`;
  }

  // The unit in which so many seconds are counted, in seconds, and its name.
  const clock = (seconds) => (seconds < 120 ? [1, "s"] : seconds < 7200 ? [60, "min"] : [3600, "h"]);

  // What is read off a point, and what stands at the axis, which ends at `high`, in each unit.
  const UNITS = {
    share: [(v) => `${(100 * v).toFixed(1)} %`, (v) => `${+(100 * v).toFixed(1)} %`],
    points: [(v) => signed(100 * v, 1), (v) => signed(100 * v, 0)],
    count: [(v) => whole.format(v), (v) => compact.format(v)],
    tokens: [(v) => (v < 100 ? v.toFixed(1).replace(".0", "") : whole.format(v)), (v) => compact.format(v)],
    seconds: [duration, (v, high) => `${+(v / clock(high)[0]).toFixed(1)} ${clock(high)[1]}`],
    level: [(v) => String(v), (v) => String(v)],
    nats: [(v) => v.toFixed(3), (v) => String(+v.toFixed(2))],
    number: [(v) => String(+v.toPrecision(3)), (v) => String(+v.toPrecision(3))],
  };

  // --- colours -----------------------------------------------------------------------------------------------------

  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);

  function shade(name) {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  }

  // --- scales ------------------------------------------------------------------------------------------------------

  // The end of an axis and its ticks: at most four, at round numbers.
  function ticks(low, high, least) {
    const rough = Math.max((high - low) / 3, least);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= rough * 0.999 && (least < 1 || n % 1 === 0));
    const found = [];
    const first = Math.floor(low / step + 1e-9) * step;
    for (let n = 0; n < 8; n += 1) {
      found.push(+(first + n * step).toPrecision(12));
      if (found.at(-1) >= high - 1e-12) break;
    }
    return found;
  }

  function scale(chart) {
    const all = chart.series.flatMap((one) => [...one.values, ...one.low, ...one.high]).filter((v) => v !== null);
    let high = Math.max(...all, 0);
    if (chart.form === "bars") {
      high = Math.max(...chart.rounds.map((_, at) => chart.series.reduce((sum, one) => sum + (one.values[at] ?? 0), 0)));
    }
    const low = Math.min(...all, 0);
    if (chart.unit === "level") {
      const levels = ticks(Math.min(...all), Math.max(...all, Math.min(...all) + 1), 1);
      return { splits: levels, range: [levels[0] - 0.3, levels.at(-1) + 0.3] };
    }
    if (chart.unit === "count") high = Math.max(high, 1);
    if (high <= low) high = low + (chart.unit === "share" || chart.unit === "points" ? 0.1 : 1);
    // Round numbers of seconds, minutes or hours.
    const each = chart.unit === "seconds" ? clock(high)[0] : 1;
    const splits = ticks(low / each, high / each, chart.unit === "count" ? 1 : 1e-9).map((v) => v * each);
    if (chart.unit === "share" && splits.at(-1) > 1) {
      // No share is above one.
      return { splits: splits.filter((v) => v <= 1), range: [splits[0] - 0.05, 1.02] };
    }
    // Points at the foot keep off the numbers of the rounds.
    const foot = chart.form === "bars" ? 0 : 0.05 * (splits.at(-1) - splits[0]);
    return { splits, range: [splits[0] - foot, splits.at(-1)] };
  }

  // --- drawing -----------------------------------------------------------------------------------------------------

  function mark(ctx, shape, x, y, size, colour, paper) {
    ctx.beginPath();
    if (shape === "square") ctx.rect(x - size * 0.85, y - size * 0.85, size * 1.7, size * 1.7);
    else if (shape === "diamond") {
      ctx.moveTo(x, y - size * 1.2);
      ctx.lineTo(x + size * 1.2, y);
      ctx.lineTo(x, y + size * 1.2);
      ctx.lineTo(x - size * 1.2, y);
      ctx.closePath();
    } else ctx.arc(x, y, size, 0, 2 * Math.PI);
    ctx.fillStyle = shape === "ring" ? paper : colour;
    ctx.fill();
    ctx.strokeStyle = colour;
    ctx.stroke();
  }

  function points(plot, chart, colours, paper) {
    const { ctx } = plot;
    const unit = devicePixelRatio;
    const many = chart.series.length;
    const step = Math.abs(plot.valToPos(1, "x", true) - plot.valToPos(0, "x", true));
    // Side by side, so that no interval hides another.
    const apart = Math.min(8 * unit, (0.5 * step) / many);
    chart.series.forEach((one, number) => {
      const shift = (number - (many - 1) / 2) * apart;
      const places = chart.rounds.map((round, at) => [plot.valToPos(round, "x", true) + shift, at]);
      const known = places.filter(([, at]) => one.values[at] !== null);
      const y = (value) => plot.valToPos(value, "y", true);
      ctx.strokeStyle = colours[number];
      ctx.lineWidth = 1.5 * unit;
      ctx.setLineDash(number % 2 ? [4 * unit, 3 * unit] : []);
      ctx.beginPath();
      known.forEach(([x, at], first) => (first ? ctx.lineTo(x, y(one.values[at])) : ctx.moveTo(x, y(one.values[at]))));
      ctx.stroke();
      ctx.setLineDash([]);
      ctx.lineWidth = 1.25 * unit;
      for (const [x, at] of known) {
        if ((one.low[at] ?? null) === null) continue;
        const [low, high, cap] = [y(one.low[at]), y(one.high[at]), 2.5 * unit];
        ctx.beginPath();
        ctx.moveTo(x, low);
        ctx.lineTo(x, high);
        for (const end of [low, high]) {
          ctx.moveTo(x - cap, end);
          ctx.lineTo(x + cap, end);
        }
        ctx.stroke();
      }
      ctx.lineWidth = 1.5 * unit;
      const size = (chart.rounds.length > 20 ? 2 : 3) * unit;
      for (const [x, at] of known) {
        mark(ctx, SHAPES[number % SHAPES.length], x, y(one.values[at]), size, colours[number], paper);
      }
    });
  }

  // Paper-coloured strokes over a colour: a tile, repeated.
  function hatch(ctx, kind, colour, paper) {
    if (kind === "plain") return colour;
    const unit = devicePixelRatio;
    const size = Math.round(5 * unit);
    const tile = document.createElement("canvas");
    [tile.width, tile.height] = [size, size];
    const on = tile.getContext("2d");
    on.fillStyle = colour;
    on.fillRect(0, 0, size, size);
    on.strokeStyle = paper;
    on.fillStyle = paper;
    on.globalAlpha = 0.75;
    on.lineWidth = unit;
    on.beginPath();
    if (kind === "dots") {
      on.arc(size / 2, size / 2, 0.9 * unit, 0, 2 * Math.PI);
      on.fill();
    } else {
      // Beyond the corners too, so that tiles meet.
      for (const shift of [-size, 0, size]) {
        on.moveTo(shift, kind === "rising" ? size : 0);
        on.lineTo(shift + size, kind === "rising" ? 0 : size);
      }
      on.stroke();
    }
    return ctx.createPattern(tile, "repeat");
  }

  function bars(plot, chart, colours, paper) {
    const { ctx } = plot;
    const fills = colours.map((colour, number) => hatch(ctx, HATCHES[number % HATCHES.length], colour, paper));
    const step = Math.abs(plot.valToPos(1, "x", true) - plot.valToPos(0, "x", true));
    const width = Math.min(26 * devicePixelRatio, 0.62 * step);
    const base = plot.valToPos(0, "y", true);
    chart.rounds.forEach((round, at) => {
      const left = plot.valToPos(round, "x", true) - width / 2;
      let sum = 0;
      let below = base;
      chart.series.forEach((one, number) => {
        sum += one.values[at] ?? 0;
        const top = plot.valToPos(sum, "y", true);
        // A hair of paper between two layers.
        const gap = number && below - top > 2 * devicePixelRatio ? devicePixelRatio : 0;
        ctx.fillStyle = fills[number];
        ctx.fillRect(left, top, width, below - top - gap);
        below = top;
      });
    });
  }

  // What each series is at the round under the pointer; at its last known one where there is none.
  function key(figure, chart, at) {
    const [say] = UNITS[chart.unit];
    figure.querySelectorAll("[data-value]").forEach((output, number) => {
      const { values } = chart.series[number];
      const here = at === null ? values.findLast((value) => value !== null) : values[at];
      output.textContent = here === null ? "–" : say(here);
    });
  }

  function marks(figure, chart, colours, paper) {
    figure.querySelectorAll("[data-mark]").forEach((place, number) => {
      const canvas = document.createElement("canvas");
      const unit = devicePixelRatio;
      [canvas.width, canvas.height] = [14 * unit, 11 * unit];
      canvas.style.width = "14px";
      canvas.style.height = "11px";
      const ctx = canvas.getContext("2d");
      ctx.lineWidth = 1.5 * unit;
      if (chart.form === "bars") {
        ctx.fillStyle = hatch(ctx, HATCHES[number % HATCHES.length], colours[number], paper);
        ctx.fillRect(unit, 1.5 * unit, 9 * unit, 9 * unit);
      } else mark(ctx, SHAPES[number % SHAPES.length], 6 * unit, 6 * unit, 3.2 * unit, colours[number], paper);
      place.replaceChildren(canvas);
    });
  }

  function draw(figure) {
    const place = figure.querySelector("[data-plot]");
    if (!place.clientWidth) return;
    drawn.get(figure)?.destroy();
    const chart = JSON.parse(figure.querySelector("script").textContent);
    const colours = chart.series.map((one) => shade(one.colour));
    const [paper, ink, line] = ["--paper", "--muted", "--line"].map(shade);
    const { splits, range } = scale(chart);
    const [first, last] = [chart.rounds[0], chart.rounds.at(-1)];
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: ink, font, ticks: { show: false }, gap: 4 };
    const every = Math.max(1, Math.ceil((24 * chart.rounds.length) / (place.clientWidth - 50)));
    const rounds = chart.rounds.filter((_, at) => at % every === 0);
    const plot = new uPlot(
      {
        width: place.clientWidth,
        height: HEIGHT,
        padding: [8, 6, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { show: false }, drag: { x: false, y: false, setScale: false } },
        scales: { x: { time: false, range: () => [first - 0.5, last + 0.5] }, y: { range: () => range } },
        axes: [
          { ...axis, size: 24, grid: { show: false }, splits: () => rounds, values: (_, all) => all.map(String) },
          {
            ...axis,
            size: 50,
            grid: { stroke: line, width: 1 },
            splits: () => splits,
            values: (_, all) => all.map((value) => UNITS[chart.unit][1](value, splits.at(-1))),
          },
        ],
        series: [{}, ...chart.series.map(() => ({ paths: () => null, points: { show: false } }))],
        hooks: {
          draw: [(now) => (chart.form === "bars" ? bars(now, chart, colours, paper) : points(now, chart, colours, paper))],
          setCursor: [(now) => key(figure, chart, now.cursor.idx ?? null)],
        },
      },
      [chart.rounds, ...chart.series.map((one) => one.values)],
      place,
    );
    drawn.set(figure, plot);
    marks(figure, chart, colours, paper);
    key(figure, chart, null);
  }

  // --- when --------------------------------------------------------------------------------------------------------

  const sizes = new ResizeObserver((changes) => {
    for (const { target } of changes) {
      const figure = target.closest("[data-chart]");
      if (figure && drawn.get(figure)?.width !== target.clientWidth) draw(figure);
    }
  });

  function begin(root) {
    for (const figure of drawn.keys()) {
      if (figure.isConnected) continue;
      drawn.get(figure).destroy();
      drawn.delete(figure);
    }
    for (const place of root.querySelectorAll?.("[data-plot]") ?? []) sizes.observe(place);
  }

  const again = () => [...drawn.keys()].forEach(draw);
  document.addEventListener("quintet:theme", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  document.addEventListener("htmx:load", (event) => begin(event.detail.elt));
  begin(document);
})();

/** The page's own icons, drawn on a grid of 24; they take the colour of the text around them. */

const SVG = "http://www.w3.org/2000/svg";

/** Stroked paths; those in SOLID are filled instead. */
const PATHS = {
  chats: "M4 5.5h16v11H9.5L5.5 20v-3.5H4z M8 9.5h8 M8 12.7h5",
  lab: "M9.5 3.5h5 M10.5 3.5v6L4.8 18.6A1.6 1.6 0 0 0 6.2 21h11.6a1.6 1.6 0 0 0 1.4-2.4L13.5 9.5V3.5 M7.6 14.5h8.8",
  knobs: "M5 4v7 M5 15v5 M12 4v3 M12 11v9 M19 4v9 M19 17v3 M2.8 13h4.4 M9.8 9h4.4 M16.8 15h4.4",
  behind: "M12 5.5c5 0 8.5 4.3 9.5 6.5-1 2.2-4.5 6.5-9.5 6.5S3.5 14.2 2.5 12C3.5 9.8 7 5.5 12 5.5z M12 9a3 3 0 1 1 0 6 3 3 0 0 1 0-6z",
  sun: "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8z M12 2.5v2 M12 19.5v2 M2.5 12h2 M19.5 12h2 M5.3 5.3l1.4 1.4 M17.3 17.3l1.4 1.4 M5.3 18.7l1.4-1.4 M17.3 6.7l1.4-1.4",
  moon: "M20 14.2A8.3 8.3 0 0 1 9.8 4 8.3 8.3 0 1 0 20 14.2z",
  plus: "M12 5v14 M5 12h14",
  smile: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18z M8.2 14c.8 1.7 2.2 2.6 3.8 2.6s3-.9 3.8-2.6 M9 9.3v.6 M15 9.3v.6",
  mic: "M12 3.5a2.7 2.7 0 0 1 2.7 2.7v5.6a2.7 2.7 0 0 1-5.4 0V6.2A2.7 2.7 0 0 1 12 3.5z M6 11.5a6 6 0 0 0 12 0 M12 17.5V21",
  close: "M6 6l12 12 M18 6L6 18",
  down: "M5 8.5l7 7 7-7",
  right: "M9 5.5l6.5 6.5L9 18.5",
  back: "M15 5.5L8.5 12l6.5 6.5",
  reply: "M10 6L4.5 11.5 10 17 M4.5 11.5H14a6 6 0 0 1 6 6V19",
  quoted: "M12 20V5 M5.5 11.5L12 5l6.5 6.5",
  copy: "M8.5 8.5h11v11h-11z M5.5 15.5h-1v-11h11v1",
  again: "M19.5 12a7.5 7.5 0 1 1-2.3-5.4 M19.5 3.5v4h-4",
  image: "M3.5 5h17v14h-17z M3.5 16l5-5 4.5 4.5 2.5-2.5 5 5 M15.5 8.3v.6",
  place: "M12 21s7-6.2 7-11.2A7 7 0 0 0 5 9.8C5 14.8 12 21 12 21z M12 7.5a2.3 2.3 0 1 1 0 4.6 2.3 2.3 0 0 1 0-4.6z",
  tap: "M4 5.5h16v9H4z M8 10h8 M12 14.5v6 M9.5 18l2.5 2.5 2.5-2.5",
  file: "M6 3.5h8l4.5 4.5v12.5H6z M14 3.5V8h4.5",
  clock: "M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17z M12 7.5V12l3 2",
  person: "M12 4a4 4 0 1 1 0 8 4 4 0 0 1 0-8z M4.5 20c.6-3.6 3.6-5.5 7.5-5.5s6.9 1.9 7.5 5.5",
  addPerson: "M10 4a4 4 0 1 1 0 8 4 4 0 0 1 0-8z M3 20c.6-3.6 3.3-5.5 7-5.5s6.4 1.9 7 5.5 M19 8v6 M16 11h6",
  hidden: "M4 4l16 16 M9.9 5.8A9 9 0 0 1 12 5.5c5 0 8.5 4.3 9.5 6.5a14 14 0 0 1-2.9 3.9 M6.2 7.5A14.5 14.5 0 0 0 2.5 12c1 2.2 4.5 6.5 9.5 6.5 1.7 0 3.2-.5 4.5-1.2",
  burst: "M13 3L5 13.5h6L10 21l8.5-11H12.5z",
  dots: "M12 5.5v.01 M12 12v.01 M12 18.5v.01",
  warn: "M12 4L2.8 20h18.4z M12 10v4.5 M12 17.3v.01",
  trash: "M5 7h14 M9.5 7V4.5h5V7 M7 7l.8 13h8.4L17 7",
  check: "M4.5 12.5l5 5 10-11",
  simulated: "M4 8.5a8 8 0 0 1 14-2 M20 15.5a8 8 0 0 1-14 2 M18.5 3v3.7h-3.7 M5.5 21v-3.7h3.7",
};

const SOLID = {
  send: "M3.5 20.5L21.5 12 3.5 3.5 3.5 10.2 15 12 3.5 13.8z",
  play: "M8 5.5v13l11-6.5z",
  pause: "M7 5.5h3.5v13H7z M13.5 5.5H17v13h-3.5z",
  stop: "M7 7h10v10H7z",
};

/**
 * @param {keyof typeof PATHS | keyof typeof SOLID} name
 * @param {number} [size] in px
 * @returns {SVGSVGElement}
 */
export function icon(name, size = 24) {
  const solid = SOLID[/** @type {keyof typeof SOLID} */ (name)];
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({
    viewBox: "0 0 24 24",
    width: size,
    height: size,
    class: "icon",
    "aria-hidden": "true",
    fill: solid ? "currentColor" : "none",
    stroke: solid ? "none" : "currentColor",
    "stroke-width": 1.8,
    "stroke-linecap": "round",
    "stroke-linejoin": "round",
  })) {
    svg.setAttribute(key, String(value));
  }
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", solid ?? PATHS[/** @type {keyof typeof PATHS} */ (name)]);
  if (name === "dots") path.setAttribute("stroke-width", "3.2");
  svg.append(path);
  return svg;
}

/**
 * Returns a plain drawing on a grid of 16 by 11, for the ticks.
 * @param {string[]} paths
 */
export function small(paths) {
  const svg = document.createElementNS(SVG, "svg");
  const attributes = { viewBox: "0 0 16 11", width: 16, height: 11, fill: "none", stroke: "currentColor" };
  for (const [key, value] of Object.entries(attributes)) svg.setAttribute(key, String(value));
  svg.setAttribute("stroke-width", "1.4");
  svg.setAttribute("stroke-linecap", "round");
  svg.setAttribute("stroke-linejoin", "round");
  svg.setAttribute("aria-hidden", "true");
  for (const d of paths) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

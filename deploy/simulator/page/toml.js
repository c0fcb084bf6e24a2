/** A character's words as the TOML of her topics file. */

const WIDE = 110;

/** @param {string} text */
const quoted = (text) => `"${text.replace(/[\\"]/gu, "\\$&").replace(/[\u0000-\u001f\u007f]/gu, " ")}"`;

/**
 * @param {string} name
 * @param {string[]} words
 */
function list(name, words) {
  const rows = [""];
  for (const word of words) {
    const part = `${quoted(word)}, `;
    if ((rows.at(-1)?.length ?? 0) + part.length > WIDE) rows.push("");
    rows[rows.length - 1] += part;
  }
  return words.length ? `${name} = [\n${rows.map((row) => `  ${row.trimEnd()}`).join("\n")}\n]` : `${name} = []`;
}

/**
 * Returns the sections of these languages, ready to take the place of those in the file.
 * @param {Record<string, { keywords: string[], triggers: string[] }>} topics by language
 */
export function asToml(topics) {
  return Object.entries(topics)
    .map(([language, words]) => `[${/^[\w-]+$/u.test(language) ? language : quoted(language)}]\n${list("triggers", words.triggers)}\n${list("keywords", words.keywords)}\n`)
    .join("\n");
}

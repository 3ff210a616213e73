// The API page: /openapi.json, readable. It knows the form of such a document, and nothing of Genlock.

import "./shell.js";

const METHODS = ["post", "get", "patch", "delete", "head", "options"];

/** An element with attributes; strings become text, never markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** Text whose `words` in backquotes are code. */
const prose = (text) => (text || "").split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part));

/** Paragraphs, divided by empty lines. */
const paragraphs = (text) => (text || "").split(/\n\s*\n/).filter(Boolean).map((part) => make("p", {}, ...prose(part)));

const nameOf = (ref) => ref.split("/").pop();

/** A schema as a line: its type, or a link to the one that it names. */
function kind(schema) {
  if (!schema) return [];
  if (schema.$ref) return [make("a", { href: `#schema-${nameOf(schema.$ref)}` }, nameOf(schema.$ref))];
  for (const [word, joint] of [["oneOf", " or "], ["anyOf", " or "], ["allOf", " and "]]) {
    if (schema[word]) return schema[word].flatMap((one, index) => [...(index ? [joint] : []), ...kind(one)]);
  }
  if (schema.const !== undefined) return [make("code", {}, JSON.stringify(schema.const))];
  if (schema.enum) return schema.enum.flatMap((one, index) => [...(index ? [", "] : []), make("code", {}, String(one))]);
  if (schema.type === "array") return ["list of ", ...kind(schema.items ?? {})];
  if (schema.type === "object" && schema.additionalProperties?.type) return ["map to ", ...kind(schema.additionalProperties)];
  return [[schema.type ?? "anything", schema.format].filter(Boolean).join(", ")];
}

/** What a value must keep to, in a few words. */
function bounds(schema) {
  const words = [];
  const { minimum, maximum, minLength, maxLength, default: usual } = schema ?? {};
  if (minimum !== undefined || maximum !== undefined) words.push(`${minimum ?? "…"} to ${maximum ?? "…"}`);
  if (minLength !== undefined || maxLength !== undefined) words.push(`${minLength ?? 0} to ${maxLength ?? "…"} characters`);
  if (usual !== undefined && usual !== null && typeof usual !== "object") words.push(`else ${JSON.stringify(usual)}`);
  return words.length ? ` (${words.join("; ")})` : "";
}

const table = (head, rows) => make("div", { class: "scrolls", tabindex: "0", role: "region", "aria-label": head.join(", ") },
  make("table", {},
    make("thead", {}, make("tr", {}, ...head.map((word) => make("th", { scope: "col" }, word)))),
    make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell, index) => (
      make(index ? "td" : "th", index ? {} : { scope: "row" }, ...[cell].flat()))))))));

/** Media types with their schemas, and the events of a stream. */
const bodies = (content) => Object.entries(content ?? {}).flatMap(([type, body], index) => [
  ...(index ? [make("br")] : []), make("code", {}, type), ": ", ...kind(body.schema),
  ...Object.entries(body["x-events"] ?? {}).flatMap(([event, schema]) => [make("br"), "event ", make("code", {}, event), ": ", ...kind(schema)]),
]);

/** Who may, in a sentence. */
function who(operation) {
  if (!operation.security?.length) return "Takes no token.";
  const instead = { "unless-public": "; none is needed where the session says Public", optional: ", if you like: none is needed" };
  return `A token for the role ${operation["x-role"]}${instead[operation["x-token"]] ?? ""}.`;
}

/** A command that does it. */
function example(method, path, operation) {
  const words = ["curl", ...(method === "get" ? [] : [method === "head" ? "--head" : `-X ${method.toUpperCase()}`])];
  if (operation.security?.length) words.push('-H "Authorization: Bearer $TOKEN"');
  const [type] = Object.keys(operation.requestBody?.content ?? {});
  if (type) words.push(`-H "Content-Type: ${type}"`, "--data-binary @body");
  return `${words.join(" ")} ${location.origin}${path.replace("{namespace}", "default").replace("{name}", "demo")}`;
}

function card(document_, method, path, operation) {
  const header = (name) => document_.components.headers?.[name]?.description ?? "";
  const answers = Object.entries(operation.responses).map(([status, one]) => [
    status, one.description,
    [make("div", {}, ...bodies(one.content)), ...Object.keys(one.headers ?? {}).map((name) => make("div", { title: header(name) }, make("code", {}, name)))],
  ]);
  const parameters = (operation.parameters ?? []).map((one) => [
    make("code", {}, one.name), one.in + (one.required ? "" : ", may be left out"), [...prose(one.description), bounds(one.schema)],
  ]);
  return make("article", { class: "card operation", id: operation.operationId, "aria-label": operation.operationId },
    make("h3", {}, make("span", { class: "method", "data-method": method }, method.toUpperCase()), make("code", {}, path)),
    make("p", {}, ...prose(operation.summary)), ...paragraphs(operation.description), make("p", { class: "hint" }, who(operation)),
    ...(parameters.length ? [make("h4", {}, "Parameters"), table(["name", "where", "what"], parameters)] : []),
    ...(operation.requestBody ? [make("h4", {}, `Body${operation.requestBody.required ? "" : " (may be left out)"}`), make("p", {}, ...bodies(operation.requestBody.content))] : []),
    make("h4", {}, "Answers"), table(["status", "when", "what"], answers),
    make("h4", {}, "Try it"), make("pre", {}, example(method, path, operation)));
}

function schemaCard(name, schema) {
  const fields = Object.entries(schema.properties ?? {}).map(([field, one]) => [
    make("code", {}, field), [...kind(one), bounds(one)], [...(schema.required?.includes(field) ? ["always there. "] : []), ...prose(one.description)],
  ]);
  return make("article", { class: "card operation", id: `schema-${name}`, "aria-label": name },
    make("h3", {}, name), ...paragraphs(schema.description),
    fields.length ? table(["field", "type", "what"], fields) : make("p", {}, ...kind(schema)));
}

function show(api) {
  const main = document.getElementById("operations");
  const contents = document.getElementById("contents");
  document.getElementById("version").textContent = `${api.info.title} ${api.info.version}, OpenAPI ${api.openapi}`;
  document.getElementById("about").append(...paragraphs(api.info.description));

  for (const tag of api.tags) {
    const found = Object.entries(api.paths).flatMap(([path, methods]) => METHODS.filter((method) => methods[method]?.tags?.includes(tag.name))
      .map((method) => [method, path, methods[method]]));
    main.append(make("section", { "aria-labelledby": `tag-${tag.name}` }, make("h2", { id: `tag-${tag.name}` }, tag.name), make("p", {}, tag.description),
      ...found.map(([method, path, operation]) => card(api, method, path, operation))));
    contents.append(make("h2", {}, tag.name), make("ul", {}, ...found.map(([method, path, operation]) => (
      make("li", {}, make("a", { href: `#${operation.operationId}` }, `${method.toUpperCase()} ${operation.operationId}`))))));
  }

  main.append(make("section", { "aria-labelledby": "schemas" }, make("h2", { id: "schemas" }, "Schemas"),
    make("p", {}, "What bodies, events and messages of the data channel look like."),
    ...Object.entries(api.components.schemas).map(([name, schema]) => schemaCard(name, schema))));
  contents.append(make("h2", {}, "Schemas"), make("ul", {}, ...Object.keys(api.components.schemas).map((name) => (
    make("li", {}, make("a", { href: `#schema-${name}` }, name))))));
  // What the address points to was not there when the page opened.
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

try {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  show(await answer.json());
} catch (error) {
  document.getElementById("version").textContent = `The description cannot be read: ${error.message}`;
}

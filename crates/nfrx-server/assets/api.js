// Shows the API's document. Everything from it is text, never markup.

const METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

/** Follows a local `$ref`. */
function resolved(root, value) {
  if (!value || typeof value.$ref !== "string") return value;
  return value.$ref.slice(2).split("/").reduce((at, key) => at?.[key], root);
}

function keysOf(security) {
  if (!security || security.length === 0) return "open";
  const names = security.map((either) => Object.keys(either).join(" and ") || "none");
  return `key: ${names.join(" or ")}`;
}

function contents(root, title, holder) {
  const found = resolved(root, holder);
  const part = element("section");
  part.append(element("h4", found?.description ? `${title}: ${found.description}` : title));
  for (const [kind, { schema }] of Object.entries(found?.content ?? {})) {
    part.append(element("p", kind, "kind"));
    part.append(element("pre", JSON.stringify(resolved(root, schema), null, 2)));
  }
  return part;
}

function operation(root, path, method, described) {
  const whole = element("details");
  const line = element("summary");
  line.append(element("code", method.toUpperCase(), `method ${method}`), element("code", path, "path"));
  line.append(element("span", described.summary ?? ""), element("span", keysOf(described.security), "keys"));
  whole.append(line);
  if (described.description) whole.append(element("p", described.description));
  for (const { name, description } of described.parameters ?? []) {
    whole.append(element("p", `{${name}} ${description ?? "one segment of the path"}`));
  }
  if (described.requestBody) whole.append(contents(root, "Request", described.requestBody));
  for (const [status, answer] of Object.entries(described.responses ?? {})) {
    whole.append(contents(root, status === "default" ? "Otherwise" : status, answer));
  }
  whole.dataset.words = `${method} ${path} ${described.summary ?? ""} ${(described.tags ?? []).join(" ")}`.toLowerCase();
  return whole;
}

function show(root) {
  const list = document.getElementById("operations");
  const sections = new Map();
  for (const [path, item] of Object.entries(root.paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      const tag = item[method].tags?.[0] ?? "other";
      if (!sections.has(tag)) {
        const section = element("section");
        section.append(element("h2", tag));
        sections.set(tag, section);
      }
      sections.get(tag).append(operation(root, path, method, item[method]));
    }
  }
  list.replaceChildren(...sections.values());
  document.getElementById("about").textContent = `${root.info.title}, ${root.info.version}. ${root.info.description ?? ""}`;
  document.getElementById("filter").addEventListener("input", ({ target }) => {
    const wanted = target.value.toLowerCase();
    for (const each of list.querySelectorAll("details")) each.hidden = !each.dataset.words.includes(wanted);
  });
}

try {
  const answer = await fetch("/api/client/openapi.json");
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  show(await answer.json());
} catch (problem) {
  document.getElementById("about").textContent = `The document can't be loaded: ${problem.message}`;
}
